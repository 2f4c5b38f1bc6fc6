//! The server to measure, ours or one that runs already, and its devices.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};

use super::super::children::{OwnServer, Scratch, Usage};
use super::super::ingest::Running;
use crate::api::{ApiClient, DeviceSpec};
use crate::{Provisioner, SecretStore, SimError};

/// Metrics of the live service begin with this.
const LIVE: &str = "pulsewire_live_";

pub(in super::super) struct Bed {
    pub running: Running,
    server: Option<OwnServer>,
    // Dropped after the server.
    _scratch: Option<Scratch>,
}

impl Bed {
    /// With room for so many viewers, all of one user and address.
    pub fn make(given: Option<Running>, name: &str, viewers: u32) -> Result<Bed, SimError> {
        if let Some(running) = given {
            return Ok(Bed { running, server: None, _scratch: None });
        }
        let scratch = Scratch::make(name)?;
        let viewers = viewers + 100;
        let connections = viewers.max(10_000);
        let config = format!(
            "[http]\nconnections_max = {connections}\n[live]\nviewers_max = {viewers}\nviewers_per_user_max = {viewers}\n\
             viewers_per_address_max = {viewers}\nsubscriptions_per_user_max = {connections}\n"
        );
        let config = scratch.write("pulsewire.toml", &config)?;
        let server = OwnServer::start(&config, &scratch.0.join("data"), &[])?;
        let running = Running { target: server.target.clone(), api: server.api.clone() };
        Ok(Bed { running, server: Some(server), _scratch: Some(scratch) })
    }

    pub fn usage(&self) -> Option<Usage> {
        self.server.as_ref().and_then(|server| server.program.usage())
    }

    /// Where devices connect.
    pub fn device_address(&self) -> Result<SocketAddr, SimError> {
        address(&self.running.target.to_string())
    }

    /// Where viewers connect.
    pub fn live_address(&self) -> Result<SocketAddr, SimError> {
        let url = self.running.api.url.trim_end_matches('/');
        match url.strip_prefix("http://") {
            Some(name) => address(name),
            None => Err(SimError::Measurement {
                what: "live sockets".into(),
                problem: format!("{url} is no http:// address, and live sockets need one"),
            }),
        }
    }

    /// What the server counts of its live service, by name and labels; nothing if it does not say.
    pub fn counters(&self) -> BTreeMap<String, f64> {
        let page = ApiClient::open(&self.running.api.url).text("/metrics").unwrap_or_default();
        let line = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix(LIVE)?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        page.lines().filter_map(line).collect()
    }
}

/// By how much each counter (`…_total`) grew; of the others how they stand.
pub(in super::super) fn grown(before: &BTreeMap<String, f64>, after: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let growth = |(name, value): (String, f64)| {
        let is_counter = name.split('{').next().is_some_and(|name| name.ends_with("_total"));
        let base = if is_counter { before.get(&name).copied().unwrap_or_default() } else { 0.0 };
        (name, value - base)
    };
    after.into_iter().map(growth).collect()
}

fn address(name: &str) -> Result<SocketAddr, SimError> {
    let failed = |problem: String| SimError::Measurement { what: name.to_owned(), problem };
    let mut addresses = name.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
    addresses.next().ok_or_else(|| failed("no such host".into()))
}

/// Makes devices with these ids; answers their secrets in the same order.
pub(in super::super) async fn provision(
    running: &Running,
    group: &str,
    ids: &[String],
    mut note: impl FnMut(usize),
) -> Result<Vec<(String, [u8; 32])>, SimError> {
    let mut provisioner = Provisioner::sign_in(running.api.clone(), SecretStore::in_memory()).await?;
    let mut devices = Vec::with_capacity(ids.len());
    for ids in ids.chunks(100) {
        note(devices.len());
        let spec = |id: &String| DeviceSpec { id: id.clone(), group: Some(group.into()), ..DeviceSpec::default() };
        let secrets = provisioner.ensure(ids.iter().map(spec).collect()).await?;
        devices.extend(ids.iter().cloned().zip(secrets));
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_by_how_much_they_grew_and_gauges_as_they_stand() {
        let of = |pairs: &[(&str, f64)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect::<BTreeMap<_, _>>();
        let before = of(&[("frames_total{kind=\"a\"}", 5.0), ("viewers", 7.0)]);
        let after = of(&[("frames_total{kind=\"a\"}", 9.0), ("new_total", 2.0), ("viewers", 8.0)]);
        let expected = of(&[("frames_total{kind=\"a\"}", 4.0), ("new_total", 2.0), ("viewers", 8.0)]);
        assert_eq!(grown(&before, after), expected);
    }
}
