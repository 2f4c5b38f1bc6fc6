//! A store that fails under the service of commands: nobody is promised what is not stored, and it goes on by itself.

use async_trait::async_trait;
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::commands::{
    Commands, CommandsError, CommandsOptions, CommandsParts, FromDevice, NewCommand, Outgoing, Submitted, ToDevice,
};
use pulsewire::ports::{
    Bus, Clock, CommandCommit, CommandPage, CommandStore, DeviceStore, DeviceVerifier, MetaError, NewDevice, Written,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::command::{Command, CommandSet, ResultStatus, State, Step, Values};
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{CommandId, CommandName, DeviceId, DeviceKey, SessionEpoch, UserName};
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_micros()).expect("before 294000")
    }
}

/// The real store, whose disk is full when told so.
struct Full {
    meta: SqliteMeta,
    full: AtomicBool,
    // Whoever looks for a command does so a moment too early.
    early: AtomicBool,
}

#[async_trait]
impl CommandStore for Full {
    async fn open_commands(&self) -> Result<Vec<Command>, MetaError> {
        self.meta.open_commands().await
    }

    async fn commit_commands(&self, commit: CommandCommit) -> Result<Vec<Written>, MetaError> {
        if self.full.load(Ordering::SeqCst) {
            return Err(MetaError::Failed(anyhow::anyhow!("the disk is full")));
        }
        self.meta.commit_commands(commit).await
    }

    async fn commands(&self, ids: Vec<CommandId>) -> Result<Vec<Command>, MetaError> {
        self.meta.commands(ids).await
    }

    async fn given_up(&self, devices: Vec<DeviceKey>, limit: usize) -> Result<Vec<Command>, MetaError> {
        self.meta.given_up(devices, limit).await
    }

    async fn command(&self, id: CommandId) -> Result<Option<(Command, Vec<Step>)>, MetaError> {
        if self.early.load(Ordering::SeqCst) {
            return Ok(None);
        }
        self.meta.command(id).await
    }

    async fn commands_of(
        &self,
        device: DeviceKey,
        open: bool,
        before: Option<i64>,
        limit: usize,
    ) -> Result<CommandPage, MetaError> {
        self.meta.commands_of(device, open, before, limit).await
    }

    async fn command_set(&self, device: DeviceKey) -> Result<Option<CommandSet>, MetaError> {
        self.meta.command_set(device).await
    }
}

struct World {
    store: Arc<Full>,
    commands: Commands,
    device: Device,
    _folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let meta = SqliteMeta::open(&folder.path().join("meta.db")).expect("a store");
        let verifier = DeviceVerifier { stored_key: [1; 32], server_key: [2; 32] };
        let id = DeviceId::parse("d").expect("an id");
        let new = NewDevice {
            id,
            name: "d".into(),
            tags: BTreeMap::new(),
            group: None,
            profile: None,
            verifier,
            created_us: 0,
        };
        let device = meta.create_device(new).await.expect("a device");
        let store = Arc::new(Full { meta, full: AtomicBool::new(false), early: AtomicBool::new(false) });
        let bus: Arc<dyn Bus> = Arc::new(InProcessBus::new(64));
        let options = CommandsOptions {
            lease: Duration::from_secs(60),
            attempts_max: 10,
            queued_per_device_max: 10,
            history_per_device: 10,
            queue_requests: 16,
        };
        let directory = Arc::new(RwLock::new(Directory::new(vec![device.clone()])));
        let parts = CommandsParts { store: store.clone(), bus, clock: Arc::new(SystemClock), directory };
        let (commands, _task) = Commands::start(options, parts).await.expect("starts");
        Self { store, commands, device, _folder: folder }
    }

    async fn submit(&self) -> Result<Arc<Command>, CommandsError> {
        self.submit_as(None, None).await.map(|submitted| submitted.command)
    }

    async fn submit_as(&self, id: Option<CommandId>, key: Option<&str>) -> Result<Submitted, CommandsError> {
        let new = NewCommand {
            id,
            name: CommandName::parse("go").expect("a name"),
            arguments: Values::new(),
            ttl_us: 60_000_000,
            timeout_us: 60_000_000,
            supersede_key: key.map(|key| CommandName::parse(key).expect("a name")),
            user: UserName::parse("kim").expect("a name"),
        };
        self.commands.submit(&self.device, new).await
    }

    async fn connect(&self, epoch: u64) -> Arc<Outgoing> {
        let outgoing = Arc::new(Outgoing::default());
        self.commands.session_began(self.device.key, SessionEpoch(epoch), outgoing.clone()).await;
        outgoing
    }

    async fn state(&self, id: CommandId) -> State {
        self.commands.command(id).await.expect("there").0.state
    }
}

async fn next_command(outgoing: &Outgoing) -> Arc<Command> {
    loop {
        match outgoing.try_take_command(SystemClock.now_us()) {
            Some(command) => return command,
            None => outgoing.arrived().await,
        }
    }
}

async fn next(outgoing: &Outgoing) -> ToDevice {
    loop {
        match outgoing.try_take() {
            Some(frame) => return frame,
            None => outgoing.arrived().await,
        }
    }
}

fn done(id: CommandId) -> FromDevice {
    let (code, text, values) = (String::new(), String::new(), Values::new());
    FromDevice::Result { id, status: ResultStatus::Succeeded, code, text, values }
}

#[tokio::test]
async fn nothing_is_promised_or_sent_that_is_not_stored() {
    let world = World::new().await;
    let outgoing = world.connect(1).await;
    world.store.full.store(true, Ordering::SeqCst);
    let refused = world.submit().await;
    assert!(matches!(refused, Err(CommandsError::Unstored)), "{refused:?}");
    assert!(outgoing.try_take().is_none() && outgoing.try_take_command(0).is_none());
    world.store.full.store(false, Ordering::SeqCst);
    let command = world.submit().await.expect("stored");
    // Sent once the pause after the failure is over.
    let sent = next_command(&outgoing).await;
    assert_eq!((sent.id, sent.attempt), (command.id, 1));
    assert_eq!(world.commands.commands_of(world.device.key, true, None, 9).await.expect("reads").commands.len(), 1);
}

#[tokio::test]
async fn a_result_that_is_not_stored_is_not_acknowledged_and_its_device_comes_again() {
    let world = World::new().await;
    let outgoing = world.connect(1).await;
    let command = world.submit().await.expect("stored");
    next_command(&outgoing).await;
    world.store.full.store(true, Ordering::SeqCst);
    world.commands.said(world.device.key, done(command.id)).await;
    assert!(matches!(next(&outgoing).await, ToDevice::Unavailable));
    assert!(outgoing.try_take().is_none());
    assert_eq!(world.state(command.id).await, State::Sent);
    world.store.full.store(false, Ordering::SeqCst);
    let outgoing = world.connect(2).await;
    world.commands.said(world.device.key, done(command.id)).await;
    let acknowledged = async { while !matches!(next(&outgoing).await, ToDevice::ResultAck(id) if id == command.id) {} };
    tokio::time::timeout(Duration::from_secs(10), acknowledged).await.expect("acknowledged");
    assert_eq!(world.state(command.id).await, State::Succeeded);
}

#[tokio::test]
async fn a_repeat_that_overtakes_the_end_of_its_first_request_takes_no_other_commands_place() {
    let world = World::new().await;
    let first = world.submit_as(Some(CommandId(Ulid::from_parts(1, 1))), Some("target")).await.expect("stored").command;
    let kim = UserName::parse("kim").expect("a name");
    world.commands.cancel(first.id, kim).await.expect("canceled");
    let waiting = world.submit_as(None, Some("target")).await.expect("stored").command;
    world.store.early.store(true, Ordering::SeqCst);
    let repeat = world.submit_as(Some(first.id), Some("target")).await.expect("known");
    world.store.early.store(false, Ordering::SeqCst);
    assert_eq!((repeat.created, repeat.command.state), (false, State::Canceled));
    assert_eq!(world.state(waiting.id).await, State::Queued);
}
