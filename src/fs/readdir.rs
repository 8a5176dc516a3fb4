//! Listings.

use super::{Caller, Fs, ListEntry, Node};
use crate::fs::Result;
use crate::tree::{Errno, InodeRef, Kind, Mask, NodeId};
use std::ops::ControlFlow;

const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

impl Fs {
    /// Whether a directory may be listed: asked once, when it is opened.
    ///
    /// # Errors
    /// EACCES, ESTALE.
    pub fn opendir(&self, caller: &Caller, id: NodeId) -> Result<()> {
        self.may(caller, id, Mask::READ)
    }

    /// Hands each name after position `from` (0: all) to `sink`, until it returns false: that entry
    /// was not taken.
    ///
    /// `plus` asks for attributes; each entry taken with them raises its inode's nlookup by one. A
    /// position stays good while names come and go: what stays in the directory is listed once.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn readdir(
        &self,
        id: NodeId,
        from: u64,
        plus: bool,
        mut sink: impl FnMut(&ListEntry<'_>) -> bool,
    ) -> Result<()> {
        let dir = self.get(id)?;
        if dir.kind() != Kind::Directory {
            return Err(Errno::NOTDIR);
        }
        let mut dot = |name: &[u8], inode: &InodeRef<'_, Node>, cookie| {
            from >= cookie
                || sink(&ListEntry {
                    name,
                    id: inode.id(),
                    ino: inode.ino(),
                    kind: Kind::Directory,
                    cookie,
                    attr: None,
                })
        };
        if !dot(b".", &dir, DOT) {
            return Ok(());
        }
        if from < DOT_DOT {
            let parent = match self.tree.parent(&dir) {
                Err(Errno::NOENT) => dir.clone(),
                parent => parent?,
            };
            if !dot(b"..", &parent, DOT_DOT) {
                return Ok(());
            }
        }
        self.tree.read_dir(&dir, from, |child| {
            let taken = sink(&ListEntry {
                name: child.name,
                id: child.id,
                ino: child.ino,
                kind: child.kind,
                cookie: child.cookie,
                attr: plus.then_some(child.attr),
            });
            if !taken {
                return ControlFlow::Break(());
            }
            if plus {
                child.raise_lookup();
            }
            ControlFlow::Continue(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::testing::{Bed, USER};
    use std::collections::BTreeSet;

    /// Lists `dir` in replies of at most `at_once` entries.
    fn list(bed: &Bed, dir: NodeId, at_once: usize, plus: bool) -> Vec<(Vec<u8>, NodeId)> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            let mut taken = 0;
            bed.fs
                .readdir(dir, from, plus, |entry| {
                    if taken == at_once {
                        return false;
                    }
                    taken += 1;
                    from = entry.cookie;
                    assert_eq!(entry.attr.is_some(), plus && !entry.name.starts_with(b"."));
                    all.push((entry.name.to_vec(), entry.id));
                    true
                })
                .unwrap();
            if taken == 0 {
                return all;
            }
        }
    }

    #[test]
    fn dots_come_first_and_each_name_once_in_replies_of_any_length() {
        let bed = Bed::new();
        let dir = bed.dir("d");
        let mut names = BTreeSet::new();
        for n in 0..50 {
            names.insert(format!("file{n}").into_bytes());
            bed.file_in(dir, &format!("file{n}"));
        }
        for at_once in [1, 2, 3, 7, 1000] {
            let all = list(&bed, dir, at_once, false);
            assert_eq!(all[0], (b".".to_vec(), dir));
            assert_eq!(all[1], (b"..".to_vec(), bed.root()));
            let listed: BTreeSet<_> = all[2..].iter().map(|(name, _)| name.clone()).collect();
            assert_eq!((all.len(), &listed), (52, &names), "{at_once} at once");
        }
    }

    #[test]
    fn plus_counts_a_lookup_for_what_was_taken_only() {
        let bed = Bed::new();
        let file = bed.file("f");
        bed.fs
            .readdir(bed.root(), 0, true, |entry| entry.attr.is_none())
            .unwrap();
        assert_eq!(list(&bed, bed.root(), 9, true).len(), 3);
        bed.fs
            .unlink(&USER, bed.root(), b"f")
            .unwrap()
            .deliver(drop);
        bed.fs.forget(file, 1);
        assert_eq!(bed.attr(file).nlink, 0);
        bed.fs.forget(file, 1);
        assert_eq!(bed.fs.getattr(file).err(), Some(Errno::STALE));
    }

    #[test]
    fn a_removed_directory_lists_no_names_and_a_file_nothing() {
        let bed = Bed::new();
        let dir = bed.dir("d");
        bed.fs.rmdir(&USER, bed.root(), b"d").unwrap().deliver(drop);
        assert_eq!(list(&bed, dir, 9, false).len(), 2);
        let file = bed.file("f");
        assert_eq!(bed.fs.readdir(file, 0, false, |_| true), Err(Errno::NOTDIR));
    }
}
