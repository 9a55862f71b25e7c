//! A job written back in the form of a job file.

use serde_json::{Map, Value, json};

use crate::job::{Command, JobSpec};

impl JobSpec {
    /// Every field with its defaults filled in, as a job file in JSON. What has no value is left out.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let constraints: Vec<String> = self.constraints.iter().map(ToString::to_string).collect();
        let given = json!({
            "command": self.command.to_json(),
            "env": self.env,
            "resources": self.resources.to_json(),
            "tasks": self.tasks,
            "gang": self.tasks > 1 && self.min_tasks == self.tasks,
            "min_tasks": self.min_tasks,
            "priority": self.priority,
            "constraints": constraints,
            "retries": self.retries,
            "backoff": self.backoff,
            "kill_grace": self.kill_grace,
            "after": self.after,
            "on_unreachable": self.on_unreachable,
            "executor": self.executor,
        });
        let optional = [
            ("name", self.name.clone().map(Value::from)),
            ("workdir", self.workdir.clone().map(Value::from)),
            ("time_limit", self.time_limit.map(|limit| Value::from(limit.to_string()))),
            ("estimate", self.estimate.map(|run| Value::from(run.to_string()))),
            ("deadline", self.deadline.map(|within| Value::from(within.to_string()))),
            ("same", self.same.clone().map(Value::from)),
        ];
        let mut fields = match given {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.extend(optional.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?))));
        Value::Object(fields)
    }
}

impl Command {
    fn to_json(&self) -> Value {
        match self {
            Self::Argv(words) => json!(words),
            Self::Shell(line) => json!(line),
        }
    }
}
