//! An instance of a service that writes to the ledger, as `allot_shell::drive` drives it: replay, take the lead, then
//! one append in flight at a time, with every effect held back until the records before it are durable.

mod snapshots;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use allot_model::{Batch, Core, Entry, Epoch, InstanceId, Record, Span, Time, Writer, WriterStarted};
use allot_proto::Wire;
use allot_writer::{Outbox, SnapshotConfig};

use crate::candidacy::Candidacy;
use crate::marks::Mark;
use crate::message::{Outgoing, Party};
use crate::process::{Act, Ending, Heard, Process};
use crate::services::{Effect, Service};
use crate::snapshots::Restored;
use crate::streams::{Fate, Lease, Ledger, Stored};
use snapshots::Snapshots;

/// How often it is tried again to take the lead where another instance was faster.
const TRIES: u32 = 10;
/// How long an acknowledgement is waited for before it is looked whether the append is there.
const PATIENCE: Span = Span::from_secs(5);
/// How long to wait before an append that is not there is tried again.
const PAUSE: Span = Span::from_millis(100);

/// An append whose fate is not known yet.
#[derive(Debug)]
struct Appending {
    number: u64,
    payload: Arc<[u8]>,
    stage: Stage,
    /// When to go on although nothing was heard.
    until: Time,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Published,
    Looking,
    Pausing,
}

/// How far an instance has come.
#[derive(Debug, PartialEq, Eq)]
enum Lead {
    /// Reads up to this message of the ledger.
    Replaying(u64),
    /// Follows the ledger while another instance is active.
    Standby,
    /// Its announcement is under way.
    Announcing,
    /// It is the writer, as far as it knows.
    Taken,
}

/// An instance.
pub(crate) struct Instance<S: Service> {
    me: Party,
    options: S::Options,
    core: S::Core,
    lead: Lead,
    tries: u32,
    epoch: Epoch,
    /// The last message of its subject.
    last: u64,
    outbox: Outbox<Outgoing>,
    appending: Option<Appending>,
    number: u64,
    /// What was heard before it could be given to the core.
    early: VecDeque<Heard>,
    /// The last message of the ledger that it was given.
    given: u64,
    /// The last message of the ledger that it has read, and when the stream took it.
    read: u64,
    read_at: Time,
    /// How many records it has read in its life.
    records: usize,
    /// What it has decided since what it has read of its own.
    own: VecDeque<Entry>,
    /// The next message of the inbox.
    inbox: Option<u64>,
    /// True once it has ended, whatever else it had to do.
    ended: bool,
    /// Absent where it takes over as soon as it has read the ledger.
    candidacy: Option<Candidacy>,
    /// True where the lease is its own, or it needs none.
    may_lead: bool,
    /// True where it is to end once all it decided is durable.
    stopping: bool,
    snapshots: Option<Snapshots>,
}

impl<S: Service> Instance<S> {
    /// An instance that knows what was restored, and finds a ledger of that length.
    pub(crate) fn new(
        me: Party,
        options: S::Options,
        restored: Restored<S::Core>,
        end: u64,
        candidacy: Option<Candidacy>,
        snapshots: Option<SnapshotConfig>,
    ) -> Self {
        let Restored { core, ledger_sequence, own_sequence, epoch } = restored;
        let snapshots = snapshots.map(Snapshots::new);
        Self {
            me,
            core,
            options,
            lead: Lead::Replaying(end),
            tries: 0,
            epoch,
            last: own_sequence,
            outbox: Outbox::new(S::WRITER, Epoch(0)),
            appending: None,
            number: 0,
            early: VecDeque::new(),
            given: ledger_sequence,
            read: ledger_sequence,
            read_at: Time::ZERO,
            records: 0,
            own: VecDeque::new(),
            inbox: None,
            ended: false,
            may_lead: candidacy.is_none(),
            candidacy,
            stopping: false,
            snapshots,
        }
    }

    fn instance_id(&self) -> InstanceId {
        let Party { node, life } = self.me;
        InstanceId::new(&format!("{}-{}-{life}", S::WRITER.as_str(), node.0))
            .expect("letters, digits and dashes")
    }

    fn end(&mut self, ending: Ending, acts: &mut Vec<Act>) {
        self.ended = true;
        acts.push(Act::End(ending));
    }

    /// Takes the lead once everything up to the end has been read.
    fn try_lead(&mut self, now: Time, acts: &mut Vec<Act>) {
        let Lead::Replaying(end) = self.lead else { return };
        if self.read < end {
            return;
        }
        if !self.may_lead {
            self.lead = Lead::Standby;
            return;
        }
        if self.tries == TRIES {
            self.end(Ending::Contended, acts);
            return;
        }
        self.tries += 1;
        let (writer, epoch) = (S::WRITER, Epoch(self.epoch.0 + 1));
        let record = Record::Writer(WriterStarted { writer, epoch, instance: self.instance_id() });
        let payload = Batch { writer, epoch, entries: vec![Entry { at: now, record }] }.encode();
        self.lead = Lead::Announcing;
        self.publish(now, payload.into(), acts);
    }

    /// Hears of the lease. Where that makes it ours, everything that was written by then is read first.
    fn on_lease(&mut self, now: Time, lease: Lease, end: u64, acts: &mut Vec<Act>) {
        let Some(candidacy) = &mut self.candidacy else { return };
        if candidacy.hear(now, lease) && !self.may_lead {
            self.may_lead = true;
            if self.lead == Lead::Standby {
                self.lead = Lead::Replaying(end);
            }
            self.try_lead(now, acts);
        }
    }

    /// Ends once nothing waits to be durable.
    fn try_stop(&mut self, acts: &mut Vec<Act>) {
        let is_done = self.lead != Lead::Taken || self.outbox.is_empty() && self.appending.is_none();
        if self.stopping && is_done {
            self.candidacy.iter().for_each(|candidacy| candidacy.give_up(acts));
            self.end(Ending::Stopped, acts);
        }
    }

    fn publish(&mut self, now: Time, payload: Arc<[u8]>, acts: &mut Vec<Act>) {
        self.number += 1;
        let (number, expected) = (self.number, self.last);
        acts.push(Act::Append { number, expected, payload: payload.clone() });
        self.appending = Some(Appending { number, payload, stage: Stage::Published, until: now + PATIENCE });
    }

    fn look(&mut self, now: Time, acts: &mut Vec<Act>) {
        let Some(appending) = &mut self.appending else { return };
        self.number += 1;
        appending.number = self.number;
        appending.stage = Stage::Looking;
        appending.until = now + PATIENCE;
        let (number, expected, payload) = (self.number, self.last, appending.payload.clone());
        acts.push(Act::Look { number, expected, payload });
    }

    fn start_append(&mut self, now: Time, acts: &mut Vec<Act>) {
        if self.lead == Lead::Taken
            && self.appending.is_none()
            && let Some(payload) = self.outbox.next_append()
        {
            self.publish(now, payload.into(), acts);
        }
    }

    fn on_appended(&mut self, now: Time, sequence: u64, acts: &mut Vec<Act>) {
        self.appending = None;
        self.last = sequence;
        if self.lead == Lead::Announcing {
            self.begin(now, acts);
        } else {
            acts.extend(self.outbox.acknowledged().into_iter().map(|out| Act::Send(out.to, out.message)));
        }
        self.start_append(now, acts);
    }

    /// It is the writer now.
    fn begin(&mut self, now: Time, acts: &mut Vec<Act>) {
        self.lead = Lead::Taken;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.outbox = Outbox::new(S::WRITER, self.epoch);
        self.inbox = S::inbox_from(&self.core);
        self.snapshots.iter_mut().for_each(|snapshots| snapshots.begin(now, self.records));
        self.give(now, S::resume(self.epoch), acts);
        self.start_append(now, acts);
        for heard in std::mem::take(&mut self.early) {
            self.hear(now, heard, acts);
        }
    }

    /// Another instance was faster, or has taken over since.
    fn on_fenced(&mut self, now: Time, last: u64, acts: &mut Vec<Act>) {
        self.appending = None;
        acts.push(Act::Saw(Mark::AppendFenced));
        if self.lead == Lead::Taken {
            self.end(Ending::Fenced, acts);
            return;
        }
        acts.push(Act::Saw(Mark::LeadLost));
        self.lead = Lead::Replaying(last);
        let early = std::mem::take(&mut self.early);
        let (ledger, others): (Vec<Heard>, Vec<Heard>) =
            early.into_iter().partition(|heard| matches!(heard, Heard::Ledger(_)));
        self.early = others.into();
        for heard in ledger {
            self.hear(now, heard, acts);
        }
        self.try_lead(now, acts);
    }

    fn on_ledger(&mut self, now: Time, stored: &Stored, acts: &mut Vec<Act>) {
        if stored.sequence != self.read + 1 {
            acts.push(Act::Saw(Mark::LeftBehind));
            self.end(Ending::LeftBehind, acts);
            return;
        }
        (self.read, self.read_at) = (stored.sequence, stored.at);
        let Batch { writer, epoch, entries } = &stored.batch;
        self.records += entries.len();
        if self.lead == Lead::Taken {
            self.note_read(*writer == S::WRITER, entries.len());
            if *writer != S::WRITER {
                entries.iter().for_each(|entry| self.give(now, S::ledger(entry.clone()), acts));
            } else if *epoch != self.epoch {
                acts.push(Act::Saw(Mark::FencedByReading));
                self.end(Ending::Fenced, acts);
            } else {
                self.own.drain(..decisions_in(entries));
            }
            return;
        }
        if *writer == S::WRITER {
            self.last = stored.sequence;
            self.epoch = self.epoch.max(*epoch);
        }
        fold::<S>(&mut self.core, now, entries);
        self.try_lead(now, acts);
    }

    fn give(&mut self, now: Time, input: <S::Core as Core>::Input, acts: &mut Vec<Act>) {
        let mut outputs = Vec::new();
        self.core.handle(now, input, &mut outputs);
        self.carry_out(now, outputs, acts);
    }

    fn carry_out(&mut self, now: Time, outputs: Vec<<S::Core as Core>::Output>, acts: &mut Vec<Act>) {
        for output in outputs {
            match S::effect(output) {
                Effect::Append(record) => {
                    let entry = Entry { at: now, record };
                    self.outbox.append(&entry);
                    self.snapshots.iter_mut().for_each(Snapshots::wrote);
                    self.own.push_back(entry);
                }
                Effect::Send(to, message) => {
                    let ready = self.outbox.send(Outgoing { to, message });
                    acts.extend(ready.map(|out| Act::Send(out.to, out.message)));
                }
                Effect::None => {}
            }
        }
    }
}

/// How many decisions these are: that a writer begins is none.
fn decisions_in(entries: &[Entry]) -> usize {
    entries.iter().filter(|entry| !matches!(entry.record, Record::Writer(_))).count()
}

/// What the ledger amounts to for each service: what was added since is all that it takes to know it anew.
#[derive(Default)]
pub(crate) struct Rebuilt(BTreeMap<Writer, (u64, Box<dyn Any>)>);

impl Rebuilt {
    fn of<S: Service>(&mut self, options: &S::Options, ledger: &Ledger, now: Time) -> &S::Core {
        let (next, core) = self.0.entry(S::WRITER).or_insert_with(|| (1, Box::new(S::core(options))));
        let Some(core) = core.downcast_mut() else { unreachable!("there is one kind of core for a writer") };
        ledger.from(*next).iter().for_each(|stored| fold::<S>(core, now, &stored.batch.entries));
        *next = ledger.end() + 1;
        core
    }
}

/// Where two texts part.
fn first_difference(lived: &str, rebuilt: &str) -> String {
    let at = lived.bytes().zip(rebuilt.bytes()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| {
        let bytes = text.as_bytes();
        let around = &bytes[at.saturating_sub(300).min(bytes.len())..(at + 300).min(bytes.len())];
        String::from_utf8_lossy(around).into_owned()
    };
    format!("lived …{}…, rebuilt …{}…", part(lived), part(rebuilt))
}

fn fold<S: Service>(core: &mut S::Core, now: Time, entries: &[Entry]) {
    let mut outputs = Vec::new();
    entries.iter().for_each(|entry| core.handle(now, S::replay(entry.clone()), &mut outputs));
    assert!(outputs.is_empty(), "a replay only folds");
}

impl<S: Service> Process for Instance<S> {
    fn boot(&mut self, now: Time, acts: &mut Vec<Act>) {
        self.try_lead(now, acts);
    }

    fn hear(&mut self, now: Time, heard: Heard, acts: &mut Vec<Act>) {
        if self.ended {
            return;
        }
        if let Heard::Ledger(stored) = &heard {
            self.given = self.given.max(stored.sequence);
        }
        match heard {
            Heard::Appended { number, result } => {
                let current = self.appending.as_ref();
                if !current.is_some_and(|a| a.number == number && a.stage == Stage::Published) {
                    return;
                }
                match result {
                    Ok(sequence) => self.on_appended(now, sequence, acts),
                    Err(_) => self.look(now, acts),
                }
            }
            Heard::Looked { number, fate } => {
                let Some(appending) = self.appending.as_mut().filter(|a| a.number == number) else { return };
                match fate {
                    Fate::Stored(sequence) => {
                        acts.push(Act::Saw(Mark::AppendFoundAfterAll));
                        self.on_appended(now, sequence, acts);
                    }
                    Fate::Replaced(last) => self.on_fenced(now, last, acts),
                    Fate::Missing(_) => {
                        appending.stage = Stage::Pausing;
                        appending.until = now + PAUSE;
                    }
                }
            }
            Heard::Lease { lease, end } => self.on_lease(now, lease, end, acts),
            Heard::Stop => self.stopping = true,
            _ if self.stopping => {}
            early if self.lead == Lead::Announcing => self.early.push_back(early),
            Heard::Ledger(stored) => self.on_ledger(now, &stored, acts),
            early if self.lead != Lead::Taken => self.early.push_back(early),
            Heard::Saved => self.snapshots.iter_mut().for_each(Snapshots::saved),
            later if self.is_settling() => {
                self.snapshots.iter_mut().for_each(|snapshots| snapshots.hold(later.clone()));
            }
            Heard::Submission(submission) => {
                self.inbox = Some(submission.job.0 + 1);
                if let Some(input) = S::submission(submission) {
                    self.give(now, input, acts);
                }
            }
            Heard::Message(from, message) => {
                if let Some(input) = S::input(from, &message) {
                    self.give(now, input, acts);
                }
            }
            _ => {}
        }
        self.start_append(now, acts);
        self.try_snapshot(now, acts);
        self.try_stop(acts);
    }

    fn wake(&mut self, now: Time, acts: &mut Vec<Act>) {
        if let Some(appending) = self.appending.as_ref().filter(|appending| appending.until <= now) {
            match appending.stage {
                Stage::Published | Stage::Looking => self.look(now, acts),
                Stage::Pausing => {
                    let payload = appending.payload.clone();
                    self.publish(now, payload, acts);
                }
            }
        }
        // Only once it has read the ledger: until then there is nothing that it could take over with.
        if matches!(self.lead, Lead::Standby | Lead::Taken)
            && let Some(candidacy) = &mut self.candidacy
        {
            candidacy.wake(now, acts);
        }
        if self.lead == Lead::Taken && !self.stopping && !self.is_settling() {
            let mut outputs = Vec::new();
            self.core.wake(now, &mut outputs);
            self.carry_out(now, outputs, acts);
            self.start_append(now, acts);
        }
        self.try_snapshot(now, acts);
    }

    fn next_wake(&self) -> Option<Time> {
        let appending = self.appending.as_ref().map(|appending| appending.until);
        let works = self.lead == Lead::Taken && !self.stopping && !self.is_settling();
        let core = self.core.next_wake().filter(|_| works).map(|(at, _)| at);
        let snapshots = self.snapshots.as_ref().filter(|_| self.lead == Lead::Taken && !self.stopping);
        let snapshot = snapshots.and_then(Snapshots::next_wake);
        let candidacy = self.candidacy.as_ref().map(Candidacy::next_wake);
        let candidacy = candidacy.filter(|_| matches!(self.lead, Lead::Standby | Lead::Taken));
        [appending, core, candidacy, snapshot].into_iter().flatten().min()
    }

    fn sanity_check(&self) {
        S::sanity_check(&self.core);
    }

    fn leads(&self) -> bool {
        self.lead == Lead::Taken
    }

    fn reads_ledger(&self) -> Option<u64> {
        Some(self.given + 1)
    }

    fn reads_inbox(&self) -> Option<u64> {
        self.inbox.filter(|_| !self.is_settling())
    }

    /// An instance that goes on living until it has read everything, and one that is built from the ledger and from what
    /// the first has decided since, have to be the same.
    fn compare(&self, ledger: &Ledger, rebuilt: &mut Rebuilt, now: Time) -> Result<(), String> {
        let is_own = |stored: &Stored| stored.batch.writer == S::WRITER;
        let replaced = |stored: &Arc<Stored>| is_own(stored) && stored.batch.epoch != self.epoch;
        if self.lead != Lead::Taken || ledger.from(self.last + 1).iter().any(replaced) {
            return Ok(());
        }
        let mut lived = self.core.clone();
        let mut decided = Vec::from(self.own.clone());
        let unread = ledger.from(self.read + 1).iter().filter(|stored| !is_own(stored));
        for entry in unread.flat_map(|stored| &stored.batch.entries) {
            let mut outputs = Vec::new();
            lived.handle(now, S::ledger(entry.clone()), &mut outputs);
            decided.extend(outputs.into_iter().filter_map(|output| match S::effect(output) {
                Effect::Append(record) => Some(Entry { at: now, record }),
                _ => None,
            }));
        }
        let own = ledger.from(self.read + 1).iter().filter(|stored| is_own(stored));
        let durable: usize = own.map(|stored| decisions_in(&stored.batch.entries)).sum();
        let mut rebuilt = rebuilt.of::<S>(&self.options, ledger, now).clone();
        fold::<S>(&mut rebuilt, now, decided.get(durable..).unwrap_or_default());
        S::sanity_check(&rebuilt);
        if S::same_state(&lived, &rebuilt) {
            return Ok(());
        }
        let apart = first_difference(&format!("{lived:?}"), &format!("{rebuilt:?}"));
        Err(format!("{} is another when it is rebuilt from the ledger: {apart}", self.instance_id()))
    }

    fn at_rest(&self) -> Result<(), String> {
        if self.lead == Lead::Standby {
            return Ok(());
        }
        if self.lead != Lead::Taken {
            return Err(format!("{} has not become the writer", self.instance_id()));
        }
        if !self.outbox.is_empty() {
            return Err(format!("{} waits for an append", self.instance_id()));
        }
        S::at_rest(&self.core)
    }
}

/// Whose subject an instance of this role writes.
pub(crate) fn writer_of(role: crate::process::Role) -> Option<Writer> {
    match role {
        crate::process::Role::Registry => Some(Writer::Registry),
        crate::process::Role::Offers => Some(Writer::Offers),
        crate::process::Role::Dispatcher => Some(Writer::Dispatcher),
        _ => None,
    }
}
