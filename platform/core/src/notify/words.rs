//! What people read of a decision.

use super::phrases;
use super::reason::{Decision, Reason};
use crate::alert::{Alert, fired_text};
use crate::notice::{Notice, NoticeKind, NoticePolicy};
use crate::push::Language;
use crate::severity::Severity;
use std::fmt::Write as _;
use std::sync::Arc;

/// Alerts that a message names; the others are counted.
const NAMED: usize = 5;

/// The message of a decision. `find` looks an alert up; one that is not known any more is counted only. None if nothing is left to
/// be said.
pub fn notice(
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
    let of_first = policy.notice(first, now_us);
    let more = decision.firing.len() + decision.flapping.len() + decision.more as usize;
    let (title, body) = if over {
        several(&of_first, resolved.len(), decision.resolved.len(), "resolved", resolved.iter(), |alert| {
            alert.device_name.clone()
        })
    } else {
        several(&of_first, firing.len(), more, "alerts", firing.iter(), |alert| {
            format!("{}: {}", alert.device_name, fired_text(alert))
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
            notice.body = format!("{}. {}", capital(decision.reason.text()), notice.body);
        }
        if !resolved.is_empty() {
            let _ = write!(notice.body, ". {} ended", decision.resolved.len());
        }
    }
    if decision.delayed {
        notice.body.push_str(" (told late: the server was down or busy)");
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
            true => format!("{}: {}", alert.device_name, fired_text(alert)),
            false => format!("{}: {} ({})", alert.device_name, alert.rule_name, phrases::over(language)),
        })
        .collect();
    if all > lines.len() {
        lines.push(phrases::and_more(language, all - lines.len()));
    }
    (phrases::digest_title(language, all, open), lines.join("; "))
}

fn several<'a>(
    one: &Notice,
    known: usize,
    all: usize,
    word: &str,
    alerts: impl Iterator<Item = &'a Arc<Alert>> + Clone,
    line: impl Fn(&Alert) -> String,
) -> (String, String) {
    if all <= 1 && known <= 1 {
        return (one.title.clone(), one.body.clone());
    }
    let first = alerts.clone().next().map_or_else(String::new, |alert| alert.rule_name.clone());
    let mut body: Vec<String> = alerts.take(NAMED).map(|alert| line(alert)).collect();
    if all > body.len() {
        body.push(format!("and {} more", all - body.len()));
    }
    (format!("{all} {word}: {first}"), body.join("; "))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
