//! Conditions that cannot turn out both ways, whatever the device sends: mistakes that would otherwise only show as an alert
//! that never comes, or always.

use super::ast::{Kind, Node, Relation};
use super::error::{ExprError, clip};
use super::function::Function;
use crate::alert::Comparison;

#[derive(Clone, Copy)]
enum Literal<'a> {
    Number(f64),
    Text(&'a str),
}

/// A comparison of something with what is written.
#[derive(Clone, Copy)]
struct Claim<'a> {
    about: &'a Node,
    relation: Relation,
    literal: Literal<'a>,
}

/// Looks through a checked tree.
pub(super) fn refuse_idle(text: &str, node: &Node) -> Result<(), ExprError> {
    match &node.kind {
        Kind::And(parts) => refuse_exclusive(text, parts, false)?,
        Kind::Or(parts) => refuse_exclusive(text, parts, true)?,
        Kind::Compare(..) => refuse_below_nothing(text, node)?,
        _ => {}
    }
    node.children().into_iter().try_for_each(|child| refuse_idle(text, child))
}

fn claim(node: &Node) -> Option<Claim<'_>> {
    let Kind::Compare(relation, left, right) = &node.kind else { return None };
    let literal = |node: &'_ Node| -> bool { node.literal().is_some() || matches!(node.kind, Kind::Text(_)) };
    let (about, relation, written) = match (literal(left), literal(right)) {
        (false, true) => (left, *relation, right),
        (true, false) => (right, relation.flipped(), left),
        _ => return None,
    };
    let literal = match &written.kind {
        Kind::Text(text) => Literal::Text(text),
        _ => Literal::Number(written.literal()?),
    };
    Some(Claim { about, relation, literal })
}

/// `x > 80 && x < 20` never holds; `mode != "a" || mode != "b"` always does, since its opposite never holds.
fn refuse_exclusive(text: &str, parts: &[Node], or: bool) -> Result<(), ExprError> {
    let claims = || parts.iter().filter_map(|part| Some((part, claim(part)?)));
    for (i, (first, a)) in claims().enumerate() {
        for (second, b) in claims().skip(i + 1) {
            let (x, y) = if or { (opposite(a.relation), opposite(b.relation)) } else { (a.relation, b.relation) };
            if a.about != b.about || !exclude_each_other((x, a.literal), (y, b.literal)) {
                continue;
            }
            let at = first.at.start..second.at.end;
            let about = clip(text.get(a.about.at.clone()).unwrap_or_default());
            let (problem, remedy) = match or {
                true => {
                    (format!("one of these always holds, whatever {about} is"), "join them with && if both are meant")
                }
                false => (format!("no {about} is both"), "join them with || if either is meant"),
            };
            return Err(ExprError::new(text, at, problem, remedy));
        }
    }
    Ok(())
}

fn opposite(relation: Relation) -> Relation {
    match relation {
        Relation::Equal => Relation::Different,
        Relation::Different => Relation::Equal,
        Relation::Order(comparison) => Relation::Order(match comparison {
            Comparison::Above => Comparison::AtMost,
            Comparison::AtLeast => Comparison::Below,
            Comparison::Below => Comparison::AtLeast,
            Comparison::AtMost => Comparison::Above,
        }),
    }
}

fn exclude_each_other(a: (Relation, Literal<'_>), b: (Relation, Literal<'_>)) -> bool {
    let same = match (a.1, b.1) {
        (Literal::Text(a), Literal::Text(b)) => a == b,
        #[allow(clippy::float_cmp)] // as written
        (Literal::Number(a), Literal::Number(b)) => a == b,
        _ => return false,
    };
    match (a.0, b.0, a.1, b.1) {
        (Relation::Equal, Relation::Equal, ..) => !same,
        (Relation::Equal, Relation::Different, ..) | (Relation::Different, Relation::Equal, ..) => same,
        (Relation::Different, ..) | (_, Relation::Different, ..) => false,
        // One is an order, so both are of numbers. Nothing is shared if neither end of one is in the other.
        (_, _, Literal::Number(x), Literal::Number(y)) => {
            let ((low, low_open), (high, high_open)) = (lowest(a.0, x, b.0, y), highest(a.0, x, b.0, y));
            low > high || (low >= high && (low_open || high_open))
        }
        _ => false,
    }
}

/// The greater of two lower ends, and whether it is outside.
fn lowest(a: Relation, x: f64, b: Relation, y: f64) -> (f64, bool) {
    let low = |relation: Relation, value: f64| match relation {
        Relation::Order(Comparison::Above) => (value, true),
        Relation::Order(Comparison::AtLeast) | Relation::Equal => (value, false),
        _ => (f64::NEG_INFINITY, false),
    };
    let (a, b) = (low(a, x), low(b, y));
    if a.0 > b.0 || (a.0 >= b.0 && a.1) { a } else { b }
}

/// The smaller of two upper ends, and whether it is outside.
fn highest(a: Relation, x: f64, b: Relation, y: f64) -> (f64, bool) {
    let high = |relation: Relation, value: f64| match relation {
        Relation::Order(Comparison::Below) => (value, true),
        Relation::Order(Comparison::AtMost) | Relation::Equal => (value, false),
        _ => (f64::INFINITY, false),
    };
    let (a, b) = (high(a, x), high(b, y));
    if a.0 < b.0 || (a.0 <= b.0 && a.1) { a } else { b }
}

/// `abs(x) < 0` never holds, and `count(m, 5m) >= 0` always does.
fn refuse_below_nothing(text: &str, node: &Node) -> Result<(), ExprError> {
    use Function::{Abs, Age, Count, Distance, Sqrt, Stddev};
    let Some(Claim { about, relation, literal: Literal::Number(number) }) = claim(node) else { return Ok(()) };
    let Kind::Call(Abs | Age | Count | Distance | Sqrt | Stddev, _) = about.kind else { return Ok(()) };
    let outcome = match relation {
        Relation::Order(Comparison::Below) if number <= 0.0 => "never",
        Relation::Order(Comparison::AtMost) | Relation::Equal if number < 0.0 => "never",
        Relation::Order(Comparison::AtLeast) if number <= 0.0 => "always",
        Relation::Order(Comparison::Above) | Relation::Different if number < 0.0 => "always",
        _ => return Ok(()),
    };
    let about = clip(text.get(about.at.clone()).unwrap_or_default());
    let problem = format!("{about} is not below 0: this is {outcome} so");
    Err(ExprError::new(text, node.at.clone(), problem, "compare it with a number above 0"))
}
