//! The messages of SPEC §2.1, one module each: plain structs, their layout, and the limits they must keep.
//!
//! Structs are the standard layout of SPEC §3, through `wincode`. [`telemetry`] and [`batch`] are drawn byte by byte in
//! the specification and have codecs of their own, which borrow the payload.

mod ack;
mod alert;
pub mod batch;
mod cancel;
mod challenge;
mod close;
mod command;
mod command_set;
mod command_state;
mod delivered;
mod events_lost;
mod events_resume;
mod gap;
mod heartbeat;
mod hello;
mod layout;
mod live_welcome;
mod metric_set;
mod nack;
mod ping;
mod presence;
mod progress;
mod proof;
mod refused;
mod result;
mod series_def;
mod skip;
mod snapshot_end;
mod stream_id;
mod stream_open;
mod subscribe;
pub mod telemetry;
mod texts;
mod unsubscribe;
mod welcome;

pub use ack::Ack;
pub use alert::{
    Acknowledgement, Alert, AlertComparison, AlertDetail, AlertInfo, AlertKind, AlertSeverity, AlertState,
};
pub use batch::{Batch, BatchColumns, BatchSample, BatchSamples, ColumnsError};
pub use cancel::Cancel;
pub use challenge::Challenge;
pub use close::Close;
pub use command::{Command, CommandValue, NamedValue};
pub use command_set::{ArgumentDef, ArgumentType, CommandDef, CommandSet};
pub use command_state::{CommandInfo, CommandState, CommandStatus};
pub use delivered::Delivered;
pub use events_lost::EventsLost;
pub use events_resume::EventsResume;
pub use gap::{Gap, GapReason};
pub use heartbeat::Heartbeat;
pub use hello::{Hello, Login};
pub use layout::clip_text;
pub use live_welcome::LiveWelcome;
pub use metric_set::{Metric, MetricClass, MetricSet, MetricType};
pub use nack::{Nack, NackItem, NackReason, WHOLE_ROW};
pub use ping::{Ping, Pong};
pub use presence::{DevicePresence, Presence, PresenceState};
pub use progress::Progress;
pub use proof::Proof;
pub use refused::{Refused, RefusedCode};
pub use result::{CommandResult, ResultAck, ResultStatus};
pub use series_def::{Series, SeriesDef, SeriesLabel};
pub use skip::{Skip, SkipReason};
pub use snapshot_end::SnapshotEnd;
pub use stream_id::StreamId;
pub use stream_open::{StreamKind, StreamOpen};
pub use subscribe::{AcrossLabel, Aggregate, Resume, Subscribe, TagMatch};
pub use telemetry::{BuildError, FloatRows, Report, ReportBuilder, RowSink, Sample, Samples, Value};
pub use texts::{TextSample, Texts};
pub use unsubscribe::Unsubscribe;
pub use welcome::{StreamPosition, TwinStatus, Welcome};
