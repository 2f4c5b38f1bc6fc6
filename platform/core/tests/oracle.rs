//! Prometheus as the judge: random rules and series, and the same state at every step.
//!
//! `promtool test rules` (Debian package `prometheus`, 2.42 or newer) evaluates the same thresholds, `for` and `keep_firing_for`
//! over the same series, and compares its `ALERTS` (pending and firing) with what Pulsewire says at each evaluation. Series have gaps
//! (`_`) and stale markers (`stale`).
//!
//! Where Pulsewire differs it is on purpose, and each difference has a test of its own: `differs_from_prometheus_in_…`.
//!
//! Without `promtool` these tests fail, unless `PULSEWIRE_WITHOUT_PROMTOOL=1`.

#[path = "oracle/drive.rs"]
mod drive;
#[path = "oracle/promtool.rs"]
mod promtool;

use drive::{State, by_condition, by_held_on_change, by_held_sampled};
use promtool::{Case, INTERVAL_S, LOOKBACK_STEPS, Point, check, is_absent_from_here};

/// The same numbers in every run.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const STEPS: usize = 48;

fn case(rng: &mut Rng) -> Case {
    let comparison = [">", ">=", "<", "<="][rng.below(4) as usize];
    // Also times that are no multiple of the evaluation interval.
    let span = |rng: &mut Rng| [0, 0, 1, 30, 31, 45, 60, 90, 119, 150, 300, 600][rng.below(12) as usize];
    let (hold_s, keep_s) = (span(rng), span(rng));
    let gaps = rng.below(4);
    let steady = 1 + rng.below(8);
    let mut values = Vec::with_capacity(STEPS);
    let (mut value, mut gap) = (rng.below(7) as f64 - 3.0, None);
    for _ in 0..STEPS {
        if let Some((left, point)) = gap.take_if(|(left, _)| *left > 0u64) {
            gap = Some((left - 1, point));
            values.push(point);
            continue;
        }
        match rng.below(24) {
            // Shorter and longer than the lookback.
            0 if gaps > 0 => gap = Some((1 + rng.below(2 * LOOKBACK_STEPS as u64), Point::Missing)),
            1 if gaps > 1 => values.push(Point::Missing),
            2 if gaps > 2 => values.push(Point::Stale),
            _ => {
                if rng.below(steady) == 0 {
                    value = rng.below(7) as f64 - 3.0;
                }
                values.push(Point::Value(value));
            }
        }
    }
    values.resize(STEPS, Point::Missing);
    Case { comparison, threshold: 0.0, hold_s, keep_s, values }
}

/// 1,200 cases of 48 steps in six files.
#[test]
fn states_are_those_of_prometheus_at_every_step() {
    let mut rng = Rng(0x0051_c2aa);
    let cases: Vec<Case> = (0..1_200).map(|_| case(&mut rng)).collect();
    let states: Vec<Vec<State>> = cases.iter().map(by_condition).collect();
    let mut driven = [0, 0];
    for (case, states) in cases.iter().zip(&states) {
        // What is judged sample by sample is the same where there is a sample for every evaluation.
        if !case.values.iter().enumerate().any(|(step, _)| is_absent_from_here(&case.values, step)) {
            assert_eq!(&by_held_sampled(case), states, "{case:?}");
            driven[0] += 1;
        }
        // And so is what is judged by time: the last value, until it is missing; at times at which Prometheus looks, too.
        let on_time = case.hold_s % INTERVAL_S == 0 && case.keep_s % INTERVAL_S == 0;
        if on_time && !case.values.contains(&Point::Stale) {
            assert_eq!(&by_held_on_change(case), states, "{case:?}");
            driven[1] += 1;
        }
    }
    assert!(driven.iter().all(|cases| *cases > 200), "cases of every kind: {driven:?}");
    let seen = |state: State| states.iter().flatten().filter(|s| **s == state).count();
    assert!(seen(State::Pending) > 1_000 && seen(State::Firing) > 1_000 && seen(State::None) > 1_000);
    for (cases, states) in cases.chunks(200).zip(states.chunks(200)) {
        if let Some(difference) = check(cases, states) {
            panic!("Prometheus says otherwise:\n{difference}");
        }
    }
}

/// The comparison is one: a state that is wrong at one step is found.
#[test]
fn one_wrong_state_is_found() {
    let mut rng = Rng(7);
    let cases: Vec<Case> = (0..20).map(|_| case(&mut rng)).collect();
    let mut states: Vec<Vec<State>> = cases.iter().map(by_condition).collect();
    assert_eq!(check(&cases, &states), None);
    let place = states.iter().position(|states| states[40] == State::Firing).expect("one fires");
    states[place][40] = State::Pending;
    if promtool::is_here() {
        assert!(check(&cases, &states).is_some());
    }
}

fn values(text: &str) -> Vec<Point> {
    let point = |word: &str| match word {
        "_" => Point::Missing,
        "stale" => Point::Stale,
        number => Point::Value(number.parse().expect("a number")),
    };
    text.split_whitespace().map(point).collect()
}

fn states(text: &str) -> Vec<State> {
    text.chars().map(State::from_char).collect()
}

/// A case, what Prometheus says, what Pulsewire says of it in its two modes.
#[track_caller]
fn differs(case: &Case, prometheus: &str, sampled: &str, on_change: &str) {
    let given = drive::by_held(case, drive::Feed::AsTheyCome);
    assert_eq!(drive::text(&given), sampled, "sampled");
    assert_eq!(drive::text(&drive::by_held(case, drive::Feed::OnChange)), on_change, "on_change");
    if let Some(difference) = check(std::slice::from_ref(case), &[states(prometheus)]) {
        panic!("Prometheus is said to be otherwise than it is:\n{difference}");
    }
    assert!(sampled != prometheus || on_change != prometheus, "it does not differ");
}

fn above(hold_s: u32, keep_s: u32, text: &str) -> Case {
    Case { comparison: ">", threshold: 0.0, hold_s, keep_s, values: values(text) }
}

/// Prometheus takes a value for the present for five minutes, so `for` may be over in a gap. A sampled rule fires with a sample
/// that says so, and the gap does not set it back. A rule over values that hold until they change fires in time.
#[test]
fn differs_from_prometheus_in_a_gap_shorter_than_staleness() {
    differs(&above(60, 0, "1 _ _ _ 1 0"), "PPFFF-", "PPPPF-", "PPFFF-");
}

/// In Prometheus what is missing is false: silence resolves the alert, and forgets `for`. In Pulsewire an alert that fires goes on, marked
/// stale; what is pending begins anew with the next sample.
#[test]
fn differs_from_prometheus_in_a_gap_longer_than_staleness() {
    let gap = "_ ".repeat(LOOKBACK_STEPS + 2);
    let (inside, outside) = ("F".repeat(LOOKBACK_STEPS), "-".repeat(2));
    let firing = above(0, 0, &format!("1 {gap} 1 0"));
    let held = format!("F{}F-", "F".repeat(LOOKBACK_STEPS + 2));
    differs(&firing, &format!("F{inside}{outside}F-"), &held, &held);
    let pending = above(600, 0, &format!("1 {gap} 1 1"));
    let waits = "P".repeat(LOOKBACK_STEPS + 5);
    let prometheus = format!("P{}{outside}PP", "P".repeat(LOOKBACK_STEPS));
    differs(&pending, &prometheus, &waits, &waits);
}

/// A device does not say that a series is over; Prometheus' scraper does.
#[test]
fn differs_from_prometheus_in_stale_markers() {
    differs(&above(0, 0, "1 stale stale 1"), "F--F", "FFFF", "FFFF");
    differs(&above(60, 0, "1 stale 1 1 1"), "P-PPF", "PPFFF", "PPFFF");
}

/// NaN is no value: it says nothing of the device. In Prometheus NaN compares false and resolves.
#[test]
fn differs_from_prometheus_in_nan() {
    differs(&above(0, 0, "1 NaN NaN 0"), "F---", "FFF-", "FFF-");
    differs(&above(60, 0, "1 NaN 1 1"), "P-PP", "PPFF", "PPFF");
}

/// An f32 is compared as one: a device that measures 21.7 as f32 is not above 21.7. Prometheus has only doubles.
#[test]
fn differs_from_prometheus_in_f32() {
    let widened = f64::from(21.7_f32);
    let case = Case { comparison: ">", threshold: 21.7, hold_s: 0, keep_s: 0, values: vec![Point::Value(widened); 2] };
    assert_eq!(drive::text(&drive::by_held(&case, drive::Feed::F32)), "--");
    assert_eq!(check(std::slice::from_ref(&case), &[states("FF")]), None);
}

/// `keep_firing_for` of a sampled rule ends with a sample, too: the evaluations of Prometheus are not there between them.
#[test]
fn differs_from_prometheus_in_the_end_of_keep_firing_for_in_a_gap() {
    differs(&above(0, 60, "1 0 _ _ _ 0"), "FFF---", "FFFFF-", "FFF---");
}

/// A rule that is judged by time fires when `for` is over, not at the next evaluation.
#[test]
fn differs_from_prometheus_in_times_between_evaluations() {
    differs(&above(45, 60, "1 1 0 0 0"), "PP---", "PP---", "PPFF-");
}

#[test]
fn the_interval_and_the_lookback_are_those_of_the_files() {
    assert_eq!(INTERVAL_S as usize * LOOKBACK_STEPS, 300, "Prometheus looks back five minutes");
}
