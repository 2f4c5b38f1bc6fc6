//! One viewer's side of the service: messages in, frames out. The socket belongs to the caller.

use super::attention::AttentionTable;
use super::encode::{self, Framing, frame};
use super::fanout::{Fanout, SubscriptionKey, TooManySeries, ViewerKey};
use super::presence::PresenceTable;
use super::subscription::Pending;
use super::{LiveOptions, LiveParts, Seat};
use crate::ports::SnapshotQuery;
use crate::telemetry::names;
use pulsewire_core::block::ValueRef;
use pulsewire_core::ids::{DeviceId, DeviceKey, GroupName, Lane, MetricName, Position, SeriesKey};
use pulsewire_core::presence::Presence;
use pulsewire_core::selector::Selector;
use pulsewire_proto::frame::{
    Aggregate, Close, DevicePresence, EventsLost, Gap, GapReason, Heartbeat, LiveWelcome, PresenceState, Refused,
    RefusedCode, Resume, Series, SeriesDef, SnapshotEnd, Subscribe,
};
use pulsewire_proto::{CloseCode, Message, RawFrame};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Alerts and changes of presence reach a viewer at least this fast, whatever its intervals.
const EVENTS_INTERVAL: Duration = Duration::from_millis(250);
/// Devices per PRESENCE and series per SERIES_DEF frame.
const LIST_ITEMS: usize = 1000;
/// Records read at a time when a viewer resumes.
const RESUME_RECORDS: usize = 256;

/// Why a viewer's socket must end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewerClose {
    /// Code for the WebSocket and the CLOSE frame. SPEC §10.
    pub code: CloseCode,
    /// For a human.
    pub text: String,
}

impl ViewerClose {
    /// A close with its text.
    pub fn new(code: CloseCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// The CLOSE frame.
    pub fn frame(&self) -> Vec<u8> {
        frame(&Message::Close(Close::new(self.code, &self.text)))
    }
}

struct Subscribed {
    key: SubscriptionKey,
    interval: Duration,
    due: Instant,
    previous: Position,
}

/// See the module. Dropping it ends its subscriptions.
pub struct Viewer {
    options: LiveOptions,
    parts: LiveParts,
    fanout: Arc<Mutex<Fanout>>,
    presence: Arc<PresenceTable>,
    attention: Arc<AttentionTable>,
    epoch: u64,
    seat: Seat,
    key: ViewerKey,
    subscriptions: HashMap<u32, Subscribed>,
    // When the viewer last sent something, not counting the time in which nobody listened.
    heard: Instant,
    // When HEARTBEAT was last sent.
    asked: Instant,
    sent: Instant,
    events_due: Instant,
}

impl Viewer {
    pub(super) fn new(
        options: LiveOptions,
        parts: LiveParts,
        fanout: Arc<Mutex<Fanout>>,
        presence: Arc<PresenceTable>,
        attention: Arc<AttentionTable>,
        epoch: u64,
        seat: Seat,
    ) -> Self {
        let key = lock(&fanout).connect();
        let now = Instant::now();
        Self {
            options,
            parts,
            fanout,
            presence,
            attention,
            epoch,
            seat,
            key,
            subscriptions: HashMap::new(),
            heard: now,
            asked: now,
            sent: now,
            events_due: now,
        }
    }

    /// The first frame.
    pub fn welcome(&self) -> Vec<u8> {
        frame(&Message::LiveWelcome(LiveWelcome {
            epoch: self.epoch,
            position: lock(&self.fanout).position().0,
            server_time_us: self.parts.clock.now_us(),
            heartbeat_interval_ms: millis(self.options.heartbeat_interval),
            subscriptions_max: u32::try_from(self.options.subscriptions_max).unwrap_or(u32::MAX),
            interval_ms_min: millis(self.options.interval_min),
            events_epoch: 0,
            events_position: 0,
        }))
    }

    /// Takes frames from the front of a WebSocket message until there is something to send, which the caller does before
    /// it calls again with the rest: a message full of wishes does not pile up answers.
    ///
    /// # Errors
    /// [`ViewerClose`] if the socket must end.
    pub async fn on_message(&mut self, bytes: &mut &[u8], now: Instant) -> Result<Vec<Vec<u8>>, ViewerClose> {
        self.heard = now;
        let mut out = Vec::new();
        while !bytes.is_empty() && out.is_empty() {
            let limit = pulsewire_proto::limits::VIEWER_FRAME_BYTES_MAX;
            let (raw, rest) = match RawFrame::split(bytes, limit) {
                Ok(Some(found)) => found,
                Ok(None) => {
                    let text = "a frame is cut off at the end of its WebSocket message";
                    return Err(ViewerClose::new(CloseCode::Malformed, text));
                }
                Err(error) => return Err(ViewerClose::new(error.close_code(), error.to_string())),
            };
            *bytes = rest;
            self.on_frame(raw, now, &mut out).await?;
        }
        Ok(out)
    }

    async fn on_frame(&mut self, raw: RawFrame<'_>, now: Instant, out: &mut Vec<Vec<u8>>) -> Result<(), ViewerClose> {
        let message = Message::decode(raw.message_type(), raw.payload())
            .map_err(|error| ViewerClose::new(error.close_code(), error.to_string()))?;
        match message {
            None => metrics::counter!(names::FRAMES_UNKNOWN).increment(1),
            Some(Message::Heartbeat(heartbeat)) => {
                self.attention.heard(&self.seat.user, self.key.0, heartbeat.visible);
            }
            Some(Message::Subscribe(subscribe)) => self.subscribe(subscribe, now, out).await,
            Some(Message::Unsubscribe(unsubscribe)) => {
                if let Some(gone) = self.subscriptions.remove(&unsubscribe.subscription) {
                    lock(&self.fanout).unsubscribe(gone.key);
                }
            }
            Some(Message::Close(_)) => return Err(ViewerClose::new(CloseCode::Normal, "as the viewer asked")),
            Some(other) => {
                let text = format!("{} is not for a viewer to send", other.message_type().name());
                return Err(ViewerClose::new(CloseCode::Malformed, text));
            }
        }
        Ok(())
    }

    /// When [`Viewer::tick`] has something to do.
    pub fn next_deadline(&self) -> Instant {
        let ticks = self.subscriptions.values().map(|s| s.due);
        let heartbeat = self.sent.min(self.heard.max(self.asked)) + self.options.heartbeat_interval;
        ticks.chain([heartbeat, self.events_due]).min().unwrap_or(heartbeat)
    }

    /// The frames that are due.
    ///
    /// # Errors
    /// [`ViewerClose`] if the viewer gave no sign of life for four heartbeat intervals.
    pub fn tick(&mut self, now: Instant) -> Result<Vec<Vec<u8>>, ViewerClose> {
        if now.duration_since(self.heard) > self.options.heartbeat_interval * 4 {
            let text = "no HEARTBEAT came for four intervals; connect again";
            return Err(ViewerClose::new(CloseCode::HeartbeatMissed, text));
        }
        let mut out = Vec::new();
        if now >= self.events_due {
            self.events_due = now + EVENTS_INTERVAL;
            self.put_presence(&mut out);
            self.put_events(&mut out);
        }
        for (number, subscribed) in &mut self.subscriptions {
            if now < subscribed.due {
                continue;
            }
            // A late tick does not make later ones come faster.
            subscribed.due = now + subscribed.interval;
            put_due(&self.fanout, &self.parts, *number, subscribed, &mut out);
        }
        // Also when batches flow: a viewer answers HEARTBEAT and nothing else, and must not be taken for gone.
        let (idle, unheard) = (self.sent, self.heard.max(self.asked));
        let interval = self.options.heartbeat_interval;
        if (out.is_empty() && now >= idle + interval) || now >= unheard + interval {
            self.asked = now;
            let position = lock(&self.fanout).position().0;
            let time_us = self.parts.clock.now_us();
            out.push(frame(&Message::Heartbeat(Heartbeat { time_us, position, visible: false })));
        }
        Ok(out)
    }

    /// Something was sent, which took from `began` until now. What the viewer said meanwhile was not read.
    pub fn on_sent(&mut self, began: Instant, now: Instant) {
        self.heard += now - began;
        self.sent = now;
    }

    fn put_presence(&self, out: &mut Vec<Vec<u8>>) {
        let due: Vec<DeviceKey> = lock(&self.fanout).take_presence(self.key).into_iter().collect();
        if due.is_empty() {
            return;
        }
        let Ok(directory) = self.parts.directory.read() else { return };
        for part in due.chunks(LIST_ITEMS) {
            let devices = part.iter().filter_map(|key| {
                let seen = self.presence.get(*key);
                let state = match seen.presence {
                    Presence::Offline => PresenceState::Offline,
                    Presence::Online => PresenceState::Online,
                    Presence::Stale => PresenceState::Stale,
                };
                let device = directory.by_key(*key)?.id.to_string();
                Some(DevicePresence { device, state, last_seen_us: seen.last_seen_us.unwrap_or(0) })
            });
            let presence = pulsewire_proto::frame::Presence { devices: devices.collect(), position: 0, previous: 0 };
            out.push(frame(&Message::Presence(presence)));
        }
    }

    fn put_events(&self, out: &mut Vec<Vec<u8>>) {
        let taken = lock(&self.fanout).take_events(self.key);
        out.extend(taken.alerts.chunks(LIST_ITEMS).map(encode::alerts));
        out.extend(taken.commands.chunks(LIST_ITEMS).map(encode::commands));
        if taken.lost > 0 {
            out.push(frame(&Message::EventsLost(EventsLost { count: taken.lost, position: 0, previous: 0 })));
        }
    }

    async fn subscribe(&mut self, wish: Subscribe, now: Instant, out: &mut Vec<Vec<u8>>) {
        let number = wish.subscription;
        match self.try_subscribe(wish, now, out).await {
            Ok(()) => {}
            Err((code, text)) => out.push(frame(&Message::Refused(Refused::new(number, code, &text)))),
        }
    }

    async fn try_subscribe(
        &mut self,
        wish: Subscribe,
        now: Instant,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), (RefusedCode, String)> {
        let invalid = |error: &dyn std::fmt::Display| (RefusedCode::Invalid, error.to_string());
        wish.check_limits().map_err(|error| invalid(&error))?;
        if self.subscriptions.contains_key(&wish.subscription) {
            let text = format!("subscription {} is in use on this socket", wish.subscription);
            return Err((RefusedCode::InUse, text));
        }
        if self.subscriptions.len() >= self.options.subscriptions_max {
            let text = format!("a socket may have {} subscriptions", self.options.subscriptions_max);
            return Err((RefusedCode::TooManySubscriptions, text));
        }
        let devices = wish.devices.iter().map(|id| DeviceId::parse(id)).collect::<Result<_, _>>();
        let metrics = wish.metrics.iter().map(|name| MetricName::parse(name)).collect::<Result<_, _>>();
        let groups = wish.groups.iter().map(|name| GroupName::parse(name)).collect::<Result<_, _>>();
        let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for tag in &wish.tags {
            tags.entry(tag.key.clone()).or_default().insert(tag.value.clone());
        }
        let selector = Selector {
            scope: self.seat.scope.clone(),
            devices: devices.map_err(|error| invalid(&error))?,
            metrics: metrics.map_err(|error| invalid(&error))?,
            groups: groups.map_err(|error| invalid(&error))?,
            profiles: wish.profiles.iter().cloned().collect(),
            tags,
        };
        if !matches!(wish.aggregate, Aggregate::Every | Aggregate::Last) {
            return Err((RefusedCode::Invalid, "this server does not aggregate yet".to_owned()));
        }
        let (key, series) = self.register(selector, wish.aggregate == Aggregate::Last)?;
        let interval = Duration::from_millis(wish.interval_ms.into()).max(self.options.interval_min);
        let mut subscribed = Subscribed { key, interval, due: now, previous: Position(0) };
        // Noted before the first wait, so that it ends with the viewer whatever happens meanwhile.
        self.subscriptions
            .insert(wish.subscription, Subscribed { key, interval, due: now + interval, previous: Position(0) });
        let covered = u32::try_from(series.len()).unwrap_or(u32::MAX);
        // Sent only if all of it succeeds.
        let mut frames = Vec::new();
        self.put_definitions(wish.subscription, key, &mut frames);
        let (position, covered) = match self.resume(&wish, &mut subscribed, &mut frames).await {
            Some(position) => (position, u32::MAX),
            None => match self.history(&wish, &mut subscribed, series, &mut frames).await {
                Ok(position) => (position, covered),
                Err(text) => {
                    self.subscriptions.remove(&wish.subscription);
                    lock(&self.fanout).unsubscribe(key);
                    return Err((RefusedCode::Unavailable, text));
                }
            },
        };
        out.append(&mut frames);
        let mut fanout = lock(&self.fanout);
        let mut count = 0;
        if let Some(subscription) = fanout.get_mut(key) {
            subscription.raise_floor(position, covered);
            count = subscription.series_len();
        }
        drop(fanout);
        subscribed.previous = position;
        out.push(frame(&Message::SnapshotEnd(SnapshotEnd {
            subscription: wish.subscription,
            position: position.0,
            series: u32::try_from(count).unwrap_or(u32::MAX),
        })));
        subscribed.due = now + interval;
        self.events_due = now;
        self.subscriptions.insert(wish.subscription, subscribed);
        Ok(())
    }

    fn register(
        &self,
        selector: Selector,
        last_only: bool,
    ) -> Result<(SubscriptionKey, Vec<SeriesKey>), (RefusedCode, String)> {
        let unavailable = || (RefusedCode::Invalid, "the server is stopping".to_owned());
        let directory = self.parts.directory.read().map_err(|_| unavailable())?;
        let catalogue = self.parts.catalogue.read().map_err(|_| unavailable())?;
        let series_max = self.options.series_max;
        let registered =
            lock(&self.fanout).subscribe(self.key, selector, last_only, series_max, &directory, &catalogue);
        registered.map_err(|TooManySeries(found)| {
            let text = format!("the selection has {found} series; a subscription may have {series_max}: select less");
            (RefusedCode::TooManySeries, text)
        })
    }

    fn put_definitions(&self, subscription: u32, key: SubscriptionKey, out: &mut Vec<Vec<u8>>) {
        let defined = lock(&self.fanout).get_mut(key).map(|s| s.take_defined()).unwrap_or_default();
        put_series(&self.parts, subscription, &defined, out);
    }

    /// Sends what was committed after the position the viewer names. None if that is not possible, after telling so.
    async fn resume(&self, wish: &Subscribe, subscribed: &mut Subscribed, out: &mut Vec<Vec<u8>>) -> Option<Position> {
        let resume = wish.resume?;
        if let Some((position, samples)) = self.missed(resume, subscribed.key).await {
            // Series that appeared since the subscription was made.
            self.put_definitions(wish.subscription, subscribed.key, out);
            subscribed.previous = Position(resume.position);
            self.put_samples(wish.subscription, position, subscribed, &samples, out);
            return Some(position);
        }
        let to_position = lock(&self.fanout).position().0;
        out.push(frame(&Message::Gap(Gap {
            subscription: wish.subscription,
            from_position: resume.position,
            to_position,
            reason: GapReason::ResumeRefused,
        })));
        subscribed.previous = Position(to_position);
        None
    }

    async fn missed(&self, resume: Resume, key: SubscriptionKey) -> Option<(Position, Vec<Pending>)> {
        let newest = lock(&self.fanout).position();
        if resume.epoch != self.epoch || resume.position > newest.0 {
            return None;
        }
        let (mut cursor, mut samples, mut weight) = (Position(resume.position), Vec::new(), 0);
        while cursor < newest {
            let records = self.parts.journal.read(Lane(0), cursor, RESUME_RECORDS).await.ok()?;
            // Records that are no longer kept, or not there yet, cannot be made up for.
            if records.first()?.position.0 != cursor.0 + 1 {
                return None;
            }
            let directory = self.parts.directory.read().ok()?;
            let (catalogue, mut fanout) = (self.parts.catalogue.read().ok()?, lock(&self.fanout));
            let subscription = fanout.get_mut(key)?;
            for record in records {
                cursor = record.position;
                for block in &record.blocks {
                    let device = directory.by_key(block.device());
                    if !device.is_some_and(|d| subscription.selector().takes(d)) {
                        continue;
                    }
                    let max = self.options.series_max;
                    for row in block.reports().flat_map(|report| report.rows()) {
                        for (series, value) in row.values() {
                            let known = catalogue.get(series);
                            let wanted = known.is_some_and(|s| subscription.selector().takes_metric(&s.metric));
                            let Some(index) = wanted.then(|| subscription.index_of(series, max)).flatten() else {
                                continue;
                            };
                            weight += if matches!(value, ValueRef::Text(_)) { 5 } else { 1 };
                            let (time_us, value) = (row.time_us(), value.to_value());
                            samples.push(Pending { index, time_us, value, position: cursor });
                        }
                    }
                }
            }
            if weight > self.options.history_samples_max {
                return None;
            }
        }
        Some((cursor, samples))
    }

    async fn history(
        &self,
        wish: &Subscribe,
        subscribed: &mut Subscribed,
        series: Vec<SeriesKey>,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<Position, String> {
        let now_us = self.parts.clock.now_us();
        let from_us = (wish.history_ms > 0).then(|| now_us - i64::from(wish.history_ms) * 1000);
        let query = SnapshotQuery { series, from_us, samples_max: self.options.history_samples_max };
        let snapshot = self.parts.history.snapshot(query).await.map_err(|error| {
            tracing::warn!(%error, "history for a viewer could not be read");
            "history cannot be read now; try again".to_owned()
        })?;
        let mut samples = Vec::new();
        {
            let mut fanout = lock(&self.fanout);
            let subscription = fanout.get_mut(subscribed.key);
            let index = |key| subscription.as_ref().and_then(|s| s.known_index(key));
            for (key, part) in snapshot.samples {
                let Some(index) = index(key) else { continue };
                let position = snapshot.position;
                samples.extend(part.into_iter().map(|s| Pending {
                    index,
                    time_us: s.time_us,
                    value: s.value,
                    position,
                }));
            }
        }
        // By time over all series, so that a batch spans little time and offsets suffice.
        samples.sort_by_key(|s| s.time_us);
        if snapshot.cut {
            out.push(frame(&Message::Gap(Gap {
                subscription: wish.subscription,
                from_position: 0,
                to_position: snapshot.position.0,
                reason: GapReason::Other,
            })));
            subscribed.previous = snapshot.position;
        }
        self.put_samples(wish.subscription, snapshot.position, subscribed, &samples, out);
        Ok(snapshot.position)
    }

    fn put_samples(
        &self,
        subscription: u32,
        position: Position,
        subscribed: &mut Subscribed,
        samples: &[Pending],
        out: &mut Vec<Vec<u8>>,
    ) {
        metrics::counter!(names::LIVE_SAMPLES).increment(samples.len() as u64);
        let framing = Framing { subscription, position, history: true, conflated: false };
        out.extend(encode::samples(framing, &mut subscribed.previous, samples));
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut fanout = lock(&self.fanout);
        for subscribed in self.subscriptions.values() {
            fanout.unsubscribe(subscribed.key);
        }
        fanout.disconnect(self.key);
        self.attention.gone(&self.seat.user, self.key.0);
    }
}

fn lock(fanout: &Mutex<Fanout>) -> MutexGuard<'_, Fanout> {
    // The guarded code does not panic; were it poisoned, its content would still be whole.
    fanout.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn put_due(
    fanout: &Mutex<Fanout>,
    parts: &LiveParts,
    number: u32,
    subscribed: &mut Subscribed,
    out: &mut Vec<Vec<u8>>,
) {
    let Some(taken) = lock(fanout).take(subscribed.key) else { return };
    put_series(parts, number, &taken.defined, out);
    if let Some((from, to)) = taken.gap {
        let from_position = from.max(subscribed.previous.min(to)).0;
        out.push(frame(&Message::Gap(Gap {
            subscription: number,
            from_position,
            to_position: to.0,
            reason: GapReason::SlowReader,
        })));
        subscribed.previous = subscribed.previous.max(to);
    }
    if taken.samples.is_empty() {
        return;
    }
    metrics::counter!(names::LIVE_SAMPLES).increment(taken.samples.len() as u64);
    let framing =
        Framing { subscription: number, position: taken.position, history: false, conflated: taken.conflated };
    out.extend(encode::samples(framing, &mut subscribed.previous, &taken.samples));
}

fn put_series(parts: &LiveParts, subscription: u32, defined: &[(u32, SeriesKey)], out: &mut Vec<Vec<u8>>) {
    let (Ok(directory), Ok(catalogue)) = (parts.directory.read(), parts.catalogue.read()) else { return };
    for part in defined.chunks(LIST_ITEMS) {
        let series = part.iter().filter_map(|(index, key)| {
            let series = catalogue.get(*key)?;
            Some(Series {
                index: *index,
                device: directory.by_key(series.device)?.id.to_string(),
                metric: series.metric.to_string(),
                unit: series.unit.clone(),
                metric_type: encode::metric_type(series.value_type),
            })
        });
        let definition = SeriesDef { subscription, series: series.collect(), labels: Vec::new() };
        out.push(frame(&Message::SeriesDef(definition)));
    }
}
