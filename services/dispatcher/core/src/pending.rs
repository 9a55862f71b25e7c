//! How many jobs of each queue have tasks that wait, for a place, for another job or for their next try.

use std::collections::BTreeMap;

use allot_model::QueueName;

use crate::job::Job;

/// Jobs with tasks that wait, counted for their queue and for every queue above it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending(BTreeMap<String, u64>);

impl Pending {
    /// How many jobs of a queue and of all queues below it have tasks that wait.
    pub(crate) fn of(&self, queue: &str) -> u64 {
        self.0.get(queue).copied().unwrap_or(0)
    }

    /// Counts a job where its tasks wait, and not where none does any more.
    pub(crate) fn note(&mut self, job: &mut Job) {
        let waits = job.has_waiting();
        if waits != job.is_pending {
            job.is_pending = waits;
            self.count(&job.queue, waits);
        }
    }

    /// True where counting all jobs anew comes to the same.
    pub(crate) fn counts<'a>(&self, jobs: impl Iterator<Item = &'a Box<Job>>) -> bool {
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        let waiting = jobs.filter(|job| job.has_waiting());
        waiting.flat_map(|job| job.queue.lineage()).for_each(|path| *counted.entry(path).or_default() += 1);
        let known = self.0.iter().map(|(path, count)| (path.as_str(), *count));
        known.eq(counted)
    }

    fn count(&mut self, queue: &QueueName, one_more: bool) {
        for path in queue.lineage() {
            if !self.0.contains_key(path) {
                self.0.insert(path.to_owned(), 0);
            }
            if let Some(count) = self.0.get_mut(path) {
                *count = if one_more { *count + 1 } else { count.saturating_sub(1) };
                if *count == 0 {
                    self.0.remove(path);
                }
            }
        }
    }
}
