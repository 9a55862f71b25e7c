//! The edge between the core and the bus.

use allot_bus::Subject;
use allot_model::{Answer, Entry, Epoch, FromAllocator, PoolName, StateItem, Time, Writer};
use allot_offers_core::{Input, OffersCore, Options, Output};
use allot_proto::Wire;
use allot_shell::{Effect, Incoming, LedgerService, Malformed};

#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pool: PoolName,
    options: Options,
}

impl Edge {
    pub(crate) fn new(options: Options) -> Self {
        Self { pool: PoolName::default_pool(), options }
    }
}

impl LedgerService for Edge {
    type Core = OffersCore;

    const WRITER: Writer = Writer::Offers;

    fn core(&self) -> OffersCore {
        OffersCore::new(self.options.clone())
    }

    fn restore(item: StateItem) -> Input {
        Input::Restore(item)
    }

    fn snapshot(core: &OffersCore) -> impl Iterator<Item = StateItem> {
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
        let pool = || self.pool.clone();
        [
            Subject::PoolGrants(pool()),
            Subject::PoolPolicy(pool()),
            Subject::PoolUse(pool()),
            Subject::PoolAccount(pool()),
            Subject::AgentsUsage,
            Subject::QueuesList,
        ]
        .map(|subject| subject.to_string())
        .into()
    }

    fn decode(&mut self, _now: Time, message: Incoming) -> Result<Input, Malformed> {
        Ok(match message.subject.parse()? {
            Subject::PoolGrants(_) => {
                let said = FromAllocator::decode(&message.payload).map_err(Malformed::new)?;
                Input::Allocator { reply: message.reply, message: said }
            }
            Subject::PoolPolicy(_) => Input::ShowPolicy(message.bare_request()?),
            Subject::PoolUse(_) => Input::UsePolicy { reply: message.reply_to()?, command: message.json()? },
            Subject::PoolAccount(_) => Input::ShowAccount(message.reply_to()?, message.json()?),
            Subject::AgentsUsage => Input::ShowUsage(message.reply_to()?, message.json()?),
            Subject::QueuesList => Input::ShowQueues(message.bare_request()?),
            other => return Err(Malformed::new(format!("{other} is not for the offers service"))),
        })
    }

    fn effect(&mut self, output: Output) -> Effect {
        match output {
            Output::Append(record) => Effect::Append(record),
            Output::Feed(feed) => {
                let subject = Subject::PoolOffers(self.pool.clone()).to_string();
                Effect::Publish { subject, payload: feed.encode() }
            }
            Output::Sync(to, feed) => Effect::Reply { to, payload: feed.encode() },
            Output::NoAccount(to, refusal) => Effect::answer(to, &Answer::<()>::Error(refusal)),
            Output::Usage(to, answer) => Effect::answer(to, &answer),
            Output::Queues(to, answer) => Effect::answer(to, &answer),
            Output::Policy(to, answer) => Effect::answer(to, &answer),
            Output::Done(to, answer) => Effect::answer(to, &answer),
        }
    }
}
