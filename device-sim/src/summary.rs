use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use crate::client::ClientStats;

/// What devices that run until they are stopped have done.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How many devices there were.
    pub devices: u32,
    /// How long they ran, in seconds.
    pub seconds: f64,
    /// Logins, reconnects included.
    pub logins: u64,
    /// Connections that broke or were closed, and attempts that failed.
    pub disconnects: u64,
    /// Reports sent, repeats included.
    pub sent: u64,
    /// Values in them.
    pub samples: u64,
    /// Reports acknowledged, once each.
    pub acknowledged: u64,
    /// Reports made and not acknowledged at the end.
    pub unacknowledged: u64,
    /// Values that the server rejected.
    pub rejected: u64,
    /// Readings that were not reported because the spool was full.
    pub dropped: u64,
    /// The first devices that ended with an error, and the error.
    pub failed: Vec<Failed>,
    /// How many there were.
    pub failed_total: u64,
}

/// A device that ended with an error.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// Device id.
    pub device: String,
    /// Why.
    pub error: String,
}

impl Summary {
    /// How many failures are listed.
    pub(crate) const FAILED_LISTED: usize = 10;

    pub(crate) fn new(devices: u32, ran: Duration, stats: &Arc<ClientStats>) -> Summary {
        Summary {
            devices,
            seconds: ran.as_secs_f64(),
            logins: ClientStats::get(&stats.logins),
            disconnects: ClientStats::get(&stats.disconnects),
            sent: ClientStats::get(&stats.sent),
            samples: ClientStats::get(&stats.samples),
            acknowledged: ClientStats::get(&stats.acknowledged),
            unacknowledged: 0,
            rejected: ClientStats::get(&stats.rejected),
            dropped: ClientStats::get(&stats.dropped),
            failed: Vec::new(),
            failed_total: 0,
        }
    }

    /// Whether every device logged in and everything it reported was acknowledged.
    pub fn is_complete(&self) -> bool {
        self.failed_total == 0 && self.unacknowledged == 0 && self.logins >= u64::from(self.devices)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "devices               {:>10}", self.devices)?;
        writeln!(f, "seconds               {:>10.1}", self.seconds)?;
        writeln!(f, "logins                {:>10}", self.logins)?;
        writeln!(f, "connections lost      {:>10}", self.disconnects)?;
        writeln!(f, "reports sent          {:>10}", self.sent)?;
        writeln!(f, "acknowledged          {:>10}", self.acknowledged)?;
        writeln!(f, "not acknowledged      {:>10}", self.unacknowledged)?;
        writeln!(f, "samples sent          {:>10}", self.samples)?;
        writeln!(f, "values rejected       {:>10}", self.rejected)?;
        write!(f, "readings dropped      {:>10}", self.dropped)?;
        for Failed { device, error } in &self.failed {
            write!(f, "\n{device}: {error}")?;
        }
        let unlisted = self.failed_total.saturating_sub(self.failed.len() as u64);
        if unlisted > 0 {
            write!(f, "\nand {unlisted} more devices failed")?;
        }
        Ok(())
    }
}
