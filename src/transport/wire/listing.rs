//! The entries of a listing, one after the other, each padded to eight bytes.

use super::EntryOut;
use crate::tree::Kind;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

const ALIGN: usize = 8;

/// `struct fuse_dirent` without the name that follows it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Dirent {
    pub(crate) ino: u64,
    /// The position after this entry.
    pub(crate) off: u64,
    pub(crate) namelen: u32,
    /// The type, as in the upper four bits of a mode.
    pub(crate) kind: u32,
}

/// What is told of an entry.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ino: u64,
    pub(crate) kind: Kind,
    /// The position after this entry.
    pub(crate) cookie: u64,
}

/// Packs entries into a buffer for as long as they fit.
pub(crate) struct Listing<'a> {
    room: &'a mut [u8],
    used: usize,
    full: bool,
}

impl<'a> Listing<'a> {
    pub(crate) fn new(room: &'a mut [u8]) -> Listing<'a> {
        Listing {
            room,
            used: 0,
            full: false,
        }
    }

    /// Adds one entry, with what a READDIRPLUS says of it before. False if it did not fit: nothing of
    /// it is there then.
    pub(crate) fn add(&mut self, entry: &Listed<'_>, plus: Option<&EntryOut>) -> bool {
        let dirent = Dirent {
            ino: entry.ino,
            off: entry.cookie,
            // Names have at most 255 bytes.
            namelen: entry.name.len() as u32,
            kind: entry.kind.bits() >> 12,
        };
        let plus = plus.map_or(&[][..], |plus| plus.as_bytes());
        let exact = plus.len() + size_of::<Dirent>() + entry.name.len();
        let free = &mut self.room[self.used..];
        let Some(place) = free.get_mut(..exact.next_multiple_of(ALIGN)) else {
            self.full = true;
            return false;
        };
        let (head, rest) = place.split_at_mut(plus.len());
        let (middle, rest) = rest.split_at_mut(size_of::<Dirent>());
        let (name, padding) = rest.split_at_mut(entry.name.len());
        head.copy_from_slice(plus);
        middle.copy_from_slice(dirent.as_bytes());
        name.copy_from_slice(entry.name);
        padding.fill(0);
        self.used += exact.next_multiple_of(ALIGN);
        true
    }

    /// How many bytes were packed; `None` if there was something to list and no room for any of it.
    pub(crate) fn packed(self) -> Option<usize> {
        (self.used > 0 || !self.full).then_some(self.used)
    }
}

const _: () = assert!(size_of::<Dirent>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> impl Iterator<Item = Listed<'static>> {
        let names: [&[u8]; 5] = [b".", b"..", b"12345678", b"nine char", &[b'x'; 255]];
        names.into_iter().enumerate().map(|(n, name)| Listed {
            name,
            ino: n as u64 + 100,
            kind: Kind::Fifo,
            cookie: n as u64 + 10,
        })
    }

    /// Takes a packed listing apart, and checks that padding is zero.
    fn unpack(mut bytes: &[u8], plus: bool) -> Vec<(u64, u64, u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let before = bytes.len();
            if plus {
                bytes = EntryOut::read_from_prefix(bytes).unwrap().1;
            }
            let (dirent, rest) = Dirent::read_from_prefix(bytes).unwrap();
            let (name, rest) = rest.split_at(dirent.namelen as usize);
            let padding = (before - rest.len()).next_multiple_of(8) - (before - rest.len());
            assert!(rest[..padding].iter().all(|&byte| byte == 0));
            bytes = &rest[padding..];
            found.push((dirent.ino, dirent.off, dirent.kind, name.to_vec()));
        }
        found
    }

    #[test]
    fn listings_of_every_size_hold_whole_entries_only() {
        let out = EntryOut::default();
        for plus in [None, Some(&out)] {
            let mut least = None;
            for size in 0..1200 {
                let mut room = vec![0xee; size];
                let mut listing = Listing::new(&mut room);
                let taken = entries().take_while(|e| listing.add(e, plus)).count();
                let Some(packed) = listing.packed() else {
                    assert_eq!(taken, 0);
                    least = Some(size);
                    continue;
                };
                assert!(packed <= size && packed % 8 == 0);
                assert!(room[packed..].iter().all(|&byte| byte == 0xee), "{size}");
                let found = unpack(&room[..packed], plus.is_some());
                let expected: Vec<_> = entries()
                    .map(|e| (e.ino, e.cookie, 1, e.name.to_vec()))
                    .take(taken)
                    .collect();
                assert_eq!(found, expected, "{size}");
            }
            let smallest = size_of::<Dirent>() + 8 + plus.map_or(0, |_| size_of::<EntryOut>());
            assert_eq!(least, Some(smallest - 1));
        }
    }

    #[test]
    fn an_empty_listing_is_no_lack_of_room() {
        assert_eq!(Listing::new(&mut []).packed(), Some(0));
    }
}
