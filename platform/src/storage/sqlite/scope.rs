//! A rule's scope as text: JSON of one key.

use pulsewire_core::alert::Scope;
use pulsewire_core::ids::{DeviceId, GroupName};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stored {
    All,
    Devices(Vec<String>),
    Tag(String, String),
    Group(String),
}

/// As stored.
pub fn write(scope: &Scope) -> String {
    let stored = match scope {
        Scope::All => Stored::All,
        Scope::Devices(ids) => Stored::Devices(ids.iter().map(ToString::to_string).collect()),
        Scope::Tag { key, value } => Stored::Tag(key.clone(), value.clone()),
        Scope::Group(group) => Stored::Group(group.to_string()),
    };
    serde_json::to_string(&stored).unwrap_or_default()
}

/// What was stored.
pub fn read(text: &str) -> anyhow::Result<Scope> {
    Ok(match serde_json::from_str(text)? {
        Stored::All => Scope::All,
        Stored::Devices(ids) => Scope::Devices(ids.iter().map(|id| DeviceId::parse(id)).collect::<Result<_, _>>()?),
        Stored::Tag(key, value) => Scope::Tag { key, value },
        Stored::Group(group) => Scope::Group(GroupName::parse(&group)?),
    })
}
