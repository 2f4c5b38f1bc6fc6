//! Frames: the header, finding frames in a stream of bytes, and the messages as one enum. SPEC §2.

use alloc::vec::Vec;
use core::fmt;

use crate::{
    CloseCode, DecodeError,
    frame::{
        Ack, Alert, Batch, Cancel, Challenge, Close, Command, CommandResult, CommandSet, CommandState, Delivered,
        EventsLost, EventsResume, Gap, Heartbeat, Hello, LiveWelcome, MetricSet, Nack, Ping, Pong, Presence, Progress,
        Proof, Refused, Report, ResultAck, SeriesDef, Skip, SnapshotEnd, StreamId, StreamOpen, Subscribe, Texts,
        Unsubscribe, Welcome,
    },
};

/// First two bytes of every frame.
pub const MAGIC: [u8; 2] = [0xAB, 0xCD];
/// The protocol version of this crate.
pub const VERSION: u8 = 1;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// The header of a frame. SPEC §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Message type; may be one that this version does not know.
    pub message_type: u8,
    /// Bytes of payload that follow.
    pub length: u32,
}

/// A header that ends the session. SPEC §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// Not this protocol.
    BadMagic([u8; 2]),
    /// Another version of it.
    UnsupportedVersion(u8),
    /// A payload above the receiver's limit.
    TooLarge {
        /// Announced length in bytes.
        length: u32,
        /// The limit in bytes.
        limit: u32,
    },
}

impl Header {
    /// Reads a header and decides from it alone; `limit` is the largest payload that the receiver takes, in bytes.
    pub fn decode(bytes: &[u8; HEADER_BYTES], limit: u32) -> Result<Header, HeaderError> {
        let [m0, m1, version, message_type, l0, l1, l2, l3] = *bytes;
        if [m0, m1] != MAGIC {
            return Err(HeaderError::BadMagic([m0, m1]));
        }
        if version != VERSION {
            return Err(HeaderError::UnsupportedVersion(version));
        }
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        if length > limit {
            return Err(HeaderError::TooLarge { length, limit });
        }
        Ok(Header { message_type, length })
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [MAGIC[0], MAGIC[1], VERSION, self.message_type, l0, l1, l2, l3]
    }
}

impl HeaderError {
    /// The code to close with.
    pub const fn close_code(&self) -> CloseCode {
        match self {
            HeaderError::BadMagic(_) => CloseCode::BadMagic,
            HeaderError::UnsupportedVersion(_) => CloseCode::UnsupportedVersion,
            HeaderError::TooLarge { .. } => CloseCode::FrameTooLarge,
        }
    }
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderError::BadMagic([m0, m1]) => {
                write!(f, "a frame begins with AB CD, not {m0:02X} {m1:02X}: is this the Pulsewire device port?")
            }
            HeaderError::UnsupportedVersion(version) => {
                write!(f, "frame version {version}: this side speaks version {VERSION}")
            }
            HeaderError::TooLarge { length, limit } => {
                write!(f, "a payload of {length} bytes: at most {limit} bytes are taken here")
            }
        }
    }
}

impl core::error::Error for HeaderError {}

/// One whole frame as it arrived.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawFrame<'a> {
    bytes: &'a [u8],
}

impl fmt::Debug for RawFrame<'_> {
    /// Type and length only: payloads do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawFrame({:#04x}, {} bytes)", self.message_type(), self.payload().len())
    }
}

impl<'a> RawFrame<'a> {
    /// The frame at the start of `bytes` and what follows it; `None` if it is not whole.
    pub fn split(bytes: &'a [u8], limit: u32) -> Result<Option<(RawFrame<'a>, &'a [u8])>, HeaderError> {
        let Some(header) = bytes.first_chunk() else {
            return Ok(None);
        };
        let total = frame_len(Header::decode(header, limit)?);
        Ok(bytes.split_at_checked(total).map(|(frame, rest)| (RawFrame { bytes: frame }, rest)))
    }

    /// The message type, known or not.
    pub fn message_type(&self) -> u8 {
        self.bytes[3]
    }

    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Header and payload as sent, as the login's transcript takes them. SPEC §4.3.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Finds frames in bytes that arrive in pieces of any size.
///
/// Between frames it holds no memory; within one it holds what has arrived of it, never what the header announces.
#[derive(Debug)]
pub struct FrameReader {
    partial: Vec<u8>,
    /// The caller has been given the frame in `partial`, and comes back for the next one.
    yielded: bool,
    limit: u32,
}

impl FrameReader {
    /// A reader that refuses payloads above `limit` bytes.
    pub fn new(limit: u32) -> Self {
        FrameReader { partial: Vec::new(), yielded: false, limit }
    }

    /// Changes the limit, for headers that are not complete yet.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Whether a frame has begun and not ended. At the end of a WebSocket message this closes with 4007. SPEC §1.1.
    pub fn has_partial(&self) -> bool {
        !self.partial.is_empty() && !self.yielded
    }

    /// Takes bytes from the front of `input` until a frame is whole, and yields it: from `input` itself where it lies
    /// there in one piece. `None` means that `input` is used up. After an error the connection is to be closed.
    ///
    /// ```
    /// # use pulsewire_proto::FrameReader;
    /// let mut reader = FrameReader::new(4096);
    /// let mut input: &[u8] = &[0xAB, 0xCD, 1, 6, 0, 0, 0, 1, 42, 0xAB];
    /// while let Some(frame) = reader.next_frame(&mut input)? {
    ///     assert_eq!(frame.payload(), [42]);
    /// }
    /// assert!(input.is_empty() && reader.has_partial());
    /// # Ok::<(), pulsewire_proto::HeaderError>(())
    /// ```
    pub fn next_frame<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Result<Option<RawFrame<'s>>, HeaderError> {
        if self.yielded {
            self.partial = Vec::new();
            self.yielded = false;
        }
        if self.partial.is_empty() {
            if let Some((frame, rest)) = RawFrame::split(input, self.limit)? {
                *input = rest;
                return Ok(Some(frame));
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        if !self.take_until(HEADER_BYTES, input) {
            return Ok(None);
        }
        let Some(header) = self.partial.first_chunk() else {
            return Ok(None);
        };
        let total = frame_len(Header::decode(header, self.limit)?);
        if !self.take_until(total, input) {
            return Ok(None);
        }
        self.yielded = true;
        Ok(Some(RawFrame { bytes: &self.partial }))
    }

    /// Fills `partial` up to `length` bytes; whether it got there.
    fn take_until(&mut self, length: usize, input: &mut &[u8]) -> bool {
        let missing = length.saturating_sub(self.partial.len()).min(input.len());
        let (taken, rest) = input.split_at(missing);
        self.partial.extend_from_slice(taken);
        *input = rest;
        self.partial.len() >= length
    }
}

fn frame_len(header: Header) -> usize {
    HEADER_BYTES.saturating_add(header.length as usize)
}

/// Appends a frame: header, and what `payload` appends.
pub(crate) fn put_frame(out: &mut Vec<u8>, message_type: MessageType, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&Header { message_type: message_type as u8, length: 0 }.encode());
    payload(out);
    let length = out.len() - start - HEADER_BYTES;
    debug_assert!(u32::try_from(length).is_ok(), "a payload of 4 GiB");
    out[start + 4..start + HEADER_BYTES].copy_from_slice(&(length as u32).to_be_bytes());
}

/// Appends a frame of this type around a payload that is already encoded, such as a kept report.
pub fn encode_frame(message_type: MessageType, payload: &[u8], out: &mut Vec<u8>) {
    put_frame(out, message_type, |out| out.extend_from_slice(payload));
}

macro_rules! messages {
    ($($variant:ident = $code:literal, $name:literal, $type:ty, $decode:path;)+) => {
        /// Message types of SPEC §2.1.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub enum MessageType {
            $($variant = $code,)+
        }

        impl MessageType {
            /// Every type that this version knows, ascending.
            pub const ALL: &'static [MessageType] = &[$(MessageType::$variant,)+];

            /// The type with this number; `None` if this version does not know it.
            pub const fn from_u8(code: u8) -> Option<MessageType> {
                match code { $($code => Some(MessageType::$variant),)+ _ => None }
            }

            /// The name in SPEC §2.1.
            pub const fn name(self) -> &'static str {
                match self { $(MessageType::$variant => $name,)+ }
            }
        }

        /// Any message of this version. Reports and batches borrow the payload.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)]
        pub enum Message<'a> {
            $($variant($type),)+
        }

        impl<'a> Message<'a> {
            /// Reads a payload and checks its limits; `Ok(None)` for a type that this version does not know, which the
            /// receiver skips and counts. The values of a report are not read yet: see [`Report::samples`].
            pub fn decode(message_type: u8, payload: &'a [u8]) -> Result<Option<Message<'a>>, DecodeError> {
                Ok(Some(match MessageType::from_u8(message_type) {
                    $(Some(MessageType::$variant) => Message::$variant($decode(payload)?),)+
                    None => return Ok(None),
                }))
            }

            /// The type under which this message is sent.
            pub const fn message_type(&self) -> MessageType {
                match self { $(Message::$variant(_) => MessageType::$variant,)+ }
            }

            /// Appends the whole frame: header and payload.
            pub fn encode(&self, out: &mut Vec<u8>) {
                put_frame(out, self.message_type(), |out| match self {
                    $(Message::$variant(message) => message.encode_payload(out),)+
                });
            }
        }
    };
}

messages! {
    Hello = 0x01, "HELLO", Hello, Hello::decode;
    Challenge = 0x02, "CHALLENGE", Challenge, Challenge::decode;
    Proof = 0x03, "PROOF", Proof, Proof::decode;
    Welcome = 0x04, "WELCOME", Welcome, Welcome::decode;
    Close = 0x05, "CLOSE", Close, Close::decode;
    Ping = 0x06, "PING", Ping, Ping::decode;
    Pong = 0x07, "PONG", Pong, Pong::decode;
    StreamOpen = 0x08, "STREAM_OPEN", StreamOpen, StreamOpen::decode;
    StreamId = 0x09, "STREAM_ID", StreamId, StreamId::decode;
    MetricSet = 0x10, "METRIC_SET", MetricSet, MetricSet::decode;
    Telemetry = 0x11, "TELEMETRY", Report<'a>, Report::parse;
    Backfill = 0x12, "BACKFILL", Report<'a>, Report::parse;
    Ack = 0x13, "ACK", Ack, Ack::decode;
    Nack = 0x14, "NACK", Nack, Nack::decode;
    Skip = 0x15, "SKIP", Skip, Skip::decode;
    Command = 0x20, "COMMAND", Command, Command::decode;
    Delivered = 0x21, "DELIVERED", Delivered, Delivered::decode;
    Progress = 0x22, "PROGRESS", Progress, Progress::decode;
    Result = 0x23, "RESULT", CommandResult, CommandResult::decode;
    ResultAck = 0x24, "RESULT_ACK", ResultAck, ResultAck::decode;
    Cancel = 0x25, "CANCEL", Cancel, Cancel::decode;
    CommandSet = 0x26, "COMMAND_SET", CommandSet, CommandSet::decode;
    LiveWelcome = 0x80, "LIVE_WELCOME", LiveWelcome, LiveWelcome::decode;
    Subscribe = 0x81, "SUBSCRIBE", Subscribe, Subscribe::decode;
    Unsubscribe = 0x82, "UNSUBSCRIBE", Unsubscribe, Unsubscribe::decode;
    SeriesDef = 0x83, "SERIES_DEF", SeriesDef, SeriesDef::decode;
    Batch = 0x84, "BATCH", Batch<'a>, Batch::decode;
    Presence = 0x85, "PRESENCE", Presence, Presence::decode;
    Gap = 0x86, "GAP", Gap, Gap::decode;
    Heartbeat = 0x87, "HEARTBEAT", Heartbeat, Heartbeat::decode;
    Alert = 0x88, "ALERT", Alert, Alert::decode;
    CommandState = 0x89, "COMMAND_STATE", CommandState, CommandState::decode;
    SnapshotEnd = 0x8A, "SNAPSHOT_END", SnapshotEnd, SnapshotEnd::decode;
    Refused = 0x8B, "REFUSED", Refused, Refused::decode;
    Texts = 0x8C, "TEXTS", Texts, Texts::decode;
    EventsLost = 0x8D, "EVENTS_LOST", EventsLost, EventsLost::decode;
    EventsResume = 0x8E, "EVENTS_RESUME", EventsResume, EventsResume::decode;
}
