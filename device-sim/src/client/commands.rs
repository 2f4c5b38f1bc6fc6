//! A device's duties towards commands, whatever it does with them. SPEC §7.

use std::collections::VecDeque;

use pulsewire_proto::{
    frame::{Command, CommandResult, Progress, ResultStatus},
    limits,
};

/// What a device says about commands.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It has the command with this id.
    Delivered([u8; 16]),
    /// How far it is.
    Progress(Progress),
    /// How it ended; kept and sent again until the server has it.
    Result(CommandResult),
}

/// The commands a device has taken lately, and the results that the server does not have yet. Kept over sessions, not over
/// restarts: this device forgets its commands with its power.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    taken: VecDeque<Taken>,
    results: Vec<CommandResult>,
}

#[derive(Debug)]
struct Taken {
    id: [u8; 16],
    // The server has its result.
    over: bool,
}

impl Ledger {
    /// Whether the command was taken before.
    pub(crate) fn has(&self, id: [u8; 16]) -> bool {
        self.taken.iter().any(|taken| taken.id == id)
    }

    /// Remembers a command, and forgets one of too many: the oldest that is over, since the others still owe a result.
    pub(crate) fn take(&mut self, id: [u8; 16]) {
        if self.taken.len() == limits::COMMANDS_REMEMBERED {
            let oldest = self.taken.iter().position(|taken| taken.over).unwrap_or(0);
            if let Some(Taken { id, .. }) = self.taken.remove(oldest) {
                self.forget(id);
            }
        }
        self.taken.push_back(Taken { id, over: false });
    }

    /// What to answer to a command that comes again.
    pub(crate) fn repeat(&self, id: [u8; 16]) -> Vec<Answer> {
        let result = self.results.iter().find(|result| result.id == id).cloned();
        [Answer::Delivered(id)].into_iter().chain(result.map(Answer::Result)).collect()
    }

    /// Keeps a result until it is acknowledged. There is at most one for each command that is remembered.
    pub(crate) fn keep(&mut self, result: &CommandResult) {
        if self.has(result.id) {
            self.results.retain(|known| known.id != result.id);
            self.results.push(result.clone());
        }
    }

    /// The results that the server does not have.
    pub(crate) fn results(&self) -> &[CommandResult] {
        &self.results
    }

    /// The server has the result, or does not want it.
    pub(crate) fn forget(&mut self, id: [u8; 16]) {
        self.results.retain(|result| result.id != id);
        if let Some(taken) = self.taken.iter_mut().find(|taken| taken.id == id) {
            taken.over = true;
        }
    }
}

/// A command that was not begun.
pub(crate) fn rejected(command: &Command, code: &str, text: &str) -> Answer {
    Answer::Result(CommandResult {
        id: command.id,
        status: ResultStatus::Rejected,
        code: code.into(),
        text: text.into(),
        values: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_answered_with_the_result_until_that_is_acknowledged() {
        let mut ledger = Ledger::default();
        let command =
            Command { id: [7; 16], name: "stop".into(), arguments: vec![], deadline_us: 0, timeout_ms: 1, attempt: 1 };
        ledger.take(command.id);
        assert_eq!(ledger.repeat(command.id), [Answer::Delivered(command.id)]);
        let answer = rejected(&command, "expired", "");
        let Answer::Result(result) = &answer else { panic!("a result") };
        ledger.keep(result);
        assert_eq!(ledger.repeat(command.id), [Answer::Delivered(command.id), answer.clone()]);
        ledger.forget(command.id);
        assert_eq!((ledger.repeat(command.id).len(), ledger.results().len(), ledger.has(command.id)), (1, 0, true));
    }

    #[test]
    fn the_last_64_commands_are_remembered_and_those_longest_that_are_not_over() {
        let mut ledger = Ledger::default();
        (0..64).for_each(|n| ledger.take([n; 16]));
        ledger.forget([9; 16]);
        ledger.take([64; 16]);
        assert!(!ledger.has([9; 16]) && ledger.has([0; 16]) && ledger.has([64; 16]));
        let mut ledger = Ledger::default();
        (0..=64).for_each(|n| ledger.take([n; 16]));
        assert!(!ledger.has([0; 16]) && ledger.has([1; 16]) && ledger.has([64; 16]));
    }
}
