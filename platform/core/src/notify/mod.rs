//! Who is told what of alerts, when, and why not: pure state machines, stored by others.
//!
//! [`Silences`] says what nobody wants to hear of. A [`Group`] takes what happens to its alerts and decides, by Alertmanager's
//! table with the changes that its module states, which messages follow. A [`StormCap`] keeps one person's messages to a bearable
//! rate. What is done with a [`Decision`] is not decided here.

#[cfg(test)]
mod doc_tests;
#[cfg(test)]
mod escalation_tests;
mod group;
#[cfg(test)]
mod group_properties;
#[cfg(test)]
mod group_tests;
mod matcher;
mod member;
pub(crate) mod phrases;
mod policy;
mod reason;
mod silence;
mod stored;
mod storm;
mod words;

pub use group::{DELAYED_AFTER_US, Group, MEMBERS_MAX, UNHELD_MAX, decision_id, group_id};
pub use matcher::{Matcher, MatcherError, MatcherOp};
pub use member::{Member, Mute};
pub use phrases::{acknowledged, code_words, test_words};
pub use policy::{EscalationStep, GroupPolicy, PolicyError, Recipients};
pub use reason::{Decision, Reason, Suppressed};
pub use silence::{SILENCES_MAX, Silence, SilenceError, SilenceKind, SilenceState, Silences};
pub use stored::StoredGroupError;
pub use storm::{MINUTE_US, PER_MINUTE_MAX, StormCap, StormCapError};
pub use words::{digest_words, notice};
