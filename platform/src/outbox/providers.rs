//! What the outbox knows of each provider: how much is on its way there, how fast, and whether to leave it alone for a while.

use crate::ports::Slots;
use pulsewire_core::push::{Priority, Verdict, backoff_us};
use std::collections::HashMap;

/// Providers remembered. Above it those are forgotten to which nothing is on its way, first those that are not left alone.
const REMEMBERED_MAX: usize = 1000;
/// Attempts in a row without an answer, after which a provider counts as down.
const UNANSWERED_MAX: u32 = 3;
/// A provider that wants to be left alone for longer is tried again after this: an hour.
const PAUSE_MAX_US: i64 = 3_600_000_000;
const SECOND_US: i64 = 1_000_000;

/// What became of the attempts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Taken.
    pub delivered: u64,
    /// To be tried again.
    pub retried: u64,
    /// Given up.
    pub dead: u64,
    /// Refused for good.
    pub dropped: u64,
}

/// Messages that may begin now, refilled with time: those of a tenth of a second may begin at once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at_us: i64,
}

#[derive(Debug, Default)]
struct Provider {
    in_flight: [usize; 3],
    failures: u32,
    unanswered: u32,
    until_us: i64,
    down: String,
    bucket: Option<Bucket>,
    /// How many could begin when it was refilled, and how many have since.
    allowed: usize,
    begun: usize,
    counts: Counts,
}

impl Provider {
    /// It is left alone now. A clock that was set back by more than any pause is no reason to go on with one.
    fn is_paused(&self, now_us: i64) -> bool {
        now_us < self.until_us && self.until_us - now_us <= PAUSE_MAX_US
    }

    fn is_idle(&self) -> bool {
        self.in_flight == [0; 3]
    }

    /// What may begin now. A clock that was set back gives nothing new.
    fn budget(&self, rate: f64, now_us: i64) -> f64 {
        let Some(bucket) = self.bucket else { return burst(rate) };
        let passed_s = (now_us.saturating_sub(bucket.at_us)).max(0) as f64 / SECOND_US as f64;
        (bucket.left + passed_s * rate).min(burst(rate))
    }
}

/// What is known of a provider, for people.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderView {
    /// Its name: `apns`, `fcm`, `email`, or a host.
    pub provider: String,
    /// Until when it is left alone, if it is.
    pub paused_until_us: Option<i64>,
    /// Why it counts as down; empty if it does not.
    pub down: String,
    /// Messages on their way.
    pub in_flight: usize,
    /// Since the start.
    pub counts: Counts,
}

/// See the module.
#[derive(Debug)]
pub struct Providers {
    workers: usize,
    per_provider: usize,
    rate: f64,
    known: HashMap<String, Provider>,
}

/// A quarter of the room is kept for critical messages, and half of it is for those that are no bulk; of one slot there is no
/// quarter.
fn slots(max: usize, in_flight: [usize; 3]) -> Slots {
    let [critical, normal, bulk] = in_flight;
    let all = max.saturating_sub(critical + normal + bulk);
    let ordinary = (max - max / 4).saturating_sub(normal + bulk).min(all);
    Slots { all, ordinary, bulk: (max - max / 2).saturating_sub(bulk).min(ordinary) }
}

/// How many may begin at once.
fn burst(rate: f64) -> f64 {
    (rate / 10.0).max(1.0)
}

impl Slots {
    fn at_most(self, max: usize) -> Self {
        Self { all: self.all.min(max), ordinary: self.ordinary.min(max), bulk: self.bulk.min(max) }
    }
}

impl Providers {
    /// `workers`: most attempts at once; `per_provider`: to one of them; `rate`: most to one of them in a second.
    pub fn new(workers: usize, per_provider: usize, rate: u32) -> Self {
        Self { workers, per_provider, rate: f64::from(rate.max(1)), known: HashMap::new() }
    }

    /// An attempt begins.
    pub fn begin(&mut self, provider: &str, priority: Priority, now_us: i64) {
        let rate = self.rate;
        let known = self.known.entry(provider.to_owned()).or_default();
        known.in_flight[priority as usize] += 1;
        if known.bucket.is_none() {
            known.allowed = burst(rate) as usize;
        }
        known.begun += 1;
        known.bucket = Some(Bucket { left: known.budget(rate, now_us) - 1.0, at_us: now_us });
    }

    /// An attempt ended without anything to be learnt of the provider.
    pub fn forget(&mut self, provider: &str, priority: Priority) {
        if let Some(known) = self.known.get_mut(provider) {
            let count = &mut known.in_flight[priority as usize];
            *count = count.saturating_sub(1);
        }
    }

    /// An attempt ended. A provider that is down is left alone, for longer each time; then one attempt tries it.
    pub fn end(&mut self, provider: &str, priority: Priority, verdict: &Verdict, now_us: i64, random: u64) {
        self.forget(provider, priority);
        let known = self.known.entry(provider.to_owned()).or_default();
        let down = match verdict {
            Verdict::ProviderDown { after_us, .. } => Some(after_us.unwrap_or(0).clamp(0, PAUSE_MAX_US)),
            Verdict::Retry { status: None, .. } => {
                known.unanswered = known.unanswered.saturating_add(1);
                (known.failures > 0 || known.unanswered >= UNANSWERED_MAX).then_some(0)
            }
            _ => None,
        };
        match down {
            // Attempts that began together and fail together are one failure; the longest time that is asked for counts.
            Some(asked_us) if known.is_paused(now_us) => {
                known.until_us = known.until_us.max(now_us.saturating_add(asked_us));
            }
            Some(asked_us) => {
                known.failures = known.failures.saturating_add(1);
                known.until_us = now_us.saturating_add(asked_us.max(backoff_us(known.failures, random)));
                known.down = verdict.reason().to_owned();
            }
            None if verdict.status().is_some() => {
                (known.failures, known.unanswered, known.until_us) = (0, 0, 0);
                known.down.clear();
            }
            None => {}
        }
        self.forget_some(now_us);
    }

    /// Counts what became of an attempt.
    pub fn count(&mut self, provider: &str, count: impl FnOnce(&mut Counts)) {
        if let Some(known) = self.known.get_mut(provider) {
            count(&mut known.counts);
        }
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
        let sum = |at: usize| self.known.values().map(|p| p.in_flight[at]).sum::<usize>();
        slots(self.workers, [sum(0), sum(1), sum(2)])
    }

    /// Room at a provider to which nothing is on its way.
    pub fn unknown(&self) -> Slots {
        // 1 to 10,000.
        slots(self.per_provider, [0; 3]).at_most(burst(self.rate) as usize)
    }

    /// Room at each provider where it is less than that.
    pub fn busy(&self, now_us: i64) -> Vec<(String, Slots)> {
        let known = self.known.iter().map(|(name, p)| {
            let none = Slots { all: 0, ordinary: 0, bulk: 0 };
            let room = match p.failures {
                0 => slots(self.per_provider, p.in_flight).at_most(p.budget(self.rate, now_us).max(0.0) as usize),
                _ if p.is_paused(now_us) || !p.is_idle() => none,
                _ => Slots { all: 1, ordinary: 1, bulk: 1 },
            };
            (name.clone(), room)
        });
        known.filter(|(_, room)| *room != self.unknown()).collect()
    }

    /// When the next provider may be tried again, or takes its next message: at once if it has taken all that it could when it was
    /// [refilled](Self::refill), and could take more by now.
    pub fn next_us(&self, now_us: i64) -> Option<i64> {
        let next = self.known.values().filter_map(|p| match p.bucket {
            _ if p.failures > 0 && p.is_paused(now_us) => Some(p.until_us),
            Some(Bucket { left, at_us }) if p.begun >= p.allowed => {
                let wait_us = ((1.0 - left).max(0.0) / self.rate * SECOND_US as f64).ceil() as i64;
                Some(at_us.saturating_add(wait_us).max(now_us))
            }
            _ => None,
        });
        next.min()
    }

    /// To be called before room is asked for. What is not used then leaves nothing to wait for.
    pub fn refill(&mut self, now_us: i64) {
        let rate = self.rate;
        for known in self.known.values_mut().filter(|p| p.bucket.is_some()) {
            let left = known.budget(rate, now_us);
            known.bucket = Some(Bucket { left, at_us: now_us });
            (known.allowed, known.begun) = (left.max(0.0) as usize, 0);
        }
    }

    /// True if something is known of a provider.
    pub fn knows(&self, provider: &str) -> bool {
        self.known.contains_key(provider)
    }

    /// All that is known, by name.
    pub fn view(&self, now_us: i64) -> Vec<ProviderView> {
        let mut all: Vec<ProviderView> = self
            .known
            .iter()
            .map(|(name, p)| ProviderView {
                provider: name.clone(),
                paused_until_us: p.is_paused(now_us).then_some(p.until_us),
                down: p.down.clone(),
                in_flight: p.in_flight.iter().sum(),
                counts: p.counts,
            })
            .collect();
        all.sort_by(|a, b| a.provider.cmp(&b.provider));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Bulk, Critical, Normal};

    fn down(after_us: Option<i64>) -> Verdict {
        Verdict::ProviderDown { after_us, reason: "down".into(), status: Some(503) }
    }

    fn providers() -> Providers {
        Providers::new(8, 4, 1000)
    }

    fn slots_of(all: usize, ordinary: usize, bulk: usize) -> Slots {
        Slots { all, ordinary, bulk }
    }

    #[test]
    fn ordinary_messages_leave_room_for_critical_ones_and_bulk_for_both() {
        let mut providers = providers();
        (0..2).for_each(|_| providers.begin("slow", Bulk, 0));
        assert_eq!(providers.busy(0), [("slow".to_owned(), slots_of(2, 1, 0))]);
        providers.begin("slow", Normal, 0);
        assert_eq!(providers.busy(0), [("slow".to_owned(), slots_of(1, 0, 0))]);
        (0..3).for_each(|_| providers.begin("other", Normal, 0));
        assert_eq!(providers.free(), slots_of(2, 0, 0));
    }

    #[test]
    fn no_provider_is_left_alone_for_longer_than_an_hour() {
        let mut providers = providers();
        providers.begin("p", Critical, 1000);
        providers.end("p", Critical, &down(Some(i64::MAX)), 1000, 0);
        assert_eq!(providers.next_us(1000), Some(1000 + PAUSE_MAX_US));
        let view = providers.view(1000);
        assert_eq!((view[0].paused_until_us, view[0].down.as_str()), (Some(1000 + PAUSE_MAX_US), "down"));
    }

    #[test]
    fn of_two_that_fail_together_the_longer_time_counts() {
        let mut providers = providers();
        (0..2).for_each(|_| providers.begin("p", Normal, 0));
        providers.end("p", Normal, &down(Some(5)), 0, 0);
        providers.end("p", Normal, &down(Some(60)), 1, 0);
        assert_eq!(providers.next_us(2), Some(61));
    }

    #[test]
    fn attempts_without_an_answer_count_as_a_provider_that_is_down() {
        let silence = Verdict::Retry { after_us: None, reason: "no answer".into(), status: None, unclear: true };
        let mut providers = providers();
        for n in 0..4 {
            assert_eq!(providers.next_us(10), None, "{n}");
            providers.begin("p", Normal, 10);
            let verdict = if n == 0 { Verdict::Delivered { provider_id: None, status: 201 } } else { silence.clone() };
            providers.end("p", Normal, &verdict, 10, 500);
        }
        assert_eq!(providers.next_us(10), Some(510));
        providers.begin("p", Normal, 600);
        providers.end("p", Normal, &silence, 600, 500);
        assert_eq!(providers.next_us(600), Some(1100), "the one that tried it brought no answer either");
    }

    #[test]
    fn providers_that_are_down_are_not_remembered_without_bound() {
        let mut providers = providers();
        for n in 0..3 * REMEMBERED_MAX {
            let now_us = i64::try_from(n).expect("small");
            providers.begin(&format!("p{n}"), Critical, now_us);
            providers.end(&format!("p{n}"), Critical, &down(Some(1_000_000)), now_us, 0);
        }
        assert!(providers.known.len() <= REMEMBERED_MAX && providers.knows(&format!("p{}", 3 * REMEMBERED_MAX - 1)));
    }

    #[test]
    fn a_provider_that_is_down_is_left_alone_and_then_tried_by_one_attempt() {
        let mut providers = providers();
        (0..3).for_each(|_| providers.begin("p", Critical, 1000));
        (0..3).for_each(|_| providers.end("p", Critical, &down(Some(60)), 1000, 0));
        assert_eq!(providers.busy(1059), [("p".to_owned(), slots_of(0, 0, 0))]);
        assert_eq!(providers.next_us(1000), Some(1060));
        assert_eq!(providers.busy(1060), [("p".to_owned(), slots_of(1, 1, 1))]);
        providers.begin("p", Normal, 1060);
        assert_eq!(providers.busy(1060), [("p".to_owned(), slots_of(0, 0, 0))]);
        let well = Verdict::Delivered { provider_id: None, status: 201 };
        providers.end("p", Normal, &well, 1061, 0);
        assert_eq!(providers.busy(1061), []);
    }

    #[test]
    fn who_took_all_that_it_could_is_asked_again_at_once_and_who_took_nothing_is_not() {
        let mut providers = Providers::new(1000, 1000, 1000);
        (0..100).for_each(|_| providers.begin("p", Normal, 0));
        assert_eq!(providers.next_us(500_000), Some(500_000), "it took a tenth of a second's, and may take more");
        assert_eq!(providers.next_us(0), Some(1000));
        // A step takes its time: more is allowed when it begins what it leased.
        providers.refill(5_000);
        (0..5).for_each(|_| providers.begin("p", Normal, 20_000));
        assert_eq!(providers.next_us(21_000), Some(21_000));
        providers.refill(500_000);
        assert_eq!(providers.next_us(500_000), None, "nothing more was there for it");
    }

    #[test]
    fn within_any_second_a_provider_gets_no_more_than_its_rate_and_a_tenth() {
        let mut providers = Providers::new(1000, 1000, 20);
        let well = Verdict::Delivered { provider_id: None, status: 201 };
        let (mut begun, mut now_us) = (Vec::new(), 0);
        while now_us < 10 * SECOND_US {
            providers.refill(now_us);
            let room = providers.busy(now_us).first().map_or(providers.unknown().all, |(_, room)| room.all);
            for _ in 0..room {
                providers.begin("p", Normal, now_us);
                providers.end("p", Normal, &well, now_us, 0);
                begun.push(now_us);
            }
            // A step takes its time, and more is due by then.
            now_us = providers.next_us(now_us + 30_000).expect("it is spent").max(now_us + 1);
        }
        assert!((200..=202).contains(&begun.len()), "{} in ten seconds", begun.len());
        for (i, at) in begun.iter().enumerate() {
            assert!(begun[i..].iter().take_while(|other| *other - at < SECOND_US).count() <= 22);
        }
    }
}
