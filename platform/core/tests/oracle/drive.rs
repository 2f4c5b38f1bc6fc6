//! The same cases through Pulsewire.

use super::promtool::{Case, INTERVAL_S, LOOKBACK_STEPS, Point};
use pulsewire_core::alert::{
    Authorship, Compiled, Condition, Hold, RuleDocument, Said, Saying, Timing, Trial, TrialLimits,
};
use pulsewire_core::block::ValueRef;
use pulsewire_core::device::Device;
use pulsewire_core::expr::Truth;
use pulsewire_core::ids::{DeviceId, DeviceKey, RuleId, UserName};

const S: i64 = 1_000_000;

/// What Prometheus' `ALERTS` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    None,
    Pending,
    Firing,
}

impl State {
    pub fn from_char(c: char) -> Self {
        match c {
            'P' => Self::Pending,
            'F' => Self::Firing,
            _ => Self::None,
        }
    }
}

pub fn text(states: &[State]) -> String {
    let char = |state: &State| match state {
        State::None => '-',
        State::Pending => 'P',
        State::Firing => 'F',
    };
    states.iter().map(char).collect()
}

/// How samples are given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feed {
    /// One for each evaluation at which Prometheus sees a value.
    Aligned,
    /// Those that came; a sampled rule.
    AsTheyCome,
    /// Those that came; a rule over values that hold until they change.
    OnChange,
    /// As `OnChange`, and a value is missing after the lookback.
    OnChangeUntilMissing,
    /// Those that came, as f32.
    F32,
}

fn timing(case: &Case) -> Timing {
    Timing { hold: Hold::For(i64::from(case.hold_s) * S), keep_firing_us: i64::from(case.keep_s) * S, gap_max_us: None }
}

fn holds(case: &Case, value: f64) -> bool {
    match case.comparison {
        ">" => value > case.threshold,
        ">=" => value >= case.threshold,
        "<" => value < case.threshold,
        _ => value <= case.threshold,
    }
}

/// The state machine alone, told at each evaluation what Prometheus sees.
pub fn by_condition(case: &Case) -> Vec<State> {
    let (timing, mut condition) = (timing(case), Condition::default());
    let step = |step: usize| {
        let holds = case.seen_at(step).is_some_and(|value| holds(case, value));
        let said = Said { when: Truth::from(holds), clear: Truth::from(!holds) };
        let saying: Saying = [None, Some(said), None];
        condition.step(&timing, None, step as i64 * i64::from(INTERVAL_S) * S, true, true, &saying);
        match (condition.firing(), condition.pending()) {
            (Some(_), _) => State::Firing,
            (None, Some(_)) => State::Pending,
            (None, None) => State::None,
        }
    };
    (0..case.values.len()).map(step).collect()
}

pub fn by_held_sampled(case: &Case) -> Vec<State> {
    by_held(case, Feed::Aligned)
}

pub fn by_held_on_change(case: &Case) -> Vec<State> {
    by_held(case, Feed::OnChangeUntilMissing)
}

fn rule(case: &Case, feed: Feed) -> Compiled {
    let Case { comparison, threshold, hold_s, keep_s, .. } = case;
    let when = match feed {
        // At exactly five minutes Prometheus still sees a value; at the next evaluation it does not.
        Feed::OnChangeUntilMissing => {
            let missing_s = INTERVAL_S as usize * (LOOKBACK_STEPS + 1);
            format!("t {comparison} {threshold} && !missing(t, {missing_s}s)")
        }
        _ => format!("t {comparison} {threshold}"),
    };
    let mode = match feed {
        Feed::OnChange | Feed::OnChangeUntilMissing => "on_change",
        Feed::Aligned | Feed::AsTheyCome | Feed::F32 => "sampled",
    };
    let document = RuleDocument {
        name: "case".into(),
        when: Some(when),
        hold: Some(format!("{hold_s}s")),
        keep_firing_for: Some(format!("{keep_s}s")),
        mode: Some(mode.into()),
        staleness: Some("300s".into()),
        flapping: Some(false),
        ..RuleDocument::default()
    };
    let by = Authorship {
        id: RuleId::parse("case").expect("valid"),
        version: 1,
        created_us: 0,
        updated_us: 0,
        updated_by: UserName::parse("kim").expect("valid"),
    };
    Compiled::new(document.rule(by).expect("a rule"), 900 * S).expect("compiles")
}

fn device() -> Device {
    Device { name: "d".into(), ..Device::named(DeviceKey(1), DeviceId::parse("d").expect("valid")) }
}

/// A whole rule on a device, sample by sample.
pub fn by_held(case: &Case, feed: Feed) -> Vec<State> {
    let (rule, device) = (rule(case, feed), device());
    let limits = TrialLimits {
        lateness_max_us: 60 * S,
        ahead_max_us: 60 * S,
        log_max: 1_000,
        spans_max: 1_000,
        wakes_max: 10_000,
    };
    let mut trial = Trial::new(&rule, &device, 0, limits);
    let step = |step: usize| {
        let now_us = step as i64 * i64::from(INTERVAL_S) * S;
        let value = match (feed, case.values[step]) {
            (Feed::Aligned, _) => case.seen_at(step),
            (_, Point::Value(value)) => Some(value),
            (_, Point::Missing | Point::Stale) => None,
        };
        if let Some(value) = value {
            trial.sample(now_us, now_us, &[(0, ValueRef::F64(value), feed == Feed::F32)]);
        }
        trial.advance(now_us);
        match (trial.held().alert(), trial.held().pending()) {
            (Some(_), _) => State::Firing,
            (None, Some(_)) => State::Pending,
            (None, None) => State::None,
        }
    };
    (0..case.values.len()).map(step).collect()
}
