//! Messages to admins about this server's own troubles.

use super::meta::Failure;
use super::notices::{Audience, Words};
use crate::ports::{OperatorNotice, Trouble};
use pulsewire_core::notice::{NoticeKind, own_message_id};
use pulsewire_core::notify::Recipients;
use pulsewire_core::push::Priority;
use pulsewire_core::role::Role;
use pulsewire_core::severity::Severity;
use rusqlite::Connection;

/// How long such a message is worth telling: a day.
const TTL_US: i64 = 86_400_000_000;

fn words(notice: &OperatorNotice) -> (String, String) {
    let OperatorNotice { provider, reason, .. } = notice;
    match notice.trouble {
        Trouble::PruningFrozen => (
            format!("{provider} calls very many endpoints gone"),
            format!(
                "None of them is removed, since environment, key or app may be the wrong ones. Check the configuration of {provider}. \
                 Its last word: {reason}"
            ),
        ),
        Trouble::Refuses => (
            format!("{provider} refuses this server"),
            format!("Messages wait until its keys, the clock or the configuration are set right. It said: {reason}"),
        ),
    }
}

/// Writes a message for each admin. To write the same notice twice writes it once.
pub(super) fn tell(connection: &Connection, notices: &[OperatorNotice], now_us: i64) -> Result<(), Failure> {
    if notices.is_empty() {
        return Ok(());
    }
    let audience = Audience::read(connection)?;
    for notice in notices {
        let (title, body) = words(notice);
        let trouble = match notice.trouble {
            Trouble::PruningFrozen => "frozen",
            Trouble::Refuses => "refuses",
        };
        let about = format!("{trouble} {}", notice.provider);
        for person in audience.of(&Recipients::Role(Role::Admin)) {
            let id = own_message_id(&[about.as_bytes(), &notice.time_us.to_be_bytes()], &person.name);
            // Of one trouble with one provider a screen shows the newest word.
            let tag = own_message_id(&[about.as_bytes()], &person.name);
            let words = Words {
                id,
                kind: NoticeKind::Operator,
                severity: Severity::Warning,
                priority: Priority::Normal,
                title: &title,
                body: &body,
                url: "/settings/notifications",
                image: None,
                tag: hex::encode(tag.0.to_bytes()),
                event_us: notice.time_us,
                expires_us: notice.time_us.saturating_add(TTL_US),
                announcement: None,
            };
            words.put(connection, person, now_us)?;
        }
    }
    Ok(())
}
