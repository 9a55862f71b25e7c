//! The connections of the servers of a cluster to one another, to be broken.

use crate::proxy::{Proxy, Side};

/// What is said of a server's connections to its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    /// They are cut.
    Cut,
    /// What it says to others waits until this is healed.
    Mute,
    /// What others say to it waits until this is healed.
    Deaf,
}

/// Every server of a cluster reaches every other one through a proxy.
#[derive(Debug, Default)]
pub struct Routes(Vec<Route>);

#[derive(Debug)]
struct Route {
    from: usize,
    to: usize,
    proxy: Proxy,
}

impl Routes {
    /// Between servers that listen for each other at these ports.
    pub(crate) async fn between(ports: &[u16]) -> anyhow::Result<Self> {
        let mut routes = Vec::new();
        for from in 0..ports.len() {
            for (to, port) in ports.iter().enumerate().filter(|(to, _)| *to != from) {
                routes.push(Route { from, to, proxy: Proxy::to(*port).await? });
            }
        }
        Ok(Self(routes))
    }

    /// Where this server finds the others.
    pub(crate) fn from(&self, server: usize) -> Vec<String> {
        self.0.iter().filter(|route| route.from == server).map(|route| route.proxy.url()).collect()
    }

    /// Cuts this server off from all others, one way or both.
    pub fn part(&self, server: usize, partition: Partition) {
        for (route, its_side, other_side) in self.of(server) {
            match partition {
                Partition::Cut => route.cut(),
                Partition::Mute => route.hold(its_side),
                Partition::Deaf => route.hold(other_side),
            }
        }
    }

    /// Has this server and all others hear each other again.
    pub fn heal(&self, server: usize) {
        self.of(server).for_each(|(route, ..)| route.heal());
    }

    /// The routes of a server, each with its own side of it and that of the other one.
    fn of(&self, server: usize) -> impl Iterator<Item = (&Proxy, Side, Side)> {
        self.0.iter().filter_map(move |Route { from, to, proxy }| {
            if *from == server {
                Some((proxy, Side::Client, Side::Server))
            } else {
                (*to == server).then_some((proxy, Side::Server, Side::Client))
            }
        })
    }
}
