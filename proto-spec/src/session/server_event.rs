//! What a server session asks its caller.

use alloc::sync::Arc;

use crate::{
    auth::Verifier,
    frame::{CommandResult, CommandSet, Delivered, Hello, MetricSet, Progress, Report, Skip, StreamOpen},
};

/// What a frame from the device means to the server.
#[derive(Debug, Clone, PartialEq)]
pub enum ServerEvent<'f> {
    /// Look the device up and call [`super::ServerSession::credentials`].
    Authenticate(Hello),
    /// Check the token in `login` and call [`super::ServerSession::token_result`].
    CheckToken(Hello),
    /// The proof is right: open the session and call [`super::ServerSession::welcome`].
    LoggedIn(Candidate),
    /// The proof is wrong; the session is closed with 4003.
    ProofRejected,
    /// Issue a stream id durably and call [`super::ServerSession::stream_id`].
    StreamOpen(StreamOpen),
    /// A metric set was declared; reports carry it.
    MetricSet(Arc<MetricSet>),
    /// Store it and call [`super::ServerSession::ack`].
    Report(ReportEvent<'f>),
    /// Record it and call [`super::ServerSession::ack`].
    Skip(Skip),
    /// The device has a command.
    Delivered(Delivered),
    /// How far a command is.
    Progress(Progress),
    /// How a command ended: store it and call [`super::ServerSession::result_ack`].
    Result(CommandResult),
    /// The commands that the device knows.
    CommandSet(CommandSet),
}

/// A report whose prefix is read and whose values are not: that happens once, where they are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportEvent<'f> {
    /// BACKFILL instead of TELEMETRY.
    pub backfill: bool,
    /// The set under which it was sent.
    pub set: Arc<MetricSet>,
    /// The prefix; an error of [`Report::samples`] belongs to [`super::ServerSession::close_malformed`].
    pub report: Report<'f>,
    /// The payload as sent, for the content's digest.
    pub payload: &'f [u8],
}

/// Which of the two verifiers a proof fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    /// The present secret.
    Current,
    /// The secret before the last replacement.
    Previous,
}

/// Verifiers to check a proof against. Both are always tried, so the time says nothing about which there were.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    /// The present secret's; for an unknown or disabled device [`Verifier::decoy`].
    pub current: Verifier,
    /// The previous secret's while it is still valid.
    pub previous: Option<Verifier>,
}
