//! One port, every transport: the first bytes decide. SPEC §1.1.

use crate::telemetry::names;
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use pulsewire_proto::session::Closed;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WebSocketCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

/// Read and write buffers of a WebSocket; the library's own default is 131 KB per connection.
const WEBSOCKET_BUFFER_BYTES: usize = 4 << 10;
/// Most bytes waiting to be written on a WebSocket before a send fails.
const WEBSOCKET_WRITE_BYTES_MAX: usize = 4 << 20;
/// Most bytes read from a connection before its device has logged in, whatever the transport: the WebSocket library
/// gathers a whole message before the session's own limit of 4 KiB per frame can see it.
const LOGIN_BYTES_MAX: usize = 64 << 10;
/// Largest read from a raw connection at a time.
const READ_BYTES: usize = 64 << 10;
/// After a CLOSE, how long and how much is read and thrown away, so that the kernel does not reset the connection before
/// the peer has read why.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 4 << 20;

/// The subprotocol of SPEC §1.1.
const SUBPROTOCOL: &str = "pulsewire.v1";

/// Any byte stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A stream whose first bytes were read already, and which reads only so much until the device has logged in.
pub struct Prefixed {
    prefix: Bytes,
    inner: Box<dyn Io>,
    // Bytes that may still be read; None = no limit any more.
    allowance: Option<usize>,
}

impl Prefixed {
    /// Gives `prefix` back to the reader before anything else.
    pub fn new(prefix: Bytes, inner: Box<dyn Io>) -> Self {
        Self { prefix, inner, allowance: Some(LOGIN_BYTES_MAX) }
    }

    /// Without the limit, for what TLS reads: the limit then holds for what it decrypts.
    pub fn unlimited(mut self) -> Self {
        self.allowance = None;
        self
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            let Some(left) = self.allowance else { return Pin::new(&mut self.inner).poll_read(cx, buf) };
            if left == 0 {
                let text = format!("more than {LOGIN_BYTES_MAX} bytes before login");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, text)));
            }
            let before = buf.filled().len();
            std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
            self.allowance = Some(left.saturating_sub(buf.filled().len() - before));
            return Poll::Ready(Ok(()));
        }
        let n = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix.split_to(n));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// `AB CD`.
    Raw,
    /// `GET `.
    WebSocket,
    /// `16 03`.
    Tls,
    /// `PROXY `.
    Proxy,
    /// None of them.
    Unknown,
}

/// Decides, or asks for more bytes.
pub fn opening(bytes: &[u8]) -> Option<Opening> {
    let known: [(&[u8], Opening); 4] = [
        (b"\xAB\xCD", Opening::Raw),
        (b"GET ", Opening::WebSocket),
        (b"\x16\x03", Opening::Tls),
        (b"PROXY ", Opening::Proxy),
    ];
    let shared = |mark: &[u8]| bytes.iter().zip(mark).take_while(|(a, b)| a == b).count();
    for (mark, meaning) in known {
        if shared(mark) == mark.len() {
            return Some(meaning);
        }
    }
    let open = known.iter().any(|(mark, _)| shared(mark) == bytes.len());
    (!open).then_some(Opening::Unknown)
}

/// What became of waiting for the first bytes.
pub enum Sniffed {
    /// They decided.
    Decided(Opening, Prefixed),
    /// They did not come in time.
    Late(Prefixed),
    /// The peer left.
    Gone,
}

/// Reads until the first bytes decide, or the time is over.
pub async fn sniff(mut stream: Box<dyn Io>, deadline: tokio::time::Instant) -> Sniffed {
    let mut first = BytesMut::with_capacity(64);
    loop {
        if let Some(opening) = opening(&first) {
            return Sniffed::Decided(opening, Prefixed::new(first.freeze(), stream));
        }
        match tokio::time::timeout_at(deadline, stream.read_buf(&mut first)).await {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Sniffed::Gone,
            Err(_) => return Sniffed::Late(Prefixed::new(first.freeze(), stream)),
        }
    }
}

/// What arrived.
pub enum Received {
    /// Bytes; on a WebSocket these are a whole message.
    Bytes(Bytes),
    /// A text message.
    Text,
    /// A message above the limit.
    TooLarge(String),
    /// The peer is gone.
    End,
}

/// A connection whose transport is known.
pub enum Transport {
    /// Frames directly.
    Raw(Prefixed),
    /// Frames in binary messages.
    WebSocket(Box<WebSocketStream<Prefixed>>),
}

impl Transport {
    /// Answers a WebSocket upgrade on `/device`; other paths, and any `Origin`, are refused. `message_bytes_max` holds for
    /// logged-in devices; before that [`LOGIN_BYTES_MAX`] does.
    ///
    /// # Errors
    /// What went wrong, after the peer was told.
    pub async fn upgrade(stream: Prefixed, message_bytes_max: usize) -> Result<Self, WebSocketError> {
        let config = WebSocketConfig::default()
            .read_buffer_size(WEBSOCKET_BUFFER_BYTES)
            .write_buffer_size(WEBSOCKET_BUFFER_BYTES)
            .max_write_buffer_size(WEBSOCKET_WRITE_BYTES_MAX)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, check_upgrade, Some(config)).await?;
        Ok(Self::WebSocket(Box::new(socket)))
    }

    /// True for a WebSocket, whose messages hold whole frames.
    pub fn has_messages(&self) -> bool {
        matches!(self, Self::WebSocket(_))
    }

    /// The device has logged in: from now on only the session's limits hold.
    pub fn logged_in(&mut self) {
        match self {
            Self::Raw(stream) => stream.allowance = None,
            Self::WebSocket(socket) => socket.get_mut().allowance = None,
        }
    }

    /// Waits for something. Cancel safe.
    pub async fn receive(&mut self) -> Received {
        match self {
            Self::Raw(stream) => match read_some(stream).await {
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Received::TooLarge(error.to_string()),
                Ok(bytes) if !bytes.is_empty() => Received::Bytes(bytes),
                Ok(_) | Err(_) => Received::End,
            },
            Self::WebSocket(socket) => loop {
                return match socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => Received::Bytes(bytes),
                    Some(Ok(Message::Text(_))) => Received::Text,
                    // The library answers pings.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Err(WebSocketError::Io(error))) if error.kind() == io::ErrorKind::FileTooLarge => {
                        Received::TooLarge(error.to_string())
                    }
                    Some(Err(WebSocketError::Capacity(error))) => Received::TooLarge(error.to_string()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Received::End,
                };
            },
        }
    }

    /// Sends frames.
    ///
    /// # Errors
    /// If the peer is gone.
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<(), ()> {
        match self {
            Self::Raw(stream) => {
                stream.write_all(&bytes).await.map_err(drop)?;
                stream.flush().await.map_err(drop)
            }
            Self::WebSocket(socket) => socket.send(Message::Binary(bytes.into())).await.map_err(drop),
        }
    }

    /// Ends the connection after the last frame: tells the WebSocket's peer the same code, then reads on for a moment so
    /// that the peer gets to see it.
    pub async fn finish(mut self, closed: &Closed) {
        // Whatever fails here, the connection ends.
        let end = async {
            match &mut self {
                Self::Raw(stream) => {
                    let _ = stream.shutdown().await;
                    discard(stream).await;
                }
                Self::WebSocket(socket) => {
                    let reason = truncate(&closed.text, 123).to_owned();
                    let code = WebSocketCode::from(closed.code);
                    let _ = WebSocketStream::close(socket, Some(CloseFrame { code, reason: reason.into() })).await;
                    let mut seen = 0;
                    while let Some(Ok(message)) = socket.next().await {
                        seen += message.len();
                        if seen > LINGER_BYTES {
                            break;
                        }
                    }
                }
            }
        };
        let _ = tokio::time::timeout(LINGER_TIME, end).await;
    }
}

thread_local! {
    /// Where raw connections read into: shared by all of a thread, so that an idle connection holds no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// What is there to read, or nothing at the end. Cancel safe.
async fn read_some(stream: &mut Prefixed) -> io::Result<Bytes> {
    std::future::poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            std::task::ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            Poll::Ready(Ok(Bytes::copy_from_slice(buffer.filled())))
        })
    })
    .await
}

/// Answers a WebSocket upgrade for which there is no room: whoever asks over HTTP cannot read a CLOSE frame.
pub async fn refuse_upgrade(mut stream: Prefixed, text: &str, retry_after_s: u32) {
    let length = text.len() + 1;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {retry_after_s}\r\nContent-Type: text/plain\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{text}\n"
    );
    let end = async {
        // Whatever fails here, the connection ends.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        discard(&mut stream).await;
    };
    let _ = tokio::time::timeout(LINGER_TIME, end).await;
}

/// Reads a connection to its end, up to the linger limit.
async fn discard(stream: &mut Prefixed) {
    let mut buffer = vec![0; READ_BYTES];
    let mut seen = 0;
    while let Ok(n) = stream.read(&mut buffer).await {
        seen += n;
        if n == 0 || seen > LINGER_BYTES {
            break;
        }
    }
}

/// A WebSocket close reason has at most 123 bytes.
fn truncate(text: &str, bytes_max: usize) -> &str {
    pulsewire_proto::frame::clip_text(text, bytes_max)
}

#[allow(clippy::result_large_err)] // the library's signature
fn check_upgrade(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode, text: &str| {
        metrics::counter!(names::UPGRADES_REFUSED).increment(1);
        let mut refusal = ErrorResponse::new(Some(format!("{text}\n")));
        *refusal.status_mut() = status;
        Err(refusal)
    };
    if request.uri().path() != "/device" {
        return refuse(StatusCode::NOT_FOUND, "devices connect to /device; the dashboard is on the HTTP port");
    }
    if request.headers().contains_key("origin") {
        return refuse(StatusCode::FORBIDDEN, "browsers are not devices: /device takes no Origin header");
    }
    let offered = request.headers().get_all("sec-websocket-protocol");
    let names = offered.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(','));
    let mut any = false;
    for name in names {
        any = true;
        if name.trim() == SUBPROTOCOL {
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
            return Ok(response);
        }
    }
    if any { refuse(StatusCode::BAD_REQUEST, "the subprotocol here is pulsewire.v1") } else { Ok(response) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_as_soon_as_they_can() {
        for (bytes, expected) in [
            (&b"\xAB\xCD\x01"[..], Some(Opening::Raw)),
            (b"GET /device", Some(Opening::WebSocket)),
            (b"\x16\x03\x01", Some(Opening::Tls)),
            (b"PROXY TCP4", Some(Opening::Proxy)),
            (b"\xAB", None),
            (b"GE", None),
            (b"", None),
            (b"\xAB\xCE", Some(Opening::Unknown)),
            (b"POST /", Some(Opening::Unknown)),
        ] {
            assert_eq!(opening(bytes), expected, "{bytes:?}");
        }
    }
}
