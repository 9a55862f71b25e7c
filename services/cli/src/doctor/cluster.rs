//! Who decides, which agents there are, and whether their clocks agree.

use std::collections::BTreeMap;

use allot_bus::Subject;
use allot_model::view::{AgentState, AgentView, JobList, JobQuery, JobView, JobsQuery, PolicyView};
use allot_model::{AgentId, AllocatorMode, JobState, PoolName, Span, Time};
use allot_shell::clock;
use serde_json::json;

use super::check::Check;
use super::server;
use super::user::User;
use crate::client::Client;
use crate::output::length;
use crate::states::word;

/// How many names are told of things that are wrong.
const MOST_NAMED: usize = 5;
/// How many of the newest jobs are looked at for what they say of clocks.
const JOBS_FOR_CLOCKS: u32 = 50;

/// Looks at the cluster as a whole. What cannot be asked for is told of by the checks of services.
pub(super) async fn checks(client: &Client, user: &User) -> Vec<Check> {
    let mut checks = Vec::new();
    let pool = Subject::PoolPolicy(PoolName::default_pool());
    if let Ok(view) = client.ask(&pool, &json!({})).await {
        checks.push(policy(&view));
    }
    if let Ok(views) = client.agents().await {
        let now = clock::now();
        checks.push(agents(&views, now));
        checks.extend(troubles(&views));
        checks.extend(registry_clock(&views, now));
    }
    // Agents' clocks are compared with that of NATS, by which submissions are timed.
    let nats_ahead = user.clock_ahead_us.unwrap_or_default();
    checks.extend(agent_clocks(client, nats_ahead).await);
    checks
}

fn policy(view: &PolicyView) -> Check {
    let others = |mode: AllocatorMode, what: &str| {
        let others = view.allocators.iter().filter(|one| !one.active && one.mode == mode);
        let others: Vec<&str> = others.map(|one| one.policy.as_str()).collect();
        if others.is_empty() { String::new() } else { format!(", {what}: {}", others.join(", ")) }
    };
    let standby = others(AllocatorMode::Standby, "standing by") + &others(AllocatorMode::Shadow, "shadows");
    let Some(active) = view.allocators.iter().find(|one| one.active) else {
        return Check::error(
            "policy",
            format!("no allocator is active: nothing is placed{standby}"),
            "start one: `systemctl start allot@allocator-drf`, `docker compose up --detach allocator`, or `allot up`",
        );
    };
    let found = format!("{} decides{standby}", active.policy);
    match view.chosen.as_ref().filter(|chosen| **chosen != active.policy) {
        Some(chosen) => Check::warning(
            "policy",
            format!("{found}; {chosen} was chosen and no allocator runs it"),
            format!("start allot-allocator-{chosen}, or `allot policy use {}`", active.policy),
        ),
        None => Check::ok("policy", found),
    }
}

fn agents(views: &[AgentView], now: Time) -> Check {
    const START: &str =
        "start one on each machine that is to run tasks: `systemctl start allot-agent`, or `allot up`";
    let mut by_state: BTreeMap<AgentState, Vec<&AgentView>> = BTreeMap::new();
    for view in views {
        by_state.entry(view.state).or_default().push(view);
    }
    let counts: Vec<String> =
        by_state.iter().map(|(state, views)| format!("{} {}", views.len(), word(state))).collect();
    let found = counts.join(", ");
    if views.is_empty() {
        return Check::error("agents", "none", START);
    }
    if !by_state.contains_key(&AgentState::Ready) {
        return Check::error(
            "agents",
            format!("none is ready: {found}"),
            if by_state.contains_key(&AgentState::Drained) || by_state.contains_key(&AgentState::Draining) {
                format!("`allot agent undrain ID` has one that was drained take tasks again; or {START}")
            } else {
                format!("{START}; `allot agents` lists them")
            },
        );
    }
    match by_state.get(&AgentState::Unreachable) {
        None => Check::ok("agents", found),
        Some(silent) => Check::warning(
            "agents",
            format!(
                "{found}\nunreachable: {}",
                named(silent, ", ", |view| format!("{} for {}", view.agent, silence(view, now)))
            ),
            "see that the agent runs and reaches NATS; `allot agent gone ID` gives one up for good",
        ),
    }
}

/// Agents that say that something keeps them from working.
fn troubles(views: &[AgentView]) -> Option<Check> {
    let in_trouble: Vec<&AgentView> = views.iter().filter(|view| view.trouble.is_some()).collect();
    let told = |view: &AgentView| format!("{}: {}", view.agent, view.trouble.as_deref().unwrap_or_default());
    (!in_trouble.is_empty()).then(|| {
        Check::error(
            "what agents say",
            named(&in_trouble, "\n", told),
            "mend it on that machine: until then the agent starts and reports nothing; what runs goes on",
        )
    })
}

fn silence(view: &AgentView, now: Time) -> String {
    length(now.since(view.heard_at))
}

/// The first of these, as `told` tells each.
fn named(views: &[&AgentView], between: &str, told: impl Fn(&AgentView) -> String) -> String {
    let mut names: Vec<String> = views.iter().take(MOST_NAMED).map(|view| told(view)).collect();
    if views.len() > MOST_NAMED {
        names.push(format!("and {} more", views.len() - MOST_NAMED));
    }
    names.join(between)
}

/// An agent cannot have been heard from in the future.
fn registry_clock(views: &[AgentView], now: Time) -> Option<Check> {
    let ahead = views.iter().map(|view| view.heard_at.since(now)).max()?;
    server::clock("the registry's clock", i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX))
}

/// What recent jobs say of agents' clocks: none can have started before it was submitted, or in the future.
async fn agent_clocks(client: &Client, nats_ahead_us: i64) -> Vec<Check> {
    let states = vec![JobState::Running, JobState::Finished, JobState::Failed];
    let query = JobsQuery { states, limit: JOBS_FOR_CLOCKS, ..JobsQuery::default() };
    let Ok(list) = client.ask::<JobList>(&Subject::JobsList, &query).await else { return Vec::new() };
    let now = clock::now();
    let mut worst: BTreeMap<AgentId, i64> = BTreeMap::new();
    for job in list.jobs {
        let started = job.started_at.unwrap_or(job.submitted_at);
        if shift(started, job.submitted_at, now, nats_ahead_us) == 0 {
            continue;
        }
        let query = JobQuery::default();
        let Ok(view) = client.job(job.job, &query).await else { continue };
        note_agents(&view, now, nats_ahead_us, &mut worst);
    }
    let tell = |(agent, ahead)| server::clock(&format!("the clock of agent {agent}"), ahead);
    worst.into_iter().filter_map(tell).take(MOST_NAMED).collect()
}

fn note_agents(view: &JobView, now: Time, nats_ahead_us: i64, worst: &mut BTreeMap<AgentId, i64>) {
    for run in &view.runs {
        let (Some(agent), Some(started)) = (&run.attempt.agent, run.attempt.started_at) else { continue };
        let shift = shift(started, view.summary.submitted_at, now, nats_ahead_us);
        let known = worst.entry(agent.clone()).or_default();
        if shift.unsigned_abs() > known.unsigned_abs() {
            *known = shift;
        }
    }
}

/// By how much at least the clock by which something `started` is ahead of ours, in microseconds: 0 where it lies
/// between the submission and now.
fn shift(started: Time, submitted: Time, now: Time, nats_ahead_us: i64) -> i64 {
    let signed = |span: Span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    let ahead = signed(started.since(now));
    let behind = signed(submitted.since(started)) - nats_ahead_us;
    match (ahead, behind) {
        (1.., _) => ahead,
        (_, 1..) if submitted > started => -behind,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::State;
    use super::*;
    use crate::jobs::tests::NOW;
    use allot_model::{Epoch, InstanceId, PolicyName};

    fn view(agent: &str, state: AgentState, heard_ago: u64) -> AgentView {
        AgentView {
            agent: AgentId::new(agent).unwrap(),
            host: "h".into(),
            state,
            total: json!({}),
            attributes: BTreeMap::default(),
            attempts: 0,
            joined_at: NOW,
            heard_at: NOW - Span::from_secs(heard_ago),
            program_version: "0.1.0".into(),
            trouble: None,
        }
    }

    #[test]
    fn agents_that_are_silent_are_named_and_none_that_is_ready_is_an_error() {
        let ready = view("a", AgentState::Ready, 1);
        let silent = view("b", AgentState::Unreachable, 300);
        assert_eq!(agents(std::slice::from_ref(&ready), NOW), Check::ok("agents", "1 ready"));
        let check = agents(&[ready, silent.clone()], NOW);
        assert_eq!(
            (check.state, check.found.as_str()),
            (State::Warning, "1 ready, 1 unreachable\nunreachable: b for 5m00s")
        );
        assert_eq!(agents(&[silent], NOW).state, State::Error);
        let drained = agents(&[view("a", AgentState::Drained, 1)], NOW);
        assert!(drained.advice.unwrap().starts_with("`allot agent undrain ID`"));
        assert_eq!(agents(&[], NOW).state, State::Error);
    }

    #[test]
    fn what_keeps_agents_from_working_is_an_error_that_names_them() {
        let well = view("a", AgentState::Ready, 1);
        assert_eq!(troubles(std::slice::from_ref(&well)), None);
        let full = AgentView { trouble: Some("no space is left".into()), ..view("b", AgentState::Ready, 1) };
        let check = troubles(&[well, full]).unwrap();
        assert_eq!((check.state, check.found.as_str()), (State::Error, "b: no space is left"));
    }

    #[test]
    fn who_decides_is_told_and_that_nobody_does() {
        let allocator = |policy: &str, active| allot_model::view::AllocatorView {
            instance: InstanceId::new(policy).unwrap(),
            policy: PolicyName::new(policy).unwrap(),
            described: None,
            mode: AllocatorMode::Standby,
            active,
            since: NOW,
            heard_at: NOW,
        };
        let view = |chosen: Option<&str>, active| PolicyView {
            chosen: chosen.map(|name| PolicyName::new(name).unwrap()),
            epoch: Epoch(1),
            allocators: vec![allocator("drf", active), allocator("fifo", false)],
            counts: allot_model::view::OfferCounts::default(),
            preemption: allot_model::PreemptRules::default(),
        };
        assert_eq!(policy(&view(None, true)), Check::ok("policy", "drf decides, standing by: fifo"));
        assert_eq!(policy(&view(Some("fair"), true)).state, State::Warning);
        assert_eq!(policy(&view(None, false)).state, State::Error);
    }

    #[test]
    fn a_clock_is_off_where_something_started_before_it_was_submitted_or_in_the_future() {
        let second = Span::from_secs(1);
        let submitted = NOW - Span::from_secs(60);
        assert_eq!(shift(NOW - second, submitted, NOW, 0), 0);
        assert_eq!(shift(NOW + second, submitted, NOW, 0), 1_000_000);
        assert_eq!(shift(submitted - second, submitted, NOW, 0), -1_000_000);
        assert_eq!(
            shift(submitted - second, submitted, NOW, 1_000_000),
            0,
            "it is the clock of NATS that is ahead"
        );
    }
}
