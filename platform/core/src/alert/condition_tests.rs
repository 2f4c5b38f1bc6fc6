use super::*;
use proptest::prelude::*;

const S: i64 = 1_000_000;

fn truth(value: bool) -> Truth {
    if value { Truth::Yes } else { Truth::No }
}

fn timing(hold: Hold, keep_firing_s: i64) -> Timing {
    Timing { hold, keep_firing_us: keep_firing_s * S, gap_max_us: Some(900 * S) }
}

/// What one level over a value says: `when` above the first, `clear` below the second.
fn level(value: f64, above: f64, below: f64) -> Option<Said> {
    Some(Said { when: truth(value > above), clear: truth(value < below) })
}

fn one(value: bool) -> Saying {
    [None, Some(Said { when: truth(value), clear: truth(!value) }), None]
}

fn show(condition: &Condition) -> String {
    match condition.stage {
        Stage::Normal => condition.pending().map_or_else(|| "-".into(), |(s, _)| format!("p{}", s as u8)),
        Stage::Firing(level) => format!("F{level}"),
        Stage::Recovering { severity, .. } => format!("R{severity}"),
        Stage::Muted(level) => format!("m{level}"),
    }
}

#[test]
fn kapacitors_reset_vector_passes() {
    let levels = |v| [level(v, 60.0, 50.0), level(v, 70.0, 60.0), level(v, 80.0, 70.0)];
    let mut condition = Condition::default();
    let mut seen = Vec::new();
    for (second, value) in [61.0, 73.0, 64.0, 85.0, 62.0, 56.0, 47.0].into_iter().enumerate() {
        condition.step(&timing(Hold::For(0), 0), None, second as i64 * S, true, true, &levels(value));
        seen.push(condition.firing().map_or("ok", Severity::name));
    }
    assert_eq!(seen, ["info", "warning", "warning", "critical", "info", "info", "ok"]);
}

fn run(timing: &Timing, samples: &[(i64, bool)]) -> String {
    let (mut condition, mut counts) = (Condition::default(), [0; LEVELS]);
    let step = |(second, value): &(i64, bool)| {
        condition.step(timing, Some(&mut counts), second * S, true, true, &one(*value));
        show(&condition)
    };
    samples.iter().map(step).collect::<Vec<_>>().join(" ")
}

#[test]
fn for_fires_when_it_is_reached_and_one_false_sample_starts_it_anew() {
    let hold = timing(Hold::For(30 * S), 0);
    assert_eq!(run(&hold, &[(0, true), (29, true), (30, true), (31, true), (32, false)]), "p1 p1 F1 F1 -");
    assert_eq!(run(&hold, &[(0, true), (29, false), (31, true), (60, true), (61, true)]), "p1 - p1 p1 F1");
}

#[test]
fn a_silence_longer_than_the_gap_starts_for_anew_and_a_firing_alert_goes_on_through_it() {
    let hold = timing(Hold::For(30 * S), 0);
    assert_eq!(run(&hold, &[(0, true), (901, true), (930, true), (931, true), (9000, true)]), "p1 p1 p1 F1 F1");
}

#[test]
fn count_fires_at_n_of_the_last_m_samples_and_a_repeat_counts_once() {
    let count = timing(Hold::Count { at_least: 3, of: 5 }, 0);
    let samples = [(0, true), (1, false), (2, true), (3, false), (4, true), (5, false)];
    assert_eq!(run(&count, &samples), "p1 - p1 - F1 -");
    assert_eq!(run(&count, &[(0, true), (0, true), (0, true), (1, true)]), "p1 p1 p1 p1");
    let apart = [(0, true), (1, false), (2, false), (3, true), (4, false), (5, true), (6, true)];
    assert_eq!(run(&count, &apart), "p1 - - p1 - p1 F1", "0 has left the last five");
}

#[test]
fn keep_firing_for_counts_from_the_first_false_sample_and_any_true_one_zeroes_it() {
    let keep = timing(Hold::For(0), 10);
    let samples = [(0, true), (1, false), (10, false), (11, false)];
    assert_eq!(run(&keep, &samples), "F1 R1 R1 -");
    let relapse = [(0, true), (1, false), (9, true), (12, false), (21, false), (22, false)];
    assert_eq!(run(&keep, &relapse), "F1 R1 F1 R1 R1 -");
}

#[test]
fn an_unknown_predicate_changes_nothing() {
    let unknown = [None, Some(Said { when: Truth::Unknown, clear: Truth::Unknown }), None];
    let hold = timing(Hold::For(10 * S), 0);
    let mut condition = Condition::default();
    condition.step(&hold, None, 0, true, true, &one(true));
    assert_eq!(
        condition.step(&hold, None, 10 * S, true, true, &unknown),
        None,
        "it may not fire on what it does not know"
    );
    assert!(matches!(
        condition.step(&hold, None, 11 * S, true, true, &one(true)),
        Some(Move::Fire { since_us: 0, .. })
    ));
    assert_eq!(condition.step(&hold, None, 12 * S, true, true, &unknown), None);
    assert_eq!(show(&condition), "F1");
}

#[test]
fn outside_the_schedule_nothing_begins_and_what_fires_can_end() {
    let hold = timing(Hold::For(10 * S), 0);
    let mut condition = Condition::default();
    for second in 0..20 {
        assert_eq!(condition.step(&hold, None, second * S, true, false, &one(true)), None);
    }
    assert_eq!(condition.step(&hold, None, 20 * S, true, true, &one(true)), None, "`for` begins inside");
    assert!(matches!(condition.step(&hold, None, 30 * S, true, true, &one(true)), Some(Move::Fire { .. })));
    assert_eq!(condition.step(&hold, None, 31 * S, true, false, &one(true)), None);
    assert_eq!(condition.step(&hold, None, 32 * S, true, false, &one(false)), Some(Move::Resolve));
}

#[test]
fn what_was_resolved_by_hand_fires_anew_only_after_it_was_over_or_got_worse() {
    let levels = |v| [level(v, 60.0, 50.0), None, level(v, 80.0, 70.0)];
    let at_once = timing(Hold::For(0), 0);
    let mut condition = Condition::default();
    let mut second = 0;
    let mut step = |condition: &mut Condition, value| {
        second += 1;
        condition.step(&at_once, None, second * S, true, true, &levels(value))
    };
    step(&mut condition, 65.0);
    condition.mute();
    assert_eq!(step(&mut condition, 66.0), None);
    assert!(matches!(step(&mut condition, 81.0), Some(Move::Fire { severity: Severity::Critical, .. })));
    condition.mute();
    assert_eq!(step(&mut condition, 66.0), None);
    assert_eq!(show(&condition), "m0");
    assert_eq!(step(&mut condition, 40.0), None);
    assert!(matches!(step(&mut condition, 61.0), Some(Move::Fire { severity: Severity::Info, .. })));
}

#[test]
fn a_timer_completes_for_without_a_sample() {
    let hold = Timing { gap_max_us: None, ..timing(Hold::For(60 * S), 0) };
    let mut condition = Condition::default();
    condition.step(&hold, None, 5 * S, true, true, &one(true));
    assert_eq!(condition.next_us(&hold), Some(65 * S));
    assert_eq!(condition.step(&hold, None, 64 * S, false, true, &one(true)), None);
    let fired = condition.step(&hold, None, 65 * S, false, true, &one(true));
    assert_eq!(fired, Some(Move::Fire { severity: Severity::Warning, since_us: 5 * S }));
    assert_eq!(condition.last_us, 5 * S, "the sample's time stays the newest");
}

proptest! {
    #[test]
    fn fires_and_resolves_alternate_and_repeats_change_nothing(
        values in proptest::collection::vec((0i64..40, any::<bool>()), 1..200),
        hold in 0i64..30, keep in 0i64..30,
    ) {
        let timing = timing(Hold::For(hold * S), keep);
        let (mut once, mut twice) = (Condition::default(), Condition::default());
        let (mut time_us, mut open) = (0, false);
        for (gap, value) in values {
            time_us += (gap + 1) * S;
            let moved = once.step(&timing, None, time_us, true, true, &one(value));
            match moved {
                Some(Move::Fire { .. }) => { prop_assert!(!open); open = true; }
                Some(Move::Resolve) => { prop_assert!(open); open = false; }
                _ => {}
            }
            twice.step(&timing, None, time_us, true, true, &one(value));
            prop_assert_eq!(twice.step(&timing, None, time_us, true, true, &one(value)), None);
            prop_assert_eq!(once, twice);
        }
    }
}
