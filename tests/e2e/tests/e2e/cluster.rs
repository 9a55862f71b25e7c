//! A cluster of real programs, and questions to it.

use std::path::Path;
use std::process::Stdio;

use allot_bus::{Subject, headers};
use allot_e2e::User;
use allot_model::view::{
    AgentState, AgentView, Done, JobView, LogQuery, LogStream, PolicyView, QueueView, TaskRunView,
};
use allot_model::{AgentId, AttemptId, JobId, JobState, PoolName, Reason};
use allot_testkit::{PATIENCE, Programs, built, eventually, within};
use serde_json::{Value, json};

/// A cluster whose services are processes. All of them end with it; where a test fails it tells their logs.
pub(crate) struct Cluster {
    pub(crate) programs: Programs,
    pub(crate) user: User,
}

impl Cluster {
    /// One agent of 4 processors, and the policy drf.
    pub(crate) async fn start() -> Self {
        Self::of("drf", 1, 4).await
    }

    /// Agents `a1`, `a2`, … of so many processors under a policy, ready for jobs.
    pub(crate) async fn of(policy: &str, agents: usize, cpus: u32) -> Self {
        let programs = Programs::cluster(policy, agents, cpus).await.unwrap();
        let user = User::of(&programs).await.unwrap();
        let cluster = Self { programs, user };
        cluster.policy_decides(policy).await;
        for number in 1..=agents {
            cluster.agent_is(&format!("a{number}"), AgentState::Ready).await;
        }
        cluster
    }

    /// One more agent, once it is ready.
    pub(crate) async fn another_agent(&mut self, id: &str, cpus: u32) {
        self.programs.spawn_agent(id, cpus).unwrap();
        self.agent_is(id, AgentState::Ready).await;
    }

    /// An allocator that stands by.
    pub(crate) async fn standby(&mut self, policy: &str) {
        self.programs.spawn(policy, &format!("allot-allocator-{policy}"), &[]).unwrap();
        eventually(&format!("{policy} stands by"), PATIENCE, || async {
            self.policy().await?.allocators.into_iter().find(|one| one.policy.as_str() == policy)
        })
        .await;
    }

    /// A path for whatever the tasks of a test write.
    pub(crate) fn scratch(&self, name: &str) -> std::path::PathBuf {
        self.programs.dir().join(name)
    }

    /// Submits a job to the queue `default`.
    pub(crate) async fn submit(&self, job: Value) -> JobId {
        self.user.submit("default", &job).await.unwrap()
    }

    /// Submits a line for the shell, with more fields beside it.
    pub(crate) async fn shell(&self, line: &str, mut fields: Value) -> JobId {
        fields["command"] = line.into();
        self.submit(fields).await
    }

    /// Submits a job that runs until `gate` is there.
    pub(crate) async fn wait_for(&self, gate: &Path, fields: Value) -> JobId {
        self.shell(&format!("until test -e {}; do sleep 0.01; done", gate.display()), fields).await
    }

    /// Waits until the job is over, and returns all about it.
    pub(crate) async fn over(&self, job: JobId) -> JobView {
        self.user.ended(job, PATIENCE).await
    }

    /// Waits until the job is over, and returns its state.
    pub(crate) async fn ends(&self, job: JobId) -> JobState {
        self.over(job).await.summary.state
    }

    /// Waits until what is known of the job is as wanted.
    pub(crate) async fn job_is(&self, what: &str, job: JobId, wanted: impl Fn(&JobView) -> bool) -> JobView {
        eventually(&format!("job {job} is {what}"), PATIENCE, || async {
            self.user.show(job).await.ok().filter(|view| wanted(view))
        })
        .await
    }

    /// Waits until so many tasks of the job run.
    pub(crate) async fn runs(&self, job: JobId, tasks: u64) -> JobView {
        self.job_is("running", job, |view| view.summary.counts.running == tasks).await
    }

    /// What a try at a task printed, as its agent has it.
    pub(crate) async fn printed(&self, agent: &str, attempt: AttemptId, stream: LogStream) -> String {
        let query = LogQuery { attempt, stream, offset: 0, limit: 1 << 16 };
        let payload = serde_json::to_vec(&query).unwrap();
        let subject = Subject::AgentLogs(agent_id(agent)).to_string();
        let answer = self.user.bus().client().request(subject, payload.into()).await.unwrap();
        let ended = answer.headers.as_ref().and_then(|found| found.get(headers::ALLOT_ENDED));
        assert_eq!(ended.map(|value| value.as_str()), Some("true"));
        String::from_utf8(answer.payload.to_vec()).unwrap()
    }

    /// Waits until the agent is in this state.
    pub(crate) async fn agent_is(&self, agent: &str, state: AgentState) {
        eventually(&format!("agent {agent} is {state:?}"), PATIENCE, || async {
            let agents: Vec<AgentView> = self.user.ask(Subject::AgentsList, &json!({})).await.ok()?;
            agents.into_iter().find(|view| view.agent == agent_id(agent) && view.state == state)
        })
        .await;
    }

    /// Runs `allot` with these words, and returns what it said.
    pub(crate) async fn allot(&self, words: &[&str]) -> Said {
        let mut command = tokio::process::Command::new(built("allot").unwrap());
        command.args(words).env("ALLOT_NATS", self.programs.nats.url()).stdin(Stdio::null());
        let output = within(&format!("`allot {}` ends", words.join(" ")), command.output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Said { code, out: text(&output.stdout), err: text(&output.stderr), bytes: output.stdout }
    }

    /// Who decides, and who stands by.
    pub(crate) async fn policy(&self) -> Option<PolicyView> {
        self.user.ask(Subject::PoolPolicy(PoolName::default_pool()), &json!({})).await.ok()
    }

    /// Waits until an allocator of this policy decides.
    pub(crate) async fn policy_decides(&self, policy: &str) {
        eventually(&format!("{policy} decides"), PATIENCE, || async {
            let decides =
                |one: &allot_model::view::AllocatorView| one.active && one.policy.as_str() == policy;
            self.policy().await?.allocators.into_iter().find(decides)
        })
        .await;
    }

    /// A queue, where it is known.
    pub(crate) async fn queue(&self, queue: &str) -> Option<QueueView> {
        let queues: Vec<QueueView> = self.user.ask(Subject::QueuesList, &json!({})).await.ok()?;
        queues.into_iter().find(|view| view.queue.as_str() == queue)
    }

    /// Gives a command that is to be carried out.
    pub(crate) async fn command(&self, subject: Subject, command: Value) -> String {
        let done: Done = self.user.ask(subject, &command).await.unwrap();
        done.message
    }
}

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Its standard output as it was.
    pub(crate) bytes: Vec<u8>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.programs.logs());
        }
    }
}

pub(crate) fn agent_id(id: &str) -> AgentId {
    AgentId::new(id).unwrap()
}

/// The one run of tasks that a job has.
pub(crate) fn only_run(view: &JobView) -> &TaskRunView {
    assert_eq!(view.runs.len(), 1, "{view:?}");
    &view.runs[0]
}

/// The reason of the present or last try of a job's only run of tasks.
pub(crate) fn reason(view: &JobView) -> Reason {
    only_run(view).attempt.reason
}

/// The lines of a file that tasks append to; none where there is no such file.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The lines of such a file as numbers, in order.
pub(crate) fn numbers(path: &Path) -> Vec<u32> {
    let mut numbers: Vec<u32> = lines(path).iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
