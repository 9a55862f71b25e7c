//! What the allocators are told: changes to all of them, everything to one that says hello.

use allot_model::{
    AccountQuery, Amount, Epoch, Feed, FeedItem, GrantId, InstanceId, Placement, QueueName, Refusal,
    RefusalKind, ReplyTo, Resources, SyncPart, Time,
};

use crate::{OffersCore, Output};

/// Keeps a message well under the bus's limit of 1 MiB.
const MOST_BYTES: usize = 512 * 1024;

impl OffersCore {
    /// Sends what has gathered, or an empty message where `anyway` is set.
    pub(crate) fn flush(&mut self, now: Time, anyway: bool, out: &mut Vec<Output>) {
        let Some(session) = self.epoch else { return };
        self.refresh_offers(now);
        let mut parts = in_parts(std::mem::take(&mut self.news));
        if parts.is_empty() && anyway {
            parts.push(Vec::new());
        }
        for items in parts {
            self.sequence += 1;
            self.last_feed_at = now;
            out.push(Output::Feed(Feed { session, sequence: self.sequence, sync: None, part: 0, items }));
        }
    }

    /// Tells an allocator everything that says hello, unless it is being told already.
    pub(crate) fn greet(&mut self, now: Time, instance: &InstanceId, to: &ReplyTo, out: &mut Vec<Output>) {
        if !self.accounts.is_under_way(instance) {
            self.sync(now, (Some(instance.clone()), to.clone()), out);
        }
    }

    /// Tells one everything, as of the last message to all.
    fn sync(&mut self, now: Time, to: (Option<InstanceId>, ReplyTo), out: &mut Vec<Output>) {
        let Some(session) = self.epoch else { return };
        self.flush(now, false, out);
        let mut parts = in_parts(self.everything(now));
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        let (last, sequence) = (parts.len() - 1, self.sequence);
        let part = |(place, items): (usize, Vec<FeedItem>)| {
            let sync = match (place == 0, place == last) {
                (true, true) => SyncPart::Only,
                (true, false) => SyncPart::First,
                (false, true) => SyncPart::Last,
                (false, false) => SyncPart::Middle,
            };
            let part = u32::try_from(place).unwrap_or(u32::MAX);
            Feed { session, sequence, sync: Some(sync), part, items }
        };
        self.accounts.begin(now, to, parts.into_iter().enumerate().map(part).collect(), out);
    }

    /// Tells everything to someone who is no allocator, and only asks once.
    pub(crate) fn on_show_account(
        &mut self,
        now: Time,
        to: &ReplyTo,
        query: AccountQuery,
        out: &mut Vec<Output>,
    ) {
        let size = self.account_size();
        match query.most {
            Some(most) if size > most => {
                let message = format!(
                    "the pool has {size} jobs, agents and placements, and no more than {most} were asked for"
                );
                out.push(Output::NoAccount(to.clone(), Refusal { code: RefusalKind::Conflict, message }));
            }
            _ => self.sync(now, (None, to.clone()), out),
        }
    }

    /// How many jobs, agents and placements an account tells of.
    fn account_size(&self) -> u64 {
        let placements =
            |agent: &crate::agents::Agent| agent.held.values().map(|runs| runs.iter().count()).sum::<usize>();
        let on_agents: usize = self.agents.values().map(|agent| 1 + placements(agent)).sum();
        (self.demand.jobs.len() + on_agents) as u64
    }

    /// What an operator has set for a queue.
    pub(crate) fn queue_item(&self, queue: &QueueName, weight: u32) -> FeedItem {
        let (limit, guarantee) = (self.demand.limits.of(queue), self.demand.limits.guarantee(queue));
        FeedItem::Queue { queue: queue.clone(), weight, limit, guarantee }
    }

    fn everything(&self, now: Time) -> Vec<FeedItem> {
        let mut items = Vec::new();
        if let Some(active) = &self.allocators.active {
            items.push(FeedItem::Active { epoch: active.epoch, instance: active.instance.clone() });
        }
        for (queue, account) in self.demand.queues.iter().filter(|(_, account)| account.weight.is_some()) {
            items.push(self.queue_item(queue, account.weight()));
        }
        for (id, job) in &self.demand.jobs {
            items.push(FeedItem::Job(job.pool.clone()));
            items.extend(job.pending.iter().map(|(tasks, _)| FeedItem::Pending { job: *id, tasks }));
        }
        for (id, agent) in &self.agents {
            if agent.in_pool() {
                items.push(FeedItem::Agent(agent.describe()));
            }
            items.extend(agent.runs().into_iter().map(|(job, tasks, held, slots)| {
                let run = allot_model::AttemptRun { job, tasks, attempt: held.attempt };
                let (agent, queue, slice) = (id.clone(), held.queue.clone(), (*held.slice).clone());
                allocated_before(held.at, Placement { agent, run, queue, slice, slots })
            }));
            if let Some(until) = agent.offered_until {
                let (version, free, ttl) = (agent.version, agent.free.clone(), until.since(now));
                items.push(FeedItem::Offer { agent: id.clone(), version, free, ttl });
            }
        }
        items.extend(self.preemptions.iter().cloned().map(FeedItem::Preempted));
        items
    }
}

fn allocated_before(at: Time, placement: Placement) -> FeedItem {
    FeedItem::Allocated { epoch: Epoch(0), grant: GrantId(0), placements: vec![placement], at }
}

/// Cuts the items into messages that the bus takes.
fn in_parts(items: Vec<FeedItem>) -> Vec<Vec<FeedItem>> {
    let mut parts: Vec<Vec<FeedItem>> = Vec::new();
    let mut room = 0;
    for item in items {
        let size = size_of(&item);
        if size > room || parts.is_empty() {
            parts.push(Vec::new());
            room = MOST_BYTES;
        }
        room = room.saturating_sub(size);
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
}

/// About how many bytes one amount takes on the wire.
const RESOURCE: usize = 80;

/// About how many bytes a placement takes on the wire; rather too many.
pub(crate) fn size_of_placement(placement: &Placement) -> usize {
    160 + placement.queue.as_str().len() + resources(&placement.slice)
}

fn resources(resources: &Resources) -> usize {
    let amount = |(_, amount): (&_, &Amount)| match amount {
        Amount::Scalar(_) => RESOURCE,
        Amount::Items(items) => RESOURCE + items.keys().map(|key| key.len() + 16).sum::<usize>(),
        Amount::Ranges(ranges) => RESOURCE + 24 * ranges.iter().count(),
    };
    resources.iter().map(amount).sum()
}

/// About how many bytes an item takes on the wire; rather too many.
fn size_of(item: &FeedItem) -> usize {
    128 + match item {
        FeedItem::Job(job) => {
            let constraints: usize = job.constraints.iter().map(|c| c.to_string().len() + 8).sum();
            job.queue.as_str().len() + job.resources.iter().count() * RESOURCE + constraints
        }
        FeedItem::Agent(agent) => {
            let attributes: usize = agent.attributes.iter().map(|(k, v)| k.len() + v.len() + 16).sum();
            agent.host.len() + attributes + resources(&agent.total)
        }
        FeedItem::Offer { free, .. } => resources(free),
        FeedItem::Allocated { placements, .. } => placements.iter().map(size_of_placement).sum(),
        FeedItem::Released { slice, queue, .. } => queue.as_str().len() + resources(slice),
        FeedItem::Refused { message, .. } => message.len(),
        FeedItem::Preempted(preemption) => 128 * (preemption.victims.len() + 1),
        FeedItem::Queue { queue, limit, guarantee, .. } => {
            let amounts = limit.iter().count() + guarantee.least.iter().count();
            queue.as_str().len() + amounts * RESOURCE
        }
        _ => 64,
    }
}
