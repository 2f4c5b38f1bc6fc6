//! From words to a tree.
//!
//! ```text
//! or      = and { ("||" | "or") and }
//! and     = not { ("&&" | "and") not }
//! not     = "not" not | compare
//! compare = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=") sum | ["not"] "in" "(" or { "," or } ")" ]
//! sum     = product { ("+" | "-") product }
//! product = unary { ("*" | "/" | "%") unary }
//! unary   = ("-" | "!") unary | primary
//! primary = number | duration | text | metric | function "(" [ or { "," or } ] ")" | "(" or ")"
//! ```

use super::ast::{Arithmetic, Kind, Node, RESERVED, Relation};
use super::error::ExprError;
use super::function::Function;
use super::lex::{Token, Word, words};
use super::{DEPTH_MAX, TEXT_BYTES_MAX};
use crate::ids::MetricName;
use std::ops::Range;

/// Reads a text. What it means is not looked at.
pub(super) fn parse(text: &str) -> Result<Node, ExprError> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("the expression has {} bytes", text.len());
        return Err(ExprError::new(text, 0..0, problem, format!("at most {TEXT_BYTES_MAX} are allowed")));
    }
    let words = words(text)?;
    if words.len() == 1 {
        return Err(ExprError::new(text, 0..text.len(), "there is no expression", "write one, for example temp > 80"));
    }
    let mut parser = Parser { text, words, next: 0, nested: 0 };
    let node = parser.or()?;
    match parser.peek() {
        Token::End => {}
        _ => return parser.unexpected(),
    }
    if node.depth() > DEPTH_MAX {
        return parser.too_deep(node.at);
    }
    Ok(node)
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Word>,
    next: usize,
    nested: usize,
}

type Parsed = Result<Node, ExprError>;

impl Parser<'_> {
    // `words` ends with `End`, and `next` never passes it.
    fn word(&self) -> &Word {
        &self.words[self.next.min(self.words.len() - 1)]
    }

    fn peek(&self) -> &Token {
        &self.word().token
    }

    fn at(&self) -> Range<usize> {
        self.word().at.clone()
    }

    fn advance(&mut self) -> Word {
        let word = self.word().clone();
        self.next += 1;
        word
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(own) if *own == sign);
        if found {
            self.next += 1;
        }
        found
    }

    fn sees_name(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(own) if own == word)
    }

    fn take_name(&mut self, word: &str) -> bool {
        let found = self.sees_name(word);
        if found {
            self.next += 1;
        }
        found
    }

    fn error<T>(
        &self,
        at: Range<usize>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Result<T, ExprError> {
        Err(ExprError::new(self.text, at, problem, remedy))
    }

    fn too_deep<T>(&self, at: Range<usize>) -> Result<T, ExprError> {
        let problem = format!("the expression is nested more than {DEPTH_MAX} deep");
        self.error(at, problem, "write it with fewer parentheses and terms")
    }

    /// Behind a whole expression stands something that does not go on from it.
    fn unexpected<T>(&self) -> Result<T, ExprError> {
        let at = self.at();
        match self.peek() {
            Token::Sign(")") => self.error(at, "this ) closes nothing", "remove it, or open a ( before"),
            Token::Sign(",") => {
                self.error(at, "a comma stands outside a function's parentheses", "write && or || here")
            }
            Token::Sign(sign) if Relation::from_sign(sign).is_some() => {
                self.error(at, "comparisons do not follow one another", "write a < b && b < c instead of a < b < c")
            }
            Token::Name(name) if RESERVED.contains(&name.to_ascii_lowercase().as_str()) => {
                let lower = name.to_ascii_lowercase();
                self.error(at, format!("{name} has no place here"), format!("and, or, not and in are written in lower case and stand between or before values; a metric called {lower} stands in backquotes"))
            }
            _ => self.error(
                at,
                "something is missing before this",
                "put &&, ||, a comparison or + - * / % between two values",
            ),
        }
    }

    /// Parses one level further in; bounds the recursion.
    fn nest(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.nested >= DEPTH_MAX {
            return self.too_deep(self.at());
        }
        self.nested += 1;
        let node = inner(self);
        self.nested -= 1;
        node
    }

    fn joined(&mut self, sign: &str, name: &str, part: fn(&mut Self) -> Parsed, join: fn(Vec<Node>) -> Kind) -> Parsed {
        let first = part(self)?;
        let mut all = vec![first];
        while self.take(sign) || self.take_name(name) {
            all.push(part(self)?);
        }
        match all.len() {
            1 => Ok(all.remove(0)),
            n => {
                let at = all[0].at.start..all[n - 1].at.end;
                Ok(Node { kind: join(all), at })
            }
        }
    }

    fn or(&mut self) -> Parsed {
        self.joined("||", "or", Self::and, Kind::Or)
    }

    fn and(&mut self) -> Parsed {
        self.joined("&&", "and", Self::not, Kind::And)
    }

    fn not(&mut self) -> Parsed {
        let start = self.at().start;
        if !self.take_name("not") {
            return self.compare();
        }
        let inner = self.nest(Self::not)?;
        let at = start..inner.at.end;
        Ok(Node { kind: Kind::Not(Box::new(inner)), at })
    }

    fn compare(&mut self) -> Parsed {
        let left = self.sum()?;
        if let Token::Sign(sign) = *self.peek()
            && let Some(relation) = Relation::from_sign(sign)
        {
            self.next += 1;
            let right = self.sum()?;
            let at = left.at.start..right.at.end;
            return Ok(Node { kind: Kind::Compare(relation, Box::new(left), Box::new(right)), at });
        }
        let not_in = matches!(self.words.get(self.next + 1), Some(Word { token: Token::Name(n), .. }) if n == "in");
        let negated = not_in && self.take_name("not");
        if !self.take_name("in") {
            return Ok(left);
        }
        if !self.take("(") {
            return self.error(self.at(), "in wants a list", "write mode in (\"auto\", \"eco\") or state in (1, 2, 3)");
        }
        let open = self.words[self.next - 1].at.clone();
        let (list, end) = self.list(&open)?;
        if list.is_empty() {
            return self.error(open.start..end, "the list is empty", "name at least one value");
        }
        let at = left.at.start..end;
        Ok(Node { kind: Kind::In { what: Box::new(left), list, negated }, at })
    }

    fn chain(&mut self, signs: &[Arithmetic], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        while let Token::Sign(sign) = *self.peek()
            && let Some(arithmetic) = signs.iter().copied().find(|own| own.sign() == sign)
        {
            self.next += 1;
            let right = part(self)?;
            let at = left.at.start..right.at.end;
            left = Node { kind: Kind::Arithmetic(arithmetic, Box::new(left), Box::new(right)), at };
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[Arithmetic::Add, Arithmetic::Subtract], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&[Arithmetic::Multiply, Arithmetic::Divide, Arithmetic::Remainder], Self::unary)
    }

    fn unary(&mut self) -> Parsed {
        let start = self.at().start;
        let kind: fn(Box<Node>) -> Kind = match self.peek() {
            Token::Sign("-") => Kind::Negative,
            Token::Sign("!") => Kind::Not,
            _ => return self.primary(),
        };
        self.next += 1;
        let inner = self.nest(Self::unary)?;
        let at = start..inner.at.end;
        Ok(Node { kind: kind(Box::new(inner)), at })
    }

    fn primary(&mut self) -> Parsed {
        let Word { token, at } = self.advance();
        let kind = match token {
            Token::Number(number) => Kind::Number(number),
            Token::Duration(us) => Kind::Duration(us),
            Token::Text(text) => Kind::Text(text.into()),
            Token::Quoted(name) => self.metric(&name, &at)?,
            Token::Sign("(") => {
                let inner = self.nest(Self::or)?;
                if !self.take(")") {
                    return match self.peek() {
                        Token::End => self.error(at, "this ( is not closed", "put a ) where it ends"),
                        _ => self.unexpected(),
                    };
                }
                return Ok(inner);
            }
            Token::Name(name) => match name.as_str() {
                "true" => Kind::Bool(true),
                "false" => Kind::Bool(false),
                "and" | "or" | "in" => {
                    return self.error(
                        at,
                        format!("there is no value before {name}"),
                        format!("put one there; a metric called {name} stands in backquotes"),
                    );
                }
                "not" => {
                    return self.error(
                        at,
                        "not has no place within a value",
                        "write ! here, or put parentheses around not …",
                    );
                }
                _ if self.take("(") => return self.call(&name, at),
                _ => self.metric(&name, &at)?,
            },
            Token::End => {
                return self.error(at, "a value is missing", "write a metric, a number, a text or a function here");
            }
            Token::Sign(sign) => {
                self.next -= 1;
                let problem = format!("a value is missing before {sign}");
                return self.error(at, problem, "write a metric, a number, a text or a function here");
            }
        };
        Ok(Node { kind, at })
    }

    fn metric(&self, name: &str, at: &Range<usize>) -> Result<Kind, ExprError> {
        match MetricName::parse(name) {
            Ok(name) => Ok(Kind::Metric(name)),
            Err(invalid) => self.error(at.clone(), "this is no metric's name", format!("it has {}", invalid.allowed)),
        }
    }

    fn call(&mut self, name: &str, at: Range<usize>) -> Parsed {
        let Some(function) = Function::named(name) else {
            return self.error(at, format!("unknown function {name}"), Function::remedy(name));
        };
        let open = self.words[self.next - 1].at.clone();
        let (arguments, end) = self.list(&open)?;
        Ok(Node { kind: Kind::Call(function, arguments), at: at.start..end })
    }

    /// What stands between parentheses, the first of which was taken; and where it ends.
    fn list(&mut self, open: &Range<usize>) -> Result<(Vec<Node>, usize), ExprError> {
        let mut items = Vec::new();
        if self.take(")") {
            return Ok((items, self.words[self.next - 1].at.end));
        }
        loop {
            items.push(self.nest(Self::or)?);
            if self.take(")") {
                return Ok((items, self.words[self.next - 1].at.end));
            }
            if !self.take(",") {
                return match self.peek() {
                    Token::End => self.error(open.clone(), "this ( is not closed", "put a ) where it ends"),
                    _ => self.unexpected(),
                };
            }
        }
    }
}
