//! One alert in its group: how it stands, what people were told of it, and what there is to tell.

use super::policy::GroupPolicy;
use super::reason::Suppressed;
use crate::ids::AlertId;
use crate::severity::Severity;

/// Why an alert is kept quiet by something outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mute {
    /// A silence.
    Silenced,
    /// A maintenance.
    Maintenance,
    /// Another alert that explains it.
    Inhibited,
}

impl From<Mute> for Suppressed {
    fn from(mute: Mute) -> Self {
        match mute {
            Mute::Silenced => Self::Silenced,
            Mute::Maintenance => Self::Maintenance,
            Mute::Inhibited => Self::Inhibited,
        }
    }
}

/// An alert as it stands now. Whoever tells a group of a change gives all of it; the group finds out what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub alert: AlertId,
    /// How bad it is now.
    pub severity: Severity,
    /// False: it ended.
    pub firing: bool,
    /// When someone acknowledged it, if that was not taken back; µs since the Unix epoch. The group itself finds out when an
    /// acknowledgement does not count any more, so the caller need not clear it.
    pub acknowledged_us: Option<i64>,
    /// Whether it is kept quiet.
    pub mute: Option<Mute>,
    /// Its data stopped to arrive.
    pub stale: bool,
    /// It flaps. Whoever sets it has to tell of the end, too, also if the alert ended meanwhile.
    pub flapping: bool,
}

/// What people are still to hear of a firing alert that they were told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    /// That it still fires: its silence or acknowledgement is over.
    Again,
    /// That it got worse than it was when someone acknowledged it.
    LevelUp,
}

/// What there is to tell of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pending {
    New,
    LevelUp,
    Again,
    Resolved,
    Flapping,
    Settled,
    Stale,
}

/// An alert in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub member: Member,
    /// How bad people think it is; None: they think that it does not fire.
    pub told: Option<Severity>,
    /// People think that it flaps.
    pub told_flapping: bool,
    /// People were told that its data stopped, since it began to fire.
    pub told_stale: bool,
    pub owed: Owed,
    /// How bad it was when it was acknowledged.
    pub ack_severity: Severity,
    /// Acknowledgements up to this time do not count any more.
    pub void_ack_us: Option<i64>,
    /// From when on what is pending may be told.
    pub due_us: i64,
    /// Since when it fires and nothing keeps it quiet.
    pub audible_us: i64,
    /// When the message went out after which escalation counts.
    pub chain_us: Option<i64>,
    /// How many escalation messages there were since.
    pub escalated: u8,
}

impl Held {
    pub(super) fn new(member: Member, now_us: i64) -> Self {
        Self {
            member,
            told: None,
            told_flapping: false,
            told_stale: false,
            owed: Owed::Nothing,
            ack_severity: member.severity,
            void_ack_us: None,
            due_us: now_us,
            audible_us: now_us,
            chain_us: None,
            escalated: 0,
        }
    }

    pub(super) fn acknowledged(&self) -> bool {
        self.member.acknowledged_us.is_some_and(|at| self.void_ack_us.is_none_or(|void| at > void))
    }

    /// True if people think anything of it that will have to be put right.
    pub(super) fn known(&self) -> bool {
        self.told.is_some() || self.told_flapping
    }

    /// True if the alert is not over: it fires, or may at any moment.
    pub(super) fn open(&self) -> bool {
        self.member.firing || self.member.flapping
    }

    fn audible(&self) -> bool {
        self.member.firing && self.member.mute.is_none() && !self.acknowledged() && !self.member.flapping
    }

    /// What there is to tell, or why nothing is.
    pub(super) fn pending(&self, policy: &GroupPolicy) -> Result<Pending, Suppressed> {
        let member = &self.member;
        if member.flapping {
            return match (self.told_flapping, member.mute) {
                (true, _) => Err(Suppressed::Flapping),
                (false, Some(mute)) => Err(mute.into()),
                (false, None) => Ok(Pending::Flapping),
            };
        }
        if !member.firing {
            return self.pending_end(policy);
        }
        if let Some(mute) = member.mute {
            return Err(mute.into());
        }
        if self.told_flapping {
            return Ok(Pending::Settled);
        }
        let Some(told) = self.told else {
            return if self.acknowledged() { Err(Suppressed::Acknowledged) } else { Ok(Pending::New) };
        };
        if !self.acknowledged() && (member.severity > told || self.owed == Owed::LevelUp) {
            Ok(Pending::LevelUp)
        } else if member.stale && policy.tell_stale && !self.told_stale {
            Ok(Pending::Stale)
        } else if self.acknowledged() {
            Err(Suppressed::Acknowledged)
        } else if self.owed == Owed::Again {
            Ok(Pending::Again)
        } else {
            Err(Suppressed::NotDue)
        }
    }

    fn pending_end(&self, policy: &GroupPolicy) -> Result<Pending, Suppressed> {
        if !self.known() {
            return Err(Suppressed::ResolvedBeforeWait);
        }
        // Who was told that it flaps waits for the settled state, whatever the policy says of ends.
        if !policy.send_resolved && !self.told_flapping {
            return Err(Suppressed::ResolvedNotAsked);
        }
        if !policy.resolved_when_quiet {
            if let Some(mute) = self.member.mute {
                return Err(mute.into());
            }
            if self.acknowledged() {
                return Err(Suppressed::Acknowledged);
            }
        }
        Ok(if self.told_flapping { Pending::Settled } else { Pending::Resolved })
    }

    /// Takes the alert as it stands now.
    pub(super) fn put(&mut self, member: Member, now_us: i64, policy: &GroupPolicy) {
        let (before, was_audible, was) = (self.pending(policy), self.audible(), self.member);
        self.member = member;
        if member.acknowledged_us != was.acknowledged_us {
            self.ack_severity = member.severity;
        }
        let worse = self.acknowledged() && member.severity > self.ack_severity;
        if worse {
            self.void_ack_us = member.acknowledged_us;
        }
        if !member.firing {
            (self.owed, self.told_stale) = (Owed::Nothing, false);
        } else if self.told.is_some() {
            let by_people = |mute| matches!(mute, Some(Mute::Silenced | Mute::Maintenance));
            let unsilenced = by_people(was.mute) && member.mute.is_none();
            let unacknowledged = was.acknowledged_us.is_some() && member.acknowledged_us.is_none();
            let milder = member.severity < was.severity;
            match self.owed {
                _ if worse => self.owed = Owed::LevelUp,
                Owed::Nothing if was.firing && (unsilenced || unacknowledged) => self.owed = Owed::Again,
                Owed::LevelUp if milder => self.owed = Owed::Again,
                _ => {}
            }
        }
        if member.firing && !was.firing {
            // People know it as firing all the time; escalation goes on where it was, but not for the time of peace.
            self.chain_us = self.chain_us.map(|_| now_us);
        }
        if !was_audible && self.audible() {
            self.audible_us = now_us;
        }
        match (before, self.pending(policy)) {
            (Err(_), Ok(_)) => self.due_us = now_us.saturating_add(policy.wait_us),
            // What waited for the interval does not have to any more; it was not due before now.
            (Ok(before), Ok(Pending::LevelUp)) if before != Pending::LevelUp => self.due_us = self.due_us.max(now_us),
            _ => {}
        }
    }

    /// When its acknowledgement stops to count.
    pub(super) fn ack_over_us(&self, policy: &GroupPolicy) -> Option<i64> {
        let at = self.member.acknowledged_us.filter(|_| self.member.firing && self.acknowledged())?;
        Some(at.saturating_add(policy.ack_timeout_us?))
    }

    /// Its acknowledgement stopped to count at this time.
    pub(super) fn ack_is_over(&mut self, at_us: i64) {
        self.void_ack_us = self.member.acknowledged_us;
        if self.told.is_some() && self.owed == Owed::Nothing {
            self.owed = Owed::Again;
        }
        (self.due_us, self.audible_us) = (at_us, at_us);
    }

    /// A message at this time told how it stands.
    pub(super) fn told_as_it_is(&mut self, now_us: i64, pending: Option<Pending>) {
        self.told = self.member.firing.then_some(self.member.severity);
        self.owed = Owed::Nothing;
        self.told_flapping = false;
        if matches!(pending, Some(Pending::New | Pending::LevelUp | Pending::Again | Pending::Settled)) {
            (self.chain_us, self.escalated) = (Some(now_us), 0);
        }
    }

    /// When its next escalation message is due, while nothing keeps it quiet. What begins escalation anew is told first.
    pub(super) fn escalation_due_us(&self, policy: &GroupPolicy) -> Option<i64> {
        if !self.audible() || !matches!(self.pending(policy), Err(Suppressed::NotDue) | Ok(Pending::Stale)) {
            return None;
        }
        let (offset_us, _) = policy.escalation_message(self.escalated)?;
        Some(self.chain_us?.saturating_add(offset_us).max(self.audible_us))
    }
}
