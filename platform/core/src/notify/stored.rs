//! A group as bytes, for the store. The layout is that of `wincode` with its default configuration, after a version byte.

use super::group::{Group, MEMBERS_MAX, UNHELD_MAX};
use super::member::{Held, Member, Mute, Owed};
use crate::ids::AlertId;
use crate::severity::Severity;
use crate::ulid::Ulid;
use wincode::{SchemaRead, SchemaWrite};

/// A change of the layout gets another one.
const VERSION: u8 = 2;
/// The layout before it ends without `unheld`.
const VERSION_WITHOUT_UNHELD: u8 = 1;

const FIRING: u8 = 1;
const STALE: u8 = 1 << 1;
const FLAPPING: u8 = 1 << 2;
const TOLD_FLAPPING: u8 = 1 << 3;
const TOLD_STALE: u8 = 1 << 4;

/// Bytes that are no group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredGroupError {
    /// Written by another version of the program.
    #[error("the group is stored in layout {given}; this program reads layout {VERSION}")]
    Version {
        /// What was found.
        given: u8,
    },
    /// Damaged.
    #[error("the stored group cannot be read: {problem}")]
    Damaged {
        /// In which way.
        problem: String,
    },
}

#[derive(SchemaWrite, SchemaRead)]
struct StoredGroup {
    sequence: u64,
    last_us: Option<i64>,
    repeat_from_us: i64,
    more: u32,
    more_due_us: i64,
    members: Vec<StoredMember>,
    unheld: Vec<([u8; 16], u8)>,
}

#[derive(SchemaWrite, SchemaRead)]
struct StoredMember {
    alert: [u8; 16],
    severity: u8,
    ack_severity: u8,
    // 0: none; else the severity + 1.
    told: u8,
    // 0: none; else 1 silenced, 2 maintenance, 3 inhibited.
    mute: u8,
    // 0 nothing, 1 again, 2 level up.
    owed: u8,
    flags: u8,
    escalated: u8,
    acknowledged_us: Option<i64>,
    void_ack_us: Option<i64>,
    chain_us: Option<i64>,
    due_us: i64,
    audible_us: i64,
}

fn damaged(problem: impl ToString) -> StoredGroupError {
    StoredGroupError::Damaged { problem: problem.to_string() }
}

impl Group {
    /// For the store. 42 to 66 bytes per alert, and 17 per alert without room: at most 1.5 MB.
    ///
    /// # Errors
    /// None with up to [`MEMBERS_MAX`] alerts and [`UNHELD_MAX`] without room, of which there are never more.
    pub fn encode(&self) -> Result<Vec<u8>, StoredGroupError> {
        let stored = StoredGroup {
            sequence: self.sequence,
            last_us: self.last_us,
            repeat_from_us: self.repeat_from_us,
            more: self.more,
            more_due_us: self.more_due_us,
            members: self.members.values().map(StoredMember::from).collect(),
            unheld: self.unheld.iter().map(|(alert, counted)| (alert.0.to_bytes(), *counted)).collect(),
        };
        let mut bytes = vec![VERSION];
        bytes.extend(wincode::serialize(&stored).map_err(damaged)?);
        Ok(bytes)
    }

    /// Reads what [`encode`](Self::encode) made.
    ///
    /// # Errors
    /// [`StoredGroupError`]. Damaged bytes never panic and take at most 4 MiB.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredGroupError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| damaged("it is empty"))?;
        let stored: StoredGroup = match *version {
            VERSION => wincode::deserialize_exact(rest).map_err(damaged)?,
            // An empty list of them is a length of zero.
            VERSION_WITHOUT_UNHELD => wincode::deserialize_exact(&[rest, &[0; 8]].concat()).map_err(damaged)?,
            given => return Err(StoredGroupError::Version { given }),
        };
        if stored.unheld.len() > UNHELD_MAX {
            return Err(damaged(format!("{} alerts without room; {UNHELD_MAX} are allowed", stored.unheld.len())));
        }
        if stored.members.len() > MEMBERS_MAX {
            return Err(damaged(format!("{} alerts; {MEMBERS_MAX} are allowed", stored.members.len())));
        }
        let members = stored.members.into_iter().map(|member| {
            let held = Held::try_from(member)?;
            Ok((held.member.alert, held))
        });
        Ok(Self {
            members: members.collect::<Result<_, StoredGroupError>>()?,
            sequence: stored.sequence,
            last_us: stored.last_us,
            repeat_from_us: stored.repeat_from_us,
            more: stored.more,
            more_due_us: stored.more_due_us,
            unheld: stored.unheld.into_iter().map(|(id, counted)| (AlertId(Ulid::from_bytes(id)), counted)).collect(),
        })
    }
}

impl From<&Held> for StoredMember {
    fn from(held: &Held) -> Self {
        let member = &held.member;
        let flags = [
            (member.firing, FIRING),
            (member.stale, STALE),
            (member.flapping, FLAPPING),
            (held.told_flapping, TOLD_FLAPPING),
            (held.told_stale, TOLD_STALE),
        ];
        Self {
            alert: member.alert.0.to_bytes(),
            severity: member.severity as u8,
            ack_severity: held.ack_severity as u8,
            told: held.told.map_or(0, |severity| severity as u8 + 1),
            mute: match member.mute {
                None => 0,
                Some(Mute::Silenced) => 1,
                Some(Mute::Maintenance) => 2,
                Some(Mute::Inhibited) => 3,
            },
            owed: match held.owed {
                Owed::Nothing => 0,
                Owed::Again => 1,
                Owed::LevelUp => 2,
            },
            flags: flags.into_iter().filter(|(on, _)| *on).fold(0, |bits, (_, bit)| bits | bit),
            escalated: held.escalated,
            acknowledged_us: member.acknowledged_us,
            void_ack_us: held.void_ack_us,
            chain_us: held.chain_us,
            due_us: held.due_us,
            audible_us: held.audible_us,
        }
    }
}

fn severity(number: u8) -> Result<Severity, StoredGroupError> {
    let known = Severity::ALL.into_iter().find(|severity| *severity as u8 == number);
    known.ok_or_else(|| damaged(format!("severity {number}")))
}

impl TryFrom<StoredMember> for Held {
    type Error = StoredGroupError;

    fn try_from(stored: StoredMember) -> Result<Self, StoredGroupError> {
        let is = |bit| stored.flags & bit != 0;
        Ok(Self {
            member: Member {
                alert: AlertId(Ulid::from_bytes(stored.alert)),
                severity: severity(stored.severity)?,
                firing: is(FIRING),
                acknowledged_us: stored.acknowledged_us,
                mute: match stored.mute {
                    0 => None,
                    1 => Some(Mute::Silenced),
                    2 => Some(Mute::Maintenance),
                    3 => Some(Mute::Inhibited),
                    other => return Err(damaged(format!("mute {other}"))),
                },
                stale: is(STALE),
                flapping: is(FLAPPING),
            },
            told: stored.told.checked_sub(1).map(severity).transpose()?,
            told_flapping: is(TOLD_FLAPPING),
            told_stale: is(TOLD_STALE),
            owed: match stored.owed {
                0 => Owed::Nothing,
                1 => Owed::Again,
                2 => Owed::LevelUp,
                other => return Err(damaged(format!("owed {other}"))),
            },
            ack_severity: severity(stored.ack_severity)?,
            void_ack_us: stored.void_ack_us,
            due_us: stored.due_us,
            audible_us: stored.audible_us,
            chain_us: stored.chain_us,
            escalated: stored.escalated,
        })
    }
}
