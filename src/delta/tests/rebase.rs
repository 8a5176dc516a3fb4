//! What is found of changes after others were written to the source.

use super::*;
use crate::tree::Tree;
use std::cell::Cell;
use std::ops::ControlFlow;

/// When the source was written to.
const WRITTEN: Time = Time {
    sec: 1 << 40,
    nsec: 7,
};

/// What the source has since `change` was written there, if what is new gets numbers from `next` on.
fn found(change: &Change, next: &Cell<u64>) -> Option<SourceEntry> {
    let now = change.now.as_ref()?;
    let base = change.base.as_ref();
    let kept = base.filter(|_| !change.replaced && !change.content);
    let number = kept.and_then(|base| base.ino);
    let seen = Seen {
        ctime: WRITTEN,
        ..now.seen
    };
    let ino = number.unwrap_or_else(|| {
        next.set(next.get() + 1);
        next.get()
    });
    Some(SourceEntry {
        dev: DEV,
        ino,
        seen,
    })
}

/// All of `changes`, written.
fn written(changes: Vec<Change>) -> Vec<Applied> {
    let next = Cell::new(1000);
    let mut nodes: HashMap<u64, SourceEntry> = HashMap::new();
    let applied = changes.into_iter().map(|change| {
        let found = found(&change, &next);
        let found = change.now.as_ref().zip(found).map(|(now, found)| {
            // All names of an inode lead to one.
            *nodes.entry(now.node).or_insert(found)
        });
        Applied { change, found }
    });
    applied.collect()
}

impl Mount {
    #[track_caller]
    fn rebased(&self, applied: Vec<Applied>) {
        let count = applied.len();
        assert_eq!(rebase(&self.0, applied).unwrap(), count);
    }

    /// Writes everything to the source.
    #[track_caller]
    fn write_all(&self) {
        self.rebased(written(self.changes()));
        assert_eq!(self.changes(), []);
    }

    fn mode(&self, path: &str, perm: u16) {
        let change = SetAttr {
            perm: Some(perm),
            ..SetAttr::default()
        };
        self.set(path, change);
    }
}

#[test]
fn whatever_was_written_is_no_difference_any_more() {
    type Do = fn(&Mount);
    let changes: [Do; 14] = [
        |mount| mount.unlink("f"),
        |mount| mount.write("f"),
        |mount| mount.mode("d/x", 0o600),
        |mount| _ = mount.make("e/n", Kind::Regular),
        |mount| {
            mount.make("n", Kind::Directory);
            mount.make("n/m", Kind::Directory);
            mount.make("n/m/s", Kind::Symlink);
        },
        |mount| mount.rename("d", "e/d"),
        |mount| {
            mount.rename("d", "e/d");
            mount.write("e/d/x");
            mount.rename("e/d/y", "y");
            mount.unlink("f");
            mount.make("f", Kind::Fifo);
        },
        |mount| {
            mount.make("tmp", Kind::Regular);
            mount.rename("tmp", "d/x");
            mount.rename("d", "n");
        },
        |mount| {
            mount.unlink("d/x");
            mount.unlink("d/y");
            mount.rmdir("d");
            mount.make("d", Kind::Directory);
            mount.make("d/x", Kind::Regular);
        },
        |mount| {
            mount.unlink("f");
            mount.make("f", Kind::Directory);
            mount.rename("h1", "f/h1");
        },
        |mount| {
            mount.unlink("h1");
            mount.link("h2", "a");
            mount.link("h2", "b");
            mount.make("n", Kind::Regular);
            mount.link("n", "e/n");
        },
        |mount| mount.write("h1"),
        |mount| {
            mount.rename_as("d", "f", 2);
            mount.rename("e", "f/e");
        },
        |mount| {
            mount.rename("f", "g");
            mount.rename("g", "f");
            mount.mode("f", 0);
            mount.rename("d/x", "d/z");
            mount.rename("d/y", "d/x");
            mount.rename("d/z", "d/y");
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mount = Mount::new();
        change(&mount);
        assert_ne!(mount.changes(), [], "{number}");
        mount.write_all();
        assert!(mount.0.changes().unwrap().0.is_empty(), "{number}");
        assert!(mount.0.changes().unwrap().1.is_empty(), "{number}");
    }
}

#[test]
fn later_changes_are_told_by_what_the_source_is_since() {
    let mount = Mount::new();
    mount.rename("d", "e/d");
    mount.write("f");
    mount.make("n", Kind::Regular);
    mount.link("n", "e/n");
    mount.make("s", Kind::Symlink);
    mount.unlink("h1");
    let applied = written(mount.changes());
    let number = |path: &str| {
        let mut applied = applied.iter();
        let line = applied.find(|one| one.change.path().to_string() == path);
        line.unwrap().found.unwrap()
    };
    let (f, n) = (number("f"), number("n"));
    mount.rebased(applied.clone());
    assert_eq!(mount.changes(), []);
    mount.write("f");
    mount.mode("e/n", 0);
    mount.rename("e/d", "d");
    mount.rename("d/x", "x");
    mount.unlink("s");
    let told = [
        "Removed s>",
        "Moved e/d>d mtime",
        "Metadata e/n>e/n mode",
        "Content f>f content mtime",
        "Metadata n>n mode",
        "Moved e/d/x>x",
    ];
    assert_eq!(mount.told(), told);
    for change in mount.changes() {
        let Some(base) = change.base else { continue };
        let expected = match base.path.to_string().as_str() {
            "f" => f,
            "n" | "e/n" => n,
            _ => continue,
        };
        let is = (base.dev, base.ino, base.seen);
        assert_eq!(is, (Some(expected.dev), Some(expected.ino), expected.seen));
    }
    mount.write_all();
    mount.unlink("f");
    assert_eq!(mount.told(), ["Removed f>"]);
    mount.make("f", Kind::Symlink);
    assert_eq!(
        mount.told(),
        ["Retyped f>f content replaced mode owner mtime"]
    );
}

#[test]
fn what_was_changed_since_it_was_told_is_told_still() {
    let mount = Mount::new();
    mount.write("f");
    mount.mode("d/x", 0o600);
    mount.make("n", Kind::Regular);
    mount.unlink("d/y");
    let applied = written(mount.changes());
    mount.mode("f", 0o700);
    mount.write("d/x");
    mount.make("d/y", Kind::Regular);
    mount.write("n");
    mount.rebased(applied);
    let told = [
        "Content d/x>d/x content mtime",
        &format!("Added >d/y {NEW}"),
        "Content f>f content mode",
        "Content n>n content mtime xattrs acl",
    ];
    assert_eq!(mount.told(), told);
    let changes = mount.changes();
    let base = |path: &str| {
        let mut changes = changes.iter();
        let change = changes.find(|change| change.path().to_string() == path);
        change.unwrap().base.clone().unwrap()
    };
    assert_eq!(base("d/x").seen.mode & 0o7777, 0o600);
    assert_eq!(base("f").seen.ctime, WRITTEN);
    mount.write_all();
}

/// Lets the source be looked at: it has what was written, and `d` and `e`.
fn show(mount: &Mount, applied: &[Applied]) {
    let mut there = mount.1.0.lock();
    for line in applied {
        let (Some(now), Some(found)) = (&line.change.now, &line.found) else {
            continue;
        };
        let path = now.path.as_bytes();
        let entry = OriginEntry {
            path: path.into(),
            dev: found.dev,
            ino: found.ino,
            attr: found.seen.attr(),
        };
        there.insert(path.to_vec(), entry);
    }
}

#[test]
fn what_was_written_and_moved_or_removed_meanwhile_is_told_from_where_it_is() {
    for looks in [true, false] {
        let mount = Mount::new();
        mount.make("n", Kind::Regular);
        mount.make("m", Kind::Directory);
        mount.make("m/o", Kind::Regular);
        mount.make("u", Kind::Regular);
        mount.rename("d", "c");
        mount.rename("f", "g");
        let applied = written(mount.changes());
        mount.rename("n", "m/n");
        mount.rename("m", "k");
        mount.unlink("u");
        mount.rename("c", "b");
        mount.unlink("g");
        if looks {
            show(&mount, &applied);
        }
        let held = rebase(&mount.0, applied.clone()).unwrap();
        match looks {
            true => {
                assert_eq!(held, applied.len());
                let told = [
                    "Removed u>",
                    "Removed g>",
                    "Moved c>b",
                    "Moved m>k mtime",
                    "Moved n>k/n",
                ];
                let told_now = mount.told();
                let plain = |line: &String| line.replace(" xattrs acl", "").replace(" content", "");
                assert_eq!(told_now.iter().map(plain).collect::<Vec<_>>(), told);
                mount.1.0.lock().clear();
                mount.write_all();
            }
            false => {
                let told = mount.told();
                assert!(told.contains(&"Moved d>b".to_owned()), "{told:?}");
                assert!(told.contains(&format!("Added >k/n {NEW}")), "{told:?}");
                assert!(told.contains(&"Removed f>".to_owned()), "{told:?}");
            }
        }
    }
}

#[test]
fn what_is_not_so_changes_nothing() {
    let mount = Mount::new();
    mount.write("f");
    mount.make("n", Kind::Regular);
    mount.make("m", Kind::Directory);
    mount.rename("d/x", "m/x");
    mount.unlink("h1");
    let told = mount.changes();
    let applied = written(told.clone());
    let edits: [fn(&mut Applied); 12] = [
        |line| line.found = line.found.xor(Some(entry())),
        |line| {
            if let Some(now) = &mut line.change.now {
                now.node = 1 << 60;
            }
        },
        |line| {
            if let Some(now) = &mut line.change.now {
                now.node = 0;
            }
        },
        |line| {
            if let Some(base) = &mut line.change.base {
                base.ino = Some(99);
            }
            line.change.now = None;
        },
        |line| edit_paths(line, b"../../etc"),
        |line| edit_paths(line, b"/"),
        |line| edit_paths(line, b"d//x"),
        |line| edit_paths(line, b"nothing/at/all"),
        |line| edit_paths(line, b"f/below"),
        |line| edit_paths(line, &[b'a'; 100_000]),
        |line| edit_paths(line, &b"a/".repeat(50_000)),
        |line| {
            line.change.replaced ^= true;
            line.change.base = line.change.base.take().map(|base| Base {
                seen: Seen {
                    size: 77,
                    ..base.seen
                },
                ..base
            });
            line.change.now = line
                .change
                .now
                .take()
                .filter(|_| line.change.base.is_some());
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut lines = applied.clone();
        lines.iter_mut().for_each(edit);
        lines.retain(|line| !applied.contains(line));
        assert_eq!(rebase(&mount.0, lines).unwrap(), 0, "{number}");
        assert_eq!(mount.changes(), told, "{number}");
    }
    // The source has something else there.
    show(&mount, &applied);
    let mut there = mount.1.0.lock();
    there.values_mut().for_each(|entry| entry.ino += 5000);
    drop(there);
    let held = rebase(&mount.0, applied.clone()).unwrap();
    assert_eq!(held, 1, "the name that is gone");
    mount.1.0.lock().clear();
    let twice = [applied.clone(), applied.clone()].concat();
    assert!(rebase(&mount.0, twice).unwrap() < 2 * applied.len() - 1);
    assert_eq!(mount.changes(), []);
    assert_eq!(rebase(&mount.0, applied).unwrap(), 0, "it is written");
    assert_eq!(mount.changes(), []);
}

fn entry() -> SourceEntry {
    SourceEntry {
        dev: 1,
        ino: 1,
        seen: Seen::of(&attr(Kind::Regular)),
    }
}

fn edit_paths(line: &mut Applied, path: &[u8]) {
    if let Some(now) = &mut line.change.now {
        now.path = path.to_vec().into();
    }
    if let Some(base) = &mut line.change.base {
        base.path = path.to_vec().into();
    }
}

#[test]
fn an_inode_of_which_one_name_was_written_differs_by_the_others() {
    let mount = Mount::new();
    mount.write("h1");
    let mut applied = written(mount.changes());
    applied.retain(|line| line.change.path().to_string() == "h1");
    mount.rebased(applied);
    let told = ["Content h1>h1 content mtime", "Content h2>h2 content mtime"];
    assert_eq!(mount.told(), told);
    mount.write_all();
    mount.mode("h1", 0);
    let mut applied = written(mount.changes());
    applied.retain(|line| line.change.path().to_string() == "h2");
    mount.rebased(applied);
    assert_eq!(mount.changes(), [], "the same inode has both names");
}

#[test]
fn what_lost_its_last_name_in_the_source_is_new_when_it_gets_one() {
    let mount = Mount::new();
    let id = mount.id("f");
    mount.unlink("f");
    mount.write_all();
    let link = |name: &[u8]| {
        let linked = mount.0.link(&ROOT, id, NodeId::ROOT, name);
        linked.unwrap().deliver(drop);
    };
    link(b"again");
    assert_eq!(mount.told(), [format!("Added >again {NEW}")]);
    mount.unlink("again");
    mount.unlink("h1");
    link(b"h1");
    assert_eq!(
        mount.told(),
        ["Content h1>h1 content replaced"],
        "it takes the place of another"
    );
    mount.write_all();
}

#[test]
fn another_name_of_what_was_removed_has_the_times_it_has_in_the_source() {
    let mount = Mount::new();
    mount.unlink("h1");
    let applied = written(mount.changes());
    let seen = Attr {
        nlink: 7,
        ctime: WRITTEN,
        ..attr(Kind::Regular)
    };
    let h2 = OriginEntry {
        path: (*b"h2").into(),
        dev: DEV,
        ino: 15,
        attr: seen,
    };
    mount.1.0.lock().insert(b"h2".to_vec(), h2);
    // All that was told is of the source, but the root was not looked at.
    assert_eq!(rebase(&mount.0, applied).unwrap(), 1);
    mount.mode("h2", 0);
    let changes = mount.changes();
    let h2 = changes.iter().find(|c| c.path().to_string() == "h2");
    let base = h2.unwrap().base.as_ref().unwrap();
    assert_eq!((base.ino, base.seen), (Some(15), Seen::of(&seen)));
}

#[test]
fn what_is_kept_is_given_back() {
    let mount = Mount::new();
    let names: Vec<_> = (0..500).map(|number| format!("e/{number}")).collect();
    names
        .iter()
        .for_each(|name| _ = mount.make(name, Kind::Regular));
    mount.write_all();
    let before = mount.0.memory();
    names.iter().for_each(|name| mount.write(name));
    names.iter().for_each(|name| mount.unlink(name));
    assert!(mount.0.changes_kept() > 1000);
    mount.write_all();
    assert_eq!(mount.0.changes_kept(), 0);
    let after = mount.0.memory();
    assert!(after < before, "{after} {before}");
}

#[test]
fn a_directory_that_has_names_in_the_source_is_not_removed_there() {
    let mount = Mount::new();
    mount.unlink("d/x");
    mount.rename("d/y", "y");
    mount.rmdir("d");
    let told = mount.told();
    let mut applied = written(mount.changes());
    applied.retain(|line| line.change.path().to_string() == "d");
    assert_eq!(rebase(&mount.0, applied).unwrap(), 0);
    assert_eq!(mount.told(), told);
    mount.write_all();
}

#[test]
fn it_can_be_told_while_everything_changes() {
    let mount = &Mount::new();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            for round in 0..2000 {
                let name = format!("d/n{}", round % 7);
                mount.make(&name, Kind::Regular);
                mount.write(&name);
                mount.rename("d/x", "e/x");
                mount.rename(&name, "d/x");
                mount.rename("e/x", "d/x");
            }
        });
        while !work.is_finished() {
            let applied = written(mount.changes());
            rebase(&mount.0, applied).unwrap();
        }
    });
    // Whatever was taken for another since is remembered as what it was.
    ["d", "e", "d/x"]
        .iter()
        .for_each(|path| mount.mode(path, 0o711));
    let told = mount.told();
    for path in ["d", "e", "d/x"] {
        let mode = |line: &String| line.contains(&format!(">{path} ")) && line.contains(" mode");
        assert!(told.iter().any(mode), "{told:?}");
    }
    mount.mode("d/x", 0o755);
    mount.write_all();
}

/// A mount that is loaded from what `mount` shows.
fn loaded_again(mount: &Mount) -> Mount {
    fn fill(
        from: &Mount,
        to: &Mount,
        (directory, copy): (NodeId, NodeId),
        known: &mut HashMap<NodeId, NodeId>,
    ) {
        let tree: &Tree<_> = from.0.tree();
        let mut names = Vec::new();
        let listed = tree.read_dir(&tree.get(directory).unwrap(), 0, |entry| {
            names.push((entry.name.to_vec(), entry.id));
            ControlFlow::Continue(())
        });
        listed.unwrap();
        names.retain(|(name, _)| name != b"." && name != b"..");
        for (name, id) in names {
            if let Some(known) = known.get(&id) {
                to.0.load_link(*known, copy, &name).unwrap();
                continue;
            }
            let inode = tree.get(id).unwrap();
            let target = inode.target();
            let new = Loaded {
                attr: inode.attr(),
                ino: NonZeroU64::new(inode.ino()),
                target: target.as_deref(),
                xattrs: Vec::new(),
                backing: None,
                seed: None,
            };
            let made = to.0.load(copy, &name, new).unwrap();
            known.insert(id, made);
            if inode.kind() == Kind::Directory {
                fill(from, to, (id, made), known);
            }
        }
    }
    let fs = Fs::new((*mount.0.config()).clone(), attr(Kind::Directory)).unwrap();
    fs.number(NonZeroU64::new(1)).unwrap();
    let again = Mount::of(fs, mount.0.tree().root().attr());
    fill(
        mount,
        &again,
        (NodeId::ROOT, NodeId::ROOT),
        &mut HashMap::new(),
    );
    again
}

/// One change, chosen by `number`, if it can be made.
fn change(mount: &Mount, number: u64) {
    const NAMES: [&str; 12] = [
        "d", "e", "f", "h1", "d/x", "d/y", "e/x", "e/d", "d/e", "e/d/x", "d/e/f", "h2",
    ];
    let name = |shift: u32| NAMES[(number >> shift) as usize % NAMES.len()];
    let find = |path: &str| {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let above = above.split('/').filter(|name| !name.is_empty());
        let dir = above.into_iter().try_fold(NodeId::ROOT, |dir, name| {
            let found = mount.0.lookup(&ROOT, dir, name.as_bytes()).ok()??;
            (found.attr.kind == Kind::Directory).then_some(found.id)
        })?;
        Some((dir, name.to_owned()))
    };
    let (Some(from), Some(to)) = (find(name(8)), find(name(16))) else {
        return;
    };
    let (from, to) = ((from.0, from.1.as_bytes()), (to.0, to.1.as_bytes()));
    let id = || Some(mount.0.lookup(&ROOT, from.0, from.1).ok()??.id);
    let kind = [Kind::Regular, Kind::Directory, Kind::Symlink][(number >> 24) as usize % 3];
    match number % 8 {
        0 => {
            _ = mount
                .0
                .unlink(&ROOT, from.0, from.1)
                .map(|done| done.deliver(drop))
        }
        1 => {
            _ = mount
                .0
                .rmdir(&ROOT, from.0, from.1)
                .map(|done| done.deliver(drop))
        }
        2 | 3 => {
            let flags = if number & 1 << 30 == 0 { 0 } else { 2 };
            let done = mount.0.rename(&ROOT, from, to, flags);
            _ = done.map(|done| done.deliver(drop));
        }
        4 | 5 if id().is_none() => _ = mount.make(name(8), kind),
        6 => {
            let change = SetAttr {
                perm: Some((number >> 32) as u16 & 0o777),
                ..SetAttr::default()
            };
            let done = id().map(|id| mount.0.setattr(&ROOT, id, &change));
            _ = done.map(|done| done.map(|done| done.deliver(drop)));
        }
        _ => {
            let Some(id) = id() else { return };
            if number & 1 << 31 == 0 {
                let done = mount.0.link(&ROOT, id, to.0, to.1);
                _ = done.map(|done| done.deliver(drop));
            } else {
                let done = mount.0.write(&ROOT, id, 0, b"x", false);
                _ = done.map(|done| done.deliver(drop));
            }
        }
    }
}

#[test]
fn after_a_rebase_everything_is_told_as_if_the_source_were_loaded_again() {
    // A generator as of splitmix64.
    let mut state = 0_u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    };
    for round in 0..60 {
        let mount = Mount::new();
        for _ in 0..3 {
            (0..random() % 12).for_each(|_| change(&mount, random()));
            mount.write_all();
            let again = loaded_again(&mount);
            for _ in 0..random() % 8 {
                let number = random();
                change(&mount, number);
                change(&again, number);
                let (told, expected) = (mount.told(), again.told());
                assert_eq!(told, expected, "round {round}");
            }
        }
    }
}
