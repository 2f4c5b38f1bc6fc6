//! What is said of alerts beside what people wrote, in the languages there are.

use super::reason::Reason;
use crate::alert::{Alert, FiredWords, ResolvedReason, fired_text, fired_text_in};
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

/// Title and body of a test message to an endpoint of this name.
pub fn test_words(language: Language, label: &str) -> (String, String) {
    match language {
        Language::En => ("Test message".into(), format!("Messages reach {label}.")),
        Language::De => ("Testnachricht".into(), format!("Nachrichten kommen hier an: {label}.")),
    }
}

/// Title and body of the message that carries a code.
pub fn code_words(language: Language, code: &str) -> (String, String) {
    match language {
        Language::En => (
            format!("Your code: {code}"),
            "Type it where you added this address. It is good for 15 minutes. If you did not ask for it, do nothing: \
             nothing else will be sent here."
                .into(),
        ),
        Language::De => (
            format!("Ihr Code: {code}"),
            "Geben Sie ihn dort ein, wo Sie diese Adresse hinzugefügt haben. Er gilt 15 Minuten. Falls Sie ihn nicht \
             angefordert haben, müssen Sie nichts tun: Es wird nichts weiter hierher geschickt."
                .into(),
        ),
    }
}

const GERMAN: FiredWords = FiredWords {
    hold: " seit ",
    silent: "keine Daten seit ",
    group: [" Geräte von ", " sind verstummt"],
    more: " weitere Geräte",
};

/// What a device is said to have, of an alert that fires, as [`fired_text`] says it in English.
pub(crate) fn fired(language: Language, alert: &Alert) -> String {
    match language {
        Language::En => fired_text(alert),
        Language::De => fired_text_in(&GERMAN, alert),
    }
}

/// First line of an alert's end.
pub(crate) fn resolved_title(language: Language, rule: &str) -> String {
    match language {
        Language::En => format!("Resolved: {rule}"),
        Language::De => format!("Entwarnung: {rule}"),
    }
}

/// Why an alert ended, and how long it lasted.
pub(crate) fn resolved_body(language: Language, reason: ResolvedReason, lasted_us: i64) -> String {
    let minutes = (lasted_us / 60_000_000).max(0);
    match language {
        Language::En => {
            let lasted = if minutes == 0 { "less than a minute".into() } else { format!("{minutes} min") };
            format!("{}; it lasted {lasted}", reason.text())
        }
        Language::De => {
            let lasted = if minutes == 0 { "weniger als eine Minute".into() } else { format!("{minutes} min") };
            format!("{}; Dauer: {lasted}", ended_because(reason))
        }
    }
}

fn ended_because(reason: ResolvedReason) -> &'static str {
    match reason {
        ResolvedReason::Cleared => "wieder normal",
        ResolvedReason::ByHand => "von Hand beendet",
        ResolvedReason::RuleChanged => "die Regel wurde geändert und trifft nicht mehr zu",
        ResolvedReason::RuleDisabled => "die Regel wurde abgeschaltet",
        ResolvedReason::RuleDeleted => "die Regel wurde gelöscht",
        ResolvedReason::ScopeChanged => "die Regel gilt für dieses Gerät nicht mehr",
        ResolvedReason::DeviceDeleted => "das Gerät wurde gelöscht",
        ResolvedReason::NoData => "das Gerät ist verstummt",
        ResolvedReason::DataBack => "das Gerät sendet wieder",
    }
}

/// Why a message goes out, as the beginning of a sentence.
pub(crate) fn reason(language: Language, reason: Reason) -> &'static str {
    match (language, reason) {
        (Language::En, Reason::First) => "It began",
        (Language::En, Reason::LevelUp) => "It got worse",
        (Language::En, Reason::NewAlerts) => "More alerts fire",
        (Language::En, Reason::AllResolved) => "All is well again",
        (Language::En, Reason::SomeResolved) => "Some of it ended, some still fires",
        (Language::En, Reason::Flapping) => "It changes too often to be told each time",
        (Language::En, Reason::Settled) => "It stopped to change all the time",
        (Language::En, Reason::Stale) => "It fires, and its data stopped to arrive",
        (Language::En, Reason::Repeat) => "It still fires",
        (Language::En, Reason::Escalation) => "Nobody has acknowledged it",
        (Language::De, Reason::First) => "Es hat begonnen",
        (Language::De, Reason::LevelUp) => "Es ist schlimmer geworden",
        (Language::De, Reason::NewAlerts) => "Weitere Alarme sind hinzugekommen",
        (Language::De, Reason::AllResolved) => "Alles ist wieder in Ordnung",
        (Language::De, Reason::SomeResolved) => "Einiges ist vorbei, anderes noch nicht",
        (Language::De, Reason::Flapping) => "Es wechselt zu oft, um jeden Wechsel zu melden",
        (Language::De, Reason::Settled) => "Es wechselt nicht mehr ständig",
        (Language::De, Reason::Stale) => "Der Alarm besteht, und es kommen keine Daten mehr",
        (Language::De, Reason::Repeat) => "Der Alarm besteht weiter",
        (Language::De, Reason::Escalation) => "Niemand hat den Alarm quittiert",
    }
}

/// First line of a message about several alerts; `rule` is the first one's.
pub(crate) fn several_title(language: Language, all: usize, over: bool, rule: &str) -> String {
    match (language, over) {
        (Language::En, false) => format!("{all} alerts: {rule}"),
        (Language::En, true) => format!("{all} resolved: {rule}"),
        (Language::De, false) => format!("{all} Alarme: {rule}"),
        (Language::De, true) => format!("{all} Entwarnungen: {rule}"),
    }
}

/// How many alerts ended beside those that fire.
pub(crate) fn ended(language: Language, count: usize) -> String {
    match language {
        Language::En => format!("{count} ended"),
        Language::De => format!("{count} vorbei"),
    }
}

/// That a message comes late.
pub(crate) fn delayed(language: Language) -> &'static str {
    match language {
        Language::En => " (told late: the server was down or busy)",
        Language::De => " (verspätet gemeldet: der Server war aus oder ausgelastet)",
    }
}
