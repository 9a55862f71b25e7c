//! Subjects: built by `Display`, read by `FromStr`, the one the reverse of the other.

use std::fmt;
use std::str::FromStr;

use allot_model::view::LogStream;
use allot_model::{AgentId, AttemptId, InstanceId, InvalidId, JobId, PoolName, QueueName, TaskId, Writer};

use crate::kind::Kind;

/// One place on the bus. What is said there, and by whom, is in [`Subject::kind`]'s row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is documented by the row of its kind")]
pub enum Subject {
    Submit(QueueName),
    Ledger(Writer),
    Output(AttemptId, LogStream),
    Lease(Writer),
    AgentHello(AgentId),
    AgentBeat(AgentId),
    AgentOrders(AgentId),
    AgentReports(AgentId),
    AgentLogs(AgentId),
    AgentDrain(AgentId),
    AgentUndrain(AgentId),
    AgentGone(AgentId),
    RegistryEcho,
    AgentsList,
    AgentsUsage,
    JobsList,
    JobShow(JobId),
    JobCancel(JobId),
    QueuesList,
    QueuesSet,
    PoolOffers(PoolName),
    PoolGrants(PoolName),
    PoolPolicy(PoolName),
    PoolUse(PoolName),
    PoolWhy(PoolName),
    PoolAccount(PoolName),
    PoolCompare(PoolName, InstanceId),
}

/// Why a text is not a subject of allot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// No row of the table has this form.
    #[error("{given:?} is not a subject of allot; docs/subjects.md lists them all")]
    Unknown {
        /// The text as given.
        given: String,
    },
    /// The form is known, but a part of it is not an identifier.
    #[error("in the subject {given:?}: {source}")]
    Part {
        /// The text as given.
        given: String,
        /// What is wrong with the part.
        source: InvalidId,
    },
}

/// What every subject begins with, but for those of key-value buckets.
const ROOT: &str = "allot.v1.";
/// What the keys of the bucket of leases begin with, as NATS names them.
const LEASES: &str = "$KV.ALLOT_LEASES.";

impl Subject {
    /// Reads a subject; the same as [`str::parse`].
    ///
    /// # Errors
    /// [`InvalidSubject`] where it is not one that `Display` would write.
    pub fn parse(text: &str) -> Result<Self, InvalidSubject> {
        text.parse()
    }

    /// The queue in the subject of a submission, as given: it need not be a queue's name.
    #[must_use]
    pub fn queue_as_given(text: &str) -> Option<&str> {
        text.strip_prefix(ROOT)?.strip_prefix("submit.")
    }

    /// True for a subject to which an answer may be sent: one of the asker's own. An answer to a subject of allot or of
    /// the server would be said with our permissions, and taken for our own word.
    #[must_use]
    pub fn takes_answers(text: &str) -> bool {
        !text.starts_with("allot.") && !text.starts_with('$')
    }

    /// The row of the table that it belongs to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Submit(_) => Kind::Submit,
            Self::Ledger(_) => Kind::Ledger,
            Self::Output(..) => Kind::Output,
            Self::Lease(_) => Kind::Lease,
            Self::AgentHello(_) => Kind::AgentHello,
            Self::AgentBeat(_) => Kind::AgentBeat,
            Self::AgentOrders(_) => Kind::AgentOrders,
            Self::AgentReports(_) => Kind::AgentReports,
            Self::AgentLogs(_) => Kind::AgentLogs,
            Self::AgentDrain(_) => Kind::AgentDrain,
            Self::AgentUndrain(_) => Kind::AgentUndrain,
            Self::AgentGone(_) => Kind::AgentGone,
            Self::RegistryEcho => Kind::RegistryEcho,
            Self::AgentsList => Kind::AgentsList,
            Self::AgentsUsage => Kind::AgentsUsage,
            Self::JobsList => Kind::JobsList,
            Self::JobShow(_) => Kind::JobShow,
            Self::JobCancel(_) => Kind::JobCancel,
            Self::QueuesList => Kind::QueuesList,
            Self::QueuesSet => Kind::QueuesSet,
            Self::PoolOffers(_) => Kind::PoolOffers,
            Self::PoolGrants(_) => Kind::PoolGrants,
            Self::PoolPolicy(_) => Kind::PoolPolicy,
            Self::PoolUse(_) => Kind::PoolUse,
            Self::PoolWhy(_) => Kind::PoolWhy,
            Self::PoolAccount(_) => Kind::PoolAccount,
            Self::PoolCompare(..) => Kind::PoolCompare,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Lease(writer) = self {
            return write!(f, "{LEASES}{}", writer.as_str());
        }
        f.write_str(ROOT)?;
        match self {
            Self::Lease(_) => Ok(()),
            Self::Submit(queue) => write!(f, "submit.{queue}"),
            Self::Ledger(writer) => write!(f, "ledger.{}", writer.as_str()),
            Self::Output(AttemptId { task, attempt }, stream) => {
                write!(f, "output.{}.{}.{attempt}.{}", task.job, task.index, log_stream_name(*stream))
            }
            Self::AgentHello(agent) => write!(f, "agent.{agent}.hello"),
            Self::AgentBeat(agent) => write!(f, "agent.{agent}.beat"),
            Self::AgentOrders(agent) => write!(f, "agent.{agent}.orders"),
            Self::AgentReports(agent) => write!(f, "agent.{agent}.reports"),
            Self::AgentLogs(agent) => write!(f, "agent.{agent}.logs"),
            Self::AgentDrain(agent) => write!(f, "agent.{agent}.drain"),
            Self::AgentUndrain(agent) => write!(f, "agent.{agent}.undrain"),
            Self::AgentGone(agent) => write!(f, "agent.{agent}.gone"),
            Self::RegistryEcho => f.write_str("registry.echo"),
            Self::AgentsList => f.write_str("agents.list"),
            Self::AgentsUsage => f.write_str("agents.usage"),
            Self::JobsList => f.write_str("jobs.list"),
            Self::JobShow(job) => write!(f, "job.{job}.show"),
            Self::JobCancel(job) => write!(f, "job.{job}.cancel"),
            Self::QueuesList => f.write_str("queues.list"),
            Self::QueuesSet => f.write_str("queues.set"),
            Self::PoolOffers(pool) => write!(f, "pool.{pool}.offers"),
            Self::PoolGrants(pool) => write!(f, "pool.{pool}.grants"),
            Self::PoolPolicy(pool) => write!(f, "pool.{pool}.policy"),
            Self::PoolUse(pool) => write!(f, "pool.{pool}.use"),
            Self::PoolWhy(pool) => write!(f, "pool.{pool}.why"),
            Self::PoolAccount(pool) => write!(f, "pool.{pool}.account"),
            Self::PoolCompare(pool, instance) => write!(f, "pool.{pool}.compare.{instance}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let given = || text.chars().take(400).collect();
        let unknown = || InvalidSubject::Unknown { given: given() };
        if let Some(writer) = text.strip_prefix(LEASES) {
            return read_writer(writer).map(Subject::Lease).ok_or_else(unknown);
        }
        let rest = text.strip_prefix(ROOT).ok_or_else(unknown)?;
        let read = read(rest).map_err(|source| InvalidSubject::Part { given: given(), source })?;
        // Numbers can be written in several ways (`07`, `+7`): one way only is a subject.
        read.filter(|subject| subject.to_string() == text).ok_or_else(unknown)
    }
}

/// Reads what follows [`ROOT`]; nothing where the form is unknown.
fn read(rest: &str) -> Result<Option<Subject>, InvalidId> {
    let tokens: Vec<&str> = rest.split('.').collect();
    Ok(match *tokens {
        ["submit", _, ..] => Some(Subject::Submit(rest["submit.".len()..].parse()?)),
        ["ledger", writer] => read_writer(writer).map(Subject::Ledger),
        ["output", job, task, attempt, stream] => read_output(job, task, attempt, stream)?,
        ["agent", agent, verb] => read_agent(agent, verb)?,
        ["registry", "echo"] => Some(Subject::RegistryEcho),
        ["agents", "list"] => Some(Subject::AgentsList),
        ["agents", "usage"] => Some(Subject::AgentsUsage),
        ["jobs", "list"] => Some(Subject::JobsList),
        ["job", job, "show"] => Some(Subject::JobShow(job.parse()?)),
        ["job", job, "cancel"] => Some(Subject::JobCancel(job.parse()?)),
        ["queues", "list"] => Some(Subject::QueuesList),
        ["queues", "set"] => Some(Subject::QueuesSet),
        ["pool", pool, verb] => read_pool(pool, verb)?,
        ["pool", pool, "compare", instance] => Some(Subject::PoolCompare(pool.parse()?, instance.parse()?)),
        _ => None,
    })
}

fn read_writer(name: &str) -> Option<Writer> {
    Writer::ALL.into_iter().find(|writer| writer.as_str() == name)
}

fn read_output(job: &str, task: &str, attempt: &str, stream: &str) -> Result<Option<Subject>, InvalidId> {
    let stream = [LogStream::Stdout, LogStream::Stderr].into_iter().find(|s| log_stream_name(*s) == stream);
    let (Some(stream), Ok(index), Ok(attempt)) = (stream, task.parse(), attempt.parse()) else {
        return Ok(None);
    };
    let task = TaskId { job: job.parse()?, index };
    Ok((attempt > 0).then_some(Subject::Output(AttemptId { task, attempt }, stream)))
}

fn read_agent(agent: &str, verb: &str) -> Result<Option<Subject>, InvalidId> {
    let subject = match verb {
        "hello" => Subject::AgentHello,
        "beat" => Subject::AgentBeat,
        "orders" => Subject::AgentOrders,
        "reports" => Subject::AgentReports,
        "logs" => Subject::AgentLogs,
        "drain" => Subject::AgentDrain,
        "undrain" => Subject::AgentUndrain,
        "gone" => Subject::AgentGone,
        _ => return Ok(None),
    };
    Ok(Some(subject(agent.parse()?)))
}

fn read_pool(pool: &str, verb: &str) -> Result<Option<Subject>, InvalidId> {
    let subject = match verb {
        "offers" => Subject::PoolOffers,
        "grants" => Subject::PoolGrants,
        "policy" => Subject::PoolPolicy,
        "use" => Subject::PoolUse,
        "why" => Subject::PoolWhy,
        "account" => Subject::PoolAccount,
        _ => return Ok(None),
    };
    Ok(Some(subject(pool.parse()?)))
}

fn log_stream_name(stream: LogStream) -> &'static str {
    match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    }
}

/// Patterns to subscribe to.
impl Subject {
    /// Submissions to every queue.
    #[must_use]
    pub fn pattern_submit() -> String {
        Kind::Submit.pattern()
    }

    /// What every writer appends to the ledger.
    #[must_use]
    pub fn pattern_ledger() -> String {
        Kind::Ledger.pattern()
    }

    /// Hellos of every agent.
    #[must_use]
    pub fn pattern_agent_hello() -> String {
        Kind::AgentHello.pattern()
    }

    /// Beats of every agent.
    #[must_use]
    pub fn pattern_agent_beat() -> String {
        Kind::AgentBeat.pattern()
    }

    /// Reports of every agent.
    #[must_use]
    pub fn pattern_agent_reports() -> String {
        Kind::AgentReports.pattern()
    }

    /// Commands to drain any agent.
    #[must_use]
    pub fn pattern_agent_drain() -> String {
        Kind::AgentDrain.pattern()
    }

    /// Commands to undrain any agent.
    #[must_use]
    pub fn pattern_agent_undrain() -> String {
        Kind::AgentUndrain.pattern()
    }

    /// Commands to declare any agent gone.
    #[must_use]
    pub fn pattern_agent_gone() -> String {
        Kind::AgentGone.pattern()
    }

    /// Questions about any job.
    #[must_use]
    pub fn pattern_job_show() -> String {
        Kind::JobShow.pattern()
    }

    /// Commands to cancel any job.
    #[must_use]
    pub fn pattern_job_cancel() -> String {
        Kind::JobCancel.pattern()
    }
}
