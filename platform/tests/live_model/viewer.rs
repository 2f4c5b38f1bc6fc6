//! A viewer that believes nothing: it keeps what SPEC §9 says a viewer may keep, and compares it with the truth whenever a frame
//! says that it has everything up to a position.

use crate::model::{Change, Output, TEXT, Told, Truth, Wish, fold};
use pulsewire_proto::frame::{
    Aggregate, Batch, EventsResume, GapReason, Heartbeat, Resume, Series, SeriesDef, Subscribe, TagMatch,
};
use pulsewire_proto::{Message, RawFrame, limits};
use std::collections::{BTreeMap, BTreeSet};

/// One sample as it came.
#[derive(Debug, Clone)]
struct Got {
    output: Output,
    time_us: i64,
    value: f64,
    history: bool,
    conflated: bool,
}

/// A subscription and what its viewer has.
#[derive(Debug)]
pub struct Sub {
    pub wish: Wish,
    pub resumed: Option<u64>,
    /// Where the history begins that it asked for, now and before it was cut off.
    asked_since_us: i64,
    since_us: i64,
    asked_at: u64,
    outputs: BTreeMap<u32, Output>,
    pub position: u64,
    pub live: bool,
    snapshot: u64,
    /// The newest of each series by time, its time and number.
    newest: BTreeMap<Output, (i64, f64)>,
    /// Numbers of samples that came, where each must.
    got: BTreeSet<u64>,
    gaps: Vec<(u64, u64)>,
    /// Since the position last grew.
    run: Vec<Got>,
    /// The newest result of each output across devices.
    results: BTreeMap<Output, f64>,
    /// Numbers of samples of series that appeared while the snapshot was made.
    owed: Vec<u64>,
    /// Devices changed while it was away: it may lack the newest of those that came to match.
    blind: bool,
}

/// What a viewer keeps of a subscription to go on with it.
#[derive(Debug)]
pub struct Kept {
    pub wish: Wish,
    pub resume: Resume,
    newest: BTreeMap<Output, (i64, f64)>,
    got: BTreeSet<u64>,
    snapshot: u64,
    since_us: i64,
    gaps: Vec<(u64, u64)>,
    owed: Vec<u64>,
    blind: bool,
}

#[derive(Debug, Default)]
pub struct Viewer {
    pub epoch: u64,
    pub subs: BTreeMap<u32, Sub>,
    lane_epoch: u64,
    lane: u64,
    lane_began: bool,
    /// Numbers in the truth's lane: from where on everything must come, and what came.
    lane_from: usize,
    lane_got: Vec<usize>,
    lane_lost: bool,
    pub closed: Option<String>,
}

type Checked = Result<(), String>;

macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(format!($($text)+));
        }
    };
}

impl Viewer {
    /// SUBSCRIBE; with `kept` to go on where it was.
    pub fn subscribe(&mut self, number: u32, wish: Wish, kept: Option<Kept>, truth: &Truth, now_us: i64) -> Vec<u8> {
        let resume = kept.as_ref().map(|kept| kept.resume);
        let tags = wish.selection.tags.iter();
        let message = Message::Subscribe(Subscribe {
            subscription: number,
            devices: wish.selection.devices.clone(),
            metrics: wish.selection.metrics.clone(),
            interval_ms: wish.interval_ms,
            aggregate: wish.aggregate,
            history_ms: wish.history_ms,
            resume,
            groups: wish.selection.groups.clone(),
            profiles: Vec::new(),
            tags: tags.map(|(key, value)| TagMatch { key: key.clone(), value: value.clone() }).collect(),
            across: wish.across.clone(),
        });
        let asked_since_us = now_us - i64::from(wish.history_ms) * 1000;
        let mut sub = Sub {
            asked_since_us,
            since_us: asked_since_us,
            wish,
            resumed: resume.map(|resume| resume.position),
            asked_at: truth.position,
            outputs: BTreeMap::new(),
            results: BTreeMap::new(),
            position: resume.map_or(0, |resume| resume.position),
            live: false,
            snapshot: 0,
            newest: BTreeMap::new(),
            got: BTreeSet::new(),
            gaps: Vec::new(),
            run: Vec::new(),
            owed: Vec::new(),
            blind: false,
        };
        if let Some(kept) = kept {
            (sub.newest, sub.got, sub.snapshot, sub.since_us) = (kept.newest, kept.got, kept.snapshot, kept.since_us);
            (sub.gaps, sub.owed) = (kept.gaps, kept.owed);
            sub.blind = kept.blind || truth.edited.range(kept.resume.position..).next().is_some();
        }
        self.subs.insert(number, sub);
        let mut out = Vec::new();
        message.encode(&mut out);
        out
    }

    /// What is kept when the connection ends. Only what had come to an end of a run counts.
    pub fn keep(&mut self) -> Vec<Kept> {
        let epoch = self.epoch;
        let subs = std::mem::take(&mut self.subs).into_values();
        let keep = |sub: Sub| Kept {
            wish: sub.wish,
            resume: Resume { epoch, position: sub.position },
            newest: sub.newest,
            got: sub.got,
            snapshot: sub.snapshot,
            since_us: sub.since_us,
            gaps: sub.gaps,
            owed: sub.owed,
            blind: sub.blind,
        };
        subs.filter(|sub| sub.live && sub.run.is_empty()).map(keep).collect()
    }

    /// Takes a frame; answers what to say to it.
    pub fn take(&mut self, bytes: &[u8], truth: &Truth, now_us: i64, was_here: bool) -> Result<Vec<u8>, String> {
        let (mut rest, mut out) = (bytes, Vec::new());
        while !rest.is_empty() {
            let split = RawFrame::split(rest, limits::FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
            let (raw, behind) = split.ok_or("a message that ends within a frame")?;
            rest = behind;
            let message = Message::decode(raw.message_type(), raw.payload()).map_err(|error| error.to_string())?;
            let Some(message) = message else { continue };
            self.on_message(message, truth, now_us, was_here, &mut out)?;
        }
        Ok(out)
    }

    fn sub(&mut self, number: u32) -> Option<&mut Sub> {
        self.subs.get_mut(&number)
    }

    fn on_message(
        &mut self,
        message: Message<'_>,
        truth: &Truth,
        now_us: i64,
        was_here: bool,
        out: &mut Vec<u8>,
    ) -> Checked {
        match message {
            Message::LiveWelcome(welcome) => {
                self.epoch = welcome.epoch;
                if was_here && welcome.events_epoch == self.lane_epoch {
                    let position = self.lane;
                    Message::EventsResume(EventsResume { epoch: self.lane_epoch, position }).encode(out);
                } else {
                    (self.lane_epoch, self.lane) = (welcome.events_epoch, welcome.events_position);
                    (self.lane_from, self.lane_began) = (truth.lane.len(), true);
                    self.lane_got.clear();
                }
            }
            Message::Heartbeat(_) => {
                let own = Heartbeat { time_us: now_us, position: 0, visible: false };
                Message::Heartbeat(own).encode(out);
            }
            Message::SeriesDef(def) => return self.define(&def),
            Message::Batch(batch) => {
                if let Some(sub) = self.sub(batch.subscription) {
                    sub.batch(&batch)?;
                    return sub.follow(batch.previous, batch.position, truth, now_us);
                }
            }
            Message::Texts(texts) => {
                if let Some(sub) = self.sub(texts.subscription) {
                    for item in &texts.items {
                        let number = item.text.strip_prefix('t').and_then(|n| n.parse().ok()).ok_or("another text")?;
                        sub.sample(item.series, item.time_us, number, texts.history, true)?;
                    }
                    return sub.follow(texts.previous, texts.position, truth, now_us);
                }
            }
            Message::SnapshotEnd(end) => {
                if let Some(sub) = self.sub(end.subscription) {
                    ensure!(sub.outputs.len() >= end.series as usize, "{} are defined, {end:?}", sub.outputs.len());
                    return sub.snapshot_end(end.position, truth);
                }
            }
            Message::Gap(gap) => {
                if let Some(sub) = self.sub(gap.subscription) {
                    ensure!(gap.from_position <= gap.to_position, "{gap:?}");
                    ensure!(gap.to_position >= sub.position || !sub.live, "{gap:?} leads back from {}", sub.position);
                    if gap.reason == GapReason::ResumeRefused {
                        // As if it had not asked to go on: whatever it had counts no more.
                        (sub.resumed, sub.blind, sub.since_us) = (None, false, sub.asked_since_us);
                        (sub.newest, sub.got, sub.gaps, sub.owed) = Default::default();
                    } else {
                        sub.gaps.push((gap.from_position, gap.to_position));
                    }
                    sub.position = gap.to_position;
                }
            }
            Message::Refused(refused) => {
                self.subs.remove(&refused.subscription);
            }
            Message::Close(close) => self.closed = Some(format!("{} {}", close.code, close.text)),
            Message::Alert(alert) => {
                let changes = alert.alerts.iter().map(|a| (u128::from_be_bytes(a.id), a.revision)).collect();
                return self.on_lane(alert.position, alert.previous, changes, truth);
            }
            Message::CommandState(state) => {
                let changes = state.commands.iter().map(|c| (u128::from_be_bytes(c.id), c.revision)).collect();
                return self.on_lane(state.position, state.previous, changes, truth);
            }
            Message::Presence(presence) => {
                return self.on_lane(presence.position, presence.previous, Vec::new(), truth);
            }
            Message::EventsLost(lost) => {
                self.lane_lost = true;
                (self.lane, self.lane_from) = (lost.position, truth.lane.len());
            }
            _ => {}
        }
        Ok(())
    }

    fn define(&mut self, def: &SeriesDef) -> Checked {
        let Some(sub) = self.sub(def.subscription) else { return Ok(()) };
        for (at, Series { index, device, metric, .. }) in def.series.iter().enumerate() {
            let labels =
                def.labels.get(at).into_iter().flatten().map(|label| (label.name.clone(), label.value.clone()));
            let output = Output { device: device.clone(), metric: metric.clone(), labels: labels.collect() };
            sub.outputs.insert(*index, output);
        }
        Ok(())
    }

    /// SPEC §9.14.
    fn on_lane(&mut self, position: u64, previous: u64, changes: Vec<(u128, u64)>, truth: &Truth) -> Checked {
        if position == 0 {
            return Ok(());
        }
        ensure!(previous == self.lane, "the lane goes on after {previous}, and this viewer is at {}", self.lane);
        ensure!(position > previous, "the lane goes from {previous} to {position}");
        self.lane = position;
        for id in changes {
            let at = truth.lane.iter().position(|change| change.id == id).ok_or("a change that never was")?;
            let newest = self.lane_got.last();
            ensure!(newest.is_none_or(|newest| *newest < at), "change {at} comes after change {newest:?}");
            self.lane_got.push(at);
        }
        Ok(())
    }

    /// At the end: what it must have been told of the lane, and of its subscriptions.
    pub fn finish(&self, truth: &Truth, now_us: i64) -> Checked {
        ensure!(self.lane_began, "no welcome came");
        if !self.lane_lost {
            for (at, Change { device, id }) in truth.lane.iter().enumerate().skip(self.lane_from) {
                let is_due = device.is_none();
                ensure!(!is_due || self.lane_got.contains(&at), "change {at} {id:?} never came: {:?}", self.lane_got);
            }
        }
        for (number, sub) in &self.subs {
            ensure!(sub.live, "subscription {number} never became live");
            // Of the newest alone the older need not come.
            let newer =
                |told: &Told, other: &Told| other.series == told.series && other.live && other.time_us > told.time_us;
            let counts = |told: &&Told| {
                let last = sub.wish.aggregate == Aggregate::Last;
                told.live && sub.is_due(told, truth) && !(last && truth.told.iter().any(|other| newer(told, other)))
            };
            if sub.wish.across.is_some() {
                sub.last_results(truth, now_us)
                    .map_err(|wrong| format!("subscription {number} of {:?}: {wrong}", sub.wish))?;
                continue;
            }
            sub.newest_of_all(truth).map_err(|wrong| format!("subscription {number} of {:?}: {wrong}", sub.wish))?;
            let late = truth.between(sub.position, truth.position).iter().find(counts);
            let at = sub.position;
            ensure!(late.is_none(), "subscription {number} of {:?} is at {at}, {late:?} never came", sub.wish);
            for told in sub.owed.iter().filter_map(|number| truth.by_number(*number)).filter(counts) {
                // A frame that brings only what was stored before leaves the position where it is.
                let waits = sub.run.iter().any(|got| got.value == told.number as f64);
                let came = waits || sub.got.contains(&told.number) || sub.in_gap(told.position);
                ensure!(came, "subscription {number} of {:?}: {told:?} never came", sub.wish);
            }
        }
        Ok(())
    }
}

impl Sub {
    fn is_number_only(&self) -> bool {
        !matches!(self.wish.aggregate, Aggregate::Every | Aggregate::Last)
    }

    fn is_due(&self, told: &Told, truth: &Truth) -> bool {
        truth.is_due(&self.wish.selection, told) && !(self.is_number_only() && truth.metric(told.series) == TEXT)
    }

    fn batch(&mut self, batch: &Batch<'_>) -> Checked {
        for sample in batch.samples() {
            self.sample(sample.series, sample.time_us, sample.value, batch.history(), batch.conflated())?;
        }
        Ok(())
    }

    fn sample(&mut self, series: u32, time_us: i64, value: f64, history: bool, conflated: bool) -> Checked {
        let output = self.outputs.get(&series).ok_or_else(|| format!("series {series} is not defined"))?;
        self.run.push(Got { output: output.clone(), time_us, value, history, conflated });
        Ok(())
    }

    /// SPEC §9.5: a frame names the position of the one before it.
    fn follow(&mut self, previous: u64, position: u64, truth: &Truth, now_us: i64) -> Checked {
        ensure!(previous == self.position, "a frame follows {previous}, and this subscription is at {}", self.position);
        ensure!(position >= previous, "a frame leads from {previous} back to {position}");
        ensure!(position <= truth.position, "a frame says {position}, and only {} are stored", truth.position);
        if position > previous {
            self.position = position;
            if self.live {
                self.check(previous, truth, now_us).map_err(|error| format!("{:?}: {error}", self.wish))?;
            }
        }
        Ok(())
    }

    fn snapshot_end(&mut self, position: u64, truth: &Truth) -> Checked {
        let before = self.position.min(self.resumed.unwrap_or(0));
        ensure!(position <= truth.position, "a snapshot up to {position}, and only {} are stored", truth.position);
        if self.resumed.is_none() {
            self.snapshot = position;
        }
        self.live = true;
        self.position = position;
        self.take_run(truth)?;
        let wish = format!("{:?}", self.wish);
        if self.resumed.is_some() {
            return self.after(before, truth).map_err(|error| format!("{wish}, resumed at {before}: {error}"));
        }
        if self.is_number_only() {
            return Ok(());
        }
        // Each series that it selects is there, with the newest, and with each sample of the time asked for.
        for (series, device, metric) in truth.selected(&self.wish.selection) {
            let all = truth.between(0, position).iter().filter(|told| told.series == series);
            let Some(newest) = all.clone().max_by_key(|told| (told.time_us, told.number)) else { continue };
            if truth.edited.range(self.asked_at..).next().is_some() {
                continue;
            }
            let output = Output { device: device.id.clone(), metric: metric.to_owned(), labels: Vec::new() };
            if !self.outputs.values().any(|known| *known == output) {
                // A series that appeared meanwhile: what there was of it follows.
                self.owed.extend(all.filter(|told| told.live).map(|told| told.number));
                continue;
            }
            if self.wish.history_ms == 0 {
                let has = self.newest.get(&output).map(|(_, value)| *value);
                ensure!(
                    truth.may_have(series, position, position, has),
                    "{wish}: at first {output:?} has {has:?}, not {newest:?}"
                );
                continue;
            }
            for told in all.filter(|told| told.time_us > self.since_us) {
                ensure!(self.got.contains(&told.number), "{wish}: {told:?} is not in the history");
            }
        }
        Ok(())
    }

    /// What came since the last position, one by one.
    fn take_run(&mut self, truth: &Truth) -> Checked {
        for got in std::mem::take(&mut self.run) {
            if self.is_number_only() {
                self.results.insert(got.output, got.value);
                continue;
            }
            let number = got.value as u64;
            let told = truth.by_number(number).ok_or_else(|| format!("{got:?} was never stored"))?;
            let (_, device) = truth.device(told.series).ok_or("a sample of no device")?;
            let is_its = device.id == got.output.device && truth.metric(told.series) == got.output.metric;
            ensure!(is_its && told.time_us == got.time_us, "{got:?} is {told:?}");
            // Of a series that comes to match later, or once more, its newest sample is told, whichever that is.
            let (came, is_new) = (told.changes < device.changes, !self.newest.contains_key(&got.output));
            let first = self.wish.aggregate == Aggregate::Last && (came || is_new);
            ensure!(told.live || got.history || first, "{got:?} is no live sample");
            let once = self.got.insert(number) || self.wish.aggregate != Aggregate::Every;
            // Of a series that comes to match once more its newest is told once more, and to who comes back just then.
            let again = (self.live || self.resumed.is_some()) && got.history && came;
            ensure!(once || again, "{got:?} comes again");
            let kept = self.newest.entry(got.output).or_insert((got.time_us, got.value));
            // A device that was removed and made anew under its id begins anew.
            let anew = truth.by_number(kept.1 as u64).is_none_or(|kept| kept.series != told.series);
            *kept = if anew || (got.time_us, got.value) > *kept { (got.time_us, got.value) } else { *kept };
        }
        Ok(())
    }

    fn check(&mut self, previous: u64, truth: &Truth, now_us: i64) -> Checked {
        let run = self.run.clone();
        self.take_run(truth)?;
        if self.wish.across.is_some() {
            self.results_across(&run, previous, truth, now_us)
        } else if self.is_number_only() {
            self.results(&run, previous, truth)
        } else {
            self.after(previous, truth)
        }
    }

    fn in_gap(&self, position: u64) -> bool {
        self.gaps.iter().any(|(from, to)| (*from + 1..=*to).contains(&position))
    }

    /// Everything after a position up to its own is here: each sample, or the newest.
    fn after(&self, previous: u64, truth: &Truth) -> Checked {
        if self.is_number_only() {
            return Ok(());
        }
        for told in truth.between(previous, self.position) {
            if !told.live || !self.is_due(told, truth) || self.in_gap(told.position) {
                continue;
            }
            if self.wish.aggregate == Aggregate::Every {
                let missing = || format!("{told:?} never came, and the position is {}", self.position);
                ensure!(self.got.contains(&told.number), "{}", missing());
            } else {
                let (_, device) = truth.device(told.series).ok_or("a sample of no device")?;
                let metric = truth.metric(told.series).to_owned();
                let output = Output { device: device.id.clone(), metric, labels: Vec::new() };
                let newest = truth.newest(told.series, self.snapshot, self.position);
                let has = self.newest.get(&output).map(|(_, value)| *value);
                // Who asked for a history has nothing from before it, until a newer one comes.
                let before = |told: &Told| {
                    self.wish.history_ms > 0 && told.time_us <= self.since_us && told.position <= self.snapshot
                };
                let holds = truth.may_have(told.series, self.snapshot, self.position, has);
                ensure!(
                    holds || has.is_none() && newest.is_some_and(before),
                    "at {} {output:?} has {has:?} instead of {newest:?}",
                    self.position
                );
            }
        }
        Ok(())
    }

    /// One result per series over the samples of the interval.
    fn results(&self, run: &[Got], previous: u64, truth: &Truth) -> Checked {
        let mut wanted = BTreeSet::new();
        for told in truth.between(previous, self.position) {
            if told.live && self.is_due(told, truth) && !self.in_gap(told.position) {
                wanted.insert(told.series);
            }
        }
        for series in wanted {
            let (_, device) = truth.device(series).ok_or("a series of no device")?;
            let output =
                Output { device: device.id.clone(), metric: truth.metric(series).to_owned(), labels: Vec::new() };
            let came: Vec<&Got> = run.iter().filter(|got| got.output == output).collect();
            ensure!(!came.is_empty(), "between {previous} and {} nothing came of {output:?}", self.position);
            // A view that others had before has an interval that began before this subscription.
            let first = if previous <= self.snapshot { 0 } else { previous };
            let all: Vec<_> =
                truth.between(first, self.position).iter().filter(|told| told.series == series && told.live).collect();
            let at = all.partition_point(|told| told.position <= previous);
            for got in came {
                let is_result = |part: &[&Told]| {
                    let value = fold(self.wish.aggregate, part.iter().map(|told| told.number as f64).collect());
                    part.iter().map(|told| told.time_us).max() == Some(got.time_us) && value == Some(got.value)
                };
                let whole = is_result(&all[at..]);
                // What was stored while the series was not selected yet may count in or not: the server learns of both by itself.
                let is_idle = |told: &&Told| !self.is_due(told, truth);
                let since = (at..all.len()).any(|from| all[at..from].iter().all(is_idle) && is_result(&all[from..]));
                let longer = first < previous && (0..at).any(|from| is_result(&all[from..]));
                // Of one that lagged behind, the newest interval counts, whichever that was.
                let part = got.conflated
                    && (at..all.len()).any(|from| (from + 1..=all.len()).any(|to| is_result(&all[from..to])));
                // A percentile of more values than are kept is one of the first of them, and says that it is not of all.
                let cut = got.conflated
                    && self.wish.aggregate == Aggregate::P95
                    && all.iter().any(|told| told.number as f64 == got.value);
                ensure!(
                    whole || since || longer || part || cut,
                    "{got:?} is no result between {previous} and {}: {all:?}",
                    self.position
                );
            }
        }
        Ok(())
    }

    /// In the end: of each series that it selects it has the newest, also if that was stored before the series came to match.
    fn newest_of_all(&self, truth: &Truth) -> Checked {
        if self.is_number_only() || self.blind || self.wish.history_ms > 0 {
            return Ok(());
        }
        for (series, device, metric) in truth.selected(&self.wish.selection) {
            let Some(newest) = truth.newest(series, 0, self.position) else { continue };
            let output = Output { device: device.id.clone(), metric: metric.to_owned(), labels: Vec::new() };
            let waiting = self.run.iter().filter(|got| got.output == output).map(|got| got.time_us);
            let has = waiting.chain(self.newest.get(&output).map(|(time_us, _)| *time_us)).max();
            let holds = has.is_some_and(|time_us| time_us >= newest.time_us) || self.in_gap(newest.position);
            ensure!(holds, "in the end {output:?} is of {has:?}, and {newest:?} is stored");
        }
        Ok(())
    }

    /// In the end: the newest result of each output is that of the newest samples.
    fn last_results(&self, truth: &Truth, now_us: i64) -> Checked {
        if truth.edited.range(self.asked_at..).next().is_some() {
            return Ok(());
        }
        let oldest_us = now_us - crate::STALE_US;
        for (output, has) in &self.results {
            let wanted = truth.across(&self.wish.selection, output, self.wish.aggregate, truth.position, oldest_us);
            let is_right = wanted.is_some_and(|wanted| (wanted - has).abs() <= 1e-9 * wanted.abs());
            ensure!(is_right, "in the end {output:?} is {has}, not {wanted:?}");
        }
        let names: Vec<(String, String)> =
            self.wish.across.iter().flatten().map(|name| (name.clone(), String::new())).collect();
        for told in truth.between(self.asked_at, truth.position) {
            if told.live && told.time_us >= oldest_us && self.is_due(told, truth) {
                let (_, device) = truth.device(told.series).ok_or("a sample of no device")?;
                let (labels, metric) = (crate::model::labels(device, &names), truth.metric(told.series).to_owned());
                let of = Output { device: String::new(), metric, labels };
                // Who comes back has what did not change.
                let newest = truth.newest(told.series, told.position, told.position).map(|newest| newest.number);
                let same = self.resumed.is_some() && newest != Some(told.number);
                ensure!(same || self.results.contains_key(&of), "nothing ever came of {of:?}");
            }
        }
        Ok(())
    }

    /// One result per metric and labels over the newest of each device.
    fn results_across(&self, run: &[Got], previous: u64, truth: &Truth, now_us: i64) -> Checked {
        if truth.edited.range(previous..).next().is_some() {
            return Ok(());
        }
        let names = self.wish.across.clone().unwrap_or_default();
        let names: Vec<(String, String)> = names.into_iter().map(|name| (name, String::new())).collect();
        let oldest_us = now_us - crate::STALE_US;
        let mut wanted = BTreeSet::new();
        for told in truth.between(previous, self.position) {
            // One that is older than the newest of its series changes no result.
            let newest = truth.newest(told.series, told.position, told.position).map(|newest| newest.number);
            let counts = newest == Some(told.number) && told.time_us >= oldest_us;
            if told.live && counts && self.is_due(told, truth) && !self.in_gap(told.position) {
                let (_, device) = truth.device(told.series).ok_or("a sample of no device")?;
                let labels = crate::model::labels(device, &names);
                wanted.insert(Output { device: String::new(), metric: truth.metric(told.series).to_owned(), labels });
            }
        }
        for output in wanted {
            let got = run.iter().rfind(|got| got.output == output);
            let got = got.ok_or_else(|| format!("between {previous} and {} nothing of {output:?}", self.position))?;
            let at = |position| truth.across(&self.wish.selection, &output, self.wish.aggregate, position, oldest_us);
            let is_right = |value: Option<f64>| value.is_some_and(|v| (v - got.value).abs() <= 1e-9 * v.abs());
            let whole = is_right(at(self.position));
            let part = got.conflated && (previous + 1..self.position).any(|position| is_right(at(position)));
            ensure!(whole || part, "{got:?} at {} is not {:?}", self.position, at(self.position));
        }
        Ok(())
    }
}
