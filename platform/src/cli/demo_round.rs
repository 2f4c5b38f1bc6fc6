//! What a demo has besides devices: a person on call with a phone, and a rule that a simulated cold room trips. Made through
//! the HTTP API, like any client would.

use crate::app;
use anyhow::Context;
use pulsewire_push_emulator::{AppKind, Emulator};
use serde_json::{Value, json};

/// What is needed for it.
pub(super) struct Round {
    /// The server's address.
    pub api: String,
    /// Of user `admin`.
    pub password: String,
    /// The device that the rule looks at.
    pub faulty: Option<String>,
}

/// Who has the phone.
const ON_CALL: &str = "oncall";

/// A cold room that holds -20 °C opens its door, defrosts and reads wrong for a single sample; it stays below -14 °C with
/// all of it but for that sample.
fn rule(device: &str) -> Value {
    json!({
        "id": "cold-room-warm",
        "name": "Cold room too warm",
        "metric": "temperature",
        "comparison": ">",
        "threshold": -10.0,
        "clear": -14.0,
        "for": "5s",
        "severity": "critical",
        "scope": { "device": device },
        "message": "The compressor has stopped. Restart it, or move the goods.",
        // The device has not reported yet.
        "allow_unknown_metric": true,
    })
}

/// Makes the person, the phone and the rule.
pub(super) async fn set_up(round: Round, emulator: &Emulator) -> anyhow::Result<()> {
    let full = || anyhow::anyhow!("the push emulator takes no more endpoints");
    let browser = emulator.subscribe("Browser of oncall").ok_or_else(full)?;
    let iphone = emulator.install(AppKind::Apns, "iPhone of oncall").ok_or_else(full)?;
    let pixel = emulator.install(AppKind::Fcm, "Pixel of oncall").ok_or_else(full)?;
    let keys = json!({ "p256dh": browser.p256dh, "auth": browser.auth });
    let mut posts = vec![
        ("/users", json!({ "name": ON_CALL, "password": app::random_password()?, "role": "operator" })),
        (
            "/push/endpoints",
            json!({ "kind": "webpush", "url": browser.endpoint, "keys": keys, "label": "Browser", "user": ON_CALL }),
        ),
        ("/push/endpoints", json!({ "kind": "apns", "token": iphone.token, "label": "iPhone", "user": ON_CALL })),
        ("/push/endpoints", json!({ "kind": "fcm", "token": pixel.token, "label": "Pixel", "user": ON_CALL })),
    ];
    posts.extend(round.faulty.as_deref().map(|device| ("/rules", rule(device))));
    tokio::task::spawn_blocking(move || send(&round, &posts)).await?
}

fn send(round: &Round, posts: &[(&str, Value)]) -> anyhow::Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let url = |path: &str| format!("{}/api/v1{path}", round.api);
    let sign_in = json!({ "user": "admin", "password": round.password });
    let session: Value =
        agent.post(url("/session")).send_json(&sign_in).context("signing in")?.body_mut().read_json()?;
    let token = format!("Bearer {}", session["token"].as_str().unwrap_or_default());
    for (path, body) in posts {
        agent
            .post(url(path))
            .header("authorization", &token)
            .send_json(body)
            .with_context(|| format!("POST {path}"))?;
    }
    agent.delete(url("/session")).header("authorization", &token).call().context("signing out")?;
    Ok(())
}
