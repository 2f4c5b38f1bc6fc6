//! What is said of alerts beside what people wrote, in the languages there are.

use crate::push::Language;

/// First line of several messages told as one: how many alerts, and how many of them still fire.
pub fn digest_title(language: Language, all: usize, open: usize) -> String {
    match (language, all, open) {
        (Language::En, 1, 1) => "1 alert".into(),
        (Language::En, 1, _) => "1 alert, over by now".into(),
        (Language::En, _, 0) => format!("{all} alerts, all over by now"),
        (Language::En, _, _) if all == open => format!("{all} alerts"),
        (Language::En, _, _) => format!("{all} alerts, {open} still open"),
        (Language::De, 1, 1) => "1 Alarm".into(),
        (Language::De, 1, _) => "1 Alarm, inzwischen vorbei".into(),
        (Language::De, _, 0) => format!("{all} Alarme, inzwischen alle vorbei"),
        (Language::De, _, _) if all == open => format!("{all} Alarme"),
        (Language::De, _, _) => format!("{all} Alarme, {open} noch offen"),
    }
}

/// The rest of a list.
pub fn and_more(language: Language, more: usize) -> String {
    match language {
        Language::En => format!("and {more} more"),
        Language::De => format!("und {more} weitere"),
    }
}

/// Of an alert in a list: that it does not fire any more.
pub fn over(language: Language) -> &'static str {
    match language {
        Language::En => "over",
        Language::De => "vorbei",
    }
}

/// First line of the message that someone takes care of what this title told.
pub fn acknowledged(language: Language, by: &str, title: &str) -> String {
    match language {
        Language::En => format!("Acknowledged by {by}: {title}"),
        Language::De => format!("Quittiert von {by}: {title}"),
    }
}
