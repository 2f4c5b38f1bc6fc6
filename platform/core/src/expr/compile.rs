//! A checked tree as a flat list of operations, with what is constant calculated once.

use super::ast::{Arithmetic, Kind, Node, Relation};
use super::error::ExprError;
use super::function::Function;
use super::op::{Cell, Truth, arithmetic, compare, math, written_number};
use super::{WINDOWS_MAX, window_key};
use crate::ids::MetricName;
use std::ops::Range;

/// The place of an operation in [`Code::ops`].
pub(super) type OpIndex = u16;

/// An operation. Inputs are operations that stand before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Number(f64),
    Bool(bool),
    Text(Box<str>),
    /// The newest value of an input.
    Metric(usize),
    Negative(OpIndex),
    Not(OpIndex),
    And(Range<usize>),
    Or(Range<usize>),
    Arithmetic(Arithmetic, OpIndex, OpIndex),
    Compare(Relation, OpIndex, OpIndex),
    In {
        what: OpIndex,
        list: Range<usize>,
        negated: bool,
    },
    Math(Function, Range<usize>),
    Outside(Range<usize>),
    /// What an aggregate makes of a window.
    Window(Function, usize),
    Changed(usize, Option<i64>),
    Missing(usize, Option<i64>),
    Age(usize),
    Tag(Box<str>),
    Group,
    Device,
    Firmware,
}

/// Samples of one input that are kept for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WindowPlan {
    pub input: usize,
    pub duration_us: i64,
    /// See [`window_key`].
    pub key: u64,
    pub keeps: Keeps,
}

/// What is kept up to date besides the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Keeps {
    pub sum: bool,
    pub least: bool,
    pub greatest: bool,
    pub resets: bool,
}

/// Operations of several expressions over the same inputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Code {
    pub ops: Vec<Op>,
    /// Lists of inputs, to which ranges refer.
    pub lists: Vec<OpIndex>,
    pub windows: Vec<WindowPlan>,
}

pub(super) struct Compiler<'a> {
    pub code: &'a mut Code,
    pub text: &'a str,
    /// Has every metric of the expression.
    pub metrics: &'a [MetricName],
}

type Compiled = Result<OpIndex, ExprError>;

impl Compiler<'_> {
    fn error<T>(&self, node: &Node, problem: impl Into<String>, remedy: impl Into<String>) -> Result<T, ExprError> {
        Err(ExprError::new(self.text, node.at.clone(), problem, remedy))
    }

    /// Appends the operations of a checked tree; the last is its root.
    pub fn node(&mut self, node: &Node) -> Compiled {
        let op = match &node.kind {
            Kind::Number(number) => Op::Number(*number),
            Kind::Bool(value) => Op::Bool(*value),
            Kind::Text(text) => Op::Text(text.clone()),
            // The check refuses both; an error is better than a panic if it ever did not.
            Kind::Duration(_) => return self.error(node, "a duration stands only as a window", "remove it"),
            Kind::Metric(name) => Op::Metric(self.input(node, name)?),
            Kind::Negative(inner) => {
                let inner = self.node(inner)?;
                match self.constant(inner) {
                    Some(number) => Op::Number(-number),
                    None => Op::Negative(inner),
                }
            }
            Kind::Not(inner) => {
                let inner = self.node(inner)?;
                match self.op(inner) {
                    Some(Op::Bool(value)) => Op::Bool(!value),
                    _ => Op::Not(inner),
                }
            }
            Kind::And(all) => self.joined(all, false)?,
            Kind::Or(all) => self.joined(all, true)?,
            Kind::Arithmetic(sign, left, right) => self.arithmetic(node, *sign, left, right)?,
            Kind::Compare(relation, left, right) => self.compare(node, *relation, left, right)?,
            Kind::In { what, list, negated } => {
                let what_at = self.node(what)?;
                let items = list.iter().map(|item| self.node(item)).collect::<Result<Vec<_>, _>>()?;
                if self.is_constant(what_at) && items.iter().all(|item| self.is_constant(*item)) {
                    return self.error(node, "this is always the same", "name a metric, tag or attribute before in");
                }
                Op::In { what: what_at, list: self.list(items), negated: *negated }
            }
            Kind::Call(function, arguments) => self.call(node, *function, arguments)?,
        };
        self.push(node, op)
    }

    fn push(&mut self, node: &Node, op: Op) -> Compiled {
        let Ok(at) = OpIndex::try_from(self.code.ops.len()) else {
            return self.error(node, "the expressions are too long together", "write them shorter");
        };
        self.code.ops.push(op);
        Ok(at)
    }

    fn op(&self, at: OpIndex) -> Option<&Op> {
        self.code.ops.get(usize::from(at))
    }

    fn list(&mut self, items: Vec<OpIndex>) -> Range<usize> {
        let start = self.code.lists.len();
        self.code.lists.extend(items);
        start..self.code.lists.len()
    }

    fn input(&self, node: &Node, name: &MetricName) -> Result<usize, ExprError> {
        match self.metrics.iter().position(|own| own == name) {
            Some(input) => Ok(input),
            None => self.error(node, "this metric is not known", "name it"),
        }
    }

    fn constant(&self, at: OpIndex) -> Option<f64> {
        match self.op(at) {
            Some(Op::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn cell(&self, at: OpIndex) -> Option<Cell<'_>> {
        match self.op(at)? {
            Op::Number(number) => Some(Cell::Number(written_number(*number))),
            Op::Bool(value) => Some(Cell::Bool(*value)),
            Op::Text(text) => Some(Cell::Text(text)),
            _ => None,
        }
    }

    fn is_constant(&self, at: OpIndex) -> bool {
        self.cell(at).is_some()
    }

    /// `decisive` is the value that decides the whole: true for `||`, false for `&&`.
    fn joined(&mut self, parts: &[Node], decisive: bool) -> Result<Op, ExprError> {
        let mut open = Vec::new();
        let mut decided = false;
        for part in parts {
            let at = self.node(part)?;
            match self.op(at) {
                Some(Op::Bool(value)) => decided |= *value == decisive,
                _ => open.push(at),
            }
        }
        if decided || open.is_empty() {
            return Ok(Op::Bool(decided == decisive));
        }
        let list = self.list(open);
        Ok(if decisive { Op::Or(list) } else { Op::And(list) })
    }

    fn arithmetic(&mut self, node: &Node, sign: Arithmetic, left: &Node, right: &Node) -> Result<Op, ExprError> {
        let (a, b) = (self.node(left)?, self.node(right)?);
        if matches!(sign, Arithmetic::Divide | Arithmetic::Remainder) && self.constant(b) == Some(0.0) {
            return self.error(right, "this divides by zero", "divide by something else");
        }
        match (self.constant(a), self.constant(b)) {
            (Some(x), Some(y)) => match arithmetic(sign, x, y) {
                Some(number) => Ok(Op::Number(number)),
                None => self.error(node, "this is not a finite number", "numbers reach up to 1.7e308"),
            },
            _ => Ok(Op::Arithmetic(sign, a, b)),
        }
    }

    fn compare(&mut self, node: &Node, relation: Relation, left: &Node, right: &Node) -> Result<Op, ExprError> {
        let (a, b) = (self.node(left)?, self.node(right)?);
        if let (Some(x), Some(y)) = (self.cell(a), self.cell(b)) {
            let outcome = match compare(relation, x, y) {
                Some(true) => "true",
                _ => "false",
            };
            return self.error(node, format!("this is always {outcome}"), "compare a metric, for example temp > 80");
        }
        Ok(Op::Compare(relation, a, b))
    }

    fn call(&mut self, node: &Node, function: Function, arguments: &[Node]) -> Result<Op, ExprError> {
        let duration = match arguments.get(1).map(|argument| &argument.kind) {
            Some(Kind::Duration(us)) => Some(*us),
            _ => None,
        };
        let input = match arguments.first().map(|argument| &argument.kind) {
            Some(Kind::Metric(name)) => Some(self.input(node, name)?),
            _ => None,
        };
        match (function, input, duration) {
            (Function::Changed, Some(input), within) => return Ok(Op::Changed(input, within)),
            (Function::Missing, Some(input), within) => return Ok(Op::Missing(input, within)),
            (Function::Age, Some(input), _) => return Ok(Op::Age(input)),
            (_, Some(input), Some(us)) if function.is_aggregate() => {
                return Ok(Op::Window(function, self.window(node, function, input, us)?));
            }
            (Function::Tag, ..) => {
                if let Some(Kind::Text(key)) = arguments.first().map(|argument| &argument.kind) {
                    return Ok(Op::Tag(key.clone()));
                }
            }
            (Function::Group, ..) => return Ok(Op::Group),
            (Function::Device, ..) => return Ok(Op::Device),
            (Function::Firmware, ..) => return Ok(Op::Firmware),
            _ => {}
        }
        let inputs = arguments.iter().map(|argument| self.node(argument)).collect::<Result<Vec<_>, _>>()?;
        let constants: Option<Vec<_>> = inputs.iter().map(|at| self.constant(*at).map(written_number)).collect();
        match (function, constants) {
            (Function::Outside, Some(_)) => self.error(node, "this is always the same", "name the metrics of a place"),
            (Function::Outside, None) => Ok(Op::Outside(self.list(inputs))),
            (_, Some(numbers)) => match math(function, &numbers) {
                Some(number) => Ok(Op::Number(number.value)),
                None => self.error(node, "this has no value", "see to it that the function is defined there"),
            },
            (_, None) => Ok(Op::Math(function, self.list(inputs))),
        }
    }

    fn window(&mut self, node: &Node, function: Function, input: usize, us: i64) -> Result<usize, ExprError> {
        let windows = &mut self.code.windows;
        let at = match windows.iter().position(|window| window.input == input && window.duration_us == us) {
            Some(at) => at,
            None if windows.len() == WINDOWS_MAX => {
                let remedy =
                    format!("at most {WINDOWS_MAX} are allowed; functions of one metric and duration share one");
                return self.error(node, format!("this is the window number {}", WINDOWS_MAX + 1), remedy);
            }
            None => {
                let key = window_key(&self.metrics[input], us);
                windows.push(WindowPlan { input, duration_us: us, key, keeps: Keeps::default() });
                windows.len() - 1
            }
        };
        let keeps = &mut windows[at].keeps;
        match function {
            Function::Avg | Function::Sum | Function::Stddev => keeps.sum = true,
            Function::Min => keeps.least = true,
            Function::Max => keeps.greatest = true,
            Function::Rate => keeps.resets = true,
            _ => {}
        }
        Ok(at)
    }
}

impl Code {
    /// What an expression is without looking at anything; `Unknown` if it depends on something.
    pub fn outcome(&self, root: OpIndex) -> Truth {
        match self.ops.get(usize::from(root)) {
            Some(Op::Bool(value)) => Truth::from(*value),
            _ => Truth::Unknown,
        }
    }
}
