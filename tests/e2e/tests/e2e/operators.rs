//! What operators do to a cluster that works.

use allot_bus::Subject;
use allot_model::view::{AgentState, WhyView};
use allot_model::{JobState, PoolName, Reason, TaskState};
use allot_testkit::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::cluster::{Cluster, agent_id, lines, numbers, only_run};

#[tokio::test]
async fn a_draining_agent_finishes_what_it_has_and_takes_nothing_new() {
    let cluster = Cluster::of("drf", 1, 4).await;
    let gate = cluster.scratch("gate");
    let running = cluster.wait_for(&gate, json!({})).await;
    cluster.runs(running, 1).await;
    cluster.command(Subject::AgentDrain(agent_id("a1")), json!({})).await;
    cluster.agent_is("a1", AgentState::Draining).await;
    let waiting = cluster.shell("true", json!({})).await;
    std::fs::write(&gate, "").unwrap();
    assert_eq!(cluster.ends(running).await, JobState::Finished);
    cluster.agent_is("a1", AgentState::Drained).await;
    assert_eq!(cluster.user.show(waiting).await.unwrap().summary.state, JobState::Queued);
    cluster.command(Subject::AgentUndrain(agent_id("a1")), json!({})).await;
    assert_eq!(cluster.ends(waiting).await, JobState::Finished);
}

#[tokio::test]
async fn tasks_of_an_agent_drained_with_kill_are_tried_elsewhere() {
    let mut cluster = Cluster::of("drf", 1, 2).await;
    let gate = cluster.scratch("gate");
    let job = cluster.wait_for(&gate, json!({"retries": 1, "backoff": "10ms"})).await;
    cluster.runs(job, 1).await;
    cluster.another_agent("a2", 2).await;
    cluster.command(Subject::AgentDrain(agent_id("a1")), json!({"kill": true})).await;
    cluster.agent_is("a1", AgentState::Drained).await;
    std::fs::write(&gate, "").unwrap();
    let view = cluster.over(job).await;
    assert_eq!(view.summary.state, JobState::Finished);
    let run = only_run(&view);
    assert_eq!(
        (run.earlier[0].reason, run.attempt.agent.clone()),
        (Reason::AgentDrained, Some(agent_id("a2")))
    );
}

#[tokio::test]
async fn queues_share_by_their_weights() {
    let cluster = Cluster::of("drf", 1, 8).await;
    for (queue, weight) in [("heavy", 3), ("light", 1)] {
        cluster.command(Subject::QueuesSet, json!({"queue": queue, "weight": weight})).await;
    }
    let gate = cluster.scratch("gate");
    let blocker = cluster.wait_for(&gate, json!({"resources": {"cpus": 8}})).await;
    cluster.runs(blocker, 1).await;
    let job = json!({"command": ["sleep", "60"], "tasks": 20, "resources": {"cpus": 1}});
    let light = cluster.user.submit("light", &job).await.unwrap();
    let heavy = cluster.user.submit("heavy", &job).await.unwrap();
    for queue in ["light", "heavy"] {
        eventually(&format!("{queue} waits"), PATIENCE, || async {
            cluster.queue(queue).await.filter(|view| view.pending == 20)
        })
        .await;
    }
    std::fs::write(&gate, "").unwrap();
    eventually("the machine is full", PATIENCE, || async {
        let (heavy, light) = (cluster.queue("heavy").await?, cluster.queue("light").await?);
        (heavy.running + light.running == 8).then_some(())
    })
    .await;
    let share =
        |queue: &'static str| async { cluster.queue(queue).await.map(|view| (view.weight, view.running)) };
    assert_eq!((share("heavy").await, share("light").await), (Some((3, 6)), Some((1, 2))));
    for job in [light, heavy] {
        cluster.command(Subject::JobCancel(job), json!({})).await;
        assert_eq!(cluster.ends(job).await, JobState::Killed);
    }
}

#[tokio::test]
async fn a_queue_with_a_limit_leaves_the_rest_to_others_and_goes_on_when_it_is_raised() {
    let cluster = Cluster::of("drf", 1, 8).await;
    let limit = |limit: Value| json!({"queue": "team", "limit": limit});
    cluster.command(Subject::QueuesSet, limit(json!({"cpus": 2, "tasks": 9}))).await;
    let file = cluster.scratch("at-a-time");
    // Each task notes how many of its queue run with it: those that have begun and not ended.
    let counted = format!(
        "d={0}; mkdir -p $d; touch $d/$ALLOT_TASK_INDEX; ls $d | wc -l >> {0}.seen; sleep 0.2; rm $d/$ALLOT_TASK_INDEX",
        file.display()
    );
    let short = json!({"command": counted, "tasks": 12, "resources": {"cpus": 1}});
    let short = cluster.user.submit("team.a", &short).await.unwrap();
    assert_eq!(cluster.ends(short).await, JobState::Finished);
    let seen = numbers(&file.with_extension("seen"));
    assert_eq!((seen.len(), seen.iter().max()), (12, Some(&2)), "never more than 2 at a time: {seen:?}");

    let long = json!({"command": ["sleep", "60"], "tasks": 20, "resources": {"cpus": 1}});
    let limited = cluster.user.submit("team.a", &long).await.unwrap();
    let other = cluster.user.submit("other", &long).await.unwrap();
    let running = async |count: [u64; 2]| {
        eventually(&format!("{count:?} tasks run"), PATIENCE, || async {
            // A queue without jobs is not listed.
            let other = cluster.queue("other").await.map_or(0, |view| view.running);
            ([cluster.queue("team.a").await?.running, other] == count).then_some(())
        })
        .await;
    };
    running([2, 6]).await;
    let team = cluster.queue("team").await.unwrap();
    assert_eq!(
        (team.limit.to_json(), team.held.to_json()),
        (json!({"cpus": 2, "tasks": 9}), json!({"cpus": 2, "tasks": 2}))
    );
    cluster.command(Subject::JobCancel(other), json!({})).await;
    assert_eq!(cluster.ends(other).await, JobState::Killed);
    running([2, 0]).await;
    let why = eventually("the limit is told", PATIENCE, || async {
        let subject = Subject::PoolWhy(PoolName::default_pool());
        let view: Result<WhyView, _> = cluster.user.ask(subject, &json!({"job": limited})).await;
        view.ok()?.limit
    })
    .await;
    assert_eq!((why.queue.as_str(), why.limited.as_str(), why.limit), ("team", "cpus", json!(2)));

    cluster.command(Subject::QueuesSet, limit(json!({"cpus": 5}))).await;
    running([5, 0]).await;
    cluster.command(Subject::QueuesSet, json!({"queue": "team", "no_limit": true})).await;
    running([8, 0]).await;
    cluster.command(Subject::JobCancel(limited), json!({})).await;
    assert_eq!(cluster.ends(limited).await, JobState::Killed);
}

#[tokio::test]
async fn a_gang_waits_as_a_whole_and_runs_on_several_agents_at_once() {
    let mut cluster = Cluster::of("fifo", 1, 2).await;
    cluster.another_agent("a2", 2).await;
    let [first, second] = ["first", "second"].map(|gate| cluster.scratch(gate));
    let one = cluster.wait_for(&first, json!({"resources": {"cpus": 1}})).await;
    cluster.runs(one, 1).await;
    let gang = json!({"tasks": 4, "gang": true, "resources": {"cpus": 1}});
    let gang = cluster.wait_for(&second, gang).await;
    let room = eventually("the gang is told what has room", PATIENCE, || async {
        let subject = Subject::PoolWhy(PoolName::default_pool());
        let view: Result<WhyView, _> = cluster.user.ask(subject, &json!({"job": gang})).await;
        view.ok()?.gang
    })
    .await;
    assert_eq!((room.tasks, room.room), (4, 3));
    assert_eq!(cluster.user.show(gang).await.unwrap().summary.counts.queued, 4, "none runs before all can");
    std::fs::write(&first, "").unwrap();
    let view = cluster.runs(gang, 4).await;
    let mut agents: Vec<_> = view.runs.iter().filter_map(|run| run.attempt.agent.clone()).collect();
    agents.sort();
    agents.dedup();
    assert_eq!(agents, [agent_id("a1"), agent_id("a2")]);
    std::fs::write(&second, "").unwrap();
    assert_eq!(cluster.ends(gang).await, JobState::Finished);
}

#[tokio::test]
async fn the_policy_changes_while_tasks_are_in_flight_and_none_is_lost_or_run_twice() {
    let mut cluster = Cluster::of("drf", 2, 8).await;
    cluster.standby("fifo").await;
    let file = cluster.scratch("ran");
    let line = format!("echo $ALLOT_TASK_INDEX >> {}", file.display());
    let job = cluster.shell(&line, json!({"tasks": 300, "resources": {"cpus": 1}})).await;
    for policy in ["fifo", "drf", "fifo"] {
        let before = lines(&file).len();
        cluster.command(Subject::PoolUse(PoolName::default_pool()), json!({"policy": policy})).await;
        cluster.policy_decides(policy).await;
        eventually("tasks go on", PATIENCE, || async {
            (lines(&file).len() > before || lines(&file).len() == 300).then_some(())
        })
        .await;
    }
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, view.summary.counts.finished), (JobState::Finished, 300));
    assert_eq!(numbers(&file), (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_guaranteed_is_held_back_or_lent_and_comes_back_as_tasks_end() {
    let cluster = Cluster::of("drf", 1, 4).await;
    let set = async |command: Value| cluster.command(Subject::QueuesSet, command).await;
    let (two, long) = (json!({"cpus": 2}), json!({"command": ["sleep", "60"], "resources": {"cpus": 1}}));
    set(json!({"queue": "sure", "limit": two, "guarantee": two})).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(cluster.user.submit("other", &long).await.unwrap());
    }
    let running = async |queue: &str, count: u64| {
        eventually(&format!("{count} tasks of {queue} run"), PATIENCE, || async {
            (cluster.queue(queue).await?.running == count).then_some(())
        })
        .await;
    };
    running("other", 2).await;
    let kept = eventually("what is kept is told", PATIENCE, || async {
        let subject = Subject::PoolWhy(PoolName::default_pool());
        let view: Result<WhyView, _> = cluster.user.ask(subject, &json!({"job": others[3]})).await;
        view.ok()?.kept
    })
    .await;
    assert_eq!((kept.resource.as_str(), kept.free, kept.kept), ("cpus", json!(2), json!(2)));

    set(json!({"queue": "sure", "hold_back": "never"})).await;
    running("other", 4).await;
    let mut sure = Vec::new();
    for _ in 0..2 {
        others.push(cluster.user.submit("other", &long).await.unwrap());
        sure.push(cluster.user.submit("sure", &long).await.unwrap());
    }
    for (ended, running_then) in [(0, 1), (1, 2)] {
        cluster.command(Subject::JobCancel(others[ended]), json!({})).await;
        running("sure", running_then).await;
        running("other", 4 - running_then).await;
    }
    let view = cluster.queue("sure").await.unwrap();
    assert_eq!((view.guarantee.to_json(), view.held.to_json()), (two.clone(), two));
}

#[tokio::test]
async fn a_standby_allocator_takes_over_from_one_that_is_killed() {
    let mut cluster = Cluster::start().await;
    cluster.standby("fifo").await;
    cluster.programs.kill("allocator");
    let job = cluster.shell("true", json!({})).await;
    assert_eq!(cluster.ends(job).await, JobState::Finished);
    cluster.policy_decides("fifo").await;
}

#[tokio::test]
async fn an_agent_that_is_declared_gone_takes_its_tasks_along() {
    let mut cluster = Cluster::of("drf", 1, 4).await;
    let job = cluster.shell("exec sleep 60", json!({})).await;
    cluster.runs(job, 1).await;
    cluster.programs.kill("a1");
    cluster.command(Subject::AgentGone(agent_id("a1")), json!({})).await;
    let view = cluster.over(job).await;
    assert_eq!((view.summary.state, view.summary.counts.gone), (JobState::Failed, 1));
    let attempt = &only_run(&view).attempt;
    assert_eq!((attempt.state, attempt.reason), (TaskState::Gone, Reason::AgentGoneByOperator));
    std::fs::remove_dir_all(cluster.scratch("a1")).unwrap();
    cluster.programs.restart("a1").unwrap();
    cluster.agent_is("a1", AgentState::Ready).await;
    let next = cluster.shell("true", json!({})).await;
    assert_eq!(cluster.ends(next).await, JobState::Finished, "without its past it joins as a new one");
}
