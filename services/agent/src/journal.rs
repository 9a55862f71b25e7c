//! The journal's file: one entry a line, as JSON.
//!
//! It is written before what it says is done, and not synchronised to the disk: what it is for is an agent that is
//! killed, and what the kernel has taken survives that. A machine that restarts has lost its processes, and with them
//! the life of the agent that the journal belongs to.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use allot_agent_core::{JournalEntry, Memory};
use rustix::fs::FallocateFlags;
use tracing::warn;

use crate::home::write_whole;

/// A journal is not rewritten before it is this long.
const LEAST_REWRITE_BYTES: u64 = 8 << 20;
/// A journal is rewritten when it is this much longer than what was written last time.
const REWRITE_FACTOR: u64 = 4;
/// How much room the disk is to keep for entries to come, at least.
const RESERVE_BYTES: u64 = 1 << 20;

/// The journal, open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Up to here the disk has room for it, whatever else is written there.
    reserved: u64,
    rewrite_at: u64,
    buffer: Vec<u8>,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {path} cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not an entry.
    #[error("line {line} of the journal {path} cannot be read")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A line is an entry that no agent writes.
    #[error("line {line} of the journal {path} cannot be so: {problem}")]
    Entry {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl Journal {
    /// Opens the journal, and reads what is in it. A last line that was not written to its end was never acted upon,
    /// and is dropped.
    ///
    /// # Errors
    /// [`JournalError`] where it cannot be read or written.
    pub(crate) fn open(path: &Path) -> Result<(Self, Vec<JournalEntry>), JournalError> {
        let unusable = |source| JournalError::File { path: path.to_owned(), source };
        let text = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            other => other.map_err(unusable)?,
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let entries = read_lines(path, &text[..whole])?;
        let file = open_at(path, whole as u64).map_err(unusable)?;
        let (path, bytes) = (path.to_owned(), whole as u64);
        let (reserved, rewrite_at) = (0, rewrite_at(bytes));
        let mut journal = Self { path, file, bytes, reserved, rewrite_at, buffer: Vec::new() };
        journal.reserve();
        Ok((journal, entries))
    }

    /// Has the disk keep room for entries to come: a task that fills it must not keep the agent from noting, and so
    /// from doing, anything.
    fn reserve(&mut self) {
        if self.reserved >= self.bytes + RESERVE_BYTES {
            return;
        }
        let wanted = self.bytes + 2 * RESERVE_BYTES;
        // Where that cannot be had, the next write says so if it matters.
        if rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, wanted).is_ok() {
            self.reserved = wanted;
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an entry to those that the next [`Journal::write`] writes.
    pub(crate) fn push(&mut self, entry: &JournalEntry) {
        // Writing to memory what has only texts for keys cannot fail.
        let written = serde_json::to_writer(&mut self.buffer, entry);
        debug_assert!(written.is_ok());
        self.buffer.push(b'\n');
    }

    /// Writes what was pushed. Nothing that is not in the journal may be done.
    ///
    /// # Errors
    /// Where the disk does not take it. It stays to be written.
    pub(crate) fn write(&mut self) -> std::io::Result<()> {
        if !self.buffer.is_empty() {
            self.try_write()?;
            self.buffer.clear();
            self.reserve();
        }
        Ok(())
    }

    fn try_write(&mut self) -> std::io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        match written {
            Ok(()) => self.bytes += self.buffer.len() as u64,
            // A part of it may have been written. What was reserved goes with it.
            Err(_) => {
                self.reserved = 0;
                cut(&mut self.file, self.bytes)?;
            }
        }
        written
    }

    /// Rewrites the journal as what it amounts to, where it has grown long.
    pub(crate) fn rewrite_if_long(&mut self, memory: &Memory) {
        if self.bytes < self.rewrite_at {
            return;
        }
        if let Err(error) = self.rewrite(memory) {
            warn!(path = %self.path.display(), %error, "the journal cannot be rewritten, it grows on");
        }
        self.rewrite_at = rewrite_at(self.bytes);
    }

    fn rewrite(&mut self, memory: &Memory) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(&JournalEntry::Snapshot(Box::new(memory.clone())))?;
        line.push(b'\n');
        write_whole(&self.path, &line)?;
        self.bytes = line.len() as u64;
        self.file = open_at(&self.path, self.bytes)?;
        self.reserved = 0;
        self.reserve();
        Ok(())
    }
}

fn rewrite_at(bytes: u64) -> u64 {
    bytes.saturating_mul(REWRITE_FACTOR).max(LEAST_REWRITE_BYTES)
}

fn read_lines(path: &Path, text: &[u8]) -> Result<Vec<JournalEntry>, JournalError> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |(at, line): (usize, &[u8])| {
        let (path, number) = (|| path.to_owned(), at + 1);
        let entry: JournalEntry = serde_json::from_slice(line).map_err(|source| JournalError::Line {
            path: path(),
            line: number,
            source,
        })?;
        entry.check().map_err(|problem| JournalError::Entry { path: path(), line: number, problem })?;
        Ok(entry)
    };
    lines.enumerate().map(read).collect()
}

/// Opens the file for writing from `end` on; what is beyond is cut off.
fn open_at(path: &Path, end: u64) -> std::io::Result<File> {
    let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
    cut(&mut file, end)?;
    Ok(file)
}

fn cut(file: &mut File, end: u64) -> std::io::Result<()> {
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(sequence: u64) -> JournalEntry {
        JournalEntry::Acknowledged { sequence }
    }

    #[test]
    fn what_was_written_is_read_again_without_a_torn_last_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert!(entries.is_empty());
        journal.push(&acknowledged(1));
        journal.push(&acknowledged(2));
        journal.write().unwrap();
        let torn = [std::fs::read(&path).unwrap(), b"{\"acknow".to_vec()].concat();
        std::fs::write(&path, torn).unwrap();
        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert_eq!(entries, [acknowledged(1), acknowledged(2)]);
        journal.push(&acknowledged(3));
        journal.write().unwrap();
        assert_eq!(Journal::open(&path).unwrap().1.len(), 3);
    }

    #[test]
    fn there_is_always_room_for_a_megabyte_of_entries() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let room = || {
            let file = std::fs::metadata(&path).unwrap();
            (file.blocks() * 512).saturating_sub(file.len())
        };
        let (mut journal, _) = Journal::open(&path).unwrap();
        assert!(room() >= RESERVE_BYTES);
        for sequence in 0..60_000 {
            journal.push(&acknowledged(sequence));
        }
        journal.write().unwrap();
        assert!(journal.bytes > RESERVE_BYTES && room() >= RESERVE_BYTES);
        drop(journal);
        let (mut journal, entries) = Journal::open(&path).unwrap();
        assert!(entries.len() == 60_000 && room() >= RESERVE_BYTES, "reserved room is no part of it");
        journal.rewrite_at = 1;
        journal.rewrite_if_long(&Memory::default());
        assert!(journal.bytes < 10_000 && room() >= RESERVE_BYTES);
    }

    #[test]
    fn an_entry_that_the_disk_does_not_take_is_written_once_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        journal.push(&acknowledged(1));
        journal.write().unwrap();
        let good =
            std::mem::replace(&mut journal.file, File::options().write(true).open("/dev/full").unwrap());
        journal.push(&acknowledged(2));
        assert!(journal.write().is_err(), "no space is left");
        journal.file = good;
        journal.write().unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, [acknowledged(1), acknowledged(2)]);
    }

    #[test]
    fn a_long_journal_is_rewritten_as_what_it_amounts_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _) = Journal::open(&path).unwrap();
        let mut memory = Memory::default();
        let starting =
            |job: u64| JournalEntry::Starting { run: format!("{job}.0#1").parse().unwrap(), hold: None };
        for job in 1..=3 {
            memory.fold(starting(job));
            journal.push(&starting(job));
        }
        journal.write().unwrap();
        journal.rewrite_at = 1;
        journal.rewrite_if_long(&memory);
        journal.push(&starting(4));
        journal.write().unwrap();
        memory.fold(starting(4));
        let mut read = Memory::default();
        let entries = Journal::open(&path).unwrap().1;
        assert_eq!(entries.len(), 2);
        entries.into_iter().for_each(|entry| read.fold(entry));
        assert_eq!(read, memory);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "{\"acknowledged\":{\"sequence\":1}}\n{\"unheard\":1}\n").unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        std::fs::write(&path, "{\"starting\":{\"run\":\"1.0-4294967295#1\"}}\n").unwrap();
        let error = Journal::open(&path).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("1.0-4294967295#1"), "{error}");
    }
}
