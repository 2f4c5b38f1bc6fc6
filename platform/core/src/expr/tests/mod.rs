//! Tests of the whole language; those of one part stand with it.

mod documented;
mod errors;
mod language;
mod next;
mod roundtrip;
mod stored;
mod windows;

use super::{Expr, ExprError, Memory, Moment, Program, Truth};
use crate::block::ValueRef;
use crate::device::Device;
use crate::ids::{DeviceId, DeviceKey, GroupName};
use std::collections::BTreeMap;

const SECOND: i64 = 1_000_000;

fn device() -> Device {
    let tags = [("limit", "21.7"), ("zone", "cellar"), ("odd", " 12 "), ("huge", "1e999")];
    Device {
        key: DeviceKey(1),
        id: DeviceId::parse("pump-7").expect("valid"),
        name: "Pump 7".into(),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        group: Some(GroupName::parse("north").expect("valid")),
        profile: None,
        enabled: true,
        created_us: 0,
        last_seen_us: None,
        firmware: Some("1.4.2".into()),
    }
}

fn program(texts: &[&str]) -> Program {
    try_program(texts).unwrap_or_else(|error| panic!("{texts:?}: {error}"))
}

fn try_program(texts: &[&str]) -> Result<Program, ExprError> {
    let exprs: Vec<_> = texts.iter().map(|text| Expr::parse(text)).collect::<Result<_, _>>()?;
    Program::new(&exprs)
}

/// A program on one device, with virtual time.
struct World {
    program: Program,
    memory: Memory,
    device: Device,
    staleness_us: Option<i64>,
}

impl World {
    fn new(texts: &[&str]) -> Self {
        let program = program(texts);
        Self { memory: Memory::new(&program), program, device: device(), staleness_us: None }
    }

    fn input(&self, metric: &str) -> usize {
        self.program.metrics().iter().position(|own| own.as_str() == metric).expect("a metric of the program")
    }

    fn see(&mut self, metric: &str, time_us: i64, value: ValueRef<'_>) {
        let input = self.input(metric);
        self.memory.observe(&self.program, input, time_us, value, false);
    }

    fn see_f32(&mut self, metric: &str, time_us: i64, value: f32) {
        let input = self.input(metric);
        self.memory.observe(&self.program, input, time_us, ValueRef::F64(f64::from(value)), true);
    }

    fn moment(&self, now_us: i64) -> Moment<'_> {
        Moment { now_us, staleness_us: self.staleness_us, device: &self.device }
    }

    fn judge(&self, now_us: i64) -> Truth {
        self.memory.judge(&self.program, 0, &self.moment(now_us))
    }

    fn next(&self, now_us: i64) -> Option<i64> {
        self.memory.next_us(&self.program, &self.moment(now_us))
    }
}

/// The outcome of a predicate over a fixed set of values, of which metrics not named here are absent.
fn truth(text: &str) -> Truth {
    let values: BTreeMap<&str, ValueRef<'_>> = [
        ("temp", ValueRef::F64(85.0)),
        ("humidity", ValueRef::F64(15.0)),
        ("x", ValueRef::F64(2.0)),
        ("y", ValueRef::I64(-7)),
        ("zero", ValueRef::F64(0.0)),
        ("nan", ValueRef::F64(f64::NAN)),
        ("infinite", ValueRef::F64(f64::INFINITY)),
        ("door_open", ValueRef::Bool(true)),
        ("locked", ValueRef::Bool(false)),
        ("mode", ValueRef::Text("defrost")),
        ("state", ValueRef::I64(3)),
        ("room temp", ValueRef::F64(19.5)),
        ("min", ValueRef::F64(4.0)),
        ("lat", ValueRef::F64(48.137)),
        ("lon", ValueRef::F64(11.575)),
    ]
    .into();
    let mut world = World::new(&[text]);
    for metric in world.program.metrics().to_vec() {
        if let Some(value) = values.get(metric.as_str()) {
            world.see(metric.as_str(), SECOND, *value);
        }
    }
    world.judge(SECOND)
}
