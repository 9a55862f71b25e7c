//! The dispatcher as a pure state machine: it alone admits or rejects a job, and launches, kills, retries and finishes
//! its tasks.
//!
//! It follows the offers service (which tasks have a place) and the registry (which agents are there), and turns what
//! agents report into the ledger's records. `fold` changes state; `react` does what the state calls for.

mod fold;
mod job;
mod list;
mod orders;
mod pending;
mod react;
mod reports;
mod requests;
mod snapshot;
mod submit;
mod views;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use allot_model::{
    AgentId, Answer, AttemptRun, Core, DispatcherRecord, Done, Entry, Epoch, Incarnation, JobId, JobList,
    JobQuery, JobSpec, JobView, JobsQuery, OrderBatch, Preemption, QueueGuarantee, QueueLimit, QueueName,
    QueueSetCommand, Record, Rejection, ReplyTo, ReportBatch, Span, StateItem, TaskRange, TaskSet, Time,
};

use job::Job;
use pending::Pending;
pub use submit::Submission;

/// Everything that can happen to the dispatcher.
#[derive(Debug, Clone)]
pub enum Input {
    /// A piece of a snapshot; they come before anything else.
    Restore(StateItem),
    /// A record of any writer from before this instance took over.
    Replay(Entry),
    /// A record of another writer.
    Ledger(Entry),
    /// Replay is over: this instance writes from now on.
    Resume {
        /// Its generation.
        epoch: Epoch,
    },
    /// The next message of the inbox.
    Submission(Submission),
    /// An agent tells what happened.
    Reports(ReportBatch),
    /// A user wants a job stopped.
    Cancel(ReplyTo, JobId),
    /// An operator sets what a queue is entitled to.
    SetQueue(ReplyTo, QueueSetCommand),
    /// Someone asks for jobs.
    ListJobs(ReplyTo, JobsQuery),
    /// Someone asks for one job.
    ShowJob(ReplyTo, JobId, JobQuery),
}

/// Everything the dispatcher can want done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Append this record; what follows waits for it.
    Append(Record),
    /// Tell an agent what to do.
    Orders(AgentId, OrderBatch),
    /// Answer a command.
    Done(ReplyTo, Answer<Done>),
    /// Answer a question.
    Jobs(ReplyTo, Answer<JobList>),
    /// Answer a question.
    Job(ReplyTo, Box<Answer<JobView>>),
}

/// What may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many ended jobs are kept for `job show`; the oldest are forgotten.
    pub keep_jobs: usize,
    /// How many tasks all kept ended jobs may have together.
    pub keep_tasks: u64,
    /// How long an agent has to start or end a task before it is told again.
    pub repeat_after: Span,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_jobs: 100_000, keep_tasks: 2_000_000, repeat_after: Span::from_secs(2) }
    }
}

/// An agent, as far as tasks are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Agent {
    incarnation: Incarnation,
    /// Silent for the timeout.
    away: bool,
    /// When it was last missed in this life.
    missed_at: Option<Time>,
    /// Its last lives that nobody knew to be over when the next one began, oldest first.
    unseen: Vec<Incarnation>,
    /// Declared gone by an operator.
    gone: bool,
    /// Being drained with its tasks killed.
    kills: bool,
    /// The tasks that hold an allocation on it.
    tasks: BTreeMap<JobId, TaskSet>,
}

/// How many lives that are not known to be over are remembered of an agent.
const MOST_UNSEEN: usize = 16;

impl Agent {
    /// Another life is heard of, perhaps one of before. The registry has an agent return first that knows the last one to be
    /// over.
    fn begin_life(&mut self, incarnation: Incarnation) {
        let before = std::mem::replace(&mut self.incarnation, incarnation);
        if self.away && !self.gone {
            self.unseen.push(before);
            self.unseen.drain(..self.unseen.len().saturating_sub(MOST_UNSEEN));
        }
        self.unseen.retain(|life| *life != incarnation);
        self.missed_at = None;
    }

    /// Tasks of the job hold no allocation on it any more.
    fn forget(&mut self, job: JobId, tasks: TaskRange) {
        if let Some(held) = self.tasks.get_mut(&job) {
            held.remove(tasks);
            if held.is_empty() {
                self.tasks.remove(&job);
            }
        }
    }
}

/// What an operator set for a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
struct QueueSettings {
    weight: u32,
    limit: QueueLimit,
    guarantee: QueueGuarantee,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { weight: 1, limit: QueueLimit::default(), guarantee: QueueGuarantee::default() }
    }
}

/// A submission that did not become a job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rejected {
    queue: Arc<str>,
    submitted_at: Time,
    rejected_at: Time,
    rejection: Rejection,
}

/// What the ledger's records make necessary; emptied by `react`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Work {
    /// Allocations of tasks that are not wanted any more.
    unwanted: BTreeSet<(AgentId, AttemptRun)>,
    /// Tasks that are to make room for others.
    preempted: Vec<Preemption>,
    /// Agents whose tasks may have to end, or that are to be told what they should have.
    review: BTreeSet<AgentId>,
    /// Runs to be launched.
    launch: BTreeMap<AgentId, Vec<AttemptRun>>,
    /// Runs to be stopped.
    kill: BTreeMap<AgentId, Vec<AttemptRun>>,
    /// Jobs that may have ended.
    done: BTreeSet<JobId>,
    /// Jobs that may be ready, or can never be.
    unblocked: BTreeSet<JobId>,
}

impl Work {
    /// Forgets what an instance that takes over finds by looking at everything: a standby follows for weeks.
    fn keep_what_cannot_be_found_anew(&mut self) {
        let (unwanted, preempted) = (std::mem::take(&mut self.unwanted), std::mem::take(&mut self.preempted));
        *self = Self { unwanted, preempted, ..Self::default() };
    }
}

/// Tasks of a job wait for their next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pause {
    /// When they are queued, by the clock of this instance.
    over_at: Time,
    job: JobId,
    /// When that is by the record.
    until: Time,
}

impl Pause {
    fn as_recorded(until: Time, job: JobId) -> Self {
        Self { over_at: until, job, until }
    }
}

/// The dispatcher.
#[derive(Debug, Clone)]
pub struct DispatcherCore {
    options: Options,
    /// Boxed: the nodes of the map are half empty.
    jobs: BTreeMap<JobId, Box<Job>>,
    /// What the last job was admitted with. Jobs that follow each other are often alike, and then share it.
    last_spec: Option<Arc<JobSpec>>,
    rejected: BTreeMap<JobId, Rejected>,
    agents: BTreeMap<AgentId, Agent>,
    queues: BTreeMap<QueueName, QueueSettings>,
    /// The last message of the inbox that was decided on.
    inbox: JobId,
    /// How many allocations it has read of. These stand in the ledger in one order for every instance, so that agents can tell by
    /// it who knows more.
    allocations: u64,
    message_ids: BTreeMap<Arc<str>, JobId>,
    /// How many jobs of each queue have tasks that wait.
    pending: Pending,
    /// Who waits for a job.
    dependents: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Jobs with tasks that wait for their next try.
    backoffs: BTreeSet<Pause>,
    /// Ended jobs in the order of their end, and how many tasks each has.
    ended: VecDeque<(JobId, u64)>,
    ended_tasks: u64,
    /// This instance's generation; nothing until it writes.
    epoch: Option<Epoch>,
    work: Work,
    /// Soft: orders that have gathered.
    orders: BTreeMap<AgentId, Vec<orders::Given>>,
    /// Soft: agents to be told again what they should have started or stopped, and how long to wait after that.
    repeats: BTreeMap<AgentId, (Time, Span)>,
}

impl DispatcherCore {
    /// A dispatcher that knows nothing yet.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            jobs: BTreeMap::new(),
            last_spec: None,
            rejected: BTreeMap::new(),
            agents: BTreeMap::new(),
            queues: BTreeMap::new(),
            inbox: JobId(0),
            allocations: 0,
            message_ids: BTreeMap::new(),
            pending: Pending::default(),
            dependents: BTreeMap::new(),
            backoffs: BTreeSet::new(),
            ended: VecDeque::new(),
            ended_tasks: 0,
            epoch: None,
            work: Work::default(),
            orders: BTreeMap::new(),
            repeats: BTreeMap::new(),
        }
    }

    /// The first message of the inbox that has not been decided on.
    #[must_use]
    pub fn inbox_from(&self) -> u64 {
        self.inbox.0 + 1
    }

    fn append(&mut self, now: Time, record: DispatcherRecord, out: &mut Vec<Output>) {
        let entry = Entry { at: now, record: Record::Dispatcher(record) };
        self.fold(&entry);
        out.push(Output::Append(entry.record));
    }

    fn on_resume(&mut self, now: Time, epoch: Epoch, out: &mut Vec<Output>) {
        self.epoch = Some(epoch);
        // Whatever the records called for is found anew by looking at everything.
        self.work.review = self.agents.keys().cloned().collect();
        let open = || self.jobs.iter().filter(|(_, job)| job.ended.is_none()).map(|(id, _)| *id);
        self.work.done = open().collect();
        self.work.unblocked = open().collect();
        self.shorten_pauses(now);
        self.react(now, out);
    }

    /// Checks every cross-reference; for tests and the simulator.
    ///
    /// # Panics
    /// Where something does not add up.
    pub fn sanity_check(&self) {
        let mut placed: Vec<(&AgentId, JobId, u64)> = Vec::new();
        for (id, job) in &self.jobs {
            assert_eq!(job.counts(), job.counted(), "counts of job {id}");
            assert_eq!(job.tasks.count(), u64::from(job.spec.tasks), "tasks of job {id}");
            let placed_after_all = job.cancelled.is_some();
            let all_final = job.finals() == u64::from(job.spec.tasks);
            assert!(job.ended.is_none() || all_final || placed_after_all, "job {id} ended early");
            for (range, task) in job.tasks.iter() {
                if let job::Phase::Placed(p) = &task.phase {
                    placed.push((&p.agent, *id, range.count()));
                }
            }
        }
        placed.sort_unstable();
        placed.dedup_by(|next, one| {
            let are_together = (next.0, next.1) == (one.0, one.1);
            one.2 += if are_together { next.2 } else { 0 };
            are_together
        });
        let by_agent = self.agents.iter().flat_map(|(agent, state)| {
            state.tasks.iter().map(move |(job, tasks)| (agent, *job, tasks.count()))
        });
        assert_eq!(by_agent.collect::<Vec<_>>(), placed, "tasks by agent");
        assert!(self.pending.counts(self.jobs.values()), "jobs with tasks that wait: {:?}", self.pending);
    }

    /// True where the durable state of both is the same.
    #[must_use]
    pub fn same_state(&self, other: &Self) -> bool {
        self.jobs == other.jobs
            && self.rejected == other.rejected
            && self.agents == other.agents
            && self.queues == other.queues
            && self.inbox == other.inbox
            && self.allocations == other.allocations
            && self.message_ids == other.message_ids
            && self.pending == other.pending
            && self.dependents == other.dependents
    }
}

impl Core for DispatcherCore {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Restore(item) => self.restore(item),
            Input::Replay(entry) => {
                self.fold(&entry);
                self.work.keep_what_cannot_be_found_anew();
                self.forget_stopped();
            }
            Input::Ledger(entry) => {
                self.fold(&entry);
                self.react(now, out);
            }
            Input::Resume { epoch } => self.on_resume(now, epoch, out),
            Input::Submission(submission) => self.on_submission(now, submission, out),
            Input::Reports(batch) => self.on_reports(now, batch, out),
            Input::Cancel(reply, job) => self.on_cancel(now, reply, job, out),
            Input::SetQueue(reply, command) => self.on_set_queue(now, reply, command, out),
            Input::ListJobs(reply, query) => {
                out.push(Output::Jobs(reply, Answer::Ok(self.list_jobs(&query))))
            }
            Input::ShowJob(reply, job, query) => {
                out.push(Output::Job(reply, Box::new(self.show_job(job, &query))))
            }
        }
    }

    fn wake(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.epoch.is_none() {
            return;
        }
        self.queue_again(now, out);
        self.repeat_orders(now);
        self.flush_orders(out);
    }

    fn next_wake(&self) -> Option<(Time, &'static str)> {
        self.epoch?;
        if !self.orders.is_empty() {
            return Some((Time::ZERO, "send orders"));
        }
        let timers = [
            self.backoffs.first().map(|pause| (pause.over_at, "a pause is over")),
            self.repeats.values().map(|(at, _)| (*at, "an agent has not confirmed")).min(),
        ];
        timers.into_iter().flatten().min()
    }
}
