//! What belongs to a directory beside its inode: the writers' side, and the order of its listing.
//!
//! Readers find names through the table in the directory's inode and need nothing of this but, for a
//! name that is missing, the rename sequence. Writers hold the lock of [`Names`].
//!
//! A listing goes by cookies. Each entry gets the next number when it is made and keeps it, so a
//! position in a listing stays what it is while other entries come and go. Entries lie in the order of
//! their cookies; a removed one leaves a hole, and holes are swept when they are many.

use crate::sync::{RenameSeq, Segmented, Slot};
use parking_lot::RwLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Cookies below this are the caller's, for `.` and `..`.
pub(crate) const FIRST_COOKIE: u32 = 3;

/// The slot of one directory.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Directory {
    pub(crate) renames: RenameSeq,
    /// The dentry that leads here: its parent is `..`. See [`Up`].
    up: AtomicU32,
    pub(crate) names: RwLock<Names>,
}

const _: () = assert!(size_of::<Directory>() == 64);

impl Segmented for Directory {
    const SEGMENT_BITS: u32 = 15;
}

impl Slot for Directory {
    fn free_link(&self) -> &AtomicU32 {
        &self.up
    }
}

/// Where `..` leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Up {
    /// This is the root: to itself.
    Root,
    /// To the parent of this dentry, as long as the dentry is live.
    Dentry(u32),
    /// Nowhere: the directory was removed.
    Removed,
}

const REMOVED: u32 = u32::MAX;

impl Directory {
    /// Begins a life in which `..` leads to `up`. The slot is not published yet.
    pub(crate) fn begin(&self, up: Up) {
        *self.names.write() = Names::default();
        self.set_up(up);
    }

    #[inline(always)]
    pub(crate) fn up(&self) -> Up {
        match self.up.load(Ordering::Acquire) {
            0 => Up::Root,
            REMOVED => Up::Removed,
            dentry => Up::Dentry(dentry),
        }
    }

    pub(crate) fn set_up(&self, up: Up) {
        let word = match up {
            Up::Root => 0,
            Up::Removed => REMOVED,
            Up::Dentry(dentry) => dentry,
        };
        self.up.store(word, Ordering::Release);
    }
}

/// What the lock of a directory protects. The table in the inode belongs to it too.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The directory was removed: nothing can be made in it any more.
    pub(crate) dead: bool,
    /// Cells of the table that are full or tombs.
    pub(crate) used_cells: u32,
    order: Vec<Place>,
    holes: u32,
    last_cookie: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    cookie: u32,
    /// 0 is a hole.
    dentry: u32,
}

impl Names {
    /// How many names the directory has.
    pub(crate) fn len(&self) -> usize {
        self.order.len() - self.holes as usize
    }

    /// Makes room for `more` entries, so that [`Names::push`] cannot fail. False without memory. Grows by
    /// a quarter: most directories are small, many and finished once they are filled.
    pub(crate) fn reserve(&mut self, more: usize) -> bool {
        let len = self.order.len();
        if len + more <= self.order.capacity() {
            return true;
        }
        let more = more.max(len / 4).max(4);
        self.order.try_reserve_exact(more).is_ok()
    }

    /// Whether there are too few cookies for `more` entries: then [`Names::renumber`] comes first.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        (u32::MAX - self.last_cookie) as usize <= more + FIRST_COOKIE as usize
    }

    /// Adds a dentry at the end and returns its cookie.
    pub(crate) fn push(&mut self, dentry: u32) -> u32 {
        let cookie = self.last_cookie.max(FIRST_COOKIE - 1) + 1;
        self.last_cookie = cookie;
        self.order.push(Place { cookie, dentry });
        cookie
    }

    /// Takes the entry with `cookie` out.
    pub(crate) fn remove(&mut self, cookie: u32) {
        let Ok(at) = self.order.binary_search_by_key(&cookie, |p| p.cookie) else {
            debug_assert!(false, "no entry has cookie {cookie}");
            return;
        };
        self.holes += u32::from(self.order[at].dentry != 0);
        self.order[at].dentry = 0;
        while self.order.pop_if(|last| last.dentry == 0).is_some() {
            self.holes -= 1;
        }
        if self.holes > 16 && self.holes as usize > self.order.len() / 2 {
            self.order.retain(|place| place.dentry != 0);
            self.order.shrink_to(self.order.len() * 2);
            self.holes = 0;
        }
    }

    /// Gives every entry a new cookie from the first on, in the same order.
    pub(crate) fn renumber(&mut self, mut tell: impl FnMut(u32, u32)) {
        self.order.retain(|place| place.dentry != 0);
        self.holes = 0;
        self.last_cookie = FIRST_COOKIE - 1;
        for place in &mut self.order {
            self.last_cookie += 1;
            place.cookie = self.last_cookie;
            tell(place.dentry, place.cookie);
        }
    }

    /// The dentries after position `cookie`, in order, with their cookies.
    pub(crate) fn after(&self, cookie: u64) -> impl Iterator<Item = (u32, u32)> + '_ {
        let from = self
            .order
            .partition_point(|p| u64::from(p.cookie) <= cookie);
        let places = self.order[from..].iter().filter(|place| place.dentry != 0);
        places.map(|place| (place.cookie, place.dentry))
    }

    /// Takes all entries out.
    pub(crate) fn drain(&mut self) -> Vec<u32> {
        self.holes = 0;
        let order = std::mem::take(&mut self.order);
        let dentries = order.into_iter().map(|place| place.dentry);
        dentries.filter(|dentry| *dentry != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_while_entries_come_and_go() {
        let mut names = Names::default();
        let cookies: Vec<u32> = (1..=100).map(|dentry| names.push(dentry)).collect();
        assert_eq!(cookies[0], FIRST_COOKIE);
        for cookie in cookies.iter().skip(1).step_by(2) {
            names.remove(*cookie);
        }
        names.remove(cookies[0]);
        assert_eq!(names.len(), 49);
        let late = names.push(101);
        let rest: Vec<u32> = names.after(cookies[49].into()).map(|(_, d)| d).collect();
        assert_eq!(rest.first(), Some(&51));
        assert_eq!(rest.last(), Some(&101));
        assert_eq!(names.after(late.into()).count(), 0);
        assert_eq!(names.after(u64::MAX).count(), 0);
    }

    #[test]
    fn no_hole_stays_at_the_end() {
        let mut names = Names::default();
        let cookies: Vec<u32> = (1..=1000).map(|dentry| names.push(dentry)).collect();
        for cookie in cookies[..500].iter().chain(cookies[500..].iter().rev()) {
            names.remove(*cookie);
        }
        assert_eq!((names.order.len(), names.holes), (0, 0));
        assert!(names.push(1) > cookies[999]);
    }

    #[test]
    fn a_removed_last_entry_does_not_lend_its_cookie() {
        let mut names = Names::default();
        let first = names.push(1);
        names.remove(first);
        assert!(names.push(2) > first);
    }

    #[test]
    fn renumbering_keeps_the_order() {
        let mut names = Names::default();
        (1..=5).for_each(|dentry| _ = names.push(dentry));
        names.remove(FIRST_COOKIE + 1);
        names.last_cookie = u32::MAX - 1;
        assert!(names.is_full(1));
        let mut told = Vec::new();
        names.renumber(|dentry, cookie| told.push((cookie, dentry)));
        assert_eq!(told, names.after(0).collect::<Vec<_>>());
        assert_eq!(told.iter().map(|t| t.1).collect::<Vec<_>>(), [1, 3, 4, 5]);
        assert_eq!(names.push(6), FIRST_COOKIE + 4);
    }
}
