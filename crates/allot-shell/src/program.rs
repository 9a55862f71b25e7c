//! The `main` that all services share.

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::{debug, error, info, warn};

use crate::bus::Bus;
use crate::config::{self, Layers, Loaded};
use crate::shutdown::Shutdown;
use crate::{health, telemetry};

/// What a service's binary is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name in configuration, such as `registry`.
    pub name: &'static str,
    /// The name of its binary, such as `allot-registry`.
    pub binary: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// True where it starts programs that are not allot's, which would inherit what is set about its memory.
    pub runs_others: bool,
}

#[derive(Debug, Parser)]
struct Flags {
    /// Configuration file, TOML or YAML
    #[arg(long, value_name = "FILE", env = "ALLOT_CONFIG")]
    config: Option<PathBuf>,
    /// Override one setting; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where NATS is, one or more addresses joined by commas
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Ask whether this service runs on this machine, and exit with 0 if it does
    #[arg(long)]
    health: bool,
}

/// Runs a service as a program: flags, configuration, logs, NATS, and an end on SIGTERM or SIGINT.
pub fn main_with<C, F, Fut>(program: &Program, run: F) -> ExitCode
where
    C: Serialize + DeserializeOwned + Default,
    F: FnOnce(Bus, C, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let flags = flags(program);
    match start(program, flags, run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if tracing::enabled!(tracing::Level::ERROR) {
                error!(error = format!("{failure:#}"), "{} stops", program.binary);
            } else {
                // Whatever is logged or not, nobody is to wonder why it ended.
                eprintln!("{} stops: {failure:#}", program.binary);
            }
            ExitCode::FAILURE
        }
    }
}

fn flags(program: &Program) -> Flags {
    let command = Flags::command().name(program.binary).version(program.version).about(program.about);
    Flags::from_arg_matches(&command.get_matches()).unwrap_or_else(|refused| refused.exit())
}

fn start<C, F, Fut>(program: &Program, flags: Flags, run: F) -> anyhow::Result<()>
where
    C: Serialize + DeserializeOwned + Default,
    F: FnOnce(Bus, C, Shutdown) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    telemetry::init()?;
    if !program.runs_others {
        use_small_pages();
    }
    let (health, layers) = (flags.health, layers(flags));
    let loaded: Loaded<C> = config::load(program.name, &layers)?;
    // One thread: a service is one loop and its connection, and handing messages from thread to thread takes longer than
    // what is done about them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if health {
            return check(program, loaded).await;
        }
        info!(
            program = program.binary,
            version = program.version,
            config = config::describe(&loaded),
            "starting"
        );
        for name in &loaded.unknown {
            warn!(name, "a variable that begins with the name of this service is no setting of it");
        }
        let shutdown = Shutdown::on_signals();
        let Some(bus) = connect(program, &loaded, &shutdown).await? else { return Ok(()) };
        let _listed = health::list(&bus, program.binary, program.version, program.about).await?;
        run(bus, loaded.service, shutdown).await
    })
}

/// The allocator asks for pages of 2 MiB, which makes a service that holds next to nothing one of 16 MiB, and has the
/// kernel clear what nobody uses.
fn use_small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        debug!(%error, "the kernel keeps its huge pages");
    }
}

fn layers(flags: Flags) -> Layers {
    let address = flags.nats.map(|url| format!("nats.url={url}"));
    Layers::new(flags.config, flags.set.into_iter().chain(address).collect())
}

/// Connects; nothing where the process is told to stop meanwhile.
async fn connect<C>(
    program: &Program,
    loaded: &Loaded<C>,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Bus>> {
    tokio::select! {
        bus = Bus::connect(&loaded.nats, program.binary) => Ok(Some(bus?)),
        () = shutdown.wait() => Ok(None),
    }
}

async fn check<C>(program: &Program, mut loaded: Loaded<C>) -> anyhow::Result<()> {
    loaded.nats.connect_timeout = allot_model::Span::from_secs(1);
    let bus = Bus::connect(&loaded.nats, "allot-health").await?;
    health::check(&bus, program.binary).await
}
