//! Plays a schedule: the real service on one thread, sockets that hold a few frames, and time that passes only here.

use crate::model::{Change, Known, TEXT, Told, Truth};
use crate::schedule::{DEVICES, Kind, METRICS, Op, VIEWERS, device};
use crate::viewer::{Kept, Viewer};
use crate::world::{START_US, Store, VirtualClock};
use pulsewire::bus::in_process::InProcessBus;
use pulsewire::live::fanout::FanoutLimits;
use pulsewire::live::{Live, LiveOptions, LiveParts, Outbox, PresenceTable, Step, ViewerClose};
use pulsewire::ports::{Batch, Bus, BusEvent, Clock, Committed, ShownAlert};
use pulsewire_core::alert::{Alert, AlertKind};
use pulsewire_core::block::{Block, ReportHead, SeriesSet, ValueRef};
use pulsewire_core::catalogue::{Catalogue, Resolved, SeriesLimits};
use pulsewire_core::command::{Command, State};
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::{
    AlertId, CommandId, CommandName, DeviceId, DeviceKey, GroupName, MetricName, Position, RuleId, Sequence,
    SessionEpoch, StreamId, UserName,
};
use pulsewire_core::sample::{MetricDeclaration, ReportKind};
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use pulsewire_core::value::ValueType;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Pieces that a connection holds when nobody reads: what the system's buffers are elsewhere.
const WIRE: usize = 3;
/// Events that the bus holds: less than a burst, so that the journal is read too.
const BUS: usize = 16;
/// Time passes in steps as small as this.
const STEP: Duration = Duration::from_millis(10);
/// How long everyone may take to have everything in the end.
const SETTLE: Duration = Duration::from_secs(8);
/// Late and backfilled samples are so much older; both lie outside what the histories asked for have.
const LATE_US: i64 = 120_000_000;
const BACKFILL_US: i64 = 3_600_000_000;

struct Socket {
    inbox: Sender<Vec<u8>>,
    outbox: Rc<RefCell<Outbox>>,
    /// Pieces that the connection took and nobody read.
    wire: VecDeque<Vec<u8>>,
    /// Read, and not a whole message.
    carry: Vec<u8>,
    task: JoinHandle<()>,
    stalled: bool,
}

struct Stage {
    store: Arc<Store>,
    bus: Arc<InProcessBus>,
    clock: Arc<VirtualClock>,
    catalogue: Arc<RwLock<Catalogue>>,
    directory: Arc<RwLock<Directory>>,
    presence: Arc<PresenceTable>,
    live: Live,
    truth: Truth,
    viewers: Vec<Viewer>,
    sockets: Vec<Option<Socket>>,
    kept: Vec<Vec<Kept>>,
    was_here: Vec<bool>,
    next_device: u32,
    next_subscription: u32,
    alert: u64,
    commands: BTreeMap<usize, u64>,
    sessions: u64,
}

/// Plays it; the first thing that is wrong, in words.
pub fn play(schedule: &[Op]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut stage = Stage::set();
        for (at, op) in schedule.iter().enumerate() {
            stage.act(op).await.map_err(|wrong| format!("at step {at}, {op:?}: {wrong}"))?;
            // Who has just asked is answered while other things happen.
            if let Op::Subscribe(_, _, haste) = op {
                for _ in 0..*haste {
                    tokio::task::yield_now().await;
                }
                continue;
            }
            stage.settle().await.map_err(|wrong| format!("after step {at}, {op:?}: {wrong}"))?;
        }
        stage.end().await.map_err(|wrong| format!("in the end: {wrong}"))
    })
}

/// Bounds so tight that a short schedule meets them.
fn options() -> LiveOptions {
    LiveOptions {
        viewers_max: 100,
        viewers_per_user_max: 100,
        viewers_per_address_max: 100,
        heartbeat_interval: Duration::from_secs(3600),
        interval_min: Duration::from_millis(50),
        subscriptions_max: 8,
        subscriptions_per_user_max: 800,
        subscribe_wait: Duration::from_secs(5),
        resume_records_max: 16_384,
        resumes_max: 4,
        events_kept_max: 1000,
        history_samples_max: 10_000,
        slow_reader_timeout: Duration::from_secs(3600),
        snapshot_reuse: Duration::from_millis(500),
        stale_after: Duration::from_secs(3600),
        fanout: FanoutLimits {
            series_max: 1000,
            inputs_max: 1000,
            views_max: 1000,
            view_series_max: 1000,
            view_linger_us: 300_000,
            idle_series_max: 1000,
            pending_samples_max: 60,
            ring_frames: 4,
            ring_bytes_max: 4000,
            rings_bytes_max: 40_000,
            slow_interval_us: 1_000_000,
            across_stale_us: crate::STALE_US,
        },
    }
}

impl Socket {
    /// Takes what there is room for. True if there was anything.
    fn fill(&mut self) -> bool {
        let mut something = false;
        while self.wire.len() < WIRE
            && let Step::Piece(piece) = self.outbox.borrow_mut().next(Instant::now().into_std())
        {
            self.wire.push_back(piece.to_vec());
            something = true;
        }
        something
    }
}

impl Stage {
    fn set() -> Stage {
        let store = Arc::new(Store::default());
        let bus = Arc::new(InProcessBus::new(BUS));
        let clock = Arc::new(VirtualClock(Instant::now()));
        let catalogue = Arc::new(RwLock::new(Catalogue::default()));
        let directory = Arc::new(RwLock::new(Directory::default()));
        let presence = Arc::new(PresenceTable::new(&[]));
        let parts = LiveParts {
            journal: store.clone(),
            history: store.clone(),
            bus: bus.clone(),
            clock: clock.clone(),
            catalogue: catalogue.clone(),
            directory: directory.clone(),
        };
        let (live, _) = Live::start(options(), parts, presence.clone(), 7, Position(0));
        Stage {
            store,
            bus,
            clock,
            catalogue,
            directory,
            presence,
            live,
            truth: Truth::default(),
            viewers: (0..VIEWERS).map(|_| Viewer::default()).collect(),
            sockets: (0..VIEWERS).map(|_| None).collect(),
            kept: (0..VIEWERS).map(|_| Vec::new()).collect(),
            was_here: vec![false; VIEWERS],
            next_device: 1,
            next_subscription: 1,
            alert: 0,
            commands: BTreeMap::new(),
            sessions: 0,
        }
    }

    async fn act(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Connect(viewer) => self.connect(*viewer).await?,
            Op::Subscribe(viewer, wish, _) => {
                let (number, now_us) = (self.next_subscription, self.clock.now_us());
                self.next_subscription += 1;
                let Some(socket) = &self.sockets[*viewer] else { return Ok(()) };
                let frame = self.viewers[*viewer].subscribe(number, wish.clone(), None, &self.truth, now_us);
                self.say(*viewer, frame, socket.inbox.clone());
            }
            Op::Unsubscribe(viewer, which) => {
                let Some(socket) = &self.sockets[*viewer] else { return Ok(()) };
                let Some(number) = self.viewers[*viewer].subs.keys().nth(*which).copied() else { return Ok(()) };
                self.viewers[*viewer].subs.remove(&number);
                let mut frame = Vec::new();
                let unsubscribe = pulsewire_proto::frame::Unsubscribe { subscription: number };
                pulsewire_proto::Message::Unsubscribe(unsubscribe).encode(&mut frame);
                self.say(*viewer, frame, socket.inbox.clone());
            }
            Op::Publish(device, metrics, rows, kind) => self.publish(*device, *metrics, *rows, *kind),
            Op::Burst(device, count) => {
                (0..*count).for_each(|n| self.publish(*device, 1 + (n % 3) as u8, 1, Kind::Live))
            }
            Op::Pass(ms) => self.pass(Duration::from_millis(*ms)).await?,
            Op::Stall(viewer) => self.sockets[*viewer].iter_mut().for_each(|socket| socket.stalled = true),
            Op::Read(viewer) => self.sockets[*viewer].iter_mut().for_each(|socket| socket.stalled = false),
            Op::Cut(viewer) => self.cut(*viewer),
            Op::Add(number) => self.add(*number),
            Op::Remove(number) => self.remove(*number),
            Op::Group(number, group) => self.edit(*number, |known| known.group = group.map(str::to_owned)),
            Op::Regroup(numbers, group) => self.regroup(numbers, *group),
            Op::Tag(number, site) => self.edit(*number, |known| {
                known.tags.remove("site");
                known.tags.extend(site.map(|site| ("site".to_owned(), site.to_owned())));
            }),
            Op::Alert => self.alert(),
            Op::Command(number) => self.command(*number),
            Op::Presence(number, online) => self.presence(*number, *online),
        }
        Ok(())
    }

    fn say(&self, viewer: usize, frame: Vec<u8>, inbox: Sender<Vec<u8>>) {
        // A socket that takes nothing because it waits for its reader takes this later; one that is full is stalled anyway.
        assert!(inbox.try_send(frame).is_ok(), "viewer {viewer} says more than a socket holds");
    }

    async fn connect(&mut self, viewer: usize) -> Result<(), String> {
        if self.sockets[viewer].is_some() {
            return Ok(());
        }
        let user = UserName::parse("kim").expect("a name");
        let served = self.live.connect(&user, None, DeviceScope::All).map_err(|error| error.to_string())?;
        let (inbox, said) = channel(256);
        let outbox = served.outbox();
        let task = tokio::task::spawn_local(serve(served, said));
        let (wire, carry) = (VecDeque::new(), Vec::new());
        self.sockets[viewer] = Some(Socket { inbox, outbox, wire, carry, task, stalled: false });
        // The welcome first: what was kept names its epoch, and the lane goes on before anything is asked for.
        self.settle().await?;
        let now_us = self.clock.now_us();
        for kept in std::mem::take(&mut self.kept[viewer]) {
            let number = self.next_subscription;
            self.next_subscription += 1;
            let frame = self.viewers[viewer].subscribe(number, kept.wish.clone(), Some(kept), &self.truth, now_us);
            if let Some(socket) = &self.sockets[viewer] {
                self.say(viewer, frame, socket.inbox.clone());
            }
        }
        self.was_here[viewer] = true;
        Ok(())
    }

    fn cut(&mut self, viewer: usize) {
        if let Some(socket) = self.sockets[viewer].take() {
            socket.task.abort();
            self.kept[viewer] = self.viewers[viewer].keep();
        }
    }

    fn known(&self, number: usize) -> Option<DeviceKey> {
        let id = device(number);
        self.truth.devices.iter().find(|(_, known)| known.id == id && !known.gone).map(|(key, _)| *key)
    }

    fn add(&mut self, number: usize) {
        if number >= DEVICES || self.known(number).is_some() {
            return;
        }
        let (key, id) = (DeviceKey(self.next_device), DeviceId::parse(&device(number)).expect("an id"));
        self.next_device += 1;
        self.truth.devices.insert(key, Known { id: id.to_string(), ..Known::default() });
        self.put(key);
    }

    /// Tells the directory and the service how a device is now.
    fn put(&mut self, key: DeviceKey) {
        self.enter(key);
        self.bus.publish(BusEvent::device_changed(key, false));
    }

    fn enter(&mut self, key: DeviceKey) {
        let Some(known) = self.truth.devices.get_mut(&key) else { return };
        known.changes += 1;
        let mut device = Device::named(key, DeviceId::parse(&known.id).expect("an id"));
        device.group = known.group.as_ref().map(|group| GroupName::parse(group).expect("a group"));
        device.tags = known.tags.clone();
        self.directory.write().expect("no panic").put(Arc::new(device));
        self.truth.edited.insert(self.truth.position);
    }

    /// Many devices in one piece: the service hears of all of them at once.
    fn regroup(&mut self, numbers: &[usize], group: Option<&str>) {
        let keys: Vec<DeviceKey> = numbers.iter().filter_map(|number| self.known(*number)).collect();
        for key in &keys {
            if let Some(known) = self.truth.devices.get_mut(key) {
                known.group = group.map(str::to_owned);
            }
            self.enter(*key);
        }
        self.bus.publish(BusEvent::DevicesChanged { devices: keys.into(), revoke: false });
    }

    fn edit(&mut self, number: usize, change: impl FnOnce(&mut Known)) {
        let Some(key) = self.known(number) else { return };
        if let Some(known) = self.truth.devices.get_mut(&key) {
            change(known);
        }
        self.put(key);
    }

    fn remove(&mut self, number: usize) {
        let Some(key) = self.known(number) else { return };
        if let Some(known) = self.truth.devices.get_mut(&key) {
            (known.gone, known.changes) = (true, known.changes + 1);
        }
        self.truth.edited.insert(self.truth.position);
        self.directory.write().expect("no panic").remove(key);
        self.catalogue.write().expect("no panic").remove_device(key);
        self.bus.publish(BusEvent::device_deleted(key));
    }

    fn publish(&mut self, number: usize, metrics: u8, rows: usize, kind: Kind) {
        let Some(key) = self.known(number) else { return };
        let names = METRICS.iter().enumerate().filter(|(at, _)| metrics & (1 << at) != 0).map(|(_, name)| *name);
        let (mut series, mut types, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let value_type = if name == TEXT { ValueType::Text } else { ValueType::F64 };
            let metric =
                MetricDeclaration { name: MetricName::parse(name).expect("a name"), unit: String::new(), value_type };
            let limits = SeriesLimits { in_all: 1000, per_device: 100 };
            let found = match self.catalogue.write().expect("no panic").resolve(key, &metric, limits) {
                Resolved::Known(found) => found,
                Resolved::Write(made) => {
                    new.push(made.clone());
                    made.key
                }
                Resolved::Rejected(reason) => panic!("{reason:?}"),
            };
            self.truth.series.insert(found, (key, name.to_owned()));
            series.push(found);
            types.push(value_type);
        }
        let (now_us, position) = (self.clock.now_us(), self.truth.position + 1);
        let changes = self.truth.devices.get(&key).map_or(0, |known| known.changes);
        let mut block = Block::new(Arc::new(SeriesSet { device: key, series: series.clone(), types: types.clone() }));
        for row in 0..rows {
            // No two samples of a series have one time: numbers grow by one and rows lie a millisecond apart at least.
            let first = self.truth.told.len() as u64 + 1;
            let age_us = match kind {
                Kind::Live => 0,
                Kind::Late => LATE_US,
                Kind::Backfill => BACKFILL_US,
            };
            let time_us = now_us - age_us + i64::try_from(first).expect("few");
            block.rows.begin_row(time_us);
            for (at, (one, value_type)) in series.iter().zip(&types).enumerate() {
                let number = first + at as u64;
                let text = format!("t{number}");
                let value = match value_type {
                    ValueType::Text => ValueRef::Text(&text),
                    _ => ValueRef::F64(number as f64),
                };
                block.rows.push_value(Some(value));
                let live = kind != Kind::Backfill;
                self.truth.told.push(Told { number, position, series: *one, time_us, live, changes });
            }
            debug_assert_eq!(block.rows.len(), row + 1);
        }
        let kind = if kind == Kind::Backfill { ReportKind::Backfill } else { ReportKind::Live };
        let rows = u32::try_from(rows).expect("few");
        block.reports.push(ReportHead {
            stream: StreamId(1),
            sequence: Sequence(position),
            digest: position,
            kind,
            rows,
        });
        let batch = Arc::new(Batch { received_us: now_us, blocks: vec![block], series: new, accounting: Vec::new() });
        let stored = self.store.append_now(&batch);
        assert_eq!(stored.0, position, "the store counts as the model does");
        self.truth.position = position;
        self.bus.publish(BusEvent::Committed(Arc::new(Committed { position: stored, batch })));
    }

    fn alert(&mut self) {
        self.alert += 1;
        // Two alerts take turns, so that each has revisions.
        let (number, revision) = (u128::from(self.alert % 2) + 1, self.alert.div_ceil(2));
        let id = Ulid::from_parts(1_000, number);
        self.truth.lane.push(Change { id: (u128::from_be_bytes(id.to_bytes()), revision), device: None });
        let alert = Arc::new(alert(AlertId(id), revision));
        self.bus.publish(BusEvent::AlertChanged(ShownAlert { alert, quiet: false }));
    }

    fn command(&mut self, number: usize) {
        let Some(key) = self.known(number) else { return };
        let revision = self.commands.entry(number).or_default();
        *revision += 1;
        let id = Ulid::from_parts(2_000, u128::from(number as u64));
        let change = Change { id: (u128::from_be_bytes(id.to_bytes()), *revision), device: Some(device(number)) };
        let command = Arc::new(command(CommandId(id), key, &device(number), *revision));
        self.truth.lane.push(change);
        self.bus.publish(BusEvent::CommandChanged(command));
    }

    fn presence(&mut self, number: usize, online: bool) {
        let (Some(key), now_us) = (self.known(number), self.clock.now_us()) else { return };
        if online {
            self.sessions += 1;
            self.presence.connected(key, SessionEpoch(self.sessions), now_us, "");
        } else {
            self.presence.disconnected(key, SessionEpoch(self.sessions), now_us);
        }
    }

    async fn pass(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            tokio::time::advance(STEP.min(until - Instant::now())).await;
            self.settle().await?;
        }
        Ok(())
    }

    /// Lets everyone do what there is to do now; whoever reads takes what came.
    async fn settle(&mut self) -> Result<(), String> {
        let mut quiet = 0;
        while quiet < 3 {
            for _ in 0..24 {
                tokio::task::yield_now().await;
            }
            quiet = if self.read()? { 0 } else { quiet + 1 };
        }
        Ok(())
    }

    /// Connections take what they have room for; whoever reads takes all of it.
    fn read(&mut self) -> Result<bool, String> {
        let mut something = false;
        for number in 0..VIEWERS {
            while self.sockets[number].as_mut().is_some_and(|socket| socket.fill()) {
                something = true;
                self.take(number).map_err(|wrong| format!("viewer {number}: {wrong}"))?;
            }
            self.take(number).map_err(|wrong| format!("viewer {number}: {wrong}"))?;
        }
        Ok(something)
    }

    fn take(&mut self, number: usize) -> Result<(), String> {
        let now_us = self.clock.now_us();
        let Some(socket) = self.sockets[number].as_mut().filter(|socket| !socket.stalled) else { return Ok(()) };
        socket.carry.extend(socket.wire.drain(..).flatten());
        let viewer = &mut self.viewers[number];
        while let Some((payload, taken)) = message(&socket.carry)? {
            let answer = viewer.take(payload, &self.truth, now_us, self.was_here[number])?;
            if !answer.is_empty() {
                assert!(socket.inbox.try_send(answer).is_ok(), "viewer {number} says more than a socket holds");
            }
            if let Some(closed) = &viewer.closed {
                return Err(format!("it was closed: {closed}"));
            }
            socket.carry.drain(..taken);
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), String> {
        for viewer in 0..VIEWERS {
            self.sockets[viewer].iter_mut().for_each(|socket| socket.stalled = false);
            self.connect(viewer).await?;
        }
        self.pass(SETTLE).await?;
        for (number, viewer) in self.viewers.iter().enumerate() {
            viewer.finish(&self.truth, self.clock.now_us()).map_err(|wrong| format!("viewer {number}: {wrong}"))?;
        }
        Ok(())
    }
}

/// What a connection does with messages and time, as `http/live.rs` does it. What goes out is taken from the outbox elsewhere.
async fn serve(mut viewer: pulsewire::live::Viewer, mut said: Receiver<Vec<u8>>) {
    let outbox = viewer.outbox();
    let now = || Instant::now().into_std();
    let end = loop {
        let deadline = Instant::from_std(viewer.next_deadline());
        let step = tokio::select! {
            message = said.recv() => match message {
                Some(message) => on_message(&mut viewer, &message).await,
                None => return,
            },
            () = tokio::time::sleep_until(deadline) => viewer.on_time(now()),
        };
        if let Err(close) = step {
            break close;
        }
    };
    drop(viewer);
    let mut out = outbox.borrow_mut();
    out.put(end.frame());
    out.close();
}

async fn on_message(viewer: &mut pulsewire::live::Viewer, message: &[u8]) -> Result<(), ViewerClose> {
    let mut rest = message;
    while !rest.is_empty() {
        viewer.on_message(&mut rest, Instant::now().into_std()).await?;
    }
    Ok(())
}

/// The first WebSocket message of what a server wrote, and how many bytes it takes. RFC 6455 §5.2: whole, binary, not masked.
fn message(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, String> {
    let Some(([first, length], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if *first != 0x82 || length & 0x80 != 0 {
        return Err(format!("a WebSocket message that begins with {first:#x} {length:#x}"));
    }
    let (length, rest) = match length {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (usize::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (usize::try_from(u64::from_be_bytes(*length)).map_err(|e| e.to_string())?, rest),
            None => return Ok(None),
        },
        length => (usize::from(*length), rest),
    };
    let head = bytes.len() - rest.len();
    Ok(rest.get(..length).map(|payload| (payload, head + length)))
}

fn alert(id: AlertId, revision: u64) -> Alert {
    Alert {
        id,
        revision,
        rule: RuleId::parse("hot").expect("an id"),
        rule_name: "Too hot".into(),
        kind: AlertKind::Condition,
        device: None,
        device_id: String::new(),
        device_name: String::new(),
        group: None,
        metric: MetricName::parse("temp").expect("a name"),
        unit: String::new(),
        severity: Severity::Warning,
        severity_max: Severity::Warning,
        condition: String::new(),
        threshold: None,
        hold_us: 0,
        value: 1.0,
        text: String::new(),
        runbook: String::new(),
        labels: BTreeMap::new(),
        started_us: START_US,
        fired_us: START_US,
        resolved: None,
        reopened: 0,
        stale: false,
        recovering: false,
        flapping: false,
        parent: None,
        members: 0,
        acknowledged: None,
        assigned: None,
        snoozed: None,
    }
}

fn command(id: CommandId, device: DeviceKey, device_id: &str, revision: u64) -> Command {
    Command {
        id,
        device,
        device_id: DeviceId::parse(device_id).expect("an id"),
        name: CommandName::parse("go").expect("a name"),
        arguments: BTreeMap::new(),
        state: State::Queued,
        attempt: 0,
        percent: None,
        code: String::new(),
        text: String::new(),
        values: BTreeMap::new(),
        cancel_requested: false,
        answered: false,
        supersede_key: None,
        created_by: UserName::parse("kim").expect("a name"),
        created_us: START_US,
        changed_us: START_US,
        since_us: START_US,
        deadline_us: i64::MAX,
        timeout_us: 1,
        revision,
    }
}
