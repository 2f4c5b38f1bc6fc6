//! The loop of one thread.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use super::connection::{Connection, READ_BYTES};
use super::readings::Walk;
use super::{DRAIN_LIMIT, Load, Outcome, Progress, Recorder, Schedule, Wire};
use crate::SimError;
use crate::fleet::unix_us;

/// Logins under way at once: below the backlog of common listeners.
const LOGINS: usize = 64;
/// How long a loop waits when nothing happens. With a rate it is the tick at which what is due is sent.
const TICK: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_millis(20);
const EVENTS: usize = 1024;
/// Without a rate a loop rests this long between its looks at the sockets, so that one read finds many acknowledgements of a
/// server that sends each alone: what the generator does not use is left to the server beside it.
const REST: Duration = Duration::from_micros(500);
/// The rest is so short that a full window still allows this many messages a second, and none below `REST_MIN`.
const REST_RATE: u64 = 20_000_000;
const REST_MIN: Duration = Duration::from_micros(100);

pub(super) struct Worker<'a, W> {
    address: SocketAddr,
    load: Load,
    progress: &'a Progress,
    poll: Poll,
    events: Events,
    waiting: std::vec::IntoIter<W>,
    connections: Vec<Connection<W>>,
    recorder: Recorder,
    /// Room for what one read brings.
    buffer: Vec<u8>,
    /// Room for what one write takes.
    out: Vec<u8>,
    start: Instant,
    start_unix_us: i64,
    problem: Option<String>,
    seed: u64,
}

impl<'a, W: Wire> Worker<'a, W> {
    pub fn new(
        wires: Vec<W>,
        address: SocketAddr,
        load: Load,
        progress: &'a Progress,
        seed: u64,
    ) -> Result<Self, SimError> {
        let begin = load.warm_up.as_micros() as u64;
        let schedule = load.rate.map(|per_second| Schedule { connections: wires.len() as u64, per_second });
        Ok(Worker {
            address,
            load,
            progress,
            poll: Poll::new().map_err(|error| SimError::Task(error.to_string()))?,
            events: Events::with_capacity(EVENTS),
            connections: Vec::with_capacity(wires.len()),
            waiting: wires.into_iter(),
            recorder: Recorder::new(begin..begin + load.measured.as_micros() as u64, schedule)?,
            buffer: vec![0; READ_BYTES],
            out: Vec::new(),
            start: Instant::now(),
            start_unix_us: unix_us(),
            problem: None,
            seed,
        })
    }

    /// Everyone is ready, or an error.
    pub fn login(&mut self, until: Instant) -> Result<(), SimError> {
        let failed = |problem: String| SimError::Measurement { what: "the server at the port".into(), problem };
        let mut ready = 0;
        loop {
            while self.connections.len() - ready < LOGINS
                && let Some(wire) = self.waiting.next()
            {
                let index = self.connections.len();
                let walk = Walk::new(self.load.metrics, (self.seed << 32) + index as u64 + 1, 0);
                let connection = Connection::open(self.address, self.poll.registry(), index, wire, walk, &mut self.out);
                self.connections.push(connection.map_err(failed)?);
            }
            if ready == self.connections.len() {
                return Ok(());
            }
            if Instant::now() > until || self.progress.is_stopped() {
                return Err(failed(format!("only {ready} of {} connections are ready", self.connections.len())));
            }
            self.wait(IDLE)?;
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                let was_ready = connection.wire.is_ready();
                if event.is_writable() {
                    connection.flush().map_err(failed)?;
                }
                if event.is_readable() {
                    let read = connection.read(&mut self.buffer, &mut self.out, &mut self.recorder, || 0);
                    read.map_err(failed)?;
                }
                if !was_ready && connection.wire.is_ready() {
                    ready += 1;
                    self.progress.ready.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), SimError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(SimError::Task(error.to_string())),
            _ => Ok(()),
        }
    }

    fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Sends until the end and waits for the rest.
    pub fn send(mut self, start: Instant) -> Result<Outcome, SimError> {
        self.start = start;
        self.start_unix_us = unix_us().saturating_sub(start.elapsed().as_micros() as i64);
        for connection in &mut self.connections {
            connection.walk.span(self.start_unix_us, 1);
        }
        let measured = self.recorder.measured.clone();
        let (mut cpu_begin, mut swept) = (None, 0);
        self.sweep(0, &mut swept);
        let rest = self.rest();
        loop {
            let now_us = self.now_us();
            if now_us >= measured.end || self.progress.is_stopped() || self.is_dead() {
                break;
            }
            if now_us >= measured.start && cpu_begin.is_none() {
                cpu_begin = cpu_time();
            }
            if let Some(rest) = rest {
                // It is not waiting for anything: what arrives meanwhile is to be read at once. See `REST`.
                std::thread::sleep(rest);
            }
            self.wait(if self.load.rate.is_some() { TICK } else { IDLE })?;
            self.serve(Some(measured.end));
            self.sweep(self.now_us().min(measured.end - 1), &mut swept);
        }
        let cpu = cpu_begin.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
        let mut unsent = 0;
        for connection in &self.connections {
            unsent += connection
                .flight
                .give_up(&mut self.recorder, measured.end.min(self.start.elapsed().as_micros() as u64));
        }
        let until = Instant::now() + DRAIN_LIMIT;
        while self.in_flight() > 0 && Instant::now() < until && !self.is_dead() {
            self.wait(IDLE)?;
            self.serve(None);
        }
        self.finish(unsent, cpu)
    }

    fn rest(&self) -> Option<Duration> {
        let window = self.connections.len() as u64 * u64::from(self.load.in_flight);
        let rest = REST.min(Duration::from_micros(window * 1_000_000 / REST_RATE));
        (self.load.rate.is_none() && rest >= REST_MIN).then_some(rest)
    }

    /// Whether nobody is left.
    fn is_dead(&self) -> bool {
        self.recorder.errors > 0 && self.connections.iter().all(|connection| !connection.is_open)
    }

    fn in_flight(&self) -> u64 {
        // What a lost connection had sent is missing and not waited for.
        self.connections.iter().filter(|c| c.is_open).map(|c| c.flight.in_flight()).sum()
    }

    /// Handles what the sockets say; sends more unless the end has come.
    fn serve(&mut self, end_us: Option<u64>) {
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let before = self.recorder.acked;
        for event in &events {
            let index = event.token().0;
            let Some(connection) = self.connections.get_mut(index) else { continue };
            if !connection.is_open {
                continue;
            }
            let mut result = if event.is_writable() { connection.flush() } else { Ok(()) };
            if event.is_readable() && result.is_ok() {
                let start = self.start;
                result = connection
                    .read(&mut self.buffer, &mut self.out, &mut self.recorder, || start.elapsed().as_micros() as u64);
            }
            if let Err(problem) = result {
                self.lose(index, problem);
                continue;
            }
            let now_us = self.now_us();
            if end_us.is_some_and(|end| now_us < end) {
                self.pump(index, now_us);
            }
        }
        self.events = events;
        self.progress.acked.fetch_add(self.recorder.acked - before, Ordering::Relaxed);
    }

    /// Sends what is due since the last time; without a rate only the first messages, as acknowledgements ask for the rest.
    fn sweep(&mut self, now_us: u64, swept: &mut u64) {
        let connections = self.connections.len() as u64;
        let due = match self.recorder.schedule {
            Some(schedule) => schedule.all_due(now_us),
            None => connections,
        };
        for next in *swept..due.min(*swept + connections) {
            self.pump((next % connections) as usize, now_us);
        }
        *swept = due.max(*swept);
    }

    /// Sends what this connection may and should send.
    fn pump(&mut self, index: usize, now_us: u64) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if !connection.is_open || connection.is_blocked() {
            return;
        }
        let in_flight_max = u64::from(self.load.in_flight);
        let free = in_flight_max.saturating_sub(connection.flight.in_flight());
        let count = match self.recorder.schedule {
            Some(schedule) => {
                let due = schedule.share(index as u64, schedule.all_due(now_us));
                due.saturating_sub(connection.flight.sent()).min(free)
            }
            // A write is worth making when a quarter of the window is free.
            None if free >= in_flight_max.div_ceil(4) => free,
            None => 0,
        };
        if count == 0 {
            return;
        }
        self.out.clear();
        let span = connection.walk.span(self.start_unix_us + now_us as i64, count);
        let first = connection.flight.sent() + 1;
        for row in 0..count {
            let mut reading = connection.walk.read(span, row);
            if let Some(schedule) = self.recorder.schedule {
                reading.due_us = self.start_unix_us + schedule.due_us(index as u64, first + row).cast_signed();
            }
            connection.wire.message(first + row, &reading, &mut self.out);
        }
        connection.flight.send(count, now_us, self.recorder.schedule.is_some());
        if let Err(problem) = connection.write(&self.out) {
            self.lose(index, problem);
        }
    }

    fn lose(&mut self, index: usize, problem: String) {
        self.recorder.errors += 1;
        self.problem.get_or_insert(problem);
        if let Some(connection) = self.connections.get_mut(index) {
            connection.is_open = false;
        }
    }

    fn finish(mut self, unsent: u64, cpu: Option<Duration>) -> Result<Outcome, SimError> {
        let mut outcome = Outcome::new()?;
        for connection in &mut self.connections {
            outcome.sent += connection.flight.sent();
            outcome.missing += connection.flight.in_flight();
            if connection.is_open {
                self.out.clear();
                connection.wire.end(&mut self.out);
                // Everything is counted; a farewell that is not heard changes nothing.
                let _ = connection.write(&self.out);
            }
        }
        outcome.times = self.recorder.times;
        outcome.acked = self.recorder.acked;
        outcome.acked_measured = self.recorder.acked_measured;
        outcome.errors = self.recorder.errors;
        outcome.doubled = self.recorder.doubled;
        (outcome.unsent, outcome.cpu, outcome.problem) = (unsent, cpu, self.problem);
        Ok(outcome)
    }
}

/// Processor time of this thread; None where the system does not say. Linux: nanoseconds, first of three numbers.
pub(in super::super) fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
