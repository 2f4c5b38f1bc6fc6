//! Frames for viewers.

use super::subscription::Pending;
use crate::ports::ShownAlert;
use pulsewire_core::alert::{AlertKind, Comparison};
use pulsewire_core::command::{Command, State};
use pulsewire_core::ids::Position;
use pulsewire_core::severity::Severity;
use pulsewire_core::value::{Value, ValueType};
use pulsewire_proto::frame::{
    self as wire, Acknowledgement, AlertComparison, AlertDetail, AlertInfo, AlertSeverity, AlertState, BatchColumns,
    CommandInfo, CommandStatus, TextSample, Texts, clip_text,
};
use pulsewire_proto::limits::{REASON_BYTES, RESULT_CODE_BYTES};
use pulsewire_proto::{Message, MessageType, MetricType, encode_frame};
use std::sync::Arc;

/// Samples per BATCH: 32 KiB of columns, so that a few frames in a slow viewer's buffers stay small.
const BATCH_SAMPLES: usize = 2048;
/// Text samples per TEXTS, and most bytes of text in one.
const TEXTS_SAMPLES: usize = 256;
const TEXTS_BYTES: usize = 64 << 10;

/// How a subscription's samples are framed.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    /// The viewer's number.
    pub subscription: u32,
    /// Position of the run; its frames but the last carry the one before.
    pub position: Position,
    /// History rather than live.
    pub history: bool,
    /// Samples were replaced by newer ones.
    pub conflated: bool,
}

/// One frame of a message.
pub fn frame(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// Frames for samples in the order given. `previous` is the subscription's chain of positions. Only the last frame of the
/// run moves it on: a viewer that loses the connection in between goes on from before the run and misses nothing.
pub fn samples(framing: Framing, previous: &mut Position, samples: &[Pending]) -> Vec<Vec<u8>> {
    let parts = split(samples);
    let count = parts.len();
    let frames = parts.into_iter().enumerate().map(|(i, part)| {
        let position = if i + 1 == count { framing.position } else { *previous };
        let framing = Framing { position, ..framing };
        match part {
            Part::Numbers(columns) => columns.frame(framing, *previous),
            Part::Texts(items) => texts_frame(framing, *previous, items),
        }
    });
    let frames = frames.collect();
    if count > 0 {
        *previous = framing.position;
    }
    frames
}

/// What goes into one frame.
enum Part {
    Numbers(Columns),
    Texts(Vec<TextSample>),
}

fn split(samples: &[Pending]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut columns = Columns::default();
    let (mut texts, mut text_bytes) = (Vec::new(), 0);
    for sample in samples {
        match &sample.value {
            Value::Text(text) => {
                text_bytes += text.len();
                texts.push(TextSample { series: sample.index, time_us: sample.time_us, text: text.to_string() });
                if texts.len() == TEXTS_SAMPLES || text_bytes > TEXTS_BYTES {
                    text_bytes = 0;
                    parts.push(Part::Texts(std::mem::take(&mut texts)));
                }
            }
            value => {
                let number = value.as_f64().unwrap_or(f64::NAN);
                if !columns.push(sample.index, sample.time_us, number) {
                    parts.push(Part::Numbers(std::mem::take(&mut columns)));
                    columns.push(sample.index, sample.time_us, number);
                }
            }
        }
    }
    if !columns.series.is_empty() {
        parts.push(Part::Numbers(columns));
    }
    if !texts.is_empty() {
        parts.push(Part::Texts(texts));
    }
    parts
}

fn texts_frame(framing: Framing, previous: Position, items: Vec<TextSample>) -> Vec<u8> {
    frame(&Message::Texts(Texts {
        subscription: framing.subscription,
        position: framing.position.0,
        previous: previous.0,
        history: framing.history,
        items,
    }))
}

#[derive(Default)]
struct Columns {
    series: Vec<u32>,
    times_us: Vec<i64>,
    values: Vec<f64>,
    min_us: i64,
    max_us: i64,
}

impl Columns {
    /// False if the batch is full, or would span more than its offsets can say.
    fn push(&mut self, series: u32, time_us: i64, value: f64) -> bool {
        let (min_us, max_us) = match self.series.is_empty() {
            true => (time_us, time_us),
            false => (self.min_us.min(time_us), self.max_us.max(time_us)),
        };
        let span = max_us.checked_sub(min_us).and_then(|s| u32::try_from(s).ok());
        if self.series.len() == BATCH_SAMPLES || span.is_none() {
            return false;
        }
        (self.min_us, self.max_us) = (min_us, max_us);
        self.series.push(series);
        self.times_us.push(time_us);
        self.values.push(value);
        true
    }

    fn frame(self, framing: Framing, previous: Position) -> Vec<u8> {
        let offset = |t: &i64| u32::try_from(t - self.min_us).unwrap_or(u32::MAX);
        let offsets_us: Vec<u32> = self.times_us.iter().map(offset).collect();
        let columns = BatchColumns {
            subscription: framing.subscription,
            position: framing.position.0,
            previous: previous.0,
            base_us: self.min_us,
            history: framing.history,
            conflated: framing.conflated,
            series: &self.series,
            offsets_us: &offsets_us,
            values: &self.values,
        };
        let (mut payload, mut out) = (Vec::new(), Vec::new());
        // Columns of one length below the limit always encode.
        if columns.encode_payload(&mut payload).is_ok() {
            encode_frame(MessageType::Batch, &payload, &mut out);
        }
        out
    }
}

/// How commands stand. SPEC §9.13.
pub fn commands(commands: &[Arc<Command>]) -> Vec<u8> {
    let infos = commands.iter().map(|command| CommandInfo {
        id: command.id.0.to_bytes(),
        revision: command.revision,
        device: command.device_id.to_string(),
        name: command.name.to_string(),
        state: match command.state {
            State::Queued => CommandStatus::Queued,
            State::Sent => CommandStatus::Sent,
            State::Delivered => CommandStatus::Delivered,
            State::InProgress => CommandStatus::InProgress,
            State::Succeeded => CommandStatus::Succeeded,
            State::Failed => CommandStatus::Failed,
            State::Rejected => CommandStatus::Rejected,
            State::Expired => CommandStatus::Expired,
            State::TimedOut => CommandStatus::TimedOut,
            State::Canceled => CommandStatus::Canceled,
            State::Dead => CommandStatus::Dead,
        },
        attempt: command.attempt,
        percent: command.percent,
        code: clip_text(&command.code, RESULT_CODE_BYTES).to_owned(),
        text: clip_text(&command.text, REASON_BYTES).to_owned(),
        changed_us: command.changed_us,
        cancel_requested: command.cancel_requested,
    });
    frame(&Message::CommandState(wire::CommandState { commands: infos.collect(), position: 0, previous: 0 }))
}

/// How alerts stand. SPEC §9.12.
pub fn alerts(alerts: &[ShownAlert]) -> Vec<u8> {
    let infos = alerts.iter().map(|ShownAlert { alert, .. }| AlertInfo {
        id: alert.id.0.to_bytes(),
        revision: alert.revision,
        rule: alert.rule.to_string(),
        rule_name: alert.rule_name.clone(),
        device: alert.device_id.clone(),
        metric: alert.metric.to_string(),
        severity: match alert.severity {
            Severity::Info => AlertSeverity::Info,
            Severity::Warning => AlertSeverity::Warning,
            Severity::Critical => AlertSeverity::Critical,
        },
        state: if alert.is_open() { AlertState::Firing } else { AlertState::Resolved },
        started_us: alert.started_us,
        fired_us: alert.fired_us,
        resolved_us: alert.resolved.map(|(time_us, _)| time_us),
        acknowledged: alert
            .acknowledged
            .as_ref()
            .map(|a| Acknowledgement { user: a.user.to_string(), time_us: a.time_us }),
        value: alert.value,
        comparison: match alert.threshold.map_or(Comparison::Above, |t| t.comparison) {
            Comparison::Above => AlertComparison::Above,
            Comparison::AtLeast => AlertComparison::AtLeast,
            Comparison::Below => AlertComparison::Below,
            Comparison::AtMost => AlertComparison::AtMost,
        },
        threshold: alert.threshold.map_or(f64::NAN, |t| t.value),
        text: clip_text(&alert.text, REASON_BYTES).to_owned(),
    });
    let details = alerts.iter().map(|ShownAlert { alert, quiet }| AlertDetail {
        kind: match alert.kind {
            AlertKind::Condition => wire::AlertKind::Condition,
            AlertKind::NoData => wire::AlertKind::NoData,
            AlertKind::Group => wire::AlertKind::Group,
            AlertKind::Overflow => wire::AlertKind::Overflow,
        },
        flags: [
            (alert.stale, AlertDetail::STALE),
            (alert.flapping, AlertDetail::FLAPPING),
            (alert.recovering, AlertDetail::RECOVERING),
            (*quiet, AlertDetail::SILENCED),
            (alert.parent.is_some(), AlertDetail::CHILD),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .sum(),
        members: alert.members,
        condition: clip_text(&alert.condition, REASON_BYTES).to_owned(),
        assigned: alert.assigned.as_ref().map(ToString::to_string),
    });
    frame(&Message::Alert(wire::Alert {
        details: details.collect(),
        alerts: infos.collect(),
        position: 0,
        previous: 0,
    }))
}

/// The wire's name for a type.
pub fn metric_type(value_type: ValueType) -> MetricType {
    match value_type {
        ValueType::F64 => MetricType::F64,
        ValueType::F32 => MetricType::F32,
        ValueType::I64 => MetricType::I64,
        ValueType::Bool => MetricType::Bool,
        ValueType::Text => MetricType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_proto::RawFrame;

    fn pending(index: u32, time_us: i64, value: Value) -> Pending {
        Pending { index, time_us, value, position: Position(9) }
    }

    #[test]
    fn a_span_beyond_the_offsets_is_split_and_only_the_last_frame_moves_the_position() {
        let framing = Framing { subscription: 7, position: Position(9), history: true, conflated: false };
        let hour = 3_600_000_000;
        let input = [
            pending(0, 0, Value::F64(1.0)),
            pending(0, hour, Value::Bool(true)),
            pending(0, 2 * hour, Value::I64(3)),
            pending(1, 5, Value::Text("on".into())),
        ];
        let mut previous = Position(4);
        let frames = samples(framing, &mut previous, &input);
        let decoded: Vec<String> = frames
            .iter()
            .map(|bytes| {
                let (raw, rest) = RawFrame::split(bytes, 1 << 20).expect("valid").expect("whole");
                assert!(rest.is_empty());
                match Message::decode(raw.message_type(), raw.payload()).expect("valid").expect("known") {
                    Message::Batch(b) => {
                        let values: Vec<_> = b.samples().map(|s| (s.time_us / hour, s.value)).collect();
                        format!("{}<{} {values:?}", b.previous, b.position)
                    }
                    Message::Texts(t) => format!("{}<{} {}", t.previous, t.position, t.items[0].text),
                    other => format!("{other:?}"),
                }
            })
            .collect();
        assert_eq!(decoded, ["4<4 [(0, 1.0), (1, 1.0)]", "4<4 [(2, 3.0)]", "4<9 on"]);
    }
}
