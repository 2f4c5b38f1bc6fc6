//! How often one address or user may do something.

use governor::clock::{Clock, DefaultClock, ReasonablyRealtime};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Addresses that have their full quota again are forgotten once in so many attempts. An attacker with endless addresses
/// thus takes memory for those of the last minute.
const PRUNE_EVERY: u32 = 1_000;

/// Counts attempts that cost the server a password hash or let secrets be guessed.
pub struct Attempts<C: Clock = DefaultClock> {
    limiter: RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<C::Instant>>,
    checked: AtomicU32,
    clock: C,
}

impl Attempts {
    /// Allows so many per address and minute.
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self::with_clock(most, DefaultClock::default())
    }
}

impl<C: Clock + Clone + ReasonablyRealtime> Attempts<C> {
    fn with_clock(most: NonZeroU32, clock: C) -> Self {
        let limiter = RateLimiter::dashmap_with_clock(Quota::per_minute(most), clock.clone());
        Self { limiter, checked: AtomicU32::new(0), clock }
    }

    /// Counts an attempt, to be done before anything expensive; the error is how long to wait.
    pub fn check(&self, peer: IpAddr) -> Result<(), Duration> {
        if self.checked.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(&network(peer)).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Counts what may be done so often only with one thing or by one user. There are not more entries than there were such things in
/// the last minutes.
pub struct PerKey<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
}

impl<K: Clone + Eq + Hash> PerKey<K> {
    /// Allows so many per key and minute.
    pub fn per_minute(most: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_minute(most)) }
    }

    /// Allows so many per key and hour.
    pub fn per_hour(most: NonZeroU32) -> Self {
        Self { limiter: RateLimiter::keyed(Quota::per_hour(most)) }
    }

    /// Counts one; the error is how long to wait.
    pub fn check(&self, key: &K) -> Result<(), Duration> {
        // Those that are gone are forgotten with those that are quiet.
        self.limiter.retain_recent();
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// Whom an address stands for: a host has a whole IPv6 /64 to choose its addresses from.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;
    use governor::nanos::Nanos;

    /// The library's clock for tests, allowed where one that runs is wanted.
    #[derive(Debug, Clone, Default)]
    struct TestClock(FakeRelativeClock);

    impl Clock for TestClock {
        type Instant = Nanos;
        fn now(&self) -> Nanos {
            self.0.now()
        }
    }

    impl ReasonablyRealtime for TestClock {}

    fn attempts(most: u32) -> (Attempts<TestClock>, FakeRelativeClock) {
        let clock = TestClock::default();
        (Attempts::with_clock(NonZeroU32::new(most).expect("not zero"), clock.clone()), clock.0)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_share_their_attempts() {
        let (attempts, _) = attempts(2);
        attempts.check(address("2001:db8::1")).expect("the first");
        attempts.check(address("2001:db8::ffff:0:0:2")).expect("the second");
        attempts.check(address("2001:db8::3")).expect_err("the third of the network");
        attempts.check(address("2001:db8:0:1::1")).expect("another network");
    }

    #[test]
    fn an_ipv4_address_counts_alone_however_it_is_written() {
        let (attempts, clock) = attempts(1);
        attempts.check(address("192.0.2.1")).expect("the first");
        let wait = attempts.check(address("::ffff:192.0.2.1")).expect_err("the same address");
        attempts.check(address("192.0.2.2")).expect("another one");
        clock.advance(wait);
        attempts.check(address("192.0.2.1")).expect("after the time that was named");
    }

    #[test]
    fn addresses_that_were_allowed_are_forgotten_in_time() {
        let (attempts, clock) = attempts(2);
        for n in 0..PRUNE_EVERY * 5 / 2 {
            clock.advance(Duration::from_secs(60));
            attempts.check(IpAddr::V4(n.into())).expect("a fresh address");
        }
        assert!(attempts.limiter.len() <= PRUNE_EVERY as usize, "{} are kept", attempts.limiter.len());
    }
}
