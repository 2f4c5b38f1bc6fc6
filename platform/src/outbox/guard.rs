//! A wrong environment makes a provider call every endpoint dead. So endpoints are removed only while most of the
//! provider's answers are of another kind, and on words that a wrong environment would bring, too, only where something was
//! delivered.

use std::collections::{HashMap, VecDeque};

/// How many answers per provider are remembered.
const REMEMBERED: usize = 100;
/// So many dead ones are no pattern yet.
const DEAD_MIN: usize = 3;
/// From then on removing stops if more than one of so many answers is dead.
const SHARE: usize = 5;

/// What a provider said of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It took the message.
    Delivered,
    /// Something about the message or itself.
    Other,
    /// The endpoint is gone. `certain`: a wrong environment would be answered otherwise; `proven`: something was delivered to
    /// this endpoint before.
    Gone { certain: bool, proven: bool },
}

/// Why a word that an endpoint is gone is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// A wrong environment would be answered alike, and nothing shows that it is the right one.
    Unproven,
    /// So many do not die at once.
    Burst,
}

impl Doubt {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unproven => {
                "nothing was delivered by this provider yet, so environment, key or app may be the wrong ones"
            }
            Self::Burst => {
                "the provider calls very many endpoints gone, so environment, key or app may be the wrong ones"
            }
        }
    }
}

#[derive(Debug, Default)]
struct Answers {
    /// The newest: true for "this endpoint is gone".
    newest: VecDeque<bool>,
    delivered: bool,
}

impl Answers {
    fn is_burst(&self) -> bool {
        let dead = self.newest.iter().filter(|gone| **gone).count();
        dead >= DEAD_MIN && dead * SHARE > self.newest.len()
    }
}

/// The newest answers per provider.
#[derive(Debug, Default)]
pub struct PruneGuard {
    answers: HashMap<String, Answers>,
}

impl PruneGuard {
    /// Takes note of an answer; for one that calls an endpoint gone, says why not to believe it.
    pub fn judge(&mut self, provider: &str, said: Said) -> Result<(), Doubt> {
        let answers = self.answers.entry(provider.to_owned()).or_default();
        if answers.newest.len() >= REMEMBERED {
            answers.newest.pop_front();
        }
        answers.newest.push_back(matches!(said, Said::Gone { .. }));
        answers.delivered |= said == Said::Delivered;
        match said {
            Said::Gone { certain: false, proven: false } if !answers.delivered => Err(Doubt::Unproven),
            Said::Gone { .. } if answers.is_burst() => Err(Doubt::Burst),
            _ => Ok(()),
        }
    }

    /// True if so many of a provider's answers call endpoints gone that it is not believed.
    pub fn is_frozen(&self, provider: &str) -> bool {
        self.answers.get(provider).is_some_and(Answers::is_burst)
    }

    /// Forgets providers that are not needed any more.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.answers.retain(|provider, _| keep(provider));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTAIN: Said = Said::Gone { certain: true, proven: false };
    const DOUBTFUL: Said = Said::Gone { certain: false, proven: false };

    #[test]
    fn a_wrong_environment_removes_no_endpoint() {
        let mut guard = PruneGuard::default();
        assert!((0..15).all(|_| guard.judge("apns", DOUBTFUL).is_err()), "nothing was ever delivered");
        let mut guard = PruneGuard::default();
        let proven = Said::Gone { certain: false, proven: true };
        let removed = (0..15).filter(|_| guard.judge("apns", proven).is_ok()).count();
        assert_eq!(removed, DEAD_MIN - 1, "these worked before, but so many do not die at once");
        assert!(guard.judge("fcm", CERTAIN).is_ok(), "another provider is judged by its own answers");
    }

    #[test]
    fn a_single_dead_endpoint_is_believed() {
        let mut guard = PruneGuard::default();
        assert!(guard.judge("one phone only", CERTAIN).is_ok());
        guard.judge("many", Said::Delivered).expect("no word about an endpoint");
        assert!(guard.judge("many", DOUBTFUL).is_ok(), "the environment is right: something was delivered");
        for _ in 0..REMEMBERED {
            guard.judge("many", Said::Other).expect("no word about an endpoint");
        }
        assert!((0..REMEMBERED / SHARE).all(|_| guard.judge("many", DOUBTFUL).is_ok()));
        assert!(guard.judge("many", DOUBTFUL).is_err(), "more than a fifth is too much");
    }
}
