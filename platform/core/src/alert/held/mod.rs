//! One rule on one device: samples and moments in, what happens to its alert out. The same code judges live samples, tests of
//! rules and backtests.

mod edits;
mod event;
mod time;

pub use event::{Event, Hand, Seen};

use super::compiled::Compiled;
use super::condition::{Condition, Counts, LEVELS, Move, NEVER, Saying};
use super::flapping::{FlapEdge, Flapping};
use super::record::ResolvedReason;
use super::reorder::{Reading, Reorder};
use super::rule::{Hold, WhenStale};
use crate::block::ValueRef;
use crate::expr::Memory;
use crate::ids::AlertId;
use crate::severity::Severity;
use wincode::{SchemaRead, SchemaWrite};

/// Whether the device sends what the rule looks at. Independent of the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, SchemaRead, SchemaWrite)]
pub enum Freshness {
    /// Nothing came yet.
    Waiting,
    /// It does.
    Fresh,
    /// It was silent for longer than the rule allows.
    Stale,
}

/// What only some rules need.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
struct More {
    memory: Option<Memory>,
    counts: Counts,
    flapping: Flapping,
    reorder: Reorder,
    // The alert that ended last, and when.
    ended: Option<([u8; 16], i64)>,
    // The alert about silence.
    silent: Option<[u8; 16]>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, SchemaRead, SchemaWrite)]
pub struct Held {
    /// Version of the rule by which it was judged last.
    pub version: u32,
    condition: Condition,
    // Arrival of the newest sample, µs by the server's clock.
    arrival_us: i64,
    // By how much the newest event time was behind the server's clock when it came: what the event clock goes on from.
    offset_us: i64,
    // Event time up to which timers have spoken; only used where they can.
    woken_us: i64,
    // Newest value of the first metric of the rule.
    value: f64,
    is_f32: bool,
    // Which metric that is: after an edit it may be another.
    about: u32,
    freshness: Freshness,
    alert: Option<[u8; 16]>,
    more: Option<Box<More>>,
}

/// What a sample leaves of which nothing follows. Rules over one metric of which nothing follows have the same.
#[derive(Debug, Clone, Copy)]
pub struct Newest {
    /// Event time, µs.
    pub last_us: i64,
    /// Arrival, µs by the server's clock.
    pub arrival_us: i64,
    /// See [`Held`].
    pub offset_us: i64,
    /// The value.
    pub value: f64,
    /// It is an f32's.
    pub is_f32: bool,
}

impl PartialEq for Newest {
    /// NaN, which stands for no value, equals itself.
    fn eq(&self, other: &Self) -> bool {
        let times = |n: &Self| (n.last_us, n.arrival_us, n.offset_us, n.is_f32);
        times(self) == times(other) && self.value.to_bits() == other.value.to_bits()
    }
}

impl Newest {
    /// Takes a sample; false if it is late.
    #[inline]
    pub fn take(&mut self, time_us: i64, arrival_us: i64, value: f64, is_f32: bool) -> bool {
        // A device whose clock is wrong, and one that sends NaN, is alive all the same.
        self.arrival_us = self.arrival_us.max(arrival_us);
        if time_us < self.last_us {
            return false;
        }
        if !value.is_nan() {
            if time_us > self.last_us {
                (self.last_us, self.offset_us) = (time_us, arrival_us.saturating_sub(time_us));
            }
            (self.value, self.is_f32) = (value, is_f32);
        }
        true
    }
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was judged, or waits to be.
    Judged,
    /// It is older than what was judged before, and changes nothing.
    Late,
}

/// Values of one time, each with the number of the rule's metric.
pub type Values<'a> = &'a [(u16, ValueRef<'a>, bool)];

/// Moments that are made up for one by one; if there are more (days of `age()` at every second), the last stands for the rest.
const TIMERS_MAX: usize = 4096;

/// A state that is judged by time, too, flaps no more when no sample came for so long, or for `keep_firing_for` if that is longer.
/// Five minutes: a device that comes and goes does so faster.
pub const FLAP_CALM_US: i64 = 300_000_000;

/// How long a timer waits for samples that a rule with `lateness` still takes.
fn patience_us(rule: &Compiled) -> i64 {
    match rule.rule.lateness_us {
        0 => 0,
        lateness_us => lateness_us.saturating_add(1),
    }
}

fn id(bytes: [u8; 16]) -> AlertId {
    AlertId(crate::ulid::Ulid::from_bytes(bytes))
}

impl Held {
    /// Nothing is known of the device yet.
    pub fn new(rule: &Compiled) -> Self {
        Self {
            version: rule.rule.version,
            condition: Condition::default(),
            arrival_us: NEVER,
            offset_us: 0,
            woken_us: NEVER,
            value: f64::NAN,
            is_f32: false,
            about: rule.about,
            freshness: Freshness::Waiting,
            alert: None,
            more: Self::needs_more(rule).then(|| Box::new(Self::fresh_more(rule))),
        }
    }

    fn needs_more(rule: &Compiled) -> bool {
        rule.simple.is_none() || matches!(rule.rule.hold, Hold::Count { .. }) || rule.rule.lateness_us > 0
    }

    fn fresh_more(rule: &Compiled) -> More {
        More {
            memory: rule.simple.is_none().then(|| Memory::new(&rule.program)),
            counts: [0; LEVELS],
            flapping: Flapping::default(),
            reorder: Reorder::default(),
            ended: None,
            silent: None,
        }
    }

    fn more(&mut self, rule: &Compiled) -> &mut More {
        self.more.get_or_insert_with(|| Box::new(Self::fresh_more(rule)))
    }

    /// Event time of the newest sample that was judged.
    pub fn last_us(&self) -> i64 {
        self.condition.last_us
    }

    /// The newest value of the rule's first metric.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// The alert about the condition that is open.
    pub fn alert(&self) -> Option<AlertId> {
        self.alert.map(id)
    }

    /// The alert about silence that is open.
    pub fn silent_alert(&self) -> Option<AlertId> {
        self.more.as_ref().and_then(|more| more.silent).map(id)
    }

    /// What is pending, and since when.
    pub fn pending(&self) -> Option<(Severity, i64)> {
        self.condition.pending()
    }

    /// Whether the device sends.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// What is remembered, if the rule needs that.
    pub fn memory(&self) -> Option<&Memory> {
        self.more.as_ref().and_then(|more| more.memory.as_ref())
    }

    /// Memory that it takes, in bytes.
    pub fn bytes(&self) -> usize {
        let more = self
            .more
            .as_ref()
            .map_or(0, |more| size_of::<More>() + more.memory.as_ref().map_or(0, Memory::bytes) + more.reorder.bytes());
        size_of::<Self>() + more
    }

    /// What its newest sample left.
    #[inline]
    pub fn newest(&self) -> Newest {
        let Self { arrival_us, offset_us, value, is_f32, .. } = *self;
        Newest { last_us: self.condition.last_us, arrival_us, offset_us, value, is_f32 }
    }

    /// As if it had been given the samples that left this, all of them quiet ones.
    #[inline]
    pub fn set_newest(&mut self, newest: &Newest) {
        self.condition.last_us = newest.last_us;
        (self.arrival_us, self.offset_us) = (newest.arrival_us, newest.offset_us);
        (self.value, self.is_f32) = (newest.value, newest.is_f32);
    }

    /// True if a sample that no level asks an alert for changes nothing but times: the way by which nearly all samples go.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.alert.is_none() && self.more.is_none() && self.freshness == Freshness::Fresh && self.condition.is_quiet()
    }

    /// Takes note of a sample for which [`Held::is_quiet`] and no level asks for an alert. False if it is late.
    #[inline]
    pub fn quiet_sample(&mut self, time_us: i64, arrival_us: i64, value: f64, is_f32: bool) -> bool {
        let mut newest = self.newest();
        let taken = newest.take(time_us, arrival_us, value, is_f32);
        self.set_newest(&newest);
        taken
    }

    /// As [`Held::late_sample`] where [`Held::is_quiet`].
    #[inline]
    pub fn quiet_late_sample(&mut self, arrival_us: i64) {
        self.arrival_us = self.arrival_us.max(arrival_us);
    }

    /// Takes values of one time. Backfill is not given here: it never alarms. What time alone changes before it is made up for
    /// first, whether [`Held::wake`] was called for it or not: so a log of samples has one outcome.
    pub fn sample(&mut self, time_us: i64, arrival_us: i64, values: Values<'_>, hand: &mut Hand<'_>) -> Taken {
        let lateness_us = hand.rule.rule.lateness_us;
        // At the moment of its arrival the sample comes first.
        self.catch_up(arrival_us.saturating_sub(1), hand);
        if self.is_held_back(hand.rule, arrival_us, hand.resumed_us) {
            // It was not silent: nobody listened.
            self.woken_us = self.woken_us.max(time_us.saturating_sub(1));
        }
        self.late_sample(arrival_us, hand);
        if lateness_us == 0 {
            if time_us < self.condition.last_us {
                return Taken::Late;
            }
            if time_us > self.condition.last_us {
                self.offset_us = arrival_us.saturating_sub(time_us);
            }
            self.judge(time_us, values, hand);
            self.slim(hand.rule, time_us);
            return Taken::Judged;
        }
        let reorder = &mut self.more(hand.rule).reorder;
        let newest_us = reorder.newest_us();
        if !reorder.put(time_us, values, lateness_us) {
            return Taken::Late;
        }
        let until_us = reorder.newest_us().saturating_sub(lateness_us);
        if time_us > newest_us {
            self.offset_us = arrival_us.saturating_sub(time_us);
        }
        self.release(until_us, hand);
        Taken::Judged
    }

    /// A sample that is too late to be judged came: the device, whose clock may be wrong, is alive.
    pub fn late_sample(&mut self, arrival_us: i64, hand: &mut Hand<'_>) {
        self.arrived(arrival_us, hand);
    }

    /// Lets go of what only a condition that came and went needs, so that the next samples are quiet again.
    fn slim(&mut self, rule: &Compiled, time_us: i64) {
        let Some(more) = &self.more else { return };
        let reopens = more.ended.is_some_and(|(_, ended_us)| time_us.saturating_sub(ended_us) <= rule.rule.reopen_us);
        let idle = self.alert.is_none() && more.silent.is_none() && more.flapping == Flapping::default() && !reopens;
        if idle && self.condition.is_quiet() && !Self::needs_more(rule) {
            self.more = None;
        }
    }

    /// True if samples wait for others before them.
    fn waits(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.reorder.is_empty())
    }

    /// Judges everything that waits, before the rule becomes another: which metric a sample is of is only known by this one.
    pub fn release_all(&mut self, hand: &mut Hand<'_>) {
        if self.waits() {
            self.release(i64::MAX, hand);
        }
    }

    /// Judges what waited for samples before it.
    fn release(&mut self, until_us: i64, hand: &mut Hand<'_>) {
        while let Some((time_us, readings)) = self.more(hand.rule).reorder.take(until_us) {
            let values: Vec<_> = readings.iter().map(Reading::view).collect();
            self.judge(time_us, &values, hand);
        }
    }

    fn arrived(&mut self, arrival_us: i64, hand: &mut Hand<'_>) {
        self.arrival_us = self.arrival_us.max(arrival_us);
        let was = std::mem::replace(&mut self.freshness, Freshness::Fresh);
        if was != Freshness::Stale {
            return;
        }
        if let Some(alert) = self.alert() {
            hand.events.push((Event::Silent { alert, begins: false, at_us: arrival_us }, self.value));
        }
        if let Some(silent) = self.more.as_mut().and_then(|more| more.silent.take()) {
            let resolved = Event::Resolved { alert: id(silent), reason: ResolvedReason::DataBack, at_us: arrival_us };
            hand.events.push((resolved, self.value));
        }
    }

    fn judge(&mut self, time_us: i64, values: Values<'_>, hand: &mut Hand<'_>) {
        let rule = hand.rule;
        self.run_timers(time_us.saturating_sub(1), hand);
        for (input, value, is_f32) in values {
            if let Some(memory) = self.more.as_mut().and_then(|more| more.memory.as_mut()) {
                memory.observe(&rule.program, usize::from(*input), time_us, *value, *is_f32);
            }
            if *input == 0
                && let Some(number) = value.as_f64().filter(|number| !number.is_nan())
            {
                (self.value, self.is_f32) = (number, *is_f32);
            }
        }
        let saying = match (&rule.simple, self.memory()) {
            (None, Some(memory)) => rule.say(memory, time_us.max(self.woken_us), hand.device),
            (Some(simple), _) => {
                // NaN says nothing about the device.
                let value = values.iter().find_map(|(_, value, _)| value.as_f64()).unwrap_or(f64::NAN);
                if value.is_nan() {
                    return;
                }
                rule.say_of(simple, value, self.is_f32)
            }
            (None, None) => return,
        };
        self.step(time_us, true, &saying, hand);
    }

    fn step(&mut self, time_us: i64, sampled: bool, saying: &Saying, hand: &mut Hand<'_>) {
        let rule = hand.rule;
        // A sample may be older than what a timer has said already: it is judged as of then, and what people see does not go back.
        let at_us = time_us.max(self.woken_us);
        let repeated = time_us == self.condition.last_us;
        if repeated {
            self.condition.last_us = at_us;
        }
        // What silence ended stays so until the device sends again.
        let cleared = !sampled
            && self.freshness == Freshness::Stale
            && rule.rule.no_data.is_some_and(|no_data| no_data.then == WhenStale::Clear);
        let may_begin = rule.may_begin(at_us) && !cleared;
        let before = self.condition.firing();
        let counts = self.more.as_mut().map(|more| &mut more.counts);
        let moved = self.condition.step(&rule.timing, counts, at_us, sampled, may_begin, saying);
        if sampled || repeated {
            self.condition.last_us = time_us;
        }
        let flap = self.flap(rule, before, sampled && !repeated);
        if let Some(moved) = moved {
            self.moved(moved, at_us, hand);
        }
        if let Some(edge) = flap {
            self.settle(edge, at_us, hand);
        }
    }

    fn flap(&mut self, rule: &Compiled, before: Option<Severity>, counts: bool) -> Option<FlapEdge> {
        let changed = self.condition.firing() != before;
        // Time says the same again at moments that mean nothing; what it changes counts as what a sample does.
        if !rule.rule.flapping || !(counts || changed) || (!changed && self.more.is_none()) {
            return None;
        }
        self.more(rule).flapping.sample(changed)
    }

    fn is_flapping(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.flapping.flaps())
    }

    fn moved(&mut self, moved: Move, at_us: i64, hand: &mut Hand<'_>) {
        let event = match (moved, self.alert()) {
            // While it flaps its alert stays open; whoever keeps the alert knows whether the severity is another.
            (Move::Fire { severity, .. }, Some(alert)) => Event::Level { alert, from: severity, to: severity, at_us },
            (Move::Fire { severity, since_us }, None) => {
                let window_us = hand.rule.rule.reopen_us;
                let ended = self.more.as_mut().and_then(|more| more.ended.take());
                let reopened = ended.filter(|(_, ended_us)| at_us.saturating_sub(*ended_us) <= window_us);
                let alert = reopened.map_or_else(&mut *hand.new_id, |(alert, _)| id(alert));
                self.alert = Some(alert.0.to_bytes());
                // Samples that come at once may change them before anybody looks.
                if let Some(memory) = self.memory().filter(|_| hand.rule.rule.message.uses_values()) {
                    let metrics = 0..hand.rule.program.metrics().len();
                    hand.seen.push((alert, metrics.map(|m| memory.value(m).map(ValueRef::to_value)).collect()));
                }
                Event::Fired { alert, severity, since_us, at_us, reopened: reopened.is_some() }
            }
            (Move::Level { from, to }, Some(alert)) => Event::Level { alert, from, to, at_us },
            (Move::Recover, Some(alert)) => Event::Recovering { alert, begins: true, at_us },
            (Move::Relapse, Some(alert)) => Event::Recovering { alert, begins: false, at_us },
            (Move::Resolve, Some(_)) if self.is_flapping() => return,
            (Move::Resolve, Some(_)) => return self.resolve(ResolvedReason::Cleared, at_us, hand),
            (_, None) => return,
        };
        hand.events.push((event, self.value));
    }

    fn settle(&mut self, edge: FlapEdge, at_us: i64, hand: &mut Hand<'_>) {
        let Some(alert) = self.alert() else {
            if edge == FlapEdge::Ended {
                return;
            }
            // It began as the alert ended: the alert is taken up again.
            if let Some((alert, _)) = self.more.as_mut().and_then(|more| more.ended.take()) {
                self.alert = Some(alert);
                hand.events
                    .pop_if(|(event, _)| matches!(event, Event::Resolved { alert: a, .. } if a.0.to_bytes() == alert));
                hand.events.push((Event::Flapping { alert: id(alert), begins: true, at_us }, self.value));
            }
            return;
        };
        let begins = edge == FlapEdge::Began;
        hand.events.push((Event::Flapping { alert, begins, at_us }, self.value));
        if !begins && self.condition.firing().is_none() {
            self.resolve(ResolvedReason::Cleared, at_us, hand);
        }
    }

    fn resolve(&mut self, reason: ResolvedReason, at_us: i64, hand: &mut Hand<'_>) {
        let Some(bytes) = self.alert.take() else { return };
        if hand.rule.rule.reopen_us > 0 || hand.rule.rule.flapping {
            self.more(hand.rule).ended = Some((bytes, at_us));
        }
        hand.events.push((Event::Resolved { alert: id(bytes), reason, at_us }, self.value));
    }
}

#[cfg(test)]
pub(crate) mod tests;
