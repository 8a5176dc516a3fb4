//! Stories of the two counts and the links that decide together when an object ends.

use super::super::primitive::{AtomicU32, Mutex};
use super::super::{Era, Lifetime, Verdict};
use super::{Body, explore};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// An inode, most often with one name.
struct Inode {
    life: Lifetime,
    links: AtomicU32,
    /// The life this slot is in, under the lock.
    generation: Mutex<u32>,
    body: Body,
    ends: AtomicUsize,
}

const BORN: u32 = 1;

impl Inode {
    fn new(refs: u32, nlookup: u32) -> Arc<Inode> {
        Inode::with_links(1, refs, nlookup)
    }

    fn with_links(links: u32, refs: u32, nlookup: u32) -> Arc<Inode> {
        let inode = Inode {
            life: Lifetime::default(),
            links: AtomicU32::new(links),
            generation: Mutex::new(BORN),
            body: Body::new(7),
            ends: AtomicUsize::new(0),
        };
        for _ in 0..refs {
            assert!(inode.life.refs.get());
        }
        for _ in 0..nlookup {
            assert!(inode.life.nlookup.get());
        }
        Arc::new(inode)
    }

    fn end_if_unheld(&self, generation: &mut u32) {
        if *generation == BORN && self.life.try_end(Era::FIRST, &self.links) == Verdict::Ended {
            self.body.write(0);
            *generation += 1;
            self.ends.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn unlink(&self) {
        let mut generation = self.generation.lock();
        if Lifetime::drop_link(&self.links) == 0 {
            self.end_if_unheld(&mut generation);
        }
    }

    fn forget(&self) {
        if self
            .life
            .forget(Era::FIRST, 1, &self.links)
            .expect("it was told")
        {
            self.end_if_unheld(&mut self.generation.lock());
        }
    }

    fn put(&self) {
        assert_eq!(self.body.read(), 7, "ended under a reference");
        if self.life.put_ref(&self.links) {
            self.end_if_unheld(&mut self.generation.lock());
        }
    }

    /// Gives it a name, unless the client has forgotten it when it had none.
    fn link(&self) -> bool {
        let _alone = self.generation.lock();
        let known = !self.life.nlookup.is_dead();
        if known {
            self.links.store(1, Ordering::Relaxed);
        }
        known
    }

    /// LOOKUP's reply and the FORGET that follows it one day.
    fn lookup_then_forget(&self) {
        if self.life.nlookup.get() {
            assert_eq!(self.body.read(), 7, "ended while the client knows it");
            self.forget();
        }
    }

    /// Somebody who has the node id works on the inode, if it is still there.
    fn visit(&self) {
        if self.life.refs.get() {
            self.put();
        }
    }
}

fn ends_once(
    name: &str,
    preemptions: Option<usize>,
    (refs, nlookup): (u32, u32),
    acts: &'static [fn(&Inode)],
) {
    explore(name, preemptions, move || {
        let inode = Inode::new(refs, nlookup);
        let threads: Vec<_> = acts[1..]
            .iter()
            .map(|act| {
                let inode = Arc::clone(&inode);
                thread::spawn(move || act(&inode))
            })
            .collect();
        acts[0](&inode);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(inode.ends.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn unlink_beside_forget() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::forget];
    ends_once("lifetime: unlink, forget", None, (0, 1), acts);
}

#[test]
fn unlink_beside_the_last_put() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::put];
    ends_once("lifetime: unlink, put", None, (1, 0), acts);
}

#[test]
fn unlink_beside_lookup_and_its_forget() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::lookup_then_forget];
    ends_once("lifetime: unlink, lookup + forget", None, (0, 0), acts);
}

#[test]
fn unlink_beside_forget_and_lookup() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::forget, Inode::lookup_then_forget];
    ends_once(
        "lifetime: unlink, forget, lookup + forget",
        None,
        (0, 1),
        acts,
    );
}

#[test]
fn unlink_beside_forget_and_put() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::forget, Inode::put];
    ends_once("lifetime: unlink, forget, put", None, (1, 1), acts);
}

#[test]
fn unlink_beside_forget_and_visit() {
    let acts: &[fn(&Inode)] = &[Inode::unlink, Inode::forget, Inode::visit];
    ends_once("lifetime: unlink, forget, visit", None, (0, 1), acts);
}

/// A file is made without a name: told to the client, which forgets it one day, and let go. Somebody who
/// guessed its node id looks in meanwhile.
#[test]
fn a_nameless_inode_ends_once_beside_a_visit() {
    explore("lifetime: born nameless, visit", None, || {
        let inode = Inode::with_links(0, 1, 0);
        let guest = {
            let inode = Arc::clone(&inode);
            thread::spawn(move || inode.visit())
        };
        assert!(inode.life.nlookup.get());
        inode.put();
        assert_eq!(inode.ends.load(Ordering::Relaxed), 0, "the client knows it");
        inode.forget();
        guest.join().unwrap();
        assert_eq!(inode.ends.load(Ordering::Relaxed), 1);
    });
}

/// Somebody who holds a nameless inode names it while the client forgets it: the forgetter found no name,
/// but decides under the lock. It lives with the name or ends without one.
#[test]
fn a_nameless_inode_is_named_or_ends() {
    explore("lifetime: name, forget", None, || {
        let inode = Inode::with_links(0, 1, 1);
        let linker = {
            let inode = Arc::clone(&inode);
            thread::spawn(move || {
                let named = inode.link();
                inode.put();
                named
            })
        };
        inode.forget();
        let named = linker.join().unwrap();
        assert_eq!(inode.ends.load(Ordering::Relaxed), usize::from(!named));
    });
}

/// The name it got goes again at once.
#[test]
fn a_name_that_came_and_went_keeps_nothing() {
    explore("lifetime: name, unlink, forget", None, || {
        let inode = Inode::with_links(0, 1, 1);
        let linker = {
            let inode = Arc::clone(&inode);
            thread::spawn(move || {
                if inode.link() {
                    inode.unlink();
                }
                inode.put();
            })
        };
        inode.forget();
        linker.join().unwrap();
        assert_eq!(inode.ends.load(Ordering::Relaxed), 1);
    });
}
