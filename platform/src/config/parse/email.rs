//! `[email]`.

use super::Reader;
use crate::config::{Email, SmtpTls};
use lettre::message::Mailbox;
use std::time::Duration;

const IMPLICIT_PORT: u16 = 465;
const SUBMISSION_PORT: u16 = 587;
/// What an attempt needs of its lease after the last reply.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Host, port and protection; None if it is no address of a mail server.
fn server(url: &str) -> Option<(String, u16, SmtpTls)> {
    let (rest, tls, port) = match (url.strip_prefix("smtps://"), url.strip_prefix("smtp://")) {
        (Some(rest), _) => (rest, SmtpTls::Implicit, IMPLICIT_PORT),
        (_, Some(rest)) => match rest.strip_suffix("?tls=required") {
            Some(rest) => (rest, SmtpTls::Required, SUBMISSION_PORT),
            None => (rest, SmtpTls::Off, SUBMISSION_PORT),
        },
        _ => return None,
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, "")) => (host, Some(port)),
        Some((host, after)) => (host, after.strip_prefix(':')?.parse().ok()),
        None => rest.rsplit_once(':').map_or((rest, Some(port)), |(host, port)| (host, port.parse().ok())),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    let valid = !host.is_empty() && host.len() <= 253 && host.bytes().all(plain);
    port.filter(|port| *port > 0 && valid).map(|port| (host.to_owned(), port, tls))
}

/// This machine, by name or address.
pub(super) fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Reader {
    pub(super) fn email(&mut self) -> Option<Email> {
        let (url, from, user) = (self.text("email.smtp_url"), self.text("email.from"), self.text("email.user"));
        let password_file = self.file_path("email.password_file");
        let mut missing = Vec::new();
        if url.is_empty() && from.is_empty() && user.is_empty() && password_file.is_none() {
            return None;
        }
        for (name, absent) in [
            ("email.smtp_url", url.is_empty()),
            ("email.from", from.is_empty()),
            ("email.user", user.is_empty() && password_file.is_some()),
            ("email.password_file", password_file.is_none() && !user.is_empty()),
        ] {
            if absent {
                missing.push(name);
            }
        }
        if !missing.is_empty() {
            self.mistakes.push(format!("{} must be given, too, since other keys of [email] are", missing.join(", ")));
            return None;
        }
        if url.contains('@') {
            // Not repeated: it may carry a password.
            self.mistakes.push("email.smtp_url carries a user; email.user and email.password_file are for that".into());
            return None;
        }
        let Some((host, port, tls)) = server(&url) else {
            self.mistakes.push(format!(
                "email.smtp_url is {url:?}; smtps://host:465, smtp://host:587?tls=required or smtp://host:25 is wanted"
            ));
            return None;
        };
        if tls == SmtpTls::Off && !is_local(&host) && !self.bool("email.allow_plaintext") {
            self.mistakes.push(format!(
                "email.smtp_url is {url:?}, without TLS to another machine; append ?tls=required, use smtps://, or set \
                 email.allow_plaintext"
            ));
        }
        let Ok(from) = from.parse::<Mailbox>() else {
            self.mistakes.push(format!(
                "email.from is {from:?}; alerts@example.org or Pulsewire <alerts@example.org> is wanted"
            ));
            return None;
        };
        let (timeout, lease) = (self.duration("email.timeout"), self.duration("push.lease"));
        // Else an attempt would be given up before its mail is.
        if lease <= timeout + SETTLE_TIME {
            self.mistakes.push(format!(
                "email.timeout is {timeout:?} and push.lease {lease:?}; the lease must be longer by more than {SETTLE_TIME:?}"
            ));
        }
        Some(Email { host, port, tls, login: password_file.map(|file| (user, file)), from, timeout })
    }
}
