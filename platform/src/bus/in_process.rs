//! The bus of one process: a bounded broadcast channel.

use crate::ports::{Bus, BusEvent, Lagged, Subscription};
use async_trait::async_trait;
use tokio::sync::broadcast;

/// A bounded broadcast within the process.
#[derive(Debug)]
pub struct InProcessBus {
    sender: broadcast::Sender<BusEvent>,
}

impl InProcessBus {
    /// `events_max`: how many events a receiver may be behind before it loses the oldest.
    pub fn new(events_max: usize) -> Self {
        Self { sender: broadcast::channel(events_max.max(1)).0 }
    }
}

impl Bus for InProcessBus {
    fn publish(&self, event: BusEvent) {
        // An error means that nobody listens, which is fine.
        let _ = self.sender.send(event);
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(InProcessSubscription(self.sender.subscribe()))
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
