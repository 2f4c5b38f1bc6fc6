//! One rule on one device: samples and moments in, what happens to its alert out. The same code judges live samples, tests of
//! rules and backtests.

use super::compiled::Compiled;
use super::condition::{Condition, Counts, LEVELS, Move, NEVER, Saying};
use super::flapping::{FlapEdge, Flapping};
use super::record::ResolvedReason;
use super::reorder::{Reading, Reorder};
use super::rule::{Hold, WhenStale};
use crate::block::ValueRef;
use crate::device::Device;
use crate::expr::{Memory, Moment, Truth};
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

/// What happened. Times are event times, but for those of silence, which are the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// An alert began.
    Fired {
        /// Its id.
        alert: AlertId,
        /// How bad.
        severity: Severity,
        /// Since when its predicate held.
        since_us: i64,
        /// When it fired.
        at_us: i64,
        /// It is an alert that ended within the reopen window.
        reopened: bool,
    },
    /// An alert became worse or milder.
    Level {
        /// Which.
        alert: AlertId,
        /// What it was.
        from: Severity,
        /// What it is.
        to: Severity,
        /// When.
        at_us: i64,
    },
    /// The condition of an alert is over and it is kept, or it came back.
    Recovering {
        /// Which.
        alert: AlertId,
        /// False: it came back.
        begins: bool,
        /// When.
        at_us: i64,
    },
    /// An alert ended.
    Resolved {
        /// Which.
        alert: AlertId,
        /// Why.
        reason: ResolvedReason,
        /// When.
        at_us: i64,
    },
    /// The device of an alert that fires went silent, or came back.
    Silent {
        /// Which alert.
        alert: AlertId,
        /// False: it came back.
        begins: bool,
        /// When, by the server's clock.
        at_us: i64,
    },
    /// A device went silent, and that is an alert.
    NoData {
        /// Its id.
        alert: AlertId,
        /// How bad.
        severity: Severity,
        /// When the last sample came, by the server's clock.
        since_us: i64,
        /// When it was too long, by the server's clock.
        at_us: i64,
    },
    /// An alert began to come and go, or settled.
    Flapping {
        /// Which.
        alert: AlertId,
        /// False: it settled.
        begins: bool,
        /// When.
        at_us: i64,
    },
}

impl Event {
    /// Which alert it is about.
    pub fn alert_mut(&mut self) -> &mut AlertId {
        match self {
            Self::Fired { alert, .. }
            | Self::Level { alert, .. }
            | Self::Recovering { alert, .. }
            | Self::Resolved { alert, .. }
            | Self::Silent { alert, .. }
            | Self::NoData { alert, .. }
            | Self::Flapping { alert, .. } => alert,
        }
    }
}

/// What an event needs besides the sample.
pub struct Hand<'a> {
    /// The rule.
    pub rule: &'a Compiled,
    /// The device.
    pub device: &'a Device,
    /// Makes a new id.
    pub new_id: &'a mut dyn FnMut() -> AlertId,
    /// Since when the server listens: silence before it says nothing of a device.
    pub resumed_us: i64,
    /// Where events go, with the value at the time.
    pub events: &'a mut Vec<(Event, f64)>,
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
    pub fn waits(&self) -> bool {
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

    /// Up to which event time timers may speak: the newest sample's and what passed since, less what may still come.
    fn clock_us(&self, rule: &Compiled, now_us: i64) -> i64 {
        now_us.saturating_sub(self.offset_us).saturating_sub(patience_us(rule))
    }

    /// The next event time at which a timer has something to say.
    fn next_timer_us(&self, rule: &Compiled, device: &Device) -> Option<i64> {
        if !rule.timed || self.condition.last_us == NEVER {
            return None;
        }
        let spoken_us = self.condition.last_us.max(self.woken_us);
        let moment = Moment { now_us: spoken_us, staleness_us: rule.staleness_us, device };
        let changes = self.memory().and_then(|memory| memory.next_us(&rule.program, &moment));
        let holds = self.condition.next_us(&rule.timing);
        let opens = rule.rule.schedule.as_ref().and_then(|schedule| schedule.next_change_us(spoken_us));
        let calm = self.is_flapping().then(|| self.calm_at_us(rule));
        // What was due before and could not be is not tried again.
        [changes, holds, opens, calm].into_iter().flatten().filter(|at_us| *at_us > spoken_us).min()
    }

    /// Says what time alone changes up to an event time, each at its own moment.
    fn run_timers(&mut self, until_us: i64, hand: &mut Hand<'_>) {
        if !hand.rule.timed {
            return;
        }
        for _ in 0..TIMERS_MAX {
            let Some(at_us) = self.next_timer_us(hand.rule, hand.device).filter(|at_us| *at_us <= until_us) else {
                return;
            };
            self.speak(at_us, hand);
        }
        self.speak(until_us, hand);
    }

    fn speak(&mut self, at_us: i64, hand: &mut Hand<'_>) {
        let rule = hand.rule;
        self.woken_us = at_us;
        let saying = match (&rule.simple, self.memory()) {
            (Some(simple), _) if !self.value.is_nan() => rule.say_of(simple, self.value, self.is_f32),
            (None, Some(memory)) => rule.say(memory, at_us, hand.device),
            _ => return,
        };
        self.step(at_us, false, &saying, hand);
        if self.is_flapping() && at_us >= self.calm_at_us(rule) {
            self.more(rule).flapping = Flapping::default();
            self.settle(FlapEdge::Ended, at_us, hand);
        }
    }

    /// When flapping is over though no samples come that could tell so: a rule in which values hold until they change gets none
    /// once all is calm.
    fn calm_at_us(&self, rule: &Compiled) -> i64 {
        self.condition.last_us.saturating_add(rule.rule.keep_firing_us.max(FLAP_CALM_US))
    }

    /// When it has to be woken if nothing comes before, µs by the server's clock. `resumed_us` is since when the server listens:
    /// silence is counted from then at the earliest.
    pub fn deadline_us(&self, rule: &Compiled, device: &Device, resumed_us: i64) -> Option<i64> {
        if self.arrival_us == NEVER {
            return None;
        }
        let silence = rule
            .rule
            .no_data
            .filter(|_| self.freshness == Freshness::Fresh)
            .map(|no_data| self.arrival_us.max(resumed_us).saturating_add(no_data.after_us));
        let by_clock = |at_us: i64| at_us.saturating_add(self.offset_us).saturating_add(patience_us(rule));
        let waiting = self.more.as_ref().and_then(|more| more.reorder.oldest_us()).map(by_clock);
        let timer = self.next_timer_us(rule, device).map(by_clock).map(|at_us| match rule.grace_us {
            Some(grace_us) if self.arrival_us < resumed_us => at_us.max(resumed_us.saturating_add(grace_us)),
            _ => at_us,
        });
        silence.into_iter().chain(waiting).chain(timer).min()
    }

    /// A moment at which nothing came. It does not matter how often it is called, or how late: each thing happens at its own
    /// event time.
    pub fn wake(&mut self, now_us: i64, hand: &mut Hand<'_>) {
        if self.arrival_us == NEVER {
            return;
        }
        // What silence ends is not there any more when a later timer is due.
        if let Some(no_data) = hand.rule.rule.no_data {
            self.catch_up(now_us.min(self.arrival_us.max(hand.resumed_us).saturating_add(no_data.after_us)), hand);
            self.fall_silent(now_us, hand);
        }
        self.catch_up(now_us, hand);
    }

    fn catch_up(&mut self, now_us: i64, hand: &mut Hand<'_>) {
        let rule = hand.rule;
        if self.arrival_us == NEVER || (!rule.timed && !self.waits()) {
            return;
        }
        let clock_us = self.clock_us(rule, now_us);
        if self.waits() {
            self.release(clock_us.saturating_add(1), hand);
        }
        if !self.is_held_back(rule, now_us, hand.resumed_us) {
            self.run_timers(clock_us, hand);
        }
    }

    /// True if nothing came since the server listens again, and it is too early to tell from that that the device is silent.
    fn is_held_back(&self, rule: &Compiled, now_us: i64, resumed_us: i64) -> bool {
        let Some(grace_us) = rule.grace_us else { return false };
        self.arrival_us < resumed_us && (resumed_us..resumed_us.saturating_add(grace_us)).contains(&now_us)
    }

    fn fall_silent(&mut self, now_us: i64, hand: &mut Hand<'_>) {
        let Some(no_data) = hand.rule.rule.no_data else { return };
        let due_us = self.arrival_us.max(hand.resumed_us).saturating_add(no_data.after_us);
        if self.freshness != Freshness::Fresh || now_us < due_us {
            return;
        }
        self.freshness = Freshness::Stale;
        if no_data.then == WhenStale::Clear {
            self.condition.since_us = [NEVER; LEVELS];
        }
        match (no_data.then, self.alert()) {
            (WhenStale::Clear, Some(_)) => {
                self.condition.mute();
                self.condition.stage = super::condition::Stage::Normal;
                self.resolve(ResolvedReason::NoData, due_us, hand);
            }
            // It never takes the place of an alert that fires.
            (WhenStale::Hold | WhenStale::Fire(_), Some(alert)) => {
                hand.events.push((Event::Silent { alert, begins: true, at_us: due_us }, self.value));
            }
            (WhenStale::Fire(severity), None) => {
                let alert = (hand.new_id)();
                self.more(hand.rule).silent = Some(alert.0.to_bytes());
                let event = Event::NoData { alert, severity, since_us: self.arrival_us, at_us: due_us };
                hand.events.push((event, self.value));
            }
            (WhenStale::Hold | WhenStale::Clear, None) => {}
        }
    }

    /// The alert goes on under another id: what it was is not known any more.
    pub fn rename_alert(&mut self, from: AlertId, to: AlertId) {
        let (from, to) = (from.0.to_bytes(), to.0.to_bytes());
        let ended = self.more.as_mut().and_then(|more| more.ended.as_mut()).map(|(alert, _)| alert);
        for alert in self.alert.iter_mut().chain(ended).filter(|alert| **alert == from) {
            *alert = to;
        }
    }

    /// An alert is open nowhere: as if it had never begun.
    pub fn forget_alert(&mut self, alert: AlertId) {
        if self.alert() == Some(alert) {
            self.alert = None;
            self.condition.stage = super::condition::Stage::Normal;
        }
        if let Some(more) = &mut self.more {
            more.silent = more.silent.filter(|silent| *silent != alert.0.to_bytes());
        }
    }

    /// Someone resolved an alert, perhaps one of this rule.
    pub fn resolved_by_hand_if(&mut self, alert: AlertId) {
        if self.alert() == Some(alert) || self.silent_alert() == Some(alert) {
            self.resolved_by_hand(alert);
        }
    }

    /// Someone resolved an alert.
    pub fn resolved_by_hand(&mut self, alert: AlertId) {
        if self.alert() == Some(alert) {
            self.condition.mute();
            self.alert = None;
        }
        if let Some(more) = &mut self.more {
            more.ended = None;
            // The next alert is news.
            more.flapping = Flapping::default();
            if more.silent == Some(alert.0.to_bytes()) {
                more.silent = None;
            }
        }
    }

    /// It was read back from the store: what is remembered is made ready for the rule. [`Held::reconsider`] has to follow if the rule
    /// was edited since.
    pub fn refit(&mut self, rule: &Compiled) {
        if let Some(memory) = self.more.as_mut().and_then(|more| more.memory.as_mut()) {
            let stored = std::mem::replace(memory, Memory::new(&rule.program));
            *memory = stored.fit(&rule.program);
        }
    }

    /// The alert about silence ends with an edit.
    fn resolve_silent(&mut self, hand: &mut Hand<'_>) {
        if let Some(silent) = self.more.as_mut().and_then(|more| more.silent.take()) {
            let reason = ResolvedReason::RuleChanged;
            hand.events.push((Event::Resolved { alert: id(silent), reason, at_us: self.arrival_us }, self.value));
        }
    }

    /// A level that an edit added and that holds goes on from the one that fires: it held as long.
    fn hand_on(&mut self, saying: &Saying) {
        let Some(level) = self.condition.firing().map(|severity| severity as usize) else { return };
        let since_us = self.condition.since_us[level];
        let mut counts = self.more.as_mut().map(|more| &mut more.counts);
        for (other, said) in saying.iter().enumerate().filter(|(other, _)| *other != level) {
            if said.is_none_or(|said| said.when != Truth::Yes) || self.condition.since_us[other] != NEVER {
                continue;
            }
            self.condition.since_us[other] = since_us;
            if let Some(counts) = &mut counts
                && counts[other] == 0
            {
                counts[other] = counts[level];
            }
        }
    }

    /// The rule was edited: what it says now of what is known. What still holds goes on under its id; `for` that has begun goes
    /// on as well, and may be over by the new rule.
    pub fn reconsider(&mut self, hand: &mut Hand<'_>) {
        let rule = hand.rule;
        if self.version == rule.rule.version {
            return;
        }
        self.version = rule.rule.version;
        if rule.simple.is_some() && self.about != rule.about {
            // What is known is of another metric.
            self.resolve(ResolvedReason::RuleChanged, self.condition.last_us, hand);
            self.resolve_silent(hand);
            *self = Self { arrival_us: self.arrival_us, freshness: self.freshness, ..Self::new(rule) };
            return;
        }
        self.about = rule.about;
        if Self::needs_more(rule) {
            let more = self.more(rule);
            more.memory = match (more.memory.take(), rule.simple.is_some()) {
                (_, true) => None,
                (Some(memory), false) => Some(memory.fit(&rule.program)),
                (None, false) => Some(Memory::new(&rule.program)),
            };
        }
        if !matches!(rule.rule.no_data.map(|no_data| no_data.then), Some(WhenStale::Fire(_))) {
            self.resolve_silent(hand);
        }
        // Samples that waited while nothing ran. Of which metric they are is known if there is but one.
        match rule.simple {
            Some(_) if rule.rule.lateness_us == 0 => self.release_all(hand),
            Some(_) => {}
            None => {
                if let Some(more) = &mut self.more {
                    more.reorder.clear();
                }
            }
        }
        let last_us = self.condition.last_us.max(self.woken_us);
        let saying = match (&rule.simple, self.memory()) {
            _ if self.condition.last_us == NEVER => return,
            (Some(simple), _) => rule.say_of(simple, self.value, self.is_f32),
            (None, Some(memory)) => rule.say(memory, last_us, hand.device),
            (None, None) => return,
        };
        let first = hand.events.len();
        let settles = !rule.rule.flapping && self.is_flapping();
        if settles {
            self.more(rule).flapping = Flapping::default();
        }
        self.hand_on(&saying);
        self.step(last_us, false, &saying, hand);
        if let (true, Some(alert)) = (settles, self.alert()) {
            hand.events.push((Event::Flapping { alert, begins: false, at_us: last_us }, self.value));
            if self.condition.firing().is_none() {
                self.resolve(ResolvedReason::RuleChanged, last_us, hand);
            }
        }
        for (event, _) in &mut hand.events[first..] {
            if let Event::Resolved { reason, .. } = event {
                *reason = ResolvedReason::RuleChanged;
            }
        }
    }
}

#[cfg(test)]
#[path = "held_tests.rs"]
pub(crate) mod tests;
