//! What the emulator holds: subscriptions, apps, mailboxes, webhooks, what arrived, and faults to make. All of it bounded.

use crate::checks::Check;
use crate::faults::{Fault, Faults};
use crate::identity::{APNS_TOPIC, Identity, MAIL_DOMAIN};
use crate::jwt::now_us;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Requests kept; the oldest go first.
const MESSAGES_MAX: usize = 5000;
/// Subscriptions and apps; more are refused.
const TARGETS_MAX: usize = 2000;
/// Access tokens that are remembered; the oldest go first.
const TOKENS_MAX: usize = 100;
/// How long an access token of FCM is good.
pub const TOKEN_LIFE_S: i64 = 3600;

/// Kinds of apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppKind {
    /// Apple's.
    Apns,
    /// Google's.
    Fcm,
}

/// A browser that subscribed.
#[derive(Debug, Clone, Serialize)]
pub struct Subscription {
    /// Its id at the emulator.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Where messages are posted.
    pub endpoint: String,
    /// Its public key, base64url.
    pub p256dh: String,
    /// Its secret, base64url.
    pub auth: String,
    /// Its private key, base64url: so that others can check what was sealed for it.
    pub private: String,
}

/// An app on a phone.
#[derive(Debug, Clone, Serialize)]
pub struct NewApp {
    /// Its id at the emulator.
    pub id: String,
    /// Whose.
    pub kind: AppKind,
    /// What it is called.
    pub label: String,
    /// Its address.
    pub token: String,
    /// Of Apple's: its bundle id.
    pub topic: Option<String>,
}

/// A mailbox.
#[derive(Debug, Clone, Serialize)]
pub struct NewMailbox {
    /// Its id at the emulator.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Its address.
    pub mailbox: String,
}

/// A receiver of webhooks.
#[derive(Debug, Clone, Serialize)]
pub struct NewHook {
    /// Its id at the emulator.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Where messages are posted.
    pub url: String,
    /// What signs them.
    pub secret: String,
}

/// What a message can be sent to.
pub struct Target {
    pub id: String,
    pub label: String,
    /// When it went away, if it did.
    pub gone_us: Option<i64>,
    pub what: What,
}

pub enum What {
    Browser {
        path: String,
        secret: SecretKey,
        point: Vec<u8>,
        auth: [u8; 16],
        public_key: Option<Vec<u8>>,
        answer: Subscription,
    },
    App(NewApp),
    Mailbox(NewMailbox),
    Hook {
        path: String,
        secret: Vec<u8>,
        answer: NewHook,
    },
}

impl Target {
    fn provider(&self) -> &'static str {
        match &self.what {
            What::Browser { .. } => "webpush",
            What::App(app) if app.kind == AppKind::Apns => "apns",
            What::App(_) => "fcm",
            What::Mailbox(_) => "email",
            What::Hook { .. } => "webhook",
        }
    }

    /// What requests name it by.
    fn name(&self) -> &str {
        match &self.what {
            What::Browser { path, .. } | What::Hook { path, .. } => path,
            What::App(app) => &app.token,
            What::Mailbox(mailbox) => &mailbox.mailbox,
        }
    }
}

/// One request that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Received {
    pub seq: u64,
    pub provider: &'static str,
    /// Label of what it was sent to; empty if that is unknown.
    pub target: String,
    pub target_id: String,
    /// The sender's id of the message: the same for a repeat.
    pub id: String,
    /// `firing`, `resolved` or `test`, as the sender says.
    pub kind: String,
    pub collapse_key: String,
    pub received_us: i64,
    pub status: u16,
    /// How many requests with this id this target had before.
    pub repeat: usize,
    pub http: String,
    /// What was asked for.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub payload: Value,
    /// The body as it came, base64.
    pub raw: String,
    pub checks: Vec<Check>,
}

impl Received {
    /// A request of which nothing is known yet.
    pub fn new(provider: &'static str, received_us: i64, http: impl Into<String>) -> Self {
        Self {
            seq: 0,
            provider,
            target: String::new(),
            target_id: String::new(),
            id: String::new(),
            kind: String::new(),
            collapse_key: String::new(),
            received_us,
            status: 0,
            repeat: 0,
            http: http.into(),
            path: String::new(),
            headers: Vec::new(),
            payload: Value::Null,
            raw: String::new(),
            checks: Vec::new(),
        }
    }
}

#[derive(Default)]
pub struct Inner {
    targets: Vec<Target>,
    by_name: HashMap<String, usize>,
    pub messages: VecDeque<Received>,
    pub faults: Faults,
    /// FCM's access tokens with when they end, s since the Unix epoch.
    pub tokens: VecDeque<(String, i64)>,
    /// How often FCM's token door was asked.
    pub token_requests: u64,
    repeats: HashMap<(String, String), usize>,
    seq: u64,
}

impl Inner {
    /// Looks at the target that requests name so.
    pub fn find<T>(&self, name: &str, look: impl Fn(&Target) -> Option<T>) -> Option<T> {
        self.targets.get(*self.by_name.get(name)?).and_then(look)
    }
}

/// See the module.
pub struct State {
    pub identity: Identity,
    /// Where the page is.
    pub page: SocketAddr,
    /// Origin of the server whose messages can be acted upon.
    server: Mutex<Option<String>>,
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

/// Random bytes as hex; None if the system gives none.
fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).ok().map(|()| bytes)
}

impl State {
    pub fn new(identity: Identity, page: SocketAddr) -> Self {
        Self { identity, page, server: Mutex::default(), inner: Mutex::default(), changed: watch::channel(0).0 }
    }

    /// The content. Nothing that can panic or wait is done while it is held.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn server(&self) -> Option<String> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_server(&self, origin: &str) {
        let origin = origin.trim_end_matches('/').to_owned();
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin);
        self.touch();
    }

    /// Changes whenever something does.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub fn touch(&self) {
        self.changed.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// Makes a browser's subscription. `public_key`: the sender's, if only that one may send.
    pub fn subscribe(&self, label: &str, public_key: Option<Vec<u8>>) -> Option<Subscription> {
        let secret =
            std::iter::repeat_with(random::<32>).take(4).flatten().find_map(|b| SecretKey::from_slice(&b).ok())?;
        let (auth, path, id) = (random::<16>()?, hex::encode(random::<16>()?), hex::encode(random::<8>()?));
        let point = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        let answer = Subscription {
            id: id.clone(),
            label: label.to_owned(),
            endpoint: format!("{}/push/{path}", self.identity.origin()),
            p256dh: URL_SAFE_NO_PAD.encode(&point),
            auth: URL_SAFE_NO_PAD.encode(auth),
            private: URL_SAFE_NO_PAD.encode(secret.to_bytes()),
        };
        let what = What::Browser { path, secret, point, auth, public_key, answer: answer.clone() };
        self.add(Target { id, label: label.to_owned(), gone_us: None, what })?;
        Some(answer)
    }

    /// Installs an app.
    pub fn install(&self, kind: AppKind, label: &str) -> Option<NewApp> {
        let (id, random) = (hex::encode(random::<8>()?), random::<32>()?);
        let (token, topic) = match kind {
            AppKind::Apns => (hex::encode(random), Some(APNS_TOPIC.to_owned())),
            AppKind::Fcm => (format!("{}:{}", &id[..8], URL_SAFE_NO_PAD.encode(random)), None),
        };
        let app = NewApp { id: id.clone(), kind, label: label.to_owned(), token, topic };
        self.add(Target { id, label: label.to_owned(), gone_us: None, what: What::App(app.clone()) })?;
        Some(app)
    }

    fn add(&self, target: Target) -> Option<()> {
        let mut inner = self.lock();
        if inner.targets.len() >= TARGETS_MAX {
            return None;
        }
        let (name, at) = (target.name().to_owned(), inner.targets.len());
        inner.by_name.insert(name, at);
        inner.targets.push(target);
        drop(inner);
        self.touch();
        Some(())
    }

    /// Makes a subscription or an app go away: from now on the provider says that it is gone.
    pub fn remove(&self, id: &str) -> bool {
        let mut inner = self.lock();
        let Some(target) = inner.targets.iter_mut().find(|target| target.id == id) else { return false };
        target.gone_us.get_or_insert(now_us());
        drop(inner);
        self.touch();
        true
    }

    /// Makes a mailbox.
    pub fn mailbox(&self, label: &str) -> Option<NewMailbox> {
        let id = hex::encode(random::<8>()?);
        let mailbox = NewMailbox { id: id.clone(), label: label.to_owned(), mailbox: format!("{id}@{MAIL_DOMAIN}") };
        self.add(Target { id, label: label.to_owned(), gone_us: None, what: What::Mailbox(mailbox.clone()) })?;
        Some(mailbox)
    }

    /// Makes a receiver of webhooks.
    pub fn hook(&self, label: &str) -> Option<NewHook> {
        let (id, path, secret) = (hex::encode(random::<8>()?), hex::encode(random::<16>()?), random::<32>()?.to_vec());
        let answer = NewHook {
            id: id.clone(),
            label: label.to_owned(),
            url: format!("{}/hook/{path}", self.identity.origin()),
            secret: format!("whsec_{}", STANDARD.encode(&secret)),
        };
        let what = What::Hook { path, secret, answer: answer.clone() };
        self.add(Target { id, label: label.to_owned(), gone_us: None, what })?;
        Some(answer)
    }

    /// The fault for a request, if one is planned and hits it.
    pub fn fault(&self, provider: &str) -> Option<Fault> {
        // Without random bytes only what always hits does.
        let chance = || random::<4>().map_or(1.0, |bytes| f64::from(u32::from_le_bytes(bytes)) / 4_294_967_296.0);
        self.lock().faults.hit(provider, chance)
    }

    /// Gives an access token.
    pub fn grant(&self) -> Option<String> {
        let token = format!("emulator.{}", hex::encode(random::<24>()?));
        let mut inner = self.lock();
        if inner.tokens.len() >= TOKENS_MAX {
            inner.tokens.pop_front();
        }
        inner.tokens.push_back((token.clone(), crate::jwt::now_s() + TOKEN_LIFE_S));
        Some(token)
    }

    /// Notes a request that arrived.
    pub fn received(&self, mut message: Received, body: &[u8]) {
        message.raw = STANDARD.encode(body);
        let mut inner = self.lock();
        inner.seq += 1;
        message.seq = inner.seq;
        if !message.id.is_empty() {
            // As many as messages are kept, and then counted anew.
            if inner.repeats.len() > MESSAGES_MAX * 4 {
                inner.repeats.clear();
            }
            let before = inner.repeats.entry((message.target_id.clone(), message.id.clone())).or_default();
            message.repeat = *before;
            *before += 1;
        }
        if inner.messages.len() >= MESSAGES_MAX {
            inner.messages.pop_front();
        }
        inner.messages.push_back(message);
        drop(inner);
        self.touch();
    }

    /// How many requests arrived since the start, and when the oldest and the newest did that are kept.
    pub fn count(&self) -> Value {
        let inner = self.lock();
        let at = |message: Option<&Received>| message.map(|message| message.received_us);
        serde_json::json!({
            "received": inner.seq, "first_us": at(inner.messages.front()), "last_us": at(inner.messages.back()),
        })
    }

    /// Everything but the messages, for the page.
    pub fn targets(&self) -> Value {
        let inner = self.lock();
        let target = |target: &Target| {
            let mut value = serde_json::json!({
                "id": target.id, "label": target.label, "provider": target.provider(), "gone": target.gone_us.is_some(),
            });
            match &target.what {
                What::Browser { answer, .. } => value["subscription"] = serde_json::json!(answer),
                What::App(app) => value["app"] = serde_json::json!(app),
                What::Mailbox(mailbox) => value["mailbox"] = serde_json::json!(mailbox),
                What::Hook { answer, .. } => value["webhook"] = serde_json::json!(answer),
            }
            value
        };
        serde_json::json!({
            "origin": self.identity.origin(),
            "targets": inner.targets.iter().map(target).collect::<Vec<_>>(),
            "faults": inner.faults.waiting(),
            "server": self.server().is_some(),
            "token_requests": inner.token_requests,
        })
    }
}
