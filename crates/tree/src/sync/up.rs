//! The way back: which name leads to a thing, kept with the thing.
//!
//! A thing that is moved is reached by another name afterwards, and one that is removed by none. Its
//! [`UpWord`] says which name that is, and the name where it stands; `..` is that way. Two rules make it
//! evidence like any other:
//!
//! 1. **The old name is dead before the word changes.** The word is stored with Release after the kill and
//!    loaded with Acquire, so whoever reads that the way leads elsewhere, or nowhere, finds the old name
//!    dead: a walk that came in by the old name and went back by the new one, or found that there is none,
//!    fails its validation.
//! 2. **A way counts only if its name is live afterwards.** Whoever reads the word before it changes has the
//!    old name, and looks at that once more when the answer is there.
//!
//! The same Release and Acquire make the new name complete for whoever gets it here and not from a table.

use super::primitive::{AtomicU32, Ordering};

/// Where the way back leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// This is the root: to itself.
    Root,
    /// To where the name of this number stands, as long as that is live.
    Name(u32),
    /// Nowhere: the thing was removed.
    Removed,
}

const REMOVED: u32 = u32::MAX;

/// An [`Up`] in one word. Numbers of names begin at 1.
#[derive(Debug, Default)]
pub struct UpWord(AtomicU32);

impl UpWord {
    /// The way as it is now.
    #[inline(always)]
    pub fn get(&self) -> Up {
        match self.0.load(Ordering::Acquire) {
            0 => Up::Root,
            REMOVED => Up::Removed,
            name => Up::Name(name),
        }
    }

    /// Changes it. Only who moves or removes the thing may, after the kill.
    pub fn set(&self, up: Up) {
        let word = match up {
            Up::Root => 0,
            Up::Removed => REMOVED,
            Up::Name(name) => name,
        };
        self.0.store(word, Ordering::Release);
    }

    /// The word, for other use while its slot is free.
    pub fn word(&self) -> &AtomicU32 {
        &self.0
    }
}
