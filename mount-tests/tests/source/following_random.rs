//! Random changes of a source while somebody works in the mount that follows it: after a sync the mount shows what the source has.
//!
//! `FOLLOWING_STEPS=1000000 cargo test -p mount-tests --test source following_random:: -- --nocapture` changes the source that often
//! instead of for some seconds.

use crate::same::{Entry, compare, entries};
use mount_tests::transport::{self, Transport};
use mount_tests::{Daemon, Dice, Scratch, norefs, text};
use norefs::control;
use norefs::delta::{Change, What};
use norefs::transport::session::table::top_at;
use rustix::fs::{
    CWD, RenameFlags, Timespec, Timestamps, XattrFlags, lsetxattr, renameat_with, utimensat,
};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Changes between two comparisons, and in one mount.
const BETWEEN: u64 = 40;
const ROUND: u64 = 400;

/// What the mount makes begins so; the source has no such names.
const MINE: &str = "mine";

fn steps(few: u64) -> u64 {
    let steps = std::env::var("FOLLOWING_STEPS").ok();
    steps.map_or(few, |steps| steps.parse().expect("a number of steps"))
}

/// Changes something at random below `root`; what cannot be done is left.
fn change(dice: &mut Dice, root: &Path) {
    let (path, other) = (dice.path(root), dice.path(root));
    let number = dice.roll(1 << 16);
    let bytes = vec![b'a' + (number % 26) as u8; (number % 9000) as usize];
    let _ = match dice.roll(22) {
        0..4 => fs::write(&path, &bytes),
        4 => OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"+")),
        5 => OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.write_all_at(b"@", 3)),
        6 => OpenOptions::new()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(number % 5000)),
        7 | 8 => fs::remove_file(&path),
        9 => fs::remove_dir(&path),
        10 => fs::remove_dir_all(&path),
        11..14 => fs::create_dir_all(&path),
        14 | 15 => fs::rename(&path, &other),
        16 => renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).map_err(Into::into),
        17 => fs::hard_link(&path, &other),
        18 => symlink(format!("t{number}"), &path),
        19 => match fs::symlink_metadata(&path) {
            Ok(found) if !found.is_symlink() => {
                let mode = 0o700 | (number as u32 & 0o77);
                fs::set_permissions(&path, Permissions::from_mode(mode))
            }
            _ => Ok(()),
        },
        20 => {
            let value = number.to_string();
            lsetxattr(&path, "user.n", value.as_bytes(), XattrFlags::empty()).map_err(Into::into)
        }
        _ => {
            let time = Timespec {
                tv_sec: number as i64,
                tv_nsec: number as _,
            };
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            utimensat(CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).map_err(Into::into)
        }
    };
}

/// Looks at something in the mount, so that the kernel holds it, or holds that it is not there.
fn look(dice: &mut Dice, root: &Path) {
    let path = dice.path(root);
    match dice.roll(4) {
        0 => _ = fs::read(&path),
        1 => _ = fs::symlink_metadata(&path),
        2 => _ = fs::read_dir(&path).map(Iterator::count),
        _ => _ = fs::read_link(&path),
    }
}

/// Changes something in the mount under names that the source does not have.
fn work(dice: &mut Dice, root: &Path) {
    let directory = dice.path(root).parent().unwrap_or(root).to_owned();
    let name = |dice: &mut Dice| format!("{MINE}{}", dice.roll(3));
    let (one, other) = (directory.join(name(dice)), dice.path(root).join(name(dice)));
    match dice.roll(5) {
        0 => _ = fs::write(&one, b"mine"),
        1 => _ = fs::remove_file(&one),
        2 => _ = fs::rename(&one, &other),
        3 => _ = fs::create_dir(&one).and_then(|()| fs::remove_dir(&one)),
        _ => look(dice, root),
    }
}

struct Pair {
    source: Scratch,
    mount: Daemon,
    /// Somebody changes the mount as well.
    works: bool,
}

impl Pair {
    fn new(transport: Transport, works: bool, dice: &mut Dice) -> Pair {
        let source = Scratch::new();
        (0..60).for_each(|_| change(dice, &source));
        let from = source.to_str().unwrap();
        let mount = Daemon::on(transport, &["-o", "allow_other,follow", from]);
        mount.stats();
        Pair {
            source,
            mount,
            works,
        }
    }

    fn turn(&self, dice: &mut Dice) {
        let over = AtomicBool::new(false);
        let seed = dice.roll(1 << 32);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut dice = Dice::new(seed);
                while !over.load(Relaxed) {
                    match self.works {
                        true => work(&mut dice, self.mount.root()),
                        false => look(&mut dice, self.mount.root()),
                    }
                }
            });
            (0..BETWEEN).for_each(|_| change(dice, &self.source));
            over.store(true, Relaxed);
        });
        self.sync();
        self.check();
    }

    fn sync(&self) {
        let entry = top_at(self.mount.root()).unwrap().unwrap();
        control::sync(&entry, None).unwrap();
    }

    /// Outside of what differs, says `norefs diff`, both are the same.
    fn check(&self) {
        let entry = top_at(self.mount.root()).unwrap().unwrap();
        let delta = control::delta(&entry).unwrap();
        assert!(self.works || delta.changes.is_empty(), "{delta:?}");
        let of_directory = |change: &&Change| {
            let in_place = change.what == What::Metadata && !change.replaced;
            in_place && change.now.as_ref().unwrap().seen.is_directory()
        };
        let differ = delta.changes.iter().filter(|change| !of_directory(change));
        let differ: Vec<&Path> = differ
            .flat_map(|change| {
                let base = change.base.as_ref().map(|base| base.path.as_path());
                let now = change.now.as_ref().map(|now| now.path.as_path());
                base.into_iter().chain(now)
            })
            .collect();
        let left_out = |path: &Path| differ.iter().any(|differs| path.starts_with(differs));
        let gathered = |root: &Path| self.of_interest(entries(root, &left_out));
        let (mut source, mut mount) = (gathered(&self.source), gathered(self.mount.root()));
        // The source has names of it in a directory that the mount hides, and may write to it by those.
        let links = |all: &BTreeMap<_, Entry>, path: &Path| all.get(path).map(|entry| entry.nlink);
        let hidden = |path: &Path| {
            links(&mount, path).is_some_and(|mine| Some(mine) != links(&source, path))
        };
        let hidden: Vec<PathBuf> = source
            .keys()
            .filter(|path| self.works && hidden(path))
            .cloned()
            .collect();
        for path in hidden {
            source.remove(&path);
            mount.remove(&path);
        }
        compare(source, mount);
    }

    /// What names are made in it moves the attributes of a directory. The ctime of a file moves with a link to it that has gone again
    /// before anybody looked, and nothing tells which file that was.
    fn of_interest(&self, mut all: BTreeMap<PathBuf, Entry>) -> BTreeMap<PathBuf, Entry> {
        for entry in all.values_mut() {
            if entry.mode & libc::S_IFMT != libc::S_IFDIR {
                entry.times[1] = (0, 0);
            }
            if self.works && entry.mode & libc::S_IFMT == libc::S_IFDIR {
                (entry.nlink, entry.size, entry.times) = (0, 0, [(0, 0); 2]);
            }
        }
        all
    }
}

fn rounds(works: bool) {
    for transport in transport::each() {
        let rounds = steps(ROUND).div_ceil(ROUND);
        for round in 0..rounds {
            let seed = seed_of(round);
            eprintln!(
                "{transport:?}, mount {}, seed {seed}",
                if works { "changes" } else { "looks" }
            );
            let mut dice = Dice::new(seed);
            let pair = Pair::new(transport, works, &mut dice);
            (0..ROUND / BETWEEN).for_each(|_| pair.turn(&mut dice));
            if !works {
                let output = norefs()
                    .arg("diff")
                    .arg(pair.mount.root())
                    .output()
                    .unwrap();
                assert_eq!(
                    (text(&output.stdout), text(&output.stderr)),
                    Default::default()
                );
            }
        }
    }
}

/// Another one each time where it is run for long.
fn seed_of(round: u64) -> u64 {
    match std::env::var("FOLLOWING_SEED") {
        Ok(seed) => seed.parse::<u64>().expect("a number") + round,
        Err(_) => round,
    }
}

#[test]
fn a_mount_that_is_looked_at_shows_what_the_source_has_to_the_last_detail() {
    rounds(false);
}

#[test]
fn what_is_done_in_the_mount_meanwhile_hides_nothing_of_the_source() {
    rounds(true);
}
