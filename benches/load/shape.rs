//! What the tree holds: the same files under the same names in every run, on disk or not.

use std::fmt::Write;

/// Files in a directory, and directories in one of the upper level.
pub const PER_DIRECTORY: u64 = 100;

/// One name that is not a directory's.
pub enum File {
    /// A regular file of that many bytes.
    Regular(u64),
    /// A regular file with an extended attribute.
    Attributed,
    /// A further name of the file before.
    HardLink,
    /// A symbolic link to the file two before.
    Symlink,
}

/// What the file `number` is: of a hundred, two symbolic links, one hard link, one with an extended
/// attribute, one empty, and 95 that have content.
pub fn file(number: u64) -> File {
    match number % PER_DIRECTORY {
        10 | 60 => File::Symlink,
        20 => File::HardLink,
        30 => File::Attributed,
        40 => File::Regular(0),
        _ => File::Regular(1 + number * 37 % 100_000),
    }
}

/// A name of 16 bytes.
pub fn name(number: u64) -> String {
    let mut name = String::with_capacity(17);
    write!(name, "a-name-{number:09}").expect("a string takes all that is written");
    name
}

/// The numbers of the directories' first files: one directory for each hundred files, a hundred of them
/// in one of the upper level.
pub fn directories(files: u64) -> impl Iterator<Item = (u64, Vec<u64>)> {
    let upper = PER_DIRECTORY * PER_DIRECTORY;
    let firsts = move |from: u64| (from..files.min(from + upper)).step_by(PER_DIRECTORY as usize);
    (0..files)
        .step_by(upper as usize)
        .map(move |from| (from, firsts(from).collect()))
}

/// The numbers of the files in the directory whose first file is `first`.
pub fn files_in(first: u64, files: u64) -> std::ops::Range<u64> {
    first..files.min(first + PER_DIRECTORY)
}
