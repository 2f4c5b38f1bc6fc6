//! Devices exist and their secrets are known on this side.

use std::{
    collections::{BTreeSet, HashMap},
    thread,
    time::{Duration, Instant},
};

use crate::{
    SecretStore, SimError,
    api::{Accounting, ApiClient, ApiOptions, DeviceSpec},
    error::blocking,
};

/// Requests under way at once while a fleet is created; the server commits them in groups.
const PARALLEL: usize = 8;
/// How long a server that is just starting may take to answer.
const START_LIMIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(300);

/// Creates devices through the HTTP API and keeps their secrets.
#[derive(Debug, Clone)]
pub struct Provisioner {
    api: Option<ApiClient>,
    secrets: SecretStore,
    password_env: String,
}

impl Provisioner {
    /// Signs in, waiting up to ten seconds for a server that is just starting.
    pub async fn sign_in(options: ApiOptions, secrets: SecretStore) -> Result<Provisioner, SimError> {
        let api = blocking(move || {
            let start = Instant::now();
            loop {
                match ApiClient::sign_in(&options) {
                    Err(SimError::ApiUnreachable { .. }) if start.elapsed() < START_LIMIT => thread::sleep(RETRY),
                    result => return result,
                }
            }
        })
        .await?;
        Ok(Provisioner { api: Some(api), secrets, password_env: String::new() })
    }

    /// Without the API: every secret must be there already. `password_env` is named to whoever lacks one.
    pub fn offline(secrets: SecretStore, password_env: &str) -> Provisioner {
        Provisioner { api: None, secrets, password_env: password_env.to_owned() }
    }

    /// Whether there is an API to ask.
    pub fn is_signed_in(&self) -> bool {
        self.api.is_some()
    }

    /// The secret of each device, in order. Devices that do not exist are created; where one exists and its secret is not
    /// known here, the secret is replaced.
    pub async fn ensure(&mut self, specs: Vec<DeviceSpec>) -> Result<Vec<[u8; 32]>, SimError> {
        let mut provisioner = self.clone();
        let (provisioner, secrets) = blocking(move || {
            let secrets = provisioner.ensure_blocking(&specs)?;
            Ok((provisioner, secrets))
        })
        .await?;
        *self = provisioner;
        Ok(secrets)
    }

    /// A new secret for a device whose old one the server does not accept; `None` without the API.
    pub async fn renew(&mut self, device: &str) -> Result<Option<[u8; 32]>, SimError> {
        let Some(api) = self.api.clone() else {
            return Ok(None);
        };
        let (device, mut secrets) = (device.to_owned(), self.secrets.clone());
        let (secret, secrets) = blocking(move || {
            let secret = api.replace_secret(&device)?;
            secrets.insert([(device, secret)])?;
            Ok((secret, secrets))
        })
        .await?;
        self.secrets = secrets;
        Ok(Some(secret))
    }

    /// What the server counts for a device; `None` without the API or without the device.
    pub async fn accounting(&self, device: &str) -> Result<Option<Accounting>, SimError> {
        let Some(api) = self.api.clone() else {
            return Ok(None);
        };
        let device = device.to_owned();
        blocking(move || api.accounting(&device)).await
    }

    /// When each of these devices was created; those without are left out, without the API all.
    pub async fn created(&self, devices: Vec<String>) -> Result<HashMap<String, String>, SimError> {
        let Some(api) = self.api.clone() else {
            return Ok(HashMap::new());
        };
        blocking(move || {
            let created = |device: String| Ok(api.created(&device)?.map(|created| (device, created)));
            devices.into_iter().filter_map(|device| created(device).transpose()).collect()
        })
        .await
    }

    fn ensure_blocking(&mut self, specs: &[DeviceSpec]) -> Result<Vec<[u8; 32]>, SimError> {
        if let Some(api) = &self.api {
            let existing = existing(api, specs)?;
            let missing: Vec<&DeviceSpec> = specs
                .iter()
                .filter(|spec| !existing.contains(&spec.id) || self.secrets.get(&spec.id).is_none())
                .collect();
            // Each batch is on disk before the next begins, so that an interruption loses few secrets.
            for batch in missing.chunks(PARALLEL * 64) {
                let obtained = obtain(api, batch)?;
                self.secrets.insert(obtained)?;
            }
        }
        specs
            .iter()
            .map(|spec| {
                self.secrets.get(&spec.id).ok_or_else(|| SimError::NoSecret {
                    device: spec.id.clone(),
                    path: self.secrets.place(),
                    password_env: self.password_env.clone(),
                })
            })
            .collect()
    }
}

/// Which of the devices exist: one by one if they are few, through the list of all if they are many.
fn existing(api: &ApiClient, specs: &[DeviceSpec]) -> Result<BTreeSet<String>, SimError> {
    if specs.len() > 16 {
        let prefix = specs.iter().map(|spec| spec.id.as_str()).reduce(common_prefix).unwrap_or("");
        return Ok(api.device_ids(prefix)?.into_iter().collect());
    }
    let mut existing = BTreeSet::new();
    for spec in specs {
        if api.accounting(&spec.id)?.is_some() {
            existing.insert(spec.id.clone());
        }
    }
    Ok(existing)
}

fn common_prefix<'a>(left: &'a str, right: &str) -> &'a str {
    let length = left.bytes().zip(right.bytes()).take_while(|(l, r)| l == r).count();
    // Device ids are ASCII; anything else ends the prefix early.
    left.get(..length).unwrap_or("")
}

fn obtain(api: &ApiClient, specs: &[&DeviceSpec]) -> Result<HashMap<String, [u8; 32]>, SimError> {
    let share = specs.len().div_ceil(PARALLEL).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = specs
            .chunks(share)
            .map(|specs| {
                scope.spawn(move || {
                    specs
                        .iter()
                        .map(|spec| {
                            let secret = match api.create_device(spec)? {
                                Some(secret) => secret,
                                None => api.replace_secret(&spec.id)?,
                            };
                            Ok((spec.id.clone(), secret))
                        })
                        .collect::<Result<Vec<_>, SimError>>()
                })
            })
            .collect();
        let mut secrets = HashMap::new();
        for worker in workers {
            secrets.extend(worker.join().map_err(|_| SimError::Task("provisioning".into()))??);
        }
        Ok(secrets)
    })
}
