//! `allot completions`: what a shell needs to complete commands.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  allot completions bash > /etc/bash_completion.d/allot
  allot completions zsh > ~/.zfunc/_allot
  allot completions fish > ~/.config/fish/completions/allot.fish")]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// Where stdout cannot be written.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "allot", &mut script);
    Ok(io::stdout().write_all(&script)?)
}
