//! Rare situations that a set of runs has to have seen, or it shows less than it seems to.

use std::fmt;

macro_rules! marks {
    ($($(#[$doc:meta])* $name:ident => $text:literal),* $(,)?) => {
        /// A rare situation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $($(#[$doc])* $name),*
        }

        impl Mark {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What was seen, in words.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

marks! {
    /// The fence held.
    AppendFenced => "append fenced",
    /// Two instances took over at once.
    LeadLost => "another instance was faster to take the lead",
    /// A writer read that it is none any more.
    FencedByReading => "a writer read that another has taken over",
    /// A standby judged that the active instance is gone.
    TakenOverSilence => "standby took over from a silent instance",
    /// An instance gave its lease up.
    HandedOver => "lease given up by an instance that stops",
    /// The acknowledgement was lost, the append was not.
    AppendFoundAfterAll => "append found although its acknowledgement was lost",
    /// The writer was dead when the acknowledgement came.
    AcknowledgedToTheDead => "append acknowledged to a crashed writer",
    /// An append of a dead process was taken.
    AppendOfTheDead => "append of a crashed writer taken",
    /// A process was killed between the effects of one decision.
    CrashAmongEffects => "crash between two effects of one decision",
    /// An instance began with a snapshot.
    SnapshotRestored => "snapshot restored",
    /// The newest could not be read.
    SnapshotDamaged => "damaged snapshot passed over for the one before",
    /// Something was in the way of a snapshot for long.
    SnapshotPutOff => "snapshot put off because records were under way",
    /// Something was removed that is in all snapshots.
    LedgerTrimmed => "ledger trimmed behind the snapshots",
    /// What a standby was going to read next was trimmed.
    LeftBehind => "standby left behind by the trimming begins anew",
    /// The grant was of an agent that is not there.
    RefusedAgentLeft => "grant refused because the agent left",
    /// The grant came from one that does not decide.
    RefusedNotActive => "grant refused because another allocator decides",
    /// The grant was of what is taken.
    RefusedNotFree => "grant refused because the resources are taken",
    /// The grant was of tasks that do not wait.
    RefusedNotPending => "grant refused because the task does not wait",
    /// The grant was of another form or place than the job asks for.
    RefusedDoesNotFit => "grant refused because it does not fit",
    /// The grant would exceed a queue's limit.
    RefusedOverLimit => "grant refused because of a limit",
    /// An allocator was replaced.
    AllocatorReplaced => "another allocator was activated",
    /// An allocation that nobody wants any more was given back.
    AllocationReturned => "allocation given back because the job was cancelled",
    /// An agent was called unreachable.
    AgentUnreachable => "agent unreachable",
    /// It came back.
    AgentReturned => "agent returned",
    /// It came back as another.
    AgentReborn => "agent joined in another life",
    /// Another took the place of one that may go on.
    RebornUnseen => "agent joined in another life while nobody knew that the one before was over",
    /// An agent reported while it counts as unreachable.
    ReportAfterUnreachable => "report after unreachable",
    /// An attempt was given up with its agent and tried elsewhere.
    RetriedElsewhere => "task tried elsewhere because its agent is unreachable",
    /// An attempt of before still ran when the next one began.
    TwoTriesAtOnce => "old try ran on unseen on an unreachable agent",
    /// An order of a dispatcher that was replaced reached an agent that knows better.
    OrderOfTheReplaced => "order of a replaced dispatcher ignored",
    /// A launch came again.
    LaunchTwice => "launch of an attempt that was begun before",
    /// A batch of reports came again.
    ReportTwice => "report repeated",
    /// An agent's process was killed while processes ran.
    AgentKilledAtWork => "agent killed while processes ran",
    /// A torn journal.
    JournalTorn => "agent killed while it wrote its journal",
    /// A journal that was written anew.
    JournalRewritten => "journal rewritten",
    /// A disk that took nothing.
    DiskFull => "agent waited for its disk",
    /// Nobody reached the bus for hours, and tasks ended meanwhile.
    EndedInOutage => "task ended while NATS was away for hours",
    /// The clock of a process is off by much.
    ClockJumped => "process began with a clock that is off by up to an hour",
    /// What an earlier life left behind ran on.
    TakenBack => "process of an agent's earlier life taken back",
    /// An attempt that did not have its turn.
    HandedBack => "task handed back before its turn",
    /// The time limit of a task.
    TimeLimit => "task killed at its time limit",
    /// A task that is not impressed by SIGTERM.
    KilledHard => "task killed after its grace",
    /// A message id that was used before.
    SubmittedTwice => "submission known again by its message id",
    /// A submission that is no job.
    Rejected => "submission rejected",
    /// A submission to a queue of which enough jobs wait.
    QueueFull => "submission rejected because enough jobs of its queue wait",
    /// A drain that came to its end.
    Drained => "agent drained",
    /// An agent that was declared gone.
    DeclaredGone => "agent declared gone while it held tasks",
    /// A job that waited for others.
    Dropped => "job dropped because of a dependency",
    /// Tasks were stopped for a job of a higher priority.
    PreemptedForPriority => "task stopped for a job of a higher priority, and queued again",
    /// Tasks were stopped for a guarantee.
    PreemptedForGuarantee => "task stopped for a guarantee, and queued again",
    /// A victim came to its end by itself.
    FinishedMeanwhile => "task finished before it was stopped for another",
    /// A victim went with its agent.
    LostMeanwhile => "task lost with its agent before it was stopped for another",
    /// Nobody may be stopped for that.
    RefusedPreemption => "preemption refused because it is not allowed",
    /// Enough were stopped of late.
    RefusedTooMany => "preemption refused because of the rate",
    /// Somebody must not be stopped.
    RefusedNotPreemptible => "preemption refused because of a victim",
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How often each was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks(Vec<u64>);

impl Default for Marks {
    fn default() -> Self {
        Self(vec![0; Mark::ALL.len()])
    }
}

impl Marks {
    pub(crate) fn see(&mut self, mark: Mark) {
        if let Some(count) = self.0.get_mut(mark as usize) {
            *count += 1;
        }
    }

    /// How often it was seen.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u64 {
        self.0.get(mark as usize).copied().unwrap_or(0)
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// What was not seen.
    pub fn missing(&self) -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(|mark| self.count(*mark) == 0)
    }
}
