//! Who a device is, from what it claims. SPEC §4.1–§4.3.

use super::Shared;
use super::revoke::Proofs;
use crate::ports::DeviceVerifier;
use async_trait::async_trait;
use pulsewire_core::device::Device;
use pulsewire_core::ids::{DeviceId, DeviceKey};
use pulsewire_proto::auth::{ServerKey, StoredKey, Verifier};
use pulsewire_proto::session::Candidates;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a device proved to have.
#[derive(Clone, Copy)]
pub enum Credential {
    /// The secret of this verifier.
    Secret(Verifier),
    /// The token of this hash.
    Token([u8; 32]),
}

/// The store could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("the device store could not be read")]
pub struct StoreDown(#[source] crate::ports::MetaError);

impl Shared {
    /// The verifiers of a device, and the device if it may log in. For one that is unknown or disabled there are decoys,
    /// so that neither words nor time tell which it is.
    pub(super) async fn candidates(&self, id: &str) -> Result<(Candidates, Option<Arc<Device>>), StoreDown> {
        let decoy = Candidates { current: Verifier::decoy(&self.decoy_seed, id), previous: None };
        let known = self.device(id);
        let key = known.as_ref().map_or(DeviceKey(u32::MAX), |device| device.key);
        // Asked for unknown devices too: the look-up takes the same time.
        let credentials = self.parts.devices.credentials(key).await.map_err(StoreDown)?;
        match (known, credentials) {
            (Some(device), Some(credentials)) if device.enabled => {
                let now_us = self.parts.clock.now_us();
                let previous = credentials.previous.filter(|(_, until_us)| *until_us > now_us);
                let candidates = Candidates {
                    current: verifier(&credentials.current),
                    previous: previous.map(|(previous, _)| verifier(&previous)),
                };
                Ok((candidates, Some(device)))
            }
            (Some(device), _) => {
                tracing::info!(device = %device.id, "login refused: the device is disabled");
                Ok((decoy, None))
            }
            (None, _) => {
                tracing::info!(device = id, "login refused: there is no such device");
                Ok((decoy, None))
            }
        }
    }

    /// The device and the token's hash, if this is its bearer token.
    pub(super) async fn check_token(
        &self,
        id: &str,
        token: &str,
    ) -> Result<Option<(Arc<Device>, [u8; 32])>, StoreDown> {
        let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let known = self.device(id).filter(|device| device.enabled);
        let key = known.as_ref().map_or(DeviceKey(u32::MAX), |device| device.key);
        let credentials = self.parts.devices.credentials(key).await.map_err(StoreDown)?;
        let wanted = credentials.and_then(|c| c.token_hash);
        // Without a token there is nothing to match, but the comparison is made all the same.
        let matches: bool = given.ct_eq(&wanted.unwrap_or([0; 32])).into();
        if !(matches && wanted.is_some()) {
            tracing::info!(device = id, "login refused: unknown or disabled device, or wrong token");
            return Ok(None);
        }
        Ok(known.map(|device| (device, given)))
    }

    fn device(&self, id: &str) -> Option<Arc<Device>> {
        let id = DeviceId::parse(id).ok()?;
        self.parts.directory.read().ok()?.by_id(&id).cloned()
    }
}

#[async_trait]
impl Proofs for Shared {
    /// True if a device exists, is enabled and still has what it proved to have. Asked once its session is registered: a
    /// change after that ends the session, one before it shows here.
    async fn still_holds(&self, device: DeviceKey, proven: &Credential) -> Result<bool, StoreDown> {
        // Of many that are disabled at once none costs a look into the store.
        let enabled = self.parts.directory.read().is_ok_and(|d| d.by_key(device).is_some_and(|d| d.enabled));
        if !enabled {
            return Ok(false);
        }
        let Some(credentials) = self.parts.devices.credentials(device).await.map_err(StoreDown)? else {
            return Ok(false);
        };
        let now_us = self.parts.clock.now_us();
        let same = |stored: &DeviceVerifier, proven: &Verifier| stored.stored_key == proven.stored_key.0;
        Ok(match proven {
            Credential::Secret(proven) => {
                let previous = credentials.previous.filter(|(_, until_us)| *until_us > now_us);
                same(&credentials.current, proven) || previous.is_some_and(|(stored, _)| same(&stored, proven))
            }
            Credential::Token(hash) => credentials.token_hash == Some(*hash),
        })
    }
}

fn verifier(stored: &DeviceVerifier) -> Verifier {
    Verifier { stored_key: StoredKey(stored.stored_key), server_key: ServerKey(stored.server_key) }
}
