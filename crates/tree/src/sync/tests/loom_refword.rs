//! Stories of the count that can die.

use super::super::refword::{Put, RefWord};
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
