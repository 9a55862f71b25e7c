//! Lets a test tell what happens to an agent, and reads back what the agent does about it, as text.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "for tests, each of which uses its part")]

use std::fmt::Write;
use std::sync::Arc;

use allot_agent_core::{AgentCore, End, Exit, Input, JournalEntry, Note, Output, ProcessId, Settings};
use allot_model::{
    AgentFacts, AgentId, AgentOrder, Amount, AttemptId, AttemptRun, Attributes, Command, Core, Epoch,
    Executor, Incarnation, JobSpec, Launch, OnUnreachable, OrderBatch, QueueName, Reason, Report, Request,
    ResourceName, Resources, Span, Time, Welcome,
};

/// The incarnation of every agent here.
pub const LIFE: Incarnation = Incarnation(9);

/// How long reports gather that nobody waits for.
pub const GATHER: Span = Span::from_millis(10);

/// An agent of two cpus, and all that it did.
pub struct Story {
    pub core: AgentCore,
    pub now: Time,
    pub journal: Vec<JournalEntry>,
    told: String,
}

pub fn cpus(milli: u64) -> Resources {
    [(ResourceName::new("cpus").unwrap(), Amount::Scalar(milli))].into_iter().collect()
}

pub fn run(text: &str) -> AttemptRun {
    text.parse().unwrap()
}

pub fn attempt(text: &str) -> AttemptId {
    text.parse().unwrap()
}

pub fn spec() -> JobSpec {
    JobSpec {
        name: None,
        command: Command::Argv(vec!["true".into()]),
        env: Default::default(),
        workdir: None,
        resources: Request::new(),
        tasks: 1,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::from_secs(1),
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_secs(5),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    }
}

pub fn launch_in(text: &str, spec: JobSpec, slice: Resources) -> AgentOrder {
    let queue = QueueName::new("q").unwrap();
    let run = run(text);
    AgentOrder::Launch(Launch { run, spec: Arc::new(spec), queue, slice, slots: run.tasks.count() })
}

pub fn launch_of(text: &str, spec: JobSpec) -> AgentOrder {
    launch_in(text, spec, cpus(1_000))
}

pub fn launch(text: &str) -> AgentOrder {
    launch_of(text, spec())
}

pub fn noop(text: &str) -> AgentOrder {
    launch_of(text, JobSpec { executor: Executor::Noop, ..spec() })
}

pub fn kill(text: &str) -> AgentOrder {
    AgentOrder::Kill { run: run(text), grace: Span::from_secs(5), reason: Reason::CancelledByUser }
}

pub fn reconcile(wanted: &[&str]) -> AgentOrder {
    AgentOrder::Reconcile { wanted: wanted.iter().map(|text| run(text)).collect() }
}

pub fn acknowledge(sequence: u64) -> AgentOrder {
    AgentOrder::Acknowledge { sequence }
}

pub fn process() -> ProcessId {
    ProcessId { pid: 77, not_before_ticks: 5, not_after_ticks: 6 }
}

pub fn settings() -> Settings {
    Settings { noop: true, output_wait: Span::from_secs(2) }
}

pub fn facts() -> Arc<AgentFacts> {
    Arc::new(AgentFacts {
        id: AgentId::new("a1").unwrap(),
        incarnation: LIFE,
        host: "h1".into(),
        resources: cpus(2_000),
        attributes: Attributes::new(),
        program_version: "1".into(),
    })
}

impl Story {
    /// An agent that the registry has welcomed, with beats so far apart that they do not disturb.
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let mut story = Self::unread(settings);
        story.give(Input::Resume);
        story.welcomed().orders(&[]);
        story.told.clear();
        story
    }

    pub fn welcomed(&mut self) -> &mut Self {
        self.give(Input::Welcome(Welcome::Admitted { beat_every: Span::from_secs(1_000_000) }))
    }

    pub fn unread(settings: Settings) -> Self {
        let core = AgentCore::new(facts(), settings);
        Self { core, now: Time::ZERO, journal: Vec::new(), told: String::new() }
    }

    /// The next life of the same agent, over the same journal.
    pub fn restarted(self) -> Self {
        self.restarted_as(AgentCore::new(facts(), settings()))
    }

    pub fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// The next life, as this.
    pub fn restarted_as(self, core: AgentCore) -> Self {
        let mut next = Self::unread(settings());
        next.core = core;
        (next.now, next.told) = (self.now, self.told);
        for entry in &self.journal {
            next.core.handle(next.now, Input::Replay(entry.clone()), &mut Vec::new());
        }
        assert_eq!(next.core.memory(), self.core.memory(), "the journal holds all that is remembered");
        next.journal = self.journal;
        next.give(Input::Resume);
        next
    }

    pub fn give(&mut self, input: Input) -> &mut Self {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.take(out);
        self
    }

    pub fn orders(&mut self, orders: &[AgentOrder]) -> &mut Self {
        self.give(Input::Orders(OrderBatch {
            epoch: Epoch(1),
            incarnation: LIFE,
            allocations: 0,
            orders: orders.to_vec(),
        }))
    }

    /// A process was started, long enough ago that this has been reported.
    pub fn started(&mut self, text: &str) -> &mut Self {
        self.just_started(text).pass_for(GATHER)
    }

    pub fn just_started(&mut self, text: &str) -> &mut Self {
        self.give(Input::Started { attempt: attempt(text), at: self.now, process: process() })
    }

    pub fn exited(&mut self, text: &str, exit_code: i32) -> &mut Self {
        let exit = self.exit(Some(exit_code), None);
        self.give(Input::Exited { attempt: attempt(text), exit })
    }

    pub fn exit(&self, exit_code: Option<i32>, signal: Option<i32>) -> Exit {
        Exit { at: self.now, exit_code, signal, cpu_us: 0, peak_mem_bytes: 0, has_output: false }
    }

    /// Lets time pass, waking the agent whenever it wants to be.
    pub fn pass(&mut self, seconds: u64) -> &mut Self {
        self.pass_for(Span::from_secs(seconds))
    }

    pub fn pass_for(&mut self, span: Span) -> &mut Self {
        let end = self.now + span;
        while let Some((at, _)) = self.core.next_wake().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            let mut out = Vec::new();
            self.core.wake(self.now, &mut out);
            self.take(out);
        }
        self.now = end;
        self
    }

    fn take(&mut self, out: Vec<Output>) {
        self.core.sanity_check();
        for output in out {
            self.tell(&output);
            if let Output::Journal(entry) = output {
                self.journal.push(entry);
            }
        }
    }

    fn tell(&mut self, output: &Output) {
        let seconds = self.now.as_micros() / 1_000_000;
        let mut line = |text: String| writeln!(self.told, "{seconds:>3}s {text}").unwrap();
        match output {
            Output::Journal(entry) => line(format!("journal {}", in_words(entry))),
            Output::Spawn { attempt, .. } => line(format!("spawn {attempt}")),
            Output::Signal { attempt, signal } => line(format!("signal {attempt} {signal:?}")),
            Output::TakeBack { adopt, kill } if adopt.is_empty() && kill.is_empty() => {}
            Output::TakeBack { adopt, kill } => {
                let pid = |process: ProcessId| process.pid;
                let adopt = adopt.iter().map(|o| format!("{} pid {:?}", o.attempt, o.process.map(pid)));
                let kill = kill.iter().map(|process| format!("kill pid {}", process.pid));
                line(format!("take back {}", adopt.chain(kill).collect::<Vec<_>>().join(", ")));
            }
            Output::Hello(_) => line("hello".into()),
            Output::Beat(_) => line("beat".into()),
            Output::Report(batch) => {
                let reports: Vec<String> = batch.reports.iter().map(report_in_words).collect();
                line(format!("report {}: {}", batch.sequence, reports.join(", ")));
            }
            Output::Refused { message } => line(format!("refused: {message}")),
        }
    }

    /// Compares all that was done since the last call.
    #[track_caller]
    pub fn did(&mut self, expected: &str) -> &mut Self {
        let trim =
            |text: &str| text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n");
        let told = std::mem::take(&mut self.told);
        assert_eq!(trim(&told), trim(expected), "\ntold:\n{told}");
        self
    }

    /// All that was done since the last call.
    pub fn told(&mut self) -> String {
        std::mem::take(&mut self.told)
    }
}

fn in_words(entry: &JournalEntry) -> String {
    match entry {
        JournalEntry::Snapshot(_) => "snapshot".into(),
        JournalEntry::Obeying { epoch, .. } => format!("obeying {epoch}"),
        JournalEntry::Starting { run, .. } => format!("starting {run}"),
        JournalEntry::Running { attempt, .. } => format!("running {attempt}"),
        JournalEntry::Stopping { attempt, order } => format!("stopping {attempt} {}", order.reason.as_str()),
        JournalEntry::Ended { end, held } => {
            format!("{}{}", end_in_words(end), if *held { ", held" } else { "" })
        }
        JournalEntry::Released { attempt } => format!("released {attempt}"),
        JournalEntry::Batched { sequence } => format!("batch {sequence}"),
        JournalEntry::Acknowledged { sequence } => format!("acknowledged {sequence}"),
    }
}

fn end_in_words(end: &End) -> String {
    report_in_words(&Note::Ended(Arc::new(end.clone())).to_report())
}

fn report_in_words(report: &Report) -> String {
    match report {
        Report::Started { run, .. } => format!("started {run}"),
        Report::Ended { run, state, reason, started_at, .. } => {
            let state = serde_json::to_string(state).unwrap();
            let ran = if started_at.is_some() { "" } else { ", never ran" };
            format!("ended {run} {} {}{ran}", state.trim_matches('"'), reason.as_str())
        }
    }
}
