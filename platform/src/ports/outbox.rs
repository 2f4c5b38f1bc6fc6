use super::attention::Attention;
use super::meta::MetaError;
use super::push::PushAddress;
use async_trait::async_trait;
use pulsewire_core::ids::{AlertId, DeliveryId, EndpointId, MessageId, UserName};
use pulsewire_core::notice::NoticeKind;
use pulsewire_core::push::{ChannelKind, EndpointPreferences, Next, Notification, Preferences, Priority};
use pulsewire_core::severity::Severity;
use pulsewire_core::ulid::Ulid;
use std::sync::Arc;

/// A place where a user's messages go, without its address.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose.
    pub user: UserName,
    /// How it is reached.
    pub kind: ChannelKind,
    /// What its owner calls it.
    pub label: String,
    /// µs since the Unix epoch.
    pub created_us: i64,
    /// When and why it was removed, if it was.
    pub removed: Option<(i64, String)>,
    /// When a provider last took a message for it.
    pub last_delivered_us: Option<i64>,
    /// False until who registered it has shown that it is theirs. Nothing but that question is sent there before.
    pub confirmed: bool,
    /// Nothing but tests is sent there.
    pub muted: bool,
    /// Where it differs from what its user wants.
    pub preferences: EndpointPreferences,
    /// How many messages were opened there, as far as the device says so.
    pub opened: u64,
    /// How many were dismissed.
    pub dismissed: u64,
}

/// What to change of an endpoint; None: nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EndpointChange {
    /// What its owner calls it.
    pub label: Option<String>,
    /// Whether it is muted. What waits for it then is withdrawn.
    pub muted: Option<bool>,
    /// Where it differs: in place of all that was.
    pub preferences: Option<EndpointPreferences>,
}

/// An endpoint to be registered.
#[derive(Clone)]
pub struct NewEndpoint {
    /// Taken if the address is new.
    pub id: EndpointId,
    /// Whose.
    pub user: UserName,
    /// What its owner calls it.
    pub label: String,
    /// Where it is.
    pub address: PushAddress,
    /// The provider behind it: see [`PushChannel::provider`](super::PushChannel::provider).
    pub provider: String,
    /// µs since the Unix epoch.
    pub now_us: i64,
    /// Most endpoints in use per user.
    pub per_user_max: usize,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq)]
pub enum Registered {
    /// It is new.
    Created(Endpoint),
    /// The address was known, perhaps as removed or as another user's; it is in use, and this user's, now.
    Updated(Endpoint),
    /// The user has as many as one may.
    TooMany,
}

/// A code that shows who can read what is sent to an endpoint.
#[derive(Clone)]
pub struct NewCode {
    /// The message that carries it.
    pub message: MessageId,
    /// To which endpoint, which waits to be confirmed.
    pub endpoint: EndpointId,
    /// Six digits.
    pub code: String,
    /// What is kept to compare with.
    pub hash: [u8; 32],
    /// µs since the Unix epoch.
    pub now_us: i64,
    /// Until when it is good.
    pub expires_us: i64,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeMade {
    /// It is on its way.
    Made,
    /// One was made not long ago.
    TooSoon,
    /// The endpoint is not in use, or confirmed.
    NotWanted,
}

/// What became of a confirmation.
#[derive(Debug, Clone, PartialEq)]
pub enum Confirmed {
    /// The endpoint is confirmed.
    Done(Box<Endpoint>),
    /// That is not the code.
    Wrong,
    /// No code is good any more: its time is over, or too many wrong ones were given.
    Expired,
}

/// Where messages go, and what people want to get there.
#[async_trait]
pub trait EndpointStore: Send + Sync {
    /// Registers an endpoint. The same address again updates it; what was chosen for it stays, unless it was another user's.
    async fn register(&self, new: NewEndpoint) -> Result<Registered, MetaError>;
    /// A user's endpoints, or everyone's, the oldest first; removed ones for a while, too.
    async fn endpoints(&self, user: Option<UserName>) -> Result<Vec<Endpoint>, MetaError>;
    /// One endpoint.
    async fn endpoint(&self, id: EndpointId) -> Result<Option<Endpoint>, MetaError>;
    /// Changes an endpoint that is in use; what is held for it is looked at again.
    async fn update_endpoint(&self, id: EndpointId, change: EndpointChange, now_us: i64)
    -> Result<Endpoint, MetaError>;
    /// Confirms an endpoint by the hash of its code; one that is confirmed stays so.
    async fn confirm(&self, id: EndpointId, hash: [u8; 32], now_us: i64) -> Result<Confirmed, MetaError>;
    /// Removes browsers and apps that were neither registered nor delivered to since a time; answers how many.
    async fn remove_idle(&self, before_us: i64, now_us: i64) -> Result<usize, MetaError>;
    /// Forgets an endpoint; what waits for it is withdrawn.
    async fn delete_endpoint(&self, id: EndpointId, now_us: i64) -> Result<(), MetaError>;
    /// What a user wants to be told; the default if they never chose.
    async fn preferences(&self, user: &UserName) -> Result<Preferences, MetaError>;
    /// The user wants something else; what is held for them is looked at again. `Missing` if there is no such user.
    async fn put_preferences(&self, user: UserName, preferences: Preferences, now_us: i64) -> Result<(), MetaError>;
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Its grace is not over.
    Waiting,
    /// It is on its way to some endpoint.
    Sending,
    /// Nothing more happens to it.
    Done,
}

impl MessageState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Sending, Self::Done];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Sending => "sending",
            Self::Done => "done",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Something that happened to a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEvent {
    /// µs since the Unix epoch.
    pub time_us: i64,
    /// `held`, `sent`, `retry`, `unclear` (it may have arrived), `dead`, `dropped`, `withdrawn`, `digested`, `replayed`, or what
    /// the device says: `shown`, `opened`, `dismissed`, `acknowledged`, `silenced`.
    pub event: String,
    /// What the provider answered.
    pub status: Option<u16>,
    /// What happened, for people.
    pub text: String,
}

/// A message on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id, which providers see.
    pub id: DeliveryId,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// What the endpoint was called when the message was made.
    pub label: String,
    /// How it travels.
    pub kind: ChannelKind,
    /// `queued`, `sending`, `delivered`, `dead`, `dropped`, `withdrawn` or `digested`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it is as it is, for people; empty if all went well.
    pub reason: String,
    /// When it is tried again, or looked at again.
    pub next_us: Option<i64>,
    /// Why it waits although its message passed the gate: the name of a [`Held`](pulsewire_core::push::Held).
    pub held: Option<String>,
    /// What the provider calls it.
    pub provider_id: Option<String>,
    /// What happened to it, the oldest first.
    pub timeline: Vec<DeliveryEvent>,
}

/// Most alerts of a message that are kept with it. A message about more is withdrawn for no acknowledgement and no end.
pub const MESSAGE_ALERTS_MAX: usize = 64;

/// A message to one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// To whom.
    pub user: UserName,
    /// What it is about.
    pub kind: NoticeKind,
    /// Why it was made: the name of a [`Reason`](pulsewire_core::notify::Reason); empty of a test message.
    pub cause: String,
    /// Which alert: the worst, if it is about several.
    pub alert: Option<AlertId>,
    /// Every alert that it is about, the worst first; at most [`MESSAGE_ALERTS_MAX`].
    pub alerts: Vec<AlertId>,
    /// How bad.
    pub severity: Severity,
    /// First line.
    pub title: String,
    /// The rest.
    pub body: String,
    /// µs since the Unix epoch.
    pub created_us: i64,
    /// Where it stands.
    pub state: MessageState,
    /// Why it was not pushed; empty if it was, or is not decided.
    pub reason: String,
    /// The same for people.
    pub reason_text: String,
    /// When it was first opened at a device, as far as that says so.
    pub opened_us: Option<i64>,
    /// When it was first dismissed there.
    pub dismissed_us: Option<i64>,
    /// The announcement that it is a part of.
    pub announcement: Option<Ulid>,
    /// Its ways.
    pub deliveries: Vec<Delivery>,
}

/// Which messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Whose; None = everyone's.
    pub user: Option<UserName>,
    /// About one alert.
    pub alert: Option<AlertId>,
    /// Of one kind.
    pub kind: Option<NoticeKind>,
    /// That stand so.
    pub state: Option<MessageState>,
    /// That were not pushed for this reason.
    pub reason: Option<String>,
    /// Those before this number.
    pub before: Option<i64>,
    /// Most messages to answer.
    pub limit: usize,
}

/// A delivery that is the outbox's until its lease ends.
#[derive(Clone)]
pub struct Leased {
    /// What to deliver.
    pub notification: Notification,
    /// Where.
    pub address: PushAddress,
    /// The provider behind it.
    pub provider: String,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When it was last registered.
    pub registered_us: i64,
    /// A provider took a message for it before.
    pub delivered_before: bool,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// What goes before it and after it.
    pub priority: Priority,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Its endpoint.
    pub endpoint: EndpointId,
    /// When that was registered; if it was registered anew meanwhile, it stays.
    pub registered_us: i64,
    /// What follows.
    pub next: Next,
    /// What the provider answered.
    pub status: Option<u16>,
    /// What the provider calls it.
    pub provider_id: Option<String>,
    /// What happened, for people.
    pub text: String,
    /// It may have arrived although it is not known to have.
    pub unclear: bool,
}

/// One step of the outbox.
#[derive(Clone)]
pub struct OutboxStep {
    /// The time, µs since the Unix epoch.
    pub now_us: i64,
    /// What became of attempts since the last step.
    pub settled: Vec<Settled>,
    /// Attempts that still run: their leases last until they end.
    pub in_flight: Vec<DeliveryId>,
    /// Who is looking at a page.
    pub attention: Arc<dyn Attention>,
    /// When leases taken now end.
    pub lease_until_us: i64,
    /// Most deliveries to lease: critical ones, and all others.
    pub free: Slots,
    /// Providers with fewer free slots than the others, by name; 0 leaves one alone.
    pub busy: Vec<(String, Slots)>,
    /// Free slots of providers that are not named.
    pub per_provider: Slots,
    /// Messages kept per user.
    pub history_per_user: usize,
    /// Most deliveries of announcements that wait at once; further people are taken when there is room.
    pub bulk_queue_max: usize,
    /// What admins are to be told.
    pub notices: Vec<OperatorNotice>,
}

/// A trouble with a provider that only people can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// It calls so many endpoints gone that none is removed.
    PruningFrozen,
    /// It refuses this server: key, clock or configuration.
    Refuses,
}

/// What admins are told of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorNotice {
    /// Its name.
    pub provider: String,
    /// What happened.
    pub trouble: Trouble,
    /// What it said.
    pub reason: String,
    /// µs since the Unix epoch.
    pub time_us: i64,
}

/// What a token of a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActedOn {
    /// To whom the message went.
    pub user: UserName,
    /// Every alert that it is about, the worst first.
    pub alerts: Vec<AlertId>,
    /// True if it is about more alerts than these.
    pub more: bool,
}

/// How many deliveries may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Of any severity.
    pub all: usize,
    /// Of those, so many that are not critical.
    pub ordinary: usize,
    /// Of those, so many that are of announcements.
    pub bulk: usize,
}

/// What a step brought.
#[derive(Clone, Default)]
pub struct Stepped {
    /// To be sent now.
    pub leased: Vec<Leased>,
    /// When there is something to do next, µs since the Unix epoch, if nothing else happens.
    pub next_us: Option<i64>,
    /// Messages that were decided not to be pushed, by reason.
    pub suppressed: Vec<&'static str>,
}

/// What became of the wish for a test message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestMade {
    /// It is on its way.
    Made(Box<Message>),
    /// There is no such endpoint in use.
    NoEndpoint,
    /// One to the same endpoint is on its way.
    Unfinished,
}

/// What became of the wish to replay a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replayed {
    /// So many deliveries are tried anew.
    Queued(usize),
    /// None was given up or refused, or their endpoints are gone.
    NothingDead,
    /// It is an alarm, and all its alerts are over.
    AlertOver,
}

/// Messages and their deliveries. They are made by [`AlertStore::commit`](super::AlertStore::commit) and
/// [`OutboxStore::create_test`].
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Gives back what a process that is gone had leased; it may have been sent. Call it once, at a start.
    async fn recover(&self, now_us: i64) -> Result<usize, MetaError>;
    /// In one transaction: writes down what became of attempts, withdraws what nobody needs any more, decides about
    /// messages whose grace is over, and leases what is due, critical ones first.
    async fn step(&self, step: OutboxStep) -> Result<Stepped, MetaError>;
    /// Makes a test message to one endpoint.
    async fn create_test(
        &self,
        id: MessageId,
        endpoint: EndpointId,
        now_us: i64,
        expires_us: i64,
    ) -> Result<TestMade, MetaError>;
    /// Makes a message with a code to one endpoint that waits to be confirmed.
    async fn create_code(&self, new: NewCode) -> Result<CodeMade, MetaError>;
    /// Messages, the newest first, each with its number.
    async fn messages(&self, query: MessageQuery) -> Result<Vec<(i64, Message)>, MetaError>;
    /// One message.
    async fn message(&self, id: MessageId) -> Result<Option<Message>, MetaError>;
    /// Tries the deliveries of a message that are dead or were dropped anew, with its whole lifetime.
    async fn replay(&self, id: MessageId, now_us: i64) -> Result<Replayed, MetaError>;
    /// What a delivery is about. None if it is not in the history any more, its endpoint is gone or another user's now.
    async fn acted_on(&self, delivery: DeliveryId) -> Result<Option<ActedOn>, MetaError>;
    /// Writes into a delivery's timeline what its device or its person did, once per kind of event, and counts what was opened
    /// and dismissed.
    async fn act(&self, delivery: DeliveryId, event: &'static str, text: String, now_us: i64) -> Result<(), MetaError>;
    /// How many deliveries wait, by provider.
    async fn queued(&self) -> Result<Vec<(String, u64)>, MetaError>;
}
