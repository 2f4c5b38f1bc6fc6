//! The service account: an assertion signed with its key (RFC 7523) is exchanged for an access token, which all messages
//! share until it is nearly over.

use crate::channels::ChannelError;
use crate::channels::client::PushClient;
use crate::channels::jwt;
use crate::channels::reply::{Answer, unanswered};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::Full;
use pulsewire_core::push::Verdict;
use ring::signature::RsaKeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// An assertion is good for this long; Google allows an hour.
const ASSERTION_S: i64 = 3600;
/// A token is renewed this long before its end.
const EARLY_US: i64 = 5 * 60_000_000;
/// After a refusal nobody asks again for this long, so that a queue of messages does not become a queue of refusals.
const PAUSE_US: i64 = 5_000_000;
/// FCM may refuse each new token, for instance since the account lost its rights: for that reason no more than one is thrown
/// away within this time, and none that is newer and was never taken.
const RENEWAL_US: i64 = 60_000_000;

/// The parts of the JSON file that are used; it has more.
#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    project_id: String,
    private_key_id: Option<String>,
    private_key: String,
    client_email: String,
    token_uri: String,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: i64,
}

/// An access token.
pub(super) struct Token {
    text: String,
    fetched_us: i64,
    renew_us: i64,
    taken: AtomicBool,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// FCM took a message with it.
    pub(super) fn was_taken(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Current {
    token: Option<Arc<Token>>,
    failed: Option<(Verdict, i64)>,
    /// When a token was last thrown away because FCM refused it.
    refused_us: Option<i64>,
}

impl Current {
    /// True if the next message gets another token than this one.
    fn refuse(&mut self, token: &Arc<Token>, now_us: i64) -> bool {
        if !self.token.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            // It was refused to another message before.
            return true;
        }
        // The clock may have been set back, and messages begin in another order than they end.
        let lately = |at_us: i64| now_us.abs_diff(at_us) < RENEWAL_US.unsigned_abs();
        let is_new = lately(token.fetched_us) && !token.taken.load(Ordering::Relaxed);
        if is_new || self.refused_us.is_some_and(lately) {
            return false;
        }
        (self.token, self.refused_us) = (None, Some(now_us));
        true
    }
}

/// See the module.
pub struct ServiceAccount {
    project: String,
    key: RsaKeyPair,
    key_id: Option<String>,
    email: String,
    token_uri: String,
    // Held while a token is fetched: one asks, the others wait for what it gets.
    current: Mutex<Current>,
}

impl ServiceAccount {
    /// Reads the file from Firebase's console.
    ///
    /// # Errors
    /// If it cannot be read or is not one.
    pub fn read(file: &Path) -> Result<Self, ChannelError> {
        let wrong = |problem: String| ChannelError::new("push.fcm_service_account_file", problem);
        let name = file.display();
        let text = std::fs::read(file).map_err(|error| wrong(format!("{name} cannot be read: {error}")))?;
        Self::from_json(&text).map_err(|problem| wrong(format!("{name} {problem}")))
    }

    fn from_json(text: &[u8]) -> Result<Self, String> {
        // serde's words can repeat a value, so only the kind of mistake is passed on.
        let file: File = serde_json::from_slice(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                "lacks one of type, project_id, private_key, client_email, token_uri, or one is not a text".to_owned()
            }
            _ => format!("is not JSON (line {}, column {})", error.line(), error.column()),
        })?;
        if file.kind != "service_account" {
            return Err("is not of type service_account".into());
        }
        let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b));
        if !plain(&file.project_id) {
            return Err("has a project_id that is not one".into());
        }
        if !file.token_uri.starts_with("https://") || file.token_uri.parse::<http::Uri>().is_err() {
            return Err("has a token_uri that is not an https address".into());
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| "has a private_key that is not a PKCS#8 key in PEM".to_owned())?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|error| format!("has a private_key that is no RSA key of 2048 bits or more: {error}"))?;
        Ok(Self {
            project: file.project_id,
            key,
            key_id: file.private_key_id,
            email: file.client_email,
            token_uri: file.token_uri,
            current: Mutex::default(),
        })
    }

    /// The Firebase project.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// The access token to send with; a verdict on the message if there is none.
    pub(super) async fn bearer(&self, client: &PushClient, now_us: i64) -> Result<Arc<Token>, Verdict> {
        let mut current = self.current.lock().await;
        if let Some(token) = &current.token
            && now_us < token.renew_us
        {
            return Ok(Arc::clone(token));
        }
        if let Some((verdict, until_us)) = &current.failed
            && (until_us - PAUSE_US..*until_us).contains(&now_us)
        {
            return Err(verdict.clone());
        }
        match self.fetch(client, now_us).await {
            Ok(granted) => {
                let life_us = granted.expires_in.clamp(0, 86_400) * 1_000_000;
                // A token of a short life is used for half of it.
                let renew_us = now_us + (life_us - EARLY_US).max(life_us / 2);
                let token =
                    Token { text: granted.access_token, fetched_us: now_us, renew_us, taken: AtomicBool::new(false) };
                let token = Arc::new(token);
                (current.token, current.failed) = (Some(Arc::clone(&token)), None);
                Ok(token)
            }
            Err(verdict) => {
                (current.token, current.failed) = (None, Some((verdict.clone(), now_us + PAUSE_US)));
                Err(verdict)
            }
        }
    }

    /// FCM did not take this token. True if the next message gets another; false if the token is so new, or the one before
    /// was refused so lately, that another would hardly be better ([`RENEWAL_US`]).
    pub(super) async fn refuse(&self, token: &Arc<Token>, now_us: i64) -> bool {
        self.current.lock().await.refuse(token, now_us)
    }

    fn request(&self, now_us: i64) -> Result<Request<Full<Bytes>>, String> {
        let mut header = json!({ "alg": "RS256", "typ": "JWT" });
        if let Some(id) = &self.key_id {
            header["kid"] = id.as_str().into();
        }
        let now_s = now_us / 1_000_000;
        let claims = json!({
            "iss": self.email, "scope": SCOPE, "aud": self.token_uri, "iat": now_s, "exp": now_s + ASSERTION_S,
        });
        let assertion = jwt::sign_rs256(&self.key, &header, &claims).map_err(|_| "FCM's assertion cannot be signed")?;
        // Neither part needs escapes: base64url and points.
        let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        Request::builder()
            .method(Method::POST)
            .uri(&self.token_uri)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(form.into()))
            .map_err(|error| format!("FCM's token address cannot be used: {error}"))
    }

    async fn fetch(&self, client: &PushClient, now_us: i64) -> Result<Granted, Verdict> {
        const WHO: &str = "FCM's token service";
        let request = self.request(now_us).map_err(|reason| Verdict::Misconfigured { reason, status: None })?;
        // Nothing was sent to a phone yet, so nothing is unclear.
        let reply = client.send(request).await.map_err(|error| match unanswered(WHO, &error) {
            Verdict::Retry { reason, .. } => Verdict::ProviderDown { after_us: None, reason, status: None },
            other => other,
        })?;
        let answer = Answer::of(&reply, now_us);
        // Its words could repeat the assertion.
        let reason = format!("{WHO} answered {}", answer.status);
        match answer.status {
            200 => {
                let granted = answer.body.and_then(|body| serde_json::from_slice::<Granted>(body).ok());
                let usable =
                    |g: &Granted| !g.access_token.is_empty() && g.access_token.bytes().all(|b| b.is_ascii_graphic());
                granted.filter(usable).ok_or_else(|| answer.down(format!("{reason} with something that is no token")))
            }
            400 | 401 | 403 => {
                let error = answer.json().and_then(|json| Some(json.get("error")?.as_str()?.to_owned()));
                let error = error.filter(|e| e.len() <= 40 && e.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
                Err(answer.misconfigured(error.map_or(reason.clone(), |error| format!("{reason}: {error}"))))
            }
            _ => Err(answer.down(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(fetched_us: i64, refused_us: Option<i64>, taken: bool) -> (Current, Arc<Token>) {
        let taken = AtomicBool::new(taken);
        let token = Arc::new(Token { text: "t".into(), fetched_us, renew_us: i64::MAX, taken });
        (Current { token: Some(Arc::clone(&token)), failed: None, refused_us }, token)
    }

    #[test]
    fn a_refused_token_is_renewed_if_it_was_good_or_is_old_and_once_a_minute() {
        let now_us = 1_800_000_000_000_000;
        for (age_s, refused_s, taken, renewed) in [
            (0, None, false, false),
            (59, None, false, false),
            // This message began before the token came.
            (-5, None, false, false),
            (60, None, false, true),
            (3000, None, true, true),
            // It was good, and then a key was changed.
            (5, None, true, true),
            (5, Some(5), true, false),
            (59, Some(59), false, false),
            (60, Some(60), false, true),
            // A clock that was set back by an hour.
            (-3600, Some(-3600), false, true),
        ] {
            let us = |s: i64| now_us - s * 1_000_000;
            let (mut held, token) = current(us(age_s), refused_s.map(us), taken);
            assert_eq!(held.refuse(&token, now_us), renewed, "{age_s} {refused_s:?} {taken}");
            assert_eq!(held.token.is_none(), renewed);
            if renewed {
                assert_eq!(held.refused_us, Some(now_us));
            }
        }
    }

    #[test]
    fn many_messages_with_one_refused_token_throw_no_newer_one_away() {
        let (mut held, token) = current(0, None, true);
        assert!(held.refuse(&token, 70_000_000));
        let (_, newer) = current(70_000_000, None, false);
        held.token = Some(Arc::clone(&newer));
        assert!(held.refuse(&token, 70_000_000));
        assert!(held.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, &newer)));
    }

    #[test]
    fn a_file_that_is_no_account_says_what_it_lacks_and_never_what_it_holds() {
        let account = |key: &str, uri: &str| {
            json!({ "type": "service_account", "project_id": "p", "private_key": key, "client_email": "e@x",
                    "token_uri": uri })
            .to_string()
        };
        for (text, words) in [
            ("{", "not JSON"),
            (r#"{"type":"service_account"}"#, "lacks one of"),
            (r#"{"type":7}"#, "lacks one of"),
            (&account("secret", "https://x/token"), "private_key that is not"),
            (&account("secret", "http://x/token"), "token_uri"),
        ] {
            let problem = ServiceAccount::from_json(text.as_bytes()).err().expect("refused");
            assert!(problem.contains(words) && !problem.contains("secret"), "{problem}");
        }
    }
}
