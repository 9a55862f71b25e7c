//! What a stretch of time has cost: each service's CPU time and memory, and the traffic on the bus.

use std::collections::BTreeMap;

use allot_model::Time;
use allot_shell::clock;
use allot_shell::services::{RunningService, running};
use allot_shell::usage::Usage;
use serde::Serialize;

use super::numbers::{bytes, micros, per, three_figures};
use super::traffic::{Amount, Flow, Traffic};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Cell, Output, Table};

/// What this process is called among the services.
const SELF: &str = "this command";

/// How things stand at one moment.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    at: Time,
    services: Vec<RunningService>,
    client: Usage,
    traffic: Traffic,
}

/// What came between two moments.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Cost {
    /// How long it was, microseconds.
    pub(super) took_us: u64,
    /// Each process of a service that answered at the end.
    pub(super) services: Vec<ServiceCost>,
    /// All of them but the agents: the control plane.
    pub(super) control_plane: Sum,
    /// The command that measured.
    pub(super) client: ServiceCost,
    /// What went over the bus.
    pub(super) traffic: Traffic,
}

/// What one process has cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ServiceCost {
    /// The services in it: one, unless it is `allot up`.
    pub(super) names: Vec<String>,
    pub(super) host: String,
    pub(super) pid: u32,
    /// User and system CPU time, microseconds.
    pub(super) cpu_us: u64,
    /// Resident memory at the beginning, bytes; 0 where it started since.
    pub(super) mem_before_bytes: u64,
    /// Resident memory at the end, bytes.
    pub(super) mem_bytes: u64,
    /// The most since the service started, bytes.
    pub(super) peak_mem_bytes: u64,
}

/// What several services have cost together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Sum {
    pub(super) cpu_us: u64,
    pub(super) mem_bytes: u64,
    pub(super) peak_mem_bytes: u64,
}

impl Snapshot {
    /// Asks everybody.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub(super) async fn take(client: &Client) -> Result<Self, Failure> {
        let (services, traffic) = tokio::join!(running(client.bus()), Traffic::take(client));
        let services = services.map_err(|error| Failure::Unreachable(format!("{error:#}")))?;
        Ok(Self { at: clock::now(), services, client: Usage::of_this_process(), traffic: traffic? })
    }

    /// When everybody had answered.
    pub(super) fn at(&self) -> Time {
        self.at
    }

    /// CPU time of all services, microseconds.
    pub(super) fn cpu_us(&self) -> u64 {
        processes(&self.services).map(|(_, usage)| usage.cpu_us).sum()
    }

    /// What came until `later`.
    pub(super) fn until(&self, later: &Self) -> Cost {
        let is_same = |usage: &Usage, before: &Usage| (&usage.host, usage.pid) == (&before.host, before.pid);
        let earlier =
            |usage: &Usage| self.services.iter().map(|s| &s.usage).find(|before| is_same(usage, before));
        let services: Vec<_> = processes(&later.services)
            .map(|(names, usage)| ServiceCost::of(names, earlier(usage), usage))
            .collect();
        Cost {
            took_us: later.at.since(self.at).as_micros(),
            control_plane: Sum::of(services.iter().filter(|service| !service.is_agent())),
            services,
            client: ServiceCost::of(vec![SELF.to_owned()], Some(&self.client), &later.client),
            traffic: later.traffic.since(&self.traffic),
        }
    }
}

/// The processes, each with the services in it: several may share one, and tell the same of it.
fn processes(services: &[RunningService]) -> impl Iterator<Item = (Vec<String>, &Usage)> {
    let mut processes: BTreeMap<(&str, u32), (Vec<String>, &Usage)> = BTreeMap::new();
    for RunningService { name, usage, .. } in services {
        let place = (usage.host.as_str(), usage.pid);
        processes.entry(place).or_insert_with(|| (Vec::new(), usage)).0.push(name.clone());
    }
    let mut processes: Vec<_> = processes.into_values().collect();
    processes.sort_by(|(a, _), (b, _)| a.cmp(b));
    processes.into_iter()
}

impl ServiceCost {
    fn of(names: Vec<String>, before: Option<&Usage>, after: &Usage) -> Self {
        Self {
            names,
            host: after.host.clone(),
            pid: after.pid,
            cpu_us: after.cpu_us.saturating_sub(before.map_or(0, |before| before.cpu_us)),
            mem_before_bytes: before.map_or(0, |before| before.mem_bytes),
            mem_bytes: after.mem_bytes,
            peak_mem_bytes: after.peak_mem_bytes,
        }
    }

    /// True for an agent, which is not part of the control plane.
    pub(super) fn is_agent(&self) -> bool {
        self.names.iter().all(|name| name == "allot-agent")
    }

    fn name(&self) -> String {
        match self.names.as_slice() {
            [one] => one.clone(),
            several => format!("{} services", several.len()),
        }
    }
}

impl Sum {
    fn of<'a>(services: impl Iterator<Item = &'a ServiceCost>) -> Self {
        services.fold(Self::default(), |sum, service| Self {
            cpu_us: sum.cpu_us + service.cpu_us,
            mem_bytes: sum.mem_bytes + service.mem_bytes,
            peak_mem_bytes: sum.peak_mem_bytes + service.peak_mem_bytes,
        })
    }
}

impl Cost {
    /// The services as a table, with shares for each of so many tasks.
    pub(super) fn services_text(&self, tasks: u64, output: &Output) -> String {
        let mut table =
            Table::new(&["SERVICE", "HOST", "PID#", "CPU#", "OF A CORE#", "A TASK#", "MEMORY#", "PEAK#"]);
        for service in self.services.iter().chain([&self.client]) {
            let named = [service.name(), service.host.clone(), service.pid.to_string()];
            let spent = self.spent(service.cpu_us, tasks);
            let memory = [bytes(service.mem_bytes), bytes(service.peak_mem_bytes)];
            table.row(named.into_iter().chain(spent).chain(memory).map(Cell::from));
        }
        let Sum { cpu_us, mem_bytes, peak_mem_bytes } = self.control_plane;
        let named = ["all but agents".to_owned(), String::new(), String::new()];
        let memory = [bytes(mem_bytes), bytes(peak_mem_bytes)];
        table.row(named.into_iter().chain(self.spent(cpu_us, tasks)).chain(memory).map(Cell::from));
        output.draw(&table)
    }

    fn spent(&self, cpu_us: u64, tasks: u64) -> [String; 3] {
        let of_a_core = format!("{}%", three_figures(per(cpu_us, self.took_us) * 100.0));
        let a_task =
            if tasks == 0 { "-".to_owned() } else { format!("{}µs", three_figures(per(cpu_us, tasks))) };
        [micros(cpu_us), of_a_core, a_task]
    }

    /// The traffic as a table, for each of so many tasks.
    pub(super) fn traffic_text(&self, tasks: u64, output: &Output) -> String {
        let mut table =
            Table::new(&["BUS", "PUBLISHED#", "BYTES#", "A TASK#", "DELIVERED#", "BYTES#", "A TASK#"]);
        for (name, Flow { published, delivered }) in &self.traffic.connections {
            table.row(traffic_row(name, &[*published, *delivered], tasks));
        }
        match &self.traffic.account {
            Some(Flow { published, delivered }) => {
                table.row(traffic_row("all", &[*published, *delivered], tasks));
            }
            None => table.row(["all".into(), "not told".into()]),
        }
        for (name, amount) in &self.traffic.stored {
            table.row(traffic_row(&format!("stored in {name}"), &[*amount], tasks));
        }
        output.draw(&table)
    }
}

fn traffic_row(name: &str, amounts: &[Amount], tasks: u64) -> Vec<Cell> {
    let cells = amounts.iter().flat_map(|amount| {
        let (messages, size) = amount.per(tasks);
        let a_task = format!("{}, {}B", three_figures(messages), three_figures(size));
        let a_task = if tasks == 0 { "-".to_owned() } else { a_task };
        [amount.messages.to_string(), bytes(amount.bytes), a_task]
    });
    [name.to_owned()].into_iter().chain(cells).map(Cell::from).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn usage(pid: u32, cpu_us: u64, mem_bytes: u64) -> Usage {
        Usage { host: "h".into(), pid, cpu_us, mem_bytes, peak_mem_bytes: mem_bytes * 2 }
    }

    fn snapshot(at_us: u64, services: &[(&str, u64, u64)]) -> Snapshot {
        let service = |(name, cpu_us, mem): &(&str, u64, u64)| RunningService {
            name: (*name).to_owned(),
            id: format!("id-{name}"),
            version: "1.0.0".into(),
            usage: usage(pid(name), *cpu_us, *mem),
            standing: None,
        };
        Snapshot {
            at: Time::from_micros(at_us),
            services: services.iter().map(service).collect(),
            client: usage(9, at_us / 10, 1 << 20),
            traffic: Traffic {
                account: Some(flow(at_us)),
                connections: [("allot-offers".to_owned(), flow(at_us / 2))].into(),
                stored: [("ALLOT_LEDGER", Amount { messages: at_us / 1_000, bytes: at_us })].into(),
            },
        }
    }

    /// A process each.
    fn pid(name: &str) -> u32 {
        u32::try_from(name.len()).unwrap()
    }

    fn flow(amount: u64) -> Flow {
        let half = Amount { messages: amount / 2, bytes: amount * 5 };
        Flow { published: Amount { messages: amount, bytes: amount * 10 }, delivered: half }
    }

    pub(in super::super) fn cost() -> Cost {
        let before = snapshot(0, &[("allot-agent", 50, 1 << 20), ("allot-offers", 100, 2 << 20)]);
        let services = [
            ("allot-agent", 350, 3 << 20),
            ("allot-dispatcher", 1_000, 5 << 20),
            ("allot-offers", 600, 4 << 20),
        ];
        before.until(&snapshot(10_000, &services))
    }

    #[test]
    fn a_service_costs_what_it_has_used_since() {
        let cost = cost();
        let cpu: Vec<_> = cost.services.iter().map(|service| service.cpu_us).collect();
        assert_eq!((cpu, cost.client.cpu_us, cost.took_us), (vec![300, 1_000, 500], 1_000, 10_000));
        assert_eq!(
            cost.control_plane,
            Sum { cpu_us: 1_500, mem_bytes: 9 << 20, peak_mem_bytes: 18 << 20 },
            "agents are not part of the control plane"
        );
    }

    #[test]
    fn services_that_share_a_process_cost_it_once() {
        let before = snapshot(0, &[]);
        let together = [("allot-agent", 50, 1 << 20), ("allot-offer", 50, 1 << 20)];
        let cost = before.until(&snapshot(10, &together));
        assert_eq!(cost.services.len(), 1);
        assert_eq!((cost.services[0].cpu_us, cost.services[0].name()), (50, "2 services".to_owned()));
        assert_eq!(cost.control_plane.cpu_us, 50);
    }
}
