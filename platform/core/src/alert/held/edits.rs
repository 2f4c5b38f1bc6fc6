//! What people and restarts do to a state: ends by hand, edits of the rule, reading it back.

use super::{Event, Hand, Held, id};
use crate::alert::compiled::Compiled;
use crate::alert::condition::{NEVER, Saying};
use crate::alert::flapping::Flapping;
use crate::alert::record::ResolvedReason;
use crate::alert::rule::WhenStale;
use crate::expr::{Memory, Truth};
use crate::ids::AlertId;

impl Held {
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
            self.condition.stage = crate::alert::condition::Stage::Normal;
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
    pub(super) fn resolve_silent(&mut self, hand: &mut Hand<'_>) {
        if let Some(silent) = self.more.as_mut().and_then(|more| more.silent.take()) {
            let reason = ResolvedReason::RuleChanged;
            hand.events.push((Event::Resolved { alert: id(silent), reason, at_us: self.arrival_us }, self.value));
        }
    }

    /// A level that an edit added and that holds goes on from the one that fires: it held as long.
    pub(super) fn hand_on(&mut self, saying: &Saying) {
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
