//! Tasks that are stopped for others: checked as the offers service does, and carried out at once.

use allot_model::{FeedItem, JobId, PreemptCause, Preemption, Time, Victim};

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
        let stays: Result<Vec<u32>, String> =
            asked.victims.iter().map(|victim| self.victim(asked.cause, by, victim)).collect();
        let stays = stays.map_err(wrong)?;
        self.items.push(FeedItem::Preempted(asked.clone()));
        for (stay, Victim { run, .. }) in stays.into_iter().zip(&asked.victims) {
            self.stop_for(now, stay, u32::try_from(run.tasks.count()).unwrap_or(u32::MAX), by);
        }
        Ok(())
    }

    fn waits(&self, job: u32) -> bool {
        self.jobs.get(job as usize).is_some_and(|truth| !truth.waiting.is_empty())
    }

    /// The stay that a victim is the first part of.
    fn victim(&self, cause: PreemptCause, by: u32, Victim { agent, run }: &Victim) -> Result<u32, String> {
        let job = number(run.job).ok_or_else(|| format!("there is no job {}", run.job))?;
        let known = |job: u32| self.workload.jobs.get(job as usize);
        if known(job).is_none_or(|job| !job.preemptible) {
            return Err(format!("job {} must not run twice", run.job));
        }
        let on = self.by_id.get(agent).ok_or_else(|| format!("there is no agent {agent}"))?;
        let first = self.jobs.get(job as usize).map_or(0, |truth| truth.first_stay);
        let stays = (first..).zip(self.stays.iter().skip(first as usize));
        let holds = |stay: &&crate::output::outcome::Stay| {
            stay.job == job
                && stay.agent == *on
                && stay
                    .left()
                    .is_some_and(|left| left.first == run.tasks.first && left.last >= run.tasks.last)
        };
        let mut held = stays.filter(|(_, stay)| holds(stay)).map(|(number, _)| number);
        let priority = |job: u32| known(job).map(|job| job.priority);
        if cause == PreemptCause::Priority && priority(job) >= priority(by) {
            return Err(format!(
                "job {} is not more important than job {}",
                JobId(u64::from(by) + 1),
                run.job
            ));
        }
        held.next().ok_or_else(|| format!("{run} does not hold a place on {agent}"))
    }

    fn stop_for(&mut self, now: Time, stay: u32, most: u32, by: u32) {
        let Some(start) = self.stays.get(stay as usize).map(|stay| stay.start) else { return };
        let Some((job, tasks)) = self.stop(now, stay, most) else { return };
        self.preempted.push(Preempted { job, tasks, start, at: now, by });
        self.requeue(Requeued { job, tasks, at: now });
    }
}
