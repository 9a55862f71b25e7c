//! The `allot` command.

use std::process::ExitCode;

use allot::Cli;
use allot::output::note;
use clap::Parser;

fn main() -> ExitCode {
    allot::completions::answer_shell();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            note(&format!("allot: no threads to run on: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let Err(failure) = runtime.block_on(cli.run()) else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message() {
        note(&format!("allot: {message}"));
    }
    ExitCode::from(failure.exit_code())
}
