//! Backtests: a rule over what is stored, as if it had been there.
//!
//! A job reads and judges on a thread of its own, one device and one stretch of time after the other, so that neither memory nor
//! the server's own work depends on how much it looks at.

use crate::ports::{History, HistoryError, RangeQuery, UserStore};
use pulsewire_core::alert::{Backtest, BacktestResult, Compiled, EngineLimits, Merged, Person, Rule, RuleError, Trial};
use pulsewire_core::block::ValueRef;
use pulsewire_core::catalogue::Catalogue;
use pulsewire_core::device::Device;
use pulsewire_core::directory::Directory;
use pulsewire_core::ids::SeriesKey;
use pulsewire_core::sample::Sample;
use pulsewire_core::ulid::Ulid;
use pulsewire_core::value::{Value, ValueType};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// Samples of a series that are in memory at a time; a stretch of time with more is halved.
const STRETCH_SAMPLES: usize = 100_000;
/// First length of a stretch, µs.
const STRETCH_US: i64 = 86_400_000_000;
/// How long an ended job can be asked for.
const KEPT: Duration = Duration::from_secs(600);
/// A job that nobody has asked about for so long is stopped: its page is closed.
const UNASKED_MAX: Duration = Duration::from_secs(60);
/// Jobs that are kept; above it the oldest that ended go early.
const JOBS_MAX: usize = 32;

/// Bounds; each is a key of `[alerting]`.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)] // documented with the keys
pub struct BacktestOptions {
    pub backtests_max: usize,
    pub samples_max: u64,
    pub limits: EngineLimits,
}

/// What backtests work with.
#[allow(missing_docs)]
pub struct BacktestParts {
    pub history: Arc<dyn History>,
    pub users: Arc<dyn UserStore>,
    pub catalogue: Arc<RwLock<Catalogue>>,
    pub directory: Arc<RwLock<Directory>>,
}

/// Why there is no backtest.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// As many run as may.
    #[error("{0} backtests run already, as many as alerting.backtests_max allows; wait for one, or cancel it")]
    TooMany(usize),
    /// The rule cannot be.
    #[error(transparent)]
    Rule(RuleError),
}

/// Where a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    /// It runs.
    Running,
    /// It is done: the rule's result, that of the stored version if it was asked for, and how long it took.
    Done {
        /// The rule.
        candidate: Arc<BacktestResult>,
        /// As stored.
        current: Option<Arc<BacktestResult>>,
        /// How long it took.
        took: Duration,
    },
    /// It could not be done; a code and a text for people.
    Failed(&'static str, String),
    /// Someone stopped it.
    Canceled,
}

/// A backtest that was asked for.
#[derive(Debug)]
pub struct Job {
    /// Its id.
    pub id: Ulid,
    /// From when, µs since the Unix epoch.
    pub from_us: i64,
    /// Until when.
    pub to_us: i64,
    /// Devices to look at; twice as many if versions are compared.
    pub devices: usize,
    devices_done: AtomicU64,
    samples: AtomicU64,
    canceled: AtomicBool,
    // When someone last asked how it is doing.
    asked: Mutex<Instant>,
    state: Mutex<(JobState, Option<Instant>)>,
}

impl Job {
    /// Where it stands.
    pub fn state(&self) -> JobState {
        self.lock().0.clone()
    }

    /// Devices that are done, and samples that were looked at.
    pub fn progress(&self) -> (u64, u64) {
        (self.devices_done.load(Ordering::Relaxed), self.samples.load(Ordering::Relaxed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (JobState, Option<Instant>)> {
        // The state is replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, state: JobState) {
        *self.lock() = (state, Some(Instant::now()));
    }

    fn is_running(&self) -> bool {
        self.lock().1.is_none()
    }
}

/// See the module.
pub struct Backtests {
    options: BacktestOptions,
    parts: Arc<BacktestParts>,
    jobs: Mutex<BTreeMap<Ulid, Arc<Job>>>,
    stopping: AtomicBool,
}

impl Backtests {
    /// None runs yet.
    pub fn new(options: BacktestOptions, parts: BacktestParts) -> Self {
        Self { options, parts: Arc::new(parts), jobs: Mutex::new(BTreeMap::new()), stopping: AtomicBool::new(false) }
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ulid, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one. `current` is the stored version to compare with. Call it on a tokio runtime.
    ///
    /// # Errors
    /// [`BacktestError`].
    pub fn start(
        &self,
        id: Ulid,
        rule: Rule,
        current: Option<Rule>,
        from_us: i64,
        to_us: i64,
    ) -> Result<Arc<Job>, BacktestError> {
        let gap_max_us = self.options.limits.gap_max_us;
        let compile =
            |rule: Rule| Compiled::new(Rule { enabled: true, ..rule }, gap_max_us).map_err(BacktestError::Rule);
        let candidate = compile(rule)?;
        let current = current.map(compile).transpose()?;
        let count = |rule: &Compiled| devices_of(&self.parts, rule).len();
        let devices = count(&candidate) + current.as_ref().map_or(0, count);
        let mut jobs = self.jobs();
        let now = Instant::now();
        jobs.retain(|_, job| job.lock().1.is_none_or(|ended| now.duration_since(ended) < KEPT));
        if jobs.values().filter(|job| job.is_running()).count() >= self.options.backtests_max {
            return Err(BacktestError::TooMany(self.options.backtests_max));
        }
        while jobs.len() >= JOBS_MAX {
            let Some(oldest) = jobs.values().find(|job| !job.is_running()).map(|job| job.id) else { break };
            jobs.remove(&oldest);
        }
        let job = Arc::new(Job {
            id,
            from_us,
            to_us,
            devices,
            devices_done: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            canceled: AtomicBool::new(self.stopping.load(Ordering::Relaxed)),
            asked: Mutex::new(now),
            state: Mutex::new((JobState::Running, None)),
        });
        jobs.insert(id, job.clone());
        drop(jobs);
        let run = Run { job: job.clone(), options: self.options, parts: self.parts.clone() };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _ends = Ends(run.job.clone());
            run.run(&runtime, &candidate, current.as_ref());
        });
        Ok(job)
    }

    /// A job, if it is kept.
    pub fn job(&self, id: Ulid) -> Option<Arc<Job>> {
        let job = self.jobs().get(&id).cloned()?;
        *job.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(job)
    }

    /// Stops all jobs: the server ends. New ones end at once.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.jobs().values().for_each(|job| job.canceled.store(true, Ordering::Relaxed));
    }

    /// Stops a job. False if there is none.
    pub fn cancel(&self, id: Ulid) -> bool {
        let Some(job) = self.job(id) else { return false };
        job.canceled.store(true, Ordering::Relaxed);
        true
    }
}

/// The devices that a rule would look at.
fn devices_of(parts: &BacktestParts, rule: &Compiled) -> Vec<Arc<Device>> {
    let directory = parts.directory.read().unwrap_or_else(PoisonError::into_inner);
    let catalogue = parts.catalogue.read().unwrap_or_else(PoisonError::into_inner);
    let has = |device: &Device| rule.program.metrics().iter().any(|m| catalogue.find(device.key, m).is_some());
    directory.after(None).filter(|device| rule.rule.scope.takes(device) && has(device)).cloned().collect()
}

/// Ends a job that did not end by itself: a defect must not take its place for ever.
struct Ends(Arc<Job>);

impl Drop for Ends {
    fn drop(&mut self) {
        if self.0.is_running() {
            self.0.end(JobState::Failed("internal", "a defect of the server; its log says more".into()));
        }
    }
}

enum Stop {
    Canceled,
    Failed(&'static str, String),
}

struct Run {
    job: Arc<Job>,
    options: BacktestOptions,
    parts: Arc<BacktestParts>,
}

impl Run {
    fn run(&self, runtime: &tokio::runtime::Handle, candidate: &Compiled, current: Option<&Compiled>) {
        let started = Instant::now();
        let both = || -> Result<JobState, Stop> {
            let failed = |cause: crate::ports::MetaError| {
                tracing::error!(%cause, "a backtest could not read the users");
                Stop::Failed("internal", "the server could not read its users; its log says why".into())
            };
            let users = runtime.block_on(self.parts.users.users()).map_err(failed)?;
            let people: Vec<Person> =
                users.into_iter().map(|user| Person { user: user.name, role: user.role }).collect();
            let candidate = Arc::new(self.judge(runtime, candidate, &people)?);
            let current = current.map(|rule| self.judge(runtime, rule, &people)).transpose()?.map(Arc::new);
            Ok(JobState::Done { candidate, current, took: started.elapsed() })
        };
        self.job.end(match both() {
            Ok(done) => done,
            Err(Stop::Canceled) => JobState::Canceled,
            Err(Stop::Failed(code, text)) => JobState::Failed(code, text),
        });
    }

    /// Someone stopped it, or nobody waits for it any more: whoever wants a result asks for it.
    fn is_over(&self) -> bool {
        let asked = *self.job.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.job.canceled.load(Ordering::Relaxed) || asked.elapsed() > UNASKED_MAX
    }

    fn judge(
        &self,
        runtime: &tokio::runtime::Handle,
        rule: &Compiled,
        people: &[Person],
    ) -> Result<BacktestResult, Stop> {
        let mut backtest = Backtest::new(rule, &self.options.limits, self.job.from_us, self.job.to_us);
        for device in devices_of(&self.parts, rule) {
            let series: Vec<Option<(SeriesKey, ValueType)>> = {
                let catalogue = self.parts.catalogue.read().unwrap_or_else(PoisonError::into_inner);
                let find = |m| catalogue.find(device.key, m).map(|series| (series.key, series.value_type));
                rule.program.metrics().iter().map(find).collect()
            };
            let mut trial = backtest.begin(&device);
            self.read_device(runtime, &series, &mut trial)?;
            backtest.end(&device, trial);
            self.job.devices_done.fetch_add(1, Ordering::Relaxed);
        }
        Ok(backtest.finish(people))
    }

    fn read_device(
        &self,
        runtime: &tokio::runtime::Handle,
        series: &[Option<(SeriesKey, ValueType)>],
        trial: &mut Trial<'_>,
    ) -> Result<(), Stop> {
        let (mut from_us, mut stretch_us) = (self.job.from_us, STRETCH_US);
        while from_us < self.job.to_us {
            if self.is_over() {
                return Err(Stop::Canceled);
            }
            let to_us = from_us.saturating_add(stretch_us).min(self.job.to_us);
            let Some(samples) = self.read_stretch(runtime, series, from_us, to_us)? else {
                // More than fits: a millisecond does, whatever a device sends.
                stretch_us = (stretch_us / 2).max(1_000);
                continue;
            };
            let count: u64 = samples.iter().map(|samples| samples.len() as u64).sum();
            let seen = self.job.samples.fetch_add(count, Ordering::Relaxed) + count;
            if seen > self.options.samples_max {
                let text = format!(
                    "there are more than {} samples to look at, as many as alerting.backtest_samples_max allows; choose a \
                     shorter time or a narrower scope",
                    self.options.samples_max
                );
                return Err(Stop::Failed("too_much_data", text));
            }
            feed(series, samples, trial);
            from_us = to_us;
            if count < STRETCH_SAMPLES as u64 / 4 {
                stretch_us = stretch_us.saturating_mul(2).min(STRETCH_US.saturating_mul(32));
            }
        }
        Ok(())
    }

    /// The samples of one stretch per series; None if one has more than are read at a time and the stretch can be halved.
    fn read_stretch(
        &self,
        runtime: &tokio::runtime::Handle,
        series: &[Option<(SeriesKey, ValueType)>],
        from_us: i64,
        to_us: i64,
    ) -> Result<Option<Vec<Vec<Sample>>>, Stop> {
        let mut all = Vec::with_capacity(series.len());
        for one in series {
            let Some((series, _)) = *one else {
                all.push(Vec::new());
                continue;
            };
            let query = RangeQuery { series, from_us, to_us, limit: STRETCH_SAMPLES };
            let samples = match runtime.block_on(self.parts.history.range(query)) {
                Ok(samples) => samples,
                Err(HistoryError::TooMuch(text)) => return Err(Stop::Failed("too_much_data", text)),
                Err(HistoryError::Failed(cause)) => {
                    tracing::error!(?cause, "a backtest could not read the store");
                    return Err(Stop::Failed(
                        "internal",
                        "the store could not be read; the server's log says why".into(),
                    ));
                }
            };
            if samples.len() >= STRETCH_SAMPLES && to_us - from_us > 1_000 {
                return Ok(None);
            }
            all.push(samples);
        }
        Ok(Some(all))
    }
}

fn feed(series: &[Option<(SeriesKey, ValueType)>], samples: Vec<Vec<Sample>>, trial: &mut Trial<'_>) {
    let mut merged = Merged::new(samples.into_iter().map(|one| one.into_iter().map(|s| (s.time_us, s.value))));
    let mut row: Vec<(usize, Value)> = Vec::new();
    while let Some(time_us) = merged.next_row(&mut row) {
        let values: Vec<(u16, ValueRef<'_>, bool)> = row
            .iter()
            .filter_map(|(input, value)| {
                let is_f32 = series.get(*input).copied().flatten().is_some_and(|(_, t)| t == ValueType::F32);
                Some((u16::try_from(*input).ok()?, view(value), is_f32))
            })
            .collect();
        trial.sample(time_us, time_us, &values);
    }
}

fn view(value: &Value) -> ValueRef<'_> {
    match value {
        Value::F64(v) => ValueRef::F64(*v),
        Value::I64(v) => ValueRef::I64(*v),
        Value::Bool(v) => ValueRef::Bool(*v),
        Value::Text(v) => ValueRef::Text(v),
    }
}
