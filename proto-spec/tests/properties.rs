//! Properties over generated messages and over arbitrary bytes.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*};
use pulsewire_proto::{
    FrameReader, Message, MessageType, Metric, MetricSet, MetricType, RawFrame, Report, ReportBuilder, Value,
    auth::{Binding, Verifier},
    frame::*,
    session::*,
};

fn device_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{1,64}"
}

fn metric_name() -> impl Strategy<Value = String> {
    "[a-zµ°/]([a-z µ]{0,20}[a-z])?"
}

fn short_text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn metric_type() -> impl Strategy<Value = MetricType> {
    prop_oneof![
        Just(MetricType::F64),
        Just(MetricType::F32),
        Just(MetricType::I64),
        Just(MetricType::Bool),
        Just(MetricType::Text),
    ]
}

fn metric_set() -> impl Strategy<Value = MetricSet> {
    (0u8..128, vec((metric_name(), "[a-z%°]{0,5}", metric_type()), 1..40)).prop_map(|(set, metrics)| MetricSet {
        set,
        metrics: metrics
            .into_iter()
            .enumerate()
            .map(|(at, (name, unit, metric_type))| Metric::new(format!("{name}{at}"), unit, metric_type))
            .collect(),
    })
}

fn session_message() -> impl Strategy<Value = Message<'static>> {
    let login = prop_oneof![Just(Login::Proof), "[a-z]{1,256}".prop_map(|token| Login::Token { token })];
    let hello = (device_id(), any::<[u8; 32]>(), login, "[ -~]{0,64}", vec(any::<u32>(), 0..=64), any::<u64>());
    let position = (any::<u32>(), 0u64..1 << 63).prop_map(|(stream, sequence)| StreamPosition { stream, sequence });
    let twin =
        prop_oneof![Just(TwinStatus::None), Just(TwinStatus::Same), Just(TwinStatus::Delta), Just(TwinStatus::Full)];
    let welcome =
        (any::<[u8; 32]>(), any::<(u64, i64, u32)>(), 1u32.., 1u32.., any::<u32>(), vec(position, 0..9), twin);
    let reason = prop_oneof![
        Just(NackReason::Other),
        Just(NackReason::TimeInFuture),
        Just(NackReason::TypeMismatch),
        Just(NackReason::TimeOutOfRange)
    ];
    let item = (any::<u32>(), any::<u32>(), reason).prop_map(|(row, metric, reason)| NackItem { row, metric, reason });
    prop_oneof![
        hello.prop_map(|(device, nonce, login, firmware, streams, desired_version)| Message::Hello(Hello {
            device,
            version_min: 1,
            version_max: 1,
            nonce,
            login,
            firmware,
            streams,
            desired_version,
        })),
        any::<([u8; 32], i64, u8)>().prop_map(|(nonce, server_time_us, version)| Message::Challenge(Challenge {
            nonce,
            server_time_us,
            version
        })),
        any::<[u8; 32]>().prop_map(|proof| Message::Proof(Proof { proof })),
        welcome.prop_map(|(server_proof, numbers, interval, frames, bytes, streams, twin)| Message::Welcome(Welcome {
            server_proof,
            session_epoch: numbers.0,
            server_time_us: numbers.1,
            heartbeat_interval_ms: interval,
            frame_bytes_max: numbers.2,
            window_frames: frames,
            window_bytes: bytes,
            streams,
            twin,
        })),
        (any::<(u16, bool, u32)>(), short_text()).prop_map(|((code, reconnect, retry_after_ms), text)| {
            Message::Close(Close { code, text, reconnect, retry_after_ms })
        }),
        any::<u64>().prop_map(|token| Message::Ping(Ping { token })),
        any::<u64>().prop_map(|token| Message::Pong(Pong { token })),
        (any::<u32>(), any::<bool>()).prop_map(|(request, live)| {
            let kind = if live { StreamKind::Live } else { StreamKind::Backlog };
            Message::StreamOpen(StreamOpen { request, kind })
        }),
        (any::<u32>(), 1u32..).prop_map(|(request, stream)| Message::StreamId(StreamId { request, stream })),
        metric_set().prop_map(Message::MetricSet),
        any::<(u32, u64)>().prop_map(|(stream, sequence)| Message::Ack(Ack { stream, sequence })),
        (any::<(u32, u64, u32)>(), vec(item, 0..=64), short_text()).prop_map(
            |((stream, sequence, total), items, text)| { Message::Nack(Nack { stream, sequence, items, total, text }) }
        ),
        (any::<u32>(), 1u64..1 << 40, 0u64..1 << 40, short_text()).prop_map(|(stream, from, more, text)| {
            Message::Skip(Skip { stream, from, to: from + more, reason: SkipReason::SpoolDamaged, text })
        }),
    ]
}

fn live_message() -> impl Strategy<Value = Message<'static>> {
    let resume = proptest::option::of(any::<(u64, u64)>().prop_map(|(epoch, position)| Resume { epoch, position }));
    let series = (any::<u32>(), device_id(), metric_name(), short_text(), metric_type())
        .prop_map(|(index, device, metric, unit, metric_type)| Series { index, device, metric, unit, metric_type });
    let text =
        (any::<(u32, i64)>(), short_text()).prop_map(|((series, time_us), text)| TextSample { series, time_us, text });
    let presence = (device_id(), any::<i64>()).prop_map(|(device, last_seen_us)| DevicePresence {
        device,
        state: PresenceState::Stale,
        last_seen_us,
    });
    let tag = (device_id(), short_text()).prop_map(|(key, value)| TagMatch { key, value });
    let selection = (vec(short_text(), 0..3), vec(tag, 0..3), proptest::option::of(vec(short_text(), 0..3)));
    let label = (device_id(), short_text()).prop_map(|(name, value)| SeriesLabel { name, value });
    prop_oneof![
        any::<(u64, u64, i64, u32, u32, u32, u64, u64)>().prop_map(|m| Message::LiveWelcome(LiveWelcome {
            epoch: m.0,
            position: m.1,
            server_time_us: m.2,
            heartbeat_interval_ms: m.3,
            subscriptions_max: m.4,
            interval_ms_min: m.5,
            events_epoch: m.6,
            events_position: m.7,
        })),
        (any::<(u32, u32, u32)>(), vec(device_id(), 0..9), vec(metric_name(), 0..9), resume, selection).prop_map(
            |((subscription, interval_ms, history_ms), devices, metrics, resume, (groups, tags, across))| {
                Message::Subscribe(Subscribe {
                    subscription,
                    devices,
                    metrics,
                    interval_ms,
                    aggregate: Aggregate::P95,
                    history_ms,
                    resume,
                    profiles: groups.clone(),
                    groups,
                    tags,
                    across,
                })
            }
        ),
        any::<u32>().prop_map(|subscription| Message::Unsubscribe(Unsubscribe { subscription })),
        (any::<u32>(), vec(series, 0..9), proptest::option::of(vec(label, 0..3))).prop_map(
            |(subscription, series, labels)| {
                let labels = labels.map_or_else(Vec::new, |labels| series.iter().map(|_| labels.clone()).collect());
                Message::SeriesDef(SeriesDef { subscription, series, labels })
            }
        ),
        (any::<(u32, u64, u64, bool)>(), vec(text, 0..9)).prop_map(|(m, items)| Message::Texts(Texts {
            subscription: m.0,
            position: m.1,
            previous: m.2,
            history: m.3,
            items,
        })),
        (vec(presence, 0..9), any::<(u64, u64)>())
            .prop_map(|(devices, (position, previous))| Message::Presence(Presence { devices, position, previous })),
        any::<(u32, u64, u64)>().prop_map(|m| Message::Gap(Gap {
            subscription: m.0,
            from_position: m.1,
            to_position: m.2,
            reason: GapReason::SlowReader,
        })),
        any::<(i64, u64, bool)>().prop_map(|(time_us, position, visible)| Message::Heartbeat(Heartbeat {
            time_us,
            position,
            visible
        })),
        any::<(u32, u64, u32)>().prop_map(|(subscription, position, series)| Message::SnapshotEnd(SnapshotEnd {
            subscription,
            position,
            series
        })),
        (any::<(u32, u16)>(), short_text()).prop_map(|((subscription, code), text)| Message::Refused(Refused {
            subscription,
            code,
            text
        })),
    ]
}

fn named_values() -> impl Strategy<Value = Vec<NamedValue>> {
    let value = prop_oneof![
        any::<bool>().prop_map(CommandValue::Bool),
        any::<i64>().prop_map(CommandValue::I64),
        (-1e300..1e300f64).prop_map(CommandValue::F64),
        short_text().prop_map(CommandValue::Text),
    ];
    proptest::collection::btree_map(device_id(), value, 0..9)
        .prop_map(|map| map.into_iter().map(|(name, value)| NamedValue { name, value }).collect())
}

fn command_set() -> impl Strategy<Value = CommandSet> {
    let kind = prop_oneof![
        Just(ArgumentType::Bool),
        Just(ArgumentType::I64),
        Just(ArgumentType::F64),
        Just(ArgumentType::Text),
    ];
    let range = (proptest::option::of(-1e9..0.0f64), proptest::option::of(0.0..1e9f64));
    let argument = (kind, any::<bool>(), range, "[a-z%°]{0,5}");
    let command = (short_text(), vec(argument, 0..5));
    vec(command, 0..5).prop_map(|commands| CommandSet {
        commands: commands
            .into_iter()
            .enumerate()
            .map(|(at, (title, arguments))| CommandDef {
                name: format!("c{at}"),
                title: clip_text(&title, 64).to_owned(),
                arguments: arguments
                    .into_iter()
                    .enumerate()
                    .map(|(at, (argument_type, required, (min, max), unit))| ArgumentDef {
                        name: format!("a{at}"),
                        argument_type,
                        required,
                        min,
                        max,
                        unit,
                    })
                    .collect(),
            })
            .collect(),
    })
}

fn command_message() -> impl Strategy<Value = Message<'static>> {
    let id = any::<[u8; 16]>();
    let percent = proptest::option::of(0u8..=100);
    let status = prop_oneof![
        Just(ResultStatus::Succeeded),
        Just(ResultStatus::Failed),
        Just(ResultStatus::Rejected),
        Just(ResultStatus::Canceled),
    ];
    prop_oneof![
        (id, device_id(), named_values(), any::<(i64, u32, u32)>()).prop_map(
            |(id, name, arguments, (deadline_us, timeout_ms, attempt))| Message::Command(Command {
                id,
                name,
                arguments,
                deadline_us,
                timeout_ms,
                attempt,
            })
        ),
        id.prop_map(|id| Message::Delivered(Delivered { id })),
        (id, percent, short_text()).prop_map(|(id, percent, text)| Message::Progress(Progress { id, percent, text })),
        (id, status, "[a-z_]{0,64}", short_text(), named_values()).prop_map(|(id, status, code, text, values)| {
            Message::Result(CommandResult { id, status, code, text, values })
        }),
        id.prop_map(|id| Message::ResultAck(ResultAck { id })),
        (id, short_text()).prop_map(|(id, text)| Message::Cancel(Cancel { id, text })),
        command_set().prop_map(Message::CommandSet),
    ]
}

fn event_message() -> impl Strategy<Value = Message<'static>> {
    let by =
        proptest::option::of((device_id(), any::<i64>()).prop_map(|(user, time_us)| Acknowledgement { user, time_us }));
    let numbers = any::<(u64, i64, i64, Option<i64>)>();
    let alert = (any::<[u8; 16]>(), numbers, (device_id(), metric_name()), short_text(), by, -1e9..1e9f64).prop_map(
        |(id, (revision, started_us, fired_us, resolved_us), (device, metric), text, acknowledged, value)| AlertInfo {
            id,
            revision,
            rule: device.clone(),
            rule_name: text.clone(),
            device,
            metric,
            severity: AlertSeverity::Warning,
            state: AlertState::Firing,
            started_us,
            fired_us,
            resolved_us,
            acknowledged,
            value,
            comparison: AlertComparison::AtLeast,
            threshold: value,
            text,
        },
    );
    let command = (any::<[u8; 16]>(), device_id(), any::<(u64, u32, i64, bool)>(), short_text()).prop_map(
        |(id, device, (revision, attempt, changed_us, cancel_requested), text)| CommandInfo {
            id,
            revision,
            name: device.clone(),
            device,
            state: CommandStatus::TimedOut,
            attempt,
            percent: Some(100),
            code: String::new(),
            text,
            changed_us,
            cancel_requested,
        },
    );
    prop_oneof![
        (vec(alert, 0..9), any::<Option<(u16, u32)>>(), short_text(), any::<(u64, u64)>()).prop_map(|given| {
            let (alerts, details, condition, (position, previous)) = given;
            let detail = |(flags, members)| AlertDetail {
                kind: AlertKind::Group,
                flags,
                members,
                condition: condition.clone(),
                assigned: (members > 7).then(|| condition.clone()),
            };
            let details = details.map_or_else(Vec::new, |given| alerts.iter().map(|_| detail(given)).collect());
            Message::Alert(Alert { alerts, details, position, previous })
        }),
        (vec(command, 0..9), any::<(u64, u64)>()).prop_map(|(commands, (position, previous))| {
            Message::CommandState(CommandState { commands, position, previous })
        }),
        any::<(u64, u64, u64)>()
            .prop_map(|(count, position, previous)| { Message::EventsLost(EventsLost { count, position, previous }) }),
        any::<(u64, u64)>().prop_map(|(epoch, position)| Message::EventsResume(EventsResume { epoch, position })),
    ]
}

fn any_message() -> impl Strategy<Value = Message<'static>> {
    prop_oneof![session_message(), command_message(), live_message(), event_message()]
}

/// Bytes of a payload that came with a later version: without them, or some of their fields, it still decodes. SPEC §3.
fn appended_bytes(message: &Message<'_>) -> usize {
    let lane = |position: &u64, previous: &u64| varint_bytes(*position) + varint_bytes(*previous);
    let mut whole = Vec::new();
    message.encode(&mut whole);
    // What is not appended, or what the first appended list begins with.
    let without = |bare: Message<'_>, empty: usize| {
        let mut bytes = Vec::new();
        bare.encode(&mut bytes);
        whole.len() - (bytes.len() - empty)
    };
    match message {
        Message::Heartbeat(_) => 1,
        Message::Alert(m) => {
            let bare = Alert { alerts: m.alerts.clone(), details: Vec::new(), position: 0, previous: 0 };
            without(Message::Alert(bare), 3)
        }
        Message::CommandState(m) => lane(&m.position, &m.previous),
        Message::Presence(m) => lane(&m.position, &m.previous),
        Message::EventsLost(m) => lane(&m.position, &m.previous),
        Message::LiveWelcome(m) => lane(&m.events_epoch, &m.events_position),
        Message::SeriesDef(m) => without(Message::SeriesDef(SeriesDef { labels: Vec::new(), ..m.clone() }), 1),
        Message::Subscribe(m) => {
            let bare =
                Subscribe { groups: Vec::new(), profiles: Vec::new(), tags: Vec::new(), across: None, ..m.clone() };
            without(Message::Subscribe(bare), 4)
        }
        _ => 0,
    }
}

/// Bytes of a u64 on the wire. SPEC §3.
fn varint_bytes(value: u64) -> usize {
    match value {
        0..251 => 1,
        251..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// One generated row value per metric of a set.
#[derive(Debug, Clone)]
enum Owned {
    F64(f64),
    F32(f32),
    I64(i64),
    Bool(bool),
    Text(String),
}

impl Owned {
    fn value(&self) -> Value<'_> {
        match self {
            Owned::F64(value) => Value::F64(*value),
            Owned::F32(value) => Value::F32(*value),
            Owned::I64(value) => Value::I64(*value),
            Owned::Bool(value) => Value::Bool(*value),
            Owned::Text(value) => Value::Text(value),
        }
    }
}

/// What a report's rows say, bit by bit.
#[derive(Debug, Default, PartialEq)]
struct Cells(Vec<(i64, Vec<Option<String>>)>);

impl RowSink for Cells {
    fn row(&mut self, time_us: i64) {
        self.0.push((time_us, Vec::new()));
    }

    fn value(&mut self, value: Value<'_>) {
        let shown = match value {
            Value::F64(value) => format!("f64 {:x}", value.to_bits()),
            Value::F32(value) => format!("f32 {:x}", value.to_bits()),
            other => format!("{other:?}"),
        };
        self.0.last_mut().unwrap().1.push(Some(shown));
    }

    fn absent(&mut self) {
        self.0.last_mut().unwrap().1.push(None);
    }
}

impl Cells {
    fn present(&self) -> usize {
        self.0.iter().flat_map(|row| &row.1).flatten().count()
    }
}

fn value_of(metric_type: MetricType) -> BoxedStrategy<Owned> {
    match metric_type {
        MetricType::F64 => (-1e300..1e300f64).prop_map(Owned::F64).boxed(),
        MetricType::F32 => (-1e30..1e30f32).prop_map(Owned::F32).boxed(),
        MetricType::I64 => any::<i64>().prop_map(Owned::I64).boxed(),
        MetricType::Bool => any::<bool>().prop_map(Owned::Bool).boxed(),
        MetricType::Text => short_text().prop_map(Owned::Text).boxed(),
    }
}

type Rows = Vec<(i64, Vec<Option<Owned>>)>;

fn report_parts() -> impl Strategy<Value = (MetricSet, bool, Rows)> {
    (metric_set(), any::<bool>()).prop_flat_map(|(set, sparse)| {
        let values: Vec<_> = set
            .metrics
            .iter()
            .map(|metric| {
                let value = value_of(metric.metric_type);
                if sparse { proptest::option::of(value).boxed() } else { value.prop_map(Some).boxed() }
            })
            .collect();
        let rows = vec((-(1i64 << 50)..1 << 50, values), 1..6);
        (Just(set), Just(sparse), rows)
    })
}

/// Rows of a batch: series, offset and value, each such that its short form may do, or not.
fn batch_rows() -> impl Strategy<Value = Vec<(u32, u32, f64)>> {
    let series = prop_oneof![Just(u32::MAX), Just(u32::from(u16::MAX))];
    (series, 1..5u32, any::<bool>()).prop_flat_map(|(last, offsets, short)| {
        let value = if short { any::<f32>().prop_map(f64::from).boxed() } else { any::<f64>().boxed() };
        vec((0..=last, 0..offsets, value), 0..50)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn every_message_survives_a_round_trip(message in any_message()) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let (frame, rest) = RawFrame::split(&bytes, u32::MAX).unwrap().unwrap();
        prop_assert!(rest.is_empty());
        let decoded = Message::decode(frame.message_type(), frame.payload()).unwrap().unwrap();
        prop_assert_eq!(&decoded, &message);
    }

    #[test]
    fn a_message_cut_short_is_an_error_and_appended_bytes_are_ignored(message in any_message(), extra in vec(any::<u8>(), 0..9)) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let payload = &bytes[8..];
        let kind = message.message_type() as u8;
        for length in 0..payload.len() - appended_bytes(&message) {
            prop_assert!(Message::decode(kind, &payload[..length]).is_err());
        }
        let longer = [payload, &extra].concat();
        prop_assert_eq!(Message::decode(kind, &longer).unwrap().unwrap(), message);
    }

    #[test]
    fn a_report_survives_a_round_trip((set, sparse, rows) in report_parts(), stream in any::<u32>(), sequence in 1u64..1 << 63) {
        let mut builder = if sparse { ReportBuilder::sparse(&set) } else { ReportBuilder::dense(&set) };
        let mut expected = Vec::new();
        for (row, (time_us, values)) in rows.iter().enumerate() {
            let values: Vec<Option<Value>> = values.iter().map(|value| value.as_ref().map(Owned::value)).collect();
            builder.sparse_row(*time_us, &values).unwrap();
            for (metric, value) in values.iter().enumerate() {
                expected.extend(value.map(|value| Sample { row: row as u32, time_us: *time_us, metric: metric as u32, value }));
            }
        }
        let mut payload = Vec::new();
        builder.report(stream, sequence).unwrap().encode_payload(&mut payload);
        let report = Report::parse(&payload).unwrap();
        prop_assert_eq!((report.set, report.sparse, report.stream, report.sequence), (set.set, sparse, stream, sequence));
        prop_assert_eq!(report.rows as usize, rows.len());
        let samples: Vec<Sample> = report.samples(&set).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(samples, expected);
        let mut again = Vec::new();
        report.encode_payload(&mut again);
        prop_assert_eq!(again, payload);
    }

    #[test]
    fn a_batch_survives_a_round_trip(rows in batch_rows(), position in any::<u64>(), flags in any::<(bool, bool)>()) {
        let series: Vec<u32> = rows.iter().map(|row| row.0).collect();
        let offsets: Vec<u32> = rows.iter().map(|row| row.1).collect();
        let values: Vec<f64> = rows.iter().map(|row| row.2).collect();
        let columns = BatchColumns {
            subscription: 7, position, previous: 1, base_us: 1_700_000_000_000_000, history: flags.0, conflated: flags.1,
            series: &series, offsets_us: &offsets, values: &values,
        };
        let mut payload = Vec::new();
        columns.encode_payload(&mut payload).unwrap();
        prop_assert_eq!(payload.len() % 8, 0);
        prop_assert!(payload.len() <= 40 + 2 * (4 * rows.len()).next_multiple_of(8) + 8 * rows.len());
        let batch = Batch::decode(&payload).unwrap();
        prop_assert_eq!((batch.position, batch.history(), batch.conflated()), (position, flags.0, flags.1));
        let read: Vec<_> = batch.samples().map(|s| (s.series, s.time_us, s.value.to_bits())).collect();
        let sent: Vec<_> = rows.iter().map(|r| (r.0, 1_700_000_000_000_000 + i64::from(r.1), r.2.to_bits())).collect();
        prop_assert_eq!(read, sent);
        let mut again = Vec::new();
        batch.encode_payload(&mut again);
        prop_assert_eq!(again, payload);
    }

    #[test]
    fn no_payload_panics_the_decoder(payload in vec(any::<u8>(), 0..200), kind in any::<u8>(), set in metric_set()) {
        for kind in MessageType::ALL.iter().map(|kind| *kind as u8).chain([kind]) {
            match Message::decode(kind, &payload) {
                Ok(Some(Message::Telemetry(report))) => { let _ = report.check(&set); }
                Ok(Some(Message::Batch(batch))) => { prop_assert_eq!(batch.samples().count(), batch.len()); }
                Ok(_) => {}
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn a_damaged_report_ends_at_its_first_error((set, sparse, rows) in report_parts(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut builder = if sparse { ReportBuilder::sparse(&set) } else { ReportBuilder::dense(&set) };
        for (time_us, values) in &rows {
            let values: Vec<Option<Value>> = values.iter().map(|value| value.as_ref().map(Owned::value)).collect();
            builder.sparse_row(*time_us, &values).unwrap();
        }
        let mut payload = Vec::new();
        builder.report(1, 1).unwrap().encode_payload(&mut payload);
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(report) = Report::parse(&payload) {
            let (mut samples, mut before, mut error) = (report.samples(&set), 0, None);
            while let Some(sample) = samples.next() {
                match sample {
                    Ok(_) => before += 1,
                    Err(first) => {
                        prop_assert!(samples.next().is_none());
                        error = Some(first);
                    }
                }
            }
            let mut cells = Cells::default();
            let read = report.read(&set, &mut cells);
            prop_assert_eq!((read.err(), cells.present()), (error, before));
        }
    }

    #[test]
    fn every_way_of_reading_a_report_reads_the_same((set, sparse, rows) in report_parts()) {
        let mut builder = if sparse { ReportBuilder::sparse(&set) } else { ReportBuilder::dense(&set) };
        let mut sent = Cells::default();
        for (time_us, values) in &rows {
            let values: Vec<Option<Value>> = values.iter().map(|value| value.as_ref().map(Owned::value)).collect();
            builder.sparse_row(*time_us, &values).unwrap();
            sent.row(*time_us);
            values.iter().for_each(|value| match value {
                Some(value) => sent.value(*value),
                None => sent.absent(),
            });
        }
        let report = builder.report(1, 1).unwrap();
        let mut read = Cells::default();
        report.read(&set, &mut read).unwrap();
        prop_assert_eq!(&read, &sent);
        prop_assert_eq!(read.present() as u64, report.check(&set).unwrap());
    }

    #[test]
    fn rows_of_floats_read_without_looking_at_them_are_the_same(
        rows in vec((any::<i32>(), any::<f64>(), any::<f32>()), 1..30), cut in any::<prop::sample::Index>(),
    ) {
        let metrics = vec![Metric::new("a", "", MetricType::F64), Metric::new("b", "", MetricType::F32)];
        let set = MetricSet { set: 1, metrics };
        let row_bytes = set.float_row_bytes().unwrap();
        let mut builder = ReportBuilder::dense(&set);
        for (time, a, b) in &rows {
            builder.row(i64::from(*time), &[Value::F64(*a), Value::F32(*b)]).unwrap();
        }
        let report = builder.report(1, 1).unwrap();
        let read: Vec<_> = report.float_rows(row_bytes).unwrap().map(Result::unwrap).collect();
        let bytes = |a: f64, b: f32| [&a.to_le_bytes()[..], &b.to_le_bytes()[..]].concat();
        let sent: Vec<_> = rows.iter().map(|(time, a, b)| (i64::from(*time), bytes(*a, *b))).collect();
        prop_assert!(read.iter().map(|(time, bytes)| (*time, bytes.to_vec())).eq(sent));
        let damaged = Report { body: &report.body[..cut.index(report.body.len())], ..report };
        let error = damaged.float_rows(row_bytes).unwrap().find_map(Result::err);
        prop_assert_eq!(error, damaged.check(&set).err());
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive(messages in vec(session_message(), 1..8), cuts in vec(1usize..40, 1..200)) {
        let mut stream = Vec::new();
        let mut frames = Vec::new();
        for message in &messages {
            let start = stream.len();
            message.encode(&mut stream);
            frames.push(stream[start..].to_vec());
        }
        let mut reader = FrameReader::new(u32::MAX);
        let mut read = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (mut piece, later) = rest.split_at((*cut).min(rest.len()));
            while let Some(frame) = reader.next_frame(&mut piece).unwrap() {
                read.push(frame.bytes().to_vec());
            }
            prop_assert!(piece.is_empty());
            rest = later;
            if rest.is_empty() { break; }
        }
        prop_assert!(!reader.has_partial());
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn no_bytes_panic_the_frame_reader(pieces in vec(vec(prop_oneof![Just(0xABu8), Just(0xCD), Just(1), Just(0), any::<u8>()], 0..30), 0..20)) {
        let mut reader = FrameReader::new(64);
        'stream: for piece in &pieces {
            let mut input = &piece[..];
            loop {
                match reader.next_frame(&mut input) {
                    Ok(Some(frame)) => prop_assert!(frame.payload().len() <= 64),
                    Ok(None) => break,
                    Err(_) => break 'stream,
                }
            }
        }
    }

    #[test]
    fn no_frames_panic_a_session(frames in vec(prop_oneof![
        (any_message(), any::<prop::sample::Index>(), any::<Option<u8>>()).prop_map(|(message, at, byte)| {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            if let (Some(byte), true) = (byte, bytes.len() > 8) {
                let at = 8 + at.index(bytes.len() - 8);
                bytes[at] = byte;
            }
            bytes
        }),
        (any::<u8>(), vec(any::<u8>(), 0..60)).prop_map(|(kind, payload)| {
            let mut bytes = vec![0xAB, 0xCD, 1, kind, 0, 0, 0, payload.len() as u8];
            bytes.extend(payload);
            bytes
        }),
    ], 1..30), steps in vec(0u64..20, 30), start_live in any::<bool>()) {
        let transport = Transport { binding: Binding::Plain, loopback: true };
        let mut server = ServerSession::new(Duration::ZERO, Arc::new(ServerConfig::default()), transport);
        let config = DeviceConfig {
            device: "d".into(),
            login: if start_live { DeviceLogin::Token("t".into()) } else { DeviceLogin::Secret([1; 32]) },
            firmware: String::new(),
            streams: vec![],
            binding: Binding::Plain,
        };
        let mut device = DeviceSession::new(Duration::ZERO, config, [2; 32]).unwrap();
        if start_live {
            let Some(Output::Send(hello)) = device.poll_output() else { panic!("no HELLO") };
            let (hello, _) = RawFrame::split(&hello, u32::MAX).unwrap().unwrap();
            prop_assert!(matches!(server.handle_frame(Duration::ZERO, hello), Some(ServerEvent::CheckToken(_))));
            server.token_result(true);
            let params = WelcomeParams { session_epoch: 1, server_time_us: 0, streams: vec![], twin: TwinStatus::None };
            server.welcome(Duration::ZERO, params);
            let Some(Output::Send(welcome)) = server.poll_output() else { panic!("no WELCOME") };
            let (welcome, _) = RawFrame::split(&welcome, u32::MAX).unwrap().unwrap();
            device.handle_frame(Duration::ZERO, welcome);
            prop_assert!(server.is_live() && device.is_live());
        }
        let mut now = Duration::ZERO;
        for (bytes, step) in frames.iter().zip(steps) {
            now += Duration::from_secs(step);
            let (frame, _) = RawFrame::split(bytes, u32::MAX).unwrap().unwrap();
            match server.handle_frame(now, frame) {
                Some(ServerEvent::Authenticate(_)) => {
                    let current = Verifier::from_secret(&[1; 32]);
                    server.credentials(Candidates { current, previous: None }, [3; 32], 0);
                }
                Some(ServerEvent::Report(event)) => {
                    let _ = event.report.check(&event.set);
                    server.ack(event.report.stream, event.report.sequence);
                }
                _ => {}
            }
            device.handle_frame(now, frame);
            server.on_time(now);
            device.on_time(now);
            while server.poll_output().is_some() {}
            while device.poll_output().is_some() {}
            prop_assert!(server.is_closed() == server.next_deadline().is_none());
        }
    }
}
