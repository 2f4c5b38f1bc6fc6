//! A TCP connection or a WebSocket as bytes in both directions.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Sink, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig},
};

use super::Target;

/// For the connection and, on a WebSocket, its upgrade.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A fleet has many connections and little to read on each.
const READ_BYTES: usize = 2048;

pub(crate) enum Transport {
    Tcp(TcpStream),
    WebSocket(Box<WebSocketStream<TcpStream>>),
}

impl Transport {
    pub(crate) async fn connect(target: &Target) -> io::Result<Transport> {
        let connect = async {
            match target {
                Target::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok(Transport::Tcp(stream))
                }
                Target::WebSocket { address, url } => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    let mut request = url.into_client_request().map_err(io::Error::other)?;
                    let protocol = HeaderValue::from_static("pulsewire.v1");
                    request.headers_mut().insert("sec-websocket-protocol", protocol);
                    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0);
                    let (socket, _) =
                        client_async_with_config(request, stream, Some(config)).await.map_err(io::Error::other)?;
                    Ok(Transport::WebSocket(Box::new(socket)))
                }
            }
        };
        match tokio::time::timeout(CONNECT_LIMIT, connect).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s")),
        }
    }

    /// Writes what it can from the front of `out`, and reads what is there into `input`. Resolves when either moved.
    /// Cancel-safe. The end of the connection is an error.
    pub(crate) async fn exchange(&mut self, out: &mut Vec<u8>, input: &mut Vec<u8>) -> io::Result<()> {
        poll_fn(|cx| match self {
            Transport::Tcp(stream) => poll_tcp(stream, cx, out, input),
            Transport::WebSocket(socket) => poll_websocket(socket, cx, out, input),
        })
        .await
    }

    /// Sends what is left and ends the connection, within a short time; an error no longer matters.
    pub(crate) async fn finish(mut self, mut out: Vec<u8>) {
        let finish = async {
            let mut input = Vec::new();
            while !out.is_empty() {
                self.exchange(&mut out, &mut input).await?;
                input.clear();
            }
            poll_fn(|cx| match &mut self {
                Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
                Transport::WebSocket(socket) => Pin::new(&mut **socket).poll_close(cx).map_err(io::Error::other),
            })
            .await
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), finish).await;
    }
}

fn poll_tcp(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
    input: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut moved = false;
    let mut broken = None;
    while !out.is_empty() {
        match Pin::new(&mut *stream).poll_write(cx, out) {
            Poll::Ready(Ok(0)) => broken = Some(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(written)) => {
                out.drain(..written);
                moved = true;
                continue;
            }
            Poll::Ready(Err(error)) => broken = Some(error),
            Poll::Pending => {}
        }
        break;
    }
    let mut space = [0; READ_BYTES];
    let mut buffer = ReadBuf::new(&mut space);
    let read = Pin::new(stream).poll_read(cx, &mut buffer);
    if !buffer.filled().is_empty() {
        input.extend_from_slice(buffer.filled());
        return Poll::Ready(Ok(()));
    }
    // Only now: a connection that takes nothing any more may have brought a CLOSE that says why.
    match (broken, read) {
        (Some(error), _) | (None, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
        (None, Poll::Ready(Ok(()))) => Poll::Ready(Err(ended())),
        (None, Poll::Pending) if moved => Poll::Ready(Ok(())),
        (None, Poll::Pending) => Poll::Pending,
    }
}

fn poll_websocket(
    socket: &mut WebSocketStream<TcpStream>,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
    input: &mut Vec<u8>,
) -> Poll<io::Result<()>> {
    let mut moved = false;
    let sent = poll_send(socket, cx, out, &mut moved);
    match Pin::new(socket).poll_next(cx) {
        Poll::Ready(Some(Ok(Message::Binary(bytes)))) => {
            input.extend_from_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        // Only now that nothing is left that might say why.
        _ if sent.is_err() => return Poll::Ready(sent),
        Poll::Ready(Some(Ok(Message::Close(_))) | None) => return Poll::Ready(Err(ended())),
        Poll::Ready(Some(Ok(_))) => moved = true,
        Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
        Poll::Pending => {}
    }
    if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
}

fn poll_send(
    socket: &mut WebSocketStream<TcpStream>,
    cx: &mut Context<'_>,
    out: &mut Vec<u8>,
    moved: &mut bool,
) -> io::Result<()> {
    if !out.is_empty() && Pin::new(&mut *socket).poll_ready(cx).map_err(io::Error::other)?.is_ready() {
        let frames = std::mem::take(out);
        Pin::new(&mut *socket).start_send(Message::Binary(frames.into())).map_err(io::Error::other)?;
        *moved = true;
    }
    // Flushed in any case: an earlier call may have left bytes behind.
    let _ = Pin::new(socket).poll_flush(cx).map_err(io::Error::other)?;
    Ok(())
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the connection")
}
