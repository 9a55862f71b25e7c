//! What the guardian of this process has of an agent that was there before it.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use allot_agent_core::ProcessId;
use anyhow::Context;
use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::event::Event;
use crate::guardian::word::{EndOf, Word};
use crate::guardian::{self};

/// How long the guardian may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was left of an earlier process of the agent.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    /// Processes that run, and whose end the guardian will tell.
    held: BTreeSet<i32>,
    /// How others ended.
    ended: Vec<EndOf>,
    lines: Option<Lines<BufReader<tokio::net::UnixStream>>>,
}

impl Inheritance {
    /// Hears what the guardian has; nothing where this process has no guardian.
    ///
    /// # Errors
    /// Where the guardian does not say it.
    pub(crate) async fn receive() -> anyhow::Result<Self> {
        let mut inheritance = Self::default();
        if guardian::above().is_none() {
            return Ok(inheritance);
        }
        let stream = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned()?);
        stream.set_nonblocking(true)?;
        let mut lines = BufReader::new(tokio::net::UnixStream::from_std(stream)?).lines();
        let all = tokio::time::timeout(PATIENCE, inheritance.hear(&mut lines)).await;
        all.context("the guardian of this process does not say what it has")??;
        inheritance.lines = Some(lines);
        Ok(inheritance)
    }

    async fn hear(&mut self, lines: &mut Lines<BufReader<tokio::net::UnixStream>>) -> anyhow::Result<()> {
        loop {
            match next_word(lines).await.context("the guardian of this process is gone")? {
                Word::Holds { pid } => drop(self.held.insert(pid)),
                Word::Ended(end) => self.ended.push(end),
                Word::All => return Ok(()),
            }
        }
    }

    /// True where the guardian will tell how this process ends.
    pub(crate) fn holds(&self, pid: Pid) -> bool {
        self.held.contains(&pid.as_raw_nonzero().get())
    }

    /// How a process ended, where the guardian knows.
    pub(crate) fn end_of(&self, process: ProcessId) -> Option<EndOf> {
        self.ended.iter().find(|end| end.is_of(process)).copied()
    }

    /// Has each further end be an event.
    pub(crate) fn tell(self, events: UnboundedSender<Event>) {
        let Some(mut lines) = self.lines else { return };
        tokio::spawn(async move {
            while let Some(word) = next_word(&mut lines).await {
                if let Word::Ended(end) = word {
                    let _ = events.send(Event::Inherited(end));
                }
            }
        });
    }
}

/// The next word that can be understood; nothing once the guardian says no more.
async fn next_word(lines: &mut Lines<BufReader<tokio::net::UnixStream>>) -> Option<Word> {
    loop {
        let line = lines.next_line().await.ok().flatten()?;
        match serde_json::from_str(&line) {
            Ok(word) => return Some(word),
            Err(error) => warn!(%error, "the guardian says something that this agent does not know"),
        }
    }
}
