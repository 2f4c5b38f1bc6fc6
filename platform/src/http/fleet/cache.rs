//! What is made of all devices is made once for everybody who asks the same within a short time.

use super::super::problem::Problem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// A few answers by what was asked. Whoever asks while one is being made waits for it.
pub struct Cache<K, V> {
    entries: Mutex<Vec<Entry<K, V>>>,
    max: usize,
}

struct Entry<K, V> {
    key: K,
    version: u64,
    made: Instant,
    used: Instant,
    cell: Arc<OnceCell<Arc<V>>>,
}

impl<K: PartialEq + Clone, V> Cache<K, V> {
    /// Keeps `max` answers; a further one takes the place of the one that was not asked for the longest.
    pub fn new(max: usize) -> Self {
        Self { entries: Mutex::new(Vec::new()), max }
    }

    /// The answer, made by `make` unless there is one of this `version` that is younger than `age_max` (`None`: of any age).
    /// An error is not kept. If the call is dropped, another one that waits makes the answer.
    pub async fn get(
        &self,
        key: &K,
        version: u64,
        age_max: Option<Duration>,
        make: impl Future<Output = Result<V, Problem>>,
    ) -> Result<Arc<V>, Problem> {
        let cell = self.cell(key, version, age_max, Instant::now());
        let made = cell.get_or_try_init(|| async { make.await.map(Arc::new) }).await?;
        Ok(made.clone())
    }

    fn cell(&self, key: &K, version: u64, age_max: Option<Duration>, now: Instant) -> Arc<OnceCell<Arc<V>>> {
        // The guarded code does not panic; were it poisoned, its content would still be whole.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |entry: &Entry<K, V>| {
            entry.version == version && age_max.is_none_or(|max| now.saturating_duration_since(entry.made) < max)
        };
        entries.retain(|entry| entry.key != *key || holds(entry));
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == *key) {
            entry.used = now;
            return entry.cell.clone();
        }
        if entries.len() >= self.max
            && let Some(oldest) = (0..entries.len()).min_by_key(|at| entries[*at].used)
        {
            entries.swap_remove(oldest);
        }
        let cell = Arc::new(OnceCell::new());
        entries.push(Entry { key: key.clone(), version, made: now, used: now, cell: cell.clone() });
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn an_answer_is_made_once_until_it_is_old_or_of_another_version() {
        let cache = Cache::new(2);
        let made = Cell::new(0);
        let ask = async |key: &str, version: u64, age_max: Option<Duration>| {
            let make = async {
                made.set(made.get() + 1);
                Ok(made.get())
            };
            *cache.get(&key.to_owned(), version, age_max, make).await.expect("made")
        };
        let hour = Some(Duration::from_secs(3600));
        assert_eq!([ask("a", 1, hour).await, ask("a", 1, None).await], [1, 1]);
        assert_eq!(ask("a", 1, Some(Duration::ZERO)).await, 2, "too old");
        assert_eq!(ask("a", 2, hour).await, 3, "something changed");
        // There is room for two: the one that was asked for last stays.
        assert_eq!([ask("b", 2, hour).await, ask("a", 2, hour).await, ask("c", 2, hour).await], [4, 3, 5]);
        assert_eq!([ask("a", 2, hour).await, ask("b", 2, hour).await], [3, 6]);
    }

    #[tokio::test]
    async fn what_failed_is_tried_again() {
        let cache: Cache<(), u32> = Cache::new(1);
        let failed = cache.get(&(), 1, None, async { Err(Problem::unavailable("not now")) }).await;
        assert!(failed.is_err());
        assert_eq!(*cache.get(&(), 1, None, async { Ok(7) }).await.expect("made"), 7);
    }
}
