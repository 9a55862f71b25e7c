//! An allocator on the bus: the engine, driven by the feed of its pool.
//!
//! `allot-allocator` is the policy that is set; others are binaries of their own over [`program!`], which differ in nothing
//! but the policy's name.

mod config;
mod link;
mod questions;
mod serve;
mod shadow;

use std::process::ExitCode;

use allot_bus::Subject;
use allot_engine::{Engine, Limits, Policy};
use allot_model::AllocatorMode;
use allot_shell::{Bus, Shutdown, main_with};
use allot_sim::Shadow;
use tracing::info;

pub use allot_shell::Program;
pub use config::Config;

/// The program of one policy: its name, with options if need be, and what it does, in a line.
#[macro_export]
macro_rules! program {
    ($policy:literal, $about:literal) => {
        fn main() -> std::process::ExitCode {
            let program = $crate::Program {
                name: concat!("allocator-", $policy),
                binary: concat!("allot-allocator-", $policy),
                version: env!("CARGO_PKG_VERSION"),
                about: concat!("Decides what runs where: ", $about),
                runs_others: false,
            };
            $crate::main_of(&program, Some($policy))
        }
    };
}

/// What such a program does.
#[must_use]
pub fn main_of(program: &Program, policy: Option<&'static str>) -> ExitCode {
    main_with(program, move |bus, config: Config, shutdown| async move {
        run(bus, policy, config, shutdown).await
    })
}

/// Decides by this policy, which may have options (`fair:resource=mem`), until shutdown, whenever the offers service names
/// this process as the one that decides; otherwise it follows and is ready to take over. Without a policy it is the one
/// that is set.
///
/// # Errors
/// Where there is no such policy, the settings do not suit it, or NATS does not take our subscriptions.
pub async fn run(bus: Bus, policy: Option<&str>, config: Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let policy = config.policy(policy)?;
    decide(bus, policy, &config, shutdown).await
}

/// As [`run`], by this very policy, whatever is set of it.
///
/// # Errors
/// Where NATS does not take our subscriptions.
pub async fn decide(bus: Bus, policy: Policy, config: &Config, shutdown: Shutdown) -> anyhow::Result<()> {
    let me = allot_shell::instance_id();
    info!(instance = %me, policy = %policy.name, placement = %policy.placement, order = %policy.order, backfill = %policy.backfill, "allocator starts");
    let link = link::Link::open(&bus, &config.pool, me.clone()).await?;
    let limits = Limits { ahead: config.ahead, ..Limits::default() };
    let pool = config.pool.clone();
    match config.mode {
        AllocatorMode::Standby => {
            let questions = questions::Questions::new(&bus, &Subject::PoolWhy(pool));
            serve::serve(Engine::with_limits(me, policy, limits), link, questions, &shutdown).await
        }
        AllocatorMode::Shadow => {
            let questions = questions::Questions::new(&bus, &Subject::PoolCompare(pool, me.clone()));
            shadow::serve(Shadow::new(me, policy, limits), link, questions, &shutdown).await
        }
    }
}
