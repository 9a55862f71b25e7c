//! Pages of jobs, newest first.
//!
//! A page costs a bounded amount of work, however many jobs there are, so that no question holds up the dispatcher:
//! where the bound is met before the page is full, the answer says where to go on, and whoever asked asks again.
//! There is no index beside what the dispatcher needs anyway: the jobs by their ids, which grow with the time of
//! submission, and the tasks by their agents.

use std::collections::BinaryHeap;

use allot_model::{JobId, JobList, JobState, JobSummary, JobsQuery, QueueName, Span, Time, name_matches};

use crate::job::Job;
use crate::{Agent, DispatcherCore, Rejected};

/// The most jobs on a page.
const MOST_JOBS: u32 = 1_000;
/// How much work a page may be. To look at a job is one; a page of this is made in about a millisecond.
const MOST_WORK: u64 = 4_096;
/// About how many bytes a page may have, so that it fits into a message.
const MOST_BYTES: usize = 512 * 1024;
/// About how many bytes a job takes beside its texts.
const SUMMARY_BYTES: usize = 420;
/// The comparisons of a name with a pattern that are as much work as looking at a job.
const COMPARISONS_PER_WORK: usize = 256;
/// By how much the time of a submission may lie before that of an earlier one: NATS servers that take the lead from
/// each other need not have the same clock.
const CLOCK_STEP: Span = Span::from_secs(10);

impl DispatcherCore {
    pub(crate) fn list_jobs(&self, query: &JobsQuery) -> JobList {
        let mut search = Search::new(self, query);
        for (id, entry) in self.candidates(query, search.begin()) {
            if search.is_over(&entry) {
                break;
            }
            if search.look(id, &entry) {
                return search.end(Some(id));
            }
        }
        search.end(None)
    }

    /// Jobs older than `end` among which are all that the query is for, newest first.
    fn candidates<'a>(&'a self, query: &JobsQuery, end: JobId) -> Candidates<'a> {
        if let Some(id) = &query.message_id {
            let job = self.message_ids.get(id.as_str()).filter(|job| **job < end);
            return Box::new(job.and_then(|id| Some((*id, Entry::Job(self.jobs.get(id)?)))).into_iter());
        }
        let jobs = self.jobs.range(..end).rev().map(|(id, job)| (*id, Entry::Job(job)));
        let rejected = self.rejected.range(..end).rev().map(|(id, job)| (*id, Entry::Rejected(job)));
        let only = |states: &[JobState]| {
            !query.states.is_empty() && query.states.iter().all(|state| states.contains(state))
        };
        if only(&[JobState::Rejected]) {
            Box::new(rejected)
        } else if only(&[JobState::Running, JobState::Killing]) {
            Box::new(self.placed(end))
        } else {
            Box::new(newest_first(jobs, rejected))
        }
    }

    /// Jobs older than `end` with tasks that hold an allocation, newest first.
    fn placed(&self, end: JobId) -> impl Iterator<Item = (JobId, Entry<'_>)> {
        let mut agents: Vec<_> =
            self.agents.values().map(|agent| agent.tasks.range(..end).rev().map(|(id, _)| *id)).collect();
        let first = agents.iter_mut().enumerate().filter_map(|(at, jobs)| Some((jobs.next()?, at)));
        let mut heads: BinaryHeap<(JobId, usize)> = first.collect();
        let mut last = None;
        std::iter::from_fn(move || {
            loop {
                let (id, at) = heads.pop()?;
                heads.extend(agents[at].next().map(|next| (next, at)));
                if last.replace(id) != Some(id)
                    && let Some(job) = self.jobs.get(&id)
                {
                    return Some((id, Entry::Job(job)));
                }
            }
        })
    }

    /// The newest job before `end`, and when it was submitted.
    fn newest(&self, end: JobId) -> Option<(JobId, Time)> {
        let job = self.jobs.range(..end).next_back().map(|(id, job)| (*id, job.submitted_at));
        let rejected = self.rejected.range(..end).next_back().map(|(id, job)| (*id, job.submitted_at));
        job.max(rejected)
    }

    fn oldest(&self) -> Option<JobId> {
        let (job, rejected) = (self.jobs.first_key_value(), self.rejected.first_key_value());
        job.map(|(id, _)| *id).into_iter().chain(rejected.map(|(id, _)| *id)).min()
    }
}

/// Jobs in the order in which they are looked at.
type Candidates<'a> = Box<dyn Iterator<Item = (JobId, Entry<'a>)> + 'a>;

/// Two lists, each newest first, as one.
fn newest_first<T>(
    a: impl Iterator<Item = (JobId, T)>,
    b: impl Iterator<Item = (JobId, T)>,
) -> impl Iterator<Item = (JobId, T)> {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    std::iter::from_fn(move || {
        let newest = a.peek().map(|(id, _)| *id) > b.peek().map(|(id, _)| *id);
        if newest { a.next() } else { b.next() }
    })
}

/// The making of a page.
struct Search<'a> {
    core: &'a DispatcherCore,
    query: &'a JobsQuery,
    /// Agents that are silent, whose tasks are counted apart.
    away: Vec<&'a Agent>,
    limit: usize,
    page: Vec<JobSummary>,
    bytes: usize,
    looked_at: u64,
    work: u64,
}

/// A job or a submission that did not become one.
enum Entry<'a> {
    Job(&'a Job),
    Rejected(&'a Rejected),
}

impl<'a> Search<'a> {
    fn new(core: &'a DispatcherCore, query: &'a JobsQuery) -> Self {
        Self {
            core,
            query,
            away: core.agents.values().filter(|agent| agent.away).collect(),
            limit: query.limit.clamp(1, MOST_JOBS) as usize,
            page: Vec::new(),
            bytes: 0,
            looked_at: 0,
            work: 0,
        }
    }

    /// Before which job to begin: that of the query, or the first one after `until`.
    fn begin(&mut self) -> JobId {
        let end = self.query.before.unwrap_or(JobId(u64::MAX));
        let (Some(until), Some(oldest)) = (self.query.until, self.core.oldest()) else { return end };
        // All jobs from `high` on were submitted later; none before `low` was.
        let (mut low, mut high) = (oldest.0, end.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some((id, submitted_at)) = self.core.newest(JobId(middle.saturating_add(1))) else { break };
            self.looked_at += 1;
            if submitted_at > until + CLOCK_STEP {
                high = id.0;
            } else {
                low = middle.saturating_add(1);
            }
        }
        JobId(high)
    }

    /// True where neither this job nor any older one can be meant.
    fn is_over(&self, entry: &Entry<'_>) -> bool {
        self.query.since.is_some_and(|since| entry.submitted_at() + CLOCK_STEP < since)
    }

    /// Puts the job on the page if it is meant. True where the page ends here, and may go on behind this job.
    fn look(&mut self, id: JobId, entry: &Entry<'_>) -> bool {
        self.looked_at += 1;
        self.work += 1 + self.name_work(entry);
        if self.is_meant(entry) {
            if self.page.len() == self.limit || self.bytes > MOST_BYTES {
                return true;
            }
            self.put(id, entry);
        }
        self.work >= MOST_WORK
    }

    fn put(&mut self, id: JobId, entry: &Entry<'_>) {
        if let Entry::Job(job) = entry
            && job.has_placed()
        {
            self.work += self.away.len() as u64;
        }
        let Some(summary) = self.core.summary(id, &self.away) else { return };
        self.bytes += SUMMARY_BYTES + summary.queue.len() + summary.name.as_ref().map_or(0, String::len);
        self.page.push(summary);
    }

    /// What comparing the name costs beyond looking at the job.
    fn name_work(&self, entry: &Entry<'_>) -> u64 {
        let (Some(pattern), Some(name)) = (&self.query.name, entry.name()) else { return 0 };
        (pattern.len() * name.len() / COMPARISONS_PER_WORK) as u64
    }

    fn is_meant(&self, entry: &Entry<'_>) -> bool {
        let JobsQuery { queue, states, name, since, until, .. } = self.query;
        let submitted_at = entry.submitted_at();
        since.is_none_or(|since| submitted_at >= since)
            && until.is_none_or(|until| submitted_at <= until)
            && (states.is_empty() || states.contains(&entry.state()))
            && queue.as_ref().is_none_or(|queue| is_within(queue, entry.queue()))
            && name.as_ref().is_none_or(|text| entry.name().is_some_and(|name| name_matches(text, name)))
    }

    /// The page. `at` is the job at which it ended where older ones may follow.
    fn end(self, at: Option<JobId>) -> JobList {
        let full = self.page.len() == self.limit || self.bytes > MOST_BYTES;
        let last = self.page.last().map(|job| job.job);
        // Behind a full page comes whatever follows its last job, also where more was looked at.
        let next = at.map(|at| if full { last.unwrap_or(at) } else { at });
        JobList { jobs: self.page, next, looked_at: self.looked_at }
    }
}

/// True for the queue itself and for those below it.
fn is_within(queue: &QueueName, name: &str) -> bool {
    name.strip_prefix(queue.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Entry<'_> {
    fn submitted_at(&self) -> Time {
        match self {
            Self::Job(job) => job.submitted_at,
            Self::Rejected(rejected) => rejected.submitted_at,
        }
    }

    fn state(&self) -> JobState {
        match self {
            Self::Job(job) => job.state(),
            Self::Rejected(_) => JobState::Rejected,
        }
    }

    fn queue(&self) -> &str {
        match self {
            Self::Job(job) => job.queue.as_str(),
            Self::Rejected(rejected) => &rejected.queue,
        }
    }

    fn name(&self) -> Option<&str> {
        match self {
            Self::Job(job) => job.spec.name.as_deref(),
            Self::Rejected(_) => None,
        }
    }
}
