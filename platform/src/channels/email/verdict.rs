//! What a mail server's reply means: RFC 5321 §4.2 and the enhanced codes of RFC 3463, by the step at which it came.

use pulsewire_core::push::Verdict;

/// A step of handing a mail over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Until a connection is free.
    Wait,
    /// Connection, greeting, EHLO and TLS.
    Connect,
    /// Signing in.
    Auth,
    /// `MAIL FROM`: the sender.
    Mail,
    /// `RCPT TO`: the mailbox.
    Rcpt,
    /// `DATA`.
    Data,
    /// The mail itself; from here on it may have been taken.
    Content,
}

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server said no, with an enhanced code or not.
    Refused { code: u16, enhanced: Option<[u16; 3]> },
    /// There is no (readable) reply.
    Silent(String),
    /// The server cannot do what the configuration asks for.
    Unable(&'static str),
    /// The server cannot do what this mailbox needs.
    Unfit(&'static str),
}

const SERVER: &str = "the mail server";

/// The enhanced code at the beginning of a reply's text.
pub(super) fn enhanced(text: &str) -> Option<[u16; 3]> {
    let word = text.split([' ', '\r', '\n']).next()?;
    let mut parts = word.split('.').map(|part| part.parse::<u16>().ok());
    let code = [parts.next()??, parts.next()??, parts.next()??];
    (parts.next().is_none() && matches!(code[0], 2 | 4 | 5)).then_some(code)
}

pub(super) fn classify(outcome: Result<u16, (Step, Trouble)>) -> Verdict {
    let (step, trouble) = match outcome {
        Ok(status) => return Verdict::Delivered { provider_id: None, status },
        Err(failure) => failure,
    };
    match trouble {
        Trouble::Refused { code, enhanced } => refused(step, code, enhanced),
        Trouble::Silent(what) => {
            let reason = format!("{SERVER}: {what}");
            match step {
                Step::Connect | Step::Auth => Verdict::ProviderDown { after_us: None, reason, status: None },
                _ => Verdict::Retry { after_us: None, reason, status: None, unclear: step == Step::Content },
            }
        }
        Trouble::Unable(what) => Verdict::Misconfigured { reason: format!("{SERVER} {what}"), status: None },
        Trouble::Unfit(what) => Verdict::DropMessage { reason: format!("{SERVER} {what}"), status: None },
    }
}

fn refused(step: Step, code: u16, enhanced: Option<[u16; 3]>) -> Verdict {
    // Nothing of its text: it likes to repeat the mailbox.
    let mut reason = format!("{SERVER} answered {code}");
    if let Some([class, subject, detail]) = enhanced {
        reason.push_str(&format!(" {class}.{subject}.{detail}"));
    }
    reason.push_str(match step {
        Step::Wait | Step::Connect => " to the connection",
        Step::Auth => " to user and password",
        Step::Mail => " to the sender",
        Step::Rcpt => " to the mailbox",
        Step::Data | Step::Content => " to the mail",
    });
    let status = Some(code);
    let down = |reason| Verdict::ProviderDown { after_us: None, reason, status };
    let retry = |reason| Verdict::Retry { after_us: None, reason, status, unclear: false };
    let dropped = |reason| Verdict::DropMessage { reason, status };
    let misconfigured = |reason| Verdict::Misconfigured { reason, status };
    match (step, code) {
        (_, 421) | (Step::Connect, _) => down(reason),
        (Step::Auth, 500..=599) => misconfigured(reason),
        (Step::Auth, _) => down(reason),
        // Authentication is wanted, or the sender is not this account's.
        (_, 530 | 535 | 538) | (Step::Mail, 550 | 553 | 554) => misconfigured(reason),
        (_, 400..=499) => retry(reason),
        // No such mailbox, no such host, bad syntax, moved (RFC 3463 §3.2), and a domain that takes no mail (RFC 7505). The other
        // codes of 5.1 are about the sender, or say nothing certain.
        (Step::Rcpt, 550 | 551 | 553 | 556) if matches!(enhanced, Some([5, 1, 1 | 2 | 3 | 6 | 10])) => {
            Verdict::DropEndpoint { reason, since_us: None, status: code, certain: false }
        }
        (_, 500..=599) => dropped(reason),
        _ => retry(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reply_has_its_reaction_by_its_step() {
        for (step, code, text, name) in [
            (Step::Connect, 554, "", "provider_down"),
            (Step::Connect, 421, "", "provider_down"),
            (Step::Auth, 535, "5.7.8 bad credentials", "misconfigured"),
            (Step::Auth, 534, "", "misconfigured"),
            (Step::Auth, 454, "4.7.0 later", "provider_down"),
            (Step::Mail, 530, "5.7.0 authentication required", "misconfigured"),
            (Step::Mail, 553, "5.7.1 not yours", "misconfigured"),
            (Step::Mail, 452, "4.3.1 full", "retry"),
            (Step::Mail, 552, "5.3.4 too large", "drop_message"),
            (Step::Rcpt, 550, "5.1.1 no such user", "drop_endpoint"),
            (Step::Rcpt, 551, "5.1.6 moved", "drop_endpoint"),
            (Step::Rcpt, 553, "5.1.3 syntax", "drop_endpoint"),
            (Step::Rcpt, 550, "5.1.2 no such host", "drop_endpoint"),
            (Step::Rcpt, 556, "5.1.10 takes no mail", "drop_endpoint"),
            (Step::Rcpt, 550, "5.1.0 address rejected", "drop_message"),
            (Step::Rcpt, 553, "5.1.4 ambiguous", "drop_message"),
            (Step::Rcpt, 553, "5.1.7 syntax of the sender", "drop_message"),
            (Step::Rcpt, 550, "5.1.9 of another system", "drop_message"),
            (Step::Rcpt, 550, "5.1.8 bad sender", "drop_message"),
            (Step::Rcpt, 550, "5.7.1 no relay", "drop_message"),
            (Step::Rcpt, 550, "no such user", "drop_message"),
            (Step::Rcpt, 552, "5.2.2 mailbox full", "drop_message"),
            (Step::Rcpt, 450, "4.2.0 greylisted", "retry"),
            (Step::Rcpt, 421, "", "provider_down"),
            (Step::Data, 554, "", "drop_message"),
            (Step::Data, 451, "", "retry"),
            (Step::Content, 554, "5.7.1 spam", "drop_message"),
            (Step::Content, 452, "", "retry"),
            (Step::Content, 354, "", "retry"),
        ] {
            let verdict = classify(Err((step, Trouble::Refused { code, enhanced: enhanced(text) })));
            assert_eq!((verdict.name(), verdict.status()), (name, Some(code)), "{step:?} {code} {text}");
            assert!(!verdict.reason().contains("user ") || step == Step::Auth, "{}", verdict.reason());
            let uncertain = !matches!(verdict, Verdict::DropEndpoint { certain: true, .. });
            assert!(uncertain);
        }
        assert_eq!(classify(Ok(250)), Verdict::Delivered { provider_id: None, status: 250 });
    }

    #[test]
    fn without_a_reply_only_the_mail_itself_may_have_been_taken() {
        let verdict = |step| classify(Err((step, Trouble::Silent("no answer".into()))));
        for step in [Step::Connect, Step::Auth] {
            assert_eq!(verdict(step).name(), "provider_down");
        }
        for (step, may_be) in
            [(Step::Wait, false), (Step::Mail, false), (Step::Rcpt, false), (Step::Data, false), (Step::Content, true)]
        {
            assert!(matches!(verdict(step), Verdict::Retry { unclear, .. } if unclear == may_be), "{step:?}");
        }
    }

    #[test]
    fn enhanced_codes_are_read_or_absent() {
        assert_eq!(enhanced("5.1.1 no"), Some([5, 1, 1]));
        assert_eq!(enhanced("5.1.10\r\nmore"), Some([5, 1, 10]));
        for text in ["", "no", "5.1", "5.1.1.1", "9.1.1", "5.1.x", "127.0.0.1 said"] {
            assert_eq!(enhanced(text), None, "{text}");
        }
    }
}
