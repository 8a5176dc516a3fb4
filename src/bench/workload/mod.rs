//! Real commands on generated trees of realistic size.

mod command;
mod material;
mod sources;

pub use command::Command;

use super::lane::{Lane, Room};
use super::report::{Group, Report, Subject};
use super::turns::Turns;
use super::{Error, forget};
use material::Material;
use std::collections::BTreeSet;

/// A command that people wait for, and the tree it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// `git status` in a repository without changes.
    GitStatus,
    /// `find` by size, which has to stat every file.
    Find,
    /// `du` of everything.
    Du,
    /// `tar` reading everything.
    Tar,
    /// `make` with nothing to do.
    MakeNoop,
    /// `node` resolving and loading packages from `node_modules`.
    NodeResolve,
    /// `python3` importing modules.
    PythonImport,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 7] = [
        Workload::GitStatus,
        Workload::Find,
        Workload::Du,
        Workload::Tar,
        Workload::MakeNoop,
        Workload::NodeResolve,
        Workload::PythonImport,
    ];

    /// What a command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Workload::GitStatus => "git-status",
            Workload::Find => "find",
            Workload::Du => "du",
            Workload::Tar => "tar",
            Workload::MakeNoop => "make-noop",
            Workload::NodeResolve => "node-resolve",
            Workload::PythonImport => "python-import",
        }
    }

    /// What is run.
    pub fn label(self) -> String {
        format!("{} {}", self.program(), self.arguments().join(" "))
    }

    fn program(self) -> &'static str {
        match self {
            Workload::GitStatus => "git",
            Workload::Find => "find",
            Workload::Du => "du",
            Workload::Tar => "tar",
            Workload::MakeNoop => "make",
            Workload::NodeResolve => "node",
            Workload::PythonImport => "python3",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Workload::GitStatus => &["status"],
            Workload::Find => &[".", "-type", "f", "-size", "+1"],
            Workload::Du => &["-s", "."],
            // GNU tar reads no content if it writes to /dev/null.
            Workload::Tar => &["-cf", "/dev/zero", "."],
            Workload::MakeNoop => &["all"],
            Workload::NodeResolve => &["main.js"],
            Workload::PythonImport => &["-E", "-s", "-S", "main.py"],
        }
    }

    /// Arguments with which the program starts and ends without a look at the tree.
    fn idle(self) -> &'static [&'static str] {
        match self {
            Workload::NodeResolve => &["-e", "0"],
            Workload::PythonImport => &["-E", "-s", "-S", "-c", "pass"],
            _ => &["--version"],
        }
    }

    fn material(self) -> Material {
        match self {
            Workload::GitStatus => Material::Repository,
            Workload::Find | Workload::Du | Workload::Tar => Material::Files,
            Workload::MakeNoop => Material::Project,
            Workload::NodeResolve => Material::Packages,
            Workload::PythonImport => Material::Modules,
        }
    }

    /// The command, if its program is there; if not, why.
    pub(super) fn command(self) -> Result<Command, String> {
        Command::find(self).map_err(|error| format!("{}: {error}", self.name()))
    }
}

/// What the trees of the commands take.
pub fn room(commands: &[Command], entries: usize) -> Room {
    let rooms = materials(commands).into_iter().map(|of| of.room(entries));
    rooms.fold(Room::default(), Room::and)
}

/// Builds the trees of the commands in each lane, and runs each command once: some write caches.
pub fn build(turns: &Turns, commands: &[Command], entries: usize) -> Result<(), Error> {
    for lane in turns.lanes {
        for material in materials(commands) {
            let what = material.directory();
            (turns.watch)(&format!("building {what} in {}", lane.label));
            let built = material.build(&lane.path(), entries, turns.stop);
            turns.stop.check()?;
            built.map_err(|error| lane.failed(&format!("building {what}"), error))?;
        }
        for command in commands {
            run_once(turns, command, lane)?;
        }
    }
    Ok(())
}

fn materials(commands: &[Command]) -> BTreeSet<Material> {
    let of = |command: &Command| command.workload.material();
    commands.iter().map(of).collect()
}

/// Measures the commands, warm and, if `cold`, cold.
pub fn run(
    turns: &Turns,
    commands: &[Command],
    cold: bool,
    report: &mut Report,
) -> Result<(), Error> {
    for command in commands {
        (turns.watch)(&command.workload.label());
        for lane in turns.lanes {
            run_once(turns, command, lane)?;
        }
        let warm = turns.take(|_, lane| run_once(turns, command, lane))?;
        report.add(Subject::run(command.workload, Group::WarmCommands), warm);
        if cold {
            let cold = turns.take(|_, lane| run_cold(turns, command, lane))?;
            report.add(Subject::run(command.workload, Group::ColdCommands), cold);
        }
    }
    Ok(())
}

/// The nanoseconds that it took.
fn run_once(turns: &Turns, command: &Command, lane: &Lane) -> Result<f64, Error> {
    let directory = command.workload.material().directory();
    let ended = command.run(&lane.path().join(directory), turns.stop);
    turns.stop.check()?;
    let took = ended.map_err(|error| lane.failed(&command.workload.label(), error))?;
    Ok(took.as_nanos() as f64)
}

/// The tree is to be cold, not the program: that is started once in between.
fn run_cold(turns: &Turns, command: &Command, lane: &Lane) -> Result<f64, Error> {
    let forgot = forget::forget(lane.root()).and_then(|()| command.start_idle());
    forgot.map_err(|error| lane.failed("making the kernel forget", error))?;
    turns.quiet.wait();
    run_once(turns, command, lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_command_line() {
        let labels = Workload::ALL.map(Workload::label);
        assert_eq!(
            labels[..3],
            ["git status", "find . -type f -size +1", "du -s ."]
        );
    }
}
