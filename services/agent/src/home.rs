//! The agent's directory: who it is, its journal, its tasks. One agent at a time.

use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};

use allot_model::{AgentId, AttemptId, Incarnation};
use anyhow::Context;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::machine;

/// How many lives before the present one are remembered.
const MOST_ENDED: usize = 16;

/// The agent's directory, locked for as long as this lives.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    _lock: File,
}

/// Who the agent is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its id.
    pub(crate) agent: AgentId,
    /// Its life.
    pub(crate) incarnation: Incarnation,
    /// The lives before it that this directory knows of, oldest first. They are over.
    #[serde(default)]
    pub(crate) ended: Vec<Incarnation>,
    /// Changes with each start of the machine. What ran before is gone with it, so the life ends too.
    boot_id: String,
    /// What was free for tasks on the disk when the life began. Kept, for tasks use it up.
    pub(crate) disk_bytes: u64,
}

impl Home {
    /// Makes the directory where it is missing, and locks it.
    ///
    /// # Errors
    /// Where the directory cannot be used, or another agent uses it.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir.join("tasks")).with_context(|| {
            format!("cannot make the directory {}: set `data_dir` to one that can be written", dir.display())
        })?;
        let dir = dir.canonicalize()?;
        let path = dir.join("lock");
        let lock = File::options().create(true).append(true).open(&path)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .with_context(|| format!("another agent uses {}: give each its own `data_dir`", dir.display()))?;
        Ok(Self { dir, _lock: lock })
    }

    /// The journal's file.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Where the directories of tasks are.
    pub(crate) fn tasks(&self) -> PathBuf {
        self.dir.join("tasks")
    }

    /// Who the agent is: as before where it is the same agent on a machine that has not restarted since, otherwise
    /// new, with nothing to remember.
    ///
    /// # Errors
    /// Where the identity cannot be written.
    pub(crate) fn identity(&self, agent: &AgentId) -> anyhow::Result<Identity> {
        let boot_id = machine::boot_id().context("cannot read when the machine was started")?;
        let known = fs::read(self.dir.join("identity")).ok();
        let known = known.and_then(|bytes| serde_json::from_slice::<Identity>(&bytes).ok());
        match known.filter(|known| known.agent == *agent) {
            Some(known) if known.boot_id == boot_id => Ok(known),
            known => self.new_identity(agent, boot_id, known.as_ref()),
        }
    }

    /// Begins a new life, for what the old one knew cannot be read.
    ///
    /// # Errors
    /// Where the identity cannot be written.
    pub(crate) fn reborn(&self, old: &Identity) -> anyhow::Result<Identity> {
        self.new_identity(&old.agent, old.boot_id.clone(), Some(old))
    }

    fn new_identity(
        &self,
        agent: &AgentId,
        boot_id: String,
        before: Option<&Identity>,
    ) -> anyhow::Result<Identity> {
        let incarnation = Incarnation(RandomState::new().build_hasher().finish());
        let lives = before.into_iter().flat_map(|known| known.ended.iter().chain([&known.incarnation]));
        let mut ended: Vec<Incarnation> = lives.copied().collect();
        ended.drain(..ended.len().saturating_sub(MOST_ENDED));
        let disk_bytes = machine::disk_bytes(&self.dir);
        let identity = Identity { agent: agent.clone(), incarnation, ended, boot_id, disk_bytes };
        self.set_journal_aside()?;
        write_whole(&self.dir.join("identity"), &serde_json::to_vec(&identity)?)
            .with_context(|| format!("cannot write to {}", self.dir.display()))?;
        Ok(identity)
    }

    fn set_journal_aside(&self) -> std::io::Result<()> {
        match fs::rename(self.journal(), self.dir.join("journal.old")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes a file so that at no time there is half of it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    fs::rename(new, path)
}

/// The name of an attempt's directory: `12.3.1`.
pub(crate) fn task_dir_name(attempt: AttemptId) -> String {
    format!("{}.{}", attempt.task, attempt.attempt)
}

/// The attempt whose directory has this name.
pub(crate) fn attempt_of_dir(name: &str) -> Option<AttemptId> {
    let (task, attempt) = name.rsplit_once('.')?;
    format!("{task}#{attempt}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AgentId {
        AgentId::new(text).unwrap()
    }

    #[test]
    fn an_agent_is_the_same_until_its_machine_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let first = home.identity(&id("a")).unwrap();
        assert_eq!(home.identity(&id("a")).unwrap(), first);
        let other_boot = Identity { boot_id: "another".into(), ..first.clone() };
        fs::write(dir.path().join("identity"), serde_json::to_vec(&other_boot).unwrap()).unwrap();
        fs::write(home.journal(), "old").unwrap();
        let second = home.identity(&id("a")).unwrap();
        assert_ne!(second.incarnation, first.incarnation);
        assert_eq!(second.ended, [first.incarnation], "which is over, as the machine has restarted since");
        assert!(!home.journal().exists(), "the new life remembers nothing");
    }

    #[test]
    fn another_agent_in_the_same_directory_is_another_life() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let first = home.identity(&id("a")).unwrap();
        let other = home.identity(&id("b")).unwrap();
        assert_ne!(other.incarnation, first.incarnation);
        assert!(other.ended.is_empty(), "nothing is known of that agent's lives");
    }

    #[test]
    fn lives_that_are_over_are_remembered_the_last_of_them_at_least() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let mut lives = vec![home.identity(&id("a")).unwrap()];
        for _ in 0..MOST_ENDED + 3 {
            lives.push(home.reborn(lives.last().unwrap()).unwrap());
        }
        let last = home.identity(&id("a")).unwrap();
        let before = lives[..lives.len() - 1].iter().map(|life| life.incarnation);
        assert_eq!(last.ended, before.skip(3).collect::<Vec<_>>());
    }

    #[test]
    fn two_agents_cannot_use_one_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path()).unwrap();
        assert!(Home::open(dir.path()).unwrap_err().to_string().contains("another agent uses"));
        drop(first);
        Home::open(dir.path()).unwrap();
    }

    #[test]
    fn a_task_directory_is_named_for_its_attempt() {
        let attempt = "12.3#2".parse().unwrap();
        assert_eq!(task_dir_name(attempt), "12.3.2");
        assert_eq!(attempt_of_dir("12.3.2"), Some(attempt));
        assert_eq!(attempt_of_dir("lost+found"), None);
    }
}
