//! `allot simulate` as a program: no cluster, documents for programs, a table for people, errors with their place.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const SCENARIO: &str = "\
policy: drf
events:
  - {at: 0, agent: m1, resources: {cpus: 9, mem: 18GB}}
  - {at: 0, submit: J1, queue: A, tasks: 100, resources: {cpus: 1, mem: 4GB}, run: forever}
  - {at: 0, submit: J2, queue: B, tasks: 100, resources: {cpus: 3, mem: 1GB}, run: forever}
until: 10
";

const LOG: &str = "; MaxProcs: 4\n\
    1 0 -1 60 4 -1 -1 4 60 -1 1 7 1 -1 1 -1 -1 -1\n\
    2 5 -1 30 1 -1 -1 1 30 -1 1 8 1 -1 1 -1 -1 -1\n";

const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,1024,2,T4\n";

const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np1,1000,16,1,500\n";

/// Runs the command in a folder with a scenario and a log.
fn simulate(dir: &Path, words: &[&str]) -> Output {
    std::fs::write(dir.join("scenario.yaml"), SCENARIO).unwrap();
    std::fs::write(dir.join("log.swf"), LOG).unwrap();
    Command::new(env!("CARGO_BIN_EXE_allot")).arg("simulate").args(words).current_dir(dir).output().unwrap()
}

fn out(words: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let output = simulate(dir.path(), words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_policy_is_a_document_on_a_line_and_the_same_every_time() {
    let words = ["scenario.yaml", "--policy", "drf,fair:resource=cpus,order=fifo", "--json"];
    let text = out(&words);
    assert_eq!(text, out(&words));
    let documents: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let policies: Vec<&Value> = documents.iter().map(|document| &document["policy"]).collect();
    assert_eq!(
        policies,
        ["drf", "fair:resource=cpus:order=fifo"].map(Value::from).iter().collect::<Vec<_>>()
    );
    assert_eq!(documents[0]["grants"].as_array().unwrap().len(), 5);
    assert_eq!(
        documents[0]["grants"][1],
        serde_json::json!({"t": 0, "job": "J2", "task": 0, "queue": "B", "agent": "m1"})
    );
    assert_eq!(documents[0]["queues"]["A"]["dominant_share"], serde_json::json!([2, 3]));
    assert_eq!(documents[1]["queues"]["A"]["running"], 4);
}

#[test]
fn flags_win_over_what_policies_say_and_grants_can_be_left_out() {
    let text = out(&[
        "scenario.yaml",
        "--policy",
        "fifo:backfill=skip",
        "--backfill",
        "none",
        "--json",
        "--no-grants",
    ]);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["policy"], document.get("grants")), (&Value::from("fifo:backfill=none"), None));
    let text = out(&["scenario.yaml", "--until", "0s", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["ended_at"], 0);
}

#[test]
fn choices_that_do_not_go_together_are_refused_wherever_each_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let own = format!("order: priority\npreempt: priority\n{SCENARIO}");
    std::fs::write(dir.path().join("preempts.yaml"), own).unwrap();
    let priorities = "`preempt=priority` stops tasks of a lower priority, and jobs go by `order=fifo` here";
    let ahead = |backfill| {
        format!(
            "`preempt=priority` makes room by stopping tasks, and `backfill={backfill}` keeps it for when they end"
        )
    };
    let cases = [
        ("scenario.yaml --policy fifo --preempt priority", priorities.to_owned()),
        ("scenario.yaml --policy priority:preempt=priority --order fifo", priorities.to_owned()),
        ("scenario.yaml --policy priority --preempt priority --backfill easy", ahead("easy")),
        (
            "scenario.yaml --policy drf,priority:preempt=priority --backfill conservative",
            ahead("conservative"),
        ),
        ("preempts.yaml --order fifo", priorities.to_owned()),
        ("preempts.yaml --backfill easy", ahead("easy")),
        ("scenario.yaml --policy priority:ageing=60s --order fifo", "`ageing` raises priorities".to_owned()),
    ];
    for (words, message) in cases {
        let output = simulate(dir.path(), &words.split(' ').collect::<Vec<_>>());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(&message), "{words}: {told}");
    }
    let words = ["preempts.yaml", "--order", "fifo", "--preempt", "none"];
    assert!(simulate(dir.path(), &words).status.success());
}

#[test]
fn options_that_would_change_nothing_about_the_input_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("nodes.csv"), NODES).unwrap();
    std::fs::write(dir.path().join("pods.csv"), PODS).unwrap();
    let lists = "--nodes nodes.csv --pods pods.csv";
    let seeds = "such as `lottery:seed=7` or `drf:placement=random:seed=7`";
    let cases = [
        (
            "scenario.yaml",
            "--agents {\"cpus\":1}",
            "--agents is for logs (`.swf`, `.swf.gz`): the agents of a scenario are",
        ),
        (
            "scenario.yaml",
            "--filter raw",
            "--filter is for logs (`.swf`, `.swf.gz`): scenario.yaml is used as it is",
        ),
        (
            "scenario.yaml",
            "--estimates actual",
            "--estimates is for logs (`.swf`, `.swf.gz`): the jobs of scenario.yaml say",
        ),
        (
            "scenario.yaml",
            "--queue-by none",
            "--queue-by is for logs (`.swf`, `.swf.gz`): the jobs of scenario.yaml say",
        ),
        (
            "scenario.yaml",
            "--demand 1.3",
            "--demand is for the lists of a GPU cluster (`--nodes` and `--pods`): scenario.yaml",
        ),
        ("scenario.yaml", "--seed 1", seeds),
        ("scenario.yaml", "--pods pods.csv", "cannot be used with '--pods <FILE>'"),
        (
            "log.swf",
            "--demand 2",
            "--demand is for the lists of a GPU cluster (`--nodes` and `--pods`): log.swf says",
        ),
        ("log.swf", "--seed 7", seeds),
        ("log.swf", "--pods pods.csv", "cannot be used with '--pods <FILE>'"),
        (
            lists,
            "--agents {\"cpus\":1}",
            "--agents is for logs (`.swf`, `.swf.gz`): the agents are those of the list of nodes",
        ),
        (
            lists,
            "--filter strong",
            "--filter is for logs (`.swf`, `.swf.gz`): pods.csv on nodes.csv is used as it is",
        ),
        (lists, "--estimates requested", "--estimates is for logs (`.swf`, `.swf.gz`): pods never leave"),
        (
            lists,
            "--queue-by user",
            "--queue-by is for logs (`.swf`, `.swf.gz`): all pods go to the queue `openb`",
        ),
    ];
    for (input, option, message) in cases {
        let words: Vec<&str> = input.split(' ').chain(option.split(' ')).collect();
        let output = simulate(dir.path(), &words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(message), "{words:?}: {told}");
    }
    let mut words: Vec<&str> = lists.split(' ').collect();
    words.extend(["--demand", "2", "--seed", "7"]);
    assert!(simulate(dir.path(), &words).status.success());
}

#[test]
fn people_see_the_policies_side_by_side_and_the_rules() {
    let text = out(&["scenario.yaml", "--policy", "drf,fifo"]);
    let begins = |beginning: &str| text.lines().filter(|line| line.starts_with(beginning)).count();
    assert!(begins("drf ") == 3 && begins("fifo ") == 3 && begins("Rules") == 1, "{text}");
    assert!(text.contains("cpus 3, mem 12GB"), "{text}");
}

#[test]
fn start_times_of_a_log_are_written_one_file_a_policy() {
    let dir = tempfile::tempdir().unwrap();
    let starts = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert!(simulate(dir.path(), &["log.swf", "--policy", "fifo", "--starts", "s.csv"]).status.success());
    assert_eq!(starts("s.csv"), "job,start\n1,0\n2,60\n");
    let words = ["log.swf", "--policy", "fifo,drf", "--agents", "1x{cpus: 8}", "--starts", "s.csv"];
    assert!(simulate(dir.path(), &words).status.success());
    assert_eq!(
        (starts("s.fifo.csv"), starts("s.drf.csv")),
        ("job,start\n1,0\n2,5\n".into(), "job,start\n1,0\n2,5\n".into())
    );
}

#[test]
fn mistakes_are_told_with_their_place_and_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("bad.yaml"),
        "events:\n  - at: 0\n    agent: m1\n    resuorces: {cpus: 1}\n",
    )
    .unwrap();
    let cases: [(&[&str], &str); 10] = [
        (
            &["bad.yaml"],
            "bad.yaml:4:5: events[0].resuorces: unknown field `resuorces`: did you mean `resources`?\n  4 |",
        ),
        (&["none.yaml"], "none.yaml cannot be read"),
        (&["scenario.yaml", "--policy", "dfr"], "there is no policy \"dfr\": choose one of"),
        (
            &["scenario.yaml", "--policy", "fifo,fair:resource=cpu"],
            "policy fair:resource=cpu: there is no resource `cpu`: did you mean `cpus`?",
        ),
        (
            &["log.swf", "--policy", "fair:resource=mem"],
            "no agent ever has `mem`, by which queues are to rank: choose from `cpus`",
        ),
        (&["scenario.yaml", "--until", "18446744073709"], "is too long: write at most `365000d`"),
        (&["scenario.yaml", "--agents", "3x{cpus: 1}"], "--agents is for logs"),
        (&["log.swf", "--agents", "three"], "write how many, `x`, and what each has"),
        (&["--nodes", "nodes.csv"], "--pods <FILE>"),
        (&[], "<FILE>"),
    ];
    for (words, message) in cases {
        let output = simulate(dir.path(), words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && told.contains(message), "{words:?}: {told}");
    }
}
