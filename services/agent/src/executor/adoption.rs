//! Taking back the processes that an earlier process of this agent started.
//!
//! A process is known by its number and when it started, or, where that was not noted any more, by its environment. How
//! it ends is told by the guardian where that holds it; where not, its end is seen, and how it ended is not known.

use allot_agent_core::{Orphan, ProcessId};
use allot_model::{AttemptId, Incarnation, Span, Time};
use allot_shell::clock;
use rustix::process::Pid;
use tracing::{info, warn};

use super::mark::{self, Marked};
use super::process::{self, kill_leftover, start_ticks_of, ticks_since_boot, ticks_to_span};
use super::{Executor, Leader, end_of};
use crate::event::Event;
use crate::guardian::word::EndOf;
use crate::inheritance::Inheritance;

impl Executor {
    /// Takes back what is left of attempts, each of which becomes an event, and kills what else is left.
    pub(crate) fn take_back(
        &self,
        incarnation: Incarnation,
        adopt: &[Orphan],
        kill: &[ProcessId],
        inheritance: &Inheritance,
    ) {
        let marked = mark::marked(incarnation);
        for orphan in adopt {
            let leader = self.adopt_one(*orphan, &marked, inheritance);
            self.running.with(|running| running.insert(orphan.attempt, leader));
        }
        kill.iter().for_each(|process| kill_leftover(*process));
        mark::kill_marked(incarnation, |attempt| self.running.contains(attempt));
        if !adopt.is_empty() {
            info!(attempts = adopt.len(), "took back what an earlier process of this agent began");
        }
    }

    fn adopt_one(&self, orphan: Orphan, marked: &[Marked], inheritance: &Inheritance) -> Leader {
        let attempt = orphan.attempt;
        if let Some(end) = orphan.process.and_then(|process| inheritance.end_of(process)) {
            self.tell(Event::Ended { attempt, at: end.at() });
            return Leader::Ended(end);
        }
        match self.find(orphan, marked, inheritance) {
            Some((leader, event)) => {
                self.tell(event);
                leader
            }
            None => {
                self.tell(Event::Ended { attempt, at: clock::now() });
                Leader::Missing
            }
        }
    }

    /// The process of an attempt, where it is still there.
    fn find(&self, orphan: Orphan, marked: &[Marked], inheritance: &Inheritance) -> Option<(Leader, Event)> {
        let attempt = orphan.attempt;
        let pid = match orphan.process {
            Some(process) => Pid::from_raw(process.pid)?,
            None => mark::leader(marked, attempt)?,
        };
        // Opened before it is looked at: from here on no other process can be meant.
        let end = if inheritance.holds(pid) { None } else { Some(end_of(&self.runtime, pid).ok()?) };
        let ticks = start_ticks_of(pid.as_raw_nonzero().get())?;
        let process = orphan.process.unwrap_or(ProcessId {
            pid: pid.as_raw_nonzero().get(),
            not_before_ticks: ticks,
            not_after_ticks: ticks,
        });
        if !process::began(process, ticks) {
            return None;
        }
        let leader = match end {
            Some(_) => Leader::Stranger(pid, ticks),
            None => Leader::Kept(pid, ticks),
        };
        Some((leader, Event::Started { attempt, at: time_of(ticks), process, end }))
    }

    /// Takes note of how a process ended that the guardian held; the attempt, where it was of one.
    pub(crate) fn inherit(&self, end: EndOf) -> Option<AttemptId> {
        self.running.with(|running| {
            let is_it = |leader: &Leader| matches!(leader, Leader::Kept(pid, ticks) if end.is(*pid, *ticks));
            let (attempt, leader) = running.iter_mut().find(|(_, leader)| is_it(leader))?;
            *leader = Leader::Ended(end);
            Some(*attempt)
        })
    }

    fn tell(&self, event: Event) {
        if self.events.send(event).is_err() {
            warn!("nobody hears what became of a task: the agent is about to end");
        }
    }
}

impl EndOf {
    /// When, by the clock of today.
    pub(crate) fn at(&self) -> Time {
        time_of(self.ended_ticks)
    }

    pub(crate) fn is_of(&self, process: ProcessId) -> bool {
        self.pid == process.pid && process::began(process, self.began_ticks)
    }

    fn is(&self, pid: Pid, began_ticks: u64) -> bool {
        self.pid == pid.as_raw_nonzero().get() && self.began_ticks == began_ticks
    }
}

/// What our clock said then, or would have: the time of day may have been set since.
fn time_of(ticks: u64) -> Time {
    let ago: Span = ticks_to_span(ticks_since_boot().saturating_sub(ticks));
    clock::now() - ago
}
