//! The one HTTP client of all channels: HTTP/2 where the provider has it, rustls, no redirects, bounded answers.

use super::ChannelError;
use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pulsewire_core::push::is_public;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Largest answer that is read; what is longer is nonsense.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Largest list of headers of an answer.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Idle connections are kept for this long, and so many per provider.
const IDLE: Duration = Duration::from_secs(90);
const IDLE_MAX: usize = 4;
/// Addresses of a host that are tried, and the head start that each has over the next (RFC 8305).
const ADDRESSES_MAX: usize = 8;
const HEAD_START: Duration = Duration::from_millis(250);
/// A connection that does not answer a ping of HTTP/2 for this long is given up.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A request that was refused unread is sent again so often, after this time and then twice of it: another stream, or the next
/// connection, takes it.
const REFUSED_REPEATS: u32 = 2;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Addresses of the public internet only: what users name.
    Public,
    /// All: what the configuration names.
    Anywhere,
}

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Further certificate authorities, PEM.
    pub extra_root_file: Option<PathBuf>,
    /// For the TCP and TLS connection.
    pub connect_timeout: Duration,
    /// For the whole answer, the connection included.
    pub request_timeout: Duration,
}

/// A whole answer.
#[derive(Debug)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body; None if it was too large or cut off.
    pub body: Option<Bytes>,
}

/// Why there is no answer, one variant per reaction.
#[derive(Debug, thiserror::Error)]
pub enum NoReply {
    /// The host is at an address that must not be connected to.
    #[error("the endpoint's host is at a private, local or reserved address")]
    Private,
    /// There is no connection; the request was not sent.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The provider refused the request before it looked at it, or closed the connection before it got it: it was not taken.
    #[error("the request was refused unread: {0}")]
    Refused(String),
    /// The connection ended; the request may have been taken.
    #[error("the connection ended before the answer: {0}")]
    Interrupted(String),
    /// No answer in time; the request may have been taken.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

#[derive(Debug, thiserror::Error)]
#[error("private address")]
struct PrivateAddress;

/// Connects to addresses that the reach allows; they are judged after the name is looked up, at every connection, so that
/// a name which changes its mind leads nowhere.
#[derive(Clone)]
struct Connector {
    reach: Reach,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    async fn connect(self, uri: Uri) -> Result<TokioIo<TcpStream>, BoxError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(443);
        let found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => tokio::net::lookup_host((host, port)).await?.collect(),
        };
        let total = found.len();
        let allowed = found.into_iter().filter(|a| self.reach == Reach::Anywhere || is_public(a.ip()));
        let allowed: Vec<_> = allowed.collect();
        if allowed.is_empty() {
            return Err(if total == 0 { "the host has no address".into() } else { PrivateAddress.into() });
        }
        let stream = race(in_turns(allowed)).await?;
        stream.set_nodelay(true)?;
        Ok(TokioIo::new(stream))
    }
}

/// IPv6 and IPv4 in turns, the resolver's first choice first: one of the two may lead nowhere.
fn in_turns(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (some, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first);
    let mut turns = Vec::new();
    for n in 0..some.len().max(others.len()) {
        turns.extend(some.get(n));
        turns.extend(others.get(n));
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

/// The first connection that any of these takes.
async fn race(addresses: Vec<SocketAddr>) -> Result<TcpStream, BoxError> {
    let (mut waiting, mut attempts) = (addresses.into_iter(), JoinSet::new());
    let mut last: BoxError = "the host has no address".into();
    loop {
        if let Some(address) = waiting.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let head_start = tokio::time::sleep(HEAD_START);
        tokio::select! {
            ended = attempts.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error.into(),
                Some(Err(error)) => last = error.into(),
                None => return Err(last),
            },
            () = head_start, if waiting.len() > 0 => {}
        }
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// Bounds name, TCP and TLS together: until then nothing of the request was sent.
#[derive(Clone)]
struct Timed {
    inner: HttpsConnector<Connector>,
    timeout: Duration,
}

impl tower_service::Service<Uri> for Timed {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, timeout) = (self.inner.call(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(format!("not connected within {timeout:?}").into()),
            }
        })
    }
}

/// See the module. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct PushClient {
    client: Client<Timed, Full<Bytes>>,
    request_timeout: Duration,
}

impl PushClient {
    /// Makes a client. Nothing is connected yet.
    ///
    /// # Errors
    /// If the file of further authorities cannot be used.
    pub fn new(options: &ClientOptions, reach: Reach) -> Result<Self, ChannelError> {
        let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        if let Some(path) = &options.extra_root_file {
            let wrong = |problem: String| ChannelError::new("push.extra_root_file", problem);
            let file = path.display();
            let pem = std::fs::read(path).map_err(|error| wrong(format!("{file} cannot be read: {error}")))?;
            let mut count = 0;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| wrong(format!("{file} is not PEM: {error:?}")))?;
                let added = roots.add(certificate);
                added.map_err(|error| wrong(format!("{file} has a certificate that cannot be used: {error}")))?;
                count += 1;
            }
            if count == 0 {
                return Err(wrong(format!("{file} has no certificate")));
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ChannelError::new("push", format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_all_versions();
        let inner = https.wrap_connector(Connector { reach });
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .http2_max_header_list_size(HEADER_BYTES_MAX)
            .build(Timed { inner, timeout: options.connect_timeout });
        Ok(Self { client, request_timeout: options.request_timeout })
    }

    /// Sends a request and reads the answer. Redirects are answers like any other. What is refused unread is sent again some
    /// times.
    ///
    /// # Errors
    /// [`NoReply`].
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        match tokio::time::timeout(self.request_timeout, self.exchange(request)).await {
            Ok(reply) => reply,
            Err(_) => Err(NoReply::TimedOut(self.request_timeout)),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        for repeat in 0..REFUSED_REPEATS {
            match self.exchange_once(request.clone()).await {
                Err(NoReply::Refused(_)) => tokio::time::sleep(REFUSED_PAUSE * 2_u32.pow(repeat)).await,
                reply => return reply,
            }
        }
        self.exchange_once(request).await
    }

    async fn exchange_once(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let response = self.client.request(request).await.map_err(|error| no_reply(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok().map(|whole| whole.to_bytes());
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }
}

fn no_reply(error: &hyper_util::client::legacy::Error) -> NoReply {
    let (mut text, mut refused) = (String::new(), false);
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<PrivateAddress>() {
            return NoReply::Private;
        }
        refused |= is_refusal(one);
        // The first ones only say that something failed.
        text = one.to_string();
        cause = one.source();
    }
    let text = pulsewire_core::push::clip(&text, 160);
    match error.is_connect() {
        true => NoReply::Unreachable(text),
        false if refused => NoReply::Refused(text),
        false => NoReply::Interrupted(text),
    }
}

/// The request was not looked at: a stream that was reset with REFUSED_STREAM (RFC 9113 §8.7), one above the last that a
/// GOAWAY names (§6.8; h2 gives a provider's GOAWAY to no other stream), or one that was never begun.
fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<h2::Error>() {
        let unread = error.is_go_away() || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM));
        return unread && error.is_remote();
    }
    error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const HEADERS: u8 = 1;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn answer(stream: u32) -> Vec<u8> {
        // END_STREAM and END_HEADERS; `:status: 200` of HPACK's table.
        frame(HEADERS, 5, stream, &[0x88])
    }

    fn reset(stream: u32, reason: u32) -> Vec<u8> {
        frame(3, 0, stream, &reason.to_be_bytes())
    }

    fn goaway(last: u32) -> Vec<u8> {
        frame(7, 0, 0, &[last.to_be_bytes(), [0; 4]].concat())
    }

    /// What is written to a request's stream, and whether the connection ends with it.
    type Step = (fn(u32) -> Vec<u8>, bool);

    struct Script {
        steps: Mutex<VecDeque<Step>>,
        count: AtomicUsize,
    }

    async fn serve(mut stream: tokio_rustls::server::TlsStream<TcpStream>, script: Arc<Script>) -> std::io::Result<()> {
        stream.read_exact(&mut [0; 24]).await?;
        stream.write_all(&frame(4, 0, 0, &[])).await?;
        let mut head = [0; 9];
        loop {
            stream.read_exact(&mut head).await?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut payload).await?;
            if head[3] != HEADERS {
                continue;
            }
            script.count.fetch_add(1, Ordering::SeqCst);
            let step = script.steps.lock().expect("whole").pop_front();
            let Some((bytes, ends)) = step else { continue };
            stream.write_all(&bytes(u32::from_be_bytes([head[5], head[6], head[7], head[8]]))).await?;
            stream.flush().await?;
            if ends {
                stream.shutdown().await?;
            }
        }
    }

    /// What a client gets from an HTTP/2 server that takes these steps, one with each request; and how many requests came.
    async fn served(steps: &[Step]) -> (Result<Reply, NoReply>, usize) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cert.pem");
        std::fs::write(&file, made.cert.pem()).expect("written");
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.expect("versions").with_no_client_auth();
        let mut tls = tls.with_single_cert(vec![made.cert.der().clone()], key).expect("a configuration");
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let script = Script { steps: Mutex::new(steps.iter().copied().collect()), count: AtomicUsize::new(0) };
        let script = Arc::new(script);
        let shared = Arc::clone(&script);
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let stream = acceptor.accept(stream).await.expect("TLS");
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        let options = ClientOptions {
            extra_root_file: Some(file),
            connect_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(20),
        };
        let client = PushClient::new(&options, Reach::Anywhere).expect("a client");
        let request = Request::post(format!("https://localhost:{port}/")).body(Full::default()).expect("a request");
        let answer = client.send(request).await;
        server.abort();
        (answer, script.count.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_was_refused_unread_is_sent_again() {
        let steps: [Step; 3] = [(|id| reset(id, 7), false), (|_| goaway(0), false), (answer, false)];
        let (answer, count) = served(&steps).await;
        assert!(matches!(&answer, Ok(reply) if reply.status == 200), "{answer:?}");
        assert_eq!(count, 3);
    }

    #[tokio::test]
    async fn what_is_refused_unread_each_time_is_not_unclear() {
        let steps: [Step; 4] = [(|id| reset(id, 7), false); 4];
        let (answer, count) = served(&steps).await;
        assert!(matches!(answer, Err(NoReply::Refused(_))), "{answer:?}");
        assert_eq!(count, 3);
    }

    #[tokio::test]
    async fn what_may_have_been_taken_is_not_sent_again_here() {
        let ended: [Step; 3] = [(|id| reset(id, 2), false), (goaway, true), (|_| Vec::new(), true)];
        for step in ended {
            let (answer, count) = served(&[step]).await;
            assert!(matches!(answer, Err(NoReply::Interrupted(_))), "{answer:?}");
            assert_eq!(count, 1);
        }
    }

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let (a, b, c) = (address("[2001:db8::1]:443"), address("[2001:db8::2]:443"), address("192.0.2.1:443"));
        assert_eq!(in_turns(vec![a, b, c]), [a, c, b]);
        assert_eq!(in_turns(vec![c; 20]).len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn a_handshake_that_never_ends_is_no_connection_and_not_unclear() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let options = ClientOptions {
            extra_root_file: None,
            connect_timeout: Duration::from_millis(200),
            request_timeout: Duration::from_secs(20),
        };
        let client = PushClient::new(&options, Reach::Anywhere).expect("a client");
        let uri = format!("https://{}/", silent.local_addr().expect("bound"));
        let request = Request::post(uri).body(Full::default()).expect("a request");
        let answer = client.send(request).await;
        assert!(
            matches!(&answer, Err(NoReply::Unreachable(why)) if why.contains("not connected within")),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_keep_the_next_one_waiting() {
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = "127.0.0.1:1".parse().expect("an address");
        assert!(race(vec![closed, open.local_addr().expect("bound")]).await.is_ok());
        assert!(race(vec![closed]).await.is_err() && race(Vec::new()).await.is_err());
    }
}
