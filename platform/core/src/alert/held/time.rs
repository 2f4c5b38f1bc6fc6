//! What time does: timers, silence, samples that have waited long enough.

use super::{Event, FLAP_CALM_US, Freshness, Hand, Held, TIMERS_MAX, patience_us};
use crate::alert::compiled::Compiled;
use crate::alert::condition::{LEVELS, NEVER};
use crate::alert::flapping::{FlapEdge, Flapping};
use crate::alert::record::ResolvedReason;
use crate::alert::rule::WhenStale;
use crate::device::Device;
use crate::expr::Moment;

impl Held {
    /// Up to which event time timers may speak: the newest sample's and what passed since, less what may still come.
    pub(super) fn clock_us(&self, rule: &Compiled, now_us: i64) -> i64 {
        now_us.saturating_sub(self.offset_us).saturating_sub(patience_us(rule))
    }

    /// The next event time at which a timer has something to say.
    pub(super) fn next_timer_us(&self, rule: &Compiled, device: &Device) -> Option<i64> {
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
    pub(super) fn run_timers(&mut self, until_us: i64, hand: &mut Hand<'_>) {
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

    pub(super) fn speak(&mut self, at_us: i64, hand: &mut Hand<'_>) {
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
    pub(super) fn calm_at_us(&self, rule: &Compiled) -> i64 {
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

    pub(super) fn catch_up(&mut self, now_us: i64, hand: &mut Hand<'_>) {
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
    pub(super) fn is_held_back(&self, rule: &Compiled, now_us: i64, resumed_us: i64) -> bool {
        let Some(grace_us) = rule.grace_us else { return false };
        self.arrival_us < resumed_us && (resumed_us..resumed_us.saturating_add(grace_us)).contains(&now_us)
    }

    pub(super) fn fall_silent(&mut self, now_us: i64, hand: &mut Hand<'_>) {
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
                self.condition.stage = crate::alert::condition::Stage::Normal;
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
}
