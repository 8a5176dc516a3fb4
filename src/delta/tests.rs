//! What is found of each kind of change.

mod rebase;

use super::*;
use crate::fs::{
    Backing, Caller, Config, Fs, Loaded, Origin, OriginEntry, OriginRoot, SetAttr, SetTime,
};
use crate::tree::{Attr, Errno, Kind, NodeId, Seed, Time};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

const ROOT: Caller = Caller {
    uid: 0,
    gid: 0,
    pid: 0,
    umask: 0,
};
const THEN: Time = Time { sec: 9, nsec: 1 };
const DEV: u64 = 77;

/// A source of which nobody reads a file. What lies in it is known where a test says so.
#[derive(Default)]
struct Nowhere(Mutex<HashMap<Vec<u8>, OriginEntry>>);

impl Origin for Nowhere {
    fn backing(self: Arc<Nowhere>, _: Seed) -> Box<dyn Backing> {
        unreachable!("nothing has a seed")
    }

    fn root(&self) -> Result<Option<OriginRoot>, Errno> {
        Ok(Some(OriginRoot {
            path: "/source".into(),
            dev: DEV,
            ino: 1,
        }))
    }

    fn number_of(&self, shown: u64) -> Option<(u64, u64)> {
        Some((DEV, shown)).filter(|_| shown < 1 << 62)
    }

    fn entry(&self, path: &[u8]) -> Result<Option<OriginEntry>, Errno> {
        let known = self.0.lock();
        match known.is_empty() {
            true => Err(Errno::NOSYS),
            false => Ok(known.get(path).cloned()),
        }
    }
}

struct Mount(Fs, Arc<Nowhere>);

fn attr(kind: Kind) -> Attr {
    Attr {
        nlink: 1 + u32::from(kind == Kind::Directory),
        ..Attr::new(kind, 0o755, 3, 4, THEN)
    }
}

impl Mount {
    /// `d/x`, `d/y`, `e` (a directory), `f`, and `h1`, `h2` that are one file; the inode numbers are 10 and more.
    fn new() -> Mount {
        let config = Config {
            max_bytes: 1 << 30,
            max_inodes: 1 << 20,
            read_only: false,
        };
        let fs = Fs::new(config, attr(Kind::Directory)).unwrap();
        fs.number(NonZeroU64::new(1)).unwrap();
        let mount = Mount::of(fs, attr(Kind::Directory));
        let d = mount.load(NodeId::ROOT, "d", Kind::Directory, 10);
        mount.load(d, "x", Kind::Regular, 11);
        mount.load(d, "y", Kind::Regular, 12);
        mount.load(NodeId::ROOT, "e", Kind::Directory, 13);
        mount.load(NodeId::ROOT, "f", Kind::Regular, 14);
        let h = mount.load(NodeId::ROOT, "h1", Kind::Regular, 15);
        mount.0.load_link(h, NodeId::ROOT, b"h2").unwrap();
        mount
    }

    /// Of an empty directory with the attributes `root`.
    fn of(fs: Fs, root: Attr) -> Mount {
        let origin = Arc::new(Nowhere::default());
        fs.load_root(root, Vec::new());
        fs.set_origin(origin.clone()).unwrap();
        Mount(fs, origin)
    }

    fn load(&self, parent: NodeId, name: &str, kind: Kind, ino: u64) -> NodeId {
        let new = Loaded {
            attr: attr(kind),
            ino: NonZeroU64::new(ino),
            target: None,
            xattrs: Vec::new(),
            backing: None,
            seed: None,
        };
        self.0.load(parent, name.as_bytes(), new).unwrap()
    }

    /// The directory that `path` is in, and the last name.
    fn place<'p>(&self, path: &'p str) -> (NodeId, &'p [u8]) {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = above.split('/').filter(|name| !name.is_empty());
        let dir = above.fold(NodeId::ROOT, |dir, name| {
            self.0
                .lookup(&ROOT, dir, name.as_bytes())
                .unwrap()
                .unwrap()
                .id
        });
        (dir, name.as_bytes())
    }

    fn id(&self, path: &str) -> NodeId {
        let (dir, name) = self.place(path);
        self.0.lookup(&ROOT, dir, name).unwrap().unwrap().id
    }

    fn make(&self, path: &str, kind: Kind) -> NodeId {
        let (dir, name) = self.place(path);
        let made = match kind {
            Kind::Directory => self.0.mkdir(&ROOT, dir, name, 0o755),
            Kind::Symlink => self.0.symlink(&ROOT, dir, name, b"target"),
            _ => self.0.mknod(&ROOT, dir, name, kind.bits() | 0o755, 0),
        };
        made.unwrap().deliver(drop).id
    }

    fn write(&self, path: &str) {
        let written = self.0.write(&ROOT, self.id(path), 0, b"bytes", false);
        written.unwrap().deliver(drop);
    }

    fn set(&self, path: &str, change: SetAttr) {
        let done = self.0.setattr(&ROOT, self.id(path), &change);
        done.unwrap().deliver(drop);
    }

    fn unlink(&self, path: &str) {
        let (dir, name) = self.place(path);
        self.0.unlink(&ROOT, dir, name).unwrap().deliver(drop);
    }

    fn rmdir(&self, path: &str) {
        let (dir, name) = self.place(path);
        self.0.rmdir(&ROOT, dir, name).unwrap().deliver(drop);
    }

    fn rename(&self, from: &str, to: &str) {
        self.rename_as(from, to, 0);
    }

    fn rename_as(&self, from: &str, to: &str, flags: u32) {
        let (from, to) = (self.place(from), self.place(to));
        self.0.rename(&ROOT, from, to, flags).unwrap().deliver(drop);
    }

    fn link(&self, from: &str, to: &str) {
        let (id, (dir, name)) = (self.id(from), self.place(to));
        self.0.link(&ROOT, id, dir, name).unwrap().deliver(drop);
    }

    fn changes(&self) -> Vec<Change> {
        of(&self.0).unwrap().changes
    }

    /// Each change in one line, without directories of which mtime alone differs.
    fn told(&self) -> Vec<String> {
        let changes = self.changes().into_iter();
        let changes = changes.filter(|change| !change.is_bare_directory());
        changes.map(|change| told(&change)).collect()
    }
}

fn told(change: &Change) -> String {
    let from = change
        .base
        .as_ref()
        .map_or(String::new(), |base| base.path.to_string());
    let to = change
        .now
        .as_ref()
        .map_or(String::new(), |now| now.path.to_string());
    let Metadata {
        mode,
        owner,
        mtime,
        xattrs,
        acl,
    } = change.metadata;
    let marks = [
        (change.content, " content"),
        (change.replaced, " replaced"),
        (mode, " mode"),
        (owner, " owner"),
        (mtime, " mtime"),
        (xattrs, " xattrs"),
        (acl, " acl"),
    ];
    let marks = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark);
    let link = change
        .link
        .as_ref()
        .map_or(String::new(), |link| format!(" link {link}"));
    format!(
        "{:?} {from}>{to}{}{link}",
        change.what,
        marks.collect::<String>()
    )
}

const NEW: &str = "content mode owner mtime";

#[test]
fn nothing_differs_of_what_was_loaded_or_put_back() {
    let mount = Mount::new();
    assert_eq!(mount.changes(), []);
    let mode = |perm| SetAttr {
        perm: Some(perm),
        ..SetAttr::default()
    };
    mount.set("f", mode(0o600));
    assert_eq!(mount.told(), ["Metadata f>f mode"]);
    mount.set("f", mode(0o755));
    mount.rename("d", "e/d");
    mount.rename("e/d/x", "x");
    assert_eq!(mount.told(), ["Moved d>e/d mtime", "Moved d/x>x"]);
    mount.rename("x", "e/d/x");
    mount.rename("e/d", "d");
    mount.link("h1", "h3");
    mount.unlink("h3");
    let changes = mount.changes();
    assert!(changes.iter().all(Change::is_bare_directory), "{changes:?}");
    assert_eq!(changes.len(), 3, "the root, d and e");
}

#[test]
fn what_it_was_is_told_as_it_was_loaded() {
    let mount = Mount::new();
    mount.write("f");
    mount.unlink("f");
    let changes = mount.changes();
    let base = changes[0].base.as_ref().unwrap();
    assert_eq!((base.dev, base.ino), (Some(DEV), Some(14)));
    assert_eq!(base.seen, Seen::of(&attr(Kind::Regular)));
    let empty = Fs::new((*mount.0.config()).clone(), attr(Kind::Directory)).unwrap();
    assert!(matches!(of(&empty), Err(Unknown::NoSource)));
}

#[test]
fn content_and_attributes() {
    let mount = Mount::new();
    mount.write("f");
    let change = SetAttr {
        uid: Some(9),
        mtime: Some(SetTime::At(THEN)),
        ..SetAttr::default()
    };
    mount.set("f", change);
    assert_eq!(mount.told(), ["Content f>f content owner"]);
    let size = SetAttr {
        size: Some(0),
        mtime: Some(SetTime::At(THEN)),
        ..SetAttr::default()
    };
    mount.set("d/x", size);
    assert_eq!(mount.told().len(), 1, "as long as it was");
    mount.write("h1");
    let y = mount.id("d/y");
    let set = mount.0.setxattr(&ROOT, y, b"user.a", b"1", 0, false);
    set.unwrap().deliver(drop);
    let told = [
        "Metadata d/y>d/y xattrs",
        "Content f>f content owner",
        "Content h1>h1 content mtime",
        "Content h2>h2 content mtime",
    ];
    assert_eq!(mount.told(), told);
}

#[test]
fn a_file_that_is_saved_by_a_rename_has_other_content() {
    let mount = Mount::new();
    mount.make("d/tmp", Kind::Regular);
    mount.rename("d/tmp", "d/x");
    mount.rename("d", "n");
    assert_eq!(
        mount.told(),
        [
            "Moved d>n mtime",
            "Content d/x>n/x content replaced owner mtime"
        ]
    );
    mount.rename("n/x", "n/backup");
    mount.rename("n/backup", "d");
    assert_eq!(
        mount.told(),
        [
            "Removed d/x>",
            &format!("Added >d {NEW}"),
            "Moved d>n mtime"
        ]
    );
}

#[test]
fn a_directory_made_anew_has_nothing_of_the_old_one() {
    let mount = Mount::new();
    mount.unlink("d/x");
    mount.rename("d/y", "y");
    mount.rmdir("d");
    assert_eq!(mount.told(), ["Removed d/x>", "Removed d>", "Moved d/y>y"]);
    mount.make("d", Kind::Directory);
    mount.make("d/x", Kind::Symlink);
    let told = [
        "Metadata d>d replaced owner mtime",
        "Retyped d/x>d/x content replaced mode owner mtime",
        "Moved d/y>y",
    ];
    assert_eq!(mount.told(), told);
}

#[test]
fn another_kind_takes_a_name_and_old_children_are_gone_first() {
    let mount = Mount::new();
    mount.unlink("d/x");
    mount.unlink("d/y");
    mount.rmdir("d");
    mount.make("d", Kind::Fifo);
    mount.unlink("f");
    mount.make("f", Kind::Directory);
    mount.make("f/below", Kind::Regular);
    let told = [
        "Removed d/y>",
        "Removed d/x>",
        "Retyped d>d replaced owner mtime",
        "Retyped f>f replaced owner mtime",
        &format!("Added >f/below {NEW}"),
    ];
    assert_eq!(mount.told(), told);
    mount.unlink("d");
    mount.make("d", Kind::Directory);
    assert!(
        mount
            .told()
            .contains(&"Metadata d>d replaced owner mtime".to_owned())
    );
}

#[test]
fn hard_links_are_names_of_one_file() {
    let mount = Mount::new();
    mount.unlink("h1");
    assert_eq!(mount.told(), ["Removed h1>"]);
    mount.link("h2", "a");
    mount.link("h2", "b");
    let told = ["Moved h1>a".to_owned(), format!("Added >b {NEW} link h2")];
    assert_eq!(mount.told(), told);
    mount.make("n", Kind::Regular);
    mount.link("n", "e/n");
    let told = [
        "Moved h1>a".to_owned(),
        format!("Added >b {NEW} link h2"),
        format!("Added >e/n {NEW}"),
        format!("Added >n {NEW} link e/n"),
    ];
    assert_eq!(mount.told(), told);
    let nodes = |path: &str| {
        let changes = mount.changes().into_iter().filter_map(|change| change.now);
        let mut nodes = changes.filter(|now| now.path.to_string() == path);
        nodes.next().unwrap().node
    };
    assert_eq!(nodes("n"), nodes("e/n"));
}

#[test]
fn names_that_change_places() {
    let mount = Mount::new();
    mount.rename_as("d", "f", 2);
    assert_eq!(mount.told(), ["Moved f>d", "Moved d>f"]);
    mount.rename("f/x", "d");
    assert_eq!(
        mount.told(),
        ["Removed f>", "Moved d/x>d", "Moved d>f mtime"]
    );
    mount.rename("e", "f/e");
    let told = [
        "Removed f>",
        "Moved d/x>d",
        "Moved d>f mtime",
        "Moved e>f/e",
    ];
    assert_eq!(mount.told(), told);
}

#[test]
fn what_was_made_and_went_leaves_nothing_and_what_has_no_name_is_nothing() {
    let mount = Mount::new();
    mount.make("n", Kind::Regular);
    mount.rename("n", "m");
    mount.unlink("m");
    let nameless = mount.0.tmpfile(&ROOT, NodeId::ROOT, 0o600);
    let nameless = nameless.unwrap().deliver(drop).id;
    assert_eq!(mount.told(), Vec::<String>::new());
    mount
        .0
        .link(&ROOT, nameless, NodeId::ROOT, b"named")
        .unwrap()
        .deliver(drop);
    assert_eq!(mount.told(), [format!("Added >named {NEW}")]);
}

#[test]
fn it_can_be_asked_while_everything_changes() {
    let mount = &Mount::new();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            for round in 0..2000 {
                let name = format!("n{}", round % 7);
                mount.make(&name, Kind::Regular);
                mount.rename("d/x", "e/x");
                mount.rename(&name, "d/x");
                mount.rename("e/x", "d/x");
            }
        });
        while !work.is_finished() {
            // Of `x` there is always one: `d/x` or `e/x`, or both with a new file.
            let changes = mount.changes();
            let moved = changes.iter().filter(|change| change.what == What::Moved);
            assert!(moved.count() <= 1);
            assert!(
                changes.iter().all(|change| change.what != What::Removed),
                "{changes:?}"
            );
        }
    });
    assert_eq!(mount.told(), Vec::<String>::new());
}
