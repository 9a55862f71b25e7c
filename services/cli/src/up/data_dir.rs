//! The directory in which a cluster of `allot up` keeps everything, held by one process at a time.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A data directory that is this process's until it is dropped.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    /// Locked for as long as it is open.
    _lock: File,
}

impl DataDir {
    /// Takes the directory, and creates it where it is not there.
    ///
    /// # Errors
    /// Where another process has it, or it cannot be written.
    pub(super) fn take(path: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&path).map_err(|error| cannot_use(&path, &error))?;
        let path = path.canonicalize().map_err(|error| cannot_use(&path, &error))?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory in it, which is created where it is not there.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub(super) fn within(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(|error| self.cannot_use(&error))?;
        Ok(path)
    }

    /// What to say where something in it does not work.
    #[must_use]
    pub(super) fn cannot_use(&self, error: &io::Error) -> Failure {
        cannot_use(&self.path, error)
    }
}

/// `$XDG_STATE_HOME/allot`, or `~/.local/state/allot`, or `./allot-data` where there is no home.
#[must_use]
pub(super) fn default_path() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local").join("state")));
    state.map_or_else(|| PathBuf::from("allot-data"), |state| state.join("allot"))
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("lock");
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = opened.map_err(|error| cannot_use(dir, &error))?;
    if file.try_lock().is_err() {
        let holder = fs::read_to_string(&path).unwrap_or_default();
        return Err(Failure::failed(format!(
            "the data directory {} is in use by another `allot up`, process {}\n\
             stop that one, or choose another directory with --data-dir",
            dir.display(),
            holder.trim()
        )));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map(|()| file).map_err(|error| cannot_use(dir, &error))
}

fn cannot_use(dir: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "the data directory {} cannot be used: {error}\nchoose another with --data-dir",
        dir.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_in_use_is_refused_with_who_uses_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::take(dir.path().join("a")).unwrap();
        let refused = DataDir::take(dir.path().join("a")).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        assert!(DataDir::take(dir.path().join("a")).is_ok());
    }

    #[test]
    fn a_data_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataDir::take(file.path().join("a")).unwrap_err().to_string();
        assert!(refused.contains("--data-dir") && refused.contains("/a"), "{refused}");
    }
}
