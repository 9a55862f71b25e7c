//! Who holds a place and may be stopped for others, in the order in which they would be.

use std::cmp::Reverse;
use std::collections::btree_map::Range;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use allot_model::{
    AgentId, AttemptRun, JobId, Placement, PoolJob, QueueName, Resources, TaskRange, Time, Victim,
};

use crate::dims::{Dims, Need, named_part};

/// Who is stopped first: the lowest priority, of these who got a place last; then the job submitted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Precedence {
    pub(crate) priority: i32,
    pub(crate) placed_at: Reverse<Time>,
    job: Reverse<JobId>,
    first: u32,
}

/// Tasks of a job that got their places on an agent together.
#[derive(Debug, Clone)]
pub(crate) struct Incumbent {
    pub(crate) agent: AgentId,
    pub(crate) run: AttemptRun,
    pub(crate) queue: QueueName,
    /// What each of them holds.
    pub(crate) held: Need,
    /// The items and ranges in it.
    pub(crate) named: Resources,
    pub(crate) placed_at: Time,
    pub(crate) priority: i32,
    /// True where all tasks of the job are stopped, or none.
    pub(crate) together: bool,
    /// True once they are being stopped.
    stopping: bool,
}

/// What counts of a job whose tasks may be stopped.
#[derive(Debug, Clone, Copy)]
struct Standing {
    priority: i32,
    together: bool,
}

/// All tasks that hold places and may be stopped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Incumbents {
    standings: BTreeMap<JobId, Standing>,
    next: u64,
    all: BTreeMap<u64, Incumbent>,
    /// By their first tasks.
    by_job: BTreeMap<JobId, BTreeMap<u32, u64>>,
    by_agent: BTreeMap<AgentId, BTreeSet<u64>>,
    /// Those that are not being stopped yet.
    by_queue: BTreeMap<QueueName, BTreeMap<Precedence, u64>>,
    stopping: BTreeSet<u64>,
}

impl Incumbent {
    pub(crate) fn precedence(&self) -> Precedence {
        Precedence {
            priority: self.priority,
            placed_at: Reverse(self.placed_at),
            job: Reverse(self.run.job),
            first: self.run.tasks.first,
        }
    }

    /// Some of its tasks.
    fn part(&self, tasks: TaskRange, stopping: bool) -> Self {
        Self { run: AttemptRun { tasks, ..self.run }, stopping, ..self.clone() }
    }

    /// Some of its tasks as victims.
    pub(crate) fn victim(&self, tasks: TaskRange) -> Victim {
        Victim { agent: self.agent.clone(), run: AttemptRun { tasks, ..self.run } }
    }
}

impl Incumbents {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_queue.is_empty()
    }

    pub(crate) fn on_job(&mut self, job: &PoolJob) {
        if job.preemptible {
            let standing = Standing { priority: job.priority, together: job.min_tasks > 1 };
            self.standings.insert(job.job, standing);
        }
    }

    pub(crate) fn on_job_ended(&mut self, job: JobId) {
        self.standings.remove(&job);
    }

    /// Tasks got places. Those that take turns are over in a moment, and are not stopped for others.
    pub(crate) fn add(&mut self, placement: &Placement, placed_at: Time, dims: &mut Dims) {
        let Placement { agent, run, queue, slice, slots } = placement;
        let Some(Standing { priority, together }) = self.standings.get(&run.job).copied() else { return };
        if *slots != run.tasks.count() {
            return;
        }
        self.remove(run.job, run.tasks);
        self.link(Incumbent {
            agent: agent.clone(),
            run: *run,
            queue: queue.clone(),
            held: dims.held(slice),
            named: named_part(slice),
            placed_at,
            priority,
            together,
            stopping: false,
        });
    }

    /// Tasks do not hold their places any more.
    pub(crate) fn remove(&mut self, job: JobId, tasks: TaskRange) {
        self.cut(job, tasks, |_, _| None);
    }

    /// Tasks are being stopped.
    pub(crate) fn stop(&mut self, victim: &Victim) {
        self.mark(victim, true);
    }

    /// Tasks are not to be stopped after all.
    pub(crate) fn spare(&mut self, victim: &Victim) {
        self.mark(victim, false);
    }

    fn mark(&mut self, Victim { agent, run }: &Victim, stopping: bool) {
        self.cut(run.job, run.tasks, |whole, part| {
            let is_meant = whole.agent == *agent && whole.run.attempt == run.attempt;
            Some(whole.part(part, if is_meant { stopping } else { whole.stopping }))
        });
    }

    /// Has tasks be what `becomes` says of them.
    fn cut(
        &mut self,
        job: JobId,
        tasks: TaskRange,
        becomes: impl Fn(&Incumbent, TaskRange) -> Option<Incumbent>,
    ) {
        let Some(of_job) = self.by_job.get(&job) else { return };
        let before = of_job.range(..tasks.first).next_back();
        let met: Vec<u64> =
            before.into_iter().chain(of_job.range(tasks.first..=tasks.last)).map(|(_, id)| *id).collect();
        for id in met {
            let Some(part) = self.all.get(&id).and_then(|known| known.run.tasks.overlap(tasks)) else {
                continue;
            };
            let Some(whole) = self.unlink(id) else { continue };
            let rest = whole.run.tasks.without(part).map(|tasks| whole.part(tasks, whole.stopping));
            rest.chain(becomes(&whole, part)).for_each(|part| self.link(part));
        }
    }

    fn link(&mut self, incumbent: Incumbent) {
        let id = self.next;
        self.next += 1;
        self.by_job.entry(incumbent.run.job).or_default().insert(incumbent.run.tasks.first, id);
        self.by_agent.entry(incumbent.agent.clone()).or_default().insert(id);
        if incumbent.stopping {
            self.stopping.insert(id);
        } else {
            let of_queue = self.by_queue.entry(incumbent.queue.clone()).or_default();
            of_queue.insert(incumbent.precedence(), id);
        }
        self.all.insert(id, incumbent);
    }

    fn unlink(&mut self, id: u64) -> Option<Incumbent> {
        let gone = self.all.remove(&id)?;
        self.stopping.remove(&id);
        if let Some(of_job) = self.by_job.get_mut(&gone.run.job) {
            of_job.remove(&gone.run.tasks.first);
            if of_job.is_empty() {
                self.by_job.remove(&gone.run.job);
            }
        }
        if let Some(of_agent) = self.by_agent.get_mut(&gone.agent) {
            of_agent.remove(&id);
            if of_agent.is_empty() {
                self.by_agent.remove(&gone.agent);
            }
        }
        if let Some(of_queue) = self.by_queue.get_mut(&gone.queue).filter(|_| !gone.stopping) {
            of_queue.remove(&gone.precedence());
            if of_queue.is_empty() {
                self.by_queue.remove(&gone.queue);
            }
        }
        Some(gone)
    }

    /// Those on an agent that are not being stopped, in order.
    pub(crate) fn on(&self, agent: &AgentId) -> Vec<&Incumbent> {
        let here = self.by_agent.get(agent).into_iter().flatten().filter_map(|id| self.all.get(id));
        let mut here: Vec<&Incumbent> = here.filter(|incumbent| !incumbent.stopping).collect();
        here.sort_by_key(|incumbent| incumbent.precedence());
        here
    }

    /// Those of a job that are not being stopped.
    pub(crate) fn of_job(&self, job: JobId) -> impl Iterator<Item = &Incumbent> {
        let of_job = self.by_job.get(&job).into_iter().flat_map(BTreeMap::values);
        of_job.filter_map(|id| self.all.get(id)).filter(|incumbent| !incumbent.stopping)
    }

    /// Those on an agent that are being stopped.
    pub(crate) fn stopping_on(&self, agent: &AgentId) -> impl Iterator<Item = &Incumbent> {
        let here = self.by_agent.get(agent).into_iter().flatten().filter_map(|id| self.all.get(id));
        here.filter(|incumbent| incumbent.stopping)
    }

    /// Those that are being stopped.
    pub(crate) fn stopping(&self) -> impl Iterator<Item = &Incumbent> {
        self.stopping.iter().filter_map(|id| self.all.get(id))
    }

    /// The queues with some that are not being stopped.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &QueueName> {
        self.by_queue.keys()
    }

    /// Those of one queue, or of all, that are not being stopped, in order; only those of a lower priority, if one is given.
    pub(crate) fn in_order<'a>(&'a self, of: Option<&QueueName>, below: Option<i32>) -> InOrder<'a> {
        let bound = below.map(|priority| Precedence {
            priority,
            placed_at: Reverse(Time::MAX),
            job: Reverse(JobId(u64::MAX)),
            first: 0,
        });
        let lines = self.by_queue.iter().filter(|(queue, _)| of.is_none_or(|of| *queue == of));
        let lines = lines.map(|(_, line)| match bound {
            Some(bound) => line.range(..bound),
            None => line.range(..),
        });
        let mut merged = InOrder { all: &self.all, lines: lines.collect(), heads: BinaryHeap::new() };
        (0..merged.lines.len()).for_each(|line| merged.refill(line));
        merged
    }
}

/// Incumbents of several queues in order.
pub(crate) struct InOrder<'a> {
    all: &'a BTreeMap<u64, Incumbent>,
    lines: Vec<Range<'a, Precedence, u64>>,
    heads: BinaryHeap<Reverse<(Precedence, u64, usize)>>,
}

impl InOrder<'_> {
    fn refill(&mut self, line: usize) {
        let next = self.lines.get_mut(line).and_then(Iterator::next);
        self.heads.extend(next.map(|(precedence, id)| Reverse((*precedence, *id, line))));
    }
}

impl<'a> Iterator for InOrder<'a> {
    type Item = &'a Incumbent;

    fn next(&mut self) -> Option<&'a Incumbent> {
        let Reverse((_, id, line)) = self.heads.pop()?;
        self.refill(line);
        self.all.get(&id)
    }
}
