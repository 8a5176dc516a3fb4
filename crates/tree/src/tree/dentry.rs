//! A dentry: one name of one inode in one directory.
//!
//! It is written before it is published and never changed afterwards, but that it dies once, and that its place in the
//! listing and its [mark](LOADED) move under the directory's lock. Moving a
//! file makes a new dentry. So whoever finds a dentry under a pinned epoch may read all of it, and asks
//! [`Live`] whether it still counts.

use super::Result;
use super::name::{Name, NameBuf, Piece, StoredName};
use crate::sync::{Live, Segmented, Slab, Slot};
use std::sync::atomic::{AtomicU32, Ordering};

/// The dentry. Its fields are atomics because its slot is reused, not because they change.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Dentry {
    /// LIVE or dead; the value is the length of the name.
    pub(crate) live: Live,
    /// The slot of the directory's inode.
    parent: AtomicU32,
    /// The slot of the inode the name leads to; the free link of an empty slot.
    inode: AtomicU32,
    /// Where the name stands in the directory's listing, 0 before it is published; and [`LOADED`].
    cookie: AtomicU32,
    name: StoredName,
}

/// A load brought the name. No cookie is that large.
const LOADED: u32 = 1 << 31;

const _: () = assert!(size_of::<Dentry>() == 48);

impl Segmented for Dentry {
    const SEGMENT_BITS: u32 = 17;
}

impl Slot for Dentry {
    fn free_link(&self) -> &AtomicU32 {
        &self.inode
    }
}

impl Dentry {
    /// Makes an unpublished dentry live.
    ///
    /// # Errors
    /// `ENOSPC` if a long name finds no place.
    pub(crate) fn begin(
        &self,
        parent: u32,
        inode: u32,
        name: &Name<'_>,
        pieces: &Slab<Piece>,
    ) -> Result<()> {
        self.name.set(name, pieces)?;
        self.parent.store(parent, Ordering::Relaxed);
        self.inode.store(inode, Ordering::Relaxed);
        self.cookie.store(0, Ordering::Relaxed);
        self.live.begin(name.len());
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn parent(&self) -> u32 {
        self.parent.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn inode(&self) -> u32 {
        self.inode.load(Ordering::Relaxed)
    }

    /// Where the name stands in the listing. Under the directory's lock.
    pub(crate) fn cookie(&self) -> u32 {
        self.cookie.load(Ordering::Relaxed) & !LOADED
    }

    /// Gives the name, which is published next, its place. Release: see [`Dentry::published`].
    pub(crate) fn set_place(&self, cookie: u32, loaded: bool) {
        let loaded = if loaded { LOADED } else { 0 };
        self.cookie.store(cookie | loaded, Ordering::Release);
    }

    pub(crate) fn set_cookie(&self, cookie: u32) {
        let loaded = self.cookie.load(Ordering::Relaxed) & LOADED;
        self.cookie.store(cookie | loaded, Ordering::Relaxed);
    }

    /// Takes the name, which is published, for one that a load brought. Relaxed, and no one step: under the directory's lock,
    /// as [`Dentry::set_cookie`], and a survey, without which nobody comes by the slot to read the mark.
    pub(crate) fn set_loaded(&self) {
        let word = self.cookie.load(Ordering::Relaxed);
        self.cookie.store(word | LOADED, Ordering::Relaxed);
    }

    /// Takes the name for one that was made, in the same way.
    pub(crate) fn set_made(&self) {
        let word = self.cookie.load(Ordering::Relaxed);
        self.cookie.store(word & !LOADED, Ordering::Relaxed);
    }

    /// Whether a load brought the name.
    pub(crate) fn is_loaded(&self) -> bool {
        self.cookie.load(Ordering::Relaxed) & LOADED != 0
    }

    /// Whether a load brought the name, if it is live and published: then all of it can be read under a pinned epoch. For
    /// whoever comes by the slot and not by a table. A name that lives has no place of an earlier life any more: look in this
    /// order.
    pub(crate) fn published(&self) -> Option<bool> {
        let word = self
            .live
            .is_live()
            .then(|| self.cookie.load(Ordering::Acquire))?;
        (word & !LOADED != 0).then_some(word & LOADED != 0)
    }

    /// Whether this is `name`, live or not.
    #[inline(always)]
    pub(crate) fn is_named(&self, name: &Name<'_>, pieces: &Slab<Piece>) -> bool {
        self.name.is(self.live.value(), name, pieces)
    }

    pub(crate) fn name(&self, pieces: &Slab<Piece>) -> NameBuf {
        self.name.bytes(self.live.value(), pieces)
    }

    /// What it takes, with its name.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Dentry>() + StoredName::pieces(self.live.value()) * size_of::<Piece>()
    }

    /// Gives the name's pieces back, before the slot itself is freed.
    pub(crate) fn free_name(&self, pieces: &Slab<Piece>) {
        self.name.free(self.live.value(), pieces);
    }
}
