use std::collections::VecDeque;

use pulsewire_proto::{
    MetricSet, Report, ReportBuilder,
    frame::{Skip, SkipReason, StreamKind},
};
use tokio::time::Instant;

use super::{Next, Source};
use crate::SimError;

/// Reports in memory until they are acknowledged, numbered as they come in. Full, it takes nothing more: a report that
/// was not taken has no number, so nothing is missing in the stream.
///
/// The bytes are kept without stream and sequence, so that they can go under a new stream if the server lost the old one.
#[derive(Debug)]
pub struct Spool {
    sets: Vec<MetricSet>,
    kind: StreamKind,
    stream: Option<u32>,
    capacity: usize,
    /// Sequence of the first report kept.
    first: u64,
    /// Sequence of the next report to send.
    next: u64,
    reports: VecDeque<Kept>,
    /// Reports that were acknowledged once and that the server has lost again.
    lost: Option<(u64, u64)>,
    scratch: Vec<u8>,
    closed: bool,
}

#[derive(Debug)]
struct Kept {
    set: u8,
    sparse: bool,
    base_us: i64,
    rows: u32,
    samples: u32,
    body: Box<[u8]>,
}

impl Spool {
    /// An empty spool for at most `capacity` reports.
    pub fn new(sets: Vec<MetricSet>, kind: StreamKind, capacity: usize) -> Spool {
        Spool {
            sets,
            kind,
            stream: None,
            capacity,
            first: 1,
            next: 1,
            reports: VecDeque::new(),
            lost: None,
            scratch: Vec::new(),
            closed: false,
        }
    }

    /// Takes the rows of a builder as one report of `samples` values; whether there was room, and rows.
    pub fn push(&mut self, builder: &ReportBuilder<'_>, samples: u32) -> bool {
        let Some(report) = builder.report(0, 1) else {
            return false;
        };
        if self.reports.len() >= self.capacity {
            return false;
        }
        let Report { set, sparse, base_us, rows, body, .. } = report;
        self.reports.push_back(Kept { set, sparse, base_us, rows, samples, body: body.into() });
        true
    }

    /// The set that reports are built for.
    pub fn metric_set(&self) -> &MetricSet {
        &self.sets[0]
    }

    /// Nothing more will be pushed: the client ends once everything is acknowledged.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Reports that are not acknowledged.
    pub fn len(&self) -> usize {
        self.reports.len()
    }

    /// Whether everything is acknowledged.
    pub fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }
}

impl Source for Spool {
    fn metric_sets(&self) -> &[MetricSet] {
        &self.sets
    }

    fn kind(&self) -> StreamKind {
        self.kind
    }

    fn stream(&self) -> Option<u32> {
        self.stream
    }

    async fn opened(&mut self, stream: u32) -> Result<(), SimError> {
        self.stream = Some(stream);
        self.first = 1;
        self.next = 1;
        self.lost = None;
        Ok(())
    }

    fn resumed(&mut self, durable: u64) -> u64 {
        let settled = self.acked(durable);
        // A server that was set back to an older state expects numbers that are no longer kept here.
        self.lost = (durable + 1 < self.first).then(|| (durable + 1, self.first - 1));
        if durable >= self.first + self.reports.len() as u64 {
            // Beyond everything numbered here: what is made from now on comes after it.
            self.first = durable + 1;
        }
        self.next = self.first.max(durable + 1);
        settled
    }

    fn next(&mut self, _now: Instant) -> Next<'_> {
        let Some(stream) = self.stream else {
            return Next::Idle;
        };
        if let Some((from, to)) = self.lost {
            let text = "acknowledged before, and lost by the server".into();
            return Next::Skip(Skip { stream, from, to, reason: SkipReason::Other, text });
        }
        let at = usize::try_from(self.next - self.first).unwrap_or(usize::MAX);
        let Some(kept) = self.reports.get(at) else {
            return if self.closed && self.reports.is_empty() { Next::Done } else { Next::Idle };
        };
        let Kept { set, sparse, base_us, rows, samples, ref body } = *kept;
        let report = Report { set, sparse, stream, sequence: self.next, base_us, rows, body };
        self.scratch.clear();
        report.encode_payload(&mut self.scratch);
        Next::Report { payload: &self.scratch, samples, backfill: self.kind == StreamKind::Backlog }
    }

    fn sent(&mut self) {
        if self.lost.take().is_none() {
            self.next += 1;
        }
    }

    fn acked(&mut self, sequence: u64) -> u64 {
        let mut settled = 0;
        while self.first <= sequence && self.reports.pop_front().is_some() {
            self.first += 1;
            settled += 1;
        }
        self.next = self.next.max(self.first);
        if self.reports.is_empty() && self.reports.capacity() > 64 {
            self.reports = VecDeque::new();
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use pulsewire_proto::{Metric, MetricType, Value};

    use super::*;

    fn spool_of(count: u32) -> Spool {
        let set = MetricSet { set: 0, metrics: vec![Metric::new("n", "", MetricType::I64)] };
        let mut spool = Spool::new(vec![set.clone()], StreamKind::Live, 4);
        spool.stream = Some(9);
        for n in 0..count {
            let mut builder = ReportBuilder::dense(&set);
            builder.row(i64::from(n), &[Value::I64(i64::from(n))]).expect("a row");
            assert_eq!(spool.push(&builder, 1), n < 4, "a full spool takes nothing more");
        }
        spool
    }

    fn send_all(spool: &mut Spool) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        loop {
            match spool.next(Instant::now()) {
                Next::Report { payload, .. } => sent.push(payload.to_vec()),
                _ => return sent,
            }
            spool.sent();
        }
    }

    fn sequences(payloads: &[Vec<u8>]) -> Vec<u64> {
        payloads.iter().map(|payload| Report::parse(payload).expect("a report").sequence).collect()
    }

    #[tokio::test]
    async fn unacknowledged_reports_are_sent_again_byte_for_byte() {
        let mut spool = spool_of(6);
        let first = send_all(&mut spool);
        assert_eq!(sequences(&first), [1, 2, 3, 4]);
        assert_eq!(spool.acked(1), 1);
        spool.resumed(2);
        assert_eq!(send_all(&mut spool), first[2..]);
        assert_eq!((spool.acked(4), spool.acked(4), spool.is_empty()), (2, 0, true));
    }

    #[tokio::test]
    async fn a_server_that_lost_the_stream_gets_everything_under_a_new_one() {
        let mut spool = spool_of(3);
        send_all(&mut spool);
        spool.acked(1);
        spool.opened(10).await.expect("nothing to store");
        spool.resumed(0);
        let again = send_all(&mut spool);
        assert_eq!(sequences(&again), [1, 2]);
        assert!(again.iter().all(|payload| Report::parse(payload).expect("a report").stream == 10));
    }

    #[tokio::test]
    async fn what_a_set_back_server_lost_is_declared_and_not_left_out() {
        let mut spool = spool_of(4);
        send_all(&mut spool);
        spool.acked(3);
        spool.resumed(1);
        let Next::Skip(skip) = spool.next(Instant::now()) else { panic!("no SKIP") };
        assert_eq!((skip.from, skip.to), (2, 3));
        spool.sent();
        assert_eq!(sequences(&send_all(&mut spool)), [4]);
    }
}
