//! How much of what takes long may be under way at once.

use super::problem::Problem;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most imports at once, each with two batches in memory.
const IMPORTS_MAX: usize = 4;
/// Most exports at once, each with a page of a series in memory.
const EXPORTS_MAX: usize = 8;
/// Most queries of many series at once, each with the answer about a series in memory.
const QUERIES_MAX: usize = 16;

/// Most changes of many devices at once.
const BULKS_MAX: usize = 2;

/// One kind of request that takes long. Above its number further ones are refused: they would wait for longer than a client
/// does.
pub struct Busy {
    permits: Arc<Semaphore>,
    max: usize,
    code: &'static str,
    what: &'static str,
}

impl Busy {
    fn new(max: usize, code: &'static str, what: &'static str) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max, code, what }
    }

    /// A place, given back when it is dropped.
    ///
    /// # Errors
    /// 503 if there is none.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.permits.clone().try_acquire_owned().map_err(|_| {
            Problem::busy(self.code, format!("{} {} are under way, as many as may be at once", self.max, self.what))
        })
    }
}

/// The kinds.
pub struct Places {
    pub imports: Busy,
    pub exports: Busy,
    pub queries: Busy,
    pub bulks: Busy,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            imports: Busy::new(IMPORTS_MAX, "too_many_imports", "imports"),
            exports: Busy::new(EXPORTS_MAX, "too_many_exports", "exports"),
            queries: Busy::new(QUERIES_MAX, "too_many_queries", "queries"),
            bulks: Busy::new(BULKS_MAX, "too_many_bulks", "changes of many devices"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError;

    #[test]
    fn one_more_than_allowed_is_refused_until_another_ends() {
        let exports = Places::default().exports;
        let mut under_way: Vec<_> = (0..EXPORTS_MAX).map(|_| exports.enter().expect("a place")).collect();
        let problem = exports.enter().expect_err("full");
        assert_eq!((problem.status, problem.code), (503, "too_many_exports"));
        assert!(problem.error_response().headers().contains_key("retry-after"));
        under_way.pop();
        assert!(exports.enter().is_ok(), "a place again");
    }
}
