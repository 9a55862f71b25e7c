//! Ledgers that must never be.

use allot_model::{
    AgentFacts, Amount, Command, DispatcherRecord, Entry, InstanceId, Outcome, PolicyName, Preempt,
    PreemptCause, Preemption, Preemptor, ResourceName, Time, Victim, WriterStarted,
};

use super::*;
use crate::checks::{Broken, Promise};

fn cpus(units: u64) -> Resources {
    [(ResourceName::cpus(), Amount::Scalar(units))].into_iter().collect()
}

fn agent() -> AgentId {
    AgentId::new("m1").unwrap()
}

fn run(text: &str) -> AttemptRun {
    text.parse().unwrap()
}

/// Tells the chronicle each record as a message of its own.
struct Ledger {
    chronicle: Chronicle,
    broken: Option<Broken>,
}

impl Ledger {
    /// A ledger with an agent of two cpus and a job of four tasks that each want one.
    fn new() -> Self {
        let preempt = PreemptRules { preempt: Preempt::Priority, ..PreemptRules::default() };
        let mut ledger = Self { chronicle: Chronicle::of(preempt), broken: None };
        for writer in Writer::ALL {
            ledger.writer(writer, 1);
        }
        let facts = AgentFacts {
            id: agent(),
            incarnation: Incarnation(1),
            host: String::new(),
            resources: cpus(2_000),
            attributes: Default::default(),
            program_version: String::new(),
        };
        ledger.write(Writer::Registry, Record::Registry(RegistryRecord::AgentJoined { facts: facts.into() }));
        let (epoch, instance) = (Epoch(1), InstanceId::new("a").unwrap());
        let policy = PolicyName::new("fifo").unwrap();
        ledger.write(
            Writer::Offers,
            Record::Offers(OffersRecord::AllocatorActivated { epoch, instance, policy }),
        );
        ledger.admit(1);
        assert_eq!(ledger.broken, None);
        ledger
    }

    /// With a job 2 of the same kind but a higher priority, and one 3 that must not run twice; task 0 of job 1 runs.
    fn urgent() -> Self {
        let mut ledger = Self::new();
        ledger.admit_as(2, |spec| spec.priority = 5);
        ledger.admit_as(3, |spec| spec.retries = 0);
        ledger.place("1.0#1");
        assert_eq!(ledger.broken, None);
        ledger
    }

    /// A task of a job is to be stopped for another.
    fn preempt(&mut self, text: &str, cause: PreemptCause, job: u64) {
        let victims = vec![Victim { agent: agent(), run: run(text) }];
        let (epoch, grant, job) = (Epoch(1), GrantId(9), JobId(job));
        let preemption = Preemption { epoch, grant, job, agent: agent(), cause, victims };
        self.write(Writer::Offers, Record::Offers(OffersRecord::Preempted(preemption)));
    }

    fn stop(&mut self, text: &str, reason: Reason, job: u64) {
        let by = Some(Preemptor { job: JobId(job), queue: allot_model::QueueName::new("a").unwrap() });
        self.dispatcher(DispatcherRecord::TasksKilling { agent: agent(), run: run(text), reason, by });
    }

    fn write_in(&mut self, writer: Writer, epoch: u64, record: Record) {
        let entries = vec![Entry { at: Time::ZERO, record }];
        let batch = Batch { writer, epoch: Epoch(epoch), entries };
        let check = self.chronicle.read(&batch, &mut Marks::default());
        self.broken = self.broken.take().or(check.err());
    }

    fn write(&mut self, writer: Writer, record: Record) {
        self.write_in(writer, 1, record);
    }

    fn writer(&mut self, writer: Writer, epoch: u64) {
        let started = WriterStarted { writer, epoch: Epoch(epoch), instance: InstanceId::new("i").unwrap() };
        self.write_in(writer, epoch, Record::Writer(started));
    }

    fn dispatcher(&mut self, record: DispatcherRecord) {
        self.write(Writer::Dispatcher, Record::Dispatcher(record));
    }

    fn admit(&mut self, job: u64) {
        self.admit_as(job, |_| {});
    }

    fn admit_as(&mut self, job: u64, change: impl FnOnce(&mut JobSpec)) {
        let mut spec = JobSpec { tasks: 4, retries: 1, ..JobSpec::new(Command::Shell("true".into())) };
        change(&mut spec);
        self.dispatcher(DispatcherRecord::JobAdmitted {
            job: JobId(job),
            queue: allot_model::QueueName::new("a").unwrap(),
            message_id: None,
            submitted_at: Time::ZERO,
            spec: spec.into(),
            waits: false,
        });
    }

    fn place(&mut self, text: &str) {
        let run = run(text);
        let queue = allot_model::QueueName::new("a").unwrap();
        let placement =
            Placement { agent: agent(), slots: run.tasks.count(), run, queue, slice: cpus(1_000) };
        let (epoch, grant) = (Epoch(1), GrantId(1));
        self.write(
            Writer::Offers,
            Record::Offers(OffersRecord::Allocated { epoch, grant, placements: vec![placement] }),
        );
    }

    fn end(&mut self, text: &str, state: TaskState, reason: Reason, again: bool) {
        self.dispatcher(DispatcherRecord::TasksEnded {
            agent: agent(),
            run: run(text),
            state,
            reason,
            started_at: None,
            ended_at: Time::ZERO,
            outcome: Outcome::default(),
            retry_at: again.then_some(Time::ZERO),
        });
    }

    fn fail(&mut self, text: &str, again: bool) {
        self.end(text, TaskState::Failed, Reason::ExitedNonzero, again);
    }

    fn end_job(&mut self, state: JobState) {
        self.dispatcher(DispatcherRecord::JobEnded { job: JobId(1), state, reason: None });
    }
}

#[test]
fn each_ledger_that_must_not_be_is_told_with_the_promise_that_it_breaks() {
    type Story = fn(&mut Ledger);
    let stories: [(&str, Promise, Story); 14] = [
        ("a submission is passed over", OneEnd, |l| l.admit(3)),
        ("a submission is decided on twice", OneEnd, |l| l.admit(1)),
        ("a job ends before its tasks", OneEnd, |l| l.end_job(JobState::Failed)),
        ("a task is placed twice", OneRun, |l| {
            l.place("1.0#1");
            l.place("1.0#1");
        }),
        ("a try is placed that was never queued", OneRun, |l| l.place("1.0#2")),
        ("a task has more tries than it may", OneRun, |l| {
            l.place("1.0#1");
            l.fail("1.0#1", true);
            l.dispatcher(DispatcherRecord::TasksQueued { run: run("1.0#2") });
            l.place("1.0#2");
            l.fail("1.0#2", true);
        }),
        ("a task that finished is tried again", OneRun, |l| {
            l.place("1.0#1");
            l.end("1.0#1", TaskState::Finished, Reason::ExitedZero, true);
        }),
        ("a task is given up with an agent that is there", OneRun, |l| {
            l.place("1.0#1");
            l.end("1.0#1", TaskState::Gone, Reason::AgentUnreachable, true);
        }),
        ("more is placed than there is", NoOverallocation, |l| l.place("1.0-2#1")),
        ("an allocation is released twice", OneRelease, |l| {
            l.place("1.0#1");
            l.fail("1.0#1", false);
            l.fail("1.0#1", false);
        }),
        ("an allocation is given back though it is wanted", OneEnd, |l| {
            l.place("1.0#1");
            l.dispatcher(DispatcherRecord::AllocationReturned { agent: agent(), run: run("1.0#1") });
        }),
        ("a writer that was replaced writes", NoHarm, |l| {
            l.writer(Writer::Dispatcher, 2);
            l.admit(2);
        }),
        ("two writers begin the same epoch", NoHarm, |l| l.writer(Writer::Offers, 1)),
        ("at rest something is held", OneRelease, |l| {
            l.place("1.0#1");
            l.broken = l.chronicle.at_rest().err();
        }),
    ];
    for (story, promise, happens) in stories {
        let mut ledger = Ledger::new();
        happens(&mut ledger);
        assert_eq!(
            ledger.broken.as_ref().map(|broken| broken.promise),
            Some(promise),
            "{story}: {:?}",
            ledger.broken
        );
    }
}

#[test]
fn nobody_is_stopped_for_others_who_must_not_be_and_who_is_waits_again() {
    use PreemptCause::{Guarantee, Priority};
    const STOPPED: Reason = Reason::PreemptedForPriority;
    type Story = fn(&mut Ledger);
    let stories: [(&str, Option<Promise>, Story); 9] = [
        ("as it should be", None, |l| {
            l.preempt("1.0#1", Priority, 2);
            l.stop("1.0#1", STOPPED, 2);
            l.end("1.0#1", TaskState::Killed, STOPPED, true);
        }),
        ("it is off for that", Some(NoHarm), |l| l.preempt("1.0#1", Guarantee, 2)),
        ("the job is not more important", Some(NoHarm), |l| l.preempt("1.0#1", Priority, 3)),
        ("the victim must not run twice", Some(OneRun), |l| {
            l.place("3.0#1");
            l.preempt("3.0#1", Priority, 2);
        }),
        ("the victim was never placed", Some(NoHarm), |l| l.preempt("1.1#1", Priority, 2)),
        ("the victim is being stopped already", Some(NoHarm), |l| {
            l.preempt("1.0#1", Priority, 2);
            l.preempt("1.0#1", Priority, 2);
        }),
        ("it is stopped for another", Some(NoHarm), |l| {
            l.preempt("1.0#1", Priority, 2);
            l.stop("1.0#1", STOPPED, 3);
        }),
        ("it was to be stopped for nobody", Some(NoHarm), |l| l.stop("1.0#1", STOPPED, 2)),
        ("it does not wait again", Some(OneEnd), |l| {
            l.preempt("1.0#1", Priority, 2);
            l.stop("1.0#1", STOPPED, 2);
            l.end("1.0#1", TaskState::Killed, STOPPED, false);
        }),
    ];
    for (story, promise, happens) in stories {
        let mut ledger = Ledger::urgent();
        happens(&mut ledger);
        let broken = ledger.broken.as_ref().map(|broken| broken.promise);
        assert_eq!(broken, promise, "{story}: {:?}", ledger.broken);
    }
}

#[test]
fn a_ledger_as_it_should_be_breaks_nothing() {
    let mut ledger = Ledger::new();
    ledger.place("1.0-1#1");
    ledger.fail("1.0#1", true);
    ledger.end("1.1#1", TaskState::Finished, Reason::ExitedZero, false);
    ledger.dispatcher(DispatcherRecord::TasksQueued { run: run("1.0#2") });
    ledger.place("1.0#2");
    ledger.place("1.2#1");
    ledger.dispatcher(DispatcherRecord::JobCancelled { job: JobId(1) });
    ledger.end_job(JobState::Killed);
    for given_back in ["1.0#2", "1.2#1"] {
        ledger.dispatcher(DispatcherRecord::AllocationReturned { agent: agent(), run: run(given_back) });
    }
    assert_eq!(ledger.broken, None);
    assert_eq!(ledger.chronicle.at_rest(), Ok(()));
}
