//! What people read of a decision.

use super::phrases;
use super::reason::{Decision, Reason};
use crate::alert::Alert;
use crate::notice::{Notice, NoticeKind, NoticePolicy, Translation};
use crate::push::Language;
use crate::severity::Severity;
use std::fmt::Write as _;
use std::sync::Arc;

/// Alerts that a message names; the others are counted.
const NAMED: usize = 5;

/// The message of a decision, in every language. `find` looks an alert up; one that is not known any more is counted only. None if
/// nothing is left to be said.
pub fn notice(
    policy: &NoticePolicy,
    decision: &Decision,
    find: &dyn Fn(crate::ids::AlertId) -> Option<Arc<Alert>>,
    now_us: i64,
) -> Option<Notice> {
    let mut notice = notice_in(Language::En, policy, decision, find, now_us)?;
    let german = notice_in(Language::De, policy, decision, find, now_us)?;
    notice.translations.push(Translation { language: Language::De, title: german.title, body: german.body });
    Some(notice)
}

fn notice_in(
    language: Language,
    policy: &NoticePolicy,
    decision: &Decision,
    find: &dyn Fn(crate::ids::AlertId) -> Option<Arc<Alert>>,
    now_us: i64,
) -> Option<Notice> {
    let look_up = |ids: &[crate::ids::AlertId]| ids.iter().filter_map(|id| find(*id)).collect::<Vec<_>>();
    let mut firing = look_up(&decision.firing);
    firing.extend(look_up(&decision.flapping));
    firing.sort_by(|a, b| b.severity.cmp(&a.severity).then(b.fired_us.cmp(&a.fired_us)));
    let resolved = look_up(&decision.resolved);
    let over = decision.firing.is_empty() && decision.flapping.is_empty();
    let first = if over { resolved.first() } else { firing.first() }?;
    let of_first = policy.notice(language, first, now_us);
    let more = decision.firing.len() + decision.flapping.len() + decision.more as usize;
    let (title, body) = if over {
        several(language, &of_first, (resolved.len(), decision.resolved.len()), over, resolved.iter(), |alert| {
            alert.device_name.clone()
        })
    } else {
        several(language, &of_first, (firing.len(), more), over, firing.iter(), |alert| {
            format!("{}: {}", alert.device_name, phrases::fired(language, alert))
        })
    };
    let mut notice = Notice { title, body, ..of_first };
    notice.kind = if over { NoticeKind::Resolved } else { NoticeKind::Firing };
    let worst = firing.iter().chain(&resolved).map(|alert| alert.severity).max().unwrap_or(Severity::Info);
    notice.severity = if over { notice.severity } else { worst };
    if !over {
        // People get the grace once: an alert that waited for others has used it up.
        let begun_us = first.id.0.time_us();
        let fresh = matches!(decision.reason, Reason::First | Reason::NewAlerts | Reason::LevelUp | Reason::Flapping);
        notice.due_us = if fresh { begun_us.saturating_add(policy.grace_us).max(now_us) } else { now_us };
        if !matches!(decision.reason, Reason::First | Reason::NewAlerts) {
            notice.body = format!("{}. {}", phrases::reason(language, decision.reason), notice.body);
        }
        if !resolved.is_empty() {
            let _ = write!(notice.body, ". {}", phrases::ended(language, decision.resolved.len()));
        }
    }
    if decision.delayed {
        notice.body.push_str(phrases::delayed(language));
    }
    Some(notice)
}

/// Title and body of several messages told as one: their alerts, the worst of those that fire first, and how many more the messages
/// tell, which are not known one by one.
pub fn digest_words(language: Language, alerts: &[&Alert], more: usize) -> (String, String) {
    let all = alerts.len().saturating_add(more);
    let open = alerts.iter().filter(|alert| alert.is_open()).count().saturating_add(more);
    let mut lines: Vec<String> = alerts
        .iter()
        .take(NAMED)
        .map(|alert| match alert.is_open() {
            true => format!("{}: {}", alert.device_name, phrases::fired(language, alert)),
            false => format!("{}: {} ({})", alert.device_name, alert.rule_name, phrases::over(language)),
        })
        .collect();
    if all > lines.len() {
        lines.push(phrases::and_more(language, all - lines.len()));
    }
    (phrases::digest_title(language, all, open), lines.join("; "))
}

fn several<'a>(
    language: Language,
    one: &Notice,
    (known, all): (usize, usize),
    over: bool,
    alerts: impl Iterator<Item = &'a Arc<Alert>> + Clone,
    line: impl Fn(&Alert) -> String,
) -> (String, String) {
    if all <= 1 && known <= 1 {
        return (one.title.clone(), one.body.clone());
    }
    let first = alerts.clone().next().map_or_else(String::new, |alert| alert.rule_name.clone());
    let mut body: Vec<String> = alerts.take(NAMED).map(|alert| line(alert)).collect();
    if all > body.len() {
        body.push(phrases::and_more(language, all - body.len()));
    }
    (phrases::several_title(language, all, over, &first), body.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::ResolvedReason;

    #[test]
    fn reasons_read_the_same_as_they_are_listed() {
        for reason in Reason::ALL {
            assert_eq!(phrases::reason(Language::En, reason).to_lowercase(), reason.text(), "{reason:?}");
            assert_ne!(phrases::reason(Language::De, reason), phrases::reason(Language::En, reason));
        }
        for reason in ResolvedReason::ALL {
            let german = phrases::resolved_body(Language::De, reason, 180_000_000);
            assert!(german.ends_with("; Dauer: 3 min") && !german.contains(reason.text()), "{german}");
        }
        let short = phrases::resolved_body(Language::En, ResolvedReason::Cleared, 1);
        assert_eq!(short, "back to normal; it lasted less than a minute");
    }

    #[test]
    fn what_is_told_together_says_how_much_of_it_is_over() {
        let title = |all, open| {
            let of = |language| phrases::digest_title(language, all, open);
            (of(Language::En), of(Language::De))
        };
        let pair = |en: &str, de: &str| (en.to_owned(), de.to_owned());
        assert_eq!(title(7, 7), pair("7 alerts", "7 Alarme"));
        assert_eq!(title(7, 3), pair("7 alerts, 3 still open", "7 Alarme, 3 noch offen"));
        assert_eq!(title(7, 0), pair("7 alerts, all over by now", "7 Alarme, inzwischen alle vorbei"));
        assert_eq!(title(1, 0), pair("1 alert, over by now", "1 Alarm, inzwischen vorbei"));
    }
}
