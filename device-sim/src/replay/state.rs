//! What a replay remembers, so that the next one repeats it exactly or goes on.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::table::Table;
use crate::{SimError, error::blocking, files};

/// The side file. It is whole after a crash at any moment, and a stream's id is in it before the first report is sent.
#[derive(Debug, Clone)]
pub(super) struct ReplayState {
    path: PathBuf,
    file: Arc<Mutex<StateFile>>,
    /// When the devices were created, as far as the server could be asked.
    created: Arc<HashMap<String, String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    version: u32,
    /// Columns, formats and types; with another layout the same sequence would have other content.
    layout: String,
    content: String,
    backfill: bool,
    devices: BTreeMap<String, DeviceState>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceState {
    stream: u32,
    acknowledged: u64,
    /// When the server created the device. Another time is another device: one of another server, or of a store that was
    /// wiped, whose streams have the same small numbers and mean something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
}

/// Whether an earlier replay can be repeated or continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    None,
    Same,
    /// The file or the options have changed: what was sent under the old streams must not be mixed with it.
    Different,
}

const VERSION: u32 = 1;

impl ReplayState {
    /// Reads the side file. Streams of an earlier replay are kept if a repeat would have the same bytes; with
    /// `go_on`, if the layout is the same, so that a file that has grown can be continued. Blocking.
    pub(super) fn open(
        path: &Path,
        table: &Table,
        backfill: bool,
        go_on: bool,
    ) -> Result<(ReplayState, Earlier), SimError> {
        let fresh = StateFile {
            version: VERSION,
            layout: table.layout.clone(),
            content: table.content.clone(),
            backfill,
            devices: BTreeMap::new(),
        };
        let damaged = |problem: String| SimError::Damaged { path: path.to_owned(), problem };
        let earlier = match files::read_if_there(path)? {
            Some(text) => Some(serde_json::from_str::<StateFile>(&text).map_err(|error| damaged(error.to_string()))?),
            None => None,
        };
        let (file, kind) = match earlier {
            None => (fresh, Earlier::None),
            Some(file) if file.version != VERSION => {
                return Err(damaged(format!("version {}, this program knows version {VERSION}", file.version)));
            }
            Some(file) => {
                let same_bytes = file.layout == fresh.layout && file.backfill == backfill;
                let same = same_bytes && (go_on || file.content == fresh.content);
                if same {
                    (StateFile { content: fresh.content, ..file }, Earlier::Same)
                } else {
                    (fresh, Earlier::Different)
                }
            }
        };
        let (file, created) = (Arc::new(Mutex::new(file)), Arc::default());
        Ok((ReplayState { path: path.to_owned(), file, created }, kind))
    }

    /// Forgets the streams of devices that were created at another time than these; answers which.
    pub(super) fn meet(&mut self, created: HashMap<String, String>) -> Vec<String> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let other = |(id, state): (&String, &mut DeviceState)| {
            created.get(id).zip(state.created.as_ref()).is_some_and(|(now, then)| now != then)
        };
        let forgotten = file.devices.extract_if(.., |id, state| other((id, state))).map(|(id, _)| id).collect();
        drop(file);
        self.created = Arc::new(created);
        forgotten
    }

    pub(super) fn stream(&self, device: &str) -> Option<u32> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.devices.get(device).map(|state| state.stream)
    }

    /// On disk when this resolves.
    pub(super) async fn set_stream(&self, device: &str, stream: u32) -> Result<(), SimError> {
        let (state, device) = (self.clone(), device.to_owned());
        blocking(move || {
            state.change(|file| {
                let created = state.created.get(&device).cloned();
                file.devices.insert(device, DeviceState { stream, acknowledged: 0, created });
            })
        })
        .await
    }

    /// Writes how far each device came. On disk when this resolves.
    pub(super) async fn set_acknowledged(&self, devices: Vec<(String, u64)>) -> Result<(), SimError> {
        let state = self.clone();
        blocking(move || {
            state.change(|file| {
                for (device, acknowledged) in devices {
                    if let Some(state) = file.devices.get_mut(&device) {
                        state.acknowledged = acknowledged;
                    }
                }
            })
        })
        .await
    }

    /// Changes and writes under the lock, so that an older state never overwrites a newer one.
    fn change(&self, change: impl FnOnce(&mut StateFile)) -> Result<(), SimError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut file);
        let text = serde_json::to_string_pretty(&*file)
            .map_err(|error| SimError::file("writing", &self.path, error.into()))?;
        files::replace(&self.path, text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ReplayOptions, *};

    fn table(csv: &str) -> Table {
        Table::parse(csv.as_bytes(), "f.csv", "f", &ReplayOptions::for_file("f.csv")).expect("a table")
    }

    #[tokio::test]
    async fn a_stream_is_kept_only_while_the_bytes_would_be_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let first = table("ts,v\n1594634400,1\n");
        let open = |table: &Table, backfill, go_on| ReplayState::open(&path, table, backfill, go_on).expect("opened");
        let (state, earlier) = open(&first, false, false);
        assert_eq!((earlier, state.stream("f")), (Earlier::None, None));
        state.set_stream("f", 7).await.expect("written");
        state.set_acknowledged(vec![("f".into(), 1)]).await.expect("written");

        let grown = table("ts,v\n1594634400,1\n1594634401,2\n");
        let retyped = table("ts,v\n1594634400,1\n1594634401,2.5\n");
        let kept = |table: &Table, backfill, go_on| open(table, backfill, go_on).0.stream("f");
        assert_eq!(kept(&first, false, false), Some(7));
        assert_eq!(kept(&first, true, false), None);
        assert_eq!(kept(&grown, false, false), None);
        assert_eq!(kept(&grown, false, true), Some(7));
        assert_eq!(kept(&retyped, false, true), None);
    }

    #[tokio::test]
    async fn the_streams_of_a_device_that_was_created_anew_are_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        let table = table("ts,v\n1594634400,1\n");
        let open = || ReplayState::open(&path, &table, false, true).expect("opened").0;
        let created = |time: &str| HashMap::from([("f".to_owned(), time.to_owned())]);
        let mut state = open();
        assert_eq!(state.meet(created("monday")), Vec::<String>::new());
        state.set_stream("f", 1).await.expect("written");
        let (mut same, mut unasked, mut other) = (open(), open(), open());
        assert_eq!((same.meet(created("monday")), same.stream("f")), (vec![], Some(1)));
        assert_eq!((unasked.meet(HashMap::new()), unasked.stream("f")), (vec![], Some(1)));
        assert_eq!((other.meet(created("tuesday")), other.stream("f")), (vec!["f".to_owned()], None));
    }

    #[test]
    fn a_damaged_side_file_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state.json");
        std::fs::write(&path, "{").expect("written");
        let error = ReplayState::open(&path, &table("ts,v\n1594634400,1\n"), false, false).expect_err("damaged");
        assert!(error.to_string().contains("state.json"), "{error}");
    }
}
