//! The tree without a directory: its entries handed over as the source hands them over.

use super::contest::{empty, resident};
use super::shape::{self, File};
use norefs::fs::{Backing, Fs, Loaded, Origin};
use norefs::tree::{Attr, Kind, NodeId, Seed, Time};
use rustix::io::Result;
use serde::Serialize;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What it took.
#[derive(Serialize)]
pub struct Synthetic {
    files: u64,
    entries: u64,
    seconds: f64,
    resident: u64,
}

/// Keeps the names, as the source does, and knows the content of every file: zeros.
#[derive(Default)]
struct MadeUp {
    names: Mutex<Vec<(u64, Arc<[u8]>)>>,
}

impl Origin for MadeUp {
    fn backing(self: Arc<Self>, _seed: Seed) -> Box<dyn Backing> {
        Box::new(Zeros)
    }
}

struct Zeros;

impl Backing for Zeros {
    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> Result<usize> {
        buf.fill(0);
        Ok(buf.len())
    }
}

pub fn run(files: u64) -> Result<Synthetic> {
    let before = resident();
    let fs = empty();
    let origin = Arc::new(MadeUp::default());
    fs.number(NonZeroU64::new(1))?;
    fs.set_origin(origin.clone())?;
    let started = Instant::now();
    for (upper, below) in shape::directories(files) {
        let upper = fs.load(
            NodeId::ROOT,
            shape::name(upper).as_bytes(),
            described(Kind::Directory, 4096, 0),
        )?;
        origin.keep(upper, below.iter().copied());
        for first in below {
            let name = shape::name(first);
            let directory = fs.load(upper, name.as_bytes(), described(Kind::Directory, 4096, 0))?;
            fill(&fs, directory, shape::files_in(first, files))?;
            origin.keep(directory, shape::files_in(first, files));
        }
    }
    Ok(Synthetic {
        files,
        entries: fs.tree().inodes() - 1 + fs.tree().further_names(),
        seconds: started.elapsed().as_secs_f64(),
        resident: resident().saturating_sub(before),
    })
}

impl MadeUp {
    fn keep(&self, directory: NodeId, numbers: impl Iterator<Item = u64>) {
        let mut names = Vec::new();
        for number in numbers {
            names.extend_from_slice(shape::name(number).as_bytes());
            names.push(0);
        }
        let mut all = self.names.lock().expect("nobody panics");
        all.push((directory.raw(), names.into()));
    }
}

fn fill(fs: &Fs, directory: NodeId, numbers: Range<u64>) -> Result<()> {
    let mut filling = fs.fill(directory, shape::PER_DIRECTORY as usize)?;
    let mut last = directory;
    for number in numbers {
        let (name, target) = (shape::name(number), shape::name(number.saturating_sub(2)));
        let new = match shape::file(number) {
            File::HardLink => {
                filling.link(last, name.as_bytes())?;
                continue;
            }
            File::Symlink => Loaded {
                target: Some(target.as_bytes()),
                ..described(Kind::Symlink, 0, number)
            },
            File::Attributed => Loaded {
                xattrs: vec![((*b"user.norefs").into(), (*b"value").into())],
                ..described(Kind::Regular, 1, number)
            },
            File::Regular(size) => described(Kind::Regular, size, number),
        };
        last = filling.add(name.as_bytes(), new)?;
    }
    Ok(())
}

fn described(kind: Kind, size: u64, number: u64) -> Loaded<'static> {
    Loaded {
        attr: attr(kind, 1 + u32::from(kind == Kind::Directory), size),
        ino: NonZeroU64::new(2 + number),
        target: None,
        xattrs: Vec::new(),
        backing: None,
        seed: Some(Seed::new(
            number as u32,
            number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        )),
    }
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
        println!(
            "| resident, GiB | {:.3} |",
            self.resident as f64 / (1u64 << 30) as f64
        );
        println!(
            "| resident bytes per file | {:.1} |",
            self.resident as f64 / self.files as f64
        );
        println!("| seconds | {:.2} |", self.seconds);
    }
}
