//! A thread that owns one connection and runs jobs on it, one after the other.

use rusqlite::Connection;
use std::sync::Mutex;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Most jobs that wait for one worker; above it, callers wait.
pub const QUEUE_JOBS: usize = 1024;

/// The worker's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the storage thread has ended")]
pub struct WorkerGone;

/// Handle of a worker. Dropping it ends the thread after the jobs already queued, and waits for that, so that the
/// database is closed (and its WAL checkpointed) when the drop returns.
pub struct Worker {
    sender: Option<mpsc::Sender<Job>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread called `name` that owns `connection`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(name: &str, mut connection: Connection) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Job>(QUEUE_JOBS);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = receiver.blocking_recv() {
                // A job that panics is lost, and its caller told; the others go on. SQLite rolls back what it left open.
                let run = std::panic::AssertUnwindSafe(|| job(&mut connection));
                if std::panic::catch_unwind(run).is_err() {
                    tracing::error!("a storage job panicked");
                }
            }
        })?;
        Ok(Self { sender: Some(sender), thread: Mutex::new(Some(thread)) })
    }

    /// Runs `job` on the worker's thread. If the call is dropped the job may still run.
    ///
    /// # Errors
    /// [`WorkerGone`] if the thread has ended or the job panicked.
    pub async fn call<R, F>(&self, job: F) -> Result<R, WorkerGone>
    where
        R: Send + 'static,
        F: FnOnce(&mut Connection) -> R + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may be gone; what the job did stays done.
            let _ = reply.send(job(connection));
        });
        self.sender.as_ref().ok_or(WorkerGone)?.send(job).await.map_err(|_| WorkerGone)?;
        answer.await.map_err(|_| WorkerGone)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.sender.take());
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread {
            // A panicked job has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
