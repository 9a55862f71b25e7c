//! Reading a scenario field by field. Each error says where it is, what was given and what is allowed.

use allot_engine::{Policy, PolicyChoices};
use allot_model::agent::Attributes;
use allot_model::document::Tree;
use allot_model::document::read::{Fault, Read, constraints, entries, flag, parsed, request, text, whole};
use allot_model::{InvalidAmount, JobSpec, QueueLimit, QueueName, Request, Resources, Span, Time};

use crate::length::length;

use super::events::{AgentEvent, Event, JobEvent, QueueSettings, What};

const FIELDS: [&str; 8] =
    ["policy", "order", "placement", "backfill", "preempt", "queues", "events", "until"];
const QUEUE: [&str; 4] = ["weight", "limit", "guarantee", "hold_back"];
const AGENT: [&str; 6] = ["at", "agent", "resources", "attributes", "drains", "leaves"];
const SUBMIT: [&str; 14] = [
    "at",
    "submit",
    "queue",
    "tasks",
    "resources",
    "run",
    "estimate",
    "deadline",
    "priority",
    "constraints",
    "gang",
    "min_tasks",
    "same",
    "retries",
];
const END: [&str; 3] = ["at", "end", "tasks"];
const CANCEL: [&str; 2] = ["at", "cancel"];
const QUEUE_EVENT: [&str; 6] = ["at", "queue", "weight", "limit", "guarantee", "hold_back"];

/// A scenario as it is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    pub(super) policy: Option<String>,
    pub(super) choices: PolicyChoices,
    pub(super) queues: Vec<(QueueName, QueueSettings)>,
    pub(super) events: Vec<Event>,
    pub(super) until: Option<Time>,
}

/// Reads a scenario; what is wrong is added to `faults`, in the order of the text.
pub(super) fn scenario(tree: &Tree, faults: &mut Vec<Fault>) -> Written {
    let mut written = Written::default();
    let fields = match entries(tree, "a scenario as an object with `events`") {
        Ok(fields) => fields,
        Err(fault) => {
            faults.push(fault);
            return written;
        }
    };
    for (name, value) in fields {
        if *value == Tree::Null && FIELDS.contains(&name.as_str()) {
            continue;
        }
        match name.as_str() {
            "queues" => queues(value, &mut written.queues, faults),
            "events" => events(value, &mut written.events, faults),
            _ => faults.extend(field(&mut written, name, value).err().map(|fault| fault.within(name))),
        }
    }
    if faults.is_empty() && !fields.iter().any(|(name, _)| name == "events") {
        faults.push(
            Fault::new("missing: write what happens, such as [{at: 0, agent: m1, resources: {cpus: 4}}]")
                .within("events"),
        );
    }
    written
}

fn field(written: &mut Written, name: &str, value: &Tree) -> Read<()> {
    let choices = &mut written.choices;
    match name {
        "policy" => {
            let policy = text(value, "a policy such as `drf` or `fair:resource=mem`")?;
            Policy::parse(policy).map_err(|error| Fault::new(error.to_string()))?;
            written.policy = Some(policy.to_owned());
        }
        "order" => choices.order = Some(parsed(value, "an order such as `fifo`")?),
        "placement" => choices.placement = Some(parsed(value, "a placement such as `best-fit`")?),
        "preempt" => choices.preempt = Some(parsed(value, "what tasks are stopped for, such as `priority`")?),
        "backfill" => choices.backfill = Some(parsed(value, "a backfill such as `none`")?),
        "until" => written.until = Some(time(value)?),
        unknown => return Err(Fault::unknown(unknown, "a scenario", &FIELDS)),
    }
    Ok(())
}

fn queues(value: &Tree, queues: &mut Vec<(QueueName, QueueSettings)>, faults: &mut Vec<Fault>) {
    let told = |fault: Fault| fault.within("queues");
    let named = match entries(value, "queues by name such as {research: {weight: 2}}") {
        Ok(named) => named,
        Err(fault) => return faults.push(told(fault)),
    };
    for (name, settings) in named {
        let queue: Read<QueueName> =
            name.parse().map_err(|error: allot_model::InvalidId| Fault::new(error.to_string()));
        let read = queue.and_then(|queue| Ok((queue, queue_settings(settings)?)));
        match read {
            Ok(queue) => queues.push(queue),
            Err(fault) => faults.push(told(fault.within(name))),
        }
    }
}

fn queue_settings(value: &Tree) -> Read<QueueSettings> {
    let mut settings = QueueSettings::default();
    if *value == Tree::Null {
        return Ok(settings);
    }
    for (name, value) in entries(value, "what it is entitled to such as {weight: 2}, or {}")? {
        setting(&mut settings, name, value, &QUEUE).map_err(|fault| fault.within(name))?;
    }
    Ok(settings)
}

fn setting(settings: &mut QueueSettings, name: &str, value: &Tree, known: &[&str]) -> Read<()> {
    match name {
        "weight" => settings.weight = Some(weight(value)?),
        "limit" => settings.limit = Some(limit(value)?),
        "guarantee" => settings.guarantee = Some(guarantee(value)?),
        "hold_back" => settings.hold_back = Some(parsed(value, "one of `fixed`, `always`, `never`")?),
        unknown => return Err(Fault::unknown(unknown, "a queue", known)),
    }
    Ok(())
}

fn weight(value: &Tree) -> Read<u32> {
    let allowed = "a whole number from 1 to 1000000";
    let weight = whole(value, allowed)?;
    if (1..=1_000_000).contains(&weight) { Ok(weight) } else { Err(Fault::given(value, allowed)) }
}

fn amounts(error: InvalidAmount) -> Fault {
    Fault::new(error.message).within(&error.name)
}

fn limit(value: &Tree) -> Read<QueueLimit> {
    match entries(value, "amounts by name such as {cpus: 4, tasks: 10}") {
        Ok(_) => QueueLimit::from_json(&value.to_json()).map_err(amounts),
        Err(fault) => Err(fault),
    }
}

fn guarantee(value: &Tree) -> Read<QueueLimit> {
    let least = limit(value)?;
    match least.pending_jobs {
        None => Ok(least),
        Some(_) => Err(Fault::new(
            "jobs cannot be guaranteed to wait: name resources, or `tasks`; `pending_jobs` can be limited alone",
        )
        .within("pending_jobs")),
    }
}

fn resources(value: &Tree) -> Read<Resources> {
    entries(value, "amounts by name such as {cpus: 4, mem: 16GB}")?;
    let resources = Resources::from_json(&value.to_json()).map_err(amounts)?;
    if resources.is_empty() {
        Err(Fault::new("empty: say what the agent has, such as {cpus: 4}"))
    } else {
        Ok(resources)
    }
}

fn time(value: &Tree) -> Read<Time> {
    span(value).map(|since| Time::ZERO + since)
}

fn span(value: &Tree) -> Read<Span> {
    let text = value
        .scalar_text()
        .ok_or_else(|| Fault::given(value, "a length of time such as `10s` or `1h30m`"))?;
    length(&text).map_err(Fault::new)
}

fn events(value: &Tree, events: &mut Vec<Event>, faults: &mut Vec<Fault>) {
    let Tree::List(items) = value else {
        let allowed = "a list of events such as [{at: 0, agent: m1, resources: {cpus: 4}}]";
        return faults.push(Fault::given(value, allowed).within("events"));
    };
    for (index, item) in items.iter().enumerate() {
        match event(index, item) {
            Ok(event) => events.push(event),
            Err(fault) => faults.push(fault.at(index).within("events")),
        }
    }
}

fn event(index: usize, value: &Tree) -> Read<Event> {
    let fields = entries(value, "an event such as {at: 0, submit: J1, queue: A, run: 30s}")?;
    let given = |name: &str| fields.iter().any(|(field, _)| field == name);
    let kinds: Vec<&str> =
        ["agent", "submit", "end", "cancel"].into_iter().filter(|kind| given(kind)).collect();
    let what = match kinds[..] {
        ["agent"] => agent(fields)?,
        ["submit"] => submit(fields)?,
        ["end"] => end(fields)?,
        ["cancel"] => cancel(fields)?,
        [] if given("queue") => queue(fields)?,
        [] => {
            return Err(Fault::new(
                "says nothing that happens: write one of `agent`, `submit`, `end`, `cancel` and `queue`",
            ));
        }
        _ => {
            return Err(Fault::new(format!("says {} at once: write an event for each", kinds.join(" and "))));
        }
    };
    let at = fields.iter().find(|(name, _)| name == "at");
    let (_, at) = at.ok_or_else(|| Fault::new("missing: write when, such as `0` or `5s`").within("at"))?;
    Ok(Event { index, at: time(at).map_err(|fault| fault.within("at"))?, what })
}

type Fields = [(String, Tree)];

/// Reads the fields of an event one by one; `null` stands for what is not given.
fn each(
    fields: &Fields,
    what: &str,
    known: &[&str],
    mut read: impl FnMut(&str, &Tree) -> Read<bool>,
) -> Read<()> {
    for (name, value) in fields.iter().filter(|(name, _)| name != "at") {
        if *value == Tree::Null && known.contains(&name.as_str()) {
            continue;
        }
        match read(name, value) {
            Ok(true) => {}
            Ok(false) => return Err(Fault::unknown(name, what, known).within(name)),
            Err(fault) => return Err(fault.within(name)),
        }
    }
    Ok(())
}

fn agent(fields: &Fields) -> Read<What> {
    let mut agent = None;
    let (mut total, mut attributes, mut drains, mut leaves) = (None, None, None, false);
    each(fields, "an event of an agent", &AGENT, |name, value| {
        match name {
            "agent" => agent = Some(parsed(value, "the name of an agent such as `m1`")?),
            "resources" => total = Some(resources(value)?.with_devices()),
            "attributes" => attributes = Some(read_attributes(value)?),
            "drains" => drains = Some(flag(value)?),
            "leaves" => leaves = flag(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let agent = agent.ok_or_else(|| Fault::new("missing: write the name of an agent").within("agent"))?;
    let said =
        [("resources", total.is_some()), ("attributes", attributes.is_some()), ("drains", drains.is_some())];
    let said: Vec<&str> = said.into_iter().filter(|(_, is_said)| *is_said).map(|(name, _)| name).collect();
    match (leaves, said[..].is_empty()) {
        (true, false) => {
            let said = said.join(" and ");
            Err(Fault::new(format!("says leaves and {said} at once: write an event for each")))
        }
        (false, true) => Err(Fault::new(
            "says nothing of the agent: write one of `resources`, `attributes`, `drains` and `leaves: true`",
        )),
        _ => Ok(What::Agent(AgentEvent { agent, resources: total, attributes, drains, leaves })),
    }
}

fn read_attributes(value: &Tree) -> Read<Attributes> {
    let attribute = |(name, value): &(String, Tree)| {
        let text =
            value.scalar_text().ok_or_else(|| Fault::given(value, "a text such as `a`").within(name))?;
        Ok((name.clone(), text))
    };
    entries(value, "texts by name such as {zone: a}")?.iter().map(attribute).collect()
}

/// A name of a job: a text, or a number as one.
fn name(value: &Tree) -> Read<String> {
    let name = value.scalar_text().ok_or_else(|| Fault::given(value, "the name of a job such as `J1`"))?;
    if name.trim().is_empty()
        || name.chars().any(char::is_control)
        || name.len() > JobSpec::MOST_NAME_CHARACTERS
    {
        return Err(Fault::given(value, "1 to 200 characters in one line"));
    }
    Ok(name)
}

fn submit(fields: &Fields) -> Read<What> {
    let mut job = JobEvent {
        name: String::new(),
        queue: QueueName::new("default").map_err(|error| Fault::new(error.to_string()))?,
        tasks: 1,
        request: Request::one_cpu(),
        run: None,
        estimate: None,
        deadline: None,
        priority: 0,
        constraints: Vec::new(),
        min_tasks: 1,
        same: None,
        retries: 1,
    };
    let (mut gang, mut min_tasks) = (false, None);
    let tasks = format!("a whole number from 1 to {}", JobSpec::MOST_TASKS);
    let count = |value: &Tree| {
        let count: u32 = whole(value, &tasks)?;
        if (1..=JobSpec::MOST_TASKS).contains(&count) { Ok(count) } else { Err(Fault::given(value, &tasks)) }
    };
    each(fields, "a submission", &SUBMIT, |field, value| {
        match field {
            "submit" => job.name = name(value)?,
            "queue" => job.queue = parsed(value, "a queue such as `research.vision`")?,
            "tasks" => job.tasks = count(value)?,
            "resources" => job.request = asked(value)?,
            "run" => job.run = run(value)?,
            "estimate" => job.estimate = Some(span(value)?),
            "deadline" => job.deadline = Some(span(value)?),
            "priority" => {
                job.priority =
                    whole(value, "a whole number from -2147483648 to 2147483647, larger goes first")?
            }
            "constraints" => job.constraints = constraints(value)?,
            "retries" => job.retries = whole(value, "a whole number from 0 to 4294967295, such as 1")?,
            "gang" => gang = flag(value)?,
            "min_tasks" => min_tasks = Some(count(value)?),
            "same" => job.same = Some(text(value, "the name of an attribute such as `rack`")?.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    job.min_tasks = together(job.tasks, gang, min_tasks)?;
    Ok(What::Submit(Box::new(job)))
}

/// How many tasks are to be placed together.
fn together(tasks: u32, gang: bool, min_tasks: Option<u32>) -> Read<u32> {
    match min_tasks {
        Some(min_tasks) if min_tasks > tasks => {
            Err(Fault::new(format!("{min_tasks} is given: write at most the number of tasks, {tasks}")).within("min_tasks"))
        }
        Some(min_tasks) if gang && min_tasks != tasks => Err(Fault::new(format!(
            "all {tasks} tasks are to be placed together, and `min_tasks` says {min_tasks}: write one of the two"
        ))
        .within("gang")),
        Some(min_tasks) => Ok(min_tasks),
        None => Ok(if gang { tasks } else { 1 }),
    }
}

/// What each task asks for: what is named, and nothing else. Asking for 0 of something is not asking for it.
fn asked(value: &Tree) -> Read<Request> {
    let named = entries(value, "amounts by name such as {cpus: 2, mem: 512MiB}")?;
    let some = named.iter().filter(|(_, value)| value.scalar_text().is_none_or(|text| text != "0"));
    let request = request(Request::new(), &Tree::Map(some.cloned().collect()))?;
    if request.is_empty() {
        Err(Fault::new("empty: say what each task needs, such as {cpus: 1}"))
    } else {
        Ok(request)
    }
}

/// How long each task runs; nothing for `forever`.
fn run(value: &Tree) -> Read<Option<Span>> {
    match value {
        Tree::Text(text) if text == "forever" => Ok(None),
        _ => span(value).map(Some).map_err(|fault| Fault::new(format!("{}, or `forever`", fault.message))),
    }
}

fn end(fields: &Fields) -> Read<What> {
    let (mut job, mut tasks) = (String::new(), None);
    each(fields, "an end", &END, |field, value| {
        match field {
            "end" => job = name(value)?,
            "tasks" => {
                tasks = Some(whole(value, "a whole number: how many of its oldest running tasks end")?)
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(What::End { job, tasks })
}

fn cancel(fields: &Fields) -> Read<What> {
    let mut job = String::new();
    each(fields, "a cancellation", &CANCEL, |field, value| {
        if field == "cancel" {
            job = name(value)?;
        }
        Ok(field == "cancel")
    })?;
    Ok(What::Cancel(job))
}

fn queue(fields: &Fields) -> Read<What> {
    let (mut queue, mut settings) = (None, QueueSettings::default());
    each(fields, "an event of a queue", &QUEUE_EVENT, |field, value| {
        match field {
            "queue" => queue = Some(parsed(value, "a queue such as `research.vision`")?),
            "weight" | "limit" | "guarantee" | "hold_back" => {
                setting(&mut settings, field, value, &QUEUE_EVENT)?
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let queue = queue.ok_or_else(|| Fault::new("missing: write the name of a queue").within("queue"))?;
    if settings == QueueSettings::default() {
        return Err(Fault::new(
            "says nothing of the queue: write one of `weight`, `limit`, `guarantee` and `hold_back`",
        ));
    }
    Ok(What::Queue { queue, settings })
}
