use std::f64::consts::TAU;

const DAY_S: f64 = 86_400.0;

/// Randomness of one device that depends on nothing but seed, device, purpose and time.
///
/// `salt` tells purposes apart: two calls with the same salt and time are equal, with different salts independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal {
    key: u64,
}

impl Signal {
    /// The signal of device `index` in the fleet with this seed.
    pub fn new(seed: u64, index: u32) -> Signal {
        Signal { key: mix(mix(seed) ^ u64::from(index)) }
    }

    /// A number in 0..1 that never changes: what makes this device differ from its siblings.
    pub fn constant(&self, salt: u64) -> f64 {
        unit(mix(self.key ^ mix(salt)))
    }

    /// White noise: a new number in −1..1 for each step of `period_s`.
    pub fn white(&self, salt: u64, period_s: f64, time_s: f64) -> f64 {
        self.lattice(salt, (time_s / period_s).floor() as i64) * 2.0 - 1.0
    }

    /// Smooth noise in −1..1 that wanders over `period_s`.
    pub fn smooth(&self, salt: u64, period_s: f64, time_s: f64) -> f64 {
        let position = time_s / period_s;
        let step = position.floor();
        let (left, right) = (self.lattice(salt, step as i64), self.lattice(salt, step as i64 + 1));
        let t = position - step;
        let eased = t * t * (3.0 - 2.0 * t);
        (left + (right - left) * eased) * 2.0 - 1.0
    }

    /// A daily cycle in −1..1, highest at `peak_hour` UTC, shifted a little per device.
    pub fn daily(&self, salt: u64, peak_hour: f64, time_s: f64) -> f64 {
        let shift_h = self.constant(salt ^ 0xDA11) * 1.5 - 0.75;
        ((time_s / DAY_S - (peak_hour + shift_h) / 24.0) * TAU).cos()
    }

    /// Whether something that happens `share` of the time is happening, decided anew every `period_s`.
    pub fn chance(&self, salt: u64, period_s: f64, share: f64, time_s: f64) -> bool {
        self.lattice(salt, (time_s / period_s).floor() as i64) < share
    }

    /// 0..1 within each window of `period_s` in which something with this share happens, else `None`: how far it is.
    pub fn episode(&self, salt: u64, period_s: f64, share: f64, time_s: f64) -> Option<f64> {
        self.chance(salt, period_s, share, time_s).then(|| (time_s / period_s).fract())
    }

    /// Rare spikes of one second: their strength in −1..1, mostly 0.
    pub fn spike(&self, salt: u64, time_s: f64) -> f64 {
        if self.chance(salt ^ 0x5B1E, 1.0, 0.0005, time_s) { self.white(salt ^ 0x5B1F, 1.0, time_s) } else { 0.0 }
    }

    pub(super) fn sensor_is_out(&self, metric: u64, time_s: f64) -> bool {
        self.chance(0x0D70 ^ (metric << 16), 45.0, 0.002, time_s)
    }

    pub(super) fn is_silent(&self, time_s: f64) -> bool {
        self.chance(0x51E7, 30.0, 0.002, time_s)
    }

    fn lattice(&self, salt: u64, step: i64) -> f64 {
        unit(mix(self.key ^ mix(salt ^ mix(step as u64))))
    }
}

/// SplitMix64's finaliser: every bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1u64 << 53) as f64
}
