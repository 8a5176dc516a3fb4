//! What cannot be forked, in words, with nothing mounted and nothing harmed.

use super::{Ground, content, forking, stats};
use mount_tests::posix::as_user;
use mount_tests::programs::sh;
use mount_tests::{
    Call, NOBODY, Scratch, Shape, SlowSource, is_mounted, norefs, norefs_as_nobody, refused, text,
    wait_until,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

/// As long as a call may take while nothing is to wait for it.
const HOUR: Duration = Duration::from_secs(3600);

#[track_caller]
fn is_refused(output: &Output, words: &str) {
    refused(output);
    let said = text(&output.stderr);
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_is_no_mount_or_no_place_for_one() {
    let ground = Ground::new();
    let (a, b) = (ground.a(), ground.b());
    is_refused(&forking(&ground.source(), b), "is not a norefs mount");
    is_refused(&forking(&ground.scratch.join("missing"), b), "missing");
    is_refused(&forking(a, &ground.scratch.join("missing")), "mount point");
    is_refused(
        &forking(a, &ground.source().join("two")),
        "is not a directory",
    );
    is_refused(&forking(a, a), "is in use");
    assert!(!is_mounted(b));
    let usage = norefs().arg("fork").arg(a).output().unwrap();
    assert_eq!(usage.status.code(), Some(2));
    stats(a);
}

#[test]
fn a_mount_of_somebody_else() {
    let ground = Ground::new();
    let scratch = Scratch::new();
    let place = scratch.dir("place");
    std::os::unix::fs::chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    let forked = norefs_as_nobody(&scratch)
        .arg("fork")
        .arg(ground.a())
        .arg(&place)
        .output();
    is_refused(&forked.unwrap(), "only its owner can fork it");
    assert!(!is_mounted(&place));
}

#[test]
fn an_ordinary_user_forks_what_is_theirs() {
    let scratch = Scratch::new();
    let places = ["source", "a", "b", "run"].map(|name| {
        let place = scratch.dir(name);
        std::os::unix::fs::chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
        place
    });
    let [source, a, b, run] = &places;
    let _held = Unmounts([a, b]);
    std::fs::write(source.join("file"), "content\n").unwrap();
    std::os::unix::fs::chown(source.join("file"), Some(NOBODY), Some(NOBODY)).unwrap();
    let nobody = |arguments: &[&str]| {
        let mut command = norefs_as_nobody(&scratch);
        let output = command
            .args(arguments)
            .env("XDG_RUNTIME_DIR", run)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        text(&output.stdout)
    };
    let [source, a, b] = [source, a, b].map(|path| path.to_str().unwrap());
    nobody(&["mount", source, a]);
    let within = |mount: &str, text: &str| {
        let file = Path::new(mount).join("file");
        as_user(NOBODY, NOBODY, &[], || std::fs::write(file, text).unwrap());
    };
    within(a, "changed\n");
    nobody(&["fork", a, b]);
    assert_eq!(nobody(&["diff", b]), "M file\n");
    nobody(&["umount", "--discard", a]);
    within(b, "changed\nmore\n");
    nobody(&["apply", b]);
    nobody(&["umount", b]);
    assert_eq!(content(Path::new(source).join("file")), "changed\nmore\n");
    assert!(!is_mounted(Path::new(a)) && !is_mounted(Path::new(b)));
}

#[test]
fn without_memory_for_it_the_mount_goes_on() {
    let ground = Ground::new();
    let (a, b) = (ground.a(), ground.b());
    let server = Pid::from_raw(stats(a)["pid"].as_i64().unwrap() as i32).unwrap();
    let status = content(format!("/proc/{server}/status"));
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size: u64 = size
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    let little = Rlimit {
        current: Some((size << 10) + (16 << 20)),
        maximum: None,
    };
    let before = prlimit(Some(server), Resource::As, little).unwrap();
    is_refused(&forking(a, b), "memory");
    assert!(!is_mounted(b));
    sh(a, "echo works > works; cat works d/one; rm works");
    prlimit(Some(server), Resource::As, before).unwrap();
    ground.fork();
    assert_eq!(content(b.join("d/one")), "one\n");
}

#[test]
fn a_mount_that_waits_for_its_source_is_forked_when_it_waits_no_more() {
    let source = SlowSource::new(Shape {
        files: 3,
        ttl: Duration::ZERO,
        ..Shape::default()
    });
    let scratch = Scratch::new();
    let [a, b] = ["a", "b"].map(|name| scratch.dir(name));
    let mounted = norefs().arg("mount").args([&*source, &a]).output().unwrap();
    assert!(mounted.status.success(), "{mounted:?}");
    let _held = Unmounts([&a, &b]);
    let file = SlowSource::file(0, 0);
    source.slow(Call::Read, HOUR);
    let reader = std::thread::spawn({
        let path = a.join(&file);
        move || std::fs::read(path).unwrap()
    });
    assert!(wait_until(|| source.waiting() > 0));
    is_refused(&forking(&a, &b), "requests wait for the source");
    assert!(!is_mounted(&b));
    source.slow(Call::Read, Duration::ZERO);
    assert_eq!(reader.join().unwrap(), source.content(0, 0));
    super::fork(&a, &b);
    assert_eq!(std::fs::read(b.join(file)).unwrap(), source.content(0, 0));
}

struct Unmounts<'p>([&'p Path; 2]);

impl Drop for Unmounts<'_> {
    fn drop(&mut self) {
        use rustix::mount::{UnmountFlags, unmount};
        for place in self.0 {
            while unmount(place, UnmountFlags::FORCE | UnmountFlags::DETACH).is_ok() {}
        }
    }
}
