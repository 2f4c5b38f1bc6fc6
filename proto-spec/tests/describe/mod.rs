//! Messages as TOML, in the notation of `vectors/README.md`.

use pulsewire_proto::{
    Message, Metric,
    frame::{
        AlertDetail, AlertInfo, ArgumentDef, CommandDef, CommandInfo, CommandValue, DevicePresence, Login, NackItem,
        NamedValue, Series, SeriesLabel, StreamPosition, TextSample,
    },
};
use toml::{Table, Value as Toml};

/// Builds a table from `field = value` pairs.
macro_rules! table {
    ($($key:ident = $value:expr),* $(,)?) => {
        Toml::Table(Table::from_iter([$((stringify!($key).to_string(), $value),)*]))
    };
}

fn number(value: impl TryInto<i64> + ToString + Copy) -> Toml {
    value.try_into().map_or_else(|_| Toml::String(value.to_string()), Toml::Integer)
}

fn string(value: &str) -> Toml {
    Toml::String(value.into())
}

fn hex(value: &[u8]) -> Toml {
    Toml::String(hex::encode(value))
}

/// The specification's name of an enum value: `TypeMismatch` is `type_mismatch`.
fn name(value: impl std::fmt::Debug) -> Toml {
    let mut snake = String::new();
    for (at, c) in format!("{value:?}").char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    Toml::String(snake)
}

fn list<T>(items: &[T], describe: impl Fn(&T) -> Toml) -> Toml {
    Toml::Array(items.iter().map(describe).collect())
}

fn metric(metric: &Metric) -> Toml {
    table! { name = string(&metric.name), unit = string(&metric.unit), metric_type = name(metric.metric_type) }
}

fn series(series: &Series) -> Toml {
    table! {
        index = number(series.index), device = string(&series.device), metric = string(&series.metric),
        unit = string(&series.unit), metric_type = name(series.metric_type),
    }
}

fn map(values: &[NamedValue]) -> Toml {
    let values = values.iter().map(|NamedValue { name, value }| {
        let value = match value {
            CommandValue::Bool(value) => Toml::Boolean(*value),
            CommandValue::I64(value) => Toml::Integer(*value),
            CommandValue::F64(value) => Toml::Float(*value),
            CommandValue::Text(value) => string(value),
        };
        (name.clone(), value)
    });
    Toml::Table(values.collect())
}

/// Adds what is there of optional fields.
fn with(mut described: Toml, optional: impl IntoIterator<Item = (&'static str, Option<Toml>)>) -> Toml {
    if let Toml::Table(table) = &mut described {
        table.extend(optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    }
    described
}

fn command_def(command: &CommandDef) -> Toml {
    let argument = |argument: &ArgumentDef| {
        let described = table! {
            name = string(&argument.name), argument_type = name(argument.argument_type),
            required = Toml::Boolean(argument.required), unit = string(&argument.unit),
        };
        with(described, [("min", argument.min.map(Toml::Float)), ("max", argument.max.map(Toml::Float))])
    };
    table! {
        name = string(&command.name), title = string(&command.title), arguments = list(&command.arguments, argument),
    }
}

fn command_info(m: &CommandInfo) -> Toml {
    let described = table! {
        id = hex(&m.id), revision = number(m.revision), device = string(&m.device), name = string(&m.name),
        state = name(m.state), attempt = number(m.attempt), code = string(&m.code), text = string(&m.text),
        changed_us = number(m.changed_us), cancel_requested = Toml::Boolean(m.cancel_requested),
    };
    with(described, [("percent", m.percent.map(number))])
}

fn alert(m: &AlertInfo) -> Toml {
    let described = table! {
        id = hex(&m.id), revision = number(m.revision), rule = string(&m.rule), rule_name = string(&m.rule_name),
        device = string(&m.device), metric = string(&m.metric), severity = name(m.severity), state = name(m.state),
        started_us = number(m.started_us), fired_us = number(m.fired_us), value = Toml::Float(m.value),
        comparison = string(m.comparison.sign()), threshold = Toml::Float(m.threshold), text = string(&m.text),
    };
    let acknowledged =
        m.acknowledged.as_ref().map(|by| table! { user = string(&by.user), time_us = number(by.time_us) });
    with(described, [("resolved_us", m.resolved_us.map(number)), ("acknowledged", acknowledged)])
}

fn alert_detail(m: &AlertDetail) -> Toml {
    let described = table! {
        kind = name(m.kind), flags = number(m.flags), members = number(m.members), condition = string(&m.condition),
    };
    with(described, [("assigned", m.assigned.as_deref().map(string))])
}

pub fn describe(message: &Message<'_>) -> Toml {
    match message {
        Message::Hello(m) => table! {
            device = string(&m.device),
            version_min = number(m.version_min),
            version_max = number(m.version_max),
            nonce = hex(&m.nonce),
            login = match &m.login {
                Login::Proof => string("proof"),
                Login::Token { token } => table! { token = string(token) },
            },
            firmware = string(&m.firmware),
            streams = list(&m.streams, |stream| number(*stream)),
            desired_version = number(m.desired_version),
        },
        Message::Challenge(m) => table! {
            nonce = hex(&m.nonce), server_time_us = number(m.server_time_us), version = number(m.version),
        },
        Message::Proof(m) => table! { proof = hex(&m.proof) },
        Message::Welcome(m) => table! {
            server_proof = hex(&m.server_proof),
            session_epoch = number(m.session_epoch),
            server_time_us = number(m.server_time_us),
            heartbeat_interval_ms = number(m.heartbeat_interval_ms),
            frame_bytes_max = number(m.frame_bytes_max),
            window_frames = number(m.window_frames),
            window_bytes = number(m.window_bytes),
            streams = list(&m.streams, |StreamPosition { stream, sequence }| {
                table! { stream = number(*stream), sequence = number(*sequence) }
            }),
            twin = name(m.twin),
        },
        Message::Close(m) => table! {
            code = number(m.code), text = string(&m.text), reconnect = Toml::Boolean(m.reconnect),
            retry_after_ms = number(m.retry_after_ms),
        },
        Message::Ping(m) => table! { token = number(m.token) },
        Message::Pong(m) => table! { token = number(m.token) },
        Message::StreamOpen(m) => table! { request = number(m.request), kind = name(m.kind) },
        Message::StreamId(m) => table! { request = number(m.request), stream = number(m.stream) },
        Message::MetricSet(m) => table! { set = number(m.set), metrics = list(&m.metrics, metric) },
        Message::Telemetry(m) | Message::Backfill(m) => table! {
            set = number(m.set),
            sparse = Toml::Boolean(m.sparse),
            stream = number(m.stream),
            sequence = number(m.sequence),
            base_us = number(m.base_us),
            rows = number(m.rows),
        },
        Message::Ack(m) => table! { stream = number(m.stream), sequence = number(m.sequence) },
        Message::Nack(m) => table! {
            stream = number(m.stream),
            sequence = number(m.sequence),
            items = list(&m.items, |NackItem { row, metric, reason }| {
                table! { row = number(*row), metric = number(*metric), reason = name(reason) }
            }),
            total = number(m.total),
            text = string(&m.text),
        },
        Message::Skip(m) => table! {
            stream = number(m.stream), from = number(m.from), to = number(m.to), reason = name(m.reason),
            text = string(&m.text),
        },
        Message::Command(m) => table! {
            id = hex(&m.id), name = string(&m.name), arguments = map(&m.arguments),
            deadline_us = number(m.deadline_us), timeout_ms = number(m.timeout_ms), attempt = number(m.attempt),
        },
        Message::Delivered(m) => table! { id = hex(&m.id) },
        Message::Progress(m) => {
            with(table! { id = hex(&m.id), text = string(&m.text) }, [("percent", m.percent.map(number))])
        }
        Message::Result(m) => table! {
            id = hex(&m.id), status = name(m.status), code = string(&m.code), text = string(&m.text),
            values = map(&m.values),
        },
        Message::ResultAck(m) => table! { id = hex(&m.id) },
        Message::Cancel(m) => table! { id = hex(&m.id), text = string(&m.text) },
        Message::CommandSet(m) => table! { commands = list(&m.commands, command_def) },
        Message::Alert(m) => table! {
            alerts = list(&m.alerts, alert), details = list(&m.details, alert_detail),
            position = number(m.position), previous = number(m.previous),
        },
        Message::CommandState(m) => table! {
            commands = list(&m.commands, command_info), position = number(m.position), previous = number(m.previous),
        },
        Message::EventsLost(m) => table! {
            count = number(m.count), position = number(m.position), previous = number(m.previous),
        },
        Message::EventsResume(m) => table! { epoch = number(m.epoch), position = number(m.position) },
        Message::LiveWelcome(m) => table! {
            epoch = number(m.epoch),
            position = number(m.position),
            server_time_us = number(m.server_time_us),
            heartbeat_interval_ms = number(m.heartbeat_interval_ms),
            subscriptions_max = number(m.subscriptions_max),
            interval_ms_min = number(m.interval_ms_min),
            events_epoch = number(m.events_epoch),
            events_position = number(m.events_position),
        },
        Message::Subscribe(m) => {
            let mut described = table! {
                subscription = number(m.subscription),
                devices = list(&m.devices, |device| string(device)),
                metrics = list(&m.metrics, |metric| string(metric)),
                interval_ms = number(m.interval_ms),
                aggregate = name(m.aggregate),
                history_ms = number(m.history_ms),
                groups = list(&m.groups, |group| string(group)),
                profiles = list(&m.profiles, |profile| string(profile)),
                tags = list(&m.tags, |tag| table! { key = string(&tag.key), value = string(&tag.value) }),
            };
            if let (Some(across), Toml::Table(table)) = (&m.across, &mut described) {
                table.insert("across".into(), list(across, |label| string(label)));
            }
            if let (Some(resume), Toml::Table(table)) = (&m.resume, &mut described) {
                let resume = table! { epoch = number(resume.epoch), position = number(resume.position) };
                table.insert("resume".into(), resume);
            }
            described
        }
        Message::Unsubscribe(m) => table! { subscription = number(m.subscription) },
        Message::SeriesDef(m) => {
            let label = |one: &SeriesLabel| table! { name = string(&one.name), value = string(&one.value) };
            table! {
                subscription = number(m.subscription), series = list(&m.series, series),
                labels = list(&m.labels, |labels: &Vec<SeriesLabel>| list(labels, label)),
            }
        }
        Message::Batch(m) => table! {
            subscription = number(m.subscription),
            position = number(m.position),
            previous = number(m.previous),
            base_us = number(m.base_us),
            history = Toml::Boolean(m.history()),
            conflated = Toml::Boolean(m.conflated()),
            samples = Toml::Array(
                m.samples()
                    .map(|sample| {
                        Toml::Array(vec![number(sample.series), number(sample.time_us), Toml::Float(sample.value)])
                    })
                    .collect(),
            ),
        },
        Message::Texts(m) => table! {
            subscription = number(m.subscription),
            position = number(m.position),
            previous = number(m.previous),
            history = Toml::Boolean(m.history),
            items = list(&m.items, |TextSample { series, time_us, text }| {
                table! { series = number(*series), time_us = number(*time_us), text = string(text) }
            }),
        },
        Message::Presence(m) => table! {
            devices = list(&m.devices, |DevicePresence { device, state, last_seen_us }| {
                table! { device = string(device), state = name(state), last_seen_us = number(*last_seen_us) }
            }),
            position = number(m.position),
            previous = number(m.previous),
        },
        Message::Gap(m) => table! {
            subscription = number(m.subscription), from_position = number(m.from_position),
            to_position = number(m.to_position), reason = name(m.reason),
        },
        Message::Heartbeat(m) => table! {
            time_us = number(m.time_us), position = number(m.position), visible = Toml::Boolean(m.visible),
        },
        Message::SnapshotEnd(m) => table! {
            subscription = number(m.subscription), position = number(m.position), series = number(m.series),
        },
        Message::Refused(m) => table! {
            subscription = number(m.subscription), code = number(m.code), text = string(&m.text),
        },
    }
}
