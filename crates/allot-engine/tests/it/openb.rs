//! How much of the GPUs of a real cluster a placement brings to use, as the study measures it: see
//! `allot_workload::openb`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use allot_engine::{Engine, Input, Output, Placement, Policy};
use allot_model::{
    AgentId, AllocatorMessage, Amount, AttemptRun, Core, Feed, FeedItem, JobId, OfferVersion, PoolAgent,
    PoolJob, ResourceName, Resources, Span, SyncPart, TaskRange, Time,
};
use allot_workload::openb::{Node, Pod, arrivals, gpu_capacity_milli, parse_nodes, parse_pods};

use crate::support::{EPOCH, SESSION, me, policy};

/// The folder of the lists, or nothing and a word about it.
fn lists() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/workloads");
    let folder = std::env::var_os("ALLOT_WORKLOADS").map_or_else(beside, PathBuf::from).join("openb");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no openb lists in {}; set ALLOT_WORKLOADS to where they are", folder.display());
    None
}

/// An engine and what the offers service would know of the agents.
struct Study {
    engine: Engine,
    sequence: u64,
    agents: Vec<(AgentId, Resources, u64)>,
}

impl Study {
    fn new(placement: Placement, nodes: &[Node]) -> Self {
        let engine = Engine::new(me(), Policy { placement, ..policy("fifo") });
        let mut study = Self { engine, sequence: 0, agents: Vec::new() };
        study.wake();
        let mut items = vec![FeedItem::Active { epoch: EPOCH, instance: me() }];
        for node in nodes {
            let (agent, total) = (AgentId::new(&node.name).unwrap(), node.resources());
            let (host, attributes) = (node.name.clone(), node.attributes());
            let facts =
                PoolAgent { agent: agent.clone(), host, total: total.clone(), attributes, draining: false };
            items.push(FeedItem::Agent(Arc::new(facts)));
            study.agents.push((agent, total, 0));
            items.push(study.offer(study.agents.len() - 1));
        }
        study.tell(Some(SyncPart::Only), items);
        study
    }

    fn wake(&mut self) -> Vec<Output> {
        let mut out = Vec::new();
        self.engine.wake(Time::ZERO, &mut out);
        out
    }

    fn tell(&mut self, sync: Option<SyncPart>, items: Vec<FeedItem>) {
        self.sequence += u64::from(sync.is_none());
        let feed = Feed { session: SESSION, sequence: self.sequence, sync, part: 0, items };
        self.engine.handle(Time::ZERO, Input::Feed(feed), &mut Vec::new());
    }

    fn offer(&self, place: usize) -> FeedItem {
        let (agent, free, version) = self.agents[place].clone();
        FeedItem::Offer { agent, version: OfferVersion(version), free, ttl: Span::from_secs(1) }
    }

    /// A pod arrives; where it is placed, its slice is taken from what is free there, which fails the test where it is
    /// not. Returns its GPUs if it was placed.
    fn arrive(&mut self, id: u64, pod: &Pod) -> Option<u64> {
        let (job, tasks) = (JobId(id), TaskRange::one(0));
        let facts = PoolJob {
            resources: pod.request(),
            constraints: pod.constraints(),
            ..crate::support::job(id, "pods", 1, "")
        };
        let queue = facts.queue.clone();
        self.tell(None, vec![FeedItem::Job(Arc::new(facts)), FeedItem::Pending { job, tasks }]);
        let say = |output| match output {
            Output::Say(AllocatorMessage::Grant(grant)) => Some(grant),
            _ => None,
        };
        let grant = self.wake().into_iter().find_map(say)?;
        let part = &grant.placements[0];
        assert_eq!((part.job, part.tasks), (job, tasks), "nothing that did not fit before fits now");
        let place = self.agents.binary_search_by(|agent| agent.0.cmp(&part.agent)).unwrap();
        self.agents[place].1.subtract(&part.slice).expect("A: never over-allocates");
        self.agents[place].2 += 1;
        let run = AttemptRun { job, tasks, attempt: 1 };
        let (agent, slice) = (part.agent.clone(), part.slice.clone());
        let placement = allot_model::Placement { agent, run, queue, slice, slots: 1 };
        let (epoch, number, at) = (grant.epoch, grant.grant, Time::ZERO);
        let allocated = FeedItem::Allocated { epoch, grant: number, placements: vec![placement], at };
        self.tell(None, vec![allocated, self.offer(place)]);
        Some(pod.gpu_milli)
    }
}

/// The part of the GPUs in use at the end, in hundredths of a percent, for each seed.
fn allocation(placement: Placement, nodes: &[Node], pods: &[Pod], seeds: std::ops::Range<u64>) -> Vec<u64> {
    let capacity = gpu_capacity_milli(nodes);
    let of_seed = |seed| {
        let placement = match placement {
            Placement::Random { .. } => Placement::Random { seed },
            other => other,
        };
        let mut study = Study::new(placement, nodes);
        let order = arrivals(pods, capacity * 13 / 10, seed);
        let placed: u64 = (1..).zip(order).filter_map(|(id, place)| study.arrive(id, &pods[place])).sum();
        study.engine.sanity_check().unwrap();
        assert_eq!(study.agents.iter().map(|(_, free, _)| gpus(free)).sum::<u64>(), capacity - placed);
        placed * 10_000 / capacity
    };
    seeds.map(of_seed).collect()
}

fn gpus(free: &Resources) -> u64 {
    free.get(&ResourceName::new("gpus").unwrap()).map_or(0, Amount::total)
}

/// The mean of ten seeds at 130 % arrived demand, in hundredths of a percent, within a point.
#[test]
fn openb_gpus_of_the_cluster_are_used_as_much_as_by_the_naive_simulation() {
    let Some(folder) = lists() else { return };
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let nodes = parse_nodes(&read("openb_node_list_gpu_node.csv")).unwrap();
    let pods = parse_pods(&read("openb_pod_list_default.csv")).unwrap();
    let expected = [
        (Placement::Random { seed: 0 }, 8_747),
        (Placement::DotProduct, 9_085),
        (Placement::GpuBestFit, 9_308),
    ];
    for (placement, expected) in expected {
        let found = allocation(placement, &nodes, &pods, 1..11);
        let mean = found.iter().sum::<u64>() / found.len() as u64;
        eprintln!("{placement}: {mean} of {found:?}");
        assert!(mean.abs_diff(expected) <= 100, "{placement}: {mean}, expected {expected} of {found:?}");
    }
}

/// All others with one seed, which never over-allocate either.
#[test]
fn every_placement_serves_the_openb_pods_down_to_the_single_device() {
    let Some(folder) = lists() else { return };
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let nodes = parse_nodes(&read("openb_node_list_gpu_node.csv")).unwrap();
    let pods = parse_pods(&read("openb_pod_list_default.csv")).unwrap();
    for placement in Placement::ALL {
        let found = allocation(placement, &nodes, &pods, 42..43);
        eprintln!("{placement}: {found:?}");
        assert!(found[0] > 7_500, "{placement}: {found:?}");
    }
}
