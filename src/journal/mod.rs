//! Which paths changed since somebody asked last.
//!
//! # How nothing is missed
//! The journal is the tree's [`Witness`]: each change tells it while it holds the tree's stillness, shared, which it took before
//! anybody could see the change. Whoever asks holds the stillness alone ([`Tree::survey`]). So for a question no change is under way:
//!
//! * What somebody saw before asking is told. Its change had the stillness, and had told of it before the question got that.
//! * What is told can be seen, since it was told of after it was made. So whoever looks at a path that was told sees that change, and
//!   what comes later has a higher number than the token that came with the answer.
//!
//! Names are kept as a directory and a name in it, and inodes by their ids; paths are made when somebody asks. That is enough for
//! the paths that there were: follow one from the directory that was asked about, as it was then and as it is now. At the first
//! step that leads elsewhere now the directory is still the same, and still where it was, and a change of that name in it was told, for
//! all that is below. Where no step does, the inode at the end is the same and has that path now.
//!
//! # What it takes
//! Nothing is kept, and no change costs more than a look at one word, until somebody asks for the first time: no token is older. From then on
//! there are [`CAPACITY`] bytes at most. Whoever asks with a token from before what was given up for others is told that everything may
//! have changed, and so is whoever comes with the token of another mount, another process, or another directory.

mod log;
mod places;
#[cfg(test)]
mod tests;

pub use log::CAPACITY;

use crate::delta::PathBytes;
use crate::host::rest;
use crate::tree::{Errno, NodeId, Tree, Witness};
use log::{Log, Note};
use parking_lot::Mutex;
use places::Places;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Which changes of which directory somebody knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token {
    /// Of the journal; no other ever has the same.
    journal: u128,
    /// The directory that was asked about.
    top: NodeId,
    /// Of the first change that is not known.
    number: u64,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no token of `norefs changes`")]
pub struct NoToken;

/// How long whoever waits for changes does not look for them.
const MOMENT: Duration = Duration::from_millis(10);

const PREFIX: &str = "norefs";

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let top = self.top.raw();
        write!(f, "{PREFIX}:{:032x}:{top:x}:{}", self.journal, self.number)
    }
}

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Token, NoToken> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(NoToken);
        if part()? != PREFIX {
            return Err(NoToken);
        }
        let token = Token {
            journal: u128::from_str_radix(part()?, 16).map_err(|_| NoToken)?,
            top: u64::from_str_radix(part()?, 16)
                .map(NodeId::from_raw)
                .map_err(|_| NoToken)?,
            number: part()?.parse().map_err(|_| NoToken)?,
        };
        // There is one way to write each, so that tokens can be compared as texts.
        (token.to_string() == text).then_some(token).ok_or(NoToken)
    }
}

impl TryFrom<String> for Token {
    type Error = NoToken;

    fn try_from(text: String) -> Result<Token, NoToken> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> String {
        token.to_string()
    }
}

/// A path of which something is, or may be, other than it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChangedPath {
    /// Below the directory that was asked about.
    pub path: PathBytes,
    /// There is a directory now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub directory: bool,
    /// A directory was moved here, or away: this stands for all that was and is below.
    #[serde(default, skip_serializing_if = "is_false")]
    pub below: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedSince {
    /// To ask with next.
    pub token: Token,
    /// Each path once, a directory before what is in it; `None`: everything may have changed.
    pub paths: Option<Vec<ChangedPath>>,
}

/// What somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// What is known already.
    pub since: Option<Token>,
    /// The directory below which paths are told, by its node id.
    pub top: NodeId,
    /// A name in that directory, which is told neither, nor anything below it.
    pub except: Option<PathBytes>,
    /// How long to wait if nothing changed.
    pub patience: Duration,
}

/// The changes of one tree.
pub struct Journal {
    log: Mutex<Log>,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal::with_capacity(CAPACITY)
    }
}

impl Journal {
    fn with_capacity(capacity: usize) -> Journal {
        Journal {
            log: Mutex::new(Log::new(fresh_id(), capacity)),
        }
    }

    /// What changed in `tree`, which is the same each time.
    ///
    /// # Errors
    /// ESTALE if the directory is gone, ENOTDIR if it is none.
    pub fn ask<E: Send + Sync>(
        self: &Arc<Self>,
        tree: &Tree<E>,
        asked: &Query,
    ) -> Result<ChangedSince, Errno> {
        if let Some(since) = &asked.since {
            self.wait(since, asked.patience);
        }
        let survey = tree.survey();
        let places = Places::below(&survey, asked.top, asked.except.as_ref())?;
        let mut log = self.log.lock();
        if log.is_of_another_process() {
            // Which goes on with a copy of the tree, and with the old id.
            log.renew(fresh_id());
        }
        if !log.begun {
            log.begin(survey.set_witness(self.clone()));
        }
        let of_this = |since: &Token| since.journal == log.id && since.top == asked.top;
        let entries = asked.since.filter(of_this);
        let entries = entries.and_then(|since| log.since(since.number));
        let paths = entries.and_then(|entries| places.tell(entries));
        let token = Token {
            journal: log.id,
            top: asked.top,
            number: log.hand_out(),
        };
        Ok(ChangedSince { token, paths })
    }

    /// Waits until there may be something that `since` does not know, without a lock, so that nobody waits for this thread.
    fn wait(&self, since: &Token, patience: Duration) {
        let deadline = Instant::now() + patience;
        let is_over = || {
            let log = self.log.lock();
            log.id != since.journal || !log.begun || log.next() != since.number
        };
        while !is_over() && Instant::now() < deadline {
            rest(|| std::thread::sleep(MOMENT));
        }
    }

    fn append(&self, entry: &Note<'_>) {
        self.log.lock().append(entry);
    }
}

impl Witness for Journal {
    fn named(&self, directory: NodeId, name: &[u8], inode: NodeId, below: bool) {
        self.append(&Note::Name {
            directory,
            name,
            inode,
            below,
        });
    }

    fn changed(&self, inode: NodeId) {
        self.append(&Note::Inode(inode));
    }
}

/// An id that no journal ever had: processes that were copied draw the same random numbers, and have other process ids.
fn fresh_id() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos() as u64;
    let process = u64::from(std::process::id()) << 32;
    u128::from(fastrand::u64(..)) << 64 | u128::from(now ^ process)
}
