use super::*;
use crate::expr::Expr;

pub(crate) fn authorship() -> Authorship {
    Authorship {
        id: RuleId::parse("r").expect("valid"),
        version: 1,
        created_us: 0,
        updated_us: 0,
        updated_by: UserName::parse("kim").expect("valid"),
    }
}

fn threshold(comparison: &str, threshold: f64, clear: Option<f64>) -> RuleDocument {
    RuleDocument {
        name: "Rule".into(),
        metric: Some("temp".into()),
        comparison: Some(comparison.into()),
        threshold: Some(threshold),
        clear: clear.map(ClearDocument::Number),
        ..RuleDocument::default()
    }
}

#[test]
fn a_threshold_is_an_expression_and_its_clear_is_the_quiet_side() {
    let rule = threshold(">", 10.0, Some(8.0)).rule(authorship()).expect("a rule");
    assert_eq!(rule.levels[0].when.text(), "temp > 10");
    assert_eq!(rule.levels[0].clear.as_ref().map(Expr::text), Some("temp <= 8"));
    assert!(threshold("<", 10.0, None).rule(authorship()).expect("a rule").levels[0].clear.is_none());
}

#[test]
fn a_clear_threshold_on_the_wrong_side_is_refused_with_both_numbers() {
    let error = threshold(">", 10.0, Some(12.0)).rule(authorship()).expect_err("could never clear");
    assert_eq!((error.field.as_str(), error.kind), ("clear", RuleProblem::Threshold));
    assert!(error.to_string().contains("12") && error.to_string().contains("10"), "{error}");
    assert!(threshold("<=", 10.0, Some(9.0)).rule(authorship()).is_err());
    for value in [f64::NAN, f64::INFINITY] {
        assert_eq!(threshold(">", value, None).rule(authorship()).expect_err("not finite").field, "threshold");
    }
}

#[test]
fn what_is_written_again_is_the_same_rule() {
    let document = RuleDocument {
        name: "Cold room".into(),
        levels: Some(vec![
            LevelDocument { severity: "critical".into(), when: "temp > -8 && !defrost".into(), clear: None },
            LevelDocument { severity: "warning".into(), when: "temp > -12".into(), clear: Some("temp < -15".into()) },
        ]),
        scope: Some(ScopeDocument { tag: Some("kind:cold".into()), ..ScopeDocument::default() }),
        count: Some(CountDocument { at_least: 3, of: 5 }),
        no_data: Some(NoDataDocument { after: Some("2m".into()), then: Some("fire".into()), severity: None }),
        schedule: Some(ScheduleDocument {
            zone: "Europe/Berlin".into(),
            windows: vec![WindowDocument::Text("mon-fri 08:00-18:00".into())],
        }),
        notify: Some(NotifyDocument { to: Some(vec!["role:admin".into()]), ..NotifyDocument::default() }),
        message: "{{ device.name }}: {{ metric.temp }}".into(),
        ..RuleDocument::default()
    };
    let rule = document.rule(authorship()).expect("a rule");
    assert_eq!(rule.levels[0].severity, Severity::Warning, "the mildest first");
    let again = RuleDocument::from(&rule);
    let same = RuleDocument { id: None, ..again.clone() }.rule(authorship()).expect("a rule");
    assert_eq!(same, rule);
    assert_eq!(RuleDocument::from(&same), again);
}

#[test]
fn mistakes_name_their_field() {
    let base = || RuleDocument { name: "R".into(), when: Some("temp > 1".into()), ..RuleDocument::default() };
    let cases: [(&str, RuleDocument); 9] = [
        ("levels[0].when", RuleDocument { when: Some("temp >".into()), ..base() }),
        ("for", RuleDocument { hold: Some("25h".into()), ..base() }),
        ("count", RuleDocument { count: Some(CountDocument { at_least: 6, of: 5 }), ..base() }),
        ("message", RuleDocument { message: "{{ nothing }}".into(), ..base() }),
        (
            "schedule",
            RuleDocument {
                schedule: Some(ScheduleDocument { zone: "Mars/Base".into(), windows: Vec::new() }),
                ..base()
            },
        ),
        ("mode", RuleDocument { mode: Some("fast".into()), ..base() }),
        ("runbook", RuleDocument { runbook: "javascript:x".into(), ..base() }),
        ("scope", RuleDocument { scope: Some(ScopeDocument::default()), ..base() }),
        ("levels[0].severity", RuleDocument { severity: Some("bad".into()), ..base() }),
    ];
    for (field, document) in cases {
        assert_eq!(document.rule(authorship()).expect_err(field).field, field);
    }
}
