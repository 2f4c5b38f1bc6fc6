//! One viewer's side of the service: messages in; what goes out is in its [`Outbox`]. The socket belongs to the caller.

use super::LiveShared;
use super::encode::frame;
use super::fanout::Signal;
use super::outbox::Outbox;
use super::seat::Seat;
use super::stats::ViewerStats;
use super::subscribe;
use crate::telemetry::names;
use pulsewire_core::scope::DeviceScope;
use pulsewire_proto::frame::{Close, Heartbeat, LiveWelcome};
use pulsewire_proto::{CloseCode, Message, RawFrame};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// See the module. Dropping it ends its subscriptions and gives its place back. It stays on the thread of its socket.
pub struct Viewer {
    shared: Arc<LiveShared>,
    seat: Seat,
    id: u64,
    scope: DeviceScope,
    stats: Arc<ViewerStats>,
    outbox: Rc<RefCell<Outbox>>,
    // When the viewer last sent something, and how long it had taken nothing until then.
    heard: (Instant, Duration),
    // When HEARTBEAT was last sent.
    asked: Instant,
    // EVENTS_RESUME came.
    resumed: bool,
}

impl Viewer {
    pub(super) fn new(shared: Arc<LiveShared>, seat: Seat, id: u64, scope: DeviceScope) -> Self {
        let now = Instant::now();
        let since_us = shared.parts.clock.now_us();
        let stats = Arc::new(ViewerStats::new(id, seat.user.clone(), seat.address, since_us));
        let signal = Arc::new(Signal::default());
        shared.viewers().insert(id, (stats.clone(), signal.clone()));
        let (lane, lane_epoch, lane_position) = {
            let lane = shared.lane();
            (lane.join(), lane.epoch(), lane.position())
        };
        let mut outbox =
            Outbox::new(shared.clone(), signal, stats.clone(), scope.clone(), seat.subscriptions.clone(), lane);
        outbox.put(frame(&Message::LiveWelcome(LiveWelcome {
            epoch: shared.epoch,
            position: shared.fanout().position().0,
            server_time_us: since_us,
            heartbeat_interval_ms: millis(shared.options.heartbeat_interval),
            subscriptions_max: u32::try_from(shared.options.subscriptions_max).unwrap_or(u32::MAX),
            interval_ms_min: millis(shared.options.interval_min),
            events_epoch: lane_epoch,
            events_position: lane_position,
        })));
        let outbox = Rc::new(RefCell::new(outbox));
        let heard = (now, Duration::ZERO);
        Self { shared, seat, id, scope, stats, outbox, heard, asked: now, resumed: false }
    }

    /// What goes out. Whoever sends holds it only while it takes the next bytes.
    pub fn outbox(&self) -> Rc<RefCell<Outbox>> {
        self.outbox.clone()
    }

    fn out(&self) -> RefMut<'_, Outbox> {
        self.outbox.borrow_mut()
    }

    /// Takes one frame from the front of a WebSocket message. The caller sees to it that there is room for answers
    /// ([`Outbox::has_room`]): a message full of wishes does not pile them up.
    ///
    /// # Errors
    /// [`ViewerClose`] if the socket must end.
    pub async fn on_message(&mut self, bytes: &mut &[u8], now: Instant) -> Result<(), ViewerClose> {
        let blocked = self.out().blocked(now);
        self.heard = (now, blocked);
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
        let done = self.on_frame(raw, now).await;
        self.out().signal().wake();
        done
    }

    async fn on_frame(&mut self, raw: RawFrame<'_>, now: Instant) -> Result<(), ViewerClose> {
        let message = Message::decode(raw.message_type(), raw.payload())
            .map_err(|error| ViewerClose::new(error.close_code(), error.to_string()))?;
        match message {
            None => metrics::counter!(names::FRAMES_UNKNOWN).increment(1),
            Some(Message::Heartbeat(heartbeat)) => {
                self.shared.attention.heard(&self.seat.user, self.id, heartbeat.visible);
            }
            Some(Message::Subscribe(wish)) => {
                subscribe::subscribe(&self.shared, &self.outbox, &self.stats, &self.scope, wish).await;
            }
            Some(Message::Unsubscribe(unsubscribe)) => {
                let number = unsubscribe.subscription;
                self.end(|subscribed| subscribed == number);
            }
            Some(Message::EventsResume(resume)) if !self.resumed => {
                self.resumed = true;
                self.out().resume_lane(resume.epoch, resume.position, now);
            }
            Some(Message::Close(_)) => return Err(ViewerClose::new(CloseCode::Normal, "as the viewer asked")),
            Some(other) => {
                let again = if self.resumed { " again" } else { "" };
                let text = format!("{} is not for a viewer to send{again}", other.message_type().name());
                return Err(ViewerClose::new(CloseCode::Malformed, text));
            }
        }
        Ok(())
    }

    fn end(&self, ends: impl Fn(u32) -> bool) {
        let mut out = self.outbox.borrow_mut();
        let (gone, kept) = std::mem::take(&mut out.subscribed).into_iter().partition(|s| ends(s.number));
        out.subscribed = kept;
        drop(out);
        let gone: Vec<super::outbox::Subscribed> = gone;
        for subscribed in gone {
            self.stats.unsubscribed(subscribed.number);
            drop(subscribed.cursor);
            self.shared.fanout().leave(subscribed.view, self.shared.now_us());
        }
    }

    /// When [`Viewer::on_time`] has something to do.
    pub fn next_deadline(&self) -> Instant {
        let interval = self.shared.options.heartbeat_interval;
        let out = self.outbox.borrow();
        let heartbeat = out.sent().min(self.heard.0).max(self.asked) + interval;
        match out.blocked_since() {
            Some(since) => heartbeat.min(since + self.shared.options.slow_reader_timeout),
            None => heartbeat,
        }
    }

    /// What is due now: a heartbeat, or the end.
    ///
    /// # Errors
    /// [`ViewerClose`] if the viewer took nothing for too long, or gave no sign of life for four heartbeat intervals in
    /// which it could have been asked for one.
    pub fn on_time(&mut self, now: Instant) -> Result<(), ViewerClose> {
        let options = &self.shared.options;
        let mut out = self.outbox.borrow_mut();
        let limit = options.slow_reader_timeout;
        if out.blocked_since().is_some_and(|since| now.saturating_duration_since(since) >= limit) {
            return Err(ViewerClose::new(CloseCode::SlowReader, format!("nothing was taken for {limit:?}")));
        }
        let interval = options.heartbeat_interval;
        let silent = now.saturating_duration_since(self.heard.0);
        let asleep = out.blocked(now).saturating_sub(self.heard.1);
        if silent.saturating_sub(asleep) > interval * 4 {
            let text = "no HEARTBEAT came for four intervals; connect again";
            return Err(ViewerClose::new(CloseCode::HeartbeatMissed, text));
        }
        if now >= out.sent().min(self.heard.0).max(self.asked) + interval {
            self.asked = now;
            // One that waits already is enough.
            if out.blocked_since().is_none() {
                let position = self.shared.fanout().position().0;
                let time_us = self.shared.parts.clock.now_us();
                out.put(frame(&Message::Heartbeat(Heartbeat { time_us, position, visible: false })));
                out.signal().wake();
            }
        }
        Ok(())
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.end(|_| true);
        self.shared.viewers().remove(&self.id);
        self.shared.attention.gone(&self.seat.user, self.id);
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
