//! The task that owns the open commands.

use super::progress::Progresses;
use super::table::{Entry, Table};
use super::{
    CommandsError, CommandsOptions, CommandsParts, FromDevice, Outgoing, Reply, Request, Submitted, ToDevice, repeated,
};
use crate::ports::{BusEvent, CommandCommit, CommandWrite, MetaError, Subscription, Written};
use crate::telemetry::names;
use pulsewire_core::command::{Applied, Command, CommandSet, Event, Illegal, State, Step};
use pulsewire_core::ids::{CommandId, DeviceKey, SessionEpoch, UserName};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Most requests decided before they are stored together.
const UNIT_REQUESTS: usize = 256;
/// Longest sleep: the wall clock may have been set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// Most commands of which a device is told at the beginning of a session that they were given up while it was away; the newest.
const TOLD_MAX: usize = 64;
/// Wait after the store failed, before anything is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct CommandsTask {
    options: CommandsOptions,
    parts: CommandsParts,
    table: Table,
    progresses: Progresses,
    sessions: HashMap<DeviceKey, Session>,
    // Set after the store failed: until then only requests are served, and after it every device is looked at.
    paused_until: Option<Instant>,
    // Devices whose session began, and which are to be told what was given up while they were away.
    untold: BTreeSet<DeviceKey>,
}

struct Session {
    epoch: SessionEpoch,
    outgoing: Arc<Outgoing>,
}

/// What is decided and not stored yet.
#[derive(Default)]
struct Unit {
    requests: usize,
    writes: Vec<CommandWrite>,
    sets: HashMap<DeviceKey, CommandSet>,
    // The table before, in the order of the changes.
    undo: Vec<(CommandId, Option<Entry>)>,
    // Commands that left the table in this unit.
    finished: HashMap<CommandId, Command>,
    // Commands under ids of their callers: they may have been stored and finished long ago.
    named: Vec<(Command, Reply<Submitted>)>,
    // Results for commands that are not in the table.
    late: Vec<(DeviceKey, CommandId, Event)>,
    frames: Vec<(DeviceKey, ToDevice)>,
    // Commands that are sent when that is stored.
    sent: Vec<Command>,
    answers: Vec<Answer>,
    // Devices that may have something to be sent now.
    touched: BTreeSet<DeviceKey>,
    // Devices whose words are in this unit.
    speakers: BTreeSet<DeviceKey>,
}

enum Answer {
    Submitted(Reply<Submitted>, Submitted),
    Canceled(Reply<Option<Arc<Command>>>, Arc<Command>),
}

impl CommandsTask {
    /// Loads what is not finished. What was sent before this start is not on its way any more.
    pub(super) async fn restore(options: CommandsOptions, parts: CommandsParts) -> Result<Self, MetaError> {
        let mut table = Table::new(micros(options.lease));
        let mut interrupted = Vec::new();
        for command in parts.store.open_commands().await? {
            if command.state == State::Sent {
                interrupted.push(command.id);
            }
            table.put(command);
        }
        let (sessions, untold) = (HashMap::new(), BTreeSet::new());
        let progresses = Progresses::default();
        let mut task = Self { options, parts, table, progresses, sessions, paused_until: None, untold };
        let mut unit = Unit::default();
        for id in interrupted {
            task.apply(&mut unit, id, Event::SessionEnded);
        }
        task.on_time(&mut unit);
        task.commit(unit).await;
        Ok(task)
    }

    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut devices: Box<dyn Subscription>) {
        loop {
            let mut unit = Unit::default();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.on_request(request, &mut unit),
                    None => return,
                },
                event = devices.next() => match event {
                    Ok(Some(BusEvent::DevicesDeleted { devices })) => devices.iter().for_each(|device| self.forget(*device)),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(_) => self.forget_deleted(),
                },
                () = tokio::time::sleep(self.sleep()) => {}
            }
            while unit.requests < UNIT_REQUESTS
                && let Ok(request) = requests.try_recv()
            {
                self.on_request(request, &mut unit);
            }
            if let Err(error) = self.look_up(&mut unit).await {
                self.fail(unit, &error);
                continue;
            }
            self.on_time(&mut unit);
            self.send_next(&mut unit);
            self.commit(unit).await;
        }
    }

    fn sleep(&self) -> Duration {
        if let Some(until) = self.paused_until {
            return until.saturating_duration_since(Instant::now());
        }
        let due_us = self.table.next_due_us().into_iter().chain(self.progresses.next_due_us()).min();
        let wait_us = due_us.map_or(i64::MAX, |at_us| at_us.saturating_sub(self.parts.clock.now_us()).max(0));
        Duration::from_micros(wait_us.unsigned_abs()).min(SLEEP_MAX)
    }

    fn forget(&mut self, device: DeviceKey) {
        let ids: Vec<_> = self.table.of(device).map(|command| command.id).collect();
        ids.into_iter().for_each(|id| self.progresses.forget(id));
        self.table.forget(device);
        self.sessions.remove(&device);
        self.gauge();
    }

    /// Which devices were deleted is not known: those that the directory lacks.
    fn forget_deleted(&mut self) {
        let Ok(directory) = self.parts.directory.read() else { return };
        let gone: Vec<_> = self.table.devices().filter(|device| directory.by_key(*device).is_none()).collect();
        drop(directory);
        gone.into_iter().for_each(|device| self.forget(device));
    }

    fn on_request(&mut self, request: Request, unit: &mut Unit) {
        unit.requests += 1;
        match request {
            Request::Submit { command, named: true, reply } => unit.named.push((*command, reply)),
            Request::Submit { command, named: false, reply } => self.submit(*command, reply, unit),
            Request::Cancel { id, user, reply } => self.cancel(id, user, reply, unit),
            Request::Began { device, epoch, outgoing } => self.began(device, epoch, outgoing, unit),
            Request::Ended { device, epoch } => {
                if self.sessions.get(&device).is_some_and(|session| session.epoch == epoch) {
                    if let Some(session) = self.sessions.remove(&device) {
                        session.outgoing.call_back_all();
                    }
                    self.interrupt(device, unit);
                }
            }
            Request::Said { device, message } => self.said(device, message, unit),
        }
    }

    fn submit(&mut self, command: Command, reply: Reply<Submitted>, unit: &mut Unit) {
        // A caller that is gone is not missed, here and below: what it asked for is done all the same.
        if let Some(known) = self.current(unit, command.id) {
            match repeated(&command, &Arc::new(known.clone())) {
                Ok(submitted) => unit.answers.push(Answer::Submitted(reply, submitted)),
                Err(error) => drop(reply.send(Err(error))),
            }
            return;
        }
        let replaces = |old: &&Command| {
            old.state == State::Queued && old.supersede_key.is_some() && old.supersede_key == command.supersede_key
        };
        let replaced: Vec<_> = self.table.of(command.device).filter(replaces).map(|old| old.id).collect();
        let open = self.table.of(command.device).count() - replaced.len();
        if open >= self.options.queued_per_device_max {
            let device = command.device_id.to_string();
            drop(reply.send(Err(CommandsError::TooMany { device, open })));
            return;
        }
        for old in replaced {
            self.apply(unit, old, Event::Superseded(command.id));
        }
        let step = Step { state: command.state, time_us: command.created_us, text: String::new() };
        unit.touched.insert(command.device);
        unit.undo.push((command.id, self.table.put(command.clone())));
        unit.writes.push(CommandWrite::Create(command.clone(), step));
        unit.answers.push(Answer::Submitted(reply, Submitted { command: Arc::new(command), created: true }));
    }

    fn cancel(&mut self, id: CommandId, user: UserName, reply: Reply<Option<Arc<Command>>>, unit: &mut Unit) {
        let Some(known) = self.table.get(id).cloned() else {
            // Finished, or never there: the store knows.
            return match unit.finished.get(&id) {
                Some(done) => drop(reply.send(Err(CommandsError::Finished(done.state)))),
                None => drop(reply.send(Ok(None))),
            };
        };
        let after = match self.apply(unit, id, Event::CancelAsked(user.clone())) {
            Some(after) => {
                if after.attempt > 0 {
                    let text = format!("{user} gave it up");
                    unit.frames.push((after.device, ToDevice::Cancel { id, text }));
                }
                after
            }
            None => known,
        };
        unit.answers.push(Answer::Canceled(reply, Arc::new(after)));
    }

    fn began(&mut self, device: DeviceKey, epoch: SessionEpoch, outgoing: Arc<Outgoing>, unit: &mut Unit) {
        // Two logins of one device may come here in either order.
        if self.sessions.get(&device).is_some_and(|session| session.epoch > epoch) {
            return;
        }
        if let Some(old) = self.sessions.insert(device, Session { epoch, outgoing }) {
            old.outgoing.call_back_all();
        }
        self.interrupt(device, unit);
        // Whether the device had the wish before its session ended is not known.
        let given_up = self.table.of(device).filter(|c| c.cancel_requested && c.state != State::Queued);
        for command in given_up {
            let cancel = ToDevice::Cancel { id: command.id, text: "it was given up".into() };
            unit.frames.push((device, cancel));
        }
        self.untold.insert(device);
        unit.touched.insert(device);
    }

    /// What was sent to the device's last session is not on its way any more.
    fn interrupt(&mut self, device: DeviceKey, unit: &mut Unit) {
        let sent: Vec<_> = self.table.of(device).filter(|c| c.state == State::Sent).map(|c| c.id).collect();
        for id in sent {
            self.apply(unit, id, Event::SessionEnded);
        }
    }

    fn said(&mut self, device: DeviceKey, message: FromDevice, unit: &mut Unit) {
        unit.speakers.insert(device);
        let (id, event) = match message.event() {
            Ok(said) => said,
            Err(set) => {
                unit.sets.insert(device, set);
                return;
            }
        };
        let is_result = matches!(event, Event::Result { .. });
        match self.current(unit, id) {
            Some(known) if known.device == device => {
                let again = matches!(event, Event::Progress { .. }) && known.state == State::InProgress;
                let (since_us, now_us) = (known.since_us, self.parts.clock.now_us());
                if !again || !self.progresses.put_off(id, &event, since_us, now_us) {
                    self.apply(unit, id, event);
                }
            }
            None if is_result => unit.late.push((device, id, event)),
            _ => ignored(),
        }
        if is_result {
            unit.frames.push((device, ToDevice::ResultAck(id)));
        }
    }

    /// Goes on with what needs commands that are finished. A result counts however late it comes; an id of a caller's stands
    /// for one command however long ago that was, and nothing is superseded before that is known; and devices that come are
    /// told what was given up.
    async fn look_up(&mut self, unit: &mut Unit) -> Result<(), MetaError> {
        let named = unit.named.iter().map(|(command, _)| command.id);
        let ids: Vec<_> = unit.late.iter().map(|(_, id, _)| *id).chain(named).collect();
        if !ids.is_empty() {
            for command in self.parts.store.commands(ids).await? {
                if self.table.get(command.id).is_none() {
                    unit.finished.entry(command.id).or_insert(command);
                }
            }
        }
        let mut given_up = Vec::new();
        if !self.untold.is_empty() {
            given_up = self.parts.store.given_up(self.untold.iter().copied().collect(), TOLD_MAX).await?;
        }
        for (device, id, event) in std::mem::take(&mut unit.late) {
            match self.current(unit, id) {
                Some(known) if known.device == device => {
                    self.apply(unit, id, event);
                }
                _ => ignored(),
            }
        }
        given_up.retain(|command| !unit.finished.contains_key(&command.id));
        let just_now = unit.finished.values().filter(|c| c.is_untold() && self.untold.contains(&c.device));
        given_up.extend(just_now.cloned());
        for command in given_up {
            let cancel = ToDevice::Cancel { id: command.id, text: "it was given up".into() };
            unit.frames.push((command.device, cancel));
        }
        for (command, reply) in std::mem::take(&mut unit.named) {
            self.submit(command, reply, unit);
        }
        Ok(())
    }

    /// The command as this unit leaves it.
    fn current<'a>(&'a self, unit: &'a Unit, id: CommandId) -> Option<&'a Command> {
        self.table.get(id).or_else(|| unit.finished.get(&id))
    }

    /// Lets something happen to a command that is known. None if that changes nothing.
    fn apply(&mut self, unit: &mut Unit, id: CommandId, event: Event) -> Option<Command> {
        let now_us = self.parts.clock.now_us();
        let known = self.current(unit, id)?;
        let superseded = matches!(event, Event::Superseded(_));
        let progress = matches!(event, Event::Progress { .. });
        match known.apply(event, now_us, self.options.attempts_max) {
            Ok(Some(Applied { command, step })) => {
                unit.touched.insert(command.device);
                unit.undo.push((id, self.table.put(command.clone())));
                let renew = progress && self.progresses.counted(id, command.revision).is_some();
                if !command.state.is_open() {
                    self.progresses.forget(id);
                    unit.finished.insert(id, command.clone());
                }
                if superseded && command.attempt > 0 {
                    let cancel = ToDevice::Cancel { id, text: "a newer command took its place".into() };
                    unit.frames.push((command.device, cancel));
                }
                let write = if renew { CommandWrite::Renew } else { CommandWrite::Change };
                unit.writes.push(write(command.clone(), step));
                Some(command)
            }
            Ok(None) => None,
            Err(Illegal::NeverSent) => {
                ignored();
                None
            }
            Err(error) => {
                tracing::debug!(command = %id, %error, "a command did not take an event");
                None
            }
        }
    }

    /// Applies what is due.
    fn on_time(&mut self, unit: &mut Unit) {
        let now_us = self.parts.clock.now_us();
        if let Some(until) = self.paused_until {
            if Instant::now() < until {
                return;
            }
            self.paused_until = None;
            unit.touched.extend(self.sessions.keys());
        }
        // Before what is due because nothing was heard.
        while let Some((id, event)) = self.progresses.take_due(now_us) {
            self.apply(unit, id, event);
        }
        let lease_us = micros(self.options.lease);
        while let Some(command) = self.table.due(now_us) {
            let id = command.id;
            let due = command.next_deadline(lease_us).and_then(|(_, event)| self.apply(unit, id, event));
            if due.is_none() {
                // What is due always changes something; were it not so, this would not end.
                tracing::error!(command = %id, "a command that is due did not change");
                self.table.take(id);
            }
        }
    }

    /// Decides what connected devices are sent.
    fn send_next(&mut self, unit: &mut Unit) {
        if self.paused_until.is_some() {
            return;
        }
        for device in std::mem::take(&mut unit.touched) {
            if !self.sessions.contains_key(&device) {
                continue;
            }
            let next = self.table.next_to_send(device, self.options.attempts_max).map(|command| command.id);
            let sent = next.and_then(|id| self.apply(unit, id, Event::Sent));
            unit.sent.extend(sent);
        }
    }

    async fn commit(&mut self, unit: Unit) {
        let mut written = Vec::new();
        if !unit.writes.is_empty() || !unit.sets.is_empty() {
            let commit = CommandCommit {
                writes: unit.writes.clone(),
                sets: unit.sets.clone().into_iter().collect(),
                history_per_device: self.options.history_per_device,
                now_us: self.parts.clock.now_us(),
            };
            match self.parts.store.commit_commands(commit).await {
                Ok(outcomes) => written = outcomes,
                Err(error) => return self.fail(unit, &error),
            }
        }
        self.untold.clear();
        let mut unstored = HashMap::new();
        for (write, outcome) in unit.writes.into_iter().zip(written) {
            let command = write.command();
            if (command.state != State::Sent || command.cancel_requested)
                && let Some(session) = self.sessions.get(&command.device)
            {
                session.outgoing.call_back(command.id);
            }
            if outcome == Written::Stored {
                stored(&write);
                let (CommandWrite::Create(command, _)
                | CommandWrite::Change(command, _)
                | CommandWrite::Renew(command, _)) = write;
                self.parts.bus.publish(BusEvent::CommandChanged(Arc::new(command)));
            } else {
                // Deleted meanwhile with its device, or its id is another command's.
                self.table.take(command.id);
                self.progresses.forget(command.id);
                unstored.entry(command.id).or_insert(outcome);
            }
        }
        self.gauge();
        for (device, frame) in unit.frames {
            if let Some(session) = self.sessions.get(&device) {
                session.outgoing.put(frame);
            }
        }
        for command in unit.sent {
            if !unstored.contains_key(&command.id)
                && let Some(session) = self.sessions.get(&command.device)
            {
                session.outgoing.put_command(Arc::new(command));
            }
        }
        for answer in unit.answers {
            match answer {
                Answer::Submitted(reply, submitted) => {
                    let answer = match unstored.get(&submitted.command.id) {
                        Some(Written::Exists) => Err(CommandsError::Exists(submitted.command.id)),
                        Some(_) => Err(CommandsError::NoDevice),
                        None => Ok(submitted),
                    };
                    drop(reply.send(answer));
                }
                Answer::Canceled(reply, command) => {
                    let gone = unstored.contains_key(&command.id);
                    drop(reply.send(if gone { Ok(None) } else { Ok(Some(command)) }));
                }
            }
        }
    }

    /// Nothing of the unit is stored: the table goes back, and whoever spoke is told to do so again.
    fn fail(&mut self, unit: Unit, error: &MetaError) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(%error, cause, "commands could not be stored");
        for (id, before) in unit.undo.into_iter().rev() {
            self.table.restore(id, before);
            self.progresses.forget(id);
        }
        for (_, reply) in unit.named {
            drop(reply.send(Err(CommandsError::Unstored)));
        }
        for answer in unit.answers {
            match answer {
                Answer::Submitted(reply, _) => drop(reply.send(Err(CommandsError::Unstored))),
                Answer::Canceled(reply, _) => drop(reply.send(Err(CommandsError::Unstored))),
            }
        }
        let speakers: HashSet<_> = unit.speakers.into_iter().collect();
        for (_, session) in self.sessions.iter().filter(|(device, _)| speakers.contains(device)) {
            session.outgoing.put(ToDevice::Unavailable);
        }
        self.paused_until = Some(Instant::now() + RETRY);
    }

    fn gauge(&self) {
        metrics::gauge!(names::COMMANDS_OPEN).set(self.table.len() as f64);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// What a device said means nothing here.
fn ignored() {
    metrics::counter!(names::COMMANDS_IGNORED).increment(1);
}

fn stored(write: &CommandWrite) {
    let command = write.command();
    metrics::counter!(names::COMMANDS, "state" => command.state.name()).increment(1);
    if command.state == State::Delivered && command.since_us == command.changed_us {
        let waited_us = command.changed_us.saturating_sub(command.created_us).max(0);
        metrics::histogram!(names::COMMAND_DELIVERY_SECONDS).record(waited_us as f64 / 1e6);
    }
}
