//! The golden vectors of `vectors/`: decoding gives the stated meaning or error, and encoding gives the bytes back.

use std::{collections::BTreeSet, fs, path::Path};

use pulsewire_proto::{
    DecodeError, Header, Message, MessageType, Metric, MetricSet, MetricType, RawFrame, Report, Value,
    auth::{self, Binding, Transcript, Verifier},
    error::Problem,
    frame::{Batch, BatchColumns, Login},
};
use toml::{Table, Value as Toml};

mod describe;
use describe::describe;

fn load(file: &str) -> Vec<Table> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Table = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let Some(Toml::Array(vectors)) = table.get("vector") else { panic!("{file}: no vectors") };
    vectors.iter().map(|vector| vector.as_table().expect("a table").clone()).collect()
}

fn text<'t>(vector: &'t Table, key: &str) -> &'t str {
    vector[key].as_str().unwrap_or_else(|| panic!("{key} is not a string"))
}

fn bytes(vector: &Table, key: &str) -> Vec<u8> {
    let digits: String = text(vector, key)
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or("").chars())
        .filter(|c| !c.is_whitespace())
        .collect();
    hex::decode(&digits).unwrap_or_else(|error| panic!("{}: {error}", text(vector, "name")))
}

fn array(vector: &Table, key: &str) -> [u8; 32] {
    bytes(vector, key).try_into().expect("32 bytes")
}

fn metric_set(vector: &Table, number: u8) -> Option<MetricSet> {
    let types = vector.get("metrics")?.as_array()?;
    let metrics = types.iter().enumerate().map(|(at, metric_type)| {
        let metric_type = match metric_type.as_str().expect("a type") {
            "f64" => MetricType::F64,
            "f32" => MetricType::F32,
            "i64" => MetricType::I64,
            "bool" => MetricType::Bool,
            "text" => MetricType::Text,
            other => panic!("no type {other}"),
        };
        Metric::new(format!("m{at}"), "", metric_type)
    });
    Some(MetricSet { set: number, metrics: metrics.collect() })
}

fn problem_name(problem: Problem) -> &'static str {
    match problem {
        Problem::Truncated => "truncated",
        Problem::LengthTooLarge => "length_too_large",
        Problem::InvalidUtf8 => "invalid_utf8",
        Problem::InvalidBool => "invalid_bool",
        Problem::InvalidTag => "invalid_tag",
        Problem::NotAllowed(_) => "not_allowed",
    }
}

/// Decodes a whole frame with its values, the way a receiver would.
fn decode<'a>(frame: RawFrame<'a>, vector: &Table) -> Result<(Message<'a>, Toml), DecodeError> {
    let message = Message::decode(frame.message_type(), frame.payload())?.expect("a known type");
    let mut described = describe(&message);
    if let Message::Telemetry(report) | Message::Backfill(report) = &message {
        let set = metric_set(vector, report.set).expect("metrics");
        let samples = samples(report, &set)?;
        described.as_table_mut().expect("a table").insert("samples".into(), samples);
    }
    Ok((message, described))
}

fn samples(report: &Report<'_>, set: &MetricSet) -> Result<Toml, DecodeError> {
    let samples: Result<Vec<Toml>, DecodeError> = report
        .samples(set)
        .map(|sample| {
            let sample = sample?;
            let value = match sample.value {
                Value::F64(value) => Toml::Float(value),
                Value::F32(value) => Toml::Float(f64::from(value)),
                Value::I64(value) => Toml::Integer(value),
                Value::Bool(value) => Toml::Boolean(value),
                Value::Text(value) => Toml::String(value.into()),
            };
            let place = [i64::from(sample.row), sample.time_us, i64::from(sample.metric)].map(Toml::Integer);
            Ok(Toml::Array(place.into_iter().chain([value]).collect()))
        })
        .collect();
    samples.map(Toml::Array)
}

fn check_message(message_type: MessageType) {
    let file = format!("{}.toml", message_type.name().to_lowercase());
    let vectors = load(&file);
    let mut meanings = 0;
    for vector in &vectors {
        let what = format!("{file}: {}", text(vector, "name"));
        let frame_bytes = bytes(vector, "hex");
        let split = RawFrame::split(&frame_bytes, u32::MAX).unwrap_or_else(|error| panic!("{what}: {error}"));
        let Some((frame, [])) = split else { panic!("{what}: the header's length is not the payload's") };
        assert_eq!(frame.message_type(), message_type as u8, "{what}");
        match (decode(frame, vector), vector.get("fields"), vector.get("error")) {
            (Ok((message, described)), Some(expected), None) => {
                meanings += 1;
                assert_eq!(&described, expected, "{what}");
                if vector.get("canonical").and_then(Toml::as_bool) != Some(false) {
                    let mut encoded = Vec::new();
                    message.encode(&mut encoded);
                    assert_eq!(hex::encode(encoded), hex::encode(&frame_bytes), "{what}");
                }
            }
            (Err(error), None, Some(expected)) => {
                let actual = (error.field, problem_name(error.problem), i64::from(error.close_code().as_u16()));
                let field = expected["field"].as_str().expect("a field");
                let problem = expected["problem"].as_str().expect("a problem");
                let close = expected["close"].as_integer().expect("a code");
                assert_eq!(actual, (field, problem, close), "{what}");
                let name = if message_type == MessageType::Backfill { "TELEMETRY" } else { message_type.name() };
                assert_eq!(error.message, name, "{what}");
            }
            (result, ..) => panic!("{what}: {result:?}"),
        }
    }
    assert!(meanings >= 2, "{file}: at least two vectors that decode");
    assert!(vectors.len() > meanings, "{file}: at least one damaged vector");
}

#[test]
fn a_batch_takes_the_short_form_of_a_column_where_that_says_the_same() {
    let mut seen = 0;
    for vector in load("batch.toml").iter().filter(|vector| vector.contains_key("shortest")) {
        let what = text(vector, "name");
        let bytes = bytes(vector, "hex");
        let (frame, _) = RawFrame::split(&bytes, u32::MAX).expect(what).expect(what);
        let batch = Batch::decode(frame.payload()).expect(what);
        let samples: Vec<_> = batch.samples().collect();
        let offset = |time_us: i64| u32::try_from(time_us - batch.base_us).expect(what);
        let columns = BatchColumns {
            subscription: batch.subscription,
            position: batch.position,
            previous: batch.previous,
            base_us: batch.base_us,
            history: batch.history(),
            conflated: batch.conflated(),
            series: &samples.iter().map(|sample| sample.series).collect::<Vec<_>>(),
            offsets_us: &samples.iter().map(|sample| offset(sample.time_us)).collect::<Vec<_>>(),
            values: &samples.iter().map(|sample| sample.value).collect::<Vec<_>>(),
        };
        let mut payload = Vec::new();
        columns.encode_payload(&mut payload).expect(what);
        assert_eq!(hex::encode(payload), hex::encode(frame.payload()), "{what}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn every_message_decodes_and_encodes_as_its_vectors_say() {
    MessageType::ALL.iter().copied().for_each(check_message);
}

#[test]
fn no_vector_file_is_left_unread() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let files: BTreeSet<String> = fs::read_dir(dir)
        .expect("vectors")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    let mut expected: BTreeSet<String> =
        MessageType::ALL.iter().map(|kind| format!("{}.toml", kind.name().to_lowercase())).collect();
    expected.extend(["header.toml", "auth.toml", "README.md"].map(String::from));
    assert_eq!(files, expected);
}

#[test]
fn headers_are_taken_or_refused_as_their_vectors_say() {
    for vector in load("header.toml") {
        let what = text(&vector, "name");
        let header: [u8; 8] = bytes(&vector, "hex").try_into().expect("8 bytes");
        let limit = vector["limit"].as_integer().expect("a limit") as u32;
        match (Header::decode(&header, limit), vector.get("fields"), vector.get("error")) {
            (Ok(decoded), Some(expected), None) => {
                assert_eq!(i64::from(decoded.message_type), expected["message_type"].as_integer().expect("a type"));
                assert_eq!(i64::from(decoded.length), expected["length"].as_integer().expect("a length"));
                assert_eq!(decoded.encode(), header, "{what}");
            }
            (Err(error), None, Some(expected)) => {
                let close = expected["close"].as_integer().expect("a code");
                assert_eq!(i64::from(error.close_code().as_u16()), close, "{what}");
            }
            (result, ..) => panic!("{what}: {result:?}"),
        }
    }
}

#[test]
fn login_proofs_are_those_of_the_vectors() {
    for vector in load("auth.toml") {
        let what = text(&vector, "name");
        let secret = array(&vector, "secret");
        let binding = match text(&vector, "binding") {
            "plain" => Binding::Plain,
            _ => Binding::Certificate(array(&vector, "binding")),
        };
        let verifier = Verifier::from_secret(&secret);
        assert_eq!(verifier.stored_key.0, array(&vector, "stored_key"), "{what}");
        assert_eq!(verifier.server_key.0, array(&vector, "server_key"), "{what}");
        let t = Transcript::new(&bytes(&vector, "hello_frame")).finish(&bytes(&vector, "challenge_frame"), &binding);
        assert_eq!(t, array(&vector, "t"), "{what}");
        let proof = auth::device_proof(&secret, &t);
        assert_eq!(proof, array(&vector, "proof"), "{what}");
        assert!(bool::from(auth::verify_device_proof(&verifier.stored_key, &t, &proof)), "{what}");
        let mut proof_frame = Vec::new();
        Message::Proof(pulsewire_proto::frame::Proof { proof }).encode(&mut proof_frame);
        let rest = bytes(&vector, "welcome_rest");
        let server_proof = auth::server_proof(&verifier.server_key, &t, &proof_frame, &rest);
        assert_eq!(server_proof, array(&vector, "server_proof"), "{what}");
    }
}

#[test]
fn secrets_stay_out_of_debug_output() {
    let login = Login::Token { token: "hunter2".into() };
    let shown = format!("{login:?} {:?}", Verifier::from_secret(&[7; 32]));
    assert_eq!(shown, "Token(hidden) Verifier(hidden)");
}
