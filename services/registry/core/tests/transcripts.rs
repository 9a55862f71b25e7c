//! Golden transcripts: what happens to the registry, and all that it does about it, as text.
//!
//! In a file of `transcripts/` a line that begins with `>` is an input, the lines below it are what came out, each with
//! the time since the start. After a wanted change of behaviour write them anew with `ALLOT_UPDATE_TRANSCRIPTS=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is how a test fails")]

mod harness;

use std::path::Path;

use allot_model::AgentsQuery;
use allot_registry_core::Input;
use harness::*;

/// Carries out one input line.
fn act(house: &mut House, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["hello", agent, "life", life, "cpus", cpus] => {
            house.hello(&facts(agent, life.parse().unwrap(), cpus.parse().unwrap()));
        }
        ["hello", agent, "stranger", life] => {
            house.hello_of_a_stranger(&facts(agent, life.parse().unwrap(), 1));
        }
        ["beat", agent, "life", life] => house.beat(agent, life.parse().unwrap()),
        ["drain", agent] => house.drain(agent, false),
        ["drain", agent, "kill"] => house.drain(agent, true),
        ["undrain", agent] => house.undrain(agent),
        ["gone", agent] => house.gone(agent),
        ["list"] => house.give(Input::ListAgents(reply(), AgentsQuery::default())),
        ["allocated", agent, attempts] => house.allocated(agent, run(attempts)),
        ["returned", agent, attempts] => house.returned(agent, run(attempts)),
        ["ended", agent, attempts] => house.ended(agent, run(attempts)),
        ["deaf"] => house.deaf = true,
        ["hears"] => house.hears(),
        ["freeze", span] => house.freeze(span.parse().unwrap()),
        ["pass", span] => house.pass(span.parse().unwrap()),
        ["replace"] => house.replace(),
        _ => panic!("no such input: {line}"),
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
        for told in house.told.drain(..) {
            played.push_str(&format!("  {told}\n"));
        }
    }
    played
}

#[test]
fn the_registry_does_what_its_transcripts_say() {
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
