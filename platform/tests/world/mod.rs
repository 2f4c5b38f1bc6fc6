//! An outbox with every channel, against the push emulator: real TLS, real HTTP/2, real SMTP, a real store.

#![allow(dead_code)] // each test uses its part

use pulsewire::bus::in_process::InProcessBus;
use pulsewire::channels::{
    ApnsChannel, ApnsKey, ClientOptions, EmailChannel, EmailOptions, EmailTls, FcmChannel, PushClient, Reach,
    ServiceAccount, VapidKey, WebPushChannel, WebhookChannel,
};
use pulsewire::outbox::{ActionKey, Outbox, OutboxOptions, OutboxParts};
use pulsewire::ports::{
    Attention, Clock, Delivery, Endpoint, Message, NewEndpoint, PushAddress, PushChannel, User, UserStore,
};
use pulsewire::storage::sqlite::SqliteMeta;
use pulsewire_core::ids::{EndpointId, MessageId, UserName};
use pulsewire_core::role::Role;
use pulsewire_core::scope::DeviceScope;
use pulsewire_core::ulid::Ulid;
use pulsewire_push_emulator::{AppKind, Emulator, Options};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

pub struct Wall;

impl Clock for Wall {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_micros()).expect("before the year 290000")
    }
}

struct Nobody;

impl Attention for Nobody {
    fn last_visible_us(&self, _: &UserName) -> Option<i64> {
        None
    }
}

/// Those that answer over HTTP with words of their own.
pub const PUSH: [&str; 3] = ["webpush", "apns", "fcm"];
pub const KINDS: [&str; 5] = ["webpush", "apns", "fcm", "webhook", "email"];

pub struct World {
    pub emulator: Emulator,
    pub outbox: Outbox,
    pub folder: TempDir,
}

pub fn kim() -> UserName {
    UserName::parse("kim").expect("valid")
}

pub fn ulid(seed: u128) -> Ulid {
    Ulid::from_parts(Wall.now_us(), seed)
}

impl World {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let any = "127.0.0.1:0".parse().expect("an address");
        let options = Options { listen: any, page: any, smtp: any, dir: folder.path().join("emulator") };
        let emulator = Emulator::start(options).await.expect("the emulator starts");
        let meta = Arc::new(SqliteMeta::open(&folder.path().join("meta.db")).expect("a store"));
        let user = User { name: kim(), role: Role::Operator, scope: DeviceScope::All, created_us: 1 };
        meta.create_user(user, "hash".into()).await.expect("a user");
        let client = ClientOptions {
            extra_root_file: Some(emulator.dir().join("ca.pem")),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(2),
        };
        let options = client;
        let client = PushClient::new(&options, Reach::Anywhere).expect("a client");
        let origin = format!("https://{}", emulator.address());
        let vapid = VapidKey::load(&*meta, Some("mailto:ops@example.org".into())).await.expect("a key");
        let file = |name: &str| emulator.dir().join(name);
        let key = ApnsKey::read(&file("apns.p8"), "EMULATOR01".into(), "EMULATOR99".into()).expect("a key");
        let account = ServiceAccount::read(&file("fcm-service-account.json")).expect("an account");
        let login = Some(("emulator".to_owned(), file("smtp-password")));
        let smtp = emulator.smtp_address();
        let mail = EmailOptions { host: smtp.ip().to_string(), port: smtp.port(), tls: EmailTls::Required, login };
        let from = "Pulsewire <alerts@pulsewire.example>".parse().expect("a mailbox");
        let topic = "example.pulsewire.emulator".to_owned();
        let channels: Vec<Arc<dyn PushChannel>> = vec![
            Arc::new(WebPushChannel::new(client.clone(), vapid, true)),
            Arc::new(ApnsChannel::new(client.clone(), key, origin.clone(), topic)),
            Arc::new(FcmChannel::new(client.clone(), account, origin, None)),
            Arc::new(WebhookChannel::new(client, None, true)),
            Arc::new(EmailChannel::new(mail, &options, from, None).expect("a channel")),
        ];
        let parts = OutboxParts {
            store: meta.clone(),
            endpoints: meta.clone(),
            announcements: meta.clone(),
            channels,
            attention: Arc::new(Nobody),
            bus: Arc::new(InProcessBus::new(64)),
            clock: Arc::new(Wall),
            actions: ActionKey::load(&*meta).await.expect("a key"),
        };
        let options = OutboxOptions {
            workers: 64,
            per_origin_max: 16,
            per_origin_rate: 1000,
            bulk_queue_max: 1000,
            lease: Duration::from_secs(30),
            attempts_max: 20,
            // More than any round sends: each is looked at until it has ended.
            history_per_user: 1_000_000,
            endpoints_per_user_max: 2000,
            endpoint_idle_max: Duration::from_secs(86_400),
        };
        let (outbox, _) = Outbox::start(options, parts).await.expect("the outbox starts");
        Self { emulator, outbox, folder }
    }

    /// A new phone, or browser, of Kim's.
    pub async fn endpoint(&self, kind: &str) -> Endpoint {
        let address = match kind {
            "webpush" => {
                let made = self.emulator.subscribe("Browser").expect("room");
                PushAddress::WebPush { url: made.endpoint, p256dh: made.p256dh, auth: made.auth }
            }
            "apns" => PushAddress::Apns {
                token: self.emulator.install(AppKind::Apns, "iPhone").expect("room").token,
                topic: None,
            },
            "webhook" => {
                let made = self.emulator.hook("Hook").expect("room");
                PushAddress::Webhook { url: made.url, secret: made.secret }
            }
            "email" => PushAddress::Email { mailbox: self.emulator.mailbox("Mailbox").expect("room").mailbox },
            _ => PushAddress::Fcm { token: self.emulator.install(AppKind::Fcm, "Pixel").expect("room").token },
        };
        self.register(address).await
    }

    pub async fn register(&self, address: PushAddress) -> Endpoint {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).expect("random bytes");
        let id = EndpointId(ulid(u128::from_be_bytes(seed)));
        if !matches!(address, PushAddress::Email { .. }) {
            return self.outbox.register(id, kim(), "phone".into(), address).await.expect("registered").0;
        }
        // Without the mail that asks its owner.
        let (label, provider) = ("phone".to_owned(), "email".to_owned());
        let new = NewEndpoint { id, user: kim(), label, address, provider, now_us: 1, per_user_max: 2000 };
        self.outbox.endpoints().register(new).await.expect("registered");
        let store = rusqlite::Connection::open(self.folder.path().join("meta.db")).expect("the store");
        store.busy_timeout(Duration::from_secs(30)).expect("a connection");
        store.execute("UPDATE endpoint SET confirmed = 1 WHERE id = ?1", [id.0.to_bytes()]).expect("confirmed");
        self.outbox.endpoints().endpoint(id).await.expect("read").expect("there")
    }

    pub async fn send(&self, endpoint: &Endpoint) -> MessageId {
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).expect("random bytes");
        self.outbox.test(endpoint.id, u128::from_be_bytes(seed)).await.expect("queued").id
    }

    pub async fn message(&self, id: MessageId) -> Message {
        self.outbox.messages().message(id).await.expect("read").expect("there")
    }

    /// Waits until a message's only delivery is as wanted.
    pub async fn until(&self, id: MessageId, wanted: impl Fn(&Delivery) -> bool) -> Delivery {
        for _ in 0..1500 {
            let message = self.message(id).await;
            if wanted(&message.deliveries[0]) {
                return message.deliveries[0].clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never as wanted: {:?}", self.message(id).await);
    }

    pub async fn settled(&self, id: MessageId) -> Delivery {
        self.until(id, |delivery| !["queued", "sending"].contains(&&*delivery.state)).await
    }

    /// Waits until a message's only delivery has ended, however long its lifetime is.
    pub async fn ended(&self, id: MessageId) -> Delivery {
        loop {
            let delivery = self.message(id).await.deliveries[0].clone();
            if !["queued", "sending"].contains(&&*delivery.state) {
                return delivery;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn removed(&self, endpoint: &Endpoint) -> Option<String> {
        let found = self.outbox.endpoints().endpoint(endpoint.id).await.expect("read").expect("there");
        found.removed.map(|(_, reason)| reason)
    }

    /// Asks the emulator's page.
    pub async fn page(&self, method: &'static str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.emulator.page_url().trim_end_matches('/'));
        let ask = move || {
            let answer = match (method, body) {
                (_, Some(body)) => ureq::post(&url).send_json(body),
                ("DELETE", None) => ureq::delete(&url).call(),
                (_, None) => ureq::get(&url).call(),
            };
            let mut answer = answer.expect("the page answers");
            answer.body_mut().read_json().unwrap_or(Value::Null)
        };
        tokio::task::spawn_blocking(ask).await.expect("asked")
    }

    pub async fn fault(&self, fault: Value) {
        self.page("POST", "/api/faults", Some(fault)).await;
    }

    pub async fn arrived(&self) -> Vec<Value> {
        self.page("GET", "/api/messages", None).await["items"].as_array().expect("items").clone()
    }
}
