//! What is known of the providers, shared by the task that drives and by those who ask how they are.

use super::OutboxOptions;
use super::guard::{Doubt, PruneGuard, Said};
use super::providers::{Counts, ProviderView, Providers};
use crate::ports::{OperatorNotice, Slots, Trouble};
use pulsewire_core::push::{Next, Priority, Verdict};
use std::collections::HashMap;

/// Notices to admins within [`NOTICE_SPAN_US`]; above it troubles are only in the log and in the list of providers.
const NOTICES_MAX: usize = 8;
/// The same trouble with the same provider is told once within this: an hour.
const NOTICE_SPAN_US: i64 = 3_600_000_000;
/// The push services of the large browsers end in these. Other hosts are named by users, who could make admins read what they like.
const SERVICES: [&str; 4] = ["googleapis.com", "mozilla.com", "push.apple.com", "notify.windows.com"];

/// See the module.
pub struct Board {
    providers: Providers,
    guard: PruneGuard,
    /// Why providers refuse this server, so that each is said once.
    refusals: HashMap<String, String>,
    notices: Vec<OperatorNotice>,
    /// What was told within [`NOTICE_SPAN_US`], and when.
    told: Vec<(String, Trouble, i64)>,
}

/// How a provider is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderState {
    /// Load and trouble.
    pub view: ProviderView,
    /// Why it refuses this server, if it does.
    pub refuses: Option<String>,
    /// It calls so many endpoints gone that it is not believed.
    pub frozen: bool,
}

impl ProviderState {
    /// That of one that was not asked anything since the start.
    pub(super) fn unknown(provider: String) -> Self {
        Self { view: ProviderView { provider, ..ProviderView::default() }, refuses: None, frozen: false }
    }
}

/// What an attempt was.
pub struct Attempt<'a> {
    pub provider: &'a str,
    pub priority: Priority,
    /// A provider took a message for the endpoint before.
    pub proven: bool,
    pub now_us: i64,
    pub random: u64,
}

/// What is to be thought of an attempt's verdict.
pub struct Judged {
    /// Why a word that the endpoint is gone is not believed.
    pub doubt: Option<&'static str>,
    /// The provider refuses this server for the reason for which it did before.
    pub known_refusal: bool,
}

impl Board {
    pub fn new(options: &OutboxOptions) -> Self {
        Self {
            providers: Providers::new(options.workers, options.per_origin_max, options.per_origin_rate),
            guard: PruneGuard::default(),
            refusals: HashMap::new(),
            notices: Vec::new(),
            told: Vec::new(),
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self, provider: &str, priority: Priority, now_us: i64) {
        self.providers.begin(provider, priority, now_us);
    }

    /// An attempt ended without anything to be learnt of the provider.
    pub fn forget(&mut self, provider: &str, priority: Priority) {
        self.providers.forget(provider, priority);
    }

    /// An attempt ended.
    pub fn end(&mut self, attempt: &Attempt<'_>, verdict: &Verdict) -> Judged {
        let Attempt { provider, priority, now_us, random, .. } = *attempt;
        self.providers.end(provider, priority, verdict, now_us, random);
        let said = match verdict {
            Verdict::Delivered { .. } => Said::Delivered,
            Verdict::DropEndpoint { certain, .. } => Said::Gone { certain: *certain, proven: attempt.proven },
            _ => Said::Other,
        };
        let was_frozen = self.guard.is_frozen(provider);
        let doubt = match verdict.status() {
            Some(_) => self.guard.judge(provider, said).err(),
            None => None,
        };
        if doubt == Some(Doubt::Burst) && !was_frozen {
            self.tell(provider, Trouble::PruningFrozen, verdict.reason(), now_us);
        }
        let known_refusal = self.refusal(provider, verdict, now_us);
        self.guard.retain(|provider| self.providers.knows(provider));
        self.refusals.retain(|provider, _| self.providers.knows(provider));
        Judged { doubt: doubt.map(Doubt::text), known_refusal }
    }

    /// Counts what becomes of an attempt.
    pub fn count(&mut self, provider: &str, next: &Next) {
        self.providers.count(provider, |counts: &mut Counts| match next {
            Next::Delivered => counts.delivered += 1,
            Next::RetryAt(_) => counts.retried += 1,
            Next::Dead(_) => counts.dead += 1,
            Next::Dropped { .. } => counts.dropped += 1,
        });
    }

    fn refusal(&mut self, provider: &str, verdict: &Verdict, now_us: i64) -> bool {
        match verdict {
            Verdict::Misconfigured { reason, .. } => {
                let before = self.refusals.insert(provider.to_owned(), reason.clone());
                let known = before.as_ref() == Some(reason);
                if !known {
                    self.tell(provider, Trouble::Refuses, reason, now_us);
                }
                known
            }
            _ => {
                if verdict.status().is_some() {
                    self.refusals.remove(provider);
                }
                false
            }
        }
    }

    fn tell(&mut self, provider: &str, trouble: Trouble, reason: &str, now_us: i64) {
        self.told.retain(|(_, _, at)| (0..NOTICE_SPAN_US).contains(&(now_us - at)));
        let known = self.told.iter().any(|(other, what, _)| other == provider && *what == trouble);
        // Hosts have points, the others are this server's own.
        let ours =
            !provider.contains(['.', ':', '[']) || SERVICES.iter().any(|end| provider.ends_with(&format!(".{end}")));
        if ours && !known && self.told.len() < NOTICES_MAX {
            let (provider, reason) = (provider.to_owned(), reason.to_owned());
            self.told.push((provider.clone(), trouble, now_us));
            self.notices.push(OperatorNotice { provider, trouble, reason, time_us: now_us });
        }
    }

    /// What admins are to be told. They are kept until [`stored`](Self::stored).
    pub fn notices(&self) -> Vec<OperatorNotice> {
        self.notices.clone()
    }

    /// The first `count` notices are in the store.
    pub fn stored(&mut self, count: usize) {
        self.notices.drain(..count.min(self.notices.len()));
    }

    /// Room for attempts: of all, at providers that are named, and at those that are not.
    pub fn room(&mut self, now_us: i64) -> (Slots, Vec<(String, Slots)>, Slots) {
        self.providers.refill(now_us);
        (self.providers.free(), self.providers.busy(now_us), self.providers.unknown())
    }

    /// When there may be room where there is none.
    pub fn next_us(&self, now_us: i64) -> Option<i64> {
        self.providers.next_us(now_us)
    }

    /// How the providers are, by name.
    pub fn view(&self, now_us: i64) -> Vec<ProviderState> {
        let all = self.providers.view(now_us).into_iter().map(|view| ProviderState {
            refuses: self.refusals.get(&view.provider).cloned(),
            frozen: self.guard.is_frozen(&view.provider),
            view,
        });
        all.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn board() -> Board {
        Board::new(&OutboxOptions {
            workers: 8,
            per_origin_max: 4,
            per_origin_rate: 1000,
            bulk_queue_max: 100,
            lease: Duration::from_secs(60),
            attempts_max: 10,
            history_per_user: 100,
            endpoints_per_user_max: 10,
            endpoint_idle_max: Duration::from_secs(86_400),
        })
    }

    fn end(board: &mut Board, provider: &str, verdict: &Verdict) -> Judged {
        board.begin(provider, Priority::Normal, 0);
        let attempt = Attempt { provider, priority: Priority::Normal, proven: true, now_us: 0, random: 0 };
        board.end(&attempt, verdict)
    }

    fn refuses(reason: &str) -> Verdict {
        Verdict::Misconfigured { reason: reason.into(), status: Some(403) }
    }

    #[test]
    fn admins_hear_once_an_hour_that_a_provider_refuses() {
        let mut board = board();
        assert!(!end(&mut board, "apns", &refuses("InvalidProviderToken")).known_refusal);
        assert!(end(&mut board, "apns", &refuses("InvalidProviderToken")).known_refusal);
        end(&mut board, "apns", &refuses("BadTopic"));
        assert_eq!(board.view(0)[0].refuses.as_deref(), Some("BadTopic"));
        end(&mut board, "fcm", &refuses("SENDER_ID_MISMATCH"));
        let told: Vec<_> = board.notices().into_iter().map(|n| (n.provider, n.reason)).collect();
        assert_eq!(
            told,
            [("apns", "InvalidProviderToken"), ("fcm", "SENDER_ID_MISMATCH")]
                .map(|(p, r)| (p.to_owned(), r.to_owned()))
        );
        board.stored(1);
        assert_eq!(board.notices().len(), 1);
        end(&mut board, "apns", &Verdict::Delivered { provider_id: None, status: 200 });
        assert_eq!(board.view(0)[0].refuses, None);
        board.begin("apns", Priority::Normal, NOTICE_SPAN_US);
        let late =
            Attempt { provider: "apns", priority: Priority::Normal, proven: true, now_us: NOTICE_SPAN_US, random: 0 };
        board.end(&late, &refuses("InvalidProviderToken"));
        assert_eq!(board.notices().len(), 2, "an hour later it is news");
    }

    #[test]
    fn hosts_that_users_name_cannot_make_admins_read_anything() {
        let mut board = board();
        for host in ["evil.example", "evilmozilla.com", "127.0.0.1", "[2606:4700::1111]"] {
            end(&mut board, host, &refuses("read this"));
        }
        assert_eq!(board.notices(), []);
        end(&mut board, "web.push.apple.com", &refuses("BadJwtToken"));
        assert_eq!(board.notices().len(), 1);
    }

    #[test]
    fn admins_hear_once_of_a_provider_that_calls_everything_gone() {
        let mut board = board();
        let gone = Verdict::DropEndpoint { reason: "Unregistered".into(), since_us: None, status: 410, certain: true };
        let doubts: Vec<bool> = (0..20).map(|_| end(&mut board, "apns", &gone).doubt.is_some()).collect();
        assert!(!doubts[0] && doubts[19]);
        assert_eq!(board.notices().iter().filter(|n| n.trouble == Trouble::PruningFrozen).count(), 1);
        assert!(board.view(0)[0].frozen);
        for _ in 0..100 {
            end(&mut board, "apns", &Verdict::Delivered { provider_id: None, status: 200 });
        }
        assert!(!board.view(0)[0].frozen, "it delivers again");
    }
}
