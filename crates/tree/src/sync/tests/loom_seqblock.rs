//! Stories of the block that readers get whole or not at all.

use super::super::SeqBlock;
use super::super::primitive::{Ordering, fence};
use super::explore;
use loom::sync::atomic::AtomicBool;
use loom::sync::{Arc, Mutex};
use loom::thread;

/// Two writers that exclude each other; each write fills the block with one number. Three preemptions:
/// without a bound it takes more than three minutes.
#[test]
fn a_reader_never_gets_words_of_two_writes() {
    explore("seqblock: two writers, one reader", Some(3), || {
        let block = Arc::new((SeqBlock::new([0; 3]), Mutex::new(())));
        let writers: Vec<_> = [1, 2]
            .map(|value| {
                let block = Arc::clone(&block);
                thread::spawn(move || {
                    let _alone = block.1.lock().unwrap();
                    block.0.write(&[value; 3]);
                })
            })
            .into();
        if let Some((words, _)) = block.0.read::<3>() {
            assert_eq!(words, [words[0]; 3]);
        }
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(block.0.read::<3>().is_some());
    });
}

/// Evidence: if a version still holds at the end, what was read twice in between was the same.
#[test]
fn a_version_that_holds_covers_everything_read_under_it() {
    explore("seqblock: a version as evidence", None, || {
        let block = Arc::new(SeqBlock::new([0; 2]));
        let writer = {
            let block = Arc::clone(&block);
            thread::spawn(move || block.write(&[1, 1]))
        };
        if let Some(version) = block.version() {
            let (first, second) = (block.read::<2>(), block.read::<2>());
            if block.is(version) {
                assert_eq!(first, second);
                assert!(first.is_some_and(|(words, _)| words[0] == words[1]));
            }
        }
        writer.join().unwrap();
    });
}

/// Evidence of a part: a word that grows whenever another one changes vouches for that one, though not for the rest. Here a
/// directory is closed and only then a name is made in it: nobody finds the name and passes by the mode of before.
#[test]
fn a_word_that_holds_covers_what_it_counts() {
    const MODE: usize = 0;
    const STAMP: usize = 1;
    explore("seqblock: a word as evidence", None, || {
        let block = Arc::new((SeqBlock::new([0; 2]), AtomicBool::new(false)));
        let writer = {
            let block = Arc::clone(&block);
            thread::spawn(move || {
                block.0.write(&[1, 1]);
                block.1.store(true, Ordering::Release);
            })
        };
        if let Some((words, _)) = block.0.read::<2>() {
            let found = block.1.load(Ordering::Acquire);
            fence(Ordering::Acquire);
            if block.0.word(STAMP) == words[STAMP] {
                assert_eq!(words[MODE], words[STAMP], "a mode of another stamp");
                assert!(!found || words[MODE] == 1, "the mode of before");
            }
        }
        writer.join().unwrap();
    });
}
