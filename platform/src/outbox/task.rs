//! The task that drives.

use super::guard::{PruneGuard, Said};
use super::providers::Providers;
use super::{OutboxOptions, OutboxParts};
use crate::ports::{Leased, OutboxStep, Settled, Stepped, Subscription};
use crate::telemetry::names;
use pulsewire_core::ids::DeliveryId;
use pulsewire_core::push::{Next, Try, Verdict, settle};
use pulsewire_core::severity::Severity;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

/// After a failure of the store the next step waits for this.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Without any event the task looks again after this at the latest: a hint may have been lost.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// What is left of a lease when an attempt is given up, so that it is settled before it could be leased again.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// An attempt that ended.
struct Ended {
    leased: Leased,
    verdict: Verdict,
}

/// What an attempt holds while it runs.
struct InFlight {
    delivery: DeliveryId,
    provider: String,
    critical: bool,
}

pub(super) struct Task {
    options: OutboxOptions,
    parts: OutboxParts,
    stopped: watch::Receiver<bool>,
    attempts: JoinSet<Ended>,
    /// What each attempt sends, also if it panics.
    in_flight: HashMap<Id, InFlight>,
    providers: Providers,
    guard: PruneGuard,
    /// Why providers refuse this server, so that each is said once.
    refusals: HashMap<String, String>,
    settled: Vec<Settled>,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn is_critical(leased: &Leased) -> bool {
    leased.notification.severity == Severity::Critical
}

/// Spreads retries. Without random bytes they all come at the latest moment, which is safe.
fn random() -> u64 {
    let mut bytes = [0xff; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl Task {
    pub(super) fn new(options: OutboxOptions, parts: OutboxParts, stopped: watch::Receiver<bool>) -> Self {
        let providers = Providers::new(options.workers, options.per_origin_max);
        let (attempts, guard) = (JoinSet::new(), PruneGuard::default());
        Self {
            options,
            parts,
            stopped,
            attempts,
            in_flight: HashMap::new(),
            providers,
            guard,
            refusals: HashMap::new(),
            settled: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, mut events: Box<dyn Subscription>) {
        let mut listening = true;
        loop {
            let stopping = *self.stopped.borrow();
            let wake_in = match self.step(!stopping).await {
                Some(stepped) => self.begin(stepped),
                None => STORE_PAUSE,
            };
            if stopping && self.attempts.is_empty() && self.settled.is_empty() {
                return;
            }
            tokio::select! {
                // Lost events are hints, too.
                event = events.next(), if listening => listening = !matches!(event, Ok(None)),
                Some(ended) = self.attempts.join_next_with_id() => self.take(ended),
                changed = self.stopped.changed(), if !stopping => if changed.is_err() { return },
                () = tokio::time::sleep(wake_in) => {}
            }
            // All that ended meanwhile is stored in one transaction.
            while let Some(ended) = self.attempts.try_join_next_with_id() {
                self.take(ended);
            }
        }
    }

    /// One transaction. None if the store failed: what ended is kept for the next one.
    async fn step(&mut self, lease: bool) -> Option<Stepped> {
        let now_us = self.parts.clock.now_us();
        let none = crate::ports::Slots { all: 0, ordinary: 0 };
        let step = OutboxStep {
            now_us,
            settled: self.settled.clone(),
            in_flight: self.in_flight.values().map(|one| one.delivery).collect(),
            attention: self.parts.attention.clone(),
            lease_until_us: now_us.saturating_add(micros(self.options.lease)),
            free: if lease { self.providers.free() } else { none },
            busy: self.providers.busy(now_us),
            per_provider: self.providers.unknown(),
            history_per_user: self.options.history_per_user,
        };
        match self.parts.store.step(step).await {
            Ok(stepped) => {
                self.settled.clear();
                Some(stepped)
            }
            Err(error) => {
                tracing::error!(%error, "the outbox could not be written; nothing is sent until it can");
                None
            }
        }
    }

    /// Starts the attempts that were leased; answers how long to sleep at most.
    fn begin(&mut self, stepped: Stepped) -> Duration {
        for reason in stepped.suppressed {
            metrics::counter!(names::PUSH_SUPPRESSED, "reason" => reason).increment(1);
        }
        for leased in stepped.leased {
            self.providers.begin(&leased.provider, is_critical(&leased));
            let (parts, limit) = (self.parts.clone(), self.options.lease.saturating_sub(SETTLE_TIME));
            let (delivery, provider) = (leased.notification.delivery, leased.provider.clone());
            let held = InFlight { delivery, provider, critical: is_critical(&leased) };
            let attempt = self.attempts.spawn(async move {
                let verdict = attempt(&parts, &leased, limit).await;
                Ended { leased, verdict }
            });
            self.in_flight.insert(attempt.id(), held);
        }
        let now_us = self.parts.clock.now_us();
        let next_us = [stepped.next_us, self.providers.next_us(now_us)].into_iter().flatten().min();
        let wait = next_us.map(|at| Duration::from_micros(at.saturating_sub(now_us).max(0).unsigned_abs()));
        // A moment later than due, so that it is due by then.
        wait.map_or(LOOK_AGAIN, |wait| (wait + Duration::from_millis(1)).min(LOOK_AGAIN))
    }

    /// True if a provider refuses this server once more for the reason that was logged.
    fn refuses_as_before(&mut self, provider: &str, verdict: &Verdict) -> bool {
        match verdict {
            Verdict::Misconfigured { reason, .. } => {
                let before = self.refusals.insert(provider.to_owned(), reason.clone());
                before.is_some_and(|before| before == *reason)
            }
            _ => {
                if verdict.status().is_some() {
                    self.refusals.remove(provider);
                }
                false
            }
        }
    }

    fn take(&mut self, ended: Result<(Id, Ended), tokio::task::JoinError>) {
        let Ended { leased, mut verdict } = match ended {
            Ok((id, ended)) => {
                self.in_flight.remove(&id);
                ended
            }
            Err(error) => {
                // A mistake of ours. Its lease ends by itself.
                tracing::error!(%error, "an attempt to send a message panicked");
                if let Some(held) = self.in_flight.remove(&error.id()) {
                    self.providers.forget(&held.provider, held.critical);
                }
                return;
            }
        };
        redact(&mut verdict, leased.address.place());
        let (now_us, random) = (self.parts.clock.now_us(), random());
        let kind = leased.address.kind().name();
        metrics::counter!(names::PUSH_VERDICTS, "channel" => kind, "verdict" => verdict.name()).increment(1);
        self.providers.end(&leased.provider, is_critical(&leased), &verdict, now_us, random);
        let this = Try {
            attempt: leased.attempt,
            attempts_max: self.options.attempts_max,
            now_us,
            expires_us: leased.notification.expires_us,
            registered_us: leased.registered_us,
            random,
        };
        let mut next = settle(&verdict, &this);
        let said = match verdict {
            Verdict::Delivered { .. } => Said::Delivered,
            Verdict::DropEndpoint { certain, .. } => Said::Gone { certain, proven: leased.delivered_before },
            _ => Said::Other,
        };
        let believed = if verdict.status().is_some() { self.guard.judge(&leased.provider, said) } else { Ok(()) };
        self.guard.retain(|provider| self.providers.knows(provider));
        self.refusals.retain(|provider, _| self.providers.knows(provider));
        if let Next::Dropped { reason, remove_endpoint: true } = &next {
            match believed {
                Ok(()) => metrics::counter!(names::PUSH_ENDPOINTS_REMOVED).increment(1),
                Err(doubt) => {
                    tracing::error!(
                        channel = kind,
                        reason,
                        "an endpoint is kept that its provider calls gone: {doubt}"
                    );
                    next = Next::Dead(format!("{reason}; the endpoint is kept: {doubt}"));
                }
            }
        }
        if !self.refuses_as_before(&leased.provider, &verdict) {
            log(&leased, &verdict, &next);
        }
        self.settled.push(Settled {
            delivery: leased.notification.delivery,
            endpoint: leased.endpoint,
            registered_us: leased.registered_us,
            next,
            status: verdict.status(),
            text: verdict.reason().to_owned(),
            unclear: matches!(verdict, Verdict::Retry { unclear: true, .. }),
            provider_id: match verdict {
                Verdict::Delivered { provider_id, .. } => provider_id,
                _ => None,
            },
        });
    }
}

async fn attempt(parts: &OutboxParts, leased: &Leased, limit: Duration) -> Verdict {
    let kind = leased.address.kind();
    let Some(channel) = parts.channel(kind) else {
        let reason = format!("{} is not configured on this server any more", kind.name());
        return Verdict::Misconfigured { reason, status: None };
    };
    let channel = Arc::clone(channel);
    let started = Instant::now();
    let sent = channel.send(&leased.address, &leased.notification, parts.clock.now_us());
    let verdict = tokio::time::timeout(limit, sent).await.unwrap_or_else(|_| Verdict::Retry {
        after_us: None,
        reason: format!("not done within {limit:?}"),
        status: None,
        unclear: true,
    });
    metrics::histogram!(names::PUSH_SECONDS, "channel" => kind.name()).record(started.elapsed().as_secs_f64());
    verdict
}

/// Whatever a provider or a library says, the address and its end, which is what makes it secret, are not repeated.
fn redact(verdict: &mut Verdict, place: &str) {
    let Some(reason) = verdict.reason_mut() else { return };
    let end = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    for secret in [place, end] {
        if secret.len() >= 8 && reason.contains(secret) {
            *reason = reason.replace(secret, "…");
        }
    }
}

/// Never the address, nor what the message says.
fn log(leased: &Leased, verdict: &Verdict, next: &Next) {
    let (delivery, channel) = (leased.notification.delivery, leased.address.kind().name());
    let (attempt, status, reason) = (leased.attempt, verdict.status(), verdict.reason());
    match (verdict, next) {
        (Verdict::Misconfigured { .. }, _) => {
            tracing::error!(%delivery, channel, attempt, status, reason, "a push provider refuses this server");
        }
        (_, Next::Delivered) => tracing::debug!(%delivery, channel, attempt, status, "message delivered"),
        (_, Next::RetryAt(_)) => {
            tracing::info!(%delivery, channel, attempt, status, reason, "message is tried again later")
        }
        (_, Next::Dead(why)) => tracing::warn!(%delivery, channel, attempt, status, reason = why, "message given up"),
        (_, Next::Dropped { reason, remove_endpoint }) => {
            tracing::warn!(%delivery, channel, attempt, status, reason, remove_endpoint, "message refused");
        }
    }
}
