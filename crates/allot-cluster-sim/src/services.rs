//! The edges between the cores that write to the ledger and the modelled bus, as each service's `edge.rs` has them.

use std::fmt::Debug;

use allot_dispatcher_core::{self as dispatcher, DispatcherCore, Submission};
use allot_model::{AgentUse, AgentsQuery, Answer, Core, Entry, Epoch, Record, StateItem, Time, Writer};
use allot_offers_core::{self as offers, OffersCore};
use allot_registry_core::{self as registry, RegistryCore};

use crate::message::{Command, Message, Party, To};

/// What an output means on the bus.
pub(crate) enum Effect {
    Append(Record),
    Send(To, Message),
    None,
}

/// A service that writes to the ledger.
pub(crate) trait Service {
    type Core: Core + Clone + Debug + 'static;
    type Options: Debug + Clone;
    const WRITER: Writer;

    fn core(options: &Self::Options) -> Self::Core;
    fn replay(entry: Entry) -> <Self::Core as Core>::Input;
    fn restore(item: StateItem) -> <Self::Core as Core>::Input;
    fn snapshot(core: &Self::Core) -> impl Iterator<Item = StateItem>;
    fn ledger(entry: Entry) -> <Self::Core as Core>::Input;
    fn resume(epoch: Epoch) -> <Self::Core as Core>::Input;
    /// What a message is to the core; nothing where it is not for it.
    fn input(from: Party, message: &Message) -> Option<<Self::Core as Core>::Input>;
    fn effect(output: <Self::Core as Core>::Output) -> Effect;
    fn sanity_check(core: &Self::Core);
    fn same_state(one: &Self::Core, other: &Self::Core) -> bool;

    fn inbox_from(_core: &Self::Core) -> Option<u64> {
        None
    }

    fn submission(_submission: Submission) -> Option<<Self::Core as Core>::Input> {
        None
    }

    /// What is still under way where all jobs have ended.
    ///
    /// # Errors
    /// Where anything is.
    fn at_rest(_core: &Self::Core) -> Result<(), String> {
        Ok(())
    }
}

fn answer(to: &allot_model::ReplyTo, message: Message) -> Effect {
    Party::from_reply(to).map_or(Effect::None, |party| Effect::Send(To::Party(party), message))
}

pub(crate) struct Registry;

impl Service for Registry {
    type Core = RegistryCore;
    type Options = registry::Options;
    const WRITER: Writer = Writer::Registry;

    fn core(options: &Self::Options) -> RegistryCore {
        RegistryCore::new(*options)
    }

    fn replay(entry: Entry) -> registry::Input {
        registry::Input::Replay(entry)
    }

    fn restore(item: StateItem) -> registry::Input {
        registry::Input::Restore(item)
    }

    fn snapshot(core: &RegistryCore) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn ledger(entry: Entry) -> registry::Input {
        registry::Input::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> registry::Input {
        registry::Input::Resume { epoch }
    }

    fn input(from: Party, message: &Message) -> Option<registry::Input> {
        let reply = from.reply_to();
        Some(match message {
            Message::Hello(hello) => registry::Input::Hello(reply, hello.clone()),
            Message::Echo(echo) => registry::Input::Echo(*echo),
            Message::Beat(beat) => registry::Input::Beat(Some(reply), beat.clone()),
            Message::Command(Command::Drain(agent, drain)) => {
                registry::Input::Drain(reply, agent.clone(), drain.clone())
            }
            Message::Command(Command::Undrain(agent)) => registry::Input::Undrain(reply, agent.clone()),
            Message::Command(Command::Gone(agent)) => registry::Input::Gone(reply, agent.clone()),
            _ => return None,
        })
    }

    fn effect(output: registry::Output) -> Effect {
        match output {
            registry::Output::Append(record) => Effect::Append(record),
            registry::Output::Echo(echo) => Effect::Send(To::Registries, Message::Echo(echo)),
            registry::Output::Welcome(to, welcome) => answer(&to, Message::Welcome(welcome)),
            registry::Output::Done(to, done) => answer(&to, Message::Done(done)),
            registry::Output::Agents(..) => Effect::None,
        }
    }

    fn sanity_check(core: &RegistryCore) {
        core.sanity_check();
    }

    fn same_state(one: &RegistryCore, other: &RegistryCore) -> bool {
        one.same_state(other)
    }
}

pub(crate) struct Offers;

impl Service for Offers {
    type Core = OffersCore;
    type Options = offers::Options;
    const WRITER: Writer = Writer::Offers;

    fn core(options: &Self::Options) -> OffersCore {
        OffersCore::new(options.clone())
    }

    fn replay(entry: Entry) -> offers::Input {
        offers::Input::Replay(entry)
    }

    fn restore(item: StateItem) -> offers::Input {
        offers::Input::Restore(item)
    }

    fn snapshot(core: &OffersCore) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn ledger(entry: Entry) -> offers::Input {
        offers::Input::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> offers::Input {
        offers::Input::Resume { epoch }
    }

    fn input(from: Party, message: &Message) -> Option<offers::Input> {
        Some(match message {
            Message::Allocator(said) => {
                offers::Input::Allocator { reply: Some(from.reply_to()), message: said.clone() }
            }
            Message::Command(Command::UsePolicy(command)) => {
                offers::Input::UsePolicy { reply: from.reply_to(), command: command.clone() }
            }
            _ => return None,
        })
    }

    fn effect(output: offers::Output) -> Effect {
        match output {
            offers::Output::Append(record) => Effect::Append(record),
            offers::Output::Feed(feed) => Effect::Send(To::Allocators, Message::Feed(feed)),
            offers::Output::Sync(to, feed) => answer(&to, Message::Feed(feed)),
            offers::Output::Done(to, done) => answer(&to, Message::Done(done)),
            offers::Output::NoAccount(..)
            | offers::Output::Usage(..)
            | offers::Output::Queues(..)
            | offers::Output::Policy(..) => Effect::None,
        }
    }

    fn sanity_check(core: &OffersCore) {
        core.sanity_check();
    }

    fn same_state(one: &OffersCore, other: &OffersCore) -> bool {
        one.same_state(other)
    }

    fn at_rest(core: &OffersCore) -> Result<(), String> {
        let mut out = Vec::new();
        let reply = Party { node: crate::message::NodeId(0), life: 0 }.reply_to();
        let ask = offers::Input::ShowUsage(reply, AgentsQuery::default());
        core.clone().handle(Time::ZERO, ask, &mut out);
        let uses = out.into_iter().flat_map(|output| match output {
            offers::Output::Usage(_, Answer::Ok(uses)) => uses,
            _ => Vec::new(),
        });
        let held = |agent: &AgentUse| agent.free != agent.total;
        match uses.into_iter().find(held) {
            Some(agent) => {
                Err(format!("{} has {} free of {} and nothing runs", agent.agent, agent.free, agent.total))
            }
            None => Ok(()),
        }
    }
}

pub(crate) struct Dispatcher;

impl Service for Dispatcher {
    type Core = DispatcherCore;
    type Options = dispatcher::Options;
    const WRITER: Writer = Writer::Dispatcher;

    fn core(options: &Self::Options) -> DispatcherCore {
        DispatcherCore::new(*options)
    }

    fn replay(entry: Entry) -> dispatcher::Input {
        dispatcher::Input::Replay(entry)
    }

    fn restore(item: StateItem) -> dispatcher::Input {
        dispatcher::Input::Restore(item)
    }

    fn snapshot(core: &DispatcherCore) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn ledger(entry: Entry) -> dispatcher::Input {
        dispatcher::Input::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> dispatcher::Input {
        dispatcher::Input::Resume { epoch }
    }

    fn input(from: Party, message: &Message) -> Option<dispatcher::Input> {
        let reply = from.reply_to();
        Some(match message {
            Message::Reports(batch) => dispatcher::Input::Reports(batch.clone()),
            Message::Command(Command::Cancel(job)) => dispatcher::Input::Cancel(reply, *job),
            Message::Command(Command::SetQueue(command)) => {
                dispatcher::Input::SetQueue(reply, command.clone())
            }
            _ => return None,
        })
    }

    fn effect(output: dispatcher::Output) -> Effect {
        match output {
            dispatcher::Output::Append(record) => Effect::Append(record),
            dispatcher::Output::Orders(agent, batch) => {
                Effect::Send(To::Agent(agent), Message::Orders(batch))
            }
            dispatcher::Output::Done(to, done) => answer(&to, Message::Done(done)),
            dispatcher::Output::Jobs(..) | dispatcher::Output::Job(..) => Effect::None,
        }
    }

    fn sanity_check(core: &DispatcherCore) {
        core.sanity_check();
    }

    fn same_state(one: &DispatcherCore, other: &DispatcherCore) -> bool {
        one.same_state(other)
    }

    fn inbox_from(core: &DispatcherCore) -> Option<u64> {
        Some(core.inbox_from())
    }

    fn submission(submission: Submission) -> Option<dispatcher::Input> {
        Some(dispatcher::Input::Submission(submission))
    }
}
