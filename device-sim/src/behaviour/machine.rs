//! A simulated device that does what it is told: its readings follow the commands that it carried out.

use std::time::Duration;

use pulsewire_proto::{
    Value,
    frame::{
        ArgumentDef, ArgumentType, Command, CommandDef, CommandResult, CommandSet, CommandValue, NamedValue, Progress,
        ResultStatus,
    },
};

use super::{Behaviour, Profile, cold::ColdRoom};
use crate::client::Answer;

/// What a fleet's devices answer to commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// They do what they are told, as their kind does it.
    #[default]
    Normal,
    /// They do it at once, without progress.
    Succeed,
    /// They try and fail.
    Fail,
    /// They do not begin.
    Reject,
    /// They confirm and say nothing more.
    Silent,
    /// They hear nothing.
    Deaf,
    /// They do it, and tell so only after this time.
    Slow(Duration),
}

/// What commands have made of a device.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Condition {
    /// Of a cold room.
    pub(super) cold: Option<ColdRoom>,
    /// Of a pump: how it is driven.
    pub(super) drive: Drive,
    /// Of a vehicle: whether someone locked or unlocked it.
    pub(super) locked: Option<bool>,
    /// Of a room sensor: until when it shows where it is, in µs since 1970.
    pub(super) identify_until_us: i64,
}

/// How a pump is driven.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Drive {
    /// By demand.
    #[default]
    Demand,
    /// At this share of its power.
    Fixed(f64),
    /// Not at all.
    Stopped,
}

/// One device with its condition and what it is at.
#[derive(Debug)]
pub struct Machine {
    behaviour: Behaviour,
    answers: Answers,
    condition: Condition,
    /// When the compressor trips, in µs since 1970.
    fault_at_us: Option<i64>,
    /// What is to happen, in order. At most as many entries as the commands under way have steps.
    agenda: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at_us: i64,
    id: [u8; 16],
    step: Step,
}

#[derive(Debug)]
enum Step {
    Progress(u8, String),
    Finish(Action),
}

/// What a command does when it is done.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    /// Nothing more than to say so, with values.
    Say(String, Vec<NamedValue>),
    Restart,
    CloseDoor,
    Drive(Drive),
    Lock(bool),
}

/// Why a command is not begun, or fails: code and words.
struct Refusal(ResultStatus, &'static str, String);

impl Machine {
    /// Device `index` of the fleet with this seed. With `fault_at_us` its compressor trips at that time: it must be a cold
    /// room, and is a freezer then.
    pub fn new(seed: u64, index: u32, answers: Answers, fault_at_us: Option<i64>) -> Machine {
        let behaviour = Behaviour::new(seed, index);
        let cold = (behaviour.profile == Profile::ColdRoom).then(|| match fault_at_us {
            Some(_) => ColdRoom::new(ColdRoom::FREEZER),
            None => ColdRoom::new(behaviour.setpoint()),
        });
        let condition = Condition { cold, ..Condition::default() };
        Machine { behaviour, answers, condition, fault_at_us, agenda: Vec::new() }
    }

    /// Its readings at `time_us`; times do not go back.
    pub fn values(&mut self, time_us: i64) -> Vec<Option<Value<'static>>> {
        self.trip(time_us);
        self.behaviour.values_in(time_us, &self.condition)
    }

    /// Whether it says nothing at all at this time. A device that is there to be seen failing does not.
    pub fn is_silent(&self, time_us: i64) -> bool {
        self.fault_at_us.is_none() && self.behaviour.is_silent(time_us)
    }

    fn trip(&mut self, time_us: i64) {
        // The time stays: that the device has a fault is part of what it is.
        if let (Some(at_us), Some(cold)) = (self.fault_at_us, &mut self.condition.cold)
            && time_us >= at_us
        {
            cold.trip(at_us);
        }
    }

    /// The commands it knows; `None` for one that was never taught any.
    pub fn commands(&self) -> Option<CommandSet> {
        let argument = |name: &str, argument_type, min: f64, max: f64, unit: &str| ArgumentDef {
            name: name.into(),
            argument_type,
            required: true,
            min: Some(min),
            max: Some(max),
            unit: unit.into(),
        };
        let define =
            |name: &str, title: &str, arguments| CommandDef { name: name.into(), title: title.into(), arguments };
        let commands = match self.behaviour.profile {
            Profile::ColdRoom => vec![
                define(
                    "set_target",
                    "Set target temperature",
                    vec![argument("celsius", ArgumentType::F64, -40.0, 10.0, "°C")],
                ),
                define("restart_compressor", "Restart compressor", vec![]),
                define("close_door", "Close door", vec![]),
            ],
            Profile::Pump => vec![
                define("set_speed", "Set speed", vec![argument("percent", ArgumentType::I64, 10.0, 100.0, "%")]),
                define("stop", "Stop", vec![]),
                define("start", "Start", vec![]),
            ],
            Profile::VehicleBattery => vec![define("lock", "Lock", vec![]), define("unlock", "Unlock", vec![])],
            Profile::RoomSensor => {
                vec![define("identify", "Blink", vec![argument("seconds", ArgumentType::I64, 1.0, 60.0, "s")])]
            }
            Profile::WeatherStation => return None,
        };
        Some(CommandSet { commands })
    }

    /// Takes a command at `now_us`. `None`: it was not heard.
    pub fn command(&mut self, now_us: i64, command: &Command) -> Option<Vec<Answer>> {
        self.trip(now_us);
        let id = command.id;
        let delivered = Answer::Delivered(id);
        let failed = |status, code: &str, text: &str| refused(id, Refusal(status, "", text.into()), Some(code));
        match self.answers {
            Answers::Deaf => return None,
            Answers::Silent => return Some(vec![delivered]),
            Answers::Reject => return Some(vec![failed(ResultStatus::Rejected, "not_now", "it never does")]),
            Answers::Fail => return Some(vec![delivered, failed(ResultStatus::Failed, "broken", "it always fails")]),
            Answers::Normal | Answers::Succeed | Answers::Slow(_) => {}
        }
        let planned = match self.plan(now_us, command) {
            Ok(planned) => planned,
            Err(refusal) if refusal.0 == ResultStatus::Rejected => return Some(vec![refused(id, refusal, None)]),
            Err(refusal) => return Some(vec![delivered, refused(id, refusal, None)]),
        };
        let Planned { mut steps, done_s, action } = planned;
        let done_s = match self.answers {
            Answers::Succeed => {
                steps.clear();
                0.0
            }
            Answers::Slow(delay) => {
                steps.clear();
                delay.as_secs_f64()
            }
            _ => done_s,
        };
        let at = |seconds: f64| now_us.saturating_add((seconds * 1e6) as i64);
        let steps = steps.into_iter().map(|(s, percent, text)| (s, Step::Progress(percent, text)));
        for (seconds, step) in steps.chain([(done_s, Step::Finish(action))]) {
            self.agenda.push(Entry { at_us: at(seconds), id, step });
        }
        self.agenda.sort_by_key(|entry| entry.at_us);
        Some([vec![delivered], self.due(now_us)].concat())
    }

    /// Gives a command up, if it is under way.
    pub fn cancel(&mut self, now_us: i64, id: [u8; 16]) -> Vec<Answer> {
        let before = self.agenda.len();
        self.agenda.retain(|entry| entry.id != id);
        if self.agenda.len() == before {
            return Vec::new();
        }
        if let Some(cold) = &mut self.condition.cold {
            // It stays where it has come to.
            cold.hold(now_us);
        }
        vec![refused(id, Refusal(ResultStatus::Canceled, "", "given up half-way".into()), None)]
    }

    /// What is due.
    pub fn due(&mut self, now_us: i64) -> Vec<Answer> {
        let due = self.agenda.partition_point(|entry| entry.at_us <= now_us);
        let entries: Vec<Entry> = self.agenda.drain(..due).collect();
        entries
            .into_iter()
            .map(|Entry { at_us, id, step }| match step {
                Step::Progress(percent, text) => Answer::Progress(Progress { id, percent: Some(percent), text }),
                Step::Finish(action) => self.finish(at_us, id, action),
            })
            .collect()
    }

    /// When something is due next, in µs since 1970.
    pub fn next_due_us(&self) -> Option<i64> {
        self.agenda.first().map(|entry| entry.at_us)
    }

    fn finish(&mut self, at_us: i64, id: [u8; 16], action: Action) -> Answer {
        let (text, values) = match action {
            Action::Say(text, values) => (text, values),
            Action::Restart => {
                if let Some(cold) = &mut self.condition.cold {
                    cold.restart(at_us);
                }
                ("the compressor runs".to_owned(), Vec::new())
            }
            Action::CloseDoor => {
                let open = self.behaviour.door_is_open(at_us);
                if let Some(cold) = &mut self.condition.cold {
                    cold.close_door(at_us);
                }
                (if open { "closed" } else { "it was closed already" }.to_owned(), Vec::new())
            }
            Action::Drive(drive) => {
                self.condition.drive = drive;
                let text = match drive {
                    Drive::Demand => "it follows demand",
                    Drive::Fixed(_) => "it turns at that speed",
                    Drive::Stopped => "it stands still",
                };
                (text.to_owned(), Vec::new())
            }
            Action::Lock(locked) => {
                self.condition.locked = Some(locked);
                (if locked { "locked" } else { "unlocked" }.to_owned(), Vec::new())
            }
        };
        let status = ResultStatus::Succeeded;
        Answer::Result(CommandResult { id, status, code: String::new(), text, values })
    }

    /// What carrying a command out takes. What begins at once begins here.
    fn plan(&mut self, now_us: i64, command: &Command) -> Result<Planned, Refusal> {
        match (self.behaviour.profile, command.name.as_str()) {
            (Profile::ColdRoom, "set_target") => self.set_target(now_us, number(command, "celsius", -40.0, 10.0)?),
            (Profile::ColdRoom, "restart_compressor") => Ok(Planned {
                steps: vec![
                    (0.7, 25, "letting the pressure even out".into()),
                    (1.5, 50, "starting".into()),
                    (2.3, 75, "running up".into()),
                ],
                done_s: 3.0,
                action: Action::Restart,
            }),
            (Profile::ColdRoom, "close_door") => Ok(Planned::after(1.0, Action::CloseDoor)),
            (Profile::Pump, "set_speed") => {
                let percent = number(command, "percent", 10.0, 100.0)?;
                Ok(Planned::after(1.0, Action::Drive(Drive::Fixed(percent / 100.0))))
            }
            (Profile::Pump, "stop") => Ok(Planned::after(1.0, Action::Drive(Drive::Stopped))),
            (Profile::Pump, "start") => Ok(Planned::after(1.0, Action::Drive(Drive::Demand))),
            (Profile::VehicleBattery, "lock" | "unlock") if self.behaviour.is_driving(now_us) => Err(Refusal(
                ResultStatus::Rejected,
                "not_now",
                "not while it is driven; try again when it stands".into(),
            )),
            (Profile::VehicleBattery, "lock") => Ok(Planned::after(0.5, Action::Lock(true))),
            (Profile::VehicleBattery, "unlock") => Ok(Planned::after(0.5, Action::Lock(false))),
            (Profile::RoomSensor, "identify") => {
                let seconds = number(command, "seconds", 1.0, 60.0)?;
                self.condition.identify_until_us = now_us.saturating_add((seconds * 1e6) as i64);
                Ok(Planned::after(seconds, Action::Say("it has blinked".into(), Vec::new())))
            }
            (_, name) => {
                let text = format!("this {} does not know {name}", self.behaviour.profile.title().to_lowercase());
                Err(Refusal(ResultStatus::Rejected, "unknown_command", text))
            }
        }
    }

    fn set_target(&mut self, now_us: i64, celsius: f64) -> Result<Planned, Refusal> {
        let Some(cold) = &mut self.condition.cold else {
            return Err(Refusal(ResultStatus::Failed, "no_compressor", "there is nothing that cools".into()));
        };
        if cold.has_tripped() {
            let text = "the compressor has tripped; restart it first";
            return Err(Refusal(ResultStatus::Failed, "compressor_tripped", text.into()));
        }
        let from = cold.level(now_us);
        let takes_s = cold.set_target(now_us, celsius);
        let step = |second: u32| {
            let share = f64::from(second) / takes_s;
            let text = format!("{:.1} °C", from + (celsius - from) * share);
            (f64::from(second), (share * 100.0) as u8, text)
        };
        let steps = (1..).take_while(|second| f64::from(*second) < takes_s).map(step).collect();
        let values = vec![NamedValue { name: "celsius".into(), value: CommandValue::F64(celsius) }];
        Ok(Planned { steps, done_s: takes_s, action: Action::Say(format!("holding {celsius} °C"), values) })
    }
}

struct Planned {
    /// Seconds from now, percent, text.
    steps: Vec<(f64, u8, String)>,
    done_s: f64,
    action: Action,
}

impl Planned {
    fn after(seconds: f64, action: Action) -> Planned {
        Planned { steps: Vec::new(), done_s: seconds, action }
    }
}

fn refused(id: [u8; 16], Refusal(status, code, text): Refusal, other_code: Option<&str>) -> Answer {
    let code = other_code.unwrap_or(code).to_owned();
    Answer::Result(CommandResult { id, status, code, text, values: Vec::new() })
}

fn number(command: &Command, name: &str, min: f64, max: f64) -> Result<f64, Refusal> {
    let given = command.arguments.iter().find(|argument| argument.name == name).map(|argument| &argument.value);
    let number = match given {
        Some(CommandValue::F64(number)) => Some(*number),
        Some(CommandValue::I64(number)) => Some(*number as f64),
        _ => None,
    };
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
        Refusal(ResultStatus::Rejected, "bad_argument", format!("{name}: a number from {min} to {max} is wanted"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 1_763_726_400_000_000;
    const SECOND: i64 = 1_000_000;

    fn command(name: &str, arguments: &[(&str, CommandValue)]) -> Command {
        let named = |(name, value): &(&str, CommandValue)| NamedValue { name: (*name).into(), value: value.clone() };
        Command {
            id: [1; 16],
            name: name.into(),
            arguments: arguments.iter().map(named).collect(),
            deadline_us: i64::MAX,
            timeout_ms: 30_000,
            attempt: 1,
        }
    }

    fn number_of(machine: &mut Machine, metric: usize, time_us: i64) -> f64 {
        // The sensor may be out for a moment.
        let value = (0..100).find_map(|more| machine.values(time_us + more * SECOND)[metric]);
        match value.expect("a reading") {
            Value::F32(value) => f64::from(value),
            Value::I64(value) => value as f64,
            Value::Bool(value) => f64::from(u8::from(value)),
            other => panic!("{other:?}"),
        }
    }

    fn statuses(answers: &[Answer]) -> Vec<String> {
        let one = |answer: &Answer| match answer {
            Answer::Delivered(_) => "delivered".to_owned(),
            Answer::Progress(progress) => format!("{}%", progress.percent.unwrap_or_default()),
            Answer::Result(result) => format!("{:?} {}", result.status, result.code).trim_end().to_owned(),
        };
        answers.iter().map(one).collect()
    }

    #[test]
    fn a_tripped_compressor_lets_the_room_warm_up_until_it_is_restarted() {
        for seed in 0..20 {
            let mut freezer = Machine::new(seed, 0, Answers::Normal, Some(NOON + 15 * SECOND));
            assert!(number_of(&mut freezer, 0, NOON) < -15.0, "a freezer");
            let minute = NOON + 75 * SECOND;
            assert!((5.0..12.0).contains(&number_of(&mut freezer, 0, minute)), "seed {seed}");
            assert!(number_of(&mut freezer, 2, minute) < 20.0, "the compressor takes no power");
            let cold = freezer.command(minute, &command("set_target", &[("celsius", CommandValue::I64(-22))]));
            assert_eq!(statuses(&cold.expect("heard")), ["delivered", "Failed compressor_tripped"]);
            let heard = freezer.command(minute, &command("restart_compressor", &[])).expect("heard");
            assert_eq!(statuses(&heard), ["delivered"]);
            let mut answers = Vec::new();
            while let Some(at_us) = freezer.next_due_us() {
                answers.extend(freezer.due(at_us));
            }
            assert_eq!(statuses(&answers), ["25%", "50%", "75%", "Succeeded"]);
            assert!(number_of(&mut freezer, 2, minute + 5 * SECOND) > 500.0, "it runs");
            let later: Vec<f64> = (23..60)
                .filter_map(|s| match freezer.values(minute + s * SECOND)[0] {
                    Some(Value::F32(value)) => Some(f64::from(value)),
                    _ => None,
                })
                .collect();
            let cold = later.iter().filter(|celsius| **celsius < -18.0).count();
            assert!(cold * 10 >= later.len() * 9, "seed {seed}: {later:?}");
        }
    }

    #[test]
    fn a_cold_room_follows_its_target_and_tells_how_far_it_is() {
        let mut room = Machine::new(1, 0, Answers::Normal, None);
        let before = room.condition.cold.as_ref().expect("a cold room").level(NOON);
        let to = before + 4.0;
        let answers = room.command(NOON, &command("set_target", &[("celsius", CommandValue::F64(to))]));
        assert_eq!(statuses(&answers.expect("heard")), ["delivered"]);
        let answers = room.due(NOON + 60 * SECOND);
        assert_eq!(statuses(&answers), ["25%", "50%", "75%", "Succeeded"]);
        let mut twin = Machine::new(1, 0, Answers::Normal, None);
        let at = NOON + 60 * SECOND;
        let warmer = number_of(&mut room, 0, at) - number_of(&mut twin, 0, at);
        assert!((warmer - 4.0).abs() < 0.1, "{warmer}");
    }

    #[test]
    fn what_is_under_way_can_be_given_up_and_what_is_not_cannot() {
        let mut room = Machine::new(1, 0, Answers::Normal, None);
        room.command(NOON, &command("restart_compressor", &[]));
        assert_eq!(room.cancel(NOON, [2; 16]), []);
        assert_eq!(statuses(&room.cancel(NOON + SECOND, [1; 16])), ["Canceled"]);
        assert_eq!((room.next_due_us(), room.cancel(NOON, [1; 16])), (None, vec![]));
    }

    #[test]
    fn readings_of_every_kind_change_with_its_commands() {
        let mut pump = Machine::new(1, 1, Answers::Succeed, None);
        pump.command(NOON, &command("set_speed", &[("percent", CommandValue::I64(100))]));
        assert!(number_of(&mut pump, 0, NOON) > 110.0);
        pump.command(NOON, &command("stop", &[]));
        assert_eq!((number_of(&mut pump, 4, NOON), number_of(&mut pump, 5, NOON)), (0.0, 0.0));

        let mut sensor = Machine::new(1, 3, Answers::Normal, None);
        let mut dark = Machine::new(1, 3, Answers::Normal, None);
        sensor.command(NOON, &command("identify", &[("seconds", CommandValue::I64(10))]));
        let brighter = |second: i64, sensor: &mut Machine, dark: &mut Machine| {
            number_of(sensor, 3, NOON + second * SECOND) > number_of(dark, 3, NOON + second * SECOND) + 100.0
        };
        assert!((0..10).any(|second| brighter(second, &mut sensor, &mut dark)));
        assert!(!(20..30).any(|second| brighter(second, &mut sensor, &mut dark)));

        let mut vehicle = Machine::new(1, 4, Answers::Succeed, None);
        let (mut locked, mut refused) = (false, false);
        for minute in 0..24 * 60 {
            let at = NOON + minute * 60 * SECOND;
            match statuses(&vehicle.command(at, &command("lock", &[])).expect("heard"))[..] {
                [ref one] if one == "Rejected not_now" => refused = true,
                _ => locked |= number_of(&mut vehicle, 8, at) == 1.0,
            }
        }
        assert!(locked && refused, "locked while it stands, refused while it is driven");

        let mut station = Machine::new(1, 2, Answers::Normal, None);
        assert_eq!(station.commands(), None);
        let answers = station.command(NOON, &command("reboot", &[])).expect("heard");
        assert_eq!(statuses(&answers), ["Rejected unknown_command"]);
    }

    #[test]
    fn a_fleet_can_be_told_how_to_answer() {
        let answer = |answers| Machine::new(1, 0, answers, None).command(NOON, &command("close_door", &[]));
        let said = |answers| statuses(&answer(answers).expect("heard"));
        assert_eq!(said(Answers::Normal), ["delivered"]);
        assert_eq!(said(Answers::Succeed), ["delivered", "Succeeded"]);
        assert_eq!(said(Answers::Fail), ["delivered", "Failed broken"]);
        assert_eq!(said(Answers::Reject), ["Rejected not_now"]);
        assert_eq!(said(Answers::Silent), ["delivered"]);
        assert_eq!(answer(Answers::Deaf), None);
        let mut slow = Machine::new(1, 0, Answers::Slow(Duration::from_secs(90)), None);
        slow.command(NOON, &command("close_door", &[]));
        assert_eq!(slow.next_due_us(), Some(NOON + 90 * SECOND));
    }

    #[test]
    fn declared_commands_are_sound_and_wrong_arguments_are_refused_here_too() {
        for index in 0..5 {
            if let Some(set) = Machine::new(1, index, Answers::Normal, None).commands() {
                set.validate().expect("sound");
            }
        }
        let mut room = Machine::new(1, 0, Answers::Normal, None);
        for wrong in [CommandValue::Text("cold".into()), CommandValue::F64(11.0)] {
            let answers = room.command(NOON, &command("set_target", &[("celsius", wrong)])).expect("heard");
            assert_eq!(statuses(&answers), ["Rejected bad_argument"]);
        }
    }
}
