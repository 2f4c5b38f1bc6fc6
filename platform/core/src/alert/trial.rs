//! One rule on one device over recorded samples: what tests of rules and backtests run.
//!
//! It is the [`Held`] of the engine, woken at each of its deadlines in order, so that what silence and time do happens between
//! the samples as it does live.

use super::compiled::Compiled;
use super::engine::{EngineLimits, believed_us};
use super::held::{Event, Hand, Held, Seen, Taken, Values};
use crate::device::Device;
use crate::ids::AlertId;
use crate::severity::Severity;
use crate::ulid::Ulid;

/// What a trial takes for late and early, and how much it may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimits {
    /// As [`EngineLimits::lateness_max_us`].
    pub lateness_max_us: i64,
    /// As [`EngineLimits::ahead_max_us`].
    pub ahead_max_us: i64,
    /// Most events that are kept; those after it are counted and not kept.
    pub log_max: usize,
    /// Most spans that are kept, the first ones; those after it are counted and not kept.
    pub spans_max: usize,
    /// Most times that the rule is woken. Above it nothing is woken any more: a rule that asks for every second (an `age()` that is
    /// calculated with) over months of silence.
    pub wakes_max: u64,
}

impl TrialLimits {
    /// The engine's, with room for so many events and spans.
    pub fn new(limits: &EngineLimits, log_max: usize, spans_max: usize) -> Self {
        let EngineLimits { lateness_max_us, ahead_max_us, .. } = *limits;
        Self { lateness_max_us, ahead_max_us, log_max, spans_max, wakes_max: 1_000_000 }
    }
}

/// What a span is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// The rule's condition.
    Condition,
    /// Silence.
    NoData,
}

impl SpanKind {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::NoData => "no_data",
        }
    }
}

/// From when to when an alert fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Which; an alert that was opened again has several spans.
    pub alert: AlertId,
    /// What it is about.
    pub kind: SpanKind,
    /// When it fired, µs.
    pub from_us: i64,
    /// When it ended; None = it fires at the end of the trial.
    pub to_us: Option<i64>,
    /// How bad it was at its worst.
    pub severity_max: Severity,
}

/// An event, and the value of the rule's first metric at the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logged {
    /// What.
    pub event: Event,
    /// NaN if there was none yet.
    pub value: f64,
}

/// What a trial found so far. Counts go on where `log` and `spans` are full.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Every event in order, at most [`TrialLimits::log_max`].
    pub log: Vec<Logged>,
    /// In the order in which they began, at most [`TrialLimits::spans_max`].
    pub spans: Vec<Span>,
    /// There was more than there is room for, or the rule asked to be woken too often.
    pub cut: bool,
    /// Alerts that began; one that was opened again counts once.
    pub alerts: u64,
    /// Times at which an alert fired, those opened again too.
    pub fired: u64,
    /// How long alerts fired, µs. One about the condition and one about silence count both.
    pub firing_us: i64,
    /// How often an alert began to flap.
    pub flapping: u64,
    /// How often an alert became worse or milder.
    pub level_changes: u64,
    /// Times of samples that were judged or wait to be.
    pub samples: u64,
    /// Times of samples that were late.
    pub late: u64,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    rule: &'a Compiled,
    device: &'a Device,
    limits: TrialLimits,
    held: Held,
    from_us: i64,
    now_us: i64,
    watermark_us: i64,
    wakes: u64,
    ids: u128,
    events: Vec<(Event, f64)>,
    seen: Vec<Seen>,
    // Those that fire: the condition's and silence's.
    open: Vec<Span>,
    findings: Findings,
}

impl<'a> Trial<'a> {
    /// Nothing is known at `from_us`, from which time on silence is counted and firing is added up. Ids of alerts are made up:
    /// the device's number and a count.
    pub fn new(rule: &'a Compiled, device: &'a Device, from_us: i64, limits: TrialLimits) -> Self {
        Self {
            rule,
            device,
            limits,
            held: Held::new(rule),
            from_us,
            now_us: from_us,
            watermark_us: i64::MIN,
            wakes: 0,
            ids: u128::from(device.key.0) << 64,
            events: Vec::new(),
            seen: Vec::new(),
            open: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Takes a row: values of one time, each with the number of the rule's metric. Rows come in the order of their arrival; for a
    /// backtest the arrival is the time itself. Whatever is due before the arrival happens first.
    pub fn sample(&mut self, time_us: i64, arrival_us: i64, values: Values<'_>) -> Taken {
        self.advance(arrival_us.saturating_sub(1));
        self.now_us = self.now_us.max(arrival_us);
        // As the engine: by its arrival, where it says it is of the future.
        let latest_us = arrival_us.saturating_add(self.limits.ahead_max_us);
        let time_us = believed_us(time_us, arrival_us, latest_us, self.watermark_us);
        let lateness_us = self.limits.lateness_max_us.max(self.rule.rule.lateness_us);
        let late = time_us < self.watermark_us.saturating_sub(lateness_us);
        self.watermark_us = self.watermark_us.max(time_us);
        let taken = self.with_hand(|held, hand| {
            if late {
                held.late_sample(arrival_us, hand);
                return Taken::Late;
            }
            held.sample(time_us, arrival_us, values, hand)
        });
        match taken {
            Taken::Judged => self.findings.samples += 1,
            Taken::Late => self.findings.late += 1,
        }
        taken
    }

    /// A row came that has none of the rule's metrics: its time counts for what is late.
    pub fn other_sample(&mut self, time_us: i64, arrival_us: i64) {
        self.advance(arrival_us.saturating_sub(1));
        self.now_us = self.now_us.max(arrival_us);
        let latest_us = arrival_us.saturating_add(self.limits.ahead_max_us);
        let time_us = believed_us(time_us, arrival_us, latest_us, self.watermark_us);
        self.watermark_us = self.watermark_us.max(time_us);
    }

    /// When [`Trial::advance`] has something to do next, by the server's clock; None: not before the next sample.
    pub fn due_us(&self) -> Option<i64> {
        if self.wakes >= self.limits.wakes_max {
            return None;
        }
        self.held.deadline_us(self.rule, self.device, self.from_us).map(|due_us| due_us.max(self.now_us))
    }

    /// Time has come to `now_us`, by the server's clock.
    pub fn advance(&mut self, now_us: i64) {
        while let Some(due_us) = self.held.deadline_us(self.rule, self.device, self.from_us) {
            if due_us > now_us {
                break;
            }
            if self.wakes >= self.limits.wakes_max {
                self.findings.cut = true;
                break;
            }
            self.wakes += 1;
            let due_us = due_us.max(self.now_us);
            self.with_hand(|held, hand| held.wake(due_us, hand));
            self.now_us = due_us;
        }
        self.now_us = self.now_us.max(now_us);
    }

    /// It is over: what still fires is counted up to `to_us`.
    pub fn finish(mut self, to_us: i64) -> (Findings, Held) {
        self.advance(to_us);
        for span in std::mem::take(&mut self.open) {
            self.add_up(&span, to_us);
            self.keep(span);
        }
        self.findings.spans.sort_by_key(|span| span.from_us);
        (self.findings, self.held)
    }

    /// Where the rule stands.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Time as the trial knows it.
    pub fn now_us(&self) -> i64 {
        self.now_us
    }

    /// What was found so far; alerts that fire are not among the spans yet.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// Alerts that fire, with their level now as `severity_max` at its worst.
    pub fn open(&self) -> &[Span] {
        &self.open
    }

    fn with_hand<R>(&mut self, act: impl FnOnce(&mut Held, &mut Hand<'_>) -> R) -> R {
        let ids = &mut self.ids;
        let mut new_id = || {
            *ids += 1;
            AlertId(Ulid::from_bytes(ids.to_be_bytes()))
        };
        let mut hand = Hand {
            rule: self.rule,
            device: self.device,
            new_id: &mut new_id,
            resumed_us: self.from_us,
            // Nobody reads messages here.
            seen: &mut self.seen,
            events: &mut self.events,
        };
        let result = act(&mut self.held, &mut hand);
        self.seen.clear();
        let mut events = std::mem::take(&mut self.events);
        events.drain(..).for_each(|(event, value)| self.note(event, value));
        self.events = events;
        result
    }

    fn note(&mut self, event: Event, value: f64) {
        if self.findings.log.len() < self.limits.log_max {
            self.findings.log.push(Logged { event, value });
        } else {
            self.findings.cut = true;
        }
        match event {
            Event::Fired { alert, severity, at_us, reopened, .. } => {
                self.findings.alerts += u64::from(!reopened);
                self.begin(Span {
                    alert,
                    kind: SpanKind::Condition,
                    from_us: at_us,
                    to_us: None,
                    severity_max: severity,
                });
            }
            Event::NoData { alert, severity, at_us, .. } => {
                self.findings.alerts += 1;
                self.begin(Span { alert, kind: SpanKind::NoData, from_us: at_us, to_us: None, severity_max: severity });
            }
            Event::Level { alert, from, to, .. } => {
                self.findings.level_changes += u64::from(from != to);
                if let Some(span) = self.open.iter_mut().find(|span| span.alert == alert) {
                    span.severity_max = span.severity_max.max(to);
                }
            }
            Event::Flapping { begins, .. } => self.findings.flapping += u64::from(begins),
            Event::Resolved { alert, at_us, .. } => {
                if let Some(place) = self.open.iter().position(|span| span.alert == alert) {
                    let span = Span { to_us: Some(at_us), ..self.open.remove(place) };
                    self.add_up(&span, at_us);
                    self.keep(span);
                }
            }
            Event::Recovering { .. } | Event::Silent { .. } => {}
        }
    }

    fn begin(&mut self, span: Span) {
        self.findings.fired += 1;
        self.open.push(span);
    }

    fn add_up(&mut self, span: &Span, to_us: i64) {
        let length_us = to_us.saturating_sub(span.from_us.max(self.from_us)).max(0);
        self.findings.firing_us = self.findings.firing_us.saturating_add(length_us);
    }

    fn keep(&mut self, span: Span) {
        if self.findings.spans.len() < self.limits.spans_max {
            self.findings.spans.push(span);
        } else {
            self.findings.cut = true;
        }
    }
}
