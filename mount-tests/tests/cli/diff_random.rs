//! Random changes in a mount and in a copy of its source on tmpfs: `norefs diff` says of the one what a comparison of the other with
//! the source finds.
//!
//! tmpfs gives no inode number twice, so numbers tell which names were moved, linked or replaced. What was written to is noted,
//! since other bytes may be written back.

use mount_tests::posix::fifo;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Dice, Scratch, Tmpfs, norefs, text};
use norefs::delta::{Change, Delta, Metadata, What};
use rustix::fs::{
    AtFlags, CWD, RenameFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chownat, linkat,
    listxattr, removexattr, renameat_with, setxattr, utimensat,
};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Metadata as Stat, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// When everything in the source was last changed.
const THEN: i64 = 1_000_000_000;

#[derive(Clone, Copy, Debug)]
enum Do {
    Write(u64),
    Append(u64),
    Cut,
    Unlink,
    Rmdir,
    Mkdir,
    Rename,
    Exchange,
    Link,
    Symlink(u64),
    Chmod(u32),
    Chown(u32),
    Touch(i64),
    Fifo,
    Save(u64),
    SetXattr,
    RemoveXattr,
    RemoveAll,
}

fn chosen(dice: &mut Dice, step: u64) -> Do {
    let mode = dice.choose(&[0o644, 0o600, 0o755]);
    let other = dice.roll(2);
    // It leaves little behind.
    if dice.roll(50) == 0 {
        return Do::RemoveAll;
    }
    match dice.roll(19) {
        0 => Do::Write(step),
        1 => Do::Append(step),
        2 => Do::Cut,
        3 => Do::Unlink,
        4 => Do::Rmdir,
        5 | 6 => Do::Mkdir,
        7 | 8 => Do::Rename,
        9 => Do::Exchange,
        10 => Do::Link,
        11 => Do::Symlink(step),
        12 => Do::Chmod(mode),
        13 => Do::Chown(other as u32),
        14 => Do::Touch(THEN + other as i64),
        15 => Do::Fifo,
        16 => Do::Save(step),
        17 => Do::SetXattr,
        _ => Do::RemoveXattr,
    }
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // A pipe has nobody at its other end.
    options
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

fn touch(path: &Path, seconds: i64) -> Result<(), Errno> {
    let omit = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omit,
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Does it to `path`, and `to` if it takes two.
fn perform(what: Do, path: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(path).map(|stat| stat.file_type());
    let plain = kind.as_ref().is_ok_and(|kind| kind.is_file());
    match what {
        Do::Write(_) | Do::Append(_) | Do::Cut if kind.is_ok() && !plain => {
            Err(Errno::INVAL.into())
        }
        Do::Write(step) => {
            let mut file = open(
                path,
                OpenOptions::new().write(true).create(true).truncate(true),
            )?;
            write!(file, "written {step}")
        }
        Do::Append(step) => write!(open(path, OpenOptions::new().append(true))?, "more {step}"),
        Do::Cut => {
            let file = open(path, OpenOptions::new().write(true))?;
            file.set_len(file.metadata()?.len() / 2 + 1)
        }
        Do::Unlink => fs::remove_file(path),
        Do::Rmdir => fs::remove_dir(path),
        Do::Mkdir => fs::create_dir(path),
        Do::Rename => fs::rename(path, to),
        Do::Exchange => Ok(renameat_with(CWD, path, CWD, to, RenameFlags::EXCHANGE)?),
        Do::Link => Ok(linkat(CWD, path, CWD, to, AtFlags::empty())?),
        Do::Symlink(step) => symlink(format!("target {step}"), path),
        _ if kind.as_ref().is_ok_and(|kind| kind.is_symlink())
            && matches!(what, Do::Chmod(_) | Do::SetXattr | Do::RemoveXattr) =>
        {
            Err(Errno::INVAL.into())
        }
        Do::Chmod(mode) => fs::set_permissions(path, Permissions::from_mode(mode)),
        Do::Chown(uid) => {
            let uid = Some(rustix::fs::Uid::from_raw(uid));
            Ok(chownat(CWD, path, uid, None, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        Do::Touch(seconds) => Ok(touch(path, seconds)?),
        Do::Fifo => Ok(fifo(path, 0o644)?),
        Do::Save(step) => {
            let new = path.with_file_name("new");
            fs::write(&new, format!("saved {step}"))?;
            fs::rename(&new, path).or_else(|error| fs::remove_file(&new).and(Err(error)))
        }
        Do::SetXattr => Ok(setxattr(path, "user.x", b"1", XattrFlags::empty())?),
        Do::RemoveXattr => Ok(removexattr(path, "user.x")?),
        Do::RemoveAll => fs::remove_dir_all(path),
    }
}

/// A name: where it is, the inodes of its directory and its own.
#[derive(Clone)]
struct Name {
    above: u64,
    inode: u64,
    stat: Stat,
}

type Key = (u64, PathBuf);

fn walk(root: &Path) -> BTreeMap<PathBuf, Name> {
    let mut names = BTreeMap::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((path, above)) = open.pop() {
        let stat = fs::symlink_metadata(root.join(&path)).unwrap();
        let inode = stat.ino();
        if stat.is_dir() {
            for entry in fs::read_dir(root.join(&path)).unwrap() {
                open.push((path.join(entry.unwrap().file_name()), inode));
            }
        }
        names.insert(path, Name { above, inode, stat });
    }
    names
}

fn key(path: &Path, name: &Name) -> Key {
    (
        name.above,
        path.file_name().map(PathBuf::from).unwrap_or_default(),
    )
}

/// What was done to the copy.
struct World {
    source: Scratch,
    mount: Daemon,
    copy: Tmpfs,
    /// The names of the copy when it was made.
    names: BTreeMap<PathBuf, Name>,
    written: HashSet<u64>,
    marked: HashSet<u64>,
}

impl World {
    fn new(dice: &mut Dice) -> World {
        let source = Scratch::new();
        for step in 0..120 {
            let (path, to) = (dice.path(&source), dice.path(&source));
            let made = match dice.roll(8) {
                0..3 => perform(Do::Mkdir, &path, &to),
                3..6 => perform(Do::Write(1000 + step), &path, &to),
                6 => perform(Do::Link, &path, &to),
                _ => perform(Do::Symlink(step), &path, &to),
            };
            made.unwrap_or_default();
        }
        for path in walk(&source).keys().rev() {
            touch(&source.join(path), THEN).unwrap();
        }
        let copy = Tmpfs::new();
        sh(&copy, &format!("cp -a {}/. .", source.to_str().unwrap()));
        let mount = Daemon::with(&[source.to_str().unwrap()]);
        mount.stats();
        World {
            names: walk(&copy),
            source,
            mount,
            copy,
            written: HashSet::new(),
            marked: HashSet::new(),
        }
    }

    fn step(&mut self, dice: &mut Dice, step: u64) {
        let (path, to) = (dice.path(Path::new("")), dice.path(Path::new("")));
        let what = chosen(dice, step);
        let on = |root: &Path| perform(what, &root.join(&path), &root.join(&to));
        let (here, there) = (on(self.mount.root()), on(&self.copy));
        let errno = |done: &io::Result<()>| done.as_ref().err().map(|error| error.raw_os_error());
        assert_eq!(errno(&here), errno(&there), "{what:?} {path:?} {to:?}");
        if there.is_ok()
            && let Ok(stat) = fs::symlink_metadata(self.copy.join(&path))
        {
            match what {
                Do::Write(_) | Do::Append(_) | Do::Cut => _ = self.written.insert(stat.ino()),
                Do::SetXattr | Do::RemoveXattr => _ = self.marked.insert(stat.ino()),
                _ => {}
            }
        }
    }

    fn told(&self) -> Delta {
        let output = norefs()
            .arg("diff")
            .arg(self.mount.root())
            .arg("--json")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What differs between the source and the copy, a line for each name.
    fn expected(&self) -> Vec<String> {
        let now = walk(&self.copy);
        let of_source: HashSet<u64> = self.names.values().map(|name| name.inode).collect();
        let stats = self.names.iter().map(|(path, name)| {
            let stat = fs::symlink_metadata(self.source.join(path)).unwrap();
            (name.inode, stat)
        });
        let base: HashMap<u64, Stat> = stats.collect();
        let keys = |names: &BTreeMap<PathBuf, Name>| -> HashMap<Key, PathBuf> {
            names
                .iter()
                .map(|(path, name)| (key(path, name), path.clone()))
                .collect()
        };
        let (was, is) = (keys(&self.names), keys(&now));
        let kept = |path: &Path,
                    name: &Name,
                    others: &HashMap<Key, PathBuf>,
                    names: &BTreeMap<PathBuf, Name>| {
            let other = others.get(&key(path, name)).map(|path| &names[path]);
            other.is_some_and(|other| other.inode == name.inode)
        };
        let mut lost: Vec<(&PathBuf, &Name)> = self
            .names
            .iter()
            .filter(|(path, name)| !kept(path, name, &is, &now))
            .collect();
        let made: Vec<(&PathBuf, &Name)> = now
            .iter()
            .filter(|(path, name)| !kept(path, name, &was, &self.names))
            .collect();
        let first = |inode: u64| {
            let names = now.iter().filter(|(_, name)| name.inode == inode);
            names
                .map(|(path, name)| (!kept(path, name, &was, &self.names), path))
                .min()
                .unwrap()
                .1
        };
        let mut gone = Vec::new();
        let mut others = Vec::new();
        for (path, name) in now
            .iter()
            .filter(|(path, name)| kept(path, name, &was, &self.names))
        {
            let (content, metadata) = self.compared(&base[&name.inode], name);
            let what = match (content, metadata.any()) {
                (true, _) => What::Content,
                (_, true) => What::Metadata,
                _ => continue,
            };
            let from = &was[&key(path, name)];
            others.push((
                path,
                line(what, Some(from), Some(path), content, metadata, None, false),
            ));
        }
        let mut taken = HashSet::new();
        for (path, name) in made
            .iter()
            .filter(|(_, name)| of_source.contains(&name.inode))
        {
            let from = lost.iter().position(|(_, lost)| lost.inode == name.inode);
            taken.insert(*path);
            let said = match from.map(|at| lost.remove(at)) {
                Some((from, _)) => {
                    let (content, metadata) = self.compared(&base[&name.inode], name);
                    line(
                        What::Moved,
                        Some(from),
                        Some(path),
                        content,
                        metadata,
                        None,
                        false,
                    )
                }
                None => self.added(path, name, Some(first(name.inode))),
            };
            others.push((path, said));
        }
        for by_key in [true, false] {
            for (path, name) in &made {
                let place = lost.iter().position(|(was, lost)| match by_key {
                    true => key(was, lost) == key(path, name),
                    false => was == path,
                });
                let Some(at) = place.filter(|_| !taken.contains(path)) else {
                    continue;
                };
                taken.insert(*path);
                let (from, was) = lost.remove(at);
                let (_, mut metadata) = self.compared(&base[&was.inode], name);
                metadata.xattrs = self.has_xattrs(path, name);
                let content = has_content(&name.stat);
                let what = match (
                    was.stat.mode() & libc::S_IFMT == name.stat.mode() & libc::S_IFMT,
                    content,
                ) {
                    (false, _) => What::Retyped,
                    (true, true) => What::Content,
                    (true, false) => What::Metadata,
                };
                let link = Some(first(name.inode)).filter(|first| first != path);
                others.push((
                    path,
                    line(what, Some(from), Some(path), content, metadata, link, true),
                ));
            }
        }
        for (path, name) in made.iter().filter(|(path, _)| !taken.contains(path)) {
            let link = Some(first(name.inode)).filter(|first| first != path);
            others.push((path, self.added(path, name, link)));
        }
        for (path, _) in lost {
            gone.push((
                path,
                line(
                    What::Removed,
                    Some(path),
                    None,
                    false,
                    Metadata::default(),
                    None,
                    false,
                ),
            ));
        }
        gone.sort_by(|a, b| b.0.cmp(a.0));
        others.sort_by(|a, b| a.0.cmp(b.0));
        gone.into_iter()
            .chain(others)
            .map(|(_, line)| line)
            .collect()
    }

    fn compared(&self, base: &Stat, name: &Name) -> (bool, Metadata) {
        let now = &name.stat;
        let metadata = Metadata {
            mode: base.mode() & 0o7777 != now.mode() & 0o7777,
            owner: (base.uid(), base.gid()) != (now.uid(), now.gid()),
            mtime: (base.mtime(), base.mtime_nsec()) != (now.mtime(), now.mtime_nsec()),
            xattrs: self.marked.contains(&name.inode),
            acl: false,
        };
        (self.written.contains(&name.inode), metadata)
    }

    fn has_xattrs(&self, path: &Path, name: &Name) -> bool {
        let length = || listxattr(self.copy.join(path), &mut [0u8; 64]).unwrap();
        (name.stat.is_file() || name.stat.is_dir()) && length() > 0
    }

    fn added(&self, path: &Path, name: &Name, link: Option<&PathBuf>) -> String {
        let metadata = Metadata {
            mode: true,
            owner: true,
            mtime: true,
            xattrs: self.has_xattrs(path, name),
            acl: false,
        };
        line(
            What::Added,
            None,
            Some(path),
            has_content(&name.stat),
            metadata,
            link,
            false,
        )
    }

    /// Whether `change` tells what the source and the mount show.
    fn check(&self, change: &Change) {
        if let Some(base) = &change.base {
            let stat = fs::symlink_metadata(base.path.below(&self.source)).unwrap();
            let seen = &base.seen;
            assert_eq!((base.dev, base.ino), (Some(stat.dev()), Some(stat.ino())));
            assert_eq!(
                (seen.mode, seen.uid, seen.gid),
                (stat.mode(), stat.uid(), stat.gid())
            );
            assert_eq!(
                (u64::from(seen.nlink), seen.size),
                (stat.nlink(), stat.size())
            );
            let times = [
                (seen.mtime.sec, seen.mtime.nsec),
                (seen.ctime.sec, seen.ctime.nsec),
            ];
            let shown = [
                (stat.mtime(), stat.mtime_nsec() as u32),
                (stat.ctime(), stat.ctime_nsec() as u32),
            ];
            assert_eq!(times, shown);
        }
        if let Some(now) = &change.now {
            let stat = fs::symlink_metadata(now.path.below(self.mount.root())).unwrap();
            assert_eq!(
                (now.ino, now.seen.mode, now.seen.size),
                (stat.ino(), stat.mode(), stat.size())
            );
        }
    }
}

fn has_content(stat: &Stat) -> bool {
    stat.is_file() || stat.is_symlink()
}

fn line(
    what: What,
    from: Option<&Path>,
    to: Option<&Path>,
    content: bool,
    metadata: Metadata,
    link: Option<&PathBuf>,
    replaced: bool,
) -> String {
    format!(
        "{what:?} {from:?} {to:?} content {content} {metadata:?} link {link:?} replaced {replaced}"
    )
}

fn told(change: &Change) -> String {
    let link = change.link.as_ref().map(|link| link.as_path().to_owned());
    line(
        change.what,
        change.base.as_ref().map(|base| base.path.as_path()),
        change.now.as_ref().map(|now| now.path.as_path()),
        change.content,
        change.metadata,
        link.as_ref(),
        change.replaced,
    )
}

/// Says what kinds of changes there were.
fn compare(seed: u64) -> HashSet<What> {
    let mut dice = Dice::new(seed);
    let mut world = World::new(&mut dice);
    let mut seen = HashSet::new();
    for step in 0..400 {
        world.step(&mut dice, step);
        if step % 20 == 19 {
            let delta = world.told();
            let lines: Vec<_> = delta.changes.iter().map(told).collect();
            assert_eq!(lines, world.expected(), "seed {seed}, step {step}");
            delta.changes.iter().for_each(|change| world.check(change));
            seen.extend(delta.changes.iter().map(|change| change.what));
        }
    }
    seen
}

#[test]
fn random_changes_are_told_as_a_comparison_finds_them() {
    let seen: HashSet<What> = (0..6).flat_map(compare).collect();
    assert_eq!(seen.len(), 6, "{seen:?}");
}
