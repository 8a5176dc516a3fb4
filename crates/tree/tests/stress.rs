//! Storms of renames: the work of a reader is bounded, writers get on, and no name is lost.

use norefs_tree::noref::ATTEMPTS;
use norefs_tree::{
    Attr, Credential, Errno, InodeRef, Kind, LinkTarget, NewInode, NodeId, Outcomes, PathArgs,
    RenameMode, Time, Tree,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

const _: () = assert!(ATTEMPTS <= 3);

const NOW: Time = Time { sec: 1, nsec: 0 };

fn attr(kind: Kind) -> Attr {
    let nlink = if kind == Kind::Directory { 2 } else { 1 };
    Attr {
        nlink,
        ..Attr::new(kind, 0o755, 0, 0, NOW)
    }
}

fn create<'t>(tree: &'t Tree, at: &InodeRef<'t>, name: &str, kind: Kind) -> InodeRef<'t> {
    let new = NewInode::plain(attr(kind));
    tree.create(at, name.as_bytes(), new, Some(NOW)).unwrap()
}

fn path(path: &str) -> PathArgs<'_> {
    PathArgs {
        at: NodeId::ROOT,
        path: path.as_bytes(),
        cred: &Credential::ROOT,
        follow: true,
    }
}

/// Every operation ends once, after at most as many attempts as it may make.
fn assert_bounded(outcomes: &Outcomes, operations: u64) {
    assert_eq!(outcomes.operations(), operations, "{outcomes:?}");
    let attempts = ATTEMPTS as u64;
    let fast = operations - outcomes.slow;
    let allowed = outcomes.slow * attempts + fast * (attempts - 1);
    assert!(outcomes.retries() <= allowed, "{outcomes:?}");
}

/// One thread renames an ancestor without a pause, others walk through it.
#[test]
fn a_reader_tries_a_bounded_number_of_times() {
    const WALKS: u64 = if cfg!(miri) { 40 } else { 20_000 };
    let tree = Tree::new(attr(Kind::Directory));
    let root = tree.root();
    let a = create(&tree, &root, "a", Kind::Directory);
    let b = create(&tree, &a, "b", Kind::Directory);
    let file = create(&tree, &b, "f", Kind::Regular).id();
    let (done, mut renames) = (AtomicBool::new(false), 0_u64);
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..WALKS / 2 {
                    match tree.stat(&path("a/b/f")) {
                        Ok(entry) => assert_eq!(entry.id, file),
                        Err(error) => assert_eq!(error, Errno::NOENT),
                    }
                }
            })
        });
        let done = &done;
        let writer = scope.spawn(|| {
            let root = tree.root();
            let names: [&[u8]; 2] = [b"a", b"x"];
            while !done.load(Ordering::Relaxed) {
                for (from, to) in [(names[0], names[1]), (names[1], names[0])] {
                    let mode = RenameMode::NoReplace;
                    tree.rename((&root, from), (&root, to), mode, NOW).unwrap();
                    renames += 1;
                }
            }
        });
        for reader in readers {
            reader.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    assert!(renames > 0);
    assert_bounded(&tree.outcomes(), WALKS);
    println!("{renames} renames, {:?}", tree.outcomes());
}

/// An adversary renames whenever an answer is about to be validated: no attempt can succeed, so the
/// locked walk answers after exactly as many as there may be.
#[cfg(feature = "failpoints")]
#[test]
fn an_adversary_cannot_keep_a_reader_busy() {
    use norefs_tree::failpoint::{self, Failpoint};
    use std::sync::Arc;

    let tree = Arc::new(Tree::new(attr(Kind::Directory)));
    let a = create(&tree, &tree.root(), "a", Kind::Directory).id();
    let _alone = HOOKED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let reader = std::thread::current().id();
    let adversary = {
        let tree = Arc::clone(&tree);
        move |failpoint| {
            if failpoint == Failpoint::BeforeValidate && std::thread::current().id() == reader {
                let root = tree.root();
                for (from, to) in [(&b"a"[..], &b"x"[..]), (b"x", b"a")] {
                    let mode = RenameMode::Replace;
                    tree.rename((&root, from), (&root, to), mode, NOW).unwrap();
                }
            }
        }
    };
    const TIMES: u64 = if cfg!(miri) { 3 } else { 100 };
    let installed = failpoint::install(adversary);
    for _ in 0..TIMES {
        assert_eq!(tree.stat(&path("a")).map(|entry| entry.id), Ok(a));
        assert_eq!(tree.lookup_path(&path("a")).map(|inode| inode.id()), Ok(a));
    }
    drop(installed);
    let outcomes = tree.outcomes();
    let lookups = tree.lookups();
    assert_eq!(outcomes.retry_edge, TIMES * ATTEMPTS as u64);
    assert_eq!((outcomes.fast, outcomes.slow), (0, TIMES));
    assert_eq!(lookups, outcomes);
}

/// Threads that each move files of their own between the same directories, with others that move the
/// directories themselves: every rename succeeds or says why, and every file keeps exactly one name.
#[test]
fn no_name_is_lost_in_a_storm() {
    const WRITERS: usize = 3;
    const FILES: usize = 4;
    const MOVES: usize = if cfg!(miri) { 20 } else { 3_000 };
    let tree = Tree::new(attr(Kind::Directory));
    let root = tree.root();
    let directories: Vec<InodeRef<'_>> = (0..4)
        .map(|number| create(&tree, &root, &format!("d{number}"), Kind::Directory))
        .collect();
    let files: Vec<Vec<NodeId>> = (0..WRITERS)
        .map(|writer| {
            let name = |file| format!("{writer}.{file}");
            let make = |file| create(&tree, &directories[0], &name(file), Kind::Regular).id();
            (0..FILES).map(make).collect()
        })
        .collect();
    let places: Vec<Vec<usize>> = std::thread::scope(|scope| {
        let movers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (tree, directories) = (&tree, &directories);
                scope.spawn(move || move_files::<FILES>(tree, directories, writer, MOVES))
            })
            .collect();
        scope.spawn(|| move_directories(&tree, &directories, MOVES));
        movers
            .into_iter()
            .map(|mover| mover.join().unwrap())
            .collect()
    });
    let mut expected = BTreeMap::new();
    for (writer, places) in places.iter().enumerate() {
        for (file, place) in places.iter().enumerate() {
            let name = format!("{writer}.{file}").into_bytes();
            expected.insert((*place, name), files[writer][file]);
        }
    }
    let listed: BTreeMap<_, _> = (0..4)
        .flat_map(|number| {
            list(&tree, &directories[number])
                .into_iter()
                .map(move |l| (number, l))
        })
        .filter(|(_, (name, _))| name[0].is_ascii_digit())
        .map(|(number, (name, id))| ((number, name), id))
        .collect();
    assert_eq!(listed, expected);
    for ((number, name), id) in expected {
        let found = tree.child(&directories[number], &name);
        assert_eq!(found.map(|inode| (inode.id(), inode.links())), Ok((id, 1)));
    }
    assert_eq!(tree.inodes(), (1 + 4 + WRITERS * FILES) as u64);
}

/// Moves the writer's files round the directories; gives where each one ended.
fn move_files<const FILES: usize>(
    tree: &Tree,
    directories: &[InodeRef<'_>],
    writer: usize,
    moves: usize,
) -> Vec<usize> {
    let mut places = vec![0; FILES];
    for number in 0..moves {
        let file = number % FILES;
        let name = format!("{writer}.{file}").into_bytes();
        let to = (places[file] + 1 + (number / FILES + writer) % 3) % 4;
        let (from_dir, to_dir) = (
            tree.get(directories[places[file]].id()),
            tree.get(directories[to].id()),
        );
        let (from, to_dir) = (from_dir.unwrap(), to_dir.unwrap());
        tree.rename((&from, &name), (&to_dir, &name), RenameMode::NoReplace, NOW)
            .expect("nobody else touches this name");
        places[file] = to;
    }
    places
}

/// Moves directories below each other and back.
fn move_directories(tree: &Tree, directories: &[InodeRef<'_>], moves: usize) {
    let root = tree.root();
    let get = |number: usize| tree.get(directories[number].id()).unwrap();
    for number in 0..moves {
        let (below, moved) = (get(number % 3), 1 + number % 3);
        let name = format!("d{moved}").into_bytes();
        let there = tree.rename((&root, &name), (&below, &name), RenameMode::Replace, NOW);
        match there {
            Ok(_) => {
                let into_itself =
                    tree.rename((&root, b"d0"), (&below, b"d0"), RenameMode::Replace, NOW);
                assert!(number % 3 != 0 || into_itself == Err(Errno::INVAL));
                if into_itself.is_ok() {
                    let back =
                        tree.rename((&below, b"d0"), (&root, b"d0"), RenameMode::Replace, NOW);
                    assert!(back.is_ok());
                }
                let back = tree.rename((&below, &name), (&root, &name), RenameMode::Replace, NOW);
                assert!(back.is_ok());
            }
            Err(error) => assert_eq!(error, Errno::INVAL),
        }
    }
}

fn list(tree: &Tree, directory: &InodeRef<'_>) -> Vec<(Vec<u8>, NodeId)> {
    let directory = tree.get(directory.id()).unwrap();
    let mut listed = Vec::new();
    tree.read_dir(&directory, 0, |entry| {
        listed.push((entry.name.to_vec(), entry.id));
        ControlFlow::Continue(())
    })
    .unwrap();
    listed
}

/// A directory grows and shrinks, and a link is made anew, while others read: what is replaced stays readable until they let go.
/// It is the memory behind pointers that is tried here, which a sanitizer sees better than an assertion.
#[test]
fn what_is_replaced_is_read_to_the_end() {
    const ROUNDS: usize = if cfg!(miri) { 2 } else { 30 };
    const NAMES: usize = if cfg!(miri) { 20 } else { 300 };
    const TARGETS: [&[u8]; 2] = [b"here", b"somewhere/else"];
    let tree = Tree::new(attr(Kind::Directory));
    let root = tree.root();
    let kept = create(&tree, &root, "kept", Kind::Regular).id();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut target = LinkTarget::new();
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(tree.stat(&path("kept")).map(|entry| entry.id), Ok(kept));
                    match tree.readlink(&path("link"), &mut target) {
                        Ok(()) => assert!(TARGETS.contains(&&target[..])),
                        Err(error) => assert_eq!(error, Errno::NOENT),
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            let link = NewInode {
                target: Some(TARGETS[round % 2]),
                ..NewInode::plain(attr(Kind::Symlink))
            };
            tree.create(&root, b"link", link, Some(NOW)).unwrap();
            let names = |number| format!("{number}");
            (0..NAMES).for_each(|n| _ = create(&tree, &root, &names(n), Kind::Regular));
            tree.unlink(&root, b"link", NOW).unwrap();
            for number in 0..NAMES {
                tree.unlink(&root, names(number).as_bytes(), NOW).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(tree.inodes(), 2);
}

/// Files are made, looked up, forgotten and removed by all at once: the slots are used again and
/// again, no old id finds a new file, and at the end nothing is left.
#[test]
fn ids_stay_unique_while_slots_are_reused() {
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 3_000 };
    let tree = Tree::new(attr(Kind::Directory));
    let all: Vec<Vec<NodeId>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let tree = &tree;
                scope.spawn(move || make_and_remove(tree, thread, ROUNDS))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut ids: Vec<NodeId> = all.into_iter().flatten().collect();
    let made = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), made, "an id was used twice");
    for id in ids {
        assert_eq!(tree.stat_node(id), Err(Errno::STALE));
    }
    assert_eq!(tree.inodes(), 1);
    assert!(list(&tree, &tree.root()).is_empty());
}

fn make_and_remove(tree: &Tree, thread: usize, rounds: usize) -> Vec<NodeId> {
    let root = tree.root();
    let mut made = Vec::new();
    for round in 0..rounds {
        let name = format!("{}", round % 3).into_bytes();
        let size = (thread * rounds + round) as u64;
        let new = NewInode::plain(Attr {
            size,
            ..attr(Kind::Regular)
        });
        if let Ok(file) = tree.create(&root, &name, new, Some(NOW)) {
            let id = file.id();
            made.push(id);
            assert_eq!(tree.stat_node(id).map(|attr| attr.size), Ok(size));
        }
        if let Ok(Some(entry)) = tree.lookup(NodeId::ROOT, &name) {
            // The client knows it: whoever removes the name, the id leads to the same file.
            let _ = tree.unlink(&root, &name, NOW);
            assert_eq!(
                tree.stat_node(entry.id).map(|attr| attr.size),
                Ok(entry.attr.size)
            );
            assert!(tree.forget(entry.id, 1));
        } else {
            let _ = tree.unlink(&root, &name, NOW);
        }
    }
    for name in [b"0", b"1", b"2"] {
        let _ = tree.unlink(&root, name, NOW);
    }
    made
}

/// One thread removes a directory while another makes a file in it: one of the two fails, so nothing
/// is ever in a directory that was removed.
#[test]
fn nothing_is_made_in_a_removed_directory() {
    const ROUNDS: usize = if cfg!(miri) { 10 } else { 400 };
    let tree = Tree::new(attr(Kind::Directory));
    let barrier = Barrier::new(2);
    let turn = |make: bool| {
        let mut succeeded = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let root = tree.root();
            if make {
                create(&tree, &root, "d", Kind::Directory);
            }
            barrier.wait();
            let directory = tree.child(&root, b"d").unwrap();
            barrier.wait();
            succeeded.push(match make {
                true => {
                    let new = NewInode::plain(attr(Kind::Regular));
                    tree.create(&directory, b"f", new, Some(NOW)).is_ok()
                }
                false => tree.rmdir(&root, b"d", NOW).is_ok(),
            });
            barrier.wait();
            if make {
                let _ = tree.unlink(&directory, b"f", NOW);
                let _ = tree.rmdir(&root, b"d", NOW);
                assert!(list(&tree, &directory).is_empty());
            }
        }
        succeeded
    };
    let (made, removed) = std::thread::scope(|scope| {
        let remover = scope.spawn(|| turn(false));
        (turn(true), remover.join().unwrap())
    });
    for (made, removed) in made.into_iter().zip(removed) {
        assert_ne!(made, removed, "exactly one of the two succeeds");
    }
    assert_eq!(tree.inodes(), 1);
}

/// Hooks are for one test at a time.
#[cfg(feature = "failpoints")]
static HOOKED: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// Two threads move two directories into each other: at most one succeeds, and both stay reachable.
/// Each lets the other one come as far as it can before it locks.
#[cfg(feature = "failpoints")]
#[test]
fn directories_never_go_in_circles() {
    use norefs_tree::failpoint::{self, Failpoint};

    const ROUNDS: usize = if cfg!(miri) { 10 } else { 100 };
    let _alone = HOOKED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let _installed = failpoint::install(|failpoint| {
        if failpoint == Failpoint::BeforeBothLocks {
            (0..20).for_each(|_| std::thread::yield_now());
        }
    });
    let tree = Tree::new(attr(Kind::Directory));
    for name in ["0", "1"] {
        create(&tree, &tree.root(), name, Kind::Directory);
    }
    let barrier = Barrier::new(2);
    let turn = |moved: &[u8], into: &[u8]| {
        let root = tree.root();
        let directory = tree.child(&root, into).unwrap();
        for _ in 0..ROUNDS {
            barrier.wait();
            let mode = RenameMode::NoReplace;
            let there = tree.rename((&root, moved), (&directory, moved), mode, NOW);
            barrier.wait();
            if there.is_ok() {
                assert_eq!(tree.parent(&directory).map(|up| up.id()), Ok(NodeId::ROOT));
                let back = tree.rename((&directory, moved), (&root, moved), mode, NOW);
                assert!(back.is_ok());
            }
            barrier.wait();
            assert_eq!(list(&tree, &root).len(), 2, "a directory was lost");
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| turn(b"0", b"1"));
        turn(b"1", b"0");
    });
}
