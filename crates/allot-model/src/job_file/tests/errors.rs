//! Everything that can be wrong with a job, and what is said about it.

use super::super::*;
use serde_json::json;
use std::collections::BTreeMap;

fn rejected(text: &str) -> Rejection {
    parse_submission(text.as_bytes()).expect_err(text)
}

#[test]
fn what_is_not_a_job_at_all_is_rejected_as_a_whole() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "empty: write a job such as {\"command\": [\"true\"]}"),
        (b" \n\t ", "empty: write a job"),
        (b"\xff\xfe\x00", "not text: byte 1 is not UTF-8"),
        (b"{\"command\": \"\xc3\x28\"}", "not text: byte 14 is not UTF-8"),
        (b"\x00\x01\x02", "not readable as JSON: line 1, column 1: expected value"),
        (b"[1, 2]", "a list is given: write a job as an object such as {\"command\": [\"true\"]}"),
        (b"\"true\"", "the text `true` is given: write a job as an object"),
        (b"5", "the number `5` is given: write a job as an object"),
        (b"null", "`null` is given: write a job as an object"),
        (b"{\"command\": [\"true\"]", "not readable as JSON: line 1, column 20: EOF while parsing an object"),
        (b"{\"command\": [\"true\"]} x", "not readable as JSON: line 1, column 23: trailing characters"),
        (b"{\"tasks\": 1e999}", "number out of range"),
    ];
    for (bytes, message) in cases {
        let rejection = parse_submission(bytes).unwrap_err();
        assert_eq!(rejection.field, "", "{rejection}");
        assert!(rejection.message.contains(message), "{message}: {rejection}");
    }
    let deep = rejected(&"[".repeat(100_000));
    assert!(deep.message.contains("recursion limit exceeded"), "{deep}");
    let large = rejected(&format!("{{\"command\": \"{}\"}}", "x".repeat(JobSpec::MOST_BYTES)));
    assert_eq!(large.message, "262,159 bytes are given: a job has at most 262,144");
}

#[test]
fn each_wrong_field_is_named_with_what_was_given_and_what_is_allowed() {
    let whole_tasks = "write a whole number from 1 to 10,000,000";
    let cases = [
        (r#"{"comand": "true"}"#, "comand", "unknown field `comand`: did you mean `command`?".to_owned()),
        (r#"{"timelimit": 1}"#, "timelimit", "did you mean `time_limit`?".to_owned()),
        (
            r#"{"zzz": null}"#,
            "zzz",
            "unknown field `zzz`: the fields of a job are queue, name, command,".to_owned(),
        ),
        (r#"{"command": "a", "command": "b"}"#, "command", "given twice: give it once".to_owned()),
        (r#"{"queue": "a..b"}"#, "queue", "\"a..b\" is not a queue: 1 to 16 parts".to_owned()),
        (
            r#"{"queue": 5}"#,
            "queue",
            "the number `5` is given: write a queue such as `research.vision`, in quotes".to_owned(),
        ),
        (r#"{"name": 5}"#, "name", "the number `5` is given: write a text, in quotes".to_owned()),
        (r#"{"name": ""}"#, "name", "empty: write a text, or leave it out".to_owned()),
        (r#"{"name": "a\nb"}"#, "name", "holds a control character".to_owned()),
        (r"{}", "command", "missing or empty: write a program and its arguments".to_owned()),
        (r#"{"command": null}"#, "command", "missing or empty".to_owned()),
        (r#"{"command": []}"#, "command", "missing or empty".to_owned()),
        (r#"{"command": "  "}"#, "command", "missing or empty".to_owned()),
        (r#"{"command": [""]}"#, "command[0]", "empty: write the name or path of a program".to_owned()),
        (
            r#"{"command": 5}"#,
            "command",
            "the number `5` is given: write a program and its arguments".to_owned(),
        ),
        (r#"{"command": {"a": 1}}"#, "command", "an object is given: write a program".to_owned()),
        (
            r#"{"command": ["sleep", 5]}"#,
            "command[1]",
            "the number `5` is given: write a text, in quotes".to_owned(),
        ),
        (r#"{"command": ["sleep", null]}"#, "command[1]", "`null` is given: write a text".to_owned()),
        (r#"{"command": ["a", "b\u0000"]}"#, "command[1]", "holds a NUL character".to_owned()),
        (r#"{"command": "a\u0000"}"#, "command", "holds a NUL character".to_owned()),
        (
            r#"{"env": ["A=1"]}"#,
            "env",
            "a list is given: write texts by name such as {\"LANG\": \"C\"}".to_owned(),
        ),
        (
            r#"{"env": {"SEED": 7}}"#,
            "env.SEED",
            "the number `7` is given: write a text, in quotes".to_owned(),
        ),
        (r#"{"env": {"DEBUG": true}}"#, "env.DEBUG", "`true` is given: write a text".to_owned()),
        (r#"{"env": {"A=B": "c"}}"#, "env.A=B", "is not the name of a variable".to_owned()),
        (r#"{"env": {"": "c"}}"#, "env", "`` is not the name of a variable".to_owned()),
        (r#"{"env": {"7UP": "c"}}"#, "env.7UP", "is not the name of a variable".to_owned()),
        (r#"{"env": {"PATH": "a\u0000b"}}"#, "env.PATH", "holds a NUL character".to_owned()),
        (r#"{"env": {"A": "1", "A": "2"}}"#, "env.A", "given twice".to_owned()),
        (
            r#"{"workdir": "data"}"#,
            "workdir",
            "the text `data` is given: write a path that begins with `/`".to_owned(),
        ),
        (r#"{"workdir": ""}"#, "workdir", "write a path that begins with `/`".to_owned()),
        (r#"{"workdir": "/a\u0000"}"#, "workdir", "holds a NUL character".to_owned()),
        (r#"{"workdir": false}"#, "workdir", "`false` is given: write the path of a directory".to_owned()),
        (r#"{"resources": 4}"#, "resources", "the number `4` is given: write amounts by name".to_owned()),
        (r#"{"resources": {"cpus": -1}}"#, "resources.cpus", "`-1` is negative".to_owned()),
        (r#"{"resources": {"cpus": 0}}"#, "resources.cpus", "`0` asks for nothing".to_owned()),
        (
            r#"{"resources": {"cpus": 0.0001}}"#,
            "resources.cpus",
            "`0.0001` has more than 3 decimals".to_owned(),
        ),
        (
            r#"{"resources": {"cpus": 1e300}}"#,
            "resources.cpus",
            "is too large: at most 9007199254740.992".to_owned(),
        ),
        (r#"{"resources": {"cpus": "many"}}"#, "resources.cpus", "`many` is not an amount of it".to_owned()),
        (r#"{"resources": {"cpus": null}}"#, "resources.cpus", "`null` is given: write an amount".to_owned()),
        (r#"{"resources": {"cpus": 1, "cpus": 2}}"#, "resources.cpus", "given twice".to_owned()),
        (r#"{"resources": {"mem": "1XB"}}"#, "resources.mem", "`1XB` has an unknown unit".to_owned()),
        (
            r#"{"resources": {"mem": 18446744073709551616}}"#,
            "resources.mem",
            "is too large: at most 8PiB".to_owned(),
        ),
        (r#"{"resources": {"memory": 1}}"#, "resources.memory", "did you mean `mem`?".to_owned()),
        (
            r#"{"resources": {"gpus": ["0"]}}"#,
            "resources.gpus",
            "a list is given: write an amount".to_owned(),
        ),
        (r#"{"resources": {"gpus": 1.5}}"#, "resources.gpus", "neither whole nor a part of one".to_owned()),
        (r#"{"resources": {"ports": 0.5}}"#, "resources.ports", "ports cannot be shared".to_owned()),
        (r#"{"resources": {"a b": 1}}"#, "resources.a b", "is not a resource name".to_owned()),
        (r#"{"tasks": 0}"#, "tasks", format!("the number `0` is given: {whole_tasks}")),
        (r#"{"tasks": -1}"#, "tasks", format!("the number `-1` is given: {whole_tasks}")),
        (r#"{"tasks": 1.5}"#, "tasks", format!("the number `1.5` is given: {whole_tasks}")),
        (r#"{"tasks": "5"}"#, "tasks", format!("the text `5` is given: {whole_tasks}")),
        (r#"{"tasks": 10000001}"#, "tasks", format!("the number `10000001` is given: {whole_tasks}")),
        (r#"{"tasks": 99999999999999999999}"#, "tasks", format!("is given: {whole_tasks}")),
        (r#"{"priority": 2147483648}"#, "priority", "`2147483648` is given: write a whole number".to_owned()),
        (
            r#"{"constraints": "zone == b"}"#,
            "constraints",
            "write a list of constraints such as [\"zone == b\"]".to_owned(),
        ),
        (
            r#"{"constraints": ["zone == b", "rack = c"]}"#,
            "constraints[1]",
            "`rack = c` has an error: `=` is not an operator".to_owned(),
        ),
        (r#"{"constraints": ["rack = c"]}"#, "constraints[0]", "at column 6".to_owned()),
        (
            r#"{"constraints": [5]}"#,
            "constraints[0]",
            "write a constraint such as `zone == b`, in quotes".to_owned(),
        ),
        (
            r#"{"retries": 1001}"#,
            "retries",
            "`1001` is given: write a whole number from 0 to 1,000".to_owned(),
        ),
        (r#"{"retries": -1}"#, "retries", "`-1` is given: write a whole number from 0 to 1,000".to_owned()),
        (r#"{"backoff": "soon"}"#, "backoff", "\"soon\" is not a length of time".to_owned()),
        (r#"{"backoff": -1}"#, "backoff", "\"-1\" is not a length of time".to_owned()),
        (r#"{"backoff": []}"#, "backoff", "a list is given: write a length of time".to_owned()),
        (r#"{"backoff": "2h"}"#, "backoff", "`2h` is given: write at most `1h`".to_owned()),
        (r#"{"time_limit": 0}"#, "time_limit", "`0s` is given: write more than `0s`".to_owned()),
        (r#"{"time_limit": "366d"}"#, "time_limit", "`366d` is given".to_owned()),
        (r#"{"estimate": 0}"#, "estimate", "or leave it out where it is not known".to_owned()),
        (r#"{"deadline": "366d"}"#, "deadline", "`366d` is given".to_owned()),
        (r#"{"gang": "yes"}"#, "gang", "write `true` or `false`".to_owned()),
        (r#"{"min_tasks": 2}"#, "min_tasks", "write at most the number of tasks, 1".to_owned()),
        (r#"{"min_tasks": 0}"#, "min_tasks", "the number `0` is given".to_owned()),
        (r#"{"same": "a rack"}"#, "same", "the name of an attribute such as `rack`".to_owned()),
        (r#"{"kill_grace": "61m"}"#, "kill_grace", "`1h1m` is given: write at most `1h`".to_owned()),
        (
            r#"{"after": 12}"#,
            "after",
            "the number `12` is given: write a list of job ids such as [12, 13]".to_owned(),
        ),
        (r#"{"after": [12, "13"]}"#, "after[1]", "the text `13` is given: write the id of a job".to_owned()),
        (r#"{"after": [0]}"#, "after[0]", "write the id of a job, such as 12".to_owned()),
        (r#"{"after": [-1]}"#, "after[0]", "write the id of a job, such as 12".to_owned()),
        (r#"{"after": [12, 12]}"#, "after[1]", "job 12 is given twice".to_owned()),
        (
            r#"{"on_unreachable": "panic"}"#,
            "on_unreachable",
            "the text `panic` is given: write `wait` or `retry`".to_owned(),
        ),
        (
            r#"{"executor": "docker"}"#,
            "executor",
            "the text `docker` is given: write `process` or `noop`".to_owned(),
        ),
        (
            r#"{"executor": 1}"#,
            "executor",
            "the number `1` is given: write `process` or `noop`, in quotes".to_owned(),
        ),
    ];
    for (text, field, message) in cases {
        let with_command = if text.contains("\"command\"") || text == "{}" {
            text.to_owned()
        } else {
            text.replacen('{', "{\"command\": \"true\", ", 1)
        };
        let rejection = rejected(&with_command);
        assert_eq!(rejection.field, field, "{text}: {rejection}");
        assert!(rejection.message.contains(&message), "{text}: {rejection}");
        assert!(!rejection.message.contains("; also"), "{text}: {rejection}");
    }
}

#[test]
fn what_is_too_large_is_rejected_with_its_limit() {
    let cases = [
        (json!({"name": "x".repeat(201)}), "name", "201 is given: write at most 200 characters"),
        (json!({"command": vec!["x"; 10_001]}), "command", "10,001 is given: write at most 10,000 words"),
        (
            json!({"command": ["x", "y".repeat(131_072)]}),
            "command[1]",
            "a text of 131,072 bytes is given: write at most 131,071",
        ),
        (json!({"command": "y".repeat(131_072)}), "command", "at most 131,071 bytes"),
        (json!({"env": {"A": "y".repeat(131_072)}}), "env.A", "at most 131,071 bytes"),
        (
            json!({"env": {"A": "\u{1}".repeat(100_000)}}),
            "command",
            "600,005 is given: write at most 262,144 bytes of text in a job",
        ),
        (
            json!({"env": (0..1_001).map(|i| (format!("V{i}"), String::new())).collect::<BTreeMap<_, _>>()}),
            "env",
            "1,001 is given: write at most 1,000 variables",
        ),
        (
            json!({"workdir": format!("/{}", "x".repeat(4_095))}),
            "workdir",
            "4,096 is given: write at most 4,095 bytes",
        ),
        (
            json!({"constraints": vec!["exists a"; 65]}),
            "constraints",
            "65 is given: write at most 64 constraints",
        ),
        (
            json!({"after": (1..=1_001).collect::<Vec<_>>()}),
            "after",
            "1,001 is given: write at most 1,000 jobs",
        ),
    ];
    for (value, field, message) in cases {
        let mut job = json!({"command": "true"});
        job.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        let rejection = JobFile::from_json(&job).unwrap_err();
        assert_eq!(rejection.field, field, "{rejection}");
        assert!(rejection.message.contains(message), "{rejection}");
    }
}

#[test]
fn several_wrong_fields_are_told_in_the_order_of_the_text() {
    let rejection = rejected(r#"{"tasks": 0, "comand": "true", "env": {"A": 1}, "after": [0]}"#);
    assert_eq!(rejection.field, "tasks");
    let order = [
        "the number `0`",
        "; also `comand`: unknown field",
        "; also `env.A`: ",
        "; also `after[0]`: ",
        "; also `command`: missing",
    ];
    let places: Vec<Option<usize>> = order.iter().map(|part| rejection.message.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{rejection}");
    let many: String = (0..20).map(|i| format!(", \"zz{i}\": 0")).collect();
    let rejection = rejected(&format!("{{\"command\": \"true\"{many}}}"));
    assert!(rejection.message.ends_with("; and 14 more"), "{rejection}");
}

#[test]
fn files_with_a_wrong_syntax_are_refused_with_line_and_column() {
    let cases = [
        (Format::Toml, "name = \"a\"\ncommand = [\n", 2, 12),
        (Format::Toml, "name = \"é\" x\n", 1, 12),
        (Format::Toml, "name = \"a\"\nname = \"b\"\n", 2, 1),
        (Format::Yaml, "name: a\ncommand: [b\n", 3, 1),
        (Format::Yaml, "a: b: c\n", 1, 5),
        (Format::Json, "{\n  \"name\": ,\n}", 2, 11),
    ];
    for (format, text, line, column) in cases {
        match parse_file(text.as_bytes(), format) {
            Err(InvalidFile::Syntax { line: l, column: c, message }) => {
                assert_eq!((l, c), (line, column), "{text}: {message}");
                assert!(!message.contains(&format!("line {line} column {column}")), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn files_with_a_wrong_field_are_refused_with_its_name() {
    let cases = [
        (Format::Toml, "command = \"true\"\n[resources]\ncpu = 1\n", "resources.cpu"),
        (Format::Toml, "command = \"true\"\nname = 2024-05-01\n", "name"),
        (Format::Toml, "command = \"true\"\nbackoff = nan\n", "backoff"),
        (Format::Toml, "# nothing\n", "command"),
        (Format::Yaml, "command: \"true\"\ncommand: x\n", "command"),
        (Format::Yaml, "command: \"true\"\nresources: {cpus: .inf}\n", "resources.cpus"),
        (Format::Yaml, "command: \"true\"\nenv: {A: 1}\n", "env.A"),
        (Format::Yaml, "- a\n", ""),
        (Format::Yaml, "", ""),
    ];
    for (format, text, field) in cases {
        match parse_file(text.as_bytes(), format) {
            Err(InvalidFile::Field(rejection)) => assert_eq!(rejection.field, field, "{text}: {rejection}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn texts_that_would_grow_without_bound_are_refused() {
    let laughs: String =
        (1..12).map(|n| format!("l{n}: &l{n} [{}]\n", vec![format!("*l{}", n - 1); 9].join(","))).collect();
    let laughs = format!("l0: &l0 [lol]\n{laughs}");
    let nested = "[".repeat(JobSpec::MOST_BYTES - 10);
    let cases = [
        (Format::Yaml, laughs),
        (Format::Yaml, format!("a: {}", "[".repeat(10_000))),
        (Format::Toml, format!("a = {nested}")),
        (Format::Toml, format!("a = {}", "{a=".repeat(80_000))),
        (Format::Json, format!("{{\"a\": {nested}")),
    ];
    for (format, text) in cases {
        let refused = parse_file(text.as_bytes(), format);
        assert!(matches!(refused, Err(InvalidFile::Syntax { .. })), "{format:?}: {refused:?}");
    }
}
