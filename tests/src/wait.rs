//! Waiting for something to become true.

use std::time::{Duration, Instant};

/// How long anything may take. Generous: the tests run beside others on small machines, and nothing waits this long
/// unless it fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer; fails after [`DEADLINE`] with `what`.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
