use super::*;
use crate::jobs::tests::{NOW, summary};
use crate::output::Format;
use crate::why::Waiting;
use allot_model::view::{AgentState, AttemptView, GangRoom, Reservation, RoomMade, SetAside};
use allot_model::{LimitChange, Outcome, Preemptor, QueueLimit, Reason, RefusalCode, Rejection, Span};
use serde_json::json;

fn output() -> Output {
    Output::plain(Format::Text, false, NOW)
}

/// A job of ten tasks of which three run, in this state.
fn job(state: JobState) -> Why {
    let mut summary = summary(12);
    summary.state = state;
    Why {
        summary,
        task: None,
        rejection: None,
        waiting: Waiting::default(),
        after: Vec::new(),
        preempted: None,
        failed: None,
        place: None,
        absent: Vec::new(),
        unexplained: None,
    }
}

fn share(queue: &str, weight: u32, share: [u64; 2]) -> QueueShare {
    QueueShare { queue: queue.parse().unwrap(), weight, resource: "cpus".parse().ok(), share }
}

fn limit(text: &str) -> QueueLimit {
    text.parse::<LimitChange>().unwrap().applied_to(QueueLimit::default())
}

fn waiting() -> Why {
    let count = |hindrance, agents| AgentCount { hindrance, agents };
    let shortage = |resource: &str, asked, has, short| Shortage {
        resource: resource.parse().unwrap(),
        asked,
        has,
        short,
    };
    let busy = Hindrance::Busy { resource: "cpus".parse().unwrap() };
    let place = WhyView {
        job: JobId(12),
        policy: "drf".parse().unwrap(),
        waiting: 6,
        granted: 1,
        held: None,
        limit: None,
        kept: None,
        gang: None,
        reservation: None,
        room_made: Vec::new(),
        reasons: vec![
            count(busy.clone(), 40),
            count(Hindrance::TooSmall { resource: "mem".parse().unwrap() }, 12),
            count(Hindrance::Excluded { constraint: "zone == b".into() }, 1),
        ],
        nearest: Some(NearMiss::Agent {
            agent: "node7".parse().unwrap(),
            hindrance: busy,
            short: vec![
                shortage("cpus", json!(4), json!(3.5), json!(0.5)),
                shortage("mem", json!("16GiB"), json!("12GiB"), json!("4GiB")),
            ],
        }),
        line: Some(PlaceInLine {
            queue: "research.vision".parse().ok(),
            jobs_ahead: 3,
            tasks_ahead: 1_205,
            first: Some(JobId(7)),
            strict: false,
        }),
        share: Some(share("research.vision", 1, [3, 8])),
        queues_ahead: 2,
        behind: Some(share("research.nlp", 3, [1, 4])),
    };
    let waiting = Waiting { for_place: 7, since: Some(NOW - Span::from_secs(192)), ..Waiting::default() };
    Why { waiting, place: Some(place), ..job(JobState::Running) }
}

#[test]
fn a_wait_for_a_place_is_told_with_all_that_is_in_the_way() {
    assert_eq!(
        text(&waiting(), &output()),
        "\
7 of the 10 tasks of job 12 have waited for a place for 3m12s

40 agents  busy in cpus
12 agents  too small in mem
 1 agent   excluded by `zone == b`

nearest  node7 is short of 0.5 cpus (4 asked, 3.5 free) and 4GiB mem (16GiB asked, 12GiB free)
granted  1 of them have just been granted a place
in line  4th in research.vision, behind job 7 and 2 more with 1205 tasks
share    research.vision has 37.5% of cpus, weight 1
behind   research.nlp has 25.0% of cpus, weight 3; 2 queues are served before
others   3 running"
    );
}

#[test]
fn the_first_in_line_of_the_first_queue_is_told_so() {
    let mut why = waiting();
    let place = why.place.as_mut().unwrap();
    place.nearest = Some(NearMiss::Constraint { constraint: "zone == c".into(), agents: 53 });
    place.line = Some(PlaceInLine { queue: None, jobs_ahead: 0, tasks_ahead: 0, first: None, strict: true });
    place.held = Some(SetAside { until: NOW + Span::from_secs(4), refused: RefusalCode::DoesNotFit });
    (place.behind, place.queues_ahead, place.granted) = (None, 0, 0);
    let text = text(&why, &output());
    for line in [
        "nearest    none: `zone == c` alone excludes 53",
        "set aside  for 4.0s: the offers service refused a grant (does_not_fit)",
        "in line    first of all jobs",
        "share      research.vision has 37.5% of cpus, weight 1; no queue is served before it",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn each_other_state_is_a_sentence() {
    let of = |change: &dyn Fn(&mut Why), state| {
        let mut why = job(state);
        change(&mut why);
        text(&why, &output())
    };
    let nothing = |_: &mut Why| {};
    assert_eq!(of(&nothing, JobState::Running), "job 12 does not wait: 3 running, 7 queued");
    assert_eq!(of(&nothing, JobState::Killing), "job 12 is being cancelled: 3 running, 7 queued");
    let ended = |why: &mut Why| why.summary.ended_at = Some(NOW - Span::from_secs(60));
    assert_eq!(of(&ended, JobState::Finished), "job 12 has finished, 1m ago");
    assert_eq!(of(&ended, JobState::Killed), "job 12 was cancelled, 1m ago");
    let rejected = |why: &mut Why| {
        why.rejection = Some(Rejection { field: "tasks".into(), message: "the number `0` is given".into() });
    };
    assert_eq!(of(&rejected, JobState::Rejected), "job 12 was rejected: `tasks`: the number `0` is given");
    let dependencies = |why: &mut Why| {
        why.after = vec![
            Dependency { job: JobId(7), state: Some(JobState::Running) },
            Dependency { job: JobId(11), state: None },
        ];
    };
    assert_eq!(
        of(&dependencies, JobState::Waiting),
        "\
job 12 waits until the jobs have finished that it is to come after

job 7   running
job 11  not known any more"
    );
    assert!(of(&dependencies, JobState::Dropped).starts_with("job 12 never ran: a job that it waited for"));
    let backoff = |why: &mut Why| {
        why.waiting =
            Waiting { for_next_try: 2, next_try_at: Some(NOW + Span::from_secs(8)), ..Waiting::default() };
    };
    assert_eq!(of(&backoff, JobState::Queued), "job 12 waits for its next try\n\nnext try  2 tasks, in 8s");
}

fn attempt(state: TaskState, reason: Reason) -> AttemptView {
    AttemptView {
        attempt: 1,
        state,
        reason,
        agent: "a1".parse().ok(),
        queued_at: NOW - Span::from_secs(42),
        allocated_at: None,
        started_at: None,
        ended_at: None,
        retry_at: None,
        slice: None,
        outcome: None,
        by: None,
    }
}

#[test]
fn a_failed_job_is_told_with_its_first_failure() {
    let outcome = Some(Outcome { exit_code: Some(3), ..Outcome::default() });
    let attempt = AttemptView { outcome, ..attempt(TaskState::Failed, Reason::ExitedNonzero) };
    let mut why = Why { failed: Some(Task { index: 4, attempt }), ..job(JobState::Failed) };
    why.summary.counts = TaskCounts { finished: 9, failed: 1, ..TaskCounts::default() };
    assert_eq!(
        text(&why, &output()),
        "job 12 has failed: 9 finished, 1 failed\n\nfirst  task 12.4 is failed (exited_nonzero) on a1: exit code 3"
    );
}

#[test]
fn one_task_is_told_by_its_own_state() {
    let of = |state, reason, retry_at| {
        let attempt = AttemptView { retry_at, ..attempt(state, reason) };
        text(&Why { task: Some(Task { index: 3, attempt }), ..job(JobState::Running) }, &output())
    };
    let queued = TaskState::Queued;
    assert_eq!(of(queued, Reason::Admitted, None), "task 12.3 has waited for a place for 42s");
    assert_eq!(of(queued, Reason::WaitsForDependency, None), "task 12.3 waits for other jobs");
    let at = Some(NOW + Span::from_secs(8));
    assert_eq!(of(queued, Reason::WaitsForBackoff, at), "task 12.3 waits for its next try, in 8s");
    assert_eq!(of(TaskState::Running, Reason::Launched, None), "task 12.3 is running (launched) on a1");
}

#[test]
fn without_the_allocator_what_others_know_is_told() {
    let queue = QueueView {
        queue: "research.vision".parse().unwrap(),
        weight: 2,
        limit: limit("cpus=4,tasks=9"),
        guarantee: limit("cpus=2"),
        hold_back: allot_model::HoldBack::Fixed,
        held: limit("cpus=3,tasks=3"),
        jobs: 1,
        running: 3,
        pending: 7,
        preempting: 0,
        preempted: 0,
        allocated: json!({"cpus": 3}),
        dominant_resource: Some("cpus".into()),
        dominant_share: [3, 8],
    };
    let message = "no allocator decides: nothing is placed until one runs".to_owned();
    let mut why = waiting();
    why.place = None;
    let limit = LimitReached {
        queue: "research".parse().unwrap(),
        limited: "cpus".to_owned(),
        limit: json!(8),
        held: json!(7.5),
        asked: json!(1),
    };
    why.unexplained = Some(Unexplained { message, policy: None, queue: Some(queue), limit: Some(limit) });
    assert_eq!(
        text(&why, &output()),
        "\
7 of the 10 tasks of job 12 have waited for a place for 3m12s

limit  queue research and those below it may hold 8 cpus: they hold 7.5 now, and a task asks for 1

why    no allocator decides: nothing is placed until one runs
queue  research.vision has 37.5% of cpus, weight 2; its tasks: 3 running, 7 pending; of its limit: tasks 3/9, cpus 3/4; of its \
guarantee: cpus 3/2"
    );
}

#[test]
fn a_limit_that_leaves_no_room_is_told_before_all_else() {
    let told = |limited: &str, [limit, held, asked]: [serde_json::Value; 3]| {
        let (queue, limited) = ("research".parse().unwrap(), limited.to_owned());
        let mut why = waiting();
        let place = why.place.as_mut().unwrap();
        place.limit = Some(LimitReached { queue, limited, limit, held, asked });
        text(&why, &output()).lines().nth(2).unwrap().to_owned()
    };
    assert_eq!(
        told("tasks", [json!(10), json!(10), json!(1)]),
        "limit  queue research and those below it may run 10 tasks at a time: 10 run now"
    );
    assert_eq!(
        told("tasks", [json!(1), json!(1), json!(1)]),
        "limit  queue research and those below it may run 1 task at a time: 1 runs now"
    );
    assert_eq!(
        told("mem", [json!("16GB"), json!("12GB"), json!("8GB")]),
        "limit  queue research and those below it may hold 16GB mem: they hold 12GB now, and a task asks for 8GB"
    );
}

#[test]
fn what_is_kept_for_other_queues_is_told() {
    let mut why = waiting();
    let (resource, free) = ("cpus".parse().unwrap(), json!(12));
    why.place.as_mut().unwrap().kept =
        Some(KeptForOthers { resource, free, kept: json!(11.5), asked: json!(1) });
    assert_eq!(
        text(&why, &output()).lines().nth(2).unwrap(),
        "kept  of cpus 12 are free, 11.5 are kept for queues that do not use all of their guarantee, and a task asks for 1"
    );
}

#[test]
fn a_gang_is_told_how_many_of_it_have_room() {
    let told = |same: Option<&str>, room, value: Option<&str>, most| {
        let mut why = waiting();
        let (same, value) = (same.map(str::to_owned), value.map(str::to_owned));
        why.place.as_mut().unwrap().gang = Some(GangRoom { tasks: 8, same, room, value, most });
        text(&why, &output()).lines().nth(2).unwrap().to_owned()
    };
    let cases = [
        (None, 5, None, Some(8), "needs 8 at once: there is room for 5 now"),
        (None, 9, None, None, "needs 8 at once: there is room for them"),
        (
            None,
            5,
            None,
            Some(7),
            "needs 8 at once: there is room for 7 on all agents that it may use, even if nothing ran",
        ),
        (
            Some("rack"),
            5,
            Some("r2"),
            Some(7),
            "needs 8 at once on agents with the same `rack`: the most that any has room for is 7, even if nothing ran",
        ),
        (
            Some("rack"),
            0,
            None,
            Some(0),
            "needs 8 at once on agents with the same `rack`: none that it may use has `rack` and is large enough",
        ),
        (
            Some("rack"),
            5,
            Some("r2"),
            Some(8),
            "needs 8 at once on agents with the same `rack`: the most that any has room for now is 5, r2",
        ),
        (
            Some("rack"),
            0,
            None,
            None,
            "needs 8 at once on agents with the same `rack`: none that has one has room",
        ),
    ];
    for (same, room, value, most, words) in cases {
        assert_eq!(told(same, room, value, most), format!("together  {words}"));
    }
}

#[test]
fn who_has_room_kept_is_told_and_for_when() {
    let told = |job, at| {
        let mut why = waiting();
        why.place.as_mut().unwrap().reservation = Some(Reservation { job: JobId(job), at });
        let text = text(&why, &output());
        text.lines().find(|line| line.starts_with("reserved")).unwrap().to_owned()
    };
    let soon = Some(NOW + Span::from_secs(90));
    assert_eq!(told(12, soon), "reserved  room is kept for it, expected in 1m");
    assert_eq!(
        told(7, None),
        "reserved  room is kept for job 7, at a time that the estimates of what runs do not tell; what would take it has to wait"
    );
}

#[test]
fn whom_tasks_were_stopped_for_is_told() {
    let by = Preemptor { job: JobId(15), queue: "research.text".parse().unwrap() };
    let (reason, ended_at) = (Reason::PreemptedForGuarantee, Some(NOW - Span::from_secs(191)));
    let told = |tasks| {
        let preempted = Some(Preempted { tasks, by: by.clone(), reason, ended_at });
        let told = text(&Why { preempted, ..waiting() }, &output());
        told.lines().find(|line| line.starts_with("stopped")).unwrap().to_owned()
    };
    let end = "stopped for job 15 of research.text 3m ago (preempted_for_guarantee)";
    assert_eq!(told(1), format!("stopped  it was {end}"));
    assert_eq!(told(3), format!("stopped  3 were, the last {end}"));
}

#[test]
fn room_that_is_being_made_is_told_with_where_and_what_it_waits_for() {
    let mut why = waiting();
    let made = |agent: &str, stopping| RoomMade { agent: agent.parse().unwrap(), stopping };
    let place = why.place.as_mut().unwrap();
    place.room_made =
        vec![made("m1", 0), made("m2", 1), made("m3", 4), made("m4", 1), made("m5", 1), made("m6", 1)];
    let told = text(&why, &output());
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("room")).collect();
    assert_eq!(lines[0], "room  is made on m1: what was stopped there has ended");
    assert_eq!(lines[1], "room  is being made on m2: 1 task that is being stopped has yet to end");
    assert_eq!(lines[2], "room  is being made on m3: 4 tasks that are being stopped have yet to end");
    assert_eq!(lines[5], "room  is being made in 1 more places");
}

#[test]
fn places_are_counted_as_people_do() {
    let words = [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th")];
    for (number, word) in words.into_iter().chain([(21, "21st"), (112, "112th"), (1_002, "1002nd")]) {
        assert_eq!(ordinal(number), word);
    }
}

#[test]
fn agents_that_are_not_in_the_pool_are_told_after_those_that_are() {
    let drained = Absent { state: AgentState::Drained, agents: vec!["a2".parse().unwrap()] };
    let mut why = waiting();
    why.absent = vec![drained];
    let told = text(&why, &output());
    assert!(told.contains(" 1 agent   drained: a2\n"), "{told}");
    // All agents there are take nothing: the pool is not simply empty.
    why.place.as_mut().unwrap().reasons.clear();
    let told = text(&why, &output());
    assert!(told.contains("1 agent  drained: a2\n") && !told.contains("the pool is empty"), "{told}");
}
