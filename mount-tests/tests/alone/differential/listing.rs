//! Listings, at once and in parts between which names change.

use crate::perform::Answer;
use rustix::fs::{self, RawDir, SeekFrom};
use rustix::io::Result;
use std::fs::File;
use std::mem::MaybeUninit;

/// A name with its kind, the position behind it, and its inode number: positions may change hands, numbers do not.
type Entry = (String, u64, u64);

/// A listing under way, each time continued from the position behind the last entry.
#[derive(Default)]
pub struct Walk {
    /// What was there when it began.
    before: Vec<Entry>,
    listed: Vec<Entry>,
}

/// All names, and whether the position after one of them leads to those that came behind it.
pub fn list(dir: &File, again_from: usize) -> Answer {
    fs::seek(dir, SeekFrom::Start(0))?;
    let all = entries(dir)?;
    let mut names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
    names.sort_unstable();
    let from = again_from % all.len().max(1);
    let rest = match all.get(from) {
        Some((_, position, _)) => {
            fs::seek(dir, SeekFrom::Start(*position))?;
            entries(dir)? == all[from + 1..]
        }
        None => true,
    };
    Ok(format!("{names:?}, the rest again: {rest}"))
}

impl Walk {
    /// Goes on by some entries. Their order is the filesystem's own, so nothing of them is answered; but at the end each
    /// entry that was there all the time must have been listed, and none twice.
    pub fn go_on(&mut self, dir: &File, count: usize) -> Answer {
        if self.listed.is_empty() {
            fs::seek(dir, SeekFrom::Start(0))?;
            self.before = entries(dir)?;
        }
        let position = self.listed.last().map_or(0, |(_, position, _)| *position);
        fs::seek(dir, SeekFrom::Start(position))?;
        let rest = entries(dir)?;
        let ends = rest.len() <= count;
        self.listed.extend(rest.into_iter().take(count.max(1)));
        // Other calls on the directory begin where both filesystems are.
        fs::seek(dir, SeekFrom::Start(0))?;
        match ends {
            true => {
                let after = entries(dir)?;
                fs::seek(dir, SeekFrom::Start(0))?;
                Ok(std::mem::take(self).check(&after))
            }
            false => Ok(String::new()),
        }
    }

    fn check(self, after: &[Entry]) -> String {
        let listed = |entry: &&Entry| self.listed.iter().filter(|other| other == entry).count();
        let has = |list: &[Entry], entry: &Entry| {
            list.iter()
                .any(|other| (&other.0, other.2) == (&entry.0, entry.2))
        };
        let mut stayed = self.before.iter().filter(|entry| has(after, entry));
        if let Some(missed) = stayed.find(|entry| !has(&self.listed, entry)) {
            return format!("{missed:?} is not listed: {:?}", self.listed);
        }
        match self.listed.iter().find(|entry| listed(entry) > 1) {
            Some(twice) => format!("{twice:?} is listed twice: {:?}", self.listed),
            None => String::new(),
        }
    }
}

fn entries(dir: &File) -> Result<Vec<Entry>> {
    let mut room = [MaybeUninit::uninit(); 1 << 12];
    let mut listing = RawDir::new(dir, &mut room);
    let mut all = Vec::new();
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        all.push((
            format!("{name} {:?}", entry.file_type()),
            entry.next_entry_cookie(),
            entry.ino(),
        ));
    }
    Ok(all)
}
