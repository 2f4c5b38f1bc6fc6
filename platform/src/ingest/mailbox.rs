//! Answers on their way back to a session.

use pulsewire_core::ids::{Sequence, StreamId};
use pulsewire_core::sample::RejectReason;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// A value, or a whole row, that was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// Index of the row in the report.
    pub row: u32,
    /// Index of the metric in the set; None = the whole row.
    pub metric: Option<u32>,
    /// Why.
    pub reason: RejectReason,
}

/// Why a session must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The stream was not opened by this device, or was retired.
    UnknownStream(StreamId),
    /// Numbers are missing.
    Gap {
        /// Which stream.
        stream: StreamId,
        /// What must come next.
        expected: Sequence,
        /// What came.
        got: Sequence,
    },
    /// Two devices share one identity.
    Clone {
        /// Which stream.
        stream: StreamId,
        /// The number that came with two contents.
        sequence: Sequence,
    },
    /// The device was deleted.
    DeviceGone,
    /// Nothing could be stored. True if only a restart of the server helps.
    Unavailable {
        /// See above.
        stopped: bool,
    },
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngestReply {
    /// Everything of the stream up to this number is done.
    Ack {
        /// Which stream.
        stream: StreamId,
        /// Highest number that is done.
        sequence: Sequence,
    },
    /// Parts of a report were not stored; its Ack follows.
    Nack {
        /// Which stream.
        stream: StreamId,
        /// Which report.
        sequence: Sequence,
        /// The first of them.
        items: Vec<Rejected>,
        /// Values in all.
        total: u32,
    },
    /// A stream was made.
    StreamOpened {
        /// The device's number for its request.
        request: u32,
        /// The new stream.
        stream: StreamId,
    },
    /// Rows of a file are stored, but for those that are named.
    Imported {
        /// Values stored.
        stored: u64,
        /// The first that were not, at most 64: the index of the block, and what in it.
        items: Vec<(usize, Rejected)>,
        /// Values not stored.
        rejected: u64,
    },
    /// The session must end; nothing more of it is taken. Of an import: nothing of it was stored.
    Refused(Refusal),
}

/// A session's box of answers.
///
/// It needs no bound of its own: each answer stands for a submission or for a report in flight, of which the device's window
/// allows only so many, and a session takes its answers out after every submission.
#[derive(Debug, Default)]
pub struct Mailbox {
    replies: Mutex<VecDeque<IngestReply>>,
    refused: AtomicBool,
    arrived: Notify,
}

impl Mailbox {
    /// Puts an answer in. An Ack takes the place of an Ack for the same stream that is the newest answer still there.
    pub fn put(&self, reply: IngestReply) {
        if matches!(reply, IngestReply::Refused(_)) {
            self.refused.store(true, Ordering::Release);
        }
        if let Ok(mut replies) = self.replies.lock() {
            match (replies.back_mut(), &reply) {
                (Some(IngestReply::Ack { stream, sequence }), IngestReply::Ack { stream: new, sequence: to })
                    if stream == new =>
                {
                    *sequence = (*sequence).max(*to);
                }
                _ => replies.push_back(reply),
            }
        }
        self.arrived.notify_one();
    }

    /// The session is about to be told to end.
    pub fn set_refused(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// True once the session was told to end: what it submitted after that is not taken.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Takes the oldest answer, if there is one.
    pub fn try_take(&self) -> Option<IngestReply> {
        self.replies.lock().ok()?.pop_front()
    }

    /// Resolves when an answer may be there. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_of_one_stream_merge_but_never_pass_a_nack() {
        let (stream, mailbox) = (StreamId(1), Mailbox::default());
        let ack = |n| IngestReply::Ack { stream, sequence: Sequence(n) };
        let nack = IngestReply::Nack { stream, sequence: Sequence(3), items: Vec::new(), total: 1 };
        for reply in [ack(1), ack(2), nack.clone(), ack(3)] {
            mailbox.put(reply);
        }
        let all: Vec<_> = std::iter::from_fn(|| mailbox.try_take()).collect();
        assert_eq!(all, [ack(2), nack, ack(3)]);
    }
}
