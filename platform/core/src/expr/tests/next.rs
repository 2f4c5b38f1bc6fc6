//! When to look again.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn nothing_changes_before_the_announced_time(
        samples in prop::collection::vec((0..2 * SECOND, 0_usize..2, 0_i64..4), 1..30),
        staleness in prop::option::of(0..5 * SECOND),
        waits in prop::collection::vec((0.0..1.0_f64, any::<bool>()), 1..20),
    ) {
        let mut world = World::new(&[
            "avg(a, 3s) > 1", "missing(a, 2s) || b > 2", "age(b) > 1.3", "0.7 >= age(a)", "age(b) == 2", "changed(a, 2500ms)",
            "changed(b)", "missing(b)", "count(b, 1s) in (1, 2)", "a in (1, 2) && min(b, 2s) < 2", "rate(a, 4s) >= 0.5",
        ]);
        world.staleness_us = staleness;
        let mut now = 0;
        for (ahead, metric, value) in samples {
            now += ahead;
            world.see(["a", "b"][metric], now, ValueRef::I64(value));
        }
        let all = |world: &World, at: i64| -> Vec<Truth> {
            (0..world.program.exprs().len()).map(|i| world.memory.judge(&world.program, i, &world.moment(at))).collect()
        };
        // Follow the announced times to the end, looking at random moments in between.
        for (part, last) in waits {
            let next = world.next(now);
            let end = next.unwrap_or(now + 1000 * SECOND);
            prop_assert!(end > now);
            #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
            let between = if last { end - 1 } else { now + (((end - now) as f64 * part) as i64).min(end - now - 1) };
            prop_assert_eq!(all(&world, now), all(&world, between), "from {} to {}, announced {:?}", now, between, next);
            now = end;
            if next.is_none() {
                break;
            }
        }
    }
}

#[test]
fn time_alone_is_a_reason_only_where_it_can_matter() {
    let mut world = World::new(&["a > 1 && b > 1"]);
    world.see("a", 0, ValueRef::I64(2));
    assert_eq!(world.next(0), None);
    world.staleness_us = Some(5 * SECOND);
    assert_eq!(world.next(0), Some(5 * SECOND + 1));
    assert_eq!(world.next(5 * SECOND + 1), None);
    let mut world = World::new(&["missing(a, 10s)"]);
    assert_eq!(world.next(0), None, "it is missing until a sample comes");
    world.see("a", SECOND, ValueRef::I64(2));
    assert_eq!((world.next(SECOND), world.next(11 * SECOND)), (Some(11 * SECOND), None));
    let mut world = World::new(&["age(a) > 2.5"]);
    world.see("a", SECOND, ValueRef::I64(2));
    assert_eq!((world.next(SECOND), world.next(9 * SECOND)), (Some(3_500_001), None));
    let mut world = World::new(&["age(a) * 2 > 5"]);
    world.see("a", SECOND, ValueRef::I64(2));
    assert_eq!(world.next(7 * SECOND), Some(8 * SECOND));
}
