use tokio::sync::watch;

/// Tells tasks to end. Dropping it tells them too.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

/// Waits for a [`ShutdownTrigger`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// A trigger and what listens to it.
    pub fn channel() -> (ShutdownTrigger, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownTrigger(sender), Shutdown(receiver))
    }

    /// Resolves once the trigger was pulled or dropped. Cancel-safe.
    pub async fn wait(&mut self) {
        // An error means that the trigger is gone, which is a request too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the trigger was pulled or dropped.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

impl ShutdownTrigger {
    /// Asks all listeners to end.
    pub fn trigger(&self) {
        self.0.send_replace(true);
    }
}
