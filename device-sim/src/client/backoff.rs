use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::SmallRng};

const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);

/// Full-jitter back-off: a random wait between nothing and a bound that doubles from 0.5 s to 30 s. The randomness keeps
/// a fleet from coming back all at once.
#[derive(Debug)]
pub(crate) struct Backoff {
    rng: SmallRng,
    bound: Duration,
}

impl Backoff {
    pub(crate) fn new(seed: u64) -> Backoff {
        Backoff { rng: SmallRng::seed_from_u64(seed), bound: FIRST }
    }

    /// After progress: the next wait is short again.
    pub(crate) fn reset(&mut self) {
        self.bound = FIRST;
    }

    /// How long to wait now, at least `at_least`.
    pub(crate) fn next(&mut self, at_least: Duration) -> Duration {
        let wait = self.bound.mul_f64(self.rng.random::<f64>());
        self.bound = (self.bound * 2).min(MAX);
        // What the server asks for is spread out too.
        if wait < at_least { at_least + wait } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_thirty_seconds_and_honour_the_server() {
        let mut backoff = Backoff::new(1);
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next(Duration::ZERO)).collect();
        for (attempt, wait) in waits.iter().enumerate() {
            let bound = (FIRST * (1 << attempt.min(6))).min(MAX);
            assert!(*wait <= bound, "wait {attempt} is {wait:?}, bound {bound:?}");
        }
        assert!(waits.iter().max() > Some(&Duration::from_secs(5)));
        backoff.reset();
        let asked = Duration::from_secs(7);
        let wait = backoff.next(asked);
        assert!(wait >= asked && wait <= asked + FIRST, "{wait:?}");
    }

    #[test]
    fn devices_with_different_seeds_do_not_come_back_together() {
        assert_ne!(Backoff::new(1).next(Duration::ZERO), Backoff::new(2).next(Duration::ZERO));
        assert_eq!(Backoff::new(3).next(Duration::ZERO), Backoff::new(3).next(Duration::ZERO));
    }
}
