//! Runs attempts as processes.
//!
//! A fixed pool of threads spawns, because spawning blocks; the kernel says through a pidfd when a process has ended,
//! so that nothing polls and no thread waits; the one who signals is the one who reaps, so that no signal meets a
//! process that got the number of one that is gone.

mod adoption;
pub(crate) mod command;
pub(crate) mod mark;
pub(crate) mod process;
pub(crate) mod strays;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use allot_agent_core::{Exit, ProcessId, Signal};
use allot_model::view::LogStream;
use allot_model::{AttemptId, Incarnation, Launch, Time};
use allot_shell::clock;
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, getrlimit, pidfd_open, setrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use crate::event::Event;
use crate::guardian::word::EndOf;
use crate::output::{self, STREAMS, TaskDirs};
use command::Surroundings;
use process::Reaped;

/// How many processes are being spawned at a time.
const SPAWNERS: usize = 2;
/// How many files the agent wants to be able to have open.
const MOST_OPEN_FILES: u64 = 65_536;
/// The kernel stamps a process up to a tick before or after we look at its clock.
const TICK: u64 = 1;

/// The process with which an attempt begins, and with which it ends.
#[derive(Debug, Clone, Copy)]
enum Leader {
    /// It is being started.
    Starting,
    /// A child of ours.
    Child(Pid),
    /// The guardian's, since when it was started, in ticks since boot.
    Kept(Pid, u64),
    /// Nobody's who would tell us how it ends, since when it was started.
    Stranger(Pid, u64),
    /// It ended, as the guardian says.
    Ended(EndOf),
    /// It ended, and nobody says how.
    Missing,
}

impl Leader {
    fn pid(self) -> Option<Pid> {
        match self {
            Self::Child(pid) | Self::Kept(pid, _) | Self::Stranger(pid, _) => Some(pid),
            Self::Starting | Self::Ended(_) | Self::Missing => None,
        }
    }

    /// The process to signal. The number of one that we do not reap may have become another's.
    fn to_signal(self) -> Option<Pid> {
        match self {
            Self::Kept(pid, began) | Self::Stranger(pid, began) => {
                let is_it = process::start_ticks_of(pid.as_raw_nonzero().get()) == Some(began);
                is_it.then_some(pid)
            }
            own => own.pid(),
        }
    }
}

/// Attempts whose process is being started, runs, or has not been reaped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<BTreeMap<AttemptId, Leader>>>);

impl Running {
    pub(crate) fn contains(&self, attempt: AttemptId) -> bool {
        self.with(|running| running.contains_key(&attempt))
    }

    pub(crate) fn attempts(&self) -> Vec<AttemptId> {
        self.with(|running| running.keys().copied().collect())
    }

    /// True for the process of one of the attempts.
    fn leads(&self, pid: Pid) -> bool {
        self.with(|running| running.values().any(|leader| leader.pid() == Some(pid)))
    }

    /// The processes of the attempts.
    fn pids(&self) -> Vec<i32> {
        let pids = |running: &mut BTreeMap<AttemptId, Leader>| {
            running.values().filter_map(|leader| Some(leader.pid()?.as_raw_nonzero().get())).collect()
        };
        self.with(pids)
    }

    /// True where someone else holds it too.
    fn is_used_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// True where there is one whose orphans are handed to nobody whom we know.
    fn has_strangers(&self) -> bool {
        self.with(|running| running.values().any(|leader| matches!(leader, Leader::Stranger(..))))
    }

    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<AttemptId, Leader>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts, signals and reaps processes.
#[derive(Debug)]
pub(crate) struct Executor {
    orders: Arc<Orders>,
    running: Running,
    dirs: TaskDirs,
    output_cap: u64,
    incarnation: Incarnation,
    runtime: Handle,
    events: UnboundedSender<Event>,
}

impl Executor {
    /// Starts the pool of spawners. They end when the executor is dropped.
    pub(crate) fn start(
        surroundings: Surroundings,
        dirs: TaskDirs,
        output_cap: u64,
        events: UnboundedSender<Event>,
    ) -> std::io::Result<Self> {
        raise_open_files();
        keep_open_files_from_tasks();
        let running = Running::default();
        let orders = Arc::new(Orders::default());
        for _ in 0..SPAWNERS {
            let spawner = Spawner {
                surroundings: surroundings.clone(),
                dirs: dirs.clone(),
                running: running.clone(),
                runtime: Handle::current(),
                events: events.clone(),
            };
            let orders = Arc::clone(&orders);
            std::thread::Builder::new().name("allot-spawner".into()).spawn(move || spawner.run(&orders))?;
        }
        let (incarnation, runtime) = (surroundings.incarnation(), Handle::current());
        Ok(Self { orders, running, dirs, output_cap, incarnation, runtime, events })
    }

    /// The attempts it has.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Starts a process; what comes of it is an [`Event`].
    pub(crate) fn spawn(&self, attempt: AttemptId, launch: Arc<Launch>) {
        self.running.with(|running| running.insert(attempt, Leader::Starting));
        self.orders.give(Some((attempt, launch)));
    }

    /// Sends a signal to the process group of an attempt.
    pub(crate) fn signal(&self, attempt: AttemptId, signal: Signal) {
        let leader = self.running.with(|running| running.get(&attempt).copied());
        if let Some(pid) = leader.and_then(Leader::to_signal) {
            process::signal_group(pid, signal);
        }
    }

    /// Takes note that no process was started.
    pub(crate) fn forget(&self, attempt: AttemptId) {
        self.running.with(|running| running.remove(&attempt));
    }

    /// Takes the end of a process, and kills what is left of its group. Its number belongs to it until it is reaped.
    pub(crate) fn reap(&self, attempt: AttemptId, at: Time) -> Exit {
        let leader = self.running.with(|running| running.remove(&attempt));
        let reaped = leader.and_then(|leader| self.end(attempt, leader));
        let written = STREAMS.map(|stream| keep_under_cap(&self.dirs, attempt, stream, self.output_cap));
        Exit {
            at,
            exit_code: reaped.and_then(|reaped| reaped.exit_code),
            signal: reaped.and_then(|reaped| reaped.signal),
            cpu_us: reaped.map_or(0, |reaped| reaped.cpu_us),
            peak_mem_bytes: reaped.map_or(0, |reaped| reaped.peak_mem_bytes),
            has_output: written.into_iter().any(|bytes| bytes > 0),
        }
    }

    /// How the process of an attempt ended, where that can be learnt. Nothing of the attempt is left after it.
    fn end(&self, attempt: AttemptId, leader: Leader) -> Option<Reaped> {
        match leader {
            Leader::Child(pid) => {
                process::signal_group(pid, Signal::Kill);
                process::reap(pid)
                    .inspect_err(|error| warn!(%attempt, %error, "cannot learn how a process ended"))
                    .ok()
            }
            Leader::Starting => None,
            Leader::Kept(..) | Leader::Stranger(..) | Leader::Missing | Leader::Ended(_) => {
                mark::kill_marked(self.incarnation, |marked| marked != attempt);
                match leader {
                    Leader::Ended(end) => Some(end.reaped()),
                    _ => None,
                }
            }
        }
    }
}

/// What becomes readable when a process has ended.
#[allow(
    deprecated,
    reason = "an `OwnedFd` stays the same open file, which is all that the unsafe successor asks for"
)]
fn end_of(runtime: &Handle, pid: Pid) -> std::io::Result<AsyncFd<OwnedFd>> {
    let _runtime = runtime.enter();
    AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)
}

/// Drops the oldest part of an output that is too long. Returns how much was written to it, what was dropped included.
pub(crate) fn keep_under_cap(dirs: &TaskDirs, attempt: AttemptId, stream: LogStream, cap: u64) -> u64 {
    let size = dirs.size(attempt, stream);
    if size > cap
        && let Err(error) = dirs.keep_under(attempt, stream, cap)
    {
        warn!(%attempt, ?stream, %error, "cannot keep an output under its cap");
    }
    size
}

/// Each process costs an open file for as long as it runs.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(MOST_OPEN_FILES).min(MOST_OPEN_FILES);
    if current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
    {
        warn!(%error, "cannot raise the limit of open files, which bounds how many processes run at once");
    }
}

/// Has tasks get none of the files that this process was started with, beside the standard ones: a pipe or a lock of whoever
/// started the agent would stay open for as long as they run. Every file that is opened here is kept from them anyway.
fn keep_open_files_from_tasks() {
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > libc::STDERR_FILENO) {
        // SAFETY: only a flag of a number is set, which fails where it is closed by now; nothing is closed or taken over.
        #[allow(
            unsafe_code,
            reason = "these files are nobody's in this program, so that nothing safe stands for them"
        )]
        unsafe {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        (0..SPAWNERS).for_each(|_| self.orders.give(None));
    }
}

/// An attempt to spawn a process for; nothing tells a thread to end.
type Order = Option<(AttemptId, Arc<Launch>)>;

/// What is to be spawned, in order. One thread wakes for each, where a channel that threads share would wake two.
#[derive(Debug, Default)]
struct Orders {
    queue: Mutex<VecDeque<Order>>,
    given: Condvar,
}

impl Orders {
    /// Adds one for any of the threads.
    fn give(&self, order: Order) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
        self.given.notify_one();
    }

    /// Waits for one.
    fn take(&self) -> Order {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(order) = queue.pop_front() {
                return order;
            }
            queue = self.given.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What no task is to blame for: each that is sent here fails like this until it is mended.
fn own_fault(what: &str, error: &impl std::fmt::Display) -> String {
    warn!(%error, "{what}: tasks fail here until that is mended");
    format!("{what}: {error}")
}

/// A thread of the pool.
struct Spawner {
    surroundings: Surroundings,
    dirs: TaskDirs,
    running: Running,
    runtime: Handle,
    events: UnboundedSender<Event>,
}

impl Spawner {
    fn run(&self, orders: &Orders) {
        while let Some((attempt, launch)) = orders.take() {
            if let Err(message) = self.spawn(attempt, &launch) {
                self.tell(Event::LaunchFailed { attempt, at: clock::now(), message: message.into() });
            }
        }
    }

    fn spawn(&self, attempt: AttemptId, launch: &Launch) -> Result<(), String> {
        let own =
            self.dirs.make(attempt).map_err(|error| own_fault("cannot make the task's directory", &error))?;
        let dir = launch.spec.workdir.as_ref().map_or_else(|| own.clone(), |workdir| own.join(workdir));
        let mut command = self.surroundings.command(attempt, launch, &dir)?;
        let file = |stream| {
            output::create(&own, stream).map_err(|error| own_fault("cannot make the task's output", &error))
        };
        command.stdin(Stdio::null()).stdout(file(LogStream::Stdout)?).stderr(file(LogStream::Stderr)?);
        let not_before_ticks = process::ticks_since_boot().saturating_sub(TICK);
        let mut child = command.spawn().map_err(|error| explain(&command, &error))?;
        let at = clock::now();
        let not_after_ticks = process::ticks_since_boot() + TICK;
        let (pid, end) = watch(&self.runtime, &child).map_err(|error| {
            // Both fail only where it has ended already.
            let _ = child.kill();
            let _ = child.wait();
            format!("cannot watch the process: {error}")
        })?;
        self.running.with(|running| running.insert(attempt, Leader::Child(pid)));
        let process = ProcessId { pid: pid.as_raw_nonzero().get(), not_before_ticks, not_after_ticks };
        self.tell(Event::Started { attempt, at, process, end: Some(end) });
        Ok(())
    }

    /// Tells the agent, which is gone only where the whole process is about to end.
    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

fn watch(runtime: &Handle, child: &Child) -> std::io::Result<(Pid, AsyncFd<OwnedFd>)> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((pid, end_of(runtime, pid)?))
}

/// Why a program that is there could not be run, for people.
fn explain(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().display();
    match error.raw_os_error() {
        Some(libc::ENOEXEC) => {
            format!("`{program}` is no program: it may lack a first line such as `#!/bin/sh`")
        }
        Some(libc::ENOENT) => {
            format!("`{program}` cannot be run: the interpreter that it names is not there")
        }
        Some(libc::E2BIG) => "the command and its environment are too long for the system".to_owned(),
        _ => format!("`{program}` cannot be run: {error}"),
    }
}
