use std::{fmt, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    ReplayOptions,
    rows::BadRow,
    source::{Counts, ReplaySource},
    table::Table,
};
use crate::{SimError, api::Accounting, client::ClientStats};

/// What a replay came to.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// The CSV file.
    pub file: String,
    /// Rows in it.
    pub rows_read: u64,
    /// Rows that could not be read and were left out.
    pub unreadable: u64,
    /// The first of them.
    pub bad_rows: Vec<BadRow>,
    /// Different pairs of device and time among the others.
    pub distinct: u64,
    /// Values in the readable rows.
    pub samples: u64,
    /// Reports sent, once each.
    pub sent: u64,
    /// Reports sent again because a connection broke before their acknowledgement.
    pub resent: u64,
    /// Reports acknowledged, once each.
    pub acknowledged: u64,
    /// Of these, reports that the server had before this run.
    pub repeats_acknowledged: u64,
    /// Values that the server rejected.
    pub rejected: u64,
    /// Connections that broke, and attempts that failed.
    pub disconnects: u64,
    /// How long it took.
    pub seconds: f64,
    /// Per device.
    pub devices: Vec<DeviceReport>,
    /// Values that the server says it stored in this run, over all devices; absent without the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
    /// Whether the server's accounting agrees with what was sent; absent without the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agrees: Option<bool>,
    /// Whether every report was acknowledged.
    pub complete: bool,
}

/// One device's part.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceReport {
    /// Device id.
    pub device: String,
    /// Its rows.
    pub reports: u64,
    /// Sent, once each.
    pub sent: u64,
    /// Acknowledged, once each.
    pub acknowledged: u64,
    /// Of these, what the server had before.
    pub repeats_acknowledged: u64,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the server counts; absent without the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerCount>,
}

/// The server's accounting of one device.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ServerCount {
    /// Before this run.
    pub before: Accounting,
    /// After it.
    pub after: Accounting,
    /// Reports that were new to the server, by this side's count.
    pub expected_reports: u64,
    /// Values in them.
    pub expected_received: u64,
    /// Whether the server took exactly these.
    pub agrees: bool,
}

impl ServerCount {
    pub(super) fn new(before: Accounting, after: Accounting, (reports, values): (u64, u64)) -> ServerCount {
        let grown = |count: fn(&Accounting) -> u64| count(&after).checked_sub(count(&before));
        let agrees = grown(|a| a.reports) == Some(reports)
            && grown(|a| a.stored + a.rejected) == Some(values)
            && after.received == after.stored + after.duplicate + after.rejected + after.dropped;
        ServerCount { before, after, expected_reports: reports, expected_received: values, agrees }
    }

    fn stored(&self) -> u64 {
        self.after.stored.saturating_sub(self.before.stored)
    }
}

impl ReplayReport {
    pub(super) fn new(options: &ReplayOptions, table: &Table, ran: Duration, stats: &Arc<ClientStats>) -> ReplayReport {
        ReplayReport {
            file: options.file.display().to_string(),
            rows_read: table.rows_read,
            unreadable: table.unreadable,
            bad_rows: table.bad_rows.clone(),
            distinct: table.distinct,
            samples: table.samples,
            sent: 0,
            resent: 0,
            acknowledged: 0,
            repeats_acknowledged: 0,
            rejected: ClientStats::get(&stats.rejected),
            disconnects: ClientStats::get(&stats.disconnects),
            seconds: ran.as_secs_f64(),
            devices: Vec::new(),
            stored: None,
            agrees: None,
            complete: true,
        }
    }

    pub(super) fn add(&mut self, source: &ReplaySource, error: Option<&SimError>, server: Option<ServerCount>) {
        let Counts { sent, resent, acknowledged, repeats } = source.counts();
        self.sent += sent;
        self.resent += resent;
        self.acknowledged += acknowledged;
        self.repeats_acknowledged += repeats;
        self.complete &= error.is_none() && source.is_complete();
        self.devices.push(DeviceReport {
            device: source.device().device.clone(),
            reports: source.device().len(),
            sent,
            acknowledged,
            repeats_acknowledged: repeats,
            error: error.map(ToString::to_string),
            server,
        });
    }

    pub(super) fn finish(&mut self) {
        let counted: Vec<&ServerCount> = self.devices.iter().filter_map(|device| device.server.as_ref()).collect();
        if !counted.is_empty() && counted.len() == self.devices.len() {
            self.stored = Some(counted.iter().map(|count| count.stored()).sum());
            self.agrees = Some(counted.iter().all(|count| count.agrees));
        }
    }

    /// Whether what was asked for happened: all acknowledged, and the server's accounting, if asked, agrees.
    pub fn is_success(&self) -> bool {
        self.complete && self.agrees != Some(false)
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rows read             {:>10}", self.rows_read)?;
        writeln!(f, "unreadable            {:>10}", self.unreadable)?;
        for bad in &self.bad_rows {
            writeln!(f, "  {bad}")?;
        }
        let unlisted = self.unreadable.saturating_sub(self.bad_rows.len() as u64);
        if unlisted > 0 {
            writeln!(f, "  and {unlisted} more")?;
        }
        writeln!(f, "distinct              {:>10}", self.distinct)?;
        writeln!(f, "samples               {:>10}", self.samples)?;
        writeln!(f, "sent                  {:>10}", self.sent)?;
        writeln!(f, "sent again            {:>10}", self.resent)?;
        writeln!(f, "acknowledged          {:>10}", self.acknowledged)?;
        writeln!(f, "  repeats among them  {:>10}", self.repeats_acknowledged)?;
        writeln!(f, "values rejected       {:>10}", self.rejected)?;
        writeln!(f, "connections lost      {:>10}", self.disconnects)?;
        writeln!(f, "seconds               {:>10.1}", self.seconds)?;
        for device in &self.devices {
            if let Some(error) = &device.error {
                writeln!(f, "{}: {error}", device.device)?;
            }
            if let Some(count) = device.server.filter(|count| !count.agrees) {
                let ServerCount { before, after, expected_reports, expected_received, .. } = count;
                writeln!(
                    f,
                    "{}: the server counts {} reports and {} values more than before, {expected_reports} and \
                     {expected_received} were new",
                    device.device,
                    after.reports.saturating_sub(before.reports),
                    (after.stored + after.rejected).saturating_sub(before.stored + before.rejected),
                )?;
            }
        }
        if let Some(stored) = self.stored {
            writeln!(f, "stored by the server  {stored:>10}")?;
        }
        match (self.complete, self.agrees) {
            (true, Some(true)) => write!(f, "Everything was acknowledged, and the server's accounting agrees."),
            (true, Some(false)) => {
                write!(f, "Everything was acknowledged, but the server's accounting does not agree.")
            }
            (true, None) => write!(f, "Everything was acknowledged."),
            (false, _) => write!(f, "Not everything was acknowledged."),
        }
    }
}
