//! Jobs and what becomes of them.

use std::sync::Arc;

use allot_model::{
    Amount, Command, Constraint, Executor, JobId, JobSpec, JobState, OnUnreachable, Outcome, Reason,
    Rejection, ResourceName, Span, TaskState,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::{number, request, span, text, texts};

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![vec(text(), 0..4).prop_map(Command::Argv), text().prop_map(Command::Shell)]
}

pub fn constraints() -> impl Strategy<Value = Vec<Constraint>> {
    let sources =
        vec!["zone == b", "zone not in (a, 'b c')", "exists gpu", "agent.host =~ '^n\\d+$'", "disks >= 2.5"];
    vec(select(sources).prop_map(|source| Constraint::parse(source).unwrap()), 0..3)
}

pub fn spec() -> BoxedStrategy<JobSpec> {
    let what = (option::of(text()), command(), texts(), option::of(text()), request(), constraints());
    let tries = (any::<u32>(), any::<u32>(), span(), option::of(span()), span());
    let plan = (option::of(span()), option::of(span()), any::<u32>(), option::of(text()));
    let rest = (any::<i32>(), vec(number().prop_map(JobId), 0..3), on_unreachable(), executor());
    (what, tries, plan, rest)
        .prop_map(|(what, tries, plan, rest)| {
            let (name, command, env, workdir, resources, constraints) = what;
            let (tasks, retries, backoff, time_limit, kill_grace) = tries;
            let (estimate, deadline, min_tasks, same) = plan;
            let (priority, after, on_unreachable, executor) = rest;
            JobSpec {
                name,
                command,
                env,
                workdir,
                resources,
                tasks,
                priority,
                constraints,
                retries,
                backoff,
                time_limit,
                estimate,
                deadline,
                min_tasks,
                same,
                kill_grace,
                after,
                on_unreachable,
                executor,
            }
        })
        .boxed()
}

/// Jobs that nothing is wrong with.
pub fn good_spec() -> impl Strategy<Value = JobSpec> {
    let small = (1..=JobSpec::MOST_TASKS, 0..=JobSpec::MOST_RETRIES, 1..1_000_000_u64, 1..Amount::MOST);
    (spec(), small).prop_map(|(spec, (tasks, retries, micros, cpu_milli))| JobSpec {
        name: spec.name.map(|_| "train".to_owned()),
        command: Command::Argv(vec!["sleep".to_owned(), "5".to_owned()]),
        env: [("LANG".to_owned(), "C".to_owned())].into(),
        workdir: spec.workdir.map(|_| "/data".to_owned()),
        resources: [(ResourceName::cpus(), cpu_milli)].into_iter().collect(),
        tasks,
        retries,
        backoff: Span::from_micros(micros),
        time_limit: spec.time_limit.map(|_| Span::from_micros(micros)),
        estimate: spec.estimate.map(|_| Span::from_micros(micros)),
        deadline: spec.deadline.map(|_| Span::from_micros(micros)),
        min_tasks: spec.min_tasks % tasks + 1,
        same: spec.same.map(|_| "rack".to_owned()),
        kill_grace: Span::from_micros(micros),
        after: spec.after.iter().take(1).map(|job| JobId(job.0.max(1))).collect(),
        ..spec
    })
}

fn on_unreachable() -> impl Strategy<Value = OnUnreachable> {
    select(vec![OnUnreachable::Wait, OnUnreachable::Retry])
}

fn executor() -> impl Strategy<Value = Executor> {
    select(vec![Executor::Process, Executor::Noop])
}

pub fn task_state() -> impl Strategy<Value = TaskState> {
    use TaskState::{
        Allocated, Dropped, Failed, Finished, Gone, Killed, Killing, Queued, Rejected, Running, Starting,
        Unreachable,
    };
    select(vec![
        Queued,
        Allocated,
        Starting,
        Running,
        Killing,
        Unreachable,
        Finished,
        Failed,
        Killed,
        Rejected,
        Dropped,
        Gone,
    ])
}

pub fn job_state() -> impl Strategy<Value = JobState> {
    use JobState::{Dropped, Failed, Finished, Killed, Killing, Queued, Rejected, Running, Waiting};
    select(vec![Waiting, Queued, Running, Killing, Finished, Failed, Killed, Rejected, Dropped])
}

pub fn reason() -> impl Strategy<Value = Reason> {
    use Reason::{
        Admitted, AgentDrained, AgentGoneByOperator, AgentRestarted, AgentReturned, AgentUnreachable,
        CancelledByUser, DependencyFailed, ExitedNonzero, ExitedZero, Granted, HandedBack, Invalid,
        LaunchFailed, Launched, NotWanted, PreemptedForGuarantee, PreemptedForPriority, Retried, Signalled,
        TimeLimit, UnknownToAgent, WaitsForBackoff, WaitsForDependency,
    };
    select(vec![
        HandedBack,
        PreemptedForPriority,
        PreemptedForGuarantee,
        Admitted,
        WaitsForDependency,
        WaitsForBackoff,
        Retried,
        Granted,
        Launched,
        ExitedZero,
        ExitedNonzero,
        Signalled,
        LaunchFailed,
        TimeLimit,
        CancelledByUser,
        AgentDrained,
        AgentUnreachable,
        AgentReturned,
        AgentRestarted,
        AgentGoneByOperator,
        UnknownToAgent,
        DependencyFailed,
        NotWanted,
        Invalid,
    ])
}

pub fn outcome() -> BoxedStrategy<Outcome> {
    (option::of(any::<i32>()), option::of(any::<i32>()), number(), number(), number(), option::of(text()))
        .prop_map(|(exit_code, signal, wall_us, cpu_us, peak_mem_bytes, message)| Outcome {
            exit_code,
            signal,
            wall_us,
            cpu_us,
            peak_mem_bytes,
            message: message.map(Arc::from),
        })
        .boxed()
}

pub fn rejection() -> impl Strategy<Value = Rejection> {
    (text(), text()).prop_map(|(field, message)| Rejection { field, message }).boxed().boxed()
}
