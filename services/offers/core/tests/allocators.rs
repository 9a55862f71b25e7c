//! One allocator decides; others stand by; handing over is one record.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use allot_model::view::Answer;
use allot_model::*;
use allot_offers_core::{Input, Output};
use harness::*;

fn active(pool: &Pool) -> Vec<(u64, String)> {
    let of = |entry: &Entry| match &entry.record {
        Record::Offers(OffersRecord::AllocatorActivated { epoch, instance, .. }) => {
            Some((epoch.0, instance.to_string()))
        }
        _ => None,
    };
    pool.ledger.iter().filter_map(of).collect()
}

fn use_policy(pool: &mut Pool, name: &str) {
    let command = PolicyUseCommand { policy: policy(name) };
    pool.give(Input::UsePolicy { reply: ReplyTo("r".into()), command });
}

#[test]
fn the_first_allocator_decides_and_the_second_stands_by() {
    let mut pool = Pool::new();
    pool.hello("a2", "fifo");
    assert_eq!(active(&pool), [(1, "a1".to_owned())]);
}

#[test]
fn a_standby_takes_over_when_the_active_one_is_silent() {
    let mut pool = Pool::new();
    for _ in 0..5 {
        pool.beat("a2", "drf");
        pool.pass(BEAT_EVERY);
    }
    assert_eq!(active(&pool), [(1, "a1".to_owned()), (2, "a2".to_owned())]);
}

#[test]
fn a_standby_takes_over_at_once_when_the_active_one_says_goodbye() {
    let mut pool = Pool::new();
    pool.hello("a2", "drf");
    pool.say("a1", AllocatorMessage::Goodbye);
    assert_eq!(active(&pool), [(1, "a1".to_owned()), (2, "a2".to_owned())]);
}

#[test]
fn a_chosen_policy_takes_over_when_it_is_there_and_only_then() {
    let mut pool = Pool::new();
    use_policy(&mut pool, "fifo");
    assert_eq!(active(&pool), [(1, "a1".to_owned())], "nobody runs it yet");
    pool.hello("a2", "fifo");
    assert_eq!(active(&pool), [(1, "a1".to_owned()), (2, "a2".to_owned())]);
    use_policy(&mut pool, "drf");
    assert_eq!(active(&pool).last(), Some(&(3, "a1".to_owned())));
}

#[test]
fn another_policy_goes_on_when_the_chosen_one_is_lost() {
    let mut pool = Pool::new();
    use_policy(&mut pool, "drf");
    pool.hello("a2", "fifo");
    pool.say("a1", AllocatorMessage::Goodbye);
    assert_eq!(active(&pool).last(), Some(&(2, "a2".to_owned())));
    pool.hello("a3", "drf");
    assert_eq!(active(&pool).last(), Some(&(3, "a3".to_owned())), "and hands back");
}

fn shadow(runs: &str) -> AllocatorMessage {
    let described = Some(format!("{runs}:placement=worst-fit"));
    let presence = Presence { mode: AllocatorMode::Shadow, described, ..Presence::of(policy(runs)) };
    AllocatorMessage::Beat(presence)
}

fn said(pool: &mut Pool, input: Input) -> Vec<Output> {
    let mut out = Vec::new();
    pool.core.handle(pool.now, input, &mut out);
    out
}

#[test]
fn a_shadow_never_decides_whether_it_is_chosen_or_alone() {
    let mut pool = Pool::new();
    pool.say("a2", shadow("fifo"));
    let command = PolicyUseCommand { policy: policy("fifo") };
    let told = said(&mut pool, Input::UsePolicy { reply: ReplyTo("r".into()), command });
    let answer = told.iter().find_map(|output| match output {
        Output::Done(_, Answer::Ok(done)) => Some(done.message.clone()),
        _ => None,
    });
    assert!(answer.unwrap().contains("is a shadow, which never decides"));
    pool.say("a1", AllocatorMessage::Goodbye);
    for _ in 0..5 {
        pool.say("a2", shadow("fifo"));
        pool.pass(BEAT_EVERY);
    }
    assert_eq!(active(&pool), [(1, "a1".to_owned())], "nobody decides now");
    pool.hello("a3", "drf");
    assert_eq!(active(&pool).last(), Some(&(2, "a3".to_owned())));
}

#[test]
fn an_allocator_that_becomes_a_shadow_hands_over_and_is_listed_with_what_it_says_of_itself() {
    let mut pool = Pool::new();
    pool.hello("a2", "fifo");
    pool.say("a1", shadow("drf"));
    assert_eq!(active(&pool).last(), Some(&(2, "a2".to_owned())));
    let told = said(&mut pool, Input::ShowPolicy(ReplyTo("r".into())));
    let [Output::Policy(_, Answer::Ok(view))] = told.as_slice() else { panic!("{told:?}") };
    let listed = |view: &AllocatorView| (view.instance.to_string(), view.mode, view.described.clone());
    assert_eq!(
        view.allocators.iter().map(listed).collect::<Vec<_>>(),
        [
            ("a2".to_owned(), AllocatorMode::Standby, None),
            ("a1".to_owned(), AllocatorMode::Shadow, Some("drf:placement=worst-fit".to_owned())),
        ]
    );
}

#[test]
fn choosing_another_policy_hands_over_in_the_same_step_and_leaves_what_runs_alone() {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 2_000)]);
    pool.job(1, "a", spec(2, &[("cpus", 1_000)]));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), &[("cpus", 1_000)])]), Ok(()));
    pool.hello("a2", "fifo");
    let records = pool.ledger.len();
    use_policy(&mut pool, "fifo");
    let words: Vec<&str> = pool.ledger[records..]
        .iter()
        .map(|entry| match &entry.record {
            Record::Offers(OffersRecord::PolicyChosen { .. }) => "chosen",
            Record::Offers(OffersRecord::AllocatorActivated { .. }) => "activated",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["chosen", "activated"], "nothing is released and nothing waits for a clock");
    let one: &[Part<'_>] = &[("m1", run(1, 1, 1, 1), &[("cpus", 1_000)])];
    assert_eq!(pool.grant(one), Err(RefusalCode::NotActive), "what was on its way is refused");
    assert_eq!(pool.grant_as("a2", Epoch(2), one), Ok(()));
}

#[test]
fn who_only_looks_is_told_what_an_allocator_is_and_becomes_none() {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 2_000)]);
    pool.job(1, "a", spec(3, &[("cpus", 1_000)]));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), &[("cpus", 1_000)])]), Ok(()));
    pool.synced.clear();
    pool.hello("a1", "drf");
    let to_allocator = pool.synced.clone();
    let ask = |most| Input::ShowAccount(ReplyTo("r".into()), AccountQuery { most });
    for most in [None, Some(3)] {
        let told = said(&mut pool, ask(most));
        let [Output::Sync(_, feed)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((feed.sync, &feed.items), (Some(SyncPart::Only), &to_allocator));
    }
    let told = said(&mut pool, ask(Some(2)));
    let [Output::NoAccount(_, refusal)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        refusal.message,
        "the pool has 3 jobs, agents and placements, and no more than 2 were asked for"
    );
    assert_eq!(active(&pool), [(1, "a1".to_owned())]);
}

#[test]
fn a_new_life_of_the_service_leaves_the_active_allocator_in_place() {
    let pool = Pool::new();
    let mut core = pool.rebuilt();
    let (now, mut out) = (pool.now, Vec::new());
    core.handle(now, Input::Resume { epoch: Epoch(2) }, &mut out);
    let message = |from: &str| FromAllocator {
        instance: instance(from),
        messages: vec![AllocatorMessage::Hello(Presence::of(policy("drf")))],
    };
    for from in ["a2", "a1"] {
        core.handle(now, Input::Allocator { reply: None, message: message(from) }, &mut out);
    }
    assert!(!out.iter().any(|output| matches!(output, Output::Append(_))), "{out:?}");
}

#[test]
fn a_hello_is_answered_with_everything() {
    let mut pool = Pool::new();
    pool.agent("m1", &[("cpus", 2_000)]);
    pool.job(1, "a", spec(3, &[("cpus", 1_000)]));
    assert_eq!(pool.grant(&[("m1", run(1, 0, 0, 1), &[("cpus", 1_000)])]), Ok(()));
    pool.synced.clear();
    pool.hello("a2", "fifo");
    let words: Vec<&str> = pool
        .synced
        .iter()
        .map(|item| match item {
            FeedItem::Active { .. } => "active",
            FeedItem::Job(_) => "job",
            FeedItem::Pending { tasks, .. } => {
                assert_eq!(*tasks, TaskRange { first: 1, last: 2 });
                "pending"
            }
            FeedItem::Agent(_) => "agent",
            FeedItem::Offer { free, .. } => {
                assert_eq!(*free, resources(&[("cpus", 1_000)]));
                "offer"
            }
            FeedItem::Allocated { placements, .. } => {
                assert_eq!(placements[0].run, run(1, 0, 0, 1));
                "allocated"
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["active", "job", "pending", "agent", "allocated", "offer"]);
}

#[test]
fn many_hellos_in_one_message_are_answered_once() {
    let mut pool = Pool::new();
    let hello = AllocatorMessage::Hello(Presence::of(policy("x")));
    let message = FromAllocator { instance: instance("a2"), messages: vec![hello; 1_000] };
    let mut out = Vec::new();
    pool.core.handle(pool.now, Input::Allocator { reply: Some(ReplyTo("i".into())), message }, &mut out);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Sync(..))).count(), 1);
}

#[test]
fn an_answer_to_hello_says_which_messages_it_covers() {
    let mut pool = Pool::new();
    let mut out = Vec::new();
    let joined = Record::Registry(RegistryRecord::AgentUnreachable { agent: agent_id("m1") });
    pool.agent("m1", &[("cpus", 2_000)]);
    pool.core.handle(pool.now, Input::Ledger(Entry { at: pool.now, record: joined }), &mut out);
    let message = FromAllocator {
        instance: instance("a2"),
        messages: vec![AllocatorMessage::Hello(Presence::of(policy("x")))],
    };
    pool.core.handle(pool.now, Input::Allocator { reply: Some(ReplyTo("i".into())), message }, &mut out);
    let numbers: Vec<(bool, u64)> = out
        .iter()
        .filter_map(|output| match output {
            Output::Feed(feed) => Some((false, feed.sequence)),
            Output::Sync(_, feed) => Some((true, feed.sequence)),
            _ => None,
        })
        .collect();
    let [(false, said), (true, covered)] = numbers[..] else { panic!("{out:?}") };
    assert_eq!(said, covered, "what had gathered is said first, and covered");
}

#[test]
fn choosing_a_policy_nobody_runs_is_said_to_the_operator() {
    let mut pool = Pool::new();
    let mut out = Vec::new();
    let command = PolicyUseCommand { policy: policy("lottery") };
    pool.core.handle(pool.now, Input::UsePolicy { reply: ReplyTo("r".into()), command }, &mut out);
    let message = out.iter().find_map(|output| match output {
        Output::Done(_, Answer::Ok(done)) => Some(done.message.clone()),
        _ => None,
    });
    assert!(message.unwrap().contains("no allocator that runs it is there yet"));
}

#[test]
fn the_parts_of_a_long_answer_to_hello_are_numbered_without_a_gap() {
    let mut pool = Pool::new();
    for job in 1..=3_000 {
        pool.job(job, "a", spec(1, &[("cpus", 1_000)]));
    }
    let mut out = Vec::new();
    let message = FromAllocator {
        instance: instance("a2"),
        messages: vec![AllocatorMessage::Hello(Presence::of(policy("x")))],
    };
    pool.core.handle(pool.now, Input::Allocator { reply: Some(ReplyTo("i".into())), message }, &mut out);
    let parts: Vec<(u32, SyncPart)> = out
        .iter()
        .filter_map(|output| match output {
            Output::Sync(_, feed) => Some((feed.part, feed.sync?)),
            _ => None,
        })
        .collect();
    assert!(parts.len() > 1, "{parts:?}");
    assert!(parts.iter().zip(0..).all(|((part, _), number)| *part == number), "{parts:?}");
    assert_eq!((parts[0].1, parts[parts.len() - 1].1), (SyncPart::First, SyncPart::Last));
}

/// The numbers of the parts of accounts that are told, and whether each was the last.
fn parts(out: &[Output]) -> Vec<(u32, bool)> {
    let part = |output: &Output| match output {
        Output::Sync(_, feed) => Some((feed.part, feed.sync == Some(SyncPart::Last))),
        _ => None,
    };
    out.iter().filter_map(part).collect()
}

#[test]
fn a_long_account_is_told_by_and_by_and_not_again_while_it_is_on_its_way() {
    let mut pool = Pool::new();
    for id in 1..=20_000 {
        pool.job(id, "a", spec(1, &[("cpus", 1_000), ("mem", 1)]));
    }
    let hello = |pool: &mut Pool, from: &str| {
        let message = FromAllocator {
            instance: instance(from),
            messages: vec![AllocatorMessage::Hello(Presence::of(policy("x")))],
        };
        let mut out = Vec::new();
        let input = Input::Allocator { reply: Some(ReplyTo(from.into())), message };
        pool.core.handle(pool.now, input, &mut out);
        parts(&out)
    };
    let first: Vec<(u32, bool)> = (0..6).map(|part| (part, false)).collect();
    assert_eq!(hello(&mut pool, "a2"), first);
    assert_eq!(hello(&mut pool, "a2"), [], "it is on its way");
    assert_eq!(hello(&mut pool, "a3"), first, "another has heard nothing of it");
    let mut told = Vec::new();
    while let Some((at, "go on with an account")) = pool.core.next_wake() {
        assert!(at > pool.now, "not all at once");
        pool.now = at;
        let mut out = Vec::new();
        pool.core.wake(pool.now, &mut out);
        told.extend(parts(&out));
    }
    let numbers: std::collections::BTreeSet<u32> = told.iter().map(|(number, _)| *number).collect();
    assert!(numbers.iter().copied().eq((6..).take(numbers.len())), "{told:?}");
    assert_eq!(told.len(), 2 * numbers.len(), "both are told all of it");
    assert_eq!(told.iter().filter(|(_, is_last)| *is_last).count(), 2);
    assert_eq!(hello(&mut pool, "a2"), first, "some of it must have been lost");
}
