//! `norefs fork`: a further mount with the state of one instant, which goes its own way.

mod ends;
mod instant;
mod refused;
mod state;

use mount_tests::programs::sh;
use mount_tests::transport::{self, Transport};
use mount_tests::{Scratch, is_mounted, norefs, text};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A source, a mount of it at `a`, and places for forks. Dropping it takes all mounts away.
struct Ground {
    scratch: Scratch,
    places: Vec<PathBuf>,
}

impl Ground {
    fn new() -> Ground {
        Ground::on(transport::asked(), &[])
    }

    fn on(transport: Transport, options: &[&str]) -> Ground {
        let scratch = Scratch::new();
        sh(
            &scratch.dir("source"),
            "mkdir d; echo one > d/one; echo two > two; ln -s two link; ln two again",
        );
        let places = ["a", "b", "c", "d"].map(|name| scratch.dir(name));
        let ground = Ground {
            scratch,
            places: places.to_vec(),
        };
        let mut mount = norefs();
        mount.arg("mount").args(transport::arguments(transport));
        mount.args(options).arg(ground.source()).arg(ground.a());
        succeeds(&mut mount);
        ground
    }

    fn source(&self) -> PathBuf {
        self.scratch.join("source")
    }

    fn a(&self) -> &Path {
        &self.places[0]
    }

    fn b(&self) -> &Path {
        &self.places[1]
    }

    fn c(&self) -> &Path {
        &self.places[2]
    }

    /// Forks the mount at `a` to `b`.
    #[track_caller]
    fn fork(&self) {
        fork(self.a(), self.b());
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for place in &self.places {
            while unmount(place, UnmountFlags::FORCE | UnmountFlags::DETACH).is_ok() {}
        }
    }
}

/// Does the same on each transport.
fn on_each(test: impl Fn(Ground)) {
    for transport in transport::each() {
        test(Ground::on(transport, &[]));
    }
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    text(&output.stdout)
}

#[track_caller]
fn fork(from: &Path, to: &Path) {
    succeeds(norefs().arg("fork").args([from, to]));
    assert!(is_mounted(to));
}

fn forking(from: &Path, to: &Path) -> Output {
    norefs().arg("fork").args([from, to]).output().unwrap()
}

#[track_caller]
fn stats(mount: &Path) -> Value {
    let stats = succeeds(norefs().args(["stats", "--json"]).arg(mount));
    serde_json::from_str(&stats).unwrap()
}

#[track_caller]
fn diff(mount: &Path) -> String {
    succeeds(norefs().arg("diff").arg(mount))
}

#[track_caller]
fn end(mount: &Path) {
    succeeds(norefs().args(["umount", "--discard"]).arg(mount));
    assert!(!is_mounted(mount));
}

#[track_caller]
fn content(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}
