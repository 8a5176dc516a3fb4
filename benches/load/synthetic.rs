//! The tree without a directory: its entries handed over as the source hands them over.

use super::contest::{empty, resident};
use super::shape::{self, File};
use norefs::fs::{Backing, Fs, Loaded};
use norefs::tree::{Attr, Kind, NodeId, Result, Time};
use serde::Serialize;
use std::time::Instant;

/// What it took.
#[derive(Serialize)]
pub struct Synthetic {
    files: u64,
    entries: u64,
    seconds: f64,
    resident: u64,
}

struct Content(#[allow(dead_code)] [u64; 3]);

impl Backing for Content {
    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        buf.fill(0);
        Ok(buf.len())
    }
}

pub fn run(files: u64) -> Result<Synthetic> {
    let before = resident();
    let fs = empty();
    let started = Instant::now();
    for (upper, below) in shape::directories(files) {
        let upper = directory(&fs, NodeId::ROOT, upper)?;
        for first in below {
            let directory = directory(&fs, upper, first)?;
            let mut last = NodeId::ROOT;
            for number in shape::files_in(first, files) {
                last = file(&fs, directory, number, last)?;
            }
        }
    }
    Ok(Synthetic {
        files,
        entries: fs.tree().inodes() - 1 + fs.tree().further_names(),
        seconds: started.elapsed().as_secs_f64(),
        resident: resident().saturating_sub(before),
    })
}

fn directory(fs: &Fs, parent: NodeId, number: u64) -> Result<NodeId> {
    let new = Loaded {
        attr: attr(Kind::Directory, 2, 4096),
        target: None,
        xattrs: Vec::new(),
        backing: None,
    };
    fs.load(parent, shape::name(number).as_bytes(), new)
}

fn file(fs: &Fs, parent: NodeId, number: u64, last: NodeId) -> Result<NodeId> {
    let name = shape::name(number);
    let target = shape::name(number.saturating_sub(2));
    let new = |kind, size: u64| Loaded {
        attr: attr(kind, 1, size),
        target: (kind == Kind::Symlink).then_some(target.as_bytes()),
        xattrs: Vec::new(),
        backing: (size > 0).then(|| Box::new(Content([number; 3])) as Box<dyn Backing>),
    };
    let new = match shape::file(number) {
        File::HardLink => {
            fs.load_link(last, parent, name.as_bytes())?;
            return Ok(last);
        }
        File::Symlink => new(Kind::Symlink, 0),
        File::Attributed => Loaded {
            xattrs: vec![((*b"user.norefs").into(), (*b"value").into())],
            ..new(Kind::Regular, 1)
        },
        File::Regular(size) => new(Kind::Regular, size),
    };
    fs.load(parent, name.as_bytes(), new)
}

fn attr(kind: Kind, nlink: u32, size: u64) -> Attr {
    Attr {
        nlink,
        size,
        blocks: size.div_ceil(512),
        ..Attr::new(kind, 0o644, 0, 0, Time::now())
    }
}

impl Synthetic {
    pub fn print(&self) {
        println!(
            "{} files, {} entries, made up and handed over directory by directory: no directory was read.\n",
            self.files, self.entries
        );
        println!("| | |\n|---|---|");
        println!("| resident, GiB | {:.3} |", self.resident as f64 / (1u64 << 30) as f64);
        println!("| resident bytes per file | {:.1} |", self.resident as f64 / self.files as f64);
        println!("| seconds | {:.2} |", self.seconds);
    }
}
