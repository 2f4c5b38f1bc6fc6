//! The bus of one process: a bounded broadcast channel.

use crate::ports::{Bus, BusEvent, Lagged, Subscription, Topic};
use async_trait::async_trait;
use tokio::sync::broadcast;

/// Bounded broadcasts within the process, one per topic.
#[derive(Debug)]
pub struct InProcessBus {
    commits: broadcast::Sender<BusEvent>,
    devices: broadcast::Sender<BusEvent>,
    events: broadcast::Sender<BusEvent>,
    outbox: broadcast::Sender<BusEvent>,
}

impl InProcessBus {
    /// `events_max`: how many events of one topic a receiver may be behind before it loses the oldest.
    pub fn new(events_max: usize) -> Self {
        let channel = || broadcast::channel(events_max.max(1)).0;
        Self { commits: channel(), devices: channel(), events: channel(), outbox: channel() }
    }

    fn sender(&self, topic: Topic) -> &broadcast::Sender<BusEvent> {
        match topic {
            Topic::Commits => &self.commits,
            Topic::Devices => &self.devices,
            Topic::Events => &self.events,
            Topic::Outbox => &self.outbox,
        }
    }
}

impl Bus for InProcessBus {
    fn publish(&self, event: BusEvent) {
        // An error means that nobody listens, which is fine.
        let _ = self.sender(event.topic()).send(event);
    }

    fn subscribe(&self, topic: Topic) -> Box<dyn Subscription> {
        Box::new(InProcessSubscription(self.sender(topic).subscribe()))
    }
}

struct InProcessSubscription(broadcast::Receiver<BusEvent>);

#[async_trait]
impl Subscription for InProcessSubscription {
    async fn next(&mut self) -> Result<Option<BusEvent>, Lagged> {
        match self.0.recv().await {
            Ok(event) => Ok(Some(event)),
            Err(broadcast::error::RecvError::Closed) => Ok(None),
            Err(broadcast::error::RecvError::Lagged(n)) => Err(Lagged(n)),
        }
    }
}
