//! What waits for one session.

use super::ToDevice;
use pulsewire_core::command::Command;
use pulsewire_core::ids::CommandId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Most frames that wait: answers to what the device sent, and wishes to give something up.
const FRAMES_MAX: usize = 256;

/// A session's box of frames. Empty, as it mostly is, it holds no memory: there is one per connected device.
#[derive(Debug, Default)]
pub struct Outgoing {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<ToDevice>,
    // The one COMMAND that is on its way. It waits apart, since until it is on the wire it may still be called back.
    command: Option<Arc<Command>>,
}

impl Outgoing {
    /// Puts a frame in. One that finds it full is dropped: the lease, or the device's next session, makes up for it.
    pub(super) fn put(&self, frame: ToDevice) {
        if let Ok(mut waiting) = self.waiting.lock()
            && waiting.frames.len() < FRAMES_MAX
        {
            waiting.frames.push_back(frame);
        }
        self.arrived.notify_one();
    }

    /// Puts the command in that is sent now. One that was put in before and not taken is not sent any more.
    pub(super) fn put_command(&self, command: Arc<Command>) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.command = Some(command);
        }
        self.arrived.notify_one();
    }

    /// Calls a command back, if it was not taken yet.
    pub(super) fn call_back(&self, id: CommandId) {
        if let Ok(mut waiting) = self.waiting.lock()
            && waiting.command.as_ref().is_some_and(|command| command.id == id)
        {
            waiting.command = None;
        }
    }

    /// Calls back whatever was not taken: the session is over, though its socket may not know yet.
    pub(super) fn call_back_all(&self) {
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.command = None;
        }
    }

    /// Takes the oldest frame, if there is one.
    pub fn try_take(&self) -> Option<ToDevice> {
        let mut waiting = self.waiting.lock().ok()?;
        let frame = waiting.frames.pop_front();
        if waiting.frames.is_empty() {
            waiting.frames = VecDeque::new();
        }
        frame
    }

    /// Takes the command, if there is one, at the moment at which it goes to the device: one whose deadline has passed is
    /// dropped, and the lease says what becomes of it.
    pub fn try_take_command(&self, now_us: i64) -> Option<Arc<Command>> {
        let command = self.waiting.lock().ok()?.command.take();
        command.filter(|command| now_us < command.deadline_us)
    }

    /// Resolves when a frame or a command may be there. Cancel safe.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::command;
    use super::*;
    use pulsewire_core::ulid::Ulid;

    #[test]
    fn a_command_that_waited_too_long_or_was_called_back_is_not_sent() {
        let outgoing = Outgoing::default();
        let (first, second) = (Arc::new(command(1, 1)), Arc::new(command(2, 1)));
        let taken = |now_us| outgoing.try_take_command(now_us).map(|command| command.id);
        outgoing.put_command(first.clone());
        assert_eq!((taken(first.deadline_us - 1), taken(0)), (Some(first.id), None));
        outgoing.put_command(first.clone());
        assert_eq!((taken(first.deadline_us), taken(0)), (None, None));
        outgoing.put_command(first.clone());
        outgoing.call_back(second.id);
        outgoing.put_command(second.clone());
        outgoing.call_back(first.id);
        assert_eq!(taken(0), Some(second.id), "the newest is the one that is on its way");
        outgoing.put_command(first.clone());
        outgoing.call_back(first.id);
        assert_eq!(taken(0), None);
    }

    #[test]
    fn a_device_that_takes_nothing_holds_up_nobody_and_costs_a_bounded_number_of_frames() {
        let outgoing = Outgoing::default();
        for number in 0..1000 {
            outgoing.put(ToDevice::ResultAck(CommandId(Ulid::from_parts(0, number))));
        }
        let taken = std::iter::from_fn(|| outgoing.try_take()).count();
        assert_eq!((taken, outgoing.waiting.lock().expect("whole").frames.capacity()), (FRAMES_MAX, 0));
    }
}
