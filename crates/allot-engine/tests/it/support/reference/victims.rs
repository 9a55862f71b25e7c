//! Whom a job has stopped, found by trying all sets of tasks on each agent.

use std::cmp::Reverse;

use allot_model::{AgentId, JobId, Resources};

use crate::support::Cluster;

/// The tasks that one task of a job has stopped, such as `1.0 2.0`: where nothing is guaranteed, and all are one line.
pub(crate) fn victims(cluster: &Cluster, id: JobId) -> String {
    let best = cluster.agents.keys().filter_map(|agent| on(cluster, id, agent)).min();
    let mut tasks = best.map(|(_, _, _, _, tasks)| tasks).unwrap_or_default();
    tasks.sort_unstable();
    tasks.iter().map(|(job, task)| format!("{job}.{task}")).collect::<Vec<_>>().join(" ")
}

/// A task that could be stopped.
struct Candidate {
    /// The least is stopped first: by its priority, when it got its place, its job and its number.
    precedence: (i32, Reverse<allot_model::Time>, Reverse<JobId>, u32),
    slice: Resources,
}

type Harm = (i32, usize, Reverse<allot_model::Time>, AgentId, Vec<(JobId, u32)>);

/// Of all sets of tasks on an agent without which there is room, the one that spares the most important: the last in order
/// if it can, then the last but one, and so on.
fn on(cluster: &Cluster, id: JobId, agent: &AgentId) -> Option<Harm> {
    let asker = &cluster.jobs[&id].facts;
    let mut candidates: Vec<Candidate> = Vec::new();
    for job in
        cluster.jobs.values().filter(|job| job.facts.preemptible && job.facts.priority < asker.priority)
    {
        for (on, tasks, slice, _) in job.running.iter().filter(|(on, ..)| on == agent) {
            assert_eq!(on, agent);
            candidates.extend(tasks.indexes().map(|task| {
                let at = cluster.starts[&(job.facts.job, task)];
                let precedence = (job.facts.priority, Reverse(at), Reverse(job.facts.job), task);
                Candidate { precedence, slice: slice.clone() }
            }));
        }
    }
    candidates.sort_by_key(|candidate| candidate.precedence);
    let wanted = asker.resources.as_scalars();
    let suffices = |set: u32| {
        let mut free = cluster.agents[agent].free.clone();
        let chosen = candidates.iter().enumerate().filter(|(place, _)| set & (1 << place) != 0);
        chosen.for_each(|(_, candidate)| free.add(&candidate.slice).unwrap());
        free.contains(&wanted)
    };
    let set = (1..1_u32 << candidates.len()).find(|set| suffices(*set))?;
    let chosen: Vec<_> =
        candidates.iter().enumerate().filter(|(place, _)| set & (1 << place) != 0).map(|(_, c)| c).collect();
    let all = || chosen.iter().map(|candidate| candidate.precedence);
    let tasks = all().map(|(_, _, Reverse(job), task)| (job, task)).collect();
    let worst = all().map(|(priority, ..)| priority).max()?;
    let oldest = all().map(|(_, Reverse(at), ..)| at).min()?;
    Some((worst, chosen.len(), Reverse(oldest), agent.clone(), tasks))
}
