//! The trees that the commands run on, as directories.

use super::command::{clean, succeeded};
use super::sources::{self, File};
use crate::Stop;
use crate::lane::Room;
use std::fs::{FileTimes, create_dir, create_dir_all};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, UNIX_EPOCH};

/// What filesystems allocate at least.
const BLOCK: usize = 4096;
const WHO: &str = "norefs <norefs@localhost> 1000000000 +0000";

/// One kind of tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Material {
    /// A project's files.
    Files,
    /// The same, in a git repository that has them as its only commit.
    Repository,
    /// A makefile, sources and what was made of them.
    Project,
    /// `node_modules` and a program that uses them.
    Packages,
    /// Python packages and a program that uses them.
    Modules,
}

impl Material {
    /// The directory in the lane.
    pub fn directory(self) -> &'static str {
        match self {
            Material::Files => "files",
            Material::Repository => "repository",
            Material::Project => "project",
            Material::Packages => "packages",
            Material::Modules => "modules",
        }
    }

    fn files(self, entries: usize) -> Box<dyn Iterator<Item = File>> {
        match self {
            Material::Files | Material::Repository => Box::new(sources::files(entries)),
            Material::Project => Box::new(sources::project(entries)),
            Material::Packages => Box::new(sources::packages(entries)),
            Material::Modules => Box::new(sources::modules(entries)),
        }
    }

    /// About what it takes. A pack or compiled modules take as much again as the sources.
    pub fn room(self, entries: usize) -> Room {
        let copies = match self {
            Material::Repository | Material::Modules => 2,
            _ => 1,
        };
        let of = |file: File| Room {
            inodes: 2,
            bytes: (file.content.len().next_multiple_of(BLOCK) * copies) as u64,
        };
        self.files(entries).map(of).fold(Room::default(), Room::and)
    }

    /// Builds it below the path of a lane.
    pub fn build(self, lane: &Path, entries: usize, stop: Stop) -> io::Result<()> {
        let root = lane.join(self.directory());
        create_dir(&root)?;
        for file in self.files(entries) {
            if stop.asked() {
                return Err(ErrorKind::Interrupted.into());
            }
            write(&root, &file)?;
        }
        match self {
            Material::Repository => commit(&root, || self.files(entries)),
            _ => Ok(()),
        }
    }
}

fn write(root: &Path, file: &File) -> io::Result<()> {
    let path = root.join(&file.path);
    let mut made = match std::fs::File::create_new(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            create_dir_all(path.parent().unwrap_or(root))?;
            std::fs::File::create_new(&path)?
        }
        made => made?,
    };
    made.write_all(file.content.as_bytes())?;
    let modified = UNIX_EPOCH + Duration::from_secs(file.modified);
    made.set_times(FileTimes::new().set_modified(modified))
}

/// Makes a repository with one commit, in one pack, of files that are there already.
fn commit<Files: Iterator<Item = File>>(root: &Path, files: impl Fn() -> Files) -> io::Result<()> {
    let git = |arguments: &[&str], input: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let mut complaints = tempfile::tempfile()?;
        let mut command = clean("git");
        command.args(arguments).current_dir(root);
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(complaints.try_clone()?);
        let mut child = command.spawn()?;
        let fed = child.stdin.take().map(BufWriter::new);
        let fed = fed.map_or(Ok(()), |mut to| input(&mut to).and_then(|()| to.flush()));
        // If git gave up, its reason says more than that it stopped reading.
        succeeded(child.wait()?, &mut complaints)?;
        fed
    };
    let nothing = |_: &mut dyn Write| Ok(());
    git(&["init", "--quiet", "--initial-branch=main"], &nothing)?;
    git(&["fast-import", "--quiet"], &|to| history(to, files()))?;
    git(&["read-tree", "HEAD"], &nothing)?;
    // Reads all files, and fails if one is not as committed.
    git(&["update-index", "-q", "--refresh"], &nothing)
}

/// One commit in the language of `git fast-import`.
fn history(to: &mut dyn Write, files: impl Iterator<Item = File>) -> io::Result<()> {
    write!(
        to,
        "commit refs/heads/main\ncommitter {WHO}\ndata 6\nfiles\n\n"
    )?;
    for file in files {
        let (path, length) = (&file.path, file.content.len());
        write!(
            to,
            "M 100644 inline {path}\ndata {length}\n{}\n",
            file.content
        )?;
    }
    writeln!(to, "done")
}
