//! Reading mails: RFC 5322 and the parts of MIME that a mail of text needs.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A part's headers, unfolded, and its body as it came.
pub struct Part<'a> {
    pub headers: Vec<(String, String)>,
    body: &'a str,
}

impl<'a> Part<'a> {
    pub fn read(text: &'a str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in head.split("\r\n") {
            match (line.strip_prefix([' ', '\t']), headers.last_mut()) {
                (Some(more), Some((_, value))) => {
                    value.push(' ');
                    value.push_str(more.trim_start());
                }
                _ => {
                    let (name, value) = line.split_once(':').unwrap_or((line, ""));
                    headers.push((name.to_owned(), value.trim().to_owned()));
                }
            }
        }
        Self { headers, body }
    }

    /// A header's value; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// How many headers have this name.
    pub fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).count()
    }

    /// The text of the first part of this type, itself included.
    pub fn text(&self, kind: &str) -> Option<String> {
        let own = self.header("content-type").to_ascii_lowercase();
        if own.starts_with(kind) {
            return Some(decoded(self.body, &self.header("content-transfer-encoding").to_ascii_lowercase()));
        }
        let boundary = self.header("content-type").split(';').find_map(|p| p.trim().strip_prefix("boundary="))?;
        let boundary = format!("--{}", boundary.trim_matches('"'));
        let parts = self.body.split(boundary.as_str()).skip(1);
        parts
            .filter_map(|part| part.strip_prefix("\r\n"))
            .find_map(|part| Part::read(part.strip_suffix("\r\n").unwrap_or(part)).text(kind))
    }
}

fn decoded(body: &str, encoding: &str) -> String {
    let bytes = match encoding {
        "base64" => BASE64.decode(body.split_whitespace().collect::<String>()).unwrap_or_default(),
        "quoted-printable" => quoted(&body.replace("=\r\n", "")),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8_lossy(&bytes).replace("\r\n", "\n")
}

/// `=XX` as bytes.
fn quoted(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| *first == b'=').and_then(|two| hex::decode(two).ok());
        match hex.as_deref() {
            Some([byte]) => {
                bytes.push(*byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

/// A header's words: RFC 2047.
pub fn words(value: &str) -> String {
    let (mut text, mut bytes, mut was_encoded) = (String::new(), Vec::new(), false);
    for (n, word) in value.split(' ').enumerate() {
        match encoded_word(word) {
            // White space between two of them is none; characters may be split between them.
            Some(more) => {
                if !was_encoded && n > 0 {
                    text.push(' ');
                }
                bytes.extend(more);
                was_encoded = true;
            }
            None => {
                text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut bytes)));
                if n > 0 {
                    text.push(' ');
                }
                text.push_str(word);
                was_encoded = false;
            }
        }
    }
    text.push_str(&String::from_utf8_lossy(&bytes));
    text
}

fn encoded_word(word: &str) -> Option<Vec<u8>> {
    let mut parts = word.strip_prefix("=?")?.strip_suffix("?=")?.splitn(3, '?');
    let (charset, encoding, text) = (parts.next()?, parts.next()?, parts.next()?);
    match (charset.to_ascii_lowercase().as_str(), encoding.to_ascii_lowercase().as_str()) {
        ("utf-8", "b") => BASE64.decode(text).ok(),
        ("utf-8", "q") => Some(quoted(&text.replace('_', " "))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_of_two_parts_is_read() {
        let mail = "Subject: =?utf-8?b?S8O8aGw=?= =?UTF-8?Q?raum_3?= ist\r\n warm\r\nContent-Type: multipart/alternative;\r\n \
                    boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: \
                    quoted-printable\r\n\r\nK=C3=BChl=\r\nraum\r\n--b1\r\nContent-Type: text/html\r\n\
                    Content-Transfer-Encoding: base64\r\n\r\nPGI+\r\n--b1--\r\n";
        let part = Part::read(mail);
        assert_eq!(words(part.header("subject")), "Kühlraum 3 ist warm");
        assert_eq!(part.text("text/plain").as_deref(), Some("Kühlraum"));
        assert_eq!(part.text("text/html").as_deref(), Some("<b>"));
        assert_eq!(part.text("text/calendar"), None);
    }

    #[test]
    fn nonsense_is_read_as_far_as_it_goes() {
        for text in ["", ":", "\r\n\r\n", "Content-Type: multipart/mixed; boundary=\r\n\r\n--", "=?utf-8?b?!!?=", "=?x"]
        {
            let part = Part::read(text);
            let _ = (part.text("text/plain"), words(text));
        }
    }
}
