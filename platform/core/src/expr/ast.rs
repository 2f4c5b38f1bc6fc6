//! An expression as a tree, and as text again.

use super::function::Function;
use super::lex::{UNITS, is_name_rest, is_name_start};
use crate::alert::Comparison;
use crate::ids::MetricName;
use std::fmt;
use std::ops::Range;

/// Names that mean something else; a metric called so stands in backquotes.
pub(super) const RESERVED: [&str; 6] = ["and", "or", "not", "in", "true", "false"];

/// A part of an expression. Two are equal if they mean the same, wherever they stand.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub kind: Kind,
    pub at: Range<usize>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Finite and not negative.
    Number(f64),
    Bool(bool),
    Text(Box<str>),
    /// µs.
    Duration(i64),
    Metric(MetricName),
    Negative(Box<Node>),
    Not(Box<Node>),
    /// Two or more.
    And(Vec<Node>),
    /// Two or more.
    Or(Vec<Node>),
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    Compare(Relation, Box<Node>, Box<Node>),
    In {
        what: Box<Node>,
        list: Vec<Node>,
        negated: bool,
    },
    Call(Function, Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    fn is_product(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Order(Comparison),
    Equal,
    Different,
}

impl Relation {
    pub fn from_sign(sign: &str) -> Option<Self> {
        match sign {
            "==" => Some(Self::Equal),
            "!=" => Some(Self::Different),
            _ => Comparison::from_sign(sign).map(Self::Order),
        }
    }

    pub fn sign(self) -> &'static str {
        match self {
            Self::Order(comparison) => comparison.sign(),
            Self::Equal => "==",
            Self::Different => "!=",
        }
    }

    /// Whether it holds; neither side is NaN.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Order(comparison) => comparison.holds(left, right),
            // Equality is what was asked for; f32 metrics are taken care of before.
            #[allow(clippy::float_cmp)]
            Self::Equal => left == right,
            #[allow(clippy::float_cmp)]
            Self::Different => left != right,
        }
    }

    /// The relation with its sides exchanged.
    pub fn flipped(self) -> Self {
        match self {
            Self::Order(comparison) => Self::Order(flipped(comparison)),
            same => same,
        }
    }
}

pub(super) fn flipped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Above => Comparison::Below,
        Comparison::AtLeast => Comparison::AtMost,
        Comparison::Below => Comparison::Above,
        Comparison::AtMost => Comparison::AtLeast,
    }
}

impl Node {
    /// The number that is written here, with its sign.
    pub fn literal(&self) -> Option<f64> {
        match &self.kind {
            Kind::Number(number) => Some(*number),
            Kind::Negative(inner) => match inner.kind {
                Kind::Number(number) => Some(-number),
                _ => None,
            },
            _ => None,
        }
    }

    pub fn children(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Number(_) | Kind::Bool(_) | Kind::Text(_) | Kind::Duration(_) | Kind::Metric(_) => Vec::new(),
            Kind::Negative(a) | Kind::Not(a) => vec![a],
            Kind::And(all) | Kind::Or(all) | Kind::Call(_, all) => all.iter().collect(),
            Kind::Arithmetic(_, a, b) | Kind::Compare(_, a, b) => vec![a, b],
            Kind::In { what, list, .. } => std::iter::once(&**what).chain(list).collect(),
        }
    }

    /// How deep the tree is. The text's length bounds the recursion.
    pub fn depth(&self) -> usize {
        1 + self.children().into_iter().map(Self::depth).max().unwrap_or(0)
    }

    /// How tightly it holds together; see the grammar in `parse`.
    fn level(&self) -> u8 {
        match &self.kind {
            Kind::Or(_) => 0,
            Kind::And(_) => 1,
            Kind::Compare(..) | Kind::In { .. } => 2,
            Kind::Arithmetic(sign, ..) if !sign.is_product() => 3,
            Kind::Arithmetic(..) => 4,
            Kind::Negative(_) | Kind::Not(_) => 5,
            _ => 6,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, level: u8) -> fmt::Result {
        if self.level() < level {
            f.write_str("(")?;
            self.write_bare(f)?;
            return f.write_str(")");
        }
        self.write_bare(f)
    }

    fn write_bare(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self], between: &str, level: u8| {
            items.iter().enumerate().try_for_each(|(i, item)| {
                f.write_str(if i == 0 { "" } else { between })?;
                item.write(f, level)
            })
        };
        match &self.kind {
            Kind::Number(number) => write!(f, "{number:?}"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Text(text) => write!(f, "\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
            Kind::Duration(us) => {
                let (unit, scale) = UNITS.into_iter().find(|(_, scale)| us % scale == 0).unwrap_or(("ms", 1000));
                write!(f, "{}{unit}", us / scale)
            }
            Kind::Metric(name) => f.write_str(&written(name)),
            Kind::Negative(inner) => {
                f.write_str("-")?;
                inner.write(f, 5)
            }
            Kind::Not(inner) => {
                f.write_str("!")?;
                inner.write(f, 5)
            }
            Kind::And(all) => list(f, all, " && ", 2),
            Kind::Or(any) => list(f, any, " || ", 1),
            Kind::Arithmetic(sign, left, right) => {
                left.write(f, self.level())?;
                write!(f, " {} ", sign.sign())?;
                right.write(f, self.level() + 1)
            }
            Kind::Compare(relation, left, right) => {
                left.write(f, 3)?;
                write!(f, " {} ", relation.sign())?;
                right.write(f, 3)
            }
            Kind::In { what, list: items, negated } => {
                what.write(f, 3)?;
                f.write_str(if *negated { " not in (" } else { " in (" })?;
                list(f, items, ", ", 0)?;
                f.write_str(")")
            }
            Kind::Call(function, arguments) => {
                write!(f, "{}(", function.name())?;
                list(f, arguments, ", ", 0)?;
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// A metric's name as it stands in an expression.
pub(super) fn written(name: &MetricName) -> String {
    let name = name.as_str();
    let bare = name.starts_with(is_name_start) && name.chars().all(is_name_rest) && !RESERVED.contains(&name);
    if bare { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}
