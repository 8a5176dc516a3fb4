//! Listing directories.

use super::Call;
use crate::fs::Result;
use crate::transport::channel::exchange::Answer;
use crate::transport::wire::{
    EntryOut, Listed, Listing, OPEN_CACHE_DIR, OPEN_KEEP_CACHE, OpenOut, ReadIn,
};
use crate::tree::{Entry, Errno};

impl Call<'_, '_> {
    pub(super) fn opendir(&mut self) -> Result<Answer> {
        if self.shared.agreed.zero_message_opendir {
            return Err(Errno::NOSYS);
        }
        self.fs().opendir(&self.caller(), self.node())?;
        self.exchange.send(&OpenOut {
            open_flags: self.where_cached(OPEN_KEEP_CACHE | OPEN_CACHE_DIR),
            ..OpenOut::default()
        })
    }

    pub(super) fn readdir(&mut self) -> Result<Answer> {
        self.list(false)
    }

    pub(super) fn readdirplus(&mut self) -> Result<Answer> {
        self.list(true)
    }

    fn list(&mut self, plus: bool) -> Result<Answer> {
        let args: ReadIn = self.exchange.fixed()?;
        let (dir, shared) = (self.node(), self.shared);
        let mut listing = Listing::new(self.exchange.room(args.size)?);
        shared.fs.readdir(dir, args.offset, plus, |entry| {
            // "." and ".." have no attributes: the kernel does not take them for a lookup.
            let out = entry.attr.map_or_else(EntryOut::default, |attr| {
                shared.entry(&Entry {
                    id: entry.id,
                    ino: entry.ino,
                    attr,
                })
            });
            let listed = Listed {
                name: entry.name,
                ino: entry.ino,
                kind: entry.kind,
                cookie: entry.cookie,
            };
            listing.add(&listed, plus.then_some(&out))
        })?;
        listing.packed().map(Answer::Bytes).ok_or(Errno::INVAL)
    }
}
