//! What an alert says: a text with fields.
//!
//! `{{ value }}` stands for the value that fired, `{{ tag.room }}` for a tag of the device. The fields are few and known
//! when the text is parsed, so a misspelt one is an error of whoever writes the rule, not a hole in a message at night.

use super::record::short;
use crate::block::ValueRef;
use crate::device::{Device, TAG_KEY_BYTES_MAX};
use crate::ids::MetricName;
use crate::severity::Severity;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Longest text of a template, in bytes. A longer one is refused.
pub const TEMPLATE_BYTES_MAX: usize = 2048;
/// Longest message, in bytes. A longer one is cut.
pub const MESSAGE_BYTES_MAX: usize = 512;
/// What stands for a field that has no value: a tag that the device does not have, a metric not seen yet.
pub const ABSENT: &str = "?";

const ALLOWED: &str = "allowed are value, threshold, severity, rule, device, device.name, device.group, tag.KEY, \
                       label.KEY, metric.NAME, for and unit";

/// A message with fields, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value,
    Threshold,
    Severity,
    Rule,
    Device,
    DeviceName,
    DeviceGroup,
    Tag(String),
    Label(String),
    /// Index of one of the rule's metrics.
    Metric(usize),
    For,
    Unit,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The part that is to blame, in bytes of the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}; {}", self.at.start, self.problem, self.remedy)
    }
}

impl std::error::Error for TemplateError {}

/// What fields stand for.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The value that is spoken of.
    pub value: Option<ValueRef<'a>>,
    /// What it was compared with, if that is one number.
    pub threshold: Option<f64>,
    /// How bad.
    pub severity: Severity,
    /// The rule's name.
    pub rule: &'a str,
    /// The device.
    pub device: &'a Device,
    /// The alert's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// The newest values of the rule's metrics, in the order given to [`Template::parse`].
    pub metrics: &'a [Option<ValueRef<'a>>],
    /// How long it has to hold, µs.
    pub hold_us: i64,
    /// Unit of `value` and `threshold`; may be empty.
    pub unit: &'a str,
}

impl Template {
    /// Reads a text. `metrics` are those of the rule: only they can be named.
    ///
    /// # Errors
    /// [`TemplateError`]: a `{{` without `}}`, a field that does not exist, a metric that is not the rule's, a text that is
    /// too long.
    pub fn parse(text: &str, metrics: &[MetricName]) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATE_BYTES_MAX {
            let problem = format!("the message has {} bytes", text.len());
            return Err(TemplateError {
                at: 0..0,
                problem,
                remedy: format!("at most {TEMPLATE_BYTES_MAX} are allowed"),
            });
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{") {
            let open = at + open;
            if open > at {
                parts.push(Part::Text(text[at..open].to_owned()));
            }
            let Some(length) = text[open + 2..].find("}}") else {
                return Err(TemplateError {
                    at: open..text.len(),
                    problem: "this {{ is not closed".to_owned(),
                    remedy: "put }} behind the field's name".to_owned(),
                });
            };
            let close = open + 2 + length;
            let field = text[open + 2..close].trim();
            let error = |(problem, remedy)| TemplateError { at: open..close + 2, problem, remedy };
            parts.push(Part::parse(field, metrics).map_err(error)?);
            at = close + 2;
        }
        if at < text.len() {
            parts.push(Part::Text(text[at..].to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// True if what it says depends on what a device sends.
    pub fn uses_values(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value | Part::Metric(_)))
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The message: at most [`MESSAGE_BYTES_MAX`] bytes, cut between characters. Control characters in values become
    /// spaces.
    pub fn render(&self, fields: &Fields<'_>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            if out.len() >= MESSAGE_BYTES_MAX {
                break;
            }
            part.write(fields, &mut out);
        }
        out.truncate(out.floor_char_boundary(MESSAGE_BYTES_MAX));
        out
    }
}

impl Part {
    fn parse(field: &str, metrics: &[MetricName]) -> Result<Self, (String, String)> {
        let unknown = || (format!("unknown field {}", quoted(field)), ALLOWED.to_owned());
        if let Some(name) = field.strip_prefix("metric.") {
            let bare = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')).unwrap_or(name);
            return match metrics.iter().position(|own| own.as_str() == bare) {
                Some(index) => Ok(Self::Metric(index)),
                None => {
                    let known: Vec<_> = metrics.iter().map(MetricName::as_str).collect();
                    let problem = format!("{} is not a metric of the rule", quoted(bare));
                    Err((problem, format!("its metrics are {}", known.join(", "))))
                }
            };
        }
        for (prefix, part) in [("tag.", Self::Tag as fn(String) -> Self), ("label.", Self::Label)] {
            let Some(key) = field.strip_prefix(prefix) else { continue };
            let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            if key.is_empty() || key.len() > TAG_KEY_BYTES_MAX || !plain {
                let allowed = format!("a key has 1-{TAG_KEY_BYTES_MAX} characters of A-Z a-z 0-9 . _ -");
                return Err((format!("{} is no key", quoted(key)), allowed));
            }
            return Ok(part(key.to_owned()));
        }
        Ok(match field {
            "value" => Self::Value,
            "threshold" => Self::Threshold,
            "severity" => Self::Severity,
            "rule" => Self::Rule,
            "device" => Self::Device,
            "device.name" => Self::DeviceName,
            "device.group" => Self::DeviceGroup,
            "for" => Self::For,
            "unit" => Self::Unit,
            "" => return Err(("there is no field between {{ and }}".to_owned(), ALLOWED.to_owned())),
            _ => return Err(unknown()),
        })
    }

    fn write(&self, fields: &Fields<'_>, out: &mut String) {
        match self {
            // As its author wrote it, line breaks and all.
            Self::Text(text) => out.push_str(text),
            Self::Value => plain(out, &shown(fields.value)),
            Self::Threshold => plain(out, &shown(fields.threshold.map(ValueRef::F64))),
            Self::Severity => out.push_str(fields.severity.name()),
            Self::Rule => plain(out, fields.rule),
            Self::Device => plain(out, fields.device.id.as_str()),
            Self::DeviceName => plain(out, &fields.device.name),
            Self::DeviceGroup => plain(out, fields.device.group.as_ref().map_or(ABSENT, |group| group.as_str())),
            Self::Tag(key) => plain(out, fields.device.tags.get(key).map_or(ABSENT, String::as_str)),
            Self::Label(key) => plain(out, fields.labels.get(key).map_or(ABSENT, String::as_str)),
            Self::Metric(index) => plain(out, &shown(fields.metrics.get(*index).copied().flatten())),
            Self::For => out.push_str(&duration(fields.hold_us)),
            Self::Unit => plain(out, fields.unit),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}

fn plain(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

fn shown(value: Option<ValueRef<'_>>) -> String {
    match value {
        None => ABSENT.to_owned(),
        Some(ValueRef::F64(number)) => short(number),
        Some(ValueRef::I64(number)) => number.to_string(),
        Some(ValueRef::Bool(value)) => value.to_string(),
        Some(ValueRef::Text(text)) => text.to_owned(),
    }
}

fn duration(us: i64) -> String {
    match us {
        us if us % 1_000_000 != 0 => format!("{} ms", us / 1000),
        0 => "0 s".to_owned(),
        us => match us / 1_000_000 {
            s if s % 3600 == 0 => format!("{} h", s / 3600),
            s if s % 60 == 0 => format!("{} min", s / 60),
            s => format!("{s} s"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, DeviceKey, GroupName};
    use proptest::prelude::*;

    fn device() -> Device {
        Device {
            key: DeviceKey(1),
            id: DeviceId::parse("pump-7").expect("valid"),
            name: "Pump 7".into(),
            tags: BTreeMap::from([("room".to_owned(), "B 12".to_owned())]),
            group: Some(GroupName::parse("North").expect("valid")),
            profile: None,
            enabled: true,
            created_us: 0,
            last_seen_us: None,
            firmware: None,
        }
    }

    fn metrics() -> Vec<MetricName> {
        ["temp", "room temp", "mode"].map(|name| MetricName::parse(name).expect("valid")).to_vec()
    }

    fn render(text: &str) -> String {
        let labels = BTreeMap::from([("team".to_owned(), "cooling".to_owned())]);
        let device = device();
        let values = [Some(ValueRef::F64(f64::from(21.7_f32))), None, Some(ValueRef::Text("de\nfrost"))];
        let fields = Fields {
            value: values[0],
            threshold: Some(20.0),
            severity: Severity::Critical,
            rule: "Too warm",
            device: &device,
            labels: &labels,
            metrics: &values,
            hold_us: 300_000_000,
            unit: "°C",
        };
        Template::parse(text, &metrics()).expect("a template").render(&fields)
    }

    #[test]
    fn every_field_is_filled() {
        assert_eq!(render("{{ value }} {{unit}} > {{ threshold }} {{ unit }}"), "21.7 °C > 20 °C");
        assert_eq!(render("{{ rule }} ({{ severity }}) for {{ for }}"), "Too warm (critical) for 5 min");
        assert_eq!(render("{{ device }}|{{ device.name }}|{{ device.group }}"), "pump-7|Pump 7|North");
        assert_eq!(render("{{ tag.room }} {{ tag.floor }} {{ label.team }}"), "B 12 ? cooling");
        assert_eq!(render("{{ metric.temp }},{{ metric.room temp }},{{ metric.`mode` }}"), "21.7,?,de frost");
        assert_eq!(render("no {field} here }}\nbut two lines"), "no {field} here }}\nbut two lines");
    }

    #[test]
    fn durations_are_short() {
        let texts = [0, 1_500_000, 30_000_000, 60_000_000, 7_200_000_000].map(duration);
        assert_eq!(texts, ["0 s", "1500 ms", "30 s", "1 min", "2 h"]);
    }

    #[test]
    fn errors_name_the_field_and_what_is_allowed() {
        let error = |text: &str| Template::parse(text, &metrics()).expect_err("refused");
        let unknown = error("hot: {{ vlaue }}");
        assert_eq!(unknown.at, 5..16);
        assert!(unknown.to_string().starts_with(r#"at 5: unknown field "vlaue"; allowed are value, threshold"#));
        assert_eq!(error("x {{ value").to_string(), "at 2: this {{ is not closed; put }} behind the field's name");
        assert_eq!(
            error("{{ metric.hum }}").to_string(),
            r#"at 0: "hum" is not a metric of the rule; its metrics are temp, room temp, mode"#
        );
        assert!(error("{{ tag.a b }}").to_string().contains("A-Z a-z 0-9"));
        assert!(error("{{}}").to_string().contains("there is no field"));
        assert!(error(&"x".repeat(TEMPLATE_BYTES_MAX + 1)).to_string().contains("at most 2048"));
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = render(&"é".repeat(400));
        assert_eq!(text.len(), MESSAGE_BYTES_MAX);
        assert_eq!(render(&format!("x{}", "é".repeat(400))).len(), MESSAGE_BYTES_MAX - 1);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([{}]{1,2}|[a-z. é]{0,6}|value|metric\\.temp|tag\\.room){0,12}") {
            if let Ok(template) = Template::parse(&text, &metrics()) {
                let device = device();
                let labels = BTreeMap::new();
                let fields = Fields {
                    value: None, threshold: None, severity: Severity::Info, rule: "r", device: &device,
                    labels: &labels, metrics: &[], hold_us: i64::MIN, unit: "",
                };
                prop_assert!(template.render(&fields).len() <= MESSAGE_BYTES_MAX);
            }
        }
    }
}
