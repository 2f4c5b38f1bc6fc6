//! What a configuration key is.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number within these bounds.
    Integer(i64, i64),
    /// A time like `500ms`, `10s`, `5m`, `24h`, within these bounds in milliseconds.
    Duration(i64, i64),
    /// A size like `4096`, `64KiB`, `256MiB`, within these bounds in bytes.
    Bytes(i64, i64),
    /// `true` or `false`.
    Bool,
    /// `ADDRESS:PORT`.
    Address,
    /// A path; empty = none.
    Path,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its table in the file; empty = the top level.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// As written in the file.
    pub default: &'static str,
    /// What it does, and what happens at a bound.
    pub meaning: &'static str,
}

impl Key {
    /// `section.name`, as used in messages.
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The environment variable that overrides it.
    pub fn variable(&self) -> String {
        format!("PULSEWIRE_{}", self.path().replace('.', "_").to_uppercase())
    }
}

pub(super) const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

pub(super) const MIB: i64 = 1 << 20;
pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
