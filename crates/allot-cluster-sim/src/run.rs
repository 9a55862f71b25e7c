//! A run, from its seed to its outcome.

use allot_model::{Span, Time};

use crate::checks::{Broken, Promise, hold};
use crate::clock::START;
use crate::cluster::{Cluster, Scribe};
use crate::marks::Marks;
use crate::message::NodeId;
use crate::options::Options;
use crate::process::Role;

/// How long everything may take to end once faults have stopped.
const LIVENESS: Span = Span::from_secs(30 * 60);
/// How long a cluster may take to come to rest once all jobs have ended.
const SETTLING: Span = Span::from_secs(90);
/// How long nothing may be written to the ledger once it is at rest.
const STILLNESS: Span = Span::from_secs(30);
/// So many events at one time mean that it stands still.
const MOST_STEPS: u64 = 20_000_000;

/// What came of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was drawn for it.
    pub options: Options,
    /// How many events there were.
    pub steps: u64,
    /// How much virtual time passed.
    pub passed: Span,
    /// How long messages of the ledger there are.
    pub appends: u64,
    /// How many submissions the inbox took.
    pub jobs: u64,
    /// Equal for two runs that went the same way.
    pub digest: u64,
    /// The rare situations that were seen.
    pub marks: Marks,
    /// What went wrong, if anything did.
    pub broken: Option<Broken>,
}

/// Runs what the options say.
///
/// # Panics
/// Where a core finds that its own parts do not agree.
#[must_use]
pub fn run(options: Options) -> Outcome {
    play(Cluster::new(options, None))
}

/// As [`run`], and tells each thing that happens, in a line.
///
/// # Panics
/// As [`run`].
pub fn run_told(options: Options, scribe: Scribe<'_>) -> Outcome {
    play(Cluster::new(options, Some(scribe)))
}

fn play(mut cluster: Cluster<'_>) -> Outcome {
    play_through(&mut cluster);
    Outcome {
        steps: cluster.steps,
        passed: cluster.now.since(START),
        appends: cluster.ledger.end(),
        jobs: cluster.inbox.end(),
        digest: cluster.digest.value(),
        marks: cluster.marks,
        broken: cluster.broken,
        options: cluster.options,
    }
}

fn play_through(cluster: &mut Cluster<'_>) {
    let healed_at = START + cluster.options.until_healed();
    cluster.until(healed_at, |_| false);
    let ended = cluster.until(healed_at + LIVENESS, Cluster::all_ended);
    if !ended {
        let how = cluster.what_hangs();
        return cluster.check(Err(Broken { promise: Promise::Liveness, how }));
    }
    cluster.until(cluster.now + SETTLING, |_| false);
    let end = cluster.ledger.end();
    cluster.until(cluster.now + STILLNESS, |_| false);
    // A message without records follows a snapshot.
    let grown = cluster.ledger.from(end + 1).iter().find(|stored| !stored.batch.entries.is_empty());
    if let Some(stored) = grown {
        let how = format!("at rest the ledger grows: {:?}", stored.batch);
        cluster.check(Err(Broken { promise: Promise::Liveness, how }));
    }
    cluster.check_rest();
}

impl Cluster<'_> {
    /// Lets things happen until `enough` or that time; true where it was enough.
    fn until(&mut self, end: Time, enough: impl Fn(&Self) -> bool) -> bool {
        while self.broken.is_none() && self.now < end {
            if enough(self) {
                return true;
            }
            if !self.step() {
                return false;
            }
            if self.steps > MOST_STEPS {
                let how = format!("after {} events it is only {:?}", self.steps, self.now.since(START));
                self.check(Err(Broken { promise: Promise::Liveness, how }));
            }
        }
        self.broken.is_some() || enough(self)
    }

    /// All that was submitted has been decided on and has ended.
    fn all_ended(&self) -> bool {
        self.chronicle.open == 0 && self.chronicle.decided == self.inbox.end() && self.user_is_done()
    }

    fn user_is_done(&self) -> bool {
        let user = self.nodes.iter().find(|node| node.role == Role::User);
        user.and_then(|node| node.process.as_ref()).is_some_and(|user| user.at_rest().is_ok())
    }

    fn what_hangs(&self) -> String {
        let open: Vec<String> = self
            .chronicle
            .jobs
            .iter()
            .filter(|(_, job)| job.ended.is_none())
            .take(3)
            .map(|(id, job)| format!("{id} {job:?}"))
            .collect();
        format!(
            "{} of {} submissions are decided on, {} jobs have not ended: {}",
            self.chronicle.decided,
            self.inbox.end(),
            self.chronicle.open,
            open.join("; ")
        )
    }

    fn check_rest(&mut self) {
        let check = self.chronicle.at_rest();
        self.check(check);
        let check = self.processes.at_rest(&self.chronicle, self.now);
        self.check(check);
        for role in [Role::Registry, Role::Offers, Role::Dispatcher] {
            let of_role = self.nodes.iter().filter(|node| node.role == role);
            let leading =
                of_role.filter(|node| node.process.as_ref().is_some_and(|process| process.leads())).count();
            self.check(hold(Promise::Liveness, leading == 1, || {
                format!("{leading} instances of {role:?} are active")
            }));
        }
        for id in (0..self.nodes.len()).map(NodeId) {
            let node = &self.nodes[id.0];
            let Some(process) = &node.process else { continue };
            let rest = process.at_rest().map_err(|how| Broken { promise: Promise::Liveness, how });
            let same = process.compare(&self.ledger, &mut self.rebuilt, self.now);
            let same = same.map_err(|how| Broken { promise: Promise::ReplayEqualsLife, how });
            self.check(rest);
            self.check(same);
        }
    }
}
