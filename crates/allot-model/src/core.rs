//! What every core is: a state machine that is given inputs and the time, and leaves outputs behind.

use crate::time::Time;

/// A pure state machine. It has no clock, no random source and no I/O: a shell or the simulator gives it inputs
/// and carries out its outputs, in order.
pub trait Core {
    /// Everything that can happen to it.
    type Input;
    /// Everything it can want done. Outputs that follow a record to be appended are carried out only once the
    /// append is acknowledged.
    type Output;

    /// Takes one input. Never fails: bad input becomes a rejection among the outputs.
    fn handle(&mut self, now: Time, input: Self::Input, out: &mut Vec<Self::Output>);

    /// Does what has become due by `now`. Harmless when nothing has.
    fn wake(&mut self, now: Time, out: &mut Vec<Self::Output>);

    /// When it next wants [`Core::wake`] to be called, and what for.
    fn next_wake(&self) -> Option<(Time, &'static str)>;
}

/// Where an answer to a request goes: opaque to cores, made and understood by the shell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub std::sync::Arc<str>);
