//! From what a column holds to what it means. A value that means nothing is damage, and says what it was.

use pulsewire_core::alert::Comparison;
use pulsewire_core::ids::AlertId;
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::ChannelKind;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use rusqlite::types::Type;

/// Something in the store is not what only we can have written there.
pub fn damaged(what: impl ToString) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.to_string().into())
}

pub fn severity(number: u8) -> rusqlite::Result<Severity> {
    Severity::ALL.get(usize::from(number)).copied().ok_or_else(|| damaged(format!("there is no severity {number}")))
}

pub fn comparison(number: u8) -> rusqlite::Result<Comparison> {
    let found = Comparison::ALL.get(usize::from(number)).copied();
    found.ok_or_else(|| damaged(format!("there is no comparison {number}")))
}

pub fn alert_id(bytes: [u8; 16]) -> AlertId {
    AlertId(Ulid::from_bytes(bytes))
}

pub fn channel_kind(name: &str) -> rusqlite::Result<ChannelKind> {
    ChannelKind::from_name(name).ok_or_else(|| damaged(format!("there is no channel {name:?}")))
}

pub fn notice_kind(name: &str) -> rusqlite::Result<NoticeKind> {
    NoticeKind::from_name(name).ok_or_else(|| damaged(format!("there is no kind of message {name:?}")))
}
