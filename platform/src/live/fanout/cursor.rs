//! Where one subscriber stands in a view, and what it is owed next.

use super::super::encode::{self, Framing, Missing, Run, SharedFrame};
use super::Counts;
use super::channel::{Channel, Entry, Member, Outlet, Pending, Signal};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Frames of one answer that are written at once stay below this, unless one alone is larger.
const SUFFIX_BYTES: usize = 64 << 10;
/// After so many frames in time a slow subscriber gets twice as many.
const GOOD_FRAMES: u32 = 8;

/// One subscription's place in its view. Dropping it ends its membership.
#[derive(Debug)]
pub struct Cursor {
    outlet: Arc<Outlet>,
    place: usize,
    /// Frame that was sent last; shared with the view, which counts what it forgets.
    seq: Arc<AtomicU64>,
    /// What the subscriber was told last.
    position: u64,
    /// The same, but for what it was told from the store: from here on it is sent frames.
    framed: u64,
    /// Samples of records up to here it has from the history, of the series that were defined up to frame `joined`.
    floor: u64,
    joined: u64,
    /// See [`Cursor::from_store`].
    pending: HashMap<u32, i64>,
    /// Definitions of frames up to here it has.
    defined: u64,
    /// It is sent one frame of so many.
    stride: u64,
    shown_stride: Arc<AtomicU64>,
    stride_max: u64,
    good: u32,
    sent_us: u64,
    /// It came with an older snapshot, which is not its fault.
    fresh: bool,
}

/// What a subscriber gets next.
#[derive(Debug, Default)]
pub struct Owed {
    /// Frames, in order.
    pub frames: Vec<SharedFrame>,
    /// Samples in them.
    pub samples: u64,
}

impl Owed {
    fn add(&mut self, run: &Run) {
        self.frames.extend(run.frames.iter().cloned());
        self.samples += run.samples;
    }

    fn gap(&mut self, from_position: u64, to_position: u64, missing: Missing) {
        self.frames.push(encode::gap(from_position, to_position, missing));
    }
}

/// How a subscriber stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Frames it has not got.
    pub frames: u64,
    /// How old the oldest of them is.
    pub behind_us: u64,
    /// Records between the newest that was sent to the view and what it has.
    pub positions: u64,
    /// Interval it is served at now.
    pub interval_us: u64,
    /// It is served less often than it asked for.
    pub slow: bool,
}

impl Cursor {
    /// Joins after the view's newest frame; `interval_us` is as long as a slow one's interval may become.
    pub(super) fn join(outlet: Arc<Outlet>, signal: Arc<Signal>, slow_interval_us: u64) -> Self {
        let seq = Arc::new(AtomicU64::new(0));
        let mut channel = outlet.lock();
        let (newest, position) = (channel.seq, channel.position);
        seq.store(newest, Ordering::Relaxed);
        let place = channel.join(Member { signal, seq: seq.clone() });
        let stride_max = (slow_interval_us / channel.interval_us.max(1)).clamp(1, 1 << 20);
        drop(channel);
        Self {
            outlet,
            place,
            seq,
            position,
            framed: position,
            floor: 0,
            joined: newest,
            pending: HashMap::new(),
            defined: newest,
            stride: 1,
            shown_stride: Arc::new(AtomicU64::new(1)),
            stride_max,
            good: 0,
            sent_us: 0,
            fresh: true,
        }
    }

    /// Begins after the view's newest frame: what came before is to be had from its snapshot or the store.
    pub fn begin(&mut self) {
        let channel = self.outlet.lock();
        self.seq.store(channel.seq, Ordering::Relaxed);
        (self.position, self.joined, self.defined) = (channel.position, channel.seq, channel.seq);
        self.framed = channel.position;
    }

    /// The view.
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }

    /// Position that the subscriber was told last.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Frame up to which series are covered by what is read from the store for this subscriber.
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// Definitions of the series that were there when it joined, and how many. What comes later brings its own.
    pub fn definitions(&self) -> (Run, usize) {
        let channel = self.outlet.lock();
        let count = channel.cells.iter().flatten().filter(|cell| cell.defined <= self.joined).count();
        (channel.definitions(0, self.joined), count)
    }

    /// The snapshot that all share who come now. The subscriber goes on from it; answers how many series it defines.
    pub fn snapshot(&mut self, now_us: u64, reuse_us: u64, counts: &Counts) -> (Arc<Run>, usize) {
        let (seq, position, run, series) = self.outlet.lock().snapshot(now_us, reuse_us, counts);
        self.seq.store(seq, Ordering::Relaxed);
        (self.position, self.joined, self.defined) = (position, seq, seq);
        self.framed = position;
        (run, series)
    }

    /// The subscriber has everything up to `position` from the store, of the series defined when it joined. `pending`: series whose
    /// newest stored sample may come with a later frame, each with the time of the newest sample that it has of it, µs since the
    /// Unix epoch; i64::MIN if it has none. Of those it is told what is newer, once.
    pub fn from_store(&mut self, position: u64, pending: HashMap<u32, i64>) {
        (self.position, self.floor, self.pending) = (position, position, pending);
    }

    /// Everything that may have changed after `position`, where newer may take the place of older. The subscriber goes on
    /// from what it is then told.
    pub fn changed_since(&mut self, position: u64, counts: &Counts) -> Run {
        let channel = self.outlet.lock();
        let to = channel.position.max(position);
        let framing = Framing { previous: position, position: to, history: true, conflated: true };
        let run = channel.changed(self.joined, framing, |cell| cell.position > position, counts);
        self.seq.store(channel.seq, Ordering::Relaxed);
        (self.joined, self.defined, self.position, self.floor) = (channel.seq, channel.seq, to, position);
        self.framed = to;
        run
    }

    /// How it stands.
    pub fn standing(&self, now_us: u64) -> Standing {
        standing(&self.outlet, &self.seq, now_us, self.stride)
    }

    /// What tells how it stands to who does not own it.
    pub fn shown(&self) -> Shown {
        Shown { outlet: self.outlet.clone(), seq: self.seq.clone(), stride: self.shown_stride.clone() }
    }

    /// What it is owed now; None if nothing.
    pub fn next(&mut self, now_us: u64, counts: &Counts) -> Option<Owed> {
        let seq = self.seq.load(Ordering::Relaxed);
        if self.outlet.seq() <= seq {
            return None;
        }
        let outlet = self.outlet.clone();
        let mut channel = outlet.lock();
        let behind = channel.seq.saturating_sub(seq);
        let waited = now_us.saturating_sub(self.sent_us) >= self.stride.saturating_mul(channel.interval_us);
        // Those who get every n-th frame get the same ones, so that they share them.
        if behind == 0 || (self.stride > 1 && !channel.seq.is_multiple_of(self.stride) && !waited) {
            return None;
        }
        let mut owed = Owed::default();
        let late = match channel.every {
            true => self.suffix(&channel, seq, &mut owed),
            false => self.conflated(&mut channel, seq, &mut owed, counts),
        };
        self.paced(&mut channel, late || behind > 2 * self.stride && self.stride > 1);
        self.sent_us = now_us;
        drop(channel);
        if owed.frames.is_empty() && self.seq.load(Ordering::Relaxed) > seq {
            // It had all of that from the store.
            return self.next(now_us, counts);
        }
        (!owed.frames.is_empty()).then_some(owed)
    }

    fn moved(&mut self, seq: u64, position: u64) {
        self.seq.store(seq, Ordering::Relaxed);
        (self.position, self.framed) = (position, position);
    }

    /// Every frame after `seq` that is kept, up to a good write's worth. True if some are not.
    fn suffix(&mut self, channel: &Channel, mut seq: u64, owed: &mut Owed) -> bool {
        let mut late = false;
        if let Some(oldest) = channel.ring.front()
            && oldest.seq > seq + 1
        {
            let definitions = channel.definitions(seq.max(self.defined), oldest.seq - 1);
            // What it read from the store meanwhile had nothing of series that came after it joined.
            let from = if definitions.frames.is_empty() { self.position } else { self.framed.min(self.position) };
            let to = oldest.previous.max(self.position);
            owed.add(&definitions);
            owed.gap(from, to, Missing::Slow);
            let mut run = Run::default();
            let untold = channel.untold(seq.max(self.defined), oldest.seq - 1);
            run.put_samples(Framing::stored(to), untold.into_iter());
            owed.add(&run);
            seq = oldest.seq - 1;
            self.moved(seq, to);
            late = true;
        } else if channel.ring.is_empty() {
            // The view began anew while nobody was there.
            owed.add(&channel.definitions(seq.max(self.defined), channel.seq));
            owed.gap(self.position, channel.position.max(self.position), Missing::Other);
            self.moved(channel.seq, channel.position.max(self.position));
            return false;
        }
        let first = channel.ring.front().map_or(0, |entry| entry.seq);
        let at = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for entry in channel.ring.iter().skip(at) {
            if bytes > 0 && bytes + entry.run.bytes > SUFFIX_BYTES {
                break;
            }
            bytes += entry.run.bytes;
            self.entry(channel, entry, owed);
        }
        late
    }

    fn entry(&mut self, channel: &Channel, entry: &Entry, owed: &mut Owed) {
        if let Some((from, to)) = entry.lost
            && to > self.position
        {
            let (from, to) = (from.max(self.position), to.max(self.position));
            owed.gap(from, to, Missing::Slow);
            self.position = to;
        }
        let aligned = entry.previous == self.position && self.floor <= entry.previous;
        if aligned && entry.seq > self.defined && (entry.stored.is_empty() || self.floor == 0) {
            owed.add(&entry.run);
            self.moved(entry.seq, entry.position);
            return;
        }
        // It has some of this from the store already.
        let mut run = Run::default();
        if entry.seq > self.defined {
            run.frames.extend(entry.run.frames.iter().filter(|f| f.defines()).cloned());
        }
        let covered = |index: u32| {
            let cell = channel.cells.get(index as usize).and_then(Option::as_ref);
            cell.is_none_or(|cell| cell.defined <= self.joined)
        };
        // Who read the store has what it was to have of the series that were there, unless that was still to be read.
        let owes = |s: &&Pending| {
            self.floor == 0 || !covered(s.index) || self.pending.get(&s.index).is_some_and(|told| s.time_us > *told)
        };
        let stored: Vec<&Pending> = entry.stored.iter().filter(owes).collect();
        run.put_samples(Framing::stored(self.position), stored.iter().map(|s| s.shown()));
        for sample in stored {
            self.pending.remove(&sample.index);
        }
        let before = run.samples;
        let new = entry.samples.iter().filter(|s| s.position > self.floor || !covered(s.index));
        let position = entry.position.max(self.position);
        let framing = Framing { previous: self.position, position, history: false, conflated: false };
        run.put_samples(framing, new.map(Pending::shown));
        if run.samples == before && position > self.position {
            run.put_position(framing);
        }
        owed.add(&run);
        self.moved(entry.seq, position);
    }

    /// The frames after `seq`, or in one the newest of what they had: then true, unless that is its turn.
    fn conflated(&mut self, channel: &mut Channel, seq: u64, owed: &mut Owed, counts: &Counts) -> bool {
        let newest = channel.seq;
        let waiting = channel.ring.iter().filter(|entry| entry.seq > seq);
        let lost = waiting.filter_map(|entry| entry.lost).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        if let Some((from, to)) = lost.filter(|(_, to)| *to > self.position) {
            owed.gap(from.max(self.position), to, Missing::Other);
            self.position = to;
        }
        let position = channel.position.max(self.position);
        let next = channel.ring.iter().find(|entry| entry.seq == seq + 1);
        if self.floor > 0 && self.floor > next.map_or(channel.position, |entry| entry.previous)
            || next.is_some_and(|entry| entry.previous != self.position)
        {
            let framing = Framing { previous: self.position, position, history: false, conflated: true };
            let (floor, joined) = (self.floor, self.joined);
            let wanted =
                |cell: &super::channel::Cell| cell.seq > seq && (cell.position > floor || cell.defined > joined);
            owed.add(&channel.changed(seq.max(self.defined), framing, wanted, counts));
            self.moved(newest, position);
            return false;
        }
        let waiting = channel.ring.iter().filter(|entry| entry.seq > seq);
        let bytes: usize = waiting.clone().map(|entry| entry.run.bytes).sum();
        let whole = next.is_some() && (seq + 1 == newest || bytes <= SUFFIX_BYTES / 4);
        if whole && self.stride == 1 {
            waiting.for_each(|entry| owed.add(&entry.run));
            self.moved(newest, channel.position);
            return false;
        }
        let run = channel.catch_up(seq, self.position, counts);
        owed.add(&run);
        self.moved(newest, position);
        self.stride == 1
    }

    fn slower(&mut self, channel: &mut Channel) {
        if self.stride == 1 && self.stride_max > 1 {
            channel.slow += 1;
        }
        self.stride = (self.stride * 2).min(self.stride_max);
        self.shown_stride.store(self.stride, Ordering::Relaxed);
        self.good = 0;
    }

    /// Whoever missed its turn is served half as often; who keeps up for a while twice as often again.
    fn paced(&mut self, channel: &mut Channel, late: bool) {
        if std::mem::take(&mut self.fresh) {
            return;
        }
        if late {
            self.slower(channel);
        } else if self.stride > 1 {
            self.good += 1;
            if self.good >= GOOD_FRAMES {
                self.good = 0;
                self.stride = (self.stride / 2).max(1);
                self.shown_stride.store(self.stride, Ordering::Relaxed);
                if self.stride == 1 {
                    channel.slow = channel.slow.saturating_sub(1);
                }
            }
        }
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let mut channel = self.outlet.lock();
        channel.leave(self.place);
        if self.stride > 1 {
            channel.slow = channel.slow.saturating_sub(1);
        }
    }
}

/// What tells how a subscriber stands, for others than itself.
#[derive(Debug)]
pub struct Shown {
    outlet: Arc<Outlet>,
    seq: Arc<AtomicU64>,
    stride: Arc<AtomicU64>,
}

impl Shown {
    /// How it stands.
    pub fn standing(&self, now_us: u64) -> Standing {
        standing(&self.outlet, &self.seq, now_us, self.stride.load(Ordering::Relaxed))
    }
}

/// How a subscriber stands that has frames up to `seq`.
fn standing(outlet: &Outlet, seq: &AtomicU64, now_us: u64, stride: u64) -> Standing {
    let seq = seq.load(Ordering::Relaxed);
    let channel = outlet.lock();
    let owed = channel.ring.iter().find(|entry| entry.seq > seq);
    let interval_us = channel.interval_us;
    let Some(oldest) = owed else {
        return Standing { interval_us: interval_us * stride, slow: stride > 1, ..Standing::default() };
    };
    Standing {
        frames: channel.seq.saturating_sub(seq),
        behind_us: now_us.saturating_sub(oldest.at_us),
        positions: channel.position.saturating_sub(oldest.previous),
        interval_us: interval_us * stride,
        slow: stride > 1,
    }
}
