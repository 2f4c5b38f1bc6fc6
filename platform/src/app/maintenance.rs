//! Copying, putting back and checking a data folder.

use crate::config::Config;
use crate::storage::sqlite::{self, DataFolder};
use crate::storage::telemetry;
use anyhow::{Context, bail};
use pulsewire_core::ids::DeviceKey;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

const META: &str = "meta.db";
const TELEMETRY: [&str; 2] = ["journal.db", "data.db"];
const FILES: [&str; 3] = ["journal.db", "data.db", META];
const NOTE: &str = "backup.json";
/// Folder in the data folder that holds a backup's files until all of them are there.
const RESTORING: &str = "restore.part";

/// Refuses a data folder of which a part is missing: a server on it would take all telemetry for that of deleted devices.
/// One that is empty is fine.
///
/// # Errors
/// Which file is missing or left over, and what to do.
pub fn startable(folder: &Path) -> anyhow::Result<()> {
    let restoring = folder.join(RESTORING);
    if restoring.exists() {
        bail!(
            "{} is there: a restore into this folder was not finished; remove {} and restore again",
            restoring.display(),
            folder.display()
        );
    }
    let meta = folder.join(META);
    let Some(other) = TELEMETRY.into_iter().find(|file| folder.join(file).exists()) else { return Ok(()) };
    if !meta.exists() {
        bail!(
            "{} is missing, and {other} is there: without it nobody knows whose samples these are; put it back, or restore a \
             backup into a new folder (pulsewire restore --from BACKUP --data-dir NEW)",
            meta.display()
        );
    }
    Ok(())
}

/// What a backup says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub struct BackupNote {
    /// Which program made it.
    pub made_by: String,
    /// When, RFC 3339.
    pub made_at: String,
    /// Size of each file in bytes.
    pub files: HashMap<String, u64>,
}

/// Copies the data folder into `target`, which is made or must be empty. A server may run on it meanwhile. `progress` is
/// told which file comes next.
///
/// # Errors
/// What cannot be read or written.
pub fn backup(config: &Config, target: &Path, progress: &dyn Fn(&str)) -> anyhow::Result<BackupNote> {
    let folder = &config.data_dir;
    for file in FILES {
        let path = folder.join(file);
        if !path.exists() {
            bail!("{} is missing: is {} a data folder? (--data-dir)", path.display(), folder.display());
        }
    }
    let target_folder = DataFolder::open(target)?;
    empty(target, &["pulsewire.lock"])?;
    progress("journal.db and data.db");
    telemetry::copy(folder, target)?;
    // Last: whatever the telemetry's copy refers to, it knows.
    progress(META);
    sqlite::copy(&folder.join(META), &target.join(META))?;
    for file in FILES {
        make_private(&target.join(file))?;
    }
    let size = |file: &str| -> anyhow::Result<(String, u64)> { Ok((file.into(), target.join(file).metadata()?.len())) };
    let note = BackupNote {
        made_by: format!("pulsewire {}", env!("CARGO_PKG_VERSION")),
        made_at: jiff::Timestamp::now().to_string(),
        files: FILES.into_iter().map(size).collect::<anyhow::Result<_>>()?,
    };
    target_folder.replace(NOTE, &format!("{}\n", serde_json::to_string_pretty(&note)?))?;
    File::open(target)?.sync_all().with_context(|| format!("syncing {}", target.display()))?;
    drop(target_folder);
    // Only a server's folder needs its lock file.
    let _ = std::fs::remove_file(target.join("pulsewire.lock"));
    Ok(note)
}

/// Puts a backup into the configured data folder, which must hold no data yet.
///
/// # Errors
/// If `source` is no whole backup, or the folder is in use or not empty.
pub fn restore(config: &Config, source: &Path, progress: &dyn Fn(&str)) -> anyhow::Result<BackupNote> {
    let note = source.join(NOTE);
    let text = std::fs::read_to_string(&note)
        .with_context(|| format!("{} cannot be read: is {} a backup?", note.display(), source.display()))?;
    let note: BackupNote = serde_json::from_str(&text).with_context(|| format!("{} is not whole", note.display()))?;
    for file in FILES {
        let path = source.join(file);
        let found = path.metadata().with_context(|| format!("{} is missing", path.display()))?.len();
        let expected = note.files.get(file).copied().unwrap_or_default();
        if found != expected {
            bail!("{} has {found} bytes and the backup says {expected}: it is not whole", path.display());
        }
    }
    let folder = DataFolder::open(&config.data_dir)?;
    empty(folder.path(), &["pulsewire.lock"])?;
    // A server refuses to start while this folder is there, so none starts with a part of the data.
    let part = folder.file(RESTORING);
    std::fs::create_dir(&part).with_context(|| format!("making {}", part.display()))?;
    sync_folder(folder.path())?;
    for file in FILES {
        progress(file);
        copy_private(&source.join(file), &part.join(file))?;
    }
    // Viewers and rules that knew positions of the original begin anew.
    telemetry::adopt(&part)?;
    sync_folder(&part)?;
    for file in [META, "data.db", "journal.db"] {
        let wal = part.join(format!("{file}-wal"));
        if wal.metadata().is_ok_and(|found| found.len() > 0) {
            bail!("{} was not written back; is another program reading the new folder?", wal.display());
        }
        let to = folder.file(file);
        std::fs::rename(part.join(file), &to).with_context(|| format!("moving {file} to {}", to.display()))?;
    }
    sync_folder(folder.path())?;
    std::fs::remove_dir_all(&part).with_context(|| format!("removing {}", part.display()))?;
    sync_folder(folder.path())?;
    Ok(note)
}

fn sync_folder(folder: &Path) -> anyhow::Result<()> {
    File::open(folder)?.sync_all().with_context(|| format!("syncing {}", folder.display()))
}

/// Copies a file into a new one that its owner alone may read, whatever the original's permissions are.
fn copy_private(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copying = || format!("copying {} to {}", from.display(), to.display());
    let mut source = File::open(from).with_context(copying)?;
    let mut target = File::create(to).with_context(copying)?;
    make_private(to)?;
    std::io::copy(&mut source, &mut target).with_context(copying)?;
    target.sync_all().with_context(|| format!("syncing {}", to.display()))
}

#[cfg(unix)]
fn make_private(file: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("making {} readable by its owner only", file.display()))
}

/// Elsewhere a file takes the permissions of its folder.
#[cfg(not(unix))]
fn make_private(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

fn empty(folder: &Path, but: &[&str]) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !but.iter().any(|known| name == *known) {
            bail!(
                "{} is not empty (it has {}); give a folder that does not exist yet",
                folder.display(),
                name.to_string_lossy()
            );
        }
    }
    Ok(())
}

/// Something that is not as it should be, in people's terms.
#[derive(Debug, Serialize)]
pub struct FindingJson {
    /// What.
    pub problem: String,
    /// Whose samples.
    pub device: Option<String>,
    /// Of which metrics.
    pub metrics: Vec<String>,
    /// First time that cannot be read, RFC 3339.
    pub from: Option<String>,
    /// Last one.
    pub to: Option<String>,
    /// Rows that cannot be read.
    pub lost_rows: u64,
}

/// What a check found.
#[derive(Debug, Serialize)]
pub struct CheckJson {
    /// The folder.
    pub folder: PathBuf,
    /// How many problems there are; 0 = all is well.
    pub problems: u64,
    /// Journal records.
    pub records: u64,
    /// Devices with sealed samples.
    pub devices: u64,
    /// Chunks.
    pub chunks: u64,
    /// Samples in chunks.
    pub samples: u64,
    /// Blocks of rollups.
    pub rollups: u64,
    /// The first thousand problems.
    pub findings: Vec<FindingJson>,
}

/// Looks over everything in the configured data folder, reading only. `progress` is told how many of how many bytes were
/// looked at.
///
/// # Errors
/// If the files cannot be opened at all.
pub fn check(config: &Config, progress: &mut dyn FnMut(u64, u64)) -> anyhow::Result<CheckJson> {
    let folder = &config.data_dir;
    let report = telemetry::check(folder, progress)?;
    let meta = folder.join(META);
    let mut names: HashMap<DeviceKey, String> = HashMap::new();
    let mut problems = report.problems;
    let mut findings = Vec::new();
    let mut found = Vec::new();
    if meta.exists() {
        found.extend(sqlite::check(&meta)?);
        match sqlite::device_ids(&meta) {
            Ok(devices) => names.extend(devices),
            Err(error) => found.push(format!("{META}: the devices cannot be read: {error:#}")),
        }
    } else {
        found.push(format!("{META} is missing: devices, users, rules and alerts are not there, and no server starts"));
    }
    for problem in found {
        problems += 1;
        findings.push(FindingJson { problem, device: None, metrics: Vec::new(), from: None, to: None, lost_rows: 0 });
    }
    let time = |us: i64| jiff::Timestamp::from_microsecond(us).map_or_else(|_| us.to_string(), |time| time.to_string());
    findings.extend(report.findings.into_iter().map(|finding| FindingJson {
        problem: finding.problem,
        device: finding.device.map(|key| names.get(&key).cloned().unwrap_or_else(|| format!("number {key}"))),
        metrics: finding.metrics,
        from: finding.range_us.map(|(from, _)| time(from)),
        to: finding.range_us.map(|(_, to)| time(to)),
        lost_rows: finding.lost_rows,
    }));
    Ok(CheckJson {
        folder: folder.clone(),
        problems,
        records: report.records,
        devices: report.devices,
        chunks: report.chunks,
        samples: report.samples,
        rollups: report.rollups,
        findings,
    })
}
