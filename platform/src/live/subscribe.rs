//! How a subscription begins: its view, then what the viewer has to know before the first live frame.
//!
//! The viewer joins its view first; everything after the view's newest frame then reaches it by its cursor. What came before
//! is the shared snapshot, or the history from the store, or what changed since the position that it resumes from. Store and
//! view overlap; the cursor knows up to which record the store was read and leaves that out.

use super::LiveShared;
use super::encode::{Framing, Run, SharedFrame};
use super::fanout::{Cursor, Fold, Form, Joined, Label, Unservable, ViewId, Wish};
use super::outbox::{Outbox, Subscribed};
use super::past::{self, Gather, Numbered};
use super::stats::ViewerStats;
use crate::ports::{Snapshot, SnapshotQuery};
use pulsewire_core::ids::{DeviceId, GroupName, Lane, MetricName, Position, SeriesKey};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::selector::Selector;
use pulsewire_proto::Message;
use pulsewire_proto::frame::{
    AcrossLabel, Aggregate, Gap, GapReason, Refused, RefusedCode, Resume, SnapshotEnd, Subscribe,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

/// Records read at a time when a viewer resumes: all of them are in memory at once.
const RESUME_RECORDS: usize = 32;
/// A history is read so often at most while series appear; then the SUBSCRIBE is refused with code 5.
const READS_MAX: usize = 3;

type Refusal = (RefusedCode, String);

/// Answers a SUBSCRIBE.
pub(super) async fn subscribe(
    shared: &Arc<LiveShared>,
    outbox: &Rc<RefCell<Outbox>>,
    stats: &ViewerStats,
    scope: &DeviceScope,
    wish: Subscribe,
) {
    let number = wish.subscription;
    if let Err((code, text)) = try_subscribe(shared, outbox, stats, scope, wish).await {
        let refused = Refused::new(number, code, &text);
        outbox.borrow_mut().put(super::encode::frame(&Message::Refused(refused)));
    }
}

/// What a SUBSCRIBE asks for, in the form that equal ones share.
fn wish_of(wish: &Subscribe, scope: &DeviceScope, interval_ms: u32) -> Result<Wish, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| (RefusedCode::Invalid, error.to_string());
    wish.check_limits().map_err(|error| invalid(&error))?;
    let devices = wish.devices.iter().map(|id| DeviceId::parse(id)).collect::<Result<_, _>>();
    let metrics = wish.metrics.iter().map(|name| MetricName::parse(name)).collect::<Result<_, _>>();
    let groups = wish.groups.iter().map(|name| GroupName::parse(name)).collect::<Result<_, _>>();
    let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for tag in &wish.tags {
        tags.entry(tag.key.clone()).or_default().insert(tag.value.clone());
    }
    let selector = Selector {
        scope: scope.clone(),
        devices: devices.map_err(|error| invalid(&error))?,
        metrics: metrics.map_err(|error| invalid(&error))?,
        groups: groups.map_err(|error| invalid(&error))?,
        profiles: wish.profiles.iter().cloned().collect(),
        tags,
    };
    let label = |text: &String| match AcrossLabel::parse(text) {
        Some(AcrossLabel::Group) => Some(Label::Group),
        Some(AcrossLabel::Profile) => Some(Label::Profile),
        Some(AcrossLabel::Tag(key)) => Some(Label::Tag(key.to_owned())),
        None => None,
    };
    let folded = |fold| match &wish.across {
        None => Form::Interval(fold),
        Some(labels) => Form::Across(fold, labels.iter().filter_map(label).collect()),
    };
    let form = match wish.aggregate {
        Aggregate::Every => Form::Every,
        Aggregate::Last => Form::Last,
        Aggregate::Min => folded(Fold::Min),
        Aggregate::Max => folded(Fold::Max),
        Aggregate::Avg => folded(Fold::Avg),
        Aggregate::Sum => folded(Fold::Sum),
        Aggregate::Count => folded(Fold::Count),
        Aggregate::P95 => folded(Fold::P95),
    };
    Ok(Wish { selector, interval_ms, form })
}

async fn try_subscribe(
    shared: &Arc<LiveShared>,
    outbox: &Rc<RefCell<Outbox>>,
    stats: &ViewerStats,
    scope: &DeviceScope,
    asked: Subscribe,
) -> Result<(), Refusal> {
    let number = asked.subscription;
    let least = u32::try_from(shared.options.interval_min.as_millis()).unwrap_or(u32::MAX);
    let wish = wish_of(&asked, scope, asked.interval_ms.max(least))?;
    let (taken, count) = {
        let out = outbox.borrow();
        (out.subscribed.iter().any(|s| s.number == number), out.subscribed.len())
    };
    if taken {
        return Err((RefusedCode::InUse, format!("subscription {number} is in use on this socket")));
    }
    let most = shared.options.subscriptions_max;
    if count >= most {
        return Err((RefusedCode::TooManySubscriptions, format!("a socket may have {most} subscriptions")));
    }
    let allowed = outbox.borrow().allowed.clone();
    let Ok(permit) = allowed.try_acquire_owned() else {
        let most = shared.options.subscriptions_per_user_max;
        let text = format!("a user may have {most} subscriptions in all; close other pages");
        return Err((RefusedCode::TooManySubscriptions, text));
    };
    let signal = outbox.borrow().signal().clone();
    let Joined { view, cursor, unfilled } = join(shared, &wish, signal)?;
    shared.joined.notify_one();
    stats.subscribed(number, &cursor);
    // Noted before the first wait, so that it ends with the viewer whatever happens meanwhile.
    outbox.borrow_mut().subscribed.push(Subscribed { number, view, cursor, started: false, _permit: permit });
    let start = Start { shared, outbox, asked: &asked, form: &wish.form, view };
    let began = start.begin(unfilled).await;
    let mut out = outbox.borrow_mut();
    match began {
        Ok(()) => {
            let Some(subscribed) = out.subscribed.iter_mut().find(|s| s.number == number) else { return Ok(()) };
            subscribed.started = true;
            let devices = subscribed.cursor.outlet().devices();
            out.put_presence(devices);
            Ok(())
        }
        Err(text) => {
            out.subscribed.retain(|s| s.number != number);
            drop(out);
            stats.unsubscribed(number);
            shared.fanout().leave(view, shared.now_us());
            Err((RefusedCode::Unavailable, text))
        }
    }
}

fn join(shared: &LiveShared, wish: &Wish, signal: Arc<super::fanout::Signal>) -> Result<Joined, Refusal> {
    let unavailable = || (RefusedCode::Unavailable, "the server is stopping".to_owned());
    let directory = shared.parts.directory.read().map_err(|_| unavailable())?;
    let catalogue = shared.parts.catalogue.read().map_err(|_| unavailable())?;
    let (now_us, wall_us) = (shared.now_us(), shared.parts.clock.now_us());
    let joined = shared.fanout().join(wish, signal, &directory, &catalogue, now_us, wall_us);
    joined.map_err(|problem| match problem {
        Unservable::TooManySeries { found, allowed } => {
            let text = format!("the selection has {found} series; a subscription may have {allowed}: select less");
            (RefusedCode::TooManySeries, text)
        }
        Unservable::Full => {
            let text = "the server sends as many different series as it may; try again later or select less";
            (RefusedCode::Unavailable, text.to_owned())
        }
    })
}

/// Asks the store for the newest of series, and puts it in. `view` begins anew with it.
pub(super) async fn fill(shared: &LiveShared, view: Option<ViewId>, series: Vec<SeriesKey>) -> Result<(), String> {
    let query = SnapshotQuery { series: series.clone(), from_us: None, samples_max: series.len().max(1) };
    let snapshot = shared.parts.history.snapshot(query).await.map_err(|error| unreadable(&error))?;
    reach(shared, snapshot.position).await?;
    let newest =
        snapshot.samples.into_iter().filter_map(|(series, samples)| Some((series, samples.into_iter().last()?)));
    let wall_us = shared.parts.clock.now_us();
    shared.fanout().fill(view, &series, newest.collect(), snapshot.position, wall_us);
    Ok(())
}

/// Waits until the fan-out has read as far as the store, which may be ahead: what it puts in must not stand before samples
/// that are still to be heard.
async fn reach(shared: &LiveShared, position: Position) -> Result<(), String> {
    let reached = async {
        loop {
            // Before it is looked at, so that nothing that comes meanwhile is slept through.
            let applied = shared.applied.notified();
            if shared.fanout().position() >= position {
                return;
            }
            applied.await;
        }
    };
    let late = |_| "live values are behind what is stored; try again".to_owned();
    tokio::time::timeout(shared.options.subscribe_wait, reached).await.map_err(late)
}

fn unreadable(error: &dyn std::fmt::Display) -> String {
    tracing::warn!(%error, "history for a viewer could not be read");
    "history cannot be read now; try again".to_owned()
}

/// Its turn to read what a viewer missed, given back when it is dropped; of one that reads nothing it holds nothing.
struct Turn<'a> {
    _permit: Option<tokio::sync::SemaphorePermit<'a>>,
}

struct Start<'a> {
    shared: &'a Arc<LiveShared>,
    outbox: &'a Rc<RefCell<Outbox>>,
    asked: &'a Subscribe,
    form: &'a Form,
    view: ViewId,
}

impl Start<'_> {
    fn with_cursor<T>(&self, act: impl FnOnce(&mut Cursor) -> T) -> Result<T, String> {
        let mut out = self.outbox.borrow_mut();
        let subscribed = out.subscribed.iter_mut().find(|s| s.number == self.asked.subscription);
        // Nothing else takes it away while its SUBSCRIBE is answered.
        Ok(act(&mut subscribed.ok_or("the subscription is gone")?.cursor))
    }

    fn send(&self, run: &Run) {
        self.outbox.borrow_mut().put_shared(self.asked.subscription, &run.frames, run.samples);
    }

    fn end(&self, position: u64, series: usize) {
        let series = u32::try_from(series).unwrap_or(u32::MAX);
        let end = SharedFrame::of(&Message::SnapshotEnd(SnapshotEnd { subscription: 0, position, series }));
        self.outbox.borrow_mut().put_shared(self.asked.subscription, &[end], 0);
    }

    fn gap(&self, from_position: u64, to_position: u64, reason: GapReason) {
        let gap = SharedFrame::of(&Message::Gap(Gap { subscription: 0, from_position, to_position, reason }));
        self.outbox.borrow_mut().put_shared(self.asked.subscription, &[gap], 0);
    }

    async fn begin(&self, unfilled: Vec<SeriesKey>) -> Result<(), String> {
        let outlet = self.with_cursor(|cursor| cursor.outlet().clone())?;
        let fill = async || match unfilled.is_empty() {
            true => Ok(()),
            false => fill(self.shared, Some(self.view), unfilled.clone()).await,
        };
        outlet.filled.get_or_try_init(fill).await?;
        // Its turn comes before it begins, so that its view need not keep for it what comes while it waits.
        let turn = self.turn().await;
        self.with_cursor(Cursor::begin)?;
        let mut refused = None;
        if let Some(resume) = self.asked.resume {
            if turn.is_some() && self.resume(resume).await? {
                return Ok(());
            }
            refused = Some(resume.position);
        }
        // A history is another kind of reading: others may have their turn meanwhile.
        drop(turn);
        let read = self.asked.history_ms > 0 && matches!(self.form, Form::Every | Form::Last);
        if read {
            return self.history(refused).await;
        }
        let (now_us, reuse) = (self.shared.now_us(), self.shared.options.snapshot_reuse);
        let reuse_us = u64::try_from(reuse.as_micros()).unwrap_or(u64::MAX);
        let (run, series, position) = self.with_cursor(|cursor| {
            let (run, series) = cursor.snapshot(now_us, reuse_us, &self.shared.counts);
            (run, series, cursor.position())
        })?;
        if refused.is_some() {
            // The frames of a shared snapshot name 0 before them.
            self.gap(0, 0, GapReason::ResumeRefused);
        }
        self.send(&run);
        self.end(position, series);
        Ok(())
    }

    /// Waits until it may read what it missed. None if that takes too long.
    async fn turn(&self) -> Option<Turn<'_>> {
        let (newest, most) = (self.shared.fanout().position().0, self.shared.options.resume_records_max);
        // What is to be refused anyway waits for nobody.
        let resumes = self.asked.resume.is_some_and(|resume| {
            resume.epoch == self.shared.epoch
                && newest.checked_sub(resume.position).is_some_and(|missed| missed <= most)
        });
        if *self.form != Form::Every || !resumes {
            return Some(Turn { _permit: None });
        }
        let turn = tokio::time::timeout(self.shared.options.subscribe_wait, self.shared.resumes.acquire()).await;
        turn.ok()?.ok().map(|permit| Turn { _permit: Some(permit) })
    }

    /// Sends what was stored after the position that the viewer names. False if that is not possible.
    async fn resume(&self, resume: Resume) -> Result<bool, String> {
        let newest = self.shared.fanout().position().0;
        if resume.epoch != self.shared.epoch || resume.position > newest {
            return Ok(false);
        }
        if *self.form == Form::Every && newest - resume.position > self.shared.options.resume_records_max {
            return Ok(false);
        }
        if *self.form != Form::Every {
            let (definitions, _) = self.with_cursor(|cursor| cursor.definitions())?;
            let counts = &self.shared.counts;
            let (run, position, series) = self.with_cursor(|cursor| {
                let run = cursor.changed_since(resume.position, counts);
                (run, cursor.position(), cursor.definitions().1)
            })?;
            self.send(&definitions);
            self.send(&run);
            self.end(position, series);
            return Ok(true);
        }
        let (definitions, series) = self.with_cursor(|cursor| cursor.definitions())?;
        let (joined, framed) = self.with_cursor(|cursor| (cursor.joined(), cursor.position()))?;
        // With series that no frame has defined yet only up to what was framed: theirs follows with their definitions.
        let to = if self.shared.fanout().has_unframed(self.view, joined, newest) { framed } else { newest };
        let Some((position, samples)) = self.missed(resume.position, to, joined).await else { return Ok(false) };
        // Series that came to match while it was away begin with their newest sample, however old that is, as far as the view
        // was kept meanwhile and knows since when it has them.
        let came = self.shared.fanout().came_since(self.view, resume.position, joined, position);
        let past::Begun { first, pending } = past::begun(came, &samples).await;
        self.send(&definitions);
        let mut run = Run::default();
        let framing = Framing { previous: resume.position, position, history: true, conflated: false };
        past::put_samples(&mut run, Framing { position: resume.position, ..framing }, &first).await;
        past::put_samples(&mut run, framing, &samples).await;
        self.send(&run);
        self.with_cursor(|cursor| cursor.from_store(position, pending))?;
        self.end(position, series);
        Ok(true)
    }

    async fn missed(&self, from: u64, to: u64, joined: u64) -> Option<(u64, Vec<Numbered>)> {
        let mut cursor = from;
        let numbers = self.shared.fanout().series_of(self.view, joined).into_iter().collect();
        let mut gather = Gather::new(numbers, self.shared.options.history_samples_max);
        while cursor < to {
            let count = usize::try_from(to - cursor).unwrap_or(usize::MAX).min(RESUME_RECORDS);
            let records = self.shared.parts.journal.read(Lane(0), Position(cursor), count).await.ok()?;
            // Records that are no longer kept, or not there yet, cannot be made up for.
            if records.first()?.position.0 != cursor + 1 {
                return None;
            }
            for record in records {
                cursor = record.position.0;
                if !gather.take(record).await {
                    return None;
                }
            }
        }
        Some((cursor, gather.samples()))
    }

    /// Reads the history of the view's series, and the view's numbers for them. A series that no frame has defined yet would be
    /// missing from it, though its position says that all is there: then the view makes a frame at once, and it is read again.
    async fn read(&self) -> Result<(HashMap<SeriesKey, u32>, Snapshot), String> {
        let from_us = self.shared.parts.clock.now_us() - i64::from(self.asked.history_ms) * 1000;
        let samples_max = self.shared.options.history_samples_max;
        let mut reads = 0;
        loop {
            let joined = self.with_cursor(|cursor| cursor.joined())?;
            let numbers: HashMap<_, _> = self.shared.fanout().series_of(self.view, joined).into_iter().collect();
            let query =
                SnapshotQuery { series: numbers.keys().copied().collect(), from_us: Some(from_us), samples_max };
            let snapshot = self.shared.parts.history.snapshot(query).await.map_err(|error| unreadable(&error))?;
            reach(self.shared, snapshot.position).await?;
            reads += 1;
            {
                let mut fanout = self.shared.fanout();
                if !fanout.has_unframed(self.view, joined, snapshot.position.0) {
                    return Ok((numbers, snapshot));
                }
                if reads == READS_MAX {
                    return Err("new series appear faster than their history can be read; try again".to_owned());
                }
                fanout.frame(self.view, self.shared.now_us(), self.shared.parts.clock.now_us());
            }
            self.with_cursor(Cursor::begin)?;
        }
    }

    async fn history(&self, refused: Option<u64>) -> Result<(), String> {
        let (numbers, snapshot) = self.read().await?;
        let position = snapshot.position.0;
        let parts = snapshot.samples.into_iter().filter_map(|(series, part)| Some((*numbers.get(&series)?, part)));
        let samples = past::merged(parts.collect()).await;
        let (definitions, series) = self.with_cursor(|cursor| cursor.definitions())?;
        let mut previous = 0;
        if let Some(from) = refused {
            self.gap(from.min(position), position, GapReason::ResumeRefused);
            previous = position;
        }
        self.send(&definitions);
        if snapshot.cut {
            self.gap(0, position, GapReason::Other);
            previous = position;
        }
        let mut run = Run::default();
        let framing = Framing { previous, position, history: true, conflated: false };
        past::put_samples(&mut run, framing, &samples).await;
        self.send(&run);
        self.with_cursor(|cursor| cursor.from_store(position, HashMap::new()))?;
        self.end(position, series);
        Ok(())
    }
}
