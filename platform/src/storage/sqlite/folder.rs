//! The data folder: made when missing, locked against a second server, and checked for being writable.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made or written.
    #[error(
        "data folder {path} is not writable ({source}); give another with --data-dir, or change its owner or permissions"
    )]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process serves from it.
    #[error("data folder {path} is in use by another Pulsewire process; stop that one, or give another --data-dir")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
}

/// A data folder that belongs to this process until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // The lock ends when the file is closed, also after kill -9.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if needed, readable by its owner only, and takes it.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let refuse = |source| FolderError::NotWritable { path: path.to_path_buf(), source };
        make_private(path).map_err(refuse)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("pulsewire.lock"))
            .map_err(refuse)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(FolderError::InUse { path: path.to_path_buf() }),
            Err(TryLockError::Error(source)) => return Err(refuse(source)),
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a small file whole, so that a reader sees the old or the new content.
    ///
    /// # Errors
    /// What the system says.
    pub fn replace(&self, name: &str, content: &str) -> std::io::Result<()> {
        let temporary = self.file(&format!("{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(temporary, self.file(name))
    }
}

#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let path = base.path().join("data");
        let first = DataFolder::open(&path).expect("free");
        let error = DataFolder::open(&path).expect_err("taken");
        assert!(error.to_string().contains("in use by another Pulsewire process"), "{error}");
        drop(first);
        DataFolder::open(&path).expect("free again");
    }

    #[test]
    fn a_folder_that_cannot_be_made_names_the_remedy() {
        let base = tempfile::tempdir().expect("a temporary folder");
        let path = base.path().join("file");
        std::fs::write(&path, "x").expect("writes");
        let error = DataFolder::open(&path.join("data")).expect_err("a file is in the way");
        assert!(error.to_string().contains("--data-dir"), "{error}");
    }
}
