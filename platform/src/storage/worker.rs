//! A thread that owns something and runs jobs on it, one after the other.

use std::sync::Mutex;
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

type Job<T> = Box<dyn FnOnce(&mut T) + Send>;

/// Most jobs that wait for one worker; above it, callers wait.
pub const QUEUE_JOBS: usize = 1024;

/// The worker's thread has ended.
#[derive(Debug, thiserror::Error)]
#[error("the storage thread has ended")]
pub struct WorkerGone;

/// Handle of a worker. Dropping it ends the thread after the jobs already queued, and waits for that, so that what it owns
/// is closed when the drop returns.
pub struct Worker<T> {
    sender: Option<mpsc::Sender<Job<T>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts a thread called `name` that owns `owned`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(name: &str, mut owned: T) -> std::io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Job<T>>(QUEUE_JOBS);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(job) = receiver.blocking_recv() {
                // A job that panics is lost, and its caller told; the others go on. SQLite rolls back what it left open.
                let run = std::panic::AssertUnwindSafe(|| job(&mut owned));
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
        F: FnOnce(&mut T) -> R + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job<T> = Box::new(move |owned| {
            // The caller may be gone; what the job did stays done.
            let _ = reply.send(job(owned));
        });
        self.sender.as_ref().ok_or(WorkerGone)?.send(job).await.map_err(|_| WorkerGone)?;
        answer.await.map_err(|_| WorkerGone)
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        drop(self.sender.take());
        let thread = self.thread.get_mut().ok().and_then(Option::take);
        if let Some(thread) = thread {
            // A panicked job has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}
