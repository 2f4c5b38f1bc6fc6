//! The expressions of rules: over the metrics of one device, judged sample by sample.
//!
//! [`Expr::parse`] reads and checks a text. A [`Program`] is what a rule has of them: its predicates, compiled over one list
//! of inputs. A [`Memory`] is what is remembered of one device; [`Memory::judge`] says whether a predicate holds at a
//! moment. The language is described in `docs/expressions.md`.

mod ast;
mod check;
mod compile;
mod error;
mod eval;
mod function;
mod idle;
mod lex;
mod memory;
mod next;
mod op;
mod parse;
mod program;
mod sum;
#[cfg(test)]
mod tests;
mod window;

pub use error::ExprError;
pub use memory::{Memory, MemoryError};
pub use op::Truth;
pub use program::{Expr, Moment, Program, Threshold};

use crate::ids::MetricName;
use sha2::{Digest, Sha256};

/// Longest text of an expression, in bytes. A longer one is refused.
pub const TEXT_BYTES_MAX: usize = 2048;
/// How deep an expression may be nested, so that recursion over it is bounded. A deeper one is refused.
pub const DEPTH_MAX: usize = 64;
/// Most metrics of one program. More are refused.
pub const METRICS_MAX: usize = 16;
/// Most windows of one program; functions of the same metric and duration share one. More are refused.
pub const WINDOWS_MAX: usize = 8;
/// Longest window, in µs: a day. A longer one is refused.
pub const WINDOW_US_MAX: i64 = 24 * 3_600_000_000;
/// Most samples of one window: 64 KiB. In a full window the oldest leave early, and [`Memory::is_cut`] says so.
pub const WINDOW_SAMPLES_MAX: usize = 4096;
/// Longest stored [`Memory`], in bytes: full windows and 32 texts of 4 KiB are 700 KB. A longer one is refused.
pub const MEMORY_BYTES_MAX: usize = 1024 * 1024;

/// A metric's name as it is written in an expression: in backquotes where it has to be.
pub fn quoted(metric: &MetricName) -> String {
    let name = metric.as_str();
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let bare = starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':'));
    let alone =
        bare && Expr::parse(&format!("{name} > 0")).is_ok_and(|expr| expr.metrics() == std::slice::from_ref(metric));
    // A backquote within backquotes is written twice.
    if alone { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// What a stored value belongs to: 64 bits of a hash that is the same in every build, so that names that are alike cannot
/// be found on purpose.
fn metric_key(metric: &MetricName) -> u64 {
    key_of(&[metric.as_str().as_bytes()])
}

/// What a stored window belongs to.
fn window_key(metric: &MetricName, duration_us: i64) -> u64 {
    // A name has no control characters, so the 0 parts the two.
    key_of(&[metric.as_str().as_bytes(), &[0], &duration_us.to_le_bytes()])
}

fn key_of(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

/// A duration in seconds, as people write it.
fn seconds(us: i64) -> String {
    #[allow(clippy::cast_precision_loss)] // for people
    let seconds = us as f64 / 1e6;
    seconds.to_string()
}
