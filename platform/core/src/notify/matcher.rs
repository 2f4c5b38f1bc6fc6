//! Which alerts a silence means: `device=fridge-1`, `group!=lab`, `rule=*warm*`.

use std::fmt;

/// Longest name of a label, in bytes: a tag key of 64 with a prefix fits.
pub const LABEL_BYTES_MAX: usize = 80;
/// Longest value or pattern, in bytes, as written.
pub const VALUE_BYTES_MAX: usize = 256;

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatcherOp {
    /// The label has this value.
    Eq,
    /// It has another, or none.
    NotEq,
    /// It fits the pattern.
    Glob,
    /// It does not.
    NotGlob,
}

impl MatcherOp {
    /// Every comparison.
    pub const ALL: [Self; 4] = [Self::Eq, Self::NotEq, Self::Glob, Self::NotGlob];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::NotEq => "not_eq",
            Self::Glob => "glob",
            Self::NotGlob => "not_glob",
        }
    }

    /// The comparison with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }
}

/// Why a text is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("matcher {given:?}, character {place}: {problem}")]
pub struct MatcherError {
    /// The text, cut.
    pub given: String,
    /// Where it goes wrong, counted in characters from 1.
    pub place: usize,
    /// What is wrong and what would do.
    pub problem: &'static str,
}

/// One label compared with one value. A label that an alert does not have counts as empty, so `group=` means "in no group".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Matcher {
    /// The label's name.
    pub label: String,
    /// How.
    pub op: MatcherOp,
    /// With what: the value itself, or for globs the pattern, in which `*` stands for any characters and none, and `\` takes the
    /// meaning from the character after it.
    pub value: String,
}

impl Matcher {
    /// Reads `label=value` or `label!=value`; `label=~value` and `label!~value` mean the same. An unescaped `*` in the value makes it a pattern; `\*` is a star, `\\` a backslash.
    /// White space around label and value does not count.
    ///
    /// # Errors
    /// [`MatcherError`], which names the place and what is wanted.
    pub fn parse(text: &str) -> Result<Self, MatcherError> {
        let error = |byte: usize, problem| MatcherError {
            given: text.chars().take(80).collect(),
            place: text.get(..byte).unwrap_or(text).chars().count() + 1,
            problem,
        };
        let missing = || error(text.len(), "= or != and a value are missing, as in device=pump-1");
        // `=~` and `!~` are what people know from elsewhere for patterns; here a `*` alone makes one.
        let signs = [("=~", false), ("!~", true), ("!=", true), ("=", false)];
        let first = |(sign, negative): (&'static str, bool)| Some((text.find(sign)?, sign, negative));
        let found =
            signs.into_iter().filter_map(first).min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let (name_ends, sign, negative) = found.ok_or_else(missing)?;
        let (name, sign) = (&text[..name_ends], name_ends + sign.len() - 1);
        let label = name.trim();
        let at_label = name.len() - name.trim_start().len();
        if label.is_empty() {
            return Err(error(at_label, "a label's name is missing, such as device, group or rule"));
        }
        if let Some(bad) = label.find(is_not_of_a_label) {
            return Err(error(at_label + bad, "a label's name has no white space, control characters, ! or *"));
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(error(at_label, "a label's name has at most 80 bytes"));
        }
        let rest = &text[sign + 1..];
        let at_value = sign + 1 + rest.len() - rest.trim_start().len();
        let written = rest.trim();
        if written.len() > VALUE_BYTES_MAX {
            return Err(error(at_value, "a value has at most 256 bytes"));
        }
        let (mut plain, mut is_pattern) = (String::with_capacity(written.len()), false);
        let mut characters = written.char_indices();
        while let Some((i, c)) = characters.next() {
            match c {
                '*' => is_pattern = true,
                '\\' => match characters.next() {
                    Some((_, c @ ('*' | '\\'))) => plain.push(c),
                    _ => {
                        return Err(error(
                            at_value + i,
                            "\\ is written before * or \\ only; a backslash itself is \\\\",
                        ));
                    }
                },
                c if c.is_control() => return Err(error(at_value + i, "a value has no control characters")),
                c => plain.push(c),
            }
        }
        let op = match (is_pattern, negative) {
            (false, false) => MatcherOp::Eq,
            (false, true) => MatcherOp::NotEq,
            (true, false) => MatcherOp::Glob,
            (true, true) => MatcherOp::NotGlob,
        };
        let value = if is_pattern { written.to_owned() } else { plain };
        Ok(Self { label: label.to_owned(), op, value })
    }

    /// Checks one that was put together from its parts.
    ///
    /// # Errors
    /// [`MatcherError`].
    pub fn check(&self) -> Result<(), MatcherError> {
        let read = Self::parse(&self.to_string())?;
        if read == *self {
            return Ok(());
        }
        // A pattern without a star is a value; white space at the ends gets lost.
        let problem = "a pattern needs a *, and values do not begin or end with white space";
        Err(MatcherError { given: self.to_string().chars().take(80).collect(), place: 1, problem })
    }

    /// True if an alert's label with this value is meant; None is a label that the alert does not have.
    pub fn matches_value(&self, value: Option<&str>) -> bool {
        let value = value.unwrap_or_default();
        match self.op {
            MatcherOp::Eq => self.value == value,
            MatcherOp::NotEq => self.value != value,
            MatcherOp::Glob => fits(&self.value, value),
            MatcherOp::NotGlob => !fits(&self.value, value),
        }
    }

    /// True if an alert with these labels is meant.
    pub fn matches<'l>(&self, labels: &dyn Fn(&str) -> Option<&'l str>) -> bool {
        self.matches_value(labels(&self.label))
    }
}

fn is_not_of_a_label(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '!' | '*' | '=')
}

impl fmt::Display for Matcher {
    /// As [`Matcher::parse`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if matches!(self.op, MatcherOp::Eq | MatcherOp::Glob) { "=" } else { "!=" };
        // A value that begins with ~ stands apart from the sign, or they would be read as one.
        let apart = if self.value.starts_with('~') { " " } else { "" };
        write!(f, "{}{sign}{apart}", self.label)?;
        match self.op {
            MatcherOp::Glob | MatcherOp::NotGlob => f.write_str(&self.value),
            MatcherOp::Eq | MatcherOp::NotEq => f.write_str(&self.value.replace('\\', "\\\\").replace('*', "\\*")),
        }
    }
}

/// Whether a text fits a pattern. At most the product of both lengths in steps: on a mismatch only the last star takes more.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let (wanted, length) = match (pattern.get(p), pattern.get(p + 1)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (Some(b'\\'), Some(escaped)) => (Some(escaped), 2),
            (byte, _) => (byte, 1),
        };
        match (wanted, text.get(t)) {
            (None, None) => return true,
            (Some(wanted), Some(byte)) if wanted == byte => (p, t) = (p + length, t + 1),
            _ => match star {
                Some((after, taken)) if taken < text.len() => {
                    star = Some((after, taken + 1));
                    (p, t) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_written_forms_mean_what_they_say() {
        for (text, op, hits, misses) in [
            ("device=fridge-1", MatcherOp::Eq, vec!["fridge-1"], vec!["fridge-12", ""]),
            ("group!=lab", MatcherOp::NotEq, vec!["hall", ""], vec!["lab"]),
            ("rule=*warm*", MatcherOp::Glob, vec!["warm", "too-warm-2"], vec!["cold", ""]),
            ("rule!=cold*room", MatcherOp::NotGlob, vec!["cold", "", "cold-rooms"], vec!["coldroom", "cold-a-room"]),
            ("group=", MatcherOp::Eq, vec![""], vec!["lab"]),
            (r"name=a\*b", MatcherOp::Eq, vec!["a*b"], vec!["axb"]),
            (r"name=a\**", MatcherOp::Glob, vec!["a*", "a*b"], vec!["axb"]),
            (r"path=c:\\x", MatcherOp::Eq, vec![r"c:\x"], vec![r"c:\\x"]),
            ("a = b = c", MatcherOp::Eq, vec!["b = c"], vec!["b"]),
        ] {
            let matcher = Matcher::parse(text).expect(text);
            assert_eq!(matcher.op, op, "{text}");
            assert!(hits.iter().all(|v| matcher.matches_value(Some(v))), "{text}");
            assert!(!misses.iter().any(|v| matcher.matches_value(Some(v))), "{text}");
            assert!(matcher.check().is_ok(), "{text}");
        }
        assert!(Matcher::parse("group!=lab").expect("valid").matches_value(None));
    }

    #[test]
    fn errors_name_the_place_and_the_remedy() {
        let error = |text: &str| Matcher::parse(text).expect_err(text);
        assert_eq!(error("device").place, 7);
        assert!(error("device").to_string().contains("device=pump-1"));
        assert_eq!(error("=x").place, 1);
        assert_eq!(error("de vice=x").place, 3);
        assert_eq!(error("dévice!!=x").place, 7);
        assert_eq!(error(r"name=a\b").place, 7);
        assert_eq!(error("name=a\u{7}").place, 7);
        assert_eq!(error(&format!("name={}", "x".repeat(257))).place, 6);
        let made = Matcher { label: "rule".into(), op: MatcherOp::Glob, value: "plain".into() };
        assert!(made.check().is_err());
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let pattern = "*a".repeat(128);
        let text = "a".repeat(100_000) + "b";
        assert!(!fits(&pattern, &text));
        assert!(fits(&pattern, &text[..100_000]));
    }

    /// The same question by recursion.
    fn fits_by_definition(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| fits_by_definition(rest, &text[taken..])),
            Some((c, rest)) => text.first() == Some(c) && fits_by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn globs_fit_as_defined(pattern in "[ab*]{0,8}", text in "[ab]{0,8}") {
            let chars = |s: &str| s.chars().collect::<Vec<_>>();
            prop_assert_eq!(fits(&pattern, &text), fits_by_definition(&chars(&pattern), &chars(&text)));
        }

        #[test]
        fn what_is_printed_reads_back(label in "[a-z]{1,10}", value in r"[a-zé*\\ =!]{0,20}", negative: bool) {
            let op = if negative { MatcherOp::NotEq } else { MatcherOp::Eq };
            let matcher = Matcher { label, op, value: value.trim().to_owned() };
            prop_assert_eq!(Matcher::parse(&matcher.to_string()), Ok(matcher));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(matcher) = Matcher::parse(&text) {
                prop_assert_eq!(Matcher::parse(&matcher.to_string()), Ok(matcher));
            }
        }
    }
}
