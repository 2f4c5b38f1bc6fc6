//! Subscribers as the measuring process sees them: child processes that hold them, so that no process needs more open files than
//! systems commonly allow.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command};

use hdrhistogram::Histogram;

use super::super::children::Process;
use super::job::{Answer, Job, Order, Storm, Tally, joined};
use crate::SimError;

/// Most subscribers of one process: half the 20,000 files that a process commonly may open.
const PER_PROCESS_MAX: u32 = 10_000;

pub(in super::super) struct Crowd {
    members: Vec<Member>,
}

struct Member {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What all subscribers counted, and the processor time of their processes.
#[derive(Debug)]
pub(in super::super) struct Counted {
    pub tally: Tally,
    pub times: Histogram<u64>,
}

fn failed(problem: impl std::fmt::Display) -> SimError {
    SimError::Measurement { what: "subscribers".into(), problem: problem.to_string() }
}

impl Crowd {
    /// Starts as many processes as asked for or needed, shares the job's subscribers among them, and waits until all are live.
    pub fn open(job: &Job, processes: u32) -> Result<Crowd, SimError> {
        let processes = processes.max(job.count.div_ceil(PER_PROCESS_MAX)).clamp(1, job.count.max(1));
        let own = std::env::current_exe().map_err(failed)?;
        let (mut members, mut first) = (Vec::new(), 0);
        for process in 0..processes {
            let count = (job.count - first).div_ceil(processes - process);
            let share = Job { first: job.first + first, count, ..job.clone() };
            first += count;
            let (process, input, output) = Process::start_talking(Command::new(&own).args(["bench", "subscribers"]))?;
            let mut member = Member { process, input, output: BufReader::new(output) };
            member.say(&share)?;
            members.push(member);
        }
        let mut crowd = Crowd { members };
        for answer in crowd.answers()? {
            if !matches!(answer, Answer::Live) {
                return Err(unexpected(&answer));
            }
        }
        Ok(crowd)
    }

    /// Counts from now on.
    pub fn begin(&mut self) -> Result<(), SimError> {
        self.done(&Order::Begin)
    }

    /// What was counted.
    pub fn end(&mut self) -> Result<Counted, SimError> {
        let (mut tally, mut times) = (Tally::default(), Vec::new());
        for answer in self.order(&Order::End)? {
            let Answer::Tally(part) = answer else { return Err(unexpected(&answer)) };
            tally.add(&part);
            times.push(part.times);
        }
        Ok(Counted { tally, times: joined(times.iter())? })
    }

    /// How many pairs of subscriber and series do not have their newest value after this time.
    pub fn missing(&mut self, counters: &[Vec<u64>], patience_ms: u64) -> Result<u64, SimError> {
        let mut sum = 0;
        for answer in self.order(&Order::Newest { counters: counters.to_vec(), patience_ms })? {
            let Answer::Checked { missing } = answer else { return Err(unexpected(&answer)) };
            sum += missing;
        }
        Ok(sum)
    }

    /// Nobody reads any more.
    pub fn stall(&mut self) -> Result<(), SimError> {
        self.done(&Order::Stall)
    }

    /// Cuts all off and lets each come back at its moment.
    pub fn storm(&mut self, within_ms: u64, resume: bool) -> Result<(Storm, Histogram<u64>), SimError> {
        let (mut sum, mut times) = (Storm::default(), Vec::new());
        for (number, member) in (0_u64..).zip(&mut self.members) {
            member.say(&Order::Storm { within_ms, seed: number << 32, resume })?;
        }
        for answer in self.answers()? {
            let Answer::Stormed(part) = answer else { return Err(unexpected(&answer)) };
            sum.live += part.live;
            sum.refused += part.refused;
            sum.failed += part.failed;
            sum.gaps += part.gaps;
            sum.last_us = sum.last_us.max(part.last_us);
            sum.problem = sum.problem.or(part.problem);
            times.push(part.times);
        }
        Ok((sum, joined(times.iter())?))
    }

    /// Processor time of all their processes so far.
    pub fn cpu_ms(&self) -> Option<u64> {
        self.members.iter().map(|member| member.process.usage().map(|usage| usage.cpu_ms)).sum()
    }

    fn done(&mut self, order: &Order) -> Result<(), SimError> {
        match self.order(order)?.iter().find(|answer| !matches!(answer, Answer::Done)) {
            None => Ok(()),
            Some(answer) => Err(unexpected(answer)),
        }
    }

    fn order(&mut self, order: &Order) -> Result<Vec<Answer>, SimError> {
        self.members.iter_mut().try_for_each(|member| member.say(order))?;
        self.answers()
    }

    fn answers(&mut self) -> Result<Vec<Answer>, SimError> {
        self.members.iter_mut().map(Member::hear).collect()
    }
}

fn unexpected(answer: &Answer) -> SimError {
    match answer {
        Answer::Failed { problem } => failed(problem),
        other => failed(format!("they answered {other:?}")),
    }
}

impl Member {
    fn say(&mut self, line: &impl serde::Serialize) -> Result<(), SimError> {
        let mut text = serde_json::to_vec(line).map_err(failed)?;
        text.push(b'\n');
        // A process that is gone says why when it is heard.
        let _ = self.input.write_all(&text).and_then(|()| self.input.flush());
        Ok(())
    }

    /// Every order has an end, so this has one too.
    fn hear(&mut self) -> Result<Answer, SimError> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(failed)?;
        if line.is_empty() {
            return Err(failed("their process ended without a word"));
        }
        serde_json::from_str(&line).map_err(failed)
    }
}
