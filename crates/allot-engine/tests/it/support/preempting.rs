//! What the offers service and the dispatcher do about preemptions.

use std::collections::BTreeSet;

use allot_model::{AgentId, FeedItem, JobId, TaskRange, Victim};

use super::{Cluster, EPOCH, offer_item};

impl Cluster {
    /// Commits the preemptions that were asked for in this pass.
    pub(super) fn confirm_preemptions(&mut self) {
        let told: Vec<_> = self.asked.iter().filter(|asked| asked.epoch == EPOCH).cloned().collect();
        self.items.extend(told.into_iter().map(FeedItem::Preempted));
    }

    /// The victims of all preemptions end and wait again.
    pub(crate) fn end_victims(&mut self) -> &mut Self {
        for asked in std::mem::take(&mut self.asked) {
            asked.victims.iter().for_each(|victim| self.end_victim(victim));
        }
        self
    }

    pub(crate) fn end_victim(&mut self, Victim { agent, run }: &Victim) {
        for task in run.tasks.indexes() {
            self.end_task(run.job, task, agent);
        }
        self.pending(run.job.0, run.tasks);
    }

    fn end_task(&mut self, id: JobId, task: u32, agent: &AgentId) {
        let job = self.jobs.get_mut(&id).expect("a victim's job is there");
        let place = job
            .running
            .iter()
            .position(|(on, tasks, ..)| on == agent && tasks.overlap(TaskRange::one(task)).is_some());
        let (on, tasks, slice, slots) = job.running.remove(place.expect("a victim holds a place"));
        assert_eq!(slots, tasks.count(), "no task that takes turns is a victim");
        let left = task.checked_sub(1).and_then(|last| TaskRange::new(tasks.first, last));
        let right = TaskRange::new(task + 1, tasks.last);
        let rest = left.into_iter().chain(right);
        job.running.extend(rest.map(|rest| (on.clone(), rest, slice.clone(), rest.count())));
        let (queue, tasks) = (job.facts.queue.clone(), TaskRange::one(task));
        let (agent, job, slots, ran) = (on.clone(), id, 1, None);
        self.items.push(FeedItem::Released { agent, job, tasks, queue, slice: slice.clone(), slots, ran });
        if let Some(agent) = self.agents.get_mut(&on) {
            agent.free.add(&slice).unwrap();
            agent.version += 1;
            self.items.push(offer_item(agent));
        }
    }

    /// The tasks that are to be stopped, such as `1.0 2.0`, in the order of their ids.
    pub(crate) fn victims(&self) -> String {
        let victims = self.asked.iter().flat_map(|asked| &asked.victims);
        let tasks: BTreeSet<(JobId, u32)> = victims
            .flat_map(|victim| victim.run.tasks.indexes().map(|task| (victim.run.job, task)))
            .collect();
        tasks.iter().map(|(job, task)| format!("{job}.{task}")).collect::<Vec<_>>().join(" ")
    }
}
