use super::*;
use proptest::prelude::*;

const CHUNK: usize = 16;
type Small = Memory<CHUNK>;
const UNLIMITED: u64 = u64::MAX;

impl<const CHUNK: usize> Memory<CHUNK> {
    fn allocated(&self) -> u64 {
        let chunks = self.chunks_in(0..u64::MAX);
        chunks.map(|(_, chunk)| chunk.capacity() as u64).sum()
    }

    fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut buf = vec![0xee; len];
        self.read(offset, &mut buf);
        buf
    }
}

fn empty() -> (Arc<Ledger>, Small) {
    let ledger = Arc::default();
    let memory = Small::new(&ledger);
    (ledger, memory)
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

/// The bytes of the file as they should be.
struct Model {
    bytes: Vec<u8>,
}

impl Model {
    fn apply(&mut self, memory: &mut Small, step: &Step) {
        let inside = |at: usize, len: usize, size: usize| at.min(size)..(at + len).min(size);
        let size = self.bytes.len();
        match step {
            Step::Write(at, data) => {
                assert_eq!(memory.write(*at as u64, data, UNLIMITED), Ok(data.len()));
                self.bytes.resize(size.max(at + data.len()), 0);
                self.bytes[*at..at + data.len()].copy_from_slice(data);
            }
            Step::Truncate(size) => {
                memory.truncate(*size as u64);
                self.bytes.resize(*size, 0);
            }
            Step::Punch(at, len) => {
                memory.punch(*at as u64..(at + len) as u64);
                self.bytes[inside(*at, *len, size)].fill(0);
            }
            Step::Zero(at, len) => {
                memory.zero(*at as u64..(at + len) as u64);
                self.bytes[inside(*at, *len, size)].fill(0);
            }
            Step::Allocate(at, len) => {
                let range = *at as u64..(at + len) as u64;
                memory.allocate(range.clone(), UNLIMITED).unwrap();
                assert!(memory.next_hole(range.start) >= range.end);
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

    fn check(&self, memory: &Small) {
        let size = self.bytes.len() as u64;
        assert_eq!(memory.bytes(0, self.bytes.len()), self.bytes);
        assert!(
            memory.bytes(size, 200).iter().all(|&byte| byte == 0),
            "nothing behind the end"
        );
        assert_eq!(memory.charge.bytes(), memory.allocated());
        assert!(
            memory
                .chunks_in(0..u64::MAX)
                .all(|(_, chunk)| !chunk.is_empty())
        );
        let mut at = 0;
        while at < size {
            let data = memory.next_data(at).unwrap_or(size).min(size);
            assert!(
                self.bytes[at as usize..data as usize]
                    .iter()
                    .all(|&byte| byte == 0)
            );
            if data == size {
                break;
            }
            at = memory.next_hole(data);
            assert!(at > data);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn memory_behaves_as_a_vector_of_bytes(steps in prop::collection::vec(step(), 1..40)) {
        let (ledger, mut memory) = empty();
        let mut model = Model { bytes: Vec::new() };
        for step in &steps {
            model.apply(&mut memory, step);
            model.check(&memory);
        }
        memory.truncate(0);
        prop_assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_limit_is_never_passed_and_what_was_written_is_kept(
        max in 0..120u64,
        writes in prop::collection::vec((0..100u64, prop::collection::vec(1u8.., 1..50)), 1..20),
    ) {
        let (ledger, mut memory) = empty();
        let mut model = vec![0; 200];
        for (at, data) in &writes {
            match memory.write(*at, data, max) {
                Ok(n) => model[*at as usize..*at as usize + n].copy_from_slice(&data[..n]),
                Err(errno) => prop_assert_eq!(errno, Errno::NOSPC),
            }
            prop_assert!(ledger.used() <= max);
            prop_assert_eq!(memory.charge.bytes(), memory.allocated());
            prop_assert_eq!(&memory.bytes(0, 200), &model);
        }
    }
}

#[test]
fn holes_cost_nothing() {
    let (ledger, mut memory) = empty();
    memory.truncate(1 << 62);
    assert_eq!(memory.blocks(), 0);
    memory.write(1 << 40, b"x", UNLIMITED).unwrap();
    assert_eq!(ledger.used(), 1);
    assert_eq!(memory.next_data(0), Some(1 << 40));
    assert_eq!(memory.next_hole(1 << 40), (1 << 40) + 1);
    assert_eq!(memory.next_data((1 << 40) + 1), None);
}

#[test]
fn appending_allocates_by_doubling_up_to_a_chunk() {
    let (ledger, mut memory) = empty();
    let mut sizes = Vec::new();
    for at in 0..17 {
        memory.write(at, b"x", UNLIMITED).unwrap();
        sizes.push(ledger.used());
    }
    assert_eq!(sizes[..5], [1, 2, 4, 4, 8]);
    assert_eq!(sizes[8..], [16, 16, 16, 16, 16, 16, 16, 16, 17]);
}

#[test]
fn the_first_chunk_moves_without_a_copy() {
    let (_, mut memory) = empty();
    memory.write(0, &[1; CHUNK], UNLIMITED).unwrap();
    let before = memory.chunk(0).as_ptr();
    memory.write(CHUNK as u64, &[2; CHUNK], UNLIMITED).unwrap();
    assert_eq!(memory.chunk(0).as_ptr(), before);
}

#[test]
fn what_does_not_fit_is_not_allocated() {
    let (ledger, mut memory) = empty();
    memory.write(20, &[1; 4], 100).unwrap();
    assert_eq!(memory.allocate(0..200, 100), Err(Errno::NOSPC));
    assert_eq!(ledger.used(), 8);
    assert_eq!(memory.allocate(0..100, 100), Ok(()));
    assert_eq!(ledger.used(), 100);
}

#[test]
fn bytes_strewn_over_a_file_are_charged_a_page_each() {
    const PAGES: u64 = 100;
    let ledger = Arc::default();
    let mut memory = Memory::<{ 64 << 10 }>::new(&ledger);
    for page in 0..PAGES {
        assert_eq!(memory.write(page << 16, b"x", UNLIMITED), Ok(1));
    }
    assert_eq!(ledger.used(), (PAGES - 1) * 4096 + 1);
    for page in 0..PAGES {
        memory
            .write((page << 16) + 1, &[7; 60_000], UNLIMITED)
            .unwrap();
        memory.punch((page << 16) + 1..(page + 1) << 16);
    }
    assert_eq!(ledger.used(), (PAGES - 1) * 4096 + 1);
    memory
        .allocate(PAGES << 16..(PAGES << 16) + 1, UNLIMITED)
        .unwrap();
    assert_eq!(ledger.used(), PAGES * 4096 + 1);
    assert_eq!(memory.allocated(), ledger.used());
}
