//! Why a payload was not accepted.

use core::fmt;

use crate::CloseCode;

/// A payload that breaks the layout or a limit. The receiver closes with [`DecodeError::close_code`] and the displayed
/// text, which names message and field but never repeats content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError {
    /// Message name as in SPEC §2.1, for example `HELLO`.
    pub message: &'static str,
    /// Field name as in the message's table.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The payload ends inside the field.
    Truncated,
    /// A length or number of elements that the payload, or this implementation's memory, cannot hold.
    LengthTooLarge,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// A bool or presence byte that is neither 0 nor 1.
    InvalidBool,
    /// An enum number that is not assigned, or an integer wider than its field.
    InvalidTag,
    /// The value is not one of those allowed; the text says which are.
    NotAllowed(&'static str),
}

impl DecodeError {
    /// An error about `field` of `message`.
    pub const fn new(message: &'static str, field: &'static str, problem: Problem) -> DecodeError {
        DecodeError { message, field, problem }
    }

    /// The code to close with: always `malformed`. SPEC §3.
    pub const fn close_code(&self) -> CloseCode {
        CloseCode::Malformed
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: {}", self.message, self.field, self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::Truncated => "the payload ends inside this field",
            Problem::LengthTooLarge => "the length is larger than the payload or the limit",
            Problem::InvalidUtf8 => "not valid UTF-8",
            Problem::InvalidBool => "the byte must be 0 or 1",
            Problem::InvalidTag => "a number that is not assigned or does not fit the field",
            Problem::NotAllowed(allowed) => allowed,
        })
    }
}

impl core::error::Error for DecodeError {}
