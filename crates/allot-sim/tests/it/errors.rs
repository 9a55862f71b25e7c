//! Scenarios that are wrong, and what is said of them.

use allot_model::{Format, InvalidFile};
use allot_sim::Scenario;

fn told(text: &str, format: Format) -> String {
    match Scenario::parse(text.as_bytes(), format) {
        Ok(_) => "is read".to_owned(),
        Err(InvalidFile::Field(rejection)) => format!("{}: {}", rejection.field, rejection.message),
        Err(syntax) => syntax.to_string(),
    }
}

#[test]
fn mistakes_name_the_field_and_what_is_allowed() {
    let cases = [
        ("evnts: []", "evnts: unknown field `evnts`: did you mean `events`?"),
        ("colour: red", "colour: unknown field `colour`: the fields of a scenario are policy, order"),
        ("policy: drf", "events: missing: write what happens"),
        ("policy: dfr\nevents: []", "policy: there is no policy \"dfr\": choose one of `fifo`"),
        (
            "policy: 'drf:resource=mem'\nevents: []",
            "policy: the policy `drf` has no option \"resource\": choose from `order`",
        ),
        (
            "policy: 'fair:resource=cpu'\nevents: [{at: 0, agent: a, resources: {cpus: 1}}]",
            "policy: there is no resource `cpu`: did you mean `cpus`?",
        ),
        (
            "policy: 'fair:resource=gpus'\nevents: [{at: 0, agent: a, resources: {cpus: 1, mem: 1GB}}]",
            "policy: no agent ever has `gpus`, by which queues are to rank: choose from `cpus`, `mem`",
        ),
        (
            "policy: 'fair:resource=gpus'\nevents: [{at: 0, agent: a, resources: {cpus: 1}}, {at: 9, agent: b, resources: {gpus: 1}}]",
            "is read",
        ),
        ("order: random\nevents: []", "order: there is no job order \"random\""),
        ("placement: best\nevents: []", "placement: there is no placement \"best\""),
        ("backfill: 1\nevents: []", "backfill: the number `1` is given"),
        ("until: soon\nevents: []", "until: \"soon\" is not a length of time"),
        (
            "until: 365001d\nevents: []",
            "until: \"365001d\" is too long: write at most `365000d`, which is 1000 years",
        ),
        ("events: [{at: 18446744073705, cancel: J}]", "events[0].at: \"18446744073705\" is too long"),
        (
            "events: [{at: 1, submit: J, run: 18446744073710}]",
            "events[0].run: \"18446744073710\" is too long: write at most `365000d`, which is 1000 years, or `forever`",
        ),
        (
            "events: [{at: 1, submit: J, estimate: 31536000001}]",
            "events[0].estimate: \"31536000001\" is too long",
        ),
        ("events: [{at: 1, submit: J, deadline: 400000d}]", "events[0].deadline: \"400000d\" is too long"),
        ("events: 3", "events: the number `3` is given: write a list of events"),
        ("events: [3]", "events[0]: the number `3` is given: write an event such as"),
        ("events: [{at: 1}]", "events[0]: says nothing that happens: write one of `agent`, `submit`, `end`"),
        ("events: [{agent: m1, resources: {cpus: 1}}]", "events[0].at: missing: write when"),
        ("events: [{at: -1, cancel: J}]", "events[0].at: \"-1\" is not a length of time"),
        ("events: [{at: 1, agent: a, submit: b}]", "events[0]: says agent and submit at once"),
        (
            "events: [{at: 1, agent: a.b, resources: {cpus: 1}}]",
            "events[0].agent: \"a.b\" is not an agent id",
        ),
        (
            "events: [{at: 1, agent: a, resources: {cpu: 1}}]",
            "events[0].resources.cpu: there is no resource `cpu`: did you mean `cpus`?",
        ),
        (
            "events: [{at: 1, agent: a, resources: {mem: 5 apples}}]",
            "events[0].resources.mem: `5 apples` has an unknown unit",
        ),
        ("events: [{at: 1, agent: a, resources: {}}]", "events[0].resources: empty"),
        (
            "events: [{at: 1, agent: a, leaves: 1}]",
            "events[0].leaves: the number `1` is given: write `true` or `false`",
        ),
        ("events: [{at: 1, agent: a, leaves: true}]", "events[0].agent: agent `a` is not there then"),
        ("events: [{at: 1, agent: a, attributes: {zone: []}}]", "events[0].attributes.zone: a list is given"),
        (
            "events: [{at: 1, agent: a, drain: true}]",
            "events[0].drain: unknown field `drain`: did you mean `drains`?",
        ),
        (
            "events: [{at: 1, submit: J, task: 3}]",
            "events[0].task: unknown field `task`: did you mean `tasks`?",
        ),
        (
            "events: [{at: 1, submit: J, tasks: 0}]",
            "events[0].tasks: the number `0` is given: write a whole number from 1",
        ),
        (
            "events: [{at: 1, submit: J, resources: {cpus: x}}]",
            "events[0].resources.cpus: `x` is not an amount",
        ),
        (
            "events: [{at: 1, submit: J, resources: {cpus: 0}}]",
            "events[0].resources: empty: say what each task needs",
        ),
        ("events: [{at: 1, submit: J, run: often}]", "events[0].run: \"often\" is not a length of time"),
        ("events: [{at: 1, submit: J, queue: a..b}]", "events[0].queue: \"a..b\" is not a queue"),
        ("events: [{at: 1, submit: J, gang: yes please}]", "events[0].gang: the text `yes please` is given"),
        (
            "events: [{at: 1, submit: J, tasks: 3, min_tasks: 4}]",
            "events[0].min_tasks: 4 is given: write at most the number of tasks, 3",
        ),
        (
            "events: [{at: 1, submit: J, tasks: 3, min_tasks: 2, gang: true}]",
            "events[0].gang: all 3 tasks are to be placed together",
        ),
        (
            "events: [{at: 1, submit: J, constraints: ['zone ~ a']}]",
            "events[0].constraints[0]: `zone ~ a` has an error",
        ),
        ("events: [{at: 1, submit: J}, {at: 2, submit: J}]", "events[1].submit: job `J` is submitted twice"),
        (
            "events: [{at: 1, end: J}, {at: 1, submit: J}]",
            "events[0].end: no job `J` has been submitted by then",
        ),
        ("events: [{at: 1, cancel: J}]", "events[0].cancel: no job `J` has been submitted by then"),
        ("events: [{at: 1, end: J, task: 1}]", "events[0].task: unknown field `task`: did you mean `tasks`?"),
        (
            "events: [{at: 1, queue: A, wieght: 1}]",
            "events[0].wieght: unknown field `wieght`: did you mean `weight`?",
        ),
        (
            "events: [{at: 1, queue: A, weight: 0}]",
            "events[0].weight: the number `0` is given: write a whole number from 1",
        ),
        ("queues: {A: {wait: 1}}\nevents: []", "queues.A.wait: unknown field `wait`"),
        ("queues: {A: {limit: {cpus: -1}}}\nevents: []", "queues.A.limit.cpus: `-1` is negative"),
        (
            "events: [{at: 0, agent: a, resources: {cpus: 1}}, {at: 1, agent: a, leaves: true, drains: false}]",
            "events[1]: says leaves and drains at once: write an event for each",
        ),
        (
            "events: [{at: 1, agent: a, leaves: true, resources: {cpus: 4}, attributes: {z: a}}]",
            "events[0]: says leaves and resources and attributes at once",
        ),
        (
            "events: [{at: 0, agent: a, resources: {cpus: 1}}, {at: 1, agent: a, resources: null}]",
            "events[1]: says nothing of the agent: write one of `resources`, `attributes`, `drains` and `leaves: true`",
        ),
        (
            "events: [{at: 1, queue: A}]",
            "events[0]: says nothing of the queue: write one of `weight`, `limit`, `guarantee` and `hold_back`",
        ),
        (
            "queues: {A: {guarantee: {cpus: 6}, limit: {cpus: 2}}}\nevents: []",
            "queues.A.guarantee: 6 cpus are guaranteed, more than the queue's limit of 2: lower the guarantee or raise",
        ),
        (
            "queues: {A: {guarantee: {mem: 6GB}}}\nevents: [{at: 1, queue: A, limit: {tasks: 1, mem: 2GB}}]",
            "events[0].limit: 6GB mem are guaranteed, more than the queue's limit of 2GB",
        ),
        (
            "queues: {A: {limit: {tasks: 2}}}\nevents: [{at: 1, queue: A, guarantee: {tasks: 3}}]",
            "events[0].guarantee: 3 tasks are guaranteed, more than the queue's limit of 2",
        ),
        (
            "queues: {A: {guarantee: {pending_jobs: 3}}}\nevents: []",
            "queues.A.guarantee.pending_jobs: jobs cannot be guaranteed to wait: name resources, or `tasks`",
        ),
        (
            "events: [{at: 1, queue: A, guarantee: {pending_jobs: 3}}]",
            "events[0].guarantee.pending_jobs: jobs cannot be guaranteed to wait",
        ),
        (
            "queues: {A: {limit: 3}}\nevents: []",
            "queues.A.limit: the number `3` is given: write amounts by name",
        ),
        ("queues: {'a b': {}}\nevents: []", "queues.a b: \"a b\" is not a queue"),
        ("queues: {A: 2}\nevents: []", "queues.A: the number `2` is given"),
        ("events: []\nevents: []", "events: given twice: give it once"),
        ("until: x\nevents: [{at: 1}]", "also `events[0]`: says nothing that happens"),
        ("", "empty: write events"),
        ("just a text", "the text `just a text` is given: write a scenario as an object"),
    ];
    let wrong: Vec<String> = cases
        .into_iter()
        .map(|(text, message)| (text, message, told(text, Format::Yaml)))
        .filter(|(_, message, told)| !told.contains(message))
        .map(|(text, message, told)| format!("{text}\n  {message}\n  {told}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn syntax_errors_have_a_line_and_a_column() {
    let cases = [
        (Format::Yaml, "events:\n  - {at: 0, agent: m1\n", "line 3, column 1: "),
        (Format::Json, "{\"events\": [\n  {\"at\": }]}", "line 2, column 10: "),
        (Format::Toml, "policy = \"drf\"\nevents = = 3\n", "line 2, column 10: "),
    ];
    for (format, text, beginning) in cases {
        let told = told(text, format);
        assert!(told.starts_with(beginning), "{text}\n  {told}");
    }
}
