//! An agent with real processes on a real NATS, and a test in the place of registry and dispatcher.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "for tests, each of which uses its part")]

use std::path::PathBuf;
use std::sync::Arc;

use allot_agent::Config;
use allot_bus::Subject;
use allot_model::view::{LogQuery, LogStream};
use allot_model::{
    AgentId, AgentOrder, AttemptId, AttemptRun, Command, Epoch, Executor, Hello, Incarnation, JobSpec,
    Launch, OnUnreachable, OrderBatch, Outcome, QueueName, Reason, Report, ReportBatch, Request, Resources,
    Span, TaskState, Welcome,
};
use allot_proto::Wire;
use allot_shell::{Bus, Shutdown};
use allot_testkit::{NatsServer, PATIENCE, eventually, kill_tasks, within};
use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// An end, as reported.
#[derive(Debug, Clone)]
pub struct Ended {
    pub attempt: AttemptId,
    pub state: TaskState,
    pub reason: Reason,
    pub ran: bool,
    pub outcome: Outcome,
}

impl Ended {
    pub fn message(&self) -> &str {
        self.outcome.message.as_deref().unwrap_or("")
    }
}

pub struct Stage {
    pub server: NatsServer,
    pub bus: Bus,
    pub dir: TempDir,
    pub config: Config,
    pub incarnation: Incarnation,
    pub ends: Vec<Ended>,
    pub started: Vec<AttemptRun>,
    hellos: Subscriber,
    reports: Subscriber,
    /// The last batch of reports that was taken of the agent's present life.
    committed: u64,
    agent: Option<(Shutdown, JoinHandle<anyhow::Result<()>>)>,
}

pub fn attempt(text: &str) -> AttemptId {
    text.parse().unwrap()
}

pub fn spec(command: Command) -> JobSpec {
    JobSpec {
        name: None,
        command,
        env: [("GREETING".to_owned(), "hello".to_owned())].into(),
        workdir: None,
        resources: Request::new(),
        tasks: 5,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::from_secs(1),
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_millis(200),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    }
}

pub fn shell(line: &str) -> JobSpec {
    spec(Command::Shell(line.to_owned()))
}

pub fn argv(argv: &[&str]) -> JobSpec {
    spec(Command::Argv(argv.iter().map(|part| (*part).to_owned()).collect()))
}

pub fn resources(json: &str) -> Resources {
    Resources::from_json(&serde_json::from_str(json).unwrap()).unwrap()
}

pub fn launch_with(text: &str, spec: JobSpec, slice: Resources) -> AgentOrder {
    let queue = QueueName::new("research.vision").unwrap();
    let run: AttemptRun = text.parse().unwrap();
    AgentOrder::Launch(Launch { run, spec: Arc::new(spec), queue, slice, slots: run.tasks.count() })
}

pub fn launch(text: &str, spec: JobSpec) -> AgentOrder {
    launch_with(text, spec, resources(r#"{"cpus": 0.5, "mem": "1MiB"}"#))
}

pub fn kill(text: &str, grace: Span) -> AgentOrder {
    AgentOrder::Kill { run: text.parse().unwrap(), grace, reason: Reason::CancelledByUser }
}

impl Stage {
    pub async fn open() -> Self {
        Self::with(|_| {}).await
    }

    /// With an agent whose configuration was changed so.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut stage = Self::without_agent(change).await;
        stage.start().await;
        stage
    }

    pub async fn without_agent(change: impl FnOnce(&mut Config)) -> Self {
        let server = NatsServer::start().await.unwrap();
        let bus = server.bus_with_streams().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config {
            id: Some(AgentId::new("a1").unwrap()),
            data_dir: dir.path().join("data"),
            resources: resources(r#"{"cpus": 64, "mem": "1GiB", "disk": "1GiB"}"#),
            ..Config::default()
        };
        change(&mut config);
        let agent = config.id.clone().unwrap();
        let hellos = bus.client().subscribe(Subject::AgentHello(agent.clone()).to_string()).await.unwrap();
        let reports = bus.client().subscribe(Subject::AgentReports(agent).to_string()).await.unwrap();
        bus.client().flush().await.unwrap();
        let (incarnation, ends, started) = (Incarnation(0), Vec::new(), Vec::new());
        Self {
            server,
            bus,
            dir,
            config,
            incarnation,
            ends,
            started,
            hellos,
            reports,
            committed: 0,
            agent: None,
        }
    }

    /// Starts the agent and admits it.
    pub async fn start(&mut self) {
        let shutdown = Shutdown::new();
        let bus = self.server.bus().await.unwrap();
        let running = tokio::spawn(allot_agent::run(bus, self.config.clone(), shutdown.clone()));
        self.agent = Some((shutdown, running));
        self.admit().await;
    }

    pub async fn admit(&mut self) {
        let hello = within("the agent says hello", self.hellos.next()).await.unwrap();
        let incarnation = Hello::decode(&hello.payload).unwrap().facts.incarnation;
        if incarnation != self.incarnation {
            (self.incarnation, self.committed) = (incarnation, 0);
        }
        let welcome = Welcome::Admitted { beat_every: Span::from_millis(200) };
        self.bus.client().publish(hello.reply.unwrap(), welcome.encode().into()).await.unwrap();
    }

    /// Ends the agent as an operator does.
    pub async fn stop(&mut self) {
        let (shutdown, running) = self.agent.take().unwrap();
        shutdown.trigger();
        self.collect_until("the agent stops", |_| running.is_finished()).await;
        running.await.unwrap().unwrap();
    }

    pub async fn order(&self, orders: Vec<AgentOrder>) {
        let batch = OrderBatch { epoch: Epoch(1), incarnation: self.incarnation, allocations: 0, orders };
        let subject = Subject::AgentOrders(self.config.id.clone().unwrap()).to_string();
        self.bus.client().publish(subject, batch.encode().into()).await.unwrap();
    }

    /// Runs a task to its end.
    pub async fn run(&mut self, spec: JobSpec) -> Ended {
        self.order(vec![launch("1.0#1", spec)]).await;
        self.end_of("1.0#1").await
    }

    /// Waits for the end of an attempt, and acknowledges every report on the way.
    pub async fn end_of(&mut self, text: &str) -> Ended {
        let wanted = attempt(text);
        let find = |stage: &Self| stage.ends.iter().find(|end| end.attempt == wanted).cloned();
        self.collect_until(text, |stage| find(stage).is_some()).await;
        find(self).unwrap()
    }

    pub async fn start_of(&mut self, text: &str) {
        let AttemptId { task, attempt } = attempt(text);
        let is_it = move |run: &AttemptRun| {
            run.job == task.job
                && run.attempt == attempt
                && (run.tasks.first..=run.tasks.last).contains(&task.index)
        };
        self.collect_until(text, |stage| stage.started.iter().any(is_it)).await;
    }

    async fn collect_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let collect = async {
            while !is_so(self) {
                // Looks again now and then at what is not reported.
                let look = tokio::time::timeout(Span::from_millis(20).to_std(), self.reports.next());
                if let Ok(Some(message)) = look.await {
                    self.take(&message).await;
                }
            }
        };
        within(what, collect).await;
    }

    async fn take(&mut self, message: &Message) {
        let batch = ReportBatch::decode(&message.payload).unwrap();
        let reports = if batch.sequence > self.committed { batch.reports } else { Vec::new() };
        self.committed = self.committed.max(batch.sequence);
        for report in reports {
            match report {
                Report::Started { run, .. } => self.started.push(run),
                Report::Ended { run, state, reason, started_at, outcome, .. } => {
                    let ran = started_at.is_some();
                    let end = |attempt| Ended { attempt, state, reason, ran, outcome: outcome.clone() };
                    self.ends.extend(run.attempts().map(end));
                }
            }
        }
        self.order(vec![AgentOrder::Acknowledge { sequence: batch.sequence }]).await;
    }

    pub fn task_dir(&self, text: &str) -> PathBuf {
        let AttemptId { task, attempt } = attempt(text);
        self.config.data_dir.join(format!("tasks/{task}.{attempt}"))
    }

    pub fn stdout(&self, text: &str) -> String {
        String::from_utf8(std::fs::read(self.task_dir(text).join("stdout")).unwrap()).unwrap()
    }

    /// Asks the agent for output, which listens once it is admitted.
    pub async fn logs(&self, text: &str, stream: LogStream, offset: i64, limit: u32) -> Message {
        let query = LogQuery { attempt: attempt(text), stream, offset, limit };
        let subject = Subject::AgentLogs(self.config.id.clone().unwrap()).to_string();
        let payload = Bytes::from(serde_json::to_vec(&query).unwrap());
        eventually("the agent answers", PATIENCE, || async {
            self.bus.client().request(subject.clone(), payload.clone()).await.ok()
        })
        .await
    }

    /// What the output stream holds of an attempt.
    pub async fn stored(
        &self,
        text: &str,
        stream: LogStream,
    ) -> Option<async_nats::jetstream::message::StreamMessage> {
        let output = self.bus.jetstream().get_stream(allot_bus::Stream::Output.name()).await.unwrap();
        output.get_last_raw_message_by_subject(&Subject::Output(attempt(text), stream).to_string()).await.ok()
    }
}

impl Drop for Stage {
    /// An agent that was killed has left its tasks running.
    fn drop(&mut self) {
        kill_tasks(&self.config.data_dir);
    }
}

pub fn header(headers: Option<&async_nats::HeaderMap>, name: &str) -> String {
    headers.and_then(|headers| headers.get(name)).map(ToString::to_string).unwrap_or_default()
}

/// True while a process of this number lives.
pub fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
