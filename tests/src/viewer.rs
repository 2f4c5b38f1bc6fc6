//! A viewer on `/live`.

use crate::wait::DEADLINE;
use crate::wire::{Incoming, Wire};
use pulsewire_proto::Message;
use pulsewire_proto::frame::{
    Aggregate, AlertInfo, Close, CommandInfo, EventsResume, Gap, Heartbeat, LiveWelcome, PresenceState, Refused,
    Resume, SnapshotEnd, Subscribe,
};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

/// A sample as a viewer gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveSample {
    /// Device id.
    pub device: String,
    /// Metric name.
    pub metric: String,
    /// µs since 1970.
    pub time_us: i64,
    /// Numbers and bools.
    pub value: f64,
    /// Sent as history.
    pub history: bool,
    /// Position of its batch.
    pub position: u64,
}

/// A SUBSCRIBE for every sample of some devices, without history.
pub fn everything(subscription: u32, devices: &[&str]) -> Subscribe {
    Subscribe {
        subscription,
        devices: devices.iter().map(|id| (*id).to_owned()).collect(),
        interval_ms: 50,
        aggregate: Aggregate::Every,
        ..Subscribe::default()
    }
}

/// See the module. It checks on the way that each frame continues the one before.
pub struct Viewer {
    /// The connection.
    pub wire: Wire,
    /// The first frame.
    pub welcome: LiveWelcome,
    /// What came, in order, but for text samples.
    pub samples: Vec<LiveSample>,
    /// Text samples: device, metric, time in µs, text.
    pub texts: Vec<(String, String, i64, String)>,
    /// Ends of snapshots by subscription.
    pub snapshots: HashMap<u32, SnapshotEnd>,
    /// Gaps in the order they came.
    pub gaps: Vec<Gap>,
    /// Refusals.
    pub refused: Vec<Refused>,
    /// States of devices in the order they came.
    pub presence: Vec<(String, PresenceState)>,
    /// How alerts stood, in the order it came.
    pub alerts: Vec<AlertInfo>,
    /// Counts of EVENTS_LOST.
    pub events_lost: Vec<u64>,
    /// Position in the lossless lane.
    pub lane: u64,
    /// How commands stand, in the order it came.
    pub commands: Vec<CommandInfo>,
    series: HashMap<(u32, u32), (String, String)>,
    last: HashMap<u32, u64>,
}

impl Viewer {
    /// Connects with a bearer token; a refusal is status and body.
    pub fn try_connect(http: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, (u16, String)> {
        let upgraded = Wire::upgrade(http, "/live", headers);
        Ok(Self::new(upgraded.map_err(|(status, text)| (status.as_u16(), text))?))
    }

    /// Connects with a small receive buffer: what it does not read soon waits at the server.
    pub fn connect_narrow(http: SocketAddr, token: &str) -> Self {
        Self::new(Wire::upgrade_narrow(http, "/live", &[("authorization", &format!("Bearer {token}"))]))
    }

    fn new(mut wire: Wire) -> Self {
        let first = wire.frame();
        let Message::LiveWelcome(welcome) = first.message() else { panic!("{first:?} is not LIVE_WELCOME") };
        Self {
            wire,
            samples: Vec::new(),
            texts: Vec::new(),
            snapshots: HashMap::new(),
            gaps: Vec::new(),
            refused: Vec::new(),
            presence: Vec::new(),
            alerts: Vec::new(),
            events_lost: Vec::new(),
            lane: welcome.events_position,
            commands: Vec::new(),
            series: HashMap::new(),
            last: HashMap::new(),
            welcome,
        }
    }

    /// Goes on in the lossless lane.
    pub fn resume_lane(&mut self, epoch: u64, position: u64) {
        self.lane = position;
        self.wire.send_message(&Message::EventsResume(EventsResume { epoch, position }));
    }

    fn follow_lane(&mut self, previous: u64, position: u64) {
        if position == 0 {
            return;
        }
        assert_eq!(previous, self.lane, "changes before position {position} of the lane are missing");
        assert!(position > previous, "the lane went back from {previous} to {position}");
        self.lane = position;
    }

    /// Connects with a bearer token.
    pub fn connect(http: SocketAddr, token: &str) -> Self {
        let connected = Self::try_connect(http, &[("authorization", &format!("Bearer {token}"))]);
        connected.unwrap_or_else(|(status, text)| panic!("/live refused with {status}: {text}"))
    }

    /// Sends SUBSCRIBE and waits for the end of the snapshot.
    pub fn subscribe(&mut self, wish: &Subscribe) -> SnapshotEnd {
        self.ask(wish);
        let number = wish.subscription;
        self.until("SNAPSHOT_END", |viewer| {
            assert!(viewer.refused.is_empty(), "{:?}", viewer.refused);
            viewer.snapshots.get(&number).cloned()
        })
    }

    /// Sends SUBSCRIBE.
    pub fn ask(&mut self, wish: &Subscribe) {
        if let Some(Resume { position, .. }) = wish.resume {
            self.last.insert(wish.subscription, position);
        }
        self.wire.send_message(&Message::Subscribe(wish.clone()));
    }

    /// Reads until there is an answer.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(answer) = ask(self) {
                return answer;
            }
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
            if let Err(close) = self.read() {
                panic!("closed with {close:?} while {what} was awaited");
            }
        }
    }

    /// Takes one frame; an error is the CLOSE, or None if the connection ended without.
    pub fn read(&mut self) -> Result<(), Option<Close>> {
        let frame = match self.wire.receive() {
            Incoming::Frame(frame) => frame,
            Incoming::End(_) | Incoming::Broken(_) => return Err(None),
        };
        match frame.message() {
            Message::Close(close) => return Err(Some(close)),
            Message::Heartbeat(_) => {
                self.wire.send_message(&Message::Heartbeat(Heartbeat { time_us: 0, position: 0, visible: false }));
            }
            Message::SeriesDef(def) => {
                for one in def.series {
                    let known = self.series.insert((def.subscription, one.index), (one.device, one.metric));
                    assert_eq!(known, None, "series {} is defined twice", one.index);
                }
            }
            Message::Batch(batch) => {
                self.advance(batch.subscription, batch.previous, batch.position);
                for sample in batch.samples() {
                    let (device, metric) = self.series[&(batch.subscription, sample.series)].clone();
                    let (time_us, value) = (sample.time_us, sample.value);
                    let (history, position) = (batch.history(), batch.position);
                    self.samples.push(LiveSample { device, metric, time_us, value, history, position });
                }
            }
            Message::Texts(texts) => {
                self.advance(texts.subscription, texts.previous, texts.position);
                for one in texts.items {
                    let (device, metric) = self.series[&(texts.subscription, one.series)].clone();
                    self.texts.push((device, metric, one.time_us, one.text));
                }
            }
            Message::Gap(gap) => {
                self.last.insert(gap.subscription, gap.to_position);
                self.gaps.push(gap);
            }
            Message::SnapshotEnd(end) => {
                let defined = self.series.keys().filter(|(number, _)| *number == end.subscription).count();
                assert_eq!(end.series as usize, defined, "series of subscription {}", end.subscription);
                self.last.insert(end.subscription, end.position);
                self.snapshots.insert(end.subscription, end);
            }
            Message::Presence(presence) => {
                self.follow_lane(presence.previous, presence.position);
                self.presence.extend(presence.devices.into_iter().map(|one| (one.device, one.state)));
            }
            Message::Refused(refused) => self.refused.push(refused),
            Message::Alert(alert) => {
                self.follow_lane(alert.previous, alert.position);
                self.alerts.extend(alert.alerts);
            }
            Message::EventsLost(lost) => {
                self.lane = lost.position;
                self.events_lost.push(lost.count);
            }
            Message::CommandState(state) => {
                self.follow_lane(state.previous, state.position);
                self.commands.extend(state.commands);
            }
            other => panic!("{other:?} is not for a viewer"),
        }
        Ok(())
    }

    fn advance(&mut self, subscription: u32, previous: u64, position: u64) {
        let last = self.last.get(&subscription).copied().unwrap_or(0);
        assert_eq!(previous, last, "what was sent before position {position} is missing");
        assert!(position >= previous, "position went back from {previous} to {position}");
        self.last.insert(subscription, position);
    }

    /// Position of the last frame of a subscription.
    pub fn position(&self, subscription: u32) -> u64 {
        self.last.get(&subscription).copied().unwrap_or(0)
    }

    /// Times and values of one series, in the order they came.
    pub fn values(&self, device: &str, metric: &str) -> Vec<(i64, f64)> {
        let of_series = self.samples.iter().filter(|s| s.device == device && s.metric == metric);
        of_series.map(|s| (s.time_us, s.value)).collect()
    }

    /// Says that the page is visible.
    pub fn look(&mut self) {
        self.wire.send_message(&Message::Heartbeat(Heartbeat { time_us: 0, position: 0, visible: true }));
    }

    /// Reads on to the CLOSE and checks that the WebSocket says the same.
    pub fn expect_close(&mut self) -> Close {
        let close = loop {
            match self.read() {
                Ok(()) => {}
                Err(Some(close)) => break close,
                Err(None) => panic!("the connection ended without CLOSE"),
            }
        };
        assert_eq!(self.wire.receive(), Incoming::End(Some(close.code)), "code of the WebSocket");
        close
    }
}
