//! The placements once more, as plainly as they can be said: everything looked at for each single task.

use std::collections::BTreeMap;

use allot_engine::Placement;
use allot_model::{Amount, JobId, Request, ResourceName, Resources};
use allot_workload::SplitMix64;

use super::reference::{allows, fits};
use super::{AgentTruth, JobTruth};

/// Which of the agents that fit gets a task of the job. The agents stand in the order of their names.
pub(crate) fn choose(
    placement: Placement,
    agents: &[AgentTruth],
    jobs: &[JobTruth],
    job: usize,
    fitting: &[usize],
) -> Option<usize> {
    let (all, job) = (Scene { agents, jobs }, &jobs[job]);
    let asks = &job.facts.resources;
    let fitting = fitting.iter().copied();
    let least = |cost: &dyn Fn(&AgentTruth) -> i128| fitting.clone().min_by_key(|a| (cost(&agents[*a]), *a));
    match placement {
        Placement::FirstFit => least(&|_| 0),
        Placement::BestFit => least(&|agent| all.left_over(agent)),
        Placement::WorstFit => least(&|agent| -all.left_over(agent)),
        Placement::Alignment => least(&|agent| -alignment(agent, asks)),
        Placement::GpuBestFit => least(&|agent| {
            let [cpus, gpus] = ["cpus", "gpus"].map(|name| all.most(name));
            free(agent, "cpus") * gpus + free(agent, "gpus") * cpus
        }),
        Placement::DotProduct => least(&|agent| {
            let [cpus, gpus] = ["cpus", "gpus"].map(|name| all.most(name));
            free(agent, "cpus") * asked(asks, "cpus") * gpus * gpus
                + free(agent, "gpus") * asked(asks, "gpus") * cpus * cpus
        }),
        Placement::Packing => least(&|agent| packing(agent, asked(asks, "gpus"))),
        Placement::Clustering => least(&|agent| all.clustering(agent, asked(asks, "gpus"))),
        Placement::Fgd => least(&|agent| all.fragments_more(agent, asks)),
        Placement::Random { seed } => {
            let task = job.pending.ranges().next()?.first;
            draw(seed, job.facts.job, task, agents.len(), &fitting.collect::<Vec<_>>())
        }
    }
}

struct Scene<'a> {
    agents: &'a [AgentTruth],
    jobs: &'a [JobTruth],
}

fn name(of: &str) -> ResourceName {
    of.parse().unwrap()
}

fn free(agent: &AgentTruth, of: &str) -> i128 {
    agent.free.total(&name(of)).into()
}

fn asked(request: &Request, of: &str) -> i128 {
    request.get(&name(of)).into()
}

/// How much of each device is left, the fullest first, none that is taken wholly.
fn devices(free: &Resources) -> Vec<i128> {
    let Some(Amount::Items(items)) = free.get(&name("gpus")) else { return Vec::new() };
    let mut left: Vec<i128> = items.values().map(|left| i128::from(*left)).collect();
    left.sort_unstable();
    left
}

fn draw(seed: u64, job: JobId, task: u32, agents: usize, fitting: &[usize]) -> Option<usize> {
    let of_job = SplitMix64::new(seed).next() ^ job.0;
    let of_task = SplitMix64::new(of_job).next() ^ u64::from(task);
    let mut draws = SplitMix64::new(of_task);
    for _ in 0..=agents.isqrt() {
        let drawn = draws.below(agents);
        if fitting.contains(&drawn) {
            return Some(drawn);
        }
    }
    fitting.get(draws.below(fitting.len())).copied()
}

fn alignment(agent: &AgentTruth, asks: &Request) -> i128 {
    let part = |amount: u64, whole: u64| i128::from(amount * super::PARTS / whole);
    let product = |(name, asked): (&ResourceName, u64)| {
        let total = agent.facts.total.total(name);
        part(asked, total) * part(agent.free.total(name), total)
    };
    asks.iter().map(product).sum()
}

fn packing(agent: &AgentTruth, gpus: i128) -> i128 {
    let left = devices(&agent.free);
    let all = i128::from(agent.facts.total.total(&name("gpus")));
    let shared = left.iter().find(|left| **left >= gpus && **left < 1_000);
    match shared {
        _ if gpus == 0 => 0,
        _ if left.iter().sum::<i128>() == all => 2_000_000 + all,
        Some(left) => *left,
        None => 1_000_000,
    }
}

impl Scene<'_> {
    fn most(&self, of: &str) -> i128 {
        let most = self.agents.iter().map(|agent| agent.facts.total.total(&name(of))).max();
        i128::from(most.unwrap_or(0)).max(1)
    }

    /// What is free beside the largest agent, summed over all resources, in [`super::PARTS`].
    fn left_over(&self, agent: &AgentTruth) -> i128 {
        let part = |(name, amount): (&ResourceName, &Amount)| {
            i128::from(amount.total() * super::PARTS) / self.most(name.as_str())
        };
        agent.free.iter().map(part).sum()
    }

    fn clustering(&self, agent: &AgentTruth, gpus: i128) -> i128 {
        let here = self.jobs.iter().filter(|job| job.running.iter().any(|run| run.0 == agent.facts.agent));
        let kinds = here.map(|job| asked(&job.facts.resources, "gpus")).filter(|gpus| *gpus > 0);
        let kinds: std::collections::BTreeSet<i128> = kinds.map(|gpus| gpus / 1_000).collect();
        let rank = match (kinds.contains(&(gpus / 1_000)), kinds.len()) {
            (true, 1) => 0,
            (true, _) => 1,
            (false, 0) => 2,
            (false, _) => 3,
        };
        if gpus == 0 { 0 } else { rank * 1_000_000 + free(agent, "gpus") }
    }

    /// How many tasks of jobs with gpus ask for the same.
    fn types(&self) -> BTreeMap<(Request, Vec<String>), (&JobTruth, i128)> {
        let mut types = BTreeMap::new();
        for job in self.jobs.iter().filter(|job| asked(&job.facts.resources, "gpus") > 0) {
            let texts = job.facts.constraints.iter().map(ToString::to_string).collect();
            let of_type = types.entry((job.facts.resources.clone(), texts)).or_insert((job, 0));
            of_type.1 += i128::from(job.facts.tasks);
        }
        types
    }

    /// The free gpus that tasks of each type cannot use, times how many of 1,024 tasks are of the type, rounded.
    fn fragments(&self, agent: &AgentTruth) -> i128 {
        let types = self.types();
        let all: i128 = types.values().map(|(_, tasks)| tasks).sum();
        let left = devices(&agent.free);
        let of = |(job, tasks): &(&JobTruth, i128)| {
            let asks = asked(&job.facts.resources, "gpus").min(1_000);
            let is_of_use = fits(agent, &job.facts.resources) && allows(&agent.facts, &job.facts);
            let lost = left.iter().filter(|left| !is_of_use || **left < asks).sum::<i128>();
            lost * ((2 * tasks * 1_024 + all) / (2 * all))
        };
        types.values().map(of).sum()
    }

    fn fragments_more(&self, agent: &AgentTruth, asks: &Request) -> i128 {
        let mut after = agent.clone();
        after.free.subtract(&agent.free.take(asks).unwrap()).unwrap();
        self.fragments(&after) - self.fragments(agent)
    }
}
