//! The proof that the no-reference operations write to nothing the tree consists of.
//!
//! A tree is built in an arena of pages of its own: every allocation it makes comes from there. Then the
//! pages are made read-only for all threads, and two threads call the operations a million times. A
//! reference, a lock, a shared counter: whatever lies in the tree and is written to ends the process
//! with SIGSEGV. That the seal holds is shown by the referenced forms, which must end so.

use super::{
    Attr, Credential, Errno, Kind, LinkTarget, Mask, NewInode, NodeId, PathArgs, Time, Tree,
};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::num::NonZeroU64;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::null_mut;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const ARENA: usize = 256 << 20;
/// Calls of each thread.
const CALLS: usize = 500_000;
/// Says to a child process which operation to try under the seal.
const TRY: &str = "NOREFS_TRY_UNDER_THE_SEAL";

/// The system's allocator; in a thread that builds in the arena, the arena.
struct Arena {
    start: AtomicUsize,
    used: AtomicUsize,
}

thread_local! {
    static BUILDS: Cell<bool> = const { Cell::new(false) };
}

#[global_allocator]
static ARENA_OR_SYSTEM: Arena = Arena {
    start: AtomicUsize::new(0),
    used: AtomicUsize::new(0),
};

// SAFETY: memory of the arena is handed out once and never again, in pieces that do not overlap and are
// aligned as asked; everything else is the system's allocator.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !BUILDS.get() {
            // SAFETY: the caller's promises are passed on.
            return unsafe { System.alloc(layout) };
        }
        let start = self.start.load(Ordering::Relaxed);
        let taken = self
            .used
            .fetch_add(layout.size() + layout.align(), Ordering::Relaxed);
        let place = (start + taken).next_multiple_of(layout.align());
        match place + layout.size() <= start + ARENA {
            true => std::ptr::with_exposed_provenance_mut(place),
            false => null_mut(),
        }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let start = self.start.load(Ordering::Relaxed);
        if start == 0 || !(start..start + ARENA).contains(&place.addr()) {
            // SAFETY: what does not lie in the arena came from the system's allocator.
            unsafe { System.dealloc(place, layout) }
        }
    }
}

/// Runs `build` so that all it allocates lies in the arena.
fn in_arena<T>(build: impl FnOnce() -> T) -> T {
    let (access, flags) = (
        ProtFlags::READ | ProtFlags::WRITE,
        MapFlags::PRIVATE | MapFlags::NORESERVE,
    );
    // SAFETY: a new mapping, at an address the kernel chooses.
    let start = unsafe { rustix::mm::mmap_anonymous(null_mut(), ARENA, access, flags) };
    let start = start.expect("address space").expose_provenance();
    assert_eq!(
        ARENA_OR_SYSTEM.start.swap(start, Ordering::Relaxed),
        0,
        "one tree a process"
    );
    // The epoch's own records are no part of the tree.
    drop(crossbeam_epoch::pin());
    BUILDS.set(true);
    let built = build();
    BUILDS.set(false);
    built
}

/// Makes the arena read-only, or writable again.
fn seal(sealed: bool) {
    let write = if sealed {
        MprotectFlags::empty()
    } else {
        MprotectFlags::WRITE
    };
    let start = ARENA_OR_SYSTEM.start.load(Ordering::Relaxed);
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the mapping is the arena's, and whoever writes to it meanwhile is meant to fail.
    unsafe { rustix::mm::mprotect(start, ARENA, MprotectFlags::READ | write) }.expect("the arena");
}

struct Sealable {
    tree: Box<Tree>,
    file: NodeId,
    link: NodeId,
}

fn build() -> Sealable {
    let attr = |kind, perm| Attr::new(kind, perm, 0, 0, Time { sec: 1, nsec: 0 });
    let tree = Box::new(Tree::new(attr(Kind::Directory, 0o755)));
    tree.number(NonZeroU64::new(2)).expect("memory");
    let create = |at: &super::InodeRef<'_>, name: &[u8], kind| {
        let target = (kind == Kind::Symlink).then_some(&b"../d/f"[..]);
        let new = NewInode {
            target,
            ..NewInode::plain(attr(kind, 0o755))
        };
        tree.create(&tree.get(at.id()).unwrap(), name, new, None)
            .unwrap()
            .id()
    };
    let directory = create(&tree.root(), b"d", Kind::Directory);
    let file = create(&tree.get(directory).unwrap(), b"f", Kind::Regular);
    let link = create(&tree.get(directory).unwrap(), b"l", Kind::Symlink);
    Sealable { tree, file, link }
}

impl Sealable {
    /// Every no-reference operation, by node id and by path, with an answer and with an error.
    fn call_all(&self) {
        let tree = &self.tree;
        let cred = Credential {
            uid: 1,
            gid: 1,
            groups: &[],
        };
        let path = |path| PathArgs {
            at: NodeId::ROOT,
            path,
            cred: &cred,
            follow: true,
        };
        let stat = tree.stat_node(self.file);
        assert_eq!(tree.stat(&path(b"/d/l")).map(|entry| entry.attr), stat);
        assert_eq!(tree.entry(NodeId::ROOT).map(|entry| entry.ino), Ok(2));
        assert_eq!(tree.stat(&path(b"d/../d/none")), Err(Errno::NOENT));
        assert_eq!(tree.access(&path(b"d/f"), Mask::WRITE), Err(Errno::ACCESS));
        assert_eq!(
            tree.access_node(self.file, 1, 1, Mask::READ, Vec::new),
            Ok(())
        );
        let mut target = LinkTarget::new();
        assert_eq!(tree.readlink_node(self.link, &mut target), Ok(()));
        assert_eq!(tree.readlink(&path(b"d/l"), &mut target), Ok(()));
    }

    /// Warms both threads up, seals, lets them call, and opens the seal.
    fn call_under_seal(&self) {
        let barrier = Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    self.call_all();
                    barrier.wait();
                    barrier.wait();
                    for _ in 0..CALLS {
                        assert!(self.tree.stat_node(self.file).is_ok());
                    }
                    for _ in 0..CALLS / 50 {
                        self.call_all();
                    }
                    barrier.wait();
                });
            }
            barrier.wait();
            seal(true);
            barrier.wait();
            barrier.wait();
            seal(false);
        });
    }
}

#[test]
fn no_operation_writes_to_the_tree() {
    let sealable = in_arena(build);
    if let Ok(operation) = std::env::var(TRY) {
        sealable.call_all();
        seal(true);
        return sealable.call_referenced(&operation);
    }
    let before = sealable.tree.counts(sealable.file);
    sealable.call_under_seal();
    assert_eq!(sealable.tree.counts(sealable.file), before);
    let outcomes = sealable.tree.outcomes();
    assert_eq!(outcomes.fast + outcomes.fast_error, outcomes.operations());
    assert!(outcomes.operations() > 2 * CALLS as u64);
    for operation in [
        "nothing",
        "get",
        "lookup",
        "lookup_path",
        "resolve",
        "update",
    ] {
        let expected = (operation != "nothing").then_some(libc::SIGSEGV);
        assert_eq!(try_in_child(operation), expected, "{operation}");
    }
}

impl Sealable {
    /// What takes a reference, counts or locks.
    fn call_referenced(&self, operation: &str) {
        let path = PathArgs {
            at: NodeId::ROOT,
            path: b"d/f",
            cred: &Credential::ROOT,
            follow: true,
        };
        match operation {
            "get" => drop(self.tree.get(self.file)),
            "lookup" => drop(self.tree.lookup(NodeId::ROOT, b"d")),
            "lookup_path" => drop(self.tree.lookup_path(&path)),
            "resolve" => drop(self.tree.resolve(&path)),
            "update" => drop(self.tree.root().update(|_| Ok(()))),
            _ => self.call_all(),
        }
        seal(false);
    }
}

/// The signal that ended a child process which tried `operation` under the seal.
fn try_in_child(operation: &str) -> Option<i32> {
    let test = concat!(module_path!(), "::no_operation_writes_to_the_tree");
    let (_, test) = test.split_once("::").expect("the crate's name comes first");
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--test-threads=1"])
        .env(TRY, operation)
        .output()
        .expect("this program runs");
    output.status.signal()
}
