use super::Batch;
use async_trait::async_trait;
use pulsewire_core::alert::Alert;
use pulsewire_core::command::Command;
use pulsewire_core::ids::{DeviceKey, Position};
use std::sync::Arc;

/// A batch that is durable.
#[derive(Debug)]
pub struct Committed {
    /// Where its record stands.
    pub position: Position,
    /// What was stored.
    pub batch: Arc<Batch>,
}

/// An alert, and whether people are not told of it now.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownAlert {
    /// As it is.
    pub alert: Arc<Alert>,
    /// It is silenced.
    pub quiet: bool,
}

/// Something that happened. Events are hints: a receiver that was slow loses some and is told so.
#[derive(Debug, Clone)]
pub enum BusEvent {
    /// A record is durable.
    Committed(Arc<Committed>),
    /// Devices were created, edited, disabled or got new credentials: sessions that no longer hold must end. What changes
    /// together is one event, so that a change of very many does not push other events out of the bus.
    DevicesChanged {
        /// Which devices; as many as one transaction has.
        devices: Arc<[DeviceKey]>,
        /// True if their running sessions must end, unless what they logged in with still holds.
        revoke: bool,
    },
    /// Devices were deleted.
    DevicesDeleted {
        /// Which devices; as many as one transaction has.
        devices: Arc<[DeviceKey]>,
    },
    /// An alert began, changed or ended, and that is stored.
    AlertChanged(ShownAlert),
    /// A command was given or changed, and that is stored.
    CommandChanged(Arc<Command>),
    /// Messages for people were stored, or something that decides about them changed: the outbox has work.
    MessagesQueued,
}

/// What a receiver is interested in; each topic has a bound of its own, so that many commits cost no device event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// [`BusEvent::Committed`].
    Commits,
    /// What happens to devices' records: created, edited, deleted, new credentials.
    Devices,
    /// What viewers are told of besides samples: alerts and commands.
    Events,
    /// [`BusEvent::MessagesQueued`].
    Outbox,
}

impl BusEvent {
    /// One device was changed.
    pub fn device_changed(device: DeviceKey, revoke: bool) -> Self {
        Self::DevicesChanged { devices: [device].into(), revoke }
    }

    /// One device was deleted.
    pub fn device_deleted(device: DeviceKey) -> Self {
        Self::DevicesDeleted { devices: [device].into() }
    }

    /// Where the event is published.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Committed(_) => Topic::Commits,
            Self::DevicesChanged { .. } | Self::DevicesDeleted { .. } => Topic::Devices,
            Self::AlertChanged(_) | Self::CommandChanged(_) => Topic::Events,
            Self::MessagesQueued => Topic::Outbox,
        }
    }
}

/// So many events were lost before the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lagged(pub u64);

/// One receiver's view of the bus.
#[async_trait]
pub trait Subscription: Send {
    /// The next event. Cancel safe. `Ok(None)` when the bus is closed; `Err` when events were lost: read the journal, or
    /// reload, then go on.
    async fn next(&mut self) -> Result<Option<BusEvent>, Lagged>;
}

/// A lossy, bounded broadcast: whoever needs every record reads the journal from its own cursor.
pub trait Bus: Send + Sync {
    /// Tells everyone. Never waits; a receiver that is behind by more than the bus holds loses the oldest.
    fn publish(&self, event: BusEvent);
    /// Receives what is published on a topic from now on.
    fn subscribe(&self, topic: Topic) -> Box<dyn Subscription>;
}
