use std::future::Future;

use pulsewire_proto::{
    MetricSet,
    frame::{Command, CommandSet, Skip, StreamKind},
};
use tokio::time::Instant;

use super::{Answer, commands::rejected};
use crate::SimError;

/// Where the reports of one stream come from. A [`super::DeviceClient`] pulls them in the order of their sequences.
///
/// What was offered under a sequence must be offered again byte for byte until it is acknowledged.
pub trait Source: Send {
    /// The sets to declare in each session.
    fn metric_sets(&self) -> &[MetricSet];

    /// What the stream is for.
    fn kind(&self) -> StreamKind;

    /// The stream that this source already has.
    fn stream(&self) -> Option<u32>;

    /// The server issued a new stream, because there was none or the old one is unknown there. Reports begin again at
    /// sequence 1; what must be remembered for later runs is on disk when this resolves.
    fn opened(&mut self, stream: u32) -> impl Future<Output = Result<(), SimError>> + Send;

    /// A session begins: the server holds everything of the stream up to `durable`. What comes next from
    /// [`next`](Self::next) is to be sent in this session. Returns how many reports that settles for the first time.
    fn resumed(&mut self, durable: u64) -> u64;

    /// What to send now. The same is offered again until [`sent`](Self::sent).
    fn next(&mut self, now: Instant) -> Next<'_>;

    /// What [`next`](Self::next) offered was sent.
    fn sent(&mut self);

    /// The server has everything up to `sequence`. Returns how many reports that settles for the first time.
    fn acked(&mut self, sequence: u64) -> u64;

    /// The commands that this device knows; `None`: it does not say.
    fn commands(&self) -> Option<CommandSet> {
        None
    }

    /// Takes a command that did not come before, in time. `None`: it was not heard, and comes again.
    fn command(&mut self, command: &Command) -> Option<Vec<Answer>> {
        Some(vec![rejected(command, "unknown_command", "this device takes no commands")])
    }

    /// Gives a command up, if it is not too late.
    fn cancel(&mut self, _id: [u8; 16]) -> Vec<Answer> {
        Vec::new()
    }

    /// What is to be said about commands by now.
    fn answers(&mut self) -> Vec<Answer> {
        Vec::new()
    }

    /// When [`answers`](Self::answers) has more.
    fn answers_at(&self) -> Option<Instant> {
        None
    }

    /// Waits until [`next`](Self::next) may have more, which is the case at `at` unless something happens before.
    /// Cancel-safe.
    fn ready(&self, at: Option<Instant>) -> impl Future<Output = ()> + Send {
        async move {
            match at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        }
    }
}

/// What a [`Source`] has to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Next<'a> {
    /// A report.
    Report {
        /// Payload under the source's stream.
        payload: &'a [u8],
        /// Values in it.
        samples: u32,
        /// As BACKFILL.
        backfill: bool,
    },
    /// A range that will never come.
    Skip(Skip),
    /// Nothing before this time.
    At(Instant),
    /// Nothing until something happens.
    Idle,
    /// Everything is sent and acknowledged: the client is done.
    Done,
}
