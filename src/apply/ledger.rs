//! What an apply has begun, kept in the target until all is done: a second one goes on where the first was cut off.
//!
//! Most of what was done shows in the target itself: an entry is as it was, or as it shall be. The ledger holds the rest, each line
//! on disk before the step it tells of.

use super::root::{Root, Slot};
use crate::delta::PathBytes;
use crate::tree::Time;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::time::{Duration, Instant};

/// The directory in the target that exists as long as an apply is not done: what is on its way lies in it.
pub const STAGING: &str = ".norefs-apply";
const LEDGER: &str = "ledger";

/// How long whoever looks at the target may take, and how often he is asked.
const PATIENCE: Duration = Duration::from_secs(2);
const MOMENT: Duration = Duration::from_millis(5);

/// The path of that directory.
pub(super) fn staging() -> PathBytes {
    STAGING.as_bytes().to_vec().into()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// What is applied, and the target's times before it began.
    Begun { what: String, root: Times },
    /// The name is made, or what had it is replaced.
    Making(PathBytes),
    /// The directory gets a mode with which it can be written to, in place of this one.
    Opening { path: PathBytes, mode: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    sec: i64,
    nsec: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    root: Time,
    /// Names that were about to be made when it was cut off.
    before: HashSet<PathBytes>,
    /// And those that are since.
    making: HashSet<PathBytes>,
    opened: HashMap<PathBytes, u32>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Refused {
    /// Another process applies to the target.
    Busy,
    /// Something else was applied and cut off.
    Foreign(String),
    Failed(io::Error),
}

impl<E: Into<io::Error>> From<E> for Refused {
    fn from(error: E) -> Refused {
        Refused::Failed(error.into())
    }
}

impl Ledger {
    /// Keeps other applies away from `target` as long as the result is open.
    pub(super) fn lock(target: &Root) -> Result<(), Refused> {
        let began = Instant::now();
        let lock = || rustix::fs::flock(target, FlockOperation::NonBlockingLockExclusive);
        let mut locked = lock();
        // A mount that follows the target looks at it meanwhile.
        while locked == Err(Errno::WOULDBLOCK) && began.elapsed() < PATIENCE {
            std::thread::sleep(MOMENT);
            locked = lock();
        }
        match locked {
            Err(Errno::WOULDBLOCK) => Err(Refused::Busy),
            // Some filesystems have no locks.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether an apply to `target` was cut off; if so `what` has to be the same.
    pub(super) fn look(target: &Root, what: &str) -> Result<Option<Ledger>, Refused> {
        let path = staging().join(LEDGER.as_bytes());
        let fd = match target.open_at(&path, OFlags::RDWR | OFlags::APPEND) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let file = File::from(fd);
        let mut lines = BufReader::new(&file).lines();
        let first = lines.next().transpose()?;
        let begun = first.and_then(|line| serde_json::from_str(&line).ok());
        let Some(Line::Begun { what: which, root }) = begun else {
            // It was cut off before anything was done.
            return Ok(None);
        };
        if which != what {
            return Err(Refused::Foreign(which));
        }
        let (mut before, mut opened) = (HashSet::new(), HashMap::new());
        for line in lines {
            // The last line may be cut off: then its step was not begun.
            match serde_json::from_str(&line?) {
                Ok(Line::Making(path)) => drop(before.insert(path)),
                Ok(Line::Opening { path, mode }) => drop(opened.entry(path).or_insert(mode)),
                Ok(Line::Begun { .. }) | Err(_) => {}
            }
        }
        let root = Time {
            sec: root.sec,
            nsec: root.nsec,
        };
        let ledger = Ledger {
            file,
            root,
            before,
            making: HashSet::new(),
            opened,
        };
        // Whatever comes next begins a line of its own.
        (&ledger.file).write_all(b"\n")?;
        Ok(Some(ledger))
    }

    /// A new one, for `what`.
    pub(super) fn begin(target: &Root, what: &str, root: Time) -> io::Result<Ledger> {
        let staging = staging();
        let made = rustix::fs::mkdirat(target, STAGING, Mode::RWXU);
        if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
            made?;
        }
        let dir = target.open_at(&staging, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&dir, LEDGER, flags, Mode::RUSR | Mode::WUSR)?;
        let mut ledger = Ledger {
            file: file.into(),
            root,
            before: HashSet::new(),
            making: HashSet::new(),
            opened: HashMap::new(),
        };
        let times = Times {
            sec: root.sec,
            nsec: root.nsec,
        };
        ledger.write(&Line::Begun {
            what: what.to_owned(),
            root: times,
        })?;
        rustix::fs::fsync(dir)?;
        rustix::fs::fsync(target)?;
        Ok(ledger)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = Vec::new();
        add(&mut text, line)?;
        self.file.write_all(&text)?;
        self.sync()
    }

    /// The mtime the target's root had.
    pub(super) fn root_time(&self) -> Time {
        self.root
    }

    /// To be called, and the result to be [synced](Ledger::sync), before a name of `paths` is made, or what has it is taken away for
    /// another.
    pub(super) fn making<'p>(
        &mut self,
        paths: impl IntoIterator<Item = &'p PathBytes>,
    ) -> io::Result<()> {
        let mut lines = Vec::new();
        for path in paths {
            if self.making.insert(path.clone()) {
                add(&mut lines, &Line::Making(path.clone()))?;
            }
        }
        self.file.write_all(&lines)
    }

    /// Waits until all that was said is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Whether that was called before it was cut off.
    pub(super) fn was_making(&self, path: &PathBytes) -> bool {
        self.before.contains(path)
    }

    /// To be called before a directory of `mode` gets another one for a while.
    pub(super) fn opening(&mut self, path: &PathBytes, mode: u32) -> io::Result<()> {
        if !self.opened.contains_key(path) {
            self.opened.insert(path.clone(), mode);
            self.write(&Line::Opening {
                path: path.clone(),
                mode,
            })?;
        }
        Ok(())
    }

    /// Directories whose mode is to be put back.
    pub(super) fn opened(&self) -> impl Iterator<Item = (&PathBytes, u32)> {
        self.opened.iter().map(|(path, mode)| (path, *mode))
    }

    /// Ends it: everything else is done, and on disk.
    pub(super) fn end(self, target: &Root) -> io::Result<()> {
        let staging = staging();
        // What is left there is of names that were made twice: the ledger goes last.
        for name in target.names(&staging)? {
            if name != LEDGER.as_bytes() {
                remove(target, &staging.join(&name))?;
            }
        }
        remove(target, &staging.join(LEDGER.as_bytes()))?;
        let slot = target.slot(&staging)?;
        super::root::remove(&slot, true)
    }
}

fn add(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

fn remove(target: &Root, path: &PathBytes) -> io::Result<()> {
    let slot: Slot = target.slot(path)?;
    super::root::remove(&slot, false)
}
