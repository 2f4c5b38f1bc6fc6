//! kill -9 at random moments: what was acknowledged is there, nothing is there twice, and everybody goes on by themselves.
//!
//! `PULSEWIRE_LONG=1` makes ten rounds of it; `PULSEWIRE_SEED` repeats the moments as far as a machine can.

use pulsewire_proto::Message;
use pulsewire_proto::frame::{Close, StreamKind};
use pulsewire_tests::device::{Device, metrics, report};
use pulsewire_tests::recorded::{Random, Recording};
use pulsewire_tests::{METRICS, Server, Sim, until};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const KILLS: u64 = 10;

fn rounds() -> u64 {
    if std::env::var_os("PULSEWIRE_LONG").is_some() { 10 } else { 1 }
}

/// A random moment: after so many more reports, and so long.
fn moment(random: &mut Random, left: u64, killed: u64) -> (u64, Duration) {
    (1 + random.below(left / (KILLS - killed + 1)), Duration::from_micros(random.below(10_000)))
}

/// Kills the server after it has stored so many more reports and a moment more; answers when it is up again. False if what
/// sends has ended before.
fn kill_after(server: &mut Server, reports: u64, moment: Duration, mut is_sending: impl FnMut() -> bool) -> bool {
    let reached = until("reports are stored", || {
        if !is_sending() {
            return Some(false);
        }
        // The counter began at 0 with this process.
        (server.metric("pulsewire_reports_stored_total") >= reports as f64).then_some(true)
    });
    if reached {
        std::thread::sleep(moment);
        server.kill9();
        server.restart();
    }
    reached
}

#[test]
fn a_replay_over_ten_kills_of_the_server_stores_every_value_once_and_bit_for_bit() {
    let mut random = Random::printed();
    (0..rounds()).for_each(|_| replay_over_kills(&mut random));
}

fn replay_over_kills(random: &mut Random) {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = Recording::of_environment(folder.path());
    let file = recording.path.to_string_lossy().into_owned();
    // Small commits: more moments to be killed at.
    let mut server = Server::options().set("device.window_frames", 4).start();
    let mut replay = Sim::start(&server, folder.path(), "replay", &[&file]);

    let mut killed = 0;
    while killed < KILLS {
        let left = recording.rows - recording.reports_stored(server.admin());
        let (reports, later) = moment(random, left, killed);
        if !kill_after(&mut server, reports, later, || replay.is_running()) {
            break;
        }
        killed += 1;
    }
    let summary = replay.wait().expect_success();
    println!("{killed} kills; {summary}");
    assert_eq!(killed, KILLS, "the replay ended before: {summary}");
    assert_eq!((&summary["complete"], &summary["agrees"]), (&json!(true), &json!(true)), "{summary}");
    assert_eq!(summary["acknowledged"], recording.rows, "{summary}");
    assert!(summary["disconnects"].as_u64() >= Some(killed), "{summary}");
    recording.assert_stored(server.admin());

    // Once more changes nothing, in the running server as after a last crash.
    for _ in 0..2 {
        let again = Sim::start(&server, folder.path(), "replay", &[&file]).wait().expect_success();
        assert_eq!(again["repeats_acknowledged"], recording.rows, "{again}");
        assert_eq!((&again["stored"], &again["acknowledged"]), (&json!(0), &json!(recording.rows)), "{again}");
        recording.assert_stored(server.admin());
        server.kill9();
        server.restart();
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Times of the reports of the device below.
fn time_us(sequence: u64) -> i64 {
    1_600_000_000_000_000 + i64::try_from(sequence).expect("small")
}

/// A device that sends its reports as fast as the window allows, and goes on after a break where WELCOME says. It checks that
/// no acknowledgement is ever taken back.
fn send_through_crashes(address: std::net::SocketAddr, secret: &[u8; 32], reports: u64, acked: &AtomicU64) -> u64 {
    let set = metrics(0);
    let (mut stream, mut breaks) = (None, 0_u64);
    loop {
        let held: Vec<u32> = stream.into_iter().collect();
        let Some(mut device) = Device::attempt(address, "survivor", secret, &held) else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        device.declare(&set);
        let mut done = match (stream, device.welcome.streams.first()) {
            (Some(stream), Some(position)) => {
                assert_eq!(position.stream, stream);
                let (durable, promised) = (position.sequence, acked.load(Ordering::Relaxed));
                assert!(durable >= promised, "{promised} was acknowledged, {durable} is there after the crash");
                durable
            }
            (Some(stream), None) => panic!("stream {stream} is unknown after the crash"),
            (None, _) => {
                stream = open_stream(&mut device);
                0
            }
        };
        let Some(stream) = stream else { continue };
        acked.store(done, Ordering::Relaxed);
        let mut next = done + 1;
        while done < reports {
            while next <= reports && next - done <= 20 {
                device.send(&report(&set, stream, next, &[(time_us(next), next as f64 / 3.0)]));
                next += 1;
            }
            let Some(frame) = device.wire.next_frame() else { break };
            match frame.message() {
                Message::Ack(ack) => {
                    assert!(ack.sequence < next && ack.sequence >= done, "{ack:?}");
                    done = ack.sequence;
                    acked.store(done, Ordering::Relaxed);
                }
                Message::Ping(_) => {}
                // A server that is killed says nothing; one that says this has a defect.
                Message::Close(Close { code, text, .. }) => panic!("closed with {code}: {text}"),
                other => panic!("{other:?}"),
            }
        }
        if done == reports {
            device.leave();
            return breaks;
        }
        breaks += 1;
    }
}

/// None if the connection broke before the answer.
fn open_stream(device: &mut Device) -> Option<u32> {
    let open = pulsewire_proto::frame::StreamOpen { request: 1, kind: StreamKind::Live };
    device.wire.send_message(&Message::StreamOpen(open));
    let frame = device.wire.next_frame()?;
    let Message::StreamId(id) = frame.message() else { panic!("{frame:?} is no answer to STREAM_OPEN") };
    Some(id.stream)
}

#[test]
fn no_acknowledgement_is_taken_back_over_ten_kills() {
    let mut random = Random::printed();
    (0..rounds()).for_each(|_| send_over_kills(&mut random));
}

fn send_over_kills(random: &mut Random) {
    const REPORTS: u64 = 12_000;
    let mut server = Server::start();
    let secret = server.create_device("survivor");
    let (acked, sending) = (AtomicU64::new(0), AtomicBool::new(true));
    let address = server.device;
    std::thread::scope(|scope| {
        let device = scope.spawn(|| {
            // Also after a failed assertion, so that the killing ends.
            let _end = OnDrop(&sending);
            send_through_crashes(address, &secret, REPORTS, &acked)
        });
        let mut killed = 0;
        while killed < KILLS {
            let left = REPORTS - acked.load(Ordering::Relaxed);
            let (reports, later) = moment(random, left, killed);
            if !kill_after(&mut server, reports, later, || sending.load(Ordering::Relaxed)) {
                break;
            }
            killed += 1;
        }
        let breaks = device.join().expect("the device's checks hold");
        println!("{killed} kills, {breaks} broken sessions");
        assert_eq!(killed, KILLS, "the device was done before");
    });
    let stored = server.admin().history("survivor", METRICS[0]);
    let expected: Vec<_> = (1..=REPORTS).map(|n| (time_us(n), json!(n as f64 / 3.0))).collect();
    assert_eq!(stored.len(), expected.len());
    assert!(stored == expected, "the values differ");
    let accounting = &server.admin().device("survivor")["accounting"];
    assert_eq!((&accounting["reports"], &accounting["stored"]), (&json!(REPORTS), &json!(REPORTS)), "{accounting}");
    assert_eq!(accounting["replaced"], 0, "{accounting}");
}

/// Clears a flag when dropped.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
