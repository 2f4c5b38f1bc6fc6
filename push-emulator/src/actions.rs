//! The buttons of a message: its token goes back to the server, as an app would send it.

use crate::answer::Answer;
use crate::state::State;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is passed on.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;

/// A message's token, wherever its service puts it. Beside `data` an FCM request has another, the registration token.
fn token(payload: &Value) -> Option<&str> {
    let data = if payload["data"].is_object() { &payload["data"] } else { payload };
    data["token"].as_str()
}

/// Acts for the person who got a message; answers what the server said.
pub async fn act(state: &Arc<State>, seq: u64, action: &str) -> Answer {
    let problem = |status: u16, detail: &str| Answer::json(status, &json!({ "error": detail }));
    let Some(server) = state.server() else {
        return problem(409, "the emulator was started without --server, so it knows no server to tell");
    };
    let found = state.lock().messages.iter().find(|m| m.seq == seq).map(|m| token(&m.payload).map(str::to_owned));
    let token = match found {
        Some(Some(token)) => token,
        Some(None) => return problem(409, "the message carries no token"),
        None => return problem(404, "the message is not kept any more"),
    };
    let (url, body) = (format!("{server}/api/v1/push/actions"), json!({ "token": token, "action": action }));
    match tokio::task::spawn_blocking(move || post(&url, &body)).await {
        Ok(Ok((status, said))) => Answer::json(200, &json!({ "status": status, "answer": said })),
        Ok(Err(why)) => problem(502, &format!("the server gives no answer: {why}")),
        Err(_) => problem(500, "the request failed"),
    }
}

fn post(url: &str, body: &Value) -> Result<(u16, Value), ureq::Error> {
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(PATIENCE)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let mut answer = agent.post(url).send_json(body)?;
    let said = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().unwrap_or(Value::Null);
    Ok((answer.status().as_u16(), said))
}
