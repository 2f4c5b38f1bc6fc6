//! What goes out on one live socket: whole WebSocket messages, made when there is room for them.
//!
//! Nothing waits here for a viewer that does not read but the rest of the message that is on its way, and answers to what it
//! asked. Where it stands in its subscriptions and in the lane are numbers.

use super::LiveShared;
use super::encode::{self, web_socket_header};
use super::fanout::{Cursor, Signal, ViewId};
use super::lane::{LaneCursor, Reader};
use super::stats::ViewerStats;
use bytes::Bytes;
use pulsewire_core::ids::DeviceKey;
use pulsewire_core::scope::DeviceScope;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes handed over at a time. As small as this, so that a viewer that takes any is seen to take something.
const PIECE_BYTES: usize = 16 << 10;
/// Answers that wait above this stop the reading of further wishes.
const ANSWERS_BYTES: usize = 64 << 10;
/// Devices per PRESENCE at subscription.
const LIST_ITEMS: usize = 1000;

/// One subscription.
#[derive(Debug)]
pub(super) struct Subscribed {
    pub number: u32,
    pub view: ViewId,
    pub cursor: Cursor,
    /// What came before is sent: it may be sent what follows.
    pub started: bool,
    /// Of those that its user may have; given back when it ends.
    pub _permit: OwnedSemaphorePermit,
}

/// What there is to send.
#[derive(Debug)]
pub enum Step {
    /// These bytes.
    Piece(Bytes),
    /// Nothing now.
    Idle,
    /// The end.
    End,
}

/// See the module.
pub struct Outbox {
    shared: Arc<LiveShared>,
    signal: Arc<Signal>,
    stats: Arc<ViewerStats>,
    scope: DeviceScope,
    /// Subscriptions that its user may still make.
    pub(super) allowed: Arc<Semaphore>,
    rest: Bytes,
    queue: VecDeque<Bytes>,
    queued: usize,
    pub(super) subscribed: Vec<Subscribed>,
    turn: usize,
    lane: LaneCursor,
    // Until then changes of all devices are told: a viewer that resumes has not subscribed yet.
    all_until: Option<Instant>,
    presence_due: bool,
    // When something was handed over last, and whether more might have been taken then.
    polled: Instant,
    gave: bool,
    // How long nothing was taken although there was something, in all.
    blocked: Duration,
    sent: Instant,
    closing: bool,
}

impl Outbox {
    pub(super) fn new(
        shared: Arc<LiveShared>,
        signal: Arc<Signal>,
        stats: Arc<ViewerStats>,
        scope: DeviceScope,
        allowed: Arc<Semaphore>,
        lane: LaneCursor,
    ) -> Self {
        let now = Instant::now();
        Self {
            shared,
            signal,
            stats,
            scope,
            allowed,
            rest: Bytes::new(),
            queue: VecDeque::new(),
            queued: 0,
            subscribed: Vec::new(),
            turn: 0,
            lane,
            all_until: None,
            presence_due: false,
            polled: now,
            gave: false,
            blocked: Duration::ZERO,
            sent: now,
            closing: false,
        }
    }

    /// Wakes the connection.
    pub fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    /// Whether wishes may be read: not too many answers wait.
    pub fn has_room(&self) -> bool {
        self.queued < ANSWERS_BYTES
    }

    /// A frame in a WebSocket message of its own.
    pub fn put(&mut self, frame: Vec<u8>) {
        let mut head = [0; 10];
        let length = web_socket_header(frame.len(), &mut head);
        self.raw(Bytes::copy_from_slice(&head[..length]));
        self.raw(frame.into());
    }

    /// Bytes of a WebSocket message as they are.
    pub fn raw(&mut self, bytes: Bytes) {
        self.queued += bytes.len();
        self.queue.push_back(bytes);
    }

    pub(super) fn put_shared(&mut self, number: u32, frames: &[encode::SharedFrame], samples: u64) {
        for frame in frames {
            self.raw(frame.head(number));
            self.raw(frame.tail.clone());
        }
        let counts = &self.shared.counts;
        counts.frames_sent.fetch_add(frames.len() as u64, Ordering::Relaxed);
        counts.samples_sent.fetch_add(samples, Ordering::Relaxed);
        self.stats.sent(frames.len() as u64);
    }

    /// The lane goes on after a position that the viewer named.
    pub(super) fn resume_lane(&mut self, epoch: u64, position: u64, now: Instant) {
        let lane = self.shared.lane();
        match lane.resume(epoch, position) {
            Some(cursor) => self.lane = cursor,
            None => {
                let (cursor, frame) = lane.lost(position, 0);
                self.lane = cursor;
                drop(lane);
                self.shared.counts.events_lost.fetch_add(1, Ordering::Relaxed);
                self.put(frame);
            }
        }
        self.all_until = Some(now + self.shared.options.heartbeat_interval);
    }

    /// Nothing follows what waits.
    pub fn close(&mut self) {
        self.closing = true;
        self.subscribed.clear();
        self.signal.wake();
    }

    /// Nothing more is sent, not even what waits.
    pub fn abandon(&mut self) {
        (self.rest, self.queue) = (Bytes::new(), VecDeque::new());
        self.close();
    }

    /// Since when nothing was taken although there is something.
    pub fn blocked_since(&self) -> Option<Instant> {
        self.gave.then_some(self.polled)
    }

    /// How long nothing was taken although there was something, since the start.
    pub fn blocked(&self, now: Instant) -> Duration {
        self.blocked + self.blocked_since().map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    /// When something was sent last.
    pub fn sent(&self) -> Instant {
        self.sent
    }

    /// The next bytes. To be called only when they will be taken.
    pub fn next(&mut self, now: Instant) -> Step {
        if self.gave {
            self.blocked += now.saturating_duration_since(self.polled);
        }
        self.polled = now;
        let step = self.step(now);
        self.gave = matches!(step, Step::Piece(_));
        if self.gave {
            self.sent = now;
        }
        step
    }

    fn step(&mut self, now: Instant) -> Step {
        loop {
            if !self.rest.is_empty() {
                let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
                self.shared.counts.bytes_sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                return Step::Piece(piece);
            }
            if let Some(next) = self.queue.pop_front() {
                self.queued -= next.len();
                self.rest = next;
                continue;
            }
            if self.closing {
                return Step::End;
            }
            if !self.put_changes(now) && !self.put_samples() {
                return Step::Idle;
            }
        }
    }

    /// What came in the lane. True if something is to be sent.
    fn put_changes(&mut self, now: Instant) -> bool {
        if self.shared.lane_position.load(Ordering::Acquire) == self.lane.looked() && !self.presence_due {
            return false;
        }
        let all = self.all_until.is_some_and(|until| now < until);
        if !all {
            self.all_until = None;
        }
        let mut cursor = self.lane;
        let mut lost = std::mem::take(&mut self.presence_due);
        let mut frames = Vec::new();
        loop {
            let told = self.shared.lane().next(&mut cursor, &OfViewer { outbox: self, all });
            lost |= told.lost;
            frames.extend(told.frames);
            if !told.more || !frames.is_empty() {
                break;
            }
        }
        self.lane = cursor;
        let any = !frames.is_empty();
        frames.into_iter().for_each(|frame| self.put(frame));
        if lost {
            self.shared.counts.events_lost.fetch_add(1, Ordering::Relaxed);
            let devices: Vec<_> = self.subscribed.iter().map(|s| s.cursor.outlet().devices()).collect();
            devices.into_iter().for_each(|devices| self.put_presence(devices));
        }
        any || lost
    }

    /// How the presence of these devices stands, or of all that may be seen.
    pub(super) fn put_presence(&mut self, devices: Option<Vec<DeviceKey>>) {
        let mut frames = Vec::new();
        if let Ok(directory) = self.shared.parts.directory.read() {
            let keys = match devices {
                Some(keys) => keys,
                None => directory.after(None).filter(|d| self.scope.sees(d)).map(|d| d.key).collect(),
            };
            for part in keys.chunks(LIST_ITEMS) {
                let states = part.iter().filter_map(|key| {
                    let device = directory.by_key(*key)?;
                    let seen = self.shared.presence.get(*key);
                    Some(encode::device_presence(device.id.as_str(), seen.presence, seen.last_seen_us))
                });
                frames.push(encode::presence(states.collect(), 0, 0));
            }
        }
        frames.into_iter().for_each(|frame| self.put(frame));
    }

    /// What the subscriptions are owed, in turns. True if something is to be sent.
    fn put_samples(&mut self) -> bool {
        let now_us = self.shared.now_us();
        let count = self.subscribed.len();
        for n in 0..count {
            let at = (self.turn + n) % count;
            let subscribed = &mut self.subscribed[at];
            if !subscribed.started {
                continue;
            }
            if let Some(owed) = subscribed.cursor.next(now_us, &self.shared.counts) {
                self.turn = at + 1;
                let number = subscribed.number;
                self.put_shared(number, &owed.frames, owed.samples);
                return true;
            }
        }
        false
    }
}

struct OfViewer<'a> {
    outbox: &'a Outbox,
    all: bool,
}

impl Reader for OfViewer<'_> {
    fn scope(&self) -> &DeviceScope {
        &self.outbox.scope
    }

    fn selects(&self, device: DeviceKey) -> bool {
        self.all || self.outbox.subscribed.iter().any(|s| s.cursor.outlet().selects(device))
    }
}
