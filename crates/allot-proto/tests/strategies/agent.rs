//! What agents say and are told.

use std::sync::Arc;

use allot_model::{
    AgentFacts, AgentOrder, Beat, Epoch, Hello, Incarnation, JobSpec, Launch, OrderBatch, Report,
    ReportBatch, Welcome,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::job::{outcome, reason, spec, task_state};
use super::{id, number, resources, run, span, text, texts, time};

pub fn facts() -> BoxedStrategy<Arc<AgentFacts>> {
    (id(), number(), text(), resources(), texts(), text())
        .prop_map(|(id, incarnation, host, resources, attributes, program_version)| {
            let incarnation = Incarnation(incarnation);
            Arc::new(AgentFacts { id, incarnation, host, resources, attributes, program_version })
        })
        .boxed()
}

pub fn hello() -> impl Strategy<Value = Hello> {
    (facts(), vec(any::<u64>(), 0..3))
        .prop_map(|(facts, ended)| Hello { facts, ended: ended.into_iter().map(Incarnation).collect() })
}

pub fn welcome() -> impl Strategy<Value = Welcome> {
    prop_oneof![
        span().prop_map(|beat_every| Welcome::Admitted { beat_every }),
        Just(Welcome::HelloNeeded),
        text().prop_map(|message| Welcome::Refused { message }),
    ]
}

pub fn beat() -> impl Strategy<Value = Beat> {
    let trouble = prop::option::of("[a-z ]{1,20}");
    (id(), number(), any::<bool>(), trouble).prop_map(|(agent, incarnation, leaving, trouble)| Beat {
        agent,
        incarnation: Incarnation(incarnation),
        leaving,
        trouble,
    })
}

/// Launches of a few jobs, so that neighbours often share one.
fn launch(specs: Vec<Arc<JobSpec>>) -> impl Strategy<Value = AgentOrder> {
    let queue = prop::sample::select(vec!["a", "a.b"]);
    (run(), prop::sample::select(specs), queue, resources(), number()).prop_map(
        |(run, spec, queue, slice, slots)| {
            AgentOrder::Launch(Launch { run, spec, queue: queue.parse().unwrap(), slice, slots })
        },
    )
}

fn order(specs: Vec<Arc<JobSpec>>) -> impl Strategy<Value = AgentOrder> {
    prop_oneof![
        3 => launch(specs),
        1 => (run(), span(), reason()).prop_map(|(run, grace, reason)| AgentOrder::Kill { run, grace, reason }),
        1 => vec(run(), 0..4).prop_map(|wanted| AgentOrder::Reconcile { wanted }),
        1 => number().prop_map(|sequence| AgentOrder::Acknowledge { sequence }),
    ]
}

pub fn orders() -> impl Strategy<Value = OrderBatch> {
    let orders = vec(spec().prop_map(Arc::new), 1..3).prop_flat_map(|specs| vec(order(specs), 0..8));
    (number(), number(), number(), orders).prop_map(|(epoch, incarnation, allocations, orders)| OrderBatch {
        epoch: Epoch(epoch),
        incarnation: Incarnation(incarnation),
        allocations,
        orders,
    })
}

fn report() -> BoxedStrategy<Report> {
    prop_oneof![
        (run(), time()).prop_map(|(run, at)| Report::Started { run, at }),
        (run(), task_state(), reason(), option::of(time()), time(), outcome()).prop_map(
            |(run, state, reason, started_at, ended_at, outcome)| Report::Ended {
                run,
                state,
                reason,
                started_at,
                ended_at,
                outcome,
            },
        ),
    ]
    .boxed()
}

pub fn reports() -> impl Strategy<Value = ReportBatch> {
    (id(), number(), number(), number(), vec(report(), 0..6))
        .prop_map(|(agent, incarnation, sequence, allocations, reports)| ReportBatch {
            agent,
            incarnation: Incarnation(incarnation),
            sequence,
            allocations,
            reports,
        })
        .boxed()
        .boxed()
}
