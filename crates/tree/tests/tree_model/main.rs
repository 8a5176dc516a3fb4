//! Random sequences of operations on the tree, each compared with a plain model: every result, every
//! error, and at the end everything there is.

mod model;
mod run;

use model::Ino;
use norefs_tree::{Kind, RenameMode};
use proptest::prelude::*;
use proptest::sample::select;

/// An inode is picked by number among those made so far; directories are picked more often where one
/// is wanted.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Any(Ino),
    Directory(Ino),
}

#[derive(Clone, Debug)]
enum Op {
    Create {
        dir: Pick,
        name: Vec<u8>,
        kind: Kind,
        perm: u16,
    },
    CreateNameless {
        kind: Kind,
        perm: u16,
    },
    Symlink {
        dir: Pick,
        name: Vec<u8>,
        target: Vec<u8>,
    },
    Link {
        inode: Pick,
        dir: Pick,
        name: Vec<u8>,
    },
    Unlink {
        dir: Pick,
        name: Vec<u8>,
    },
    Rmdir {
        dir: Pick,
        name: Vec<u8>,
    },
    RemoveTree {
        dir: Pick,
        name: Vec<u8>,
    },
    Rename {
        from: (Pick, Vec<u8>),
        to: (Pick, Vec<u8>),
        mode: RenameMode,
        /// What is to get the old name.
        left: Option<Kind>,
    },
    Lookup {
        dir: Pick,
        name: Vec<u8>,
    },
    Raise {
        inode: Pick,
    },
    Forget {
        inode: Pick,
        n: u64,
    },
    Parent {
        dir: Pick,
    },
    Chmod {
        inode: Pick,
        perm: u16,
        uid: u32,
    },
    Path {
        at: Pick,
        path: Vec<u8>,
        cred: usize,
        follow: bool,
    },
    ReadDir {
        dir: Pick,
        position: usize,
    },
    Hold {
        inode: Pick,
    },
    Release {
        which: usize,
    },
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let long = |n| Just(vec![b'n'; n]);
    prop_oneof![
        20 => select(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), b"\xff".to_vec()]),
        1 => select(vec![b"".to_vec(), b".".to_vec(), b"..".to_vec(), b"a/b".to_vec(), b"\0".to_vec()]),
        1 => prop_oneof![long(32), long(33), long(255), long(256)],
    ]
}

fn pick() -> impl Strategy<Value = Pick> {
    (0..64_usize).prop_map(Pick::Any)
}

fn dir() -> impl Strategy<Value = Pick> {
    prop_oneof![
        12 => (0..64_usize).prop_map(Pick::Directory),
        1 => pick(),
    ]
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let component = prop_oneof![
        8 => name(),
        3 => Just(b"..".to_vec()),
        1 => Just(b".".to_vec()),
        1 => Just(b"".to_vec()),
    ];
    (
        any::<bool>(),
        prop::collection::vec(component, 1..6),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(absolute, components, slash)| {
            let mut path = if absolute { b"/".to_vec() } else { vec![] };
            path.extend(components.join(&b'/'));
            path.extend(slash.then_some(b'/'));
            path
        })
}

fn mode() -> impl Strategy<Value = RenameMode> {
    select(vec![
        RenameMode::Replace,
        RenameMode::NoReplace,
        RenameMode::Exchange,
    ])
}

fn left() -> impl Strategy<Value = Option<Kind>> {
    prop_oneof![
        12 => Just(None),
        5 => Just(Some(Kind::CharDevice)),
        1 => Just(Some(Kind::Directory)),
    ]
}

fn perm() -> impl Strategy<Value = u16> {
    select(vec![0o755, 0o711, 0o700, 0o070, 0o001, 0o644, 0])
}

fn op() -> impl Strategy<Value = Op> {
    let kind = select(vec![
        Kind::Regular,
        Kind::Directory,
        Kind::Directory,
        Kind::Fifo,
    ]);
    prop_oneof![
        1 => (kind.clone(), perm()).prop_map(|(kind, perm)| Op::CreateNameless { kind, perm }),
        6 => (dir(), name(), kind, perm()).prop_map(|(dir, name, kind, perm)| Op::Create { dir, name, kind, perm }),
        2 => (dir(), name(), path()).prop_map(|(dir, name, target)| Op::Symlink { dir, name, target }),
        2 => (pick(), dir(), name()).prop_map(|(inode, dir, name)| Op::Link { inode, dir, name }),
        3 => (dir(), name()).prop_map(|(dir, name)| Op::Unlink { dir, name }),
        2 => (dir(), name()).prop_map(|(dir, name)| Op::Rmdir { dir, name }),
        1 => (dir(), name()).prop_map(|(dir, name)| Op::RemoveTree { dir, name }),
        6 => (dir(), name(), dir(), name(), mode(), left())
            .prop_map(|(d, n, e, m, mode, left)| Op::Rename { from: (d, n), to: (e, m), mode, left }),
        3 => (dir(), name()).prop_map(|(dir, name)| Op::Lookup { dir, name }),
        1 => pick().prop_map(|inode| Op::Raise { inode }),
        2 => (pick(), 1..3_u64).prop_map(|(inode, n)| Op::Forget { inode, n }),
        1 => dir().prop_map(|dir| Op::Parent { dir }),
        2 => (pick(), perm(), 0..2_u32).prop_map(|(inode, perm, uid)| Op::Chmod { inode, perm, uid }),
        6 => (dir(), path(), 0..3_usize, any::<bool>())
            .prop_map(|(at, path, cred, follow)| Op::Path { at, path, cred, follow }),
        2 => (dir(), 0..8_usize).prop_map(|(dir, position)| Op::ReadDir { dir, position }),
        1 => pick().prop_map(|inode| Op::Hold { inode }),
        1 => (0..4_usize).prop_map(|which| Op::Release { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 400 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_does_what_the_model_does(ops in prop::collection::vec(op(), 1..150)) {
        run::run(&ops);
    }
}

/// A directory so wide that its table and its listing are rebuilt on the way; at the end it is empty.
#[test]
fn a_wide_directory_is_like_a_narrow_one() {
    let name = |i: usize| format!("{i:04}").into_bytes();
    let (root, dir) = (Pick::Directory(0), Pick::Directory(1));
    let create = |dir, name, kind| Op::Create {
        dir,
        name,
        kind,
        perm: 0o755,
    };
    let file = |i| create(dir, name(i), Kind::Regular);
    let unlink = |i| Op::Unlink { dir, name: name(i) };
    let exchange = |i: usize| Op::Rename {
        from: (dir, name(3 * i)),
        to: (dir, name(1000 + i)),
        mode: RenameMode::Exchange,
        left: None,
    };
    let list = |position| Op::ReadDir { dir, position };
    let mut ops = vec![create(root, b"a".to_vec(), Kind::Directory)];
    ops.extend((0..300).map(file));
    ops.extend((0..300).filter(|i| i % 3 != 0).map(unlink));
    ops.extend((1000..1100).map(file));
    ops.extend((0..100).map(exchange));
    ops.extend((0..100).map(|i| list(2 * i)));
    ops.extend((0..300).filter(|i| i % 3 == 0).map(unlink));
    ops.extend((1000..1100).map(unlink));
    ops.push(Op::Rmdir {
        dir: root,
        name: b"a".to_vec(),
    });
    run::run(&ops);
}

/// A walk follows forty links and no more.
#[test]
fn a_chain_of_links_is_followed_to_its_end_or_not_at_all() {
    let root = Pick::Directory(0);
    let link = |i: usize| Op::Symlink {
        dir: root,
        name: format!("{i}").into_bytes(),
        target: format!("{}", i + 1).into_bytes(),
    };
    let walk = |i: usize| Op::Path {
        at: root,
        path: format!("{i}").into_bytes(),
        cred: 0,
        follow: true,
    };
    let end = Op::Create {
        dir: root,
        name: b"45".to_vec(),
        kind: Kind::Regular,
        perm: 0o644,
    };
    let ops: Vec<Op> = (0..45)
        .map(link)
        .chain([end])
        .chain((0..45).map(walk))
        .collect();
    run::run(&ops);
}
