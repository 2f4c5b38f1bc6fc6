//! From stored messages to providers: leases what is due, hands it to the channels and writes down what became of it.
//!
//! One task drives; the attempts run beside it, so many at once and so many per provider, with room kept for critical ones.
//! What became of attempts is stored before anything else is leased, all of it in one transaction, so that a kill at any
//! moment leaves each message either settled or to be sent again under the same id. The bus only says that something is
//! new; otherwise the task sleeps until something is due.

mod actions;
mod board;
mod guard;
mod idle;
mod providers;
mod task;

use crate::ports::{
    ANNOUNCEMENTS_UNFINISHED_MAX, Acted, ActedOn, AddressProblem, Announced, AnnouncementStore, Attention, Bus,
    BusEvent, Clock, CodeMade, Confirmed, Endpoint, EndpointChange, EndpointStore, Message, MetaError, NewCode,
    NewEndpoint, OutboxStore, PushAddress, PushChannel, Registered, Replayed, TestMade, Topic,
};
use actions::TokenError;
pub use actions::{Action, ActionKey};
use board::Board;
pub use board::ProviderState;
use pulsewire_core::ids::{AnnouncementId, DeliveryId, EndpointId, MessageId, UserName};
use pulsewire_core::push::{Announcement, AnnouncementAct, AnnouncementState, ChannelKind, Preferences};
use pulsewire_core::ulid::Ulid;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a test message is worth sending.
const TEST_TTL_US: i64 = 600_000_000;

/// How long a code is good: 15 minutes.
const CODE_TTL_US: i64 = 900_000_000;

fn code_hash(endpoint: EndpointId, code: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"pulsewire endpoint code");
    hasher.update(endpoint.0.to_bytes());
    hasher.update(code.as_bytes());
    hasher.finalize().into()
}

/// Bounds of the service; each is a key of `[push]` in the configuration.
#[derive(Debug, Clone)]
#[allow(missing_docs)] // documented with the keys
pub struct OutboxOptions {
    pub workers: usize,
    pub per_origin_max: usize,
    pub per_origin_rate: u32,
    pub bulk_queue_max: usize,
    pub lease: Duration,
    pub attempts_max: u32,
    pub history_per_user: usize,
    pub endpoints_per_user_max: usize,
    pub endpoint_idle_max: Duration,
}

/// What the service works with.
#[derive(Clone)]
#[allow(missing_docs)]
pub struct OutboxParts {
    pub store: Arc<dyn OutboxStore>,
    pub endpoints: Arc<dyn EndpointStore>,
    pub announcements: Arc<dyn AnnouncementStore>,
    pub channels: Vec<Arc<dyn PushChannel>>,
    pub attention: Arc<dyn Attention>,
    pub bus: Arc<dyn Bus>,
    pub clock: Arc<dyn Clock>,
    pub actions: ActionKey,
}

impl OutboxParts {
    fn channel(&self, kind: ChannelKind) -> Option<&Arc<dyn PushChannel>> {
        self.channels.iter().find(|channel| channel.kind() == kind)
    }
}

/// One variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The server has no keys for such endpoints.
    #[error("{} is not configured on this server", .0.name())]
    NotConfigured(ChannelKind),
    /// The address cannot be one.
    #[error(transparent)]
    BadAddress(#[from] AddressProblem),
    /// The user has as many endpoints as one may.
    #[error("there are {0} endpoints of this user already; delete one first")]
    TooManyEndpoints(usize),
    /// Nothing to replay.
    #[error("no delivery of this message was given up or refused while its endpoint is in use")]
    NothingDead,
    /// An alarm that would take the place of the message that all is well.
    #[error("the alert is over; its alarm is not sent again")]
    AlertOver,
    /// One at a time.
    #[error("there are {0} announcements that are not over; cancel one or wait")]
    TooManyAnnouncements(usize),
    /// Nothing can be done with it any more.
    #[error("the announcement is {}", .0.name())]
    AnnouncementOver(AnnouncementState),
    /// What was given is no token of this server's.
    #[error("this is no token of a message of this server")]
    BadToken,
    /// It was one.
    #[error("the message's time is over; open the page instead")]
    TokenExpired,
    /// That is not the code.
    #[error("that is not the code that was sent; after five wrong ones a new code is needed")]
    WrongCode,
    /// No code is good any more.
    #[error(
        "the code is not good any more: it was sent more than 15 minutes ago, or too many wrong ones were given; have a new one sent"
    )]
    CodeExpired,
    /// Codes come a minute apart.
    #[error("a code was sent less than a minute ago")]
    CodeTooSoon,
    /// Nothing to confirm.
    #[error("this endpoint is confirmed, or not in use")]
    NoCodeWanted,
    /// One test at a time.
    #[error("a test message to this endpoint is still on its way")]
    TestUnfinished,
    /// There is no such thing, or the store failed.
    #[error(transparent)]
    Store(#[from] MetaError),
}

/// The service's face: what people ask of it.
#[derive(Clone)]
pub struct Outbox {
    parts: OutboxParts,
    endpoints_per_user_max: usize,
    board: Arc<Mutex<Board>>,
    stop: Arc<watch::Sender<bool>>,
}

impl Outbox {
    /// Starts the task. What a process before had leased is sent again first, under the same ids.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn start(options: OutboxOptions, parts: OutboxParts) -> Result<(Self, JoinHandle<()>), MetaError> {
        let left = parts.store.recover(parts.clock.now_us()).await?;
        if left > 0 {
            tracing::info!(
                left,
                "messages were being sent when the server stopped; they are sent again under the same ids"
            );
        }
        let (stop, stopped) = watch::channel(false);
        let endpoints_per_user_max = options.endpoints_per_user_max;
        tokio::spawn(idle::remove_regularly(parts.clone(), options.endpoint_idle_max, stopped.clone()));
        let events = parts.bus.subscribe(Topic::Outbox);
        let board = Arc::new(Mutex::new(Board::new(&options)));
        let task = tokio::spawn(task::Task::new(options, parts.clone(), board.clone(), stopped).run(events));
        Ok((Self { parts, endpoints_per_user_max, board, stop: Arc::new(stop) }, task))
    }

    /// Ends the task: nothing new is leased, attempts under way are waited for.
    pub fn stop(&self) {
        // The task may have ended.
        let _ = self.stop.send(true);
    }

    /// True if endpoints of this kind can be served.
    pub fn available(&self, kind: ChannelKind) -> bool {
        self.parts.channel(kind).is_some()
    }

    /// What a browser needs to subscribe.
    pub fn public_key(&self) -> Option<String> {
        self.parts.channel(ChannelKind::WebPush)?.public_key()
    }

    /// Registers an endpoint.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn register(
        &self,
        id: EndpointId,
        user: UserName,
        label: String,
        address: PushAddress,
    ) -> Result<(Endpoint, bool), OutboxError> {
        let kind = address.kind();
        let channel = self.parts.channel(kind).ok_or(OutboxError::NotConfigured(kind))?;
        let address = channel.check(address)?;
        let new = NewEndpoint {
            id,
            user,
            label,
            provider: channel.provider(&address),
            address,
            now_us: self.parts.clock.now_us(),
            per_user_max: self.endpoints_per_user_max,
        };
        let (endpoint, created) = match self.parts.endpoints.register(new).await? {
            Registered::Created(endpoint) => (endpoint, true),
            Registered::Updated(endpoint) => (endpoint, false),
            Registered::TooMany => return Err(OutboxError::TooManyEndpoints(self.endpoints_per_user_max)),
        };
        if !endpoint.confirmed {
            match self.send_code(endpoint.id).await {
                // One is on its way.
                Ok(()) | Err(OutboxError::CodeTooSoon) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((endpoint, created))
    }

    /// Sends a new code to an endpoint that waits to be confirmed.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn send_code(&self, endpoint: EndpointId) -> Result<(), OutboxError> {
        let now_us = self.parts.clock.now_us();
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).map_err(|error| MetaError::Failed(anyhow::anyhow!("no random bytes: {error}")))?;
        let (seed, number) = bytes.split_at(16);
        let seed = seed.iter().fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
        // Of 2^64 numbers a million is a part so small that each code is as likely as any other.
        let number = number.iter().fold(0_u64, |all, byte| (all << 8) | u64::from(*byte)) % 1_000_000;
        let code = format!("{number:06}");
        let new = NewCode {
            message: MessageId(Ulid::from_parts(now_us, seed)),
            endpoint,
            hash: code_hash(endpoint, &code),
            code,
            now_us,
            expires_us: now_us.saturating_add(CODE_TTL_US),
        };
        match self.parts.store.create_code(new).await? {
            CodeMade::Made => {
                self.parts.bus.publish(BusEvent::MessagesQueued);
                Ok(())
            }
            CodeMade::TooSoon => Err(OutboxError::CodeTooSoon),
            CodeMade::NotWanted => Err(OutboxError::NoCodeWanted),
        }
    }

    /// Confirms an endpoint by the code that was sent to it.
    ///
    /// # Errors
    /// [`OutboxError`]; `Missing` if the endpoint is not in use.
    pub async fn confirm(&self, endpoint: EndpointId, code: &str) -> Result<Endpoint, OutboxError> {
        let hash = code_hash(endpoint, code.trim());
        match self.parts.endpoints.confirm(endpoint, hash, self.parts.clock.now_us()).await? {
            Confirmed::Done(endpoint) => Ok(*endpoint),
            Confirmed::Wrong => Err(OutboxError::WrongCode),
            Confirmed::Expired => Err(OutboxError::CodeExpired),
        }
    }

    /// Changes an endpoint.
    ///
    /// # Errors
    /// [`OutboxError`]; `Missing` if the endpoint is not in use.
    pub async fn update_endpoint(&self, id: EndpointId, change: EndpointChange) -> Result<Endpoint, OutboxError> {
        let endpoint = self.parts.endpoints.update_endpoint(id, change, self.parts.clock.now_us()).await?;
        // What was held may go now.
        self.parts.bus.publish(BusEvent::MessagesQueued);
        Ok(endpoint)
    }

    /// A user wants to be told something else.
    ///
    /// # Errors
    /// [`OutboxError`]; `Missing` if there is no such user.
    pub async fn put_preferences(&self, user: UserName, preferences: Preferences) -> Result<(), OutboxError> {
        self.parts.endpoints.put_preferences(user, preferences, self.parts.clock.now_us()).await?;
        self.parts.bus.publish(BusEvent::MessagesQueued);
        Ok(())
    }

    /// Sends a test message to one endpoint. `random` makes its id.
    ///
    /// # Errors
    /// [`OutboxError`]; `Missing` if the endpoint is not in use.
    pub async fn test(&self, endpoint: EndpointId, random: u128) -> Result<Message, OutboxError> {
        let now_us = self.parts.clock.now_us();
        let id = MessageId(Ulid::from_parts(now_us, random));
        let expires_us = now_us.saturating_add(TEST_TTL_US);
        match self.parts.store.create_test(id, endpoint, now_us, expires_us).await? {
            TestMade::Made(message) => {
                self.parts.bus.publish(BusEvent::MessagesQueued);
                Ok(*message)
            }
            TestMade::NoEndpoint => {
                Err(MetaError::Missing { what: "endpoint in use", name: endpoint.to_string() }.into())
            }
            TestMade::Unfinished => Err(OutboxError::TestUnfinished),
        }
    }

    /// Tries the deliveries of a message that were given up or refused anew.
    ///
    /// # Errors
    /// [`OutboxError`].
    pub async fn replay(&self, id: MessageId) -> Result<Message, OutboxError> {
        match self.parts.store.replay(id, self.parts.clock.now_us()).await? {
            Replayed::Queued(_) => {}
            Replayed::NothingDead => return Err(OutboxError::NothingDead),
            Replayed::AlertOver => return Err(OutboxError::AlertOver),
        }
        self.parts.bus.publish(BusEvent::MessagesQueued);
        let missing = || MetaError::Missing { what: "message", name: id.to_string() };
        Ok(self.parts.store.message(id).await?.ok_or_else(missing)?)
    }

    /// The delivery whose token this is. Costs one signature.
    ///
    /// # Errors
    /// `BadToken`, `TokenExpired`.
    pub fn delivery_of(&self, token: &str) -> Result<DeliveryId, OutboxError> {
        self.parts.actions.open(token, self.parts.clock.now_us()).map_err(|error| match error {
            TokenError::Bad => OutboxError::BadToken,
            TokenError::Expired => OutboxError::TokenExpired,
        })
    }

    /// What a delivery is about.
    ///
    /// # Errors
    /// `TokenExpired` if the message is not in the history any more or its endpoint is gone.
    pub async fn acted_on(&self, delivery: DeliveryId) -> Result<ActedOn, OutboxError> {
        self.parts.store.acted_on(delivery).await?.ok_or(OutboxError::TokenExpired)
    }

    /// Writes down what the holder of a delivery's token did, once per kind of event.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note(&self, delivery: DeliveryId, event: &'static str, text: &str) -> Result<(), MetaError> {
        self.parts.store.act(delivery, event, text.to_owned(), self.parts.clock.now_us()).await
    }

    /// Tells many people something. It must have been checked.
    ///
    /// # Errors
    /// `TooManyAnnouncements`, `Store`.
    pub async fn announce(&self, new: Announcement) -> Result<(), OutboxError> {
        match self.parts.announcements.announce(new).await? {
            Announced::Made => {}
            Announced::TooMany => return Err(OutboxError::TooManyAnnouncements(ANNOUNCEMENTS_UNFINISHED_MAX)),
        }
        self.parts.bus.publish(BusEvent::MessagesQueued);
        Ok(())
    }

    /// Pauses an announcement, goes on with it or cancels it.
    ///
    /// # Errors
    /// `AnnouncementOver`; `Store` with `Missing` if there is none.
    pub async fn act_on(&self, id: AnnouncementId, act: AnnouncementAct) -> Result<Announcement, OutboxError> {
        let acted = self.parts.announcements.act_on_announcement(id, act, self.parts.clock.now_us()).await?;
        self.parts.bus.publish(BusEvent::MessagesQueued);
        match acted {
            Acted::Done(announcement) => Ok(*announcement),
            Acted::Over(state) => Err(OutboxError::AnnouncementOver(state)),
        }
    }

    /// Where announcements are read.
    pub fn announcements(&self) -> &dyn AnnouncementStore {
        &*self.parts.announcements
    }

    /// How the providers are, each with how many messages wait for it.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn providers(&self) -> Result<Vec<(ProviderState, u64)>, MetaError> {
        let mut queued: HashMap<String, u64> = self.parts.store.queued().await?.into_iter().collect();
        let mut all: Vec<(ProviderState, u64)> = {
            let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
            let view = board.view(self.parts.clock.now_us()).into_iter();
            view.map(|one| (queued.remove(&one.view.provider).unwrap_or(0), one)).map(|(n, one)| (one, n)).collect()
        };
        all.extend(queued.into_iter().map(|(provider, count)| (ProviderState::unknown(provider), count)));
        all.sort_by(|(a, _), (b, _)| a.view.provider.cmp(&b.view.provider));
        Ok(all)
    }

    /// Where endpoints are read.
    pub fn endpoints(&self) -> &dyn EndpointStore {
        &*self.parts.endpoints
    }

    /// Where messages are read.
    pub fn messages(&self) -> &dyn OutboxStore {
        &*self.parts.store
    }
}
