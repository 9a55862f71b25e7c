//! Arbitrary values of the model.

pub mod agent;
pub mod job;
pub mod ledger;
pub mod pool;

use std::fmt::Debug;
use std::str::FromStr;

use allot_model::resources::{Ranges, WHOLE};
use allot_model::{
    Amount, AttemptRun, HoldBack, JobId, QueueGuarantee, QueueLimit, Request, ResourceName, Resources, Span,
    TaskRange, Time,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Names of one token.
pub fn id<T: FromStr<Err: Debug> + Debug>() -> impl Strategy<Value = T> {
    "[a-z0-9_-]{1,8}".prop_map(|text| text.parse().unwrap())
}

/// Names of queues.
pub fn queue() -> impl Strategy<Value = allot_model::QueueName> {
    "[a-z]{1,4}(\\.[a-z]{1,4}){0,2}".prop_map(|text| text.parse().unwrap())
}

/// Numbers, small ones as often as huge ones.
pub fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..200_u64, any::<u64>()]
}

pub fn time() -> impl Strategy<Value = Time> {
    number().prop_map(Time::from_micros)
}

pub fn span() -> impl Strategy<Value = Span> {
    number().prop_map(Span::from_micros)
}

pub fn text() -> BoxedStrategy<String> {
    prop_oneof!["", "[a-z ]{1,12}", "\\PC{0,8}"].boxed()
}

pub fn texts() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(text(), text(), 0..4)
}

pub fn tasks() -> BoxedStrategy<TaskRange> {
    let index = || prop_oneof![0..50_u32, any::<u32>()];
    (index(), index()).prop_map(|(a, b)| TaskRange { first: a.min(b), last: a.max(b) }).boxed()
}

pub fn run() -> BoxedStrategy<AttemptRun> {
    (number(), tasks(), any::<u32>())
        .prop_map(|(job, tasks, attempt)| AttemptRun { job: JobId(job), tasks, attempt })
        .boxed()
}

pub fn limit() -> BoxedStrategy<QueueLimit> {
    let limited = (option::of(number()), btree_map(resource(), number(), 0..4), option::of(number()));
    prop_oneof![
        Just(QueueLimit::default()),
        limited.prop_map(|(tasks, resources, pending_jobs)| QueueLimit { tasks, resources, pending_jobs }),
    ]
    .boxed()
}

pub fn guarantee() -> BoxedStrategy<QueueGuarantee> {
    let hold_back = prop_oneof![Just(HoldBack::Fixed), Just(HoldBack::Always), Just(HoldBack::Never)];
    (limit(), hold_back).prop_map(|(least, hold_back)| QueueGuarantee { least, hold_back }).boxed()
}

fn resource() -> impl Strategy<Value = ResourceName> {
    prop_oneof![Just("cpus"), Just("mem"), Just("gpus"), Just("ports"), Just("licenses")]
        .prop_map(|name| name.parse().unwrap())
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        number().prop_map(Amount::Scalar),
        btree_map("[a-z0-9]{0,3}", 0..=WHOLE, 0..4).prop_map(Amount::Items),
        vec((number(), 0..50_u64), 0..4).prop_map(|runs| {
            let runs = runs.into_iter().map(|(first, more)| (first, first.saturating_add(more)));
            Amount::Ranges(runs.collect::<Ranges>())
        }),
    ]
}

pub fn resources() -> BoxedStrategy<Resources> {
    vec((resource(), amount()), 0..4).prop_map(|amounts| amounts.into_iter().collect()).boxed()
}

pub fn request() -> BoxedStrategy<Request> {
    vec((resource(), number()), 0..4)
        .prop_map(|amounts| amounts.into_iter().collect())
        .boxed()
        .boxed()
        .boxed()
        .boxed()
        .boxed()
}
