//! Firebase Cloud Messaging, HTTP v1.

mod account;
mod payload;
mod verdict;

pub use account::ServiceAccount;

use super::client::PushClient;
use super::reply::{Answer, unanswered};
use crate::ports::{AddressProblem, PushAddress, PushChannel};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::Full;
use pulsewire_core::push::{ChannelKind, Notification, Verdict, fcm_token};

/// See the module.
pub struct FcmChannel {
    client: PushClient,
    account: ServiceAccount,
    url: String,
    public_url: Option<String>,
}

impl FcmChannel {
    /// `url`: the service's origin; `public_url`: where people reach this server.
    pub fn new(client: PushClient, account: ServiceAccount, url: String, public_url: Option<String>) -> Self {
        Self { client, account, url, public_url }
    }

    fn request(
        &self,
        address: &PushAddress,
        notification: &Notification,
        bearer: &str,
        now_us: i64,
    ) -> Result<Request<Full<Bytes>>, String> {
        let PushAddress::Fcm { token } = address else { return Err("this is no app of Google's".into()) };
        Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v1/projects/{}/messages:send", self.url, self.account.project()))
            .header(AUTHORIZATION, format!("Bearer {bearer}"))
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(payload::json(notification, token, self.public_url.as_deref(), now_us).into()))
            .map_err(|error| format!("the endpoint cannot be addressed: {error}"))
    }
}

#[async_trait]
impl PushChannel for FcmChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Fcm
    }

    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem> {
        let problem = |field, detail: String| AddressProblem { field, detail, private: false };
        let PushAddress::Fcm { token } = address else {
            return Err(problem("kind", "this is no app of Google's".into()));
        };
        let token = fcm_token(&token).map_err(|error| problem("token", error.to_string()))?;
        Ok(PushAddress::Fcm { token })
    }

    fn provider(&self, _: &PushAddress) -> String {
        ChannelKind::Fcm.name().into()
    }

    fn public_key(&self) -> Option<String> {
        None
    }

    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict {
        let bearer = match self.account.bearer(&self.client, now_us).await {
            Ok(bearer) => bearer,
            Err(verdict) => return verdict,
        };
        let request = match self.request(address, notification, bearer.text(), now_us) {
            Ok(request) => request,
            Err(reason) => return Verdict::DropMessage { reason, status: None },
        };
        match self.client.send(request).await {
            Ok(reply) => {
                let answer = Answer::of(&reply, now_us);
                let verdict = verdict::classify(&answer);
                if answer.status == 200 {
                    bearer.was_taken();
                }
                if verdict::refuses_token(&answer) && !self.account.refuse(&bearer, now_us).await {
                    return answer.misconfigured(format!("{}, to an access token that is new", verdict.reason()));
                }
                verdict
            }
            Err(error) => unanswered("FCM", &error),
        }
    }
}
