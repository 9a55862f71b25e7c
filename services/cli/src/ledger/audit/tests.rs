use std::sync::Arc;

use allot_model::{
    AgentFacts, Amount, Attributes, Command, Entry, GrantId, Incarnation, InstanceId, JobSpec, JobState,
    Outcome, PreemptCause, Preemption, QueueName, Reason, TaskState, Time, WriterStarted,
};

use super::*;

fn agent() -> AgentId {
    AgentId::new("a1").unwrap()
}

fn run(job: u64, first: u32, last: u32, attempt: u32) -> AttemptRun {
    AttemptRun { job: JobId(job), tasks: TaskRange { first, last }, attempt }
}

fn amounts(cpus: u64, gpu: Option<(&str, u64)>) -> Resources {
    let mut resources: Resources = [("cpus".parse().unwrap(), Amount::Scalar(cpus))].into_iter().collect();
    if let Some((device, amount)) = gpu {
        resources.set("gpus".parse().unwrap(), Amount::Items([(device.to_owned(), amount)].into()));
    }
    resources
}

fn joined(total: Resources) -> Record {
    let facts = AgentFacts {
        id: agent(),
        incarnation: Incarnation(1),
        host: "h".into(),
        resources: total,
        attributes: Attributes::new(),
        program_version: String::new(),
    };
    Record::Registry(RegistryRecord::AgentJoined { facts: Arc::new(facts) })
}

fn activated(epoch: u64) -> Record {
    let (instance, policy) = (InstanceId::new("i").unwrap(), "drf".parse().unwrap());
    Record::Offers(OffersRecord::AllocatorActivated { epoch: Epoch(epoch), instance, policy })
}

fn allocated_in(run: AttemptRun, slice: Resources, slots: u64) -> Record {
    let queue = QueueName::new("q").unwrap();
    let placements = vec![Placement { agent: agent(), run, queue, slice, slots }];
    Record::Offers(OffersRecord::Allocated { epoch: Epoch(1), grant: GrantId(1), placements })
}

fn allocated(run: AttemptRun) -> Record {
    allocated_in(run, amounts(1_000, None), run.tasks.count())
}

fn ended(run: AttemptRun, is_last: bool) -> Record {
    Record::Dispatcher(DispatcherRecord::TasksEnded {
        agent: agent(),
        run,
        state: TaskState::Failed,
        reason: Reason::ExitedNonzero,
        started_at: None,
        ended_at: Time::ZERO,
        outcome: Outcome::default(),
        retry_at: (!is_last).then_some(Time::ZERO),
    })
}

fn job_ended(job: u64) -> Record {
    Record::Dispatcher(DispatcherRecord::JobEnded { job: JobId(job), state: JobState::Failed, reason: None })
}

fn admitted(job: u64, retries: u32) -> Record {
    Record::Dispatcher(DispatcherRecord::JobAdmitted {
        job: JobId(job),
        queue: QueueName::new("q").unwrap(),
        message_id: None,
        submitted_at: Time::ZERO,
        spec: JobSpec { retries, ..JobSpec::new(Command::Shell("true".into())) }.into(),
        waits: false,
    })
}

fn preempted(run: AttemptRun) -> Record {
    let victims = vec![Victim { agent: agent(), run }];
    let (epoch, grant, job, cause) = (Epoch(1), GrantId(2), JobId(9), PreemptCause::Priority);
    Record::Offers(OffersRecord::Preempted(Preemption { epoch, grant, job, agent: agent(), cause, victims }))
}

/// The report on these records, each a message of its writer, the first with this number.
fn audit(first: u64, records: Vec<Record>) -> Report {
    let mut audit = Audit::default();
    let mut begun = BTreeMap::new();
    for (record, sequence) in records.into_iter().zip(first..) {
        let writer = match &record {
            Record::Writer(started) => started.writer,
            Record::Registry(_) => Writer::Registry,
            Record::Offers(_) => Writer::Offers,
            Record::Dispatcher(_) => Writer::Dispatcher,
        };
        let mut entries = Vec::new();
        if begun.insert(writer, ()).is_none() {
            let instance = InstanceId::new("i").unwrap();
            entries.push(Record::Writer(WriterStarted { writer, epoch: Epoch(1), instance }));
        }
        entries.push(record);
        let entries = entries.into_iter().map(|record| Entry { at: Time::ZERO, record }).collect();
        audit.check(sequence, &Batch { writer, epoch: Epoch(1), entries });
    }
    audit.report()
}

/// The promises that are not kept, in order.
fn rules(records: Vec<Record>) -> Vec<&'static str> {
    audit(1, records).findings.into_iter().map(|finding| finding.rule).collect()
}

#[test]
fn a_ledger_that_keeps_all_promises_is_found_to() {
    let records = vec![
        joined(amounts(4_000, Some(("0", 1_000)))),
        activated(1),
        admitted(1, 1),
        allocated(run(1, 0, 2, 1)),
        preempted(run(1, 0, 0, 1)),
        allocated_in(run(2, 0, 0, 1), amounts(1_000, Some(("0", 1_000))), 1),
        ended(run(1, 0, 0, 1), false),
        allocated(run(1, 0, 0, 2)),
        ended(run(1, 1, 2, 1), true),
        ended(run(1, 0, 0, 2), true),
        job_ended(1),
        // Ten tasks in two slots.
        allocated_in(run(3, 0, 9, 1), amounts(1_000, None), 2),
        ended(run(3, 0, 8, 1), true),
        allocated(run(4, 0, 1, 1)),
    ];
    let report = audit(1, records);
    assert_eq!(report.findings, []);
    assert_eq!((report.held, report.open_jobs), (4, 3), "{}", report.text());
}

#[test]
fn each_promise_that_is_not_kept_is_found() {
    let small = || joined(amounts(1_000, Some(("0", 1_000))));
    let of_gpu = |run, amount| allocated_in(run, amounts(100, Some(("0", amount))), 1);
    let cases = [
        (vec![small(), allocated(run(1, 0, 1, 1))], "no agent holds more than it has"),
        (
            vec![small(), of_gpu(run(1, 0, 0, 1), 600), of_gpu(run(1, 1, 1, 1), 600)],
            "no agent holds more than it has",
        ),
        (vec![small(), of_gpu(run(1, 0, 0, 1), 500), allocated(run(1, 0, 0, 1))], "an attempt is made once"),
        (vec![small(), ended(run(1, 0, 0, 1), true)], "an allocation is released once"),
        (
            vec![
                small(),
                allocated(run(1, 0, 0, 1)),
                ended(run(1, 0, 0, 1), true),
                ended(run(1, 0, 0, 1), true),
            ],
            "an allocation is released once",
        ),
        (
            vec![
                small(),
                allocated(run(1, 0, 0, 1)),
                ended(run(1, 0, 0, 1), true),
                allocated(run(1, 0, 0, 2)),
            ],
            "what is over stays over",
        ),
        (vec![job_ended(1), job_ended(1)], "a job ends once"),
        (vec![activated(2), activated(2)], "epochs grow"),
        (vec![activated(2), small(), allocated(run(1, 0, 0, 1))], "the active allocator decides"),
        (vec![activated(2), preempted(run(1, 0, 0, 1))], "the active allocator decides"),
        (vec![admitted(1, 0), preempted(run(1, 0, 0, 1))], "a job without retries is not stopped for others"),
    ];
    for (records, rule) in cases {
        assert!(rules(records.clone()).contains(&rule), "{rule}: {records:?}");
    }
}

#[test]
fn a_writer_that_goes_back_to_an_earlier_epoch_or_begins_one_without_saying_so_is_found() {
    let batch = |epoch, says: bool| {
        let instance = InstanceId::new("i").unwrap();
        let started = WriterStarted { writer: Writer::Offers, epoch: Epoch(epoch), instance };
        let entry = Entry { at: Time::ZERO, record: Record::Writer(started) };
        Batch {
            writer: Writer::Offers,
            epoch: Epoch(epoch),
            entries: says.then_some(entry).into_iter().collect(),
        }
    };
    for batches in
        [vec![batch(2, true), batch(1, true)], vec![batch(1, true), batch(2, false)], vec![batch(1, false)]]
    {
        let mut audit = Audit::default();
        batches.iter().zip(1..).for_each(|(batch, sequence)| audit.check(sequence, batch));
        assert_eq!(audit.report().findings.len(), 1, "{batches:?}");
    }
}

#[test]
fn what_began_before_a_trimmed_ledger_is_not_judged() {
    let report = audit(100, vec![ended(run(1, 0, 0, 1), true), allocated(run(2, 0, 0, 3)), job_ended(1)]);
    assert_eq!(report.findings, []);
}
