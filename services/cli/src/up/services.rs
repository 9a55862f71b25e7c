//! The services of `allot up`, each as its own binary would run it, in one process.

use std::future::Future;
use std::time::Duration;

use allot_allocator::Config;
use allot_engine::Policy;
use allot_model::Preempt;
use allot_shell::{Bus, NatsConfig, Shutdown, health};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connect;
use crate::failure::Failure;
use crate::output::note;

/// How long agents may take to end their tasks, and then the others to finish what they are at.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// What runs, and how to stop it: first the agents, so that the others still hear how their tasks ended.
#[derive(Debug, Default)]
pub(super) struct Services {
    agents: Group,
    others: Group,
}

/// Services that stop together.
#[derive(Debug, Default)]
struct Group {
    running: JoinSet<(String, anyhow::Result<()>)>,
    shutdown: Shutdown,
}

impl Services {
    /// Starts the services that write the ledger.
    /// The offers service allows the preemption that these policies do: who starts them all is the operator.
    pub(super) async fn start_core(&mut self, nats: &NatsConfig, policies: &[Policy]) -> Result<(), Failure> {
        let preempt =
            policies.iter().map(|policy| policy.preempt).find(|rules| rules.preempt != Preempt::None);
        let offers = allot_offers::Config::allowing(preempt.unwrap_or_default());
        let others = &mut self.others;
        others
            .start("registry", "registry", nats, |bus, stop| {
                allot_registry::run(bus, Default::default(), stop)
            })
            .await?;
        others
            .start("offers service", "offers", nats, |bus, stop| allot_offers::run(bus, offers, stop))
            .await?;
        others
            .start("dispatcher", "dispatcher", nats, |bus, stop| {
                allot_dispatcher::run(bus, Default::default(), stop)
            })
            .await
    }

    /// Starts agents.
    pub(super) async fn start_agents(
        &mut self,
        nats: &NatsConfig,
        configs: Vec<allot_agent::Config>,
    ) -> Result<(), Failure> {
        for config in configs {
            let name = config.id.as_ref().map_or_else(|| "agent".to_owned(), |id| format!("agent {id}"));
            self.agents.start(&name, "agent", nats, |bus, stop| allot_agent::run(bus, config, stop)).await?;
        }
        Ok(())
    }

    /// Starts an allocator for each policy.
    pub(super) async fn start_allocators(
        &mut self,
        nats: &NatsConfig,
        policies: &[Policy],
    ) -> Result<(), Failure> {
        for policy in policies {
            let name = format!("allocator {}", policy.name);
            let program = format!("allocator-{}", policy.name);
            let policy = policy.clone();
            let run = |bus, stop| async move {
                allot_allocator::decide(bus, policy, &Config::default(), stop).await
            };
            self.others.start(&name, &program, nats, run).await?;
        }
        Ok(())
    }

    /// Waits until one of them ends by itself, which none should.
    pub(super) async fn failed(&mut self) -> Failure {
        let ended = tokio::select! {
            Some(ended) = self.agents.running.join_next() => ended,
            Some(ended) = self.others.running.join_next() => ended,
            else => std::future::pending().await,
        };
        match ended {
            Ok((name, Ok(()))) => Failure::failed(format!("the {name} stopped by itself")),
            Ok((name, Err(error))) => Failure::failed(format!("the {name} stopped: {error:#}")),
            Err(error) => Failure::internal(error),
        }
    }

    /// Stops all of them, and waits until they have.
    pub(super) async fn stop(&mut self) {
        self.agents.stop().await;
        self.others.stop().await;
    }
}

impl Group {
    /// Starts one, with a connection of its own, and lists it as its own binary would.
    async fn start<F, Fut>(
        &mut self,
        name: &str,
        program: &str,
        nats: &NatsConfig,
        run: F,
    ) -> Result<(), Failure>
    where
        F: FnOnce(Bus, Shutdown) -> Fut,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let bus = connect(nats, &format!("allot-{}", name.replace(' ', "-"))).await?;
        let about = format!("the {name} of `allot up`");
        let listed = health::list(&bus, &format!("allot-{program}"), env!("CARGO_PKG_VERSION"), &about).await;
        let listed = listed.map_err(Failure::internal)?;
        let (name, service) = (name.to_owned(), run(bus, self.shutdown.clone()));
        self.running.spawn(async move {
            let ended = service.await;
            drop(listed);
            (name, ended)
        });
        Ok(())
    }

    async fn stop(&mut self) {
        self.shutdown.trigger();
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                if let Ok((name, Err(error))) = ended {
                    note(&format!("allot: the {name} stopped: {error:#}"));
                }
            }
        };
        if timeout(STOP_WITHIN, all).await.is_err() {
            note("allot: a service does not stop and is left behind");
        }
    }
}
