//! What the store does when its disk fails: it says so, loses nothing it acknowledged, and goes on as soon as it can.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

mod support;

use pulsewire_engine::{Status, Step, StoreError, StoreOptions, check};
use std::path::Path;
use support::disk::{Afterwards, At, Disk, Operation, Part};
use support::world::{Random, World, lane_of, verify_accounts};

struct Bench {
    disk: Disk,
    options: StoreOptions,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::register(name);
        let options = StoreOptions {
            chunk_rows: 64,
            retain_bytes: 8_000,
            unsealed_bytes: 30_000,
            vfs: Some(disk.vfs_name()),
            ..StoreOptions::new(folder.path().into())
        };
        Self { disk, options, folder }
    }

    fn open(&self, seed: u64) -> World {
        World::open(self.options.clone(), seed).unwrap()
    }

    /// The power fails, and the store is opened again: all that was acknowledged is there.
    fn power_failure(&self, world: World, seed: u64) -> World {
        let closed = world.close();
        self.disk.power_off();
        let mut random = Random::new(seed);
        self.disk.settle(Some(&mut |n| random.below(n)));
        for name in ["journal.db-shm", "data.db-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(name));
        }
        closed.reopen(self.options.clone()).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// It goes on working, and everything sent is stored.
fn all_is_well(world: &mut World) {
    for _ in 0..30 {
        world.work().unwrap();
    }
    world.settle().unwrap();
    world.verify().unwrap();
    let lane = lane_of(world).unwrap();
    verify_accounts(&world.model, &lane).unwrap();
    assert_eq!(world.store.status().stopped, None);
    assert_eq!(world.store.status().failing, None);
}

fn busy(world: &mut World, times: u64) {
    for _ in 0..times {
        world.work().unwrap();
    }
}

fn stopped<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Stopped(_))), "{result:?}");
}

fn retry<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Retry(source)) => format!("{source:#}"),
        other => panic!("{other:?}"),
    }
}

fn status(world: &World) -> Status {
    world.store.status()
}

#[test]
fn after_a_failed_sync_of_the_journal_nothing_more_is_acknowledged_and_reading_goes_on() {
    for (seed, afterwards) in [(1, Afterwards::Works), (2, Afterwards::Fails), (3, Afterwards::Varies)] {
        let bench = Bench::new(&format!("journal-sync-{seed}"));
        let mut world = bench.open(seed);
        busy(&mut world, 40);
        bench.disk.fail_sync_at(At::nth(&[Part::JournalWal], 1).only(Operation::Sync), afterwards);
        stopped(world.append());
        let doubt = world.doubt.take();
        for _ in 0..5 {
            stopped(world.append());
            stopped(world.open_stream());
            stopped(world.step());
            stopped(world.keeper.seal_all());
        }
        assert!(status(&world).stopped.is_some());
        world.verify().unwrap();
        // Only the commit whose sync failed may be there.
        world.doubt = doubt;
        let mut world = bench.power_failure(world, seed);
        all_is_well(&mut world);
    }
}

#[test]
fn after_a_failed_sync_of_a_seal_the_store_stops_and_no_record_was_released() {
    for (seed, afterwards) in [(1, Afterwards::Works), (2, Afterwards::Fails), (3, Afterwards::Varies)] {
        let bench = Bench::new(&format!("data-sync-{seed}"));
        let mut world = bench.open(seed);
        busy(&mut world, 40);
        world.append().unwrap();
        let before = status(&world);
        bench.disk.fail_sync_at(At::nth(&[Part::DataWal], 1).only(Operation::Sync), afterwards);
        stopped(world.keeper.seal_all());
        assert_eq!(status(&world).journal_bytes, before.journal_bytes);
        let in_memory = status(&world).heads_bytes;
        assert!(in_memory > 0 && in_memory <= before.heads_bytes, "the rows are in memory again: {in_memory}");
        assert!(status(&world).stopped.is_some());
        stopped(world.append());
        world.doubt = None;
        stopped(world.step());
        world.verify().unwrap();
        let mut world = bench.power_failure(world, seed);
        all_is_well(&mut world);
    }
}

/// SQLite keeps the error of a checkpoint to itself and copies the same pages again the next time, from a WAL that is synced.
#[test]
fn a_failed_sync_while_a_checkpoint_is_made_loses_nothing() {
    for (seed, part, name) in [(1, Part::Journal, "journal.db"), (2, Part::Data, "data.db")] {
        let bench = Bench::new(&format!("checkpoint-sync-{seed}"));
        let mut world = bench.open(seed);
        busy(&mut world, 60);
        bench.disk.fail_sync_at(At::nth(&[part], 1).only(Operation::Sync), Afterwards::Works);
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let vfs = bench.disk.vfs_name();
        let connection = rusqlite::Connection::open_with_flags_and_vfs(bench.path(name), flags, vfs.as_str()).unwrap();
        let failed = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        assert!(failed.is_err(), "the sync was to fail");
        drop(connection);
        busy(&mut world, 20);
        let mut world = bench.power_failure(world, seed);
        all_is_well(&mut world);
    }
}

#[test]
fn while_the_journals_disk_is_full_nothing_is_stored_and_afterwards_it_works_again() {
    let bench = Bench::new("journal-full");
    for (seed, left) in [(1, 0), (2, 3_000), (3, 40_000)] {
        let mut world = match seed {
            1 => bench.open(seed),
            _ => World::open(StoreOptions { folder: fresh(&bench, seed), ..bench.options.clone() }, seed).unwrap(),
        };
        busy(&mut world, 5);
        bench.disk.space(Some((&[Part::Journal, Part::JournalWal], left)));
        let mut refused = 0;
        for _ in 0..200 {
            if let Err(error) = world.append() {
                retry::<()>(Err(error));
                // It was told that nothing is stored; only a crash right now might find it after all.
                world.doubt = None;
                world.verify().unwrap();
                refused += 1;
            }
            if refused > 20 {
                break;
            }
        }
        assert!(refused > 20, "the disk was to be full");
        assert_eq!(status(&world).stopped, None);
        bench.disk.space(None);
        all_is_well(&mut world);
    }
}

fn fresh(bench: &Bench, seed: u64) -> std::path::PathBuf {
    let folder = bench.path(&seed.to_string());
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn while_the_disk_of_data_is_full_appends_go_on_until_memory_is_and_then_all_is_sealed() {
    let mut bench = Bench::new("data-full");
    bench.options.heads_bytes = 300_000;
    let mut world = bench.open(1);
    busy(&mut world, 30);
    world.settle().unwrap();
    bench.disk.space(Some((&[Part::Data, Part::DataWal], 10_000)));
    // What is freed inside the files still serves for a while.
    let mut appended = 0;
    while status(&world).failing.is_none() {
        world.append().unwrap();
        appended += 1;
        assert!(appended < 2_000, "the disk was to be full");
        if let Err(error) = world.step() {
            retry::<()>(Err(error));
        }
    }
    let mut more = 0;
    let refused = loop {
        match world.append() {
            Ok(()) => more += 1,
            Err(error) => break error,
        }
        let _ = world.step();
        assert!(more < 5_000, "memory was to be full");
    };
    world.doubt = None;
    assert!(more > 0, "appends go on while there is memory");
    let reason = retry::<()>(Err(refused));
    assert!(reason.contains("memory for unsealed rows is full") && reason.contains("full"), "{reason}");
    assert!(status(&world).heads_bytes < 2 * 300_000, "{}", status(&world).heads_bytes);
    world.verify().unwrap();
    bench.disk.space(None);
    assert!(matches!(world.step(), Ok(Step::Sealed(_))));
    assert_eq!(status(&world).failing, None);
    all_is_well(&mut world);
    assert_eq!(status(&world).heads_bytes, 0);
    let mut world = bench.power_failure(world, 1);
    all_is_well(&mut world);
}

#[test]
fn a_disk_that_becomes_read_only_stops_the_store_and_reading_goes_on() {
    let bench = Bench::new("read-only");
    let mut world = bench.open(1);
    busy(&mut world, 40);
    bench.disk.read_only(true);
    stopped(world.append());
    world.doubt = None;
    world.verify().unwrap();
    let closed = world.close();
    let error = pulsewire_engine::Store::open(bench.options.clone()).err().expect("cannot be written");
    let error = format!("{error:#}");
    assert!(error.contains("journal.db"), "{error}");
    bench.disk.read_only(false);
    let mut world = closed.reopen(bench.options.clone()).unwrap();
    all_is_well(&mut world);
}

#[test]
fn a_torn_last_write_of_the_wal_costs_only_the_commit_it_belongs_to() {
    for seed in 1..=8 {
        let bench = Bench::new(&format!("torn-{seed}"));
        let mut world = bench.open(seed);
        busy(&mut world, 20);
        world.append().unwrap();
        world.doubt = None;
        let size = || bench.path("journal.db-wal").metadata().unwrap().len();
        let before = size();
        // Not acknowledged: the machine is gone before the sync.
        bench.disk.crash_at(At::nth(&[Part::JournalWal], 1).only(Operation::Sync));
        assert!(world.append().is_err());
        let closed = world.close();
        bench.disk.settle(None);
        let after = size();
        if after > before {
            let wal = std::fs::OpenOptions::new().write(true).open(bench.path("journal.db-wal")).unwrap();
            wal.set_len(after - 1 - Random::new(seed).below((after - before).min(3_000) - 1)).unwrap();
        }
        let mut world = closed.reopen(bench.options.clone()).unwrap();
        all_is_well(&mut world);
    }
}

fn edit(path: &Path, sql: &str) -> usize {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute(sql, []).unwrap()
}

#[test]
fn a_flipped_bit_in_a_record_is_reported_and_costs_only_that_record() {
    let bench = Bench::new("flipped");
    let mut world = bench.open(1);
    for _ in 0..20 {
        world.append().unwrap();
    }
    let (epoch, newest) = (world.epoch, world.model.head.position);
    let before = world.model.samples.len();
    drop(world.close());
    let changed = edit(
        &bench.path("journal.db"),
        "UPDATE journal SET record = CAST(substr(record, 1, 40) || x'a5' || substr(record, 42) AS BLOB)
         WHERE position = 5 AND length(record) > 60",
    );
    assert_eq!(changed, 1);
    let (store, mut writer, mut keeper) = pulsewire_engine::Store::open(bench.options.clone()).unwrap();
    let damaged = store.status().damaged;
    assert!(damaged.len() == 1 && damaged[0].contains("journal record 5"), "{damaged:?}");
    let mut reader = store.reader().unwrap();
    let commands = [pulsewire_engine::Command::OpenLane(support::world::LANE)];
    let Ok(pulsewire_engine::Outcome::Lane(lane)) = writer.commit(&commands).unwrap().remove(0) else {
        panic!("a lane");
    };
    assert_eq!((lane.epoch, lane.position.0), (epoch, newest));
    keeper.seal_all().unwrap();
    let mut count = |series: u32| {
        let query = pulsewire_engine::RangeQuery {
            series: pulsewire_core::ids::SeriesKey(series),
            from_us: i64::MIN,
            to_us: i64::MAX,
            limit: usize::MAX,
        };
        reader.range(&query).unwrap().len()
    };
    let left: usize = (0..lane.next_series.0).map(&mut count).sum();
    assert!(left < before && left > before / 2, "{left} of {before} samples are left");
    drop((store, writer, keeper, reader));
    let report = check(bench.folder.path(), &mut |_, _| {}).unwrap();
    assert_eq!(report.problems, 1, "{report:?}");
    assert!(report.findings[0].problem.contains("journal record 5"), "{report:?}");
}

fn refused(bench: &Bench, words: &[&str]) {
    let error = pulsewire_engine::Store::open(bench.options.clone()).err().expect("is refused");
    let error = format!("{error:#}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    println!("{error}");
}

#[test]
fn a_file_of_another_version_is_refused_with_its_name_its_format_and_a_remedy() {
    for name in ["journal.db", "data.db"] {
        let bench = Bench::new(&format!("version-{name}"));
        let mut world = bench.open(1);
        busy(&mut world, 10);
        drop(world.close());
        let version = |version: i64| {
            let connection = rusqlite::Connection::open(bench.path(name)).unwrap();
            let before: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            connection.pragma_update(None, "user_version", version).unwrap();
            before
        };
        let right = version(99);
        refused(&bench, &[name, "format is 99", "newer version", "start that version"]);
        version(right);
        if right > 1 {
            version(right - 1);
            refused(&bench, &[name, &format!("format is {}", right - 1), "early version", "export"]);
        }
        version(right);
        pulsewire_engine::Store::open(bench.options.clone()).unwrap();
        for suffix in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(bench.path(&format!("{name}{suffix}")));
        }
        std::fs::write(bench.path(name), "no database at all, but a text that somebody left here ".repeat(100))
            .unwrap();
        refused(&bench, &[name, "is not a Pulsewire store"]);
    }
}

fn remove(bench: &Bench, name: &str) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(bench.path(&format!("{name}{suffix}")));
    }
}

#[test]
fn a_missing_file_is_an_error_and_not_a_silent_start() {
    let bench = Bench::new("missing");
    let mut world = bench.open(1);
    busy(&mut world, 100);
    world.settle().unwrap();
    // Releases records of what is sealed.
    world.append().unwrap();
    assert!(status(&world).journal_bytes <= 10_000);
    let closed = world.close();
    let away = tempfile::tempdir().unwrap();
    for (name, words) in [
        ("data.db", ["data.db", "missing or older", "restore both"]),
        ("journal.db", ["journal.db", "names of its series", "restore both"]),
    ] {
        std::fs::copy(bench.path(name), away.path().join(name)).unwrap();
        remove(&bench, name);
        // The second start finds what the first one made.
        refused(&bench, &words);
        refused(&bench, &words);
        remove(&bench, name);
        std::fs::copy(away.path().join(name), bench.path(name)).unwrap();
    }
    let mut world = closed.reopen(bench.options.clone()).unwrap();
    all_is_well(&mut world);
}

#[test]
fn an_older_data_db_than_the_journal_released_is_an_error() {
    let bench = Bench::new("older");
    let mut world = bench.open(1);
    busy(&mut world, 20);
    let closed = world.close();
    let old = std::fs::read(bench.path("data.db")).unwrap();
    let mut world = closed.reopen(bench.options.clone()).unwrap();
    busy(&mut world, 60);
    world.settle().unwrap();
    world.append().unwrap();
    drop(world.close());
    std::fs::write(bench.path("data.db"), old).unwrap();
    refused(&bench, &["data.db", "missing or older", "restore both"]);
}

#[test]
fn a_missing_data_db_is_made_again_while_the_journal_has_everything() {
    let mut bench = Bench::new("made-again");
    bench.options.retain_bytes = 1 << 30;
    let mut world = bench.open(1);
    busy(&mut world, 60);
    world.settle().unwrap();
    let closed = world.close();
    remove(&bench, "data.db");
    let mut world = closed.reopen(bench.options.clone()).unwrap();
    all_is_well(&mut world);
}

/// A slow or busy disk shows in how often it is used: one commit is one sync, however much is in it.
#[test]
fn a_commit_costs_one_sync() {
    let bench = Bench::new("counted");
    let mut world = bench.open(1);
    busy(&mut world, 10);
    let syncs = || bench.disk.count(Part::JournalWal, Operation::Sync);
    let before = syncs();
    for _ in 0..20 {
        world.append().unwrap();
    }
    assert_eq!(syncs() - before, 20);
}
