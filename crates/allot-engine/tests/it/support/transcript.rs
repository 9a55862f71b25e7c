//! What the engine was told and what it said, as text.

use std::fmt::Write as _;

use allot_engine::Output;
use allot_model::{AllocatorMessage, FeedItem, Grant, Presence, Request, Resources, Span};

use super::Cluster;

/// A conversation with the engine.
pub(crate) struct Transcript<'a> {
    cluster: &'a mut Cluster,
    text: String,
}

impl<'a> Transcript<'a> {
    pub(crate) fn new(cluster: &'a mut Cluster) -> Self {
        let mut transcript = Self { cluster, text: String::new() };
        transcript.wake();
        transcript
    }

    /// The offers service says this in one message.
    pub(crate) fn says(&mut self, items: Vec<FeedItem>) {
        for item in &items {
            let _ = writeln!(self.text, "> {}", said(item));
        }
        self.cluster.items = items;
        self.cluster.flush();
        self.wake();
    }

    /// Time passes.
    pub(crate) fn later(&mut self, span: Span) {
        let _ = writeln!(self.text, "{span} later");
        self.cluster.now = self.cluster.now + span;
        self.wake();
    }

    fn wake(&mut self) {
        for output in self.cluster.wake() {
            let _ = writeln!(self.text, "  {}", answered(&output));
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

fn amounts(resources: &Resources) -> String {
    let parts: Vec<String> =
        resources.iter().map(|(name, amount)| format!("{name}={}", amount.total())).collect();
    parts.join(" ")
}

fn asks(request: &Request) -> String {
    amounts(&request.as_scalars())
}

fn said(item: &FeedItem) -> String {
    match item {
        FeedItem::Active { epoch, instance } => format!("{instance} decides in epoch {epoch}"),
        FeedItem::Queue { queue, weight, limit, .. } if limit.is_none() => {
            format!("queue {queue} has weight {weight}")
        }
        FeedItem::Queue { queue, weight, limit, .. } => {
            format!("queue {queue} has weight {weight} and {}", limit.in_words())
        }
        FeedItem::Job(job) => format!("job {} of {} asks for {}", job.job, job.queue, asks(&job.resources)),
        FeedItem::Pending { job, tasks } => format!("{job}.{tasks} wait"),
        FeedItem::Agent(agent) => format!("agent {} has {}", agent.agent, amounts(&agent.total)),
        FeedItem::Offer { agent, version, free, .. } => {
            format!("offer {version} of {agent}: {}", amounts(free))
        }
        FeedItem::Refused { grant, code, .. } => format!("grant {grant} refused: {code:?}"),
        other => format!("{other:?}"),
    }
}

fn answered(output: &Output) -> String {
    match output {
        Output::Hello => "hello".to_owned(),
        Output::Say(AllocatorMessage::Beat(Presence { policy, .. })) => format!("beat of {policy}"),
        Output::Say(AllocatorMessage::Grant(grant)) => granted(grant),
        Output::Say(other) => format!("{other:?}"),
    }
}

fn granted(grant: &Grant) -> String {
    let parts = grant.placements.iter().map(|part| {
        let (tasks, slice) = (part.tasks, amounts(&part.slice));
        format!("{}.{tasks} on {} from offer {}, each {slice}", part.job, part.agent, part.version)
    });
    format!("grant {} in epoch {}: {}", grant.grant, grant.epoch, parts.collect::<Vec<_>>().join("; "))
}
