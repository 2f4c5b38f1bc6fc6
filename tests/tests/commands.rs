//! Commands from the API to a device and back: stored before they are promised, in order, at most one answer counts.

use pulsewire_proto::Message;
use pulsewire_proto::frame::{
    ArgumentDef, ArgumentType, Cancel, Command, CommandDef, CommandResult, CommandSet, CommandStatus, CommandValue,
    Delivered, NamedValue, Progress, ResultAck, ResultStatus,
};
use pulsewire_tests::device::Device;
use pulsewire_tests::recorded::Random;
use pulsewire_tests::{Answer, Server, Sim, Viewer, everything, until};
use serde_json::{Value, json};
use std::time::Duration;

fn give(server: &Server, device: &str, body: &Value) -> Answer {
    server.admin().post(&format!("/api/v1/devices/{device}/commands"), body)
}

/// Gives a command and answers its id.
fn given(server: &Server, device: &str, body: &Value) -> String {
    let command = give(server, device, body).expect(202);
    assert_eq!(command["state"], "queued", "{command}");
    command["id"].as_str().expect("an id").to_owned()
}

fn command(server: &Server, id: &str) -> Value {
    server.admin().get(&format!("/api/v1/commands/{id}")).expect(200)
}

fn cancel(server: &Server, id: &str) -> Answer {
    server.admin().post(&format!("/api/v1/commands/{id}/cancel"), &json!({}))
}

/// Waits until a command stands so.
fn until_state(server: &Server, id: &str, state: &str) -> Value {
    until(&format!("the command is {state}"), || Some(command(server, id)).filter(|now| now["state"] == state))
}

fn states(command: &Value) -> Vec<&str> {
    let steps = command["history"].as_array().expect("a history");
    steps.iter().map(|step| step["state"].as_str().expect("a state")).collect()
}

/// The next COMMAND.
fn next_command(device: &mut Device) -> Command {
    let frame = device.answer();
    match frame.message() {
        Message::Command(command) => command,
        other => panic!("{other:?} came where COMMAND was awaited"),
    }
}

fn deliver(device: &mut Device, command: &Command) {
    device.wire.send_message(&Message::Delivered(Delivered { id: command.id }));
}

fn result(id: [u8; 16], status: ResultStatus, code: &str) -> Message<'static> {
    let values = vec![NamedValue { name: "celsius".into(), value: CommandValue::F64(-21.5) }];
    Message::Result(CommandResult { id, status, code: code.into(), text: "done so far".into(), values })
}

/// Sends a result and waits for its acknowledgement.
fn finish(device: &mut Device, id: [u8; 16], status: ResultStatus) {
    device.wire.send_message(&result(id, status, ""));
    expect_ack(device, id);
}

fn expect_ack(device: &mut Device, id: [u8; 16]) {
    let frame = device.answer();
    assert_eq!(frame.message(), Message::ResultAck(ResultAck { id }));
}

/// Nothing but what answers this PING comes from the server.
fn expect_silence(device: &mut Device) {
    device.wire.send_message(&Message::Ping(pulsewire_proto::frame::Ping { token: 77 }));
    let frame = device.answer();
    assert_eq!(frame.message(), Message::Pong(pulsewire_proto::frame::Pong { token: 77 }));
}

fn set() -> CommandSet {
    let celsius = ArgumentDef {
        name: "celsius".into(),
        argument_type: ArgumentType::F64,
        required: true,
        min: Some(-40.0),
        max: Some(10.0),
        unit: "°C".into(),
    };
    let define = |name: &str, arguments| CommandDef { name: name.into(), title: String::new(), arguments };
    CommandSet { commands: vec![define("set_target", vec![celsius]), define("stop", vec![])] }
}

/// Declares [`set`] and waits until the server has it.
fn declare(server: &Server, device: &mut Device, id: &str) {
    device.wire.send_message(&Message::CommandSet(set()));
    until("the set is stored", || {
        let set = server.admin().get(&format!("/api/v1/devices/{id}/command-set")).expect(200);
        (set["declared"] == true).then_some(())
    });
}

#[test]
fn a_command_goes_to_its_device_and_every_state_is_told_live() {
    let server = Server::start();
    let mut device = server.device("cold-1");
    declare(&server, &mut device, "cold-1");
    let mut viewer = Viewer::connect(server.http, server.admin().token());
    viewer.subscribe(&everything(1, &["cold-1"]));
    let mut other = Viewer::connect(server.http, server.admin().token());
    server.admin().create_device("cold-2");
    other.subscribe(&everything(1, &["cold-2"]));

    let id = given(&server, "cold-1", &json!({"name": "set_target", "arguments": {"celsius": -20}, "timeout": "5m"}));
    let sent = next_command(&mut device);
    assert_eq!((sent.name.as_str(), sent.attempt, sent.timeout_ms), ("set_target", 1, 300_000));
    assert_eq!(sent.arguments, [NamedValue { name: "celsius".into(), value: CommandValue::F64(-20.0) }]);
    deliver(&mut device, &sent);
    let progress = Progress { id: sent.id, percent: Some(40), text: "cooling".into() };
    device.wire.send_message(&Message::Progress(progress));
    let now = until_state(&server, &id, "in_progress");
    assert_eq!((&now["percent"], &now["text"]), (&json!(40), &json!("cooling")));
    finish(&mut device, sent.id, ResultStatus::Succeeded);

    let done = command(&server, &id);
    assert_eq!(states(&done), ["queued", "sent", "delivered", "in_progress", "succeeded"]);
    assert_eq!((&done["values"], &done["created_by"]), (&json!({"celsius": -21.5}), &json!("admin")));
    viewer.until("the end", |v| v.commands.iter().any(|c| c.state == CommandStatus::Succeeded).then_some(()));
    let revisions: Vec<u64> = viewer.commands.iter().map(|c| c.revision).collect();
    assert!(revisions.is_sorted() && viewer.commands.iter().all(|c| c.id == sent.id), "{:?}", viewer.commands);
    // It has had all the time that the first one had, and the server's answer to a wish comes after what was due before.
    other.subscribe(&everything(2, &["cold-2"]));
    assert!(other.commands.is_empty(), "a device that is not selected is not told of: {:?}", other.commands);
    assert_eq!(server.metric("pulsewire_commands_open"), 0.0);
}

#[test]
fn of_a_devices_chatter_the_newest_is_stored_and_nothing_leaves_the_history_for_it() {
    let server = Server::start();
    let mut device = server.device("d");
    let id = given(&server, "d", &json!({"name": "go"}));
    let sent = next_command(&mut device);
    deliver(&mut device, &sent);
    for percent in 0..100 {
        let progress = Progress { id: sent.id, percent: Some(percent), text: format!("{percent} done") };
        device.wire.send_message(&Message::Progress(progress));
    }
    until("the newest is stored", || (command(&server, &id)["text"] == "99 done").then_some(()));
    finish(&mut device, sent.id, ResultStatus::Succeeded);
    let done = command(&server, &id);
    assert_eq!(states(&done), ["queued", "sent", "delivered", "in_progress", "succeeded"]);
    assert!(done["revision"].as_u64().expect("a number") < 20, "{done}");
}

#[test]
fn a_device_that_is_away_gets_its_command_when_it_comes_also_after_a_kill_of_the_server() {
    let mut server = Server::start();
    let secret = server.admin().create_device("away");
    let first = given(&server, "away", &json!({"name": "one"}));
    let second = given(&server, "away", &json!({"name": "two"}));
    server.kill9();
    server.restart();
    assert_eq!(command(&server, &first)["state"], "queued");
    let mut device = Device::login(server.device, "away", &secret);
    let one = next_command(&mut device);
    assert_eq!((one.name.as_str(), one.attempt), ("one", 1));
    expect_silence(&mut device);
    deliver(&mut device, &one);
    let two = next_command(&mut device);
    assert_eq!(two.name, "two", "the next is sent once the one before is delivered");
    finish(&mut device, two.id, ResultStatus::Succeeded);
    finish(&mut device, one.id, ResultStatus::Failed);
    assert_eq!(command(&server, &first)["state"], "failed");
    assert_eq!(command(&server, &second)["state"], "succeeded");
}

#[test]
fn what_was_sent_before_a_kill_and_never_confirmed_is_sent_again() {
    let mut server = Server::start();
    let secret = server.admin().create_device("d");
    let mut device = Device::login(server.device, "d", &secret);
    let id = given(&server, "d", &json!({"name": "go"}));
    assert_eq!(next_command(&mut device).attempt, 1);
    assert_eq!(command(&server, &id)["state"], "sent", "that it is sent was stored before");
    server.kill9();
    server.restart();
    let mut device = Device::login(server.device, "d", &secret);
    let again = next_command(&mut device);
    assert_eq!(again.attempt, 2);
    finish(&mut device, again.id, ResultStatus::Succeeded);
    assert_eq!(states(&command(&server, &id)), ["queued", "sent", "queued", "sent", "succeeded"]);
}

#[test]
fn a_command_whose_deadline_passed_is_expired_and_never_delivered() {
    let mut server = Server::start();
    let secret = server.admin().create_device("late");
    let id = given(&server, "late", &json!({"name": "one", "ttl": "1s"}));
    let while_down = given(&server, "late", &json!({"name": "two", "ttl": "3s"}));
    let expired = until_state(&server, &id, "expired");
    assert_eq!(expired["attempt"], 0);
    server.kill9();
    std::thread::sleep(Duration::from_secs(2));
    server.restart();
    let mut device = Device::login(server.device, "late", &secret);
    expect_silence(&mut device);
    assert_eq!(command(&server, &while_down)["state"], "expired");
    cancel(&server, &id).expect_problem(409, "finished", "expired already");
}

#[test]
fn a_result_that_comes_after_the_time_for_it_wins() {
    let mut server = Server::start();
    let secret = server.admin().create_device("slow");
    let mut device = Device::login(server.device, "slow", &secret);
    let id = given(&server, "slow", &json!({"name": "think", "timeout": "1s"}));
    let sent = next_command(&mut device);
    deliver(&mut device, &sent);
    until_state(&server, &id, "timed_out");
    server.kill9();
    server.restart();
    let mut device = Device::login(server.device, "slow", &secret);
    finish(&mut device, sent.id, ResultStatus::Succeeded);
    let done = command(&server, &id);
    assert_eq!(states(&done), ["queued", "sent", "delivered", "timed_out", "succeeded"]);
    // Its acknowledgement was lost: it comes again, and with another outcome, which does not count.
    device.wire.send_message(&result(sent.id, ResultStatus::Failed, "jam"));
    expect_ack(&mut device, sent.id);
    assert_eq!(command(&server, &id)["revision"], done["revision"]);
}

#[test]
fn a_command_that_is_never_confirmed_is_sent_again_and_dead_in_the_end() {
    let options = Server::options().set("commands.lease", "100ms").set("commands.attempts_max", 3);
    let server = options.start();
    let mut device = server.device("deaf");
    let id = given(&server, "deaf", &json!({"name": "hear"}));
    let attempts: Vec<u32> = (0..3).map(|_| next_command(&mut device).attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let dead = until_state(&server, &id, "dead");
    assert_eq!(dead["text"], "the device did not confirm it in time; it was sent 3 times");
    expect_silence(&mut device);
    let other = given(&server, "deaf", &json!({"name": "next"}));
    assert_eq!(next_command(&mut device).name, "next", "a dead command holds nobody up");
    // A device that did it after all has the last word.
    let dead = bits_of(&id);
    finish(&mut device, dead, ResultStatus::Succeeded);
    assert_eq!(command(&server, &id)["state"], "succeeded");
    cancel(&server, &other).expect(200);
}

/// The bits of a ULID.
fn bits_of(text: &str) -> [u8; 16] {
    let digit = |c: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".find(c).expect("a digit of base32") as u128;
    text.chars().fold(0u128, |bits, c| bits << 5 | digit(c)).to_be_bytes()
}

#[test]
fn asking_twice_under_one_id_does_it_once() {
    let server = Server::start();
    let mut device = server.device("d");
    let body = json!({"id": "01KAJ3V8Q5M7T2X9R4C6B8D0EF", "name": "go", "arguments": {"n": 1}, "ttl": "1h"});
    let made = give(&server, "d", &body).expect(202);
    let sent = next_command(&mut device);
    assert_eq!(sent.id, bits_of("01KAJ3V8Q5M7T2X9R4C6B8D0EF"));
    assert_eq!(give(&server, "d", &body).expect(200)["id"], made["id"]);
    finish(&mut device, sent.id, ResultStatus::Succeeded);
    assert_eq!(give(&server, "d", &body).expect(200)["state"], "succeeded", "also when it is over");
    expect_silence(&mut device);
    let mut other = body.clone();
    other["arguments"]["n"] = json!(2);
    give(&server, "d", &other).expect_problem(409, "exists", "is another one");
    server.admin().create_device("e");
    give(&server, "e", &body).expect_problem(409, "exists", "is another one");
    server.admin().patch("/api/v1/devices/d", &json!({"enabled": false})).expect(200);
    assert_eq!(give(&server, "d", &body).expect(200)["state"], "succeeded", "also of a device that takes no more");
    give(&server, "d", &json!({"name": "go"})).expect_problem(409, "device_disabled", "enable it first");
}

#[test]
fn what_makes_no_sense_is_refused_before_it_is_stored() {
    let server = Server::with("commands.queued_per_device_max", 2);
    let mut device = server.device("cold-1");
    let undeclared = server.admin().get("/api/v1/devices/cold-1/command-set").expect(200);
    assert_eq!(undeclared, json!({"declared": false, "commands": []}));
    declare(&server, &mut device, "cold-1");
    let refused =
        |body: Value, status, code, fragment| give(&server, "cold-1", &body).expect_problem(status, code, fragment);
    let problem = refused(json!({"name": "fly"}), 422, "unknown_command", "it knows set_target, stop");
    assert_eq!(problem["errors"][0]["field"], "name");
    let text = json!({"name": "set_target", "arguments": {"celsius": "cold"}});
    let problem = refused(text, 422, "bad_argument", "celsius: a number is wanted");
    assert_eq!(problem["errors"][0]["field"], "arguments.celsius");
    refused(json!({"name": "set_target"}), 422, "bad_argument", "set_target needs it");
    let warm = json!({"name": "set_target", "arguments": {"celsius": 10.5}});
    refused(warm, 422, "bad_argument", "-40 to 10 °C is allowed");
    refused(json!({"name": "stop", "arguments": {"now": true}}), 422, "bad_argument", "it takes no arguments");
    refused(
        json!({"name": "stop", "arguments": {"now": null}}),
        422,
        "bad_argument",
        "a boolean, a number or a string",
    );
    refused(json!({"name": "a b"}), 400, "invalid_field", "A-Z a-z 0-9");
    refused(json!({"name": "stop", "ttl": "31d"}), 400, "invalid_field", "from 1s to 30d");
    refused(json!({"name": "stop", "timeout": "0s"}), 400, "invalid_field", "from 1s to 1d");
    refused(json!({"name": "stop", "id": "7"}), 400, "invalid_field", "26 characters");
    refused(json!({"name": "stop", "colour": 1}), 400, "unknown_field", "colour");
    assert_eq!(server.admin().get("/api/v1/devices/cold-1/commands").expect(200)["items"], json!([]));

    // Of a device that declared nothing only the limits are known.
    server.admin().create_device("mute");
    let texts: serde_json::Map<_, _> = (0..5).map(|n| (format!("t{n}"), json!("x".repeat(4000)))).collect();
    let large = give(&server, "mute", &json!({"name": "say", "arguments": texts}));
    large.expect_problem(413, "command_too_large", "at most 16384 bytes");
    let long = give(&server, "mute", &json!({"name": "say", "arguments": {"t": "x".repeat(4097)}}));
    long.expect_problem(422, "bad_argument", "at most 4096 bytes");
    given(&server, "mute", &json!({"name": "say"}));
    given(&server, "mute", &json!({"name": "say"}));
    let many = give(&server, "mute", &json!({"name": "say"}));
    many.expect_problem(429, "too_many_commands", "mute has 2 commands");

    server.admin().patch("/api/v1/devices/mute", &json!({"enabled": false})).expect(200);
    give(&server, "mute", &json!({"name": "say"})).expect_problem(409, "device_disabled", "enable it first");
    give(&server, "nobody", &json!({"name": "say"})).expect_problem(404, "no_such_device", "nobody");
    let kim = server.admin().create_user("kim", "viewer");
    kim.post("/api/v1/devices/cold-1/commands", &json!({"name": "stop"})).expect_problem(403, "forbidden", "operator");
    kim.get("/api/v1/devices/cold-1/commands").expect(200);
    cancel(&server, "01KAJ3V8Q5M7T2X9R4C6B8D0EF").expect_problem(404, "not_found", "command");
}

#[test]
fn the_commands_of_a_deleted_device_go_with_it() {
    let server = Server::start();
    let mut device = server.device("gone");
    let open = given(&server, "gone", &json!({"name": "one"}));
    next_command(&mut device);
    server.admin().delete("/api/v1/devices/gone").expect(204);
    server.admin().get(&format!("/api/v1/commands/{open}")).expect_problem(404, "not_found", "command");
    give(&server, "gone", &json!({"name": "two"})).expect_problem(404, "no_such_device", "gone");
    until("nothing is open", || (server.metric("pulsewire_commands_open") == 0.0).then_some(()));
    // Another device under the same id begins anew.
    let secret = server.admin().create_device("gone");
    expect_silence(&mut Device::login(server.device, "gone", &secret));
}

#[test]
fn a_queued_command_is_canceled_at_once_and_a_running_one_is_asked_to_stop() {
    let server = Server::start();
    let secret = server.admin().create_device("d");
    let queued = given(&server, "d", &json!({"name": "never"}));
    let canceled = cancel(&server, &queued).expect(200);
    assert_eq!((&canceled["state"], &canceled["text"]), (&json!("canceled"), &json!("canceled by admin")));
    cancel(&server, &queued).expect_problem(409, "finished", "canceled already");

    let mut device = Device::login(server.device, "d", &secret);
    let running = given(&server, "d", &json!({"name": "run"}));
    let sent = next_command(&mut device);
    deliver(&mut device, &sent);
    until_state(&server, &running, "delivered");
    let asked = cancel(&server, &running).expect(200);
    assert_eq!((&asked["state"], &asked["cancel_requested"]), (&json!("delivered"), &json!(true)));
    let wish = Message::Cancel(Cancel { id: sent.id, text: "admin gave it up".into() });
    assert_eq!(device.answer().message(), wish);
    // The wish may have been lost with the session, and is repeated in the next.
    let mut device = Device::login(server.device, "d", &secret);
    assert!(matches!(device.answer().message(), Message::Cancel(Cancel { id, .. }) if id == sent.id));
    finish(&mut device, sent.id, ResultStatus::Canceled);
    assert_eq!(command(&server, &running)["state"], "canceled");
}

#[test]
fn a_device_learns_in_its_next_session_what_was_canceled_while_it_was_away() {
    let server = Server::start();
    let secret = server.admin().create_device("d");
    let mut device = Device::login(server.device, "d", &secret);
    let id = given(&server, "d", &json!({"name": "run"}));
    let sent = next_command(&mut device);
    cancel(&server, &id).expect(200);
    drop(device);
    until_state(&server, &id, "canceled");
    let mut device = Device::login(server.device, "d", &secret);
    assert!(matches!(device.answer().message(), Message::Cancel(Cancel { id, .. }) if id == sent.id));
    finish(&mut device, sent.id, ResultStatus::Canceled);
    let mut device = Device::login(server.device, "d", &secret);
    expect_silence(&mut device);
}

#[test]
fn a_newer_command_takes_the_place_of_one_that_still_waits() {
    let server = Server::start();
    let secret = server.admin().create_device("d");
    let target = |celsius: i32| json!({"name": "set", "arguments": {"celsius": celsius}, "supersede_key": "target"});
    let first = given(&server, "d", &target(-20));
    let other = given(&server, "d", &json!({"name": "stop", "supersede_key": "motor"}));
    let second = given(&server, "d", &target(-22));
    let replaced = command(&server, &first);
    assert_eq!((&replaced["state"], &replaced["code"]), (&json!("canceled"), &json!("superseded")));
    assert!(replaced["text"].as_str().expect("a text").contains(&second));
    let open = server.admin().get("/api/v1/devices/d/commands?state=open").expect(200);
    let ids: Vec<_> = open["items"].as_array().expect("items").iter().map(|item| item["id"].clone()).collect();
    assert_eq!(ids, [json!(second), json!(other)], "newest first");
    let mut device = Device::login(server.device, "d", &secret);
    let sent = next_command(&mut device);
    assert_eq!(sent.name, "stop");
    deliver(&mut device, &sent);
    assert_eq!(next_command(&mut device).arguments[0].value, CommandValue::I64(-22));
}

#[test]
fn what_a_device_says_of_commands_that_are_not_its_own_is_ignored_and_counted() {
    let server = Server::start();
    let mut device = server.device("one");
    let mut stranger = server.device("two");
    let id = given(&server, "one", &json!({"name": "go"}));
    let sent = next_command(&mut device);
    for foreign in [sent.id, [9; 16]] {
        stranger.wire.send_message(&Message::Delivered(Delivered { id: foreign }));
        stranger.wire.send_message(&result(foreign, ResultStatus::Failed, ""));
        // It may forget what the server does not want.
        expect_ack(&mut stranger, foreign);
    }
    assert_eq!(command(&server, &id)["state"], "sent");
    assert_eq!(server.metric("pulsewire_command_messages_ignored_total"), 4.0);
    // A command that still waits was never sent, whoever has guessed its id.
    let waiting = given(&server, "one", &json!({"name": "next"}));
    finish(&mut device, bits_of(&waiting), ResultStatus::Succeeded);
    assert_eq!(command(&server, &waiting)["state"], "queued");
}

#[test]
fn a_device_is_told_what_is_wrong_with_its_messages() {
    let server = Server::start();
    let mut device = server.device("bad");
    let mut twice = set();
    twice.commands[1].name = "set_target".into();
    device.wire.send_message(&Message::CommandSet(twice));
    let close = device.expect_close();
    assert_eq!((close.code, close.text.as_str()), (4007, "COMMAND_SET.commands.name: names must be distinct in a set"));
    let mut device = server.device("worse");
    device.wire.send_message(&result([1; 16], ResultStatus::Failed, &"c".repeat(65)));
    assert_eq!(device.expect_close().code, 4007);
}

/// The newest value of a metric.
fn latest(server: &Server, device: &str, metric: &str) -> Option<f64> {
    let answer = server.admin().get(&format!("/api/v1/devices/{device}/latest")).expect(200);
    let items = answer["items"].as_array().expect("items");
    items.iter().find(|item| item["metric"] == metric).and_then(|item| item["value"].as_f64())
}

#[test]
fn a_simulated_freezer_fails_and_a_command_cures_it() {
    let (server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let arguments = ["--devices", "1", "--interval", "50ms", "--fault-after", "500ms"];
    let _sim = Sim::start(&server, folder.path(), "fleet", &arguments);
    let temperature = || server.admin().get("/api/v1/devices/sim-0001").status == 200;
    until("the device is there", || temperature().then_some(()));
    until("it is warm", || latest(&server, "sim-0001", "temperature").filter(|celsius| *celsius > -14.0));
    let cold = json!({"name": "set_target", "arguments": {"celsius": -25}});
    let refused = given(&server, "sim-0001", &cold);
    assert_eq!(until_state(&server, &refused, "failed")["code"], "compressor_tripped");
    let id = given(&server, "sim-0001", &json!({"name": "restart_compressor"}));
    let done = until_state(&server, &id, "succeeded");
    assert_eq!(
        states(&done),
        ["queued", "sent", "delivered", "in_progress", "succeeded"],
        "of its progress the newest"
    );
    until("it is cold again", || latest(&server, "sim-0001", "temperature").filter(|celsius| *celsius < -18.0));
}

#[test]
fn a_result_that_could_not_be_told_is_told_after_the_restart() {
    let (mut server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let arguments = ["--devices", "3", "--answers", "slow", "--answer-delay", "1s"];
    let _sim = Sim::start(&server, folder.path(), "fleet", &arguments);
    until("the devices are there", || {
        let set = server.admin().get("/api/v1/devices/sim-0002/command-set");
        (set.status == 200 && set.json()["declared"] == true).then_some(())
    });
    let id = given(&server, "sim-0002", &json!({"name": "set_speed", "arguments": {"percent": 50}}));
    until_state(&server, &id, "delivered");
    server.kill9();
    std::thread::sleep(Duration::from_millis(1500));
    server.restart();
    let done = until_state(&server, &id, "succeeded");
    assert_eq!(done["attempt"], 1, "it was carried out once");
    // A weather station never says what it knows, and is asked itself.
    let id = given(&server, "sim-0003", &json!({"name": "reboot"}));
    assert_eq!(until_state(&server, &id, "rejected")["code"], "unknown_command");
}

#[test]
fn silence_is_told_from_deafness() {
    let options = Server::options().set("commands.lease", "100ms").set("commands.attempts_max", 2);
    let (server, folder) = (options.start(), tempfile::tempdir().expect("a folder"));
    for answers in ["silent", "deaf"] {
        let prefix = format!("{answers}-");
        let arguments = ["--devices", "1", "--answers", answers, "--prefix", &prefix, "--duration", "15s"];
        let _sim = Sim::start(&server, folder.path(), "fleet", &arguments);
        let device = format!("{answers}-0001");
        until("the device is there", || {
            let set = server.admin().get(&format!("/api/v1/devices/{device}/command-set"));
            (set.status == 200 && set.json()["declared"] == true).then_some(())
        });
        let id = given(&server, &device, &json!({"name": "close_door", "timeout": "1s"}));
        until_state(&server, &id, if answers == "silent" { "timed_out" } else { "dead" });
    }
}

#[test]
fn over_ten_kills_of_the_server_every_promised_command_is_carried_out() {
    const COMMANDS: usize = 60;
    let (mut server, folder) = (Server::start(), tempfile::tempdir().expect("a folder"));
    let _sim = Sim::start(&server, folder.path(), "fleet", &["--devices", "2", "--answers", "succeed"]);
    until("the pump is there", || {
        let set = server.admin().get("/api/v1/devices/sim-0002/command-set");
        (set.status == 200 && set.json()["declared"] == true).then_some(())
    });
    let mut random = Random::printed();
    let mut ids = Vec::new();
    for number in 0..COMMANDS {
        let name = if number % 2 == 0 { "stop" } else { "start" };
        ids.push(given(&server, "sim-0002", &json!({"name": name})));
        if number % 6 == 5 {
            std::thread::sleep(Duration::from_micros(random.below(5_000)));
            server.kill9();
            server.restart();
        }
    }
    for id in &ids {
        let done = until_state(&server, id, "succeeded");
        let sent = states(&done).iter().filter(|state| **state == "sent").count();
        assert_eq!(done["attempt"], sent, "each sending was stored before: {done}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
