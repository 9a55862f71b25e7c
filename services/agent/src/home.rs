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
        match known.filter(|known| known.agent == *agent && known.boot_id == boot_id) {
            Some(known) => Ok(known),
            None => self.new_identity(agent, boot_id),
        }
    }

    /// Begins a new life, for what the old one knew cannot be read.
    ///
    /// # Errors
    /// Where the identity cannot be written.
    pub(crate) fn reborn(&self, old: &Identity) -> anyhow::Result<Identity> {
        self.new_identity(&old.agent, old.boot_id.clone())
    }

    fn new_identity(&self, agent: &AgentId, boot_id: String) -> anyhow::Result<Identity> {
        let incarnation = Incarnation(RandomState::new().build_hasher().finish());
        let disk_bytes = machine::disk_bytes(&self.dir);
        let identity = Identity { agent: agent.clone(), incarnation, boot_id, disk_bytes };
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
        assert_ne!(home.identity(&id("a")).unwrap().incarnation, first.incarnation);
        assert!(!home.journal().exists(), "the new life remembers nothing");
    }

    #[test]
    fn another_agent_in_the_same_directory_is_another_life() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        assert_ne!(
            home.identity(&id("a")).unwrap().incarnation,
            home.identity(&id("b")).unwrap().incarnation
        );
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
