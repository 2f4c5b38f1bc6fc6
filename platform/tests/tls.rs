//! The device port under TLS: the login is bound to the certificate, and tokens travel only inside.
#![allow(clippy::unwrap_used)] // a helper's panic is this test's failure

use pulsewire::app::{App, StartOptions};
use pulsewire::config::{Config, Overrides};
use pulsewire_proto::FrameReader;
use pulsewire_proto::auth::Binding;
use pulsewire_proto::session::{DeviceConfig, DeviceLogin, DeviceSession, Output};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const PASSWORD: &str = "a password for tests";

struct Certificate {
    der: CertificateDer<'static>,
    overrides: Overrides,
}

fn certificate(folder: &Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let flags = vec![
        ("data_dir", text(&folder.join("data"))),
        ("http.listen", "127.0.0.1:0".to_owned()),
        // Not loopback, so that plaintext logins are refused.
        ("device.listen", "0.0.0.0:0".to_owned()),
        ("device.tls_cert_file", text(&cert)),
        ("device.tls_key_file", text(&key)),
    ];
    Certificate { der: made.cert.der().clone(), overrides: Overrides { environment: Vec::new(), flags } }
}

/// Calls the API; blocking, so off the async threads.
async fn call(app: &App, path: &'static str, token: Option<String>, body: Value) -> Value {
    let url = format!("http://{}{path}", app.http_address());
    tokio::task::spawn_blocking(move || {
        let mut request = ureq::post(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request.send_json(body).unwrap().body_mut().read_json().unwrap()
    })
    .await
    .unwrap()
}

/// Drives a login to its end: true for WELCOME, else the code and text of the CLOSE.
async fn log_in(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    login: DeviceLogin,
    binding: Binding,
) -> Result<(), (u16, String)> {
    let started = Instant::now();
    let config = DeviceConfig { device: "pump-7".into(), login, firmware: "1".into(), streams: Vec::new(), binding };
    let mut session = DeviceSession::new(started.elapsed(), config, [7; 32]).unwrap();
    let mut reader = FrameReader::new(session.frame_limit());
    let mut buffer = vec![0; 4096];
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
                Output::Closed(closed) => return Err((closed.code, closed.text)),
            }
        }
        if session.is_live() {
            return Ok(());
        }
        let n = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await.unwrap().unwrap();
        assert!(n > 0, "the connection ended without a CLOSE");
        let mut input = &buffer[..n];
        while let Some(frame) = reader.next_frame(&mut input).unwrap() {
            session.handle_frame(started.elapsed(), frame);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_tls_a_login_is_bound_to_the_certificate_and_plaintext_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = certificate(folder.path());
    let config = Config::read("", &certificate.overrides).unwrap();
    let start = StartOptions { admin_password: Some(PASSWORD.into()), ..StartOptions::default() };
    let app = App::start(config, start).await.unwrap();
    let port = app.device_address().port();

    let signed_in = call(&app, "/api/v1/session", None, json!({"user": "admin", "password": PASSWORD})).await;
    let api_token = signed_in["token"].as_str().map(str::to_owned);
    let made = call(&app, "/api/v1/devices", api_token.clone(), json!({"id": "pump-7"})).await;
    let secret: [u8; 32] = hex::decode(made["secret"].as_str().unwrap()).unwrap().try_into().unwrap();
    let made = call(&app, "/api/v1/devices/pump-7/token", api_token, json!({})).await;
    let token = made["token"].as_str().unwrap().to_owned();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let plain = || async { TcpStream::connect(("127.0.0.1", port)).await.unwrap() };
    let secured =
        || async { connector.connect(ServerName::try_from("localhost").unwrap(), plain().await).await.unwrap() };
    let binding = Binding::Certificate(Sha256::digest(&certificate.der).into());
    let proof = || DeviceLogin::Secret(secret);

    log_in(secured().await, proof(), binding).await.expect("the proof over TLS is accepted");
    log_in(secured().await, DeviceLogin::Token(token.clone()), binding).await.expect("so is a token");
    // Someone in the middle with another certificate: the proof does not fit the server's own.
    let (code, _) = log_in(secured().await, proof(), Binding::Certificate([1; 32])).await.expect_err("wrong binding");
    assert_eq!(code, 4003);
    let (code, text) = log_in(plain().await, proof(), Binding::Plain).await.expect_err("plaintext");
    assert_eq!(code, 4016, "{text}");
    let (code, _) = log_in(plain().await, DeviceLogin::Token(token), Binding::Plain).await.expect_err("plaintext");
    assert_eq!(code, 4016);
    app.stop().await;
}
