//! Faults to make: how many, how often, for how long.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Faults that wait; more are refused.
const FAULTS_MAX: usize = 100;
/// Longest time for which a fault is made.
const SECONDS_MAX: f64 = 86_400.0;
/// Longest delay of an answer.
const DELAY_MS_MAX: u64 = 600_000;
/// What faults can be made of.
pub const PROVIDERS: [&str; 6] = ["webpush", "apns", "fcm", "fcm_token", "email", "webhook"];

/// A fault to make. Without `seconds` it hits the next `count` requests (1), with it all of that time, at most `count`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// One of [`PROVIDERS`].
    pub provider: String,
    pub kind: FaultKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default)]
    pub delay_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Retry-After as it is sent: seconds or a date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// How many requests it hits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Which share of the requests it hits, by chance: above 0, at most 1 (which is the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// Answers with a status.
    Status,
    /// Answers late.
    Delay,
    /// Answers with something else than an answer.
    Nonsense,
    /// Answers with a body that is far too large.
    Huge,
    /// Ends the connection without an answer.
    Reset,
    /// Announces the connection's end; requests under way are answered.
    Goaway,
    /// Never answers.
    Stall,
    /// Says that the endpoint is gone, as this provider says it.
    Gone,
}

struct Planned {
    fault: Fault,
    left: Option<u32>,
    until: Option<Instant>,
}

impl Planned {
    fn is_over(&self, now: Instant) -> bool {
        self.left == Some(0) || self.until.is_some_and(|until| until <= now)
    }
}

/// Everything that is planned.
#[derive(Default)]
pub struct Faults(Vec<Planned>);

impl Faults {
    /// Plans a fault.
    pub fn plan(&mut self, fault: Fault) -> Result<(), (u16, &'static str)> {
        if !PROVIDERS.contains(&fault.provider.as_str()) {
            return Err((400, "provider must be webpush, apns, fcm, fcm_token, email or webhook"));
        }
        if fault.status.is_some_and(|status| !(200..600).contains(&status)) || fault.delay_ms > DELAY_MS_MAX {
            return Err((400, "status must be 200-599 and delay_ms at most 600000"));
        }
        if fault.share.is_some_and(|share| !(share > 0.0 && share <= 1.0)) {
            return Err((400, "share must be above 0 and at most 1"));
        }
        if fault.seconds.is_some_and(|seconds| !(seconds > 0.0 && seconds <= SECONDS_MAX)) {
            return Err((400, "seconds must be above 0 and at most 86400"));
        }
        let now = Instant::now();
        self.0.retain(|planned| !planned.is_over(now));
        if self.0.len() >= FAULTS_MAX {
            return Err((429, "too many faults wait"));
        }
        let until = fault.seconds.map(|seconds| now + Duration::from_secs_f64(seconds));
        let left = fault.count.or_else(|| until.is_none().then_some(1));
        self.0.push(Planned { fault, left, until });
        Ok(())
    }

    /// The fault for a request, if one hits it: the first planned goes first. `chance`: from 0 to 1, made anew at each call.
    pub fn hit(&mut self, provider: &str, mut chance: impl FnMut() -> f64) -> Option<Fault> {
        let now = Instant::now();
        let hits = |planned: &&mut Planned| {
            let fault = &planned.fault;
            fault.provider == provider && !planned.is_over(now) && fault.share.is_none_or(|share| chance() < share)
        };
        let planned = self.0.iter_mut().find(hits)?;
        planned.left = planned.left.map(|left| left.saturating_sub(1));
        Some(planned.fault.clone())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What is still to come: of each fault what is left of count and seconds.
    pub fn waiting(&self) -> Vec<Fault> {
        let now = Instant::now();
        let waiting = self.0.iter().filter(|planned| !planned.is_over(now));
        let left = |planned: &Planned| {
            let seconds = planned.until.map(|until| (until - now).as_secs_f64().ceil());
            Fault { count: planned.left, seconds, ..planned.fault.clone() }
        };
        waiting.map(left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> Fault {
        serde_json::from_str(text).expect("a fault")
    }

    #[test]
    fn a_fault_hits_so_many_requests_or_a_share_of_them_for_a_time() {
        let mut faults = Faults::default();
        faults.plan(fault(r#"{"provider":"apns","kind":"reset"}"#)).expect("planned");
        faults.plan(fault(r#"{"provider":"apns","kind":"stall","share":0.5,"seconds":600}"#)).expect("planned");
        assert!(faults.hit("fcm", || 0.0).is_none());
        let kinds: Vec<_> = (0..4).map(|n| faults.hit("apns", || f64::from(n) / 4.0).map(|fault| fault.kind)).collect();
        assert_eq!(kinds, [Some(FaultKind::Reset), Some(FaultKind::Stall), None, None]);
        let waiting = faults.waiting();
        assert_eq!((waiting.len(), waiting[0].count, waiting[0].kind), (1, None, FaultKind::Stall));
        faults.clear();
        assert!(faults.hit("apns", || 0.0).is_none());
    }

    #[test]
    fn what_cannot_be_made_is_refused() {
        for wrong in [
            r#"{"provider":"pigeon","kind":"reset"}"#,
            r#"{"provider":"apns","kind":"status","status":700}"#,
            r#"{"provider":"apns","kind":"stall","share":0}"#,
            r#"{"provider":"apns","kind":"stall","share":1.5}"#,
            r#"{"provider":"apns","kind":"stall","seconds":-1}"#,
            r#"{"provider":"apns","kind":"delay","delay_ms":600001}"#,
        ] {
            assert!(Faults::default().plan(fault(wrong)).is_err_and(|(status, _)| status == 400), "{wrong}");
        }
    }
}
