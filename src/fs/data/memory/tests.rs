use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const CHUNK: usize = 16;
type Small = Memory<CHUNK>;
const UNLIMITED: u64 = u64::MAX;

impl<const CHUNK: usize> Memory<CHUNK> {
    fn allocated(&self) -> u64 {
        let chunks = self.chunks_in(0..u64::MAX);
        chunks.map(|(_, bytes, _)| bytes.capacity() as u64).sum()
    }

    fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; len];
        self.read(offset, &mut buf);
        buf
    }
}

impl Quota {
    fn fail_growth_after(&self, times: u64) {
        self.growths_left
            .store(times, std::sync::atomic::Ordering::Relaxed);
    }
}

fn empty() -> (Arc<Quota>, Small) {
    let quota = Arc::default();
    let memory = Small::new(&quota);
    (quota, memory)
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Vec<u8>),
    Truncate(usize),
    Punch(usize, usize),
    Zero(usize, usize),
    Allocate(usize, usize),
    Read(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..100usize;
    let len = 1..50usize;
    prop_oneof![
        4 => (at.clone(), prop::collection::vec(1u8.., 1..50)).prop_map(|(at, data)| Step::Write(at, data)),
        2 => at.clone().prop_map(Step::Truncate),
        2 => (at.clone(), len.clone()).prop_map(|(at, len)| Step::Punch(at, len)),
        1 => (at.clone(), len.clone()).prop_map(|(at, len)| Step::Zero(at, len)),
        1 => (at.clone(), len.clone()).prop_map(|(at, len)| Step::Allocate(at, len)),
        2 => (at, len).prop_map(|(at, len)| Step::Read(at, len)),
    ]
}

/// The bytes of the file as they should be, and which of its pages are data.
struct Model<const CHUNK: usize> {
    bytes: Vec<u8>,
    pages: BTreeSet<usize>,
}

impl<const CHUNK: usize> Model<CHUNK> {
    const PAGE: usize = CHUNK / 16;

    fn new() -> Self {
        Model {
            bytes: Vec::new(),
            pages: BTreeSet::new(),
        }
    }

    fn touched(at: usize, len: usize) -> Range<usize> {
        at / Self::PAGE..(at + len).div_ceil(Self::PAGE)
    }

    fn apply(&mut self, memory: &mut Memory<CHUNK>, step: &Step) {
        let inside = |at: usize, len: usize, size: usize| at.min(size)..(at + len).min(size);
        let size = self.bytes.len();
        match step {
            Step::Write(at, data) => {
                assert_eq!(memory.write(*at as u64, data, UNLIMITED), Ok(data.len()));
                self.bytes.resize(size.max(at + data.len()), 0);
                self.bytes[*at..at + data.len()].copy_from_slice(data);
                self.pages.extend(Self::touched(*at, data.len()));
            }
            Step::Truncate(size) => {
                memory.truncate(*size as u64);
                self.bytes.resize(*size, 0);
                self.pages.retain(|page| page * Self::PAGE < *size);
            }
            Step::Punch(at, len) => {
                memory.punch(*at as u64..(at + len) as u64);
                self.bytes[inside(*at, *len, size)].fill(0);
                let whole = at.div_ceil(Self::PAGE)..(at + len) / Self::PAGE;
                self.pages.retain(|page| !whole.contains(page));
            }
            Step::Zero(at, len) => {
                memory.zero(*at as u64..(at + len) as u64);
                self.bytes[inside(*at, *len, size)].fill(0);
            }
            Step::Allocate(at, len) => {
                let range = *at as u64..(at + len) as u64;
                memory.allocate(range, UNLIMITED).unwrap();
                self.pages.extend(Self::touched(*at, *len));
            }
            Step::Read(at, len) => {
                let span = inside(*at, *len, size);
                assert_eq!(
                    memory.bytes(span.start as u64, span.len()),
                    self.bytes[span]
                );
            }
        }
    }

    fn check(&self, memory: &Memory<CHUNK>) {
        let size = self.bytes.len() as u64;
        assert_eq!(memory.bytes(0, self.bytes.len()), self.bytes);
        assert!(
            memory.bytes(size, 200).iter().all(|&byte| byte == 0),
            "nothing behind the end"
        );
        assert_eq!(memory.charge.bytes(), memory.allocated());
        let chunks: Vec<_> = memory.chunks_in(0..u64::MAX).collect();
        for (_, bytes, pages) in chunks {
            let length = pages.count_ones() as usize * Self::PAGE;
            assert!((length + 1 - Self::PAGE..=length).contains(&bytes.len()));
        }
        let blocks = (self.pages.len() * Self::PAGE).div_ceil(512);
        assert_eq!(memory.blocks(), blocks as u64);
        for at in 0..200 {
            let page = at / Self::PAGE;
            let start = |page: usize| at.max(page * Self::PAGE) as u64;
            let data = self.pages.range(page..).next().copied();
            assert_eq!(memory.next_data(at as u64), data.map(start), "{at}");
            let hole = (page..).find(|page| !self.pages.contains(page));
            assert_eq!(Some(memory.next_hole(at as u64)), hole.map(start), "{at}");
        }
    }
}

fn behaves<const CHUNK: usize>(steps: &[Step]) {
    let quota = Arc::default();
    let mut memory = Memory::<CHUNK>::new(&quota);
    let mut model = Model::new();
    for step in steps {
        model.apply(&mut memory, step);
        model.check(&memory);
    }
    memory.truncate(0);
    assert_eq!(quota.used(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn memory_behaves_as_a_vector_of_bytes(steps in prop::collection::vec(step(), 1..40)) {
        behaves::<16>(&steps);
        behaves::<64>(&steps);
    }

    #[test]
    fn what_cannot_be_allocated_changes_nothing(
        steps in prop::collection::vec(step(), 1..20),
        at in 0..100u64,
        len in 1..200u64,
        fails_at in 0..16u64,
    ) {
        let quota = Arc::default();
        let mut memory = Memory::<64>::new(&quota);
        let mut model = Model::new();
        for step in &steps {
            model.apply(&mut memory, step);
        }
        let used = quota.used();
        // Either the limit is too low, or memory runs out when some of it is there.
        let max = match fails_at {
            0 => used,
            _ => UNLIMITED,
        };
        quota.fail_growth_after(fails_at);
        let allocated = memory.allocate(at..at + len, max);
        quota.fail_growth_after(u64::MAX);
        if allocated.is_ok() {
            model.pages.extend(Model::<64>::touched(at as usize, len as usize));
        } else {
            prop_assert_eq!(allocated, Err(Errno::NOSPC));
            prop_assert!(quota.used() <= used);
        }
        model.check(&memory);
    }

    #[test]
    fn a_limit_is_never_passed_and_what_was_written_is_kept(
        max in 0..120u64,
        writes in prop::collection::vec((0..100u64, prop::collection::vec(1u8.., 1..50)), 1..20),
    ) {
        let (quota, mut memory) = empty();
        let mut model = vec![0; 200];
        for (at, data) in &writes {
            match memory.write(*at, data, max) {
                Ok(n) => model[*at as usize..*at as usize + n].copy_from_slice(&data[..n]),
                Err(errno) => prop_assert_eq!(errno, Errno::NOSPC),
            }
            prop_assert!(quota.used() <= max);
            prop_assert_eq!(memory.charge.bytes(), memory.allocated());
            prop_assert_eq!(&memory.bytes(0, 200), &model);
        }
    }
}

#[test]
fn holes_cost_nothing() {
    let (quota, mut memory) = empty();
    memory.truncate(1 << 62);
    assert_eq!(memory.blocks(), 0);
    memory.write(1 << 40, b"x", UNLIMITED).unwrap();
    assert_eq!(quota.used(), 1);
    assert_eq!(memory.next_data(0), Some(1 << 40));
    assert_eq!(memory.next_hole(1 << 40), (1 << 40) + 1);
    assert_eq!(memory.next_data((1 << 40) + 1), None);
}

#[test]
fn appending_allocates_by_doubling_up_to_a_chunk() {
    let (quota, mut memory) = empty();
    let mut sizes = Vec::new();
    for at in 0..17 {
        memory.write(at, b"x", UNLIMITED).unwrap();
        sizes.push(quota.used());
    }
    assert_eq!(sizes[..5], [1, 2, 4, 4, 8]);
    assert_eq!(sizes[8..], [16, 16, 16, 16, 16, 16, 16, 16, 17]);
}

#[test]
fn the_first_chunk_moves_without_a_copy() {
    let (_, mut memory) = empty();
    memory.write(0, &[1; CHUNK], UNLIMITED).unwrap();
    let before = memory.chunk(0).0.as_ptr();
    memory.write(CHUNK as u64, &[2; CHUNK], UNLIMITED).unwrap();
    assert_eq!(memory.chunk(0).0.as_ptr(), before);
}

#[test]
fn what_does_not_fit_is_not_allocated() {
    let (quota, mut memory) = empty();
    memory.write(20, &[1; 4], 100).unwrap();
    assert_eq!(memory.allocate(0..200, 100), Err(Errno::NOSPC));
    assert_eq!(quota.used(), 4);
    assert_eq!(memory.allocate(0..100, 100), Ok(()));
    assert_eq!(quota.used(), 100);
}

#[test]
fn bytes_strewn_over_a_file_are_charged_a_page_each() {
    const PAGES: u64 = 100;
    let quota = Arc::default();
    let mut memory = Memory::<{ 64 << 10 }>::new(&quota);
    for page in 0..PAGES {
        assert_eq!(memory.write(page << 16, b"x", UNLIMITED), Ok(1));
    }
    assert_eq!(quota.used(), (PAGES - 1) * 4096 + 1);
    for page in 0..PAGES {
        memory
            .write((page << 16) + 1, &[7; 60_000], UNLIMITED)
            .unwrap();
        memory.punch((page << 16) + 1..(page + 1) << 16);
    }
    assert_eq!(quota.used(), (PAGES - 1) * 4096 + 1);
    memory
        .allocate(PAGES << 16..(PAGES << 16) + 1, UNLIMITED)
        .unwrap();
    assert_eq!(quota.used(), PAGES * 4096 + 1);
    assert_eq!(memory.allocated(), quota.used());
}
