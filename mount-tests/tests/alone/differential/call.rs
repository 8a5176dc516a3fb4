//! What can be called. The `Debug` form of a step is Rust: a failing sequence can be pasted as a test.

use std::fmt;

/// How many descriptors a sequence may hold at once.
pub const SLOTS: usize = 5;

/// A path, from the root or from the directory open in a slot, counted from 1.
#[derive(Clone, Copy, PartialEq)]
pub struct At(pub usize, pub &'static str);

/// Modes and flags of open, which are read best in octal.
#[derive(Clone, Copy, PartialEq)]
pub struct Octal(pub u32);

/// Which function of several takes the object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    Path,
    Link,
    Slot,
}

/// A time as utimensat takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stamp {
    Now,
    Omit,
    Given(i64, i64),
}

/// What lseek is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Whence {
    Start,
    End,
    Data,
    Hole,
}

/// Which lock, of the open file as a whole or of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lock {
    Shared,
    Exclusive,
    None,
}

/// One system call with its arguments, or a few that belong together. Raw flags are those of Linux.
#[derive(Clone, Copy, Debug, PartialEq)]
#[rustfmt::skip]
pub enum Call {
    Open { at: At, flags: Octal, mode: Octal, slot: usize },
    Close { slot: usize },
    Duplicate { from: usize, to: usize },
    Flags { slot: usize, flags: Octal },
    Read { slot: usize, len: usize },
    ReadAt { slot: usize, offset: u64, len: usize },
    Write { slot: usize, len: usize, byte: u8 },
    WriteAt { slot: usize, offset: u64, len: usize, byte: u8, flags: u32 },
    Map { slot: usize, offset: usize, len: usize, byte: u8, keep: bool },
    ReadMap { slot: usize, offset: usize, len: usize },
    Truncate { slot: usize, size: u64 },
    TruncatePath { at: At, size: i64 },
    Allocate { slot: usize, mode: u32, offset: u64, len: u64 },
    Seek { slot: usize, to: i64, whence: Whence },
    Copy { from: usize, from_offset: u64, to: usize, to_offset: u64, len: usize },
    Send { from: usize, offset: u64, to: usize, len: usize },
    Sync { slot: usize, how: usize },
    LockFile { slot: usize, lock: Lock },
    LockRange { slot: usize, lock: Lock, start: i64, len: i64, ask: bool },
    List { slot: usize, again_from: usize },
    Walk { slot: usize, entries: usize },
    Link { from: At, to: At, flags: u32 },
    LinkSlot { slot: usize, to: At, by_proc: bool },
    Symlink { target: &'static str, at: At },
    Readlink { at: At },
    Mkdir { at: At, mode: Octal },
    Mknod { at: At, kind: Octal, mode: Octal, device: u64 },
    Unlink { at: At, directory: bool },
    Rename { from: At, to: At, flags: u32 },
    Chmod { at: At, mode: Octal, by: By },
    Chown { at: At, uid: Option<u32>, gid: Option<u32>, by: By },
    Times { at: At, atime: Stamp, mtime: Stamp, by: By },
    Set { at: At, name: &'static str, len: usize, flags: u32, by: By },
    Get { at: At, name: &'static str, room: usize, by: By },
    Names { at: At, room: usize, by: By },
    Remove { at: At, name: &'static str, by: By },
    Stat { at: At, flags: u32, birth: bool },
    Access { at: At, mode: u32, flags: u32 },
    Umask { mask: Octal },
    Space { at: At },
    Here { at: At },
}

/// A call by one of [`USERS`]; `look` says whether both trees are compared after it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub user: usize,
    pub look: bool,
    pub call: Call,
}

/// uid, gid, supplementary groups.
pub const USERS: [(u32, u32, &[u32]); 3] =
    [(0, 0, &[]), (1000, 1000, &[]), (1001, 1001, &[5, 1000])];

/// Something of each kind to begin with, so that the first calls are not all in vain. A file is open in slot 0, another in
/// slot 2, a directory in slot 1.
#[rustfmt::skip]
pub const BEGINNING: [Step; 8] = [
    Step { user: 1, look: false, call: Call::Mkdir { at: At(0, "a"), mode: Octal(0o777) } },
    Step { user: 1, look: false, call: Call::Open { at: At(0, "a/b"), flags: Octal(0o102), mode: Octal(0o666), slot: 0 } },
    Step { user: 1, look: false, call: Call::Write { slot: 0, len: 5_000, byte: b'b' } },
    Step { user: 1, look: false, call: Call::Open { at: At(0, "a"), flags: Octal(0o200_000), mode: Octal(0), slot: 1 } },
    Step { user: 0, look: false, call: Call::Mkdir { at: At(0, "a/a"), mode: Octal(0o1777) } },
    Step { user: 2, look: false, call: Call::Open { at: At(0, "b"), flags: Octal(0o102), mode: Octal(0o664), slot: 2 } },
    Step { user: 2, look: false, call: Call::Mkdir { at: At(0, "d"), mode: Octal(0o2770) } },
    Step { user: 2, look: true, call: Call::Symlink { target: "a", at: At(0, "c") } },
];

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "At({}, {:?})", self.0, self.1)
    }
}

impl fmt::Debug for Octal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octal(0o{:o})", self.0)
    }
}

impl Call {
    /// What kind of call this is.
    pub fn name(&self) -> String {
        let call = format!("{self:?}");
        call.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Whether an empty path means what is open in the slot it starts from.
    pub fn takes_descriptors(&self) -> bool {
        use Call::*;
        matches!(self, Stat { .. } | Access { .. } | Readlink { .. })
    }

    /// The one path of the call; of two, neither.
    pub fn place(&self) -> Option<At> {
        match *self {
            Call::Chmod { by: By::Slot, .. }
            | Call::Chown { by: By::Slot, .. }
            | Call::Times { by: By::Slot, .. }
            | Call::Set { by: By::Slot, .. }
            | Call::Get { by: By::Slot, .. }
            | Call::Names { by: By::Slot, .. }
            | Call::Remove { by: By::Slot, .. } => None,
            Call::Open { at, .. }
            | Call::TruncatePath { at, .. }
            | Call::Symlink { at, .. }
            | Call::Readlink { at }
            | Call::Mkdir { at, .. }
            | Call::Mknod { at, .. }
            | Call::Unlink { at, .. }
            | Call::Chmod { at, .. }
            | Call::Chown { at, .. }
            | Call::Times { at, .. }
            | Call::Set { at, .. }
            | Call::Get { at, .. }
            | Call::Names { at, .. }
            | Call::Remove { at, .. }
            | Call::Stat { at, .. }
            | Call::Access { at, .. }
            | Call::Here { at }
            | Call::Space { at } => Some(at),
            Call::LinkSlot { to, .. } => Some(to),
            _ => None,
        }
    }
}

/// `steps` as a test that can be pasted.
pub fn script(steps: &[Step]) -> String {
    let lines: Vec<String> = steps
        .iter()
        .map(|step| format!("        {step:?},\n"))
        .collect();
    format!(
        "#[test]\nfn regression() {{\n    same(&[\n{}    ]);\n}}",
        lines.concat()
    )
}
