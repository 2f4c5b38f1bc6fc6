use pulsewire_proto::{Metric, MetricSet, MetricType, Value};

use super::{Condition, Signal, machine::Drive};

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A cold store: compressor cycles, door openings, defrosts.
    ColdRoom,
    /// A pump under changing demand, whose bearing wears.
    Pump,
    /// Weather through the day.
    WeatherStation,
    /// An office with people in it by day.
    RoomSensor,
    /// An electric vehicle that is driven and charged.
    VehicleBattery,
}

/// Name, unit and type of a metric, and what its values stay between.
type Column = (&'static str, &'static str, MetricType, f64, f64);

const COLD_ROOM: &[Column] = &[
    ("temperature", "°C", MetricType::F32, -35.0, 15.0),
    ("humidity", "%", MetricType::F32, 0.0, 100.0),
    ("compressor_power", "W", MetricType::F32, 0.0, 3000.0),
    ("door_open", "", MetricType::Bool, 0.0, 1.0),
    ("defrost", "", MetricType::Bool, 0.0, 1.0),
];

const PUMP: &[Column] = &[
    ("flow", "m³/h", MetricType::F32, 0.0, 140.0),
    ("pressure", "bar", MetricType::F32, 0.0, 12.0),
    ("vibration", "mm/s", MetricType::F32, 0.0, 25.0),
    ("motor_temperature", "°C", MetricType::F32, 5.0, 110.0),
    ("speed", "rpm", MetricType::I64, 0.0, 3200.0),
    ("running", "", MetricType::Bool, 0.0, 1.0),
];

const WEATHER_STATION: &[Column] = &[
    ("temperature", "°C", MetricType::F32, -30.0, 45.0),
    ("humidity", "%", MetricType::F32, 0.0, 100.0),
    ("pressure", "hPa", MetricType::F64, 960.0, 1060.0),
    ("wind_speed", "m/s", MetricType::F32, 0.0, 40.0),
    ("wind_direction", "°", MetricType::I64, 0.0, 359.0),
    ("rain", "mm/h", MetricType::F32, 0.0, 40.0),
    ("irradiance", "W/m²", MetricType::F32, 0.0, 1200.0),
];

const ROOM_SENSOR: &[Column] = &[
    ("temperature", "°C", MetricType::F32, 10.0, 35.0),
    ("humidity", "%", MetricType::F32, 0.0, 100.0),
    ("co2", "ppm", MetricType::I64, 350.0, 3000.0),
    ("light", "lx", MetricType::F32, 0.0, 1200.0),
    ("sound", "dB", MetricType::F32, 20.0, 95.0),
    ("occupied", "", MetricType::Bool, 0.0, 1.0),
];

const VEHICLE_BATTERY: &[Column] = &[
    ("soc", "%", MetricType::F32, 0.0, 100.0),
    ("voltage", "V", MetricType::F32, 300.0, 420.0),
    ("current", "A", MetricType::F32, -200.0, 300.0),
    ("battery_temperature", "°C", MetricType::F32, -20.0, 60.0),
    ("speed", "km/h", MetricType::F32, 0.0, 140.0),
    ("latitude", "°", MetricType::F64, 52.0, 53.0),
    ("longitude", "°", MetricType::F64, 13.0, 14.0),
    ("state", "", MetricType::Text, 0.0, 0.0),
    ("locked", "", MetricType::Bool, 0.0, 1.0),
];

impl Profile {
    /// All profiles, in the order in which a fleet's devices take them.
    pub const ALL: [Profile; 5] =
        [Profile::ColdRoom, Profile::Pump, Profile::WeatherStation, Profile::RoomSensor, Profile::VehicleBattery];

    /// The tag `kind`.
    pub const fn kind(self) -> &'static str {
        match self {
            Profile::ColdRoom => "cold-room",
            Profile::Pump => "pump",
            Profile::WeatherStation => "weather-station",
            Profile::RoomSensor => "room-sensor",
            Profile::VehicleBattery => "vehicle-battery",
        }
    }

    /// For names.
    pub const fn title(self) -> &'static str {
        match self {
            Profile::ColdRoom => "Cold room",
            Profile::Pump => "Pump",
            Profile::WeatherStation => "Weather station",
            Profile::RoomSensor => "Room sensor",
            Profile::VehicleBattery => "Vehicle battery",
        }
    }

    /// The group of these devices.
    pub const fn group(self) -> &'static str {
        match self {
            Profile::ColdRoom => "cold-rooms",
            Profile::Pump => "pumps",
            Profile::WeatherStation => "weather",
            Profile::RoomSensor => "rooms",
            Profile::VehicleBattery => "vehicles",
        }
    }

    /// The metrics, as set 0.
    pub fn metric_set(self) -> MetricSet {
        let metrics = self.columns().iter().map(|(name, unit, kind, ..)| Metric::new(*name, *unit, *kind));
        MetricSet { set: 0, metrics: metrics.collect() }
    }

    /// What the values of a metric stay between, spikes included.
    pub fn plausible(self, metric: &str) -> (f64, f64) {
        let column = self.columns().iter().find(|column| column.0 == metric);
        column.map_or((f64::MIN, f64::MAX), |column| (column.3, column.4))
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Profile::ColdRoom => COLD_ROOM,
            Profile::Pump => PUMP,
            Profile::WeatherStation => WEATHER_STATION,
            Profile::RoomSensor => ROOM_SENSOR,
            Profile::VehicleBattery => VEHICLE_BATTERY,
        }
    }

    pub(super) fn values(self, signal: &Signal, time_us: i64, condition: &Condition) -> Vec<Value<'static>> {
        let time_s = time_us as f64 / 1e6;
        match self {
            Profile::ColdRoom => cold_room(signal, time_us, condition),
            Profile::Pump => pump(signal, time_s, condition.drive),
            Profile::WeatherStation => weather_station(signal, time_s),
            Profile::RoomSensor => room_sensor(signal, time_s, time_us < condition.identify_until_us),
            Profile::VehicleBattery => vehicle_battery(signal, time_s, condition.locked),
        }
    }
}

/// A value between the metric's bounds, with the digits that such a sensor has.
fn f32_value(value: f64, low: f64, high: f64, step: f64) -> Value<'static> {
    Value::F32(((value.clamp(low, high) / step).round() * step) as f32)
}

/// What a cold room holds, in °C.
pub(super) fn setpoint(s: &Signal) -> f64 {
    if s.constant(10) < 0.5 { -20.0 } else { 4.0 }
}

/// How far through its opening a cold room's door is, if it is open.
pub(super) fn door(s: &Signal, t: f64) -> Option<f64> {
    s.episode(13, 120.0, 0.03 + 0.05 * s.daily(14, 11.0, t).max(0.0), t)
}

fn cold_room(s: &Signal, time_us: i64, condition: &Condition) -> Vec<Value<'static>> {
    let t = time_us as f64 / 1e6;
    let room = condition.cold.as_ref();
    let (tripped, catching_up) =
        (room.is_some_and(|room| room.has_tripped()), room.is_some_and(|room| room.is_catching_up(time_us)));
    let level = room.map_or_else(|| setpoint(s), |room| room.level(time_us));
    let cycle_s = 900.0 + 600.0 * s.constant(11);
    let phase = (t / cycle_s + s.constant(12)).fract();
    let cooling = (phase < 0.4 && !tripped) || catching_up;
    // Warms up while the compressor rests, cools down while it runs.
    let ripple = if tripped || catching_up {
        0.0
    } else if cooling {
        1.0 - phase / 0.4
    } else {
        (phase - 0.4) / 0.6
    };
    let door = door(s, t).filter(|_| room.is_none_or(|room| !room.keeps_door_closed(time_us)));
    let defrost = s.episode(15, 1800.0, 0.04, t).filter(|_| !tripped && !catching_up);
    let warmth =
        door.map_or(0.0, |x| 2.5 * (1.0 - (2.0 * x - 1.0).abs())) + defrost.map_or(0.0, |x| 4.0 * x * (1.0 - x));
    let temperature = level
        + ripple * 1.6
        + warmth
        + 0.4 * s.smooth(16, 7200.0, t)
        + 0.05 * s.white(17, 1.0, t)
        + 5.0 * s.spike(18, t);
    let humidity = 78.0 + 8.0 * s.smooth(19, 3600.0, t) + warmth * 3.0;
    let running = cooling && defrost.is_none();
    let power = if running { 1400.0 + 250.0 * s.smooth(20, 60.0, t) } else { 8.0 + s.white(21, 1.0, t) };
    vec![
        f32_value(temperature, -35.0, 15.0, 0.01),
        f32_value(humidity, 0.0, 100.0, 0.1),
        f32_value(power, 0.0, 3000.0, 1.0),
        Value::Bool(door.is_some()),
        Value::Bool(defrost.is_some()),
    ]
}

fn pump(s: &Signal, t: f64, drive: Drive) -> Vec<Value<'static>> {
    let demand = 0.62 + 0.22 * s.daily(31, 18.0, t) + 0.12 * s.smooth(32, 600.0, t);
    let (running, wanted) = match drive {
        Drive::Demand => (!s.chance(30, 1200.0, 0.12, t), demand),
        Drive::Fixed(share) => (true, share),
        Drive::Stopped => (false, 0.0),
    };
    let load = if running { wanted.clamp(0.1, 1.0) } else { 0.0 };
    // The bearing wears over weeks, and is replaced.
    let wear = (t / (21.0 * 86_400.0) + s.constant(33)).fract();
    let jitter = s.white(34, 1.0, t);
    let vibration = if running { 1.2 + 5.0 * wear * wear + 1.5 * load + 0.2 * jitter } else { 0.1 + 0.02 * jitter };
    vec![
        f32_value(load * 120.0 * (1.0 + 0.01 * jitter), 0.0, 140.0, 0.1),
        f32_value(load * (7.5 - 2.0 * load) + 0.02 * jitter + 0.8, 0.0, 12.0, 0.01),
        f32_value(vibration + 8.0 * s.spike(35, t).abs(), 0.0, 25.0, 0.01),
        f32_value(28.0 + 45.0 * load + 6.0 * s.daily(36, 15.0, t) + 2.0 * s.smooth(37, 1800.0, t), 5.0, 110.0, 0.1),
        Value::I64(if running { (2900.0 * (0.75 + 0.25 * load) + 6.0 * jitter) as i64 } else { 0 }),
        Value::Bool(running),
    ]
}

fn weather_station(s: &Signal, t: f64) -> Vec<Value<'static>> {
    let sun = s.daily(40, 12.0, t).max(0.0);
    let clouds = 0.5 + 0.5 * s.smooth(41, 5400.0, t);
    let front = s.smooth(42, 2.5 * 86_400.0, t);
    let temperature =
        11.0 + 6.0 * front + 5.0 * s.daily(43, 15.0, t) - 2.0 * clouds * sun + 0.3 * s.smooth(44, 300.0, t);
    let raining = clouds > 0.75 && front < 0.3;
    let rain = if raining { (clouds - 0.75) * 30.0 * (0.6 + 0.4 * s.smooth(45, 120.0, t)) } else { 0.0 };
    let wind = 4.0 - 3.0 * front + 2.0 * s.smooth(46, 900.0, t) + 1.0 * s.smooth(47, 5.0, t);
    let direction = (200.0 + 120.0 * front + 25.0 * s.smooth(48, 30.0, t)).rem_euclid(360.0);
    vec![
        f32_value(temperature + 0.05 * s.white(49, 1.0, t) + 6.0 * s.spike(50, t), -30.0, 45.0, 0.1),
        f32_value(72.0 - 2.0 * (temperature - 11.0) + 18.0 * (clouds - 0.5), 5.0, 100.0, 0.1),
        Value::F64(((1013.0 + 14.0 * front + 1.5 * s.smooth(51, 3600.0, t)) * 100.0).round() / 100.0),
        f32_value(wind, 0.0, 40.0, 0.1),
        Value::I64(direction as i64),
        f32_value(rain, 0.0, 40.0, 0.1),
        f32_value(900.0 * sun * (1.0 - 0.75 * clouds) + 3.0 * s.white(52, 1.0, t) * sun, 0.0, 1200.0, 0.1),
    ]
}

fn room_sensor(s: &Signal, t: f64, identifying: bool) -> Vec<Value<'static>> {
    let day = (t / 86_400.0).floor();
    // 1970-01-01 was a Thursday.
    let weekend = matches!((day as i64 + 4).rem_euclid(7), 0 | 6);
    let busy = if weekend { 0.05 } else { 0.75 };
    let daytime = s.daily(60, 12.5, t).max(0.0);
    let people = |at: f64| daytime > 0.15 && s.chance(61, 1800.0, busy, at);
    let occupied = people(t);
    // CO₂ follows the people of the last half hour, not of the moment.
    let recent = (0..6).filter(|step| people(t - f64::from(*step) * 300.0)).count() as f64 / 6.0;
    let co2 = 430.0
        + 750.0 * recent * (0.7 + 0.3 * s.constant(62))
        + 40.0 * s.smooth(63, 600.0, t)
        + 4.0 * s.white(64, 1.0, t);
    let lamps = if occupied { 340.0 + 15.0 * s.smooth(65, 60.0, t) } else { 2.0 + s.white(66, 1.0, t).abs() };
    // It blinks, a second on and a second off.
    let blinking = if identifying && (t.floor() as i64) % 2 == 0 { 400.0 } else { 0.0 };
    vec![
        f32_value(
            20.5 + 1.2 * daytime + 1.1 * recent + 0.5 * s.smooth(67, 3600.0, t) + 0.03 * s.white(68, 1.0, t),
            10.0,
            35.0,
            0.01,
        ),
        f32_value(44.0 + 6.0 * recent + 6.0 * s.smooth(69, 5400.0, t), 0.0, 100.0, 0.1),
        Value::I64(co2.clamp(350.0, 3000.0) as i64),
        f32_value(lamps + blinking + 250.0 * daytime * (0.6 + 0.4 * s.smooth(70, 1200.0, t)), 0.0, 1200.0, 0.1),
        f32_value(
            34.0 + if occupied { 14.0 } else { 0.0 } + 4.0 * s.smooth(71, 4.0, t) + 25.0 * s.spike(72, t).abs(),
            20.0,
            95.0,
            0.1,
        ),
        Value::Bool(occupied),
    ]
}

/// A vehicle is driven for this share of each day's cycle, and charged for the rest.
const DRIVING_PART: f64 = 2.0 / 3.0;

fn vehicle_phase(s: &Signal, t: f64) -> f64 {
    (t / 86_400.0 + s.constant(80)).fract()
}

/// In km/h; 0 while it stands.
pub(super) fn vehicle_speed(s: &Signal, t: f64) -> f64 {
    let stopped = s.chance(81, 300.0, 0.35, t);
    if vehicle_phase(s, t) >= DRIVING_PART || stopped {
        return 0.0;
    }
    (55.0 + 30.0 * s.smooth(82, 120.0, t) + 6.0 * s.smooth(83, 8.0, t)).max(0.0)
}

fn vehicle_battery(s: &Signal, t: f64, locked: Option<bool>) -> Vec<Value<'static>> {
    let (phase, driving_part) = (vehicle_phase(s, t), DRIVING_PART);
    let charging = phase >= driving_part;
    let speed = vehicle_speed(s, t);
    let (full, empty) = (95.0, 18.0);
    let soc = if charging {
        empty + (full - empty) * ((phase - driving_part) / (1.0 - driving_part)).min(1.0)
    } else {
        full - (full - empty) * phase / driving_part
    };
    let current = if charging {
        -32.0 - s.white(84, 1.0, t)
    } else {
        speed * 1.1 + 18.0 * s.smooth(85, 5.0, t) * f64::from(u8::from(speed > 0.0))
    };
    let position = |salt: u64| 0.04 * s.smooth(salt, 3600.0, t) + 0.02 * s.smooth(salt + 1, 900.0, t);
    let state = if charging {
        "charging"
    } else if speed > 0.0 {
        "driving"
    } else {
        "parked"
    };
    vec![
        f32_value(soc + 0.05 * s.white(86, 1.0, t), 0.0, 100.0, 0.1),
        f32_value(330.0 + 0.62 * soc - 0.05 * current + 0.2 * s.white(87, 1.0, t), 300.0, 420.0, 0.1),
        f32_value(current, -200.0, 300.0, 0.1),
        f32_value(
            22.0 + 0.06 * current.abs() + 4.0 * s.daily(88, 15.0, t) + 0.5 * s.smooth(89, 900.0, t),
            -20.0,
            60.0,
            0.1,
        ),
        f32_value(speed, 0.0, 140.0, 0.1),
        Value::F64(((52.45 + 0.1 * s.constant(90) + position(91)) * 1e6).round() / 1e6),
        Value::F64(((13.30 + 0.2 * s.constant(93) + position(94)) * 1e6).round() / 1e6),
        Value::Text(state),
        // Whoever drives has unlocked it; whoever leaves locks it, unless told otherwise.
        Value::Bool(speed == 0.0 && locked.unwrap_or(true)),
    ]
}
