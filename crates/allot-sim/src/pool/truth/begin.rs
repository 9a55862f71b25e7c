//! Beginning with a pool in which something waits and runs already.

use allot_model::TaskRange;

use super::Truth;
use crate::output::outcome::Stay;
use crate::workload::Running;

impl Truth<'_> {
    /// A job was submitted before; its tasks have ended, but for those that are told to wait or run.
    pub(crate) fn admit(&mut self, number: u32) {
        let first_stay = u32::try_from(self.stays.len()).unwrap_or(u32::MAX);
        if let Some(truth) = self.jobs.get_mut(number as usize) {
            (truth.is_open, truth.first_stay) = (true, first_stay);
        }
    }

    /// Tasks of a job wait.
    pub(crate) fn wait(&mut self, number: u32, tasks: TaskRange) {
        if let Some(truth) = self.jobs.get_mut(number as usize) {
            truth.waiting.insert(tasks);
        }
        self.note_waiting(number);
    }

    /// Tasks run already, and hold what they do whether it is there or not. Returns the stay.
    pub(crate) fn resume(&mut self, running: &Running) -> Option<u32> {
        let Running { job, agent, tasks, slice, start, .. } = running;
        let stay = u32::try_from(self.stays.len()).ok()?;
        let truth = self.jobs.get_mut(*job as usize)?;
        truth.running += u32::try_from(tasks.count()).ok()?;
        truth.fate.start = truth.fate.start.into_iter().chain([*start]).min();
        let facts = self.workload.jobs.get(*job as usize)?;
        let asks = self.workload.asks.get(facts.asks as usize)?;
        self.stays.push(Stay::new(*job, *agent, *tasks, *start));
        if *slice != asks.slice {
            self.named.insert(stay, slice.clone());
        }
        let queue = &self.workload.queues.get(facts.queue as usize)?.name;
        self.held.iter_mut().for_each(|held| held.occupy(queue, slice, tasks.count()));
        self.note_changed(*agent);
        let there = self.agents.get_mut(*agent as usize)?;
        if there.facts.is_some() && !there.take(slice, tasks.count()) {
            self.recount(*agent);
        }
        Some(stay)
    }

    /// True where no task of the job waits.
    pub(crate) fn is_placed(&self, number: u32) -> bool {
        self.jobs.get(number as usize).is_none_or(|job| job.waiting.is_empty())
    }

    /// How often anything was placed, what ran at the beginning included.
    pub(crate) fn count_of_stays(&self) -> usize {
        self.stays.len()
    }
}
