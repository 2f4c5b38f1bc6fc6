//! Storing, reading back, and rule edits.

use super::*;
use crate::expr::{MEMORY_BYTES_MAX, MemoryError};
use proptest::prelude::*;

const TEXTS: [&str; 6] = [
    "avg(a, 5s) > 0 || changed(b)",
    "rate(a, 8s) > 1 && max(b, 3s) < 5",
    "p95(a, 5s) > 2 or stddev(b, 3s) > 1",
    "changed(b, 4s) || missing(a, 3s) || c == \"on\"",
    "age(a) > 2.5 && !changed(c, 6s)",
    "a + b > 3",
];

/// Samples as (µs since the last, metric, value).
fn samples() -> impl Strategy<Value = Vec<(i64, usize, i64)>> {
    prop::collection::vec((0..2 * SECOND, 0_usize..3, -3_i64..8), 1..60)
}

fn feed(memory: &mut Memory, program: &Program, now_us: &mut i64, samples: &[(i64, usize, i64)]) {
    for (ahead, metric, value) in samples {
        *now_us += ahead;
        let Some(input) = program.metrics().iter().position(|own| own.as_str() == ["a", "b", "c"][*metric]) else {
            continue;
        };
        let value = match metric {
            2 => ValueRef::Text(if *value > 2 { "on" } else { "off" }),
            _ => ValueRef::I64(*value),
        };
        memory.observe(program, input, *now_us, value, false);
    }
}

fn outcomes(memory: &Memory, program: &Program, now_us: i64) -> Vec<Truth> {
    let device = device();
    let moment = Moment { now_us, staleness_us: Some(10 * SECOND), device: &device };
    (0..program.exprs().len()).map(|i| memory.judge(program, i, &moment)).collect()
}

proptest! {
    #[test]
    fn a_run_that_was_interrupted_goes_on_the_same(samples in samples(), at in any::<prop::sample::Index>()) {
        let program = program(&TEXTS);
        let (mut whole, mut now) = (Memory::new(&program), 0);
        feed(&mut whole, &program, &mut now, &samples);
        let (before, after) = samples.split_at(at.index(samples.len()));
        let (mut parted, mut parted_now) = (Memory::new(&program), 0);
        feed(&mut parted, &program, &mut parted_now, before);
        let mut parted = Memory::decode(&parted.encode()).expect("what was written").fit(&program);
        feed(&mut parted, &program, &mut parted_now, after);
        prop_assert_eq!(&parted, &whole);
        prop_assert_eq!(parted.encode(), whole.encode());
        for later in [0, SECOND, 4 * SECOND, 20 * SECOND] {
            prop_assert_eq!(outcomes(&parted, &program, now + later), outcomes(&whole, &program, now + later));
        }
    }

    #[test]
    fn an_edit_keeps_what_the_new_rule_shares(samples in samples(), order in Just(TEXTS.to_vec()).prop_shuffle()) {
        // The same predicates in another order have other inputs and windows at other places.
        let (first, second) = (program(&TEXTS), program(&order));
        let (mut memory, mut now) = (Memory::new(&first), 0);
        feed(&mut memory, &first, &mut now, &samples);
        let expected = outcomes(&memory, &first, now);
        let edited = memory.clone().fit(&second);
        let given = outcomes(&edited, &second, now);
        for (i, text) in order.iter().enumerate() {
            let old = TEXTS.iter().position(|own| own == text).expect("one of them");
            prop_assert_eq!(given[i], expected[old], "{}", text);
        }
        prop_assert_eq!(edited.fit(&first), memory);
    }

    #[test]
    fn damaged_bytes_are_refused_or_harmless(
        samples in samples(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let program = program(&TEXTS);
        let (mut memory, mut now) = (Memory::new(&program), 0);
        feed(&mut memory, &program, &mut now, &samples);
        let bytes = memory.encode();
        prop_assert!(Memory::decode(&bytes[..cut.index(bytes.len())]).is_err(), "a part is not the whole");
        let mut damaged = bytes;
        for (at, byte) in &damage {
            let at = at.index(damaged.len());
            damaged[at] = *byte;
        }
        use_it(&damaged, &program, now);
    }

    #[test]
    fn random_bytes_are_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        use_it(&bytes, &program(&TEXTS), 0);
    }

    #[test]
    fn small_numbers_as_bytes_are_refused_or_harmless(bytes in prop::collection::vec(prop_oneof![Just(0_u8), 0..3_u8, any::<u8>()], 0..400)) {
        use_it(&bytes, &program(&TEXTS), 0);
    }
}

/// Does everything with what these bytes are read as.
fn use_it(bytes: &[u8], program: &Program, now_us: i64) {
    // Read as part of something greater, a memory is not looked at before `fit`.
    let Ok(memory) = wincode::deserialize_exact::<Memory>(bytes) else {
        assert!(Memory::decode(bytes).is_err());
        return;
    };
    assert!(memory.bytes() <= bytes.len() * 64 + 4096, "{} bytes from {}", memory.bytes(), bytes.len());
    // Before `fit` it does not belong to the program, which must not matter either.
    for mut memory in [memory.clone(), memory.fit(program)] {
        outcomes(&memory, program, now_us);
        let mut now = now_us;
        feed(&mut memory, program, &mut now, &[(SECOND, 0, 3), (SECOND, 1, 4), (0, 2, 1), (SECOND, 0, 3)]);
        outcomes(&memory, program, now);
        let device = device();
        memory.next_us(program, &Moment { now_us: now, staleness_us: Some(1), device: &device });
        memory.encode();
    }
}

#[test]
fn too_many_bytes_are_not_even_looked_at() {
    let error = Memory::decode(&vec![0; MEMORY_BYTES_MAX + 1]).expect_err("too long");
    assert_eq!(error, MemoryError::TooLong { given: MEMORY_BYTES_MAX + 1 });
    let mut announced = vec![0xff; 8];
    announced[7] = 0;
    assert!(matches!(Memory::decode(&announced), Err(MemoryError::Damaged { .. })));
}

#[test]
fn another_duration_begins_anew_and_the_value_stays() {
    let (first, second) = (program(&["count(a, 5s) > 0"]), program(&["count(a, 6s) > 0 && a > 2", "b > 1"]));
    let (mut memory, mut now) = (Memory::new(&first), 0);
    feed(&mut memory, &first, &mut now, &[(SECOND, 0, 3), (SECOND, 0, 4)]);
    let memory = memory.fit(&second);
    assert_eq!(memory.number(&second, 0), Some(4.0));
    assert_eq!(memory.number(&second, 1), None);
    assert_eq!(outcomes(&memory, &second, now), [Truth::No, Truth::Unknown]);
}
