use pulsewire_core::ids::{DeviceKey, SeriesKey};
use std::path::PathBuf;
use std::sync::Arc;

/// When a commit returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronous {
    /// After its data are synced. The only right choice for a server.
    Full,
    /// Before. Exists so that a test can show that it would notice.
    Off,
}

impl Synchronous {
    pub(crate) fn pragma(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Off => "OFF",
        }
    }
}

/// How long what a series has is kept, in µs; None = for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Samples as they came.
    pub raw_us: Option<i64>,
    /// Rollups by minute.
    pub minute_us: Option<i64>,
    /// Rollups by hour.
    pub hour_us: Option<i64>,
}

/// Says how long each series is kept. Asked again at every round, so that a change of the configuration or of a device
/// takes effect without a restart.
pub trait Policy: Send + Sync {
    /// For one series.
    fn keep(&self, device: DeviceKey, series: SeriesKey) -> Keep;
}

/// Everything is kept.
impl Policy for () {
    fn keep(&self, _: DeviceKey, _: SeriesKey) -> Keep {
        Keep::default()
    }
}

/// How a store is kept.
#[derive(Clone)]
pub struct StoreOptions {
    /// The folder of `journal.db` and `data.db`.
    pub folder: PathBuf,
    /// Bytes of journal records kept for readers that are behind, beyond what is not sealed yet.
    pub retain_bytes: u64,
    /// Bytes of records kept at most for the reader that holds them.
    pub hold_bytes: u64,
    /// Bytes of records that are not sealed at which the devices sealed longest ago are sealed early, so that a start has
    /// little to read again.
    pub unsealed_bytes: u64,
    /// Memory for rows that are not sealed. At three quarters of it heads are sealed early; at the whole of it appends wait.
    pub heads_bytes: usize,
    /// Rows at which a table is sealed into a chunk.
    pub chunk_rows: usize,
    /// Bytes the store may take on disk; 0 = no limit.
    pub size_bytes: u64,
    /// Most samples that one query may look at.
    pub scan_samples: usize,
    /// How long series are kept.
    pub policy: Arc<dyn Policy>,
    /// Another file layer, for tests.
    pub vfs: Option<String>,
    /// When a commit returns.
    pub synchronous: Synchronous,
}

impl StoreOptions {
    /// The defaults for a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            retain_bytes: 64 << 20,
            hold_bytes: 1 << 30,
            unsealed_bytes: 512 << 20,
            heads_bytes: 256 << 20,
            chunk_rows: 4096,
            size_bytes: 0,
            scan_samples: 20_000_000,
            policy: Arc::new(()),
            vfs: None,
            synchronous: Synchronous::Full,
        }
    }
}
