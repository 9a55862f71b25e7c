//! Workloads from the lists of the openb GPU cluster: pods that arrive one by one until their GPU demand is a multiple of
//! what the cluster has, and never leave [Weng et al., USENIX ATC 2023].

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::{AgentId, InvalidId, PoolAgent, QueueName, Span, Time};
use allot_workload::openb::{
    self as lists, Node, Pod, arrivals, gpu_capacity_milli, parse_nodes, parse_pods,
};

use super::build::Builder;
use crate::workload::{Asks, Job, Workload};

/// How the lists are to be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpenbSettings {
    /// How many times the GPUs there are the pods ask for together.
    pub demand: f64,
    /// Says in which order the pods arrive, and which arrive again.
    pub seed: u64,
}

/// Why a list cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidList {
    /// A list cannot be read.
    #[error("{list} list, {why}")]
    List {
        /// `node` or `pod`.
        list: &'static str,
        /// Which line is wrong, and how.
        #[source]
        why: lists::InvalidList,
    },
    /// There is nothing to place, or nowhere to.
    #[error("{0}")]
    Nothing(String),
    /// A name cannot be made.
    #[error(transparent)]
    Name(#[from] InvalidId),
}

/// The workload of a list of nodes and one of pods, as plain text.
///
/// # Errors
/// [`InvalidList`].
pub fn openb(nodes: &str, pods: &str, settings: OpenbSettings) -> Result<Workload, InvalidList> {
    let wrong = |list| move |why| InvalidList::List { list, why };
    let nodes = parse_nodes(nodes.as_bytes()).map_err(wrong("node"))?;
    let pods = parse_pods(pods.as_bytes()).map_err(wrong("pod"))?;
    let mut builder = Builder::default();
    nodes.iter().try_for_each(|node| join(&mut builder, node))?;
    let order = arrivals(&pods, wanted(&nodes, &pods, settings)?, settings.seed);
    let queue = builder.queue(&QueueName::new("openb")?);
    let mut asks: BTreeMap<usize, u32> = BTreeMap::new();
    for (second, number) in (0_u64..).zip(order) {
        let Some(pod) = pods.get(number) else { continue };
        let asks = match asks.get(&number) {
            Some(known) => *known,
            None => {
                let new =
                    builder.asks(Asks { constraints: pod.constraints(), ..Asks::anywhere(pod.request()) });
                asks.insert(number, new);
                new
            }
        };
        builder.workload.names.push(Arc::from(pod.name.as_str()));
        builder.submit(Job {
            submit: Time::ZERO + Span::from_secs(second),
            run: None,
            estimate: None,
            deadline: None,
            number: i64::try_from(second).unwrap_or(i64::MAX),
            queue,
            asks,
            tasks: 1,
            min_tasks: 1,
            priority: 0,
            preemptible: true,
        });
    }
    Ok(builder.finish())
}

/// Has a node join.
fn join(builder: &mut Builder, node: &Node) -> Result<(), InvalidId> {
    let facts = PoolAgent {
        agent: AgentId::new(&node.name)?,
        host: node.name.clone(),
        total: node.resources(),
        attributes: node.attributes(),
        draining: false,
    };
    builder.agent_is(Time::ZERO, facts);
    Ok(())
}

/// The GPUs that the pods are to ask for together, in thousandths.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn wanted(nodes: &[Node], pods: &[Pod], settings: OpenbSettings) -> Result<u64, InvalidList> {
    let capacity = gpu_capacity_milli(nodes);
    if pods.iter().all(|pod| pod.gpu_milli == 0) || capacity == 0 {
        return Err(InvalidList::Nothing("no pod asks for GPUs, or no node has any".to_owned()));
    }
    Ok((capacity as f64 * settings.demand).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use allot_model::ResourceName;

    const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,1024,2,P100\nn2,32000,1024,1,T4\n";
    const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
        p1,1000,16,1,460,,LS\np2,1000,16,2,1000,P100|T4,LS\np3,1000,16,0,0,,BE\n";

    fn workload(demand: f64, seed: u64) -> Workload {
        openb(NODES, PODS, OpenbSettings { demand, seed }).unwrap()
    }

    #[test]
    fn pods_arrive_until_they_ask_for_enough() {
        let workload = workload(1.3, 1);
        let gpus = ResourceName::new("gpus").unwrap();
        let asked: Vec<u64> =
            workload.jobs.iter().map(|job| workload.asks[job.asks as usize].request.get(&gpus)).collect();
        let sum: u64 = asked.iter().sum();
        assert!(sum >= 3_900 && sum - asked.last().unwrap() < 3_900, "{asked:?}");
        assert_eq!(workload.agents.len(), 2);
    }

    #[test]
    fn shares_devices_and_models_become_amounts_and_constraints() {
        let workload = workload(10.0, 1);
        let texts: Vec<String> = workload
            .asks
            .iter()
            .map(|asks| {
                let constraints: Vec<String> = asks.constraints.iter().map(ToString::to_string).collect();
                format!("{} {}", asks.request.to_json()["gpus"], constraints.join(","))
            })
            .collect();
        assert!(texts.contains(&"0.46 ".to_owned()), "{texts:?}");
        assert!(texts.iter().any(|text| text.starts_with("2 gpu_model in")), "{texts:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_another_gives_another() {
        let order = |seed| workload(40.0, seed).names;
        assert_eq!(order(7), order(7));
        assert_ne!(order(7), order(8));
    }

    #[test]
    fn mistakes_name_the_list_and_the_line() {
        let settings = OpenbSettings { demand: 1.0, seed: 1 };
        let cases = [
            (
                NODES.replace("64000", "x"),
                PODS.to_owned(),
                "node list, line 2: cpu_milli: \"x\" is not a whole number",
            ),
            (
                NODES.replace("model", "kind"),
                PODS.to_owned(),
                "node list, line 1: there is no column `model`",
            ),
            (NODES.to_owned(), PODS.replace(",,LS", ""), "pod list, line 2: 5 fields are given"),
            (NODES.to_owned(), "name\n".to_owned(), "pod list, line 1: there is no column"),
        ];
        for (nodes, pods, message) in cases {
            let error = openb(&nodes, &pods, settings).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
