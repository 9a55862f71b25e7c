//! An allocator: the engine, driven as `allot_allocator::serve` drives it.

use std::sync::Arc;

use allot_engine::{Engine, Input, Output, Policy};
use allot_model::{AllocatorMessage, Core, FromAllocator, InstanceId, Time};

use crate::message::{Message, Party, To};
use crate::process::{Act, Heard, Process};

pub(crate) struct Allocator {
    me: InstanceId,
    engine: Engine,
}

/// The name of an allocator that runs on that node.
pub(crate) fn instance_of(party: Party) -> InstanceId {
    InstanceId::new(&format!("a{}-{}", party.node.0, party.life)).expect("letters, digits and a dash")
}

impl Allocator {
    pub(crate) fn new(me: Party, policy: Policy) -> Self {
        let me = instance_of(me);
        Self { me: me.clone(), engine: Engine::new(me, policy) }
    }

    fn say(&self, messages: Vec<AllocatorMessage>) -> Act {
        let said = FromAllocator { instance: self.me.clone(), messages };
        Act::Send(To::Offers, Message::Allocator(said))
    }
}

impl Process for Allocator {
    fn boot(&mut self, now: Time, acts: &mut Vec<Act>) {
        self.wake(now, acts);
    }

    fn hear(&mut self, now: Time, heard: Heard, _acts: &mut Vec<Act>) {
        if let Heard::Message(_, message) = heard
            && let Message::Feed(feed) = Arc::unwrap_or_clone(message)
        {
            self.engine.handle(now, Input::Feed(feed), &mut Vec::new());
        }
    }

    fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        let mut out = Vec::new();
        self.engine.wake(now, &mut out);
        let mut messages = Vec::new();
        for output in out {
            match output {
                Output::Hello => {
                    acts.push(self.say(vec![AllocatorMessage::Hello(self.engine.presence())]));
                }
                Output::Say(message) => messages.push(message),
            }
        }
        if !messages.is_empty() {
            acts.push(self.say(messages));
        }
    }

    fn next_wake(&self) -> Option<Time> {
        self.engine.next_wake().map(|(at, _)| at)
    }
}
