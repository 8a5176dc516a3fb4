//! The copies of a run: a mount each, with a process that serves it.

use super::namespace::Namespaces;
use super::{END, ENDED};
use crate::cli::fail::{Failure, say};
use crate::cli::{private, spawn};
use anyhow::anyhow;
use norefs::control::ServerProcess;
use norefs::transport::session::table::{self, MountEntry};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, WaitOptions, waitpid};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a serving process may need to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that is copied.
pub struct Source {
    /// Absolute, and without links.
    pub path: PathBuf,
    /// The directory itself, opened before anything is mounted.
    pub directory: OwnedFd,
    /// It is a mount, and what was copied is what it was loaded from and all that differs there.
    pub forked: bool,
}

/// A copy that is being made.
pub struct Begun<'a> {
    source: Option<&'a Source>,
    server: Pid,
    input: PipeWriter,
    output: PipeReader,
}

/// A copy that is served.
pub struct Copied<'a> {
    /// What was copied, if it did not begin empty.
    pub source: Option<&'a Source>,
    /// Where it is mounted, for this user alone.
    pub mount_point: PathBuf,
    /// Where it is to be seen, if not here.
    pub inside: Option<Namespaces>,
    /// The mount, by which its control socket is found.
    pub mount: MountEntry,
    server: Pid,
    input: PipeWriter,
}

/// Begins to make a copy of each source, or an empty tree if there is none.
pub fn begin(sources: &[Source]) -> Result<Vec<Begun<'_>>, Failure> {
    let mut each: Vec<_> = sources.iter().map(Some).collect();
    if each.is_empty() {
        each.push(None);
    }
    let mut begun = Vec::new();
    for (number, source) in each.into_iter().enumerate() {
        match serve(number) {
            Ok((server, input, output)) => begun.push(Begun {
                source,
                server,
                input,
                output,
            }),
            Err(error) => {
                let reason = "cannot start the serving process";
                abandon(begun.into_iter().map(|copy| (copy.server, copy.input)));
                return Err(anyhow::Error::from(error).context(reason).into());
            }
        }
    }
    Ok(begun)
}

fn serve(number: usize) -> io::Result<(Pid, PipeWriter, PipeReader)> {
    let (their_input, input) = io::pipe()?;
    let (output, their_output) = io::pipe()?;
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Behind the verb.
    arguments.insert(2, format!("--serve={number}").into());
    let server = spawn::server(&arguments, their_input.as_fd(), their_output.as_fd())?;
    Ok((server, input, output))
}

/// Waits until all copies are served. If one cannot be, the others are taken away.
pub fn complete(begun: Vec<Begun<'_>>) -> Result<Vec<Copied<'_>>, Failure> {
    let mut complete = Vec::new();
    let mut begun = begun.into_iter();
    while let Some(copy) = begun.next() {
        match copy.complete() {
            Ok(copy) => complete.push(copy),
            Err(failure) => {
                let served = complete
                    .into_iter()
                    .map(|copy: Copied<'_>| (copy.server, copy.input));
                abandon(served.chain(begun.map(|copy| (copy.server, copy.input))));
                // Where it found no process to unmount with, there is one now.
                private::sweep();
                return Err(failure);
            }
        }
    }
    Ok(complete)
}

impl<'a> Begun<'a> {
    fn complete(self) -> Result<Copied<'a>, Failure> {
        let Begun {
            source,
            server,
            input,
            output,
        } = self;
        let Some(mount_point) = told(output)? else {
            return Err(spawn::failed(server));
        };
        let inside = Namespaces::of(server)?;
        match top_at(&mount_point, inside.is_some().then_some(server))? {
            Some(mount) => Ok(Copied {
                source,
                mount_point,
                inside,
                mount,
                server,
                input,
            }),
            None => {
                abandon([(server, input)].into_iter());
                Err(anyhow!("the mount was taken away at once").into())
            }
        }
    }
}

/// What is mounted at `mount_point`, here or as `process` sees it.
fn top_at(mount_point: &Path, process: Option<Pid>) -> io::Result<Option<MountEntry>> {
    let mounts = match process {
        Some(process) => table::read_of(process)?,
        None => table::read()?,
    };
    let mut here = mounts.into_iter().rev();
    Ok(here.find(|mount| mount.mount_point == mount_point))
}

/// Where the mount is, once it is served.
fn told(output: PipeReader) -> io::Result<Option<PathBuf>> {
    let mut path = Vec::new();
    BufReader::new(output).read_until(END, &mut path)?;
    let whole = path.pop() == Some(END);
    Ok(whole.then(|| OsString::from_vec(path).into()))
}

/// Lets serving processes end of which no command makes use.
fn abandon(servers: impl Iterator<Item = (Pid, PipeWriter)>) {
    // All end at once.
    let servers: Vec<Pid> = servers.map(|(server, _)| server).collect();
    for server in servers {
        if let Err(error) = wait(server) {
            tracing::warn!(%error, "a serving process cannot be waited for");
        }
    }
}

impl Copied<'_> {
    /// The process that serves it.
    pub fn server(&self) -> Pid {
        self.server
    }

    /// The root of the mount, if it is to be seen still. As long as it is open the mount is in use.
    pub fn root(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let there = self.inside.is_some().then_some(self.server);
        let path = match (there, self.mount_point.strip_prefix("/")) {
            (Some(server), Ok(path)) => Path::new(&format!("/proc/{server}/root")).join(path),
            _ => self.mount_point.clone(),
        };
        let root = rustix::fs::open(path, flags, Mode::empty())?;
        match top_at(&self.mount_point, there)? {
            Some(mount) if mount.id == self.mount.id => Ok(root),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Lets the serving process unmount and report, and waits until it has, for a while. Signals wait meanwhile.
    pub fn finish(self, well: bool) -> io::Result<()> {
        let Copied {
            inside,
            server,
            mut input,
            ..
        } = self;
        // Nothing of it is to be held when it ends.
        drop(inside);
        if well {
            // Fails if it has ended already.
            input.write_all(ENDED).unwrap_or_default();
        }
        drop(input);
        wait(server)
    }
}

fn wait(server: Pid) -> io::Result<()> {
    if let Ok(process) = ServerProcess::open(server)
        && !process.ends_within(PATIENCE)?
    {
        say(format_args!(
            "process {} that serves the mount does not end",
            process.pid()
        ));
        return Ok(());
    }
    match waitpid(Some(server), WaitOptions::empty()) {
        Ok(Some((_, status))) if !status.signaled() => {}
        // It was killed, and has left everything.
        _ => private::sweep(),
    }
    Ok(())
}
