//! When a job would start: a pool as it stands, played on under its policy, as if nothing else were submitted.

use std::collections::BTreeMap;

use allot_engine::Policy;
use allot_model::{AgentId, JobId, Time, WhyView};

use crate::pool::simulator::{SimulationError, simulate_until_placed};
use crate::present::{Begun, Present, Unknown};

/// So many placements are played at most; what comes after these is too far off to be told.
pub const MOST_PLACEMENTS: usize = 2_000_000;

/// When and where the tasks of a job that wait would be placed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its tasks that wait.
    pub waiting: u64,
    /// Where running and waiting tasks end by their estimates, and those of which that is not known never end.
    pub expected: Course,
    /// The same where those of which it is not known end at once: no sooner than this, if the others do not end before
    /// their estimates. Nothing where all is known.
    pub earliest: Option<Course>,
    /// Running tasks that have no estimate.
    pub running_unknown: u64,
    /// Running tasks that have run for longer than their estimate.
    pub running_late: u64,
    /// Waiting tasks of other jobs that have no estimate.
    pub waiting_unknown: u64,
}

/// How the tasks of a job are placed one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// What is placed when and where, in order.
    pub starts: Vec<PlannedStart>,
    /// How many tasks these are.
    pub placed: u64,
    /// Why the others would not be placed, where some would not.
    pub why: Option<WhyView>,
    /// True where that was not played to its end, see [`MOST_PLACEMENTS`].
    pub cut_off: bool,
}

/// Tasks that would be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStart {
    /// When.
    pub at: Time,
    /// Where.
    pub agent: AgentId,
    /// How many.
    pub tasks: u64,
}

impl Course {
    /// When the first task would be placed.
    #[must_use]
    pub fn first(&self) -> Option<Time> {
        self.starts.first().map(|start| start.at)
    }

    /// When the last task would be placed, where all would.
    #[must_use]
    pub fn last(&self) -> Option<Time> {
        self.starts.last().filter(|_| self.why.is_none()).map(|start| start.at)
    }
}

/// When the tasks of `job` that wait would be placed under the policy, from `now` on. Nothing where the pool does not know the
/// job. What is known of the past is what holds something now: a policy that remembers more begins anew.
///
/// # Errors
/// [`SimulationError`] where the engine does what it must not.
pub fn plan(
    present: &Present,
    now: Time,
    policy: &Policy,
    job: JobId,
) -> Result<Option<Plan>, SimulationError> {
    let begun = present.begin(now, Unknown::Never);
    let Some(number) = begun.number(job) else { return Ok(None) };
    let waiting = present.waiting(job);
    let expected = course(&begun, policy, number)?;
    let own = present.job(job).filter(|job| job.estimate.is_none()).map_or(0, |_| waiting);
    let waiting_unknown = begun.waiting_unknown - own;
    let Begun { running_unknown, running_late, .. } = begun;
    let all_is_known = running_unknown + running_late + waiting_unknown == 0;
    let earliest = if all_is_known || expected.last().is_some_and(|last| last <= now) {
        None
    } else {
        let begun = present.begin(now, Unknown::AtOnce);
        Some(course(&begun, policy, number)?)
    };
    Ok(Some(Plan { waiting, expected, earliest, running_unknown, running_late, waiting_unknown }))
}

fn course(begun: &Begun, policy: &Policy, job: u32) -> Result<Course, SimulationError> {
    let workload = &begun.workload;
    let before = workload.begin.as_ref().map_or(0, |begin| begin.running.len());
    let story = simulate_until_placed(workload, policy, job, before + MOST_PLACEMENTS)?;
    let stays = &story.outcome.stays;
    let mut starts: BTreeMap<(Time, u32), u64> = BTreeMap::new();
    for stay in stays.iter().skip(before).filter(|stay| stay.job == job) {
        *starts.entry((stay.start, stay.agent)).or_default() += stay.tasks.count();
    }
    let placed = starts.values().sum();
    let start = |((at, agent), tasks): ((Time, u32), u64)| {
        let agent = workload.agents.get(agent as usize)?.id.clone();
        Some(PlannedStart { at, agent, tasks })
    };
    let cut_off = story.why.is_some() && stays.len() >= before + MOST_PLACEMENTS;
    Ok(Course { starts: starts.into_iter().filter_map(start).collect(), placed, why: story.why, cut_off })
}
