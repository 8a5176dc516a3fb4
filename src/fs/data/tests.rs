use super::*;
use crate::fs::testing::{Broken, Fixed};
use proptest::prelude::*;
use std::ops::Range;

const CHUNK: usize = 16;
type Small = Content<CHUNK>;
const UNLIMITED: u64 = u64::MAX;

fn backed(source: impl Backing + 'static, size: u64) -> (Arc<Quota>, Small) {
    let quota = Arc::default();
    let content = Small::backed(&quota, Box::new(source), size);
    (quota, content)
}

fn bytes(content: &Small, offset: u64, len: usize) -> Vec<u8> {
    let mut buf = vec![0xee; len];
    content.read(offset, &mut buf).unwrap();
    buf
}

proptest! {
    #[test]
    fn a_source_cut_grown_copied_and_written_is_what_bytes_would_be(
        source in prop::collection::vec(any::<u8>(), 1..100),
        cuts in prop::collection::vec(0..150usize, 0..4),
        at in 0..150usize,
    ) {
        let (quota, mut content) = backed(Fixed(source.clone()), source.len() as u64);
        let mut model = source;
        for cut in cuts {
            content.truncate(cut as u64, 0);
            model.resize(cut, 0);
        }
        prop_assert_eq!(&bytes(&content, 0, model.len()), &model);
        prop_assert_eq!(quota.used(), 0);
        content.own(UNLIMITED).unwrap().write(at as u64, b"new", UNLIMITED).unwrap();
        model.resize(model.len().max(at + 3), 0);
        model[at..at + 3].copy_from_slice(b"new");
        prop_assert_eq!(&bytes(&content, 0, model.len()), &model);
        drop(content);
        prop_assert_eq!(quota.used(), 0);
    }
}

/// A source of ones in `data` and a hole around it.
struct Sparse {
    data: Range<u64>,
    size: u64,
}

impl Backing for Sparse {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let len = (self.size - offset).min(buf.len() as u64);
        for (at, byte) in (offset..offset + len).zip(buf.iter_mut()) {
            *byte = u8::from(self.data.contains(&at));
        }
        Ok(len as usize)
    }

    fn next_data(&self, offset: u64) -> Result<Option<u64>> {
        Ok((offset < self.data.end).then(|| offset.max(self.data.start)))
    }

    fn next_hole(&self, offset: u64) -> Result<Option<u64>> {
        Ok(Some(if self.data.contains(&offset) {
            self.data.end
        } else {
            offset
        }))
    }
}

#[test]
fn a_sparse_source_stays_sparse() {
    let (size, data) = (1 << 50, (1 << 49) + 3..(1 << 49) + 7);
    let sparse = Sparse {
        data: data.clone(),
        size,
    };
    let (quota, mut content) = backed(sparse, size);
    let check = |content: &Small| {
        assert_eq!(content.seek_hole(5, size), Ok(5));
        assert_eq!(content.seek_hole(data.end - 1, size), Ok(data.end));
        assert_eq!(content.seek_data(data.end + 100, size), Err(Errno::NXIO));
        assert_eq!(bytes(content, data.start - 1, 6), [0, 1, 1, 1, 1, 0]);
    };
    check(&content);
    assert_eq!(content.seek_data(5, size), Ok(data.start));
    let memory = content.own(UNLIMITED).unwrap();
    assert!(quota.used() <= CHUNK as u64);
    memory.punch(data.end..data.end + CHUNK as u64);
    check(&content);
}

#[test]
fn seeking_ends_at_the_size() {
    let (_, mut content) = backed(Fixed(vec![1; 40]), 40);
    for _ in 0..2 {
        assert_eq!(content.seek_data(39, 40), Ok(39));
        assert_eq!(content.seek_hole(0, 40), Ok(40));
        assert_eq!(content.seek_data(40, 40), Err(Errno::NXIO));
        assert_eq!(content.seek_hole(40, 40), Err(Errno::NXIO));
        assert_eq!(content.seek_hole(50, 60), Ok(50));
        content.own(UNLIMITED).unwrap();
    }
}

#[test]
fn a_copy_that_fails_leaves_the_content_backed() {
    let (quota, mut content) = backed(Broken, 40);
    assert_eq!(content.own(UNLIMITED).err(), Some(Errno::STALE));
    assert_eq!(quota.used(), 0);
    let (quota, mut content) = backed(Fixed(vec![1; 40]), 40);
    assert_eq!(content.own(39).err(), Some(Errno::NOSPC));
    assert_eq!(quota.used(), 0);
    assert_eq!(bytes(&content, 38, 4), [1, 1, 0, 0]);
    assert_eq!(content.own(40).map(|memory| memory.blocks()), Ok(1));
}

#[test]
fn a_source_that_ends_early_has_changed() {
    let (_, content) = backed(Fixed(vec![1; 10]), 40);
    assert_eq!(content.read(0, &mut [0; 20]), Err(Errno::STALE));
    assert_eq!(bytes(&content, 0, 10), [1; 10]);
}

#[test]
fn zeros_of_a_source_become_holes() {
    let mut source = vec![0; 10 * CHUNK];
    source[5 * CHUNK] = 1;
    let (quota, mut content) = backed(Fixed(source.clone()), source.len() as u64);
    content.own(UNLIMITED).unwrap();
    assert_eq!(quota.used(), CHUNK as u64 / 16);
    assert_eq!(bytes(&content, 0, source.len()), source);
}
