//! What there is to see: devices that publish on a schedule. A sample's time is the moment at which it was due, its value the
//! number of its report, so that whoever sees it knows how late it is and what came before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::device::DeviceWire;
use super::super::generator::{self, Acks, Load, Outcome, Progress, Reading, Wire};
use crate::SimError;

/// Reports of a device that may wait for their acknowledgement.
const IN_FLIGHT: u32 = 100;
/// It is stopped, long before.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
const LOGIN_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Publishing devices, until [`Feed::stop`].
pub(in super::super) struct Feed {
    progress: Arc<Progress>,
    sent: Arc<Vec<AtomicU64>>,
    thread: Option<JoinHandle<Result<Outcome, SimError>>>,
}

struct CountingWire {
    inner: DeviceWire,
    number: usize,
    sent: Arc<Vec<AtomicU64>>,
    values: Vec<u8>,
}

impl Feed {
    /// Logs all in and begins: each publishes all its metrics so many times a second, all spread evenly.
    pub fn start(
        address: SocketAddr,
        devices: Vec<(String, [u8; 32])>,
        metrics: usize,
        rate: f64,
    ) -> Result<Feed, SimError> {
        let count = devices.len();
        let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
        let mut wires = Vec::with_capacity(count);
        for (number, (id, secret)) in devices.into_iter().enumerate() {
            let inner = DeviceWire::new(id, secret, metrics, IN_FLIGHT).map_err(SimError::Task)?;
            wires.push(CountingWire { inner, number, sent: sent.clone(), values: vec![0; 4 * metrics] });
        }
        let load = Load {
            rate: Some(rate * count as f64),
            in_flight: IN_FLIGHT,
            metrics: 1,
            warm_up: Duration::ZERO,
            measured: LONGEST,
            threads: 1,
        };
        let progress = Arc::new(Progress::default());
        let seen = progress.clone();
        let thread = std::thread::spawn(move || generator::run(wires, address, &load, &seen, |_| {}));
        let mut feed = Feed { progress, sent, thread: Some(thread) };
        let until = Instant::now() + LOGIN_LIMIT;
        while feed.progress.ready.load(Ordering::Relaxed) < count as u64 {
            if feed.thread.as_ref().is_none_or(JoinHandle::is_finished) || Instant::now() > until {
                feed.progress.stop();
                feed.finish()?;
                return Err(SimError::Task("the devices did not log in".into()));
            }
            // The devices log in on another thread; how far they are is all that it says.
            std::thread::sleep(POLL);
        }
        Ok(feed)
    }

    /// Publishes no more, waits for the last acknowledgements, and answers what each device published last.
    pub fn stop(mut self) -> Result<(Outcome, Vec<u64>), SimError> {
        self.progress.stop();
        let outcome = self.finish()?;
        Ok((outcome, self.sent.iter().map(|sent| sent.load(Ordering::Relaxed)).collect()))
    }

    /// Reports that were acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.progress.acked.load(Ordering::Relaxed)
    }

    fn finish(&mut self) -> Result<Outcome, SimError> {
        let Some(thread) = self.thread.take() else { return Err(SimError::Task("the devices are gone".into())) };
        thread.join().map_err(|_| SimError::Task("the devices".into()))?
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.progress.stop();
        if self.thread.is_some() {
            // Whoever drops it unasked has an error of its own to tell.
            let _ = self.finish();
        }
    }
}

impl Wire for CountingWire {
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.inner.start(out)
    }

    fn is_ready(&self) -> bool {
        self.inner.is_ready()
    }

    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, out: &mut Vec<u8>) -> Result<usize, String> {
        self.inner.receive(input, acks, out)
    }

    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>) {
        // Whole numbers are exact as f32 up to 16.7 million: a thousand a second for four hours.
        let value = (sequence as f32).to_le_bytes();
        self.values.chunks_exact_mut(4).for_each(|metric| metric.copy_from_slice(&value));
        let reading = Reading { time_us: reading.due_us, due_us: reading.due_us, values: &self.values };
        self.inner.message(sequence, &reading, out);
        if let Some(sent) = self.sent.get(self.number) {
            sent.store(sequence, Ordering::Relaxed);
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.inner.end(out);
    }
}
