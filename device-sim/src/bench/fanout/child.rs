//! A process full of subscribers: one thread, one loop, orders on standard input and answers on standard output.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token, Waker};

use super::super::generator::histogram;
use super::job::{Answer, Job, Order, Storm, buckets};
use super::subscriber::{Shared, Subscriber};
use super::{READ_BYTES, ROOM};
use crate::SimError;
use crate::bench::socket::{Socket, source};

/// Connections under way at once while all are made: below the backlog of common listeners.
const CONNECTING: usize = 64;
/// How long all may take to be live.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// How long after the last moment of a storm all may take to be live again.
const STORM_LIMIT: Duration = Duration::from_secs(60);
/// When one that was refused or lost in a storm tries again.
const RETRY: Duration = Duration::from_secs(1);
/// Each is answered before the next is given; further ones wait in the pipe.
const ORDERS: usize = 4;
const IDLE: Duration = Duration::from_millis(20);
const WAKE: Token = Token(usize::MAX);

struct Crew {
    poll: Poll,
    events: Events,
    sockets: Vec<Option<Socket>>,
    subscribers: Vec<Subscriber>,
    shared: Shared,
    buffer: Vec<u8>,
    out: Vec<u8>,
    is_stalled: bool,
}

/// How a connection ended.
struct Lost {
    index: usize,
    problem: String,
}

/// Takes a job from standard input and does it until standard input ends. What goes wrong is said on standard output.
pub fn run() -> Result<(), SimError> {
    let done = serve();
    if let Err(error) = &done {
        say(&Answer::Failed { problem: error.to_string() })?;
    }
    done
}

fn failed(error: impl std::fmt::Display) -> SimError {
    SimError::Task(error.to_string())
}

fn say(answer: &Answer) -> Result<(), SimError> {
    let mut text = serde_json::to_vec(answer).map_err(failed)?;
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&text).and_then(|()| out.flush()).map_err(failed)
}

fn serve() -> Result<(), SimError> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(failed)?;
    let mut crew = Crew::new(serde_json::from_str(&line).map_err(failed)?)?;
    let waker = Arc::new(Waker::new(crew.poll.registry(), WAKE).map_err(failed)?);
    crew.open()?;
    say(&Answer::Live)?;
    let (send, orders) = sync_channel(ORDERS);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str::<Order>(&line).ok());
            let is_known = order.is_some();
            if send.send(order).is_err() || waker.wake().is_err() || !is_known {
                return;
            }
        }
        // Nobody gives orders any more, which the loop learns from the channel's end.
        drop(send);
        let _ = waker.wake();
    });
    crew.obey(&orders)
}

impl Crew {
    fn new(job: Job) -> Result<Crew, SimError> {
        let views = job.views.len().max(1);
        let subscribers = (0..job.count).map(|n| Subscriber::new((job.first + n) as usize % views)).collect();
        Ok(Crew {
            poll: Poll::new().map_err(failed)?,
            events: Events::with_capacity(1024),
            sockets: (0..job.count).map(|_| None).collect(),
            subscribers,
            shared: Shared::new(job, histogram()?),
            buffer: vec![0; READ_BYTES],
            out: Vec::new(),
            is_stalled: false,
        })
    }

    fn connect(&mut self, index: usize) -> Result<(), String> {
        let job = &self.shared.job;
        let from = source(job.first + index as u32, job.sources);
        let socket = Socket::connect(job.address, from, ROOM, self.poll.registry(), Token(index));
        let mut socket = socket.map_err(|error| format!("connecting to {}: {error}", job.address))?;
        self.out.clear();
        if let Some(subscriber) = self.subscribers.get(index) {
            subscriber.greet(job, &mut self.out);
        }
        socket.write(&self.out)?;
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(socket);
        }
        Ok(())
    }

    fn live(&self) -> usize {
        self.subscribers.iter().filter(|subscriber| subscriber.is_live()).count()
    }

    fn open(&mut self) -> Result<(), SimError> {
        let (mut asked, until) = (0, Instant::now() + OPEN_LIMIT);
        loop {
            let live = self.live();
            while asked < self.subscribers.len() && asked - live < CONNECTING {
                self.connect(asked).map_err(failed)?;
                asked += 1;
            }
            if live == self.subscribers.len() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(failed(format!("only {live} of {} subscribers are live", self.subscribers.len())));
            }
            if let Some(lost) = self.turn(IDLE)?.pop() {
                return Err(failed(lost.problem));
            }
        }
    }

    /// Waits for sockets and serves them; answers who was lost.
    fn turn(&mut self, timeout: Duration) -> Result<Vec<Lost>, SimError> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(failed(error)),
            _ => {}
        }
        let mut lost = Vec::new();
        if self.is_stalled {
            return Ok(lost);
        }
        for event in &self.events {
            let index = event.token().0;
            let (Some(slot), Some(subscriber)) = (self.sockets.get_mut(index), self.subscribers.get_mut(index)) else {
                continue;
            };
            let Some(socket) = slot else { continue };
            let mut result = if event.is_writable() { socket.flush() } else { Ok(()) };
            if event.is_readable() && result.is_ok() {
                let shared = &mut self.shared;
                let take = |input: &[u8], out: &mut Vec<u8>| subscriber.receive(shared, input, out);
                result = socket.read(&mut self.buffer, &mut self.out, take);
            }
            if let Err(problem) = result {
                *slot = None;
                lost.push(Lost { index, problem });
            }
        }
        Ok(lost)
    }

    fn count_lost(&mut self, lost: Vec<Lost>) {
        for Lost { index, problem } in lost {
            self.shared.tally.errors += 1;
            let number = self.shared.job.first as usize + index;
            self.shared.tally.problem.get_or_insert_with(|| format!("subscriber {number}: {problem}"));
        }
    }

    fn obey(&mut self, orders: &Receiver<Option<Order>>) -> Result<(), SimError> {
        loop {
            let lost = self.turn(IDLE)?;
            self.count_lost(lost);
            let order = match orders.try_recv() {
                Err(TryRecvError::Empty) => continue,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Ok(None) => return Err(failed("an order that cannot be read")),
                Ok(Some(order)) => order,
            };
            let answer = match order {
                Order::Begin => {
                    self.shared.begin();
                    Answer::Done
                }
                Order::End => {
                    self.shared.is_counting = false;
                    self.shared.tally.times = buckets(&self.shared.times);
                    Answer::Tally(self.shared.tally.clone())
                }
                Order::Newest { counters, patience_ms } => {
                    let missing = self.newest(&counters, Duration::from_millis(patience_ms))?;
                    Answer::Checked { missing }
                }
                Order::Stall => {
                    self.is_stalled = true;
                    for socket in self.sockets.iter_mut().flatten() {
                        socket.forget(self.poll.registry());
                    }
                    Answer::Done
                }
                Order::Storm { within_ms, seed, resume } => {
                    Answer::Stormed(self.storm(Duration::from_millis(within_ms), seed, resume)?)
                }
            };
            say(&answer)?;
        }
    }

    fn newest(&mut self, counters: &[Vec<u64>], patience: Duration) -> Result<u64, SimError> {
        let until = Instant::now() + patience;
        let per_device = self.shared.job.series_per_device as usize;
        loop {
            let behind = |subscriber: &Subscriber| {
                subscriber.behind(counters.get(subscriber.view).map_or(&[], Vec::as_slice), per_device)
            };
            let missing = self.subscribers.iter().map(behind).sum();
            if missing == 0 || Instant::now() > until {
                return Ok(missing);
            }
            let lost = self.turn(IDLE)?;
            self.count_lost(lost);
        }
    }

    /// Cuts all off and lets each come back at its moment, and again when it is refused. Time counts from that moment.
    fn storm(&mut self, within: Duration, seed: u64, resume: bool) -> Result<Storm, SimError> {
        self.sockets.iter_mut().for_each(|socket| *socket = None);
        let start = Instant::now();
        self.subscribers.iter_mut().for_each(|subscriber| *subscriber = subscriber.again(resume));
        let gaps = self.shared.tally.gaps;
        let within_us = within.as_micros().max(1) as u64;
        let count = self.subscribers.len();
        let due: Vec<u64> = (0..count as u64).map(|index| mixed(seed.wrapping_add(index)) % within_us).collect();
        let mut waiting: BinaryHeap<Reverse<(u64, usize)>> = due.iter().copied().zip(0..).map(Reverse).collect();
        let mut is_live = vec![false; count];
        let (mut storm, mut times) = (Storm::default(), histogram()?);
        let now_us = || start.elapsed().as_micros() as u64;
        let end = start + within + STORM_LIMIT;
        while storm.live < count as u64 && Instant::now() < end {
            let mut lost = Vec::new();
            while let Some(Reverse((at_us, index))) = waiting.peek().copied()
                && at_us <= now_us()
            {
                waiting.pop();
                if let Err(problem) = self.connect(index) {
                    lost.push(Lost { index, problem });
                }
            }
            let next = waiting
                .peek()
                .map_or(IDLE, |Reverse((at_us, _))| Duration::from_micros(at_us.saturating_sub(now_us())).min(IDLE));
            lost.extend(self.turn(next)?);
            self.note_live(&mut is_live, &due, now_us(), &mut storm, &mut times);
            for Lost { index, problem } in lost {
                storm.problem.get_or_insert(problem);
                let Some(subscriber) = self.subscribers.get_mut(index) else { continue };
                if subscriber.is_refused() {
                    storm.refused += 1
                } else {
                    storm.failed += 1
                }
                *subscriber = subscriber.again(resume);
                // One that was live and is lost again counts as not live.
                if let Some(live) = is_live.get_mut(index)
                    && std::mem::take(live)
                {
                    storm.live -= 1;
                }
                waiting.push(Reverse((now_us() + RETRY.as_micros() as u64, index)));
            }
        }
        storm.times = buckets(&times);
        storm.gaps = self.shared.tally.gaps - gaps;
        Ok(storm)
    }

    fn note_live(&self, is_live: &mut [bool], due: &[u64], now_us: u64, storm: &mut Storm, times: &mut Histogram<u64>) {
        // Only those that something was said to.
        for event in &self.events {
            let index = event.token().0;
            let (Some(live), Some(due)) = (is_live.get_mut(index), due.get(index)) else { continue };
            if !*live && self.subscribers.get(index).is_some_and(Subscriber::is_live) {
                *live = true;
                storm.live += 1;
                storm.last_us = now_us;
                times.saturating_record(now_us.saturating_sub(*due).max(1));
            }
        }
    }
}

/// SplitMix64: moments that are spread evenly and the same for the same seed.
fn mixed(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
