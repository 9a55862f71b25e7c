//! The documents that people follow command by command, followed command by command.
//!
//! A block of `sh` is run in bash; the block of `text` after it is what it prints, line by line. In it `…` stands for any
//! text, alone on its line for any lines; points in time, lengths of time and the widths of columns may differ. A remark
//! before a block of `sh` says what else there is to it: `<!-- exits with 2 -->`, `<!-- not run: why -->`. `allot up` is
//! started beside the others. What only looks is looked at again until it shows what the document shows, as a person
//! would who is not as fast as a test.

use std::path::Path;

use allot_testkit::{PATIENCE, within};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use crate::Up;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A block of commands, and what is said of it.
#[derive(Debug, Default)]
struct Block {
    line: usize,
    script: String,
    exits_with: i32,
    not_run: bool,
    prints: Option<Vec<String>>,
}

/// The blocks of a document.
fn blocks(text: &str) -> Vec<Block> {
    let (mut blocks, mut remark): (Vec<Block>, _) = (Vec::new(), String::new());
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        match line {
            "```sh" => {
                let script: Vec<&str> =
                    lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
                let code = remark.strip_prefix("<!-- exits with ").and_then(|rest| rest.strip_suffix(" -->"));
                blocks.push(Block {
                    line: at + 1,
                    script: script.join("\n"),
                    exits_with: code.map_or(0, |code| code.parse().unwrap()),
                    not_run: remark.starts_with("<!-- not run"),
                    prints: None,
                });
            }
            "```text" => {
                let said = lines.by_ref().map(|(_, line)| line.to_owned()).take_while(|line| line != "```");
                let last =
                    blocks.last_mut().unwrap_or_else(|| panic!("line {}: whose output is this?", at + 1));
                assert!(last.prints.replace(said.collect()).is_none(), "line {}: the second output", at + 1);
            }
            _ if line.starts_with("```") => {
                lines.by_ref().find(|(_, line)| *line == "```");
            }
            _ => {}
        }
        if !line.is_empty() {
            remark = line.to_owned();
        }
    }
    blocks
}

/// True where the commands change nothing, so that they may be given again.
fn only_looks(script: &str) -> bool {
    let looks = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let looking = matches!(
            words.as_slice(),
            ["allot", "jobs" | "job" | "why" | "queues" | "agents" | "doctor" | "events", ..]
                | ["allot", "agent", "show", ..]
                | ["allot", "policy"]
        );
        looking && !words.contains(&"-f")
    };
    script.lines().all(looks)
}

/// A line as it is compared: without the widths of columns, and with one word for all points and lengths of time.
fn comparable(line: &str) -> String {
    let words: Vec<&str> =
        line.split_whitespace().map(|word| if is_length(word) { "LENGTH" } else { word }).collect();
    let text = words.join(" ").replace("LENGTH ago", "TIME").replace("in LENGTH", "TIME");
    let moment =
        |word: &str| word == "now" || (word.len() == "2026-11-22T17:04:31.123Z".len() && word.ends_with('Z'));
    let words = text.split(' ').map(|word| if moment(word) { "TIME" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// `3s`, `1.5s`, `107ms`, `2m05s`.
fn is_length(word: &str) -> bool {
    let word = word.trim_end_matches([',', ')']);
    let numbers = |c: char| c.is_ascii_digit() || c == '.';
    word.starts_with(|c: char| c.is_ascii_digit())
        && ["ms", "s", "m", "h", "d"].iter().any(|unit| {
            word.strip_suffix(unit).is_some_and(|rest| rest.chars().all(|c| numbers(c) || "dhm".contains(c)))
        })
}

/// True where the line is as the document has it.
fn fits_line(wanted: &str, line: &str) -> bool {
    let (wanted, line) = (comparable(wanted), comparable(line));
    let mut parts = wanted.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first.trim_end())) else {
        return false;
    };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part.trim()) else { return false };
        rest = &rest[at + part.trim().len()..];
        last = part;
    }
    rest.is_empty() || (wanted.ends_with('…') && last.is_empty())
}

/// True where the lines are as the document has them.
fn fits(wanted: &[String], lines: &[&str]) -> bool {
    match (wanted.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, after)), _) if first == "…" => {
            (0..=lines.len()).any(|skip| fits(after, &lines[skip..]))
        }
        (Some((first, after)), Some((line, rest))) => fits_line(first, line) && fits(after, rest),
        _ => false,
    }
}

/// Follows a document from its first command to its last.
async fn follow(document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let dir = TempDir::new().unwrap();
    let mut up = None;
    let mut run = 0;
    for block in blocks(&text).iter().filter(|block| !block.not_run) {
        if let Some(words) = block.script.strip_prefix("allot up") {
            assert!(up.is_none(), "{document}:{}: one cluster is enough", block.line);
            let words: Vec<&str> = words.split_whitespace().collect();
            let given = words.iter().position(|word| *word == "--data-dir").map_or(0, |at| at + 2);
            up = Some(Up::start(&dir.path().join("data"), &words[given..]).await);
            continue;
        }
        let url = up.as_ref().map_or_else(String::new, |up: &Up| up.url.clone());
        within("the commands end", check(document, block, dir.path(), &url)).await;
        run += 1;
    }
    assert!(run > 10, "{document}: its commands were found");
    up.unwrap().stop().await;
}

async fn check(document: &str, block: &Block, dir: &Path, url: &str) {
    let begun = Instant::now();
    loop {
        let (code, said) = bash(&block.script, dir, url).await;
        let lines: Vec<&str> = said.trim_end().lines().collect();
        if code == block.exits_with && block.prints.as_ref().is_none_or(|wanted| fits(wanted, &lines)) {
            return;
        }
        let patient = only_looks(&block.script) && begun.elapsed() < PATIENCE - 5 * PAUSE;
        let wanted = block.prints.as_ref().map(|lines| lines.join("\n")).unwrap_or_default();
        assert!(
            patient,
            "{document}:{}: {}\nexits with {code} and prints\n{said}\nand not {}\n{wanted}",
            block.line, block.script, block.exits_with
        );
        sleep(PAUSE).await;
    }
}

/// Runs commands as one types them; what they print to either output is told as it came.
async fn bash(script: &str, dir: &Path, url: &str) -> (i32, String) {
    let programs = Path::new(env!("CARGO_BIN_EXE_allot")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-e", "-o", "pipefail", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(dir)
        .env("PATH", path)
        .env("ALLOT_NATS", url)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() {
    follow("tutorial.md").await;
}

#[tokio::test]
async fn what_those_who_come_from_elsewhere_are_told_to_type_works() {
    follow("coming-from.md").await;
}

#[test]
fn what_a_document_shows_is_compared_line_by_line() {
    let fits_both = |wanted: &str, said: &str| {
        let wanted: Vec<String> = wanted.lines().map(str::to_owned).collect();
        fits(&wanted, &said.lines().collect::<Vec<_>>())
    };
    for (wanted, said, yes) in [
        ("a  b", "a b", true),
        ("a", "a\nb", false),
        ("a\n…", "a\nb\nc", true),
        ("…\nc", "a\nb\nc", true),
        ("…\nd", "a\nb\nc", false),
        ("job 1 …, exit", "job 1 was here, exit", true),
        ("job 1 …, exit", "job 2 was here, exit", false),
        ("x … y", "x y z", false),
        ("3s ago  1.5s", "now  107ms", true),
        ("in 5s", "12m ago", true),
        ("3s ago", "3 tasks", false),
        ("2026-11-22T17:04:31.123Z  a", "2027-01-01T00:00:00.000Z  a", true),
        ("", "x", false),
    ] {
        assert_eq!(fits_both(wanted, said), yes, "{wanted:?} {said:?}");
    }
}
