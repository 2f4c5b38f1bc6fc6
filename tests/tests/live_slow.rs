//! Viewers that do not read: they cost the server a bounded amount of memory, learn what they missed, and in the end
//! their place.

use pulsewire_proto::frame::{GapReason, StreamKind};
use pulsewire_proto::{CloseCode, MetricType, Value};
use pulsewire_tests::device::{Device, now_us, set_of, sparse_report};
use pulsewire_tests::wire::closed_metric;
use pulsewire_tests::{Server, Viewer, everything, until};

const TEXT_BYTES: usize = 4000;
const ROWS: u64 = 10;
const MIB: u64 = 1 << 20;

/// A device whose reports are large: texts of 4,000 bytes, ten to a report.
struct Talker {
    device: Device,
    stream: u32,
    sent: u64,
    start_us: i64,
}

impl Talker {
    fn new(server: &Server) -> Self {
        let mut device = server.device("talker");
        let stream = device.open_stream(StreamKind::Live);
        device.declare(&set_of(0, &[("text", MetricType::Text)]));
        Self { device, stream, sent: 0, start_us: now_us() }
    }

    /// Sends so many reports of 40 kB and waits until they are stored.
    fn talk(&mut self, reports: u64) {
        let set = set_of(0, &[("text", MetricType::Text)]);
        let start_us = self.start_us;
        let make = |sequence: u64| {
            let texts: Vec<_> = (0..ROWS).map(|row| text(sequence * ROWS + row)).collect();
            let row = |(n, text)| (time(start_us, sequence * ROWS + n), vec![Some(Value::Text(text))]);
            let rows: Vec<_> = (0..ROWS).zip(texts.iter().map(String::as_str)).map(row).collect();
            sparse_report(&set, self.stream, sequence, &rows)
        };
        // One by one: 256 of these reports are more than the window's bytes.
        for sequence in self.sent + 1..=self.sent + reports {
            self.device.send_all(self.stream, sequence..sequence + 1, make);
        }
        self.sent += reports;
    }

    /// Time of the newest sample.
    fn newest(&self) -> i64 {
        time(self.start_us, self.sent * ROWS + ROWS - 1)
    }
}

fn time(start_us: i64, n: u64) -> i64 {
    start_us + i64::try_from(n).expect("small")
}

fn text(n: u64) -> String {
    let mut text = format!("{n:010}");
    text.push_str(&"x".repeat(TEXT_BYTES - text.len()));
    text
}

fn narrow_viewer(server: &Server) -> Viewer {
    let mut viewer = Viewer::connect_narrow(server.http, server.admin().token());
    viewer.subscribe(&everything(1, &["talker"]));
    viewer
}

#[test]
fn a_stalled_viewer_costs_bounded_memory_and_is_told_what_it_missed() {
    let server = Server::options()
        // A text of 4,000 bytes weighs as much as 4 samples, so 125 of them may wait.
        .set("live.pending_samples_max", 500)
        .set("journal.retain_bytes", "1MiB")
        // Samples that are not sealed have memory of their own, which is not what is measured here.
        .set("store.heads_bytes_max", "4MiB")
        .set("store.unsealed_bytes_max", "1MiB")
        .set("live.bus_events", 16)
        .start();
    let mut talker = Talker::new(&server);
    // The store's caches are full after this.
    talker.talk(300);
    let before = server.rss_bytes();

    let mut viewer = narrow_viewer(&server);
    let dropped = || server.metric("pulsewire_live_samples_dropped_total");
    let mut most = 0;
    let mut sent = 0;
    until("samples are dropped for the viewer", || {
        talker.talk(100);
        sent += 100 * ROWS * TEXT_BYTES as u64;
        most = most.max(server.rss_bytes().saturating_sub(before));
        (dropped() >= 2000.0).then_some(())
    });
    println!("{} MB sent, {} MB of memory taken", sent / MIB, most / MIB);
    assert!(sent > 8 * MIB);
    assert!(most < 24 * MIB, "the server grew by {most} bytes");

    // It reads on: what was buffered, then a gap, then the newest.
    talker.talk(1);
    let newest = talker.newest();
    viewer.until("the newest sample", |v| v.texts.iter().any(|(_, _, at, _)| *at == newest).then_some(()));
    assert!(!viewer.gaps.is_empty());
    assert!(viewer.gaps.iter().all(|gap| gap.reason == GapReason::SlowReader && gap.to_position >= gap.from_position));
    let times: Vec<_> = viewer.texts.iter().map(|(_, _, at, _)| *at).collect();
    assert!(times.is_sorted(), "in order, with gaps");
    let missed = talker.sent * ROWS - 300 * ROWS - times.len() as u64;
    assert!(missed >= 2000, "{missed} samples were left out");
    for (_, _, at, told) in &viewer.texts[1..] {
        assert_eq!(*told, text(u64::try_from(*at - talker.start_us).expect("after the start")));
    }
    // From here on it is a viewer like any other.
    let gaps = viewer.gaps.len();
    talker.talk(1);
    let newest = talker.newest();
    viewer.until("the next sample", |v| v.texts.iter().any(|(_, _, at, _)| *at == newest).then_some(()));
    assert_eq!(viewer.gaps.len(), gaps);
    server.assert_serves();
}

#[test]
fn a_viewer_that_takes_nothing_closes_with_4020_and_gives_everything_back() {
    let server = Server::options().set("live.slow_reader_timeout", "1s").set("live.pending_samples_max", 5000).start();
    let mut talker = Talker::new(&server);
    talker.talk(1);
    let mut reading = Viewer::connect(server.http, server.admin().token());
    reading.subscribe(&everything(1, &["talker"]));
    let sockets = server.sockets();
    let _stalled = narrow_viewer(&server);
    until("the viewer is closed", || {
        talker.talk(20);
        // The other viewer reads on and has everything.
        let newest = talker.newest();
        reading.until("the newest sample", |v| v.texts.iter().any(|(_, _, at, _)| *at == newest).then_some(()));
        (server.metric(&closed_metric(CloseCode::SlowReader)) > 0.0).then_some(())
    });
    assert!(reading.gaps.is_empty(), "{:?}", reading.gaps);
    server.expect_metric("pulsewire_live_viewers", 1.0);
    // The connection goes too, though its peer still does not read.
    until("the connection is gone", || (server.sockets() <= sockets).then_some(()));
    server.expect_metric(&closed_metric(CloseCode::SlowReader), 1.0);
    server.assert_serves();
}

#[test]
fn a_viewer_that_reads_again_in_time_finds_the_reason() {
    let server = Server::with("live.slow_reader_timeout", "4s");
    let mut talker = Talker::new(&server);
    let mut stalled = narrow_viewer(&server);
    until("the viewer is closed", || {
        talker.talk(50);
        (server.metric(&closed_metric(CloseCode::SlowReader)) > 0.0).then_some(())
    });
    let close = stalled.expect_close();
    server.assert_close_text(&close, CloseCode::SlowReader, "nothing was taken for 4s");
    server.assert_serves();
}
