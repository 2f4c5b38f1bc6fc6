//! The fan-out against a plain model, under random schedules in virtual time: who subscribes to what, what is published, who stops
//! reading, is cut off and comes back, which devices come, change and go.
//!
//! After every frame that says a position, the viewer must have what SPEC §9 says it has there: with `every` each sample once or
//! a GAP over it, with `last` the newest of each series however much was left out, with the others the results of the samples
//! between; frames name the one before them without a break, and the lossless lane brings each change once and in order. The
//! model in `model.rs` knows nothing of views, rings and ticks.
//!
//! `PULSEWIRE_LONG=1` runs thousands of schedules; `PROPTEST_CASES` sets how many.

#![allow(clippy::unwrap_used)] // a helper's panic is the test's failure

mod model;
mod schedule;
mod stage;
mod viewer;
mod world;

use crate::model::{Selection, Wish};
use crate::schedule::{Kind, Op};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use pulsewire_proto::frame::Aggregate;

/// Results across devices leave out what is older: the server's default.
pub const STALE_US: i64 = 300_000_000;

#[test]
fn after_every_frame_a_viewer_has_what_the_model_has() {
    let long = std::env::var("PULSEWIRE_LONG").is_ok_and(|value| value == "1");
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = given.unwrap_or(if long { 5_000 } else { 32 });
    let config =
        ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 4_000, ..ProptestConfig::default() };
    let result = TestRunner::new(config)
        .run(&schedule::schedules(), |schedule| stage::play(&schedule).map_err(TestCaseError::fail));
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn everything(aggregate: Aggregate, across: Option<Vec<String>>) -> Wish {
    Wish { selection: Selection::default(), aggregate, interval_ms: 50, history_ms: 0, across }
}

/// A device's new metric is known before its first sample has come by. Whoever subscribes just then was the only one to get it.
#[test]
fn a_series_that_a_new_subscription_hears_of_first_reaches_the_others_as_well() {
    let all = || everything(Aggregate::Every, None);
    let one = Wish { selection: Selection { devices: vec!["d0".into()], ..Selection::default() }, ..all() };
    let schedule = [
        Op::Connect(0),
        Op::Subscribe(0, all(), 0),
        Op::Add(0),
        Op::Publish(0, 2, 1, Kind::Backfill),
        Op::Subscribe(0, one, 0),
        Op::Publish(0, 1, 1, Kind::Live),
    ];
    assert_eq!(stage::play(&schedule), Ok(()));
}

#[test]
fn what_is_stored_while_a_result_across_devices_is_asked_for_is_in_a_result() {
    for haste in 0..12 {
        let schedule = [
            Op::Add(4),
            Op::Burst(4, 5),
            Op::Connect(1),
            Op::Subscribe(1, everything(Aggregate::Min, Some(vec![])), haste),
            Op::Publish(4, 1, 1, Kind::Live),
        ];
        assert_eq!(stage::play(&schedule), Ok(()), "{haste}");
    }
}

/// A series that a view has and that no frame of it has told yet, and a viewer that comes to the view just then.
#[test]
fn what_a_view_is_about_to_tell_reaches_who_joins_with_a_history() {
    let all = |history_ms| Wish { interval_ms: 250, history_ms, ..everything(Aggregate::Every, None) };
    let schedule = [
        Op::Connect(0),
        Op::Subscribe(0, all(0), 0),
        Op::Add(0),
        Op::Connect(1),
        Op::Publish(0, 1, 1, Kind::Live),
        Op::Subscribe(0, all(500), 0),
    ];
    assert_eq!(stage::play(&schedule), Ok(()));
}

/// A series that its view has and that no frame has defined yet, and a viewer that comes back just then.
#[test]
fn who_comes_back_is_not_told_to_have_what_no_frame_of_the_view_had_yet() {
    for (pass, history_ms) in (1..150).step_by(10).flat_map(|pass| [(pass, 0), (pass, 500)]) {
        let all = || Wish { interval_ms: 100, history_ms, ..everything(Aggregate::Every, None) };
        let schedule = [
            Op::Add(0),
            Op::Add(2),
            Op::Connect(0),
            Op::Connect(1),
            Op::Subscribe(0, all(), 0),
            Op::Subscribe(1, all(), 0),
            Op::Publish(0, 1, 1, Kind::Live),
            Op::Pass(300),
            Op::Cut(0),
            Op::Publish(2, 1, 1, Kind::Live),
            Op::Pass(pass),
            Op::Connect(0),
            Op::Cut(0),
            Op::Connect(0),
        ];
        assert_eq!(stage::play(&schedule), Ok(()), "{pass}, {history_ms}");
    }
}

/// A device that is moved into the group of a subscription and says nothing more.
#[test]
fn a_series_that_comes_to_match_is_told_with_its_newest_sample() {
    let selection = || Selection { groups: vec!["north".into()], ..Selection::default() };
    for aggregate in [Aggregate::Every, Aggregate::Last] {
        for watched in [false, true] {
            let wish = Wish { selection: selection(), ..everything(aggregate, None) };
            let mut schedule = vec![Op::Add(0), Op::Add(1), Op::Connect(0), Op::Connect(1)];
            // The newest is in memory if somebody looks at the device, else in the store.
            schedule.extend(watched.then(|| Op::Subscribe(1, everything(Aggregate::Last, None), 0)));
            schedule.extend([0, 1].map(|device| Op::Publish(device, 7, 2, Kind::Live)));
            schedule.extend([Op::Subscribe(0, wish, 0), Op::Pass(100), Op::Regroup(vec![0, 1], Some("north"))]);
            schedule.extend([Op::Pass(100), Op::Group(1, None), Op::Group(1, Some("north"))]);
            assert_eq!(stage::play(&schedule), Ok(()), "{aggregate:?}, {watched}");
        }
    }
}
