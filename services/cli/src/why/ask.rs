//! Finding out why a job waits: what the dispatcher says decides whom else to ask.

use allot_bus::Subject;
use allot_model::view::{
    AttemptView, JobQuery, JobView, LimitReached, PolicyView, QueueView, TaskRunView, WhyQuery, WhyView,
};
use allot_model::{JobId, JobState, Limited, PoolName, QueueName, Reason, Request, TaskRange, TaskState};
use serde_json::json;

use super::{Dependency, Preempted, Task, Unexplained, Waiting, Why};
use crate::absent::{Absent, constraints};
use crate::client::Client;
use crate::failure::Failure;
use crate::job::{JobOrTask, no_task};

/// At most so many of the jobs that are waited for are looked at.
const MOST_DEPENDENCIES: usize = 20;

/// Asks everyone who knows something about it.
pub(super) async fn find_out(what: JobOrTask, client: &Client) -> Result<Why, Failure> {
    let only = what.task.map(|index| std::iter::once(TaskRange::one(index)).collect());
    let view = client.job(what.job, &JobQuery { tasks: only, ..JobQuery::default() }).await?;
    let task = what.task.map(|index| one_task(&view, index)).transpose()?;
    let mut waiting = waiting(&view.runs);
    if view.more_runs && what.task.is_none() {
        // What is not shown waits for a place, as far as anyone knows: the allocator tells.
        let told = waiting.for_place + waiting.for_jobs + waiting.for_next_try;
        waiting.for_place += view.summary.counts.queued.saturating_sub(told);
    }
    let asks = asks(&view);
    let constraints = constraints(view.spec.as_ref());
    let after = if needs_dependencies(&view) { dependencies(&view, client).await } else { Vec::new() };
    let failed = view.runs.iter().filter(|_| view.summary.state == JobState::Failed).find_map(unfinished);
    let preempted = preempted(&view.runs);
    let mut why = Why {
        task,
        preempted,
        waiting,
        after,
        failed,
        place: None,
        absent: Vec::new(),
        unexplained: None,
        rejection: view.rejection,
        summary: view.summary,
    };
    if waiting.for_place > 0 {
        let subject = Subject::PoolWhy(PoolName::default_pool());
        let told: Result<WhyView, Failure> = client.ask(&subject, &WhyQuery { job: what.job }).await;
        match told {
            // Placed meanwhile.
            Ok(place) if place.waiting + place.granted == 0 => why.waiting.for_place = 0,
            Ok(place) => why.place = Some(place),
            Err(failure) => why.unexplained = Some(unexplained(&why, &asks, &failure, client).await),
        }
    }
    if why.waiting.for_place > 0 {
        why.absent = Absent::suiting(&constraints, client).await;
    }
    why.waiting.for_place = placeless(&why).unwrap_or(why.waiting.for_place);
    Ok(why)
}

/// How many tasks of the whole job wait for a place, where that was asked: the allocator counts all of them, while the
/// dispatcher shows only so many runs.
fn placeless(why: &Why) -> Option<u64> {
    let WhyView { waiting, granted, .. } = why.place.as_ref().filter(|_| why.task.is_none())?;
    Some(waiting + granted)
}

fn one_task(view: &JobView, index: u32) -> Result<Task, Failure> {
    let run = view.runs.iter().find(|run| run.tasks.contains(index));
    let attempt = run.map(|run| run.attempt.clone());
    attempt.map(|attempt| Task { index, attempt }).ok_or_else(|| no_task(&view.summary, index))
}

/// What the tasks of these runs wait for.
fn waiting(runs: &[TaskRunView]) -> Waiting {
    let mut waiting = Waiting::default();
    for run in runs.iter().filter(|run| run.attempt.state == TaskState::Queued) {
        let (count, attempt) = (run.tasks.count(), &run.attempt);
        match attempt.reason {
            Reason::WaitsForDependency => waiting.for_jobs += count,
            Reason::WaitsForBackoff => {
                waiting.for_next_try += count;
                waiting.next_try_at = waiting.next_try_at.into_iter().chain(attempt.retry_at).min();
            }
            _ => {
                waiting.for_place += count;
                waiting.since = waiting.since.into_iter().chain([attempt.queued_at]).min();
            }
        }
    }
    waiting
}

/// Those of these tasks that wait for a place because others got theirs.
fn preempted(runs: &[TaskRunView]) -> Option<Preempted> {
    let mut found: Option<Preempted> = None;
    for run in runs.iter().filter(|run| run.attempt.state == TaskState::Queued) {
        let Some(AttemptView { by: Some(by), reason, ended_at, .. }) = run.earlier.last() else { continue };
        let tasks = run.tasks.count() + found.as_ref().map_or(0, |found| found.tasks);
        match &mut found {
            Some(found) if found.ended_at >= *ended_at => found.tasks = tasks,
            _ => found = Some(Preempted { tasks, by: by.clone(), reason: *reason, ended_at: *ended_at }),
        }
    }
    found
}

/// The first task of the run, where it ended otherwise than finished.
fn unfinished(run: &TaskRunView) -> Option<Task> {
    let (state, index) = (run.attempt.state, run.tasks.ranges().next()?.first);
    let unfinished = state.is_final() && state != TaskState::Finished;
    unfinished.then(|| Task { index, attempt: run.attempt.clone() })
}

fn needs_dependencies(view: &JobView) -> bool {
    matches!(view.summary.state, JobState::Waiting | JobState::Dropped)
}

/// The jobs named in `after` that have not finished.
async fn dependencies(view: &JobView, client: &Client) -> Vec<Dependency> {
    let named = view.spec.as_ref().and_then(|spec| spec["after"].as_array().cloned()).unwrap_or_default();
    let mut found = Vec::new();
    for job in named.iter().filter_map(serde_json::Value::as_u64).map(JobId).take(MOST_DEPENDENCIES) {
        let query = JobQuery { limit: 1, ..JobQuery::default() };
        let state = client.job(job, &query).await.ok().map(|view| view.summary.state);
        if state != Some(JobState::Finished) {
            found.push(Dependency { job, state });
        }
    }
    found
}

/// What the offers service knows, where the allocator does not tell.
async fn unexplained(why: &Why, asks: &Request, failure: &Failure, client: &Client) -> Unexplained {
    let pool = PoolName::default_pool();
    let policy: Option<PolicyView> = client.ask(&Subject::PoolPolicy(pool), &json!({})).await.ok();
    let queues: Option<Vec<QueueView>> = client.ask(&Subject::QueuesList, &json!({})).await.ok();
    let queues = queues.unwrap_or_default();
    let limit = why.summary.queue.parse().ok().and_then(|queue| limit_reached(&queue, asks, &queues));
    let queue = queues.into_iter().find(|queue| queue.queue.as_str() == why.summary.queue);
    Unexplained { message: reason_for(failure, policy.as_ref()), policy, queue, limit }
}

/// What each task of the job asks for.
fn asks(view: &JobView) -> Request {
    let resources = view.spec.as_ref().and_then(|spec| spec.get("resources"));
    resources.and_then(|resources| Request::from_json(resources).ok()).unwrap_or_default()
}

/// The limit that one more task would exceed: of the queue's own and those above it the nearest.
fn limit_reached(queue: &QueueName, asks: &Request, queues: &[QueueView]) -> Option<LimitReached> {
    let view = |name: &str| queues.iter().find(|view| view.queue.as_str() == name);
    queue.lineage().filter_map(view).find_map(|view| exceeded(view, asks))
}

fn exceeded(view: &QueueView, asks: &Request) -> Option<LimitReached> {
    view.limit.iter().find_map(|(what, most)| {
        let held = view.held.most(&what).unwrap_or(0);
        let asked = match &what {
            Limited::Tasks => 1,
            Limited::Resource(name) => asks.get(name),
            Limited::PendingJobs => 0,
        };
        (asked > 0 && held.saturating_add(asked) > most).then(|| LimitReached {
            queue: view.queue.clone(),
            limited: what.to_string(),
            limit: what.to_json(most),
            held: what.to_json(held),
            asked: what.to_json(asked),
        })
    })
}

/// Why nobody tells, in terms of who should have.
fn reason_for(failure: &Failure, policy: Option<&PolicyView>) -> String {
    let Some(policy) = policy else {
        return format!("nobody tells why: {failure}");
    };
    let active = policy.allocators.iter().find(|allocator| allocator.active);
    match (active, failure) {
        (None, _) => "no allocator decides: nothing is placed until one runs".to_owned(),
        (Some(active), Failure::Unreachable(_)) => format!(
            "allocator {} decides, by policy {}, and does not tell why",
            active.instance, active.policy
        ),
        (Some(_), failure) => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::view::{AllocatorView, OfferCounts, Refusal, RefusalKind};
    use allot_model::{Epoch, LimitChange, Preemptor, Time};

    fn run(tasks: &str, state: TaskState, reason: Reason, retry_at: Option<u64>) -> TaskRunView {
        let attempt = AttemptView {
            attempt: 1,
            state,
            reason,
            agent: None,
            queued_at: Time::from_micros(tasks.len() as u64),
            allocated_at: None,
            started_at: None,
            ended_at: None,
            retry_at: retry_at.map(Time::from_micros),
            slice: None,
            outcome: None,
            by: None,
        };
        TaskRunView { tasks: tasks.parse().unwrap(), attempt, earlier: Vec::new() }
    }

    #[test]
    fn tasks_are_counted_by_what_they_wait_for() {
        use {Reason as R, TaskState as S};
        let runs = [
            run("0-4", S::Running, R::Launched, None),
            run("5-9", S::Queued, R::Admitted, None),
            run("10-11", S::Queued, R::Retried, None),
            run("12", S::Queued, R::WaitsForBackoff, Some(70)),
            run("13", S::Queued, R::WaitsForBackoff, Some(60)),
            run("14-15", S::Queued, R::WaitsForDependency, None),
        ];
        let expected = Waiting {
            for_place: 7,
            since: Some(Time::from_micros(3)),
            for_jobs: 2,
            for_next_try: 2,
            next_try_at: Some(Time::from_micros(60)),
        };
        assert_eq!(waiting(&runs), expected);
    }

    fn queue(name: &str, limit: &str, held: &str) -> QueueView {
        let read =
            |text: &str| text.parse::<LimitChange>().unwrap().applied_to(allot_model::QueueLimit::default());
        QueueView {
            queue: name.parse().unwrap(),
            weight: 1,
            limit: read(limit),
            guarantee: allot_model::QueueLimit::default(),
            hold_back: allot_model::HoldBack::default(),
            held: read(held),
            jobs: 1,
            running: 0,
            pending: 1,
            preempting: 0,
            preempted: 0,
            allocated: json!({}),
            dominant_resource: None,
            dominant_share: [0, 1],
        }
    }

    #[test]
    fn the_nearest_limit_that_one_more_task_would_exceed_is_found() {
        let asks = Request::from_json(&json!({"cpus": 2})).unwrap();
        let reached = |own: (&str, &str), above: (&str, &str)| {
            let queues =
                [queue("a", above.0, above.1), queue("a.b", own.0, own.1), queue("ab", "cpus=0", "cpus=0")];
            let reached = limit_reached(&"a.b.c".parse().unwrap(), &asks, &queues)?;
            Some(format!("{}: {} of {} {}", reached.queue, reached.held, reached.limit, reached.limited))
        };
        let free = ("cpus=9", "cpus=0");
        assert_eq!(reached(free, free), None);
        assert_eq!(reached(free, ("cpus=4", "cpus=2")), None, "exactly the limit is allowed");
        assert_eq!(reached(free, ("cpus=4", "cpus=3")).unwrap(), "a: 3 of 4 cpus");
        assert_eq!(reached(("tasks=1", "tasks=1"), ("cpus=4", "cpus=3")).unwrap(), "a.b: 1 of 1 tasks");
        assert_eq!(reached(("mem=1GB", "mem=1GB"), free), None, "it asks for no mem");
    }

    #[test]
    fn tasks_that_were_stopped_for_others_are_told_with_the_last_of_these() {
        let stopped = |tasks: &str, job, at| {
            let by = Some(Preemptor { job: JobId(job), queue: "high".parse().unwrap() });
            let mut queued = run(tasks, TaskState::Queued, Reason::Retried, None);
            let earlier = run(tasks, TaskState::Killed, Reason::PreemptedForPriority, None).attempt;
            queued.earlier = vec![AttemptView { by, ended_at: Some(Time::from_micros(at)), ..earlier }];
            queued
        };
        let running = TaskRunView {
            attempt: run("9", TaskState::Running, Reason::Launched, None).attempt,
            ..stopped("9", 17, 90)
        };
        let found = preempted(&[stopped("1", 15, 40), stopped("2", 16, 50), stopped("3", 15, 45), running]);
        let found = found.unwrap();
        assert_eq!((found.tasks, found.by.job, found.ended_at), (3, JobId(16), Some(Time::from_micros(50))));
        assert_eq!(preempted(&[run("0", TaskState::Queued, Reason::Retried, None)]), None);
    }

    #[test]
    fn who_should_have_told_is_named() {
        let allocator = |active| AllocatorView {
            instance: "mine-1".parse().unwrap(),
            policy: "mine".parse().unwrap(),
            described: None,
            mode: allot_model::AllocatorMode::Standby,
            active,
            since: Time::ZERO,
            heard_at: Time::ZERO,
        };
        let view = |active| PolicyView {
            chosen: None,
            epoch: Epoch(1),
            allocators: vec![allocator(active)],
            counts: OfferCounts::default(),
            preemption: allot_model::PreemptRules::default(),
        };
        let silent = Failure::Unreachable("nobody listens".into());
        let unknown = Failure::Refused(Refusal { code: RefusalKind::NotFound, message: "not yet".into() });
        let cases = [
            (&silent, Some(view(true)), "allocator mine-1 decides, by policy mine, and does not tell why"),
            (&silent, Some(view(false)), "no allocator decides: nothing is placed until one runs"),
            (&silent, None, "nobody tells why: nobody listens"),
            (&unknown, Some(view(true)), "not yet"),
        ];
        for (failure, policy, expected) in cases {
            assert_eq!(reason_for(failure, policy.as_ref()), expected);
        }
    }
}
