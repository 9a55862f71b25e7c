//! What must always be the case, checked from scratch. For tests and simulation.

use std::collections::{BTreeMap, BTreeSet};

use allot_model::TaskRange;

use crate::branch::{Branch, Held, Member, WHOLE};
use crate::engine::Engine;
use crate::flight::Unanswered;
use crate::kept::Kept;
use crate::lane::{Lane, LaneHeld};
use crate::pool::Pool;
use crate::shape::Mask;

impl Engine {
    /// Walks every cross reference and recounts what is counted along the way.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn sanity_check(&self) -> Result<(), String> {
        self.check_jobs()?;
        self.check_users()?;
        self.check_lanes()?;
        self.check_agents()
    }

    fn check_jobs(&self) -> Result<(), String> {
        let backlog = &self.pool.backlog;
        for (id, job) in backlog.iter() {
            let all = TaskRange { first: 0, last: u32::MAX };
            let unplaced = job.unplaced.within(all);
            let wanted: u64 =
                unplaced.iter().flat_map(|run| job.wanted.within(*run)).map(TaskRange::count).sum();
            ensure(wanted == job.unplaced.count(), || {
                format!("job {id} has tasks to place that do not wait")
            })?;
            let waits = job.is_ready() && !backlog.is_held(id);
            ensure(job.queued == waits, || {
                format!("job {id} stands in line: {}, should: {waits}", job.queued)
            })?;
            let lane = backlog.queues.lane(job.lane);
            let here = lane.waiting().filter(|cell| cell.shape == job.shape).flat_map(|cell| cell.jobs());
            let found = here.filter(|(key, _)| **key == job.key).count();
            ensure(found == usize::from(waits), || format!("job {id} stands in line {found} times"))?;
        }
        Ok(())
    }

    /// Shapes and lanes have as many users as there are jobs and grants that name them.
    fn check_users(&self) -> Result<(), String> {
        let Pool { backlog, shapes, .. } = &self.pool;
        let jobs = backlog.iter().map(|(_, job)| (job.shape, job.lane));
        let grants = self.flight.iter().map(|(_, grant)| (grant.shape, grant.lane));
        let (mut of_shape, mut of_lane) = (BTreeMap::new(), BTreeMap::new());
        for (shape, lane) in jobs.chain(grants) {
            *of_shape.entry(shape).or_insert(0_u64) += 1;
            *of_lane.entry(lane).or_insert(0_u64) += 1;
        }
        for (shape, _) in shapes.iter() {
            let (has, counted) = (of_shape.get(&shape).copied().unwrap_or(0), shapes.users(shape));
            ensure(has == counted, || format!("shape {shape} has {has} users, counted {counted}"))?;
        }
        for (slot, lane) in backlog.queues.lanes() {
            let has = of_lane.get(&slot).copied().unwrap_or(0);
            ensure(has == lane.users, || format!("lane {slot} has {has} users, counted {}", lane.users))?;
            ensure(!lane.is_idle() || !backlog.queues.is_forgotten(slot), || {
                format!("lane {slot} is kept for nothing")
            })?;
        }
        Ok(())
    }

    fn check_lanes(&self) -> Result<(), String> {
        let queues = &self.pool.backlog.queues;
        for (slot, lane) in queues.lanes() {
            let waits = lane.waiting().next().is_some();
            let key = queues.ranked_key(slot);
            ensure(key.is_some() == waits, || format!("lane {slot} is ranked: {}", !waits))?;
            let current = key.is_none_or(|key| *key == queues.key(slot));
            ensure(current, || format!("lane {slot} is ranked by what it had earlier"))?;
            let seated = queues.tree.get(lane.branch).member(lane.seat) == Member::Lane(slot);
            ensure(seated, || format!("lane {slot} is not where its branch has it"))?;
            for cell in lane.waiting() {
                ensure(cell.first().is_some(), || format!("lane {slot} keeps an empty cell"))?;
            }
        }
        self.check_kept()?;
        queues.tree.iter().try_for_each(|(number, branch)| self.check_branch(number, branch))
    }

    /// What is missing to guarantees that are kept is what the branches lack, added up.
    fn check_kept(&self) -> Result<(), String> {
        let tree = &self.pool.backlog.queues.tree;
        let mut sum = Kept::default();
        for (_, branch) in tree.iter() {
            branch.keeps.iter().for_each(|least| sum.keep(least, &branch.held));
        }
        let same = (0..self.pool.dims.len()).all(|dim| sum.missing(dim) == tree.kept.missing(dim));
        ensure(same, || format!("{sum:?} is missing, noted {:?}", tree.kept))
    }

    fn check_branch(&self, number: u32, branch: &Branch) -> Result<(), String> {
        let (queues, shapes) = (&self.pool.backlog.queues, &self.pool.shapes);
        let tree = &queues.tree;
        let keys: Vec<_> = branch.ranking.in_order().iter().map(|seat| branch.ranking.key(*seat)).collect();
        ensure(keys.windows(2).all(|pair| pair[0] < pair[1]), || format!("branch {number} is not in order"))?;
        let below = |lane: &Lane| tree.up_from(lane.branch).any(|above| above == number);
        let mut held = Held::default();
        for (slot, lane) in queues.lanes().filter(|(_, lane)| below(lane)) {
            held.replace(&LaneHeld::default(), &lane.held);
            for cell in lane.waiting() {
                let (bit, shape) = (Mask::of(cell.shape), shapes.get(cell.shape));
                let (need, count) = (&shape.need, shape.count());
                let hidden = number != WHOLE && branch.limit.full.meets(bit) && branch.admits(need, count);
                ensure(!hidden, || format!("branch {number} hides lane {slot}, and has room for it"))?;
                let passed = branch.guarantee.as_ref().is_some_and(|fence| fence.full.meets(bit));
                ensure(!passed || branch.covers(need) < count, || {
                    format!("branch {number} passes lane {slot} by, which is guaranteed something")
                })?;
            }
        }
        ensure(held.equals(&branch.held), || {
            format!("branch {number} holds {held:?}, noted {:?}", branch.held)
        })?;
        ensure(tree.is_told(number), || format!("branch {number} is not ranked as it is"))
    }

    fn check_agents(&self) -> Result<(), String> {
        let fleet = &self.pool.fleet;
        for (slot, is_current) in fleet.indexed() {
            ensure(is_current, || format!("agent {slot} is indexed by what was free earlier"))?;
            let hidden = self.pool.shapes.iter().find(|(_, shape)| fleet.hides(slot, shape));
            ensure(hidden.is_none(), || format!("agent {slot} has room that the index does not show"))?;
        }
        for (slot, agent) in fleet.iter() {
            for grant in &agent.in_flight {
                let there =
                    self.flight.get(*grant).is_some_and(|grant| grant.parts.on(slot).next().is_some());
                ensure(there, || {
                    format!("agent {slot} waits for an answer to grant {grant}, which is not there")
                })?;
            }
        }
        let noted: usize = fleet.iter().map(|(_, agent)| agent.in_flight.len()).sum();
        let agents =
            |grant: &Unanswered| grant.parts.iter().filter_map(|part| part.agent).collect::<BTreeSet<_>>();
        let placed: usize = self.flight.iter().map(|(_, grant)| agents(grant).len()).sum();
        ensure(noted == placed, || format!("{placed} grants on agents, {noted} noted there"))
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
