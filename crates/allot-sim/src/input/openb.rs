//! Workloads from the lists of the openb GPU cluster: pods that arrive one by one until their GPU demand is a multiple of
//! what the cluster has, and never leave [Weng et al., USENIX ATC 2023].

use std::collections::BTreeMap;
use std::sync::Arc;

use allot_model::resources::WHOLE;
use allot_model::{
    AgentId, Amount, Constraint, InvalidId, PoolAgent, QueueName, Request, ResourceName, Resources, Span,
    Time,
};

use super::build::Builder;
use crate::seed::Seed;
use crate::workload::{Asks, Job, Workload};

/// The attribute that says which GPUs an agent has.
const MODEL: &str = "gpu_model";

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
    /// A line is wrong.
    #[error("{list} list, line {line}: {message}")]
    Line {
        /// `node` or `pod`.
        list: &'static str,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        message: String,
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
    let mut builder = Builder::default();
    let capacity = join(&mut builder, nodes)?;
    let pods = read_pods(pods)?;
    let order = arrivals(&pods, capacity, settings)?;
    let queue = builder.queue(&QueueName::new("openb")?);
    let mut asks: BTreeMap<usize, u32> = BTreeMap::new();
    for (second, number) in (0_u64..).zip(order) {
        let Some(pod) = pods.get(number) else { continue };
        let asks = match asks.get(&number) {
            Some(known) => *known,
            None => {
                let new = builder.asks(pod.asks.clone());
                asks.insert(number, new);
                new
            }
        };
        builder.workload.names.push(pod.name.clone());
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
        });
    }
    Ok(builder.finish())
}

/// Has all nodes join. Returns their GPUs in thousandths.
fn join(builder: &mut Builder, nodes: &str) -> Result<u64, InvalidList> {
    let mut capacity = 0;
    for row in rows("node", nodes, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])? {
        let [name, cpus, mem, gpus, model] = row.fields[..] else { continue };
        let mut total = row.amounts(cpus, mem)?.as_scalars();
        let devices = row.number(gpus)?;
        capacity += devices * WHOLE;
        let device = |number: u64| (number.to_string(), WHOLE);
        total.set(ResourceName::new("gpus")?, Amount::Items((0..devices).map(device).collect()));
        let agent = AgentId::new(name)?;
        let attributes = BTreeMap::from([(MODEL.to_owned(), model.to_owned())]);
        builder.agent_is(
            Time::ZERO,
            PoolAgent {
                agent,
                host: name.to_owned(),
                total: Resources::from_iter(pairs(total)),
                attributes,
                draining: false,
            },
        );
    }
    Ok(capacity)
}

fn pairs(resources: Resources) -> Vec<(ResourceName, Amount)> {
    resources.iter().map(|(name, amount)| (name.clone(), amount.clone())).collect()
}

struct Pod {
    name: Arc<str>,
    asks: Asks,
    /// In thousandths.
    gpus: u64,
}

fn read_pods(text: &str) -> Result<Vec<Pod>, InvalidList> {
    let columns = ["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec"];
    rows("pod", text, &columns)?.iter().map(pod).collect()
}

fn pod(row: &Row<'_>) -> Result<Pod, InvalidList> {
    let [name, cpus, mem, count, share, models] = row.fields[..] else {
        return Err(row.wrong("fields are missing".to_owned()));
    };
    let gpus = match row.number(count)? {
        0 => 0,
        1 => row.number(share)?.min(WHOLE),
        more => more.saturating_mul(WHOLE),
    };
    let mut request = row.amounts(cpus, mem)?;
    request.set(ResourceName::new("gpus")?, gpus);
    let mut asks = Asks::anywhere(request);
    if !models.is_empty() && gpus > 0 {
        let source = format!("{MODEL} in ({})", models.replace('|', ", "));
        let constraint = Constraint::parse(&source).map_err(|error| row.wrong(error.to_string()))?;
        asks.constraints.push(constraint);
    }
    Ok(Pod { name: Arc::from(name), asks, gpus })
}

/// The pods in the order in which they arrive: shuffled, then drawn with replacement, until they ask for so much.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn arrivals(pods: &[Pod], capacity: u64, settings: OpenbSettings) -> Result<Vec<usize>, InvalidList> {
    let wanted = (capacity as f64 * settings.demand).round() as u64;
    if pods.iter().all(|pod| pod.gpus == 0) || capacity == 0 {
        return Err(InvalidList::Nothing("no pod asks for GPUs, or no node has any".to_owned()));
    }
    let mut seed = Seed::new(settings.seed);
    let mut order: Vec<usize> = (0..pods.len()).collect();
    seed.shuffle(&mut order);
    let (mut arrived, mut asked) = (Vec::new(), 0_u64);
    let mut listed = order.into_iter();
    while asked < wanted {
        let number = listed.next().unwrap_or_else(|| seed.below(pods.len()));
        asked += pods.get(number).map_or(0, |pod| pod.gpus);
        arrived.push(number);
    }
    Ok(arrived)
}

/// One line of a list, with the fields of the columns that were asked for.
struct Row<'a> {
    list: &'static str,
    line: usize,
    fields: Vec<&'a str>,
}

fn rows<'a>(list: &'static str, text: &'a str, columns: &[&str]) -> Result<Vec<Row<'a>>, InvalidList> {
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let (line, head) = lines.next().unwrap_or((1, ""));
    let head: Vec<&str> = head.split(',').map(str::trim).collect();
    let place = |column: &&str| {
        head.iter().position(|name| name == column).ok_or_else(|| InvalidList::Line {
            list,
            line,
            message: format!("there is no column {column:?}: the first line names the columns"),
        })
    };
    let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
    let row = |(line, text): (usize, &'a str)| {
        let all: Vec<&str> = text.split(',').map(str::trim).collect();
        let fields = places.iter().map(|place| all.get(*place).copied());
        let fields = fields.collect::<Option<Vec<_>>>();
        let message = || format!("{} fields are given, the first line has {}", all.len(), head.len());
        let fields = fields.ok_or_else(|| InvalidList::Line { list, line, message: message() })?;
        Ok(Row { list, line, fields })
    };
    lines.map(row).collect()
}

impl Row<'_> {
    fn wrong(&self, message: String) -> InvalidList {
        InvalidList::Line { list: self.list, line: self.line, message }
    }

    fn number(&self, text: &str) -> Result<u64, InvalidList> {
        let number = text.parse().ok().filter(|number| *number <= 1 << 32);
        number.ok_or_else(|| self.wrong(format!("{text:?} is not a whole number, or too large")))
    }

    /// Thousandths of processors, and mebibytes of memory.
    fn amounts(&self, cpu_milli: &str, memory_mib: &str) -> Result<Request, InvalidList> {
        let mut request = Request::new();
        request.set(ResourceName::cpus(), self.number(cpu_milli)?);
        request.set(ResourceName::new("mem")?, self.number(memory_mib)? << 20);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (NODES.replace("64000", "x"), PODS.to_owned(), "node list, line 2: \"x\" is not a whole number"),
            (
                NODES.replace("model", "kind"),
                PODS.to_owned(),
                "node list, line 1: there is no column \"model\"",
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
