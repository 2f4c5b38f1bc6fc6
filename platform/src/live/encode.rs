//! Frames for viewers.

use super::fanout::SeriesMeta;
use crate::ports::ShownAlert;
use bytes::Bytes;
use pulsewire_core::alert::{AlertKind, Comparison};
use pulsewire_core::command::{Command, State};
use pulsewire_core::presence::Presence;
use pulsewire_core::severity::Severity;
use pulsewire_core::value::{Value, ValueType};
use pulsewire_proto::frame::{
    self as wire, Acknowledgement, AlertComparison, AlertDetail, AlertInfo, AlertSeverity, AlertState, BatchColumns,
    CommandInfo, CommandStatus, DevicePresence, EventsLost, Gap, GapReason, PresenceState, Series, SeriesDef,
    SeriesLabel, TextSample, Texts, clip_text,
};
use pulsewire_proto::limits::{REASON_BYTES, RESULT_CODE_BYTES};
use pulsewire_proto::{Message, MessageType, MetricType};
use std::sync::Arc;

/// Samples per BATCH: 24 to 64 KiB of columns, so that a few frames in a slow viewer's buffers stay small.
const BATCH_SAMPLES: usize = 4096;
/// Series per SERIES_DEF.
const LIST_ITEMS: usize = 1000;
/// Text samples per TEXTS, and most bytes of text in one.
const TEXTS_SAMPLES: usize = 256;
const TEXTS_BYTES: usize = 64 << 10;

/// How the samples of a run are framed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Framing {
    /// Position of the frame before the run.
    pub previous: u64,
    /// Position of the run; its frames but the last carry the one before, so that a viewer that loses the connection in
    /// between goes on from before the run and misses nothing.
    pub position: u64,
    /// History rather than live.
    pub history: bool,
    /// Samples were replaced by newer ones.
    pub conflated: bool,
}

impl Framing {
    /// Of what was stored before a viewer came to see it, told between what is live: it moves nothing on.
    pub fn stored(position: u64) -> Self {
        Self { previous: position, position, history: true, conflated: false }
    }
}

/// A frame without what differs between its viewers: the number of the subscription, which comes first in its payload.
#[derive(Debug, Clone)]
pub struct SharedFrame {
    /// Its type.
    pub kind: MessageType,
    /// Its payload after the number.
    pub tail: Bytes,
}

impl SharedFrame {
    /// Of a message whose subscription is 0.
    pub fn of(message: &Message<'_>) -> Self {
        let whole = frame(message);
        Self::cut(message.message_type(), Bytes::from(whole).slice(HEADER_BYTES..))
    }

    fn cut(kind: MessageType, payload: Bytes) -> Self {
        // A u32 column of BATCH, else a varint of 0.
        let number = if kind == MessageType::Batch { 4 } else { 1 };
        let number = number.min(payload.len());
        Self { kind, tail: payload.slice(number..) }
    }

    /// What stands before the tail for one viewer: headers of WebSocket (RFC 6455 §5.2) and frame, and the number.
    pub fn head(&self, subscription: u32) -> Bytes {
        let mut number = [0; 5];
        let number = match self.kind {
            MessageType::Batch => {
                number[..4].copy_from_slice(&subscription.to_le_bytes());
                &number[..4]
            }
            _ => put_varint(subscription, &mut number),
        };
        let payload = number.len() + self.tail.len();
        let mut head = [0; 10 + HEADER_BYTES + 5];
        let mut at = web_socket_header(HEADER_BYTES + payload, &mut head);
        head[at..at + 4].copy_from_slice(&[0xAB, 0xCD, 1, self.kind as u8]);
        head[at + 4..at + 8].copy_from_slice(&u32::try_from(payload).unwrap_or(u32::MAX).to_be_bytes());
        at += HEADER_BYTES;
        head[at..at + number.len()].copy_from_slice(number);
        at += number.len();
        Bytes::copy_from_slice(&head[..at])
    }

    /// Whether it defines series.
    pub fn defines(&self) -> bool {
        self.kind == MessageType::SeriesDef
    }

    /// Bytes on the wire, about.
    pub fn len(&self) -> usize {
        self.tail.len() + 24
    }
}

const HEADER_BYTES: usize = 8;

/// Writes the header of one whole binary WebSocket message of the server; answers its length.
pub fn web_socket_header(length: usize, out: &mut [u8]) -> usize {
    // Final and binary; the server masks nothing.
    out[0] = 0x82;
    match length {
        0..126 => {
            out[1] = length.to_le_bytes()[0];
            2
        }
        126..=0xFFFF => {
            out[1] = 126;
            out[2..4].copy_from_slice(&(u16::try_from(length).unwrap_or(u16::MAX)).to_be_bytes());
            4
        }
        _ => {
            out[1] = 127;
            out[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    }
}

/// SPEC §3.
fn put_varint(value: u32, out: &mut [u8; 5]) -> &[u8] {
    match value {
        0..251 => {
            out[0] = value.to_le_bytes()[0];
            &out[..1]
        }
        251..=0xFFFF => {
            out[0] = 0xFB;
            out[1..3].copy_from_slice(&value.to_le_bytes()[..2]);
            &out[..3]
        }
        _ => {
            out[0] = 0xFC;
            out[1..5].copy_from_slice(&value.to_le_bytes());
            &out[..5]
        }
    }
}

/// Frames that belong together and are shared by all who get them.
#[derive(Debug, Default)]
pub struct Run {
    /// In the order of sending.
    pub frames: Vec<SharedFrame>,
    /// Bytes on the wire, about.
    pub bytes: usize,
    /// Samples in them.
    pub samples: u64,
}

impl Run {
    /// Appends a frame.
    pub fn push(&mut self, frame: SharedFrame) {
        self.bytes += frame.len();
        self.frames.push(frame);
    }

    /// Appends samples in the order given.
    pub fn put_samples<'a>(&mut self, framing: Framing, samples: impl Iterator<Item = (u32, i64, &'a Value)>) {
        let parts = split(samples, &mut self.samples);
        let count = parts.len();
        for (i, part) in parts.into_iter().enumerate() {
            let position = if i + 1 == count { framing.position } else { framing.previous };
            let framing = Framing { position, ..framing };
            self.push(match part {
                Part::Numbers(columns) => columns.frame(framing),
                Part::Texts(items) => texts_frame(framing, items),
            });
        }
    }

    /// Appends definitions of series.
    pub fn put_definitions<'a>(&mut self, defined: impl Iterator<Item = (u32, &'a SeriesMeta)>) {
        let defined: Vec<_> = defined.collect();
        for part in defined.chunks(LIST_ITEMS) {
            let series = part.iter().map(|(index, meta)| Series {
                index: *index,
                device: meta.device.clone(),
                metric: meta.metric.clone(),
                unit: meta.unit.clone(),
                metric_type: metric_type(meta.value_type),
            });
            let labels = match part.iter().any(|(_, meta)| !meta.labels.is_empty()) {
                true => part.iter().map(|(_, meta)| labels_of(meta)).collect(),
                false => Vec::new(),
            };
            self.push(SharedFrame::of(&Message::SeriesDef(SeriesDef {
                subscription: 0,
                series: series.collect(),
                labels,
            })));
        }
    }

    /// Appends a frame without samples that moves the position on.
    pub fn put_position(&mut self, framing: Framing) {
        self.push(Columns::default().frame(framing));
    }
}

/// One frame of a message.
pub fn frame(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

/// What goes into one frame.
enum Part {
    Numbers(Columns),
    Texts(Vec<TextSample>),
}

fn split<'a>(samples: impl Iterator<Item = (u32, i64, &'a Value)>, count: &mut u64) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut columns = Columns::default();
    let (mut texts, mut text_bytes) = (Vec::new(), 0);
    for (index, time_us, value) in samples {
        *count += 1;
        match value {
            Value::Text(text) => {
                text_bytes += text.len();
                texts.push(TextSample { series: index, time_us, text: text.to_string() });
                if texts.len() == TEXTS_SAMPLES || text_bytes > TEXTS_BYTES {
                    text_bytes = 0;
                    parts.push(Part::Texts(std::mem::take(&mut texts)));
                }
            }
            value => {
                let number = value.as_f64().unwrap_or(f64::NAN);
                if !columns.push(index, time_us, number) {
                    parts.push(Part::Numbers(std::mem::take(&mut columns)));
                    columns.push(index, time_us, number);
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

fn texts_frame(framing: Framing, items: Vec<TextSample>) -> SharedFrame {
    SharedFrame::of(&Message::Texts(Texts {
        subscription: 0,
        position: framing.position,
        previous: framing.previous,
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

    fn frame(self, framing: Framing) -> SharedFrame {
        let offset = |t: &i64| u32::try_from(t - self.min_us).unwrap_or(u32::MAX);
        let offsets_us: Vec<u32> = self.times_us.iter().map(offset).collect();
        let columns = BatchColumns {
            subscription: 0,
            position: framing.position,
            previous: framing.previous,
            base_us: self.min_us,
            history: framing.history,
            conflated: framing.conflated,
            series: &self.series,
            offsets_us: &offsets_us,
            values: &self.values,
        };
        let mut payload = Vec::new();
        // Columns of one length below the limit always encode.
        let encoded = columns.encode_payload(&mut payload);
        debug_assert!(encoded.is_ok(), "columns of one length");
        SharedFrame::cut(MessageType::Batch, payload.into())
    }
}

fn labels_of(meta: &SeriesMeta) -> Vec<SeriesLabel> {
    let label = |(name, value): &(String, String)| SeriesLabel { name: name.clone(), value: value.clone() };
    meta.labels.iter().map(label).collect()
}

/// Why samples may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nobody's fault.
    Other,
    /// The viewer was too slow.
    Slow,
}

/// Samples of the records after `from` up to `to` may be missing. SPEC §9.8.
pub fn gap(from_position: u64, to_position: u64, missing: Missing) -> SharedFrame {
    let reason = match missing {
        Missing::Other => GapReason::Other,
        Missing::Slow => GapReason::SlowReader,
    };
    SharedFrame::of(&Message::Gap(Gap { subscription: 0, from_position, to_position, reason }))
}

/// So many changes of the lane may be missing. SPEC §9.14.
pub fn events_lost(count: u64, position: u64, previous: u64) -> Vec<u8> {
    frame(&Message::EventsLost(EventsLost { count, position, previous }))
}

/// How commands stand. SPEC §9.13.
pub fn commands(commands: &[Arc<Command>], position: u64, previous: u64) -> Vec<u8> {
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
    frame(&Message::CommandState(wire::CommandState { commands: infos.collect(), position, previous }))
}

/// How alerts stand. SPEC §9.12.
pub fn alerts(alerts: &[ShownAlert], position: u64, previous: u64) -> Vec<u8> {
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
    frame(&Message::Alert(wire::Alert { details: details.collect(), alerts: infos.collect(), position, previous }))
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

/// Which devices are there. SPEC §9.7.
pub fn presence(devices: Vec<Present>, position: u64, previous: u64) -> Vec<u8> {
    let devices = devices.into_iter().map(|present| present.0).collect();
    frame(&Message::Presence(wire::Presence { devices, position, previous }))
}

/// One device of [`presence`].
#[derive(Debug)]
pub struct Present(DevicePresence);

/// One device of [`presence`].
pub fn device_presence(device: &str, presence: Presence, last_seen_us: Option<i64>) -> Present {
    let state = match presence {
        Presence::Offline => PresenceState::Offline,
        Presence::Online => PresenceState::Online,
        Presence::Stale => PresenceState::Stale,
    };
    Present(DevicePresence { device: device.to_owned(), state, last_seen_us: last_seen_us.unwrap_or(0) })
}

/// Frames as a test reads them.
#[cfg(test)]
pub mod shown {
    use super::*;
    use pulsewire_proto::RawFrame;

    fn message(bytes: &[u8]) -> Message<'_> {
        let (raw, rest) = RawFrame::split(bytes, 1 << 20).expect("valid").expect("whole");
        assert!(rest.is_empty(), "one frame");
        Message::decode(raw.message_type(), raw.payload()).expect("valid").expect("known")
    }

    /// A frame of the lane: what each change is of, its time or count, and the frame's two positions.
    pub fn lane(bytes: &[u8]) -> Vec<(String, i64, u64, u64)> {
        match message(bytes) {
            Message::Presence(p) => {
                let of = |d: DevicePresence| (d.device, d.last_seen_us, p.previous, p.position);
                p.devices.into_iter().map(of).collect()
            }
            Message::EventsLost(lost) => {
                vec![("lost".into(), i64::try_from(lost.count).expect("few"), lost.previous, lost.position)]
            }
            other => panic!("{other:?}"),
        }
    }

    /// A frame of a view.
    pub fn of_view(frame: &SharedFrame) -> String {
        let bytes = [&frame.head(1)[..], &frame.tail[..]].concat();
        let start = if bytes[1] == 126 { 4 } else { 2 };
        match message(&bytes[start..]) {
            Message::Batch(b) => {
                let values: Vec<_> = b.samples().map(|s| format!("{}={}", s.series, s.value)).collect();
                let conflated = if b.conflated() { " conflated" } else { "" };
                let sign = if b.history() && b.position == b.previous { "=" } else { "<" };
                format!("{}{sign}{} {}{conflated}", b.previous, b.position, values.join(" "))
            }
            Message::SeriesDef(def) => {
                let label = |n: usize| -> Option<String> {
                    Some(def.labels.get(n)?.iter().map(|l| l.value.as_str()).collect())
                };
                let series = def.series.iter().enumerate();
                let names = series.map(|(n, s)| format!("{}:{}{}", s.index, s.device, label(n).unwrap_or_default()));
                format!("def {}", names.collect::<Vec<_>>().join(" "))
            }
            Message::Gap(gap) => format!("gap {}..{}", gap.from_position, gap.to_position),
            other => format!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_proto::RawFrame;

    /// The frames of a run as a viewer gets them.
    fn received(run: &Run, subscription: u32) -> Vec<String> {
        let hour = 3_600_000_000;
        let shown = run.frames.iter().map(|shared| {
            let message = [&shared.head(subscription)[..], &shared.tail[..]].concat();
            let start = match message[1] {
                126 => 4,
                127 => 10,
                length => {
                    assert_eq!(usize::from(length), message.len() - 2);
                    2
                }
            };
            let (raw, rest) = RawFrame::split(&message[start..], 1 << 20).expect("valid").expect("whole");
            assert!(rest.is_empty());
            match Message::decode(raw.message_type(), raw.payload()).expect("valid").expect("known") {
                Message::Batch(b) => {
                    assert_eq!(b.subscription, subscription);
                    let values: Vec<_> = b.samples().map(|s| (s.time_us / hour, s.value)).collect();
                    format!("{}<{} {values:?}", b.previous, b.position)
                }
                Message::Texts(t) => {
                    assert_eq!(t.subscription, subscription);
                    format!("{}<{} {}", t.previous, t.position, t.items[0].text)
                }
                other => format!("{other:?}"),
            }
        });
        shown.collect()
    }

    #[test]
    fn a_span_beyond_the_offsets_is_split_and_only_the_last_frame_moves_the_position() {
        let framing = Framing { previous: 4, position: 9, history: true, conflated: false };
        let hour = 3_600_000_000;
        let values = [Value::F64(1.0), Value::Bool(true), Value::I64(3), Value::Text("on".into())];
        let at = [(0, 0), (0, hour), (0, 2 * hour), (1, 5)];
        let mut run = Run::default();
        run.put_samples(framing, at.iter().zip(&values).map(|((index, time_us), value)| (*index, *time_us, value)));
        for subscription in [7, 250, 251, 0x1_0000] {
            assert_eq!(received(&run, subscription), ["4<4 [(0, 1.0), (1, 1.0)]", "4<4 [(2, 3.0)]", "4<9 on"]);
        }
        assert_eq!(run.samples, 4);
    }

    #[test]
    fn a_message_of_any_length_has_its_header() {
        let mut out = [0; 10];
        assert_eq!((web_socket_header(125, &mut out), out[1]), (2, 125));
        assert_eq!((web_socket_header(126, &mut out), &out[1..4]), (4, &[126, 0, 126][..]));
        assert_eq!((web_socket_header(0x1_0000, &mut out), &out[1..10]), (10, &[127, 0, 0, 0, 0, 0, 1, 0, 0][..]));
    }
}
