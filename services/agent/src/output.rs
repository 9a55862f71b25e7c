//! What an attempt writes: two files in its directory, each with a cap.
//!
//! The process writes to the files itself. A file that grows over the cap loses its oldest part: a hole is punched
//! there, so that places in the output keep their numbers and the process never notices.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use allot_model::AttemptId;
use allot_model::view::LogStream;
use rustix::fs::{FallocateFlags, SeekFrom};

use crate::home::{attempt_of_dir, task_dir_name};
use crate::machine;

/// Both outputs.
pub(crate) const STREAMS: [LogStream; 2] = [LogStream::Stdout, LogStream::Stderr];
/// Holes begin and end at the borders of blocks.
const BLOCK: u64 = 4_096;
/// How many empty directories are kept to be used again.
const MOST_SPARES: usize = 256;
/// What their names begin with.
const SPARE_PREFIX: &str = ".spare.";

/// A part of an output.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chunk {
    /// The place of its first byte.
    pub(crate) offset: u64,
    /// How long the output is so far, what was dropped included.
    pub(crate) size: u64,
    /// The part itself.
    pub(crate) bytes: Vec<u8>,
}

/// Where attempts have their directories.
///
/// Directories of attempts that are over are used again where that can be done: filesystems are slow to give out the
/// inodes of files that were removed a moment ago, and under load that would cost more than the processes themselves.
#[derive(Debug, Clone)]
pub(crate) struct TaskDirs {
    root: PathBuf,
    /// Empty directories to be used again.
    spares: Arc<Mutex<Vec<PathBuf>>>,
}

impl TaskDirs {
    /// Directories below this one.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, spares: Arc::default() }
    }

    /// How much is free there, if the system says.
    pub(crate) fn free_bytes(&self) -> Option<u64> {
        machine::free_bytes(&self.root)
    }

    /// The attempts that have a directory.
    pub(crate) fn attempts(&self) -> Vec<AttemptId> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter_map(|name| attempt_of_dir(&name)).collect()
    }

    /// The directory of an attempt.
    pub(crate) fn of(&self, attempt: AttemptId) -> PathBuf {
        self.root.join(task_dir_name(attempt))
    }

    /// The attempt whose directory this is, or is in.
    pub(crate) fn attempt_at(&self, path: &Path) -> Option<AttemptId> {
        let name = path.strip_prefix(&self.root).ok()?.components().next()?;
        attempt_of_dir(name.as_os_str().to_str()?)
    }

    /// Makes the directory of an attempt, with empty outputs or none.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn make(&self, attempt: AttemptId) -> Result<PathBuf> {
        let dir = self.of(attempt);
        let spare = self.with_spares(Vec::pop);
        // Where something is in the way, the spare one is lost to us, and removed at the next start.
        if spare.is_some_and(|spare| fs::rename(spare, &dir).is_ok()) {
            return Ok(dir);
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o750);
        match builder.create(&dir) {
            // Of another cluster, or of a life that is not remembered.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&dir)?;
                builder.create(&dir)?;
            }
            other => other?,
        }
        Ok(dir)
    }

    /// Removes the directory of an attempt and all that is in it. Where nobody can be using it, it may be kept to be
    /// used again.
    ///
    /// # Errors
    /// Where something in it cannot be removed.
    pub(crate) fn retire(&self, attempt: AttemptId, unused: bool) -> Result<()> {
        if unused && self.reuse(attempt)? { Ok(()) } else { fs::remove_dir_all(self.of(attempt)) }
    }

    /// Has the directory of an attempt used again, which nobody must be using. False, and nothing changed, where there
    /// is more in it than outputs, or enough others wait to be used again.
    ///
    /// # Errors
    /// Where its outputs cannot be emptied.
    pub(crate) fn reuse(&self, attempt: AttemptId) -> Result<bool> {
        let dir = self.of(attempt);
        if self.with_spares(|spares| spares.len() >= MOST_SPARES) {
            return Ok(false);
        }
        let Some(written) = outputs_only(&dir)? else { return Ok(false) };
        let spare = self.root.join(format!("{SPARE_PREFIX}{}", task_dir_name(attempt)));
        written.into_iter().try_for_each(|stream| empty(&path(&dir, stream)))?;
        fs::rename(dir, &spare)?;
        self.with_spares(|spares| spares.push(spare));
        Ok(true)
    }

    /// Removes what an earlier life kept to be used again: what uses it now is not known.
    pub(crate) fn remove_spares(&self) {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let spares =
            entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(SPARE_PREFIX.as_bytes()));
        // What cannot be removed now is tried again at the next start.
        spares.for_each(|entry| drop(fs::remove_dir_all(entry.path())));
    }

    fn with_spares<T>(&self, look: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
        look(&mut self.spares.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How much an attempt has written; nothing where there is no such output.
    pub(crate) fn size(&self, attempt: AttemptId, stream: LogStream) -> u64 {
        fs::symlink_metadata(path(&self.of(attempt), stream)).map_or(0, |file| file.len())
    }

    /// Drops the oldest part of an output that is longer than `cap`.
    ///
    /// # Errors
    /// Where the file cannot be changed.
    pub(crate) fn keep_under(&self, attempt: AttemptId, stream: LogStream, cap: u64) -> Result<()> {
        let file = open(File::options().write(true), &path(&self.of(attempt), stream))?;
        let over = file.metadata()?.len().saturating_sub(cap);
        if over == 0 {
            return Ok(());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, hole, 0, over.next_multiple_of(BLOCK)) {
            // A filesystem without holes: all of it goes, and places count from there.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(0),
            other => Ok(other?),
        }
    }

    /// Reads a part of an output: from `offset`, counted from the end where negative, at most `limit` bytes. What was
    /// dropped is passed over.
    ///
    /// # Errors
    /// Where there is no such output, or it cannot be read.
    pub(crate) fn read(
        &self,
        attempt: AttemptId,
        stream: LogStream,
        offset: i64,
        limit: usize,
    ) -> Result<Chunk> {
        let file = open(File::options().read(true), &path(&self.of(attempt), stream))?;
        let size = file.metadata()?.len();
        let wanted = match u64::try_from(offset) {
            Ok(offset) => offset.min(size),
            Err(_) => size.saturating_sub(offset.unsigned_abs()),
        };
        let offset = wanted.max(first_kept(&file, size)?);
        let mut bytes = read_at(&file, offset, limit)?;
        // More may have been dropped meanwhile, and then zeros were read.
        let kept = first_kept(&file, size)?.max(offset);
        bytes.drain(..usize::try_from(kept - offset).unwrap_or(usize::MAX).min(bytes.len()));
        Ok(Chunk { offset: kept, size, bytes })
    }
}

/// The file of an output.
pub(crate) fn path(dir: &Path, stream: LogStream) -> PathBuf {
    dir.join(match stream {
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
    })
}

/// Makes the file of an output, for the process to write to.
pub(crate) fn create(dir: &Path, stream: LogStream) -> Result<File> {
    File::options().create(true).append(true).mode(0o640).open(path(dir, stream))
}

/// Opens an output. The task can put anything in its place: a link is not followed, a pipe not waited for.
fn open(options: &mut OpenOptions, path: &Path) -> Result<File> {
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Where a directory holds the two outputs, as they were made, and nothing else: those with something in them.
fn outputs_only(dir: &Path) -> Result<Option<Vec<LogStream>>> {
    let (mut outputs, mut written) = (0, Vec::new());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let named = STREAMS.into_iter().find(|stream| path(dir, *stream) == entry.path());
        let found = entry.metadata()?;
        // A second link would show the outputs of others under another name.
        let Some(stream) = named.filter(|_| found.is_file() && found.nlink() == 1) else { return Ok(None) };
        outputs += 1;
        written.extend((found.len() > 0).then_some(stream));
    }
    Ok((outputs == STREAMS.len()).then_some(written))
}

fn empty(path: &Path) -> Result<()> {
    open(File::options().write(true), path)?.set_len(0)
}

/// The place of the first byte that was not dropped.
fn first_kept(file: &File, size: u64) -> Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(first) => Ok(first),
        // Nothing but a hole.
        Err(rustix::io::Errno::NXIO) => Ok(size),
        Err(rustix::io::Errno::INVAL) => Ok(0),
        Err(error) => Err(Error::from(error)),
    }
}

fn read_at(file: &File, offset: u64, limit: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; limit];
    let mut length = 0;
    while length < limit {
        match file.read_at(&mut bytes[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, TaskDirs, AttemptId) {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(root.path().to_owned());
        let attempt: AttemptId = "7.0#1".parse().unwrap();
        create(&dirs.make(attempt).unwrap(), LogStream::Stdout).unwrap().write_all(bytes).unwrap();
        (root, dirs, attempt)
    }

    #[test]
    fn any_part_of_an_output_can_be_read() {
        let (_root, dirs, attempt) = written(b"0123456789");
        let cases: [(i64, usize, u64, &[u8]); 6] = [
            (0, 100, 0, b"0123456789"),
            (3, 4, 3, b"3456"),
            (-3, 100, 7, b"789"),
            (-100, 2, 0, b"01"),
            (10, 5, 10, b""),
            (99, 5, 10, b""),
        ];
        for (from, limit, offset, bytes) in cases {
            let chunk = Chunk { offset, size: 10, bytes: bytes.to_vec() };
            assert_eq!(dirs.read(attempt, LogStream::Stdout, from, limit).unwrap(), chunk, "{from} {limit}");
        }
        assert!(dirs.read(attempt, LogStream::Stderr, 0, 1).is_err());
    }

    #[test]
    fn what_is_over_the_cap_is_dropped_from_the_beginning_and_places_stay() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
        let (_root, dirs, attempt) = written(&text);
        dirs.keep_under(attempt, LogStream::Stdout, 1 << 20).unwrap();
        assert_eq!(
            dirs.read(attempt, LogStream::Stdout, 0, 16).unwrap().bytes,
            b"0000000\n0000001\n",
            "under the cap"
        );
        dirs.keep_under(attempt, LogStream::Stdout, 10_000).unwrap();
        let chunk = dirs.read(attempt, LogStream::Stdout, 0, 1 << 20).unwrap();
        assert_eq!(chunk.size, 800_000);
        assert!(chunk.offset > 0 && chunk.bytes.len() <= 10_000, "{} bytes are kept", chunk.bytes.len());
        assert_eq!(chunk.bytes, text[usize::try_from(chunk.offset).unwrap()..]);
        dirs.keep_under(attempt, LogStream::Stdout, 0).unwrap();
        assert_eq!(dirs.read(attempt, LogStream::Stdout, 0, 9).unwrap().offset, 800_000);
    }

    #[test]
    fn a_task_that_puts_something_else_in_place_of_its_output_harms_nobody() {
        let (root, dirs, attempt) = written(b"");
        let (victim, output) = (root.path().join("victim"), dirs.of(attempt).join("stdout"));
        fs::write(&victim, vec![1; 100_000]).unwrap();
        fs::remove_file(&output).unwrap();
        std::os::unix::fs::symlink(&victim, &output).unwrap();
        assert!(dirs.keep_under(attempt, LogStream::Stdout, 10).is_err());
        assert!(dirs.read(attempt, LogStream::Stdout, 0, 10).is_err());
        assert_eq!(fs::read(&victim).unwrap(), vec![1; 100_000]);
        fs::remove_file(&output).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &output, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(dirs.read(attempt, LogStream::Stdout, 0, 10).is_err(), "without waiting for a writer");
    }

    #[test]
    fn a_directory_is_used_again_only_where_nobody_uses_it_and_nothing_else_is_in_it() {
        let next: AttemptId = "8.0#1".parse().unwrap();
        let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
        type Change = fn(&Path);
        let cases: [(bool, Change, bool); 4] = [
            (true, |_| (), true),
            (false, |_| (), false),
            (true, |dir| fs::write(dir.join("more"), "").unwrap(), false),
            (true, |dir| fs::hard_link(dir.join("stdout"), dir.join("../link")).unwrap(), false),
        ];
        for (unused, change, again) in cases {
            let (_root, dirs, attempt) = written(b"old");
            create(&dirs.of(attempt), LogStream::Stderr).unwrap();
            change(&dirs.of(attempt));
            let before = inode(dirs.of(attempt).join("stdout"));
            dirs.retire(attempt, unused).unwrap();
            assert!(!dirs.of(attempt).exists());
            let dir = dirs.make(next).unwrap();
            create(&dir, LogStream::Stdout).unwrap();
            assert_eq!(dirs.size(next, LogStream::Stdout), 0);
            assert_eq!(inode(dir.join("stdout")) == before && dir.join("stderr").exists(), again);
        }
    }

    #[test]
    fn a_directory_that_is_left_over_is_emptied() {
        let (_root, dirs, attempt) = written(b"old");
        dirs.make(attempt).unwrap();
        assert!(!dirs.of(attempt).join("stdout").exists());
    }
}
