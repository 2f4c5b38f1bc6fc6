//! What people read when an expression is wrong.

use super::*;
use crate::expr::{DEPTH_MAX, TEXT_BYTES_MAX};
use crate::value::ValueType;

fn error(text: &str) -> String {
    match try_program(&[text]) {
        Ok(_) => format!("{text} was accepted"),
        Err(error) => {
            assert!(error.pointed(text).lines().count() >= 3, "{text}");
            error.to_string()
        }
    }
}

#[test]
fn errors_name_place_problem_and_remedy() {
    for (text, expected) in [
        ("", "at 0 (the end): there is no expression; write one, for example temp > 80"),
        ("temp >", "at 6 (the end): a value is missing; write a metric, a number, a text or a function here"),
        (
            "temp > > 3",
            "at 7 (\">\"): a value is missing before >; write a metric, a number, a text or a function here",
        ),
        ("temp = 3", "at 5 (\"=\"): a single = compares nothing; write == for \"is equal to\""),
        ("a > 1 & b > 1", "at 6 (\"&\"): a single & joins nothing; write && or and"),
        ("a > 1 | b > 1", "at 6 (\"|\"): a single | joins nothing; write || or or"),
        ("a <> 1", "at 2 (\"<>\"): <> is not a sign of the language; write != for \"differs from\""),
        ("a => 1", "at 2 (\"=>\"): the signs stand the wrong way round; write >= or <="),
        ("mode == 'x'", "at 8 (\"'\"): a text stands in double quotes; write \"defrost\" instead of 'defrost'"),
        ("mode == \"x", "at 8 (\"\\\"x\"): the text is not closed; put a \" at its end"),
        ("`room temp > 3", "at 0 (\"`room temp > 3\"): the name is not closed; put a ` at its end"),
        ("(temp > 3", "at 0 (\"(\"): this ( is not closed; put a ) where it ends"),
        ("temp > 3)", "at 8 (\")\"): this ) closes nothing; remove it, or open a ( before"),
        ("avg(temp, 5m > 3", "at 3 (\"(\"): this ( is not closed; put a ) where it ends"),
        ("1 < x < 3", "at 6 (\"<\"): comparisons do not follow one another; write a < b && b < c instead of a < b < c"),
        (
            "temp 3",
            "at 5 (\"3\"): something is missing before this; put &&, ||, a comparison or + - * / % between two values",
        ),
        ("a > .5", "at 4 (\".\"): a number begins with a digit; write 0.5 instead of .5"),
        (
            "a > 5x",
            "at 4 (\"5x\"): \"5x\" is neither a number nor a duration; numbers are written 12, 0.5 or 1e3, durations 500ms, 30s, 5m, 2h or 1d",
        ),
        ("a > 1e999", "at 4 (\"1e999\"): 1e999 is too large; numbers reach up to 1.7e308"),
        (
            "foo(a) > 1",
            "at 0 (\"foo\"): unknown function foo; there are avg, sum, min, max, count, stddev, rate, delta, changed, missing, age, distance, outside, abs, round, floor, ceil, sqrt, log, pow, clamp, tag, group, device, firmware and p1 to p99",
        ),
        ("evg(a, 5m) > 1", "at 0 (\"evg\"): unknown function evg; did you mean avg?"),
        ("mean(a, 5m) > 1", "at 0 (\"mean\"): unknown function mean; did you mean avg?"),
        ("a > p0(a, 5m)", "at 4 (\"p0\"): unknown function p0; percentiles are p1 to p99"),
        ("avg(a) > 1", "at 0 (\"avg(a)\"): avg does not take 1 argument; write avg(metric, 10m)"),
        ("age() > 1", "at 0 (\"age()\"): age wants arguments; write age(metric)"),
        ("group(1) == \"a\"", "at 0 (\"group(1)\"): group does not take 1 argument; write group()"),
        (
            "avg(a, 600) > 1",
            "at 7 (\"600\"): a window is a duration; write avg(metric, 10m), with 500ms, 30s, 5m, 2h or 1d",
        ),
        ("avg(a, 0s) > 1", "at 7 (\"0s\"): a window of no time holds nothing; write 30s, 5m or 2h"),
        ("avg(a, 25h) > 1", "at 7 (\"25h\"): a window of 25h is too long; a window is at most 24h"),
        ("avg(a, 1.5h) > 1", "at 7 (\"1.5h\"): a duration is a whole number; write 90m instead of 1.5h"),
        (
            "avg(a + 1, 5m) > 1",
            "at 4 (\"a + 1\"): avg wants a metric by name; write avg(metric, 10m); calculate with its result",
        ),
        (
            "age(a) > 5m",
            "at 9 (\"5m\"): a duration stands only as the window of a function; elsewhere time is in seconds: write 300",
        ),
        ("tag(limit) > 1", "at 4 (\"limit\"): tag wants a key in quotes; write tag(\"limit\")"),
        ("a / 0 > 1", "at 4 (\"0\"): this divides by zero; divide by something else"),
        ("a % (3 - 3) > 1", "at 5 (\"3 - 3\"): this divides by zero; divide by something else"),
        ("1 > 0", "at 0 (\"1 > 0\"): this is always true; compare a metric, for example temp > 80"),
        ("a > 1 && 2 < 1", "at 9 (\"2 < 1\"): this is always false; compare a metric, for example temp > 80"),
        ("a > 1 && false", "at 0 (\"a > 1 && false\"): this is always false; compare a metric, for example temp > 80"),
        ("a > sqrt(-1)", "at 4 (\"sqrt(-1)\"): this has no value; see to it that the function is defined there"),
        (
            "a + 1",
            "at 0 (\"a + 1\"): true or false is wanted here, and this is a number; compare it, for example a + 1 > 0",
        ),
        (
            "tag(\"x\") && a > 1",
            "at 0 (\"tag(\\\"x\\\")\"): true or false is wanted here, and this is a text; compare it, for example tag(\"x\") == \"on\"",
        ),
        (
            "(a > 1) + 1 > 1",
            "at 1 (\"a > 1\"): a number is wanted here, and this is true or false; join comparisons with && or ||; only bool metrics count as 0 and 1",
        ),
        (
            "\"5\" < a",
            "at 0 (\"\\\"5\\\"\"): a text is neither above nor below anything; write 5 without quotes if a number is meant",
        ),
        (
            "group() < a",
            "at 0 (\"group()\"): a text is neither above nor below anything; texts compare with ==, != and in",
        ),
        (
            "a == 3 && a == \"x\"",
            "at 10 (\"a\"): a is used as a number in one place and as a text in another; a metric is one or the other",
        ),
        ("1 == \"x\"", "at 5 (\"\\\"x\\\"\"): a number is compared with a text; compare like with like"),
        (
            "abs(a) == true",
            "at 10 (\"true\"): a number is compared with true or false; write 1 instead of true, or \"true\" for a text",
        ),
        ("outside(lat, lon, 91, 0, 5)", "at 18 (\"91\"): 91 is no latitude; a latitude is -90 to 90 degrees"),
        (
            "a > 1 AND b > 1",
            "at 6 (\"AND\"): AND has no place here; and, or, not and in are written in lower case and stand between or before values; a metric called and stands in backquotes",
        ),
        (
            "and > 1",
            "at 0 (\"and\"): there is no value before and; put one there; a metric called and stands in backquotes",
        ),
        ("a in 3", "at 5 (\"3\"): in wants a list; write mode in (\"auto\", \"eco\") or state in (1, 2, 3)"),
        ("a in ()", "at 5 (\"()\"): the list is empty; name at least one value"),
        (
            "group() == \"a\"",
            "at 0 (\"group() == \\\"a\\\"\"): no metric is named, so no sample would ever be a reason to look; name a metric, for example temp > tag(\"limit\")",
        ),
        (
            "größe > 1",
            "at 2 (\"ö\"): 'ö' has no meaning here; put a metric's name in backquotes if it has more than letters, digits and _ . :",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn conditions_that_cannot_turn_out_both_ways_are_refused() {
    for (text, expected) in [
        ("a > 80 && a < 20", "at 0 (\"a > 80 && a < 20\"): no a is both; join them with || if either is meant"),
        (
            "b > 1 && avg(a, 5m) > 1 && avg(a, 5m) == 1",
            "at 9 (\"avg(a, 5m) > 1 && avg(a, 5m) == 1\"): no avg(a, 5m) is both; join them with || if either is meant",
        ),
        (
            "m == \"a\" && m == \"b\"",
            "at 0 (\"m == \\\"a\\\" && m == \\\"b\\\"\"): no m is both; join them with || if either is meant",
        ),
        (
            "m != \"a\" || m != \"b\"",
            "at 0 (\"m != \\\"a\\\" || m != \\\"b\\\"\"): one of these always holds, whatever m is; join them with && if both are meant",
        ),
        (
            "a > 5 || a <= 5",
            "at 0 (\"a > 5 || a <= 5\"): one of these always holds, whatever a is; join them with && if both are meant",
        ),
        (
            "abs(a) < 0",
            "at 0 (\"abs(a) < 0\"): abs(a) is not below 0: this is never so; compare it with a number above 0",
        ),
        (
            "0 <= count(a, 5m)",
            "at 0 (\"0 <= count(a, 5m)\"): count(a, 5m) is not below 0: this is always so; compare it with a number above 0",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let exclusive = [
        "a > 5 && a <= 5",
        "a >= 5 && a < 5",
        "a == 5 && a > 5",
        "a == 5 && a != 5",
        "5 < a && 4 > a",
        "a > -1 && a < -1.5",
    ];
    for text in exclusive {
        assert!(error(text).contains("no a is both"), "{text}: {}", error(text));
    }
    for text in [
        "a > 20 && a < 80",
        "a >= 5 && a <= 5",
        "a > 80 && b < 20",
        "a == 5 || a == 6",
        "a != 5 && a != 6",
        "a > 80 || a < 20",
        "m == \"a\" || m == \"b\"",
        "m != \"a\" && m != \"b\"",
        "a > 5 && a > 6",
        "a < 5 || a < 6",
        "age(a) > 0",
        "abs(a) <= 0",
        "a == 5 || a != 6 && b > 1",
        "a > 5 && b > 1 || a < 5",
    ] {
        assert!(try_program(&[text]).is_ok(), "{text}: {}", error(text));
    }
}

#[test]
fn the_error_names_the_predicate_and_points_at_the_place() {
    let error = try_program(&["a > 1", "a + 1"]).expect_err("a number");
    assert_eq!(error.predicate, 1);
    let error = Expr::parse("temp > 80\n  && häufig > 1").expect_err("no such letter");
    let expected = "  && häufig > 1\n      ^\nat 16 (\"ä\"): 'ä' has no meaning here";
    assert!(
        error.pointed("temp > 80\n  && häufig > 1").starts_with(expected),
        "{}",
        error.pointed("temp > 80\n  && häufig > 1")
    );
    assert_eq!(Expr::parse("foo(a)").expect_err("unknown").at, 0..3);
}

#[test]
fn everything_has_a_bound() {
    assert!(error(&format!("a > {}", " ".repeat(TEXT_BYTES_MAX))).contains("at most 2048 are allowed"));
    let nested = |n: usize| format!("{}a{} > 1", "(".repeat(n), ")".repeat(n));
    assert!(try_program(&[&nested(DEPTH_MAX)]).is_ok());
    assert!(error(&nested(DEPTH_MAX + 1)).contains("nested more than 64 deep"));
    assert!(error(&format!("{}a", "!".repeat(1000))).contains("nested more than 64 deep"));
    assert!(error(&format!("a{} > 1", " + a".repeat(100))).contains("nested more than 64 deep"));
    assert!(try_program(&[&format!("a > 1{}", " || a > 2".repeat(200))]).is_ok(), "a flat list is not deep");
    let sum = |n: usize| (0..n).map(|i| format!("m{i} > 0")).collect::<Vec<_>>().join(" || ");
    assert!(try_program(&[&sum(16)]).is_ok());
    assert!(error(&sum(17)).contains("m16 is the metric number 17; at most 16 are allowed"), "{}", error(&sum(17)));
    let windows = |n: usize| (1..=n).map(|i| format!("avg(m, {i}m) > 0")).collect::<Vec<_>>();
    let texts = windows(9);
    let all: Vec<_> = texts.iter().map(String::as_str).collect();
    assert!(try_program(&all[..8]).is_ok());
    assert_eq!(try_program(&all).expect_err("too many").predicate, 8);
    let long = format!("a > 1{}", " || a > 2".repeat(200));
    assert!(try_program(&vec![long.as_str(); 120]).is_err_and(|error| error.problem.contains("too long together")));
    // Nested lists must not be looked at again and again.
    let lists = format!("{}a > 1{}", "(".repeat(40), ") in (a > 2, a > 3, a > 4)".repeat(40));
    assert!(try_program(&[&lists]).is_ok(), "{}", error(&lists));
}

#[test]
fn a_device_whose_types_do_not_fit_is_named() {
    let check = |text: &str, value_type: ValueType| {
        program(&[text]).check_types(&[Some(value_type)]).err().map(|error| error.to_string())
    };
    for (text, value_type, expected) in [
        (
            "m > 1",
            ValueType::Text,
            "at 0 (\"m\"): a text is neither above nor below anything; texts compare with ==, != and in",
        ),
        (
            "avg(m, 5m) > 1",
            ValueType::Text,
            "at 4 (\"m\"): a number is wanted here, and this is a text; use a metric that has numbers",
        ),
        (
            "m && age(m) > 3",
            ValueType::F32,
            "at 0 (\"m\"): true or false is wanted here, and this is a number; compare it, for example m > 0",
        ),
        (
            "m == \"on\"",
            ValueType::I64,
            "at 5 (\"\\\"on\\\"\"): a number is compared with a text; compare like with like",
        ),
        (
            "m == \"on\"",
            ValueType::Bool,
            "at 5 (\"\\\"on\\\"\"): true or false is compared with a text; compare like with like",
        ),
        (
            "m > 1",
            ValueType::Bool,
            "at 0 (\"m > 1\"): m is a bool, 0 or 1: this is never so; write m for true, !m for false",
        ),
        (
            "0 <= m",
            ValueType::Bool,
            "at 0 (\"0 <= m\"): m is a bool, 0 or 1: this is always so; write m for true, !m for false",
        ),
    ] {
        assert_eq!(check(text, value_type).as_deref(), Some(expected), "{text}");
    }
    for (text, value_type) in [
        ("m > 0.5", ValueType::Bool),
        ("m", ValueType::Bool),
        ("count(m, 5m) < 3", ValueType::Text),
        ("changed(m) || missing(m) || age(m) > 3", ValueType::Text),
        ("m in (\"a\", \"b\")", ValueType::Text),
        ("m > tag(\"limit\")", ValueType::F32),
        ("avg(m, 5m) > 0.9", ValueType::Bool),
    ] {
        assert_eq!(check(text, value_type), None, "{text}");
    }
    let two = program(&["a == b"]);
    assert!(two.check_types(&[Some(ValueType::Text), None]).is_ok());
    assert!(two.check_types(&[Some(ValueType::Text), Some(ValueType::F64)]).is_err());
    assert!(two.check_types(&[]).is_ok());
}
