//! Scenarios: what is to happen in a pool, as people write it. `docs/simulate.md` describes the fields.

mod events;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_engine::{InvalidPolicy, Policy, PolicyChoices};
use allot_model::document::{Fault, Tree, joined, readable, whole};
use allot_model::{AgentId, Format, InvalidFile, PoolAgent, QueueName, Rejection, Resources, Time};

use super::build::Builder;
use super::fleet::described;
use crate::workload::{Asks, Happening, Job, Queue, Workload};
use events::{AgentEvent, Event, JobEvent, QueueSettings, What};

/// A pool and what is to happen in it, and the policy that it says.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What is to happen.
    pub workload: Workload,
    /// The policy, as it is written there.
    pub policy: Option<String>,
    /// Choices that the policy does not make itself.
    pub choices: PolicyChoices,
}

impl Scenario {
    /// The largest scenario.
    pub const MOST_BYTES: usize = 64 << 20;
    /// The policy where neither the scenario nor anyone else says one.
    pub const DEFAULT_POLICY: &'static str = "drf";

    /// Reads a scenario.
    ///
    /// # Errors
    /// [`InvalidFile`], which names the place in the text or the field.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, InvalidFile> {
        let example = "write events, such as `events: [{at: 0, agent: m1, resources: {cpus: 4}}]`";
        let text = readable(bytes, Self::MOST_BYTES, "a scenario", example);
        let tree = Tree::parse(text.map_err(|message| InvalidFile::Field(whole(message)))?, format)?;
        Self::of(&tree).map_err(InvalidFile::Field)
    }

    fn of(tree: &Tree) -> Result<Self, Rejection> {
        let mut faults = Vec::new();
        let written = read::scenario(tree, &mut faults);
        if let Some(rejection) = joined(faults.into_iter()) {
            return Err(rejection);
        }
        let mut story = Story::default();
        let told = written.queues.iter().filter_map(|(queue, settings)| {
            let fault = story.begin(queue, settings).err()?;
            Some(fault.within(queue.as_str()).within("queues"))
        });
        let mut faults: Vec<Fault> = told.collect();
        let mut events: Vec<&Event> = written.events.iter().collect();
        events.sort_by_key(|event| (event.at, event.what.class()));
        let told = events.iter().filter_map(|event| story.tell(event).err().map(|fault| event.fault(fault)));
        faults.extend(told);
        joined(faults.into_iter()).map_or(Ok(()), Err)?;
        let mut workload = story.builder.finish();
        workload.until = written.until;
        if let Some(Ok(policy)) = written.policy.as_deref().map(Policy::parse)
            && let Err(unfit) = workload.check(&policy)
        {
            let fault = Fault::new(unfit.message).within("policy");
            joined([fault].into_iter()).map_or(Ok(()), Err)?;
        }
        Ok(Self { workload, policy: written.policy, choices: written.choices })
    }

    /// The policy that the scenario says, or the default.
    ///
    /// # Errors
    /// [`InvalidPolicy`]; not where the scenario was read.
    pub fn policy(&self) -> Result<Policy, InvalidPolicy> {
        let text = self.policy.as_deref().unwrap_or(Self::DEFAULT_POLICY);
        Policy::parse_over(text, &self.choices)
    }
}

/// The events in the order in which they happen, as far as they have been told.
#[derive(Debug, Default)]
struct Story {
    builder: Builder,
    /// The agents that are there, as they are.
    agents: BTreeMap<AgentId, PoolAgent>,
    jobs: BTreeMap<String, u32>,
    /// The queues that have been entitled to something else than at the beginning, as they are.
    entitled: BTreeMap<u32, Option<Queue>>,
}

impl Story {
    fn tell(&mut self, event: &Event) -> Result<(), Fault> {
        match &event.what {
            What::Agent(agent) => self.agent(event.at, agent),
            What::Submit(job) => self.submit(event.at, job).map_err(|fault| fault.within("submit")),
            What::End { job, tasks } => {
                let job = self.job(job).map_err(|fault| fault.within("end"))?;
                self.builder.change(event.at, Happening::Ends { job, tasks: *tasks });
                Ok(())
            }
            What::Cancel(job) => {
                let job = self.job(job).map_err(|fault| fault.within("cancel"))?;
                self.builder.change(event.at, Happening::Cancelled { job });
                Ok(())
            }
            What::Queue { queue, settings } => self.entitle(event.at, queue, settings),
        }
    }

    fn submit(&mut self, at: Time, job: &JobEvent) -> Result<(), Fault> {
        if self.jobs.contains_key(&job.name) {
            let message = format!("job `{}` is submitted twice: give each a name of its own", job.name);
            return Err(Fault::new(message));
        }
        let queue = self.builder.queue(&job.queue);
        let asks = self.builder.asks(Asks {
            request: job.request.clone(),
            slice: job.request.as_scalars(),
            constraints: job.constraints.clone(),
            same: job.same.clone(),
        });
        self.builder.workload.names.push(Arc::from(job.name.as_str()));
        let number = self.builder.submit(Job {
            submit: at,
            run: job.run,
            estimate: job.estimate,
            deadline: job.deadline.map(|within| at + within),
            number: 0,
            queue,
            asks,
            tasks: job.tasks,
            min_tasks: job.min_tasks,
            priority: job.priority,
            preemptible: job.retries > 0,
        });
        self.jobs.insert(job.name.clone(), number);
        Ok(())
    }

    /// A queue is entitled to this at the beginning.
    fn begin(&mut self, name: &QueueName, settings: &QueueSettings) -> Result<(), Fault> {
        let number = self.builder.queue(name);
        let queue = self.builder.workload.queues.get_mut(number as usize);
        queue.map_or(Ok(()), |queue| settings.apply(queue))
    }

    /// A queue is entitled to something else; what is not said stays as it was.
    fn entitle(&mut self, at: Time, name: &QueueName, settings: &QueueSettings) -> Result<(), Fault> {
        let queue = self.builder.queue(name);
        let at_first = self.builder.workload.queues.get(queue as usize);
        let Some(entitled) = self.entitled.entry(queue).or_insert_with(|| at_first.cloned()) else {
            return Ok(());
        };
        settings.apply(entitled)?;
        let (weight, limit, guarantee) =
            (entitled.weight, entitled.limit.clone(), entitled.guarantee.clone());
        self.builder.change(at, Happening::Queue { queue, weight, limit, guarantee });
        Ok(())
    }

    fn job(&self, name: &str) -> Result<u32, Fault> {
        self.jobs.get(name).copied().ok_or_else(|| {
            Fault::new(format!(
                "no job `{name}` has been submitted by then: at one instant, ends come before submissions"
            ))
        })
    }

    fn agent(&mut self, at: Time, event: &AgentEvent) -> Result<(), Fault> {
        let name = &event.agent;
        let known = self.agents.get(name);
        if event.leaves {
            let Some(gone) = self.agents.remove(name) else { return Err(not_there(name)) };
            let agent = self.builder.agent(&gone.agent);
            self.builder.change(at, Happening::AgentLeaves { agent });
            return Ok(());
        }
        let mut facts = match (known, &event.resources) {
            (Some(known), _) => known.clone(),
            (None, Some(_)) => described(name.clone(), Resources::new()),
            (None, None) => return Err(not_there(name)),
        };
        event.resources.iter().for_each(|resources| facts.total = resources.clone());
        event.attributes.iter().for_each(|attributes| facts.attributes = attributes.clone());
        event.drains.iter().for_each(|drains| facts.draining = *drains);
        self.agents.insert(name.clone(), facts.clone());
        self.builder.agent_is(at, facts);
        Ok(())
    }
}

fn not_there(agent: &AgentId) -> Fault {
    Fault::new(format!("agent `{agent}` is not there then: say its `resources` where it joins"))
        .within("agent")
}
