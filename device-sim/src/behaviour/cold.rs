//! What commands and a fault do to a cold room's temperature.

/// A temperature on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ramp {
    from: f64,
    to: f64,
    start_us: i64,
    per_s: f64,
}

impl Ramp {
    fn at(&self, time_us: i64) -> f64 {
        let moved = self.per_s * (time_us.saturating_sub(self.start_us) as f64 / 1e6).max(0.0);
        let distance = self.to - self.from;
        self.from + distance.signum() * moved.min(distance.abs())
    }

    fn takes_s(&self) -> f64 {
        (self.to - self.from).abs() / self.per_s
    }
}

/// A cold room's compressor and door.
#[derive(Debug, Clone, PartialEq)]
pub struct ColdRoom {
    target: f64,
    ramp: Ramp,
    fault: Fault,
    /// Until when a door that was open stays closed.
    door_closed_until_us: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    Tripped,
    /// It runs without a rest until then, in µs since 1970.
    Restarted(i64),
}

impl ColdRoom {
    /// What a freezer holds, in °C.
    pub const FREEZER: f64 = -20.0;
    /// Where a room without a compressor ends up.
    const WARM: f64 = 8.0;
    /// °C per second: by itself, towards a new target, and with a compressor that has catching up to do.
    const WARMS: f64 = 0.7;
    const FOLLOWS: f64 = 1.0;
    const CATCHES_UP: f64 = 1.8;
    /// How much colder than asked it gets at first after a restart, and for how long it runs without a rest.
    const OVERSHOOT: f64 = 1.5;
    const CATCHES_UP_US: i64 = 90_000_000;
    /// As long as a door stays open at most.
    const DOOR_US: i64 = 120_000_000;

    /// A room that holds its target.
    pub fn new(target: f64) -> ColdRoom {
        let ramp = Ramp { from: target, to: target, start_us: 0, per_s: ColdRoom::FOLLOWS };
        ColdRoom { target, ramp, fault: Fault::None, door_closed_until_us: 0 }
    }

    /// What it holds at this time, before doors and cycles.
    pub fn level(&self, time_us: i64) -> f64 {
        self.ramp.at(time_us)
    }

    /// The compressor stands still since then; once.
    pub fn trip(&mut self, at_us: i64) {
        if self.fault == Fault::None {
            self.fault = Fault::Tripped;
            self.go(at_us, ColdRoom::WARM, ColdRoom::WARMS);
        }
    }

    /// Whether the compressor stands still and will not start by itself.
    pub fn has_tripped(&self) -> bool {
        self.fault == Fault::Tripped
    }

    /// Whether the compressor runs without a rest.
    pub fn is_catching_up(&self, time_us: i64) -> bool {
        matches!(self.fault, Fault::Restarted(until_us) if time_us < until_us)
    }

    /// The compressor runs again.
    pub fn restart(&mut self, at_us: i64) {
        if self.has_tripped() {
            self.fault = Fault::Restarted(at_us.saturating_add(ColdRoom::CATCHES_UP_US));
            self.go(at_us, self.target - ColdRoom::OVERSHOOT, ColdRoom::CATCHES_UP);
        }
    }

    /// Another target; how many seconds it takes to get there.
    pub fn set_target(&mut self, now_us: i64, celsius: f64) -> f64 {
        self.target = celsius;
        self.go(now_us, celsius, ColdRoom::FOLLOWS);
        self.ramp.takes_s()
    }

    /// Stays where it is, unless the compressor has tripped: then nothing holds it.
    pub fn hold(&mut self, now_us: i64) {
        if !self.has_tripped() {
            let level = self.level(now_us);
            self.target = level;
            self.go(now_us, level, ColdRoom::FOLLOWS);
        }
    }

    /// Closes the door that may be open.
    pub fn close_door(&mut self, at_us: i64) {
        self.door_closed_until_us = at_us.saturating_add(ColdRoom::DOOR_US);
    }

    /// Whether the door was closed lately and stays so.
    pub fn keeps_door_closed(&self, time_us: i64) -> bool {
        time_us < self.door_closed_until_us
    }

    fn go(&mut self, now_us: i64, to: f64, per_s: f64) {
        self.ramp = Ramp { from: self.level(now_us), to, start_us: now_us, per_s };
    }
}
