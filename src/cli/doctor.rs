//! `norefs doctor`

use super::run::namespace;
use super::{Outcome, out};
use norefs::doctor::{self, Finding, Machine, Verdict};
use rustix::io::Errno;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

const TRY_NAMESPACES: &str = "--try-namespaces";
/// This program, whatever became of its name.
const THIS: &str = "/proc/self/exe";

const AFTERWARDS: &str = "\
Exit status: 0 if a mount can be made and used, 1 if not, 2 for a command line that makes no sense.";

/// Say whether norefs works on this machine, how well, and what to do where it does not
#[derive(clap::Args)]
#[command(after_help = AFTERWARDS)]
pub struct Args {
    /// Where to try a mount, which is taken away at once (default: a temporary directory)
    mountpoint: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Make a mount namespace and exit with the number of the error
    #[arg(long, hide = true, conflicts_with_all = ["json", "mountpoint"])]
    try_namespaces: bool,
}

pub fn run(args: Args) -> Outcome {
    if args.try_namespaces {
        return Ok(ExitCode::from(namespaces_here()));
    }
    let findings = doctor::examine(&Machine::here(), args.mountpoint.as_deref(), namespaces());
    let works = findings.iter().all(|found| found.verdict != Verdict::Fail);
    out::print(match args.json {
        true => {
            let version = env!("CARGO_PKG_VERSION");
            json!({"version": version, "works": works, "findings": findings}).to_string() + "\n"
        }
        false => findings.iter().map(line).collect(),
    })?;
    Ok(ExitCode::from(u8::from(!works)))
}

fn line(found: &Finding) -> String {
    let verdict = match found.verdict {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Fail => "fail",
    };
    let cure = found.cure.as_ref();
    let cure = cure.map_or_else(String::new, |cure| format!("      to do: {cure}\n"));
    format!("{verdict:<5} {}: {}\n{cure}", found.topic, found.says)
}

/// Whether a namespace can be made, tried in a process of its own.
fn namespaces() -> Result<(), Errno> {
    let mut command = Command::new(THIS);
    command
        .args(["doctor", TRY_NAMESPACES])
        .stdin(Stdio::null());
    let ended = command.status().ok().and_then(|status| status.code());
    match ended {
        Some(0) => Ok(()),
        ended => Err(Errno::from_raw_os_error(ended.unwrap_or(libc::EPERM))),
    }
}

/// The number of the error with which a namespace is refused; 0 if it is not.
fn namespaces_here() -> u8 {
    let refused = namespace::enter().err();
    let number = refused.map(|error| error.raw_os_error().unwrap_or(libc::EPERM));
    u8::try_from(number.unwrap_or(0)).unwrap_or(1)
}
