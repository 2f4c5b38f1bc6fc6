//! Windows against a model that keeps everything and calculates naively.

use super::*;
use crate::expr::WINDOW_SAMPLES_MAX;
use crate::expr::eval::Judge;
use Truth::{No, Unknown, Yes};
use proptest::prelude::*;

const FUNCTIONS: [&str; 11] = ["avg", "sum", "min", "max", "count", "stddev", "p1", "p50", "p95", "delta", "rate"];

/// What a function makes of (time, value) in a window, in order.
fn naive(function: &str, window: &[(i64, f64)]) -> Option<f64> {
    let n = window.len();
    let values = window.iter().map(|(_, value)| *value);
    let sum = || values.clone().sum::<f64>();
    let (first, last) = (window.first(), window.last());
    match function {
        "count" => Some(n as f64),
        _ if n == 0 => None,
        "sum" => Some(sum()),
        "avg" => Some(sum() / n as f64),
        "min" => values.reduce(f64::min),
        "max" => values.reduce(f64::max),
        "p1" | "p50" | "p95" => {
            let percent: f64 = function[1..].parse().expect("a number");
            let mut sorted: Vec<_> = values.collect();
            sorted.sort_by(f64::total_cmp);
            let enough =
                |value: &&f64| sorted.iter().filter(|v| v <= value).count() as f64 * 100.0 >= percent * n as f64;
            sorted.iter().find(enough).copied()
        }
        _ if n < 2 => None,
        "stddev" => {
            let mean = sum() / n as f64;
            Some((values.map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64).sqrt())
        }
        "delta" => Some(last?.1 - first?.1),
        "rate" => {
            // As Prometheus' extrapolatedRate, without the extrapolation.
            let mut increase = last?.1 - first?.1;
            for pair in window.windows(2) {
                if pair[1].1 < pair[0].1 {
                    increase += pair[0].1;
                }
            }
            Some(increase / ((last?.0 - first?.0) as f64 / 1e6))
        }
        _ => unreachable!("{function}"),
    }
}

fn number_of(world: &World, predicate: usize, now_us: i64) -> Option<f64> {
    Judge::new(&world.memory, &world.program, &world.moment(now_us)).number_of_left_side(predicate)
}

proptest! {
    #[test]
    fn aggregates_equal_the_naive_model_bit_for_bit(
        // Values are multiples of 1/4 so that the naive sum is exact as well; the exact sum has a test of its own.
        steps in prop::collection::vec((0_i64..4, -4000_i32..4000, any::<bool>(), 0_i64..12), 1..80),
        interrupt in any::<prop::sample::Index>(),
    ) {
        let texts: Vec<_> = FUNCTIONS.iter().map(|function| format!("{function}(m, 7s) > 0")).collect();
        let mut world = World::new(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut model: Vec<(i64, f64)> = Vec::new();
        let mut now = 0;
        let interrupt = interrupt.index(steps.len());
        for (i, (ahead, quarters, nan, later)) in steps.into_iter().enumerate() {
            now += ahead * SECOND / 2;
            let value = if nan && quarters % 5 == 0 { f64::NAN } else { f64::from(quarters) / 4.0 };
            world.see("m", now, ValueRef::F64(value));
            if i % 3 == 0 {
                let before = world.memory.clone();
                world.see("m", now, ValueRef::F64(value));
                prop_assert_eq!(&world.memory, &before, "a repeat changes nothing");
            }
            if i == interrupt {
                let read = Memory::decode(&world.memory.encode()).expect("what was written");
                let fitted = read.fit(&world.program);
                prop_assert_eq!(&fitted, &world.memory);
                world.memory = fitted;
            }
            model.retain(|(time, _)| *time != now);
            if !value.is_nan() {
                model.push((now, value));
            }
            for asked in [now, now + later * SECOND / 2] {
                let inside: Vec<_> = model.iter().copied().filter(|(time, _)| *time > asked - 7 * SECOND).collect();
                for (predicate, function) in FUNCTIONS.iter().enumerate() {
                    let (given, expected) = (number_of(&world, predicate, asked), naive(function, &inside));
                    // Zero has two signs, which compare equal.
                    let bits = |n: Option<f64>| n.map(|n| (n + 0.0).to_bits());
                    prop_assert_eq!(bits(given), bits(expected), "{} of {:?}: {:?}, {:?}", function, inside, given, expected);
                }
            }
        }
    }
}

#[test]
fn a_window_is_open_at_its_old_end() {
    let mut world = World::new(&["count(m, 10s) == 2"]);
    world.see("m", 0, ValueRef::I64(1));
    world.see("m", 5 * SECOND, ValueRef::I64(1));
    assert_eq!(world.judge(10 * SECOND - 1), Yes);
    assert_eq!(world.judge(10 * SECOND), No);
    assert_eq!(world.next(5 * SECOND), Some(10 * SECOND));
}

#[test]
fn a_counter_that_starts_anew_still_counts() {
    let mut world = World::new(&["rate(counter, 1m) == 1.125"]);
    assert_eq!(world.judge(0), Unknown);
    for (second, value) in [(0, 100), (10, 110), (20, 5), (30, 25), (40, 35)] {
        world.see("counter", second * SECOND, ValueRef::I64(value));
        // One sample is no slope.
        assert_eq!(world.judge(second * SECOND) == Unknown, second == 0);
    }
    // 10, then a restart and 5, then 20 and 10: 45 in 40 s.
    assert_eq!(world.judge(40 * SECOND), Yes);
    assert_eq!(number_of(&world, 0, 70 * SECOND), Some(1.5), "from 5 to 35 in the 20 s that are left");
}

#[test]
fn a_full_window_lets_the_oldest_go_and_says_so() {
    let mut world = World::new(&["count(m, 1h) > 0", "min(m, 1h) > 0", "sum(m, 1h) > 0"]);
    let last = WINDOW_SAMPLES_MAX as i64;
    for i in 0..last {
        world.see("m", i * 1000, ValueRef::I64(i));
    }
    assert!(!world.memory.is_cut(&world.program, last * 1000));
    world.see("m", last * 1000, ValueRef::I64(last));
    assert_eq!(number_of(&world, 0, 0), Some(WINDOW_SAMPLES_MAX as f64));
    assert_eq!(number_of(&world, 1, 0), Some(1.0));
    assert_eq!(number_of(&world, 2, 0), Some((1..=last).sum::<i64>() as f64));
    assert!(world.memory.is_cut(&world.program, last * 1000));
    assert!(world.memory.is_cut(&world.program, 3600 * SECOND - 1));
    assert!(!world.memory.is_cut(&world.program, 3600 * SECOND), "what left early would have left by now");
    assert!(world.memory.bytes() > WINDOW_SAMPLES_MAX * 16 && world.memory.bytes() < WINDOW_SAMPLES_MAX * 16 * 5);
    assert!(world.memory.encode().len() < crate::expr::MEMORY_BYTES_MAX);
    world.see("m", 7200 * SECOND, ValueRef::I64(1));
    assert_eq!(number_of(&world, 0, 0), Some(1.0));
}

#[test]
fn windows_of_texts_count_and_nothing_else() {
    let mut world = World::new(&["count(mode, 1m) > 1", "max(mode, 1m) > 1", "p50(mode, 1m) > 1"]);
    world.see("mode", 0, ValueRef::Text("a"));
    world.see("mode", 1, ValueRef::Text("b"));
    assert_eq!(number_of(&world, 0, 1), Some(2.0));
    assert_eq!((number_of(&world, 1, 1), number_of(&world, 2, 1)), (None, None));
}

#[test]
fn sums_beyond_all_numbers_are_unknown() {
    let mut world = World::new(&["sum(m, 1m) > 1", "max(m, 1m) > 1", "avg(m, 1m) > 1"]);
    world.see("m", 0, ValueRef::F64(f64::MAX));
    world.see("m", 1, ValueRef::F64(f64::MAX));
    assert_eq!((number_of(&world, 0, 1), number_of(&world, 1, 1)), (None, Some(f64::MAX)));
    world.see("m", 2, ValueRef::F64(f64::INFINITY));
    assert_eq!(number_of(&world, 0, 2), Some(f64::INFINITY));
    world.see("m", 3, ValueRef::F64(f64::NEG_INFINITY));
    assert_eq!(number_of(&world, 0, 3), None);
}
