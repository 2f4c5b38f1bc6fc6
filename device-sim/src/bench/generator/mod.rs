//! Load on any server that acknowledges messages: many connections, few threads, one clock.
//!
//! One loop serves every protocol, and a [`Wire`] says how a message and its acknowledgement look. That is why the peers'
//! clients are written here instead of taken from their libraries: a comparison in which one client costs ten times the
//! other compares clients. Here each costs what its bytes cost.
//!
//! The loop waits for readiness, not for tasks: one system call reads many acknowledgements and one writes many messages,
//! nothing is allocated or locked per message, and times are kept per write instead of per message.
//!
//! * [`flight`]: what of a connection is under way, and how long it took
//! * [`readings`]: what devices measure
//! * [`worker`]: the loop of one thread
//! * [`wire`]: what a protocol has to say

mod connection;
mod flight;
mod readings;
mod wire;
mod worker;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub(super) use flight::{Acks, Recorder, Schedule};
pub(super) use readings::{METRICS_MAX, Reading};
pub(super) use wire::Wire;

use crate::SimError;
use worker::Worker;

/// How long all connections may take to log in.
const LOGIN_LIMIT: Duration = Duration::from_secs(60);
/// How long the rest may take to be acknowledged; what is not by then is missing.
pub(super) const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// How often the clock of the measurement is looked at.
const WATCH: Duration = Duration::from_millis(20);
/// Longest time that is told apart from longer ones.
const LATENCY_MAX_US: u64 = 600_000_000;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Messages a second over all connections; None as fast as they are acknowledged.
    pub rate: Option<f64>,
    /// Most unacknowledged messages of a connection.
    pub in_flight: u32,
    /// Readings per message, at most [`METRICS_MAX`].
    pub metrics: usize,
    /// Sent and not counted, first.
    pub warm_up: Duration,
    /// What is counted.
    pub measured: Duration,
    /// Threads that share the connections.
    pub threads: usize,
}

/// What happened.
#[derive(Debug)]
pub(super) struct Outcome {
    /// In microseconds, of the messages that were due (or, without a rate, sent) while it counted.
    pub times: Histogram<u64>,
    pub sent: u64,
    pub acked: u64,
    /// Of these, while it counted.
    pub acked_measured: u64,
    /// Due while it counted and not even sent at its end, because the window was full.
    pub unsent: u64,
    pub errors: u64,
    pub missing: u64,
    pub doubled: u64,
    /// The first error.
    pub problem: Option<String>,
    /// Processor time of the threads while it counted; None where the system does not say.
    pub cpu: Option<Duration>,
    /// How long it counted.
    pub measured: Duration,
}

/// What other threads may look at and stop.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub ready: AtomicU64,
    pub acked: AtomicU64,
    pub stop: AtomicBool,
}

/// A moment of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It counts from now on.
    Begin,
    /// It no longer counts; the rest is waited for.
    End,
}

impl Outcome {
    fn new() -> Result<Outcome, SimError> {
        Ok(Outcome {
            times: histogram()?,
            sent: 0,
            acked: 0,
            acked_measured: 0,
            unsent: 0,
            errors: 0,
            missing: 0,
            doubled: 0,
            problem: None,
            cpu: Some(Duration::ZERO),
            measured: Duration::ZERO,
        })
    }

    fn add(&mut self, other: Outcome) -> Result<(), SimError> {
        self.times.add(&other.times).map_err(|error| SimError::Task(error.to_string()))?;
        self.sent += other.sent;
        self.acked += other.acked;
        self.acked_measured += other.acked_measured;
        self.unsent += other.unsent;
        self.errors += other.errors;
        self.missing += other.missing;
        self.doubled += other.doubled;
        self.problem = self.problem.take().or(other.problem);
        self.cpu = self.cpu.zip(other.cpu).map(|(sum, one)| sum + one);
        Ok(())
    }

    /// Messages a second while it counted.
    pub fn per_second(&self) -> f64 {
        self.acked_measured as f64 / self.measured.as_secs_f64().max(1e-3)
    }

    /// Processor time of this side per message, in µs.
    pub fn cpu_us_per_message(&self) -> Option<f64> {
        self.cpu.filter(|_| self.acked_measured > 0).map(|cpu| cpu.as_secs_f64() * 1e6 / self.acked_measured as f64)
    }
}

/// Of microseconds, up to ten minutes.
pub(super) fn histogram() -> Result<Histogram<u64>, SimError> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).map_err(|error| SimError::Task(error.to_string()))
}

/// Connects, logs in, sends and waits; one wire per connection. Blocking. `mark` is called when counting begins and ends.
///
/// An error means that not everyone logged in. What goes wrong later is in the outcome.
pub(super) fn run<W: Wire>(
    wires: Vec<W>,
    address: SocketAddr,
    load: &Load,
    progress: &Progress,
    mut mark: impl FnMut(Mark),
) -> Result<Outcome, SimError> {
    let all = wires.len();
    let threads = load.threads.clamp(1, all.max(1));
    let mut shares: Vec<Vec<W>> = (0..threads).map(|_| Vec::new()).collect();
    for (index, wire) in wires.into_iter().enumerate() {
        shares[index % threads].push(wire);
    }
    thread::scope(|scope| {
        let (ready, ready_all) = sync_channel(threads);
        let mut workers = Vec::new();
        for (thread, wires) in shares.into_iter().enumerate() {
            let rate = load.rate.map(|rate| rate * wires.len() as f64 / all as f64);
            let (start, start_given) = sync_channel(1);
            let (ready, load) = (ready.clone(), Load { rate, ..*load });
            let work = move || work(wires, address, load, progress, thread as u64, &ready, &start_given);
            workers.push((start, scope.spawn(work)));
        }
        drop(ready);
        // A thread that fails says nothing and drops its end.
        let is_ready = (0..threads).all(|_| ready_all.recv().is_ok());
        let start = Instant::now();
        if is_ready {
            for (sender, _) in &workers {
                // One that is gone says why when it is joined.
                let _ = sender.send(start);
            }
        }
        let handles: Vec<_> = workers.into_iter().map(|(_, handle)| handle).collect();
        let mut outcome = Outcome::new()?;
        if is_ready {
            let over = |until: Instant| {
                while Instant::now() < until && !handles.iter().all(thread::ScopedJoinHandle::is_finished) {
                    thread::sleep(WATCH.min(until.saturating_duration_since(Instant::now())));
                }
            };
            over(start + load.warm_up);
            mark(Mark::Begin);
            let begin = Instant::now();
            over(start + load.warm_up + load.measured);
            mark(Mark::End);
            outcome.measured = begin.elapsed().min(load.measured).max(Duration::from_millis(1));
        }
        for handle in handles {
            outcome.add(handle.join().map_err(|_| SimError::Task("the generator".into()))??)?;
        }
        Ok(outcome)
    })
}

fn work<W: Wire>(
    wires: Vec<W>,
    address: SocketAddr,
    load: Load,
    progress: &Progress,
    seed: u64,
    ready: &SyncSender<()>,
    start: &Receiver<Instant>,
) -> Result<Outcome, SimError> {
    let mut worker = Worker::new(wires, address, load, progress, seed)?;
    worker.login(Instant::now() + LOGIN_LIMIT)?;
    // Without a start some other thread failed, and says so.
    if ready.send(()).is_err() {
        return Outcome::new();
    }
    let Ok(start) = start.recv() else {
        return Outcome::new();
    };
    worker.send(start)
}

impl Progress {
    /// Asks for an early end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether someone has asked for an early end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::flight::Flight;
    use super::*;

    /// Bytes taken, messages acknowledged, doubled, and what was answered.
    pub fn received(wire: &mut impl Wire, sent: u64, input: &[u8]) -> Result<(usize, u64, u64, Vec<u8>), String> {
        let mut flight = Flight::new(0);
        if sent > 0 {
            flight.send(sent, 1, false);
        }
        let mut recorder = Recorder::new(0..10, None).expect("a histogram");
        let mut out = Vec::new();
        let mut acks = Acks { flight: &mut flight, recorder: &mut recorder, now_us: 2 };
        let taken = wire.receive(input, &mut acks, &mut out)?;
        Ok((taken, recorder.acked, recorder.doubled, out))
    }
}
