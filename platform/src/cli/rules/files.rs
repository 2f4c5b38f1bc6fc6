//! YAML files with rules in them.

use anyhow::{Context, anyhow, bail};
use pulsewire_core::alert::{Authorship, Rule, RuleDocument, RuleError};
use pulsewire_core::ids::{RuleId, UserName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Largest file that is read, in bytes: 16 MiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub file: PathBuf,
    /// From 1; 0 if it is not known.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// Where a value stands.
pub(super) fn place_of<T>(file: &Path, value: &Spanned<T>) -> Place {
    Place { file: file.to_owned(), line: value.referenced.line() }
}

/// Reads a YAML file. Errors name file, line and field.
pub(super) fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let size = std::fs::metadata(file).with_context(|| format!("{} cannot be read", file.display()))?.len();
    if size > FILE_BYTES_MAX {
        bail!("{} has {size} bytes; at most {FILE_BYTES_MAX} are read", file.display());
    }
    parse(file, &std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?)
}

fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> anyhow::Result<T> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        anyhow!("{}: {}", Place { file: file.to_owned(), line }, error.without_snippet())
    })
}

/// A rule as a file has it.
#[derive(Debug, Clone)]
pub(super) struct RuleInFile {
    pub place: Place,
    pub document: RuleDocument,
}

/// A file of nothing but rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    rules: Vec<Spanned<RuleDocument>>,
}

impl RuleInFile {
    pub fn all_of(file: &Path, rules: Vec<Spanned<RuleDocument>>) -> Vec<Self> {
        rules.into_iter().map(|rule| Self { place: place_of(file, &rule), document: rule.value }).collect()
    }

    /// Those of a file.
    pub fn read(file: &Path) -> anyhow::Result<Vec<Self>> {
        Ok(Self::all_of(file, read::<RulesFile>(file)?.rules))
    }

    /// Those of a file that was read.
    pub fn parse(file: &Path, text: &str) -> anyhow::Result<Vec<Self>> {
        Ok(Self::all_of(file, parse::<RulesFile>(file, text)?.rules))
    }

    /// Its id, or how else to speak of it.
    pub fn title(&self) -> &str {
        self.document.id.as_deref().unwrap_or(&self.document.name)
    }

    /// Something is wrong with it.
    pub fn wrong(&self, error: &RuleError) -> anyhow::Error {
        anyhow!("{}: rule {:?}: {}: {error}", self.place, self.title(), error.field)
    }

    /// The rule, checked. `number` names one without an id.
    pub fn rule(&self, number: usize) -> anyhow::Result<Rule> {
        let id = self.document.id.clone().unwrap_or_else(|| format!("rule-{number}"));
        let id = RuleId::parse(&id).map_err(|error| self.wrong(&RuleError::field("id", error.to_string())))?;
        let updated_by = UserName::parse("file")?;
        let by = Authorship { id, version: 1, created_us: 0, updated_us: 0, updated_by };
        self.document.rule(by).map_err(|error| self.wrong(&error))
    }
}

/// The rules, each checked; an id that comes twice is an error.
pub(super) fn checked(rules: &[RuleInFile]) -> anyhow::Result<Vec<Rule>> {
    let mut seen: HashMap<RuleId, &Place> = HashMap::new();
    let mut checked = Vec::with_capacity(rules.len());
    for (number, in_file) in rules.iter().enumerate() {
        let rule = in_file.rule(number + 1)?;
        if let Some(before) = seen.insert(rule.id.clone(), &in_file.place) {
            bail!("{}: rule {:?}: id: it is also the id of the rule at {before}", in_file.place, rule.id.as_str());
        }
        checked.push(rule);
    }
    Ok(checked)
}
