//! What becomes of a rule on a device, and what that takes.

use crate::alert::compiled::Compiled;
use crate::alert::record::ResolvedReason;
use crate::device::Device;
use crate::ids::AlertId;
use crate::severity::Severity;
use crate::value::Value;

/// What happened. Times are event times, but for those of silence, which are the server's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    /// An alert began.
    Fired {
        /// Its id.
        alert: AlertId,
        /// How bad.
        severity: Severity,
        /// Since when its predicate held.
        since_us: i64,
        /// When it fired.
        at_us: i64,
        /// It is an alert that ended within the reopen window.
        reopened: bool,
    },
    /// An alert became worse or milder.
    Level {
        /// Which.
        alert: AlertId,
        /// What it was.
        from: Severity,
        /// What it is.
        to: Severity,
        /// When.
        at_us: i64,
    },
    /// The condition of an alert is over and it is kept, or it came back.
    Recovering {
        /// Which.
        alert: AlertId,
        /// False: it came back.
        begins: bool,
        /// When.
        at_us: i64,
    },
    /// An alert ended.
    Resolved {
        /// Which.
        alert: AlertId,
        /// Why.
        reason: ResolvedReason,
        /// When.
        at_us: i64,
    },
    /// The device of an alert that fires went silent, or came back.
    Silent {
        /// Which alert.
        alert: AlertId,
        /// False: it came back.
        begins: bool,
        /// When, by the server's clock.
        at_us: i64,
    },
    /// A device went silent, and that is an alert.
    NoData {
        /// Its id.
        alert: AlertId,
        /// How bad.
        severity: Severity,
        /// When the last sample came, by the server's clock.
        since_us: i64,
        /// When it was too long, by the server's clock.
        at_us: i64,
    },
    /// An alert began to come and go, or settled.
    Flapping {
        /// Which.
        alert: AlertId,
        /// False: it settled.
        begins: bool,
        /// When.
        at_us: i64,
    },
}

impl Event {
    /// Which alert it is about.
    pub fn alert(&self) -> AlertId {
        let mut event = *self;
        *event.alert_mut()
    }

    /// Which alert it is about.
    pub fn alert_mut(&mut self) -> &mut AlertId {
        match self {
            Self::Fired { alert, .. }
            | Self::Level { alert, .. }
            | Self::Recovering { alert, .. }
            | Self::Resolved { alert, .. }
            | Self::Silent { alert, .. }
            | Self::NoData { alert, .. }
            | Self::Flapping { alert, .. } => alert,
        }
    }
}

/// The newest values of a rule's metrics, in its order, when this alert fired.
pub type Seen = (AlertId, Box<[Option<Value>]>);

/// What an event needs besides the sample.
pub struct Hand<'a> {
    /// The rule.
    pub rule: &'a Compiled,
    /// The device.
    pub device: &'a Device,
    /// Makes a new id.
    pub new_id: &'a mut dyn FnMut() -> AlertId,
    /// Since when the server listens: silence before it says nothing of a device.
    pub resumed_us: i64,
    /// Where the metrics go as they are when an alert fires, if its message speaks of them.
    pub seen: &'a mut Vec<Seen>,
    /// Where events go, with the value at the time.
    pub events: &'a mut Vec<(Event, f64)>,
}
