//! Job files that are not well-formed: `allot submit` says where, and sends nothing.

#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use allot_bus::Stream;
use allot_testkit::NatsServer;

fn submit(url: &str, dir: &Path, file: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allot"));
    command.args(["submit", file]).current_dir(dir).env("ALLOT_NATS", url).stdin(Stdio::null());
    command.output().unwrap()
}

/// A name for a file, what is in it, and how what is said about it begins.
fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let toml = |text: &str| format!("command = [\"true\"]\n{text}").into_bytes();
    let yaml = |text: &str| format!("command: [\"true\"]\n{text}").into_bytes();
    let json = |text: &str| format!("{{\n  \"command\": [\"true\"],\n  {text}\n}}").into_bytes();
    let mut many = String::new();
    for n in 0..20_000 {
        writeln!(many, "    \"line {n}\",").unwrap();
    }
    vec![
        ("empty.toml", Vec::new(), "empty.toml: empty: write a job"),
        ("binary.toml", b"\x00\xff\xfe".to_vec(), "binary.toml: not text: byte 2 is not UTF-8"),
        ("binary", b"\x7fELF\x02\x01".to_vec(), "binary:1:"),
        ("huge.json", json(&format!("\"env\": [\n{many}]")), "huge.json: 3"),
        ("type.toml", toml("tasks = \"3\"\n"), "type.toml:2:1: tasks: the text `3` is given"),
        ("type.yaml", yaml("\ntasks: [3]\n"), "type.yaml:3:1: tasks: a list is given"),
        ("type.json", json("\"tasks\": {}"), "type.json:3:3: tasks: an object is given"),
        ("unknown.toml", toml("[resources]\ncpu = 1\n"), "unknown.toml:3:1: resources.cpu: "),
        ("unknown.yaml", yaml("tsks: 1\n"), "unknown.yaml:2:1: tsks: unknown field"),
        ("unknown.json", json("\"resources\": {\"memory\": 1}"), "unknown.json:3:17: resources.memory: "),
        ("twice.toml", toml("tasks = 1\ntasks = 2\n"), "twice.toml:3:1: duplicate key"),
        ("twice.yaml", yaml("tasks: 1\ntasks: 2\n"), "twice.yaml:2:1: tasks: given twice"),
        ("twice.json", json("\"tasks\": 1, \"tasks\": 2"), "twice.json:3:3: tasks: given twice"),
        ("negative.toml", toml("retries = -1\n"), "negative.toml:2:1: retries: the number `-1`"),
        (
            "zero.yaml",
            yaml("resources:\n  mem: 1GiB\n  cpus: 0\n"),
            "zero.yaml:4:3: resources.cpus: `0` asks",
        ),
        ("over.json", json("\"tasks\": 99999999999999999999"), "over.json:3:3: tasks: the number"),
        (
            "over.toml",
            toml("tasks = 99999999999999999999\n"),
            "over.toml:2:1: tasks: the number `99999999999999999999`",
        ),
        ("deep.json", json(&format!("\"a\": {}", "[".repeat(1_000))), "deep.json:3:1"),
        ("deep.yaml", yaml(&format!("a: {}", "[".repeat(1_000))), "deep.yaml:2:1"),
        ("deep.toml", toml(&format!("a = {}", "[".repeat(1_000))), "deep.toml:2:"),
        ("cut.json", b"{\n  \"command\": [\"tr".to_vec(), "cut.json:2:1"),
        ("cut.toml", toml("name = \"a"), "cut.toml:2:1"),
        ("cut.yaml", yaml("name: \"a"), "cut.yaml:2:"),
        (
            "place.toml",
            toml("constraints = [\n  \"zone == b\",\n  \"rack ~ c\",\n]\n"),
            "place.toml:4:3: constraints[1]: ",
        ),
    ]
}

#[tokio::test]
async fn each_is_refused_with_its_place_and_nothing_is_sent() {
    let server = NatsServer::start().await.unwrap();
    let bus = server.bus_with_streams().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (file, bytes, beginning) in cases() {
        std::fs::write(dir.path().join(file), bytes).unwrap();
        let output = submit(&server.url(), dir.path(), file);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{file}: {said}");
        assert!(said.starts_with(&format!("allot: {beginning}")), "{file}: {said}");
        assert!(output.stdout.is_empty() && said.len() < 2_000, "{file}: {said}");
    }
    let mut inbox = bus.jetstream().get_stream(Stream::Inbox.name()).await.unwrap();
    assert_eq!(inbox.info().await.unwrap().state.messages, 0);
}
