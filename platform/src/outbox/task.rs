//! The task that drives.

use super::board::{Attempt, Board};
use super::{OutboxOptions, OutboxParts};
use crate::ports::{Leased, OutboxStep, Settled, Slots, Stepped, Subscription};
use crate::telemetry::names;
use pulsewire_core::ids::DeliveryId;
use pulsewire_core::push::{Next, Priority, Try, Verdict, settle};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    priority: Priority,
}

pub(super) struct Task {
    options: OutboxOptions,
    parts: OutboxParts,
    stopped: watch::Receiver<bool>,
    attempts: JoinSet<Ended>,
    /// What each attempt sends, also if it panics.
    in_flight: HashMap<Id, InFlight>,
    board: Arc<Mutex<Board>>,
    settled: Vec<Settled>,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Spreads retries. Without random bytes they all come at the latest moment, which is safe.
fn random() -> u64 {
    let mut bytes = [0xff; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

impl Task {
    pub(super) fn new(
        options: OutboxOptions,
        parts: OutboxParts,
        board: Arc<Mutex<Board>>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            options,
            parts,
            stopped,
            attempts: JoinSet::new(),
            in_flight: HashMap::new(),
            board,
            settled: Vec::new(),
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
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
        let none = Slots { all: 0, ordinary: 0, bulk: 0 };
        let ((free, busy, per_provider), notices) = {
            let mut board = self.board();
            (board.room(now_us), board.notices())
        };
        let told = notices.len();
        let step = OutboxStep {
            now_us,
            settled: self.settled.clone(),
            in_flight: self.in_flight.values().map(|one| one.delivery).collect(),
            attention: self.parts.attention.clone(),
            lease_until_us: now_us.saturating_add(micros(self.options.lease)),
            free: if lease { free } else { none },
            busy,
            per_provider,
            history_per_user: self.options.history_per_user,
            bulk_queue_max: self.options.bulk_queue_max,
            notices,
        };
        match self.parts.store.step(step).await {
            Ok(stepped) => {
                self.settled.clear();
                self.board().stored(told);
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
        let started_us = self.parts.clock.now_us();
        for mut leased in stepped.leased {
            let (delivery, expires_us) = (leased.notification.delivery, leased.notification.expires_us);
            leased.notification.token = Some(self.parts.actions.seal(delivery, expires_us, started_us));
            let (provider, priority) = (leased.provider.clone(), leased.priority);
            self.board().begin(&provider, priority, started_us);
            let (parts, limit) = (self.parts.clone(), self.options.lease.saturating_sub(SETTLE_TIME));
            let held = InFlight { delivery, provider, priority };
            let attempt = self.attempts.spawn(async move {
                let verdict = attempt(&parts, &leased, limit).await;
                Ended { leased, verdict }
            });
            self.in_flight.insert(attempt.id(), held);
        }
        let now_us = self.parts.clock.now_us();
        let next_us = [stepped.next_us, self.board().next_us(now_us)].into_iter().flatten().min();
        let wait = next_us.map(|at| Duration::from_micros(at.saturating_sub(now_us).max(0).unsigned_abs()));
        // A moment later than due, so that it is due by then.
        wait.map_or(LOOK_AGAIN, |wait| (wait + Duration::from_millis(1)).min(LOOK_AGAIN))
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
                    self.board().forget(&held.provider, held.priority);
                }
                return;
            }
        };
        redact(&mut verdict, leased.address.place());
        let (now_us, random) = (self.parts.clock.now_us(), random());
        let kind = leased.address.kind().name();
        metrics::counter!(names::PUSH_VERDICTS, "channel" => kind, "verdict" => verdict.name()).increment(1);
        let attempt = Attempt {
            provider: &leased.provider,
            priority: leased.priority,
            proven: leased.delivered_before,
            now_us,
            random,
        };
        let judged = self.board().end(&attempt, &verdict);
        let this = Try {
            attempt: leased.attempt,
            attempts_max: self.options.attempts_max,
            now_us,
            expires_us: leased.notification.expires_us,
            registered_us: leased.registered_us,
            random,
        };
        let mut next = settle(&verdict, &this);
        if let Next::Dropped { reason, remove_endpoint: true } = &next {
            match judged.doubt {
                None => metrics::counter!(names::PUSH_ENDPOINTS_REMOVED).increment(1),
                Some(doubt) => {
                    tracing::error!(
                        channel = kind,
                        reason,
                        "an endpoint is kept that its provider calls gone: {doubt}"
                    );
                    next = Next::Dead(format!("{reason}; the endpoint is kept: {doubt}"));
                }
            }
        }
        self.board().count(&leased.provider, &next);
        if !judged.known_refusal {
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
