//! Commands to devices: kept, sent in order, sent again until the device has them, and ended when nothing comes of them.
//! SPEC §7; the decisions are `pulsewire_core::command`.
//!
//! One task owns the commands that are not finished. It takes everything that waits, decides, stores all of it in one
//! transaction, and only then answers callers and gives frames to sessions: what a caller was told, and what a device was
//! sent, is on disk before. A command stays in its session's mailbox until the socket takes it, and is looked at once more
//! then: it may have been given up since, or be too late. A session takes its frames from a bounded mailbox; one that is full loses the frame, and the
//! lease or the next session makes up for it, so a slow device holds nobody up. If the store fails, the table goes back to
//! what is stored, callers are told, and devices whose words would be lost are disconnected, so that they say them again.

mod mailbox;
mod progress;
mod table;
mod task;

pub use mailbox::Outgoing;
pub use table::UNFINISHED_MAX;

use crate::ports::{Bus, Clock, CommandPage, CommandStore, MetaError, Topic};
use pulsewire_core::command::{
    ArgumentError, Command, CommandSet, Event, ResultStatus, State, Step, Values, WIRE_BYTES_MAX, check_arguments,
    wire_bytes,
};
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{CommandId, CommandName, DeviceId, DeviceKey, SessionEpoch, UserName};
use pulsewire_core::ulid::Ulid;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// Bounds of the service; each is a key of `[commands]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct CommandsOptions {
    pub lease: Duration,
    pub attempts_max: u32,
    pub queued_per_device_max: usize,
    pub history_per_device: usize,
    pub queue_requests: usize,
}

/// What the service works with.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct CommandsParts {
    pub store: Arc<dyn CommandStore>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub directory: Arc<RwLock<Directory>>,
}

/// What a caller wants of a device.
#[derive(Debug, Clone, PartialEq)]
pub struct NewCommand {
    /// The caller's id for it; asking again under it does it once.
    pub id: Option<CommandId>,
    /// What to do.
    pub name: CommandName,
    /// With what.
    pub arguments: Values,
    /// How long it may wait to be begun, µs.
    pub ttl_us: i64,
    /// How long to wait for a result, µs.
    pub timeout_us: i64,
    /// See [`Command::supersede_key`].
    pub supersede_key: Option<CommandName>,
    /// Who asks.
    pub user: UserName,
}

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum CommandsError {
    /// The command does not fit what the device declared, or a limit.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// It does not fit a frame.
    #[error("the command takes {0} bytes; at most {WIRE_BYTES_MAX} bytes are allowed")]
    TooLarge(usize),
    /// The device has as many open commands as it may.
    #[error("{device} has {open} commands that are not finished, as many as commands.queued_per_device_max allows")]
    TooMany {
        /// The device's id.
        device: String,
        /// How many.
        open: usize,
    },
    /// The id stands for another command.
    #[error("command {0} exists already, and is another one")]
    Exists(CommandId),
    /// The device is disabled.
    #[error("device {0} is disabled and takes no commands; enable it first")]
    Disabled(DeviceId),
    /// The device was deleted meanwhile.
    #[error("the device was deleted")]
    NoDevice,
    /// There is no such command.
    #[error("there is no command {0}")]
    NoCommand(CommandId),
    /// It is over.
    #[error("the command is {} already", .0.name())]
    Finished(State),
    /// The store cannot be used now.
    #[error("this could not be stored now; try again")]
    Store(#[source] MetaError),
    /// The store failed under the task, which has logged why.
    #[error("this could not be stored now; try again")]
    Unstored,
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// The system gives no random bytes.
    #[error("no random bytes for an id")]
    NoChance,
}

/// A command that was asked for.
#[derive(Debug, Clone)]
pub struct Submitted {
    /// As it stands.
    pub command: Arc<Command>,
    /// False if it was there before.
    pub created: bool,
}

/// What goes to a device's session, beside COMMAND.
#[derive(Debug, Clone)]
pub enum ToDevice {
    /// CANCEL.
    Cancel {
        /// Which command.
        id: CommandId,
        /// Who wants it, in words.
        text: String,
    },
    /// RESULT_ACK: stored, or not wanted.
    ResultAck(CommandId),
    /// What the device said could not be stored: it has to come again and say it again.
    Unavailable,
}

/// What a device says about commands.
#[derive(Debug, Clone)]
pub enum FromDevice {
    /// DELIVERED.
    Delivered(CommandId),
    /// PROGRESS.
    Progress {
        /// Which command.
        id: CommandId,
        /// 0–100, if it can tell.
        percent: Option<u8>,
        /// For a human.
        text: String,
    },
    /// RESULT.
    Result {
        /// Which command.
        id: CommandId,
        /// How it ended.
        status: ResultStatus,
        /// For programs.
        code: String,
        /// For a human.
        text: String,
        /// What it answers.
        values: Values,
    },
    /// COMMAND_SET.
    Set(CommandSet),
}

/// What the task is asked.
enum Request {
    // `named`: the id is the caller's, who may have used it before.
    Submit { command: Box<Command>, named: bool, reply: Reply<Submitted> },
    Cancel { id: CommandId, user: UserName, reply: Reply<Option<Arc<Command>>> },
    Began { device: DeviceKey, epoch: SessionEpoch, outgoing: Arc<Outgoing> },
    Ended { device: DeviceKey, epoch: SessionEpoch },
    Said { device: DeviceKey, message: FromDevice },
}

type Reply<T> = oneshot::Sender<Result<T, CommandsError>>;

/// Handle of the service.
pub struct Commands {
    sender: mpsc::Sender<Request>,
    store: Arc<dyn CommandStore>,
    clock: Arc<dyn Clock>,
}

impl Commands {
    /// Loads what is not finished and starts the task, which ends when every handle is gone. Deadlines that passed
    /// meanwhile are applied before anything is sent.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn start(options: CommandsOptions, parts: CommandsParts) -> Result<(Self, JoinHandle<()>), MetaError> {
        let devices = parts.bus.subscribe(Topic::Devices);
        let (sender, receiver) = mpsc::channel(options.queue_requests);
        let (store, clock) = (parts.store.clone(), parts.clock.clone());
        let task = task::CommandsTask::restore(options, parts).await?;
        Ok((Self { sender, store, clock }, tokio::spawn(task.run(receiver, devices))))
    }

    /// Takes a command; it is stored when this resolves. Asking for the same under the same id answers it as it stands.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub async fn submit(&self, device: &Device, new: NewCommand) -> Result<Submitted, CommandsError> {
        let now_us = self.clock.now_us();
        let asked = Command {
            id: new.id.map_or_else(|| new_id(now_us), Ok)?,
            device: device.key,
            device_id: device.id.clone(),
            name: new.name,
            arguments: new.arguments,
            state: State::Queued,
            attempt: 0,
            percent: None,
            code: String::new(),
            text: String::new(),
            values: Values::new(),
            cancel_requested: false,
            answered: false,
            supersede_key: new.supersede_key,
            created_by: new.user,
            created_us: now_us,
            changed_us: now_us,
            since_us: now_us,
            deadline_us: now_us.saturating_add(new.ttl_us),
            timeout_us: new.timeout_us,
            revision: 1,
        };
        // Before it is checked: what was taken once is answered, also if the device knows it no more, or may not have it.
        let named = new.id.is_some();
        if named && let Some((known, _)) = self.store.command(asked.id).await.map_err(CommandsError::Store)? {
            return repeated(&asked, &Arc::new(known));
        }
        if !device.enabled {
            return Err(CommandsError::Disabled(device.id.clone()));
        }
        let set = self.store.command_set(device.key).await.map_err(CommandsError::Store)?;
        let arguments = check_arguments(set.as_ref(), &asked.name, asked.arguments)?;
        let bytes = wire_bytes(&asked.name, &arguments);
        if bytes > WIRE_BYTES_MAX {
            return Err(CommandsError::TooLarge(bytes));
        }
        let command = Box::new(Command { arguments, ..asked });
        self.ask(|reply| Request::Submit { command, named, reply }).await
    }

    /// Gives a command up: at once while it is queued, else the device is asked.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub async fn cancel(&self, id: CommandId, user: UserName) -> Result<Arc<Command>, CommandsError> {
        if let Some(command) = self.ask(|reply| Request::Cancel { id, user, reply }).await? {
            return Ok(command);
        }
        let (command, _) = self.command(id).await?;
        Err(CommandsError::Finished(command.state))
    }

    /// A command with its history.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub async fn command(&self, id: CommandId) -> Result<(Command, Vec<Step>), CommandsError> {
        let found = self.store.command(id).await.map_err(CommandsError::Store)?;
        found.ok_or(CommandsError::NoCommand(id))
    }

    /// A device's commands, newest first.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub async fn commands_of(
        &self,
        device: DeviceKey,
        open: bool,
        before: Option<i64>,
        limit: usize,
    ) -> Result<CommandPage, CommandsError> {
        self.store.commands_of(device, open, before, limit).await.map_err(CommandsError::Store)
    }

    /// What a device said that it knows; None if it never said anything.
    ///
    /// # Errors
    /// [`CommandsError`].
    pub async fn command_set(&self, device: DeviceKey) -> Result<Option<CommandSet>, CommandsError> {
        self.store.command_set(device).await.map_err(CommandsError::Store)
    }

    /// A device is logged in; what is for it goes into its box.
    pub async fn session_began(&self, device: DeviceKey, epoch: SessionEpoch, outgoing: Arc<Outgoing>) {
        // An error means that the task has ended: there is nothing for any device, here and below.
        let _ = self.sender.send(Request::Began { device, epoch, outgoing }).await;
    }

    /// A session is over. One that was superseded already is not missed.
    pub async fn session_ended(&self, device: DeviceKey, epoch: SessionEpoch) {
        let _ = self.sender.send(Request::Ended { device, epoch }).await;
    }

    /// A device said something. Waits while the service has as much to do as it may; the device's socket is not read then.
    pub async fn said(&self, device: DeviceKey, message: FromDevice) {
        let _ = self.sender.send(Request::Said { device, message }).await;
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Request) -> Result<T, CommandsError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(make(reply)).await.map_err(|_| CommandsError::Stopping)?;
        answer.await.map_err(|_| CommandsError::Stopping)?
    }
}

fn new_id(now_us: i64) -> Result<CommandId, CommandsError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| CommandsError::NoChance)?;
    Ok(CommandId(Ulid::from_parts(now_us, u128::from_be_bytes(random))))
}

/// The command that is there, if it is the one that is asked for.
fn repeated(wanted: &Command, known: &Arc<Command>) -> Result<Submitted, CommandsError> {
    if known.is_same_request(wanted) {
        Ok(Submitted { command: known.clone(), created: false })
    } else {
        Err(CommandsError::Exists(known.id))
    }
}

impl FromDevice {
    /// The command that it is about, and what happens to it.
    fn event(self) -> Result<(CommandId, Event), CommandSet> {
        match self {
            Self::Delivered(id) => Ok((id, Event::Delivered)),
            Self::Progress { id, percent, text } => Ok((id, Event::Progress { percent, text })),
            Self::Result { id, status, code, text, values } => Ok((id, Event::Result { status, code, text, values })),
            Self::Set(set) => Err(set),
        }
    }
}
