//! Random sequences. Whatever shrinks, shrinks towards the front of its list.

use crate::call::{At, By, Call, Lock, Octal, SLOTS, Stamp, Step, USERS, Whence};
use nix::libc;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::LazyLock;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Paths with something special to them. Names may have 255 bytes, paths 4095.
const SPECIAL: [&str; 22] = [
    ".",
    "..",
    "/",
    "",
    "a/",
    "b/",
    "c/",
    "a/b/",
    "a/.",
    "a/..",
    "b/..",
    "a/../b",
    "a/b/..",
    "./a",
    "//a",
    "a//b",
    "c/../a",
    "../a",
    "a/../../b",
    "c/a",
    "c/b",
    "/a/b",
];

const TARGETS: [&str; 14] = [
    "a", "b", "c", "a/b", "../b", "..", ".", "/", "/a", "c/c", "missing", "", "./b/", "../../a",
];

const MODES: [u32; 18] = [
    0o644, 0o755, 0o777, 0o700, 0o666, 0o600, 0o750, 0o1777, 0o2775, 0o640, 0o4755, 0o6711, 0,
    0o2745, 0o2766, 0o6777, 0o3777, 0o1755,
];

const SIZES: [u64; 14] = [
    0,
    1,
    100,
    4_095,
    4_096,
    4_097,
    10_000,
    65_535,
    65_536,
    65_537,
    200_000,
    300_000,
    1 << 40,
    (1 << 63) - 1,
];

const LENGTHS: [usize; 9] = [1, 0, 7, 100, 4_096, 5_000, 20_000, 65_536, 140_000];

fn long(length: usize) -> &'static str {
    "n".repeat(length).leak()
}

/// All paths of as many names.
fn deep(depth: usize) -> Vec<&'static str> {
    let longer = |path: &String| NAMES.map(|name| format!("{path}/{name}"));
    let mut last = vec![String::new()];
    for _ in 0..depth {
        last = last.iter().flat_map(longer).collect();
    }
    last.iter()
        .map(|path| &*path[1..].to_owned().leak())
        .collect()
}

/// Short paths and longer ones. Mostly few short names, so that calls meet.
static PATHS: LazyLock<[Vec<&str>; 3]> = LazyLock::new(|| [deep(1), deep(2), deep(3)]);

/// Paths that are out of the ordinary.
static STRANGE: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut paths = SPECIAL.to_vec();
    let dots = |length: usize| &*format!("{}a", "./".repeat(length / 2)).leak();
    paths.extend([
        long(255),
        long(256),
        dots(4_094),
        dots(4_096),
        "d",
        "d/a",
        "d/b",
    ]);
    paths
});

static LINKED: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut targets = TARGETS.to_vec();
    targets.extend([128, 129, 255, 4_095, 4_096].map(long));
    targets
});

static XATTRS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let long = |length| &*format!("user.{}", long(length)).leak();
    vec![
        "user.a",
        "user.b",
        "trusted.a",
        "user.c",
        "user.",
        "security.a",
        "security.capability",
        "other.a",
        "user",
        "",
        long(250),
        long(251),
    ]
});

fn path() -> impl Strategy<Value = &'static str> {
    let [one, two, three] = &*PATHS;
    prop_oneof![
        8 => select(&one[..]),
        8 => select(&two[..]),
        1 => select(&three[..]),
        2 => select(&STRANGE[..]),
    ]
}

/// Where there is probably a file.
fn slot() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 3 => Just(2), 1 => 0..SLOTS]
}

/// Where there is probably a directory.
fn directory() -> impl Strategy<Value = usize> {
    prop_oneof![5 => Just(1), 2 => Just(3), 1 => 0..SLOTS]
}

fn at() -> impl Strategy<Value = At> {
    let base = prop_oneof![14 => Just(0), 2 => Just(2), 1 => 1..=SLOTS];
    (base, path()).prop_map(|(base, path)| At(base, path))
}

fn octal(choices: &'static [u32]) -> impl Strategy<Value = Octal> {
    select(choices).prop_map(Octal)
}

fn by() -> impl Strategy<Value = By> {
    select(&[By::Path, By::Path, By::Link, By::Slot][..])
}

/// The place of a call that may be about an open file.
fn at_by() -> impl Strategy<Value = (At, By)> {
    let any = prop_oneof![2 => slot(), 1 => directory()];
    (at(), by(), any).prop_map(|(at, by, slot)| match by {
        By::Slot => (At(slot + 1, ""), by),
        by => (at, by),
    })
}

/// The flags of open(2), and the slot for what they open.
#[rustfmt::skip]
fn open_flags() -> impl Strategy<Value = (Octal, usize)> {
    const FLAGS: [u32; 12] = [
        libc::O_CREAT as u32, libc::O_EXCL as u32, libc::O_TRUNC as u32, libc::O_APPEND as u32, libc::O_DIRECTORY as u32,
        libc::O_NOFOLLOW as u32, libc::O_PATH as u32, libc::O_DIRECT as u32, libc::O_SYNC as u32, libc::O_NOATIME as u32,
        libc::O_CREAT as u32, libc::O_TRUNC as u32,
    ];
    let access = select(&[2_u32, 0, 1][..]);
    let usual = select(&[0_u32, 0o100, 0o100, 0o1000, 0o1100, 0o2100, 0o300][..]);
    let rare = proptest::collection::vec(select(&FLAGS[..]), 0..4)
        .prop_map(|flags| flags.iter().fold(0, |all, flag| all | flag));
    let file = || prop_oneof![4 => slot(), 1 => Just(4)];
    prop_oneof![
        5 => (access.clone(), usual, file()).prop_map(|(access, flags, slot)| (Octal(access | flags), slot)),
        2 => (access.clone(), rare, file()).prop_map(|(access, flags, slot)| (Octal(access | flags), slot)),
        3 => (select(&[0o200_000_u32, 0o10_200_000][..]), directory()).prop_map(|(flags, slot)| (Octal(flags), slot)),
        1 => (access, file()).prop_map(|(access, slot)| (Octal(access | 0o20_200_000), slot)),
    ]
}

fn size() -> impl Strategy<Value = u64> {
    select(&SIZES[..])
}

fn near() -> impl Strategy<Value = u64> {
    prop_oneof![8 => select(&SIZES[..12]), 1 => size()]
}

fn length() -> impl Strategy<Value = usize> {
    select(&LENGTHS[..])
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => b'a'..=b'z', 1 => Just(0)]
}

#[rustfmt::skip]
fn content() -> impl Strategy<Value = Call> {
    let kept = || select(&SIZES[..12]);
    let allocation = select(&[0_u32, 1, 3, 3, 3, 0, 1, 3, 2, 0x08, 0x20, 0x40, 0x10, 0x11, 0x80][..]);
    let whence = select(&[Whence::Start, Whence::End, Whence::Data, Whence::Hole, Whence::Data, Whence::Hole][..]);
    // RWF_APPEND, _DSYNC, _NOAPPEND, _ATOMIC, _NOWAIT, unknown.
    let write = select(&[0_u32, 0, 0, 0, 0, 0x10, 2, 0x20, 0x40, 8, 0x1000][..]);
    prop_oneof![
        2 => (slot(), length()).prop_map(|(slot, len)| Call::Read { slot, len }),
        2 => (slot(), near(), length()).prop_map(|(slot, offset, len)| Call::ReadAt { slot, offset, len }),
        4 => (slot(), length(), byte()).prop_map(|(slot, len, byte)| Call::Write { slot, len, byte }),
        4 => (slot(), near(), length(), byte(), write)
            .prop_map(|(slot, offset, len, byte, flags)| Call::WriteAt { slot, offset, len, byte, flags }),
        3 => (slot(), 0..70_000_usize, length(), byte(), any::<bool>())
            .prop_map(|(slot, offset, len, byte, keep)| Call::Map { slot, offset, len: len.max(1), byte, keep }),
        1 => (slot(), 0..5_000_usize, length()).prop_map(|(slot, offset, len)| Call::ReadMap { slot, offset, len: len.max(1) }),
        3 => (slot(), near()).prop_map(|(slot, size)| Call::Truncate { slot, size }),
        3 => (slot(), allocation, kept(), select(&SIZES[..13])).prop_map(|(slot, mode, offset, len)| Call::Allocate { slot, mode, offset, len }),
        3 => (slot(), near(), whence).prop_map(|(slot, to, whence)| Call::Seek { slot, to: to as i64, whence }),
        2 => (slot(), near(), slot(), near(), length())
            .prop_map(|(from, from_offset, to, to_offset, len)| Call::Copy { from, from_offset, to, to_offset, len }),
        1 => (slot(), kept(), slot(), length()).prop_map(|(from, offset, to, len)| Call::Send { from, offset, to, len }),
        1 => (slot(), 0..3_usize).prop_map(|(slot, how)| Call::Sync { slot, how }),
    ]
}

fn locks() -> impl Strategy<Value = Call> {
    let lock = || select(&[Lock::Exclusive, Lock::Shared, Lock::None][..]);
    let either = || prop_oneof![5 => slot(), 1 => directory()];
    let start = select(&[0_i64, 10, 100, 4_096, i64::MAX, -1][..]);
    let len = select(&[0_i64, 1, 10, 90, 5_000, -5][..]);
    prop_oneof![
        1 => (either(), lock()).prop_map(|(slot, lock)| Call::LockFile { slot, lock }),
        2 => (either(), lock(), start, len, any::<bool>()).prop_map(|(slot, lock, start, len, ask)| {
            Call::LockRange { slot, lock, start, len, ask }
        }),
    ]
}

/// Paths that directories have in the beginning, or may have.
fn directories() -> impl Strategy<Value = &'static str> {
    select(&["a", "a/a", "d", "b", "d/a"][..])
}

#[rustfmt::skip]
fn names() -> impl Strategy<Value = Call> {
    let kinds = select(&[0_u32, 0o100_000, 0o10_000, 0o140_000, 0o20_000, 0o60_000, 0o40_000, 0o120_000][..]);
    let device = select(&[0_u64, 0x103, 0xfff_ffff][..]);
    prop_oneof![
        7 => (at(), octal(&MODES)).prop_map(|(at, mode)| Call::Mkdir { at, mode }),
        3 => (at(), kinds, octal(&MODES), device)
            .prop_map(|(at, kind, mode, device)| Call::Mknod { at, kind: Octal(kind), mode, device }),
        3 => (select(&LINKED[..]), at()).prop_map(|(target, at)| Call::Symlink { target, at }),
        4 => (at(), at(), select(&[0_u32, 0, 0x400, 0x1000][..])).prop_map(|(from, to, flags)| Call::Link { from, to, flags }),
        2 => (slot(), at(), any::<bool>()).prop_map(|(slot, to, by_proc)| Call::LinkSlot { slot, to, by_proc }),
        6 => (at(), any::<bool>()).prop_map(|(at, directory)| Call::Unlink { at, directory }),
        9 => (at(), at(), select(&[0_u32, 0, 0, 1, 2, 2, 4, 5, 3, 6, 8][..])).prop_map(|(from, to, flags)| Call::Rename { from, to, flags }),
        2 => (directories(), directories()).prop_map(|(from, to)| Call::Rename { from: At(0, from), to: At(0, to), flags: 0 }),
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let given = [
        (1_000_000_000, 1),
        (0, 0),
        (-1, 999_999_999),
        (1 << 31, 5),
        (1 << 33, 0),
        (5, 1_000_000_000),
    ];
    prop_oneof![
        Just(Stamp::Now),
        Just(Stamp::Omit),
        (0..given.len()).prop_map(move |n| Stamp::Given(given[n].0, given[n].1)),
    ]
}

fn id() -> impl Strategy<Value = Option<u32>> {
    select(
        &[
            Some(1000),
            None,
            Some(0),
            Some(1001),
            Some(5),
            Some(u32::MAX - 1),
        ][..],
    )
}

#[rustfmt::skip]
fn attributes() -> impl Strategy<Value = Call> {
    let flags = || select(&[0_u32, 0, 1, 2, 3, 4][..]);
    let value = select(&[1_usize, 0, 10, 300, 5_000, 65_536, 65_537][..]);
    let size = select(&[0_i64, 1, 5_000, 4_096, 300_000, 1 << 40, i64::MAX, -1][..]);
    prop_oneof![
        4 => (at_by(), octal(&MODES)).prop_map(|((at, by), mode)| Call::Chmod { at, mode, by }),
        3 => (at_by(), id(), id()).prop_map(|((at, by), uid, gid)| Call::Chown { at, uid, gid, by }),
        3 => (at_by(), stamp(), stamp()).prop_map(|((at, by), atime, mtime)| Call::Times { at, atime, mtime, by }),
        4 => (at_by(), select(&XATTRS[..]), value, flags()).prop_map(|((at, by), name, len, flags)| Call::Set { at, name, len, flags, by }),
        2 => (at_by(), select(&XATTRS[..])).prop_map(|((at, by), name)| Call::Remove { at, name, by }),
        2 => (at(), size).prop_map(|(at, size)| Call::TruncatePath { at, size }),
    ]
}

#[rustfmt::skip]
fn questions() -> impl Strategy<Value = Call> {
    let stat = select(&[0_u32, 0x100, 0x1000, 0x1100, 0x2000, 0x4000, 0x800, 0x200][..]);
    let access = select(&[0_u32, 0x100, 0x200, 0x300, 0x1000, 0x1200][..]);
    let room = || select(&[1_000_usize, 0, 5, 65_536][..]);
    let open = || prop_oneof![3 => at(), 1 => (1..=SLOTS).prop_map(|slot| At(slot, ""))];
    prop_oneof![
        3 => (open(), stat, any::<bool>()).prop_map(|(at, flags, birth)| Call::Stat { at, flags, birth }),
        3 => (open(), 0..9_u32, access).prop_map(|(at, mode, flags)| Call::Access { at, mode, flags }),
        2 => open().prop_map(|at| Call::Readlink { at }),
        2 => (at_by(), select(&XATTRS[..]), room()).prop_map(|((at, by), name, room)| Call::Get { at, name, room, by }),
        2 => (at_by(), room()).prop_map(|((at, by), room)| Call::Names { at, room, by }),
        2 => (directory(), 0..6_usize).prop_map(|(slot, again_from)| Call::List { slot, again_from }),
        3 => (directory(), 1..4_usize).prop_map(|(slot, entries)| Call::Walk { slot, entries }),
        1 => at().prop_map(|at| Call::Space { at }),
        1 => at().prop_map(|at| Call::Here { at }),
    ]
}

#[rustfmt::skip]
fn descriptors() -> impl Strategy<Value = Call> {
    let flags = octal(&[0o2000, 0, 0o40_000, 0o1_000_000, 0o42_000]);
    let umask = octal(&[0, 0o22, 0o77, 0o777]);
    prop_oneof![
        24 => (at(), open_flags(), octal(&MODES)).prop_map(|(at, (flags, slot), mode)| Call::Open { at, flags, mode, slot }),
        2 => slot().prop_map(|slot| Call::Close { slot }),
        2 => (slot(), 0..SLOTS).prop_map(|(from, to)| Call::Duplicate { from, to }),
        2 => (slot(), flags).prop_map(|(slot, flags)| Call::Flags { slot, flags }),
        1 => umask.prop_map(|mask| Call::Umask { mask }),
    ]
}

/// Each family of calls is boxed: inside one another they are too large for the stack of a test.
fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        8 => names().boxed(),
        8 => content().boxed(),
        6 => descriptors().boxed(),
        6 => attributes().boxed(),
        4 => questions().boxed(),
        1 => locks().boxed(),
    ];
    let user = prop_oneof![2 => Just(0), 1 => 1..USERS.len()];
    let look = prop::bool::weighted(0.4);
    (user, look, call).prop_map(|(user, look, call)| Step { user, look, call })
}

/// Up to `length` steps.
pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..=length)
}
