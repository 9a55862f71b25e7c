//! The edge between the core and the bus.

use allot_bus::{Kind, Subject};
use allot_model::{Beat, Entry, Epoch, Hello, StateItem, Time, Writer};
use allot_proto::Wire;
use allot_registry_core::{Input, Options, Output, RegistryCore};
use allot_shell::{Effect, Incoming, LedgerService, Malformed};

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) options: Options,
}

impl LedgerService for Edge {
    type Core = RegistryCore;

    const WRITER: Writer = Writer::Registry;

    fn core(&self) -> RegistryCore {
        RegistryCore::new(self.options)
    }

    fn restore(item: StateItem) -> Input {
        Input::Restore(item)
    }

    fn snapshot(core: &RegistryCore) -> impl Iterator<Item = StateItem> {
        core.snapshot()
    }

    fn replay(entry: Entry) -> Input {
        Input::Replay(entry)
    }

    fn ledger(entry: Entry) -> Input {
        Input::Ledger(entry)
    }

    fn resume(epoch: Epoch) -> Input {
        Input::Resume { epoch }
    }

    fn subscriptions(&self) -> Vec<String> {
        [
            Kind::AgentHello,
            Kind::AgentBeat,
            Kind::AgentDrain,
            Kind::AgentUndrain,
            Kind::AgentGone,
            Kind::RegistryEcho,
            Kind::AgentsList,
        ]
        .map(Kind::pattern)
        .into()
    }

    fn decode(&mut self, _now: Time, message: Incoming) -> Result<Input, Malformed> {
        Ok(match message.subject.parse()? {
            Subject::AgentHello(agent) => {
                let hello = Hello::decode(&message.payload).map_err(Malformed::new)?;
                allot_shell::speaks_for(&agent, &hello.facts.id)?;
                Input::Hello(message.reply_to()?, hello)
            }
            Subject::AgentBeat(agent) => {
                let beat = Beat::decode(&message.payload).map_err(Malformed::new)?;
                allot_shell::speaks_for(&agent, &beat.agent)?;
                Input::Beat(message.reply, beat)
            }
            Subject::AgentDrain(agent) => Input::Drain(message.reply_to()?, agent, message.json()?),
            Subject::AgentUndrain(agent) => Input::Undrain(message.bare_request()?, agent),
            Subject::AgentGone(agent) => Input::Gone(message.bare_request()?, agent),
            Subject::RegistryEcho => Input::Echo(message.json()?),
            Subject::AgentsList => Input::ListAgents(message.reply_to()?, message.json()?),
            other => return Err(Malformed::new(format!("{other} is not for the registry"))),
        })
    }

    fn effect(&mut self, output: Output) -> Effect {
        match output {
            Output::Append(record) => Effect::Append(record),
            Output::Echo(echo) => Effect::Publish {
                subject: Subject::RegistryEcho.to_string(),
                // Writing two numbers to memory cannot fail.
                payload: serde_json::to_vec(&echo).unwrap_or_default(),
            },
            Output::Welcome(to, welcome) => Effect::Reply { to, payload: welcome.encode() },
            Output::Done(to, answer) => Effect::answer(to, &answer),
            Output::Agents(to, answer) => Effect::answer(to, &answer),
        }
    }
}
