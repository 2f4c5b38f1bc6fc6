//! What follows from a provider's answer.

/// The first retry comes within this time.
pub const BACKOFF_MIN_US: i64 = 1_000_000;
/// No retry of our own choice comes later than this.
pub const BACKOFF_MAX_US: i64 = 600_000_000;
/// A provider that wants to be left alone for longer is asked again after this: a day.
pub const RETRY_AFTER_MAX_US: i64 = 86_400_000_000;

/// A provider's answer, one variant per reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The provider has taken it.
    Delivered {
        /// What the provider calls it.
        provider_id: Option<String>,
        /// What the provider answered.
        status: u16,
    },
    /// Try this message again later.
    Retry {
        /// Not before so many µs from now, if the provider said so.
        after_us: Option<i64>,
        /// What happened, for people.
        reason: String,
        /// What the provider answered, if it did.
        status: Option<u16>,
        /// The message may have been taken all the same.
        unclear: bool,
    },
    /// The endpoint is gone.
    DropEndpoint {
        /// What the provider said.
        reason: String,
        /// Since when the provider holds it for gone, µs since the Unix epoch; None = now.
        since_us: Option<i64>,
        /// What the provider answered.
        status: u16,
        /// False if a wrong environment or app of this server's would be answered alike.
        certain: bool,
    },
    /// This message will never be taken; others may.
    DropMessage {
        /// What the provider said.
        reason: String,
        /// What the provider answered, if it was asked.
        status: Option<u16>,
    },
    /// The provider as a whole does not work: leave it alone for a while.
    ProviderDown {
        /// Not before so many µs from now, if the provider said so.
        after_us: Option<i64>,
        /// What happened, for people.
        reason: String,
        /// What the provider answered, if it did.
        status: Option<u16>,
    },
    /// The provider refuses this server: keys, clock or configuration need a human.
    Misconfigured {
        /// What the provider said.
        reason: String,
        /// What the provider answered, if it was asked.
        status: Option<u16>,
    },
}

impl Verdict {
    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Retry { .. } => "retry",
            Self::DropEndpoint { .. } => "drop_endpoint",
            Self::DropMessage { .. } => "drop_message",
            Self::ProviderDown { .. } => "provider_down",
            Self::Misconfigured { .. } => "misconfigured",
        }
    }

    /// The provider's status, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered { status, .. } | Self::DropEndpoint { status, .. } => Some(*status),
            Self::Retry { status, .. }
            | Self::DropMessage { status, .. }
            | Self::ProviderDown { status, .. }
            | Self::Misconfigured { status, .. } => *status,
        }
    }

    /// The same, to be changed.
    pub fn reason_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Delivered { .. } => None,
            Self::Retry { reason, .. }
            | Self::DropEndpoint { reason, .. }
            | Self::DropMessage { reason, .. }
            | Self::ProviderDown { reason, .. }
            | Self::Misconfigured { reason, .. } => Some(reason),
        }
    }

    /// What happened, for people; empty if all went well.
    pub fn reason(&self) -> &str {
        match self {
            Self::Delivered { .. } => "",
            Self::Retry { reason, .. }
            | Self::DropEndpoint { reason, .. }
            | Self::DropMessage { reason, .. }
            | Self::ProviderDown { reason, .. }
            | Self::Misconfigured { reason, .. } => reason,
        }
    }
}

/// The attempt that a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// Its number, from 1.
    pub attempt: u32,
    /// The last number.
    pub attempts_max: u32,
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// When the message is not worth telling any more.
    pub expires_us: i64,
    /// When the endpoint was last registered.
    pub registered_us: i64,
    /// Any number, from chance: spreads the retries.
    pub random: u64,
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Delivered,
    /// Try again then.
    RetryAt(i64),
    /// Given up, could be tried anew by hand.
    Dead(String),
    /// Refused for good.
    Dropped {
        /// Why, for people.
        reason: String,
        /// The endpoint goes, too.
        remove_endpoint: bool,
    },
}

/// How long to wait after an attempt: anything between 0 and a bound that doubles from [`BACKOFF_MIN_US`] to
/// [`BACKOFF_MAX_US`] ("full jitter"), so that many messages which failed together do not come back together.
pub fn backoff_us(attempt: u32, random: u64) -> i64 {
    let doublings = attempt.saturating_sub(1).min(20);
    let bound = BACKOFF_MIN_US.saturating_mul(1 << doublings).min(BACKOFF_MAX_US);
    // The bound is positive and the rest below it, so both conversions are exact.
    i64::try_from(random % (bound.unsigned_abs() + 1)).unwrap_or(bound)
}

/// Decides. Only an explicit word of the provider removes an endpoint, and only if the endpoint was not registered anew
/// since the time that the provider speaks of.
pub fn settle(verdict: &Verdict, this: &Try) -> Next {
    let (after_us, reason) = match verdict {
        Verdict::Delivered { .. } => return Next::Delivered,
        Verdict::DropMessage { reason, .. } => {
            return Next::Dropped { reason: reason.clone(), remove_endpoint: false };
        }
        Verdict::DropEndpoint { reason, since_us, .. } => {
            let remove_endpoint = since_us.is_none_or(|since| this.registered_us <= since);
            return Next::Dropped { reason: reason.clone(), remove_endpoint };
        }
        Verdict::Retry { after_us, reason, .. } | Verdict::ProviderDown { after_us, reason, .. } => (*after_us, reason),
        // Nothing gets better by asking soon.
        Verdict::Misconfigured { reason, .. } => (Some(60_000_000), reason),
    };
    if this.attempt >= this.attempts_max {
        return Next::Dead(format!("given up after {} attempts; the last: {reason}", this.attempt));
    }
    let asked = after_us.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_US);
    // What the provider asked for, and our own spread on top of it.
    let at = this.now_us.saturating_add(asked).saturating_add(backoff_us(this.attempt, this.random));
    if at >= this.expires_us {
        return Next::Dead(format!("its time was over before the next attempt; the last: {reason}"));
    }
    Next::RetryAt(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: i64 = 1_000_000;

    fn this() -> Try {
        Try { attempt: 1, attempts_max: 5, now_us: 1000 * S, expires_us: 2000 * S, registered_us: 500 * S, random: 0 }
    }

    fn retry(after_us: Option<i64>) -> Verdict {
        Verdict::Retry { after_us, reason: "busy".into(), status: Some(503), unclear: false }
    }

    #[test]
    fn what_the_provider_asks_for_is_waited_at_least() {
        assert_eq!(settle(&retry(Some(30 * S)), &this()), Next::RetryAt(1030 * S));
        let late = Try { random: 1, ..this() };
        assert_eq!(settle(&retry(Some(30 * S)), &late), Next::RetryAt(1030 * S + 1));
    }

    #[test]
    fn nothing_is_tried_for_ever_or_beyond_its_time() {
        let last = Try { attempt: 5, ..this() };
        assert_eq!(settle(&retry(None), &last), Next::Dead("given up after 5 attempts; the last: busy".into()));
        let late = Try { now_us: 1990 * S, ..this() };
        assert!(matches!(settle(&retry(Some(10 * S)), &late), Next::Dead(why) if why.contains("time was over")));
    }

    #[test]
    fn an_endpoint_registered_after_the_time_that_the_provider_speaks_of_stays() {
        let gone =
            |since_us| Verdict::DropEndpoint { reason: "Unregistered".into(), since_us, status: 410, certain: true };
        let removes = |since| match settle(&gone(since), &this()) {
            Next::Dropped { remove_endpoint, .. } => remove_endpoint,
            other => panic!("{other:?}"),
        };
        assert!(removes(None));
        assert!(removes(Some(500 * S)));
        assert!(!removes(Some(499 * S)));
    }

    proptest! {
        #[test]
        fn the_spread_is_within_a_bound_that_doubles(attempt in 1u32..100, random: u64) {
            let wait = backoff_us(attempt, random);
            prop_assert!((0..=BACKOFF_MAX_US).contains(&wait));
            prop_assert!(attempt > 10 || wait <= BACKOFF_MIN_US << (attempt - 1));
        }
    }
}
