//! Device secrets on this side.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{SimError, files};

/// Secrets of devices, kept in a file that only its owner can read, or in memory.
///
/// The file is JSON: `{"devices": {"pump-7": "64 hex digits"}}`.
#[derive(Clone, Default)]
pub struct SecretStore {
    path: Option<PathBuf>,
    secrets: BTreeMap<String, [u8; 32]>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    devices: BTreeMap<String, String>,
}

impl SecretStore {
    /// Secrets that end with the process.
    pub fn in_memory() -> SecretStore {
        SecretStore::default()
    }

    /// Reads `path`, which need not exist yet.
    pub fn open(path: &Path) -> Result<SecretStore, SimError> {
        let damaged = |problem: String| SimError::Damaged { path: path.to_owned(), problem };
        let file: SecretFile = match files::read_if_there(path)? {
            Some(text) => serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?,
            None => SecretFile::default(),
        };
        let secrets = file.devices.into_iter().map(|(device, digits)| {
            let secret = parse_secret(&digits)
                .ok_or_else(|| damaged(format!("the secret of {device:?} is not 64 hex digits")))?;
            Ok((device, secret))
        });
        Ok(SecretStore { path: Some(path.to_owned()), secrets: secrets.collect::<Result<_, SimError>>()? })
    }

    /// The secret of a device.
    pub fn get(&self, device: &str) -> Option<[u8; 32]> {
        self.secrets.get(device).copied()
    }

    /// Where the secrets are kept, for messages.
    pub fn place(&self) -> String {
        self.path.as_ref().map_or_else(|| "memory".into(), |path| path.display().to_string())
    }

    /// Adds secrets and writes the file once. Blocking.
    pub fn insert(&mut self, secrets: impl IntoIterator<Item = (String, [u8; 32])>) -> Result<(), SimError> {
        let before = self.secrets.len();
        let mut changed = false;
        for (device, secret) in secrets {
            changed |= self.secrets.insert(device, secret) != Some(secret);
        }
        if !changed && self.secrets.len() == before {
            return Ok(());
        }
        let Some(path) = &self.path else {
            return Ok(());
        };
        let devices = self.secrets.iter().map(|(device, secret)| (device.clone(), hex::encode(secret))).collect();
        let text = serde_json::to_string_pretty(&SecretFile { devices })
            .map_err(|error| SimError::file("writing", path, error.into()))?;
        files::replace(path, text.as_bytes())
    }
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretStore({}, {} secrets)", self.place(), self.secrets.len())
    }
}

/// 64 hex digits.
pub(crate) fn parse_secret(digits: &str) -> Option<[u8; 32]> {
    hex::decode(digits).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_in_a_file_that_only_the_owner_can_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        let mut store = SecretStore::open(&path).expect("no file yet");
        store.insert([("a".to_string(), [1; 32]), ("b".to_string(), [2; 32])]).expect("written");
        let again = SecretStore::open(&path).expect("read");
        assert_eq!((again.get("a"), again.get("b"), again.get("c")), (Some([1; 32]), Some([2; 32]), None));
        #[cfg(unix)]
        {
            let mode =
                std::fs::metadata(&path).map(|meta| std::os::unix::fs::PermissionsExt::mode(&meta.permissions()));
            assert_eq!(mode.expect("metadata") & 0o777, 0o600);
        }
        assert!(!format!("{again:?}").contains("0101"), "secrets are not shown");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secrets.json");
        std::fs::write(&path, r#"{"devices": {"a": "12"}}"#).expect("written");
        let error = SecretStore::open(&path).expect_err("damaged").to_string();
        assert!(error.contains("secrets.json") && error.contains("64 hex digits"), "{error}");
    }
}
