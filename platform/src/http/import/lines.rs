//! Bytes as they come, cut into lines.

/// Most bytes of a line.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// A line, without its end.
#[derive(Debug, PartialEq)]
pub struct Line {
    /// Counted from 1, as editors do; of a line with quoted line breaks the first.
    pub number: u64,
    /// None if it has more than [`LINE_BYTES_MAX`].
    pub bytes: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    FieldStart,
    Plain,
    Quoted,
    // Ends the field, unless another one follows.
    QuoteInQuoted,
}

/// Cuts bytes into lines. Line breaks within quotes belong to the line if `quotes` are to be honoured (RFC 4180).
pub struct Lines {
    quotes: bool,
    gathered: Vec<u8>,
    number: u64,
    breaks: u64,
    at: At,
    too_long: bool,
}

impl Lines {
    pub fn new(quotes: bool) -> Self {
        Self { quotes, gathered: Vec::new(), number: 1, breaks: 0, at: At::FieldStart, too_long: false }
    }

    /// The next line that ends within `bytes`, which are taken off up to there; all of them if none does.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Line> {
        loop {
            let given = *bytes;
            let end = given.iter().position(|b| *b == b'\n');
            let (part, rest) = given.split_at(end.unwrap_or(given.len()));
            self.gather(part);
            let Some((_, rest)) = rest.split_first() else {
                *bytes = &[];
                return None;
            };
            *bytes = rest;
            self.breaks += 1;
            if self.at == At::Quoted && !self.too_long {
                self.gather(b"\n");
                continue;
            }
            return Some(self.take());
        }
    }

    /// What came after the last line's end.
    pub fn rest(&mut self) -> Option<Line> {
        (!self.gathered.is_empty() || self.too_long).then(|| self.take())
    }

    fn gather(&mut self, part: &[u8]) {
        if self.quotes {
            for byte in part {
                self.at = match (self.at, byte) {
                    (At::FieldStart | At::QuoteInQuoted, b'"') => At::Quoted,
                    (At::Quoted, b'"') => At::QuoteInQuoted,
                    (At::Quoted, _) => At::Quoted,
                    (_, b',') => At::FieldStart,
                    _ => At::Plain,
                };
            }
        }
        if self.too_long || self.gathered.len() + part.len() > LINE_BYTES_MAX {
            // It is over at the next break, whatever its quotes say: one that is never closed must not take the whole file.
            (self.too_long, self.gathered) = (true, Vec::new());
        } else {
            self.gathered.extend_from_slice(part);
        }
    }

    fn take(&mut self) -> Line {
        let mut bytes = std::mem::take(&mut self.gathered);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let line = Line { number: self.number, bytes: (!self.too_long).then_some(bytes) };
        (self.number, self.at, self.too_long) = (self.breaks + 1, At::FieldStart, false);
        line
    }
}

/// A cell of CSV.
#[derive(Debug, Default, PartialEq)]
pub struct Cell {
    pub text: String,
    /// It stood in quotes.
    pub quoted: bool,
}

/// The cells of a line of CSV, RFC 4180.
///
/// # Errors
/// In words.
pub fn cells(line: &str) -> Result<Vec<Cell>, String> {
    let (mut cells, mut rest) = (Vec::new(), line);
    loop {
        let mut cell = Cell::default();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            cell.quoted = true;
            loop {
                let (text, after) = quoted.split_once('"').ok_or("a quote is not closed")?;
                cell.text.push_str(text);
                let Some(after_two) = after.strip_prefix('"') else {
                    rest = after;
                    break;
                };
                cell.text.push('"');
                quoted = after_two;
            }
            if !rest.is_empty() && !rest.starts_with(',') {
                return Err("something follows a closing quote".into());
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            cell.text.push_str(text);
            rest = after;
        }
        cells.push(cell);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Ok(cells),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(quotes: bool, parts: &[&[u8]]) -> Vec<(u64, Option<String>)> {
        let (mut lines, mut found) = (Lines::new(quotes), Vec::new());
        for part in parts {
            let mut part = *part;
            while let Some(line) = lines.next(&mut part) {
                found.push(line);
            }
        }
        found.extend(lines.rest());
        found.into_iter().map(|l| (l.number, l.bytes.map(|b| String::from_utf8(b).expect("text")))).collect()
    }

    #[test]
    fn a_quoted_break_belongs_to_its_line_and_numbers_are_those_of_an_editor() {
        let found = all(true, &[b"a,\"x\ny", b"\"\"\"\r\nb\n\nc"]);
        let expected = [(1, "a,\"x\ny\"\"\""), (3, "b"), (4, ""), (5, "c")];
        assert_eq!(found, expected.map(|(n, text)| (n, Some(text.to_owned()))));
        let plain = all(false, &[b"{\"a\n", b"b"]);
        assert_eq!(plain, [(1, Some("{\"a".into())), (2, Some("b".into()))]);
    }

    #[test]
    fn a_line_that_is_too_long_ends_at_its_break_also_with_an_open_quote() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let found = all(true, &[b"\"", &long, b"\nb\n", &long, b"\n"]);
        assert_eq!((&found[0], &found[1]), (&(1, None), &(2, Some("b".into()))));
        assert_eq!(found[2].1.as_ref().map(String::len), Some(LINE_BYTES_MAX));
    }

    #[test]
    fn cells_are_read_as_rfc_4180_says() {
        let read = |line: &str| -> Result<Vec<String>, String> {
            Ok(cells(line)?.into_iter().map(|cell| cell.text).collect())
        };
        assert_eq!(read("a,,\"b,\"\"c\",").expect("fine"), ["a", "", "b,\"c", ""]);
        assert_eq!(read("").expect("fine"), [""]);
        assert_eq!(read("5\" pipe,x").expect("fine"), ["5\" pipe", "x"]);
        assert!(read("\"open").is_err() && read("\"a\"b").is_err());
    }

    proptest! {
        /// However the bytes are cut on their way, the lines are the same.
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_arrive(text in "[a\",\n\r]{0,60}", cut in 0usize..60) {
            let (bytes, cut) = (text.as_bytes(), cut.min(text.len()));
            prop_assert_eq!(all(true, &[bytes]), all(true, &[&bytes[..cut], &bytes[cut..]]));
        }

        #[test]
        fn no_line_panics(line in ".{0,80}") {
            let _ = cells(&line);
        }
    }
}
