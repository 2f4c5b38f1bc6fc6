//! What the system says of this process.

use serde::Serialize;

/// This process; what the system does not tell is null.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct ProcessJson {
    /// Memory in use.
    pub rss_bytes: Option<u64>,
    /// Processor time since the start.
    pub cpu_s: Option<f64>,
    pub threads: Option<u64>,
    pub open_files: Option<u64>,
    pub open_files_max: Option<u64>,
}

impl ProcessJson {
    /// Reads it. Small files of the system's: a matter of microseconds.
    pub fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let number = |text: &str, name: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        };
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open_files = std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64);
        Self {
            rss_bytes: number(&status, "VmRSS:").map(|kib| kib * 1024),
            cpu_s: cpu_s(),
            threads: number(&status, "Threads:"),
            open_files,
            open_files_max: number(&limits, "Max open files"),
        }
    }

    /// True if more than four fifths of the files that may be open are.
    pub fn is_short_of_files(&self) -> bool {
        matches!((self.open_files, self.open_files_max), (Some(open), Some(most)) if open > most / 5 * 4)
    }
}

fn cpu_s() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u32::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok()?;
    Some(f64::from(seconds) + (f64::from(nanos) / 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = ProcessJson::read();
        assert!(process.rss_bytes.is_some_and(|bytes| bytes > 1 << 20), "{process:?}");
        assert!(
            process.threads.is_some_and(|threads| threads >= 1) && process.open_files.is_some_and(|files| files > 2)
        );
        assert!(process.open_files_max >= process.open_files && process.cpu_s.is_some_and(|s| s >= 0.0));
    }

    #[test]
    fn files_are_short_above_four_fifths() {
        let with = |open, most| ProcessJson { open_files: open, open_files_max: most, ..ProcessJson::default() };
        assert!(with(Some(81), Some(100)).is_short_of_files() && !with(Some(80), Some(100)).is_short_of_files());
        assert!(!with(Some(81), None).is_short_of_files() && !with(None, Some(1)).is_short_of_files());
    }
}
