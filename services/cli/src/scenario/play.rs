//! Plays a scenario in a cluster, instant by instant.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::{AgentId, AttemptId, JobId, PolicyName, QueueName, TaskRange, Time};
use allot_sim::{Happening, Workload};

use super::conductor::Conductor;
use super::known::{Entitled, Known};
use super::stage::Stage;
use crate::client::Client;
use crate::failure::Failure;

/// A task that was placed: when, by its number in the workload whose, which, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) at: Time,
    pub(super) job: u32,
    pub(super) task: u32,
    pub(super) agent: AgentId,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Played {
    /// All tasks that were placed, in the order of the grants.
    pub(super) starts: Vec<Start>,
    /// The grants that were refused, in words.
    pub(super) refused: Vec<String>,
}

/// Tasks that were placed together.
struct Stay {
    job: u32,
    agent: AgentId,
    attempt: u32,
    /// Those of them that run.
    left: Vec<u32>,
}

/// Plays a workload with an allocator of this policy deciding, and leaves the cluster as empty as it was.
///
/// # Errors
/// Where the cluster is not empty, does not answer, or does something else than it is told.
pub(super) async fn play(
    client: &Client,
    workload: &Workload,
    policy: &PolicyName,
) -> Result<Played, Failure> {
    let stage = Stage::empty(client, workload, policy).await?;
    let conductor = Conductor::join(client).await?;
    let ids = vec![None; workload.jobs.len()];
    let mut play = Play {
        workload,
        policy,
        stage,
        conductor,
        ids,
        stays: Vec::new(),
        ends: BTreeSet::new(),
        starts: Vec::new(),
        now: Time::ZERO,
    };
    let played = tokio::select! {
        played = play.run() => played,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("interrupted")),
    };
    let cleared = play.clear().await;
    played.and(cleared)?;
    let refused = std::mem::take(&mut play.conductor.known.refused);
    Ok(Played { starts: play.starts, refused })
}

struct Play<'a> {
    workload: &'a Workload,
    policy: &'a PolicyName,
    stage: Stage,
    conductor: Conductor,
    /// The jobs that were submitted, as the cluster numbers them.
    ids: Vec<Option<JobId>>,
    /// All that was placed, in order.
    stays: Vec<Stay>,
    /// When stays end by themselves; of those that end together the one first that began first.
    ends: BTreeSet<(Time, usize)>,
    starts: Vec<Start>,
    now: Time,
}

impl Play<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        self.conductor.hold().await?;
        for queue in &self.workload.queues {
            let (weight, limit, guarantee) = (queue.weight, queue.limit.clone(), queue.guarantee.clone());
            self.queue(queue.name.clone(), Entitled { weight, limit, guarantee }).await?;
        }
        let (mut changes, mut jobs) =
            (self.workload.changes.iter().peekable(), (0..).zip(&self.workload.jobs).peekable());
        loop {
            let next = [
                changes.peek().map(|change| change.at),
                jobs.peek().map(|(_, job)| job.submit),
                self.ends.first().map(|(at, _)| *at),
            ];
            let Some(now) = next.into_iter().flatten().min() else { return Ok(()) };
            if self.workload.until.is_some_and(|until| now > until) {
                return Ok(());
            }
            self.now = now;
            self.stage.time_is(now);
            self.end_by_themselves().await?;
            while let Some(change) = changes.next_if(|change| change.at <= now) {
                self.happen(&change.what).await?;
            }
            while let Some((number, _)) = jobs.next_if(|(_, job)| job.submit <= now) {
                self.submit(number).await?;
            }
            self.decide().await?;
        }
    }

    async fn end_by_themselves(&mut self) -> Result<(), Failure> {
        let mut ended = Vec::new();
        while let Some((_, stay)) = self.ends.first().copied().filter(|(at, _)| *at <= self.now) {
            self.ends.pop_first();
            ended.extend(self.end(stay, usize::MAX));
        }
        self.released(&ended).await
    }

    /// Up to `most` tasks of a stay end. Returns them.
    fn end(&mut self, stay: usize, most: usize) -> Vec<(JobId, u32)> {
        let Some(stay) = self.stays.get_mut(stay) else { return Vec::new() };
        let Some(Some(job)) = self.ids.get(stay.job as usize).copied() else { return Vec::new() };
        let ended: Vec<u32> = stay.left.drain(..most.min(stay.left.len())).collect();
        for task in &ended {
            self.stage.end(&stay.agent, AttemptId::new(job, *task, stay.attempt));
        }
        ended.into_iter().map(|task| (job, task)).collect()
    }

    /// Waits until these tasks hold nothing any more.
    async fn released(&mut self, tasks: &[(JobId, u32)]) -> Result<(), Failure> {
        if tasks.is_empty() {
            return Ok(());
        }
        let holds =
            |known: &Known, (job, task): &(JobId, u32)| known.held(*job).any(|(held, _)| held == *task);
        self.conductor
            .until("tasks that ended are released", |known| !tasks.iter().any(|task| holds(known, task)))
            .await
    }

    async fn happen(&mut self, what: &Happening) -> Result<(), Failure> {
        match what {
            Happening::Ends { job, tasks } => self.end_oldest(*job, *tasks).await,
            Happening::Cancelled { job } => self.cancel(*job).await,
            Happening::Agent { facts, .. } => {
                self.stage.agent(facts).await?;
                let id = facts.agent.clone();
                let is_so = |known: &Known| {
                    let told = known.agents.get(&id);
                    told.is_some_and(|told| told.total == facts.total && told.attributes == facts.attributes && told.draining == facts.draining)
                        && (known.is_offered(&id) || facts.draining || known.held_on(&id) > 0)
                        // One that drains and runs nothing is out of the pool at once.
                        || facts.draining && told.is_none()
                };
                self.conductor.until(&format!("agent {id} is as it is to be"), is_so).await
            }
            Happening::AgentLeaves { agent } => {
                let Some(id) = self.workload.agents.get(*agent as usize).map(|agent| agent.id.clone()) else {
                    return Ok(());
                };
                self.leave(id).await
            }
            Happening::Queue { queue, weight, limit, guarantee } => {
                let Some(queue) = self.workload.queues.get(*queue as usize) else { return Ok(()) };
                let to = Entitled { weight: *weight, limit: limit.clone(), guarantee: guarantee.clone() };
                self.queue(queue.name.clone(), to).await
            }
        }
    }

    /// The oldest running tasks of a job end; all that run where none are counted.
    async fn end_oldest(&mut self, job: u32, tasks: Option<u32>) -> Result<(), Failure> {
        let mut left = tasks.map_or(usize::MAX, |tasks| usize::try_from(tasks).unwrap_or(usize::MAX));
        let mut ended = Vec::new();
        for stay in 0..self.stays.len() {
            if self.stays.get(stay).is_some_and(|stay| stay.job == job) && left > 0 {
                let now_ended = self.end(stay, left);
                left -= now_ended.len();
                ended.extend(now_ended);
            }
        }
        self.released(&ended).await
    }

    async fn cancel(&mut self, job: u32) -> Result<(), Failure> {
        let Some(Some(id)) = self.ids.get(job as usize).copied() else { return Ok(()) };
        self.stays.iter_mut().filter(|stay| stay.job == job).for_each(|stay| stay.left.clear());
        self.stage.cancel(id).await?;
        self.conductor
            .until(&format!("job {id} is cancelled"), |known| {
                known.waiting(id) == 0 && known.held(id).next().is_none()
            })
            .await
    }

    async fn leave(&mut self, agent: AgentId) -> Result<(), Failure> {
        let mut waits: BTreeMap<JobId, u64> = BTreeMap::new();
        for stay in self.stays.iter_mut().filter(|stay| stay.agent == agent) {
            let lost = std::mem::take(&mut stay.left);
            if let Some(Some(job)) = self.ids.get(stay.job as usize) {
                *waits.entry(*job).or_default() += lost.len() as u64;
            }
        }
        for (job, count) in &mut waits {
            *count += self.conductor.known.waiting(*job);
        }
        self.stage.leave(&agent).await?;
        let is_so = |known: &Known| {
            !known.agents.contains_key(&agent)
                && known.held_on(&agent) == 0
                && waits.iter().all(|(job, count)| known.waiting(*job) == *count)
        };
        self.conductor.until(&format!("agent {agent} has left, and its tasks wait again"), is_so).await
    }

    async fn queue(&mut self, queue: QueueName, to: Entitled) -> Result<(), Failure> {
        self.stage.queue(&queue, &to).await?;
        self.conductor
            .until(&format!("queue {queue} is entitled to what it is to be"), |known| {
                known.is_entitled(&queue, &to)
            })
            .await
    }

    async fn submit(&mut self, number: u32) -> Result<(), Failure> {
        let workload = self.workload;
        let Some(job) = workload.jobs.get(number as usize) else { return Ok(()) };
        let (Some(queue), Some(asks)) =
            (workload.queues.get(job.queue as usize), workload.asks.get(job.asks as usize))
        else {
            return Ok(());
        };
        let name = workload.name(number as usize).to_string();
        let id = self.stage.submit(&queue.name, &name, job, asks).await?;
        if let Some(slot) = self.ids.get_mut(number as usize) {
            *slot = Some(id);
        }
        let tasks = u64::from(job.tasks);
        self.conductor.until(&format!("job {name} waits"), |known| known.waiting(id) == tasks).await
    }

    /// Lets the allocator decide, where there is anything to decide, and notes what it placed.
    async fn decide(&mut self) -> Result<(), Failure> {
        if !self.conductor.known.anything_waits() {
            return Ok(());
        }
        let before = self.conductor.known.placed.len();
        self.conductor.let_decide(self.policy).await?;
        self.conductor.hold().await?;
        let placed: Vec<_> = self.conductor.known.placed.drain(before..).collect();
        for placement in placed {
            let run = placement.run;
            self.note(run.job, run.tasks, run.attempt, placement.agent);
        }
        Ok(())
    }

    fn note(&mut self, job: JobId, tasks: TaskRange, attempt: u32, agent: AgentId) {
        let Some(number) = self.ids.iter().position(|id| *id == Some(job)) else { return };
        let Ok(job) = u32::try_from(number) else { return };
        let start = |task| Start { at: self.now, job, task, agent: agent.clone() };
        self.starts.extend(tasks.indexes().map(start));
        if let Some(run) = self.workload.jobs.get(number).and_then(|job| job.run) {
            self.ends.insert((self.now + run, self.stays.len()));
        }
        self.stays.push(Stay { job, agent, attempt, left: tasks.indexes().collect() });
    }

    /// Leaves nothing behind.
    async fn clear(&mut self) -> Result<(), Failure> {
        let open = |id: &JobId| {
            self.conductor.known.waiting(*id) > 0 || self.conductor.known.held(*id).next().is_some()
        };
        let open: Vec<JobId> = self.ids.iter().flatten().copied().filter(open).collect();
        for job in open {
            self.stage.cancel(job).await?;
            let gone = |known: &Known| known.waiting(job) == 0 && known.held(job).next().is_none();
            self.conductor.until(&format!("job {job} is cancelled"), gone).await?;
        }
        self.stage.clear().await?;
        self.conductor.choose(self.policy).await?;
        self.conductor.leave().await
    }
}
