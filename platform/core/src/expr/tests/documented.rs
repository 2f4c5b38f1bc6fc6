//! The user's reference is right.

use super::*;
use crate::expr::function::FUNCTIONS;

const DOCS: &str = include_str!("../../../../../docs/expressions.md");

/// The lines of the fenced blocks of one kind, with the number of the line.
fn blocks(kind: &str) -> Vec<(usize, &'static str)> {
    let fence = format!("```{kind}");
    let mut inside = false;
    let mut lines = Vec::new();
    for (i, line) in DOCS.lines().enumerate() {
        if line.starts_with("```") {
            inside = line == fence;
        } else if inside && !line.trim().is_empty() {
            lines.push((i + 1, line));
        }
    }
    lines
}

#[test]
fn every_example_is_a_predicate() {
    let examples = blocks("expr");
    assert!(examples.len() >= 20, "only {} examples were read", examples.len());
    for (line, text) in examples {
        if let Err(error) = try_program(&[text]) {
            panic!("docs/expressions.md:{line}:\n{}", error.pointed(text));
        }
    }
}

#[test]
fn every_error_is_what_people_see() {
    let shown = blocks("expr-error");
    assert!(shown.len() >= 9, "only {} lines were read", shown.len());
    for example in shown.chunks(3) {
        let [(line, text), (_, carets), (_, message)] = example else { panic!("an error has three lines") };
        let error = try_program(&[text]).expect_err("the documentation shows an error");
        assert_eq!(error.pointed(text), format!("{text}\n{carets}\n{message}"), "docs/expressions.md:{line}");
    }
}

#[test]
fn every_function_and_bound_is_in_the_reference() {
    for (name, ..) in FUNCTIONS {
        assert!(DOCS.contains(&format!("`{name}(")), "{name} is not in docs/expressions.md");
    }
    for bound in ["2048 bytes", "64 deep", "16 metrics", "8 windows", "24 hours", "4096 samples"] {
        assert!(DOCS.contains(bound), "{bound} is not in docs/expressions.md");
    }
    use crate::expr::*;
    assert_eq!((TEXT_BYTES_MAX, DEPTH_MAX, METRICS_MAX, WINDOWS_MAX, WINDOW_SAMPLES_MAX), (2048, 64, 16, 8, 4096));
}
