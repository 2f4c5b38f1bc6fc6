//! The words of an expression.

use super::error::ExprError;
use std::ops::Range;

/// A word with its place in the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    pub token: Token,
    pub at: Range<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// µs.
    Duration(i64),
    /// A bare name, or one of `and or not in true false`.
    Name(String),
    /// A name in backquotes.
    Quoted(String),
    Text(String),
    Sign(&'static str),
    End,
}

const SECOND_US: i64 = 1_000_000;
/// Units of a duration, the largest first.
pub(super) const UNITS: [(&str, i64); 5] = [
    ("d", 86_400 * SECOND_US),
    ("h", 3600 * SECOND_US),
    ("m", 60 * SECOND_US),
    ("s", SECOND_US),
    ("ms", SECOND_US / 1000),
];

/// Longer ones first, so that `<=` is not read as `<`.
const SIGNS: [&str; 17] = ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "(", ")", ","];

pub(super) fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

pub(super) fn is_name_rest(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':')
}

/// All words, and [`Token::End`] behind them.
pub(super) fn words(text: &str) -> Result<Vec<Word>, ExprError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut words = Vec::new();
    loop {
        let word = lexer.next()?;
        let end = word.token == Token::End;
        words.push(word);
        if end {
            return Ok(words);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn error<T>(
        &self,
        at: Range<usize>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Result<T, ExprError> {
        Err(ExprError::new(self.text, at, problem, remedy))
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn next(&mut self) -> Result<Word, ExprError> {
        self.take_while(char::is_whitespace);
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            return Ok(Word { token: Token::End, at: start..start });
        };
        let token = match first {
            '0'..='9' => self.number()?,
            '"' => Token::Text(self.text_literal()?),
            '`' => Token::Quoted(self.quoted_name()?),
            c if is_name_start(c) => Token::Name(self.take_while(is_name_rest).to_owned()),
            c => self.sign(c)?,
        };
        Ok(Word { token, at: start..self.at })
    }

    fn sign(&mut self, first: char) -> Result<Token, ExprError> {
        let one = self.at..self.at + first.len_utf8();
        let rest = self.rest();
        if rest.starts_with("<>") {
            return self.error(
                self.at..self.at + 2,
                "<> is not a sign of the language",
                "write != for \"differs from\"",
            );
        }
        if rest.starts_with("=>") || rest.starts_with("=<") {
            return self.error(self.at..self.at + 2, "the signs stand the wrong way round", "write >= or <=");
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            self.at += sign.len();
            return Ok(Token::Sign(sign));
        }
        match first {
            '=' => self.error(one, "a single = compares nothing", "write == for \"is equal to\""),
            '&' => self.error(one, "a single & joins nothing", "write && or and"),
            '|' => self.error(one, "a single | joins nothing", "write || or or"),
            '\'' => self.error(one, "a text stands in double quotes", "write \"defrost\" instead of 'defrost'"),
            '.' => self.error(one, "a number begins with a digit", "write 0.5 instead of .5"),
            '≥' | '≤' | '≠' => {
                self.error(one, format!("{first} is not a sign of the language"), "write >=, <= or !=")
            }
            _ => self.error(
                one,
                format!("{first:?} has no meaning here"),
                "put a metric's name in backquotes if it has more than letters, digits and _ . :",
            ),
        }
    }

    fn number(&mut self) -> Result<Token, ExprError> {
        let start = self.at;
        let digits = |c: char| c.is_ascii_digit();
        let mut whole = true;
        self.take_while(digits);
        let mut ahead = self.rest().chars();
        if ahead.next() == Some('.') && ahead.next().is_some_and(digits) {
            whole = false;
            self.at += 1;
            self.take_while(digits);
        }
        let exponent = self.rest().strip_prefix(['e', 'E']);
        if exponent.is_some_and(|e| e.strip_prefix(['+', '-']).unwrap_or(e).starts_with(digits)) {
            whole = false;
            self.at += 1;
            if self.rest().starts_with(['+', '-']) {
                self.at += 1;
            }
            self.take_while(digits);
        }
        let figure = &self.text[start..self.at];
        let unit = self.take_while(is_name_rest);
        let at = start..self.at;
        if unit.is_empty() {
            return match figure.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Token::Number(number)),
                _ => self.error(at, format!("{figure} is too large"), "numbers reach up to 1.7e308"),
            };
        }
        let scale = UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, scale)| scale);
        match (scale, whole) {
            (Some(scale), true) => {
                let us = figure.parse::<i64>().ok().and_then(|n| n.checked_mul(scale));
                match us {
                    Some(us) => Ok(Token::Duration(us)),
                    None => self.error(at, "the duration is too long", "a window is at most 24h"),
                }
            }
            (Some(_), false) => self.error(at, "a duration is a whole number", "write 90m instead of 1.5h"),
            (None, _) => self.error(
                at,
                format!("{:?} is neither a number nor a duration", super::error::clip(&self.text[start..self.at])),
                "numbers are written 12, 0.5 or 1e3, durations 500ms, 30s, 5m, 2h or 1d",
            ),
        }
    }

    fn text_literal(&mut self) -> Result<String, ExprError> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + at + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, escaped @ ('"' | '\\'))) => out.push(escaped),
                    _ => {
                        let at = start + at..start + at + 1;
                        return self.error(at, "a \\ stands before \" or \\ only", "write \\\\ for a \\ itself");
                    }
                },
                c => out.push(c),
            }
        }
        self.error(start..self.text.len(), "the text is not closed", "put a \" at its end")
    }

    fn quoted_name(&mut self) -> Result<String, ExprError> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != '`' {
                out.push(c);
            } else if chars.next_if(|(_, next)| *next == '`').is_some() {
                out.push('`');
            } else {
                self.at = start + at + 1;
                return Ok(out);
            }
        }
        self.error(start..self.text.len(), "the name is not closed", "put a ` at its end")
    }
}
