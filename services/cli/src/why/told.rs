//! The answer, as a colleague would give it.

use std::fmt::Write;

use allot_model::view::{
    AgentCount, GangRoom, KeptForOthers, LimitReached, NearMiss, PlaceInLine, QueueShare, QueueView,
    Reservation, RoomMade, Shortage, TaskCounts, WhyView,
};
use allot_model::{Hindrance, JobId, JobState, TaskState};
use serde_json::Value;

use super::{Dependency, Preempted, Task, Unexplained, Why};
use crate::absent::{Absent, in_a_line};
use crate::job::ending;
use crate::output::{Output, Tone, length, resources};
use crate::queues::{of_guarantee, of_limit, percent};
use crate::states::{self, word};

/// A headline, then what is known, in lines that align.
pub(super) fn text(why: &Why, output: &Output) -> String {
    let mut text = headline(why, output);
    let blocks = match (&why.place, &why.unexplained) {
        (Some(place), _) => {
            let asks = who_asks(place);
            let limit = limit(place.limit.as_ref(), &asks);
            vec![
                limit,
                kept(place),
                made(place),
                gang(place),
                reasons(place, &why.absent),
                standing(why, place, output),
            ]
        }
        (None, Some(unexplained)) => {
            let limit = limit(unexplained.limit.as_ref(), "a task asks");
            vec![limit, known(why, unexplained), absent(&why.absent)]
        }
        (None, None) => vec![facts(why, output)],
    };
    for block in blocks.iter().filter(|block| !block.is_empty()) {
        let _ = write!(text, "\n\n{}", aligned(block, output));
    }
    text
}

/// Names and what is said of them.
type Facts = Vec<(String, String)>;

fn aligned(facts: &Facts, output: &Output) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(String, String)| {
        let padding = " ".repeat(width - name.chars().count() + 2);
        format!("{}{padding}{value}", output.paint(name, Tone::Faint))
    };
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn headline(why: &Why, output: &Output) -> String {
    let job = why.summary.job;
    match (&why.rejection, &why.task) {
        (Some(rejection), _) => format!("job {job} was rejected: {rejection}"),
        (None, Some(task)) => of_task(job, task, output),
        (None, None) => of_job(why, output),
    }
}

fn of_task(job: JobId, task: &Task, output: &Output) -> String {
    let Task { index, attempt } = task;
    let on = attempt.agent.as_ref().map_or_else(String::new, |agent| format!(" on {agent}"));
    let since = |at| length(output.clock.now.since(at));
    match (attempt.state, attempt.retry_at) {
        (TaskState::Queued, Some(at)) => {
            format!("task {job}.{index} waits for its next try, {}", output.clock.show(at))
        }
        (TaskState::Queued, None) if attempt.reason == allot_model::Reason::WaitsForDependency => {
            format!("task {job}.{index} waits for other jobs")
        }
        (TaskState::Queued, None) => {
            format!("task {job}.{index} has waited for a place for {}", since(attempt.queued_at))
        }
        (state, _) => {
            let how =
                attempt.outcome.as_ref().map_or_else(String::new, |outcome| format!(": {}", ending(outcome)));
            format!("task {job}.{index} is {} ({}){on}{how}", word(state), attempt.reason.as_str())
        }
    }
}

fn of_job(why: &Why, output: &Output) -> String {
    let (job, summary, waiting) = (why.summary.job, &why.summary, &why.waiting);
    let ago = summary.ended_at.map_or_else(String::new, |at| format!(", {}", output.clock.show(at)));
    match summary.state {
        JobState::Finished => format!("job {job} has finished{ago}"),
        JobState::Failed => format!("job {job} has failed{ago}: {}", states::counts(&summary.counts)),
        JobState::Killed => format!("job {job} was cancelled{ago}"),
        JobState::Dropped => format!("job {job} never ran: a job that it waited for did not finish"),
        JobState::Rejected => format!("job {job} was rejected"),
        JobState::Killing => format!("job {job} is being cancelled: {}", states::counts(&summary.counts)),
        JobState::Waiting => format!("job {job} waits until the jobs have finished that it is to come after"),
        _ if waiting.for_place > 0 => {
            let since = waiting.since.map(|at| format!(" for {}", length(output.clock.now.since(at))));
            let whose = match (waiting.for_place, summary.tasks) {
                (_, 1) => format!("job {job} has"),
                (waiting, all) if waiting == u64::from(all) => format!("all {all} tasks of job {job} have"),
                (1, all) => format!("1 of the {all} tasks of job {job} has"),
                (waiting, all) => format!("{waiting} of the {all} tasks of job {job} have"),
            };
            format!("{whose} waited for a place{}", since.unwrap_or_default())
        }
        _ if waiting.for_next_try > 0 => format!("job {job} waits for its next try"),
        _ => format!("job {job} does not wait: {}", states::counts(&summary.counts)),
    }
}

/// The limit that leaves no room, whatever is free.
fn limit(reached: Option<&LimitReached>, who_asks: &str) -> Facts {
    reached.into_iter().map(|reached| ("limit".to_owned(), limit_in_words(reached, who_asks))).collect()
}

/// Who asks for what is told: a task, or as many as are placed together.
fn who_asks(place: &WhyView) -> String {
    place.gang.as_ref().map_or_else(|| "a task asks".to_owned(), |gang| format!("{} tasks ask", gang.tasks))
}

/// Why it waits as a whole.
fn gang(place: &WhyView) -> Facts {
    place.gang.iter().map(|gang| ("together".to_owned(), gang_in_words(gang))).collect()
}

fn gang_in_words(GangRoom { tasks, same, room, value, most }: &GangRoom) -> String {
    let too_many = most.filter(|most| most < tasks);
    let Some(same) = same else {
        return match (*room >= *tasks, too_many) {
            (true, _) => format!("needs {tasks} at once: there is room for them"),
            (_, None) => format!("needs {tasks} at once: there is room for {room} now"),
            (_, Some(most)) => {
                format!(
                    "needs {tasks} at once: there is room for {most} on all agents that it may use, even if nothing ran"
                )
            }
        };
    };
    match value {
        _ if too_many == Some(0) => {
            format!(
                "needs {tasks} at once on agents with the same `{same}`: none that it may use has `{same}` and is large enough"
            )
        }
        _ if let Some(most) = too_many => format!(
            "needs {tasks} at once on agents with the same `{same}`: the most that any has room for is {most}, even if nothing ran"
        ),
        None => format!("needs {tasks} at once on agents with the same `{same}`: none that has one has room"),
        Some(value) => format!(
            "needs {tasks} at once on agents with the same `{same}`: the most that any has room for now is {room}, {value}"
        ),
    }
}

/// What is free and kept for others.
fn kept(place: &WhyView) -> Facts {
    let words = |KeptForOthers { resource, free, kept, asked }: &KeptForOthers| {
        format!(
            "of {resource} {} are free, {} are kept for queues that do not use all of their guarantee, and {} \
             for {}",
            resources(free),
            resources(kept),
            who_asks(place),
            resources(asked)
        )
    };
    place.kept.iter().map(|kept| ("kept".to_owned(), words(kept))).collect()
}

/// The places that are being made, in a line for each of the first few.
fn made(place: &WhyView) -> Facts {
    const MOST: usize = 5;
    let words = |RoomMade { agent, stopping }: &RoomMade| match stopping {
        0 => format!("is made on {agent}: what was stopped there has ended"),
        1 => format!("is being made on {agent}: 1 task that is being stopped has yet to end"),
        tasks => format!("is being made on {agent}: {tasks} tasks that are being stopped have yet to end"),
    };
    let mut facts: Facts =
        place.room_made.iter().take(MOST).map(|made| ("room".to_owned(), words(made))).collect();
    if let Some(more) = place.room_made.len().checked_sub(MOST).filter(|more| *more > 0) {
        facts.push(("room".to_owned(), format!("is being made in {more} more places")));
    }
    facts
}

fn limit_in_words(
    LimitReached { queue, limited, limit, held, asked }: &LimitReached,
    who_asks: &str,
) -> String {
    let (limit, held, asked) = (resources(limit), resources(held), resources(asked));
    if limited == "tasks" {
        let (tasks, run) =
            (if limit == "1" { "task" } else { "tasks" }, if held == "1" { "runs" } else { "run" });
        return format!(
            "queue {queue} and those below it may run {limit} {tasks} at a time: {held} {run} now"
        );
    }
    format!(
        "queue {queue} and those below it may hold {limit} {limited}: they hold {held} now, and {who_asks} for {asked}"
    )
}

/// So many agents, and what is in the way there; those that are not in the pool last.
fn reasons(place: &WhyView, absent: &[Absent]) -> Facts {
    if place.reasons.is_empty() && absent.is_empty() {
        return vec![(
            "no agents".to_owned(),
            "the pool is empty: `allot agents` tells what became of them".to_owned(),
        )];
    }
    let hindered =
        place.reasons.iter().map(|AgentCount { hindrance, agents }| (*agents, hindrance.to_string()));
    let absent = absent.iter().map(|absent| (absent.agents.len() as u64, absent.in_words()));
    let counts: Vec<(u64, String)> = hindered.chain(absent).collect();
    let width = counts.iter().map(|(agents, _)| agents.to_string().len()).max().unwrap_or(0);
    let line = |(agents, what): (u64, String)| {
        let noun = if agents == 1 { "agent" } else { "agents" };
        (format!("{agents:>width$} {noun}"), what)
    };
    counts.into_iter().map(line).collect()
}

/// Where the job stands, beside the others.
fn standing(why: &Why, place: &WhyView, output: &Output) -> Facts {
    let mut facts = Facts::new();
    let mut say = |name: &str, value: String| facts.push((name.to_owned(), value));
    place.nearest.iter().for_each(|nearest| say("nearest", nearest_in_words(nearest)));
    if let Some(aside) = place.held {
        let pause = length(aside.until.since(output.clock.now));
        say(
            "set aside",
            format!("for {pause}: the offers service refused a grant ({})", word(aside.refused)),
        );
    }
    if place.granted > 0 {
        say("granted", format!("{} of them have just been granted a place", place.granted));
    }
    place.line.iter().for_each(|line| say("in line", in_line(line)));
    place.reservation.iter().for_each(|kept| say("reserved", reserved(place.job, kept, output)));
    if let Some(share) = &place.share {
        let first = if place.behind.is_none() { "; no queue is served before it" } else { "" };
        say("share", format!("{}{first}", share_in_words(share)));
    }
    if let Some(behind) = &place.behind {
        let others = match place.queues_ahead {
            0 | 1 => String::new(),
            count => format!("; {count} queues are served before"),
        };
        say("behind", format!("{}{others}", share_in_words(behind)));
    }
    facts.extend(facts_of_the_rest(why, output));
    facts
}

fn nearest_in_words(nearest: &NearMiss) -> String {
    match nearest {
        NearMiss::Constraint { constraint, agents } => {
            format!("none: `{constraint}` alone excludes {agents}")
        }
        NearMiss::Agent { agent, hindrance, short } => {
            let there = if matches!(hindrance, Hindrance::TooSmall { .. }) { "in all" } else { "free" };
            let lack = |lack: &Shortage| {
                let Shortage { resource, asked, has, short } = lack;
                let value = |words: &Value| resources(words);
                format!("{} {resource} ({} asked, {} {there})", value(short), value(asked), value(has))
            };
            let lacks: Vec<String> = short.iter().map(lack).collect();
            match lacks.is_empty() {
                true => format!("{agent} is large enough, but {hindrance}"),
                false => format!("{agent} is short of {}", lacks.join(" and ")),
            }
        }
    }
}

/// For whom room is kept, and when it is expected to be there.
fn reserved(job: JobId, Reservation { job: first, at }: &Reservation, output: &Output) -> String {
    let when = match at {
        Some(at) => format!("expected {}", output.clock.show(*at)),
        None => "at a time that the estimates of what runs do not tell".to_owned(),
    };
    if *first == job {
        return format!("room is kept for it, {when}");
    }
    format!("room is kept for job {first}, {when}; what would take it has to wait")
}

fn in_line(line: &PlaceInLine) -> String {
    let of = line.queue.as_ref().map_or_else(|| "of all jobs".to_owned(), |queue| format!("in {queue}"));
    let Some(first) = line.first else { return format!("first {of}") };
    let place = ordinal(line.jobs_ahead + 1);
    let tasks = if line.tasks_ahead == 1 { "task" } else { "tasks" };
    let ahead = match line.jobs_ahead {
        1 => format!("behind job {first}"),
        jobs => format!("behind job {first} and {} more", jobs - 1),
    };
    let strict = if line.strict {
        format!("; nobody goes ahead of job {first}, even if it fits nowhere")
    } else {
        String::new()
    };
    format!("{place} {of}, {ahead} with {} {tasks}{strict}", line.tasks_ahead)
}

fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn share_in_words(share: &QueueShare) -> String {
    let has = match &share.resource {
        Some(resource) => format!("has {} of {resource}", percent(share.share)),
        None => "has nothing".to_owned(),
    };
    format!("{} {has}, weight {}", share.queue, share.weight)
}

/// Those that are not in the pool, where nobody tells of those that are.
fn absent(absent: &[Absent]) -> Facts {
    if absent.is_empty() { Facts::new() } else { vec![("absent".to_owned(), in_a_line(absent))] }
}

/// What is known of a wait for a place without the allocator.
fn known(why: &Why, unexplained: &Unexplained) -> Facts {
    let mut facts = vec![("why".to_owned(), unexplained.message.clone())];
    facts.extend(unexplained.queue.iter().map(|queue| ("queue".to_owned(), queue_in_words(queue))));
    if unexplained.queue.is_none() {
        facts.push(("queue".to_owned(), why.summary.queue.clone()));
    }
    facts
}

fn queue_in_words(queue: &QueueView) -> String {
    let share = match &queue.dominant_resource {
        Some(resource) => format!("{} of {resource}", percent(queue.dominant_share)),
        None => "nothing".to_owned(),
    };
    let limit =
        if queue.limit.is_none() { String::new() } else { format!("; of its limit: {}", of_limit(queue)) };
    let guarantee = if queue.guarantee.is_none() {
        String::new()
    } else {
        format!("; of its guarantee: {}", of_guarantee(queue))
    };
    format!(
        "{} has {share}, weight {}; its tasks: {} running, {} pending{limit}{guarantee}",
        queue.queue, queue.weight, queue.running, queue.pending
    )
}

/// What else there is to say of a job.
fn facts(why: &Why, output: &Output) -> Facts {
    let mut facts: Facts = why.after.iter().map(dependency).collect();
    facts.extend(why.failed.iter().map(|task| ("first".to_owned(), of_task(why.summary.job, task, output))));
    facts.extend(facts_of_the_rest(why, output));
    facts
}

fn dependency(Dependency { job, state }: &Dependency) -> (String, String) {
    let state = state.map_or_else(|| "not known any more".to_owned(), word);
    (format!("job {job}"), state)
}

/// Tasks that do not wait for a place.
fn facts_of_the_rest(why: &Why, output: &Output) -> Facts {
    let mut facts = Facts::new();
    let waiting = &why.waiting;
    if let Some(at) = waiting.next_try_at.filter(|_| why.task.is_none()) {
        let tasks = if waiting.for_next_try == 1 { "task" } else { "tasks" };
        facts.push((
            "next try".to_owned(),
            format!("{} {tasks}, {}", waiting.for_next_try, output.clock.show(at)),
        ));
    }
    facts.extend(
        why.preempted.iter().map(|preempted| ("stopped".to_owned(), preempted_in_words(preempted, output))),
    );
    let others = TaskCounts { queued: 0, ..why.summary.counts };
    if waiting.for_place > 0 && why.task.is_none() && others != TaskCounts::default() {
        facts.push(("others".to_owned(), states::counts(&others)));
    }
    facts
}

fn preempted_in_words(Preempted { tasks, by, reason, ended_at }: &Preempted, output: &Output) -> String {
    let what = if *tasks == 1 { "it was".to_owned() } else { format!("{tasks} were, the last") };
    let when = ended_at.map_or_else(String::new, |at| format!(" {}", output.clock.show(at)));
    format!("{what} stopped for job {} of {}{when} ({})", by.job, by.queue, reason.as_str())
}

#[cfg(test)]
mod tests;
