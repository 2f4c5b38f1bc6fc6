//! What a view has to send, and where each of its subscribers stands in it.
//!
//! A view's frames are numbered; the newest are kept in a ring. A subscriber is a [`Cursor`]: the number of the frame it
//! had last. What it is owed is made when it can take it, so that one that cannot costs nothing but its cursor. Beside the
//! ring the view keeps a cell per series, with what was sent of it last and in which frame: from these a snapshot or a
//! catch-up is made, once for all that stand equally.

use super::super::encode::{Framing, Run};
use super::Counts;
use super::series::SeriesMeta;
use futures_util::task::AtomicWaker;
use pulsewire_core::ids::DeviceKey;
use pulsewire_core::value::Value;
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Catch-ups kept for those who lag equally. A tick makes them useless.
const CATCH_UPS: usize = 16;
/// A series that no frame has defined yet.
const NOT_YET: u64 = u64::MAX;

/// A sample on its way to viewers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The view's number for the series.
    pub index: u32,
    /// µs since the Unix epoch.
    pub time_us: i64,
    /// The reading.
    pub value: Value,
    /// The record it came with.
    pub position: u64,
}

impl Pending {
    /// As it is framed.
    pub fn shown(&self) -> (u32, i64, &Value) {
        (self.index, self.time_us, &self.value)
    }

    /// What it counts for in the bound of what may wait: one, and more for long texts.
    pub fn weight(&self) -> usize {
        match &self.value {
            Value::Text(text) => 1 + text.len() / 1024,
            _ => 1,
        }
    }
}

/// What was sent of a series last.
#[derive(Debug)]
pub(super) struct Cell {
    pub meta: Arc<SeriesMeta>,
    pub time_us: i64,
    pub value: Option<Value>,
    pub position: u64,
    /// Frame that had it; 0 = none.
    pub seq: u64,
    /// Frame that defined the series.
    pub defined: u64,
}

/// One frame of the ring, which may be several on the wire.
#[derive(Debug)]
pub(super) struct Entry {
    pub seq: u64,
    pub previous: u64,
    pub position: u64,
    pub at_us: u64,
    pub run: Arc<Run>,
    /// Where every sample counts: the newest of series that came to match, and the samples, for one who has some of them from
    /// the history.
    pub stored: Vec<Pending>,
    pub samples: Vec<Pending>,
    pub weight: usize,
    /// Samples of (first, last) are missing before this.
    pub lost: Option<(u64, u64)>,
}

/// What a frame is made of.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Where every sample counts: the newest of series that came to match, from before that; history.
    pub stored: Vec<Pending>,
    /// New samples.
    pub samples: Vec<Pending>,
    /// Samples were replaced by newer ones.
    pub conflated: bool,
    /// Samples of (first, last) are missing.
    pub lost: Option<(u64, u64)>,
}

/// Wakes a viewer.
#[derive(Debug, Default)]
pub struct Signal {
    waker: AtomicWaker,
}

impl Signal {
    /// There may be something to send.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Who is to be woken.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub signal: Arc<Signal>,
    pub seq: Arc<AtomicU64>,
}

/// Devices a view selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selected {
    All,
    These(HashSet<DeviceKey>),
}

impl Selected {
    pub fn has(&self, device: DeviceKey) -> bool {
        match self {
            Self::All => true,
            Self::These(devices) => devices.contains(&device),
        }
    }
}

/// Bounds of one view's ring.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    /// Frames.
    pub frames: usize,
    /// Bytes on the wire.
    pub bytes: usize,
    /// Samples, where every sample counts.
    pub samples: usize,
}

/// What those get who join at the same time.
#[derive(Debug)]
struct Snapshot {
    seq: u64,
    position: u64,
    made_us: u64,
    run: Arc<Run>,
    series: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Channel {
    /// Each sample counts: nothing may be conflated.
    pub every: bool,
    pub interval_us: u64,
    pub cells: Vec<Option<Cell>>,
    // Numbers of series that are gone, with the frame that was the newest then.
    free: VecDeque<(u32, u64)>,
    pub live: usize,
    pub seq: u64,
    pub position: u64,
    pub ring: VecDeque<Entry>,
    ring_bytes: usize,
    ring_weight: usize,
    snapshot: Option<Snapshot>,
    // By the frame and the position that those have who get it.
    catch_ups: Vec<((u64, u64), Arc<Run>)>,
    members: Vec<Option<Member>>,
    vacant: Vec<usize>,
    pub selected: Selected,
    /// Members that are given less than every frame.
    pub slow: usize,
}

/// A view's channel, and what its subscribers look at without taking its lock.
#[derive(Debug)]
pub struct Outlet {
    pub(super) channel: Mutex<Channel>,
    seq: AtomicU64,
    /// What the store has of its series was put in; who comes before waits here.
    pub filled: tokio::sync::OnceCell<()>,
}

impl Outlet {
    pub(super) fn new(every: bool, interval_us: u64, position: u64, selected: Selected) -> Self {
        let channel = Channel {
            every,
            interval_us,
            cells: Vec::new(),
            free: VecDeque::new(),
            live: 0,
            // The first frame, which has the definitions that a view begins with, is never in the ring.
            seq: 1,
            position,
            ring: VecDeque::new(),
            ring_bytes: 0,
            ring_weight: 0,
            snapshot: None,
            catch_ups: Vec::new(),
            members: Vec::new(),
            vacant: Vec::new(),
            selected,
            slow: 0,
        };
        Self { channel: Mutex::new(channel), seq: AtomicU64::new(1), filled: tokio::sync::OnceCell::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Channel> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        self.channel.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the view selects a device.
    pub fn selects(&self, device: DeviceKey) -> bool {
        self.lock().selected.has(device)
    }

    /// The devices it selects by name; None for all.
    pub fn devices(&self) -> Option<Vec<DeviceKey>> {
        match &self.lock().selected {
            Selected::All => None,
            Selected::These(devices) => Some(devices.iter().copied().collect()),
        }
    }

    /// The newest frame's number.
    pub fn seq(&self) -> u64 {
        self.seq.load(Ordering::Acquire)
    }

    pub(super) fn moved(&self, seq: u64) {
        self.seq.store(seq, Ordering::Release);
    }
}

impl Channel {
    /// A place for a series; it is defined with the next frame.
    pub fn define(&mut self, meta: Arc<SeriesMeta>, defined: bool) -> u32 {
        let defined = if defined { self.seq } else { NOT_YET };
        let cell = Cell { meta, time_us: 0, value: None, position: 0, seq: 0, defined };
        self.live += 1;
        // Not while a frame that is kept means the former series by it.
        let oldest = self.ring.front().map_or(u64::MAX, |entry| entry.seq);
        if let Some((index, _)) = self.free.pop_front_if(|(_, gone)| *gone < oldest) {
            self.cells[index as usize] = Some(cell);
            return index;
        }
        self.cells.push(Some(cell));
        u32::try_from(self.cells.len() - 1).unwrap_or(u32::MAX)
    }

    /// A series is gone; its number may be given to another.
    pub fn remove(&mut self, index: u32) {
        if let Some(cell) = self.cells.get_mut(index as usize)
            && cell.take().is_some()
        {
            self.live -= 1;
            self.free.push_back((index, self.seq));
            self.snapshot = None;
            self.catch_ups.clear();
        }
    }

    pub fn join(&mut self, member: Member) -> usize {
        match self.vacant.pop() {
            Some(place) => {
                self.members[place] = Some(member);
                place
            }
            None => {
                self.members.push(Some(member));
                self.members.len() - 1
            }
        }
    }

    pub fn leave(&mut self, place: usize) {
        if self.members.get_mut(place).and_then(Option::take).is_some() {
            self.vacant.push(place);
        }
    }

    pub fn wake(&self) {
        self.members.iter().flatten().for_each(|member| member.signal.wake());
    }

    /// Wakes who has not got everything, though nothing new came.
    pub fn wake_behind(&self) {
        let behind = |member: &&Member| member.seq.load(Ordering::Relaxed) < self.seq;
        self.members.iter().flatten().filter(behind).for_each(|member| member.signal.wake());
    }

    /// Begins anew: cells as given, nothing kept, nobody has anything.
    pub fn restart(&mut self, position: u64, cells: impl Iterator<Item = Pending>) {
        self.seq += 1;
        self.position = self.position.max(position);
        (self.ring, self.ring_bytes, self.ring_weight) = (VecDeque::new(), 0, 0);
        self.snapshot = None;
        self.catch_ups.clear();
        for cell in self.cells.iter_mut().flatten() {
            cell.defined = cell.defined.min(self.seq);
            (cell.value, cell.seq) = (None, 0);
        }
        for sample in cells {
            self.put_cell(&sample, true);
        }
    }

    fn put_cell(&mut self, sample: &Pending, always: bool) {
        let seq = self.seq;
        let Some(Some(cell)) = self.cells.get_mut(sample.index as usize) else { return };
        if always || cell.value.is_none() || sample.time_us >= cell.time_us {
            cell.time_us = sample.time_us;
            cell.value = Some(sample.value.clone());
        }
        cell.position = cell.position.max(sample.position);
        cell.seq = seq;
    }

    /// Makes the next frame of what is new and of new series. Answers how many samples nobody will get any more who had not.
    pub fn publish(&mut self, position: u64, news: News, limits: RingLimits, now_us: u64) -> u64 {
        let News { stored, samples, conflated, lost } = news;
        let previous = self.position;
        self.seq += 1;
        self.position = previous.max(position);
        for sample in stored.iter().chain(&samples) {
            let always = !self.every;
            self.put_cell(sample, always);
        }
        let mut run = Run::default();
        let seq = self.seq;
        let new = self.cells.iter_mut().enumerate().filter_map(|(index, cell)| {
            let cell = cell.as_mut().filter(|cell| cell.defined == NOT_YET)?;
            cell.defined = seq;
            Some((u32::try_from(index).ok()?, &*cell.meta))
        });
        run.put_definitions(new);
        let framing = Framing { previous, position: self.position, history: false, conflated };
        run.put_samples(Framing::stored(previous), stored.iter().map(Pending::shown));
        run.put_samples(framing, samples.iter().map(Pending::shown));
        if samples.is_empty() && self.position > previous {
            run.put_position(framing);
        }
        let weight = if self.every { stored.iter().chain(&samples).map(Pending::weight).sum() } else { 0 };
        self.ring_bytes += run.bytes;
        self.ring_weight += weight;
        let kept = if self.every { samples } else { Vec::new() };
        let run = Arc::new(run);
        let position = self.position;
        let entry = Entry { seq, previous, position, at_us: now_us, run, stored, samples: kept, weight, lost };
        self.ring.push_back(entry);
        self.catch_ups.clear();
        let mut dropped = 0;
        while self.ring.len() > 1
            && (self.ring.len() > limits.frames || self.ring_bytes > limits.bytes || self.ring_weight > limits.samples)
        {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.run.bytes;
            self.ring_weight -= oldest.weight;
            if self.every {
                let missed = self.members.iter().flatten().filter(|m| m.seq.load(Ordering::Relaxed) < oldest.seq);
                dropped += missed.count() as u64 * oldest.run.samples;
            }
        }
        dropped
    }

    /// Bytes that the ring holds.
    pub fn ring_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Definitions and values of all series as they stand after the newest frame, or shortly before. Answers frame, position
    /// and number of series with it.
    pub fn snapshot(&mut self, now_us: u64, reuse_us: u64, counts: &Counts) -> (u64, u64, Arc<Run>, usize) {
        if let Some(known) = &self.snapshot {
            let fresh = now_us.saturating_sub(known.made_us) <= reuse_us;
            // Where every sample counts, all frames after it must be there.
            let followed =
                !self.every || known.seq == self.seq || self.ring.front().is_some_and(|e| e.seq <= known.seq + 1);
            if fresh && followed {
                return (known.seq, known.position, known.run.clone(), known.series);
            }
        }
        counts.snapshots_encoded.fetch_add(1, Ordering::Relaxed);
        let mut run = self.definitions(0, self.seq);
        let framing = Framing { previous: 0, position: self.position, history: true, conflated: false };
        let mut values: Vec<_> = self.values(|_| true).collect();
        // By time over all series, so that a batch spans little time and offsets suffice.
        values.sort_by_key(|(_, time_us, _)| *time_us);
        run.put_samples(framing, values.into_iter());
        let run = Arc::new(run);
        let series = self.cells.iter().flatten().filter(|cell| cell.defined <= self.seq).count();
        let (seq, position) = (self.seq, self.position);
        self.snapshot = Some(Snapshot { seq, position, made_us: now_us, run: run.clone(), series });
        (seq, position, run, series)
    }

    /// Definitions of the series that frames after `from` up to `to` defined.
    pub fn definitions(&self, from: u64, to: u64) -> Run {
        let mut run = Run::default();
        let cells = self.cells.iter().enumerate();
        let defined = cells.filter_map(|(index, cell)| {
            let cell = cell.as_ref().filter(|cell| cell.defined > from && cell.defined <= to)?;
            Some((u32::try_from(index).ok()?, &*cell.meta))
        });
        run.put_definitions(defined);
        run
    }

    /// Where every sample counts: the newest of series that frames after `from` up to `to` defined, unless a frame that is kept
    /// has it. Those frames may have brought it, and are gone.
    pub(super) fn untold(&self, from: u64, to: u64) -> Vec<(u32, i64, &Value)> {
        let mut newest: Vec<_> = self.values(|cell| cell.defined > from && cell.defined <= to).collect();
        if !newest.is_empty() {
            let kept = self.ring.iter().flat_map(|entry| entry.stored.iter().chain(&entry.samples));
            let kept: HashSet<(u32, i64)> = kept.map(|sample| (sample.index, sample.time_us)).collect();
            newest.retain(|(index, time_us, _)| !kept.contains(&(*index, *time_us)));
        }
        newest
    }

    fn values(&self, wanted: impl Fn(&Cell) -> bool) -> impl Iterator<Item = (u32, i64, &Value)> {
        self.cells.iter().enumerate().filter_map(move |(index, cell)| {
            let cell = cell.as_ref().filter(|cell| cell.seq > 0 && wanted(cell))?;
            Some((u32::try_from(index).ok()?, cell.time_us, cell.value.as_ref()?))
        })
    }

    /// The newest of every series that changed after frame `from`.
    pub(super) fn catch_up(&mut self, from: u64, previous: u64, counts: &Counts) -> Arc<Run> {
        if let Some((_, run)) = self.catch_ups.iter().find(|(of, _)| *of == (from, previous)) {
            return run.clone();
        }
        let framing = Framing { previous, position: self.position, history: false, conflated: true };
        let run = Arc::new(self.changed(from, framing, |cell| cell.seq > from, counts));
        if self.catch_ups.len() < CATCH_UPS {
            self.catch_ups.push(((from, previous), run.clone()));
        }
        run
    }

    /// As above for one who stands beside the others.
    pub(super) fn changed(&self, from: u64, framing: Framing, wanted: impl Fn(&Cell) -> bool, counts: &Counts) -> Run {
        counts.catch_ups_encoded.fetch_add(1, Ordering::Relaxed);
        let mut run = self.definitions(from, self.seq);
        let mut values: Vec<_> = self.values(wanted).collect();
        values.sort_by_key(|(_, time_us, _)| *time_us);
        run.put_samples(framing, values.into_iter());
        if run.samples == 0 && framing.position > framing.previous {
            run.put_position(framing);
        }
        run
    }
}
