//! Stories of the count that can die.

use super::super::refword::{Era, Put, RefWord};
use super::{Body, explore};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

struct Object {
    refs: RefWord,
    body: Body,
    ends: AtomicUsize,
}

impl Object {
    fn new() -> Arc<Object> {
        Arc::new(Object {
            refs: RefWord::new(),
            body: Body::new(1),
            ends: AtomicUsize::new(0),
        })
    }

    fn kill(&self) {
        if self.refs.kill() {
            self.body.write(0);
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Works on the object if it is alive.
    fn visit(&self) {
        if self.refs.get() {
            assert_eq!(self.body.read(), 1, "worked on a dead object");
            if self.refs.put(1) == Put::Zero {
                self.kill();
            }
        }
    }
}

#[test]
fn of_a_visitor_and_two_killers_one_ends_it() {
    explore("refword: a visitor, two killers", None, || {
        let object = Object::new();
        let threads = [Object::visit, Object::kill].map(|act| {
            let object = Arc::clone(&object);
            thread::spawn(move || act(&object))
        });
        object.kill();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(object.refs.is_dead());
        assert_eq!(object.ends.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn of_two_visitors_the_last_ends_it() {
    explore("refword: two visitors", None, || {
        let object = Object::new();
        let other = {
            let object = Arc::clone(&object);
            thread::spawn(move || object.visit())
        };
        object.visit();
        other.join().unwrap();
        assert!(object.refs.is_dead());
        assert_eq!(object.ends.load(Ordering::Relaxed), 1);
    });
}

/// A peer that gives back more than it took (FORGET of an untold number) changes nothing.
#[test]
fn too_much_is_refused_beside_an_honest_put() {
    explore("refword: too much given back", None, || {
        let word = Arc::new(RefWord::new());
        assert!(word.get() && word.get());
        let liar = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.put(3))
        };
        assert_eq!(word.put(1), Put::Held);
        assert_eq!(liar.join().unwrap(), Put::Refused);
        assert_eq!(word.count(), 1);
    });
}

/// A word that another kernel was told of: whoever is told of it now, or ends it, makes it one of this era in the same step.
#[test]
fn of_one_who_is_told_and_one_who_ends_a_word_of_before_one_is_first() {
    explore("refword: told or ended in the next era", None, || {
        let next = Era::FIRST.next().unwrap();
        let word = Arc::new(RefWord::new());
        assert!(word.get() && word.get());
        let told = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                let told = word.get_in(next);
                told && word.put_in(next, 1) == Put::Zero && word.kill_in(next)
            })
        };
        let ended = word.kill_in(next);
        let ended_later = told.join().unwrap();
        assert!(ended != ended_later && word.is_dead());
    });
}
