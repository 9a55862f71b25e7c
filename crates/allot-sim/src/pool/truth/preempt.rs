//! Tasks that are stopped for others: checked as the offers service does, and carried out at once.

use allot_model::{FeedItem, JobId, PreemptCause, Preemption, TaskRange, Time, Victim};

use super::check::WrongGrant;
use super::{EPOCH, Truth, number};
use crate::output::outcome::{Preempted, Requeued};

impl Truth<'_> {
    /// Checks a preemption and stops its victims, which wait again.
    pub(crate) fn preempt(&mut self, now: Time, asked: Preemption) -> Result<(), WrongGrant> {
        let grant = asked.grant;
        let wrong = |message| WrongGrant { at: now, grant: grant.0, message };
        if asked.epoch != EPOCH || grant <= self.last_grant || asked.victims.is_empty() {
            return Err(wrong("its epoch or number is not right, or it stops nothing".to_owned()));
        }
        self.last_grant = grant;
        let by = number(asked.job).filter(|job| self.waits(*job));
        let by = by.ok_or_else(|| wrong(format!("no task of job {} waits for a place", asked.job)))?;
        let parts: Result<Vec<_>, String> =
            asked.victims.iter().map(|victim| self.victim(asked.cause, by, victim)).collect();
        let parts = parts.map_err(wrong)?;
        self.items.push(FeedItem::Preempted(asked));
        for (stay, tasks) in parts.into_iter().flatten() {
            self.stop_for(now, stay, tasks, by);
        }
        Ok(())
    }

    fn waits(&self, job: u32) -> bool {
        self.jobs.get(job as usize).is_some_and(|truth| !truth.waiting.is_empty())
    }

    /// The stays that a victim is of, and how many of the first tasks of each it is: tasks that were placed one by one may be
    /// stopped as one run.
    fn victim(
        &self,
        cause: PreemptCause,
        by: u32,
        Victim { agent, run }: &Victim,
    ) -> Result<Vec<(u32, u32)>, String> {
        let job = number(run.job).ok_or_else(|| format!("there is no job {}", run.job))?;
        let known = |job: u32| self.workload.jobs.get(job as usize);
        if known(job).is_none_or(|job| !job.preemptible) {
            return Err(format!("job {} must not run twice", run.job));
        }
        let on = self.by_id.get(agent).ok_or_else(|| format!("there is no agent {agent}"))?;
        let first = self.jobs.get(job as usize).map_or(0, |truth| truth.first_stay);
        let part = |next: u32| {
            let mut stays = (first..).zip(self.stays.iter().skip(first as usize));
            stays.find_map(|(number, stay)| {
                let left =
                    stay.left().filter(|left| stay.job == job && stay.agent == *on && left.first == next)?;
                let last = left.last.min(run.tasks.last);
                Some((number, TaskRange { first: next, last }))
            })
        };
        let priority = |job: u32| known(job).map(|job| job.priority);
        if cause == PreemptCause::Priority && priority(job) >= priority(by) {
            return Err(format!(
                "job {} is not more important than job {}",
                JobId(u64::from(by) + 1),
                run.job
            ));
        }
        let (mut parts, mut next) = (Vec::new(), Some(run.tasks.first));
        while let Some(from) = next.filter(|next| *next <= run.tasks.last) {
            let (stay, tasks) =
                part(from).ok_or_else(|| format!("{run} does not hold a place on {agent}"))?;
            parts.push((stay, u32::try_from(tasks.count()).unwrap_or(u32::MAX)));
            next = tasks.last.checked_add(1);
        }
        Ok(parts)
    }

    fn stop_for(&mut self, now: Time, stay: u32, most: u32, by: u32) {
        let Some(start) = self.stays.get(stay as usize).map(|stay| stay.start) else { return };
        let Some((job, tasks)) = self.stop(now, stay, most) else { return };
        self.preempted.push(Preempted { job, tasks, start, at: now, by });
        self.requeue(Requeued { job, tasks, at: now });
    }
}
