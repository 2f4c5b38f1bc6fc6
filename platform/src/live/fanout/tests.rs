//! The fan-out driven by hand: no clock, no socket.

use super::*;
use crate::live::encode::shown::of_view as shown;
use pulsewire_core::block::ReportHead;
use pulsewire_core::block::SeriesSet;
use pulsewire_core::catalogue::{Resolved, SeriesLimits};
use pulsewire_core::ids::{DeviceId, MetricName, Sequence, StreamId};
use pulsewire_core::sample::{MetricDeclaration, ReportKind};
use pulsewire_core::value::{Value, ValueType};
use std::sync::atomic::AtomicU64;

const MS: u64 = 1000;

struct World {
    fanout: Fanout,
    directory: Directory,
    catalogue: Catalogue,
    position: u64,
    now_us: u64,
}

impl World {
    fn new(change: impl FnOnce(&mut FanoutLimits)) -> Self {
        let mut limits = FanoutLimits {
            series_max: 100,
            inputs_max: 100,
            views_max: 10,
            view_series_max: 1000,
            view_linger_us: 1000 * MS,
            idle_series_max: 10,
            pending_samples_max: 100,
            ring_frames: 4,
            ring_bytes_max: 1 << 20,
            rings_bytes_max: 1 << 20,
            slow_interval_us: 800 * MS,
            across_stale_us: 1_000_000,
        };
        change(&mut limits);
        let (directory, catalogue) = (Directory::default(), Catalogue::default());
        Self { fanout: Fanout::new(limits, Position(0)), directory, catalogue, position: 0, now_us: 10_000 * MS }
    }

    fn device(&mut self, key: u32, site: &str) {
        let id = DeviceId::parse(&format!("d{key}")).expect("valid");
        let mut device = Device::named(DeviceKey(key), id);
        device.tags = [("site".to_owned(), site.to_owned())].into();
        self.directory.put(Arc::new(device));
        self.fanout.devices_changed(&[DeviceKey(key)], &self.directory, &self.catalogue);
    }

    /// One sample of one metric, in a record of its own.
    fn sample(&mut self, device: u32, time_us: i64, value: f64) {
        let name = MetricName::parse("t").expect("valid");
        let declaration = MetricDeclaration { name, unit: "C".into(), value_type: ValueType::F64 };
        let limits = SeriesLimits { in_all: 1000, per_device: 10 };
        let series = match self.catalogue.resolve(DeviceKey(device), &declaration, limits) {
            Resolved::Known(key) => key,
            Resolved::Write(series) => series.key,
            Resolved::Rejected(_) => panic!("there is room"),
        };
        let set = SeriesSet { device: DeviceKey(device), series: vec![series], types: vec![ValueType::F64] };
        let mut block = Block::new(Arc::new(set));
        let (stream, sequence) = (StreamId(1), Sequence(1));
        block.reports.push(ReportHead { stream, sequence, digest: 0, kind: ReportKind::Live, rows: 1 });
        block.rows.push_dense(time_us, [value.to_bits()].into_iter());
        self.position += 1;
        self.fanout.apply(Position(self.position), &[block], &self.directory, &self.catalogue);
    }

    fn join(&mut self, form: Form, selector: Selector) -> Result<Joined, Unservable> {
        let wish = Wish { selector, interval_ms: 100, form };
        let mut joined = self.fanout.join(&wish, Arc::default(), &self.directory, &self.catalogue, self.now_us, 0)?;
        if !joined.unfilled.is_empty() {
            self.fanout.fill(Some(joined.view), &joined.unfilled, Vec::new(), Position(self.position), 0);
        }
        joined.cursor.begin();
        Ok(joined)
    }

    fn tick(&mut self) {
        self.now_us += 100 * MS;
        self.fanout.tick(self.now_us, 0, 100);
    }

    fn next(&self, joined: &mut Joined) -> Vec<String> {
        let counts = self.fanout.counts().clone();
        let mut all = Vec::new();
        while let Some(owed) = joined.cursor.next(self.now_us, &counts) {
            all.extend(owed.frames.iter().map(shown));
        }
        all
    }

    fn snapshot(&self, joined: &mut Joined) -> Vec<String> {
        let (run, _) = joined.cursor.snapshot(self.now_us, 10_000 * MS, self.fanout.counts());
        run.frames.iter().map(shown).collect()
    }

    fn count(&self, of: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        of(self.fanout.counts()).load(Ordering::Relaxed)
    }
}

#[test]
fn equal_subscriptions_share_a_frame_and_a_snapshot() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.sample(1, 10, 1.0);
    let mut viewers: Vec<_> = (0..3).map(|_| w.join(Form::Last, Selector::default()).expect("room")).collect();
    for viewer in &mut viewers {
        assert_eq!(w.snapshot(viewer), ["def 0:d1"], "what came before the view is the store's to tell");
    }
    assert_eq!(w.count(|c| &c.snapshots_encoded), 1);
    w.sample(1, 20, 2.0);
    w.sample(1, 30, 3.0);
    w.tick();
    for viewer in &mut viewers {
        assert_eq!(w.next(viewer), ["1<3 0=3 conflated"]);
        assert!(w.next(viewer).is_empty());
    }
    assert_eq!(w.count(|c| &c.frames_encoded), 1);
    // One that comes later is sent the same snapshot, and what changed since.
    let mut late = w.join(Form::Last, Selector::default()).expect("room");
    assert_eq!(w.snapshot(&mut late), ["def 0:d1"]);
    assert_eq!(w.next(&mut late), ["1<3 0=3 conflated"]);
    assert_eq!(w.count(|c| &c.snapshots_encoded), 1);
}

#[test]
fn one_that_stalls_gets_one_catch_up_and_is_served_less_often_until_it_keeps_up() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.device(2, "a");
    let mut viewers = [(); 2].map(|()| w.join(Form::Last, Selector::default()).expect("room"));
    for n in 1..=10 {
        w.sample(1, n, 0.5);
        if n == 1 {
            w.sample(2, n, 7.0);
        }
        w.tick();
    }
    for viewer in &mut viewers {
        assert_eq!(w.next(viewer), ["def 0:d1 1:d2", "0<11 1=7 0=0.5 conflated"], "more than the ring keeps");
    }
    assert_eq!(w.count(|c| &c.catch_ups_encoded), 1, "both lag equally");
    // That was the first thing it got, so it is not taken for slow; the next time it is.
    for n in 11..=20 {
        w.sample(1, n, 1.5);
        w.tick();
    }
    let viewer = &mut viewers[0];
    assert_eq!(w.next(viewer).len(), 1);
    assert!(viewer.cursor.standing(w.now_us).slow);
    let mut frames = 0;
    for n in 21..=60 {
        w.sample(1, n, f64::from(u32::try_from(n).expect("small")));
        w.tick();
        frames += w.next(viewer).len();
    }
    assert!(frames < 40 && !viewer.cursor.standing(w.now_us).slow, "{frames} frames, and it recovered");
}

#[test]
fn one_that_wants_every_sample_is_told_of_what_is_kept_no_longer() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    let mut viewer = w.join(Form::Every, Selector::default()).expect("room");
    for n in 1..=6 {
        w.sample(1, n, 0.5);
        w.tick();
    }
    let got = w.next(&mut viewer);
    assert_eq!(got, ["def 0:d1", "gap 0..2", "2<3 0=0.5", "3<4 0=0.5", "4<5 0=0.5", "5<6 0=0.5"]);
    assert_eq!(w.count(|c| &c.dropped), 2);
}

#[test]
fn samples_that_came_with_the_history_are_not_sent_again() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.sample(1, 1, 1.0);
    let mut viewer = w.join(Form::Every, Selector::default()).expect("room");
    w.sample(1, 2, 2.0);
    w.tick();
    w.sample(1, 3, 3.0);
    // The store was read after the third record.
    viewer.cursor.from_store(3, HashMap::new());
    w.sample(1, 4, 4.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["3<4 0=4"]);
    w.sample(1, 5, 5.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["4<5 0=5"], "from here on it is sent what all are sent");
}

#[test]
fn a_device_that_comes_to_match_joins_and_one_that_no_longer_does_falls_silent() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.device(2, "b");
    w.sample(1, 1, 1.0);
    w.sample(2, 1, 2.0);
    let tags = [("site".to_owned(), ["a".to_owned()].into())].into();
    let mut viewer = w.join(Form::Last, Selector { tags, ..Selector::default() }).expect("room");
    w.device(2, "a");
    w.sample(2, 2, 3.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["def 1:d2", "2<3 1=3"]);
    w.device(1, "c");
    w.sample(1, 3, 9.0);
    w.sample(2, 3, 4.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["3<5 1=4"]);
    w.fanout.device_removed(DeviceKey(2));
    assert_eq!(w.fanout.sizes().1, 1, "the first is kept while there is room");
}

#[test]
fn results_over_devices_are_folded_once_per_labels() {
    let mut w = World::new(|_| {});
    for (key, site) in [(1, "a"), (2, "a"), (3, "b")] {
        w.device(key, site);
        w.sample(key, 1, f64::from(key));
    }
    let across = || Form::Across(Fold::Avg, vec![Label::Tag("site".into())]);
    let mut viewer = w.join(across(), Selector::default()).expect("room");
    assert_eq!(w.snapshot(&mut viewer), ["def 0:a 1:b"]);
    w.sample(1, 2, 5.0);
    w.sample(2, 2, 7.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["3<5 0=6"], "the other site had nothing new");
    let mut interval = w.join(Form::Interval(Fold::Sum), Selector::default()).expect("room");
    w.sample(1, 3, 1.0);
    w.sample(1, 4, 2.0);
    w.tick();
    assert_eq!(w.next(&mut interval), ["5<7 0=3"]);
}

#[test]
fn a_selector_with_too_many_series_is_refused_with_both_figures() {
    let mut w = World::new(|limits| (limits.series_max, limits.inputs_max) = (1, 2));
    for key in 1..=3 {
        w.device(key, &key.to_string());
        w.sample(key, 1, 1.0);
    }
    let refused = |found, allowed| Some(Unservable::TooManySeries { found, allowed });
    assert_eq!(w.join(Form::Last, Selector::default()).err(), refused(3, 1));
    assert_eq!(w.join(Form::Across(Fold::Sum, Vec::new()), Selector::default()).err(), refused(3, 2));
    assert_eq!(w.fanout.sizes().0, 0, "nothing is left of it");
}

#[test]
fn a_view_lingers_after_its_last_viewer_and_then_goes() {
    let mut w = World::new(|limits| limits.idle_series_max = 0);
    w.device(1, "a");
    w.sample(1, 1, 1.0);
    let Joined { view, cursor, .. } = w.join(Form::Last, Selector::default()).expect("room");
    drop(cursor);
    w.fanout.leave(view, w.now_us);
    w.tick();
    assert_eq!(w.fanout.sizes(), (1, 1), "who comes back finds it");
    (0..15).for_each(|_| w.tick());
    assert_eq!(w.fanout.sizes(), (0, 0));
}

/// Devices of a site.
fn of_site(site: &str) -> Selector {
    let tags = [("site".to_owned(), [site.to_owned()].into())].into();
    Selector { tags, ..Selector::default() }
}

#[test]
fn every_sample_of_a_series_that_comes_to_match_begins_with_the_newest_stored() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.device(2, "b");
    w.device(3, "b");
    w.sample(3, 1, 5.0);
    let named = Selector { devices: [DeviceId::parse("d2").expect("valid")].into(), ..Selector::default() };
    let _of_other = w.join(Form::Every, named).expect("room");
    w.sample(1, 1, 1.0);
    w.sample(2, 1, 2.0);
    let mut viewer = w.join(Form::Every, of_site("a")).expect("room");
    // The newest of the second is known, that of the third is the store's to tell.
    w.device(2, "a");
    w.device(3, "a");
    w.sample(2, 2, 3.0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["def 1:d2 2:d3", "3=3 1=2", "3<4 1=3"]);
    let unfilled = w.fanout.take_unfilled();
    assert_eq!(unfilled.len(), 1);
    let found = unfilled.iter().map(|series| (*series, Sample { time_us: 1, value: Value::F64(5.0) })).collect();
    w.fanout.fill(None, &unfilled, found, Position(4), 0);
    w.tick();
    assert_eq!(w.next(&mut viewer), ["4=4 2=5"]);
    assert_eq!(w.count(|c| &c.frames_encoded), 3, "of the other view one");
    // Who was away meanwhile is told of it as well; also who was at the last record, since what is stored comes beside them.
    let joined = viewer.cursor.outlet().seq();
    let came = |after| w.fanout.came_since(viewer.view, after, joined, 4).newest.len();
    assert_eq!([came(2), came(3), came(4), came(5)], [2, 2, 1, 0]);
    // It goes and comes again.
    w.device(2, "b");
    w.device(2, "a");
    w.tick();
    assert_eq!(w.next(&mut viewer), ["def 3:d2", "4=4 3=3"]);
}

#[test]
fn a_series_of_which_the_store_was_never_asked_is_told_as_far_as_it_is_known() {
    let mut w = World::new(|_| {});
    w.device(1, "b");
    w.sample(1, 1, 1.0);
    // Results over an interval need nothing of the store.
    let _results = w.join(Form::Interval(Fold::Min), Selector::default()).expect("room");
    let mut viewer = w.join(Form::Every, of_site("a")).expect("room");
    w.sample(1, 2, 2.0);
    w.device(1, "a");
    w.tick();
    assert_eq!(w.next(&mut viewer), ["def 0:d1", "1=1 0=2", "1<2 "]);
    let unfilled = w.fanout.take_unfilled();
    let found = unfilled.iter().map(|series| (*series, Sample { time_us: 2, value: Value::F64(2.0) })).collect();
    w.fanout.fill(None, &unfilled, found, Position(2), 0);
    w.tick();
    assert!(w.next(&mut viewer).is_empty(), "the store had nothing newer");
}

#[test]
fn one_that_resumes_while_a_series_is_still_read_gets_its_newest_stored_once() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.device(2, "b");
    w.sample(2, 7, 5.0);
    w.sample(1, 1, 1.0);
    let first = w.join(Form::Every, of_site("a")).expect("room");
    // It has asked for what there was; what comes to match later is asked for beside.
    first.cursor.outlet().filled.set(()).expect("nobody did");
    w.device(2, "a");
    w.tick();
    let unfilled = w.fanout.take_unfilled();
    // They were there after the first record, and have read the store up to the second.
    let mut again = [(); 2].map(|()| w.join(Form::Every, of_site("a")).expect("room"));
    let came = w.fanout.came_since(first.view, 1, again[0].cursor.joined(), 2);
    assert_eq!(came, Came { newest: Vec::new(), pending: vec![1] });
    again[0].cursor.from_store(2, [(1, i64::MIN)].into());
    // The other has read the very sample from the journal.
    again[1].cursor.from_store(2, [(1, 7)].into());
    let found = unfilled.iter().map(|series| (*series, Sample { time_us: 7, value: Value::F64(5.0) })).collect();
    // A commit later, as a store that is read may be.
    w.sample(1, 2, 3.0);
    w.fanout.fill(None, &unfilled, found, Position(2), 0);
    // Who asks now is told by the frame as well, since it is of a later commit than was read.
    assert_eq!(w.fanout.came_since(first.view, 1, again[0].cursor.joined(), 2).pending, [1]);
    assert!(w.fanout.came_since(first.view, 1, again[0].cursor.joined(), 3).pending.is_empty());
    w.tick();
    assert_eq!(w.next(&mut again[0]), ["2=2 1=5", "2<3 0=3"]);
    assert_eq!(w.next(&mut again[1]), ["2<3 0=3"]);
    w.device(2, "b");
    w.device(2, "a");
    w.tick();
    assert_eq!(w.next(&mut again[0]), ["def 2:d2", "3=3 2=5"], "it came again, under another number");
}

#[test]
fn one_that_is_too_slow_for_every_sample_is_told_the_newest_of_series_that_came_meanwhile() {
    let mut w = World::new(|_| {});
    w.device(1, "a");
    w.device(2, "b");
    let _all = w.join(Form::Every, Selector::default()).expect("room");
    w.sample(1, 1, 1.0);
    w.sample(2, 1, 2.0);
    let mut viewer = w.join(Form::Every, of_site("a")).expect("room");
    w.device(2, "a");
    for n in 2..=6 {
        w.sample(1, n, 0.5);
        w.tick();
    }
    let told = ["def 1:d2", "gap 2..3", "3=3 1=2", "3<4 0=0.5", "4<5 0=0.5", "5<6 0=0.5", "6<7 0=0.5"];
    assert_eq!(w.next(&mut viewer), told);
}

#[test]
fn many_devices_that_change_together_are_judged_as_each_alone() {
    let mut w = World::new(|_| {});
    for key in 1..=3 {
        w.device(key, "a");
        w.sample(key, 1, f64::from(key));
    }
    let mut viewer = w.join(Form::Last, of_site("a")).expect("room");
    for key in [2, 3] {
        let mut device = (**w.directory.by_key(DeviceKey(key)).expect("known")).clone();
        device.tags = [("site".to_owned(), "b".to_owned())].into();
        w.directory.put(Arc::new(device));
    }
    let gone = [1, 2, 3, 9].map(DeviceKey);
    w.fanout.devices_changed(&gone, &w.directory, &w.catalogue);
    (1..=3).for_each(|key| w.sample(key, 2, 7.0));
    w.tick();
    assert_eq!(w.next(&mut viewer), ["3<6 0=7"]);
    assert_eq!(viewer.cursor.outlet().devices(), Some(vec![DeviceKey(1)]));
}
