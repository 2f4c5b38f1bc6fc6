//! Expressions, and what a rule makes of them.

use super::METRICS_MAX;
use super::ast::{Kind, Node, Relation, flipped};
use super::check::{check, check_predicates, collect_metrics};
use super::compile::{Code, Compiler, Op, OpIndex, WindowPlan};
use super::error::ExprError;
use super::idle::refuse_idle;
use super::op::{Truth, through_f32};
use super::parse::parse;
use crate::alert::Comparison;
use crate::device::Device;
use crate::ids::MetricName;
use crate::value::ValueType;
use std::fmt;
use std::sync::Arc;

/// A text that was read and makes sense. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Expr(Arc<Parsed>);

#[derive(Debug)]
struct Parsed {
    text: String,
    root: Node,
    metrics: Vec<MetricName>,
    constant: Option<bool>,
}

impl PartialEq for Expr {
    /// Two expressions are equal if their texts are.
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Expr {}

impl Expr {
    /// Reads a text of at most [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX) bytes.
    ///
    /// # Errors
    /// [`ExprError`], which says where and what to write instead.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let root = parse(text)?;
        let mut metrics = Vec::new();
        collect_metrics(text, &root, &mut metrics)?;
        check(text, &root, &|_| None)?;
        refuse_idle(text, &root)?;
        let mut code = Code::default();
        let at = Compiler { code: &mut code, text, metrics: &metrics }.node(&root)?;
        let constant = match code.outcome(at) {
            Truth::Yes => Some(true),
            Truth::No => Some(false),
            Truth::Unknown => None,
        };
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), root, metrics, constant })))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The metrics it names, in the order in which they appear.
    pub fn metrics(&self) -> &[MetricName] {
        &self.0.metrics
    }

    /// True if it is `true` or `false` whatever the device says.
    pub fn is_constant(&self) -> bool {
        self.0.constant.is_some()
    }

    /// Its parts, if it is exactly a metric, one of `> >= < <=` and a number; or the other way round.
    pub fn threshold(&self) -> Option<(MetricName, Comparison, f64)> {
        let Kind::Compare(Relation::Order(comparison), left, right) = &self.0.root.kind else { return None };
        match (&left.kind, &right.kind) {
            (Kind::Metric(name), _) => Some((name.clone(), *comparison, right.literal()?)),
            (_, Kind::Metric(name)) => Some((name.clone(), flipped(*comparison), left.literal()?)),
            _ => None,
        }
    }
}

impl fmt::Display for Expr {
    /// With the spaces and parentheses that it needs, and no others.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.root.fmt(f)
    }
}

/// `metric CMP value`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// How.
    pub comparison: Comparison,
    /// As written.
    pub value: f64,
    /// The nearest f32: what an f32 metric is compared with.
    pub value_f32: f64,
}

impl Threshold {
    fn new(comparison: Comparison, value: f64) -> Self {
        Self { comparison, value, value_f32: through_f32(value) }
    }

    /// Whether a value passes. NaN passes nothing.
    ///
    /// An f32 is stored as the f64 of the same value, which is not the f64 that a person writes; so 21.7 as f32 is not
    /// above 21.7.
    pub fn holds(&self, value: f64, is_f32: bool) -> bool {
        self.comparison.holds(value, if is_f32 { self.value_f32 } else { self.value })
    }
}

/// When and where a predicate is judged.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// The event clock: µs since the Unix epoch, not before the newest sample.
    pub now_us: i64,
    /// A value older than this is absent; None if values hold until the next one.
    pub staleness_us: Option<i64>,
    /// The device; its tags, group, id and firmware can be asked for.
    pub device: &'a Device,
}

/// `age(metric) CMP seconds`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgeMark {
    pub input: usize,
    pub relation: Relation,
    pub seconds: f64,
}

/// Predicates over one list of inputs, ready to be judged.
#[derive(Debug, Clone)]
pub struct Program {
    predicates: Vec<(Expr, OpIndex)>,
    metrics: Vec<MetricName>,
    metric_keys: Vec<u64>,
    code: Code,
    simple: Option<Vec<Threshold>>,
    age_marks: Vec<AgeMark>,
    // Inputs whose age is calculated with.
    ages: Vec<usize>,
}

impl Program {
    /// Predicate i is `exprs[i]`.
    ///
    /// # Errors
    /// [`ExprError`], with the predicate it is about: one that is not true or false, or always the same (unless it is just
    /// `true` or `false`); too many metrics or windows; no metric at all, since then no sample would ever make it be
    /// judged.
    pub fn new(exprs: &[Expr]) -> Result<Self, ExprError> {
        check_predicates(exprs.iter().map(|expr| (expr.text(), &expr.0.root)), &|_| None)?;
        let mut metrics = Vec::with_capacity(METRICS_MAX);
        let mut code = Code::default();
        let mut predicates = Vec::new();
        for (i, expr) in exprs.iter().enumerate() {
            let (text, root) = (expr.text(), &expr.0.root);
            let error = |problem: String, remedy: &str| {
                Err(ExprError::new(text, root.at.clone(), problem, remedy).of_predicate(i))
            };
            if let Some(outcome) = expr.0.constant
                && !matches!(root.kind, Kind::Bool(_))
            {
                return error(format!("this is always {outcome}"), "compare a metric, for example temp > 80");
            }
            collect_metrics(text, root, &mut metrics).map_err(|error| error.of_predicate(i))?;
            let at = Compiler { code: &mut code, text, metrics: &metrics }.node(root);
            predicates.push((expr.clone(), at.map_err(|error| error.of_predicate(i))?));
            let last = i + 1 == exprs.len();
            if last && metrics.is_empty() && exprs.iter().any(|expr| !expr.is_constant()) {
                let problem = "no metric is named, so no sample would ever be a reason to look".to_owned();
                return error(problem, "name a metric, for example temp > tag(\"limit\")");
            }
        }
        let (age_marks, ages) = ages(&code);
        let metric_keys = metrics.iter().map(super::metric_key).collect();
        let simple = simple(exprs);
        Ok(Self { predicates, metrics, metric_keys, code, simple, age_marks, ages })
    }

    /// The inputs: every metric that a predicate names, in the order in which they appear.
    pub fn metrics(&self) -> &[MetricName] {
        &self.metrics
    }

    /// The predicates as they were given.
    pub fn exprs(&self) -> impl ExactSizeIterator<Item = &Expr> {
        self.predicates.iter().map(|(expr, _)| expr)
    }

    /// One threshold per predicate, if all are `metric CMP number` with the same metric. No memory is needed then.
    pub fn simple(&self) -> Option<&[Threshold]> {
        self.simple.as_deref()
    }

    /// True if samples are kept: a function of a window is called.
    pub fn has_windows(&self) -> bool {
        !self.code.windows.is_empty()
    }

    /// True if time alone is asked for: `missing()` or `age()`.
    pub fn uses_time(&self) -> bool {
        let missing = self.code.ops.iter().any(|op| matches!(op, super::compile::Op::Missing(..)));
        missing || !self.age_marks.is_empty() || !self.ages.is_empty()
    }

    /// The longest time without a sample, µs, that `missing()` or `age()` asks for by a number; 0 if none does.
    pub fn longest_silence_us(&self) -> i64 {
        #[allow(clippy::cast_possible_truncation)] // saturates
        let ages = self.age_marks.iter().map(|mark| (mark.seconds.max(0.0) * 1e6) as i64);
        let missing = self.code.ops.iter().filter_map(|op| match op {
            super::compile::Op::Missing(_, within) => *within,
            _ => None,
        });
        ages.chain(missing).max().unwrap_or(0)
    }

    /// Checks the predicates against the types that a device declared, in the order of [`metrics`](Self::metrics); None
    /// for a metric that it has not declared.
    ///
    /// # Errors
    /// [`ExprError`] for what could never be judged, or never change, on this device.
    pub fn check_types(&self, types: &[Option<ValueType>]) -> Result<(), ExprError> {
        let type_of = |name: &MetricName| {
            let input = self.metrics.iter().position(|own| own == name)?;
            types.get(input).copied().flatten()
        };
        check_predicates(self.predicates.iter().map(|(expr, _)| (expr.text(), &expr.0.root)), &type_of)
    }

    /// The outcome of a predicate that is just `true` or `false`.
    pub fn never_changes(&self, predicate: usize) -> Option<bool> {
        self.predicates.get(predicate)?.0.0.constant
    }

    pub(super) fn root(&self, predicate: usize) -> Option<OpIndex> {
        self.predicates.get(predicate).map(|(_, root)| *root)
    }

    pub(super) fn code(&self) -> &Code {
        &self.code
    }

    pub(super) fn windows(&self) -> &[WindowPlan] {
        &self.code.windows
    }

    pub(super) fn metric_keys(&self) -> &[u64] {
        &self.metric_keys
    }

    pub(super) fn age_marks(&self) -> &[AgeMark] {
        &self.age_marks
    }

    pub(super) fn ages(&self) -> &[usize] {
        &self.ages
    }
}

fn simple(exprs: &[Expr]) -> Option<Vec<Threshold>> {
    let thresholds: Vec<_> = exprs.iter().map(Expr::threshold).collect::<Option<_>>()?;
    let (metric, ..) = thresholds.first()?;
    if thresholds.iter().any(|(own, ..)| own != metric) {
        return None;
    }
    Some(thresholds.iter().map(|(_, comparison, value)| Threshold::new(*comparison, *value)).collect())
}

/// Ages that are only compared with a number, and inputs of which the age is used in another way.
fn ages(code: &Code) -> (Vec<AgeMark>, Vec<usize>) {
    let op = |at: OpIndex| code.ops.get(usize::from(at));
    let mut marks = Vec::new();
    let mut marked = Vec::new();
    for compare in &code.ops {
        let Op::Compare(relation, left, right) = compare else { continue };
        let (mark, at) = match (op(*left), op(*right)) {
            (Some(Op::Age(input)), Some(Op::Number(seconds))) => {
                (AgeMark { input: *input, relation: *relation, seconds: *seconds }, left)
            }
            (Some(Op::Number(seconds)), Some(Op::Age(input))) => {
                (AgeMark { input: *input, relation: relation.flipped(), seconds: *seconds }, right)
            }
            _ => continue,
        };
        marks.push(mark);
        marked.push(usize::from(*at));
    }
    let other = code.ops.iter().enumerate().filter_map(|(at, op)| match op {
        Op::Age(input) if !marked.contains(&at) => Some(*input),
        _ => None,
    });
    (marks, other.collect())
}
