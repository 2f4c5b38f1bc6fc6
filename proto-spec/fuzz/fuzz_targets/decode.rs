//! Any bytes, cut anywhere: frames are found, messages decoded, and what decodes encodes to something that decodes to
//! the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pulsewire_proto::{FrameReader, Message, Metric, MetricSet, MetricType, RawFrame};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let mut reader = FrameReader::new(1 << 20);
    for mut piece in bytes.chunks(usize::from(cut).max(1)) {
        loop {
            match reader.next_frame(&mut piece) {
                Ok(Some(frame)) => check(frame.message_type(), frame.payload()),
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    check(cut, bytes);
});

fn check(message_type: u8, payload: &[u8]) {
    let Ok(Some(message)) = Message::decode(message_type, payload) else {
        return;
    };
    if let Message::Telemetry(report) | Message::Backfill(report) = &message {
        let types = [MetricType::F64, MetricType::F32, MetricType::I64, MetricType::Bool, MetricType::Text];
        let metrics = types.iter().map(|kind| Metric::new(kind.name(), "", *kind)).collect();
        let set = MetricSet { set: report.set, metrics };
        let _ = report.check(&set);
    }
    if let Message::Batch(batch) = &message {
        assert_eq!(batch.samples().count(), batch.len());
    }
    let mut encoded = Vec::new();
    message.encode(&mut encoded);
    let (frame, rest) = RawFrame::split(&encoded, u32::MAX).expect("a good header").expect("a whole frame");
    assert!(rest.is_empty());
    let again = Message::decode(frame.message_type(), frame.payload()).expect("what was encoded decodes");
    let mut twice = Vec::new();
    again.expect("a known type").encode(&mut twice);
    assert_eq!(encoded, twice);
}
