//! Which messages of a connection are under way, and how long the others took.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use hdrhistogram::Histogram;

use super::histogram;
use crate::SimError;

/// When each message of each connection is to be sent: connections take turns, evenly.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Schedule {
    pub connections: u64,
    pub per_second: f64,
}

impl Schedule {
    /// When message `sequence` of this connection is due, in µs after the start.
    pub fn due_us(&self, connection: u64, sequence: u64) -> u64 {
        let before = (sequence - 1) * self.connections + connection;
        (before as f64 * 1e6 / self.per_second) as u64
    }

    /// How many messages of all connections are due at this time.
    pub fn all_due(&self, now_us: u64) -> u64 {
        (now_us as f64 * self.per_second / 1e6) as u64 + 1
    }

    /// How many of these are this connection's.
    pub fn share(&self, connection: u64, all: u64) -> u64 {
        (all + self.connections - 1).saturating_sub(connection) / self.connections
    }
}

/// What a thread counts. Times are µs after the start.
#[derive(Debug)]
pub(in super::super) struct Recorder {
    pub times: Histogram<u64>,
    /// While it counts.
    pub measured: Range<u64>,
    pub schedule: Option<Schedule>,
    pub acked: u64,
    pub acked_measured: u64,
    pub doubled: u64,
    pub errors: u64,
}

impl Recorder {
    pub fn new(measured: Range<u64>, schedule: Option<Schedule>) -> Result<Recorder, SimError> {
        let times = histogram()?;
        Ok(Recorder { times, measured, schedule, acked: 0, acked_measured: 0, doubled: 0, errors: 0 })
    }

    /// `count` messages that began at `from_us` are done.
    fn record(&mut self, from_us: u64, now_us: u64, count: u64) {
        if self.measured.contains(&from_us) {
            // Above the largest value: counted as the largest.
            self.times.saturating_record_n(now_us.saturating_sub(from_us).max(1), count);
        }
    }

    fn count(&mut self, now_us: u64, messages: u64) {
        self.acked += messages;
        if self.measured.contains(&now_us) {
            self.acked_measured += messages;
        }
    }
}

/// One connection's messages.
#[derive(Debug, Default)]
pub(super) struct Flight {
    connection: u64,
    sent: u64,
    /// All up to here are acknowledged.
    acked: u64,
    /// Acknowledged before an earlier one was. No more than are in flight.
    ahead: BTreeSet<u64>,
    /// Without a schedule: the last message of each write and its time. No more than are in flight.
    writes: VecDeque<(u64, u64)>,
}

impl Flight {
    pub fn new(connection: u64) -> Flight {
        Flight { connection, ..Flight::default() }
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many are not acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.sent - self.acked - self.ahead.len() as u64
    }

    /// So many more are sent now.
    pub fn send(&mut self, count: u64, now_us: u64, has_schedule: bool) {
        self.sent += count;
        if !has_schedule {
            self.writes.push_back((self.sent, now_us));
        }
    }

    /// Records what was due and not sent: it waited at least until now. How many these are.
    pub fn give_up(&self, recorder: &mut Recorder, end_us: u64) -> u64 {
        let Some(schedule) = recorder.schedule else { return 0 };
        let due = schedule.share(self.connection, schedule.all_due(end_us.saturating_sub(1)));
        for sequence in self.sent + 1..=due {
            recorder.record(schedule.due_us(self.connection, sequence), end_us, 1);
        }
        due.saturating_sub(self.sent)
    }

    fn advance(&mut self, to: u64, recorder: &mut Recorder, now_us: u64) {
        let mut from = self.acked + 1;
        recorder.count(now_us, to + 1 - from);
        if let Some(schedule) = recorder.schedule {
            for sequence in from..=to {
                recorder.record(schedule.due_us(self.connection, sequence), now_us, 1);
            }
        } else {
            while let Some(&(last, at_us)) = self.writes.front()
                && from <= to
            {
                recorder.record(at_us, now_us, last.min(to) + 1 - from);
                from = last.min(to) + 1;
                if last <= to {
                    self.writes.pop_front();
                }
            }
        }
        self.acked = to;
    }

    fn one(&mut self, sequence: u64, recorder: &mut Recorder, now_us: u64) {
        if sequence == self.acked + 1 && sequence <= self.sent {
            self.advance(sequence, recorder, now_us);
            while self.ahead.remove(&(self.acked + 1)) {
                self.acked += 1;
            }
            while self.writes.front().is_some_and(|(last, _)| *last <= self.acked) {
                self.writes.pop_front();
            }
        } else if sequence <= self.acked || sequence > self.sent || !self.ahead.insert(sequence) {
            recorder.doubled += 1;
        } else {
            recorder.count(now_us, 1);
            let from_us = match recorder.schedule {
                Some(schedule) => schedule.due_us(self.connection, sequence),
                None => {
                    let write = self.writes.partition_point(|(last, _)| *last < sequence);
                    self.writes.get(write).map_or(now_us, |(_, at_us)| *at_us)
                }
            };
            recorder.record(from_us, now_us, 1);
        }
    }
}

/// Where a [`super::Wire`] says what was acknowledged.
#[derive(Debug)]
pub(in super::super) struct Acks<'a> {
    pub(super) flight: &'a mut Flight,
    pub(super) recorder: &'a mut Recorder,
    pub(super) now_us: u64,
}

impl Acks<'_> {
    /// This message and all before it. Nothing new is no mistake; what was never sent is one.
    pub fn up_to(&mut self, sequence: u64) {
        self.recorder.doubled += sequence.saturating_sub(self.flight.sent);
        let to = sequence.min(self.flight.sent);
        if self.flight.ahead.is_empty() && to > self.flight.acked {
            self.flight.advance(to, self.recorder, self.now_us);
        }
        while self.flight.acked < to {
            self.one(self.flight.acked + 1);
        }
    }

    /// This message alone, once.
    pub fn one(&mut self, sequence: u64) {
        self.flight.one(sequence, self.recorder, self.now_us);
    }

    /// The message after the last, where a protocol answers in order and names none.
    pub fn next(&mut self) {
        self.one(self.flight.acked + 1);
    }

    /// All up to here are acknowledged.
    pub fn acked(&self) -> u64 {
        self.flight.acked
    }

    /// A message was answered with a refusal.
    pub fn refused(&mut self) {
        self.recorder.errors += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(sent: &[(u64, u64)]) -> (Flight, Recorder) {
        let mut flight = Flight::new(0);
        for &(count, at_us) in sent {
            flight.send(count, at_us, false);
        }
        (flight, Recorder::new(100..1000, None).expect("a histogram"))
    }

    #[test]
    fn an_acknowledgement_of_many_is_timed_from_the_write_of_each() {
        let (mut flight, mut recorder) = flight(&[(3, 100), (2, 200)]);
        Acks { flight: &mut flight, recorder: &mut recorder, now_us: 300 }.up_to(4);
        assert_eq!((flight.in_flight(), recorder.acked, recorder.acked_measured), (1, 4, 4));
        assert_eq!((recorder.times.count_at(200), recorder.times.count_at(100)), (3, 1));
        Acks { flight: &mut flight, recorder: &mut recorder, now_us: 1000 }.up_to(5);
        assert_eq!((recorder.acked, recorder.acked_measured, recorder.times.len()), (5, 4, 5));
        assert_eq!((flight.in_flight(), recorder.doubled, flight.writes.len()), (0, 0, 0));
    }

    #[test]
    fn acknowledgements_out_of_order_count_once_each() {
        let (mut flight, mut recorder) = flight(&[(2, 100), (2, 150)]);
        let mut acks = Acks { flight: &mut flight, recorder: &mut recorder, now_us: 250 };
        for sequence in [3, 2, 1, 4] {
            acks.one(sequence);
        }
        assert_eq!((flight.in_flight(), recorder.acked, recorder.doubled), (0, 4, 0));
        assert_eq!((recorder.times.count_at(150), recorder.times.count_at(100)), (2, 2));
        assert!(flight.ahead.is_empty() && flight.writes.is_empty());
    }

    #[test]
    fn what_was_never_sent_and_what_comes_twice_is_doubled() {
        let (mut flight, mut recorder) = flight(&[(2, 100)]);
        let mut acks = Acks { flight: &mut flight, recorder: &mut recorder, now_us: 250 };
        acks.up_to(5);
        acks.up_to(2);
        acks.one(1);
        acks.one(3);
        assert_eq!((flight.in_flight(), recorder.acked, recorder.doubled), (0, 2, 5));
    }

    #[test]
    fn with_a_schedule_time_counts_from_when_a_message_was_due() {
        let schedule = Schedule { connections: 4, per_second: 1000.0 };
        assert_eq!((schedule.due_us(0, 1), schedule.due_us(3, 1), schedule.due_us(1, 3)), (0, 3000, 9000));
        assert_eq!(schedule.all_due(9000), 10);
        assert_eq!((0..4).map(|c| schedule.share(c, 10)).collect::<Vec<_>>(), [3, 3, 2, 2]);
        let mut flight = Flight::new(1);
        let mut recorder = Recorder::new(0..50_000, Some(schedule)).expect("a histogram");
        // Sent late, as the window was full until then.
        flight.send(2, 20_000, true);
        Acks { flight: &mut flight, recorder: &mut recorder, now_us: 25_000 }.up_to(2);
        assert_eq!((recorder.times.count_at(24_000), recorder.times.count_at(20_000)), (1, 1));
        // Due at 9, 13, … 49 ms and never sent.
        assert_eq!(flight.give_up(&mut recorder, 50_000), 11);
        assert_eq!((recorder.times.len(), recorder.times.max() / 1000), (13, 41));
    }
}
