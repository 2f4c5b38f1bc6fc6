//! A server that does nothing but write: the frames of SPEC §9 that a fan-out would send, made once per view and interval and
//! written to everyone in one thread. What it reaches is what the machine and the subscribers can take.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use pulsewire_proto::{
    Message, MessageType, MetricType, RawFrame, encode_frame,
    frame::{BatchColumns, LiveWelcome, Series, SeriesDef, SnapshotEnd},
    limits,
};

use super::websocket::{self, Kind};
use super::{READ_BYTES, ROOM};
use crate::SimError;
use crate::bench::socket::Socket;
use crate::fleet::unix_us;

const LISTENER: Token = Token(usize::MAX);
/// Accepted connections keep no more than this in the system, or a flood of frames would fill its memory.
const SEND_BYTES: usize = 128 * 1024;
/// Without anything due.
const IDLE: Duration = Duration::from_millis(5);
const HEARTBEAT_MS: u32 = 60_000;

/// What it does once everyone is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Waiting = 0,
    /// A frame per view and interval.
    Interval = 1,
    /// A frame to whoever takes one, the same again and again.
    Flood = 2,
    Over = 3,
}

/// On a loopback port, in a thread of its own, until dropped.
pub(super) struct Noop {
    pub address: SocketAddr,
    pace: Arc<AtomicU8>,
    /// Where the system says what its thread used.
    stat: Option<PathBuf>,
    thread: Option<JoinHandle<()>>,
}

/// What to send.
#[derive(Debug, Clone)]
pub(super) struct Views {
    /// Devices of each.
    pub devices: Vec<Vec<String>>,
    pub series_per_device: u32,
    pub interval: Duration,
}

struct Viewer {
    socket: Socket,
    is_upgraded: bool,
    view: Option<usize>,
}

struct Server {
    views: Views,
    poll: Poll,
    listener: TcpListener,
    viewers: Vec<Option<Viewer>>,
    buffer: Vec<u8>,
    out: Vec<u8>,
}

impl Noop {
    pub fn start(views: Views) -> Result<Noop, SimError> {
        let failed = |error: std::io::Error| SimError::Task(format!("the no-op server: {error}"));
        let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into()).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let poll = Poll::new().map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let pace = Arc::new(AtomicU8::new(Pace::Waiting as u8));
        let (watched, (say, said)) = (pace.clone(), std::sync::mpsc::sync_channel(1));
        let server =
            Server { views, poll, listener, viewers: Vec::new(), buffer: vec![0; READ_BYTES], out: Vec::new() };
        let thread = std::thread::spawn(move || {
            // A link like `123/task/456`.
            let link = std::fs::read_link("/proc/thread-self").ok();
            // Whoever does not listen does not want to know.
            let _ = say.send(link.map(|link| PathBuf::from("/proc").join(link).join("schedstat")));
            server.serve(&watched);
        });
        let stat = said.recv().ok().flatten();
        Ok(Noop { address, pace, stat, thread: Some(thread) })
    }

    pub fn pace(&self, pace: Pace) {
        self.pace.store(pace as u8, Ordering::Relaxed);
    }

    /// Processor time of its thread; None where the system does not say. Linux: nanoseconds, first of three numbers.
    pub fn cpu_us(&self) -> Option<f64> {
        let text = std::fs::read_to_string(self.stat.as_ref()?).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok().map(|ns| ns / 1000.0)
    }
}

impl Drop for Noop {
    fn drop(&mut self) {
        self.pace(Pace::Over);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

impl Server {
    fn serve(mut self, pace: &AtomicU8) {
        let mut events = Events::with_capacity(1024);
        let count = self.views.devices.len();
        let mut start = None;
        // Frames sent so far, over all views in turn.
        let mut sent = 0_u64;
        let mut flood = Vec::new();
        loop {
            let pace = pace.load(Ordering::Relaxed);
            let timeout = match start {
                Some(start) if pace == Pace::Interval as u8 => {
                    self.due(start, sent).saturating_duration_since(Instant::now())
                }
                _ if pace == Pace::Flood as u8 && self.viewers.iter().flatten().any(|v| !v.socket.is_blocked()) => {
                    Duration::ZERO
                }
                _ => IDLE,
            };
            if self.poll.poll(&mut events, Some(timeout.min(IDLE))).is_err() {
                continue;
            }
            for event in &events {
                self.on_event(event.token(), event.is_readable(), event.is_writable());
            }
            if pace == Pace::Over as u8 {
                return;
            }
            if pace == Pace::Interval as u8 {
                let start = *start.get_or_insert_with(Instant::now);
                while self.due(start, sent) <= Instant::now() {
                    let (view, round) = (sent as usize % count, sent / count as u64);
                    let late_us = self.due(start, sent).elapsed().as_micros() as i64;
                    let frame = self.frame(view, round, unix_us() - late_us);
                    self.write(view, &frame);
                    sent += 1;
                }
            }
            if pace == Pace::Flood as u8 {
                if flood.is_empty() {
                    flood = (0..count).map(|view| self.frame(view, 0, unix_us())).collect();
                }
                for (view, frame) in flood.iter().enumerate() {
                    self.write(view, frame);
                }
            }
        }
    }

    /// Views take turns within an interval.
    fn due(&self, start: Instant, sent: u64) -> Instant {
        start + self.views.interval.mul_f64(sent as f64 / self.views.devices.len().max(1) as f64)
    }

    fn on_event(&mut self, token: Token, is_readable: bool, is_writable: bool) {
        if token == LISTENER {
            while let Ok((stream, _)) = self.listener.accept() {
                let token = Token(self.viewers.len());
                let is_set = socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BYTES).is_ok();
                if is_set
                    && stream.set_nodelay(true).is_ok()
                    && let Ok(socket) = Socket::of(stream, ROOM, self.poll.registry(), token)
                {
                    self.viewers.push(Some(Viewer { socket, is_upgraded: false, view: None }));
                }
            }
            return;
        }
        let Some(slot) = self.viewers.get_mut(token.0) else { return };
        let Some(viewer) = slot else { return };
        let mut result = if is_writable { viewer.socket.flush() } else { Ok(()) };
        if is_readable && result.is_ok() {
            let (views, is_upgraded, view) = (&self.views, &mut viewer.is_upgraded, &mut viewer.view);
            let take = |input: &[u8], out: &mut Vec<u8>| answer(views, is_upgraded, view, input, out);
            result = viewer.socket.read(&mut self.buffer, &mut self.out, take);
        }
        if result.is_err() {
            *slot = None;
        }
    }

    fn write(&mut self, view: usize, frame: &[u8]) {
        for slot in &mut self.viewers {
            if let Some(viewer) = slot
                && viewer.view == Some(view)
                && !viewer.socket.is_blocked()
                && viewer.socket.write(frame).is_err()
            {
                *slot = None;
            }
        }
    }

    /// A WebSocket message with a BATCH of one sample per series.
    fn frame(&self, view: usize, round: u64, time_us: i64) -> Vec<u8> {
        let devices = self.views.devices.get(view).map_or(0, Vec::len);
        let frame = batch(devices, self.views.series_per_device as usize, round, time_us);
        let mut message = Vec::new();
        websocket::plain(Kind::Binary, &frame, &mut message);
        message
    }
}

/// A BATCH of one sample per series: each device has one time, and all have the same number. The server makes several of more than
/// 4,096 samples.
pub(super) fn batch(devices: usize, series_per_device: usize, round: u64, time_us: i64) -> Vec<u8> {
    let count = devices * series_per_device;
    let series: Vec<u32> = (0..count as u32).collect();
    let offsets: Vec<u32> = (0..devices as u32).flat_map(|at| std::iter::repeat_n(at, series_per_device)).collect();
    let columns = BatchColumns {
        subscription: 1,
        position: round + 1,
        previous: round,
        base_us: time_us,
        history: false,
        conflated: false,
        series: &series,
        offsets_us: &offsets,
        values: &vec![(round + 1) as f64; count],
    };
    let (mut payload, mut frame) = (Vec::new(), Vec::new());
    // A view has at most as many series as a batch.
    if columns.encode_payload(&mut payload).is_ok() {
        encode_frame(MessageType::Batch, &payload, &mut frame);
    }
    frame
}

/// Upgrades, welcomes, and defines the series that are asked for; answers how many bytes were taken.
fn answer(
    views: &Views,
    is_upgraded: &mut bool,
    view: &mut Option<usize>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, String> {
    let mut rest = input;
    if !*is_upgraded {
        let Some((head, behind)) = websocket::head(rest)? else { return Ok(0) };
        websocket::upgrade(websocket::header(head, "sec-websocket-key").ok_or("no key")?, out);
        say(
            &Message::LiveWelcome(LiveWelcome {
                epoch: 1,
                position: 0,
                server_time_us: unix_us(),
                heartbeat_interval_ms: HEARTBEAT_MS,
                subscriptions_max: 1,
                interval_ms_min: 1,
                events_epoch: 0,
                events_position: 0,
            }),
            out,
        );
        (*is_upgraded, rest) = (true, behind);
    }
    let mut payload = Vec::new();
    while let Some((kind, behind)) = websocket::split_masked(rest, &mut payload)? {
        rest = behind;
        if kind == Kind::Close {
            return Err("gone".into());
        }
        let raw = RawFrame::split(&payload, limits::FRAME_BYTES_MAX).map_err(|error| error.to_string())?;
        let Some((raw, _)) = raw else { continue };
        let decoded = Message::decode(raw.message_type(), raw.payload()).map_err(|error| error.to_string())?;
        let Some(Message::Subscribe(wish)) = decoded else { continue };
        let found = views.devices.iter().position(|devices| *devices == wish.devices).ok_or("no such view")?;
        *view = Some(found);
        let names = wish.devices.iter().flat_map(|device| (0..views.series_per_device).map(move |m| (device, m)));
        let series: Vec<Series> = (0..)
            .zip(names)
            .map(|(index, (device, metric))| Series {
                index,
                device: device.clone(),
                metric: format!("m{metric}"),
                unit: String::new(),
                metric_type: MetricType::F32,
            })
            .collect();
        let count = series.len() as u32;
        for part in series.chunks(limits::LIVE_LIST) {
            say(&Message::SeriesDef(SeriesDef { subscription: 1, series: part.to_vec(), labels: Vec::new() }), out);
        }
        say(&Message::SnapshotEnd(SnapshotEnd { subscription: 1, position: 0, series: count }), out);
    }
    Ok(input.len() - rest.len())
}

fn say(message: &Message<'_>, out: &mut Vec<u8>) {
    let mut frame = Vec::new();
    message.encode(&mut frame);
    websocket::plain(Kind::Binary, &frame, out);
}
