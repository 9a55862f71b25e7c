//! Processes: started when there is room, stopped when asked, each end noted once.

use std::sync::Arc;

use allot_model::{AttemptId, AttemptRun, Outcome, Reason, Span, TaskState, Time};

use crate::farewell::Farewell;
use crate::hold::StopOrder;
use crate::journal::{End, JournalEntry, ProcessId};
use crate::live::{Live, Stop, natural_end};
use crate::memory::Begun;
use crate::{AgentCore, Exit, Orphan, Output, Signal};

/// The most processes at once, whatever the resources would allow.
pub(crate) const MOST_PROCESSES: usize = 16_384;
/// The longest message that goes into a report.
const MOST_MESSAGE_CHARS: usize = 1_000;

impl AgentCore {
    /// Starts what waits, as far as there is room.
    pub(crate) fn start_waiting(&mut self, out: &mut Vec<Output>) {
        if self.waiting.is_empty() {
            return;
        }
        let (free, live) = (&mut self.free, &mut self.live);
        let begun = self.waiting.start(|attempt, number, line| {
            let (launch, hold) = (Arc::clone(&line.launch), Arc::clone(&line.hold));
            let fits = live.len() < MOST_PROCESSES && free.subtract(&launch.slice).is_ok();
            if fits {
                live.insert(attempt, Live::new(launch, hold, number, line.allocations));
            }
            fits
        });
        for (run, hold) in begun {
            self.note(JournalEntry::Starting { run, hold: Some(hold) }, out);
            self.spawn(run, out);
        }
    }

    fn spawn(&mut self, run: AttemptRun, out: &mut Vec<Output>) {
        for attempt in run.attempts() {
            let launch = self.live.get_mut(&attempt).and_then(|live| live.launch.take());
            out.extend(launch.map(|launch| Output::Spawn { attempt, launch }));
        }
    }

    /// Takes back what an earlier process of this agent began: what is left of it goes on. Where the resources that the
    /// agent has were made fewer meanwhile, what does not fit any more ends.
    pub(crate) fn take_back(&mut self, now: Time, out: &mut Vec<Output>) {
        let begun: Vec<(AttemptId, Begun)> =
            self.memory.begun().iter().map(|(attempt, begun)| (*attempt, begun.clone())).collect();
        let allocations = self.memory.allocations();
        let (mut adopt, mut lost) = (Vec::new(), Vec::new());
        for (attempt, begun) in begun {
            match begun.hold.clone().filter(|hold| self.free.subtract(&hold.slice).is_ok()) {
                Some(hold) => {
                    self.live.insert(attempt, Live::taken_back(&begun, hold, allocations));
                    adopt.push(Orphan { attempt, process: begun.process });
                }
                None => lost.push((attempt, begun)),
            }
        }
        let kill = lost.iter().filter_map(|(_, begun)| begun.process).collect();
        out.push(Output::TakeBack { adopt, kill });
        lost.into_iter().for_each(|(attempt, begun)| self.end_lost(now, attempt, &begun, out));
    }

    pub(crate) fn on_started(
        &mut self,
        now: Time,
        attempt: AttemptId,
        at: Time,
        process: ProcessId,
        out: &mut Vec<Output>,
    ) {
        let Some(live) = self.live.get_mut(&attempt).filter(|live| live.runs_since.is_none()) else { return };
        live.runs_since = Some(at);
        self.deadlines.set(attempt, live.deadline());
        if live.started_at.is_none() {
            live.started_at = Some(at);
            self.note_at_leisure(now, JournalEntry::Running { attempt, at, process }, out);
        }
        self.terminate(now, attempt, out);
    }

    pub(crate) fn on_launch_failed(
        &mut self,
        attempt: AttemptId,
        at: Time,
        message: Arc<str>,
        out: &mut Vec<Output>,
    ) {
        let Some(live) = self.take_live(attempt) else { return };
        let outcome = Outcome { message: Some(shorten(message)), ..Outcome::default() };
        let end = live.end(attempt, at, (TaskState::Failed, Reason::LaunchFailed), outcome);
        self.note(JournalEntry::Ended { end, held: false }, out);
    }

    pub(crate) fn on_exited(&mut self, now: Time, attempt: AttemptId, exit: &Exit, out: &mut Vec<Output>) {
        let Some(live) = self.take_live(attempt) else { return };
        let end = live.end(attempt, exit.at, natural_end(exit), live.outcome(exit));
        if exit.has_output {
            self.deadlines.set(attempt, Some(now + self.settings.output_wait));
        }
        self.note_end(now, live.line, JournalEntry::Ended { end, held: exit.has_output }, out);
    }

    /// Lets the end of an attempt be reported, where it waited for its output.
    pub(crate) fn release(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        if self.memory.outbox().holds(attempt) {
            self.deadlines.set(attempt, None);
            self.note_released(now, attempt, out);
        }
    }

    /// An attempt has run for as long as it may, or SIGTERM was not enough, or its output takes too long to store.
    pub(crate) fn on_deadline(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        match self.live.get_mut(&attempt) {
            None => self.release(now, attempt, out),
            Some(Live { stop: Some(stop), .. }) => {
                stop.kill_at = None;
                out.push(Output::Signal { attempt, signal: Signal::Kill });
            }
            Some(live) => {
                let grace = live.hold.kill_grace;
                let order = StopOrder { state: TaskState::Failed, reason: Reason::TimeLimit, grace };
                self.stop(now, attempt, order, out);
            }
        }
    }

    /// Asks an attempt to stop. The first to ask decides how it ends; who asks again can only make it sooner.
    pub(crate) fn stop(&mut self, now: Time, attempt: AttemptId, order: StopOrder, out: &mut Vec<Output>) {
        let Some(live) = self.live.get_mut(&attempt) else { return };
        match &mut live.stop {
            Some(stop) => {
                stop.order.grace = stop.order.grace.min(order.grace);
                stop.kill_at = stop.kill_at.map(|at| at.min(now + order.grace));
                self.deadlines.set(attempt, live.deadline());
            }
            None => {
                live.stop = Some(Stop { order, kill_at: None });
                // An agent that is stopped leaves no next process that would have to know.
                if !self.stopping {
                    self.note(JournalEntry::Stopping { attempt, order }, out);
                }
                self.terminate(now, attempt, out);
            }
        }
    }

    /// Sends SIGTERM to an attempt that is to stop, once it has a process.
    fn terminate(&mut self, now: Time, attempt: AttemptId, out: &mut Vec<Output>) {
        let Some(live) = self.live.get_mut(&attempt).filter(|live| live.runs_since.is_some()) else { return };
        let Some(stop) = &mut live.stop else { return };
        stop.kill_at = Some(now + stop.order.grace);
        self.deadlines.set(attempt, live.deadline());
        out.push(Output::Signal { attempt, signal: Signal::Terminate });
    }

    /// The process of the agent is to end and its tasks are not: the next one goes on with them. What waits is forgotten,
    /// so that the dispatcher sends it again.
    pub(crate) fn on_leave(&mut self) {
        self.stopping = true;
        self.waiting.clear();
    }

    /// The agent is to end. What waits is handed back once nothing runs any more; what runs is stopped and reported as gone
    /// with the agent, so that it can be tried elsewhere.
    pub(crate) fn on_stop(&mut self, now: Time, grace: Span, out: &mut Vec<Output>) {
        self.farewell = Some(Farewell::begin(self.waiting.known(u64::MAX)));
        self.on_leave();
        let live: Vec<(AttemptId, Span)> =
            self.live.iter().map(|(attempt, live)| (*attempt, live.hold.kill_grace.min(grace))).collect();
        for (attempt, grace) in live {
            let order = StopOrder { state: TaskState::Gone, reason: Reason::AgentRestarted, grace };
            self.stop(now, attempt, order, out);
        }
    }

    /// Ends an attempt that an earlier process of this agent began and this one cannot go on with.
    fn end_lost(&mut self, now: Time, attempt: AttemptId, begun: &Begun, out: &mut Vec<Output>) {
        let wall_us = begun.started_at.map_or(0, |start| now.since(start).as_micros());
        let message =
            "the agent was started anew and could not go on with it; what was left of it was killed";
        let end = End {
            run: AttemptRun::one(attempt),
            state: TaskState::Gone,
            reason: Reason::AgentRestarted,
            started_at: begun.started_at,
            ended_at: now,
            outcome: Outcome { wall_us, message: Some(message.into()), ..Outcome::default() },
        };
        self.note(JournalEntry::Ended { end, held: false }, out);
    }

    /// Takes an attempt out of those that live, and gives back what it held.
    fn take_live(&mut self, attempt: AttemptId) -> Option<Live> {
        let live = self.live.remove(&attempt)?;
        self.deadlines.set(attempt, None);
        // What was taken from `free` fits back into it: nothing else was added.
        let _ = self.free.add(&live.hold.slice);
        self.waiting.give_back(live.line);
        Some(live)
    }
}

fn shorten(message: Arc<str>) -> Arc<str> {
    match message.char_indices().nth(MOST_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]).into(),
        None => message,
    }
}
