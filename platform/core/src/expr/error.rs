//! What is wrong with an expression: where, what, and what to write instead.

use std::fmt;
use std::ops::Range;

/// Longest piece of the expression that a message repeats, in characters.
const FOUND_CHARS_MAX: usize = 40;

/// Why a text is not an expression, or cannot be a predicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExprError {
    /// The part that is to blame, in bytes of the text; empty at its end if something is missing there.
    pub at: Range<usize>,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// Which of the expressions given to [`Program::new`](super::Program::new); 0 from [`Expr::parse`](super::Expr::parse).
    pub predicate: usize,
    found: String,
}

impl ExprError {
    pub(super) fn new(text: &str, at: Range<usize>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        let found = clip(text.get(at.clone()).unwrap_or_default());
        Self { at, problem: problem.into(), remedy: remedy.into(), predicate: 0, found }
    }

    pub(super) fn of_predicate(self, predicate: usize) -> Self {
        Self { predicate, ..self }
    }

    /// The line of `text` that is to blame, a line with carets under the part, and the message. `text` is what was parsed.
    pub fn pointed(&self, text: &str) -> String {
        let start = text.floor_char_boundary(self.at.start);
        let end = text.floor_char_boundary(self.at.end.max(start));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        // A control character would move the carets.
        let line: String = text[line_start..line_end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let indent = " ".repeat(text[line_start..start].chars().count());
        let carets = "^".repeat(text[start..end.min(line_end).max(start)].chars().count().max(1));
        format!("{line}\n{indent}{carets}\n{self}")
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.at.start)?;
        match self.found.is_empty() {
            true => f.write_str(" (the end)")?,
            false => write!(f, " ({:?})", self.found)?,
        }
        write!(f, ": {}; {}", self.problem, self.remedy)
    }
}

impl std::error::Error for ExprError {}

pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(FOUND_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
