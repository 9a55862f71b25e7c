//! Scenarios: what is to happen in a pool, as people write it. `docs/simulate.md` describes the fields.

mod events;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_engine::{InvalidPolicy, Policy, PolicyChoices};
use allot_model::document::{Fault, Tree, joined, readable, whole};
use allot_model::{AgentId, Format, InvalidFile, PoolAgent, Rejection, Resources, Time};

use super::build::Builder;
use super::fleet::described;
use crate::workload::{Asks, Happening, Job, Workload};
use events::{AgentEvent, Event, What};

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
        for (queue, settings) in &written.queues {
            let number = story.builder.queue(queue);
            if let Some(queue) = story.builder.workload.queues.get_mut(number as usize) {
                settings.clone().apply(&mut queue.weight, &mut queue.limit, &mut queue.guarantee);
            }
        }
        let mut events: Vec<&Event> = written.events.iter().collect();
        events.sort_by_key(|event| (event.at, event.what.class()));
        let told = events.iter().filter_map(|event| story.tell(event).err().map(|fault| event.fault(fault)));
        let faults: Vec<Fault> = told.collect();
        joined(faults.into_iter()).map_or(Ok(()), Err)?;
        let mut workload = story.builder.finish();
        workload.until = written.until;
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
}

impl Story {
    fn tell(&mut self, event: &Event) -> Result<(), Fault> {
        match &event.what {
            What::Agent(agent) => self.agent(event.at, agent),
            What::Submit(job) => {
                if self.jobs.contains_key(&job.name) {
                    return Err(Fault::new(format!(
                        "job `{}` is submitted twice: give each a name of its own",
                        job.name
                    ))
                    .within("submit"));
                }
                let queue = self.builder.queue(&job.queue);
                let slice = job.request.as_scalars();
                let (request, constraints, same) =
                    (job.request.clone(), job.constraints.clone(), job.same.clone());
                let asks = self.builder.asks(Asks { request, slice, constraints, same });
                self.builder.workload.names.push(Arc::from(job.name.as_str()));
                let number = self.builder.submit(Job {
                    submit: event.at,
                    run: job.run,
                    estimate: job.estimate,
                    deadline: job.deadline.map(|within| event.at + within),
                    number: 0,
                    queue,
                    asks,
                    tasks: job.tasks,
                    min_tasks: job.min_tasks,
                    priority: job.priority,
                });
                self.jobs.insert(job.name.clone(), number);
                Ok(())
            }
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
            What::Queue { queue: name, settings } => {
                let queue = self.builder.queue(name);
                let changes = self.builder.workload.changes.iter().rev();
                let mut last = changes.filter_map(|change| match &change.what {
                    Happening::Queue { queue: other, weight, limit, guarantee } if *other == queue => {
                        Some((*weight, limit.clone(), guarantee.clone()))
                    }
                    _ => None,
                });
                let at_first = || {
                    let queue = self.builder.workload.queues.get(queue as usize)?;
                    Some((queue.weight, queue.limit.clone(), queue.guarantee.clone()))
                };
                let (mut weight, mut limit, mut guarantee) =
                    last.next().or_else(at_first).unwrap_or((1, Default::default(), Default::default()));
                settings.clone().apply(&mut weight, &mut limit, &mut guarantee);
                self.builder.change(event.at, Happening::Queue { queue, weight, limit, guarantee });
                Ok(())
            }
        }
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
