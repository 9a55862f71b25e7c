//! Golden transcripts: what happens to the dispatcher, and all that it does about it, as text.
//!
//! In a file of `transcripts/` a line that begins with `>` is an input, the lines below it are what came out, each with
//! the time since the start. After a wanted change of behaviour write them anew with `ALLOT_UPDATE_TRANSCRIPTS=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod harness;

use std::path::Path;

use allot_model::*;
use harness::*;

/// Carries out one input line.
fn act(house: &mut House, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let run = |text: &str| text.parse::<AttemptRun>().unwrap();
    let agent = |text: &str| agent_id(text);
    match words[..] {
        ["submit", "tasks", tasks, ref rest @ ..] => {
            house.submit(described(spec(tasks.parse().unwrap()), rest));
        }
        ["join", id, "life", life] => house.join(id, life.parse().unwrap()),
        ["unreachable", id] => house.registry(RegistryRecord::AgentUnreachable { agent: agent(id) }),
        ["returned", id] => house.registry(RegistryRecord::AgentReturned { agent: agent(id) }),
        ["gone", id] => house.registry(RegistryRecord::AgentGone { agent: agent(id) }),
        ["drain", id, "kill"] => {
            house.registry(RegistryRecord::AgentDraining { agent: agent(id), kill: true })
        }
        ["allocated", attempts, "on", id] => house.allocate(id, run(attempts)),
        ["preempted", attempts, "on", id, "for", job] => {
            house.preempt(id, run(attempts), job.parse().unwrap());
        }
        ["started", attempts, "on", id] => house.started(id, run(attempts)),
        ["finished", attempts, "on", id] => house.ended(id, run(attempts), FINE),
        ["failed", attempts, "on", id] => house.ended(id, run(attempts), BAD),
        ["killed", attempts, "on", id] => {
            house.ended(id, run(attempts), (TaskState::Killed, Reason::CancelledByUser));
        }
        ["unknown", attempts, "on", id] => {
            house.ended(id, run(attempts), (TaskState::Gone, Reason::UnknownToAgent));
        }
        ["queue", name, ref rest @ ..] => house.set_queue(settings(name, rest)),
        ["cancel", job] => house.cancel(job.parse().unwrap()),
        ["pass", span] => house.pass(span.parse().unwrap()),
        ["replace"] => house.restart(),
        _ => panic!("no such input: {line}"),
    }
}

/// The job with `retries N`, `after N` and `retry elsewhere` as the words say.
fn described(spec: JobSpec, words: &[&str]) -> JobSpec {
    match *words {
        [] => spec,
        ["retries", count, ref rest @ ..] => {
            described(JobSpec { retries: count.parse().unwrap(), ..spec }, rest)
        }
        ["after", job, ref rest @ ..] => {
            described(JobSpec { after: vec![JobId(job.parse().unwrap())], ..spec }, rest)
        }
        ["retry", "elsewhere", ref rest @ ..] => {
            described(JobSpec { on_unreachable: OnUnreachable::Retry, ..spec }, rest)
        }
        _ => panic!("no such job: {words:?}"),
    }
}

/// What is to be set: `weight N`, `limit cpus=4,mem=none`, `no limit`, and the same of `guarantee`; `hold always`.
fn settings(name: &str, words: &[&str]) -> QueueSetCommand {
    let command = |rest: &[&str]| settings(name, rest);
    match *words {
        [] => set(name),
        ["weight", weight, ref rest @ ..] => {
            QueueSetCommand { weight: Some(weight.parse().unwrap()), ..command(rest) }
        }
        ["no", "guarantee", ref rest @ ..] => QueueSetCommand { no_guarantee: true, ..command(rest) },
        ["guarantee", guarantee, ref rest @ ..] => {
            QueueSetCommand { guarantee: guarantee.parse().unwrap(), ..command(rest) }
        }
        ["hold", when, ref rest @ ..] => {
            QueueSetCommand { hold_back: Some(when.parse().unwrap()), ..command(rest) }
        }
        ["no", "limit", ref rest @ ..] => QueueSetCommand { no_limit: true, ..command(rest) },
        ["limit", limit, ref rest @ ..] => QueueSetCommand { limit: limit.parse().unwrap(), ..command(rest) },
        _ => panic!("nothing to be set: {words:?}"),
    }
}

/// The same transcript with what comes out now.
fn play(transcript: &str) -> String {
    let mut house = House::new();
    let mut played = String::new();
    for line in transcript.lines().filter(|line| !line.starts_with("  ")) {
        played.push_str(line);
        played.push('\n');
        if let Some(input) = line.strip_prefix('>') {
            act(&mut house, input);
        }
        house.told.drain(..).for_each(|told| played.push_str(&format!("  {told}\n")));
    }
    played
}

#[test]
fn the_dispatcher_does_what_its_transcripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let update = std::env::var_os("ALLOT_UPDATE_TRANSCRIPTS").is_some();
    let files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty());
    for path in files {
        let golden = std::fs::read_to_string(&path).unwrap();
        let played = play(&golden);
        if update {
            std::fs::write(&path, played).unwrap();
        } else {
            assert!(played == golden, "{} is played as:\n{played}", path.display());
        }
    }
}
