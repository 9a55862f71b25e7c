//! A window played again under another policy: the same jobs, agents and queues, and tasks that run as long as they did.

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{FeedItem, JobId, PoolJob, Span, TaskRange, Time};

use super::real::{Real, Stretch};
use super::window::Mark;
use crate::present::{Begun, Open, Story, Unknown};
use crate::workload::{Happening, Running};

/// The workload of a window, which begins as things stood, and the ids of its jobs.
pub(crate) fn workload(mark: &Mark, changes: &[(Time, FeedItem)], real: &Real, until: Time) -> Begun {
    let mut again = Again {
        story: Story::at(mark.at, Unknown::Never),
        described: BTreeMap::new(),
        numbers: BTreeMap::new(),
        real,
    };
    again.story.queues(&mark.present);
    again.story.agents(&mark.present);
    // One that neither waits nor runs is submitted when its tasks begin to wait.
    let is_open = |open: &Open| !open.waiting.is_empty() || !open.held.is_empty();
    let open = mark.present.jobs().filter(|(_, open)| is_open(open));
    let mut jobs: Vec<(JobId, &Open, &PoolJob)> =
        open.filter_map(|(id, open)| Some((id, open, &**open.job.as_ref()?))).collect();
    jobs.sort_by_key(|(id, _, job)| (job.submitted_at, *id));
    for (id, open, job) in jobs {
        let number = again.job(id, job, job.submitted_at.min(mark.at), job.tasks);
        again.story.begin.waiting.extend(open.waiting.ranges().map(|tasks| (number, tasks)));
    }
    let before = real.stretches.iter().filter(|stretch| stretch.before);
    before.for_each(|stretch| again.resume(stretch));
    changes.iter().for_each(|(at, item)| again.change(mark, *at, item));
    let mut begun = again.story.finish();
    begun.workload.until = Some(until);
    begun
}

struct Again<'a> {
    story: Story,
    /// The jobs that were described since.
    described: BTreeMap<JobId, Arc<PoolJob>>,
    /// The jobs whose tasks began to wait.
    numbers: BTreeMap<JobId, u32>,
    real: &'a Real,
}

impl Again<'_> {
    /// How long tasks of a job ran on average, or are said to; for ever where nobody knows.
    fn length(&self, id: JobId, job: &PoolJob) -> Option<Span> {
        let ran = self.real.ran.get(&id).filter(|(_, count)| *count > 0);
        ran.map(|(sum, count)| Span::from_micros(sum.as_micros() / count)).or(job.estimate)
    }

    fn job(&mut self, id: JobId, job: &PoolJob, submit: Time, tasks: u32) -> u32 {
        let length = self.length(id, job);
        let number = self.story.submit(id, job, submit, length, tasks);
        self.numbers.insert(id, number);
        number
    }

    fn resume(&mut self, stretch: &Stretch) {
        let Some(job) = self.numbers.get(&stretch.job).copied() else { return };
        let agent = self.story.builder.agent(&stretch.agent);
        self.story.begin.running.push(Running {
            job,
            agent,
            tasks: stretch.tasks,
            slice: (*stretch.slice).clone(),
            start: stretch.start,
            ends: stretch.end,
        });
    }

    fn change(&mut self, mark: &Mark, at: Time, item: &FeedItem) {
        match item {
            FeedItem::Job(job) => drop(self.described.insert(job.job, job.clone())),
            FeedItem::Pending { job, tasks } => self.pending(mark, at, *job, *tasks),
            FeedItem::Withdrawn { job, .. } => {
                if let Some(job) = self.numbers.get(job).copied() {
                    self.story.builder.change(at, Happening::Cancelled { job });
                }
            }
            FeedItem::Queue { queue, weight, limit, guarantee } => {
                let (queue, weight) = (self.story.builder.queue(queue), *weight);
                let (limit, guarantee) = (limit.clone(), guarantee.clone());
                self.story.builder.change(at, Happening::Queue { queue, weight, limit, guarantee });
            }
            FeedItem::Agent(facts) => {
                let agent = self.story.builder.agent(&facts.agent);
                self.story.builder.change(at, Happening::Agent { agent, facts: facts.clone() });
            }
            FeedItem::AgentLeft { agent } => {
                let agent = self.story.builder.agent(agent);
                self.story.builder.change(at, Happening::AgentLeaves { agent });
            }
            _ => {}
        }
    }

    /// Tasks that wait for a further try of theirs count once.
    fn pending(&mut self, mark: &Mark, at: Time, id: JobId, tasks: TaskRange) {
        if self.numbers.contains_key(&id) {
            return;
        }
        let described = self.described.get(&id).or_else(|| mark.present.job(id)).cloned();
        if let Some(job) = described {
            let count = u32::try_from(tasks.count()).unwrap_or(u32::MAX);
            let number = self.job(id, &job, at, count);
            if at <= mark.at {
                // What is submitted by then has happened when it begins.
                let all = TaskRange::new(0, count.saturating_sub(1));
                self.story.begin.waiting.extend(all.map(|tasks| (number, tasks)));
            }
        }
    }
}
