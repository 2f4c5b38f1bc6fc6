//! The page: a phone's screen.

use crate::answer::{Answer, Body};
use crate::state::State;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Without any news the page hears this often that the line is alive.
const KEEPALIVE: Duration = Duration::from_secs(15);
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// A file of the page.
pub fn asset(path: &str) -> Option<Answer> {
    let (kind, text) = match path {
        "/" | "/index.html" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/app.js" => ("text/javascript; charset=utf-8", include_str!("page/app.js")),
        "/style.css" => ("text/css; charset=utf-8", include_str!("page/style.css")),
        "/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    };
    Some(Answer { status: 200, headers: vec![("content-type", kind.into())], body: text.into() })
}

/// What every answer carries.
pub fn guard(mut response: Response<Body>) -> Response<Body> {
    let mut set = |name: HeaderName, value| response.headers_mut().insert(name, HeaderValue::from_static(value));
    set(CONTENT_SECURITY_POLICY, POLICY);
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(CACHE_CONTROL, "no-store");
    response
}

/// Bytes that come over a channel.
struct Events(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Events {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Server-sent events that say that something is new; the page then asks for it. A page that does not read holds one event.
pub fn stream(state: &Arc<State>) -> Response<Body> {
    let mut changed = state.watch();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let version = *changed.borrow_and_update();
            if sender.send(Bytes::from(format!("data: {version}\n\n"))).await.is_err() {
                return;
            }
            match tokio::time::timeout(KEEPALIVE, changed.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return,
            }
        }
    });
    let mut response = Response::new(StreamBody::new(Events(receiver)).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    guard(response)
}
