//! A device that is logged in, for as long as the value lives.

use super::Shared;
use super::login::Credential;
use super::registry::EndSession;
use crate::telemetry::names;
use pulsewire_core::device::Device;
use pulsewire_core::ids::SessionEpoch;
use std::sync::Arc;
use tokio::sync::watch;

/// A session's place in the registry and in the presence table. Dropping it gives both up, however the session ended.
pub struct LoggedIn {
    shared: Arc<Shared>,
    /// Who.
    pub device: Arc<Device>,
    /// Which session.
    pub epoch: SessionEpoch,
    /// Tells when it must end, and why.
    pub ending: watch::Receiver<Option<EndSession>>,
}

impl LoggedIn {
    /// Takes the place of the device's older session, if there is one.
    pub fn enter(shared: Arc<Shared>, device: Arc<Device>, firmware: &str, proven: Credential) -> Self {
        let (epoch, ending) = shared.registry.enter(device.key, proven);
        let now_us = shared.parts.clock.now_us();
        shared.parts.presence.connected(device.key, epoch, now_us, firmware);
        metrics::gauge!(names::SESSIONS).increment(1.0);
        Self { shared, device, epoch, ending }
    }
}

impl Drop for LoggedIn {
    fn drop(&mut self) {
        let now_us = self.shared.parts.clock.now_us();
        self.shared.registry.leave(self.device.key, self.epoch);
        self.shared.parts.presence.disconnected(self.device.key, self.epoch, now_us);
        metrics::gauge!(names::SESSIONS).decrement(1.0);
        // A drop cannot wait. Without a runtime the server has stopped, and with it the service.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (commands, device, epoch) = (self.shared.parts.commands.clone(), self.device.key, self.epoch);
            runtime.spawn(async move { commands.session_ended(device, epoch).await });
        }
    }
}
