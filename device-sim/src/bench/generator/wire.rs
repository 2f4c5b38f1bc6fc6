use super::{Acks, Reading};

/// One connection's protocol: bytes in both directions. Errors are for people and end the connection.
pub(in super::super) trait Wire: Send {
    /// What to say first.
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), String>;

    /// Whether messages may be sent.
    fn is_ready(&self) -> bool;

    /// Takes what arrived, from the front, and says how many bytes; the rest comes again with what follows it. Answers
    /// that the protocol asks for go to `out`.
    fn receive(&mut self, input: &[u8], acks: &mut Acks<'_>, out: &mut Vec<u8>) -> Result<usize, String>;

    /// Appends the message with this number; the first is 1 and each further one is one more.
    fn message(&mut self, sequence: u64, reading: &Reading<'_>, out: &mut Vec<u8>);

    /// What to say last: nothing, unless the protocol has a farewell.
    fn end(&mut self, _out: &mut Vec<u8>) {}
}
