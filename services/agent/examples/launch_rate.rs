//! How many processes a second one agent runs, beside a bare loop that does nothing but spawn and wait.
//!
//! Both keep two processes in flight and run `/bin/true`, the agent with a directory and captured output for each, a
//! journal, and reports over NATS. Ends with their ratio.
//!
//! `cargo run --release -p allot-agent --example launch_rate [TASKS]`

use std::process::{Command, Stdio};
use std::sync::Arc;

use allot_agent::Config;
use allot_bus::Subject;
use allot_model::{
    AgentId, AgentOrder, AttemptRun, Epoch, Executor, Hello, Incarnation, JobId, JobSpec, Launch,
    OnUnreachable, OrderBatch, QueueName, Report, ReportBatch, Request, Resources, Span, TaskRange, Welcome,
};
use allot_proto::Wire;
use allot_shell::{Bus, Shutdown, clock};
use allot_testkit::NatsServer;
use anyhow::Context;
use futures::StreamExt;

const PROGRAM: &str = "/bin/true";
const IN_FLIGHT: u32 = 2;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let tasks: u32 = std::env::args().nth(1).map_or(Ok(5_000), |text| text.parse())?;
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let bare = bare(tasks)?;
        let agent = agent(tasks).await?;
        ratios.push(agent / bare);
        println!("bare loop {bare:.0}/s, agent {agent:.0}/s, ratio {:.2}", agent / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[1]);
    Ok(())
}

/// Spawns and waits on as many threads as there are processes in flight.
fn bare(tasks: u32) -> anyhow::Result<f64> {
    let spawn =
        || Command::new(PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let started = clock::now();
    std::thread::scope(|scope| {
        let one = || (0..tasks / IN_FLIGHT).try_for_each(|_| spawn()?.wait().map(drop));
        let threads: Vec<_> = (0..IN_FLIGHT).map(|_| scope.spawn(one)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    Ok(rate(tasks, clock::now().since(started)))
}

/// Orders all tasks at once of an agent with room for so many as are to be in flight.
async fn agent(tasks: u32) -> anyhow::Result<f64> {
    let server = NatsServer::start().await?;
    let bus = server.bus_with_streams().await?;
    let dir = tempfile::tempdir()?;
    let id = AgentId::new("bench")?;
    let config = Config {
        id: Some(id.clone()),
        data_dir: dir.path().to_owned(),
        cpus: Some(IN_FLIGHT.into()),
        ..Config::default()
    };
    let mut hellos = bus.client().subscribe(Subject::AgentHello(id.clone()).to_string()).await?;
    let shutdown = Shutdown::new();
    let running = tokio::spawn(allot_agent::run(server.bus().await?, config, shutdown.clone()));
    let hello = hellos.next().await.context("no hello")?;
    let incarnation = Hello::decode(&hello.payload)?.facts.incarnation;
    let welcome = Welcome::Admitted { beat_every: Span::from_secs(1) };
    bus.client().publish(hello.reply.context("no reply subject")?, welcome.encode().into()).await?;
    let elapsed = see_through(&bus, &id, incarnation, tasks).await?;
    shutdown.trigger();
    running.await??;
    Ok(rate(tasks, elapsed))
}

/// Orders the tasks, and acknowledges reports until all have ended.
async fn see_through(bus: &Bus, id: &AgentId, incarnation: Incarnation, tasks: u32) -> anyhow::Result<Span> {
    let mut reports = bus.client().subscribe(Subject::AgentReports(id.clone()).to_string()).await?;
    let orders = Subject::AgentOrders(id.clone()).to_string();
    let order = async |order| {
        let batch = OrderBatch { epoch: Epoch(1), incarnation, allocations: 0, orders: vec![order] };
        bus.client().publish(orders.clone(), batch.encode().into()).await
    };
    let started = clock::now();
    order(AgentOrder::Launch(launch(tasks)?)).await?;
    let mut left = u64::from(tasks);
    while left > 0 {
        let batch = ReportBatch::decode(&reports.next().await.context("no reports")?.payload)?;
        for report in batch.reports {
            if let Report::Ended { run, state, .. } = report {
                anyhow::ensure!(state == allot_model::TaskState::Finished, "{run} ended as {state:?}");
                left -= run.tasks.count();
            }
        }
        order(AgentOrder::Acknowledge { sequence: batch.sequence }).await?;
    }
    Ok(clock::now().since(started))
}

fn launch(tasks: u32) -> anyhow::Result<Launch> {
    let spec = JobSpec {
        name: None,
        command: allot_model::Command::Argv(vec![PROGRAM.to_owned()]),
        env: Default::default(),
        workdir: None,
        resources: Request::new(),
        tasks,
        priority: 0,
        constraints: Vec::new(),
        retries: 0,
        backoff: Span::ZERO,
        time_limit: None,
        estimate: None,
        deadline: None,
        min_tasks: 1,
        same: None,
        kill_grace: Span::from_secs(5),
        after: Vec::new(),
        on_unreachable: OnUnreachable::Wait,
        executor: Executor::Process,
    };
    let run = AttemptRun { job: JobId(1), tasks: TaskRange { first: 0, last: tasks - 1 }, attempt: 1 };
    let slice = Resources::from_json(&serde_json::json!({ "cpus": 1 }))?;
    Ok(Launch { run, spec: Arc::new(spec), queue: QueueName::new("bench")?, slice, slots: run.tasks.count() })
}

#[allow(clippy::cast_precision_loss, reason = "for people to read")]
fn rate(tasks: u32, elapsed: Span) -> f64 {
    f64::from(tasks) / elapsed.as_secs_f64()
}
