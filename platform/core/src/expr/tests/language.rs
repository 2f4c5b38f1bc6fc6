//! What expressions mean.

use super::*;
use crate::alert::Comparison;
use crate::ids::MetricName;
use Truth::{No, Unknown, Yes};

fn check(table: &[(&str, Truth)]) {
    for (text, expected) in table {
        assert_eq!(truth(text), *expected, "{text}");
    }
}

#[test]
fn operators_bind_as_people_expect() {
    check(&[
        ("temp > 80 && humidity < 20", Yes),
        ("temp > 80 and humidity > 20 or x == 2", Yes),
        ("x == 2 || temp > 80 && humidity > 20", Yes),
        ("(x == 2 || temp > 80) && humidity > 20", No),
        ("not temp > 80 && humidity > 20", No),
        ("not (temp > 80 && humidity > 20)", Yes),
        ("not temp > 90 and not humidity > 20", Yes),
        ("!door_open || x == 2", Yes),
        ("!!door_open", Yes),
        ("1 + x * 3 == 7", Yes),
        ("(1 + x) * 3 == 9", Yes),
        ("10 - x - 3 == 5", Yes),
        ("16 / x / 4 == 2", Yes),
        ("2 * x % 3 == 1", Yes),
        ("-x + 3 == 1", Yes),
        ("-x * -x == 4", Yes),
        ("y % 4 == -3", Yes),
        ("3--x == 5", Yes),
        ("x*1e3 == 2000", Yes),
        ("x == 2e0 && x > 1.5E-3", Yes),
        ("80 < temp", Yes),
        ("x in (1, 2, 3)", Yes),
        ("x + 1 in (1, 2)", No),
        ("x not in (1, 2, 3)", No),
        ("not x in (5, 6)", Yes),
        ("`room temp` > 19", Yes),
        ("min > 3 && min(min, 3) == 3", Yes),
        ("true && temp > 80", Yes),
    ]);
}

#[test]
fn every_function_of_numbers_has_a_value() {
    check(&[
        ("abs(y) == 7", Yes),
        ("round(x / 3 * 10) == 7", Yes),
        ("round(-x - 0.5) == -3", Yes),
        ("floor(y / 2) == -4", Yes),
        ("ceil(y / 2) == -3", Yes),
        ("sqrt(x * 8) == 4", Yes),
        ("log(x / 2) == 0", Yes),
        ("pow(x, 10) == 1024", Yes),
        ("min(x, y) == -7", Yes),
        ("max(x, y) == 2", Yes),
        ("clamp(y, 0, 10) == 0", Yes),
        ("clamp(temp, 0, 10) == 10", Yes),
        ("clamp(x, 0, 10) == 2", Yes),
        ("clamp(x, temp, 10) == 2", Unknown),
        ("distance(lat, lon, 48.13, 11.57) > 500", Yes),
        ("distance(lat, lon, 48.13, 11.57) < 900", Yes),
        ("distance(lat, lon, 48.137, 11.575) == 0", Yes),
        ("outside(lat, lon, 48.13, 11.57, 500)", Yes),
        ("outside(lat, lon, 48.13, 11.57, 900)", No),
        ("!outside(lat, lon, 48.13, 11.57, 900)", Yes),
        ("outside(temp + 10, lon, 48.13, 11.57, 900)", Unknown),
        ("age(x) == 0", Yes),
    ]);
}

#[test]
fn distance_is_along_the_globe() {
    let metres = |from, to| super::super::op::haversine_m(from, to).expect("on the globe");
    // Munich to Hamburg, and half way round; a degree of a great circle is 111,195 m.
    assert!((metres([48.1372, 11.5755], [53.5511, 9.9937]) - 612_400.0).abs() < 1000.0);
    assert!((metres([0.0, 0.0], [0.0, 180.0]) - 20_015_114.0).abs() < 1.0);
    assert!((metres([0.0, 179.5], [0.0, -179.5]) - 111_195.0).abs() < 1.0);
    assert_eq!(super::super::op::haversine_m([91.0, 0.0], [0.0, 0.0]), None);
}

#[test]
fn texts_bools_tags_and_attributes_compare() {
    check(&[
        ("mode == \"defrost\"", Yes),
        ("mode != \"defrost\"", No),
        ("\"defrost\" == mode", Yes),
        ("mode in (\"auto\", \"defrost\")", Yes),
        ("mode not in (\"auto\", \"eco\")", Yes),
        ("mode == \"de\\\"frost\"", No),
        ("door_open", Yes),
        ("locked", No),
        ("door_open == true", Yes),
        ("door_open != locked", Yes),
        ("door_open + door_open == 2", Yes),
        ("door_open > 0.5", Yes),
        ("locked == 0", Yes),
        ("(temp > 80) == door_open", Yes),
        ("x > 1 && group() == \"north\"", Yes),
        ("x > 1 && device() == \"pump-7\"", Yes),
        ("x > 1 && firmware() != \"1.4.2\"", No),
        ("temp > tag(\"limit\")", Yes),
        ("temp + tag(\"odd\") == 97", Yes),
        ("x > 1 && tag(\"zone\") == \"cellar\"", Yes),
        ("x > 1 && tag(\"limit\") == \"21.7\"", Yes),
        ("x > 1 && tag(\"limit\") == tag(\"limit\")", Yes),
        ("mode == tag(\"zone\")", No),
        ("temp > tag(\"zone\")", Unknown),
        ("temp > tag(\"huge\")", Unknown),
        ("temp > tag(\"none\")", Unknown),
        ("mode == door_open", Unknown),
        ("mode == temp", Unknown),
        ("x", Unknown),
    ]);
    let mut world = World::new(&["x > 0 && (group() == \"a\" || firmware() == \"b\")"]);
    world.see("x", 0, ValueRef::I64(1));
    (world.device.group, world.device.firmware) = (None, None);
    assert_eq!(world.judge(0), Unknown);
}

#[test]
fn what_is_not_known_decides_nothing() {
    check(&[
        ("absent > 1", Unknown),
        ("!(absent > 1)", Unknown),
        ("absent > 1 && temp > 80", Unknown),
        ("absent > 1 && temp < 80", No),
        ("temp < 80 && absent > 1", No),
        ("absent > 1 || temp > 80", Yes),
        ("absent > 1 || temp < 80", Unknown),
        ("absent in (1, 2)", Unknown),
        ("x in (absent, 2)", Yes),
        ("x in (absent, 3)", Unknown),
        ("x not in (absent, 2)", No),
        ("nan > 1", Unknown),
        ("nan == nan", Unknown),
        ("nan != 1", Unknown),
        ("infinite > 1", Yes),
        ("infinite - infinite > 1", Unknown),
        ("x / zero > 1", Unknown),
        ("x % zero > 1", Unknown),
        ("sqrt(y) > 1", Unknown),
        ("log(zero) < 0", Unknown),
        ("pow(10, temp * temp) > 1", Unknown),
        ("absent == \"a\" || absent == \"b\"", Unknown),
        ("missing(absent)", Yes),
        ("missing(nan)", No),
        ("missing(absent) || absent > 80", Yes),
        ("age(absent) > 1", Unknown),
        ("changed(temp)", Unknown),
    ]);
}

#[test]
fn an_old_value_is_absent() {
    let mut world = World::new(&["temp > 80", "missing(temp)", "age(temp) > 60", "max(temp, 1h) > 80"]);
    world.staleness_us = Some(10 * SECOND);
    world.see("temp", 0, ValueRef::F64(85.0));
    let outcomes = |world: &World, now_us| -> Vec<Truth> {
        (0..4).map(|i| world.memory.judge(&world.program, i, &world.moment(now_us))).collect()
    };
    assert_eq!(outcomes(&world, 10 * SECOND), [Yes, No, No, Yes]);
    assert_eq!(outcomes(&world, 10 * SECOND + 1), [Unknown, Yes, No, Yes]);
    assert_eq!(outcomes(&world, 61 * SECOND), [Unknown, Yes, Yes, Yes]);
    world.staleness_us = None;
    assert_eq!(outcomes(&world, 61 * SECOND), [Yes, No, Yes, Yes]);
    assert_eq!(outcomes(&world, 3600 * SECOND), [Yes, No, Yes, Unknown]);
}

#[test]
fn changes_are_between_distinct_times() {
    let mut world = World::new(&["changed(m)"]);
    assert_eq!(world.judge(0), Unknown);
    for (time, value, expected) in
        [(1, 5, Unknown), (2, 5, No), (3, 6, Yes), (3, 6, Yes), (3, 5, No), (3, 7, Yes), (4, 7, No)]
    {
        world.see("m", time, ValueRef::I64(value));
        assert_eq!(world.judge(time), expected, "{value} at {time}");
    }
    world.see("m", 5, ValueRef::F64(f64::NAN));
    assert_eq!(world.judge(5), Unknown);
    world.see("m", 6, ValueRef::I64(7));
    assert_eq!(world.judge(6), No, "a NaN in between is no change");
    world.see("m", 7, ValueRef::I64((1 << 60) + 1));
    world.see("m", 8, ValueRef::I64(1 << 60));
    assert_eq!(world.judge(8), Yes, "integers are not rounded");
    world.see("m", 2, ValueRef::I64(9));
    assert_eq!(world.memory.number(&world.program, 0), Some((1_u64 << 60) as f64), "an older sample is passed over");
}

#[test]
fn no_change_for_an_hour_is_known_after_an_hour() {
    let mut world = World::new(&["!changed(mode, 60s)"]);
    world.see("mode", 0, ValueRef::Text("auto"));
    for second in (10..60).step_by(10) {
        world.see("mode", second * SECOND, ValueRef::Text("auto"));
        assert_eq!(world.judge(second * SECOND), Unknown);
    }
    assert_eq!(world.judge(60 * SECOND), Yes);
    world.see("mode", 70 * SECOND, ValueRef::Text("eco"));
    assert_eq!(world.judge(70 * SECOND), No);
    world.see("mode", 75 * SECOND, ValueRef::Text("eco"));
    assert_eq!(world.judge(130 * SECOND - 1), No);
    assert_eq!(world.judge(130 * SECOND), Yes);
    assert_eq!(world.memory.text(&world.program, 0), Some("eco"));
    world.staleness_us = Some(60 * SECOND);
    assert_eq!(world.judge(136 * SECOND), Unknown, "it may have changed since");
}

#[test]
fn missing_for_a_time_is_the_end_of_that_time() {
    let mut world = World::new(&["missing(m, 5m)"]);
    assert_eq!(world.judge(0), Yes, "never seen");
    world.see("m", SECOND, ValueRef::F64(f64::NAN));
    assert_eq!(world.judge(301 * SECOND - 1), No);
    assert_eq!(world.judge(301 * SECOND), Yes);
}

#[test]
fn an_f32_compares_with_what_was_written() {
    let yes = [
        "t == 21.7",
        "!(t > 21.7)",
        "!(t < 21.7)",
        "21.7 >= t",
        "t in (1, 21.7)",
        "-t == -21.7",
        "max(t, 5m) == 21.7",
        "p50(t, 5m) == 21.7",
        "t == tag(\"limit\")",
        "max(t, 3) == 21.7",
        "clamp(t, 0, 30) <= 21.7",
    ];
    for text in yes {
        let mut world = World::new(&[text]);
        world.see_f32("t", 0, 21.7);
        assert_eq!(world.judge(0), Yes, "{text}");
        world.see("t", 1, ValueRef::F64(f64::from(21.7_f32)));
        assert_eq!(world.judge(1), if text.starts_with('!') && text.contains('<') { Yes } else { No }, "{text} as f64");
    }
}

#[test]
fn thresholds_are_recognised_and_only_they() {
    let threshold = |text: &str| {
        let found = Expr::parse(text).expect("valid").threshold();
        found.map(|(metric, comparison, value)| format!("{metric} {} {value}", comparison.sign()))
    };
    for (text, expected) in [
        ("temp > 80", Some("temp > 80")),
        ("(temp) <= (-1.5)", Some("temp <= -1.5")),
        ("80 < temp", Some("temp > 80")),
        ("80 >= `room temp`", Some("room temp <= 80")),
        ("temp == 80", None),
        ("temp > 2 * 40", None),
        ("temp > other", None),
        ("!(temp > 80)", None),
        ("temp > 80 && temp < 90", None),
        ("avg(temp, 5m) > 80", None),
    ] {
        assert_eq!(threshold(text).as_deref(), expected, "{text}");
    }
    let simple = program(&["temp > 80", "75 < temp", "temp >= 21.7"]);
    let all = simple.simple().expect("all are thresholds of one metric");
    assert_eq!(
        all.iter().map(|t| (t.comparison, t.value)).collect::<Vec<_>>(),
        [(Comparison::Above, 80.0), (Comparison::Above, 75.0), (Comparison::AtLeast, 21.7)]
    );
    assert!(all[2].holds(f64::from(21.7_f32), true) && !all[2].holds(21.6, true) && !all[2].holds(f64::NAN, false));
    assert!(program(&["temp > 80", "humidity > 2"]).simple().is_none());
    assert!(program(&["temp > 80", "true"]).simple().is_none());
}

#[test]
fn a_program_has_one_list_of_inputs() {
    let program = program(&["b > 1 && avg(a, 5m) > 2", "max(a, 5m) > 1 || c > 0 || b < 0", "false"]);
    assert_eq!(program.metrics().iter().map(MetricName::as_str).collect::<Vec<_>>(), ["b", "a", "c"]);
    assert!(program.has_windows() && program.windows().len() == 1);
    assert_eq!((0..4).map(|i| program.never_changes(i)).collect::<Vec<_>>(), [None, None, Some(false), None]);
    assert!(!super::program(&["changed(a, 5m)"]).has_windows());
    assert!(Expr::parse("true").expect("valid").is_constant());
}
