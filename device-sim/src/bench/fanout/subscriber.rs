//! One subscriber: takes what comes, keeps none of it, and knows whether anything is missing, doubled or out of order.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use pulsewire_proto::{
    Message, RawFrame,
    frame::{Aggregate, Batch, Heartbeat, Resume, Subscribe},
    limits,
};

use super::job::{Job, Speaks, Tally};
use super::websocket::{self, Kind};
use crate::bench::peers::{line, number};
use crate::fleet::unix_us;

/// Each has one.
const SUBSCRIPTION: u32 = 1;
/// Samples in a row that were left out and are timed one by one.
const CONFLATED_MAX: u64 = 10_000;
/// Highest number of a series, and more.
const SERIES_MAX: usize = 1 << 20;
/// The device of a number that no series has.
const NOBODY: u32 = u32::MAX;
/// A message of a peer: time, counter.
const PEER_HEAD: usize = 16;

/// What all subscribers of a process share.
pub(super) struct Shared {
    pub job: Job,
    /// Per view: the number of each device in it.
    devices: Vec<HashMap<String, u32>>,
    pub tally: Tally,
    pub times: Histogram<u64>,
    pub is_counting: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Asked for the upgrade, or for the first sign of life.
    Greeting,
    /// Asked for its view.
    Waiting,
    Live,
}

#[derive(Debug)]
pub(super) struct Subscriber {
    pub view: usize,
    stage: Stage,
    /// Of the store, and how far it has everything. SPEC §9.5.
    epoch: u64,
    position: u64,
    resumes: Option<Resume>,
    is_refused: bool,
    /// By series: whose it is, and its newest counter, 0 before the first.
    device: Vec<u32>,
    newest: Vec<u32>,
}

impl Shared {
    pub fn new(job: Job, times: Histogram<u64>) -> Shared {
        let numbers = |ids: &Vec<String>| (0..).zip(ids).map(|(number, id)| (id.clone(), number)).collect();
        let devices = job.views.iter().map(numbers).collect();
        Shared { job, devices, tally: Tally::default(), times, is_counting: false }
    }

    /// Forgets what was counted, but not what is wrong.
    pub fn begin(&mut self) {
        self.times.clear();
        (self.tally.frames, self.tally.updates, self.tally.bytes, self.tally.conflated) = (0, 0, 0, 0);
        self.is_counting = true;
    }

    /// So many samples of this time are here now.
    fn time(&mut self, now_us: i64, time_us: i64, count: u64) {
        if self.is_counting {
            self.times.saturating_record_n((now_us - time_us).max(1).cast_unsigned(), count);
        }
    }

    /// A series goes from one counter to the next; `time_us` is the time of that sample.
    fn step(&mut self, now_us: i64, time_us: i64, newest: u32, counter: u32) {
        if counter <= newest {
            self.tally.doubled += 1;
        } else if counter > newest + 1 && newest > 0 {
            let left_out = u64::from(counter - newest - 1);
            if self.job.every {
                self.tally.missing += left_out;
            } else if self.is_counting {
                self.tally.conflated += left_out;
                // Whoever waited for one of these has waited until now: leaving them out would hide a server's pauses.
                for back in 1..=left_out.min(CONFLATED_MAX) {
                    self.time(now_us, time_us - (back * self.job.period_us).cast_signed(), 1);
                }
            }
        } else if counter > newest + 1 && self.job.every {
            self.tally.missing += u64::from(counter - 1);
        }
    }
}

impl Subscriber {
    pub fn new(view: usize) -> Subscriber {
        Subscriber {
            view,
            stage: Stage::Greeting,
            epoch: 0,
            position: 0,
            resumes: None,
            is_refused: false,
            device: Vec::new(),
            newest: Vec::new(),
        }
    }

    /// What one that was cut off comes back as.
    pub fn again(&self, resume: bool) -> Subscriber {
        let resumes = (resume && self.epoch != 0).then_some(Resume { epoch: self.epoch, position: self.position });
        Subscriber { resumes, ..Subscriber::new(self.view) }
    }

    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// Whether the server said no, instead of being lost.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// What to say first.
    pub fn greet(&self, job: &Job, out: &mut Vec<u8>) {
        let host = job.address.to_string();
        match job.speaks {
            Speaks::Pulsewire => websocket::request("/live", &host, &job.token, out),
            Speaks::Ws => websocket::request(&format!("/{}", self.view), &host, "", out),
            Speaks::Nats => {
                out.extend_from_slice(crate::bench::peers::NATS_CONNECT);
                out.extend_from_slice(format!("SUB view.{} 1\r\nPING\r\n", self.view).as_bytes());
            }
        }
    }

    /// How many series have another newest counter than their device has.
    pub fn behind(&self, counters: &[u64], per_device: usize) -> u64 {
        let wanted = |device: u32| counters.get(device as usize).copied().unwrap_or_default();
        let series = self.device.iter().zip(&self.newest).filter(|(device, _)| **device != NOBODY);
        let wrong = series.clone().filter(|(device, newest)| wanted(**device) != u64::from(**newest));
        let known = series.clone().count().min(counters.len() * per_device);
        (counters.len() * per_device - known + wrong.count()) as u64
    }

    /// Takes messages from the front of what arrived; answers how many bytes these are.
    pub fn receive(&mut self, shared: &mut Shared, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        if shared.job.speaks == Speaks::Nats {
            return self.receive_nats(shared, input, out);
        }
        let mut rest = input;
        if self.stage == Stage::Greeting {
            let Some((head, behind)) = websocket::head(rest)? else { return Ok(0) };
            websocket::upgraded(head).inspect_err(|_| self.is_refused = true)?;
            rest = behind;
            self.stage = if shared.job.speaks == Speaks::Pulsewire { Stage::Waiting } else { Stage::Live };
            if shared.job.speaks == Speaks::Pulsewire {
                self.subscribe(shared, out);
            } else {
                self.know_one();
            }
        }
        while let Some((kind, payload, behind)) = websocket::split(rest)? {
            rest = behind;
            match kind {
                Kind::Binary if shared.job.speaks == Speaks::Pulsewire => self.frames(shared, payload, out)?,
                Kind::Binary => self.peer_message(shared, payload)?,
                Kind::Ping => websocket::masked(Kind::Pong, payload, out),
                Kind::Pong => {}
                Kind::Close => return Err(format!("the server said goodbye: {}", String::from_utf8_lossy(payload))),
            }
            if shared.is_counting {
                shared.tally.bytes += payload.len() as u64;
            }
        }
        Ok(input.len() - rest.len())
    }

    fn subscribe(&self, shared: &Shared, out: &mut Vec<u8>) {
        let mut frame = Vec::new();
        Message::Subscribe(Subscribe {
            subscription: SUBSCRIPTION,
            devices: shared.job.views.get(self.view).cloned().unwrap_or_default(),
            interval_ms: shared.job.interval_ms,
            aggregate: if shared.job.every { Aggregate::Every } else { Aggregate::Last },
            resume: self.resumes,
            ..Subscribe::default()
        })
        .encode(&mut frame);
        websocket::masked(Kind::Binary, &frame, out);
    }

    /// What is not Pulsewire has one series.
    fn know_one(&mut self) {
        (self.device, self.newest) = (vec![0], vec![0]);
    }

    fn frames(&mut self, shared: &mut Shared, mut message: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        while !message.is_empty() {
            let split = RawFrame::split(message, limits::FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
            let Some((raw, rest)) = split else { return Err("a message that ends within a frame".into()) };
            message = rest;
            let decoded = Message::decode(raw.message_type(), raw.payload()).map_err(|error| error.to_string())?;
            match decoded {
                Some(Message::Batch(batch)) => self.batch(shared, &batch)?,
                Some(Message::Texts(texts)) => self.follow(shared, texts.previous, texts.position),
                Some(Message::SeriesDef(def)) => {
                    let devices = shared.devices.get(self.view);
                    for series in &def.series {
                        let device = devices.and_then(|devices| devices.get(&series.device)).copied();
                        let device = device.ok_or_else(|| format!("a series of {:?}, not asked for", series.device))?;
                        let index = series.index as usize;
                        if index >= SERIES_MAX {
                            return Err(format!("series {index} is defined"));
                        }
                        // A number that nothing has any more may be left out.
                        let known = self.device.len().max(index + 1);
                        self.device.resize(known, NOBODY);
                        self.newest.resize(known, 0);
                        (self.device[index], self.newest[index]) = (device, 0);
                    }
                }
                Some(Message::SnapshotEnd(end)) => {
                    (self.position, self.stage) = (end.position, Stage::Live);
                }
                Some(Message::LiveWelcome(welcome)) => {
                    self.epoch = welcome.epoch;
                    self.position = self.resumes.map_or(0, |resume| resume.position);
                }
                Some(Message::Gap(gap)) => {
                    shared.tally.gaps += 1;
                    self.position = gap.to_position;
                }
                Some(Message::Heartbeat(_)) => {
                    let mut frame = Vec::new();
                    let own = Heartbeat { time_us: unix_us(), position: 0, visible: false };
                    Message::Heartbeat(own).encode(&mut frame);
                    websocket::masked(Kind::Binary, &frame, out);
                }
                Some(Message::Close(close)) => return Err(format!("closed with {}: {}", close.code, close.text)),
                Some(Message::Refused(refused)) => {
                    self.is_refused = true;
                    return Err(format!("refused: {}", refused.text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// SPEC §9.5: a frame says which one it follows.
    fn follow(&mut self, shared: &mut Shared, previous: u64, position: u64) {
        if previous != self.position && !shared.job.unchecked {
            shared.tally.broken += 1;
            let text = || format!("a frame follows position {previous} and not {}", self.position);
            shared.tally.problem.get_or_insert_with(text);
        }
        self.position = position;
    }

    fn batch(&mut self, shared: &mut Shared, batch: &Batch<'_>) -> Result<(), String> {
        let now_us = unix_us();
        self.follow(shared, batch.previous, batch.position);
        if shared.is_counting {
            shared.tally.frames += 1;
            shared.tally.updates += if batch.history() { 0 } else { batch.len() as u64 };
        }
        // Samples of one report share their time.
        let (mut time_us, mut run) = (0, 0);
        for sample in batch.samples() {
            let Some(newest) = self.newest.get_mut(sample.series as usize) else {
                return Err(format!("a sample of series {}, which is not defined", sample.series));
            };
            let counter = sample.value as u32;
            if batch.history() {
                *newest = counter.max(*newest);
                continue;
            }
            if sample.time_us != time_us {
                shared.time(now_us, time_us, run);
                (time_us, run) = (sample.time_us, 0);
            }
            run += 1;
            if counter != newest.wrapping_add(1) && !shared.job.unchecked {
                shared.step(now_us, time_us, *newest, counter);
            }
            *newest = counter.max(*newest);
        }
        shared.time(now_us, time_us, run);
        Ok(())
    }

    /// Time and counter, little-endian.
    fn peer_message(&mut self, shared: &mut Shared, payload: &[u8]) -> Result<(), String> {
        let now_us = unix_us();
        let head = payload.first_chunk::<PEER_HEAD>().ok_or("a message that is too short")?;
        let (time, counter) = head.split_at(8);
        let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let time_us = number(time).cast_signed();
        let counter = u32::try_from(number(counter)).map_err(|error| error.to_string())?;
        let newest = self.newest.first_mut().ok_or("a message before the greeting")?;
        let before = std::mem::replace(newest, counter);
        if counter != before.wrapping_add(1) {
            shared.step(now_us, time_us, before, counter);
        }
        shared.time(now_us, time_us, 1);
        if shared.is_counting {
            shared.tally.frames += 1;
            shared.tally.updates += 1;
        }
        Ok(())
    }

    fn receive_nats(&mut self, shared: &mut Shared, input: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        let mut rest = input;
        while let Some((first, behind)) = line(rest) {
            if let Some(words) = first.strip_prefix(b"MSG ") {
                let length = words.rsplit(|byte| *byte == b' ').next().and_then(number);
                let length = length.ok_or("not a NATS message")? as usize;
                let Some((body, behind)) = behind.split_at_checked(length.saturating_add(2)) else { break };
                rest = behind;
                self.peer_message(shared, body)?;
                if shared.is_counting {
                    shared.tally.bytes += length as u64;
                }
                continue;
            }
            rest = behind;
            match first {
                b"PING" => out.extend_from_slice(b"PONG\r\n"),
                b"PONG" if self.stage == Stage::Greeting => {
                    self.know_one();
                    self.stage = Stage::Live;
                }
                _ if first.starts_with(b"-ERR") => return Err(String::from_utf8_lossy(first).into_owned()),
                _ => {}
            }
        }
        Ok(input.len() - rest.len())
    }
}

#[cfg(test)]
mod tests {
    use pulsewire_proto::frame::{BatchColumns, Gap, GapReason, LiveWelcome, Series, SeriesDef, SnapshotEnd};
    use pulsewire_proto::{MessageType, MetricType, encode_frame};

    use super::*;
    use crate::bench::generator::histogram;

    const PERIOD_US: u64 = 100_000;

    fn shared(speaks: Speaks, every: bool) -> Shared {
        let job = Job {
            speaks,
            address: ([127, 0, 0, 1], 1).into(),
            token: String::new(),
            first: 0,
            count: 1,
            views: vec![vec!["a".into(), "b".into()]],
            series_per_device: 1,
            every,
            interval_ms: 100,
            period_us: PERIOD_US,
            sources: 0,
            unchecked: false,
        };
        let mut shared = Shared::new(job, histogram().expect("a histogram"));
        shared.begin();
        shared
    }

    fn frame(message: &Message<'_>) -> Vec<u8> {
        let (mut frame, mut out) = (Vec::new(), Vec::new());
        message.encode(&mut frame);
        websocket::plain(Kind::Binary, &frame, &mut out);
        out
    }

    /// A frame that follows position `previous` and has these counters, all of one time.
    fn batch(previous: u64, counters: &[(u32, f64)], age_us: i64) -> Vec<u8> {
        let series: Vec<u32> = counters.iter().map(|(series, _)| *series).collect();
        let values: Vec<f64> = counters.iter().map(|(_, value)| *value).collect();
        let columns = BatchColumns {
            subscription: 1,
            position: previous + 1,
            previous,
            base_us: unix_us() - age_us,
            history: false,
            conflated: false,
            series: &series,
            offsets_us: &vec![0; series.len()],
            values: &values,
        };
        let (mut payload, mut frame, mut out) = (Vec::new(), Vec::new(), Vec::new());
        columns.encode_payload(&mut payload).expect("columns of one length");
        encode_frame(MessageType::Batch, &payload, &mut frame);
        websocket::plain(Kind::Binary, &frame, &mut out);
        out
    }

    /// A subscriber that has everything up to position 7: nothing yet of two series.
    fn live(shared: &mut Shared) -> Subscriber {
        let mut subscriber = Subscriber::new(0);
        let mut input = Vec::new();
        let mut asked = Vec::new();
        subscriber.greet(&shared.job, &mut asked);
        let (head, _) = websocket::head(&asked).expect("sound").expect("whole");
        websocket::upgrade(websocket::header(head, "sec-websocket-key").expect("a key"), &mut input);
        let welcome = LiveWelcome {
            epoch: 3,
            position: 7,
            server_time_us: 0,
            heartbeat_interval_ms: 1,
            subscriptions_max: 1,
            interval_ms_min: 1,
            events_epoch: 0,
            events_position: 0,
        };
        input.extend(frame(&Message::LiveWelcome(welcome)));
        let series = |(index, device): (u32, &str)| Series {
            index,
            device: device.into(),
            metric: "m0".into(),
            unit: String::new(),
            metric_type: MetricType::F32,
        };
        let series = [(0, "a"), (1, "b")].map(series).to_vec();
        input.extend(frame(&Message::SeriesDef(SeriesDef { subscription: 1, series, labels: Vec::new() })));
        input.extend(frame(&Message::SnapshotEnd(SnapshotEnd { subscription: 1, position: 7, series: 2 })));
        take(&mut subscriber, shared, &input);
        assert!(subscriber.is_live());
        subscriber
    }

    fn take(subscriber: &mut Subscriber, shared: &mut Shared, input: &[u8]) {
        let taken = subscriber.receive(shared, input, &mut Vec::new()).expect("sound");
        assert_eq!(taken, input.len());
    }

    #[test]
    fn what_comes_once_and_in_order_is_right_and_complete() {
        for every in [true, false] {
            let mut shared = shared(Speaks::Pulsewire, every);
            let mut subscriber = live(&mut shared);
            take(&mut subscriber, &mut shared, &batch(7, &[(0, 1.0), (1, 1.0)], 5_000));
            assert_eq!(subscriber.behind(&[1, 2], 1), 1, "b has published twice");
            assert_eq!(subscriber.behind(&[1, 1, 1], 1), 1, "a device whose series it was never told");
            take(&mut subscriber, &mut shared, &batch(8, &[(1, 2.0)], 5_000));
            assert_eq!(subscriber.behind(&[1, 2], 1), 0);
            let tally = &shared.tally;
            assert_eq!((tally.frames, tally.updates, shared.times.len()), (2, 3, 3));
            assert_eq!((tally.missing, tally.doubled, tally.broken, tally.conflated), (0, 0, 0, 0));
            assert!((5_000..5_000_000).contains(&shared.times.min()));
        }
    }

    #[test]
    fn what_was_left_out_is_missing_where_each_is_wanted_and_late_where_the_newest_is() {
        let mut each = shared(Speaks::Pulsewire, true);
        let mut subscriber = live(&mut each);
        take(&mut subscriber, &mut each, &batch(7, &[(0, 2.0), (0, 5.0)], 0));
        assert_eq!((each.tally.missing, each.tally.conflated), (3, 0), "1, 3 and 4");

        let mut newest = shared(Speaks::Pulsewire, false);
        let mut subscriber = live(&mut newest);
        take(&mut subscriber, &mut newest, &batch(7, &[(0, 2.0), (0, 5.0)], 0));
        assert_eq!((newest.tally.missing, newest.tally.conflated), (0, 2));
        // 3 and 4 have waited for 5: by their schedule they were due one and two periods earlier.
        assert_eq!(newest.times.len(), 4);
        assert!(newest.times.max() >= 2 * PERIOD_US && newest.times.value_at_quantile(0.75) >= PERIOD_US);
    }

    #[test]
    fn what_comes_again_is_doubled_and_a_frame_out_of_its_place_is_told() {
        let mut shared = shared(Speaks::Pulsewire, false);
        let mut subscriber = live(&mut shared);
        take(&mut subscriber, &mut shared, &batch(7, &[(0, 1.0), (0, 2.0), (0, 2.0), (0, 1.0)], 0));
        assert_eq!((shared.tally.doubled, shared.tally.broken), (2, 0));
        take(&mut subscriber, &mut shared, &batch(9, &[(0, 3.0)], 0));
        assert_eq!(shared.tally.broken, 1);
        let gap = Gap { subscription: 1, from_position: 10, to_position: 20, reason: GapReason::SlowReader };
        take(&mut subscriber, &mut shared, &frame(&Message::Gap(gap)));
        take(&mut subscriber, &mut shared, &batch(20, &[(0, 4.0)], 0));
        assert_eq!((shared.tally.broken, shared.tally.gaps), (1, 1));
    }

    #[test]
    fn a_refusal_and_what_was_never_defined_are_errors() {
        let mut shared = shared(Speaks::Pulsewire, false);
        let mut subscriber = Subscriber::new(0);
        let refused = subscriber.receive(&mut shared, b"HTTP/1.1 503 Busy\r\n\r\n", &mut Vec::new());
        assert!(refused.is_err() && subscriber.is_refused());
        let mut subscriber = live(&mut shared);
        assert!(subscriber.receive(&mut shared, &batch(7, &[(2, 1.0)], 0), &mut Vec::new()).is_err());
    }

    #[test]
    fn messages_of_nats_are_counted_by_their_numbers() {
        let mut shared = shared(Speaks::Nats, true);
        let mut subscriber = Subscriber::new(0);
        take(&mut subscriber, &mut shared, b"INFO {}\r\nPONG\r\n");
        for counter in [1_u64, 2, 4] {
            let mut input = b"MSG view.0 1 16\r\n".to_vec();
            input.extend(unix_us().to_le_bytes());
            input.extend(counter.to_le_bytes());
            input.extend(b"\r\n");
            take(&mut subscriber, &mut shared, &input);
        }
        assert_eq!((shared.tally.frames, shared.tally.missing, subscriber.behind(&[4], 1)), (3, 1, 0));
        let mut out = Vec::new();
        assert_eq!(subscriber.receive(&mut shared, b"PING\r\nMSG view.0 1 1", &mut out), Ok(6));
        assert_eq!(out, b"PONG\r\n");
    }
}
