//! Random sequences. Whatever shrinks, shrinks towards the front of its list.

use crate::call::{At, By, Call, Octal, SLOTS, Stamp, Step, USERS, Whence};
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

const MODES: [u32; 13] = [
    0o644, 0o755, 0o777, 0o700, 0o666, 0o600, 0o750, 0o1777, 0o2775, 0o640, 0o4755, 0o6711, 0,
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

/// Mostly few short names, so that calls meet.
static PATHS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut paths = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..3 {
        let longer = |path: &String| NAMES.map(|name| format!("{path}/{name}"));
        last = last.iter().flat_map(longer).collect();
        paths.extend(last.iter().map(|path| path[1..].to_owned().leak() as &str));
    }
    let short = paths[..12].to_vec();
    paths.extend(short.iter().cycle().take(96));
    paths.extend(SPECIAL);
    paths.extend([long(255), long(256)]);
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
        "other.a",
        "user",
        "",
        long(250),
        long(251),
    ]
});

fn path() -> impl Strategy<Value = &'static str> {
    select(&PATHS[..])
}

fn slot() -> impl Strategy<Value = usize> {
    // A small set that is often in use.
    prop_oneof![6 => 0..2_usize, 1 => 0..SLOTS]
}

fn at() -> impl Strategy<Value = At> {
    let base = prop_oneof![14 => Just(0), 1 => 1..=2_usize, 1 => 1..=SLOTS];
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
    (at(), by(), 1..=SLOTS).prop_map(|(at, by, slot)| match by {
        By::Slot => (At(slot, ""), by),
        by => (at, by),
    })
}

/// Accesses, then anything of O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE.
fn open_flags() -> impl Strategy<Value = Octal> {
    let access = select(&[2_u32, 0, 1][..]);
    let usual = select(&[0_u32, 0o100, 0o100, 0o1000, 0o1100, 0o2100][..]);
    let flag = select(
        &[
            0o100_u32,
            0o200,
            0o1000,
            0o2000,
            0o200_000,
            0o400_000,
            0o10_000_000,
        ][..],
    );
    let rare = proptest::collection::vec(flag, 0..4)
        .prop_map(|flags| flags.iter().fold(0, |all, flag| all | flag));
    let directory = select(&[0o200_000_u32, 0o10_200_000][..]);
    prop_oneof![
        5 => (access.clone(), usual).prop_map(|(access, flags)| Octal(access | flags)),
        2 => (access.clone(), rare).prop_map(|(access, flags)| Octal(access | flags)),
        2 => directory.prop_map(Octal),
        1 => access.prop_map(|access| Octal(access | 0o20_200_000)),
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
    prop_oneof![
        2 => (slot(), length()).prop_map(|(slot, len)| Call::Read { slot, len }),
        2 => (slot(), near(), length()).prop_map(|(slot, offset, len)| Call::ReadAt { slot, offset, len }),
        4 => (slot(), length(), byte()).prop_map(|(slot, len, byte)| Call::Write { slot, len, byte }),
        4 => (slot(), near(), length(), byte()).prop_map(|(slot, offset, len, byte)| Call::WriteAt { slot, offset, len, byte }),
        2 => (slot(), 0..70_000_usize, length(), byte()).prop_map(|(slot, offset, len, byte)| Call::Map { slot, offset, len: len.max(1), byte }),
        3 => (slot(), near()).prop_map(|(slot, size)| Call::Truncate { slot, size }),
        3 => (slot(), select(&[0_u32, 1, 3, 3, 3, 0, 1, 3, 2, 0x08, 0x20, 0x40, 0x10][..]), select(&SIZES[..12]), select(&SIZES[..13]))
            .prop_map(|(slot, mode, offset, len)| Call::Allocate { slot, mode, offset, len }),
        3 => (slot(), near(), select(&[Whence::Start, Whence::End, Whence::Data, Whence::Hole, Whence::Data, Whence::Hole][..]))
            .prop_map(|(slot, to, whence)| Call::Seek { slot, to: to as i64, whence }),
        2 => (slot(), near(), slot(), near(), length())
            .prop_map(|(from, from_offset, to, to_offset, len)| Call::Copy { from, from_offset, to, to_offset, len }),
        1 => slot().prop_map(|slot| Call::Sync { slot }),
    ]
}

#[rustfmt::skip]
fn names() -> impl Strategy<Value = Call> {
    prop_oneof![
        7 => (at(), octal(&MODES)).prop_map(|(at, mode)| Call::Mkdir { at, mode }),
        2 => (at(), select(&[0_u32, 0o100_000, 0o10_000, 0o140_000, 0o20_000, 0o40_000, 0o120_000][..]), octal(&MODES))
            .prop_map(|(at, kind, mode)| Call::Mknod { at, kind: Octal(kind), mode }),
        2 => (select(&LINKED[..]), at()).prop_map(|(target, at)| Call::Symlink { target, at }),
        3 => (at(), at(), select(&[0_u32, 0x400, 0x1000][..])).prop_map(|(from, to, flags)| Call::Link { from, to, flags }),
        2 => (slot(), at(), any::<bool>()).prop_map(|(slot, to, by_proc)| Call::LinkSlot { slot, to, by_proc }),
        4 => (at(), any::<bool>()).prop_map(|(at, directory)| Call::Unlink { at, directory }),
        7 => (at(), at(), select(&[0_u32, 0, 0, 1, 2, 2, 4, 5, 3, 6, 8][..])).prop_map(|(from, to, flags)| Call::Rename { from, to, flags }),
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
    select(&[Some(1000), None, Some(0), Some(1001), Some(5)][..])
}

#[rustfmt::skip]
fn attributes() -> impl Strategy<Value = Call> {
    let flags = || select(&[0_u32, 0, 1, 2, 3, 4][..]);
    let value = select(&[1_usize, 0, 10, 300, 5_000, 65_536, 65_537][..]);
    prop_oneof![
        4 => (at_by(), octal(&MODES)).prop_map(|((at, by), mode)| Call::Chmod { at, mode, by }),
        3 => (at_by(), id(), id()).prop_map(|((at, by), uid, gid)| Call::Chown { at, uid, gid, by }),
        3 => (at_by(), stamp(), stamp()).prop_map(|((at, by), atime, mtime)| Call::Times { at, atime, mtime, by }),
        4 => (at_by(), select(&XATTRS[..]), value, flags()).prop_map(|((at, by), name, len, flags)| Call::Set { at, name, len, flags, by }),
        2 => (at_by(), select(&XATTRS[..])).prop_map(|((at, by), name)| Call::Remove { at, name, by }),
    ]
}

#[rustfmt::skip]
fn questions() -> impl Strategy<Value = Call> {
    let stat = select(&[0_u32, 0x100, 0x1000, 0x1100, 0x2000, 0x4000, 0x800][..]);
    let access = select(&[0_u32, 0x100, 0x200, 0x300, 0x1000][..]);
    let room = select(&[1_000_usize, 0, 5, 65_536][..]);
    prop_oneof![
        3 => (at(), stat).prop_map(|(at, flags)| Call::Stat { at, flags }),
        3 => (at(), 0..9_u32, access).prop_map(|(at, mode, flags)| Call::Access { at, mode, flags }),
        2 => at().prop_map(|at| Call::Readlink { at }),
        2 => (at_by(), select(&XATTRS[..]), room).prop_map(|((at, by), name, room)| Call::Get { at, name, room, by }),
        1 => at_by().prop_map(|(at, by)| Call::Names { at, by }),
        2 => (slot(), 0..6_usize).prop_map(|(slot, again_from)| Call::List { slot, again_from }),
        1 => at().prop_map(|at| Call::Space { at }),
    ]
}

#[rustfmt::skip]
fn descriptors() -> impl Strategy<Value = Call> {
    prop_oneof![
        12 => (at(), open_flags(), octal(&MODES), slot()).prop_map(|(at, flags, mode, slot)| Call::Open { at, flags, mode, slot }),
        1 => slot().prop_map(|slot| Call::Close { slot }),
        1 => octal(&[0, 0o22, 0o77, 0o777]).prop_map(|mask| Call::Umask { mask }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop_oneof![
        4 => names(),
        4 => content(),
        3 => descriptors(),
        3 => attributes(),
        2 => questions(),
    ];
    let user = prop_oneof![2 => Just(0), 1 => 1..USERS.len()];
    let look = prop::bool::weighted(0.4);
    (user, look, call).prop_map(|(user, look, call)| Step { user, look, call })
}

/// Up to `length` steps.
pub fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..=length)
}
