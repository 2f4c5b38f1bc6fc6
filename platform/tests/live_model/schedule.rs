//! What may happen, at random.

use crate::model::{Selection, TEXT, Wish};
use proptest::prelude::*;
use pulsewire_proto::frame::Aggregate;

/// Devices that may exist, metrics that they have, and viewers.
pub const DEVICES: usize = 5;
pub const METRICS: [&str; 3] = ["temp", "load", TEXT];
pub const VIEWERS: usize = 3;
const GROUPS: [&str; 2] = ["north", "south"];
const SITES: [&str; 2] = ["a", "b"];

#[derive(Debug, Clone)]
pub enum Op {
    /// Opens a socket; one that was here before says how far it was.
    Connect(usize),
    /// The last: how much happens before the next step.
    Subscribe(usize, Wish, u8),
    Unsubscribe(usize, usize),
    /// Commits a report: device, which of its metrics, rows, and what is special about it.
    Publish(usize, u8, usize, Kind),
    /// Commits many small reports at once.
    Burst(usize, usize),
    Pass(u64),
    Stall(usize),
    Read(usize),
    Cut(usize),
    Add(usize),
    Remove(usize),
    Group(usize, Option<&'static str>),
    /// Several devices at once.
    Regroup(Vec<usize>, Option<&'static str>),
    Tag(usize, Option<&'static str>),
    Alert,
    Command(usize),
    Presence(usize, bool),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    Live,
    /// Its time is before that of samples that are stored.
    Late,
    Backfill,
}

/// The id of a device.
pub fn device(number: usize) -> String {
    format!("d{number}")
}

fn selection() -> impl Strategy<Value = Selection> {
    let devices = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::sample::subsequence((0..DEVICES).map(device).collect::<Vec<_>>(), 1..=3),
    ];
    let metrics = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::sample::subsequence(METRICS.map(str::to_owned).to_vec(), 1..=2),
    ];
    let groups =
        prop_oneof![3 => Just(Vec::new()), 1 => prop::sample::select(GROUPS.to_vec()).prop_map(|g| vec![g.to_owned()])];
    let tags = prop_oneof![
        4 => Just(Vec::new()),
        1 => prop::sample::select(vec!["", "a", "b"]).prop_map(|value| vec![("site".to_owned(), value.to_owned())]),
    ];
    (devices, metrics, groups, tags).prop_map(|(devices, metrics, groups, tags)| Selection {
        devices,
        metrics,
        groups,
        tags,
    })
}

fn wish() -> impl Strategy<Value = Wish> {
    use Aggregate::{Avg, Count, Every, Last, Max, Min, P95, Sum};
    let across = prop_oneof![
        3 => Just(None),
        1 => Just(Some(vec![])),
        1 => Just(Some(vec!["group".to_owned()])),
        1 => Just(Some(vec!["tag:site".to_owned(), "group".to_owned()])),
    ];
    let results = (prop::sample::select(vec![Min, Max, Avg, Sum, Count, P95]), across);
    let plain = prop::sample::select(vec![Every, Last]).prop_map(|aggregate| (aggregate, None));
    let aggregate = prop_oneof![2 => plain, 1 => results];
    let intervals = prop::sample::select(vec![50, 100, 250]);
    let history = prop::sample::select(vec![0, 0, 500, 60_000]);
    (selection(), aggregate, intervals, history).prop_map(
        |(selection, (aggregate, across), interval_ms, history_ms)| Wish {
            selection,
            aggregate,
            interval_ms,
            history_ms,
            across,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![6 => Just(Kind::Live), 1 => Just(Kind::Late), 1 => Just(Kind::Backfill)];
    let viewer = || 0..VIEWERS;
    let device = || 0..DEVICES;
    let groups = || prop::option::of(prop::sample::select(GROUPS.to_vec()));
    let several = prop::sample::subsequence((0..DEVICES).collect::<Vec<_>>(), 1..=DEVICES);
    let sites = prop::option::of(prop::sample::select(SITES.to_vec()));
    prop_oneof![
        8 => viewer().prop_map(Op::Connect),
        8 => (viewer(), wish(), 0..12_u8).prop_map(|(viewer, wish, haste)| Op::Subscribe(viewer, wish, haste)),
        1 => (viewer(), 0..4_usize).prop_map(|(viewer, which)| Op::Unsubscribe(viewer, which)),
        24 => (device(), 1..8_u8, 1..3_usize, kind).prop_map(|(d, m, rows, kind)| Op::Publish(d, m, rows, kind)),
        3 => (device(), 5..60_usize).prop_map(|(device, count)| Op::Burst(device, count)),
        16 => (1..400_u64).prop_map(Op::Pass),
        3 => viewer().prop_map(Op::Stall),
        3 => viewer().prop_map(Op::Read),
        2 => viewer().prop_map(Op::Cut),
        3 => device().prop_map(Op::Add),
        1 => device().prop_map(Op::Remove),
        2 => (device(), groups()).prop_map(|(device, group)| Op::Group(device, group)),
        1 => (several, groups()).prop_map(|(devices, group)| Op::Regroup(devices, group)),
        2 => (device(), sites).prop_map(|(device, site)| Op::Tag(device, site)),
        3 => Just(Op::Alert),
        2 => device().prop_map(Op::Command),
        2 => (device(), any::<bool>()).prop_map(|(device, online)| Op::Presence(device, online)),
    ]
}

/// A hundred things that happen, or fewer.
pub fn schedules() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..100)
}
