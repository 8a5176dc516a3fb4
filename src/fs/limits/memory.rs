//! Whatever takes memory is counted, runs out, and comes back.

use super::*;
use crate::fs::testing::{self, Bed, ROOT, stale, value};
use crate::fs::{Loaded, SetAttr};
use crate::tree::{Attr, Kind, NodeId, Time};

const MEMORY: u64 = 1 << 20;
/// What one inode more may take beyond that, and a larger table of names.
const SLACK: u64 = MEMORY / 4;

/// A filesystem in which everything together is bounded, or inodes and names alone by `beside`.
fn bounded(beside: u64) -> Bed {
    let bed = Bed::with(Config {
        max_bytes: MEMORY,
        max_inodes: u64::MAX,
        ..testing::config()
    });
    bed.fs.allow_beside(beside);
    bed
}

/// Makes one thing more in a directory.
type Make = fn(&Bed, NodeId, u32) -> Result<()>;

fn long_name(number: u32) -> Vec<u8> {
    format!("{number:0255}").into_bytes()
}

fn made(bed: &Bed, made: Result<crate::fs::Committed<crate::tree::Entry>>) -> Result<NodeId> {
    let id = made?.deliver(drop).id;
    bed.fs.forget(id, 1);
    Ok(id)
}

fn file(bed: &Bed, dir: NodeId, name: &[u8]) -> Result<NodeId> {
    made(bed, bed.fs.mknod(&ROOT, dir, name, 0o644, 0))
}

const MAKES: [(&str, Make); 7] = [
    ("long names", |bed, dir, number| {
        file(bed, dir, &long_name(number)).map(drop)
    }),
    ("short names", |bed, dir, number| {
        file(bed, dir, format!("{number:x}").as_bytes()).map(drop)
    }),
    ("links", |bed, dir, number| {
        let first = match bed.fs.lookup(&ROOT, dir, b"first")? {
            Some(first) => first.id,
            None => return file(bed, dir, b"first").map(drop),
        };
        bed.fs.forget(first, 1);
        made(bed, bed.fs.link(&ROOT, first, dir, &long_name(number))).map(drop)
    }),
    ("directories", |bed, dir, number| {
        let name = number.to_string();
        made(bed, bed.fs.mkdir(&ROOT, dir, name.as_bytes(), 0o755)).map(drop)
    }),
    ("targets", |bed, dir, number| {
        let name = number.to_string();
        made(
            bed,
            bed.fs.symlink(&ROOT, dir, name.as_bytes(), &[b'x'; 100]),
        )
        .map(drop)
    }),
    ("small files", |bed, dir, number| {
        let id = file(bed, dir, number.to_string().as_bytes())?;
        value(bed.fs.write(&ROOT, id, 0, b"x", false)).map(drop)
    }),
    ("loaded", |bed, dir, number| {
        let new = Loaded {
            attr: Attr::new(Kind::Regular, 0o644, 0, 0, Time::default()),
            ino: None,
            target: None,
            xattrs: Vec::new(),
            backing: None,
            seed: None,
        };
        bed.fs.load(dir, &long_name(number), new).map(drop)
    }),
];

/// Makes things in a new directory until there is no room, and says how many.
fn fill(bed: &Bed, make: Make) -> u32 {
    let dir = bed.dir("d");
    let mut number = 0;
    loop {
        match make(bed, dir, number) {
            Ok(()) => number += 1,
            Err(errno) => {
                assert_eq!(errno, Errno::NOSPC);
                return number;
            }
        }
    }
}

/// Removes that directory with all that is in it.
fn clear(bed: &Bed) {
    let (fs, root) = (&bed.fs, bed.root());
    let dir = fs.lookup(&ROOT, root, b"d").unwrap().unwrap().id;
    let mut names = Vec::new();
    fs.readdir(dir, 0, false, |entry| {
        names.push((entry.name.to_vec(), entry.kind));
        true
    })
    .unwrap();
    for (name, kind) in names {
        match (&name[..], kind) {
            (b"." | b"..", _) => {}
            (name, Kind::Directory) => stale(fs.rmdir(&ROOT, dir, name)).0,
            (name, _) => stale(fs.unlink(&ROOT, dir, name)).0,
        }
    }
    stale(fs.rmdir(&ROOT, root, b"d"));
    fs.forget(dir, 2);
}

#[test]
fn everything_that_takes_memory_runs_out_and_comes_back() {
    for (what, make) in MAKES {
        let bed = bounded(0);
        // The root has had a name.
        bed.dir("d");
        clear(&bed);
        let before = bed.fs.memory();
        let first = fill(&bed, make);
        let memory = bed.fs.memory();
        assert!(memory > MEMORY - 2 * INODE_BYTES, "{what}: {memory}");
        assert!(memory < MEMORY + SLACK, "{what}: {memory}");
        assert!(first > 500, "{what}: only {first}");
        assert_eq!(bed.fs.statfs().files_free, 0);
        clear(&bed);
        assert_eq!(bed.fs.memory(), before, "{what}");
        assert_eq!(fill(&bed, make), first, "{what}");
    }
}

#[test]
fn names_that_went_elsewhere_leave_no_table_behind() {
    let bed = bounded(u64::MAX);
    let (root, dir) = (bed.root(), bed.dir("d"));
    for number in 0..5000u32 {
        bed.file_in(dir, &number.to_string());
    }
    let moved = bed.dir("moved");
    let before = bed.fs.memory();
    for number in 0..5000u32 {
        let name = number.to_string();
        let (from, to) = ((dir, name.as_bytes()), (moved, name.as_bytes()));
        stale(bed.fs.rename(&ROOT, from, to, 0));
    }
    assert!(
        bed.fs.memory() < before + 20_000,
        "{}",
        bed.fs.memory() - before
    );
    stale(bed.fs.rmdir(&ROOT, root, b"d"));
}

#[test]
fn a_size_that_was_asked_for_is_for_content_alone() {
    let bed = bounded(MEMORY);
    let names = (0..1000).filter(|&number| file(&bed, bed.root(), &long_name(number)).is_ok());
    assert_eq!(names.count(), 1000);
    assert_eq!(bed.fs.statfs().blocks_free, MEMORY / 4096);
    let content = bed.file("content");
    bed.write(content, 0, &vec![1; MEMORY as usize]);
    assert_eq!(bed.fs.statfs().blocks_free, 0);
    let more = fill(&bed, MAKES[0].1);
    assert!(more > 500, "{more}");
    // What content leaves goes to names too.
    let cut = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    stale(bed.fs.setattr(&ROOT, content, &cut));
    let moved = bed
        .fs
        .rename(&ROOT, (bed.root(), b"d"), (bed.root(), b"e"), 0);
    stale(moved);
    assert!(fill(&bed, MAKES[0].1) > 1000);
    assert!(bed.fs.memory() < 2 * MEMORY + SLACK);
    // And then there is none left for content.
    assert_eq!(bed.fs.statfs().blocks_free, 0);
    let full = value(bed.fs.write(&ROOT, content, 0, &[1; 100_000], false));
    assert!(full != Ok(100_000), "{full:?}");
}

#[test]
fn a_longer_name_needs_room() {
    let bed = bounded(0);
    fill(&bed, MAKES[1].1);
    let (dir, long) = (bed.root(), long_name(0));
    let rename = |from: &[u8], to: &[u8]| bed.fs.rename(&ROOT, (dir, from), (dir, to), 0).err();
    assert_eq!(rename(b"d", &long), Some(Errno::NOSPC));
    assert_eq!(rename(b"d", b"e"), None);
}
