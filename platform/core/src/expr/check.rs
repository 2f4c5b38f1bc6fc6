//! Whether a tree makes sense: types, arguments, windows.
//!
//! The types of metrics are not known when an expression is written, so a metric is taken for what it is used as; when a
//! device's types are known the same check runs again with them.

use super::ast::{Kind, Node, Relation, written};
use super::error::ExprError;
use super::function::Function;
use super::{METRICS_MAX, WINDOW_US_MAX};
use crate::ids::MetricName;
use crate::value::ValueType;

/// What a part of an expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Number,
    /// True or false by a comparison or a function.
    Bool,
    /// A bool metric: also 0 or 1.
    Flag,
    Text,
    /// A metric of unknown type.
    Metric,
    /// Number or text.
    Tag,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Bool | Self::Flag => "true or false",
            Self::Text => "a text",
            Self::Metric => "a metric",
            Self::Tag => "a number or a text",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Used {
    AsNumber,
    AsText,
}

/// The types of a device's metrics, as far as they are known.
pub(super) type Types<'a> = &'a dyn Fn(&MetricName) -> Option<ValueType>;

pub(super) struct Checker<'a> {
    text: &'a str,
    types: Types<'a>,
    used: Vec<(MetricName, Used)>,
}

type Checked<T = ()> = Result<T, ExprError>;

/// The type of a whole expression.
pub(super) fn check(text: &str, root: &Node, types: Types<'_>) -> Checked<Type> {
    Checker { text, types, used: Vec::new() }.type_of(root)
}

/// Every predicate is true or false, and a metric is the same in all of them. The error names the predicate.
pub(super) fn check_predicates<'a>(predicates: impl Iterator<Item = (&'a str, &'a Node)>, types: Types<'_>) -> Checked {
    let mut used = Vec::new();
    for (i, (text, root)) in predicates.enumerate() {
        let mut checker = Checker { text, types, used };
        checker.want_bool(root).map_err(|error| error.of_predicate(i))?;
        used = checker.used;
    }
    Ok(())
}

/// Appends the metrics of a tree that are not in `metrics` yet, in the order in which they appear.
pub(super) fn collect_metrics(text: &str, node: &Node, metrics: &mut Vec<MetricName>) -> Checked {
    if let Kind::Metric(name) = &node.kind
        && !metrics.contains(name)
    {
        if metrics.len() == METRICS_MAX {
            let problem = format!("{} is the metric number {}", written(name), METRICS_MAX + 1);
            return Err(ExprError::new(text, node.at.clone(), problem, format!("at most {METRICS_MAX} are allowed")));
        }
        metrics.push(name.clone());
    }
    node.children().into_iter().try_for_each(|child| collect_metrics(text, child, metrics))
}

impl Checker<'_> {
    fn error<T>(&self, node: &Node, problem: impl Into<String>, remedy: impl Into<String>) -> Checked<T> {
        Err(ExprError::new(self.text, node.at.clone(), problem, remedy))
    }

    fn type_of(&mut self, node: &Node) -> Checked<Type> {
        match &node.kind {
            Kind::Number(_) => Ok(Type::Number),
            Kind::Bool(_) => Ok(Type::Bool),
            Kind::Text(_) => Ok(Type::Text),
            Kind::Duration(us) => {
                let remedy = format!("elsewhere time is in seconds: write {}", super::seconds(*us));
                self.error(node, "a duration stands only as the window of a function", remedy)
            }
            Kind::Metric(name) => Ok(match (self.types)(name) {
                None => Type::Metric,
                Some(ValueType::Bool) => Type::Flag,
                Some(ValueType::Text) => Type::Text,
                Some(ValueType::F64 | ValueType::F32 | ValueType::I64) => Type::Number,
            }),
            Kind::Negative(inner) => self.want_number(inner).map(|()| Type::Number),
            Kind::Not(inner) => self.want_bool(inner).map(|()| Type::Bool),
            Kind::And(all) | Kind::Or(all) => {
                all.iter().try_for_each(|part| self.want_bool(part))?;
                Ok(Type::Bool)
            }
            Kind::Arithmetic(_, left, right) => {
                self.want_number(left)?;
                self.want_number(right)?;
                Ok(Type::Number)
            }
            Kind::Compare(relation, left, right) => {
                match relation {
                    Relation::Order(_) => {
                        self.want_ordered(left)?;
                        self.want_ordered(right)?;
                    }
                    Relation::Equal | Relation::Different => {
                        let left_type = self.type_of(left)?;
                        self.want_alike(left, left_type, right)?;
                    }
                }
                self.refuse_idle_bool(node, *relation, left, right)?;
                Ok(Type::Bool)
            }
            Kind::In { what, list, .. } => {
                // Once, not per item: nested lists would take time exponential in their depth.
                let type_of_what = self.type_of(what)?;
                list.iter().try_for_each(|item| self.want_alike(what, type_of_what, item))?;
                Ok(Type::Bool)
            }
            Kind::Call(function, arguments) => self.call(node, *function, arguments),
        }
    }

    fn note(&mut self, node: &Node, used: Used) -> Checked {
        let Kind::Metric(name) = &node.kind else { return Ok(()) };
        match self.used.iter().find(|(own, _)| own == name) {
            Some((_, before)) if *before != used => {
                let name = written(name);
                self.error(
                    node,
                    format!("{name} is used as a number in one place and as a text in another"),
                    "a metric is one or the other",
                )
            }
            Some(_) => Ok(()),
            None => {
                self.used.push((name.clone(), used));
                Ok(())
            }
        }
    }

    fn want_number(&mut self, node: &Node) -> Checked {
        match self.type_of(node)? {
            Type::Number | Type::Flag | Type::Tag => Ok(()),
            Type::Metric => self.note(node, Used::AsNumber),
            Type::Bool => self.error(
                node,
                "a number is wanted here, and this is true or false",
                "join comparisons with && or ||; only bool metrics count as 0 and 1",
            ),
            Type::Text => {
                self.error(node, "a number is wanted here, and this is a text", "use a metric that has numbers")
            }
        }
    }

    fn want_ordered(&mut self, node: &Node) -> Checked {
        if self.type_of(node)? == Type::Text {
            let remedy = match &node.kind {
                Kind::Text(text) if text.trim().parse::<f64>().is_ok() => {
                    format!("write {} without quotes if a number is meant", text.trim())
                }
                _ => "texts compare with ==, != and in".to_owned(),
            };
            return self.error(node, "a text is neither above nor below anything", remedy);
        }
        self.want_number(node)
    }

    fn want_bool(&mut self, node: &Node) -> Checked {
        match self.type_of(node)? {
            Type::Bool | Type::Flag => Ok(()),
            Type::Metric => self.note(node, Used::AsNumber),
            Type::Number => {
                let remedy = format!("compare it, for example {} > 0", self.quoted(node));
                self.error(node, "true or false is wanted here, and this is a number", remedy)
            }
            Type::Text | Type::Tag => {
                let remedy = format!("compare it, for example {} == \"on\"", self.quoted(node));
                self.error(node, "true or false is wanted here, and this is a text", remedy)
            }
        }
    }

    fn quoted(&self, node: &Node) -> String {
        super::error::clip(self.text.get(node.at.clone()).unwrap_or_default())
    }

    /// Two sides of `==`, `!=` or `in`.
    fn want_alike(&mut self, left: &Node, a: Type, right: &Node) -> Checked {
        let b = self.type_of(right)?;
        let both = |one: Type, other: Type| (a == one && b == other) || (a == other && b == one);
        for (node, other) in [(left, b), (right, a)] {
            match other {
                Type::Text => self.note(node, Used::AsText)?,
                Type::Number | Type::Bool | Type::Flag => self.note(node, Used::AsNumber)?,
                Type::Metric | Type::Tag => {}
            }
        }
        let differ = both(Type::Text, Type::Number)
            || both(Type::Text, Type::Bool)
            || both(Type::Text, Type::Flag)
            || both(Type::Number, Type::Bool)
            || both(Type::Tag, Type::Bool);
        if !differ {
            return Ok(());
        }
        let remedy = [left, right].into_iter().find_map(|node| match &node.kind {
            Kind::Text(text) if text.trim().parse::<f64>().is_ok() => {
                Some(format!("write {} without quotes", text.trim()))
            }
            Kind::Bool(value) => {
                Some(format!("write {} instead of {value}, or \"{value}\" for a text", u8::from(*value)))
            }
            _ => None,
        });
        let problem = format!("{} is compared with {}", a.name(), b.name());
        self.error(right, problem, remedy.unwrap_or_else(|| "compare like with like".to_owned()))
    }

    /// `door_open > 1` never holds, and `>= 0` always does.
    fn refuse_idle_bool(&mut self, node: &Node, relation: Relation, left: &Node, right: &Node) -> Checked {
        let (flag, relation, number) = match (left.literal(), right.literal()) {
            (None, Some(number)) => (left, relation, number),
            (Some(number), None) => (right, relation.flipped(), number),
            _ => return Ok(()),
        };
        if self.type_of(flag)? != Type::Flag || relation.holds(0.0, number) != relation.holds(1.0, number) {
            return Ok(());
        }
        let name = self.quoted(flag);
        let outcome = if relation.holds(0.0, number) { "always" } else { "never" };
        let remedy = format!("write {name} for true, !{name} for false");
        self.error(node, format!("{name} is a bool, 0 or 1: this is {outcome} so"), remedy)
    }

    fn call(&mut self, node: &Node, function: Function, arguments: &[Node]) -> Checked<Type> {
        use Function::{
            Abs, Age, Ceil, Changed, Clamp, Device, Distance, Firmware, Floor, Group, Log, Max, Min, Missing, Outside,
            Round, Sqrt, Tag,
        };
        let windowed = matches!(arguments.get(1).map(|a| &a.kind), Some(Kind::Duration(_)));
        let aggregate = function.is_aggregate() && (windowed || !matches!(function, Min | Max));
        let allowed = match function {
            Group | Device | Firmware => 0..=0,
            Age | Abs | Round | Floor | Ceil | Sqrt | Log | Tag => 1..=1,
            Changed | Missing => 1..=2,
            Clamp => 3..=3,
            Distance => 4..=4,
            Outside => 5..=5,
            _ => 2..=2,
        };
        if !allowed.contains(&arguments.len()) {
            let given = match arguments.len() {
                0 => {
                    return self.error(
                        node,
                        format!("{} wants arguments", function.name()),
                        format!("write {}", function.usage()),
                    );
                }
                1 => "1 argument".to_owned(),
                given => format!("{given} arguments"),
            };
            let problem = format!("{} does not take {given}", function.name());
            return self.error(node, problem, format!("write {}", function.usage()));
        }
        if aggregate || matches!(function, Changed | Missing | Age) {
            self.want_metric(function, &arguments[0])?;
            if let Some(window) = arguments.get(1) {
                self.want_window(function, window)?;
            }
            if aggregate && function != Function::Count {
                self.want_number(&arguments[0])?;
            }
            return Ok(if matches!(function, Changed | Missing) { Type::Bool } else { Type::Number });
        }
        match function {
            Tag => self.want_key(&arguments[0]).map(|()| Type::Tag),
            Group | Device | Firmware => Ok(Type::Text),
            _ => {
                arguments.iter().try_for_each(|argument| self.want_number(argument))?;
                if matches!(function, Distance | Outside) {
                    self.want_places(arguments)?;
                }
                if function == Clamp
                    && let (Some(low), Some(high)) = (arguments[1].literal(), arguments[2].literal())
                    && low > high
                {
                    return self.error(&arguments[1], "the lower bound is above the upper", "exchange the two");
                }
                Ok(if function == Outside { Type::Bool } else { Type::Number })
            }
        }
    }

    fn want_metric(&self, function: Function, node: &Node) -> Checked {
        match &node.kind {
            Kind::Metric(_) => Ok(()),
            Kind::Text(name) => self.error(
                node,
                format!("{} wants a metric, and this is a text", function.name()),
                format!("write `{name}`: a metric's name stands in backquotes or bare"),
            ),
            _ => self.error(
                node,
                format!("{} wants a metric by name", function.name()),
                format!("write {}; calculate with its result", function.usage()),
            ),
        }
    }

    fn want_window(&self, function: Function, node: &Node) -> Checked {
        match &node.kind {
            Kind::Duration(0) => self.error(node, "a window of no time holds nothing", "write 30s, 5m or 2h"),
            Kind::Duration(us) if *us > WINDOW_US_MAX => {
                self.error(node, format!("a window of {} is too long", self.quoted(node)), "a window is at most 24h")
            }
            Kind::Duration(_) => Ok(()),
            _ => self.error(
                node,
                "a window is a duration",
                format!("write {}, with 500ms, 30s, 5m, 2h or 1d", function.usage()),
            ),
        }
    }

    fn want_key(&self, node: &Node) -> Checked {
        use crate::device::TAG_KEY_BYTES_MAX;
        let plain = |key: &str| {
            (1..=TAG_KEY_BYTES_MAX).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        match &node.kind {
            Kind::Text(key) if plain(key) => Ok(()),
            Kind::Text(_) => self.error(
                node,
                "this cannot be the key of a tag",
                format!("a key has 1-{TAG_KEY_BYTES_MAX} characters of A-Z a-z 0-9 . _ -"),
            ),
            _ => self.error(node, "tag wants a key in quotes", "write tag(\"limit\")"),
        }
    }

    /// Places that are written down have to be on the globe.
    fn want_places(&self, arguments: &[Node]) -> Checked {
        for (argument, (what, most)) in
            arguments.iter().zip([("latitude", 90.0), ("longitude", 180.0)].into_iter().cycle().take(4))
        {
            if argument.literal().is_some_and(|degrees| degrees.abs() > most) {
                let problem = format!("{} is no {what}", self.quoted(argument));
                return self.error(argument, problem, format!("a {what} is -{most} to {most} degrees"));
            }
        }
        match arguments.get(4) {
            Some(radius) if radius.literal().is_some_and(|metres| metres < 0.0) => {
                self.error(radius, "a radius is not negative", "write it in metres, for example 500")
            }
            _ => Ok(()),
        }
    }
}
