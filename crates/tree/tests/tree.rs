//! The tree's operations one by one, without concurrency.

use norefs_tree::{
    Attr, Credential, Errno, InodeRef, Kind, LinkTarget, Mask, NewInode, NodeId, PathArgs,
    RenameMode, Time, Tree,
};
use std::ops::ControlFlow;

const NOW: Option<Time> = Some(Time { sec: 100, nsec: 5 });
const LATER: Time = Time { sec: 200, nsec: 6 };

fn attr(kind: Kind, perm: u16) -> Attr {
    Attr {
        nlink: if kind == Kind::Directory { 2 } else { 1 },
        ..Attr::new(kind, perm, 0, 0, Time { sec: 1, nsec: 0 })
    }
}

fn tree() -> Tree {
    Tree::new(attr(Kind::Directory, 0o755))
}

fn dir<'t>(at: &InodeRef<'t>, tree: &'t Tree, name: &str) -> InodeRef<'t> {
    let new = NewInode::plain(attr(Kind::Directory, 0o755));
    tree.create(at, name.as_bytes(), new, NOW).unwrap()
}

fn file<'t>(at: &InodeRef<'t>, tree: &'t Tree, name: &str) -> InodeRef<'t> {
    let new = NewInode::plain(attr(Kind::Regular, 0o644));
    tree.create(at, name.as_bytes(), new, NOW).unwrap()
}

fn link(at: &InodeRef<'_>, tree: &Tree, name: &str, target: &str) {
    let new = NewInode {
        target: Some(target.as_bytes()),
        ..NewInode::plain(attr(Kind::Symlink, 0o777))
    };
    tree.create(at, name.as_bytes(), new, NOW).unwrap();
}

fn at<'a>(path: &'a str, cred: &'a Credential<'a>, follow: bool) -> PathArgs<'a> {
    PathArgs {
        at: NodeId::ROOT,
        path: path.as_bytes(),
        cred,
        follow,
    }
}

/// Resolves by both walks, which must agree.
fn find(tree: &Tree, path: &str) -> Result<NodeId, Errno> {
    find_with(tree, path, true)
}

fn find_with(tree: &Tree, path: &str, follow: bool) -> Result<NodeId, Errno> {
    let args = at(path, &Credential::ROOT, follow);
    let fast = tree.stat(&args).map(|entry| entry.id);
    let locked = tree.resolve(&args).map(|inode| inode.id());
    let legitimate = tree.lookup_path(&args).map(|inode| inode.id());
    assert_eq!(fast, locked, "{path}");
    assert_eq!(fast, legitimate, "{path}");
    fast
}

fn listing(tree: &Tree, directory: &InodeRef<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let visit = |entry: &norefs_tree::DirEntry<'_>| {
        names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        ControlFlow::Continue(())
    };
    tree.read_dir(directory, 0, visit).unwrap();
    names
}

#[test]
fn paths_lead_where_they_should() {
    let tree = tree();
    let root = tree.root();
    let a = dir(&root, &tree, "a");
    let b = dir(&a, &tree, "b");
    let f = file(&b, &tree, "f");
    assert_eq!(find(&tree, "/a/b/f"), Ok(f.id()));
    assert_eq!(find(&tree, "a//b/./f"), Ok(f.id()));
    assert_eq!(find(&tree, "a/b/.."), Ok(a.id()));
    assert_eq!(find(&tree, "/../../a/b/../b/"), Ok(b.id()));
    assert_eq!(find(&tree, "/"), Ok(NodeId::ROOT));
    assert_eq!(find(&tree, "a/b/f/"), Err(Errno::NOTDIR));
    assert_eq!(find(&tree, "a/b/f/.."), Err(Errno::NOTDIR));
    assert_eq!(find(&tree, "a/c/f"), Err(Errno::NOENT));
    assert_eq!(find(&tree, ""), Err(Errno::NOENT));
    let long = "x".repeat(256);
    assert_eq!(find(&tree, &long), Err(Errno::NAMETOOLONG));
    assert_eq!(find(&tree, &"/".repeat(4096)), Err(Errno::NAMETOOLONG));
}

#[test]
fn symbolic_links_are_followed_as_the_kernel_does() {
    let tree = tree();
    let root = tree.root();
    let a = dir(&root, &tree, "a");
    let f = file(&a, &tree, "f");
    link(&root, &tree, "to-a", "a");
    link(&a, &tree, "abs", "/a/f");
    link(&a, &tree, "up", "../to-a/abs");
    link(&root, &tree, "loop", "loop");
    link(&root, &tree, "dangling", "nowhere");
    link(&root, &tree, "dir-slash", "a/");
    assert_eq!(find(&tree, "to-a/up"), Ok(f.id()));
    assert_eq!(find(&tree, "to-a/"), Ok(a.id()));
    assert_eq!(find_with(&tree, "to-a/", false), Ok(a.id()));
    assert_ne!(find_with(&tree, "to-a", false), Ok(a.id()));
    assert_eq!(find(&tree, "dir-slash"), Ok(a.id()));
    assert_eq!(find(&tree, "dir-slash/f"), Ok(f.id()));
    assert_eq!(find(&tree, "loop"), Err(Errno::LOOP));
    assert_eq!(find(&tree, "dangling"), Err(Errno::NOENT));
    assert_eq!(find(&tree, "to-a/up/"), Err(Errno::NOTDIR));
    for i in 0..40 {
        let target = if i == 0 {
            "a/f".into()
        } else {
            format!("l{}", i - 1)
        };
        link(&root, &tree, &format!("l{i}"), &target);
    }
    assert_eq!(find(&tree, "l39"), Ok(f.id()), "40 links are followed");
    link(&root, &tree, "l40", "l39");
    assert_eq!(find(&tree, "l40"), Err(Errno::LOOP), "41 are not");

    let mut target = LinkTarget::new();
    let args = at("to-a/up", &Credential::ROOT, true);
    tree.readlink(&args, &mut target).unwrap();
    assert_eq!(&target[..], b"../to-a/abs");
    let args = at("a/f", &Credential::ROOT, true);
    assert_eq!(tree.readlink(&args, &mut target), Err(Errno::INVAL));
}

#[test]
fn search_permission_is_needed_on_every_directory() {
    let tree = tree();
    let root = tree.root();
    let closed = dir(&root, &tree, "closed");
    let f = file(&closed, &tree, "f");
    closed
        .update(|attr| {
            attr.perm = 0o700;
            Ok(())
        })
        .unwrap();
    let user = Credential {
        uid: 7,
        gid: 8,
        groups: &[9],
    };
    assert_eq!(tree.stat(&at("closed/f", &user, true)), Err(Errno::ACCESS));
    assert_eq!(
        tree.stat(&at("closed/none", &user, true)),
        Err(Errno::ACCESS)
    );
    assert_eq!(
        tree.stat(&at("closed", &user, true)).unwrap().id,
        closed.id()
    );
    closed
        .update(|attr| {
            attr.gid = 9;
            attr.perm = 0o710;
            Ok(())
        })
        .unwrap();
    assert_eq!(tree.stat(&at("closed/f", &user, true)).unwrap().id, f.id());
    let args = at("closed/f", &user, true);
    assert_eq!(tree.access(&args, Mask::READ), Ok(()));
    assert_eq!(tree.access(&args, Mask::WRITE), Err(Errno::ACCESS));
}

#[test]
fn names_come_and_go_and_attributes_follow() {
    let tree = tree();
    let root = tree.root();
    let before = root.attr();
    let f = file(&root, &tree, "f");
    assert_eq!(root.attr().mtime, NOW.unwrap());
    let new = NewInode::plain(attr(Kind::Regular, 0));
    let twice = tree.create(&root, b"f", new, NOW);
    assert_eq!(twice.err(), Some(Errno::EXIST));
    assert_eq!(tree.inodes(), 2);
    tree.link(&f, &root, b"g", Some(LATER)).unwrap();
    assert_eq!((f.attr().nlink, f.links()), (2, 2));
    assert_eq!(f.attr().ctime, LATER);
    assert_eq!(listing(&tree, &root), ["g", "f"]);
    assert_eq!(tree.unlink(&root, b"f", LATER).unwrap().id(), f.id());
    assert_eq!(f.attr().nlink, 1);
    tree.unlink(&root, b"g", LATER).unwrap();
    assert_eq!(f.attr().nlink, 0);
    assert_eq!(tree.unlink(&root, b"g", LATER).err(), Some(Errno::NOENT));
    assert_eq!(root.attr().size, before.size);
    assert_eq!(tree.inodes(), 2, "the reference keeps it");
    let id = f.id();
    drop(f);
    assert_eq!(tree.inodes(), 1);
    assert_eq!(tree.stat_node(id), Err(Errno::STALE));

    let d = dir(&root, &tree, "d");
    assert_eq!(root.attr().nlink, before.nlink + 1);
    let inner = file(&d, &tree, "inner");
    assert_eq!(tree.rmdir(&root, b"d", LATER).err(), Some(Errno::NOTEMPTY));
    assert_eq!(tree.unlink(&root, b"d", LATER).err(), Some(Errno::ISDIR));
    tree.unlink(&d, b"inner", LATER).unwrap();
    tree.rmdir(&root, b"d", LATER).unwrap();
    assert_eq!(d.attr().nlink, 0);
    assert_eq!(root.attr().nlink, before.nlink);
    assert_eq!(
        tree.link(&inner, &d, b"x", NOW),
        Err(Errno::NOENT),
        "it is dead"
    );
    assert_eq!(tree.parent(&d).err(), Some(Errno::NOENT));
}

#[test]
fn what_the_client_was_told_keeps_an_inode() {
    let tree = tree();
    let root = tree.root();
    let id = file(&root, &tree, "f").id();
    assert_eq!(tree.lookup(NodeId::ROOT, b"none"), Ok(None));
    for _ in 0..2 {
        assert_eq!(tree.lookup(NodeId::ROOT, b"f").unwrap().unwrap().id, id);
    }
    tree.unlink(&root, b"f", LATER).unwrap();
    assert_eq!(tree.stat_node(id).unwrap().nlink, 0);
    assert!(!tree.forget(id, 3), "more than it was told");
    assert!(tree.forget(id, 1));
    assert_eq!(tree.counts(id), Ok((0, 1)));
    assert!(tree.forget(id, 1));
    assert_eq!(tree.stat_node(id), Err(Errno::STALE));
    assert!(!tree.forget(id, 1));
    assert_eq!(tree.inodes(), 1);
}

#[test]
fn renames_of_every_kind() {
    let tree = tree();
    let root = tree.root();
    let (a, b) = (dir(&root, &tree, "a"), dir(&root, &tree, "b"));
    let (f, g) = (file(&a, &tree, "f"), file(&b, &tree, "g"));
    let rename = |from: (&InodeRef<'_>, &str), to: (&InodeRef<'_>, &str), mode| {
        let from = (from.0, from.1.as_bytes());
        tree.rename(from, (to.0, to.1.as_bytes()), mode, LATER)
    };
    use RenameMode::{Exchange, NoReplace, Replace};
    assert_eq!(rename((&a, "f"), (&b, "g"), NoReplace), Err(Errno::EXIST));
    assert_eq!(rename((&a, "f"), (&b, "h"), Exchange), Err(Errno::NOENT));
    rename((&a, "f"), (&b, "g"), Exchange).unwrap();
    assert_eq!(find(&tree, "a/f"), Ok(g.id()));
    assert_eq!(find(&tree, "b/g"), Ok(f.id()));
    let renamed = rename((&a, "f"), (&b, "g"), Replace).unwrap();
    assert_eq!(renamed.replaced, Some(f.id()));
    assert_eq!(find(&tree, "a/f"), Err(Errno::NOENT));
    assert_eq!(find(&tree, "b/g"), Ok(g.id()));
    assert_eq!(f.attr().nlink, 0);

    assert_eq!(rename((&root, "a"), (&a, "in"), Replace), Err(Errno::INVAL));
    let deep = dir(&a, &tree, "deep");
    assert_eq!(
        rename((&root, "a"), (&deep, "in"), Replace),
        Err(Errno::INVAL)
    );
    assert_eq!(
        rename((&deep, "x"), (&root, "a"), Replace),
        Err(Errno::NOENT)
    );
    let x = dir(&deep, &tree, "x");
    assert_eq!(
        rename((&deep, "x"), (&root, "a"), Replace),
        Err(Errno::NOTEMPTY)
    );
    assert_eq!(
        rename((&deep, "x"), (&root, "a"), Exchange),
        Err(Errno::INVAL)
    );
    assert_eq!(rename((&deep, "x"), (&b, "g"), Replace), Err(Errno::NOTDIR));
    assert_eq!(rename((&b, "g"), (&a, "deep"), Replace), Err(Errno::ISDIR));

    let nlinks = (root.attr().nlink, b.attr().nlink);
    rename((&root, "a"), (&b, "moved"), Replace).unwrap();
    assert_eq!(find(&tree, "b/moved/deep/x"), Ok(x.id()));
    assert_eq!(find(&tree, "b/moved/../g"), Ok(g.id()));
    assert_eq!(tree.parent(&a).unwrap().id(), b.id());
    let after = (root.attr().nlink, b.attr().nlink);
    assert_eq!(after, (nlinks.0 - 1, nlinks.1 + 1));
    let empty = dir(&root, &tree, "empty");
    rename((&b, "moved"), (&root, "empty"), Replace).unwrap();
    assert_eq!(empty.attr().nlink, 0);
    assert_eq!(find(&tree, "empty/deep/x/../../.."), Ok(NodeId::ROOT));
    let same = rename((&b, "g"), (&b, "g"), Replace).unwrap();
    assert!(!same.changed);
}

#[test]
fn a_whole_subtree_goes_and_leaves_nothing() {
    let tree = tree();
    let root = tree.root();
    let top = dir(&root, &tree, "top");
    let mut here = top.clone();
    for _ in 0..if cfg!(miri) { 10 } else { 2000 } {
        file(&here, &tree, &"long-name-".repeat(12));
        link(&here, &tree, "l", "target");
        here = dir(&here, &tree, "d");
    }
    let kept = file(&here, &tree, "kept");
    tree.link(&kept, &root, b"outside", NOW).unwrap();
    drop(here);
    tree.remove_tree(&root, b"top", LATER).unwrap();
    assert_eq!(find(&tree, "top"), Err(Errno::NOENT));
    assert_eq!((kept.attr().nlink, kept.links()), (1, 1));
    let new = NewInode::plain(attr(Kind::Regular, 0));
    assert_eq!(tree.create(&top, b"f", new, NOW).err(), Some(Errno::NOENT));
    drop((top, kept));
    assert_eq!(tree.inodes(), 2);
    assert_eq!(listing(&tree, &root), ["outside"]);
}

#[test]
fn a_path_too_deep_for_evidence_is_walked_with_locks() {
    let tree = tree();
    let mut here = tree.root();
    let mut path = String::new();
    for _ in 0..100 {
        here = dir(&here, &tree, "d");
        path.push_str("d/");
    }
    assert_eq!(find(&tree, &path), Ok(here.id()));
    assert!(tree.outcomes().slow > 0);
}

#[test]
fn a_thousand_names_survive_growth() {
    const NAMES: usize = if cfg!(miri) { 40 } else { 1000 };
    let tree = tree();
    let root = tree.root();
    let ids: Vec<NodeId> = (0..NAMES)
        .map(|i| file(&root, &tree, &format!("file-{i}")).id())
        .collect();
    for (i, id) in ids.iter().enumerate() {
        assert_eq!(find(&tree, &format!("file-{i}")), Ok(*id));
    }
    for i in (0..NAMES).step_by(2) {
        tree.unlink(&root, format!("file-{i}").as_bytes(), LATER)
            .unwrap();
    }
    assert_eq!(listing(&tree, &root).len(), NAMES / 2);
    assert_eq!(tree.inodes(), NAMES as u64 / 2 + 1);
    assert_eq!(
        find(&tree, &format!("file-{}", NAMES - 2)),
        Err(Errno::NOENT)
    );
    assert_eq!(
        find(&tree, &format!("file-{}", NAMES - 1)),
        Ok(ids[NAMES - 1])
    );
}

#[test]
fn an_inode_of_another_tree_is_refused() {
    let (one, other) = (tree(), tree());
    let (root, foreign) = (one.root(), other.root());
    let d = dir(&root, &one, "d");
    let (f, g) = (file(&root, &one, "f"), file(&foreign, &other, "g"));
    let new = NewInode::plain(attr(Kind::Regular, 0));
    assert_eq!(
        one.create(&foreign, b"x", new, NOW).err(),
        Some(Errno::XDEV)
    );
    assert_eq!(one.link(&g, &d, b"x", NOW), Err(Errno::XDEV));
    assert_eq!(one.link(&f, &foreign, b"x", NOW), Err(Errno::XDEV));
    assert_eq!(one.child(&foreign, b"g").err(), Some(Errno::XDEV));
    assert_eq!(one.unlink(&foreign, b"g", LATER).err(), Some(Errno::XDEV));
    assert_eq!(one.parent(&foreign).err(), Some(Errno::XDEV));
    let renamed = one.rename((&root, b"f"), (&foreign, b"f"), RenameMode::Replace, LATER);
    assert_eq!(renamed, Err(Errno::XDEV));
    assert_eq!(listing(&other, &foreign), ["g"]);
    assert_eq!(listing(&one, &root), ["f", "d"]);
}

mod everything_at_once {
    use norefs_tree::*;

    #[test]
    fn the_result_of_the_standard_library_is_not_shadowed() {
        fn mode_of(text: &str) -> Result<u16, std::num::ParseIntError> {
            u16::from_str_radix(text, 8)
        }
        let tree = Tree::new(Attr::new(
            Kind::Directory,
            mode_of("755").unwrap(),
            0,
            0,
            Time::now(),
        ));
        assert_eq!(tree.stat_node(NodeId::ROOT).unwrap().mode(), 0o040755);
    }
}
