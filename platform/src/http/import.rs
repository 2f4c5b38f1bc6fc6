//! Samples out of a file: CSV or NDJSON, read as it comes and stored like backfill.
//!
//! A batch is gathered while the one before it is being stored, so memory holds two of them however large the file is.
//! What is wrong with a line costs that line. The same file once more leaves the same samples: of two values of one time the
//! later counts.

mod gather;
mod lines;
mod rows;
mod values;

use super::State;
use super::devices::find;
use super::problem::Problem;
use super::query::clip;
use super::request::Caller;
use crate::ingest::{IngestReply, Mailbox, Refusal, Stopping, Submission};
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use actix_web::{HttpMessage, HttpRequest, web};
use futures_util::{Stream, StreamExt};
use gather::{Filled, Gather};
use lines::{LINE_BYTES_MAX, Line, Lines};
use pulsewire_core::ids::{DeviceId, DeviceKey};
use pulsewire_core::role::Role;
use pulsewire_core::sample::RejectReason;
use pulsewire_core::scope::DeviceScope;
use rows::{Columns, Layout};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Most rejections that the answer names: those of the first lines.
const ERRORS_MAX: usize = 20;
/// After an answer that came before the end of the body, so many bytes of it are still taken and dropped, so that a client
/// that is sending reads the answer.
const DROPPED_BYTES_MAX: usize = 16 << 20;
/// How long the next part of a body may be awaited, and how long all that is dropped of one.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Whose.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ImportQuery {
    /// All rows are of this device; the file then has no column `device`.
    device: Option<String>,
}

/// What became of a file.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct ImportJson {
    /// Lines with content, the header of CSV not counted.
    lines: u64,
    /// Values in them; stored + rejected. A line that cannot be read counts as one, unless it is plain how many it has.
    received: u64,
    stored: u64,
    rejected: u64,
    /// The first 20.
    errors: Vec<LineError>,
}

/// Why something of a line was not stored.
#[derive(Serialize, utoipa::ToSchema, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineError {
    /// Counted from 1, the header of CSV included.
    line: u64,
    detail: String,
}

/// Stores the samples of a CSV or NDJSON file.
#[utoipa::path(post, path = "/import", tag = "history", params(ImportQuery),
    request_body(content = String, content_type = "text/csv", description = "CSV with a header, or NDJSON"),
    responses((status = 200, body = ImportJson), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 408, body = Problem), (status = 413, body = Problem), (status = 415, body = Problem), (status = 503, body = Problem)))]
pub async fn import(
    state: web::Data<State>,
    caller: Caller<ImportQuery>,
    request: HttpRequest,
    mut body: web::Payload,
) -> Result<web::Json<ImportJson>, Problem> {
    caller.require(Role::Operator)?;
    let device = caller.query.device.as_deref().map(|id| find(&state, caller.scope(), id)).transpose()?;
    let device = device.map(|device| (device.id.to_string(), device.key));
    let mut import = Import {
        device,
        csv: is_csv(&request)?,
        layout: None,
        gather: Gather::default(),
        under_way: Vec::new(),
        errors: BTreeSet::new(),
        answer: ImportJson::default(),
        line_taken: 0,
        line_under_way: 0,
        line_stored: 0,
        scope: caller.scope().clone(),
        state,
    };
    let result = match import.state.places.imports.enter() {
        Ok(_place) => import.run(&request, &mut body).await,
        Err(problem) => Err(problem),
    };
    if result.is_err() {
        let mut dropped = 0;
        let dropping = async {
            while let Some(Ok(bytes)) = body.next().await {
                dropped += bytes.len();
                if dropped > DROPPED_BYTES_MAX {
                    break;
                }
            }
        };
        // The answer goes out either way.
        let _ = timeout(BODY_PAUSE_MAX, dropping).await;
    }
    result?;
    import.answer.errors = import.errors.into_iter().collect();
    import.answer.received = import.answer.stored + import.answer.rejected;
    Ok(web::Json(import.answer))
}

fn is_csv(request: &HttpRequest) -> Result<bool, Problem> {
    let unsupported = |detail: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type", detail);
    if request.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(unsupported("the file must be sent as it is, without Content-Encoding"));
    }
    let mime = request.mime_type().ok().flatten();
    match mime.as_ref().map(|mime| mime.essence_str()) {
        Some("text/csv") => Ok(true),
        Some("application/x-ndjson") => Ok(false),
        _ => Err(unsupported("an import needs the header `Content-Type: text/csv` or `application/x-ndjson`")),
    }
}

/// What was handed to ingest.
struct UnderWay {
    mailbox: Arc<Mailbox>,
    lines: Vec<Vec<u64>>,
    metrics: Vec<Vec<String>>,
    values: u64,
}

struct Import {
    scope: DeviceScope,
    state: web::Data<State>,
    device: Option<(String, DeviceKey)>,
    csv: bool,
    /// None before the header of a CSV file.
    layout: Option<Layout>,
    gather: Gather,
    under_way: Vec<UnderWay>,
    errors: BTreeSet<LineError>,
    answer: ImportJson,
    /// Numbers of the line that was looked at last, of the last one that was handed over, and of the last one up to which
    /// everything is stored or rejected; 0 = none.
    line_taken: u64,
    line_under_way: u64,
    line_stored: u64,
}

impl Import {
    async fn run(&mut self, request: &HttpRequest, body: &mut web::Payload) -> Result<(), Problem> {
        let limit = self.state.config.import_bytes_max;
        let announced =
            request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|bytes| bytes > limit) {
            return Err(self.too_large(limit));
        }
        if !self.csv {
            self.layout = Some(Layout::Ndjson);
        }
        let (mut lines, mut received) = (Lines::new(self.csv), 0);
        loop {
            let bytes = match next_part(body, BODY_PAUSE_MAX).await {
                Some(Ok(bytes)) => bytes,
                None => break,
                Some(Err(Unread::Late)) => {
                    self.settle().await?;
                    let seconds = BODY_PAUSE_MAX.as_secs();
                    let detail = format!("nothing more of the body came for {seconds} s; {}", self.so_far());
                    return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail));
                }
                Some(Err(Unread::Broken(error))) => {
                    self.settle().await?;
                    let detail = format!("the body cannot be read: {error}; {}", self.so_far());
                    return Err(Problem::bad_request("unreadable_body", detail));
                }
            };
            received += bytes.len() as u64;
            if received > limit {
                self.settle().await?;
                return Err(self.too_large(limit));
            }
            let mut bytes = &bytes[..];
            while let Some(line) = lines.next(&mut bytes) {
                self.take(line).await?;
            }
            // Others are served by this thread too, however fast the body comes.
            tokio::task::yield_now().await;
        }
        if let Some(line) = lines.rest() {
            self.take(line).await?;
        }
        if self.layout.is_none() {
            return Err(Problem::bad_request("bad_header", "the file is empty; its first line must name its columns"));
        }
        self.send().await?;
        self.settle().await
    }

    fn too_large(&self, limit: u64) -> Problem {
        let so_far = self.so_far();
        let detail =
            format!("the file is larger than {limit} bytes (http.import_bytes_max); {so_far}, so import it in parts");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// How much is stored, for an answer that is not the last word about the whole file.
    fn so_far(&self) -> String {
        match self.line_stored {
            0 => "nothing of it was stored".into(),
            line => format!("what was good up to line {line} was stored"),
        }
    }

    async fn take(&mut self, line: Line) -> Result<(), Problem> {
        let number = line.number;
        self.line_taken = number;
        let text = match line.bytes.map(String::from_utf8) {
            Some(Ok(text)) => Ok(text),
            Some(Err(_)) => Err("it is not UTF-8".to_owned()),
            None => Err(format!("it is longer than {LINE_BYTES_MAX} bytes")),
        };
        let Some(layout) = &self.layout else {
            let header = text.and_then(|header| {
                Columns::read(header.strip_prefix('\u{feff}').unwrap_or(&header), self.device.is_some())
            });
            let columns = header.map_err(|detail| Problem::bad_request("bad_header", detail))?;
            self.layout = Some(Layout::Csv(columns));
            return Ok(());
        };
        let row = match text {
            Ok(text) if text.trim().is_empty() => return Ok(()),
            Ok(text) => layout.row(&text),
            Err(detail) => Err(detail.into()),
        };
        self.answer.lines += 1;
        let row = match row {
            Ok(row) => row,
            Err(unreadable) => {
                self.reject(number, unreadable.values, unreadable.detail);
                return Ok(());
            }
        };
        match self.key_of(row.device.as_deref())? {
            Ok(key) => {
                let problems = {
                    let catalogue = self.state.catalogue.read().map_err(Problem::internal)?;
                    self.gather.add(key, number, row.time_us, row.readings, &catalogue)
                };
                problems.into_iter().for_each(|problem| self.reject(number, 1, problem));
            }
            Err(detail) => self.reject(number, row.readings.len().max(1) as u64, detail),
        }
        if self.gather.is_full() {
            self.send().await?;
        }
        if self.gather.knows_too_many() {
            self.send().await?;
            self.settle().await?;
            self.gather.forget();
        }
        Ok(())
    }

    /// The device that a line means, or why there is none.
    fn key_of(&self, named: Option<&str>) -> Result<Result<DeviceKey, String>, Problem> {
        let id = match (named, &self.device) {
            (None, Some((_, key))) => return Ok(Ok(*key)),
            (Some(named), Some((given, key))) if named == given => return Ok(Ok(*key)),
            (Some(named), Some((given, _))) => {
                return Ok(Err(format!("it is of device {:?}, and ?device= says {given:?}", clip(named))));
            }
            (None, None) => return Ok(Err("it names no device".into())),
            (Some(named), None) => named,
        };
        let id = match DeviceId::parse(id) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let directory = self.state.directory.read().map_err(Problem::internal)?;
        let found = directory.by_id(&id).filter(|device| self.scope.sees(device));
        Ok(found.map(|device| device.key).ok_or_else(|| format!("there is no device {:?}", id.as_str())))
    }

    fn reject(&mut self, line: u64, values: u64, detail: String) {
        self.answer.rejected += values;
        self.note(line, detail);
    }

    fn note(&mut self, line: u64, detail: String) {
        self.errors.insert(LineError { line, detail });
        // Rejections of what is stored come after those of later lines.
        if self.errors.len() > ERRORS_MAX {
            self.errors.pop_last();
        }
    }

    /// Hands over what is gathered, once what was handed over before is stored.
    async fn send(&mut self) -> Result<(), Problem> {
        let filled = self.gather.take();
        self.settle().await?;
        self.line_under_way = self.line_taken;
        for Filled { device, blocks, lines, bytes } in filled {
            let mailbox = Arc::new(Mailbox::default());
            let names = |set: &crate::ingest::MetricSetRef| set.metrics.iter().map(|m| m.name.to_string()).collect();
            let metrics = blocks.iter().map(|block| names(&block.set)).collect();
            let values = blocks.iter().map(|block| block.rows.count()).sum();
            let submission = Submission::Import { device, mailbox: mailbox.clone(), blocks };
            self.state.ingest.submit(submission, bytes).await.map_err(|Stopping| self.unavailable(false))?;
            self.under_way.push(UnderWay { mailbox, lines, metrics, values });
        }
        Ok(())
    }

    /// Waits until what was handed over is stored, and takes down what was not.
    async fn settle(&mut self) -> Result<(), Problem> {
        for part in std::mem::take(&mut self.under_way) {
            let reply = loop {
                match part.mailbox.try_take() {
                    Some(reply) => break reply,
                    None => part.mailbox.arrived().await,
                }
            };
            match reply {
                IngestReply::Imported { stored, items, rejected } => {
                    self.answer.stored += stored;
                    self.answer.rejected += rejected;
                    for (block, item) in items {
                        let line = part.lines.get(block).and_then(|lines| lines.get(item.row as usize));
                        let metric = item.metric.and_then(|at| part.metrics.get(block)?.get(at as usize));
                        self.note(line.copied().unwrap_or_default(), explained(item.reason, metric));
                    }
                }
                IngestReply::Refused(Refusal::DeviceGone) => {
                    let first = part.lines.iter().flatten().min().copied();
                    self.reject(first.unwrap_or_default(), part.values, "its device was deleted meanwhile".into());
                }
                IngestReply::Refused(refusal) => {
                    return Err(self.unavailable(matches!(refusal, Refusal::Unavailable { stopped: true })));
                }
                // Nothing else is answered to an import.
                _ => return Err(self.unavailable(false)),
            }
        }
        self.line_stored = self.line_under_way;
        Ok(())
    }

    fn unavailable(&self, stopped: bool) -> Problem {
        let why = match stopped {
            true => "the server's journal has stopped; it must be restarted once the disk is well",
            false => "the server cannot store now",
        };
        let detail = format!("{why}; {}; importing the whole file again stores nothing twice", self.so_far());
        Problem::unavailable(detail)
    }
}

/// Why there is no next part of a body.
#[derive(Debug)]
enum Unread<E> {
    /// None came in time.
    Late,
    Broken(E),
}

/// The next part of a body, awaited for at most `pause`; None at its end.
async fn next_part<B, E>(
    body: &mut (impl Stream<Item = Result<B, E>> + Unpin),
    pause: Duration,
) -> Option<Result<B, Unread<E>>> {
    match timeout(pause, body.next()).await {
        Ok(part) => part.map(|part| part.map_err(Unread::Broken)),
        Err(_) => Some(Err(Unread::Late)),
    }
}

fn explained(reason: RejectReason, metric: Option<&String>) -> String {
    let of = metric.map(|metric| format!("{metric}: ")).unwrap_or_default();
    let why = match reason {
        RejectReason::Other => "there is no room for another series (ingest.series_max, ingest.series_per_device_max)",
        RejectReason::TimeInFuture => {
            "the time is further ahead than ingest.time_ahead_max allows; are these milliseconds? Unix time is in seconds"
        }
        RejectReason::TypeMismatch => "the metric is stored with another class of type (number, bool or text)",
        RejectReason::TimeOutOfRange => "the time is before 1970",
    };
    format!("{of}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    #[tokio::test]
    async fn a_body_that_pauses_for_too_long_is_late_and_one_that_ends_is_not() {
        let pause = Duration::from_millis(10);
        let mut body = stream::iter([Ok::<_, ()>(1), Err(())]).chain(stream::pending());
        assert!(matches!(next_part(&mut body, pause).await, Some(Ok(1))));
        assert!(matches!(next_part(&mut body, pause).await, Some(Err(Unread::Broken(())))));
        assert!(matches!(next_part(&mut body, pause).await, Some(Err(Unread::Late))));
        assert!(next_part(&mut stream::empty::<Result<u8, ()>>(), pause).await.is_none());
    }
}
