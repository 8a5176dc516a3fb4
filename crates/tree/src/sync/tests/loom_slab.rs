//! Stories of slots that are used again.

use super::super::primitive::{AtomicU32, Ordering};
use super::super::refword::{Put, RefWord};
use super::super::{Segmented, Segments, Slab, Slot};
use super::{Body, explore};
use loom::sync::Arc;
use loom::thread;

struct Place {
    link: AtomicU32,
    generation: AtomicU32,
    refs: RefWord,
    body: Body,
}

impl Default for Place {
    fn default() -> Place {
        Place {
            link: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            refs: RefWord::new(),
            body: Body::new(0),
        }
    }
}

impl Segmented for Place {
    const SEGMENT_BITS: u32 = 2;
}

impl Slot for Place {
    fn free_link(&self) -> &AtomicU32 {
        &self.link
    }
}

/// Takes a slot, uses it as its only owner, gives it back.
fn use_one(slab: &Slab<Place>, value: u32) {
    let index = slab.take().unwrap();
    let place = slab.at(index);
    place.body.write(value);
    assert_eq!(place.body.read(), value, "two owners");
    slab.free(index);
}

#[test]
fn a_slot_has_one_owner_at_a_time() {
    explore("slab: two take and free, one slot free", None, || {
        let slab = Arc::new(Slab::<Place>::default());
        use_one(&slab, 9);
        let other = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || use_one(&slab, 1))
        };
        use_one(&slab, 2);
        other.join().unwrap();
    });
}

#[test]
fn slots_freed_at_once_are_all_found_again() {
    explore("slab: two free at once", None, || {
        let slab = Arc::new(Slab::<Place>::default());
        let taken = [slab.take().unwrap(), slab.take().unwrap()];
        let other = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || slab.free(taken[0]))
        };
        slab.free(taken[1]);
        other.join().unwrap();
        let mut again = [slab.take().unwrap(), slab.take().unwrap()];
        again.sort_unstable();
        assert_eq!(again, taken);
    });
}

const OLD: u32 = 1;

/// Somebody who still has the node id of an earlier life asks for the inode: count first, compare
/// second, and then the inode is what the id says until the count is given back.
#[test]
fn an_old_id_never_leads_to_the_next_life() {
    explore("slab: id lookup beside retire and reuse", None, || {
        let slab = Arc::new(Slab::<Place>::default());
        let index = slab.take().unwrap();
        slab.at(index).body.write(OLD);
        slab.at(index).generation.store(OLD, Ordering::Relaxed);
        let owner = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                let place = slab.at(index);
                if place.refs.kill() {
                    place.generation.store(OLD + 1, Ordering::Relaxed);
                    slab.free(index);
                    let next = slab.take().unwrap();
                    assert_eq!(next, index);
                    place.body.write(OLD + 1);
                    place.refs.renew();
                }
            })
        };
        let place = slab.at(index);
        if place.refs.get() {
            if place.generation.load(Ordering::Relaxed) == OLD {
                assert_eq!(place.body.read(), OLD);
            }
            assert_eq!(place.refs.put(1), Put::Zero);
        }
        owner.join().unwrap();
        assert_eq!(place.refs.count(), 0, "counts of two lives got mixed");
    });
}

/// Any number may be looked up while the slab grows: what is found is filled in.
#[test]
fn a_slot_that_is_found_is_filled_in() {
    explore("slab: lookup beside the first take", None, || {
        let slab = Arc::new(Slab::<Place>::default());
        let reader = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                if let Some(place) = slab.get(1) {
                    assert_eq!(place.generation.load(Ordering::Relaxed), 0);
                }
            })
        };
        assert_eq!(slab.take(), Ok(1));
        reader.join().unwrap();
    });
}

/// What a slot has as soon as it can be found.
const MADE: u32 = 99;

/// A slot that takes more than one step to fill in.
struct Made {
    link: AtomicU32,
    word: AtomicU32,
}

impl Default for Made {
    fn default() -> Made {
        let word = AtomicU32::new(0);
        word.store(MADE, Ordering::Relaxed);
        Made {
            link: AtomicU32::new(0),
            word,
        }
    }
}

impl Segmented for Made {
    const SEGMENT_BITS: u32 = 2;
}

impl Slot for Made {
    fn free_link(&self) -> &AtomicU32 {
        &self.link
    }
}

/// The slab grows by a segment beside a reader of a slot it has and of one it gets.
#[test]
fn growth_moves_no_slot_and_shows_only_what_is_filled_in() {
    explore("slab: a new segment beside lookups", None, || {
        let slab = Arc::new(Slab::<Made>::default());
        // The first segment has the slots 0 to 3, of which 0 is nobody's.
        for index in 1..4 {
            assert_eq!(slab.take(), Ok(index));
            slab.at(index).word.store(index, Ordering::Relaxed);
        }
        let word = |slab: &Slab<Made>, index| {
            let place = slab.get(index);
            place.map(|place| place.word.load(Ordering::Relaxed))
        };
        let reader = {
            let slab = Arc::clone(&slab);
            thread::spawn(move || {
                assert!(matches!(word(&slab, 5), None | Some(MADE)));
                assert_eq!(word(&slab, 3), Some(3));
            })
        };
        assert_eq!(slab.take(), Ok(4));
        reader.join().unwrap();
        assert_eq!(word(&slab, 5), Some(MADE));
    });
}

/// Arrays beside a slab grow with the numbers it gives out, whoever comes first: a segment is made once.
#[test]
fn two_that_need_a_new_segment_share_it() {
    explore("segments: two reach for one", None, || {
        let array = Arc::new(Segments::<Made>::default());
        let mark = |array: &Segments<Made>, index| {
            array.reach(index).unwrap();
            array.at(index).word.store(index, Ordering::Relaxed);
        };
        let other = {
            let array = Arc::clone(&array);
            thread::spawn(move || mark(&array, 1))
        };
        mark(&array, 2);
        other.join().unwrap();
        for index in [1, 2] {
            assert_eq!(array.at(index).word.load(Ordering::Relaxed), index);
        }
    });
}
