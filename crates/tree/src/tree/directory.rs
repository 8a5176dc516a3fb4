//! What belongs to a directory beside its inode: the writers' side, and the order of its listing.
//!
//! Readers find names through the table in the directory's inode and need nothing of this but, for a
//! name that is missing, the rename sequence. Writers hold the lock of [`Names`].
//!
//! A listing goes by cookies. Each entry gets the next number when it is made and keeps it, and a name that changes hands
//! keeps that of the name it takes the place of. Entries lie in the order of their cookies; a removed one leaves a hole, and holes
//! are swept when they are many.
//!
//! Listed they are from the youngest to the oldest, and then those a load has brought, in the order they came in: a *position*
//! says so, and stays what it is while entries come and go. What is made lies before everything that is there, so
//! whoever lists never meets it, and comes to an end whatever he does to the names he meets.

use crate::sync::{RenameSeq, Segmented, Slot, Up, UpWord};
use parking_lot::RwLock;
use std::sync::atomic::AtomicU32;

/// Cookies below this are the caller's, for `.` and `..`.
pub(crate) const FIRST_COOKIE: u32 = 3;

/// Positions before this are of entries that were made, those behind it of entries that were loaded. All are below 2^31, for
/// programs that have no more bits.
const LOADED: u32 = 1 << 30;

/// The last cookie of a directory in which nothing can be made any more.
const DEAD: u32 = u32::MAX;

/// The slot of one directory.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Directory {
    pub(crate) renames: RenameSeq,
    /// The dentry that leads here: its parent is `..`.
    pub(crate) up: UpWord,
    pub(crate) names: RwLock<Names>,
}

const _: () = assert!(size_of::<Directory>() == 64);

impl Segmented for Directory {
    const SEGMENT_BITS: u32 = 15;
}

impl Slot for Directory {
    fn free_link(&self) -> &AtomicU32 {
        self.up.word()
    }
}

impl Directory {
    /// Begins a life in which `..` leads to `up`. The slot is not published yet.
    pub(crate) fn begin(&self, up: Up) {
        *self.names.write() = Names::default();
        self.up.set(up);
    }
}

/// What the lock of a directory protects. The table in the inode belongs to it too.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Cells of the table that are full or tombs.
    pub(crate) used_cells: u32,
    order: Vec<Numbered>,
    holes: u32,
    last_cookie: u32,
    /// Up to this cookie entries were loaded.
    last_loaded: u32,
}

#[derive(Clone, Copy, Debug)]
struct Numbered {
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

    /// Whether the directory was removed: nothing can be made in it any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.last_cookie == DEAD
    }

    /// From now on nothing can be made here. All entries were taken out, or will be.
    pub(crate) fn die(&mut self) {
        self.last_cookie = DEAD;
    }

    /// Whether there are too few cookies for `more` entries: then [`Names::renumber`] comes first.
    pub(crate) fn is_full(&self, more: usize) -> bool {
        (LOADED - FIRST_COOKIE).saturating_sub(self.last_cookie) as usize <= more
    }

    /// Adds a dentry before all others and returns its cookie.
    pub(crate) fn push(&mut self, dentry: u32) -> u32 {
        let cookie = self.last_cookie.max(FIRST_COOKIE - 1) + 1;
        self.last_cookie = cookie;
        self.order.push(Numbered { cookie, dentry });
        cookie
    }

    /// Adds a dentry as the entry number `at` of those that are loaded, in whatever order they come, or without a number
    /// behind those that came before it. Once something else was made it comes before all others.
    pub(crate) fn push_loaded(&mut self, dentry: u32, at: Option<u32>) -> u32 {
        if self.last_cookie != self.last_loaded {
            return self.push(dentry);
        }
        let wanted = at.and_then(|at| at.checked_add(FIRST_COOKIE));
        let cookie = match wanted.filter(|cookie| *cookie < LOADED) {
            Some(cookie) if cookie > self.last_cookie => {
                self.order.push(Numbered { cookie, dentry });
                self.last_cookie = cookie;
                cookie
            }
            Some(cookie) => match self.order.binary_search_by_key(&cookie, |p| p.cookie) {
                Err(index) => {
                    self.order.insert(index, Numbered { cookie, dentry });
                    return cookie;
                }
                // A number is given once; a directory that is loaded again goes on behind.
                Ok(_) => self.push(dentry),
            },
            None => self.push(dentry),
        };
        self.last_loaded = cookie;
        cookie
    }

    /// Puts `dentry` where `old` is, whose cookie it gets.
    pub(crate) fn put_in_place(&mut self, dentry: u32, (old, cookie): (u32, u32)) {
        if let Some(place) = self.find(old, cookie) {
            place.dentry = dentry;
        } else {
            // Names change hands meanwhile: a panic would leave readers without answers for good.
            debug_assert!(false, "no entry has cookie {cookie}");
        }
    }

    fn find(&mut self, dentry: u32, cookie: u32) -> Option<&mut Numbered> {
        let at = self
            .order
            .binary_search_by_key(&cookie, |p| p.cookie)
            .ok()?;
        Some(&mut self.order[at]).filter(|place| place.dentry == dentry)
    }

    /// Takes `dentry` with its cookie out, unless another was put in its place.
    pub(crate) fn remove(&mut self, dentry: u32, cookie: u32) {
        let Some(place) = self.find(dentry, cookie) else {
            return;
        };
        place.dentry = 0;
        self.holes += 1;
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
        let loaded = self.order.partition_point(|p| p.cookie <= self.last_loaded);
        self.last_cookie = FIRST_COOKIE - 1;
        self.last_loaded = self.last_cookie + loaded as u32;
        for place in &mut self.order {
            self.last_cookie += 1;
            place.cookie = self.last_cookie;
            tell(place.dentry, place.cookie);
        }
    }

    /// The dentries after `position`, in order, each with its own position.
    pub(crate) fn after(&self, position: u64) -> impl Iterator<Item = (u32, u32)> + '_ {
        let order = &self.order;
        let up_to = |cookie: u64| order.partition_point(|p| u64::from(p.cookie) <= cookie);
        let loaded = up_to(self.last_loaded.into());
        // Those made have positions that fall, those loaded positions that grow.
        let (made_end, loaded_start) = match u64::from(LOADED).checked_sub(position) {
            Some(left) => (up_to(left.saturating_sub(1)), 0),
            None => (0, up_to(position - u64::from(LOADED))),
        };
        let made = order[loaded..made_end.max(loaded)].iter().rev();
        let made = made.map(|place| (LOADED - place.cookie, place.dentry));
        let loaded = order[loaded_start.min(loaded)..loaded].iter();
        let loaded = loaded.map(|place| (LOADED + place.cookie, place.dentry));
        made.chain(loaded).filter(|(_, dentry)| *dentry != 0)
    }

    /// What the listing takes.
    pub(crate) fn bytes(&self) -> usize {
        self.order.capacity() * size_of::<Numbered>()
    }

    /// Gives back what is kept for more entries after most of them went.
    pub(crate) fn tidy(&mut self) {
        if self.order.len() < self.order.capacity() / 4 {
            self.order.shrink_to(self.order.len() * 2);
        }
    }

    /// The directory ended: gives everything back, and says how much that was.
    pub(crate) fn give_up(&mut self) -> usize {
        let bytes = self.bytes();
        (self.order, self.holes) = (Vec::new(), 0);
        bytes
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

    fn after(names: &Names, position: u32) -> Vec<u32> {
        names.after(position.into()).map(|(_, d)| d).collect()
    }

    fn position(names: &Names, dentry: u32) -> u32 {
        let found = names.after(0).find(|(_, one)| *one == dentry);
        found.expect("it is listed").0
    }

    #[test]
    fn positions_stay_while_entries_come_and_go() {
        let mut names = Names::default();
        let cookies: Vec<u32> = (1..=100).map(|dentry| names.push(dentry)).collect();
        assert_eq!(cookies[0], FIRST_COOKIE);
        let middle = position(&names, 50);
        for (dentry, cookie) in (1..).zip(&cookies).skip(1).step_by(2) {
            names.remove(dentry, *cookie);
        }
        names.remove(1, cookies[0]);
        assert_eq!(names.len(), 49);
        names.push(101);
        let rest = after(&names, middle);
        assert_eq!((rest.first(), rest.last()), (Some(&49), Some(&3)));
        assert_eq!(names.after(0).next().map(|(_, dentry)| dentry), Some(101));
        assert!(after(&names, position(&names, 3)).is_empty());
        assert_eq!(names.after(u64::MAX).count(), 0);
    }

    #[test]
    fn what_was_loaded_comes_in_its_order_behind_what_was_made() {
        let mut names = Names::default();
        (1..=3).for_each(|dentry| _ = names.push_loaded(dentry, None));
        names.push(4);
        names.push(5);
        // Too late for the order: something was made before.
        names.push_loaded(6, Some(1));
        let all = [6, 5, 4, 1, 2, 3];
        assert_eq!(after(&names, 0), all);
        for (at, dentry) in all.into_iter().enumerate() {
            let from = position(&names, dentry);
            assert!((FIRST_COOKIE..1 << 31).contains(&from));
            assert_eq!(after(&names, from), all[at + 1..]);
        }
        assert_eq!(after(&names, LOADED), [1, 2, 3]);
        assert_eq!(after(&names, LOADED - 1), [1, 2, 3]);
    }

    #[test]
    fn parts_that_are_loaded_in_any_order_come_in_theirs() {
        let mut names = Names::default();
        assert!(names.reserve(8));
        for (dentry, at) in [(30, 2), (40, 3), (10, 0), (60, 9), (20, 1)] {
            names.push_loaded(dentry, Some(at));
        }
        names.push_loaded(70, None);
        // A number that was given already.
        names.push_loaded(80, Some(3));
        let all = [10, 20, 30, 40, 60, 70, 80];
        assert_eq!(after(&names, 0), all);
        for (at, dentry) in all.into_iter().enumerate() {
            assert_eq!(after(&names, position(&names, dentry)), all[at + 1..]);
        }
        names.push(90);
        assert_eq!(names.after(0).next().map(|(_, dentry)| dentry), Some(90));
    }

    #[test]
    fn whoever_renames_what_he_meets_comes_to_an_end() {
        let mut names = Names::default();
        let mut cookies: Vec<u32> = (0..3)
            .map(|dentry| names.push_loaded(dentry + 1, None))
            .collect();
        cookies.extend((3..6).map(|dentry| names.push(dentry + 1)));
        let (mut from, mut met) = (0, Vec::new());
        let next = |names: &Names, from: u32| names.after(from.into()).next();
        while let Some((at, dentry)) = next(&names, from) {
            from = at;
            met.push(dentry);
            names.remove(dentry, cookies[dentry as usize - 1]);
            names.push(100 + dentry);
        }
        assert_eq!(met, [6, 5, 4, 1, 2, 3]);
    }

    #[test]
    fn another_dentry_takes_the_place_of_one() {
        let mut names = Names::default();
        let cookies: Vec<u32> = (1..=3).map(|dentry| names.push(dentry)).collect();
        let before = position(&names, 2);
        names.put_in_place(7, (2, cookies[1]));
        names.remove(2, cookies[1]);
        assert_eq!((after(&names, 0), names.len()), (vec![3, 7, 1], 3));
        assert_eq!(position(&names, 7), before);
    }

    #[test]
    fn no_hole_stays_at_the_end() {
        let mut names = Names::default();
        let cookies: Vec<u32> = (1..=1000).map(|dentry| names.push(dentry)).collect();
        let mut all: Vec<(u32, u32)> = (1..).zip(cookies.iter().copied()).collect();
        all[500..].reverse();
        for (dentry, cookie) in all {
            names.remove(dentry, cookie);
        }
        assert_eq!((names.order.len(), names.holes), (0, 0));
        assert!(names.push(1) > cookies[999]);
    }

    #[test]
    fn a_removed_last_entry_does_not_lend_its_cookie() {
        let mut names = Names::default();
        let first = names.push(1);
        names.remove(1, first);
        assert!(names.push(2) > first);
    }

    #[test]
    fn renumbering_keeps_the_order() {
        let mut names = Names::default();
        let loaded: Vec<u32> = (1..=3)
            .map(|dentry| names.push_loaded(dentry, None))
            .collect();
        (4..=6).for_each(|dentry| _ = names.push(dentry));
        names.remove(2, loaded[1]);
        names.last_cookie = LOADED - FIRST_COOKIE - 1;
        assert!(names.is_full(1) && !names.is_full(0));
        let (mut told, before) = (Vec::new(), after(&names, 0));
        names.renumber(|dentry, cookie| told.push((dentry, cookie)));
        assert_eq!(
            (after(&names, 0), before),
            (vec![6, 5, 4, 1, 3], vec![6, 5, 4, 1, 3])
        );
        assert_eq!(
            told,
            [1, 3, 4, 5, 6].into_iter().zip(3..).collect::<Vec<_>>()
        );
        assert_eq!(names.push(7), FIRST_COOKIE + 5);
        assert_eq!(after(&names, LOADED), [1, 3]);
    }

    #[test]
    fn nothing_is_made_in_a_dead_directory() {
        let mut names = Names::default();
        assert!(!names.is_dead());
        names.push(1);
        names.die();
        assert!(names.is_dead() && names.is_full(1));
        assert_eq!(after(&names, 0), [1]);
    }
}
