use alloc::{collections::VecDeque, string::String, vec::Vec};

use crate::{
    Message,
    frame::{Close, clip_text},
    limits,
};

/// What a session machine wants done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes: one or more whole frames.
    Send(Vec<u8>),
    /// Close the connection once everything before is sent. Nothing follows.
    Closed(Closed),
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which side closed.
    pub by: ClosedBy,
    /// Close code, possibly one that this version does not know. SPEC §10.
    pub code: u16,
    /// For a human, at most 512 bytes.
    pub text: String,
    /// Whether trying again can help.
    pub reconnect: bool,
    /// Wait at least this long before it; 0 = own back-off.
    pub retry_after_ms: u32,
}

/// Which side closed a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBy {
    /// The other side sent CLOSE.
    Peer,
    /// This side sent CLOSE.
    Here,
}

/// Outputs that wait to be polled. Frames in a row are one `Send`. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: VecDeque<Output>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn send(&mut self, message: &Message<'_>) {
        self.append(|out| message.encode(out));
    }

    /// Appends bytes of whole frames, unless the session is closed: CLOSE is the last frame of its sender.
    pub(crate) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.closed {
            return;
        }
        if let Some(Output::Send(bytes)) = self.queue.back_mut() {
            encode(bytes);
        } else {
            let mut bytes = Vec::new();
            encode(&mut bytes);
            self.queue.push_back(Output::Send(bytes));
        }
    }

    pub(crate) fn close(&mut self, close: Close) {
        if self.closed {
            return;
        }
        let close = Close { text: clip_text(&close.text, limits::REASON_BYTES).into(), ..close };
        self.send(&Message::Close(close.clone()));
        self.finish(ClosedBy::Here, close);
    }

    /// The other side sent CLOSE. What this side still wanted to send has nobody to read it.
    pub(crate) fn peer_closed(&mut self, close: Close) {
        if !self.closed {
            self.queue.clear();
            self.finish(ClosedBy::Peer, close);
        }
    }

    fn finish(&mut self, by: ClosedBy, close: Close) {
        let reconnect = close.should_reconnect();
        let Close { code, text, retry_after_ms, .. } = close;
        self.queue.push_back(Output::Closed(Closed { by, code, text, reconnect, retry_after_ms }));
        self.closed = true;
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        let output = self.queue.pop_front();
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        output
    }
}
