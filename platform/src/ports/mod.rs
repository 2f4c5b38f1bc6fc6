//! What the services need from outside, as traits. Adapters (`storage`, `bus`, …) meet them; only `app` names one.

mod alerts;
mod announcements;
mod attention;
mod bus;
mod clock;
mod commands;
mod history;
mod journal;
mod meta;
mod outbox;
mod push;
mod tokens;
mod views;

pub use alerts::{
    AlertChange, AlertCommit, AlertPage, AlertQuery, AlertStore, AlertingState, Cursor, GroupKey, GroupState,
    RuleChangeKind, RuleVersion, RuleWrite, Told, ToldView,
};
pub use announcements::{ANNOUNCEMENTS_KEPT_MAX, ANNOUNCEMENTS_UNFINISHED_MAX, Acted, Announced, AnnouncementStore};
pub use attention::Attention;
pub use bus::{Bus, BusEvent, Committed, Lagged, ShownAlert, Subscription, Topic};
pub use clock::Clock;
pub use commands::{CommandCommit, CommandPage, CommandStore, CommandWrite, Written};
pub use history::{BucketQuery, History, HistoryError, RangeQuery, Snapshot, SnapshotQuery};
pub use journal::{
    Batch, Journal, JournalError, OpenedLane, OpenedStream, Receipt, StoreStatus, StreamKind, StreamPosition,
};
pub use meta::{
    Credentials, DeviceSeen, DeviceStore, DeviceVerifier, MetaError, NewDevice, SessionRecord, TokenUse, User,
    UserStore,
};
pub use outbox::{
    ActedOn, CodeMade, Confirmed, Delivery, DeliveryEvent, Endpoint, EndpointChange, EndpointStore, Leased,
    MESSAGE_ALERTS_MAX, Message, MessageQuery, MessageState, NewCode, NewEndpoint, OperatorNotice, OutboxStep,
    OutboxStore, Registered, Replayed, Settled, Slots, Stepped, TestMade, Trouble,
};
pub use push::{AddressProblem, PushAddress, PushChannel, SecretStore};
pub use tokens::{ApiToken, TokenStore};
pub use views::{SavedView, ViewStore};
