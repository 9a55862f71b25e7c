//! A record of the ledger, told: as a readable line, and as JSON.

use allot_model::{
    AgentFacts, AgentId, AttemptRun, DispatcherRecord, Entry, Epoch, GrantId, JobId, JobSpec, OffersRecord,
    Placement, Preemption, QueueName, Record, RegistryRecord, Rejection, Time, Victim, Writer,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::job::ending;
use crate::output::{resources, timestamp};
use crate::states::word;

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Told {
    /// When it was decided, microseconds since 1970.
    pub at: Time,
    /// The number of the ledger entry that holds it.
    pub sequence: u64,
    /// Who wrote it.
    pub writer: &'static str,
    /// What kind of event it is.
    pub event: &'static str,
    /// The job it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The agent it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// What else there is to it.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// All of it, in words.
    #[serde(skip)]
    pub words: String,
}

impl Told {
    /// Tells a record: one event, or one for each placement of a grant.
    #[must_use]
    pub fn of(sequence: u64, writer: Writer, entry: &Entry) -> Vec<Self> {
        let told = match &entry.record {
            Record::Writer(started) => vec![Self::new(
                "writer_started",
                format!(
                    "{} {} writes from here on, epoch {}",
                    writer.as_str(),
                    started.instance,
                    started.epoch
                ),
                json!({"epoch": started.epoch, "instance": started.instance}),
            )],
            Record::Registry(record) => vec![registry(record)],
            Record::Offers(record) => offers(record),
            Record::Dispatcher(record) => vec![dispatcher(record)],
        };
        let placed = |told| Self { at: entry.at, sequence, writer: writer.as_str(), ..told };
        told.into_iter().map(placed).collect()
    }

    fn new(event: &'static str, words: String, fields: Value) -> Self {
        let fields = if let Value::Object(fields) = fields { fields } else { Map::new() };
        Self { at: Time::ZERO, sequence: 0, writer: "", event, job: None, agent: None, fields, words }
    }

    fn job(self, job: JobId) -> Self {
        Self { job: Some(job), ..self }
    }

    fn agent(self, agent: &AgentId) -> Self {
        Self { agent: Some(agent.clone()), ..self }
    }

    /// Something that happened to tasks on an agent.
    fn on(self, agent: &AgentId, run: AttemptRun) -> Self {
        let mut told = self.agent(agent).tried(run);
        told.words = format!("{} on {agent}: {}", run_text(run), told.words);
        told
    }

    fn tried(self, run: AttemptRun) -> Self {
        let mut told = self.job(run.job);
        told.fields.insert("tasks".into(), json!(run.tasks.to_string()));
        told.fields.insert("attempt".into(), json!(run.attempt));
        told
    }
}

/// `12.0-99#1`.
fn run_text(run: AttemptRun) -> String {
    format!("{}.{}#{}", run.job, run.tasks, run.attempt)
}

fn words_of(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn registry(record: &RegistryRecord) -> Told {
    let told = |event, agent: &AgentId, what: &str| {
        Told::new(event, format!("agent {agent} {what}"), json!({})).agent(agent)
    };
    match record {
        RegistryRecord::AgentJoined { facts } => joined(facts),
        RegistryRecord::AgentUnreachable { agent } => told("agent_unreachable", agent, "is silent"),
        RegistryRecord::AgentReturned { agent } => told("agent_returned", agent, "is back"),
        RegistryRecord::AgentDraining { agent, kill: true } => {
            told("agent_draining", agent, "is being drained, its tasks killed")
        }
        RegistryRecord::AgentDraining { agent, kill: false } => {
            told("agent_draining", agent, "is being drained")
        }
        RegistryRecord::AgentDrained { agent } => told("agent_drained", agent, "is drained"),
        RegistryRecord::AgentUndrained { agent } => told("agent_undrained", agent, "takes tasks again"),
        RegistryRecord::AgentGone { agent } => told("agent_gone", agent, "is gone for good"),
    }
}

fn joined(facts: &AgentFacts) -> Told {
    let AgentFacts { id, host, .. } = facts;
    let all = words_of(&facts.resources);
    let words = format!("agent {id} on {host} joined with {}", resources(&all));
    let fields = json!({
        "host": host,
        "incarnation": facts.incarnation,
        "resources": all,
        "attributes": facts.attributes,
        "program_version": facts.program_version,
    });
    Told::new("agent_joined", words, fields).agent(id)
}

fn offers(record: &OffersRecord) -> Vec<Told> {
    match record {
        OffersRecord::Allocated { epoch, grant, placements } => {
            placements.iter().map(|placement| allocated(*epoch, *grant, placement)).collect()
        }
        OffersRecord::Preempted(preemption) => {
            preemption.victims.iter().map(|victim| preempted(preemption, victim)).collect()
        }
        OffersRecord::AllocatorActivated { epoch, instance, policy } => vec![Told::new(
            "allocator_activated",
            format!("allocator {instance} decides from here on with policy {policy}, epoch {epoch}"),
            json!({"epoch": epoch, "instance": instance, "policy": policy}),
        )],
        OffersRecord::PolicyChosen { policy } => {
            vec![Told::new("policy_chosen", format!("policy {policy} was chosen"), json!({"policy": policy}))]
        }
    }
}

fn allocated(epoch: Epoch, grant: GrantId, placement: &Placement) -> Told {
    let Placement { agent, run, queue, slice, slots } = placement;
    let slice = words_of(slice);
    let each = match run.tasks.count() {
        1 => String::new(),
        count if count == *slots => " each".to_owned(),
        _ => format!(" for {slots} at a time"),
    };
    let words = format!("allocated {}{each} for {queue}", resources(&slice));
    let fields = json!({"epoch": epoch, "grant": grant, "queue": queue, "slice": slice, "slots": slots});
    Told::new("allocated", words, fields).on(agent, *run)
}

/// Of one run of the tasks that it stops.
fn preempted(preemption: &Preemption, Victim { agent, run }: &Victim) -> Told {
    let Preemption { epoch, grant, job, agent: room, cause, .. } = preemption;
    let words = format!("is to make room on {room} for job {job} ({})", cause.reason().as_str());
    let fields =
        json!({"epoch": epoch, "grant": grant, "for": job, "room_on": room, "reason": cause.reason()});
    Told::new("preempted", words, fields).on(agent, *run)
}

fn dispatcher(record: &DispatcherRecord) -> Told {
    match record {
        DispatcherRecord::JobAdmitted { job, queue, message_id, submitted_at, spec, waits } => {
            let told = admitted(*job, queue, spec, *waits);
            with(told, json!({"message_id": message_id.as_deref(), "submitted_at": submitted_at}))
        }
        DispatcherRecord::JobRejected { job, queue, submitted_at, rejection } => {
            with(rejected(*job, queue, rejection), json!({"submitted_at": submitted_at}))
        }
        DispatcherRecord::JobReady { job } => {
            Told::new("job_ready", format!("job {job}: what it waited for has finished"), json!({})).job(*job)
        }
        DispatcherRecord::TasksQueued { run } => {
            Told::new("tasks_queued", format!("{} waits for a place", run_text(*run)), json!({})).tried(*run)
        }
        DispatcherRecord::TasksStarted { agent, run, started_at } => {
            Told::new("tasks_started", "started".into(), json!({"started_at": started_at})).on(agent, *run)
        }
        DispatcherRecord::TasksKilling { agent, run, reason, by } => {
            let whom = by.as_ref().map(|by| format!(" by job {} of {}", by.job, by.queue));
            let words = format!("is asked to stop ({}{})", reason.as_str(), whom.unwrap_or_default());
            with(Told::new("tasks_killing", words, json!({"reason": reason})), json!({"by": by}))
                .on(agent, *run)
        }
        DispatcherRecord::TasksEnded { agent, run, .. } => ended(record).on(agent, *run),
        DispatcherRecord::AllocationReturned { agent, run } => {
            Told::new("allocation_returned", "its place is not wanted any more".into(), json!({}))
                .on(agent, *run)
        }
        DispatcherRecord::JobCancelled { job } => {
            Told::new("job_cancelled", format!("job {job} was cancelled"), json!({})).job(*job)
        }
        DispatcherRecord::JobEnded { job, state, reason } => {
            let because = reason.map(|reason| format!(" ({})", reason.as_str())).unwrap_or_default();
            let words = format!("job {job} {}{because}", word(state));
            Told::new("job_ended", words, json!({"state": state, "reason": reason})).job(*job)
        }
        DispatcherRecord::QueueSet { queue, weight, limit, guarantee } => Told::new(
            "queue_set",
            format!("queue {queue} has {}", guarantee.with_settings_in_words(*weight, limit)),
            json!({
                "queue": queue,
                "weight": weight,
                "limit": limit,
                "guarantee": guarantee.least,
                "hold_back": guarantee.hold_back,
            }),
        ),
    }
}

fn with(mut told: Told, more: Value) -> Told {
    if let Value::Object(more) = more {
        told.fields.extend(more.into_iter().filter(|(_, value)| !value.is_null()));
    }
    told
}

fn admitted(job: JobId, queue: &QueueName, spec: &JobSpec, waits: bool) -> Told {
    let name = spec.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let tasks = if spec.tasks == 1 { "1 task".to_owned() } else { format!("{} tasks", spec.tasks) };
    let wait = if waits { ", waits for other jobs" } else { "" };
    let wanted = words_of(&spec.resources);
    let words = format!("job {job}{name} admitted to {queue}: {tasks}, each {}{wait}", resources(&wanted));
    let fields =
        json!({"queue": queue, "name": spec.name, "tasks": spec.tasks, "resources": wanted, "waits": waits});
    Told::new("job_admitted", words, fields).job(job)
}

fn rejected(job: JobId, queue: &str, rejection: &Rejection) -> Told {
    let Rejection { field, message } = rejection;
    let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let words = format!("job {job} to {queue} rejected: {place}{message}");
    Told::new("job_rejected", words, json!({"queue": queue, "field": field, "message": message})).job(job)
}

fn ended(record: &DispatcherRecord) -> Told {
    let DispatcherRecord::TasksEnded { state, reason, started_at, ended_at, outcome, retry_at, .. } = record
    else {
        return Told::new("tasks_ended", String::new(), json!({}));
    };
    let retry = retry_at.map(|at| format!(", next try {}", timestamp(at))).unwrap_or_default();
    let words = format!("{} ({}): {}{retry}", word(state), reason.as_str(), ending(outcome));
    let fields = json!({
        "state": state,
        "reason": reason,
        "started_at": started_at,
        "ended_at": ended_at,
        "outcome": outcome,
        "retry_at": retry_at,
    });
    Told::new("tasks_ended", words, fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::{
        HoldBack, JobState, Outcome, PreemptCause, Preemptor, QueueGuarantee, QueueLimit, Reason, TaskRange,
        TaskState,
    };

    fn told(record: Record) -> Told {
        Told::of(9, Writer::Dispatcher, &Entry { at: Time::from_micros(5), record }).remove(0)
    }

    fn run() -> AttemptRun {
        AttemptRun { job: JobId(12), tasks: TaskRange { first: 0, last: 99 }, attempt: 1 }
    }

    #[test]
    fn the_end_of_tasks_is_told_with_how_and_what_next() {
        let ended = told(Record::Dispatcher(DispatcherRecord::TasksEnded {
            agent: AgentId::new("a1").unwrap(),
            run: run(),
            state: TaskState::Failed,
            reason: Reason::ExitedNonzero,
            started_at: None,
            ended_at: Time::from_micros(3),
            outcome: Outcome { exit_code: Some(2), ..Outcome::default() },
            retry_at: Some(Time::from_micros(2_000_000)),
        }));
        assert_eq!(
            ended.words,
            "12.0-99#1 on a1: failed (exited_nonzero): exit code 2, next try 1970-01-01T00:00:02.000Z"
        );
        let json = serde_json::to_value(&ended).unwrap();
        assert_eq!(json["event"], "tasks_ended");
        assert_eq!((&json["job"], &json["tasks"], &json["attempt"]), (&json!(12), &json!("0-99"), &json!(1)));
        assert_eq!((&json["agent"], &json["sequence"], &json["at"]), (&json!("a1"), &json!(9), &json!(5)));
    }

    #[test]
    fn a_preemption_is_told_with_whom_it_is_for() {
        let (agent, cause) = (AgentId::new("a1").unwrap(), PreemptCause::Priority);
        let victims = vec![Victim { agent: agent.clone(), run: run() }];
        let (epoch, grant, job) = (Epoch(1), GrantId(7), JobId(15));
        let asked = Preemption { epoch, grant, job, agent: agent.clone(), cause, victims };
        let decided = told(Record::Offers(OffersRecord::Preempted(asked)));
        assert_eq!(
            decided.words,
            "12.0-99#1 on a1: is to make room on a1 for job 15 (preempted_for_priority)"
        );
        assert_eq!((&decided.fields["for"], decided.job), (&json!(15), Some(JobId(12))));
        let by = Some(Preemptor { job, queue: "research".parse().unwrap() });
        let reason = Reason::PreemptedForPriority;
        let told = told(Record::Dispatcher(DispatcherRecord::TasksKilling { agent, run: run(), reason, by }));
        assert_eq!(
            told.words,
            "12.0-99#1 on a1: is asked to stop (preempted_for_priority by job 15 of research)"
        );
        assert_eq!(told.fields["by"], json!({"job": 15, "queue": "research"}));
    }

    #[test]
    fn a_rejection_is_told_with_the_field() {
        let rejection = Rejection { field: "tasks".into(), message: "must be at least 1".into() };
        let rejected = told(Record::Dispatcher(DispatcherRecord::JobRejected {
            job: JobId(4),
            queue: "research".into(),
            submitted_at: Time::ZERO,
            rejection,
        }));
        assert_eq!(rejected.words, "job 4 to research rejected: tasks: must be at least 1");
    }

    #[test]
    fn jobs_and_agents_are_told_in_a_line() {
        let over = DispatcherRecord::JobEnded {
            job: JobId(12),
            state: JobState::Killed,
            reason: Some(Reason::CancelledByUser),
        };
        assert_eq!(told(Record::Dispatcher(over)).words, "job 12 killed (cancelled_by_user)");
        let agent = AgentId::new("a1").unwrap();
        assert_eq!(
            told(Record::Registry(RegistryRecord::AgentUnreachable { agent })).words,
            "agent a1 is silent"
        );
    }

    #[test]
    fn a_changed_limit_or_guarantee_is_told_with_the_amounts() {
        let told_of = |limit: QueueLimit, guarantee: QueueGuarantee| {
            let queue = "research".parse().unwrap();
            told(Record::Dispatcher(DispatcherRecord::QueueSet { queue, weight: 3, limit, guarantee }))
        };
        let set = |limit: QueueLimit| told_of(limit, QueueGuarantee::default());
        let limited = set(QueueLimit { tasks: Some(10), ..QueueLimit::default() });
        assert_eq!(limited.words, "queue research has weight 3 and limit tasks 10");
        assert_eq!(limited.fields["limit"], json!({"tasks": 10}));
        assert_eq!(set(QueueLimit::default()).words, "queue research has weight 3 and no limit");
        let least = QueueLimit { tasks: Some(4), ..QueueLimit::default() };
        let sure = told_of(least.clone(), QueueGuarantee { least, hold_back: HoldBack::Never });
        assert_eq!(
            sure.words,
            "queue research has weight 3, limit tasks 4 and guarantee tasks 4 (never held back)"
        );
        assert_eq!(
            (&sure.fields["guarantee"], &sure.fields["hold_back"]),
            (&json!({"tasks": 4}), &json!("never"))
        );
    }
}
