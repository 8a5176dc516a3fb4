//! Where the commands run, and their turns there.

use super::{Command, materials, room};
use crate::files::open_directory;
use crate::lane::{check_room, failed, path};
use crate::report::{Group, Report, Subject};
use crate::turns::Turns;
use crate::{Error, Load, forget};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, syncfs};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the directory is called that others were loaded from.
const SOURCE: &str = "source";

/// A directory that holds the trees.
struct Stage {
    label: String,
    /// Nothing before it is loaded.
    root: Option<OwnedFd>,
    /// How it came to hold them, if they were not built there.
    load: Option<Box<dyn Load>>,
}

impl Stage {
    fn failed(&self, doing: &str, error: io::Error) -> Error {
        failed(&self.label, doing, error)
    }

    fn root(&self) -> io::Result<&OwnedFd> {
        self.root
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes it anew. Gives the nanoseconds that it took.
    fn renew(&mut self, source: &Path) -> Result<f64, Error> {
        let Some(load) = &mut self.load else {
            return Ok(0.0);
        };
        // Held open, what is there could not be unmounted.
        self.root = None;
        let started = Instant::now();
        let root = load.load(source);
        let took = started.elapsed();
        self.root = Some(root.map_err(|error| self.failed("loading the trees", error))?);
        Ok(took.as_nanos() as f64)
    }

    /// The nanoseconds that a command takes.
    fn run(&self, turns: &Turns, command: &Command) -> Result<f64, Error> {
        let directory = command.workload.material().directory();
        let root = self.root().map(path);
        let ended = root.and_then(|root| command.run(&root.join(directory), turns.stop));
        turns.stop.check()?;
        let took = ended.map_err(|error| self.failed(&command.workload.label(), error))?;
        Ok(took.as_nanos() as f64)
    }
}

/// A directory for each contender; the directory that they were loaded from, if there is one, comes last.
pub struct Stages {
    all: Vec<Stage>,
    source: Option<PathBuf>,
}

impl Stages {
    /// Builds the trees of the commands in each lane, and runs each command once: some write caches.
    pub fn build(turns: &Turns, commands: &[Command], entries: usize) -> Result<Stages, Error> {
        let mut all = Vec::new();
        for lane in turns.lanes {
            let root = lane.root().try_clone_to_owned();
            let stage = Stage {
                root: Some(root.map_err(|error| lane.failed("opening it again", error))?),
                label: lane.label.clone(),
                load: None,
            };
            fill(turns, &stage, commands, entries)?;
            all.push(stage);
        }
        Ok(Stages { all, source: None })
    }

    /// Builds them in the directory `source` instead, and has each contender load it in its way.
    pub fn load(
        turns: &Turns,
        commands: &[Command],
        entries: usize,
        source: &Path,
        loads: Vec<Option<Box<dyn Load>>>,
    ) -> Result<Stages, Error> {
        let root = CString::new(source.as_os_str().as_bytes()).map_err(io::Error::other);
        let root = root.and_then(|path| open_directory(CWD, &path));
        let here = |error| failed(SOURCE, "making the trees", error);
        let root = root.map_err(here)?;
        check_room(&root, room(commands, entries)).map_err(here)?;
        let built = Stage {
            label: SOURCE.to_owned(),
            root: Some(root),
            load: None,
        };
        fill(turns, &built, commands, entries)?;
        let stored = built.root().and_then(|root| Ok(syncfs(root)?));
        stored.map_err(|error| built.failed("storing the trees", error))?;
        let mut all = Vec::new();
        if !commands.is_empty() {
            for (lane, load) in turns.lanes.iter().zip(loads) {
                (turns.watch)(&format!("loading the trees in {}", lane.label));
                let mut stage = Stage {
                    root: None,
                    label: lane.label.clone(),
                    load,
                };
                stage.renew(source)?;
                all.push(stage);
            }
        }
        all.push(built);
        Ok(Stages {
            all,
            source: Some(source.to_owned()),
        })
    }

    /// Measures the commands: if the trees were loaded, in what is loaded afresh; warm; and, if `cold`, cold.
    pub fn run(
        &mut self,
        turns: &Turns,
        commands: &[Command],
        cold: bool,
        report: &mut Report,
    ) -> Result<(), Error> {
        if let Some(source) = self.source.clone()
            && !commands.is_empty()
        {
            (turns.watch)("loading the trees");
            let loads = self.take(turns, |stage| stage.renew(&source))?;
            let loads = loads.into_iter().take(turns.lanes.len()).collect();
            report.add(Subject::load(), loads);
            for command in commands {
                (turns.watch)(&command.workload.label());
                let first = self.take(turns, |stage| {
                    stage.renew(&source)?;
                    turns.quiet.wait();
                    stage.run(turns, command)
                })?;
                report.add(command.workload.subject(Group::FirstCommands), first);
            }
        }
        for command in commands {
            (turns.watch)(&command.workload.label());
            for stage in &self.all {
                stage.run(turns, command)?;
            }
            let warm = self.take(turns, |stage| {
                turns.quiet.wait();
                stage.run(turns, command)
            })?;
            report.add(command.workload.subject(Group::WarmCommands), warm);
            if cold {
                let cold = self.take_cold(turns, command)?;
                report.add(command.workload.subject(Group::ColdCommands), cold);
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        turns: &Turns,
        mut turn: impl FnMut(&mut Stage) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        turns.take_among(self.all.len(), |number| turn(&mut self.all[number]))
    }

    /// The tree is to be cold, not the program: that is started once in between. What a tree was loaded from is as cold.
    fn take_cold(&mut self, turns: &Turns, command: &Command) -> Result<Vec<Vec<f64>>, Error> {
        let behind = self.source.is_some().then(|| self.all.len() - 1);
        turns.take_among(self.all.len(), |number| {
            let stage = &self.all[number];
            let source = behind.filter(|behind| *behind != number);
            let forgot = source
                .into_iter()
                .chain([number])
                .try_for_each(|number| forget::forget(self.all[number].root()?.as_fd()));
            let forgot = forgot.and_then(|()| command.start_idle());
            forgot.map_err(|error| stage.failed("making the kernel forget", error))?;
            turns.quiet.wait();
            stage.run(turns, command)
        })
    }
}

/// Builds the trees of the commands, and runs each command once.
fn fill(turns: &Turns, stage: &Stage, commands: &[Command], entries: usize) -> Result<(), Error> {
    for material in materials(commands) {
        let what = material.directory();
        (turns.watch)(&format!("building {what} in {}", stage.label));
        let root = stage.root().map(path);
        let built = root.and_then(|root| material.build(&root, entries, turns.stop));
        turns.stop.check()?;
        built.map_err(|error| stage.failed(&format!("building {what}"), error))?;
    }
    for command in commands {
        stage.run(turns, command)?;
    }
    Ok(())
}
