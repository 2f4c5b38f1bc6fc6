//! What the outbox knows of each provider: how much is on its way there, and whether to leave it alone for a while.

use crate::ports::Slots;
use pulsewire_core::push::{Verdict, backoff_us};
use std::collections::HashMap;

/// Providers remembered. Above it those are forgotten to which nothing is on its way, first those that are not left alone.
const REMEMBERED_MAX: usize = 1000;
/// Attempts in a row without an answer, after which a provider counts as down.
const UNANSWERED_MAX: u32 = 3;
/// A provider that wants to be left alone for longer is tried again after this: an hour.
const PAUSE_MAX_US: i64 = 3_600_000_000;

#[derive(Debug, Default)]
struct Provider {
    critical: usize,
    ordinary: usize,
    failures: u32,
    unanswered: u32,
    until_us: i64,
}

impl Provider {
    /// It is left alone now. A clock that was set back by more than any pause is no reason to go on with one.
    fn is_paused(&self, now_us: i64) -> bool {
        now_us < self.until_us && self.until_us - now_us <= PAUSE_MAX_US
    }

    fn is_idle(&self) -> bool {
        self.critical + self.ordinary == 0
    }
}

/// See the module.
#[derive(Debug)]
pub struct Providers {
    workers: usize,
    per_provider: usize,
    known: HashMap<String, Provider>,
}

/// A quarter of the room is kept for critical messages; of one slot there is no quarter.
fn slots(max: usize, critical: usize, ordinary: usize) -> Slots {
    let all = max.saturating_sub(critical + ordinary);
    Slots { all, ordinary: (max - max / 4).saturating_sub(ordinary).min(all) }
}

impl Providers {
    /// `workers`: most attempts at once; `per_provider`: to one of them.
    pub fn new(workers: usize, per_provider: usize) -> Self {
        Self { workers, per_provider, known: HashMap::new() }
    }

    /// An attempt begins.
    pub fn begin(&mut self, provider: &str, critical: bool) {
        let known = self.known.entry(provider.to_owned()).or_default();
        *if critical { &mut known.critical } else { &mut known.ordinary } += 1;
    }

    /// An attempt ended without anything to be learnt of the provider.
    pub fn forget(&mut self, provider: &str, critical: bool) {
        if let Some(known) = self.known.get_mut(provider) {
            let count = if critical { &mut known.critical } else { &mut known.ordinary };
            *count = count.saturating_sub(1);
        }
    }

    /// An attempt ended. A provider that is down is left alone, for longer each time; then one attempt tries it.
    pub fn end(&mut self, provider: &str, critical: bool, verdict: &Verdict, now_us: i64, random: u64) {
        let known = self.known.entry(provider.to_owned()).or_default();
        let count = if critical { &mut known.critical } else { &mut known.ordinary };
        *count = count.saturating_sub(1);
        let down = match verdict {
            Verdict::ProviderDown { after_us, .. } => Some(after_us.unwrap_or(0).clamp(0, PAUSE_MAX_US)),
            Verdict::Retry { status: None, .. } => {
                known.unanswered = known.unanswered.saturating_add(1);
                (known.failures > 0 || known.unanswered >= UNANSWERED_MAX).then_some(0)
            }
            _ => None,
        };
        match down {
            // Attempts that began together and fail together are one failure.
            Some(_) if known.is_paused(now_us) => {}
            Some(asked_us) => {
                known.failures = known.failures.saturating_add(1);
                known.until_us = now_us.saturating_add(asked_us.max(backoff_us(known.failures, random)));
            }
            None if verdict.status().is_some() => (known.failures, known.unanswered, known.until_us) = (0, 0, 0),
            None => {}
        }
        self.forget_some(now_us);
    }

    fn forget_some(&mut self, now_us: i64) {
        if self.known.len() <= REMEMBERED_MAX {
            return;
        }
        self.known.retain(|_, p| !p.is_idle() || p.is_paused(now_us));
        let mut idle: Vec<_> =
            self.known.iter().filter(|(_, p)| p.is_idle()).map(|(n, p)| (p.until_us, n.clone())).collect();
        idle.sort_unstable();
        for (_, name) in idle.into_iter().take(self.known.len().saturating_sub(REMEMBERED_MAX)) {
            self.known.remove(&name);
        }
    }

    /// Room for attempts.
    pub fn free(&self) -> Slots {
        let sum = |count: fn(&Provider) -> usize| self.known.values().map(count).sum::<usize>();
        slots(self.workers, sum(|p| p.critical), sum(|p| p.ordinary))
    }

    /// Room at a provider to which nothing is on its way.
    pub fn unknown(&self) -> Slots {
        slots(self.per_provider, 0, 0)
    }

    /// Room at each provider where it is less than that.
    pub fn busy(&self, now_us: i64) -> Vec<(String, Slots)> {
        let known = self.known.iter().map(|(name, p)| {
            let none = Slots { all: 0, ordinary: 0 };
            let room = match p.failures {
                0 => slots(self.per_provider, p.critical, p.ordinary),
                _ if p.is_paused(now_us) || !p.is_idle() => none,
                _ => Slots { all: 1, ordinary: 1 },
            };
            (name.clone(), room)
        });
        known.filter(|(_, room)| *room != self.unknown()).collect()
    }

    /// When the next provider may be tried again.
    pub fn next_us(&self, now_us: i64) -> Option<i64> {
        self.known.values().filter(|p| p.failures > 0 && p.is_paused(now_us)).map(|p| p.until_us).min()
    }

    /// True if something is known of a provider.
    pub fn knows(&self, provider: &str) -> bool {
        self.known.contains_key(provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down(after_us: Option<i64>) -> Verdict {
        Verdict::ProviderDown { after_us, reason: "down".into(), status: Some(503) }
    }

    #[test]
    fn ordinary_messages_leave_room_for_critical_ones() {
        let mut providers = Providers::new(8, 4);
        (0..3).for_each(|_| providers.begin("slow", false));
        assert_eq!(providers.busy(0), [("slow".to_owned(), Slots { all: 1, ordinary: 0 })]);
        (0..3).for_each(|_| providers.begin("other", false));
        assert_eq!(providers.free(), Slots { all: 2, ordinary: 0 });
    }

    #[test]
    fn no_provider_is_left_alone_for_longer_than_an_hour() {
        let mut providers = Providers::new(8, 4);
        providers.begin("p", true);
        providers.end("p", true, &down(Some(i64::MAX)), 1000, 0);
        assert_eq!(providers.next_us(1000), Some(1000 + PAUSE_MAX_US));
    }

    #[test]
    fn attempts_without_an_answer_count_as_a_provider_that_is_down() {
        let silence = Verdict::Retry { after_us: None, reason: "no answer".into(), status: None, unclear: true };
        let mut providers = Providers::new(8, 4);
        for n in 0..4 {
            assert_eq!(providers.next_us(10), None, "{n}");
            providers.begin("p", false);
            let verdict = if n == 0 { Verdict::Delivered { provider_id: None, status: 201 } } else { silence.clone() };
            providers.end("p", false, &verdict, 10, 500);
        }
        assert_eq!(providers.next_us(10), Some(510));
        providers.begin("p", false);
        providers.end("p", false, &silence, 600, 500);
        assert_eq!(providers.next_us(600), Some(1100), "the one that tried it brought no answer either");
    }

    #[test]
    fn providers_that_are_down_are_not_remembered_without_bound() {
        let mut providers = Providers::new(8, 4);
        for n in 0..3 * REMEMBERED_MAX {
            providers.begin(&format!("p{n}"), true);
            providers.end(&format!("p{n}"), true, &down(Some(1_000_000)), i64::try_from(n).expect("small"), 0);
        }
        assert!(providers.known.len() <= REMEMBERED_MAX && providers.knows(&format!("p{}", 3 * REMEMBERED_MAX - 1)));
    }

    #[test]
    fn a_provider_that_is_down_is_left_alone_and_then_tried_by_one_attempt() {
        let mut providers = Providers::new(8, 4);
        (0..3).for_each(|_| providers.begin("p", true));
        (0..3).for_each(|_| providers.end("p", true, &down(Some(60)), 1000, 0));
        assert_eq!(providers.busy(1059), [("p".to_owned(), Slots { all: 0, ordinary: 0 })]);
        assert_eq!(providers.next_us(1000), Some(1060));
        assert_eq!(providers.busy(1060), [("p".to_owned(), Slots { all: 1, ordinary: 1 })]);
        providers.begin("p", false);
        assert_eq!(providers.busy(1060), [("p".to_owned(), Slots { all: 0, ordinary: 0 })]);
        let well = Verdict::Delivered { provider_id: None, status: 201 };
        providers.end("p", false, &well, 1061, 0);
        assert_eq!(providers.busy(1061), []);
    }
}
