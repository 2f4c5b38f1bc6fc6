//! What waits for one session.

use super::ToDevice;
use std::collections::VecDeque;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Most frames that wait. Of COMMAND there is one at a time; the others answer what the device sent.
const FRAMES_MAX: usize = 64;

/// A session's box of frames. Empty, as it mostly is, it holds no memory: there is one per connected device.
#[derive(Debug, Default)]
pub struct Outgoing {
    frames: Mutex<VecDeque<ToDevice>>,
    arrived: Notify,
}

impl Outgoing {
    /// Puts a frame in. One that finds it full is dropped: the lease, or the device's next session, makes up for it.
    pub(super) fn put(&self, frame: ToDevice) {
        if let Ok(mut frames) = self.frames.lock()
            && frames.len() < FRAMES_MAX
        {
            frames.push_back(frame);
        }
        self.arrived.notify_one();
    }

    /// Takes the oldest frame, if there is one.
    pub fn try_take(&self) -> Option<ToDevice> {
        let mut frames = self.frames.lock().ok()?;
        let frame = frames.pop_front();
        if frames.is_empty() {
            *frames = VecDeque::new();
        }
        frame
    }

    /// Resolves when a frame may be there. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulsewire_core::ids::CommandId;
    use pulsewire_core::ulid::Ulid;

    #[test]
    fn a_device_that_takes_nothing_holds_up_nobody_and_costs_a_bounded_number_of_frames() {
        let outgoing = Outgoing::default();
        for number in 0..1000 {
            outgoing.put(ToDevice::ResultAck(CommandId(Ulid::from_parts(0, number))));
        }
        let taken = std::iter::from_fn(|| outgoing.try_take()).count();
        assert_eq!((taken, outgoing.frames.lock().expect("whole").capacity()), (FRAMES_MAX, 0));
    }
}
