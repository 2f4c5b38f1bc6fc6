//! TLS of the device port, and what binds a login to its connection. SPEC §4.3.

use crate::config::Tls;
use pulsewire_proto::auth::Binding;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// Certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that kind.
    #[error("{what} {path} cannot be used: {problem}")]
    File {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// They do not fit together, or are of a kind that is not supported.
    #[error("the device port's certificate and key do not work together: {0}")]
    Pair(rustls::Error),
}

/// What the device port offers.
#[derive(Clone)]
pub struct DeviceTls {
    /// None = no TLS here.
    pub acceptor: Option<TlsAcceptor>,
    /// For connections through the acceptor.
    pub binding: Binding,
    /// For plain connections: `Plain`, or the certificate of a proxy that ends TLS.
    pub plain_binding: Binding,
}

impl DeviceTls {
    /// Reads the files that are configured.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(tls: Option<&Tls>, proxy_certificate: Option<&Path>) -> Result<Self, TlsError> {
        let plain_binding = match proxy_certificate {
            Some(path) => binding(certificates(path)?.first()),
            None => Binding::Plain,
        };
        let Some(tls) = tls else {
            return Ok(Self { acceptor: None, binding: Binding::Plain, plain_binding });
        };
        let chain = certificates(&tls.cert_file)?;
        let key = PrivateKeyDer::from_pem_file(&tls.key_file).map_err(|error| TlsError::File {
            what: "private key",
            path: tls.key_file.clone(),
            problem: error.to_string(),
        })?;
        let binding = binding(chain.first());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(TlsError::Pair)?;
        Ok(Self { acceptor: Some(TlsAcceptor::from(Arc::new(config))), binding, plain_binding })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let refuse = |problem: String| TlsError::File { what: "certificate", path: path.to_path_buf(), problem };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refuse(error.to_string()))?;
    if chain.is_empty() { Err(refuse("it holds no certificate in PEM".into())) } else { Ok(chain) }
}

fn binding(certificate: Option<&CertificateDer<'_>>) -> Binding {
    certificate.map_or(Binding::Plain, |der| Binding::Certificate(Sha256::digest(der).into()))
}
