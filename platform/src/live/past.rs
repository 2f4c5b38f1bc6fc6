//! What a viewer is owed from the store, made of records and parts in pieces: its connection shares a thread with others, which
//! have their turn in between.

use super::encode::{Framing, Run};
use super::fanout::Came;
use pulsewire_core::block::ValueRef;
use pulsewire_core::ids::SeriesKey;
use pulsewire_core::sample::{JournalRecord, Sample};
use pulsewire_core::value::Value;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Values looked at before others have their turn: well below a millisecond.
const VALUES_AT_ONCE: usize = 4096;

/// A sample under its view's number for the series.
pub(super) type Numbered = (u32, i64, Value);

/// Counts what was done since others had their turn.
#[derive(Debug, Default)]
struct Turns(usize);

impl Turns {
    async fn did(&mut self, values: usize) {
        self.0 += values;
        if self.0 >= VALUES_AT_ONCE {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Gathers the samples of some series from journal records.
pub(super) struct Gather {
    numbers: HashMap<SeriesKey, u32>,
    weight_max: usize,
    samples: Vec<Numbered>,
    weight: usize,
    turns: Turns,
}

impl Gather {
    /// Of these series; a text counts for 5 of the `weight_max` samples.
    pub fn new(numbers: HashMap<SeriesKey, u32>, weight_max: usize) -> Self {
        Self { numbers, weight_max, samples: Vec::new(), weight: 0, turns: Turns::default() }
    }

    /// Takes what a record has of them. False if that is more than there may be.
    pub async fn take(&mut self, record: JournalRecord) -> bool {
        for block in record.blocks {
            // Most blocks are of devices that the view does not select: their rows are not looked at.
            let wanted: Vec<Option<u32>> =
                block.set.series.iter().map(|series| self.numbers.get(series).copied()).collect();
            self.turns.did(wanted.len() + 1).await;
            if wanted.iter().all(Option::is_none) {
                continue;
            }
            for row in block.reports().flat_map(|report| report.rows()) {
                for (column, value) in row.columns() {
                    let Some(Some(index)) = wanted.get(column) else { continue };
                    self.weight += if matches!(value, ValueRef::Text(_)) { 5 } else { 1 };
                    self.samples.push((*index, row.time_us(), value.to_value()));
                }
                if self.weight > self.weight_max {
                    return false;
                }
                self.turns.did(wanted.len()).await;
            }
        }
        true
    }

    /// What was taken, in the order stored.
    pub fn samples(self) -> Vec<Numbered> {
        self.samples
    }
}

/// How one who resumes begins with series that came to match while it was away.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Their newest, unless it or a newer one is among the samples.
    pub first: Vec<Numbered>,
    /// Of those whose newest stored sample may come later, the time of the newest that is told now, µs since the Unix epoch;
    /// i64::MIN if none is.
    pub pending: HashMap<u32, i64>,
}

/// Begins with what came to match, before these samples.
pub(super) async fn begun(came: Came, samples: &[Numbered]) -> Begun {
    let indexes = came.newest.iter().map(|(index, _)| *index).chain(came.pending.iter().copied());
    let mut told: HashMap<u32, i64> = indexes.map(|index| (index, i64::MIN)).collect();
    let mut begun = Begun::default();
    if told.is_empty() {
        return begun;
    }
    let mut turns = Turns::default();
    for some in samples.chunks(VALUES_AT_ONCE) {
        for (index, time_us, _) in some {
            if let Some(newest) = told.get_mut(index) {
                *newest = (*newest).max(*time_us);
            }
        }
        turns.did(some.len()).await;
    }
    for (index, sample) in came.newest {
        let Some(newest) = told.get_mut(&index).filter(|newest| **newest < sample.time_us) else { continue };
        *newest = sample.time_us;
        begun.first.push((index, sample.time_us, sample.value));
    }
    begun.pending = came.pending.into_iter().filter_map(|index| Some((index, *told.get(&index)?))).collect();
    begun
}

/// Parts of one series each, by time, as one: by time over all series, so that a batch spans little time and offsets suffice.
pub(super) async fn merged(parts: Vec<(u32, Vec<Sample>)>) -> Vec<Numbered> {
    let mut turns = Turns::default();
    let mut all = Vec::with_capacity(parts.iter().map(|(_, part)| part.len()).sum());
    let mut rest: Vec<_> = parts.into_iter().map(|(index, part)| (index, part.into_iter().peekable())).collect();
    let firsts = rest.iter_mut().enumerate().filter_map(|(at, (_, part))| Some(Reverse((part.peek()?.time_us, at))));
    let mut next: BinaryHeap<Reverse<(i64, usize)>> = firsts.collect();
    while let Some(Reverse((_, at))) = next.pop() {
        let Some((index, part)) = rest.get_mut(at) else { continue };
        all.extend(part.next().map(|sample| (*index, sample.time_us, sample.value)));
        next.extend(part.peek().map(|sample| Reverse((sample.time_us, at))));
        turns.did(1).await;
    }
    all
}

/// Appends samples to a run like [`Run::put_samples`].
pub(super) async fn put_samples(run: &mut Run, framing: Framing, samples: &[Numbered]) {
    let count = samples.len().div_ceil(VALUES_AT_ONCE);
    for (at, some) in samples.chunks(VALUES_AT_ONCE).enumerate() {
        // As within a run: only its last frame says how far it goes.
        let position = if at + 1 == count { framing.position } else { framing.previous };
        let framing = Framing { position, ..framing };
        run.put_samples(framing, some.iter().map(|(index, time_us, value)| (*index, *time_us, value)));
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::encode::shown::of_view as shown;
    use pulsewire_core::block::{Block, ReportHead, SeriesSet};
    use pulsewire_core::ids::{DeviceKey, Position, Sequence, StreamId};
    use pulsewire_core::sample::ReportKind;
    use pulsewire_core::value::ValueType;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    const WIDTH: u32 = 10;

    /// A record of many devices with ten series each and one report of some rows.
    fn record(position: u64, devices: u32, rows: u32) -> JournalRecord {
        let block = |device: u32| {
            let series = (0..WIDTH).map(|n| SeriesKey(device * WIDTH + n)).collect();
            let types = vec![ValueType::F64; WIDTH as usize];
            let mut block = Block::new(Arc::new(SeriesSet { device: DeviceKey(device), series, types }));
            for row in 0..rows {
                block.rows.push_dense(i64::from(row), (0..WIDTH).map(|n| f64::from(n).to_bits()));
            }
            let (stream, sequence) = (StreamId(1), Sequence(position));
            block.reports.push(ReportHead { stream, sequence, digest: 0, kind: ReportKind::Live, rows });
            block
        };
        JournalRecord { position: Position(position), received_us: 0, blocks: (0..devices).map(block).collect() }
    }

    /// Does this beside a task that has its turn whenever it may. Answers how many it had, and how long it waited at most.
    async fn beside<T>(work: impl Future<Output = T>) -> (T, u64, Duration) {
        let (turns, longest) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(Duration::ZERO)));
        let (counted, waited) = (turns.clone(), longest.clone());
        let other = tokio::task::spawn_local(async move {
            let mut last = Instant::now();
            loop {
                tokio::task::yield_now().await;
                waited.set(waited.get().max(last.elapsed()));
                counted.set(counted.get() + 1);
                last = Instant::now();
            }
        });
        let done = work.await;
        other.abort();
        (done, turns.get(), longest.get())
    }

    #[tokio::test]
    async fn others_have_their_turn_while_a_viewer_is_told_what_it_missed() {
        let (devices, rows) = (500, 40);
        let records: Vec<_> = (1..=8).map(|position| record(position, devices, rows)).collect();
        // Every tenth device.
        let numbers = (0..devices).step_by(10).flat_map(|device| (0..WIDTH).map(move |n| device * WIDTH + n));
        let numbers: HashMap<_, _> = numbers.map(|series| (SeriesKey(series), series)).collect();
        let values = 8 * numbers.len() * rows as usize;
        let mut gather = Gather::new(numbers, values);
        let gathering = async {
            for record in records {
                assert!(gather.take(record).await);
            }
            let mut run = Run::default();
            let samples = gather.samples();
            put_samples(&mut run, Framing { previous: 1, position: 9, ..Framing::default() }, &samples).await;
            run.samples
        };
        let (taken, turns, longest) = tokio::task::LocalSet::new().run_until(beside(gathering)).await;
        assert_eq!(taken, values as u64);
        println!("{values} values in {turns} turns; the thread was held {longest:?} at most");
        // Once when they are looked at, and once when they are framed.
        assert!(turns >= 2 * (values / VALUES_AT_ONCE) as u64, "{turns} turns");
    }

    #[tokio::test]
    async fn too_much_is_noticed_within_a_record() {
        let numbers = || (0..WIDTH).map(|n| (SeriesKey(n), n)).collect();
        assert!(!Gather::new(numbers(), 99).take(record(1, 1, 10)).await);
        let mut gather = Gather::new(numbers(), 100);
        assert!(gather.take(record(1, 3, 10)).await, "of the other devices nothing is wanted");
        assert_eq!(gather.samples().len(), 100);
    }

    #[tokio::test]
    async fn what_came_to_match_begins_with_its_newest_once() {
        let newest = |index, time_us| (index, Sample { time_us, value: Value::I64(0) });
        let samples = vec![(1, 5, Value::I64(0)), (2, 4, Value::I64(0)), (5, 7, Value::I64(0)), (6, 1, Value::I64(0))];
        let came = Came { newest: vec![newest(1, 5), newest(2, 9), newest(3, 1)], pending: vec![3, 4, 5] };
        let begun = begun(came, &samples).await;
        let first: Vec<_> = begun.first.iter().map(|(index, time_us, _)| (*index, *time_us)).collect();
        assert_eq!(first, [(2, 9), (3, 1)]);
        assert_eq!(begun.pending, [(3, 1), (4, i64::MIN), (5, 7)].into());
    }

    #[tokio::test]
    async fn parts_become_one_by_time_and_only_the_last_frame_says_how_far_it_goes() {
        let part = |times: &[i64]| times.iter().map(|t| Sample { time_us: *t, value: Value::I64(*t) }).collect();
        let all = merged(vec![(0, part(&[1, 4])), (1, part(&[])), (2, part(&[1, 2, 9]))]).await;
        let order: Vec<_> = all.iter().map(|(index, time_us, _)| (*index, *time_us)).collect();
        assert_eq!(order, [(0, 1), (2, 1), (2, 2), (0, 4), (2, 9)]);
        let last = i64::try_from(VALUES_AT_ONCE).expect("few");
        let many: Vec<Numbered> = (0..=last).map(|t| (0, t, Value::I64(0))).collect();
        let mut run = Run::default();
        put_samples(&mut run, Framing { previous: 3, position: 7, history: true, conflated: false }, &many).await;
        let heads: Vec<_> =
            run.frames.iter().map(|f| shown(f).split(' ').next().unwrap_or_default().to_owned()).collect();
        assert_eq!(heads, ["3=3", "3<7"]);
    }
}
