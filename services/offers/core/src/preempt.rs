//! Preemption: whether tasks may be stopped for others, and which are being stopped.
//!
//! The allocator chooses victims; that none is stopped who must not be is seen to here. What is committed the
//! dispatcher carries out, and the ends of the victims free their places as any end does.

use std::collections::BTreeMap;

use allot_model::{
    AgentId, AttemptRun, Epoch, FeedItem, GrantId, InstanceId, JobId, OffersRecord, PreemptCause, Preemption,
    QueueName, RefusalCode, TaskRange, TaskSet, Time, Victim,
};

use crate::agents::{Agent, Held};
use crate::check::refuse;
use crate::demand::Job;
use crate::limits::Stopped;
use crate::{GrantRefusal, OffersCore, Output};

/// The most runs of tasks that one preemption may stop.
const MOST_VICTIMS: usize = 1_000;

/// Preemptions of which some victims hold their places yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Preemptions(BTreeMap<(Epoch, GrantId), Preemption>);

impl Preemptions {
    /// One was committed, and these of its victims hold their places.
    pub(crate) fn begin(&mut self, preemption: Preemption) {
        if !preemption.victims.is_empty() {
            self.0.insert((preemption.epoch, preemption.grant), preemption);
        }
    }

    /// Attempts on an agent hold nothing any more.
    pub(crate) fn end(&mut self, agent: &AgentId, run: AttemptRun) {
        if self.0.is_empty() {
            return;
        }
        for preemption in self.0.values_mut() {
            let victims = std::mem::take(&mut preemption.victims).into_iter();
            preemption.victims =
                victims.flat_map(|victim| victim.without(agent, run.job, run.tasks)).collect();
        }
        self.0.retain(|_, preemption| !preemption.victims.is_empty());
    }

    /// All of them in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Preemption> {
        self.0.values()
    }

    /// How many places are being made for a job.
    fn places_for(&self, job: JobId) -> u64 {
        self.0.values().filter(|preemption| preemption.job == job).count() as u64
    }

    fn stops(&self, victim: &Victim) -> bool {
        let mut victims = self.0.values().flat_map(|preemption| &preemption.victims);
        victims.any(|other| {
            let Victim { agent, run } = other;
            (agent, run.job, run.attempt) == (&victim.agent, victim.run.job, victim.run.attempt)
                && run.tasks.overlap(victim.run.tasks).is_some()
        })
    }
}

impl OffersCore {
    pub(crate) fn on_preempt(
        &mut self,
        now: Time,
        instance: &InstanceId,
        preemption: Preemption,
        out: &mut Vec<Output>,
    ) {
        match self.check_preemption(now, instance, &preemption) {
            Ok(()) => {
                self.counts.tasks_preempted += preemption.tasks();
                self.append(now, OffersRecord::Preempted(preemption.clone()), out);
                self.say(FeedItem::Preempted(preemption));
            }
            Err(GrantRefusal { code, message }) => {
                let (epoch, grant) = (preemption.epoch, preemption.grant);
                self.counts.preemptions_refused += 1;
                self.say(FeedItem::Refused { epoch, grant, code, message });
            }
        }
    }

    /// Victims that have ended by the time this is read are none.
    pub(crate) fn fold_preempted(&mut self, at: Time, preemption: &Preemption) {
        self.preempted.spend(at, preemption.tasks());
        let parts = |victim: &Victim| {
            let part = |(tasks, _)| Victim { run: AttemptRun { tasks, ..victim.run }, ..victim.clone() };
            self.held_by(victim).into_iter().map(part).collect::<Vec<_>>()
        };
        let victims = preemption.victims.iter().flat_map(parts).collect();
        self.preemptions.begin(Preemption { victims, ..preemption.clone() });
    }

    /// How many tasks are being stopped for jobs of a queue, and how many tasks of it are for others.
    pub(crate) fn preempted_for_and_of(&self, queue: &QueueName) -> (u64, u64) {
        let is_of = |job: JobId| self.demand.jobs.get(&job).is_some_and(|job| job.pool.queue == *queue);
        let ours = self.preemptions.iter().filter(|preemption| is_of(preemption.job));
        let victims = self.preemptions.iter().flat_map(|preemption| &preemption.victims);
        let theirs = victims.filter(|victim| is_of(victim.run.job)).map(|victim| victim.run.tasks.count());
        (ours.map(Preemption::tasks).sum(), theirs.sum())
    }

    fn check_preemption(
        &self,
        now: Time,
        instance: &InstanceId,
        preemption: &Preemption,
    ) -> Result<(), GrantRefusal> {
        self.check_active(instance, preemption.epoch)?;
        self.check_allowed(now, preemption)?;
        self.available(&preemption.agent)?;
        let job = self.preemptor(preemption.job)?;
        let mut stopped = Vec::with_capacity(preemption.victims.len());
        let mut named: BTreeMap<JobId, TaskSet> = BTreeMap::new();
        for victim in &preemption.victims {
            let named = named.entry(victim.run.job).or_default();
            if named.within(victim.run.tasks).next().is_some() {
                return refuse(RefusalCode::Malformed, format!("a task of {} stands twice", victim.run));
            }
            named.insert(victim.run.tasks);
            stopped.extend(self.check_victim(now, preemption, job, victim)?);
        }
        self.check_guarantees(preemption, job, &stopped)
    }

    /// What an operator allows.
    fn check_allowed(&self, now: Time, preemption: &Preemption) -> Result<(), GrantRefusal> {
        let (rules, cause) = (&self.options.preempt, preemption.cause);
        if !rules.preempt.is_for(cause) {
            return refuse(
                RefusalCode::PreemptionOff,
                format!(
                    "tasks may not be stopped for {cause} here: `preempt` of the offers service is `{}`",
                    rules.preempt
                ),
            );
        }
        let tasks = preemption.tasks();
        if preemption.victims.is_empty() || preemption.victims.len() > MOST_VICTIMS {
            let given = preemption.victims.len();
            return refuse(
                RefusalCode::Malformed,
                format!("the preemption names {given} runs of tasks: name 1 to {MOST_VICTIMS}"),
            );
        }
        if self.preempted.allows_at(now, tasks) != Some(now) {
            return refuse(
                RefusalCode::TooManyPreempted,
                format!("with {tasks} tasks more, over {} would be stopped within a minute", rules.rate),
            );
        }
        Ok(())
    }

    fn preemptor(&self, id: JobId) -> Result<&Job, GrantRefusal> {
        match self.demand.jobs.get(&id) {
            None => refuse(RefusalCode::NotPending, format!("job {id} is not known or has ended")),
            Some(job) if job.pending.is_empty() => {
                refuse(RefusalCode::NotPending, format!("no task of job {id} waits for a place"))
            }
            Some(job) if self.preemptions.places_for(id) >= job.pending.count() => refuse(
                RefusalCode::NotPending,
                format!("as many places are being made for job {id} as tasks of it wait for one"),
            ),
            Some(job) => Ok(job),
        }
    }

    /// What each of the tasks holds, where all of them may be stopped for the job.
    fn check_victim<'a>(
        &'a self,
        now: Time,
        preemption: &Preemption,
        preemptor: &Job,
        victim: &Victim,
    ) -> Result<Vec<(TaskRange, &'a Held)>, GrantRefusal> {
        let no = |why: String| refuse(RefusalCode::NotPreemptible, format!("{} {why}", victim.run));
        let held = self.held_by(victim);
        let count: u64 = held.iter().map(|(tasks, _)| tasks.count()).sum();
        if count < victim.run.tasks.count() {
            return no(format!("does not hold a place on {}", victim.agent));
        }
        if self.preemptions.stops(victim) {
            return no("is being stopped already".to_owned());
        }
        if held.iter().any(|(_, held)| held.turns.is_some()) {
            return no("takes turns with other tasks, which are over in a moment".to_owned());
        }
        let min_run = self.options.preempt.min_run;
        if held.iter().any(|(_, held)| held.at + min_run > now) {
            return no(format!("got its place less than {min_run} ago"));
        }
        let Some(job) = self.demand.jobs.get(&victim.run.job) else {
            return no("is of a job that has ended".to_owned());
        };
        let (theirs, ours) = (job.pool.priority, preemptor.pool.priority);
        if !job.pool.preemptible {
            return no("must not run twice: its job has no `retries`".to_owned());
        }
        if preemption.cause == PreemptCause::Priority && theirs >= ours {
            return no(format!("has priority {theirs}, and job {} has {ours}", preemptor.pool.job));
        }
        Ok(held)
    }

    /// No queue is left with less than is guaranteed to it, and what is done for a guarantee is done within it. Those that
    /// are being stopped count as if they had ended, and those that get their places as if they had started.
    fn check_guarantees(
        &self,
        preemption: &Preemption,
        preemptor: &Job,
        stopped: &[(TaskRange, &Held)],
    ) -> Result<(), GrantRefusal> {
        let (queue, slice) = (&preemptor.pool.queue, &preemptor.slice);
        let limits = &self.demand.limits;
        if preemption.cause == PreemptCause::Guarantee {
            let jobs = self.preemptions.iter().filter_map(|other| self.demand.jobs.get(&other.job));
            let starting: Vec<_> = jobs.map(|job| (&job.pool.queue, &*job.slice)).collect();
            let guaranteed = |held: &Held| limits.guarantees(queue, slice, &held.queue, &starting);
            if let Some((_, held)) = stopped.iter().find(|(_, held)| !guaranteed(held)) {
                return refuse(
                    RefusalCode::NotPreemptible,
                    format!(
                        "no more of job {} is guaranteed to its queue {queue} beside queue {}",
                        preemption.job, held.queue
                    ),
                );
            }
        }
        let stopping = self.preemptions.iter().flat_map(|other| &other.victims);
        let stopping = stopping.flat_map(|victim| self.held_by(victim)).collect::<Vec<_>>();
        match limits.left_short(amounts(&stopping), amounts(stopped), (queue, slice)) {
            None => Ok(()),
            Some(short) => refuse(
                RefusalCode::NotPreemptible,
                format!("queue {short} would be left with less than is guaranteed to it"),
            ),
        }
    }

    /// What a victim holds, part by part.
    fn held_by(&self, victim: &Victim) -> Vec<(TaskRange, &Held)> {
        self.agents.get(&victim.agent).map(|agent| holding(agent, victim.run)).unwrap_or_default()
    }
}

/// What these hold, by queue.
fn amounts<'a>(parts: &'a [(TaskRange, &'a Held)]) -> impl Iterator<Item = Stopped<'a>> {
    parts.iter().map(|(tasks, held)| (&held.queue, &*held.slice, tasks.count()))
}

/// The parts of the run that hold a place on an agent.
fn holding(agent: &Agent, run: AttemptRun) -> Vec<(TaskRange, &Held)> {
    let Some(held) = agent.held.get(&run.job) else { return Vec::new() };
    held.within(run.tasks).filter(|(_, held)| held.attempt == run.attempt).collect()
}
