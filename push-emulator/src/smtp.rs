//! A mail server: SMTP with STARTTLS, TLS from the start, and PLAIN and LOGIN; every mailbox is known or refused.

use crate::checks::{Check, Checks};
use crate::faults::{Fault, FaultKind};
use crate::identity::SMTP_USER;
use crate::jwt::now_us;
use crate::mime::{Part, words};
use crate::state::{Received, State, What};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

/// Who begins with TLS does so within this time; then the server greets. Real servers wait as well, against spam.
const BANNER_DELAY: Duration = Duration::from_millis(100);
/// How long a command may take to come.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest line: RFC 5321 §4.5.3.1.6, and more for AUTH.
const LINE_BYTES_MAX: u64 = 12_288;
/// Largest mail.
const MAIL_BYTES_MAX: usize = 256 * 1024;
const HUGE_BYTES: usize = 1 << 20;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Serves a connection until it ends.
pub async fn connection(state: Arc<State>, tls: TlsAcceptor, tcp: TcpStream) {
    let mut first = [0];
    let early = tokio::time::timeout(BANNER_DELAY, tcp.peek(&mut first)).await;
    let mut stream: Box<dyn Stream> = Box::new(tcp);
    let mut secure = matches!(early, Ok(Ok(1)) if first[0] == 22);
    if secure {
        let Ok(Ok(secured)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
        stream = Box::new(secured);
    }
    let mut session = Session { state, stream: BufReader::new(stream), secure, user: false, from: None, to: None };
    if session.say("220 mail.emulator.example ESMTP").await.is_none() {
        return;
    }
    while session.command().await.is_some() {
        if session.secure != secure {
            secure = true;
            // What came in clear text after STARTTLS is thrown away with the buffer.
            let stream = session.stream.into_inner();
            let Ok(Ok(secured)) = tokio::time::timeout(PATIENCE, tls.accept(stream)).await else { return };
            session.stream = BufReader::new(Box::new(secured));
        }
    }
}

struct Session {
    state: Arc<State>,
    stream: BufReader<Box<dyn Stream>>,
    secure: bool,
    user: bool,
    from: Option<String>,
    to: Option<(String, Option<Fault>)>,
}

impl Session {
    async fn say(&mut self, text: &str) -> Option<()> {
        let line = format!("{text}\r\n");
        self.stream.write_all(line.as_bytes()).await.ok()?;
        self.stream.flush().await.ok()
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut line);
        tokio::time::timeout(PATIENCE, read).await.ok()?.ok()?;
        let text = line.strip_suffix(b"\n")?;
        Some(String::from_utf8_lossy(text.strip_suffix(b"\r").unwrap_or(text)).into_owned())
    }

    /// Takes one command; None ends the connection.
    async fn command(&mut self) -> Option<()> {
        let line = self.line().await?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                let more = if self.secure { "AUTH PLAIN LOGIN" } else { "STARTTLS" };
                self.say(&format!(
                    "250-mail.emulator.example\r\n250-{more}\r\n250-SIZE {MAIL_BYTES_MAX}\r\n250 8BITMIME"
                ))
                .await
            }
            "HELO" | "NOOP" => self.say("250 2.0.0 well").await,
            "RSET" => {
                (self.from, self.to) = (None, None);
                self.say("250 2.0.0 forgotten").await
            }
            "QUIT" => {
                let _ = self.say("221 2.0.0 goodbye").await;
                None
            }
            "STARTTLS" if !self.secure => {
                self.say("220 2.0.0 go on").await?;
                self.secure = true;
                Some(())
            }
            "AUTH" if !self.secure => self.say("530 5.7.0 Must issue a STARTTLS command first").await,
            "AUTH" => self.sign_in(rest).await,
            "MAIL" if !self.user => self.say("530 5.7.0 Authentication required").await,
            "MAIL" => match address(rest, "FROM:") {
                Some(from) => {
                    (self.from, self.to) = (Some(from), None);
                    self.say("250 2.1.0 sender").await
                }
                None => self.say("501 5.1.7 no sender").await,
            },
            "RCPT" if self.from.is_none() => self.say("503 5.5.1 MAIL first").await,
            "RCPT" => match address(rest, "TO:") {
                Some(to) => self.recipient(to).await,
                None => self.say("501 5.1.3 no mailbox").await,
            },
            "DATA" if self.to.is_none() => self.say("503 5.5.1 RCPT first").await,
            "DATA" => self.mail().await,
            _ => self.say("502 5.5.2 unknown command").await,
        }
    }

    async fn sign_in(&mut self, rest: &str) -> Option<()> {
        let text = |line: &str| STANDARD.decode(line.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let (user, password) = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let mut answer = initial.to_owned();
                if answer.is_empty() {
                    self.say("334 ").await?;
                    answer = self.line().await?;
                }
                let answer = text(&answer).unwrap_or_default();
                let mut parts = answer.split('\0').skip(1).map(str::to_owned);
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
            }
            "LOGIN" => {
                self.say("334 VXNlcm5hbWU6").await?;
                let user = self.line().await?;
                self.say("334 UGFzc3dvcmQ6").await?;
                let password = self.line().await?;
                (text(&user).unwrap_or_default(), text(&password).unwrap_or_default())
            }
            _ => return self.say("504 5.5.4 unknown mechanism").await,
        };
        self.user = user == SMTP_USER && password == self.state.identity.smtp_password;
        self.say(if self.user { "235 2.7.0 signed in" } else { "535 5.7.8 user or password is wrong" }).await
    }

    async fn recipient(&mut self, to: String) -> Option<()> {
        let found = self.state.lock().find(&to.to_ascii_lowercase(), |target| match &target.what {
            What::Mailbox { .. } => Some((target.label.clone(), target.id.clone(), target.gone_us)),
            _ => None,
        });
        let fault = self.state.fault("email");
        let refusal = match (&found, fault.as_ref().map(|fault| (fault.kind, fault.status))) {
            (_, Some((FaultKind::Gone, _))) | (None, _) | (Some((_, _, Some(_))), _) => {
                Some((550, "550 5.1.1 no such mailbox".to_owned()))
            }
            (_, Some((FaultKind::Status, status))) => {
                let status = status.unwrap_or(451);
                Some((status, format!("{status} {}.3.0 as it was asked for", status / 100)))
            }
            (_, Some((FaultKind::Goaway, _))) => Some((421, "421 4.3.2 closing".to_owned())),
            (_, Some((FaultKind::Nonsense, _))) => Some((0, "<html><b>Welcome to the hotel's network!".to_owned())),
            (_, Some((FaultKind::Huge, _))) => Some((0, format!("250 {}", "x".repeat(HUGE_BYTES)))),
            _ => None,
        };
        let Some((status, text)) = refusal else {
            self.to = Some((to, fault));
            return self.say("250 2.1.5 mailbox").await;
        };
        let mut message = Received::new("email", now_us(), "SMTP");
        let (label, id, _) = found.unwrap_or_default();
        (message.target, message.target_id, message.status) = (label, id, status);
        message.checks = vec![Check { name: "RCPT TO", ok: status != 550, detail: text.chars().take(60).collect() }];
        self.state.received(message, b"");
        self.say(&text).await?;
        (status != 421).then_some(())
    }

    async fn mail(&mut self) -> Option<()> {
        self.say("354 go on, and end with a point").await?;
        let (mut mail, mut longest) = (String::new(), 0);
        loop {
            let line = self.line().await?;
            if line == "." {
                break;
            }
            longest = longest.max(line.len());
            if mail.len() + line.len() <= MAIL_BYTES_MAX {
                mail.push_str(line.strip_prefix('.').unwrap_or(&line));
                mail.push_str("\r\n");
            }
        }
        let (from, to) = (self.from.take(), self.to.take());
        let (to, fault) = to?;
        let mut message = self.read(&mail, &from.unwrap_or_default(), &to, longest);
        let (right, kind) = (message.checks.iter().all(|check| check.ok), fault.as_ref().map(|fault| fault.kind));
        message.status = if right { 250 } else { 554 };
        if kind == Some(FaultKind::Reset) {
            message.status = 0;
        }
        let number = message.received_us;
        self.state.received(message, mail.as_bytes());
        tokio::time::sleep(Duration::from_millis(fault.map_or(0, |fault| fault.delay_ms))).await;
        match kind {
            Some(FaultKind::Reset) => None,
            Some(FaultKind::Stall) => std::future::pending().await,
            _ if right => self.say(&format!("250 2.0.0 queued as {number}")).await,
            _ => self.say("554 5.6.0 the mail is not right").await,
        }
    }

    fn read(&self, mail: &str, from: &str, to: &str, longest: usize) -> Received {
        let mut message = Received::new("email", now_us(), "SMTP");
        let (part, mut checks) = (Part::read(mail), Checks::default());
        let header = |name: &str| part.header(name).to_owned();
        let known =
            self.state.lock().find(&to.to_ascii_lowercase(), |target| Some((target.label.clone(), target.id.clone())));
        (message.target, message.target_id) = known.unwrap_or_default();
        message.id = header("message-id");
        message.collapse_key = header("references");
        message.kind = header("x-pulsewire-kind");
        message.headers = part.headers.clone();
        message.payload = json!({
            "title": words(&header("subject")), "body": part.text("text/plain"), "html": part.text("text/html"),
            "severity": header("x-pulsewire-severity"), "kind": message.kind,
        });
        checks.note("TLS", self.secure, "before anything was said");
        let one = |name: &str| part.count(name) == 1;
        let id = message.id.strip_prefix('<').and_then(|id| id.strip_suffix('>')).is_some_and(|id| id.contains('@'));
        checks.note("Message-ID", id && one("message-id"), message.id.as_str());
        checks.note("Date", one("date"), header("date"));
        checks.note("From", one("from") && header("from").contains(from), header("from"));
        checks.note("To", one("to") && header("to").eq_ignore_ascii_case(to), header("to"));
        checks.note("Subject", one("subject"), words(&header("subject")));
        checks.note("Auto-Submitted", header("auto-submitted") == "auto-generated", header("auto-submitted"));
        let texts = [part.text("text/plain"), part.text("text/html")];
        checks.note(
            "Parts",
            texts.iter().flatten().all(|text| !text.is_empty()) && texts[0].is_some(),
            "text and page",
        );
        checks.note("Lines", longest <= 998 && mail.is_ascii(), format!("ASCII, the longest of {longest} bytes"));
        checks.note("Size", mail.len() <= MAIL_BYTES_MAX, format!("{} of {MAIL_BYTES_MAX} bytes", mail.len()));
        message.checks = checks.0;
        message
    }
}

/// `FROM:<a@b> SIZE=1` gives `a@b`.
fn address(text: &str, name: &str) -> Option<String> {
    let rest = text.get(name.len()..).filter(|_| text[..name.len()].eq_ignore_ascii_case(name))?;
    let inner = rest.trim_start().strip_prefix('<')?.split_once('>')?.0;
    inner.contains('@').then(|| inner.to_owned())
}
