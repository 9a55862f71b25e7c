//! What is to be simulated, read from files.

use std::path::Path;

use allot_engine::PolicyChoices;
use allot_model::Format;
use allot_sim::{LogSettings, OpenbSettings, Scenario, Workload, openb};
use allot_workload::uncompressed;

use super::SimulateArgs;
use super::foreign::{self, Kind};
use crate::failure::Failure;
use crate::submit::file;

/// How many times the GPUs there are the pods ask for together.
const DEFAULT_DEMAND: f64 = 1.3;
/// Says in which order the pods arrive.
const DEFAULT_SEED: u64 = 1;

/// What is to be simulated.
pub(super) struct Input {
    pub(super) workload: Workload,
    /// The policy of a scenario.
    pub(super) policy: Option<String>,
    /// Choices that a scenario makes for policies that make none.
    pub(super) choices: PolicyChoices,
    /// What is to be told to the person.
    pub(super) remark: Option<String>,
}

impl Input {
    fn of(workload: Workload, remark: Option<String>) -> Self {
        Self { workload, policy: None, choices: PolicyChoices::default(), remark }
    }
}

/// What people call what is simulated: the name of its file, without where it lies.
pub(super) fn title(args: &SimulateArgs) -> String {
    let name = |path: &Path| {
        path.file_name()
            .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
    };
    match (&args.nodes, &args.pods, &args.file) {
        (Some(nodes), Some(pods), _) => format!("{} on {}", name(pods), name(nodes)),
        (_, _, Some(file)) if file.as_os_str() != "-" => name(file),
        _ => "stdin".to_owned(),
    }
}

/// Reads a factor above 0.
pub(super) fn demand(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor: &f64| *factor > 0.0 && *factor <= 100.0);
    factor.ok_or_else(|| {
        format!("{text:?} is not a factor: write a number above 0 and up to 100, such as `1.3`")
    })
}

/// Reads what is to be simulated.
pub(super) fn read(args: &SimulateArgs) -> Result<Input, Failure> {
    if let (Some(nodes), Some(pods)) = (&args.nodes, &args.pods) {
        foreign::refuse(args, Kind::Lists, &title(args))?;
        let settings = OpenbSettings {
            demand: args.demand.unwrap_or(DEFAULT_DEMAND),
            seed: args.seed.unwrap_or(DEFAULT_SEED),
        };
        let workload = openb(&list(nodes)?, &list(pods)?, settings);
        return Ok(Input::of(workload.map_err(|error| Failure::Usage(error.to_string()))?, None));
    }
    let path = args.file.as_deref().unwrap_or(Path::new("-"));
    let (name, bytes) = file::bytes(path)?;
    if name.ends_with(".swf") || name.ends_with(".swf.gz") {
        log(&name, &bytes, args)
    } else {
        scenario(&name, &bytes, args)
    }
}

fn list(path: &Path) -> Result<String, Failure> {
    let (name, bytes) = file::bytes(path)?;
    let plain = uncompressed(&bytes).map_err(|error| Failure::Usage(format!("{name}: {}", error.message)))?;
    Ok(String::from_utf8_lossy(&plain).into_owned())
}

fn log(name: &str, bytes: &[u8], args: &SimulateArgs) -> Result<Input, Failure> {
    foreign::refuse(args, Kind::Log, name)?;
    let settings = LogSettings {
        agents: args.agents.clone(),
        filter: args.filter.unwrap_or_default(),
        estimates: args.estimates.unwrap_or_default(),
        queue_by: args.queue_by.unwrap_or_default(),
    };
    let (workload, left_out) =
        Workload::of_log(bytes, &settings).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
    let remark = (left_out > 0).then(|| {
        format!("{left_out} jobs are left out: they need more processors than all agents have together")
    });
    Ok(Input::of(workload, remark))
}

fn scenario(name: &str, bytes: &[u8], args: &SimulateArgs) -> Result<Input, Failure> {
    foreign::refuse(args, Kind::Scenario, name)?;
    let format = Format::of_path(name).unwrap_or_else(|| file::guess(bytes));
    let scenario = Scenario::parse(bytes, format).map_err(|invalid| {
        file::told(name, 0, (bytes, format), &invalid, |rejection| {
            let allot_model::Rejection { field, message } = rejection;
            if field.is_empty() { message.clone() } else { format!("{field}: {message}") }
        })
    })?;
    let Scenario { workload, policy, choices } = scenario;
    Ok(Input { workload, policy, choices, remark: None })
}
