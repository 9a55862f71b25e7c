//! What users submit, in either encoding.

use allot_bus::headers::Encoding;
use allot_model::job_file::{self, JobFile};
use allot_model::{Amount, Rejection, ResourceName, Span};
use prost::Message;
use serde_json::{Map, Value};

use crate::v1::{self, job_spec};

/// Reads a submission as it comes from the inbox: JSON or protobuf, as its `Content-Type` says, or where it says
/// nothing as its first byte looks.
///
/// # Errors
/// [`Rejection`], the same one for the same fault in either encoding.
pub fn decode_submission(payload: &[u8], content_type: Option<&str>) -> Result<JobFile, Rejection> {
    match Encoding::of(content_type, payload) {
        Encoding::Json => job_file::parse_submission(payload),
        Encoding::Protobuf => {
            let spec = v1::JobSpec::decode(payload).map_err(|error| unreadable(&error))?;
            JobFile::from_json(&Value::Object(fields(spec)))
        }
    }
}

fn unreadable(error: &prost::DecodeError) -> Rejection {
    let message = format!(
        "not JSON, which begins with `{{`, and not a protobuf message of type allot.v1.JobSpec: {error}: write a job \
         such as {{\"command\": [\"true\"]}}"
    );
    Rejection { field: String::new(), message }
}

/// The spec in the form of a job file, whose reader knows the defaults and the limits. What is absent stays absent, and
/// what makes no sense is left to that reader to refuse.
fn fields(spec: v1::JobSpec) -> Map<String, Value> {
    let env = spec.env.into_iter().map(|(name, value)| (name, Value::from(value)));
    let resources = spec.resources_units.into_iter().map(|(name, units)| amount(name, units));
    let fields = [
        ("name", spec.name.map(Value::from)),
        ("command", spec.command.map(command)),
        ("env", Some(env.collect())),
        ("workdir", spec.workdir.map(Value::from)),
        ("resources", Some(resources.collect())),
        ("tasks", spec.tasks.map(Value::from)),
        ("priority", spec.priority.map(Value::from)),
        ("constraints", Some(spec.constraints.into())),
        ("retries", spec.retries.map(Value::from)),
        ("backoff", spec.backoff_us.map(span)),
        ("time_limit", spec.time_limit_us.map(span)),
        ("estimate", spec.estimate_us.map(span)),
        ("deadline", spec.deadline_us.map(span)),
        ("min_tasks", spec.min_tasks.map(Value::from)),
        ("same", spec.same.map(Value::from)),
        ("kill_grace", spec.kill_grace_us.map(span)),
        ("after", Some(spec.after.into())),
        ("on_unreachable", on_unreachable(spec.on_unreachable)),
        ("executor", executor(spec.executor)),
    ];
    let given = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
    fields.into_iter().filter_map(given).collect()
}

fn command(command: job_spec::Command) -> Value {
    match command {
        job_spec::Command::Argv(argv) => argv.args.into(),
        job_spec::Command::Shell(line) => line.into(),
    }
}

fn amount(name: String, units: u64) -> (String, Value) {
    let text = match ResourceName::new(&name) {
        Ok(known) => Amount::scalar_text(&known, units),
        Err(_) => units.to_string(),
    };
    (name, text.into())
}

fn span(micros: u64) -> Value {
    Span::from_micros(micros).to_string().into()
}

fn on_unreachable(number: i32) -> Option<Value> {
    match v1::OnUnreachable::try_from(number) {
        Ok(v1::OnUnreachable::Unspecified) => None,
        Ok(v1::OnUnreachable::Wait) => Some("wait".into()),
        Ok(v1::OnUnreachable::Retry) => Some("retry".into()),
        Err(_) => Some(number.into()),
    }
}

fn executor(number: i32) -> Option<Value> {
    match v1::Executor::try_from(number) {
        Ok(v1::Executor::Unspecified) => None,
        Ok(v1::Executor::Process) => Some("process".into()),
        Ok(v1::Executor::Noop) => Some("noop".into()),
        Err(_) => Some(number.into()),
    }
}
