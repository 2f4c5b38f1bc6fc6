//! What was acknowledged is there after a crash, exactly once, wherever the crash comes.
//!
//! A fleet works at random until the machine is gone at a chosen point; the files are opened again and compared with a plain
//! map. Either the process was killed (everything written is there) or the power failed (what was not synced is lost in part).

mod support;

use pulsewire_core::ids::{DeviceKey, SeriesKey};
use pulsewire_engine::{Keep, Policy, Step, StoreError, StoreOptions, Synchronous};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::disk::{At, Disk, Operation, Part};
use support::world::{HOUR, Random, SECOND, World, lane_of, verify_accounts};

/// Where the crash comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    /// At any write or sync.
    Anywhere,
    /// A record is written and not synced.
    RecordBeforeSync,
    /// It is synced and not acknowledged.
    RecordAfterSync,
    /// Among the writes of a transaction that seals.
    Sealing,
    /// Chunks are committed; the records they came from are still in the journal.
    Sealed,
    /// Records of sealed chunks are being deleted.
    Releasing,
    Rollup,
    Expiry,
    Merge,
    CheckpointOfJournal,
    CheckpointOfData,
    /// While files are closed, which ends with a checkpoint.
    Closing,
    /// While files are opened and the journal is read again.
    Opening,
    /// While files are made.
    FirstOpening,
}

const POINTS: [Point; 14] = [
    Point::Anywhere,
    Point::RecordBeforeSync,
    Point::RecordAfterSync,
    Point::Sealing,
    Point::Sealed,
    Point::Releasing,
    Point::Rollup,
    Point::Expiry,
    Point::Merge,
    Point::CheckpointOfJournal,
    Point::CheckpointOfData,
    Point::Closing,
    Point::Opening,
    Point::FirstOpening,
];

const KEEP_RAW: i64 = 24 * HOUR;
const DATA: [Part; 2] = [Part::Data, Part::DataWal];
const JOURNAL: [Part; 2] = [Part::Journal, Part::JournalWal];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    Kill,
    Power,
}

struct KeepRaw;

impl Policy for KeepRaw {
    fn keep(&self, _: DeviceKey, _: SeriesKey) -> Keep {
        Keep { raw_us: Some(KEEP_RAW), ..Keep::default() }
    }
}

struct Round {
    disk: Disk,
    crash: Crash,
    random: Random,
    options: StoreOptions,
    folder: tempfile::TempDir,
}

impl Round {
    fn new(seed: u64, point: Point, crash: Crash, synchronous: Synchronous) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::register(&format!("{point:?}-{crash:?}-{synchronous:?}-{seed}"));
        let mut options = StoreOptions {
            chunk_rows: 64,
            retain_bytes: 8_000,
            unsealed_bytes: 30_000,
            vfs: Some(disk.vfs_name()),
            synchronous,
            ..StoreOptions::new(folder.path().into())
        };
        if point == Point::Expiry {
            options.policy = Arc::new(KeepRaw);
        }
        Self { disk, crash, random: Random::new(seed ^ 0xC4A5), options, folder }
    }

    /// The machine is gone now if it was not; it starts again with what the disk holds.
    fn restart(&mut self) {
        self.disk.power_off();
        let random = &mut self.random;
        match self.crash {
            Crash::Kill => self.disk.settle(None),
            Crash::Power => self.disk.settle(Some(&mut |n| random.below(n))),
        }
        if self.crash == Crash::Power {
            // The index of the WAL is memory shared by processes; it does not outlive the machine.
            for name in ["journal.db-shm", "data.db-shm"] {
                let _ = std::fs::remove_file(self.folder.path().join(name));
            }
        }
    }

    fn at(&mut self, parts: &[Part], most: u64) -> At {
        At::nth(parts, 1 + self.random.below(most))
    }

    /// Works until the crash. Answers the step that was going on, if that is known.
    fn work(&mut self, world: &mut World, point: Point) {
        let wanted = match point {
            Point::Rollup => Some(Step::Rolled),
            Point::Expiry => Some(Step::Expired),
            Point::Merge => Some(Step::Merged),
            _ => None,
        };
        let at = match point {
            Point::Anywhere => self.at(&Part::ALL, 400),
            Point::RecordBeforeSync => self.at(&[Part::JournalWal], 12).only(Operation::Sync),
            Point::RecordAfterSync => self.at(&[Part::JournalWal], 12).only(Operation::Sync).after(),
            Point::Sealing => self.at(&[Part::DataWal], 60).only(Operation::Write),
            Point::Sealed => self.at(&[Part::DataWal], 6).only(Operation::Sync).after(),
            Point::Releasing => {
                // What was sealed is released by the next commits.
                if world.keeper.seal_all().is_err() {
                    return;
                }
                self.at(&[Part::JournalWal], 8)
            }
            Point::Rollup | Point::Expiry | Point::Merge => return self.keep_until(world, wanted),
            Point::CheckpointOfJournal | Point::CheckpointOfData => return self.checkpoint(point),
            Point::Closing | Point::Opening | Point::FirstOpening => return,
        };
        self.disk.crash_at(at);
        for n in 0..400 {
            if world.work().is_err() || self.disk.crashed() {
                return;
            }
            if point == Point::Sealed && n % 5 == 4 && world.keeper.seal_all().is_err() {
                return;
            }
        }
    }

    /// Lets the keeper work until it does what is wanted, then crashes within the next such steps.
    fn keep_until(&mut self, world: &mut World, wanted: Option<Step>) {
        if world.keeper.seal_all().is_err() {
            return;
        }
        // Once all is sealed, and with nothing to roll up, merging is all there is to do.
        let mut armed = wanted == Some(Step::Merged);
        if armed {
            let at = self.at(&DATA, 60);
            self.disk.crash_at(at);
        }
        for _ in 0..3_000 {
            match world.step() {
                Ok(step) if !armed && Some(step) == wanted => {
                    armed = true;
                    let at = self.at(&DATA, 12);
                    self.disk.crash_at(at);
                }
                Ok(_) => {}
                Err(_) => return,
            }
            if self.disk.crashed() {
                return;
            }
        }
    }

    /// A checkpoint as a commit makes it when the WAL is long, from a connection of its own.
    fn checkpoint(&mut self, point: Point) {
        let (name, parts) = match point {
            Point::CheckpointOfJournal => ("journal.db", JOURNAL),
            _ => ("data.db", DATA),
        };
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = self.folder.path().join(name);
        let connection = rusqlite::Connection::open_with_flags_and_vfs(path, flags, self.disk.vfs_name().as_str());
        let Ok(connection) = connection else { return };
        let at = self.at(&parts, 9);
        self.disk.crash_at(at);
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// One crash. Answers whether it came where it was to come, or what does not hold after it.
fn round(seed: u64, point: Point, crash: Crash, synchronous: Synchronous) -> Result<bool, String> {
    let mut round = Round::new(seed, point, crash, synchronous);
    if point == Point::FirstOpening {
        return first_opening(round, seed);
    }
    let mut world = World::open(round.options.clone(), seed).map_err(|error| format!("does not open: {error:#}"))?;
    if point == Point::Expiry || point == Point::Rollup {
        // Long enough for blocks of rollups, and for samples to be too old.
        (world.disorder, world.step_us) = (false, 60 * SECOND);
    }
    world.disorder &= point != Point::Merge;
    let busy = match point {
        Point::Expiry | Point::Rollup => 250,
        Point::Merge => 120,
        _ => 5 + round.random.below(60),
    };
    for n in 0..busy {
        let result = match point {
            Point::Expiry | Point::Rollup => world.append(),
            Point::Merge if n % 4 == 0 => world.keeper.seal_all(),
            Point::Merge => world.append(),
            _ => world.work(),
        };
        result.map_err(|error| format!("fails before the crash: {error:?}"))?;
    }
    round.work(&mut world, point);
    if point == Point::Closing {
        let at = round.at(&Part::ALL, 12);
        round.disk.crash_at(at);
    }
    if point == Point::Expiry {
        world.kept_from_us = world.wall_us() - KEEP_RAW;
    }
    let closed = world.close();
    let mut midway = round.disk.crashed();
    round.restart();
    if point == Point::Opening {
        // Several times in a row.
        for _ in 0..3 {
            let at = round.at(&Part::ALL, 6);
            round.disk.crash_at(at);
            drop(support::world::open(round.options.clone()));
            midway |= round.disk.crashed();
            round.restart();
        }
    }
    let options = StoreOptions { synchronous: Synchronous::Full, ..round.options.clone() };
    let mut world = closed.reopen(options.clone())?;
    after(&mut world, options)?;
    Ok(midway)
}

/// The store goes on working, and ends with exactly what was sent.
fn after(world: &mut World, options: StoreOptions) -> Result<(), String> {
    let failed = |error: StoreError| format!("fails after the crash: {error:?}");
    for _ in 0..15 {
        world.work().map_err(failed)?;
    }
    let wall_us = world.wall_us();
    if world.kept_from_us > i64::MIN {
        world.kept_from_us = wall_us + 1_000 * SECOND - KEEP_RAW;
    }
    world.settle().map_err(failed)?;
    world.verify()?;
    let lane = lane_of(world)?;
    verify_accounts(&world.model, &lane)?;
    let folder = options.folder;
    let report = pulsewire_engine::check(&folder, &mut |_, _| {}).map_err(|error| format!("{error:#}"))?;
    if report.problems > 0 {
        return Err(format!("the check finds {:?}", report.findings));
    }
    Ok(())
}

/// Nothing was acknowledged yet; the files must still open.
fn first_opening(mut round: Round, seed: u64) -> Result<bool, String> {
    let at = round.at(&Part::ALL, 60);
    round.disk.crash_at(at);
    let opened = World::open(round.options.clone(), seed);
    let midway = opened.is_err();
    drop(opened);
    round.restart();
    // Whatever devices came through are not known here; they must not be in the way.
    let opened = support::world::open(round.options.clone());
    opened.map(|_| midway).map_err(|error| format!("does not open again: {error:#}"))
}

fn rounds() -> u64 {
    if std::env::var_os("PULSEWIRE_LONG").is_some() { 200 } else { 20 }
}

fn crashes(crash: Crash) {
    let mut midway: BTreeMap<Point, (u64, u64)> = BTreeMap::new();
    for seed in 1..=rounds() {
        let point = POINTS[(seed % POINTS.len() as u64) as usize];
        match round(seed, point, crash, Synchronous::Full) {
            Ok(hit) => {
                let counts = midway.entry(point).or_default();
                *counts = (counts.0 + 1, counts.1 + u64::from(hit));
            }
            Err(problem) => panic!("seed {seed}, {point:?}, {crash:?}: {problem}"),
        }
    }
    let mut in_all = 0;
    for (point, (rounds, hits)) in &midway {
        println!("{crash:?} {point:?}: {hits} of {rounds} crashes came at their point");
        assert!(*hits > 0 || *rounds < 5, "no crash came at {point:?}");
        in_all += hits;
    }
    assert!(in_all * 2 > rounds(), "only {in_all} of {} crashes came at their point", rounds());
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_the_process_is_killed() {
    crashes(Crash::Kill);
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_when_the_power_fails() {
    crashes(Crash::Power);
}

#[test]
fn without_the_sync_the_loss_is_noticed() {
    let lost = |seed: &u64| round(*seed, Point::RecordAfterSync, Crash::Power, Synchronous::Off).is_err();
    let noticed = (1..=10).filter(lost).count();
    assert!(noticed > 0, "ten power failures without any sync lost nothing: the file layer does not do its work");
    println!("without the sync, {noticed} of 10 power failures lost what was acknowledged");
}
