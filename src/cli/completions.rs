//! `norefs completions`

use super::{Cli, Outcome, out};
use clap::CommandFactory;
use clap_complete::Shell;
use std::process::ExitCode;

/// Print completions for a shell
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "norefs", &mut script);
    out::print(script)?;
    Ok(ExitCode::SUCCESS)
}
