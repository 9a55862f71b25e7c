//! Lets a test of the dispatcher read as a story.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;

use allot_dispatcher_core::{DispatcherCore, Input, Options, Output, Submission};
use allot_model::*;

/// A dispatcher with its ledger, and what it told agents and people.
pub struct House {
    pub core: DispatcherCore,
    pub now: Time,
    /// Every record in the order of the ledger, own and others'.
    pub ledger: Vec<Entry>,
    /// Orders since they were last looked at.
    pub orders: Vec<(AgentId, AgentOrder)>,
    pub answers: Vec<Answer<Done>>,
    /// Everything that came out since it was last looked at, as lines of a transcript.
    pub told: Vec<String>,
    pub options: Options,
    next_job: u64,
    reports: u64,
}

pub fn agent_id(text: &str) -> AgentId {
    AgentId::new(text).unwrap()
}

pub fn queue(text: &str) -> QueueName {
    QueueName::new(text).unwrap()
}

/// A command that sets nothing yet.
pub fn set(name: &str) -> QueueSetCommand {
    QueueSetCommand {
        queue: queue(name),
        weight: None,
        no_limit: false,
        limit: LimitChange::default(),
        no_guarantee: false,
        guarantee: LimitChange::default(),
        hold_back: None,
    }
}

pub fn run(job: u64, first: u32, last: u32, attempt: u32) -> AttemptRun {
    AttemptRun { job: JobId(job), tasks: TaskRange { first, last }, attempt }
}

pub fn slice() -> Resources {
    [(ResourceName::new("cpus").unwrap(), Amount::Scalar(1_000))].into_iter().collect()
}

pub fn spec(tasks: u32) -> JobSpec {
    JobSpec {
        name: None,
        command: Command::Shell("true".into()),
        env: Default::default(),
        workdir: None,
        resources: [(ResourceName::new("cpus").unwrap(), 1_000)].into_iter().collect(),
        tasks,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::from_secs(1),
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_secs(10),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    }
}

/// How a task that did its work ended.
pub const FINE: (TaskState, Reason) = (TaskState::Finished, Reason::ExitedZero);
/// How a task that failed ended.
pub const BAD: (TaskState, Reason) = (TaskState::Failed, Reason::ExitedNonzero);

impl House {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let mut house = Self {
            core: DispatcherCore::new(options),
            now: Time::from_micros(1_000_000_000),
            ledger: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            told: Vec::new(),
            options,
            next_job: 0,
            reports: 0,
        };
        house.give(Input::Resume { epoch: Epoch(1) });
        house
    }

    pub fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.core.sanity_check();
        if self.core.next_wake().is_some_and(|(at, _)| at <= self.now) {
            self.core.wake(self.now, &mut out);
        }
        self.take(out);
    }

    fn take(&mut self, out: Vec<Output>) {
        self.core.sanity_check();
        let passed = self.now.since(Time::from_micros(1_000_000_000));
        self.told.extend(out.iter().flat_map(tell).map(|text| format!("{passed} {text}")));
        for output in out {
            match output {
                Output::Append(record) => self.ledger.push(Entry { at: self.now, record }),
                Output::Orders(agent, batch) => {
                    self.orders.extend(batch.orders.into_iter().map(|order| (agent.clone(), order)));
                }
                Output::Done(_, answer) => self.answers.push(answer),
                Output::Jobs(..) | Output::Job(..) => {}
            }
        }
    }

    /// Lets time pass, waking the core whenever it wants to be woken.
    pub fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.core.wake(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
    }

    pub fn record(&mut self, record: Record) {
        let entry = Entry { at: self.now, record };
        self.ledger.push(entry.clone());
        self.give(Input::Ledger(entry));
    }

    pub fn submit(&mut self, spec: JobSpec) -> u64 {
        self.submit_as(None, Ok((queue("a"), Arc::new(spec))))
    }

    pub fn submit_as(
        &mut self,
        message_id: Option<&str>,
        content: Result<(QueueName, Arc<JobSpec>), Rejection>,
    ) -> u64 {
        self.next_job += 1;
        let job = JobId(self.next_job);
        let message_id = message_id.map(Arc::from);
        let submission = Submission { job, queue: "a".into(), submitted_at: self.now, message_id, content };
        self.give(Input::Submission(submission));
        self.next_job
    }

    pub fn join(&mut self, id: &str, incarnation: u64) {
        let facts = Arc::new(AgentFacts {
            id: agent_id(id),
            incarnation: Incarnation(incarnation),
            host: id.to_owned(),
            resources: slice(),
            attributes: Attributes::new(),
            program_version: "0.1.0".into(),
        });
        self.record(Record::Registry(RegistryRecord::AgentJoined { facts }));
    }

    pub fn registry(&mut self, record: RegistryRecord) {
        self.record(Record::Registry(record));
    }

    pub fn allocated(&self, agent: &str, run: AttemptRun, slots: u64) -> Entry {
        let (agent, queue, slice) = (agent_id(agent), queue("a"), slice());
        let placements = vec![Placement { agent, run, queue, slice, slots }];
        let record = OffersRecord::Allocated { epoch: Epoch(1), grant: GrantId(1), placements };
        Entry { at: self.now, record: Record::Offers(record) }
    }

    pub fn allocate(&mut self, agent: &str, run: AttemptRun) {
        self.allocate_slots(agent, run, run.tasks.count());
    }

    pub fn allocate_slots(&mut self, agent: &str, run: AttemptRun, slots: u64) {
        let record = self.allocated(agent, run, slots).record;
        self.record(record);
    }

    pub fn preempted(&self, agent: &str, run: AttemptRun, by: u64) -> Record {
        Record::Offers(OffersRecord::Preempted(Preemption {
            epoch: Epoch(1),
            grant: GrantId(2),
            job: JobId(by),
            agent: agent_id(agent),
            cause: PreemptCause::Priority,
            victims: vec![Victim { agent: agent_id(agent), run }],
        }))
    }

    pub fn preempt(&mut self, agent: &str, run: AttemptRun, by: u64) {
        let record = self.preempted(agent, run, by);
        self.record(record);
    }

    pub fn report(&mut self, agent: &str, incarnation: u64, reports: Vec<Report>) {
        self.reports += 1;
        let incarnation = Incarnation(incarnation);
        self.give(Input::Reports(ReportBatch {
            agent: agent_id(agent),
            incarnation,
            sequence: self.reports,
            allocations: 0,
            reports,
        }));
    }

    pub fn started(&mut self, agent: &str, run: AttemptRun) {
        let at = self.now;
        self.report(agent, 1, vec![Report::Started { run, at }]);
    }

    pub fn ended(&mut self, agent: &str, run: AttemptRun, how: (TaskState, Reason)) {
        let (state, reason) = how;
        let (ended_at, outcome) = (self.now, Outcome::default());
        self.report(
            agent,
            1,
            vec![Report::Ended { run, state, reason, started_at: None, ended_at, outcome }],
        );
    }

    pub fn set_queue(&mut self, command: QueueSetCommand) {
        self.give(Input::SetQueue(ReplyTo("r".into()), command));
    }

    pub fn cancel(&mut self, job: u64) {
        self.give(Input::Cancel(ReplyTo("r".into()), JobId(job)));
    }

    /// Takes the orders since the last time, as short texts.
    pub fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.orders)
            .into_iter()
            .map(|(agent, order)| format!("{agent}: {}", short(&order)))
            .collect()
    }

    /// The last records as short texts, own ones only.
    pub fn wrote(&self) -> Vec<String> {
        let own = |entry: &Entry| match &entry.record {
            Record::Dispatcher(record) => Some(write(record)),
            _ => None,
        };
        self.ledger.iter().filter_map(own).collect()
    }

    pub fn last(&self) -> String {
        self.wrote().pop().unwrap_or_default()
    }

    pub fn view(&self, job: u64) -> JobView {
        let mut core = self.core.clone();
        let mut out = Vec::new();
        let input = Input::ShowJob(ReplyTo("r".into()), JobId(job), JobQuery::default());
        core.handle(self.now, input, &mut out);
        out.into_iter()
            .find_map(|output| match output {
                Output::Job(_, answer) => match *answer {
                    Answer::Ok(view) => Some(view),
                    Answer::Error(_) => None,
                },
                _ => None,
            })
            .unwrap()
    }

    /// The job's tasks as `range state reason`, run by run.
    pub fn tasks(&self, job: u64) -> Vec<String> {
        let text = |run: &TaskRunView| {
            let state = serde_json::to_value(run.attempt.state).unwrap();
            let attempt = run.attempt.attempt;
            format!("{}#{attempt} {} {}", run.tasks, state.as_str().unwrap(), run.attempt.reason.as_str())
        };
        self.view(job).runs.iter().map(text).collect()
    }

    pub fn state(&self, job: u64) -> JobState {
        self.view(job).summary.state
    }

    /// A dispatcher that knows this one's ledger and nothing else.
    pub fn rebuilt(&self) -> DispatcherCore {
        self.replayed(DispatcherCore::new(self.options), &self.ledger)
    }

    /// The core after these records.
    fn replayed<'a>(
        &self,
        mut core: DispatcherCore,
        records: impl IntoIterator<Item = &'a Entry>,
    ) -> DispatcherCore {
        let mut out = Vec::new();
        records.into_iter().for_each(|entry| core.handle(entry.at, Input::Replay(entry.clone()), &mut out));
        assert!(out.is_empty(), "a replay has no outputs");
        core
    }

    /// A core from a snapshot of another, as it is saved, and from the records that were not in it.
    pub fn restored<'a>(
        &self,
        of: &DispatcherCore,
        tail: impl IntoIterator<Item = &'a Entry>,
    ) -> DispatcherCore {
        let head = SnapshotHead {
            writer: Writer::Dispatcher,
            epoch: Epoch(1),
            ledger_sequence: 0,
            ledger_at: Time::ZERO,
            own_sequence: 0,
            inbox_sequence: 0,
            taken_at: Time::ZERO,
            items: 0,
        };
        let bytes = allot_proto::encode_snapshot(&head, of.snapshot());
        let (mut core, mut out) = (DispatcherCore::new(self.options), Vec::new());
        for item in allot_proto::SnapshotReader::new(&bytes).unwrap() {
            core.handle(Time::ZERO, Input::Restore(item.unwrap()), &mut out);
        }
        assert!(out.is_empty(), "a snapshot has no outputs");
        core.sanity_check();
        self.replayed(core, tail)
    }

    /// A core from a snapshot of the first `cut` records, and from those after them.
    pub fn restored_at(&self, cut: usize) -> DispatcherCore {
        let (before, tail) = self.ledger.split_at(cut.min(self.ledger.len()));
        self.restored(&self.replayed(DispatcherCore::new(self.options), before), tail)
    }

    /// Another dispatcher takes over from the ledger.
    pub fn restart(&mut self) {
        self.core = self.rebuilt();
        self.orders.clear();
        self.give(Input::Resume { epoch: Epoch(2) });
    }
}

/// An output as lines of a transcript.
fn tell(output: &Output) -> Vec<String> {
    match output {
        Output::Append(Record::Dispatcher(record)) => vec![format!("append {}", write(record))],
        Output::Append(record) => vec![format!("append {record:?}")],
        Output::Orders(agent, batch) => {
            batch.orders.iter().map(|order| format!("order {agent}: {}", short(order))).collect()
        }
        Output::Done(_, Answer::Ok(done)) => vec![format!("done: {}", done.message)],
        Output::Done(_, Answer::Error(refusal)) => vec![format!("refused: {}", refusal.message)],
        Output::Jobs(..) | Output::Job(..) => Vec::new(),
    }
}

fn name(run: &AttemptRun) -> String {
    format!("{}.{}#{}", run.job, run.tasks, run.attempt)
}

fn short(order: &AgentOrder) -> String {
    match order {
        AgentOrder::Launch(launch) if launch.slots < launch.run.tasks.count() => {
            format!("launch {}, {} at a time", name(&launch.run), launch.slots)
        }
        AgentOrder::Launch(launch) => format!("launch {}", name(&launch.run)),
        AgentOrder::Kill { run, reason, .. } => format!("kill {} {}", name(run), reason.as_str()),
        AgentOrder::Reconcile { wanted } => {
            format!("reconcile {}", wanted.iter().map(name).collect::<Vec<_>>().join(" ")).trim().to_owned()
        }
        AgentOrder::Acknowledge { sequence } => format!("acknowledge {sequence}"),
    }
}

fn write(record: &DispatcherRecord) -> String {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    match record {
        DispatcherRecord::JobAdmitted { job, waits, .. } => {
            format!("admitted {job}{}", if *waits { " waiting" } else { "" })
        }
        DispatcherRecord::JobRejected { job, rejection, .. } => format!("rejected {job} {}", rejection.field),
        DispatcherRecord::JobReady { job } => format!("ready {job}"),
        DispatcherRecord::TasksQueued { run } => format!("queued {}", name(run)),
        DispatcherRecord::TasksStarted { run, .. } => format!("started {}", name(run)),
        DispatcherRecord::TasksKilling { run, reason, by, .. } => {
            let by = by.as_ref().map(|by| format!(" by {} of {}", by.job, by.queue)).unwrap_or_default();
            format!("killing {} {}{by}", name(run), reason.as_str())
        }
        DispatcherRecord::TasksEnded { run, state, reason, retry_at, .. } => {
            let state = word(serde_json::to_value(state).unwrap());
            let retry = if retry_at.is_some() { ", again" } else { "" };
            format!("ended {} {state} {}{retry}", name(run), reason.as_str())
        }
        DispatcherRecord::AllocationReturned { run, .. } => format!("returned {}", name(run)),
        DispatcherRecord::JobCancelled { job } => format!("cancelled {job}"),
        DispatcherRecord::JobEnded { job, state, .. } => {
            format!("job {job} {}", word(serde_json::to_value(state).unwrap()))
        }
        DispatcherRecord::QueueSet { queue, weight, limit, guarantee } if guarantee.is_none() => {
            format!("queue {queue} weight {weight}, {}", limit.in_words())
        }
        DispatcherRecord::QueueSet { queue, weight, limit, guarantee } => {
            format!("queue {queue} weight {weight}, {}, {}", limit.in_words(), guarantee.in_words())
        }
    }
}
