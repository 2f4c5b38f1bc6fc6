//! A copy of a store while it is written.
//!
//! The journal is copied first, then `data.db`: whatever the journal's copy lacks because it was sealed and released is in
//! the later copy of `data.db`. Devices that were sealed between the two are a little newer in the copy than the others;
//! each is whole in itself.

use crate::file::{self, File};
use crate::journal;
use anyhow::Context;
use std::path::Path;

/// Copies both files of `folder` into `target`, which must be an existing folder without them. May run beside the server.
///
/// # Errors
/// If a file cannot be read or written; what was written is then of no use.
pub fn copy(folder: &Path, target: &Path) -> anyhow::Result<()> {
    for file in [File::Journal, File::Data] {
        let (from, to) = (file.path(folder), file.path(target));
        anyhow::ensure!(!to.exists(), "{} exists already", to.display());
        let connection = file::open_reader(folder, None, file)?;
        let name = to.to_str().with_context(|| format!("{} is not UTF-8", to.display()))?;
        // One read transaction, so the copy is of one moment, and without free pages.
        connection
            .execute("VACUUM INTO ?1", [name])
            .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
        std::fs::File::open(&to)?.sync_all().with_context(|| format!("syncing {}", to.display()))?;
    }
    Ok(())
}

/// Makes a copied store one of its own: readers that knew positions of the original begin anew.
///
/// # Errors
/// If `journal.db` cannot be written.
pub fn adopt(folder: &Path) -> anyhow::Result<()> {
    let options = crate::StoreOptions::new(folder.into());
    let connection = file::open_writer(&options, File::Journal)?;
    connection.execute("UPDATE store SET value = ?1 WHERE name = 'epoch'", [journal::new_epoch()?])?;
    Ok(())
}
