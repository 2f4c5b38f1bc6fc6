//! Words of an admin to many: what one is, and what may be done with it.

use crate::ids::{AnnouncementId, GroupName, UserName};
use crate::notify::Recipients;
use crate::severity::Severity;
use std::ops::RangeInclusive;

/// Longest title, in bytes: it has to fit a phone's lock screen.
pub const TITLE_BYTES_MAX: usize = 120;
/// Longest text, in bytes: with the rest of a message it has to fit what providers take.
pub const BODY_BYTES_MAX: usize = 1000;
/// Longest path that it leads to, in bytes.
pub const PATH_BYTES_MAX: usize = 256;
/// Longest address of a picture, in bytes.
pub const IMAGE_BYTES_MAX: usize = 512;
/// How long it may be worth telling, in µs: a minute to 28 days, which is as long as providers keep one.
pub const TTL_US: RangeInclusive<i64> = 60_000_000..=2_419_200_000_000;
/// How far ahead it may be planned, in µs: a year.
pub const AHEAD_US_MAX: i64 = 31_536_000_000_000;

/// To whom it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressees {
    /// People by name or role, wherever they want messages.
    People(Recipients),
    /// Those who are told of alerts of devices in this group, where they are.
    Group(GroupName),
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnnouncementState {
    /// Its time has not come.
    Scheduled,
    /// It goes out.
    Running,
    /// It was stopped for a while.
    Paused,
    /// It went to all.
    Done,
    /// It was stopped for good.
    Canceled,
}

/// What an admin does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnnouncementAct {
    /// Stops it for a while; what is on its way to a provider arrives.
    Pause,
    /// Goes on.
    Resume,
    /// Stops it for good; what is on its way to a provider arrives.
    Cancel,
}

impl AnnouncementAct {
    /// Every act.
    pub const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Cancel];

    /// The name used in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
        }
    }
}

impl AnnouncementState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Running, Self::Paused, Self::Done, Self::Canceled];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Canceled => "canceled",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// True if nothing more happens to it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Canceled)
    }

    /// The state after an act; None if it is over. `is_due`: its time has come.
    pub fn after(self, act: AnnouncementAct, is_due: bool) -> Option<Self> {
        match (self, act) {
            (Self::Done | Self::Canceled, _) => None,
            (_, AnnouncementAct::Cancel) => Some(Self::Canceled),
            (_, AnnouncementAct::Pause) => Some(Self::Paused),
            (Self::Paused, AnnouncementAct::Resume) if is_due => Some(Self::Running),
            (Self::Paused, AnnouncementAct::Resume) => Some(Self::Scheduled),
            (other, AnnouncementAct::Resume) => Some(other),
        }
    }
}

/// How far it has come. What is neither delivered, failed nor withdrawn waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// People it was made out to so far.
    pub people: u64,
    /// Their endpoints.
    pub endpoints: u64,
    /// Endpoints whose provider took it.
    pub delivered: u64,
    /// Endpoints whose provider refused it, or that could not be reached in time.
    pub failed: u64,
    /// Endpoints whose people do not want it, or that are gone.
    pub withdrawn: u64,
}

impl Progress {
    /// Endpoints to which it is still to go, of those that are known.
    pub fn waiting(&self) -> u64 {
        self.endpoints.saturating_sub(self.delivered + self.failed + self.withdrawn)
    }
}

/// Words of an admin to many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Its id.
    pub id: AnnouncementId,
    /// First line.
    pub title: String,
    /// The rest.
    pub body: String,
    /// Path on this server.
    pub url: String,
    /// An https address of a picture.
    pub image: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// To whom.
    pub to: Addressees,
    /// µs since the Unix epoch.
    pub created_us: i64,
    /// Who wrote it.
    pub created_by: UserName,
    /// Not sent before, µs since the Unix epoch.
    pub not_before_us: i64,
    /// Not worth telling after, µs since the Unix epoch.
    pub expires_us: i64,
    /// Where it stands.
    pub state: AnnouncementState,
    /// How far it has come.
    pub progress: Progress,
}

/// A field that cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct AnnouncementError {
    /// Its name.
    pub field: &'static str,
    /// What was given, and what is allowed.
    pub problem: String,
}

fn text(field: &'static str, text: &str, min: usize, max: usize, lines: bool) -> Result<(), AnnouncementError> {
    let control = text.chars().any(|c| c.is_control() && !(lines && c == '\n'));
    if text.trim().len() >= min && text.len() <= max && !control {
        return Ok(());
    }
    let problem = format!("{field} has {} bytes; {min} to {max} without control characters are allowed", text.len());
    Err(AnnouncementError { field, problem })
}

impl Announcement {
    /// Checks what people wrote. `now_us`: when they did.
    ///
    /// # Errors
    /// [`AnnouncementError`] about the first field that cannot be so.
    pub fn check(&self, now_us: i64) -> Result<(), AnnouncementError> {
        let wrong = |field, problem: String| Err(AnnouncementError { field, problem });
        text("title", &self.title, 1, TITLE_BYTES_MAX, false)?;
        text("body", &self.body, 0, BODY_BYTES_MAX, true)?;
        let path = &self.url;
        // Two slashes would lead to another host.
        if !path.starts_with('/') || path.starts_with("//") || path.contains('\\') || path.len() > PATH_BYTES_MAX {
            return wrong(
                "url",
                format!("url must be a path on this server, such as /alerts, of {PATH_BYTES_MAX} bytes at most"),
            );
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("url", "url must be of printable ASCII characters without spaces".into());
        }
        if let Some(image) = &self.image {
            let plain = image.bytes().all(|b| b.is_ascii_graphic());
            let rest = image.strip_prefix("https://").unwrap_or_default();
            if !plain || rest.is_empty() || rest.starts_with('/') || image.len() > IMAGE_BYTES_MAX {
                return wrong("image", format!("image must be an https address of {IMAGE_BYTES_MAX} bytes at most"));
            }
        }
        if self.not_before_us.saturating_sub(now_us) > AHEAD_US_MAX {
            return wrong("not_before", "not_before is more than a year ahead; a year is allowed".into());
        }
        if !TTL_US.contains(&self.expires_us.saturating_sub(self.not_before_us.max(now_us))) {
            return wrong("ttl", "ttl must be 1m to 28d".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ulid::Ulid;

    const NOW_US: i64 = 1_800_000_000_000_000;

    fn announcement() -> Announcement {
        Announcement {
            id: AnnouncementId(Ulid::from_parts(NOW_US, 1)),
            title: "Maintenance tonight".into(),
            body: "From 22:00\nfor an hour.".into(),
            url: "/".into(),
            image: None,
            severity: Severity::Info,
            to: Addressees::People(Recipients::Everyone),
            created_us: NOW_US,
            created_by: UserName::parse("ada").expect("valid"),
            not_before_us: NOW_US,
            expires_us: NOW_US + 3_600_000_000,
            state: AnnouncementState::Scheduled,
            progress: Progress::default(),
        }
    }

    #[test]
    fn what_cannot_be_said_names_its_field() {
        assert_eq!(announcement().check(NOW_US), Ok(()));
        let wrong = |change: fn(&mut Announcement)| {
            let mut one = announcement();
            change(&mut one);
            one.check(NOW_US).err().map(|error| error.field)
        };
        for (field, change) in [
            ("title", (|a| a.title = " ".into()) as fn(&mut Announcement)),
            ("title", |a| a.title = "x".repeat(121)),
            ("title", |a| a.title = "two\nlines".into()),
            ("body", |a| a.body = "x".repeat(1001)),
            ("body", |a| a.body = "\u{7}".into()),
            ("url", |a| a.url = "https://elsewhere.example/".into()),
            ("url", |a| a.url = "//elsewhere.example/".into()),
            ("url", |a| a.url = "/\\elsewhere.example/".into()),
            ("url", |a| a.url = "/a b".into()),
            ("image", |a| a.image = Some("http://x.example/a.png".into())),
            ("image", |a| a.image = Some("https://".into())),
            ("not_before", |a| (a.not_before_us, a.expires_us) = (NOW_US + AHEAD_US_MAX + 1, i64::MAX)),
            ("ttl", |a| a.expires_us = NOW_US),
            ("ttl", |a| a.expires_us = NOW_US + TTL_US.end() + 1),
        ] {
            assert_eq!(wrong(change), Some(field));
        }
    }

    #[test]
    fn every_act_in_every_state() {
        let mut table = String::new();
        for state in AnnouncementState::ALL {
            for act in AnnouncementAct::ALL {
                let after = |is_due| state.after(act, is_due).map_or("refused", AnnouncementState::name);
                let (due, early) = (after(true), after(false));
                let early = if early == due { String::new() } else { format!(" (before its time: {early})") };
                table.push_str(&format!("{} {} -> {due}{early}\n", state.name(), act.name()));
            }
        }
        assert_eq!(
            table,
            "scheduled pause -> paused\nscheduled resume -> scheduled\nscheduled cancel -> canceled\n\
             running pause -> paused\nrunning resume -> running\nrunning cancel -> canceled\n\
             paused pause -> paused\npaused resume -> running (before its time: scheduled)\npaused cancel -> canceled\n\
             done pause -> refused\ndone resume -> refused\ndone cancel -> refused\n\
             canceled pause -> refused\ncanceled resume -> refused\ncanceled cancel -> refused\n"
        );
    }
}
