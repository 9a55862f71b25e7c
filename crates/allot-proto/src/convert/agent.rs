//! `agent.proto`.

use std::sync::Arc;

use allot_model::{
    AgentFacts, AgentOrder, AttemptRun, Beat, Epoch, Hello, Incarnation, JobSpec, Launch, OrderBatch,
    QueueName, Report, ReportBatch, Span, Time, Welcome,
};

use super::read::{self, Word};
use crate::WireError;
use crate::v1::{self, agent_order, report, welcome};

impl From<&AgentFacts> for v1::AgentFacts {
    fn from(facts: &AgentFacts) -> Self {
        Self {
            id: facts.id.to_string(),
            incarnation: facts.incarnation.0,
            host: facts.host.clone(),
            resources: Some((&facts.resources).into()),
            attributes: facts.attributes.clone(),
            program_version: facts.program_version.clone(),
        }
    }
}

impl TryFrom<v1::AgentFacts> for AgentFacts {
    type Error = WireError;

    fn try_from(message: v1::AgentFacts) -> Result<Self, WireError> {
        Ok(Self {
            id: read::id(&message.id, "id")?,
            incarnation: Incarnation(message.incarnation),
            host: message.host,
            resources: read::part(message.resources, "resources")?,
            attributes: message.attributes,
            program_version: message.program_version,
        })
    }
}

impl From<&Hello> for v1::Hello {
    fn from(hello: &Hello) -> Self {
        let ended = hello.ended.iter().map(|life| life.0).collect();
        Self { facts: Some((&*hello.facts).into()), ended }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = WireError;

    fn try_from(message: v1::Hello) -> Result<Self, WireError> {
        let ended = message.ended.into_iter().map(Incarnation).collect();
        Ok(Self { facts: Arc::new(read::part(message.facts, "facts")?), ended })
    }
}

impl From<&Welcome> for v1::Welcome {
    fn from(welcome: &Welcome) -> Self {
        let answer = match welcome {
            Welcome::Admitted { beat_every } => {
                welcome::Answer::Admitted(welcome::Admitted { beat_every_us: beat_every.as_micros() })
            }
            Welcome::HelloNeeded => welcome::Answer::HelloNeeded(welcome::HelloNeeded {}),
            Welcome::Refused { message } => {
                welcome::Answer::Refused(welcome::Refused { message: message.clone() })
            }
        };
        Self { answer: Some(answer) }
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = WireError;

    fn try_from(message: v1::Welcome) -> Result<Self, WireError> {
        Ok(match read::required(message.answer, "answer")? {
            welcome::Answer::Admitted(welcome::Admitted { beat_every_us }) => {
                Self::Admitted { beat_every: Span::from_micros(beat_every_us) }
            }
            welcome::Answer::HelloNeeded(welcome::HelloNeeded {}) => Self::HelloNeeded,
            welcome::Answer::Refused(welcome::Refused { message }) => Self::Refused { message },
        })
    }
}

impl From<&Beat> for v1::Beat {
    fn from(beat: &Beat) -> Self {
        let Beat { agent, incarnation, leaving, trouble } = beat;
        let trouble = trouble.clone().unwrap_or_default();
        Self { agent: agent.to_string(), incarnation: incarnation.0, leaving: *leaving, trouble }
    }
}

impl TryFrom<v1::Beat> for Beat {
    type Error = WireError;

    fn try_from(message: v1::Beat) -> Result<Self, WireError> {
        let v1::Beat { agent, incarnation, leaving, trouble } = message;
        let (agent, incarnation) = (read::id(&agent, "agent")?, Incarnation(incarnation));
        Ok(Self { agent, incarnation, leaving, trouble: Some(trouble).filter(|trouble| !trouble.is_empty()) })
    }
}

impl From<&OrderBatch> for v1::OrderBatch {
    fn from(batch: &OrderBatch) -> Self {
        let mut jobs = JobTable::default();
        let orders = batch.orders.iter().map(|order| order_message(order, &mut jobs)).collect();
        let OrderBatch { epoch, incarnation, allocations, .. } = *batch;
        Self { epoch: epoch.0, incarnation: incarnation.0, jobs: jobs.messages, orders, allocations }
    }
}

impl TryFrom<v1::OrderBatch> for OrderBatch {
    type Error = WireError;

    fn try_from(message: v1::OrderBatch) -> Result<Self, WireError> {
        let jobs: Vec<LaunchedJob> = read::parts(message.jobs, "jobs")?;
        let read =
            |(i, order)| read_order(order, &jobs).map_err(|error| error.within(format_args!("orders[{i}]")));
        let orders = message.orders.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let (epoch, incarnation) = (Epoch(message.epoch), Incarnation(message.incarnation));
        Ok(Self { epoch, incarnation, allocations: message.allocations, orders })
    }
}

/// What launches have in common, which is sent once for neighbours in a batch.
struct LaunchedJob {
    queue: QueueName,
    spec: Arc<JobSpec>,
}

impl TryFrom<v1::LaunchedJob> for LaunchedJob {
    type Error = WireError;

    fn try_from(message: v1::LaunchedJob) -> Result<Self, WireError> {
        let spec = read::part(message.spec, "spec")?;
        Ok(Self { queue: read::id(&message.queue, "queue")?, spec: Arc::new(spec) })
    }
}

/// The jobs of a batch under construction.
#[derive(Default)]
struct JobTable<'a> {
    messages: Vec<v1::LaunchedJob>,
    last: Option<&'a Launch>,
}

impl<'a> JobTable<'a> {
    /// The place in the table of what the launch runs. Launches of one job stand side by side, and so do jobs that were
    /// submitted in a row and are alike, so that a look at the last one finds nearly all that there is to share.
    fn place(&mut self, launch: &'a Launch) -> u32 {
        let same = |last: &Launch| last.queue == launch.queue && last.spec == launch.spec;
        if !self.last.is_some_and(same) {
            let queue = launch.queue.to_string();
            self.messages.push(v1::LaunchedJob { queue, spec: Some((&*launch.spec).into()) });
            self.last = Some(launch);
        }
        u32::try_from(self.messages.len() - 1).unwrap_or(u32::MAX)
    }
}

fn order_message<'a>(order: &'a AgentOrder, jobs: &mut JobTable<'a>) -> v1::AgentOrder {
    let order = match order {
        AgentOrder::Launch(launch) => agent_order::Order::Launch(agent_order::Launch {
            run: Some((&launch.run).into()),
            job_index: jobs.place(launch),
            slice: Some((&launch.slice).into()),
            slots: read::fewer_slots(launch.slots, launch.run.tasks),
        }),
        AgentOrder::Kill { run, grace, reason } => agent_order::Order::Kill(agent_order::Kill {
            run: Some(run.into()),
            grace_us: grace.as_micros(),
            reason: reason.number(),
        }),
        AgentOrder::Reconcile { wanted } => agent_order::Order::Reconcile(agent_order::Reconcile {
            wanted: wanted.iter().map(Into::into).collect(),
        }),
        AgentOrder::Acknowledge { sequence } => {
            agent_order::Order::Acknowledge(agent_order::Acknowledge { sequence: *sequence })
        }
    };
    v1::AgentOrder { order: Some(order) }
}

fn read_order(message: v1::AgentOrder, jobs: &[LaunchedJob]) -> Result<AgentOrder, WireError> {
    Ok(match read::required(message.order, "order")? {
        agent_order::Order::Launch(launch) => AgentOrder::Launch(read_launch(launch, jobs)?),
        agent_order::Order::Kill(kill) => AgentOrder::Kill {
            run: read::part(kill.run, "run")?,
            grace: Span::from_micros(kill.grace_us),
            reason: read::word(kill.reason, "reason")?,
        },
        agent_order::Order::Reconcile(reconcile) => {
            AgentOrder::Reconcile { wanted: read::parts(reconcile.wanted, "wanted")? }
        }
        agent_order::Order::Acknowledge(agent_order::Acknowledge { sequence }) => {
            AgentOrder::Acknowledge { sequence }
        }
    })
}

fn read_launch(message: agent_order::Launch, jobs: &[LaunchedJob]) -> Result<Launch, WireError> {
    let place = usize::try_from(message.job_index).ok();
    let unknown = || WireError::field("job_index", format!("{} is not in `jobs`", message.job_index));
    let job = place.and_then(|place| jobs.get(place)).ok_or_else(unknown)?;
    let run: AttemptRun = read::part(message.run, "run")?;
    Ok(Launch {
        run,
        spec: Arc::clone(&job.spec),
        queue: job.queue.clone(),
        slice: read::part(message.slice, "slice")?,
        slots: read::slots(message.slots, run.tasks),
    })
}

impl From<&ReportBatch> for v1::ReportBatch {
    fn from(batch: &ReportBatch) -> Self {
        Self {
            agent: batch.agent.to_string(),
            incarnation: batch.incarnation.0,
            sequence: batch.sequence,
            reports: batch.reports.iter().map(Into::into).collect(),
            allocations: batch.allocations,
        }
    }
}

impl TryFrom<v1::ReportBatch> for ReportBatch {
    type Error = WireError;

    fn try_from(message: v1::ReportBatch) -> Result<Self, WireError> {
        Ok(Self {
            agent: read::id(&message.agent, "agent")?,
            incarnation: Incarnation(message.incarnation),
            sequence: message.sequence,
            allocations: message.allocations,
            reports: read::parts(message.reports, "reports")?,
        })
    }
}

impl From<&Report> for v1::Report {
    fn from(report: &Report) -> Self {
        let (run, event) = match report {
            Report::Started { run, at } => {
                (run, report::Event::Started(report::Started { at_us: at.as_micros() }))
            }
            Report::Ended { run, state, reason, started_at, ended_at, outcome } => {
                let ended = report::Ended {
                    state: state.number(),
                    reason: reason.number(),
                    started_at_us: started_at.map(Time::as_micros),
                    ended_at_us: ended_at.as_micros(),
                    outcome: Some(outcome.into()),
                };
                (run, report::Event::Ended(ended))
            }
        };
        Self { run: Some(run.into()), event: Some(event) }
    }
}

impl TryFrom<v1::Report> for Report {
    type Error = WireError;

    fn try_from(message: v1::Report) -> Result<Self, WireError> {
        let run: AttemptRun = read::part(message.run, "run")?;
        Ok(match read::required(message.event, "event")? {
            report::Event::Started(report::Started { at_us }) => {
                Self::Started { run, at: Time::from_micros(at_us) }
            }
            report::Event::Ended(ended) => Self::Ended {
                run,
                state: read::word(ended.state, "state")?,
                reason: read::word(ended.reason, "reason")?,
                started_at: ended.started_at_us.map(Time::from_micros),
                ended_at: Time::from_micros(ended.ended_at_us),
                outcome: read::part(ended.outcome, "outcome")?,
            },
        })
    }
}
