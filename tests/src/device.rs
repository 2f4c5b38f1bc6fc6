//! A device that sends what the test wants.

use crate::wire::{Frame, Incoming, Transport, Wire, frame_of};
use pulsewire_proto::auth::{self, Binding, Transcript};
use pulsewire_proto::frame::{
    Challenge, Close, Hello, Login, Metric, MetricSet, MetricType, Nack, Proof, ReportBuilder, StreamKind, StreamOpen,
    Value, Welcome,
};
use pulsewire_proto::{Message, MessageType};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Metrics of the set that [`metrics`] makes.
pub const METRICS: [&str; 2] = ["temp", "other"];

/// A set of two f64 metrics.
pub fn metrics(set: u8) -> MetricSet {
    set_of(set, &METRICS.map(|name| (name, MetricType::F64)))
}

/// Any set, without units.
pub fn set_of(set: u8, metrics: &[(&str, MetricType)]) -> MetricSet {
    MetricSet { set, metrics: metrics.iter().map(|(name, kind)| Metric::new(*name, "", *kind)).collect() }
}

/// A TELEMETRY frame with rows for the first metric of [`metrics`].
pub fn report(set: &MetricSet, stream: u32, sequence: u64, rows: &[(i64, f64)]) -> Vec<u8> {
    let rows: Vec<_> = rows.iter().map(|(time_us, value)| (*time_us, vec![Some(Value::F64(*value)), None])).collect();
    sparse_report(set, stream, sequence, &rows)
}

/// A TELEMETRY frame with any rows.
pub fn sparse_report(set: &MetricSet, stream: u32, sequence: u64, rows: &[(i64, Vec<Option<Value<'_>>>)]) -> Vec<u8> {
    let mut builder = ReportBuilder::sparse(set);
    for (time_us, values) in rows {
        builder.sparse_row(*time_us, values).expect("the row fits the set");
    }
    frame_of(&Message::Telemetry(builder.report(stream, sequence).expect("at least one row")))
}

/// The present, µs since 1970.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before 294000")
}

/// HELLO of a device.
pub fn hello(id: &str, login: Login, streams: &[u32]) -> Message<'static> {
    Message::Hello(Hello {
        device: id.to_owned(),
        version_min: 1,
        version_max: 1,
        nonce: [7; 32],
        login,
        firmware: "test 1".to_owned(),
        streams: streams.to_vec(),
        desired_version: 0,
    })
}

/// A device's connection, logged in or on the way.
pub struct Device {
    /// The connection, for bytes of the test's own making.
    pub wire: Wire,
    /// What the server said at login.
    pub welcome: Welcome,
    requests: u32,
    // Highest ACK per stream.
    acked: HashMap<u32, u64>,
}

impl Device {
    /// Logs in over TCP; fails if the server refuses.
    pub fn login(address: SocketAddr, id: &str, secret: &[u8; 32]) -> Self {
        Self::login_over(Transport::Tcp, address, id, secret, &[])
    }

    /// Logs in over either transport, naming the streams it holds; fails if the server refuses.
    pub fn login_over(transport: Transport, address: SocketAddr, id: &str, secret: &[u8; 32], streams: &[u32]) -> Self {
        let result = Self::try_login(Wire::connect(address, transport), id, secret, streams);
        result.unwrap_or_else(|(_, close)| panic!("login closed with {}: {}", close.code, close.text))
    }

    /// Logs in on a connection; a refusal is its CLOSE.
    pub fn try_login(wire: Wire, id: &str, secret: &[u8; 32], streams: &[u32]) -> Result<Self, (Wire, Close)> {
        Self::handshake(wire, id, secret, streams).expect("the connection lasts")
    }

    /// Logs in if the server is there and stays for it; fails if it refuses.
    pub fn attempt(address: SocketAddr, id: &str, secret: &[u8; 32], streams: &[u32]) -> Option<Self> {
        match Self::handshake(Wire::try_connect(address)?, id, secret, streams)? {
            Ok(device) => Some(device),
            Err((_, close)) => panic!("login closed with {}: {}", close.code, close.text),
        }
    }

    /// None if the connection breaks.
    fn handshake(mut wire: Wire, id: &str, secret: &[u8; 32], streams: &[u32]) -> Option<Result<Self, (Wire, Close)>> {
        let hello = frame_of(&hello(id, Login::Proof, streams));
        wire.send(&hello);
        let challenge = wire.next_frame()?;
        if let Message::Close(close) = challenge.message() {
            return Some(Err((wire, close)));
        }
        assert!(matches!(challenge.message(), Message::Challenge(Challenge { version: 1, .. })), "{challenge:?}");
        let t = Transcript::new(&hello).finish(&challenge.0, &Binding::Plain);
        wire.send_message(&Message::Proof(Proof { proof: auth::device_proof(secret, &t) }));
        let answer = wire.next_frame()?;
        match answer.message() {
            Message::Welcome(welcome) => Some(Ok(Self { wire, welcome, requests: 0, acked: HashMap::new() })),
            Message::Close(close) => Some(Err((wire, close))),
            other => panic!("{other:?} is no answer to PROOF"),
        }
    }

    /// Logs in with a bearer token; a refusal is its CLOSE.
    pub fn login_with_token(address: SocketAddr, id: &str, token: &str) -> Result<Self, Close> {
        let mut wire = Wire::connect(address, Transport::Tcp);
        wire.send_message(&hello(id, Login::Token { token: token.to_owned() }, &[]));
        let answer = wire.frame();
        match answer.message() {
            Message::Welcome(welcome) => Ok(Self { wire, welcome, requests: 0, acked: HashMap::new() }),
            Message::Close(close) => Err(close),
            other => panic!("{other:?} is no answer to HELLO with a token"),
        }
    }

    /// Opens a stream and answers its id.
    pub fn open_stream(&mut self, kind: StreamKind) -> u32 {
        self.requests += 1;
        let request = self.requests;
        self.wire.send_message(&Message::StreamOpen(StreamOpen { request, kind }));
        loop {
            match self.answer().message() {
                Message::StreamId(id) if id.request == request => return id.stream,
                Message::Ack(_) => {}
                other => panic!("{other:?} is no answer to STREAM_OPEN"),
            }
        }
    }

    /// Declares a set.
    pub fn declare(&mut self, set: &MetricSet) {
        self.wire.send_message(&Message::MetricSet(set.clone()));
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.wire.send(bytes);
    }

    /// The next frame that is not PING, which is answered; fails at CLOSE, at the end, at an ACK that goes backwards, and
    /// at a NACK that comes after the ACK that covers its report (SPEC §6.5, §6.6).
    pub fn answer(&mut self) -> Frame {
        loop {
            let frame = self.wire.frame();
            match frame.message() {
                Message::Ping(ping) => {
                    self.wire.send_message(&Message::Pong(pulsewire_proto::frame::Pong { token: ping.token }));
                }
                Message::Close(close) => panic!("closed with {}: {}", close.code, close.text),
                Message::Ack(ack) => {
                    let before = self.acked.insert(ack.stream, ack.sequence).unwrap_or(0);
                    assert!(ack.sequence >= before, "ACK of stream {} went back from {before}: {ack:?}", ack.stream);
                    return frame;
                }
                Message::Nack(nack) => {
                    let acked = self.acked.get(&nack.stream).copied().unwrap_or(0);
                    assert!(nack.sequence > acked, "NACK of {} came after ACK {acked}", nack.sequence);
                    return frame;
                }
                _ => return frame,
            }
        }
    }

    /// Waits until a stream is acknowledged up to here; answers the NACKs on the way.
    pub fn expect_ack(&mut self, stream: u32, sequence: u64) -> Vec<Nack> {
        let mut nacks = Vec::new();
        loop {
            match self.answer().message() {
                Message::Nack(nack) => nacks.push(nack),
                Message::Ack(ack) if ack.stream == stream && ack.sequence >= sequence => {
                    assert_eq!(ack.sequence, sequence, "more is acknowledged than was sent");
                    return nacks;
                }
                Message::Ack(_) => {}
                other => panic!("{other:?} came where ACK was awaited"),
            }
        }
    }

    /// Sends reports as fast as the window allows, and waits until all are acknowledged. `make` answers the frame of a
    /// sequence.
    pub fn send_all(&mut self, stream: u32, sequences: Range<u64>, mut make: impl FnMut(u64) -> Vec<u8>) {
        let chunk = u64::from(self.welcome.window_frames / 4).max(1);
        let mut acked = sequences.start - 1;
        let mut next = sequences.start;
        while next < sequences.end {
            let to = (next + chunk).min(sequences.end);
            let bytes: Vec<u8> = (next..to).flat_map(&mut make).collect();
            self.send(&bytes);
            next = to;
            while next - acked > chunk * 3 {
                acked = self.next_ack(stream).max(acked);
            }
        }
        while acked + 1 < sequences.end {
            acked = self.next_ack(stream).max(acked);
        }
    }

    fn next_ack(&mut self, stream: u32) -> u64 {
        loop {
            match self.answer().message() {
                Message::Ack(ack) if ack.stream == stream => return ack.sequence,
                Message::Ack(_) => {}
                other => panic!("{other:?} came where ACK was awaited"),
            }
        }
    }

    /// Reads on to the CLOSE.
    pub fn expect_close(&mut self) -> Close {
        self.wire.expect_close()
    }

    /// Leaves with CLOSE 1000 and waits until the server has taken note.
    pub fn leave(mut self) {
        let close = Close::new(pulsewire_proto::CloseCode::Normal, "done");
        self.wire.send_message(&Message::Close(close));
        while let Incoming::Frame(_) = self.wire.receive() {}
    }

    /// A session of one device with a stream and [`metrics`] as set 0.
    pub fn prepare(&mut self) -> (u32, MetricSet) {
        let stream = self.open_stream(StreamKind::Live);
        let set = metrics(0);
        self.declare(&set);
        (stream, set)
    }
}

/// Whether a frame is of a type.
pub fn is(frame: &Frame, message_type: MessageType) -> bool {
    frame.message_type() == message_type as u8
}
