//! The protocol around the decisions: who decides, what is answered, what is missed, told twice, or wrong.

use std::sync::Arc;

use allot_engine::{Input, Limits, Output};
use allot_model::{
    AllocatorMessage, Core, Epoch, Feed, FeedItem, GrantId, JobId, OfferVersion, PoolJob, QueueGuarantee,
    QueueLimit, RefusalCode, Span, SyncPart, TaskRange, Time,
};
use proptest::prelude::*;

use crate::support::transcript::Transcript;
use crate::support::{
    Cluster, EPOCH, SESSION, TTL, agent_id, constraints, job, me, policy, pool_agent, queue, request,
    resources,
};

fn small() -> Cluster {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("m1", "cpus=2").job(1, "a", 3, "cpus=1");
    cluster
}

fn refused(number: u64, code: RefusalCode) -> FeedItem {
    FeedItem::Refused { epoch: EPOCH, grant: GrantId(number), code, message: "no".into() }
}

fn offer(agent: &str, version: u64, free: &str) -> FeedItem {
    FeedItem::Offer {
        agent: agent_id(agent),
        version: OfferVersion(version),
        free: resources(free),
        ttl: TTL,
    }
}

/// The tasks of the grants that are made now, as `job.tasks@agent`.
fn granted(cluster: &mut Cluster) -> Vec<String> {
    let part = |grant: allot_model::Grant| {
        let part = &grant.placements[0];
        format!("{}.{}@{}", part.job, part.tasks, part.agent)
    };
    cluster.decide().into_iter().map(part).collect()
}

#[test]
fn a_standby_only_follows_until_it_is_named() {
    let mut cluster = small();
    cluster.items.push(FeedItem::Active { epoch: Epoch(4), instance: "other".parse().unwrap() });
    cluster.flush();
    assert!(!cluster.engine.is_active());
    assert_eq!(granted(&mut cluster), [""; 0]);
    cluster.items.push(FeedItem::Active { epoch: Epoch(5), instance: me() });
    cluster.flush();
    let grants = cluster.decide();
    assert_eq!(grants[0].epoch, Epoch(5));
    assert_eq!(grants[0].placements[0].tasks, TaskRange { first: 0, last: 1 });
}

#[test]
fn what_another_allocator_placed_is_not_placed_again() {
    let mut cluster = small();
    cluster.hold(1, 0, "cpus=1");
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.1-2@m1"]);
}

#[test]
fn unanswered_grants_count_against_a_new_offer() {
    let mut cluster = small();
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.0-1@m1"]);
    cluster.items.push(offer("m1", 2, "cpus=2"));
    cluster.flush();
    assert_eq!(granted(&mut cluster), [""; 0], "all of it is promised already");
    cluster.items.push(offer("m1", 3, "cpus=3"));
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.2@m1"]);
}

#[test]
fn tasks_of_a_refused_grant_wait_for_the_next_offer() {
    for code in [RefusalCode::NotFree, RefusalCode::AgentUnavailable] {
        let mut cluster = small();
        cluster.flush();
        assert_eq!(granted(&mut cluster), ["1.0-1@m1"]);
        cluster.items.push(refused(1, code));
        cluster.flush();
        assert_eq!(granted(&mut cluster), [""; 0], "{code:?}: the offer is not to be relied on");
        cluster.items.push(offer("m1", 2, "cpus=1"));
        cluster.flush();
        assert_eq!(granted(&mut cluster), ["1.0@m1"]);
    }
}

#[test]
fn a_refusal_after_a_newer_offer_leaves_that_offer_alone() {
    let mut cluster = small();
    cluster.flush();
    cluster.decide();
    cluster.items.extend([offer("m1", 2, "cpus=1"), refused(1, RefusalCode::NotFree)]);
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.0@m1"]);
}

#[test]
fn withdrawn_tasks_of_a_refused_grant_are_not_tried_again() {
    let mut cluster = small();
    cluster.flush();
    cluster.decide();
    cluster.withdraw(1, TaskRange::one(0));
    cluster.items.push(refused(1, RefusalCode::NotPending));
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.1-2@m1"]);
}

#[test]
fn a_job_whose_grant_makes_no_sense_to_the_offers_service_is_set_aside() {
    for code in [RefusalCode::DoesNotFit, RefusalCode::Malformed, RefusalCode::NotPending] {
        let mut cluster = small();
        cluster.job(2, "b", 1, "cpus=2");
        cluster.flush();
        assert_eq!(granted(&mut cluster), ["1.0-1@m1"]);
        cluster.items.push(refused(1, code));
        cluster.flush();
        assert_eq!(granted(&mut cluster), ["2.0@m1"], "{code:?}: others go on");
        let held = cluster.engine.explain(JobId(1)).unwrap().held.unwrap();
        assert_eq!((held.until, held.refused), (cluster.now + Span::from_secs(5), code));
        cluster.items.push(refused(2, RefusalCode::NotFree));
        cluster.flush();
        cluster.now = cluster.now + Span::from_secs(5);
        cluster.items.push(offer("m1", 2, "cpus=1"));
        cluster.flush();
        assert_eq!(granted(&mut cluster), ["1.0@m1"], "after some seconds it is tried again");
    }
}

#[test]
fn answers_that_come_twice_late_or_to_nothing_change_nothing() {
    let mut cluster = small();
    cluster.pass();
    cluster.items.push(refused(1, RefusalCode::NotFree));
    cluster.items.push(refused(99, RefusalCode::NotFree));
    cluster.items.push(FeedItem::Refused {
        epoch: Epoch(EPOCH.0 - 1),
        grant: GrantId(2),
        code: RefusalCode::NotActive,
        message: String::new(),
    });
    cluster.flush();
    assert_eq!(granted(&mut cluster), [""; 0]);
    assert!(cluster.engine.is_active());
}

#[test]
fn an_agent_that_leaves_takes_its_offer_along_and_its_grants_may_still_be_answered() {
    for answer in [None, Some(RefusalCode::AgentUnavailable)] {
        let mut cluster = small();
        cluster.flush();
        let grants = cluster.decide();
        if answer.is_none() {
            cluster.commit(&grants[0]);
        }
        cluster.remove_agent("m1");
        cluster.items.extend(answer.map(|code| refused(1, code)));
        cluster.flush();
        assert_eq!(granted(&mut cluster), [""; 0]);
        cluster.agent("m2", "cpus=3");
        cluster.flush();
        let expected = if answer.is_none() { "1.2@m2" } else { "1.0-2@m2" };
        assert_eq!(granted(&mut cluster), [expected]);
    }
}

#[test]
fn an_offer_that_is_not_renewed_expires() {
    let mut cluster = Cluster::new(policy("drf"));
    cluster.agent("m1", "cpus=2").agent("m2", "cpus=2");
    cluster.flush();
    cluster.now = cluster.now + Span::from_secs(6);
    cluster.items.push(offer("m2", 1, "cpus=2"));
    cluster.flush();
    cluster.decide();
    cluster.now = cluster.now + Span::from_secs(4);
    cluster.job(1, "a", 4, "cpus=1");
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.0-1@m2"]);
    let reasons = cluster.engine.explain(JobId(1)).unwrap().reasons_in_words();
    assert_eq!(reasons, "1 agent not on offer, 1 busy in cpus");
}

#[test]
fn a_rescinded_offer_is_not_used() {
    let mut cluster = small();
    cluster.items.push(FeedItem::Rescinded { agent: agent_id("m1") });
    cluster.flush();
    assert_eq!(granted(&mut cluster), [""; 0]);
}

#[test]
fn offers_tell_what_is_left_after_everything_in_their_message() {
    let mut cluster = small();
    cluster.flush();
    let grants = cluster.decide();
    cluster.commit(&grants[0]);
    cluster.items.reverse();
    assert!(matches!(cluster.items[0], FeedItem::Offer { .. }));
    cluster.end_oldest(1);
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.2@m1"]);
}

#[test]
fn a_gap_in_the_feed_leads_to_a_hello_and_nothing_is_decided_before_its_answer() {
    let mut cluster = small();
    cluster.sequence += 1;
    cluster.flush();
    cluster.now = cluster.now + Span::from_secs(1);
    assert_eq!(cluster.wake(), [Output::Hello]);
    assert!(!cluster.engine.is_active());
    cluster.sync();
    assert_eq!(granted(&mut cluster), ["1.0-1@m1"]);
}

#[test]
fn a_message_that_cannot_be_read_leads_to_a_hello() {
    let mut cluster = small();
    cluster.flush();
    cluster.now = cluster.now + Span::from_secs(1);
    cluster.engine.handle(cluster.now, Input::Unreadable, &mut Vec::new());
    assert_eq!(cluster.wake(), [Output::Hello]);
}

#[test]
fn a_grant_without_an_answer_for_seconds_leads_to_a_hello() {
    let mut cluster = small();
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.0-1@m1"]);
    cluster.now = cluster.now + Span::from_millis(4_999);
    assert!(!cluster.wake().contains(&Output::Hello));
    cluster.now = cluster.now + Span::from_millis(1);
    assert!(cluster.wake().contains(&Output::Hello));
    cluster.sync();
    let grants = cluster.decide();
    assert_eq!(grants[0].grant, GrantId(2), "numbers are not used twice");
}

#[test]
fn being_told_that_another_decides_leads_to_a_hello() {
    let mut cluster = small();
    cluster.flush();
    cluster.decide();
    cluster.now = cluster.now + Span::from_secs(1);
    cluster.items.push(refused(1, RefusalCode::NotActive));
    cluster.flush();
    assert_eq!(cluster.wake(), [Output::Hello]);
}

#[test]
fn beats_come_twice_a_second_and_the_next_wake_is_never_forgotten() {
    let mut cluster = Cluster::new(policy("drf"));
    let mut beats = 0;
    while cluster.now < Time::ZERO + Span::from_secs(3) {
        let (at, _) = cluster.engine.next_wake().unwrap();
        cluster.now = cluster.now.max(at);
        let is_beat = |output: &Output| matches!(output, Output::Say(AllocatorMessage::Beat { .. }));
        beats += cluster.wake().iter().filter(|output| is_beat(output)).count();
    }
    assert_eq!(beats, 7, "at 0, 0.5 ... 3 seconds");
}

#[test]
fn beats_come_while_a_long_account_does() {
    let mut cluster = Cluster::new(policy("drf"));
    let is_beat = |output: &Output| matches!(output, Output::Say(AllocatorMessage::Beat { .. }));
    cluster.now = cluster.now + Span::from_secs(10);
    cluster.engine.handle(cluster.now, Input::Unreadable, &mut Vec::new());
    assert_eq!(cluster.wake(), [Output::Hello]);
    let mut beats = 0;
    for number in 0..40 {
        let sync = if number == 0 { SyncPart::First } else { SyncPart::Middle };
        let part = Feed { session: SESSION, sequence: 1, sync: Some(sync), part: number, items: Vec::new() };
        cluster.engine.handle(cluster.now, Input::Feed(part), &mut Vec::new());
        beats += cluster.wake().iter().filter(|output| is_beat(output)).count();
        cluster.now = cluster.now + Span::from_millis(100);
    }
    assert_eq!(beats, 8, "in four seconds");
    assert!(!cluster.engine.is_active());
}

#[test]
fn an_array_that_is_decided_task_by_task_does_not_hold_up_the_engine() {
    let limits = Limits { decisions_per_pass: 10, ..Limits::default() };
    let mut cluster = Cluster::with_limits(policy("lottery"), limits);
    cluster.agent("m1", "cpus=100").job(1, "a", 100, "cpus=1").job(2, "b", 100, "cpus=1");
    cluster.flush();
    let slots = |output: &Output| match output {
        Output::Say(AllocatorMessage::Grant(grant)) => grant.placements.iter().map(|part| part.slots).sum(),
        _ => 0,
    };
    let passes: Vec<u64> = (0..11).map(|_| cluster.wake().iter().map(slots).sum()).collect();
    assert_eq!(passes, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0]);
}

#[test]
fn passes_are_bounded_and_the_next_goes_on() {
    let mut cluster = Cluster::with_limits(
        policy("fifo"),
        Limits { grants_per_pass: 2, unanswered: 5, ..Limits::default() },
    );
    cluster.agent("m1", "cpus=100");
    (1..=9).for_each(|id| {
        cluster.job(id, "a", 1, "cpus=1");
    });
    cluster.flush();
    let of_a_pass = |cluster: &mut Cluster| {
        let is_grant = |output: &Output| matches!(output, Output::Say(AllocatorMessage::Grant(_)));
        cluster.wake().iter().filter(|output| is_grant(output)).count()
    };
    let passes: Vec<usize> = (0..3).map(|_| of_a_pass(&mut cluster)).collect();
    assert_eq!(
        passes.iter().sum::<usize>(),
        6,
        "the last grant of a pass is made beyond the limits: {passes:?}"
    );
    assert_eq!(of_a_pass(&mut cluster), 0, "it waits for answers");
    cluster.items.push(refused(1, RefusalCode::DoesNotFit));
    cluster.items.push(refused(2, RefusalCode::DoesNotFit));
    cluster.flush();
    assert_eq!(of_a_pass(&mut cluster), 2);
}

#[test]
fn constraints_follow_an_agent_that_changes() {
    let mut cluster = Cluster::new(policy("fifo"));
    cluster.add_agent(pool_agent("m", resources("cpus=4"), &[("zone", "b")]));
    cluster.add_job(PoolJob { constraints: constraints(&["zone == a"]), ..job(1, "q", 1, "cpus=1") });
    assert_eq!(cluster.pass(), []);
    cluster.items.push(FeedItem::Agent(Arc::new(pool_agent("m", resources("cpus=4"), &[("zone", "a")]))));
    cluster.flush();
    assert_eq!(granted(&mut cluster), ["1.0@m"]);
}

#[test]
fn the_session_of_an_allocator_as_a_transcript() {
    let mut cluster = Cluster::new(policy("drf"));
    let mut transcript = Transcript::new(&mut cluster);
    let limit = QueueLimit::default();
    transcript.says(vec![FeedItem::Queue {
        queue: queue("a"),
        weight: 2,
        limit,
        guarantee: QueueGuarantee::default(),
    }]);
    transcript.says(vec![
        FeedItem::Agent(Arc::new(pool_agent("m1", resources("cpus=4"), &[]))),
        offer("m1", 1, "cpus=4"),
        FeedItem::Job(Arc::new(job(7, "a", 3, "cpus=1"))),
        FeedItem::Pending { job: JobId(7), tasks: TaskRange { first: 0, last: 2 } },
        FeedItem::Job(Arc::new(job(8, "b", 5, "cpus=1"))),
        FeedItem::Pending { job: JobId(8), tasks: TaskRange { first: 0, last: 4 } },
    ]);
    transcript.says(vec![refused(2, RefusalCode::NotFree)]);
    transcript.says(vec![offer("m1", 2, "cpus=5")]);
    transcript.says(vec![FeedItem::Active { epoch: Epoch(4), instance: "other".parse().unwrap() }]);
    transcript.says(vec![offer("m1", 3, "cpus=9")]);
    transcript.later(Span::from_secs(5));
    assert_eq!(transcript.text(), include_str!("transcripts/session.txt"));
}

fn any_item() -> impl Strategy<Value = FeedItem> {
    let range =
        (0_u32..6, 0_u32..4).prop_map(|(first, more)| TaskRange { first, last: first.saturating_add(more) });
    let wide =
        prop_oneof![range, Just(TaskRange { first: 0, last: u32::MAX }), Just(TaskRange::one(u32::MAX))];
    let amount = prop_oneof![Just(0), 1_u64..9, Just(u64::MAX)];
    let names = (0_usize..3, 0_usize..3, 0_u64..4);
    (0_usize..12, names, wide, (amount.clone(), amount)).prop_map(
        |(kind, (agent, of, number), tasks, (cpus, mem))| {
            let agent = agent_id(["m1", "m2", "m3"][agent]);
            let queue = queue(["a", "b", "a.b"][of]);
            let job_id = JobId(number);
            let asks = format!("cpus={cpus} mem={mem}");
            let slice = request(&asks).as_scalars();
            let (epoch, grant) = (EPOCH, GrantId(number));
            match kind {
                0 => FeedItem::Active { epoch, instance: me() },
                1 => {
                    let resources = [("cpus".parse().unwrap(), cpus)].into_iter().filter(|_| mem == 0);
                    let tasks = (number > 1).then_some(number);
                    let limit = QueueLimit { tasks, resources: resources.collect(), ..QueueLimit::default() };
                    FeedItem::Queue {
                        queue,
                        weight: u32::try_from(number).unwrap(),
                        limit,
                        guarantee: QueueGuarantee::default(),
                    }
                }
                2 => {
                    FeedItem::Job(Arc::new(job(number, queue.as_str(), tasks.last.saturating_add(1), &asks)))
                }
                3 => FeedItem::Pending { job: job_id, tasks },
                4 => FeedItem::Withdrawn { job: job_id, tasks },
                5 => FeedItem::JobEnded { job: job_id },
                6 => FeedItem::Agent(Arc::new(pool_agent(agent.as_str(), slice, &[]))),
                7 => FeedItem::AgentLeft { agent },
                8 => FeedItem::Offer {
                    agent,
                    version: OfferVersion(number),
                    free: slice,
                    ttl: Span::from_millis(number),
                },
                9 => {
                    let (slots, ran) = (tasks.count(), Some(Span::from_millis(number)));
                    FeedItem::Released { agent, job: job_id, tasks, queue, slice, slots, ran }
                }
                10 => {
                    let run = allot_model::AttemptRun { job: job_id, tasks, attempt: 1 };
                    let placements =
                        vec![allot_model::Placement { agent, run, queue, slice, slots: run.tasks.count() }];
                    FeedItem::Allocated { epoch, grant, placements, at: Time::ZERO }
                }
                _ => {
                    let codes = [
                        RefusalCode::NotFree,
                        RefusalCode::NotPending,
                        RefusalCode::DoesNotFit,
                        RefusalCode::NotActive,
                    ];
                    refused(number, codes[of + usize::from(number > 2)])
                }
            }
        },
    )
}

proptest! {
    #![proptest_config(crate::support::cases(500))]

    // Nonsense of every kind: contradictions, unknown names, overflowing amounts, gaps and repeats. Each step ends
    // with the engine's own check of itself.
    #[test]
    fn whatever_is_said_the_engine_stays_sound(
        policy_name in proptest::sample::select(allot_engine::Policy::names()),
        steps in proptest::collection::vec((proptest::collection::vec(any_item(), 0..6), 0_u64..4, 0_u64..2_000), 1..30),
    ) {
        let mut cluster = Cluster::new(policy(policy_name));
        for (items, skip, millis) in steps {
            cluster.now = cluster.now + Span::from_millis(millis);
            cluster.sequence += skip / 3;
            let sync = (skip == 2).then_some(SyncPart::Only);
            let sequence = cluster.sequence + 1;
            cluster.sequence = sequence;
            cluster.send(Feed { session: SESSION, sequence, sync, part: 0, items });
            // A task of no size at all fits without end, so what is decided is bounded by the limits alone.
            cluster.wake();
        }
    }
}
