//! Bytes per file of a tree in memory.
//!
//! ```text
//! cargo bench --bench memory                    1,000,000 files
//! cargo bench --bench memory -- 10000000        as many as given
//! cargo bench --bench memory -- --quick         a smoke run
//! ```
//!
//! Files have 16-byte names and lie in directories of 100; the directories' own inodes, tables and
//! links are divided among the files. Two figures: bytes asked of the allocator (rounded as asked,
//! without the allocator's own overhead), and the growth of the process's resident set, which also
//! shows memory that was mapped directly.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use clap::Parser;
use norefs::tree::{Attr, InodeRef, Kind, NewInode, Time, Tree};
use rustix::io::Result;

/// The system's allocator, which also counts the bytes that are live and the live blocks.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to `System` unchanged, which keeps the allocator's contract; the
// counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        BLOCKS.fetch_sub(1, Relaxed);
        // SAFETY: the caller keeps `dealloc`'s contract, and `block` came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size, Relaxed);
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps `realloc`'s contract, and `block` came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PER_DIRECTORY: usize = 100;

#[derive(Parser)]
struct Options {
    /// Files to create
    #[arg(default_value_t = 1_000_000)]
    files: usize,
    /// Few files: checks that everything runs
    #[arg(long)]
    quick: bool,
    /// What cargo bench adds; without it (cargo test) the run is a quick one
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let mut options = Options::parse();
    if options.quick || !options.bench {
        options.files = 20_000;
    }
    let before = Usage::now();
    let started = Instant::now();
    let tree = Tree::new(attr(Kind::Directory, 0o755));
    fill(&tree, options.files)?;
    let elapsed = started.elapsed();
    let after = Usage::now();

    let per_file =
        |before: usize, after: usize| after.saturating_sub(before) as f64 / options.files as f64;
    println!("{} files, {} inodes\n", options.files, tree.inodes());
    println!("| per file | |\n|---|---|");
    println!(
        "| allocated bytes (aim: at most 220) | {:.1} |",
        per_file(before.bytes, after.bytes)
    );
    println!(
        "| allocated blocks | {:.2} |",
        per_file(before.blocks, after.blocks)
    );
    println!(
        "| resident bytes | {:.1} |",
        per_file(before.resident, after.resident)
    );
    println!(
        "| nanoseconds to create | {:.0} |",
        elapsed.as_nanos() as f64 / options.files as f64
    );
    Ok(())
}

/// Directories of 100 directories of 100 files each.
fn fill(tree: &Tree, files: usize) -> Result<()> {
    let mut made = 0;
    while made < files {
        let upper = create(tree, &tree.root(), made, Kind::Directory)?;
        for _ in 0..PER_DIRECTORY {
            if made == files {
                break;
            }
            let dir = create(tree, &upper, made, Kind::Directory)?;
            for _ in 0..PER_DIRECTORY.min(files - made) {
                create(tree, &dir, made, Kind::Regular)?;
                made += 1;
            }
        }
    }
    Ok(())
}

fn create<'t>(
    tree: &'t Tree,
    parent: &InodeRef<'t>,
    number: usize,
    kind: Kind,
) -> Result<InodeRef<'t>> {
    let new = NewInode::plain(attr(kind, 0o644));
    let name = format!("a-name-{number:09}");
    tree.create(parent, name.as_bytes(), new, None)
}

fn attr(kind: Kind, perm: u16) -> Attr {
    Attr {
        nlink: 1 + u32::from(kind == Kind::Directory),
        size: 1234,
        ..Attr::new(kind, perm, 0, 0, Time::now())
    }
}

struct Usage {
    bytes: usize,
    blocks: usize,
    resident: usize,
}

impl Usage {
    fn now() -> Usage {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|word| word.parse().ok());
        Usage {
            bytes: BYTES.load(Relaxed),
            blocks: BLOCKS.load(Relaxed),
            resident: pages.unwrap_or(0) * rustix::param::page_size(),
        }
    }
}
