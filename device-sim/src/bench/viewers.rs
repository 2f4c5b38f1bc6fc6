//! Dashboards: live sockets that subscribe and discard what comes, so that the server has someone to serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{SinkExt, StreamExt};
use pulsewire_proto::{
    Message, RawFrame,
    frame::{Aggregate, Heartbeat, Subscribe},
    limits,
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{self, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};

use crate::SimError;
use crate::fleet::unix_us;

/// Devices of a dashboard.
const DEVICES: usize = 10;
/// Ten times a second, which is what a page asks for.
const INTERVAL_MS: u32 = 100;
const READ_BYTES: usize = 16 * 1024;

/// Open dashboards; closed when dropped.
pub(super) struct Viewers {
    tasks: JoinSet<Result<(), String>>,
    frames: Arc<AtomicU64>,
}

impl Viewers {
    /// Opens so many and waits until each has subscribed to ten devices, all metrics.
    pub async fn open(url: &str, token: &str, count: u32, devices: &[String]) -> Result<Viewers, SimError> {
        let failed = |problem: String| SimError::Measurement { what: "live sockets".into(), problem };
        let mut viewers = Viewers { tasks: JoinSet::new(), frames: Arc::default() };
        let base = url.trim_end_matches('/');
        let address = base
            .strip_prefix("http://")
            .ok_or_else(|| failed(format!("{url} is no http:// address, and live sockets need one")))?;
        let url = format!("ws://{address}/live");
        for viewer in 0..count as usize {
            let mut request = url.as_str().into_client_request().map_err(|error| failed(error.to_string()))?;
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| failed(e.to_string()))?;
            request.headers_mut().insert("authorization", bearer);
            let config = WebSocketConfig::default().read_buffer_size(READ_BYTES).write_buffer_size(0);
            let stream = TcpStream::connect(address).await.map_err(|error| failed(error.to_string()))?;
            let connected = client_async_with_config(request, stream, Some(config)).await;
            let (mut socket, _) = connected.map_err(|error| failed(error.to_string()))?;
            let chosen = devices.iter().cycle().skip(viewer * DEVICES).take(DEVICES.min(devices.len()));
            let mut out = Vec::new();
            Message::Subscribe(Subscribe {
                subscription: 1,
                devices: chosen.cloned().collect(),
                interval_ms: INTERVAL_MS,
                aggregate: Aggregate::Last,
                ..Subscribe::default()
            })
            .encode(&mut out);
            socket.send(tungstenite::Message::binary(out)).await.map_err(|error| failed(error.to_string()))?;
            let frames = viewers.frames.clone();
            viewers.tasks.spawn(async move {
                while let Some(message) = socket.next().await {
                    let tungstenite::Message::Binary(bytes) = message.map_err(|error| error.to_string())? else {
                        continue;
                    };
                    frames.fetch_add(1, Ordering::Relaxed);
                    if let Some(answer) = answer(&bytes)? {
                        let sent = socket.send(tungstenite::Message::binary(answer)).await;
                        sent.map_err(|error| error.to_string())?;
                    }
                }
                Err("the server closed a live socket".into())
            });
        }
        Ok(viewers)
    }

    /// WebSocket messages that came so far.
    pub fn counter(&self) -> Arc<AtomicU64> {
        self.frames.clone()
    }

    /// How many have ended, which none should, and why the first did.
    pub async fn close(mut self) -> (u64, Option<String>) {
        let (mut ended, mut problem) = (0, None);
        while let Some(result) = self.tasks.try_join_next() {
            ended += 1;
            problem.get_or_insert(match result {
                Ok(Err(text)) => text,
                _ => "a viewer's task failed".into(),
            });
        }
        self.tasks.shutdown().await;
        (ended, problem)
    }
}

/// What a message asks for; an error if it says that something is wrong. Only the first frame of a message is looked at:
/// data frames follow data frames.
fn answer(bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let frame = RawFrame::split(bytes, limits::FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
    let Some((frame, _)) = frame else { return Ok(None) };
    match frame.message_type() {
        // HEARTBEAT: a viewer that does not answer is taken for gone.
        0x87 => {
            let mut out = Vec::new();
            Message::Heartbeat(Heartbeat { time_us: unix_us(), position: 0, visible: false }).encode(&mut out);
            Ok(Some(out))
        }
        0x05 | 0x8B => {
            let message = Message::decode(frame.message_type(), frame.payload()).map_err(|error| error.to_string())?;
            Err(match message {
                Some(Message::Close(close)) => format!("a live socket was closed with {}: {}", close.code, close.text),
                Some(Message::Refused(refused)) => format!("a subscription was refused: {}", refused.text),
                _ => "a live socket was refused".into(),
            })
        }
        _ => Ok(None),
    }
}
