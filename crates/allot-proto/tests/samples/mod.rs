//! One fixed message for each thing that can be said. They never change; what is new gets a sample of its own.

mod ledger;
mod pool;
mod state;

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;

use allot_model::resources::Ranges;
use allot_model::{
    AgentFacts, AgentOrder, Amount, AttemptRun, Beat, Command, Constraint, Epoch, Executor, Hello,
    Incarnation, JobId, JobSpec, Launch, OnUnreachable, OrderBatch, Outcome, QueueLimit, Reason, Report,
    ReportBatch, Request, Resources, Span, TaskRange, TaskState, Time, Welcome,
};
use allot_proto::Wire;

/// Says whether bytes are read as a certain message.
pub type Reader = dyn Fn(&[u8]) -> bool;

/// A message, its bytes, and whether other bytes mean the same.
pub struct Sample {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub means_the_same: Box<Reader>,
}

pub fn all() -> Vec<Sample> {
    [agent(), ledger::samples(), pool::samples(), state::samples()].into_iter().flatten().collect()
}

fn limit() -> QueueLimit {
    let resources = [("cpus", 4_000), ("gpus", 0)].map(|(name, units)| (id(name), units)).into();
    QueueLimit { tasks: Some(10), resources, pending_jobs: None }
}

fn sample<M: Wire + PartialEq + 'static>(name: &'static str, message: M) -> Sample {
    let bytes = message.encode();
    Sample {
        name,
        bytes,
        means_the_same: Box::new(move |other| M::decode(other).is_ok_and(|read| read == message)),
    }
}

fn id<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Some seconds after a day in 2025.
fn at(seconds: u64) -> Time {
    Time::from_micros(1_750_000_000_000_000 + seconds * 1_000_000)
}

fn run(first: u32, last: u32) -> AttemptRun {
    AttemptRun { job: JobId(12), tasks: TaskRange { first, last }, attempt: 2 }
}

fn slice() -> Resources {
    [(id("cpus"), Amount::Scalar(500)), (id("mem"), Amount::Scalar(512 << 20))].into_iter().collect()
}

fn total() -> Resources {
    let gpus = [("0".to_owned(), 1_000), ("1".to_owned(), 250)].into();
    let ports: Ranges = [(31_000, 31_999), (40_000, 40_000)].into_iter().collect();
    let mut total = slice();
    total.set(id("gpus"), Amount::Items(gpus));
    total.set(id("ports"), Amount::Ranges(ports));
    total
}

fn request() -> Request {
    [(id("cpus"), 500), (id("mem"), 512 << 20)].into_iter().collect()
}

fn full_spec() -> JobSpec {
    JobSpec {
        name: Some("train".to_owned()),
        command: Command::Argv(["python3", "train.py"].map(str::to_owned).into()),
        env: [("LANG".to_owned(), "C".to_owned())].into(),
        workdir: Some("/data".to_owned()),
        resources: request(),
        tasks: 100,
        priority: -5,
        constraints: vec![Constraint::parse("zone == b").unwrap()],
        retries: 3,
        backoff: Span::from_secs(2),
        time_limit: Some(Span::from_secs(5_400)),
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_secs(5),
        after: vec![JobId(10), JobId(11)],
        on_unreachable: OnUnreachable::Retry,
        executor: Executor::Noop,
    }
}

/// With what policies that plan ahead look at.
fn planned_spec() -> JobSpec {
    JobSpec {
        estimate: Some(Span::from_secs(1_200)),
        deadline: Some(Span::from_secs(86_400)),
        min_tasks: 40,
        same: Some("rack".to_owned()),
        ..full_spec()
    }
}

/// The least that a spec can be: a line for the shell and all defaults.
fn plain_spec() -> JobSpec {
    JobSpec {
        name: None,
        command: Command::Shell("echo hello".to_owned()),
        env: [].into(),
        workdir: None,
        resources: [(id("cpus"), 1_000)].into_iter().collect(),
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
        kill_grace: Span::from_secs(10),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    }
}

fn facts() -> Arc<AgentFacts> {
    Arc::new(AgentFacts {
        id: id("node-1"),
        incarnation: Incarnation(7),
        host: "node-1.example".to_owned(),
        resources: total(),
        attributes: [("zone".to_owned(), "b".to_owned())].into(),
        program_version: "0.1.0".to_owned(),
    })
}

fn beat(leaving: bool, trouble: Option<&str>) -> Beat {
    Beat { agent: id("node-1"), incarnation: Incarnation(7), leaving, trouble: trouble.map(str::to_owned) }
}

fn failed() -> Outcome {
    Outcome {
        exit_code: Some(3),
        signal: Some(9),
        wall_us: 1_500_000,
        cpu_us: 700_000,
        peak_mem_bytes: 4_096_000,
        message: Some("killed".into()),
    }
}

fn agent() -> Vec<Sample> {
    vec![
        sample("job_spec.full", full_spec()),
        sample("job_spec.planned", planned_spec()),
        sample("job_spec.plain", plain_spec()),
        sample("hello", Hello { facts: facts(), ended: Vec::new() }),
        sample("hello_after_others", Hello { facts: facts(), ended: vec![Incarnation(6), Incarnation(5)] }),
        sample("welcome.admitted", Welcome::Admitted { beat_every: Span::from_secs(1) }),
        sample("welcome.hello_needed", Welcome::HelloNeeded),
        sample("welcome.refused", Welcome::Refused { message: "draining".to_owned() }),
        sample("beat", beat(false, None)),
        sample("beat_leaving", beat(true, None)),
        sample("beat_in_trouble", beat(false, Some("No space left on device"))),
        sample("order_batch", orders()),
        sample("order_batch.known", OrderBatch { allocations: 9, ..orders() }),
        sample("order_batch.turns", turns()),
        sample("report_batch", reports()),
        sample("report_batch.known", ReportBatch { allocations: 9, ..reports() }),
    ]
}

fn turns() -> OrderBatch {
    let (spec, queue) = (Arc::new(plain_spec()), id("research.vision"));
    let launch = Launch { run: run(0, 9), spec, queue, slice: slice(), slots: 2 };
    OrderBatch {
        epoch: Epoch(3),
        incarnation: Incarnation(7),
        allocations: 0,
        orders: vec![AgentOrder::Launch(launch)],
    }
}

fn orders() -> OrderBatch {
    let spec = Arc::new(plain_spec());
    let launch = |run: AttemptRun| Launch {
        run,
        spec: Arc::clone(&spec),
        queue: id("research.vision"),
        slice: slice(),
        slots: run.tasks.count(),
    };
    let orders = vec![
        AgentOrder::Launch(launch(run(0, 9))),
        AgentOrder::Launch(launch(run(20, 20))),
        AgentOrder::Kill { run: run(3, 4), grace: Span::from_secs(10), reason: Reason::TimeLimit },
        AgentOrder::Reconcile { wanted: vec![run(0, 2), run(5, 9)] },
        AgentOrder::Acknowledge { sequence: 41 },
    ];
    OrderBatch { epoch: Epoch(3), incarnation: Incarnation(7), allocations: 0, orders }
}

fn reports() -> ReportBatch {
    let ended = |run, state, reason, started_at, outcome| Report::Ended {
        run,
        state,
        reason,
        started_at,
        ended_at: at(3),
        outcome,
    };
    let reports = vec![
        Report::Started { run: run(0, 9), at: at(1) },
        ended(run(0, 0), TaskState::Failed, Reason::ExitedNonzero, Some(at(1)), failed()),
        ended(run(1, 1), TaskState::Gone, Reason::UnknownToAgent, None, Outcome::default()),
    ];
    ReportBatch { agent: id("node-1"), incarnation: Incarnation(7), sequence: 42, allocations: 0, reports }
}
