//! What a mailbox gets: plain text and a small page, with the headers by which mails of one alert stay together.

use crate::channels::fit;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};
use pulsewire_core::push::{Language, Notification, clip};
use pulsewire_core::severity::Severity;
use std::time::{Duration, UNIX_EPOCH};

const SUBJECT_BYTES_MAX: usize = 200;
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Where people choose what they get.
const SETTINGS: &str = "/settings/notifications";

/// The whole mail, in lines that every mail server takes. `public_url`: where people reach this server.
pub(super) fn mail(
    notification: &Notification,
    from: &Mailbox,
    to: &Address,
    public_url: Option<&str>,
    now_us: i64,
) -> Result<Vec<u8>, String> {
    let domain = from.email.domain();
    // The same at each attempt, so that a repeat can be known as one.
    let id = format!("<{}@{domain}>", notification.delivery);
    // Nothing was sent under this id; it is what the mails of one alert have in common.
    let thread = format!("<alert.{}@{domain}>", notification.tag);
    let date = UNIX_EPOCH + Duration::from_micros(u64::try_from(now_us).unwrap_or(0));
    let subject = clip(&one_line(&notification.title), SUBJECT_BYTES_MAX);
    let mut builder = Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to.clone()))
        .subject(subject)
        .date(date)
        .message_id(Some(id))
        .in_reply_to(thread.clone())
        .references(thread);
    let mut headers = vec![
        // RFC 3834: nobody's out-of-office note should answer. The second is what Exchange listens to.
        ("Auto-Submitted", "auto-generated".to_owned()),
        ("X-Auto-Response-Suppress", "All".to_owned()),
        // For people's filters.
        ("X-Pulsewire-Kind", notification.kind.name().to_owned()),
        ("X-Pulsewire-Severity", notification.severity.name().to_owned()),
    ];
    if let Some(origin) = public_url {
        headers.push(("List-Unsubscribe", format!("<{origin}{SETTINGS}>")));
    }
    for (name, value) in headers {
        builder = builder.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
    }
    let parts = MultiPart::alternative_plain_html(plain(notification, public_url), html(notification, public_url));
    builder
        .multipart(parts)
        .map(|message| message.formatted())
        .map_err(|error| format!("the mail cannot be written: {error}"))
}

/// Without the characters that end a header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

struct Texts {
    open: &'static str,
    settings: &'static str,
}

fn texts(language: Language) -> Texts {
    match language {
        Language::En => Texts { open: "Open", settings: "What I get, and when" },
        Language::De => Texts { open: "Öffnen", settings: "Was ich bekomme, und wann" },
    }
}

fn plain(notification: &Notification, public_url: Option<&str>) -> String {
    let body = clip(&notification.body, BODY_BYTES_MAX);
    let mut text = format!("{}\n\n{body}\n\n{}\n", one_line(&notification.title), fit::time(notification));
    if let Some(origin) = public_url {
        let texts = texts(notification.look.language);
        text.push_str(&format!("\n{}: {origin}{}\n", texts.open, one_line(&notification.url)));
        text.push_str(&format!("{}: {origin}{SETTINGS}\n", texts.settings));
    }
    text
}

/// Text in a page, also within quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push_str("<br>\n"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn html(notification: &Notification, public_url: Option<&str>) -> String {
    let colour = match notification.severity {
        _ if !notification.kind.is_news() => "#1c6b3a",
        Severity::Critical => "#b3261e",
        Severity::Warning => "#8a5300",
        Severity::Info => "#1f5fbf",
    };
    let (title, time) = (escaped(&one_line(&notification.title)), fit::time(notification));
    let body = escaped(&clip(&notification.body, BODY_BYTES_MAX));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"{}\"><head><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title></head>\n<body style=\"font:16px/1.5 sans-serif\">\n\
         <div style=\"border-left:4px solid {colour};padding-left:12px\">\n\
         <h1 style=\"font-size:18px;margin:0 0 8px\">{title}</h1>\n<p style=\"margin:0 0 8px\">{body}</p>\n\
         <p style=\"margin:0;color:#5a6675;font-size:14px\">{time}</p>\n",
        fit::language(notification),
    );
    if let Some(image) = notification.image.as_deref().filter(|image| image.starts_with("https://")) {
        page.push_str(&format!("<p><img src=\"{}\" alt=\"\" style=\"max-width:100%\"></p>\n", escaped(image)));
    }
    page.push_str("</div>\n");
    if let Some(origin) = public_url {
        let (texts, link) = (texts(notification.look.language), escaped(&format!("{origin}{}", notification.url)));
        page.push_str(&format!(
            "<p><a href=\"{link}\">{}</a></p>\n<p style=\"font-size:14px\"><a href=\"{}\">{}</a></p>\n",
            texts.open,
            escaped(&format!("{origin}{SETTINGS}")),
            texts.settings,
        ));
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::fit::tests::{complete, ended};
    use proptest::prelude::*;

    const HERE: Option<&str> = Some("https://pulsewire.example.org");

    fn text(notification: &Notification, public_url: Option<&str>) -> String {
        let from = "Pulsewire <alerts@example.org>".parse().expect("a mailbox");
        let to = "kim@example.com".parse().expect("an address");
        let mail = mail(notification, &from, &to, public_url, 1_800_000_000_000_000).expect("a mail");
        String::from_utf8(mail).expect("ASCII")
    }

    fn header<'a>(mail: &'a str, name: &str) -> Option<&'a str> {
        let head = mail.split("\r\n\r\n").next()?;
        head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[test]
    fn mails_of_one_alert_stay_together_and_a_repeat_has_the_same_id() {
        let (firing, resolved) = (text(&complete(), HERE), text(&ended(), HERE));
        assert_eq!(header(&firing, "Message-ID"), Some("<5BNENTQAXBNENTQAXBNENTQAXB@example.org>"));
        let thread = Some("<alert.AbCdEfGhIjKlMnOpQrStUv@example.org>");
        for mail in [&firing, &resolved] {
            assert_eq!((header(mail, "References"), header(mail, "In-Reply-To")), (thread, thread));
            assert_eq!(header(mail, "Auto-Submitted"), Some("auto-generated"));
            assert!(mail.contains("multipart/alternative"), "{mail}");
        }
        assert_eq!(header(&firing, "Subject"), Some("Cold room too warm"));
        assert_eq!(header(&firing, "To"), Some("kim@example.com"));
        assert_eq!(header(&resolved, "X-Pulsewire-Kind"), Some("resolved"));
    }

    #[test]
    fn links_are_absolute_or_absent() {
        let unsubscribe = Some("<https://pulsewire.example.org/settings/notifications>");
        assert_eq!(header(&text(&complete(), HERE), "List-Unsubscribe"), unsubscribe);
        let without = text(&Notification { image: None, ..complete() }, None);
        assert!(!without.contains("href") && header(&without, "List-Unsubscribe").is_none(), "{without}");
    }

    #[test]
    fn peoples_words_end_no_header_and_open_no_tag() {
        let title = "Warm\r\nBcc: eve@example.org\r\n\r\n<script>";
        let notification = Notification { title: title.into(), ..complete() };
        let mail = text(&notification, HERE);
        assert_eq!(header(&mail, "Bcc"), None);
        assert_eq!(header(&mail, "Subject"), Some("Warm  Bcc: eve@example.org    <script>"));
        assert!(!html(&notification, HERE).contains("<script>"));
        let page = html(&Notification { body: "<b>\"'&</b>\nnext".into(), ..complete() }, HERE);
        assert!(page.contains("&lt;b&gt;&quot;&#39;&amp;&lt;/b&gt;<br>"), "{page}");
    }

    proptest! {
        #[test]
        fn a_mail_is_of_short_ascii_lines_with_these_headers_whatever_the_words(
            title in "[\\PC\r\n\t\u{0}]{0,300}",
            body in "[\\PC\r\n.]{0,3000}",
        ) {
            let mail = text(&Notification { title, body, ..complete() }, HERE);
            prop_assert!(mail.is_ascii());
            for line in mail.split("\r\n") {
                prop_assert!(line.len() <= 998 && !line.contains(['\r', '\n']));
            }
            let head = mail.split("\r\n\r\n").next().unwrap_or_default();
            let names: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap_or_default()).collect();
            prop_assert_eq!(names, [
                "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
                "X-Auto-Response-Suppress", "X-Pulsewire-Kind", "X-Pulsewire-Severity", "List-Unsubscribe",
                "MIME-Version", "Content-Type",
            ]);
        }
    }
}
