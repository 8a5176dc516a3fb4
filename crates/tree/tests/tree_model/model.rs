//! The tree as it is meant, in plain maps: what every operation answers and changes.

use norefs_tree::{
    Attr, Credential, DIRENT_SIZE, Errno, Kind, NAME_MAX, PATH_MAX, RenameMode, Time,
};
use std::collections::BTreeMap;

/// A number for each inode ever made; the root is 0.
pub type Ino = usize;
pub type Result<T> = std::result::Result<T, Errno>;

/// One name: the inode it leads to, and a number that no other name ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub ino: Ino,
    pub birth: u64,
}

#[derive(Clone, Debug)]
pub struct Inode {
    pub attr: Attr,
    pub target: Option<Vec<u8>>,
    pub names: BTreeMap<Vec<u8>, Edge>,
    /// The directory a directory is in; `None` once it was removed. The root is in itself.
    pub parent: Option<Ino>,
    pub links: u32,
    pub nlookup: u64,
    pub holds: u64,
    /// The client can never learn of it again.
    pub forgotten: bool,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub inodes: Vec<Inode>,
    births: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    pub moved: Ino,
    pub exchanged: Option<Ino>,
    pub replaced: Option<Ino>,
    pub changed: bool,
}

fn fresh(name: &[u8]) -> Result<()> {
    short(name)?;
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

fn short(name: &[u8]) -> Result<()> {
    match name.len() <= NAME_MAX {
        true => Ok(()),
        false => Err(Errno::NAMETOOLONG),
    }
}

impl Inode {
    pub fn new(attr: Attr) -> Inode {
        Inode {
            attr,
            target: None,
            names: BTreeMap::new(),
            parent: None,
            links: 0,
            nlookup: 0,
            holds: 0,
            forgotten: false,
        }
    }

    pub fn is_directory(&self) -> bool {
        self.attr.kind == Kind::Directory
    }

    pub fn lives(&self) -> bool {
        self.links > 0 || self.nlookup > 0 || self.holds > 0
    }

    fn touch(&mut self, now: Time, entries: i64, directories: i32) {
        (self.attr.mtime, self.attr.ctime) = (now, now);
        self.attr.nlink = self.attr.nlink.checked_add_signed(directories).unwrap();
        let size = entries * DIRENT_SIZE as i64;
        self.attr.size = self.attr.size.checked_add_signed(size).unwrap();
    }

    fn lose_name(&mut self, now: Time) {
        self.links -= 1;
        self.attr.nlink = match self.links {
            0 => 0,
            left => (self.attr.nlink - 1).max(left),
        };
        self.attr.ctime = now;
    }

    fn may_search(&self, cred: &Credential<'_>) -> bool {
        let class = match cred.uid {
            0 => return true,
            uid if uid == self.attr.uid => 6,
            _ if cred.gid == self.attr.gid || cred.groups.contains(&self.attr.gid) => 3,
            _ => 0,
        };
        self.attr.perm >> class & 1 == 1
    }
}

impl Model {
    pub fn new(root: Attr) -> Model {
        // The tree itself holds its root.
        let root = Inode {
            parent: Some(0),
            links: 1,
            holds: 1,
            ..Inode::new(root)
        };
        Model {
            inodes: vec![root],
            births: 0,
        }
    }

    pub fn get(&self, ino: Ino) -> Result<&Inode> {
        Some(&self.inodes[ino])
            .filter(|inode| inode.lives())
            .ok_or(Errno::STALE)
    }

    fn directory(&self, ino: Ino) -> Result<&Inode> {
        match self.get(ino)? {
            inode if inode.is_directory() => Ok(inode),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// A directory in which names can be made and removed.
    fn writable(&self, ino: Ino) -> Result<&Inode> {
        let directory = self.directory(ino)?;
        directory.parent.map(|_| directory).ok_or(Errno::NOENT)
    }

    fn named(&self, dir: Ino, name: &[u8]) -> Result<Edge> {
        self.writable(dir)?
            .names
            .get(name)
            .copied()
            .ok_or(Errno::NOENT)
    }

    fn put(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        self.births += 1;
        let edge = Edge {
            ino,
            birth: self.births,
        };
        self.inodes[dir].names.insert(name.to_vec(), edge);
        if self.inodes[ino].is_directory() {
            self.inodes[ino].parent = Some(dir);
        }
    }

    fn attach(&mut self, dir: Ino, name: &[u8], ino: Ino, now: Time) {
        let directories = i32::from(self.inodes[ino].is_directory());
        self.inodes[ino].links += 1;
        self.put(dir, name, ino);
        self.inodes[dir].touch(now, 1, directories);
    }

    pub fn create(&mut self, dir: Ino, name: &[u8], mut new: Inode, now: Time) -> Result<Ino> {
        self.get(dir)?;
        fresh(name)?;
        self.directory(dir)?;
        if let Some(target) = &new.target {
            match target.len() {
                0 => return Err(Errno::NOENT),
                PATH_MAX.. => return Err(Errno::NAMETOOLONG),
                _ if target.contains(&0) => return Err(Errno::INVAL),
                len => new.attr.size = len as u64,
            }
        }
        if self.writable(dir)?.names.contains_key(name) {
            return Err(Errno::EXIST);
        }
        self.inodes.push(new);
        let ino = self.inodes.len() - 1;
        self.attach(dir, name, ino, now);
        Ok(ino)
    }

    /// A new inode that has no name; somebody holds it.
    pub fn create_nameless(&mut self, mut new: Inode) -> Result<Ino> {
        if new.is_directory() {
            return Err(Errno::ISDIR);
        }
        (new.attr.nlink, new.holds) = (0, 1);
        self.inodes.push(new);
        Ok(self.inodes.len() - 1)
    }

    pub fn link(&mut self, ino: Ino, dir: Ino, name: &[u8], now: Time) -> Result<()> {
        self.get(ino)?;
        self.get(dir)?;
        fresh(name)?;
        if self.inodes[ino].is_directory() {
            return Err(Errno::PERM);
        }
        // As in the kernel, the name is looked at before the inode.
        if self.writable(dir)?.names.contains_key(name) {
            return Err(Errno::EXIST);
        }
        if self.inodes[ino].forgotten {
            return Err(Errno::NOENT);
        }
        self.attach(dir, name, ino, now);
        let attr = &mut self.inodes[ino].attr;
        attr.nlink += 1;
        attr.ctime = now;
        Ok(())
    }

    pub fn unlink(&mut self, dir: Ino, name: &[u8], now: Time) -> Result<Ino> {
        self.get(dir)?;
        fresh(name)?;
        let ino = self.named(dir, name)?.ino;
        if self.inodes[ino].is_directory() {
            return Err(Errno::ISDIR);
        }
        self.take_away(dir, name, now);
        Ok(ino)
    }

    pub fn rmdir(&mut self, dir: Ino, name: &[u8], now: Time) -> Result<Ino> {
        self.get(dir)?;
        fresh(name)?;
        let ino = self.named(dir, name)?.ino;
        match &self.inodes[ino] {
            inode if !inode.is_directory() => Err(Errno::NOTDIR),
            inode if !inode.names.is_empty() => Err(Errno::NOTEMPTY),
            _ => {
                self.take_away(dir, name, now);
                Ok(ino)
            }
        }
    }

    pub fn remove_tree(&mut self, dir: Ino, name: &[u8], now: Time) -> Result<Ino> {
        self.get(dir)?;
        fresh(name)?;
        let ino = self.named(dir, name)?.ino;
        if !self.inodes[ino].is_directory() {
            return Err(Errno::NOTDIR);
        }
        self.take_away(dir, name, now);
        let mut directories = vec![ino];
        while let Some(directory) = directories.pop() {
            for edge in std::mem::take(&mut self.inodes[directory].names).into_values() {
                let child = &mut self.inodes[edge.ino];
                child.lose_name(now);
                if child.is_directory() {
                    child.parent = None;
                    directories.push(edge.ino);
                }
            }
        }
        Ok(ino)
    }

    fn take_away(&mut self, dir: Ino, name: &[u8], now: Time) {
        let edge = self.inodes[dir].names.remove(name).unwrap();
        let child = &mut self.inodes[edge.ino];
        let directories = i32::from(child.is_directory());
        child.lose_name(now);
        child.parent = None;
        self.inodes[dir].touch(now, -1, -directories);
    }

    fn is_below(&self, mut ino: Ino, top: Ino) -> bool {
        while ino != top {
            match self.inodes[ino].parent {
                Some(parent) if parent != ino => ino = parent,
                _ => return false,
            }
        }
        true
    }

    pub fn rename(
        &mut self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        mode: RenameMode,
        left: Option<Attr>,
        now: Time,
    ) -> Result<Renamed> {
        self.get(from.0)?;
        self.get(to.0)?;
        if let Some(left) = left
            && (left.kind == Kind::Directory || mode == RenameMode::Exchange)
        {
            return Err(Errno::INVAL);
        }
        let birth = |(dir, name): (Ino, &[u8])| {
            let names = &self.inodes.get(dir)?.names;
            names.get(name).map(|edge| edge.birth)
        };
        let (births, alone) = ([birth(from), birth(to)], left.is_none());
        let renamed = self.rename_over(from, to, mode, now)?;
        if !renamed.changed {
            return Ok(renamed);
        }
        if let Some(left) = left {
            self.inodes.push(Inode::new(left));
            self.attach(from.0, from.1, self.inodes.len() - 1, now);
        }
        // Names that stay are the same names, and so is one that changes within its directory.
        let new = births[1].or(births[0].filter(|_| alone && from.0 == to.0));
        for ((dir, name), birth) in [(from, births[0]), (to, new)] {
            let edge = self.inodes[dir].names.get_mut(name);
            if let (Some(edge), Some(birth)) = (edge, birth) {
                edge.birth = birth;
            }
        }
        Ok(renamed)
    }

    fn rename_over(
        &mut self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        mode: RenameMode,
        now: Time,
    ) -> Result<Renamed> {
        fresh(from.1)?;
        fresh(to.1)?;
        self.directory(from.0)?;
        self.directory(to.0)?;
        self.writable(from.0)?;
        self.writable(to.0)?;
        let moved = self.named(from.0, from.1)?.ino;
        if self.is_below(to.0, moved) {
            return Err(Errno::INVAL);
        }
        let target = self.inodes[to.0].names.get(to.1).map(|edge| edge.ino);
        let renamed = Renamed {
            moved,
            exchanged: None,
            replaced: None,
            changed: true,
        };
        match (target, mode) {
            (None, RenameMode::Exchange) => Err(Errno::NOENT),
            (None, _) => {
                self.move_over(from, to, now);
                Ok(renamed)
            }
            (Some(_), RenameMode::NoReplace) => Err(Errno::EXIST),
            (Some(target), RenameMode::Exchange) if self.is_below(from.0, target) => {
                Err(Errno::INVAL)
            }
            (Some(target), RenameMode::Replace) if self.is_below(from.0, target) => {
                Err(Errno::NOTEMPTY)
            }
            (Some(target), _) if target == moved => Ok(Renamed {
                changed: false,
                ..renamed
            }),
            (Some(target), RenameMode::Exchange) => {
                self.exchange(from, to, now);
                Ok(Renamed {
                    exchanged: Some(target),
                    ..renamed
                })
            }
            (Some(target), RenameMode::Replace) => {
                let (moved, old) = (&self.inodes[moved], &self.inodes[target]);
                match (moved.is_directory(), old.is_directory()) {
                    (true, false) => return Err(Errno::NOTDIR),
                    (false, true) => return Err(Errno::ISDIR),
                    _ if !old.names.is_empty() => return Err(Errno::NOTEMPTY),
                    _ => self.take_away(to.0, to.1, now),
                }
                self.move_over(from, to, now);
                Ok(Renamed {
                    replaced: Some(target),
                    ..renamed
                })
            }
        }
    }

    fn move_over(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), now: Time) {
        let edge = self.inodes[from.0].names.remove(from.1).unwrap();
        let directories = i32::from(self.inodes[edge.ino].is_directory());
        self.put(to.0, to.1, edge.ino);
        self.inodes[from.0].touch(now, -1, -directories);
        self.inodes[to.0].touch(now, 1, directories);
        self.inodes[edge.ino].attr.ctime = now;
    }

    fn exchange(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), now: Time) {
        let one = self.inodes[from.0].names[from.1].ino;
        let other = self.inodes[to.0].names[to.1].ino;
        self.put(to.0, to.1, one);
        self.put(from.0, from.1, other);
        let directories = |ino: Ino, model: &Model| i32::from(model.inodes[ino].is_directory());
        let more = directories(one, self) - directories(other, self);
        self.inodes[from.0].touch(now, 0, -more);
        self.inodes[to.0].touch(now, 0, more);
        for ino in [one, other] {
            self.inodes[ino].attr.ctime = now;
        }
    }

    pub fn lookup(&mut self, dir: Ino, name: &[u8]) -> Result<Option<Ino>> {
        short(name)?;
        let found = self.directory(dir)?.names.get(name).map(|edge| edge.ino);
        if let Some(ino) = found {
            self.inodes[ino].nlookup += 1;
        }
        Ok(found)
    }

    pub fn raise_lookup(&mut self, ino: Ino) -> Result<()> {
        match self.get(ino)?.forgotten {
            true => Err(Errno::STALE),
            false => {
                self.inodes[ino].nlookup += 1;
                Ok(())
            }
        }
    }

    pub fn forget(&mut self, ino: Ino, n: u64) -> bool {
        let inode = &mut self.inodes[ino];
        if !inode.lives() || n > inode.nlookup {
            return false;
        }
        inode.nlookup -= n;
        inode.forgotten |= inode.nlookup == 0 && inode.links == 0;
        true
    }

    pub fn parent(&self, dir: Ino) -> Result<Ino> {
        self.directory(dir)?.parent.ok_or(Errno::NOENT)
    }

    /// The inode a path leads to.
    pub fn walk(&self, at: Ino, path: &[u8], cred: &Credential<'_>, follow: bool) -> Result<Ino> {
        match path.len() {
            0 => return Err(Errno::NOENT),
            PATH_MAX.. => return Err(Errno::NAMETOOLONG),
            _ => {}
        }
        let mut here = if path[0] == b'/' { 0 } else { at };
        self.get(here)?;
        let mut rest = path.to_vec();
        let mut links = 0;
        while let Some(start) = rest.iter().position(|byte| *byte != b'/') {
            let tail = &rest[start..];
            let end = tail
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(tail.len());
            let (component, after) = tail.split_at(end);
            let next = self.step(here, component, cred)?;
            let stop = after.is_empty() && !follow;
            match &self.inodes[next].target {
                Some(target) if !stop => {
                    links += 1;
                    if links > 40 {
                        return Err(Errno::LOOP);
                    }
                    if target[0] == b'/' {
                        here = 0;
                    }
                    rest = [target, after].concat();
                }
                _ => (here, rest) = (next, after.to_vec()),
            }
        }
        match rest.is_empty() || self.inodes[here].is_directory() {
            true => Ok(here),
            false => Err(Errno::NOTDIR),
        }
    }

    fn step(&self, here: Ino, component: &[u8], cred: &Credential<'_>) -> Result<Ino> {
        let directory = self.directory(here)?;
        if !directory.may_search(cred) {
            return Err(Errno::ACCESS);
        }
        match component {
            b"." => Ok(here),
            b".." => directory.parent.ok_or(Errno::NOENT),
            name => {
                short(name)?;
                directory
                    .names
                    .get(name)
                    .map(|edge| edge.ino)
                    .ok_or(Errno::NOENT)
            }
        }
    }
}
