//! What the tests of crashes and failures share: a disk that fails, and a fleet with a model of what must be stored.

pub mod disk;
pub mod world;
