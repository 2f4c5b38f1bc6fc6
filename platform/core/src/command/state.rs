//! The states of a command as a table.

/// How a command stands. The numbers are those of the store and of SPEC §9.13.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Stored; waits for the device, or for its turn.
    Queued,
    /// Written to the device's session.
    Sent,
    /// The device has it.
    Delivered,
    /// The device reported progress.
    InProgress,
    /// The device did it.
    Succeeded,
    /// The device tried.
    Failed,
    /// The device did not begin it.
    Rejected,
    /// The deadline passed before the device had it.
    Expired,
    /// No result in time.
    TimedOut,
    /// Given up.
    Canceled,
    /// Sent too often without an answer.
    Dead,
}

impl State {
    /// Every state, by number.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::Sent,
        Self::Delivered,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::Rejected,
        Self::Expired,
        Self::TimedOut,
        Self::Canceled,
        Self::Dead,
    ];

    /// The name used in JSON, in texts and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::InProgress => "in_progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Expired => "expired",
            Self::TimedOut => "timed_out",
            Self::Canceled => "canceled",
            Self::Dead => "dead",
        }
    }

    /// The number used on the wire and in the store.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The state with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// True while the server still does something about the command by itself.
    pub fn is_open(self) -> bool {
        self <= Self::InProgress
    }
}

/// How a device says that a command ended. SPEC §7.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResultStatus {
    /// Done.
    Succeeded,
    /// Tried.
    Failed,
    /// Not begun.
    Rejected,
    /// Given up because of CANCEL.
    Canceled,
}

impl ResultStatus {
    /// The state that it leads to.
    pub fn state(self) -> State {
        match self {
            Self::Succeeded => State::Succeeded,
            Self::Failed => State::Failed,
            Self::Rejected => State::Rejected,
            Self::Canceled => State::Canceled,
        }
    }
}

/// What can happen to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It goes to the device's session now.
    Sent,
    /// The device did not answer within the lease.
    LeaseExpired,
    /// The session to which it was sent is over.
    SessionEnded,
    /// The device has it.
    Delivered,
    /// The device is at it.
    Progress,
    /// The device is done with it.
    Result(ResultStatus),
    /// The time within which it may be begun is over.
    DeadlinePassed,
    /// The time for a result is over.
    TimeoutPassed,
    /// A user wants it given up.
    CancelAsked,
    /// A newer command takes its place.
    Superseded,
}

/// What the table needs to know beyond the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Facts {
    /// It was sent at least once: the device may have it, whatever the server thinks.
    pub ever_sent: bool,
    /// It may be sent once more.
    pub attempts_left: bool,
    /// The device's result is known.
    pub answered: bool,
    /// A user wanted it given up.
    pub cancel_requested: bool,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// To another state, or to the same one anew.
    To(State),
    /// The state stays; the wish to give it up is noted and passed on.
    AskDevice,
    /// Nothing: a repeat, or news that is too late to matter.
    Nothing,
}

/// The event cannot happen to a command that stands so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Illegal {
    /// It is over.
    #[error("the command is {} already", .0.name())]
    Finished(State),
    /// The device speaks of a command that was never sent to it.
    #[error("the command was never sent")]
    NeverSent,
    /// A defect of the caller.
    #[error("{event:?} cannot happen to a command that is {}", .state.name())]
    OutOfTurn {
        /// How the command stands.
        state: State,
        /// What was said to happen.
        event: EventKind,
    },
}

/// What `event` does to a command that stands so.
///
/// # Errors
/// [`Illegal`].
pub fn transition(state: State, facts: Facts, event: EventKind) -> Result<Transition, Illegal> {
    use EventKind as E;
    use State as S;
    let out_of_turn = Err(Illegal::OutOfTurn { state, event });
    // Whoever sends it again, or gives up, does so for one reason or the other.
    let not_confirmed = match facts {
        Facts { cancel_requested: true, .. } => S::Canceled,
        Facts { attempts_left: false, .. } => S::Dead,
        _ => S::Queued,
    };
    Ok(match (state, event) {
        // What the device says needs that it could have the command. Its first result counts, however late it comes.
        (_, E::Delivered | E::Progress | E::Result(_)) if !facts.ever_sent => return Err(Illegal::NeverSent),
        (_, E::Result(_)) if facts.answered => Transition::Nothing,
        (_, E::Result(status)) => Transition::To(status.state()),
        // Back in the queue after a lease that was too short, it is not sent again.
        (S::Queued | S::Sent, E::Delivered) => Transition::To(S::Delivered),
        (S::Queued | S::Sent | S::Delivered | S::InProgress, E::Progress) => Transition::To(S::InProgress),
        (_, E::Delivered | E::Progress) => Transition::Nothing,

        (S::Queued, E::Sent) if facts.attempts_left => Transition::To(S::Sent),
        (S::Queued, E::DeadlinePassed) => Transition::To(S::Expired),
        (S::Queued, E::CancelAsked | E::Superseded) => Transition::To(S::Canceled),

        (S::Sent, E::LeaseExpired | E::SessionEnded) => Transition::To(not_confirmed),

        (S::Delivered | S::InProgress, E::TimeoutPassed) => Transition::To(S::TimedOut),
        // It is with the device, and its result comes in a later session.
        (S::Delivered | S::InProgress, E::SessionEnded) => Transition::Nothing,

        (S::Sent | S::Delivered | S::InProgress, E::CancelAsked) if facts.cancel_requested => Transition::Nothing,
        (S::Sent | S::Delivered | S::InProgress, E::CancelAsked) => Transition::AskDevice,

        (S::Queued | S::Sent | S::Delivered | S::InProgress, _) => return out_of_turn,
        (_, E::CancelAsked) => return Err(Illegal::Finished(state)),
        (_, E::SessionEnded) => Transition::Nothing,
        _ => return out_of_turn,
    })
}
