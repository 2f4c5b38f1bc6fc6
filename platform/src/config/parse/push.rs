//! `[push]`: providers whose keys only work together.

use super::Reader;
use crate::config::{Apns, Fcm, Push};

impl Reader {
    pub(super) fn push(&mut self, public_url: Option<&str>) -> Push {
        let (apns, fcm) = (self.apns(), self.fcm());
        let subject = self.text("push.vapid_subject");
        let valid = |s: &str| {
            let mail = s
                .strip_prefix("mailto:")
                .is_some_and(|m| m.split_once('@').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty()));
            mail || s.strip_prefix("https://").is_some_and(|host| !host.is_empty())
        };
        if !subject.is_empty() && !valid(&subject) {
            self.mistakes.push(format!(
                "push.vapid_subject is {subject:?}; mailto:you@example.org or an https:// address is wanted"
            ));
        }
        let public = public_url.filter(|url| url.starts_with("https://")).map(str::to_owned);
        let push = Push {
            grace: self.duration("push.grace"),
            ttl_critical: self.duration("push.ttl_critical"),
            ttl_warning: self.duration("push.ttl_warning"),
            ttl_info: self.duration("push.ttl_info"),
            workers: self.integer("push.workers"),
            per_origin_max: self.integer("push.per_origin_max"),
            per_origin_rate: self.integer("push.per_origin_rate"),
            bulk_queue_max: self.integer("push.bulk_queue_max"),
            lease: self.duration("push.lease"),
            connect_timeout: self.duration("push.connect_timeout"),
            request_timeout: self.duration("push.request_timeout"),
            attempts_max: self.integer("push.attempts_max"),
            history_per_user: self.integer("push.history_per_user"),
            endpoints_per_user_max: self.integer("push.endpoints_per_user_max"),
            endpoint_idle_max: self.duration("push.endpoint_idle_max"),
            allow_private_endpoints: self.bool("push.allow_private_endpoints"),
            extra_root_file: self.file_path("push.extra_root_file"),
            vapid_subject: Some(subject).filter(|s| !s.is_empty()).or(public),
            apns,
            fcm,
        };
        if push.lease <= push.request_timeout + push.connect_timeout {
            self.mistakes.push(format!(
                "push.lease is {:?}; more than push.request_timeout and push.connect_timeout together ({:?}) is wanted",
                push.lease,
                push.request_timeout + push.connect_timeout
            ));
        }
        push
    }

    fn apns(&mut self) -> Option<Apns> {
        let names = ["push.apns_key_file", "push.apns_key_id", "push.apns_team_id", "push.apns_topic"];
        let missing: Vec<_> = names.into_iter().filter(|name| self.text(name).is_empty()).collect();
        let url = self.https_origin("push.apns_url");
        if missing.len() == names.len() {
            return None;
        }
        if !missing.is_empty() {
            self.mistakes
                .push(format!("{} must be given, too, since other keys of push.apns_… are", missing.join(", ")));
        }
        for name in ["push.apns_key_id", "push.apns_team_id", "push.apns_topic"] {
            let text = self.text(name);
            if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')) || text.len() > 128 {
                self.mistakes.push(format!("{name} is {text:?}; letters, digits, points and hyphens are wanted"));
            }
        }
        Some(Apns {
            key_file: self.file_path("push.apns_key_file")?,
            key_id: self.text("push.apns_key_id"),
            team_id: self.text("push.apns_team_id"),
            topic: self.text("push.apns_topic"),
            url,
        })
    }

    fn fcm(&mut self) -> Option<Fcm> {
        let url = self.https_origin("push.fcm_url");
        Some(Fcm { service_account_file: self.file_path("push.fcm_service_account_file")?, url })
    }

    /// The origin that a key names: `https://host` or `https://host:port`.
    fn https_origin(&mut self, path: &str) -> String {
        let url = self.text(path);
        let origin = url.strip_suffix('/').unwrap_or(&url).to_owned();
        if origin.strip_prefix("https://").is_none_or(|host| host.is_empty() || host.contains(['/', '@', ' '])) {
            self.mistakes
                .push(format!("{path} is {url:?}; an origin like https://example.org is wanted, without a path"));
        }
        origin
    }
}
