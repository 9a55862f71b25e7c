//! The people: they submit jobs, and operate the cluster, wisely or not.

use std::collections::BTreeMap;

use allot_model::{
    AgentId, Command as Program, Constraint, DrainCommand, Executor, JobId, JobSpec, OnUnreachable,
    PolicyName, PolicyUseCommand, PreemptCause, QueueName, QueueSetCommand, Request, ResourceName, Span,
    Time,
};

use crate::dice::Dice;
use crate::message::{Command, Message};
use crate::options::Options;
use crate::process::{Act, Heard, Process};
use crate::streams::Publication;

const QUEUES: [&str; 4] = ["a", "a.b", "a.c", "d"];
/// How long an acknowledgement is waited for before a publication with a message id is repeated.
const PATIENCE: Span = Span::from_secs(3);
/// How often operators repeat what makes the cluster whole.
const HEAL_EVERY: Span = Span::from_secs(5);
/// How often they do so before they think that it should do; from then on they only look now and then.
const HEALINGS: u32 = 8;

pub(crate) struct User {
    dice: Dice,
    options: Options,
    agents: Vec<AgentId>,
    policies: Vec<PolicyName>,
    /// What is to be published, and when.
    plan: BTreeMap<(Time, u64), Publication>,
    /// What was published and not acknowledged.
    open: BTreeMap<u64, (Time, Publication)>,
    /// The last job that is known of.
    last_job: u64,
    operates_at: Option<Time>,
    heals_at: Option<Time>,
    healings: u32,
}

impl User {
    pub(crate) fn new(
        mut dice: Dice,
        options: &Options,
        agents: Vec<AgentId>,
        policies: Vec<PolicyName>,
        now: Time,
    ) -> Self {
        let mut plan = BTreeMap::new();
        for number in 0..options.jobs as u64 {
            let at = now + dice.span(Span::from_millis(1), options.safety);
            plan.insert((at, number), publication(&mut dice, number));
        }
        Self {
            dice,
            options: options.clone(),
            agents,
            policies,
            plan,
            open: BTreeMap::new(),
            last_job: 0,
            operates_at: options.operators.map(|every| now + every),
            heals_at: None,
            healings: 0,
        }
    }

    /// True where nothing is left to be published.
    pub(crate) fn is_done(&self) -> bool {
        self.plan.is_empty() && self.open.is_empty() && self.healings >= HEALINGS
    }

    fn publish(&mut self, now: Time, number: u64, mut publication: Publication, acts: &mut Vec<Act>) {
        // Some wait for jobs that there are, or that there may be.
        if self.dice.chance(150) && self.last_job > 0 {
            let mut spec = (*publication.spec).clone();
            spec.after = vec![JobId(self.dice.between(1, self.last_job))];
            publication.spec = spec.into();
        }
        if publication.message_id.is_some() {
            self.open.insert(number, (now + PATIENCE, publication.clone()));
        }
        acts.push(Act::Publish { number, publication });
    }

    fn operate(&mut self) -> Option<Command> {
        let agent = self.dice.pick(&self.agents)?.clone();
        Some(match self.dice.below(16) {
            0..5 => Command::Cancel(JobId(self.dice.between(1, self.last_job.max(1)))),
            5..8 => Command::Drain(agent, DrainCommand { kill: self.dice.chance(500) }),
            8..10 => Command::Undrain(agent),
            10 => Command::Gone(agent),
            11..14 => Command::SetQueue(self.queue_change()?),
            _ => Command::UsePolicy(PolicyUseCommand { policy: self.dice.pick(&self.policies)?.clone() }),
        })
    }

    fn wants_guarantees(&self) -> bool {
        self.options.preempt.preempt.is_for(PreemptCause::Guarantee)
    }

    fn queue_change(&mut self) -> Option<QueueSetCommand> {
        let limits = [
            "tasks=1",
            "tasks=3",
            "cpus=2",
            "cpus=none",
            "tasks=none",
            "pending_jobs=2",
            "pending_jobs=none",
        ];
        let guarantees = ["cpus=1", "tasks=1", "cpus=4", "tasks=6", "cpus=none", "tasks=none"];
        // Where others are stopped for it, it is worth a guarantee.
        let likely = if self.wants_guarantees() { 800 } else { 300 };
        let dice = &mut self.dice;
        let limit = dice.pick(&limits)?.parse().ok()?;
        let guarantee =
            if dice.chance(likely) { dice.pick(&guarantees)?.parse().ok()? } else { Default::default() };
        let weight = dice.chance(300).then(|| u32::try_from(dice.between(1, 5)).unwrap_or(1));
        let queue = QueueName::new(dice.pick(&QUEUES)?).ok()?;
        Some(QueueSetCommand {
            queue,
            weight,
            no_limit: false,
            limit,
            no_guarantee: false,
            guarantee,
            hold_back: None,
        })
    }

    /// Everything that makes what waits runnable again.
    fn heal(&mut self, acts: &mut Vec<Act>) {
        let undrain = self.agents.iter().cloned().map(Command::Undrain);
        let lift = QUEUES.iter().filter_map(|queue| {
            let queue = QueueName::new(queue).ok()?;
            let (limit, guarantee) = (Default::default(), Default::default());
            Some(Command::SetQueue(QueueSetCommand {
                queue,
                weight: None,
                no_limit: true,
                limit,
                no_guarantee: true,
                guarantee,
                hold_back: None,
            }))
        });
        acts.extend(undrain.chain(lift).map(|command| Act::Send(command.to(), Message::Command(command))));
    }
}

impl Process for User {
    fn boot(&mut self, _now: Time, _acts: &mut Vec<Act>) {}

    fn hear(&mut self, now: Time, heard: Heard, _acts: &mut Vec<Act>) {
        match heard {
            Heard::Published { number, job } => {
                self.open.remove(&number);
                self.last_job = self.last_job.max(job);
            }
            Heard::Stop => {
                self.operates_at = None;
                self.heals_at = Some(now);
            }
            _ => {}
        }
    }

    fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        while let Some(entry) = self.plan.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((_, number), publication) = entry.remove_entry();
            self.publish(now, number, publication, acts);
            if self.wants_guarantees() && self.dice.chance(200) {
                let command = self.queue_change().map(Command::SetQueue);
                acts.extend(command.map(|command| Act::Send(command.to(), Message::Command(command))));
            }
        }
        for (number, (at, publication)) in self.open.iter_mut().filter(|(_, (at, _))| *at <= now) {
            *at = now + PATIENCE;
            acts.push(Act::Publish { number: *number, publication: publication.clone() });
        }
        if self.operates_at.is_some_and(|at| at <= now) {
            acts.extend(self.operate().map(|command| Act::Send(command.to(), Message::Command(command))));
            let every = self.options.operators.unwrap_or(HEAL_EVERY);
            // Some commands follow each other while what the first began is under way.
            let (least, most) = if self.dice.chance(250) {
                (Span::from_millis(1), Span::from_millis(400))
            } else {
                (Span::from_millis(50), every.times(2))
            };
            self.operates_at = Some(now + self.dice.span(least, most));
        }
        if self.heals_at.is_some_and(|at| at <= now) {
            self.heal(acts);
            self.healings += 1;
            let pause = if self.healings < HEALINGS { HEAL_EVERY } else { HEAL_EVERY.times(6) };
            self.heals_at = Some(now + pause);
        }
    }

    fn next_wake(&self) -> Option<Time> {
        let plan = self.plan.keys().next().map(|(at, _)| *at);
        let open = self.open.values().map(|(at, _)| *at).min();
        [plan, open, self.operates_at, self.heals_at].into_iter().flatten().min()
    }

    fn at_rest(&self) -> Result<(), String> {
        if self.is_done() { Ok(()) } else { Err("something was not published".to_owned()) }
    }
}

pub(crate) fn resource(name: &str) -> ResourceName {
    ResourceName::new(name).expect("a name of letters")
}

/// A job that at least the first agent can run.
fn publication(dice: &mut Dice, number: u64) -> Publication {
    let mut spec = JobSpec::new(Program::Argv(vec!["true".to_owned()]));
    let mut resources = Request::new();
    resources
        .set(resource("cpus"), *dice.pick(&[100, 250, 500, 1_000, 1_000, 2_000, 4_000]).unwrap_or(&1_000));
    if dice.chance(200) {
        resources.set(resource("gpus"), *dice.pick(&[250, 500, 1_000, 2_000]).unwrap_or(&1_000));
    }
    if dice.chance(150) {
        resources.set(resource("ports"), 1_000 * dice.between(1, 2));
    }
    if dice.chance(200) {
        resources.set(resource("mem"), dice.between(1, 1 << 30));
    }
    let is_gang = dice.chance(100);
    if is_gang {
        spec.tasks = u32::try_from(dice.between(2, 4)).unwrap_or(2);
        spec.min_tasks = spec.tasks;
        resources.set(resource("cpus"), 500);
        resources.set(resource("gpus"), 0);
    } else {
        let most = 1 << dice.below(6);
        spec.tasks = u32::try_from(dice.between(1, most)).unwrap_or(1);
    }
    spec.resources = resources;
    spec.retries = u32::try_from(dice.below(4)).unwrap_or(0);
    spec.backoff = dice.span(Span::from_millis(10), Span::from_secs(2));
    spec.priority = i32::try_from(dice.below(5)).unwrap_or(0);
    spec.time_limit = dice.chance(200).then(|| dice.span(Span::from_millis(100), Span::from_secs(5)));
    spec.kill_grace = dice.span(Span::from_millis(10), Span::from_secs(2));
    // The engine has tasks take turns that are over in a moment.
    spec.estimate = match dice.below(4) {
        0 => Some(dice.span(Span::from_millis(1), Span::from_millis(40))),
        1 => Some(dice.span(Span::from_millis(50), Span::from_secs(3))),
        _ => None,
    };
    spec.on_unreachable = if dice.chance(400) { OnUnreachable::Retry } else { OnUnreachable::Wait };
    spec.executor = if dice.chance(80) { Executor::Noop } else { Executor::Process };
    if dice.chance(150) {
        spec.constraints = Constraint::parse("zone == a").into_iter().collect();
    }
    let queue = QueueName::new(dice.pick(&QUEUES).unwrap_or(&"a")).expect("a queue");
    // Some use the same id again for another job.
    let id = if dice.chance(100) { 0 } else { number };
    let message_id = dice.chance(700).then(|| format!("m{id}").into());
    Publication { queue, spec: spec.into(), message_id, is_bad: dice.chance(30) }
}
