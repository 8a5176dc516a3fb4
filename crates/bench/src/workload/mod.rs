//! Real commands on generated trees of realistic size.

mod command;
mod material;
mod sources;
mod stages;

pub use command::Command;
pub use stages::Stages;

use super::lane::Room;
use super::report::{Group, Subject};
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

    /// What a row is about that tells of it.
    fn subject(self, group: Group) -> Subject {
        Subject {
            group,
            name: self.name(),
            label: self.label(),
            clients: 1,
            pinned: false,
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

fn materials(commands: &[Command]) -> BTreeSet<Material> {
    let of = |command: &Command| command.workload.material();
    commands.iter().map(of).collect()
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
