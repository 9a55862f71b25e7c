//! What is run for a task: program, arguments, environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use allot_model::{AgentId, Amount, AttemptId, Command, Incarnation, Launch, ResourceName, Resources};
use rustix::fs::Access;

/// Where programs are looked for when neither the agent's environment nor the task's says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What a task gets of the agent's environment.
const INHERITED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];
/// The variable by which processes of this life of the agent are known.
pub(crate) const INCARNATION: &str = "ALLOT_INCARNATION";

/// What all tasks of an agent have in common.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    agent: AgentId,
    incarnation: Incarnation,
    has_gpus: bool,
    inherited: BTreeMap<OsString, OsString>,
}

impl Surroundings {
    /// For the tasks of this agent.
    pub(crate) fn new(agent: AgentId, incarnation: Incarnation, total: &Resources) -> Self {
        let mut inherited: BTreeMap<OsString, OsString> = INHERITED
            .iter()
            .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
            .collect();
        inherited.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
        let has_gpus = matches!(amount(total, "gpus"), Some(Amount::Items(_)));
        Self { agent, incarnation, has_gpus, inherited }
    }

    /// The life of the agent.
    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The command for an attempt, to run in `dir`.
    ///
    /// # Errors
    /// Where there is no such directory or program; a text for people.
    pub(crate) fn command(
        &self,
        attempt: AttemptId,
        launch: &Launch,
        dir: &Path,
    ) -> Result<process::Command, String> {
        if launch.spec.workdir.is_some() && !dir.is_dir() {
            return Err(format!(
                "there is no directory `{}` on this agent, which is set as `workdir`",
                dir.display()
            ));
        }
        let env = self.environment(attempt, launch);
        let (program, arguments) = match &launch.spec.command {
            Command::Shell(line) => ("/bin/sh", vec!["-c", line]),
            Command::Argv(argv) => {
                let (program, arguments) = argv.split_first().ok_or("the command is empty")?;
                (program.as_str(), arguments.iter().map(String::as_str).collect())
            }
        };
        let path = find(program, env.get(OsStr::new("PATH")), dir)?;
        // A path rather than a name, and a process group: the standard library then spawns without a fork.
        let mut command = process::Command::new(path);
        command.arg0(program).args(arguments).current_dir(dir).process_group(0).env_clear().envs(env);
        Ok(command)
    }

    fn environment(&self, attempt: AttemptId, launch: &Launch) -> BTreeMap<OsString, OsString> {
        let spec = &launch.spec;
        let mut env = self.inherited.clone();
        env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.into())));
        let ours = [
            ("ALLOT_JOB_ID", attempt.task.job.to_string()),
            ("ALLOT_TASK_INDEX", attempt.task.index.to_string()),
            ("ALLOT_TASK_COUNT", spec.tasks.to_string()),
            ("ALLOT_ATTEMPT", attempt.attempt.to_string()),
            ("ALLOT_QUEUE", launch.queue.to_string()),
            ("ALLOT_AGENT", self.agent.to_string()),
            (INCARNATION, self.incarnation.to_string()),
            ("ALLOT_CPUS", scalar(&launch.slice, "cpus")),
            ("ALLOT_MEM", amount(&launch.slice, "mem").map_or(0, Amount::total).to_string()),
            ("ALLOT_PORTS", ports(&launch.slice)),
        ];
        env.extend(ours.into_iter().map(|(name, value)| (name.into(), value.into())));
        if self.has_gpus {
            let gpus = items(&launch.slice, "gpus");
            env.insert("ALLOT_GPUS".into(), gpus.clone().into());
            env.insert("CUDA_VISIBLE_DEVICES".into(), gpus.into());
        }
        env
    }
}

fn amount<'a>(resources: &'a Resources, name: &str) -> Option<&'a Amount> {
    resources.get(&ResourceName::new(name).ok()?)
}

fn scalar(slice: &Resources, name: &str) -> String {
    let name = ResourceName::new(name).ok();
    name.map_or_else(String::new, |name| Amount::scalar_text(&name, slice.total(&name)))
}

fn items(slice: &Resources, name: &str) -> String {
    match amount(slice, name) {
        Some(Amount::Items(items)) => items.keys().cloned().collect::<Vec<_>>().join(","),
        _ => String::new(),
    }
}

fn ports(slice: &Resources) -> String {
    match amount(slice, "ports") {
        Some(Amount::Ranges(ranges)) => {
            let numbers = ranges.iter().flat_map(|(first, last)| first..=last);
            numbers.map(|port| port.to_string()).collect::<Vec<_>>().join(",")
        }
        _ => String::new(),
    }
}

/// The file to run: the program itself where it is a path, otherwise the first of that name on the search path.
fn find(program: &str, search_path: Option<&OsString>, dir: &Path) -> Result<PathBuf, String> {
    if program.contains('/') {
        let path = dir.join(program);
        return runnable(&path).map(|()| path).map_err(|fault| fault.explain(program));
    }
    let search_path = search_path.map_or_else(|| OsString::from(DEFAULT_PATH), OsString::clone);
    let mut fault = Fault::Missing;
    for place in std::env::split_paths(&search_path) {
        let path = dir.join(place).join(program);
        match runnable(&path) {
            Ok(()) => return Ok(path),
            Err(Fault::Missing) => {}
            Err(worse) => fault = worse,
        }
    }
    match fault {
        Fault::Missing => {
            Err(format!("there is no program `{program}` in PATH={} on this agent", search_path.display()))
        }
        worse => Err(worse.explain(program)),
    }
}

/// Why a file cannot be run.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Missing,
    Directory,
    NotExecutable,
}

impl Fault {
    fn explain(self, program: &str) -> String {
        match self {
            Self::Missing => format!("there is no program `{program}` on this agent"),
            Self::Directory => format!("`{program}` is a directory, not a program"),
            Self::NotExecutable => {
                format!("`{program}` is not executable: `chmod +x` it, or run it with its interpreter")
            }
        }
    }
}

fn runnable(path: &Path) -> Result<(), Fault> {
    if rustix::fs::access(path, Access::EXEC_OK).is_ok() {
        return if path.is_dir() { Err(Fault::Directory) } else { Ok(()) };
    }
    if path.exists() { Err(Fault::NotExecutable) } else { Err(Fault::Missing) }
}
