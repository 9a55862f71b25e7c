use super::*;
use allot_model::{Entry, Epoch, Outcome, TaskRange, Writer};
use std::sync::Arc;

fn at(micros: u64) -> Time {
    Time::from_micros(micros)
}

fn heard(tracker: &mut Tracker, now: u64, decided: u64, record: Record) {
    let entries = vec![Entry { at: at(decided), record }];
    tracker.on_batch(at(now), &Batch { writer: Writer::Dispatcher, epoch: Epoch(1), entries });
}

fn run(job: u64, first: u32, last: u32) -> AttemptRun {
    AttemptRun { job: JobId(job), tasks: TaskRange { first, last }, attempt: 1 }
}

fn admitted(job: u64, name: &str, submitted: u64) -> Record {
    let text = format!("{{\"command\": [\"true\"], \"name\": {name:?}}}");
    let spec = allot_model::job_file::parse_submission(text.as_bytes()).unwrap().spec;
    Record::Dispatcher(DispatcherRecord::JobAdmitted {
        job: JobId(job),
        queue: "bench".parse().unwrap(),
        message_id: None,
        submitted_at: at(submitted),
        spec: Arc::new(spec),
        waits: false,
    })
}

fn allocated(run: AttemptRun) -> Record {
    let slice = allot_model::Resources::new();
    let (agent, queue, slots) = ("a".parse().unwrap(), "bench".parse().unwrap(), run.tasks.count());
    let placement = Placement { agent, run, queue, slice, slots };
    let placements = vec![placement];
    Record::Offers(OffersRecord::Allocated { epoch: Epoch(1), grant: allot_model::GrantId(1), placements })
}

fn ended(run: AttemptRun, started: u64, ended: u64, state: TaskState, reason: Reason) -> Record {
    Record::Dispatcher(DispatcherRecord::TasksEnded {
        agent: "a".parse().unwrap(),
        run,
        state,
        reason,
        started_at: Some(at(started)),
        ended_at: at(ended),
        outcome: Outcome::default(),
        retry_at: None,
    })
}

fn over(job: u64) -> Record {
    let state = allot_model::JobState::Finished;
    Record::Dispatcher(DispatcherRecord::JobEnded { job: JobId(job), state, reason: None })
}

/// Two jobs of two tasks each, one after the other, on an agent with one place; a third is somebody else's.
pub(in super::super) fn tracker() -> Tracker {
    let mut tracker = Tracker::new("mine".into(), 2);
    for (job, from) in [(1, 1_000), (2, 1_100)] {
        heard(&mut tracker, 0, from + 40, admitted(job, "mine", from + 10));
        tracker.on_published(Published { job: JobId(job), at: at(from) });
    }
    heard(&mut tracker, 0, 1_200, admitted(3, "theirs", 1_150));
    for (job, begin) in [(1, 2_000), (2, 3_000)] {
        heard(&mut tracker, 0, begin, allocated(run(job, 0, 1)));
        let started = run(job, 0, 0);
        heard(
            &mut tracker,
            0,
            begin + 150,
            Record::Dispatcher(DispatcherRecord::TasksStarted {
                agent: "a".parse().unwrap(),
                run: started,
                started_at: at(begin + 100),
            }),
        );
        for (task, start) in [(0, begin + 100), (1, begin + 300)] {
            let record =
                ended(run(job, task, task), start, start + 50, TaskState::Finished, Reason::ExitedZero);
            heard(&mut tracker, 0, start + 80, record);
        }
        heard(&mut tracker, begin + 500, begin + 390, over(job));
    }
    heard(&mut tracker, 9_000, 9_000, over(3));
    tracker
}

#[test]
fn each_step_of_each_task_is_measured_from_the_records() {
    let tracker = tracker();
    assert!(tracker.is_over() && tracker.open().is_empty());
    assert_eq!(tracker.extent(), (at(1_000), at(3_500)));
    let stages = tracker.stages().distributions();
    let told: Vec<_> = stages.iter().map(|of| (of.stage, of.count, of.p50_us, of.max_us)).collect();
    assert_eq!(
        told,
        [
            (Stage::PublishedSubmitted, 2, 10, 10),
            (Stage::SubmittedAdmitted, 2, 30, 30),
            (Stage::AdmittedAllocated, 4, 960, 1_860),
            (Stage::AllocatedStarted, 4, 100, 300),
            (Stage::StartedEnded, 4, 50, 50),
            (Stage::EndedFinished, 4, 30, 30),
            (Stage::PublishedStarted, 4, 1_300, 2_201),
            (Stage::PublishedKnown, 2, 1_500, 2_401),
            (Stage::FreedStarted, 3, 150, 750),
            (Stage::AllocatedNext, 1, 1_000, 1_000),
        ]
    );
}

#[test]
fn a_job_may_be_heard_of_before_its_submission_is_acknowledged() {
    let mut tracker = Tracker::new("mine".into(), 2);
    heard(&mut tracker, 0, 0, admitted(1, "mine", 0));
    heard(&mut tracker, 5, 5, over(1));
    let rejection = allot_model::Rejection { field: "tasks".into(), message: "no".into() };
    let refused = |job| {
        let (queue, submitted_at, rejection) = ("bench".into(), at(0), rejection.clone());
        Record::Dispatcher(DispatcherRecord::JobRejected { job: JobId(job), queue, submitted_at, rejection })
    };
    heard(&mut tracker, 6, 6, refused(2));
    heard(&mut tracker, 6, 6, refused(9));
    assert_eq!((tracker.take_ended(), tracker.is_over()), (1, false));
    tracker.on_published(Published { job: JobId(1), at: at(0) });
    tracker.on_published(Published { job: JobId(2), at: at(0) });
    assert_eq!((tracker.take_ended(), tracker.is_over(), tracker.is_admitted()), (1, true, true));
    assert_eq!(tracker.failed().values().sum::<u64>(), 1);
}

#[test]
fn what_has_not_ended_is_open_and_what_failed_is_counted() {
    let mut tracker = Tracker::new("mine".into(), 3);
    for job in 1..=3 {
        tracker.on_published(Published { job: JobId(job), at: at(0) });
    }
    heard(&mut tracker, 0, 0, admitted(1, "mine", 0));
    heard(&mut tracker, 0, 0, admitted(2, "mine", 0));
    heard(&mut tracker, 0, 0, allocated(run(1, 0, 0)));
    heard(&mut tracker, 0, 0, ended(run(1, 0, 0), 0, 0, TaskState::Failed, Reason::LaunchFailed));
    heard(&mut tracker, 0, 0, over(1));
    assert_eq!(tracker.open(), [JobId(2), JobId(3)]);
    assert_eq!(tracker.ended_tasks(), 1);
    let failed: Vec<_> = tracker.failed().iter().collect();
    assert_eq!(failed, [(&(TaskState::Failed, Reason::LaunchFailed), &1)]);
    assert!(!tracker.is_admitted());
}
