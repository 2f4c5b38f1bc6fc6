//! Ends sessions of devices that were disabled, deleted or given new credentials.

use super::login::{Credential, StoreDown};
use super::registry::Registry;
use crate::ports::{BusEvent, Subscription};
use async_trait::async_trait;
use pulsewire_core::ids::{DeviceKey, SessionEpoch};
use pulsewire_proto::CloseCode;

/// Tells whether what a device logged in with would still let it in.
#[async_trait]
pub(super) trait Proofs: Send + Sync {
    /// False also if the device is disabled or does not exist.
    async fn still_holds(&self, device: DeviceKey, proven: &Credential) -> Result<bool, StoreDown>;
}

/// For the human at a device that is sent away.
pub(super) const REVOKED: &str = "the device was disabled or deleted, or its secret replaced, or its token";

/// Follows what happens to devices until the bus closes.
pub(super) async fn watch(registry: &Registry, proofs: &dyn Proofs, mut devices: Box<dyn Subscription>) {
    loop {
        match devices.next().await {
            Ok(Some(BusEvent::DevicesDeleted { devices })) => {
                devices.iter().for_each(|device| registry.close(*device, CloseCode::Revoked, REVOKED));
            }
            Ok(Some(BusEvent::DevicesChanged { devices, revoke: true })) => {
                for device in devices.iter() {
                    if let Some((epoch, proven)) = registry.proven(*device) {
                        check(registry, proofs, *device, epoch, &proven).await;
                    }
                }
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(lagged) => {
                // Which devices were meant is unknown. The store has what was lost: a session that begins meanwhile asks it
                // itself, after it was entered.
                let sessions = registry.all();
                tracing::info!(
                    events = lagged.0,
                    sessions = sessions.len(),
                    "events were lost; every session is checked"
                );
                for (device, epoch, proven) in sessions {
                    check(registry, proofs, device, epoch, &proven).await;
                }
            }
        }
    }
}

/// Ends a session unless what it logged in with still holds: the device may have logged in with the new secret before the word
/// of the change came here.
async fn check(registry: &Registry, proofs: &dyn Proofs, device: DeviceKey, epoch: SessionEpoch, proven: &Credential) {
    match proofs.still_holds(device, proven).await {
        Ok(true) => {}
        Ok(false) => registry.close_session(device, epoch, CloseCode::Revoked, REVOKED),
        Err(error) => {
            tracing::error!(%error, "whether a session still holds is unknown; it has to log in again");
            registry.close_session(device, epoch, CloseCode::GoingAway, "log in again, please");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Lagged;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// Tokens that hold.
    struct Holding(Mutex<Vec<(DeviceKey, [u8; 32])>>);

    #[async_trait]
    impl Proofs for Holding {
        async fn still_holds(&self, device: DeviceKey, proven: &Credential) -> Result<bool, StoreDown> {
            let Credential::Token(token) = proven else { return Ok(false) };
            Ok(self.0.lock().expect("no panic").contains(&(device, *token)))
        }
    }

    struct Told(VecDeque<Result<BusEvent, Lagged>>);

    #[async_trait]
    impl Subscription for Told {
        async fn next(&mut self) -> Result<Option<BusEvent>, Lagged> {
            self.0.pop_front().transpose()
        }
    }

    async fn closed(events: Vec<Result<BusEvent, Lagged>>, holding: &[(u32, u8)]) -> Vec<u32> {
        let registry = Registry::new(1);
        let enter = |key| (key, registry.enter(DeviceKey(key), Credential::Token([1; 32])).1);
        let sessions: Vec<_> = (1..=4).map(enter).collect();
        let holding = holding.iter().map(|(key, token)| (DeviceKey(*key), [*token; 32])).collect();
        watch(&registry, &Holding(Mutex::new(holding)), Box::new(Told(events.into()))).await;
        let ended = sessions.iter().filter_map(|(key, end)| Some((*key, end.borrow().clone()?)));
        ended
            .map(|(key, end)| {
                assert_eq!(end.code, CloseCode::Revoked);
                key
            })
            .collect()
    }

    #[tokio::test]
    async fn when_events_are_lost_only_those_sessions_end_that_would_not_be_let_in_again() {
        // The second has another token now, the fourth is gone.
        assert_eq!(closed(vec![Err(Lagged(9))], &[(1, 1), (2, 2), (3, 1)]).await, [2, 4]);
        assert_eq!(closed(vec![Err(Lagged(9)), Err(Lagged(1))], &[(1, 1), (2, 1), (3, 1), (4, 1)]).await, [0; 0]);
    }

    #[tokio::test]
    async fn one_event_ends_the_sessions_of_many_devices() {
        let devices = || [DeviceKey(1), DeviceKey(2), DeviceKey(7)].into();
        let deleted = BusEvent::DevicesDeleted { devices: devices() };
        assert_eq!(closed(vec![Ok(deleted)], &[(3, 1), (4, 1)]).await, [1, 2]);
        let changed = |revoke| BusEvent::DevicesChanged { devices: devices(), revoke };
        assert_eq!(closed(vec![Ok(changed(true))], &[(2, 1)]).await, [1], "the second has logged in anew");
        assert_eq!(closed(vec![Ok(changed(false))], &[]).await, [0; 0], "an edit ends nothing");
    }
}
