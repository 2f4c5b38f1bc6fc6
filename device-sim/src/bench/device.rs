//! A device in the words of the load generator: the protocol crate's machine logs in, and then only bytes are looked at.

use std::time::Duration;

use pulsewire_proto::{
    FrameReader, Message, Metric, MetricSet, MetricType, RawFrame, Report,
    auth::Binding,
    frame::{Ack, Close, Ping, Pong, StreamKind, StreamOpen},
    limits,
    session::{DeviceConfig, DeviceEvent, DeviceLogin, DeviceSession, Output},
};

use super::generator::{Acks, Reading, Wire};

/// One device on raw TCP. It opens one stream and declares one metric set; a report is one row.
pub(super) struct DeviceWire {
    login: Option<Box<Login>>,
    in_flight: u32,
    stream: Option<u32>,
}

struct Login {
    session: DeviceSession,
    reader: FrameReader,
    metrics: usize,
}

/// Metrics called m0, m1, …, all f32.
pub(super) fn metric_set(metrics: usize) -> MetricSet {
    MetricSet { set: 0, metrics: (0..metrics).map(|m| Metric::new(format!("m{m}"), "", MetricType::F32)).collect() }
}

impl DeviceWire {
    /// A device that will have so many reports in flight.
    pub fn new(device: String, secret: [u8; 32], metrics: usize, in_flight: u32) -> Result<DeviceWire, String> {
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
        let config = DeviceConfig {
            device,
            login: DeviceLogin::Secret(secret),
            firmware: "pulsewire-sim bench".into(),
            streams: Vec::new(),
            binding: Binding::Plain,
        };
        let session = DeviceSession::new(Duration::ZERO, config, nonce).map_err(|error| error.to_string())?;
        let reader = FrameReader::new(session.frame_limit());
        Ok(DeviceWire { login: Some(Box::new(Login { session, reader, metrics })), in_flight, stream: None })
    }

    fn log_in(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let Some(login) = &mut self.login else { return Ok(0) };
        let length = input.len();
        while let Some(frame) = login.reader.next_frame(&mut input).map_err(|error| error.to_string())? {
            match login.session.handle_frame(Duration::ZERO, frame) {
                Some(DeviceEvent::Welcome(welcome)) => {
                    if welcome.window_frames < self.in_flight {
                        let most = welcome.window_frames;
                        return Err(format!("the server's window is {most} reports, below --in-flight"));
                    }
                    Message::StreamOpen(StreamOpen { request: 1, kind: StreamKind::Live }).encode(out);
                    Message::MetricSet(metric_set(login.metrics)).encode(out);
                }
                Some(DeviceEvent::StreamId(opened)) => self.stream = Some(opened.stream),
                _ => {}
            }
            poll(&mut login.session, out)?;
            if self.stream.is_some() {
                break;
            }
        }
        if self.stream.is_some() {
            self.login = None;
        }
        Ok(length - input.len())
    }
}

fn poll(session: &mut DeviceSession, out: &mut Vec<u8>) -> Result<(), String> {
    while let Some(output) = session.poll_output() {
        match output {
            Output::Send(bytes) => out.extend_from_slice(&bytes),
            Output::Closed(closed) => return Err(format!("the session ended with {}: {}", closed.code, closed.text)),
        }
    }
    Ok(())
}

impl Wire for DeviceWire {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        match &mut self.login {
            Some(login) => poll(&mut login.session, out),
            None => Ok(()),
        }
    }

    fn is_ready(&self) -> bool {
        self.stream.is_some()
    }

    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, out: &mut Vec<u8>) -> Result<usize, String> {
        if self.login.is_some() {
            return self.log_in(input, out);
        }
        let mut rest = input;
        while let Some((frame, behind)) =
            RawFrame::split(rest, limits::FRAME_BYTES_MAX).map_err(|error| error.to_string())?
        {
            rest = behind;
            match Message::decode(frame.message_type(), frame.payload()).map_err(|error| error.to_string())? {
                Some(Message::Ack(Ack { stream, sequence })) if Some(stream) == self.stream => acks.up_to(sequence),
                Some(Message::Nack(_)) => acks.refused(),
                Some(Message::Ping(Ping { token })) => Message::Pong(Pong { token }).encode(out),
                Some(Message::Close(Close { code, text, .. })) => {
                    return Err(format!("the session ended with {code}: {text}"));
                }
                _ => {}
            }
        }
        Ok(input.len() - rest.len())
    }

    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
        let stream = self.stream.unwrap_or_default();
        let report =
            Report { set: 0, sparse: false, stream, sequence, base_us: reading.time_us, rows: 1, body: reading.values };
        Message::Telemetry(report).encode(out);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        Message::Close(Close::new(pulsewire_proto::CloseCode::Normal, "done")).encode(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_ten_metrics_takes_at_most_64_bytes() {
        let mut wire = DeviceWire { login: None, in_flight: 1, stream: Some(7) };
        let values: Vec<u8> = (0..10).flat_map(|n| (n as f32).to_le_bytes()).collect();
        for (sequence, length) in [(1, 60), (1000, 62), (1_000_000, 64)] {
            let mut out = Vec::new();
            wire.message(sequence, &Reading { time_us: 5, due_us: 5, values: &values }, &mut out);
            assert_eq!(out.len(), length);
            let (frame, _) = RawFrame::split(&out, 1000).expect("a header").expect("whole");
            let report = Report::parse(frame.payload()).expect("a report");
            assert_eq!((report.stream, report.sequence, report.base_us, report.rows), (7, sequence, 5, 1));
            assert_eq!(report.check(&metric_set(10)), Ok(10));
        }
    }
}
