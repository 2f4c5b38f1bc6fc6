//! What every store of commands promises, on the real files.

use pulsewire::ports::{CommandCommit, CommandStore, CommandWrite, DeviceStore, DeviceVerifier, NewDevice, Written};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::command::{
    ArgumentDef, ArgumentType, Command, CommandDef, CommandSet, Event, ResultStatus, State, Step, Value, Values,
};
use pulsewire_core::ids::{CommandId, CommandName, DeviceId, DeviceKey, UserName};
use pulsewire_core::ulid::Ulid;
use std::collections::BTreeMap;

fn name(text: &str) -> CommandName {
    CommandName::parse(text).expect("a name")
}

struct Store {
    meta: SqliteMeta,
    device: DeviceKey,
    folder: tempfile::TempDir,
}

impl Store {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let meta = SqliteMeta::open(&folder.path().join("meta.db")).expect("a store");
        let verifier = DeviceVerifier { stored_key: [1; 32], server_key: [2; 32] };
        let id = DeviceId::parse("cold-1").expect("an id");
        let new = NewDevice {
            id,
            name: "c".into(),
            tags: BTreeMap::new(),
            group: None,
            profile: None,
            verifier,
            created_us: 0,
        };
        let device = meta.create_device(new).await.expect("a device").key;
        Self { meta, device, folder }
    }

    fn command(&self, number: u128) -> Command {
        let arguments = [("f", Value::F64(-20.0)), ("i", Value::I64(-20)), ("t", Value::Text("°".into()))];
        Command {
            id: CommandId(Ulid::from_parts(7, number)),
            device: self.device,
            device_id: DeviceId::parse("cold-1").expect("an id"),
            name: name("set_target"),
            arguments: arguments.into_iter().map(|(text, value)| (name(text), value)).collect(),
            state: State::Queued,
            attempt: 0,
            percent: None,
            code: String::new(),
            text: String::new(),
            values: Values::new(),
            cancel_requested: false,
            answered: false,
            supersede_key: Some(name("target")),
            created_by: UserName::parse("kim").expect("a name"),
            created_us: 1,
            changed_us: 1,
            since_us: 1,
            deadline_us: 1_000_000,
            timeout_us: 30,
            revision: 1,
        }
    }

    async fn commit(&self, writes: Vec<CommandWrite>) -> Vec<Written> {
        self.commit_at(writes, 0).await
    }

    async fn commit_at(&self, writes: Vec<CommandWrite>, now_us: i64) -> Vec<Written> {
        let commit = CommandCommit { writes, sets: Vec::new(), history_per_device: 2, now_us };
        self.meta.commit_commands(commit).await.expect("stores")
    }

    async fn create(&self, number: u128) -> Command {
        let command = self.command(number);
        assert_eq!(self.commit(vec![create(&command)]).await, [Written::Stored]);
        command
    }

    async fn change(&self, command: &Command, event: Event) -> Command {
        let (after, write) = changed(command, event);
        assert_eq!(self.commit(vec![write]).await, [Written::Stored]);
        after
    }
}

fn create(command: &Command) -> CommandWrite {
    CommandWrite::Create(command.clone(), Step { state: command.state, time_us: 1, text: String::new() })
}

fn changed(command: &Command, event: Event) -> (Command, CommandWrite) {
    let applied = command.apply(event, 2, u32::MAX).expect("legal").expect("a change");
    (applied.command.clone(), CommandWrite::Change(applied.command, applied.step))
}

fn done() -> Event {
    let values = [(name("celsius"), Value::F64(-20.5))].into_iter().collect();
    Event::Result { status: ResultStatus::Succeeded, code: "c".into(), text: "t".into(), values }
}

#[tokio::test]
async fn a_command_is_read_back_as_it_was_stored_also_by_the_next_start() {
    let store = Store::new().await;
    let command = store.create(1).await;
    let sent = store.change(&command, Event::Sent).await;
    let path = store.folder.path().join("meta.db");
    drop(store.meta);
    let again = SqliteMeta::open(&path).expect("a store");
    assert_eq!(again.open_commands().await.expect("reads"), std::slice::from_ref(&sent));
    let (found, steps) = again.command(sent.id).await.expect("reads").expect("there");
    assert_eq!(found, sent);
    assert_eq!(steps.iter().map(|step| step.state).collect::<Vec<_>>(), [State::Queued, State::Sent]);
}

#[tokio::test]
async fn a_change_is_stored_only_over_the_revision_that_it_was_made_from() {
    let store = Store::new().await;
    let command = store.create(1).await;
    let (sent, write) = changed(&command, Event::Sent);
    assert_eq!(store.commit(vec![write.clone(), write]).await, [Written::Stored, Written::Gone]);
    assert_eq!(store.commit(vec![create(&command)]).await, [Written::Exists]);
    assert_eq!(store.meta.commands(vec![command.id]).await.expect("reads"), [sent]);
}

#[tokio::test]
async fn of_finished_commands_the_oldest_go_a_day_after_their_deadline_and_open_ones_stay() {
    let store = Store::new().await;
    let mut last = None;
    for number in 1..=5 {
        let command = store.create(number).await;
        if number != 2 {
            let sent = store.change(&command, Event::Sent).await;
            if number == 5 {
                last = Some(sent);
            } else {
                store.change(&sent, done()).await;
            }
        }
    }
    let deadline_us = 1_000_000;
    let (last, finish) = changed(&last.expect("sent"), done());
    store.commit_at(vec![finish], deadline_us + 86_400_000_000).await;
    let known = store.meta.commands_of(store.device, false, None, 10).await.expect("reads").commands;
    assert_eq!(known.len(), 5, "their callers may ask again for a day");
    // Any change of a finished command looks at its device's.
    let again = Command { revision: last.revision + 1, ..last };
    let step = Step { state: again.state, time_us: 3, text: String::new() };
    store.commit_at(vec![CommandWrite::Change(again, step)], deadline_us + 86_400_000_001).await;
    let all = store.meta.commands_of(store.device, false, None, 10).await.expect("reads");
    let numbers = |commands: &[Command]| commands.iter().map(|one| one.id.0.to_bytes()[15]).collect::<Vec<_>>();
    assert_eq!((numbers(&all.commands), all.next), (vec![5, 4, 2], None));
    let first = store.meta.commands_of(store.device, false, None, 2).await.expect("reads");
    let rest = store.meta.commands_of(store.device, false, first.next, 2).await.expect("reads");
    assert_eq!((numbers(&first.commands), numbers(&rest.commands), rest.next), (vec![5, 4], vec![2], None));
    let open = store.meta.commands_of(store.device, true, None, 10).await.expect("reads");
    assert_eq!(numbers(&open.commands), [2]);
}

#[tokio::test]
async fn of_far_too_many_young_commands_those_go_last_that_their_device_may_still_answer() {
    let store = Store::new().await;
    let sent = store.change(&store.create(1).await, Event::Sent).await;
    store.change(&store.change(&sent, Event::Delivered).await, Event::TimeoutPassed).await;
    for number in 2..=30 {
        let sent = store.change(&store.create(number).await, Event::Sent).await;
        store.change(&sent, done()).await;
    }
    let kept = store.meta.commands_of(store.device, false, None, 100).await.expect("reads").commands;
    assert_eq!((kept.len(), kept[18].id.0.to_bytes()[15], kept[19].id), (20, 12, sent.id), "ten times two");
}

#[tokio::test]
async fn a_device_is_to_be_told_what_was_given_up_while_it_could_have_it_until_it_answers() {
    let store = Store::new().await;
    let cancel = || Event::CancelAsked(UserName::parse("kim").expect("a name"));
    store.change(&store.create(1).await, cancel()).await;
    let sent = store.change(&store.create(2).await, Event::Sent).await;
    let given_up = store.change(&store.change(&sent, cancel()).await, Event::SessionEnded).await;
    let found = |limit| store.meta.given_up(vec![store.device], limit);
    assert_eq!(found(9).await.expect("reads"), std::slice::from_ref(&given_up), "what was never sent needs no word");
    assert_eq!(
        (given_up.state, given_up.is_untold(), found(0).await.expect("reads").len()),
        (State::Canceled, true, 0)
    );
    let answered = store.change(&given_up, done()).await;
    assert_eq!((answered.is_untold(), found(9).await.expect("reads")), (false, vec![]));
}

#[tokio::test]
async fn a_long_history_keeps_its_newest_fifty_steps() {
    let store = Store::new().await;
    let mut command = store.create(1).await;
    command = store.change(&command, Event::Sent).await;
    for number in 0..60 {
        command = store.change(&command, Event::Progress { percent: Some(number), text: number.to_string() }).await;
    }
    let (_, steps) = store.meta.command(command.id).await.expect("reads").expect("there");
    assert_eq!((steps.len(), steps[0].text.as_str(), steps[49].text.as_str()), (50, "10", "59"));
}

#[tokio::test]
async fn a_step_that_takes_anothers_place_drives_nothing_out_of_the_history() {
    let store = Store::new().await;
    let mut command = store.create(1).await;
    command = store.change(&command, Event::Sent).await;
    command = store.change(&command, Event::Progress { percent: None, text: "begun".into() }).await;
    for number in 0..60 {
        let progress = Event::Progress { percent: Some(number), text: number.to_string() };
        let applied = command.apply(progress, 2, u32::MAX).expect("legal").expect("a change");
        command = applied.command.clone();
        let renew = CommandWrite::Renew(applied.command, applied.step);
        assert_eq!(store.commit(vec![renew]).await, [Written::Stored]);
    }
    store.change(&command, done()).await;
    let (_, steps) = store.meta.command(command.id).await.expect("reads").expect("there");
    let states: Vec<_> = steps.iter().map(|step| step.state).collect();
    assert_eq!(states, [State::Queued, State::Sent, State::InProgress, State::Succeeded]);
    assert_eq!(steps[2].text, "59");
}

#[tokio::test]
async fn commands_and_sets_go_with_their_device_and_none_come_after_it() {
    let store = Store::new().await;
    let command = store.create(1).await;
    let argument = ArgumentDef {
        name: name("celsius"),
        argument_type: ArgumentType::F64,
        required: true,
        min: Some(-40.0),
        max: None,
        unit: "°C".into(),
    };
    let def = CommandDef { name: name("set_target"), title: "Target".into(), arguments: vec![argument] };
    let set = CommandSet { commands: vec![def] };
    let declare = || CommandCommit { sets: vec![(store.device, set.clone())], ..CommandCommit::default() };
    store.meta.commit_commands(declare()).await.expect("stores");
    assert_eq!(store.meta.command_set(store.device).await.expect("reads"), Some(set.clone()));
    store.meta.delete_device(store.device).await.expect("deletes");
    assert_eq!(store.meta.command(command.id).await.expect("reads"), None);
    assert_eq!(store.meta.command_set(store.device).await.expect("reads"), None);
    let (_, write) = changed(&command, Event::Sent);
    assert_eq!(store.commit(vec![write, create(&store.command(2))]).await, [Written::Gone, Written::Gone]);
    store.meta.commit_commands(declare()).await.expect("ignores it");
    assert_eq!(store.meta.command_set(store.device).await.expect("reads"), None);
}
