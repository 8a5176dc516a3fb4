//! What the tests on real mounts share. Which test lies where is told in `mount-tests/README.md`.
//!
//! [`Daemon`] runs the `norefs` binary on a directory of its own, [`posix`] and [`programs`] keep
//! the tests short. The tests need root and `/dev/fuse`; where one is missing they fail and say so. Only those of `ordinary` need no
//! root; the script `all` runs these for an ordinary user, and names the others.
//!
//! `MOUNT_TESTS_TRANSPORT=ring` or `=device` makes every mount use that transport; a ring that the
//! machine does not offer makes the tests fail. Without it norefs chooses, and the tests of how
//! mounts begin and end try both.
//!
//! `MOUNT_TESTS_PERMISSIONS=daemon` makes norefs decide about permissions in every mount of which a test says no more than
//! what is cached.
//!
//! With `MOUNT_TESTS_ON=tmpfs` in the environment [`Daemon::start`] mounts a tmpfs instead. It
//! serves to check the tests: whatever they say of a filesystem that is not particular to norefs
//! must be true of tmpfs too.
//!
//! `cargo run --release -p mount-tests --bin suites` runs all that has to do with both on each and makes the table in
//! `docs/SEMANTICS.md`.
//!
//! `DIFFERENTIAL_STEPS=1000000 cargo test -p mount-tests --test differential -- --nocapture` compares norefs with tmpfs
//! for that many random steps instead of for some seconds.

pub mod acl;
mod background;
mod daemon;
mod dice;
mod guard;
mod handle;
mod in_process;
mod installed;
mod load;
pub mod offered;
pub mod posix;
pub mod programs;
pub mod report;
pub mod sample;
mod slow_source;
pub mod suites;
mod terminal;
pub mod transport;

pub use background::{Background, is_refusal, refused, text};
pub use daemon::{
    Daemon, NOBODY, Stats, norefs, norefs_as_nobody, norefs_as_ordinary_user, server_of,
};
pub use dice::Dice;
pub use guard::{Scratch, Tmpfs, forget, is_mounted, stop, wait_until};
pub use handle::Handle;
pub use in_process::InProcess;
pub use installed::installed;
pub use load::Load;
pub use posix::{fails, same_as_tmpfs, same_as_tmpfs_with, same_whoever_decides};
pub use slow_source::{Call, Shape, SlowSource};
pub use terminal::Terminal;
