//! A command with everything that is known of it.

use super::set::{Value, Values};
use super::state::{EventKind, Facts, Illegal, ResultStatus, State, Transition, transition};
use crate::ids::{CommandId, CommandName, DeviceId, DeviceKey, UserName};
use std::ops::RangeInclusive;

/// How long a command may wait to be begun: 1 s to 30 days.
pub const TTL_US: RangeInclusive<i64> = 1_000_000..=30 * 86_400_000_000;
/// How long the server may wait for its result: 1 s to 24 h.
pub const TIMEOUT_US: RangeInclusive<i64> = 1_000_000..=86_400_000_000;
/// Most bytes of a COMMAND's payload. SPEC §7.1.
pub const WIRE_BYTES_MAX: usize = 16 * 1024;
/// Most bytes of a result's text. SPEC §7.6.
pub const RESULT_TEXT_BYTES_MAX: usize = 512;

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Its id.
    pub id: CommandId,
    /// For which device, by the server's number.
    pub device: DeviceKey,
    /// And by its id.
    pub device_id: DeviceId,
    /// What to do.
    pub name: CommandName,
    /// With what.
    pub arguments: Values,
    /// How it stands.
    pub state: State,
    /// How often it was sent.
    pub attempt: u32,
    /// How far the device is, 0–100, if it said.
    pub percent: Option<u8>,
    /// Code of the result, or why the server ended it.
    pub code: String,
    /// For a human.
    pub text: String,
    /// What the device answered.
    pub values: Values,
    /// A user wants it given up.
    pub cancel_requested: bool,
    /// The device's result is known.
    pub answered: bool,
    /// A newer command with the same key takes its place while it waits.
    pub supersede_key: Option<CommandName>,
    /// Who gave it.
    pub created_by: UserName,
    /// When, µs since the Unix epoch.
    pub created_us: i64,
    /// When it last changed.
    pub changed_us: i64,
    /// From when lease or timeout counts: the newest sending, DELIVERED or PROGRESS.
    pub since_us: i64,
    /// It must not be begun later.
    pub deadline_us: i64,
    /// How long to wait for a result.
    pub timeout_us: i64,
    /// Grows with each change, from 1.
    pub revision: u64,
}

/// What happens to a command, with its details.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It goes to the device's session now.
    Sent,
    /// The device did not answer within the lease.
    LeaseExpired,
    /// The session to which it was sent is over.
    SessionEnded,
    /// The device has it.
    Delivered,
    /// The device is at it.
    Progress {
        /// 0–100, if it can tell.
        percent: Option<u8>,
        /// For a human.
        text: String,
    },
    /// The device is done with it.
    Result {
        /// How it ended.
        status: ResultStatus,
        /// For programs.
        code: String,
        /// For a human.
        text: String,
        /// What it answers.
        values: Values,
    },
    /// The time within which it may be begun is over.
    DeadlinePassed,
    /// The time for a result is over.
    TimeoutPassed,
    /// A user wants it given up.
    CancelAsked(UserName),
    /// A newer command takes its place.
    Superseded(CommandId),
}

/// One entry of a command's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How it stood from then on.
    pub state: State,
    /// µs since the Unix epoch.
    pub time_us: i64,
    /// For a human.
    pub text: String,
}

/// What an event made of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The command as it is now.
    pub command: Command,
    /// What to note in its history.
    pub step: Step,
}

impl Event {
    /// Its row in the table.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Sent => EventKind::Sent,
            Self::LeaseExpired => EventKind::LeaseExpired,
            Self::SessionEnded => EventKind::SessionEnded,
            Self::Delivered => EventKind::Delivered,
            Self::Progress { .. } => EventKind::Progress,
            Self::Result { status, .. } => EventKind::Result(*status),
            Self::DeadlinePassed => EventKind::DeadlinePassed,
            Self::TimeoutPassed => EventKind::TimeoutPassed,
            Self::CancelAsked(_) => EventKind::CancelAsked,
            Self::Superseded(_) => EventKind::Superseded,
        }
    }
}

impl Command {
    /// The command after an event, or None if it changes nothing. `attempts_max`: how often it may be sent.
    ///
    /// # Errors
    /// [`Illegal`].
    pub fn apply(&self, event: Event, now_us: i64, attempts_max: u32) -> Result<Option<Applied>, Illegal> {
        let facts = Facts {
            ever_sent: self.attempt > 0,
            attempts_left: self.attempt < attempts_max,
            answered: self.answered,
            cancel_requested: self.cancel_requested,
        };
        let to = match transition(self.state, facts, event.kind())? {
            Transition::To(state) => state,
            Transition::AskDevice => self.state,
            Transition::Nothing => return Ok(None),
        };
        let mut command = Command { state: to, changed_us: now_us, revision: self.revision + 1, ..self.clone() };
        let text = command.note(event, now_us);
        let step = Step { state: to, time_us: now_us, text };
        Ok(Some(Applied { command, step }))
    }

    /// Takes in what the event says beyond the state, and puts it into words.
    fn note(&mut self, event: Event, now_us: i64) -> String {
        let text = match event {
            Event::Sent => {
                self.attempt += 1;
                self.since_us = now_us;
                self.text = String::new();
                return if self.attempt > 1 { format!("attempt {}", self.attempt) } else { String::new() };
            }
            Event::Delivered => {
                self.since_us = now_us;
                self.text = String::new();
                return String::new();
            }
            Event::Progress { percent, text } => {
                self.since_us = now_us;
                self.percent = percent;
                text
            }
            Event::Result { status, code, text, values } => {
                self.answered = true;
                self.code = code;
                self.values = values;
                if status == ResultStatus::Succeeded {
                    self.percent = None;
                }
                text
            }
            Event::LeaseExpired => self.unconfirmed("the device did not confirm it in time"),
            Event::SessionEnded => self.unconfirmed("the session ended before the device confirmed it"),
            Event::DeadlinePassed => "the deadline passed before the device had it".to_owned(),
            Event::TimeoutPassed => format!("no result within {} s", self.timeout_us / 1_000_000),
            Event::CancelAsked(user) if self.state == State::Canceled => format!("canceled by {user}"),
            Event::CancelAsked(user) => {
                self.cancel_requested = true;
                // What the device last said about it stays.
                return format!("{user} asked the device to give it up");
            }
            Event::Superseded(by) => {
                self.code = "superseded".to_owned();
                format!("command {by} took its place")
            }
        };
        self.text.clone_from(&text);
        text
    }

    fn unconfirmed(&self, why: &str) -> String {
        match self.state {
            State::Dead => format!("{why}; it was sent {} times", self.attempt),
            State::Canceled => format!("{why}, and it was to be given up"),
            _ => why.to_owned(),
        }
    }

    /// When something happens to it by itself, and what. `lease_us`: how long the device may take to confirm.
    pub fn next_deadline(&self, lease_us: i64) -> Option<(i64, Event)> {
        match self.state {
            State::Queued => Some((self.deadline_us, Event::DeadlinePassed)),
            State::Sent => Some((self.since_us.saturating_add(lease_us), Event::LeaseExpired)),
            State::Delivered | State::InProgress => {
                Some((self.since_us.saturating_add(self.timeout_us), Event::TimeoutPassed))
            }
            _ => None,
        }
    }

    /// True if it was given up while the device could have it, and ended without the device's word: the device has to be told,
    /// lest it does it all the same.
    pub fn is_untold(&self) -> bool {
        !self.state.is_open()
            && !self.answered
            && self.attempt > 0
            && (self.state == State::Canceled || self.cancel_requested)
    }

    /// True if `other` asks for the same thing: what a caller may repeat under one id. A whole number is the f64 of the
    /// same value, since an argument becomes one or the other by what the device declares.
    pub fn is_same_request(&self, other: &Command) -> bool {
        self.device == other.device
            && self.name == other.name
            && same_values(&self.arguments, &other.arguments)
            && self.supersede_key == other.supersede_key
            && self.timeout_us == other.timeout_us
            && self.deadline_us - self.created_us == other.deadline_us - other.created_us
    }
}

fn same_values(left: &Values, right: &Values) -> bool {
    let same = |left: &Value, right: &Value| match (left, right) {
        (Value::I64(whole), Value::F64(number)) | (Value::F64(number), Value::I64(whole)) => *whole as f64 == *number,
        _ => left == right,
    };
    left.len() == right.len() && left.iter().zip(right).all(|(l, r)| l.0 == r.0 && same(l.1, r.1))
}

/// At least as many bytes as a COMMAND's payload with these takes. SPEC §7.3.
pub fn wire_bytes(name: &CommandName, arguments: &Values) -> usize {
    // Id, deadline, timeout, attempt, and the lengths of name and map at their longest.
    const FIXED: usize = 16 + 9 + 5 + 5 + 3 + 3;
    let value = |value: &Value| match value {
        Value::Bool(_) => 1,
        Value::I64(_) => 9,
        Value::F64(_) => 8,
        Value::Text(text) => 3 + text.len(),
    };
    // Per entry the name's length and the value's kind take a byte each.
    let map: usize = arguments.iter().map(|(name, one)| 2 + name.as_str().len() + value(one)).sum();
    FIXED + name.as_str().len() + map
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ulid::Ulid;
    use proptest::prelude::*;
    use std::fmt::Write;

    const LEASE_US: i64 = 10;

    fn command() -> Command {
        Command {
            id: CommandId(Ulid::from_parts(0, 1)),
            device: DeviceKey(1),
            device_id: DeviceId::parse("cold-1").expect("an id"),
            name: CommandName::parse("stop").expect("a name"),
            arguments: Values::new(),
            state: State::Queued,
            attempt: 0,
            percent: None,
            code: String::new(),
            text: String::new(),
            values: Values::new(),
            cancel_requested: false,
            answered: false,
            supersede_key: None,
            created_by: UserName::parse("kim").expect("a name"),
            created_us: 0,
            changed_us: 0,
            since_us: 0,
            deadline_us: 1000,
            timeout_us: 2_000_000,
            revision: 1,
        }
    }

    fn result(status: ResultStatus) -> Event {
        Event::Result { status, code: "c".into(), text: "t".into(), values: Values::new() }
    }

    fn events() -> Vec<Event> {
        vec![
            Event::Sent,
            Event::LeaseExpired,
            Event::SessionEnded,
            Event::Delivered,
            Event::Progress { percent: Some(40), text: "at it".into() },
            result(ResultStatus::Succeeded),
            result(ResultStatus::Failed),
            result(ResultStatus::Rejected),
            result(ResultStatus::Canceled),
            Event::DeadlinePassed,
            Event::TimeoutPassed,
            Event::CancelAsked(UserName::parse("kim").expect("a name")),
            Event::Superseded(CommandId(Ulid::from_parts(0, 2))),
        ]
    }

    #[test]
    fn every_event_in_every_state_does_what_the_table_says() {
        type Prepare = fn(&mut Command);
        let mut table = String::new();
        let variants: [(&str, Prepare); 5] = [
            ("never sent", |_| {}),
            ("sent before", |command| command.attempt = 1),
            ("sent as often as it may be", |command| command.attempt = 10),
            ("to be given up", |command| (command.attempt, command.cancel_requested) = (1, true)),
            ("answered", |command| (command.attempt, command.answered) = (1, true)),
        ];
        for (title, prepare) in variants {
            for state in State::ALL {
                let mut before = Command { state, ..command() };
                prepare(&mut before);
                // A result ends it, and without having been sent it never came that far.
                let never = match state {
                    State::Queued | State::Canceled | State::Expired => before.answered && state != State::Canceled,
                    State::Succeeded | State::Failed | State::Rejected => !before.answered,
                    _ => before.attempt == 0 || before.answered,
                };
                if never {
                    continue;
                }
                writeln!(table, "{} ({title})", state.name()).expect("a string");
                for event in events() {
                    let name = format!("{:?}", event.kind());
                    match before.apply(event, 5, 10) {
                        Ok(None) => {}
                        Ok(Some(Applied { command: after, step })) => {
                            assert_eq!((after.revision, after.changed_us, step.state), (2, 5, after.state));
                            writeln!(table, "  {name:<18} → {:<12} {}", after.state.name(), step.text)
                                .expect("a string");
                        }
                        Err(Illegal::OutOfTurn { .. }) => writeln!(table, "  {name:<18} ✗").expect("a string"),
                        Err(error) => writeln!(table, "  {name:<18} ✗ {error}").expect("a string"),
                    }
                }
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_late_result_wins_over_everything_but_an_earlier_one() {
        for state in [State::TimedOut, State::Expired, State::Dead, State::Canceled, State::Queued] {
            let late = Command { state, attempt: 1, ..command() };
            let done = late.apply(result(ResultStatus::Succeeded), 1, 1).expect("legal").expect("a change").command;
            assert_eq!(done.state, State::Succeeded);
            assert_eq!(done.apply(result(ResultStatus::Failed), 2, 1), Ok(None));
        }
    }

    #[test]
    fn a_wish_to_give_up_does_not_make_the_wait_longer() {
        let delivered = Command { state: State::Delivered, attempt: 1, since_us: 7, ..command() };
        let asked = delivered.apply(events()[11].clone(), 1_000_000, 10).expect("legal").expect("a change").command;
        assert_eq!(asked.next_deadline(LEASE_US), Some((2_000_007, Event::TimeoutPassed)));
        assert!(asked.cancel_requested);
    }

    #[test]
    fn what_is_asked_twice_is_the_same_request_whenever_it_is_asked() {
        let first = command();
        let again = Command { created_us: 50, deadline_us: 1050, state: State::Sent, attempt: 3, ..command() };
        assert!(first.is_same_request(&again));
        assert!(!first.is_same_request(&Command { timeout_us: 1, ..command() }));
        assert!(!first.is_same_request(&Command { device: DeviceKey(2), ..command() }));
    }

    proptest! {
        #[test]
        fn whatever_happens_a_command_keeps_its_promises(
            picks in proptest::collection::vec((0usize..13, 0i64..500), 0..60),
            attempts_max in 1u32..5,
        ) {
            let all = events();
            let (mut command, mut now_us, mut delivered) = (command(), 0, false);
            for (pick, wait) in picks {
                now_us += wait;
                // The service applies what is due before it looks at anything else.
                while let Some((at_us, event)) = command.next_deadline(LEASE_US).filter(|(at, _)| *at <= now_us) {
                    let applied = command.apply(event, at_us.max(command.changed_us), attempts_max);
                    command = applied.expect("what is due is legal").expect("and changes something").command;
                }
                let before = command.clone();
                if let Ok(Some(Applied { command: after, .. })) = command.apply(all[pick].clone(), now_us, attempts_max) {
                    prop_assert_eq!(after.revision, before.revision + 1);
                    prop_assert!(after.attempt <= attempts_max);
                    prop_assert!(!before.answered, "a result is final");
                    if all[pick] == Event::Sent {
                        prop_assert!(now_us < before.deadline_us, "nothing is sent after its deadline");
                        prop_assert!(!delivered, "nothing is sent again once it is delivered");
                    }
                    delivered |= after.state == State::Delivered || after.state == State::InProgress;
                    command = after;
                }
                prop_assert_eq!(command.next_deadline(LEASE_US).is_some(), command.state.is_open());
            }
        }
    }
}
