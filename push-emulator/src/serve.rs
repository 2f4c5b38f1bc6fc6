//! The ports: providers over TLS, the page in plain HTTP, the mail server.

use crate::answer::{Answer, Body};
use crate::faults::{Fault, FaultKind};
use crate::state::{Received, State};
use crate::{EmulatorError, api, apns, fcm, jwt, smtp, webhook, webpush};
use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Connections at once per port; more wait.
const CONNECTIONS_MAX: usize = 1000;
/// Largest body that is read at all.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a TLS handshake and the reading of headers may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Body of the fault `huge`.
const HUGE_BYTES: usize = 1 << 20;

/// What one connection remembers, and how its end is asked for.
#[derive(Debug, Default)]
pub struct Connection {
    /// When the provider token last seen on it was made.
    pub issued_s: Mutex<Option<i64>>,
    reset: Notify,
    goaway: Notify,
}

/// A request whose body is read.
pub struct Request {
    pub head: Parts,
    pub body: Bytes,
    pub connection: Arc<Connection>,
}

/// Binds a port.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, EmulatorError> {
    TcpListener::bind(address).await.map_err(|source| EmulatorError::Listen { address, source })
}

/// The bound ports.
pub struct Listeners {
    pub providers: TcpListener,
    pub page: TcpListener,
    pub smtp: TcpListener,
}

/// The running ports.
pub struct Doors {
    stop: watch::Sender<bool>,
    tasks: [JoinHandle<()>; 3],
}

impl Doors {
    pub fn open(state: Arc<State>, tls: Arc<rustls::ServerConfig>, listeners: Listeners) -> Self {
        let (stop, stopped) = watch::channel(false);
        let acceptor = TlsAcceptor::from(tls);
        let (first, second, third, mail_tls) = (state.clone(), state.clone(), state, acceptor.clone());
        let providers = accept(listeners.providers, stopped.clone(), move |stream, stopped| {
            let (state, acceptor) = (first.clone(), acceptor.clone());
            async move {
                if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await {
                    provider_connection(state, stream, stopped).await;
                }
            }
        });
        let page = accept(listeners.page, stopped.clone(), move |stream, stopped| {
            page_connection(second.clone(), stream, stopped)
        });
        let smtp = accept(listeners.smtp, stopped, move |stream, mut stopped| {
            let connection = smtp::connection(third.clone(), mail_tls.clone(), stream);
            async move {
                tokio::select! {
                    () = connection => {}
                    _ = stopped.changed() => {}
                }
            }
        });
        Self { stop, tasks: [tokio::spawn(providers), tokio::spawn(page), tokio::spawn(smtp)] }
    }

    pub async fn close(self) {
        // The ports may have ended by themselves.
        let _ = self.stop.send(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn accept<F>(
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, watch::Receiver<bool>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Also when the emulator was dropped.
            _ = stopped.changed() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                // Without it answers only wait longer.
                let _ = stream.set_nodelay(true);
                let connection = serve(stream, stopped.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
            // Out of files, most likely: some connection will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn provider_connection<S>(state: Arc<State>, stream: S, stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(Connection::default());
    let own = connection.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (state, connection) = (state.clone(), own.clone());
        async move { Ok::<_, Infallible>(provide(&state, request, connection).await) }
    });
    run(stream, service, stopped, &connection).await;
}

async fn page_connection(state: Arc<State>, stream: TcpStream, stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let state = state.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map(|whole| whole.to_bytes());
            Ok::<_, Infallible>(api::handle(&state, &head, body.ok()).await)
        }
    });
    run(stream, service, stopped, &Connection::default()).await;
}

/// Drives a connection until it ends, or is ended by a fault or a stop.
async fn run<S, V>(stream: S, service: V, mut stopped: watch::Receiver<bool>, connection: &Connection)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: hyper::service::Service<http::Request<Incoming>, Response = Response<Body>, Error = Infallible>,
    V::Future: Send + 'static,
{
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(1000);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let mut going = false;
    loop {
        tokio::select! {
            // How a connection ends is its peer's affair.
            _ = serving.as_mut() => return,
            () = connection.reset.notified() => return,
            () = connection.goaway.notified(), if !going => {
                going = true;
                serving.as_mut().graceful_shutdown();
            }
            _ = stopped.changed() => return,
        }
    }
}

fn headers(head: &Parts) -> Vec<(String, String)> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    head.headers.iter().map(pair).collect()
}

async fn provide(state: &State, request: http::Request<Incoming>, connection: Arc<Connection>) -> Response<Body> {
    let received_us = jwt::now_us();
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Answer::status(413).response();
    };
    let request = Request { head, body: body.to_bytes(), connection };
    let path = request.head.uri.path();
    let provider = match path {
        "/token" => "fcm_token",
        _ if path.starts_with("/push/") => "webpush",
        _ if path.starts_with("/hook/") => "webhook",
        _ if path.starts_with("/3/device/") => "apns",
        _ if path.starts_with("/v1/projects/") && path.ends_with("/messages:send") => "fcm",
        _ => return Answer::status(404).response(),
    };
    if request.head.method != http::Method::POST {
        return Answer::status(405).with("allow", "POST").response();
    }
    let mut message = Received::new(provider, received_us, format!("{:?}", request.head.version));
    message.headers = headers(&request.head);
    message.path = request.head.uri.path().to_owned();
    let answer = match provider {
        "fcm_token" => fcm::token(state, &request),
        "webpush" => webpush::handle(state, &request, &mut message),
        "apns" => apns::handle(state, &request, &mut message),
        "webhook" => webhook::handle(state, &request, &mut message),
        _ => fcm::handle(state, &request, &mut message),
    };
    let fault = state.fault(provider);
    let answer = fault.as_ref().map_or(answer.clone(), |fault| faulty(provider, fault, answer));
    let is = |kind| fault.as_ref().is_some_and(|fault| fault.kind == kind);
    let (reset, stall) = (is(FaultKind::Reset), is(FaultKind::Stall));
    message.status = if reset || stall { 0 } else { answer.status };
    if provider != "fcm_token" {
        state.received(message, &request.body);
    }
    let Some(fault) = fault else { return answer.response() };
    tokio::time::sleep(Duration::from_millis(fault.delay_ms)).await;
    if stall {
        return std::future::pending().await;
    }
    if reset {
        request.connection.reset.notify_one();
        // The connection ends before anything is answered.
        return std::future::pending().await;
    }
    if fault.kind == FaultKind::Goaway {
        request.connection.goaway.notify_one();
    }
    answer.response()
}

fn faulty(provider: &str, fault: &Fault, answer: Answer) -> Answer {
    let mut answer = match fault.kind {
        FaultKind::Delay | FaultKind::Reset | FaultKind::Goaway | FaultKind::Stall => answer,
        FaultKind::Gone => match provider {
            "apns" => apns::gone(),
            "fcm" | "fcm_token" => fcm::gone(),
            _ => Answer::status(410),
        },
        FaultKind::Status => Answer::status(fault.status.unwrap_or(503)),
        FaultKind::Nonsense => Answer {
            status: fault.status.unwrap_or(200),
            headers: vec![("content-type", "text/html".into())],
            body: "<html><b>Welcome to the hotel's network!".into(),
        },
        FaultKind::Huge => Answer { body: "x".repeat(HUGE_BYTES), ..Answer::status(fault.status.unwrap_or(200)) },
    };
    if let Some(body) = &fault.body {
        answer.body = body.clone();
    }
    match &fault.retry_after {
        Some(after) => answer.with("retry-after", after.clone()),
        None => answer,
    }
}
