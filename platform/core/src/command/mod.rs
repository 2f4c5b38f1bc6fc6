//! Commands to devices: what one may say, how it comes from one state to the next, and when something is due.

mod record;
mod set;
mod state;

pub use record::{
    Applied, Command, Event, RESULT_TEXT_BYTES_MAX, Step, TIMEOUT_US, TTL_US, WIRE_BYTES_MAX, wire_bytes,
};
pub use set::{
    ARGUMENTS_MAX, ArgumentDef, ArgumentError, ArgumentType, CommandDef, CommandSet, TEXT_BYTES_MAX, Value, Values,
    check_arguments,
};
pub use state::{EventKind, Facts, Illegal, ResultStatus, State, Transition, transition};
