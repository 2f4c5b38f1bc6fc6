//! The emulator's keys and certificates, and the files that tell a server of them.

use crate::EmulatorError;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use ring::signature::{KeyPair as _, RsaKeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Its name in the folder.
pub const CONFIG_FILE: &str = "pulsewire.toml";
/// A key pair that was made once for this emulator and is published with it: ring cannot make RSA keys, and nothing but
/// this emulator accepts it.
const EMULATOR_ONLY_RSA_KEY: &str = include_str!("emulator_only.rsa.pem");
/// What the emulator calls its key, team, app and project.
pub const APNS_KEY_ID: &str = "EMULATOR01";
pub const APNS_TEAM_ID: &str = "EMULATOR99";
pub const APNS_TOPIC: &str = "example.pulsewire.emulator";
pub const SMTP_USER: &str = "emulator";
pub const MAIL_DOMAIN: &str = "mail.emulator.example";
pub const FCM_PROJECT: &str = "pulsewire-emulator";
pub const FCM_EMAIL: &str = "push@pulsewire-emulator.iam.gserviceaccount.example";

/// See the module.
pub struct Identity {
    /// Where the providers listen.
    pub listen: SocketAddr,
    /// Where the mail server listens.
    pub smtp: SocketAddr,
    /// What [`SMTP_USER`] signs in with.
    pub smtp_password: String,
    ca_pem: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    apns_key_pem: String,
    /// Public half of the APNs key: an uncompressed point.
    pub apns_public: Vec<u8>,
    /// Public half of the service account's key: RSAPublicKey, DER.
    pub fcm_public: Vec<u8>,
}

fn keys(error: impl std::fmt::Display) -> EmulatorError {
    EmulatorError::Keys(error.to_string())
}

impl Identity {
    pub fn make(listen: SocketAddr, smtp: SocketAddr) -> Result<Self, EmulatorError> {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(DnType::CommonName, "Push emulator, for tests only");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().map_err(keys)?).map_err(keys)?;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".into(), "::1".into()];
        let own = listen.ip().to_string();
        if !listen.ip().is_unspecified() && !names.contains(&own) {
            names.push(own);
        }
        let mut password = [0; 16];
        getrandom::fill(&mut password).map_err(keys)?;
        let server_key = KeyPair::generate().map_err(keys)?;
        let server = CertificateParams::new(names).map_err(keys)?;
        let server = server.signed_by(&server_key, &ca).map_err(keys)?;
        let apns = KeyPair::generate().map_err(keys)?;
        let rsa =
            PrivatePkcs8KeyDer::from_pem_slice(EMULATOR_ONLY_RSA_KEY.as_bytes()).map_err(|e| keys(format!("{e:?}")))?;
        let rsa = RsaKeyPair::from_pkcs8(rsa.secret_pkcs8_der()).map_err(keys)?;
        Ok(Self {
            listen,
            smtp,
            smtp_password: hex::encode(password),
            ca_pem: ca.pem(),
            chain: vec![server.der().clone()],
            key: PrivatePkcs8KeyDer::from(server_key.serialize_der()).into(),
            apns_key_pem: apns.serialize_pem(),
            apns_public: apns.public_key_raw().to_vec(),
            fcm_public: rsa.public_key().as_ref().to_vec(),
        })
    }

    /// The providers' origin.
    pub fn origin(&self) -> String {
        format!("https://{}", reachable(self.listen))
    }

    /// Where assertions are exchanged for tokens.
    pub fn token_uri(&self) -> String {
        format!("{}/token", self.origin())
    }

    pub fn tls(&self) -> Result<Arc<rustls::ServerConfig>, EmulatorError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(keys)?
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(keys)?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(tls))
    }

    /// Writes what a server needs to find and trust the emulator.
    pub fn write(&self, dir: &Path) -> Result<(), EmulatorError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| EmulatorError::Write { path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let dir = std::fs::canonicalize(dir).map_err(failed(dir))?;
        let account = json!({
            "type": "service_account",
            "project_id": FCM_PROJECT,
            "private_key_id": "emulator-only",
            "private_key": EMULATOR_ONLY_RSA_KEY,
            "client_email": FCM_EMAIL,
            "token_uri": self.token_uri(),
        });
        let path = |name: &str| toml_text(&dir.join(name).to_string_lossy());
        let origin = toml_text(&self.origin());
        let config = format!(
            "# Points a server at the push emulator: pulsewire serve --config {CONFIG_FILE}\n\
             [push]\n\
             allow_private_endpoints = true\n\
             extra_root_file = {}\n\
             vapid_subject = \"mailto:emulator@example.org\"\n\
             apns_key_file = {}\n\
             apns_key_id = \"{APNS_KEY_ID}\"\n\
             apns_team_id = \"{APNS_TEAM_ID}\"\n\
             apns_topic = \"{APNS_TOPIC}\"\n\
             apns_url = {origin}\n\
             fcm_service_account_file = {}\n\
             fcm_url = {origin}\n\
             [email]\n\
             smtp_url = {}\n\
             user = \"{SMTP_USER}\"\n\
             password_file = {}\n\
             from = \"Pulsewire <alerts@pulsewire.example>\"\n",
            path("ca.pem"),
            path("apns.p8"),
            path("fcm-service-account.json"),
            toml_text(&format!("smtp://{}?tls=required", reachable(self.smtp))),
            path("smtp-password"),
        );
        for (name, text) in [
            ("ca.pem", &self.ca_pem),
            ("apns.p8", &self.apns_key_pem),
            ("fcm-service-account.json", &format!("{account:#}\n")),
            ("smtp-password", &self.smtp_password),
            (CONFIG_FILE, &config),
        ] {
            let file = dir.join(name);
            std::fs::write(&file, text).map_err(failed(&file))?;
        }
        Ok(())
    }
}

/// Where a port is reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
    if address.ip().is_unspecified() { local } else { address }
}

/// A basic string of TOML; what JSON escapes, TOML escapes in the same way.
fn toml_text(text: &str) -> String {
    json!(text).to_string()
}
