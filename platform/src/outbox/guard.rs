//! A wrong environment makes a provider call every endpoint dead. So endpoints are removed only while most of the
//! provider's answers are of another kind.

use std::collections::{HashMap, VecDeque};

/// How many answers per provider are remembered, and of how many dead ones in them removing stops.
const REMEMBERED: usize = 100;
const DEAD_MAX: usize = 20;

/// The newest answers per provider: true for "this endpoint is gone".
#[derive(Debug, Default)]
pub struct PruneGuard {
    answers: HashMap<String, VecDeque<bool>>,
}

impl PruneGuard {
    /// Takes note of an answer; for one that calls an endpoint gone, says whether to believe it.
    pub fn judge(&mut self, provider: &str, gone: bool) -> bool {
        let answers = self.answers.entry(provider.to_owned()).or_default();
        if answers.len() >= REMEMBERED {
            answers.pop_front();
        }
        answers.push_back(gone);
        answers.iter().filter(|gone| **gone).count() <= DEAD_MAX
    }

    /// Forgets providers that are not needed any more.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.answers.retain(|provider, _| keep(provider));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_dead_endpoints_is_not_believed_and_single_ones_are() {
        let mut guard = PruneGuard::default();
        assert!((0..DEAD_MAX).all(|_| guard.judge("apns", true)));
        assert!(!guard.judge("apns", true));
        assert!(guard.judge("fcm", true), "another provider is judged by its own answers");
        for _ in 0..REMEMBERED {
            guard.judge("apns", false);
        }
        assert!(guard.judge("apns", true), "after many good answers a dead endpoint is believed again");
    }
}
