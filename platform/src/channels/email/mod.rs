//! Mailboxes: mails handed to the operator's mail server over SMTP.

mod payload;
mod smtp;
mod verdict;

pub use smtp::{EmailOptions, EmailTls};

use super::{ChannelError, ClientOptions};
use crate::ports::{AddressProblem, PushAddress, PushChannel};
use async_trait::async_trait;
use lettre::Address;
use lettre::message::Mailbox;
use pulsewire_core::push::{ChannelKind, Notification, Verdict};
use smtp::MailServer;

/// Longest mailbox: RFC 5321 §4.5.3.1.3, without the angle brackets.
const MAILBOX_BYTES_MAX: usize = 254;

/// See the module.
pub struct EmailChannel {
    server: MailServer,
    from: Mailbox,
    public_url: Option<String>,
}

impl EmailChannel {
    /// Makes the channel; nothing is connected yet. `public_url`: where people reach this server; without it mails carry no
    /// links.
    ///
    /// # Errors
    /// If the password or the further certificate authorities cannot be read.
    pub fn new(
        options: EmailOptions,
        client: &ClientOptions,
        from: Mailbox,
        public_url: Option<String>,
    ) -> Result<Self, ChannelError> {
        let server = MailServer::new(options, client, from.email.domain().to_owned())?;
        Ok(Self { server, from, public_url })
    }
}

/// A mailbox in its one form; None if it cannot be one.
fn mailbox(text: &str) -> Option<Address> {
    // Addresses of hosts are for mail servers among themselves, and would lead anywhere.
    if text.len() > MAILBOX_BYTES_MAX || text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '[') {
        return None;
    }
    let address: Address = text.parse().ok()?;
    Address::new(address.user(), address.domain().to_lowercase()).ok()
}

#[async_trait]
impl PushChannel for EmailChannel {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Email
    }

    fn check(&self, address: PushAddress) -> Result<PushAddress, AddressProblem> {
        let problem = |field, detail: &str| AddressProblem { field, detail: detail.into(), private: false };
        let PushAddress::Email { mailbox: text } = address else {
            return Err(problem("kind", "this is no mailbox"));
        };
        let address = mailbox(&text);
        let detail = "mailbox must be an address like name@example.org of at most 254 bytes";
        let address = address.ok_or_else(|| problem("mailbox", detail))?;
        Ok(PushAddress::Email { mailbox: address.to_string() })
    }

    fn provider(&self, _: &PushAddress) -> String {
        // All mails go through one server.
        ChannelKind::Email.name().into()
    }

    fn public_key(&self) -> Option<String> {
        None
    }

    async fn send(&self, address: &PushAddress, notification: &Notification, now_us: i64) -> Verdict {
        let dropped = |reason: &str| Verdict::DropMessage { reason: reason.into(), status: None };
        let PushAddress::Email { mailbox: text } = address else { return dropped("this is no mailbox") };
        let Some(to) = mailbox(text) else { return dropped("the mailbox is not valid") };
        let mail = payload::mail(notification, &self.from, &to, self.public_url.as_deref(), now_us);
        match mail {
            Ok(mail) => verdict::classify(self.server.send(&self.from.email, &to, &mail).await),
            Err(reason) => dropped(&reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_one_address_and_nothing_else() {
        let form = |text: &str| mailbox(text).map(|address| address.to_string());
        assert_eq!(form("Kim.Lee+alerts@Example.ORG").as_deref(), Some("Kim.Lee+alerts@example.org"));
        assert_eq!(form("kim@müller.example").as_deref(), Some("kim@müller.example"));
        for wrong in [
            "",
            "kim",
            "@example.org",
            "kim@",
            "kim@example.org, lee@example.org",
            "kim@example.org\r\nRCPT TO:<lee@example.org>",
            "Kim <kim@example.org>",
            "kim lee@example.org",
            "kim@[127.0.0.1]",
            &format!("{}@example.org", "k".repeat(65)),
            &format!("kim@{}.org", "x".repeat(250)),
        ] {
            assert_eq!(form(wrong), None, "{wrong}");
        }
    }
}
