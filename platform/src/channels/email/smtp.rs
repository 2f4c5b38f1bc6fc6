//! The conversation with the mail server: RFC 5321, with STARTTLS (RFC 3207) and AUTH (RFC 4954).

use super::verdict::{Step, Trouble, enhanced};
use crate::channels::{ChannelError, ClientOptions};
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use pulsewire_core::push::clip;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Most connections at once: mail servers allow one client only a few. More mails wait.
const CONNECTIONS_MAX: usize = 4;
/// For how long a connection is kept for the next mail; servers close them after some minutes.
const IDLE: Duration = Duration::from_secs(30);
/// A kept connection that does not answer NOOP within this is given up, and QUIT is not waited for any longer.
const COURTESY: Duration = Duration::from_secs(2);
/// Largest file with a password.
const PASSWORD_BYTES_MAX: usize = 4096;

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailTls {
    /// TLS from the start.
    Implicit,
    /// STARTTLS, or nothing is sent.
    Required,
    /// Not at all.
    Off,
}

/// Where the mail server is.
#[derive(Debug, Clone)]
pub struct EmailOptions {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: EmailTls,
    /// User and the file with its password.
    pub login: Option<(String, PathBuf)>,
}

/// See the module.
pub(super) struct MailServer {
    host: String,
    port: u16,
    mode: EmailTls,
    tls: TlsParameters,
    login: Option<Credentials>,
    hello: ClientId,
    connect_timeout: Duration,
    timeout: Duration,
    connections: Semaphore,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

type Failure = (Step, Trouble);

fn trouble(error: &Error) -> Trouble {
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) => Trouble::Refused { code: code.into(), enhanced: enhanced(&said) },
        None if error.is_timeout() => Trouble::Silent("no connection in time".into()),
        // What it read is not repeated: it may be anything.
        None if error.is_response() => Trouble::Silent("the reply is none of SMTP".into()),
        None => Trouble::Silent(clip(&error.to_string(), 160)),
    }
}

impl MailServer {
    /// `client.request_timeout`: for a mail, from the wait for a connection to the last reply.
    pub(super) fn new(options: EmailOptions, client: &ClientOptions, domain: String) -> Result<Self, ChannelError> {
        let mut tls = TlsParameters::builder(options.host.clone()).certificate_store(CertificateStore::WebpkiRoots);
        if let Some(path) = &client.extra_root_file {
            let wrong = |problem: String| ChannelError::new("push.extra_root_file", problem);
            let file = path.display();
            let pem = std::fs::read(path).map_err(|error| wrong(format!("{file} cannot be read: {error}")))?;
            let roots = Certificate::from_pem(&pem).map_err(|error| wrong(format!("{file} is not PEM: {error}")))?;
            tls = tls.add_root_certificate(roots);
        }
        let tls = tls.build_rustls();
        let tls = tls.map_err(|error| ChannelError::new("email", format!("TLS cannot be set up: {error}")))?;
        let login = options.login.map(|(user, file)| password(&file).map(|password| Credentials::new(user, password)));
        Ok(Self {
            host: options.host,
            port: options.port,
            mode: options.tls,
            tls,
            login: login.transpose()?,
            hello: ClientId::Domain(domain),
            connect_timeout: client.connect_timeout,
            timeout: client.request_timeout,
            connections: Semaphore::new(CONNECTIONS_MAX),
            idle: Mutex::default(),
        })
    }

    /// Hands a mail over; answers the server's code.
    pub(super) async fn send(&self, from: &Address, to: &Address, mail: &[u8]) -> Result<u16, Failure> {
        let mut step = Step::Wait;
        let conversation = self.converse(&mut step, from, to, mail);
        match tokio::time::timeout(self.timeout, conversation).await {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(trouble)) => Err((step, trouble)),
            Err(_) if step == Step::Wait => {
                Err((step, Trouble::Silent(format!("{CONNECTIONS_MAX} connections were busy for {:?}", self.timeout))))
            }
            Err(_) => Err((step, Trouble::Silent(format!("not done within {:?}", self.timeout)))),
        }
    }

    async fn converse(&self, step: &mut Step, from: &Address, to: &Address, mail: &[u8]) -> Result<u16, Trouble> {
        // It is never closed.
        let _permit = self.connections.acquire().await.map_err(|error| Trouble::Silent(error.to_string()))?;
        *step = Step::Connect;
        let mut connection = match self.kept().await {
            Some(connection) => connection,
            None => self.connect(step).await?,
        };
        let result = exchange(&mut connection, step, from, to, mail).await;
        match &result {
            Ok(_) => self.keep(connection),
            // It ends politely, so that the server counts no broken connection.
            Err(Trouble::Refused { .. } | Trouble::Unfit(_)) => {
                let _ = tokio::time::timeout(COURTESY, connection.abort()).await;
            }
            Err(_) => {}
        }
        result
    }

    async fn connect(&self, step: &mut Step) -> Result<AsyncSmtpConnection, Trouble> {
        let implicit = (self.mode == EmailTls::Implicit).then(|| self.tls.clone());
        let server = (self.host.as_str(), self.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.connect_timeout), &self.hello, implicit, None);
        let mut connection = connecting.await.map_err(|error| trouble(&error))?;
        if self.mode == EmailTls::Required {
            if !connection.can_starttls() {
                return Err(Trouble::Unable("offers no STARTTLS, and without it nothing is sent"));
            }
            connection.starttls(self.tls.clone(), &self.hello).await.map_err(|error| trouble(&error))?;
        }
        if let Some(login) = &self.login {
            *step = Step::Auth;
            if connection.server_info().get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
                return Err(Trouble::Unable("offers no way to sign in that is known here (PLAIN, LOGIN)"));
            }
            connection.auth(DEFAULT_MECHANISMS, login).await.map_err(|error| trouble(&error))?;
        }
        Ok(connection)
    }

    /// A connection that is still open, if one was kept.
    async fn kept(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let (mut connection, since) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if since.elapsed() >= IDLE {
                continue;
            }
            match tokio::time::timeout(COURTESY, connection.test_connected()).await {
                Ok(true) => return Some(connection),
                Ok(false) => {}
                // Something between here and there forgot it, and the others with it.
                Err(_) => {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    return None;
                }
            }
        }
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        // The permits bound them.
        idle.push((connection, Instant::now()));
    }
}

async fn exchange(
    connection: &mut AsyncSmtpConnection,
    step: &mut Step,
    from: &Address,
    to: &Address,
    mail: &[u8],
) -> Result<u16, Trouble> {
    *step = Step::Mail;
    let mut parameters = Vec::new();
    if ![from, to].iter().all(|address| AsRef::<str>::as_ref(*address).is_ascii()) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Trouble::Unfit("takes no addresses with other letters than ASCII"));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let failed = |error: Error| trouble(&error);
    connection.command(Mail::new(Some(from.clone()), parameters)).await.map_err(failed)?;
    *step = Step::Rcpt;
    connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(failed)?;
    *step = Step::Data;
    connection.command(Data).await.map_err(failed)?;
    *step = Step::Content;
    let reply = connection.message(mail).await.map_err(failed)?;
    Ok(reply.code().into())
}

fn password(file: &std::path::Path) -> Result<String, ChannelError> {
    let wrong = |problem: String| ChannelError::new("email.password_file", problem);
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("{name} cannot be read: {error}")))?;
    let password = text.trim();
    if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || password.contains('\0') {
        return Err(wrong(format!("{name} holds no password of 1 to {PASSWORD_BYTES_MAX} bytes")));
    }
    Ok(password.to_owned())
}
