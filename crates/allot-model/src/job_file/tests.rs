mod errors;

use super::*;
use crate::constraint::Constraint;
use crate::id::{JobId, ResourceName};
use crate::resources::{Amount, Request, WHOLE};
use crate::time::Span;
use proptest::prelude::*;
use serde_json::json;

const DOCUMENTATION: &str = include_str!("../../../../docs/job.md");

const FULL_JSON: &str = r#"{
    "queue": "research.vision",
    "name": "train",
    "command": ["python3", "train.py", "--epochs", "10"],
    "env": {"LANG": "C", "SEED": "7"},
    "workdir": "/data",
    "resources": {"cpus": 0.5, "mem": "1.5GiB", "gpus": 1},
    "tasks": 100,
    "priority": -5,
    "constraints": ["zone == b", "exists gpu_model"],
    "retries": 3,
    "backoff": "2s",
    "time_limit": "1h30m",
    "estimate": "20m",
    "deadline": "1d",
    "gang": false,
    "min_tasks": 40,
    "same": "rack",
    "kill_grace": 5,
    "after": [12, 13],
    "on_unreachable": "retry",
    "executor": "noop"
}"#;

const FULL_TOML: &str = r#"
queue = "research.vision"
name = "train"
command = ["python3", "train.py", "--epochs", "10"]
workdir = "/data"
tasks = 100
priority = -5
constraints = ["zone == b", "exists gpu_model"]
retries = 3
backoff = "2s"
time_limit = "1h30m"
estimate = "20m"
deadline = "1d"
gang = false
min_tasks = 40
same = "rack"
kill_grace = 5
after = [12, 13]
on_unreachable = "retry"
executor = "noop"

[env]
LANG = "C"
SEED = "7"

[resources]
cpus = 0.5
mem = "1.5GiB"
gpus = 1
"#;

const FULL_YAML: &str = r#"
queue: research.vision
name: train
command: [python3, train.py, --epochs, "10"]
env:
  LANG: C
  SEED: "7"
workdir: /data
resources: {cpus: 0.5, mem: 1.5GiB, gpus: 1}
tasks: 100
priority: -5
constraints:
  - zone == b
  - exists gpu_model
retries: 3
backoff: 2s
time_limit: 1h30m
estimate: 20m
deadline: 1d
gang: false
min_tasks: 40
same: rack
kill_grace: 5
after: [12, 13]
on_unreachable: retry
executor: noop
"#;

#[test]
fn a_job_of_all_fields_is_the_same_in_every_format() {
    let json = parse_submission(FULL_JSON.as_bytes()).unwrap();
    assert_eq!(parse_file(FULL_TOML.as_bytes(), Format::Toml), Ok(json.clone()));
    assert_eq!(parse_file(FULL_YAML.as_bytes(), Format::Yaml), Ok(json.clone()));
    let request = [("cpus", 500), ("mem", 3 << 29), ("gpus", WHOLE)];
    let expected = JobSpec {
        name: Some("train".to_owned()),
        command: Command::Argv(["python3", "train.py", "--epochs", "10"].map(str::to_owned).into()),
        env: [("LANG", "C"), ("SEED", "7")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        workdir: Some("/data".to_owned()),
        resources: request
            .map(|(name, units)| (ResourceName::new(name).unwrap(), units))
            .into_iter()
            .collect(),
        tasks: 100,
        priority: -5,
        constraints: vec![
            Constraint::parse("zone == b").unwrap(),
            Constraint::parse("exists gpu_model").unwrap(),
        ],
        retries: 3,
        backoff: Span::from_secs(2),
        time_limit: Some(Span::from_secs(5_400)),
        estimate: Some(Span::from_secs(1_200)),
        deadline: Some(Span::from_secs(86_400)),
        min_tasks: 40,
        same: Some("rack".to_owned()),
        kill_grace: Span::from_secs(5),
        after: vec![JobId(12), JobId(13)],
        on_unreachable: OnUnreachable::Retry,
        executor: Executor::Noop,
    };
    assert_eq!(json.queue.as_ref().map(QueueName::as_str), Some("research.vision"));
    assert_eq!(json.spec, expected);
    assert_eq!(JobFile::from_json(&json.to_json()), Ok(json));
}

#[test]
fn every_field_is_known_and_written() {
    let full = parse_submission(FULL_JSON.as_bytes()).unwrap().to_json();
    let mut fields: Vec<&str> = full.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = FIELDS;
    fields.sort_unstable();
    known.sort_unstable();
    assert_eq!(fields, known);
}

#[test]
fn a_command_alone_is_a_job_with_the_defaults() {
    for command in [json!("echo hello | wc -c"), json!(["true"])] {
        let file = JobFile::from_json(&json!({"command": command})).unwrap();
        let defaults = json!({
            "command": command, "env": {}, "resources": {"cpus": 1}, "tasks": 1, "gang": false, "min_tasks": 1,
            "priority": 0, "constraints": [], "retries": 0, "backoff": "1s", "kill_grace": "10s", "after": [], "on_unreachable": "wait", "executor": "process",
        });
        assert_eq!(file.to_json(), defaults);
    }
}

#[test]
fn null_stands_for_the_default_of_a_field() {
    let nulls: serde_json::Map<String, Value> =
        FIELDS.iter().map(|field| ((*field).to_owned(), Value::Null)).collect();
    let mut nulls = Value::Object(nulls);
    nulls["command"] = json!("true");
    assert_eq!(JobFile::from_json(&nulls), JobFile::from_json(&json!({"command": "true"})));
}

#[test]
fn cpus_is_one_where_other_resources_are_given_alone() {
    let file = JobFile::from_json(&json!({"command": "true", "resources": {"mem": "1GiB"}})).unwrap();
    assert_eq!(file.spec.resources.to_string(), "cpus 1, mem 1GiB");
}

#[test]
fn a_job_is_taken_by_the_queue_that_it_names_or_by_any() {
    let queue = QueueName::new("research.vision").unwrap();
    let other = QueueName::new("research").unwrap();
    let named = parse_submission(FULL_JSON.as_bytes()).unwrap();
    assert!(named.clone().for_queue(&queue).is_ok());
    let rejection = named.for_queue(&other).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "`queue`: `research.vision` is given, and the job was submitted to `research`: leave it out, or submit it there"
    );
    assert!(parse_submission(b"{\"command\": \"true\"}").unwrap().for_queue(&other).is_ok());
}

#[test]
fn the_examples_in_the_documentation_are_one_job() {
    let blocks =
        [("toml", Format::Toml), ("yaml", Format::Yaml), ("json", Format::Json)].map(|(name, format)| {
            let start = DOCUMENTATION.split(&format!("```{name}\n")).nth(1).unwrap();
            parse_file(start.split("```").next().unwrap().as_bytes(), format).unwrap()
        });
    assert!(blocks.iter().all(|job| *job == blocks[0]));
}

#[test]
fn the_documentation_knows_every_field_and_limit() {
    for field in FIELDS {
        assert!(DOCUMENTATION.contains(&format!("\n| `{field}` | ")), "{field}");
    }
    let limits = [
        JobSpec::MOST_BYTES,
        JobSpec::MOST_NAME_CHARACTERS,
        JobSpec::MOST_ARGUMENTS,
        JobSpec::MOST_ARGUMENT_BYTES,
        JobSpec::MOST_VARIABLES,
        JobSpec::MOST_PATH_BYTES,
        JobSpec::MOST_RESOURCES,
        JobSpec::MOST_CONSTRAINTS,
        JobSpec::MOST_AFTER,
        JobSpec::MOST_RETRIES as usize,
        JobSpec::MOST_TASKS as usize,
        Constraint::MOST_CHARACTERS,
    ];
    for limit in limits {
        assert!(DOCUMENTATION.contains(&check::grouped(limit)), "{limit}");
    }
}

#[test]
fn formats_are_known_by_the_endings_of_files() {
    let cases = [
        ("job.toml", Some(Format::Toml)),
        ("a.b/job.yaml", Some(Format::Yaml)),
        ("job.YML", Some(Format::Yaml)),
        ("job.json", Some(Format::Json)),
        ("job.txt", None),
        ("job", None),
        ("-", None),
    ];
    for (path, format) in cases {
        assert_eq!(Format::of_path(path), format, "{path}");
    }
}

#[test]
fn jobs_that_did_not_come_as_text_are_held_to_the_same_limits() {
    let good = JobSpec::new(Command::Shell("true".to_owned()));
    assert_eq!(good.check(), Ok(()));
    let cases = [
        (JobSpec { command: Command::Argv(vec![]), ..good.clone() }, "command"),
        (JobSpec { tasks: 0, ..good.clone() }, "tasks"),
        (JobSpec { tasks: JobSpec::MOST_TASKS + 1, ..good.clone() }, "tasks"),
        (JobSpec { resources: Request::new(), ..good.clone() }, "resources.cpus"),
        (
            JobSpec {
                resources: [(ResourceName::cpus(), Amount::MOST + 1)].into_iter().collect(),
                ..good.clone()
            },
            "resources.cpus",
        ),
        (JobSpec { command: Command::Argv(vec!["x".repeat(100_000); 6]), ..good.clone() }, "command"),
        (JobSpec { backoff: Span::from_micros(u64::MAX), ..good.clone() }, "backoff"),
    ];
    for (spec, field) in cases {
        assert_eq!(spec.check().unwrap_err().field, field);
    }
}

fn any_spec() -> impl Strategy<Value = JobSpec> {
    let word = || "[^\u{0}]{1,8}";
    let argv = (word(), proptest::collection::vec("[^\u{0}]{0,8}", 0..4))
        .prop_map(|(program, rest)| Command::Argv([program].into_iter().chain(rest).collect()));
    let shell = "[a-z][^\u{0}]{0,20}".prop_map(Command::Shell);
    let env = proptest::collection::btree_map("[A-Za-z_.-][A-Za-z0-9_.-]{0,6}", "[^\u{0}]{0,8}", 0..4);
    let amount = || 1..=Amount::MOST;
    let request = (amount(), proptest::option::of(amount()), proptest::option::of(0_u64..WHOLE));
    let constraint = proptest::sample::select(vec![
        "zone == 'b c'",
        "not exists a",
        "x in (a, b)",
        "h =~ '^\\d$'",
        "n >= 1.5",
    ]);
    let spans =
        (0..=3_600_000_000_u64, proptest::option::of(1..=31_536_000_000_000_u64), 0..=3_600_000_000_u64);
    let numbers = (1..=JobSpec::MOST_TASKS, any::<i32>(), 0..=JobSpec::MOST_RETRIES);
    let texts = (
        proptest::option::of("[a-z]\\PC{0,20}"),
        prop_oneof![argv, shell],
        env,
        proptest::option::of("/[^\u{0}]{0,20}"),
    );
    let lists =
        (proptest::collection::vec(constraint, 0..3), proptest::collection::btree_set(1..=u64::MAX, 0..4));
    let length = || proptest::option::of((1..=31_536_000_000_000_u64).prop_map(Span::from_micros));
    let plan = (length(), length(), any::<u32>(), proptest::option::of("[a-z_.-]{1,9}"));
    (texts, request, numbers, spans, lists, plan, any::<[bool; 2]>()).prop_map(
        |(
            (name, command, env, workdir),
            (cpus, mem, gpus),
            (tasks, priority, retries),
            (backoff, limit, grace),
            lists,
            (estimate, deadline, together, same),
            flags,
        )| {
            let units = [("cpus", cpus), ("mem", mem.unwrap_or(0)), ("gpus", gpus.unwrap_or(0))];
            JobSpec {
                name,
                command,
                env,
                workdir,
                resources: units
                    .map(|(name, units)| (ResourceName::new(name).unwrap(), units))
                    .into_iter()
                    .collect(),
                tasks,
                priority,
                constraints: lists.0.iter().map(|source| Constraint::parse(source).unwrap()).collect(),
                retries,
                backoff: Span::from_micros(backoff),
                time_limit: limit.map(Span::from_micros),
                estimate,
                deadline,
                min_tasks: together % tasks + 1,
                same,
                kill_grace: Span::from_micros(grace),
                after: lists.1.into_iter().map(JobId).collect(),
                on_unreachable: if flags[0] { OnUnreachable::Retry } else { OnUnreachable::Wait },
                executor: if flags[1] { Executor::Noop } else { Executor::Process },
            }
        },
    )
}

proptest! {
    #[test]
    fn a_job_is_read_as_it_is_written(spec in any_spec()) {
        prop_assert_eq!(spec.check(), Ok(()));
        let text = spec.to_json().to_string();
        prop_assert_eq!(parse_submission(text.as_bytes()).map(|file| file.spec), Ok(spec));
    }

    #[test]
    fn any_bytes_are_read_or_rejected(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Toml, Format::Yaml, Format::Json] {
            let _ = parse_file(&bytes, format);
        }
    }

    #[test]
    fn what_is_nearly_a_job_is_read_or_rejected(parts in proptest::collection::vec(
        (proptest::sample::select(FIELDS.to_vec()), "-?[1-9][0-9]{0,24}|0|null|\\[\\]|\\{\\}|\"[a-z0-9 .]{0,9}\"|\\[[1-9]{1,3}\\]|\\{\"[a-z]{1,4}\":[1-9]{1,3}\\}"), 0..6
    )) {
        let fields: Vec<String> = parts.iter().map(|(field, value)| format!("\"{field}\": {value}")).collect();
        let text = format!("{{\"command\": \"true\", {}}}", fields.join(", ")).replace(", }", "}");
        match parse_submission(text.as_bytes()) {
            Ok(file) => prop_assert_eq!(file.spec.check(), Ok(())),
            Err(rejection) => {
                let root = rejection.field.split(['.', '[']).next().unwrap_or_default();
                prop_assert!(FIELDS.contains(&root) || rejection.message.contains("number out of range"), "{}: {}", text, rejection);
            }
        }
    }

    #[test]
    fn any_yaml_or_toml_is_read_or_refused(text in "[-a-z:&*!|>{}\\[\\]\"'#=0-9\n ,.]{0,60}") {
        for format in [Format::Toml, Format::Yaml] {
            let _ = parse_file(text.as_bytes(), format);
        }
    }
}

#[test]
fn a_gang_is_all_tasks_and_contradicts_any_other_number() {
    let job = |more: &str| parse_submission(format!(r#"{{"command": ["true"], {more}}}"#).as_bytes());
    let min_tasks = |more: &str| job(more).unwrap().spec.min_tasks;
    assert_eq!(min_tasks(r#""tasks": 5"#), 1);
    assert_eq!(min_tasks(r#""gang": true, "tasks": 5"#), 5);
    assert_eq!(min_tasks(r#""gang": false, "tasks": 5, "min_tasks": 3"#), 3);
    assert_eq!(min_tasks(r#""min_tasks": 5, "tasks": 5, "gang": true"#), 5);
    assert_eq!(min_tasks(r#""gang": null, "tasks": 5"#), 1);
    let refused = |more: &str| job(more).unwrap_err();
    let Rejection { field, message } = refused(r#""gang": true, "tasks": 5, "min_tasks": 3"#);
    assert_eq!(field, "gang");
    assert!(message.contains("all 5 tasks") && message.contains("`min_tasks` says 3"), "{message}");
    assert_eq!(refused(r#""tasks": 5, "min_tasks": 6"#).field, "min_tasks");
    assert_eq!(refused(r#""gang": 1"#).field, "gang");
}
