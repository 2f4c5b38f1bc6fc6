use super::meta::MetaError;
use async_trait::async_trait;
use pulsewire_core::command::{Command, CommandSet, Step};
use pulsewire_core::ids::{CommandId, DeviceKey};

/// One change to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandWrite {
    /// A new command, with its first step.
    Create(Command, Step),
    /// A command as it is now; it is stored only over the revision before.
    Change(Command, Step),
    /// Such a change whose step takes the place of the one that the revision before made.
    Renew(Command, Step),
}

impl CommandWrite {
    /// The command as it is to be.
    pub fn command(&self) -> &Command {
        match self {
            Self::Create(command, _) | Self::Change(command, _) | Self::Renew(command, _) => command,
        }
    }
}

/// One unit of work: all of it is stored, or nothing.
#[derive(Debug, Clone, Default)]
pub struct CommandCommit {
    /// In order.
    pub writes: Vec<CommandWrite>,
    /// What devices said that they know.
    pub sets: Vec<(DeviceKey, CommandSet)>,
    /// How many finished commands a device keeps at least. Older ones are deleted when a repeat of the request and a late
    /// result are not to be expected any more, and at the latest when there are ten times as many; those that their device
    /// may still answer go last.
    pub history_per_device: usize,
    /// The time by which their age is told, µs since the Unix epoch.
    pub now_us: i64,
}

/// What became of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Stored,
    /// There is a command with this id already.
    Exists,
    /// The device, or this revision of the command, is not there any more.
    Gone,
}

/// A page of a device's commands, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CommandPage {
    /// The commands.
    pub commands: Vec<Command>,
    /// Where the next page begins; None at the end.
    pub next: Option<i64>,
}

/// Commands and what devices know of them.
#[async_trait]
pub trait CommandStore: Send + Sync {
    /// Every command that is not finished, in the order in which they were stored.
    async fn open_commands(&self) -> Result<Vec<Command>, MetaError>;
    /// Stores changes, and says what became of each write, in order.
    async fn commit_commands(&self, commit: CommandCommit) -> Result<Vec<Written>, MetaError>;
    /// Those of these commands that exist.
    async fn commands(&self, ids: Vec<CommandId>) -> Result<Vec<Command>, MetaError>;
    /// What devices have to be told of ([`Command::is_untold`]): of each the newest, at most `limit`.
    async fn given_up(&self, devices: Vec<DeviceKey>, limit: usize) -> Result<Vec<Command>, MetaError>;
    /// A command with its newest steps, oldest first.
    async fn command(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, MetaError>;
    /// A device's commands, or only the open ones, before a place in the list.
    async fn commands_of(
        &self,
        device: DeviceKey,
        open: bool,
        before: Option<i64>,
        limit: usize,
    ) -> Result<CommandPage, MetaError>;
    /// What a device said that it knows; None if it never said anything.
    async fn command_set(&self, device: DeviceKey) -> Result<Option<CommandSet>, MetaError>;
}
