//! Whether two policies decide alike from the same state: what was granted beside what a shadow would have granted.

use std::collections::{BTreeMap, VecDeque};

use allot_model::{AgentId, Difference, Grant, Instead, JobId, Placement, Time};

/// So many differences are kept, the last ones.
const MOST_DIFFERENCES: usize = 20;

/// How many slots were placed, and how many of them the shadow would have given to the same job, and there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) placed: u64,
    pub(crate) same_job: u64,
    pub(crate) same_agent: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.placed += other.placed;
        self.same_job += other.same_job;
        self.same_agent += other.same_agent;
    }
}

/// The last differences, oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Differences {
    kept: VecDeque<Difference>,
}

impl Differences {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Difference> {
        self.kept.iter()
    }

    fn note(&mut self, difference: Difference) {
        if self.kept.len() == MOST_DIFFERENCES {
            self.kept.pop_front();
        }
        self.kept.push_back(difference);
    }
}

/// What the shadow would grant, as slots that are compared one by one and then gone.
struct Wanted {
    by_job: BTreeMap<JobId, u64>,
    by_place: BTreeMap<(JobId, AgentId), u64>,
}

impl Wanted {
    fn of(grants: &[Grant]) -> Self {
        let mut wanted = Self { by_job: BTreeMap::new(), by_place: BTreeMap::new() };
        for part in grants.iter().flat_map(|grant| &grant.placements) {
            *wanted.by_job.entry(part.job).or_default() += part.slots;
            *wanted.by_place.entry((part.job, part.agent.clone())).or_default() += part.slots;
        }
        wanted
    }

    /// Takes up to so many slots of a job out, and of these up to so many on an agent. Returns how many of each.
    fn take(&mut self, job: JobId, agent: &AgentId, slots: u64) -> (u64, u64) {
        let take = |left: Option<&mut u64>| {
            left.map_or(0, |left| {
                let taken = slots.min(*left);
                *left -= taken;
                taken
            })
        };
        (take(self.by_job.get_mut(&job)), take(self.by_place.get_mut(&(job, agent.clone()))))
    }

    /// Where the shadow would have placed tasks of this job, or else what it would have placed before anything else.
    fn instead(&self, job: JobId, grants: &[Grant]) -> Option<Instead> {
        let parts = || grants.iter().flat_map(|grant| &grant.placements);
        let left = |part: &&allot_model::ProposedPlacement| {
            self.by_place.get(&(part.job, part.agent.clone())).is_some_and(|slots| *slots > 0)
        };
        let own = parts().filter(|part| part.job == job).find(left);
        let part = own.or_else(|| parts().find(left))?;
        Some(Instead { job: part.job, agent: part.agent.clone() })
    }
}

/// Compares what was granted with what the shadow would have granted from the same state.
pub(crate) fn compare(
    at: Time,
    would: &[Grant],
    granted: &[&Placement],
    differences: &mut Differences,
) -> Tally {
    let mut wanted = Wanted::of(would);
    let mut tally = Tally::default();
    let mut others = Vec::new();
    for placement in granted {
        let (job, slots) = (placement.run.job, placement.slots);
        let (same_job, same_agent) = wanted.take(job, &placement.agent, slots);
        tally.add(Tally { placed: slots, same_job, same_agent });
        if same_agent < slots {
            others.push((placement, slots - same_agent));
        }
    }
    // What it would have done instead is among what was not granted.
    for (placement, slots) in others {
        let (job, agent) = (placement.run.job, placement.agent.clone());
        differences.note(Difference { at, job, agent, slots, instead: wanted.instead(job, would) });
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::{
        AttemptRun, Epoch, GrantId, OfferVersion, ProposedPlacement, QueueName, Resources, TaskRange,
    };

    fn would(parts: &[(u64, &str, u64)]) -> Vec<Grant> {
        let part = |(job, agent, slots): &(u64, &str, u64)| ProposedPlacement {
            agent: agent.parse().unwrap(),
            version: OfferVersion(1),
            job: JobId(*job),
            tasks: TaskRange { first: 0, last: u32::try_from(*slots).unwrap() - 1 },
            slice: Resources::new(),
            slots: *slots,
        };
        vec![Grant { epoch: Epoch(1), grant: GrantId(1), placements: parts.iter().map(part).collect() }]
    }

    fn compared(real: &[(u64, &str, u64)], shadow: &[(u64, &str, u64)]) -> ((u64, u64, u64), Vec<String>) {
        let placed = |(job, agent, slots): &(u64, &str, u64)| Placement {
            agent: agent.parse().unwrap(),
            run: AttemptRun {
                job: JobId(*job),
                tasks: TaskRange { first: 0, last: u32::try_from(*slots).unwrap() - 1 },
                attempt: 1,
            },
            queue: QueueName::new("q").unwrap(),
            slice: Resources::new(),
            slots: *slots,
        };
        let real: Vec<Placement> = real.iter().map(placed).collect();
        let mut differences = Differences::default();
        let tally = compare(Time::ZERO, &would(shadow), &real.iter().collect::<Vec<_>>(), &mut differences);
        let words = differences.iter().map(|one| {
            let instead =
                one.instead.as_ref().map_or("-".to_owned(), |it| format!("{} {}", it.job, it.agent));
            format!("{} {} {}: {instead}", one.slots, one.job, one.agent)
        });
        ((tally.placed, tally.same_job, tally.same_agent), words.collect())
    }

    #[test]
    fn slots_agree_by_job_and_by_place_and_each_counts_once() {
        for (real, shadow, expected, differences) in [
            (vec![(1, "a", 2)], vec![(1, "a", 2)], (2, 2, 2), vec![]),
            (vec![(1, "a", 2)], vec![(1, "a", 1), (1, "b", 1)], (2, 2, 1), vec!["1 1 a: 1 b"]),
            (vec![(1, "a", 1)], vec![(2, "a", 1)], (1, 0, 0), vec!["1 1 a: 2 a"]),
            (vec![(1, "a", 1)], vec![], (1, 0, 0), vec!["1 1 a: -"]),
            // What it would grant beyond that is no difference: it may be granted next.
            (vec![(1, "a", 1)], vec![(1, "a", 9), (2, "b", 9)], (1, 1, 1), vec![]),
            (vec![(1, "a", 1), (1, "b", 1)], vec![(1, "a", 1)], (2, 1, 1), vec!["1 1 b: -"]),
        ] {
            let (tally, told) = compared(&real, &shadow);
            assert_eq!((tally, told.iter().map(String::as_str).collect::<Vec<_>>()), (expected, differences));
        }
    }

    #[test]
    fn only_the_last_differences_are_kept() {
        let real: Vec<(u64, &str, u64)> = (1..30).map(|job| (job, "a", 1)).collect();
        let (tally, told) = compared(&real, &[]);
        assert_eq!((tally.0, told.len(), told[0].as_str()), (29, 20, "1 10 a: -"));
    }
}
