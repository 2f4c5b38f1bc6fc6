//! Texts and trees.

use super::*;
use crate::alert::Comparison;
use crate::expr::ast::{Arithmetic, Kind, Node, Relation};
use crate::expr::function::{FUNCTIONS, Function};
use crate::expr::parse::parse;
use crate::ids::MetricName;
use proptest::prelude::*;

fn node(kind: Kind) -> Node {
    Node { kind, at: 0..0 }
}

fn metric() -> impl Strategy<Value = Kind> {
    prop_oneof![
        "[A-Za-z_][A-Za-z0-9_.:]{0,8}",
        Just("in".to_owned()),
        Just("min".to_owned()),
        Just("true".to_owned()),
        "[a-zé`\" -]{1,8}",
    ]
    .prop_filter_map("a name", |name| MetricName::parse(&name).ok().map(Kind::Metric))
}

fn leaf() -> impl Strategy<Value = Kind> {
    prop_oneof![
        prop_oneof![0.0..1e6, 0.0..1e-9, 0.0..1e300, Just(0.1)].prop_map(Kind::Number),
        any::<bool>().prop_map(Kind::Bool),
        "[ -~é]{0,6}".prop_map(|text| Kind::Text(text.into())),
        prop_oneof![1_i64..5000, Just(60_000), Just(7_200_000), Just(86_400_000)]
            .prop_map(|ms| Kind::Duration(ms * 1000)),
        metric(),
    ]
}

fn tree() -> impl Strategy<Value = Node> {
    let relation = prop_oneof![
        prop::sample::select(&Comparison::ALL[..]).prop_map(Relation::Order),
        Just(Relation::Equal),
        Just(Relation::Different),
    ];
    let arithmetic = prop::sample::select(vec![
        Arithmetic::Add,
        Arithmetic::Subtract,
        Arithmetic::Multiply,
        Arithmetic::Divide,
        Arithmetic::Remainder,
    ]);
    let functions: Vec<Function> =
        FUNCTIONS.iter().map(|(_, f, _)| *f).chain([1, 50, 99].map(Function::Percentile)).collect();
    leaf().prop_map(node).prop_recursive(6, 60, 4, move |inner| {
        let two = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        let some = |from| prop::collection::vec(inner.clone(), from..4_usize);
        prop_oneof![
            inner.clone().prop_map(|a| Kind::Negative(Box::new(a))),
            inner.clone().prop_map(|a| Kind::Not(Box::new(a))),
            some(2).prop_map(Kind::And),
            some(2).prop_map(Kind::Or),
            (arithmetic.clone(), two.clone()).prop_map(|(sign, (a, b))| Kind::Arithmetic(sign, a, b)),
            (relation.clone(), two).prop_map(|(relation, (a, b))| Kind::Compare(relation, a, b)),
            (inner.clone(), some(1), any::<bool>()).prop_map(|(what, list, negated)| Kind::In {
                what: Box::new(what),
                list,
                negated
            }),
            (prop::sample::select(functions.clone()), some(0)).prop_map(|(function, args)| Kind::Call(function, args)),
        ]
        .prop_map(node)
    })
}

proptest! {
    #[test]
    fn a_tree_is_read_back_from_its_text(tree in tree()) {
        let text = tree.to_string();
        prop_assume!(text.len() <= crate::expr::TEXT_BYTES_MAX);
        match parse(&text) {
            Ok(read) => prop_assert_eq!(read, tree, "{}", text),
            Err(error) => prop_assert!(false, "{}", error.pointed(&text)),
        }
    }

    #[test]
    fn two_comparisons_are_refused_exactly_if_they_cannot_turn_out_both_ways(
        and in any::<bool>(),
        parts in prop::collection::vec((prop::sample::select(vec![">", ">=", "<", "<=", "==", "!="]), 0_i8..4, any::<bool>()), 2..4),
    ) {
        let part = |(sign, value, flip): &(&str, i8, bool)| if *flip { format!("{value} {sign} m") } else { format!("m {sign} {value}") };
        let text = parts.iter().map(part).collect::<Vec<_>>().join(if and { " && " } else { " || " });
        let outcomes: Vec<bool> = (-1..9)
            .map(|halves| {
                let m = f64::from(halves) / 2.0;
                let mut each = parts.iter().map(|(sign, value, flip)| {
                    let relation = Relation::from_sign(sign).expect("a relation");
                    let value = f64::from(*value);
                    if *flip { relation.holds(value, m) } else { relation.holds(m, value) }
                });
                if and { each.all(|holds| holds) } else { each.any(|holds| holds) }
            })
            .collect();
        let idle = outcomes.iter().all(|outcome| *outcome == outcomes[0]);
        let refused = Expr::parse(&text).is_err();
        // Of three, only pairs are looked at.
        prop_assert!(refused == idle || (parts.len() > 2 && idle), "{}: {:?}", text, outcomes);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        if let Err(error) = Expr::parse(&text) {
            error.pointed(&text);
        }
    }

    #[test]
    fn no_words_make_it_panic_and_what_it_takes_it_takes_again(
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "b", "temp", "`x y`", "1", "0", "2.5", "5m", "0s", "99d", "\"on\"", "\"5\"", "(", ")", "(", ")", ",", "+", "-", "*",
            "/", "%", "&&", "||", "!", "==", "!=", "<", ">=", "in", "not", "and", "or", "true", "avg(", "min(", "p95(",
            "rate(", "changed(", "missing(", "age(", "tag(", "group()", "outside(", "clamp(", "pow(", "é", "`", "\"", "=", "\n",
        ]), 0..24),
        spaced in any::<bool>(),
    ) {
        let text = words.join(if spaced { " " } else { "" });
        match Expr::parse(&text) {
            Err(error) => prop_assert!(!error.pointed(&text).is_empty()),
            Ok(expr) => {
                let again = Expr::parse(&expr.to_string()).map(|again| again.to_string());
                prop_assert_eq!(again, Ok(expr.to_string()));
                if let Ok(program) = Program::new(&[expr]) {
                    let memory = Memory::new(&program);
                    let device = device();
                    let moment = Moment { now_us: i64::MAX, staleness_us: Some(i64::MAX), device: &device };
                    memory.judge(&program, 0, &moment);
                    memory.next_us(&program, &moment);
                }
            }
        }
    }
}
