//! The end of an agent that is told to stop: its tasks are stopped, it says that it leaves, and it hands back what it was sent
//! and did not start.

use allot_model::{AttemptRun, Reason, Span, TaskState, Time};

use crate::attempts::AttemptSet;
use crate::link::Link;
use crate::{AgentCore, Output};

/// How long after it has said that it leaves an agent hands back what it did not start, so that this is not sent to it again.
const LINGERS: Span = Span::from_millis(200);

/// How far the end of an agent has come.
#[derive(Debug, Clone)]
pub(crate) struct Farewell {
    /// What it was sent and does not start.
    declined: AttemptSet,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its tasks are being stopped.
    Stopping,
    /// It has said that it leaves, and waits until then for what may be on its way to it.
    Lingering(Time),
    /// What comes now is handed back at once.
    Over,
}

impl Farewell {
    /// The end begins, of an agent that has this yet to start.
    pub(crate) fn begin(waiting: Vec<AttemptRun>) -> Self {
        let mut declined = AttemptSet::default();
        waiting.into_iter().for_each(|run| declined.insert(run));
        Self { declined, stage: Stage::Stopping }
    }

    /// True once nothing more is to be said.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over && self.declined.is_empty()
    }

    /// True once it has said that it leaves.
    pub(crate) fn is_said(&self) -> bool {
        self.stage != Stage::Stopping
    }

    /// When what was not started is handed back.
    pub(crate) fn next(&self) -> Option<Time> {
        match self.stage {
            Stage::Lingering(until) => Some(until),
            Stage::Stopping | Stage::Over => None,
        }
    }

    /// Notes what is to be handed back.
    pub(crate) fn decline(&mut self, runs: impl Iterator<Item = AttemptRun>) {
        for run in runs {
            self.declined.missing(run).into_iter().for_each(|new| self.declined.insert(new));
        }
    }
}

impl AgentCore {
    /// Goes on with the end of an agent that is told to stop, where nothing runs any more.
    pub(crate) fn take_leave(&mut self, now: Time, out: &mut Vec<Output>) {
        let runs_nothing = self.runs_nothing();
        let is_full = self.is_full();
        let Some(farewell) = &mut self.farewell else { return };
        match farewell.stage {
            Stage::Stopping if runs_nothing => {
                farewell.stage = Stage::Lingering(now + LINGERS);
                self.link = Link::Silent;
                out.push(Output::Beat(self.beat(true)));
            }
            Stage::Lingering(until) if until <= now => farewell.stage = Stage::Over,
            _ => {}
        }
        let Some(farewell) = self.farewell.as_mut().filter(|farewell| farewell.stage == Stage::Over) else {
            return;
        };
        if !is_full {
            let declined = std::mem::take(&mut farewell.declined);
            for run in declined.iter() {
                self.end_unstarted(now, run, TaskState::Gone, Reason::HandedBack, None, out);
            }
        }
    }
}
