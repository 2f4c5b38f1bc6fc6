//! The login's part of a connection: from HELLO to WELCOME. SPEC §4.1–§4.4.

use super::STOPPING;
use super::logged_in::LoggedIn;
use super::login::{Credential, StoreDown};
use super::revoke::{Proofs, REVOKED};
use super::session::{Connection, RETRY_AFTER_MS};
use pulsewire_core::ids::{Sequence, StreamId};
use pulsewire_proto::CloseCode;
use pulsewire_proto::frame::{Close, Hello, Login, StreamPosition, TwinStatus};
use pulsewire_proto::session::WelcomeParams;

impl Connection {
    pub(super) async fn authenticate(&mut self, hello: Hello) {
        match self.shared.candidates(&hello.device).await {
            Ok((candidates, device)) => {
                let mut nonce = [0; 32];
                if let Err(error) = getrandom::fill(&mut nonce) {
                    tracing::error!(%error, "the system gives no random bytes");
                    self.session.close(CloseCode::Internal, "the server cannot make a challenge now");
                    return;
                }
                self.claimed = device;
                self.candidates = Some(candidates);
                self.hello = Some(hello);
                self.session.credentials(candidates, nonce, self.shared.parts.clock.now_us());
            }
            Err(error) => self.store_down(&error),
        }
    }

    pub(super) async fn check_token(&mut self, hello: Hello) {
        let Login::Token { token } = &hello.login else { return };
        match self.shared.check_token(&hello.device, token).await {
            Ok(found) => {
                self.session.token_result(found.is_some());
                self.hello = Some(hello);
                if let Some((device, hash)) = found {
                    self.claimed = Some(device);
                    self.welcome(Credential::Token(hash)).await;
                }
            }
            Err(error) => self.store_down(&error),
        }
    }

    fn store_down(&mut self, error: &StoreDown) {
        tracing::error!(%error, "a device cannot log in");
        let text = "the server's store cannot be read now";
        let close = Close::new(CloseCode::StorageUnavailable, text).with_retry_after_ms(RETRY_AFTER_MS);
        self.session.close_with(close);
    }

    pub(super) async fn welcome(&mut self, proven: Credential) {
        let (Some(device), Some(hello)) = (self.claimed.clone(), self.hello.take()) else {
            self.session.close(CloseCode::Internal, "the login lost its device");
            return;
        };
        let login = LoggedIn::enter(self.shared.clone(), device.clone(), &hello.firmware, proven);
        match self.shared.still_holds(device.key, &proven).await {
            Ok(true) => {}
            Ok(false) => {
                self.session.close(CloseCode::Revoked, REVOKED);
                return;
            }
            Err(error) => return self.store_down(&error),
        }
        // Looked up after the older session was told to end: what it still has under way may be counted or not, and the
        // device sends what is not.
        let streams = hello.streams.iter().map(|s| StreamId(*s)).collect();
        let positions = self.shared.parts.ingest.positions(device.key, streams).await;
        let (now_us, epoch) = (self.shared.parts.clock.now_us(), login.epoch);
        tracing::debug!(device = %device.id, epoch = epoch.0, peer = %self.peer, "device logged in");
        self.login = Some(login);
        match positions {
            Ok(positions) => {
                let position = |(stream, sequence): (StreamId, Sequence)| StreamPosition {
                    stream: stream.0,
                    sequence: sequence.0,
                };
                let params = WelcomeParams {
                    session_epoch: epoch.0,
                    server_time_us: now_us,
                    streams: positions.into_iter().map(position).collect(),
                    twin: TwinStatus::None,
                };
                self.session.welcome(self.shared.now(), params);
                self.shared.parts.commands.session_began(device.key, epoch, self.outgoing.clone()).await;
                if let Some(transport) = self.transport.as_mut() {
                    transport.logged_in();
                }
            }
            Err(_) => self.session.close(CloseCode::GoingAway, STOPPING),
        }
    }
}
