//! What was checked of a request, for the page.

use serde::Serialize;

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// The checks of one request, in order.
#[derive(Debug, Default)]
pub struct Checks(pub Vec<Check>);

impl Checks {
    /// Notes a check; `detail` says what was found.
    pub fn note(&mut self, name: &'static str, ok: bool, detail: impl Into<String>) -> bool {
        self.0.push(Check { name, ok, detail: detail.into() });
        ok
    }

    /// Notes the outcome of something that may fail.
    pub fn take<T>(&mut self, name: &'static str, found: Result<T, String>, good: &str) -> Option<T> {
        match found {
            Ok(value) => {
                self.note(name, true, good);
                Some(value)
            }
            Err(problem) => {
                self.note(name, false, problem);
                None
            }
        }
    }
}
