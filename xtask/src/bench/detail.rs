//! What a run of `allot bench` says, in a few lines: where the time goes.

use serde_json::Value;

use super::figure::amount;

/// The steps of a task's way, and what each process has cost.
pub(crate) fn lines(run: &Value) -> Vec<String> {
    let stages = all(run, "/stages").filter_map(stage);
    let tasks = run["tasks"].as_f64();
    let client = run.pointer("/cost/client").into_iter();
    let processes: Vec<String> =
        all(run, "/cost/services").chain(client).filter_map(|process| cost(process, tasks)).collect();
    let nats = run.get("nats_server").and_then(|spent| spent_by("nats-server", spent, tasks));
    stages.chain(processes).chain(nats).collect()
}

fn all<'a>(run: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    run.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn stage(of: &Value) -> Option<String> {
    let at = |quantile: &str| Some(amount(of[quantile].as_f64()? / 1e3, "ms"));
    let name = of["stage"].as_str()?;
    Some(format!("{name:<20} p50 {:>11}  p99 {:>11}", at("p50_us")?, at("p99_us")?))
}

fn cost(process: &Value, tasks: Option<f64>) -> Option<String> {
    spent_by(process["names"][0].as_str()?, process, tasks)
}

fn spent_by(name: &str, spent: &Value, tasks: Option<f64>) -> Option<String> {
    let cpu_us = spent["cpu_us"].as_f64()?;
    let memory = amount(spent["mem_bytes"].as_f64()? / 1e6, "MB");
    let each = tasks.map(|tasks| format!(", {} a task", amount(cpu_us / tasks, "µs"))).unwrap_or_default();
    Some(format!("{name:<20} {:>11} of CPU time{each}, {memory}", amount(cpu_us / 1e6, "s")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_is_told_step_by_step_and_process_by_process() {
        let process = |name: &str| json!({"names": [name], "cpu_us": 2_000_000, "mem_bytes": 30_000_000});
        let run = json!({
            "tasks": 1_000,
            "stages": [{"stage": "published_started", "p50_us": 1_500, "p99_us": 12_000}],
            "cost": {"services": [process("allot-offers")], "client": process("this command")},
            "nats_server": {"cpu_us": 500_000, "mem_bytes": 50_000_000},
        });
        assert_eq!(
            lines(&run),
            [
                "published_started    p50     1.50 ms  p99     12.0 ms",
                "allot-offers              2.00 s of CPU time, 2,000 µs a task, 30.0 MB",
                "this command              2.00 s of CPU time, 2,000 µs a task, 30.0 MB",
                "nats-server               0.50 s of CPU time, 500 µs a task, 50.0 MB",
            ]
        );
        assert!(lines(&Value::Null).is_empty());
    }
}
