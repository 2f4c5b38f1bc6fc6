//! The `pulsewire` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    return_large_buffers();
    pulsewire::cli::main()
}

/// glibc raises its threshold for giving memory straight back to the system to the largest buffer that was freed. One
/// password hash (19 MiB) is enough to keep that much in the heap of each thread that ever checked one: 57 MB in the demo.
/// A fixed threshold turns that off.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn return_large_buffers() {
    // SAFETY: mallopt takes plain numbers and is called before any other thread exists.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn return_large_buffers() {}
