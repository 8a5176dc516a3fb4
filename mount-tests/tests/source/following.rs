//! A mount that follows its source: what is changed there is seen here, and what is changed here stays.

use crate::same::same;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, text, wait_until};
use rustix::fs::{CWD, RenameFlags, inotify, renameat_with};
use rustix::io::Errno;
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

struct Followed {
    mount: Daemon,
    source: Scratch,
}

impl Followed {
    /// A mount that follows what `script` makes.
    fn of(script: &str) -> Followed {
        Followed::with(&[], script)
    }

    fn with(more: &[&str], script: &str) -> Followed {
        let source = Scratch::new();
        sh(&source, script);
        let mut arguments = vec!["-o", "allow_other,follow"];
        arguments.extend(more);
        arguments.push(source.to_str().unwrap());
        let mount = Daemon::with(&arguments);
        mount.stats();
        Followed { mount, source }
    }

    #[track_caller]
    fn sync(&self) {
        let output = norefs().arg("sync").arg(self.mount.root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// `script` changes the source, and the mount shows what became of it.
    #[track_caller]
    fn shows(&self, script: &str) {
        sh(&self.source, script);
        self.sync();
        same(&self.source, self.mount.root());
    }

    fn follow(&self, figure: &str) -> u64 {
        self.mount.stats().0["follow"][figure].as_u64().unwrap()
    }

    /// What `norefs diff` prints, and what it says beside.
    fn diff(&self) -> (String, String) {
        let output = norefs().arg("diff").arg(self.mount.root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    }
}

const SOME: &str = "mkdir -p d/e/f; for n in a b c; do echo $n > $n; echo d$n > d/$n; done; \
    echo x > d/e/x; ln a d/again; ln -s a link; mkfifo pipe; echo y > d/e/f/y";

#[test]
fn each_kind_of_change_of_the_source_is_seen_after_a_sync() {
    let followed = Followed::of(SOME);
    // So that the kernel holds all of it, and that some names are not there.
    same(&followed.source, followed.mount.root());
    for absent in ["new", "d/new", "dir", "d/e/moved", "other"] {
        assert!(!followed.mount.path(absent).exists());
    }
    for script in [
        "echo new > new; echo more >> a; echo b > b",
        ": > c; truncate -s 10000 d/a; echo grown > d/b; : > d/b; echo again > d/b",
        "mkdir -p dir/below/deep; echo z > dir/below/deep/z; ln -s nowhere dir/l; mkfifo dir/p",
        "mv d/c d/new; mv b other; mv d/e/x d/e/moved; mv other dir/other",
        "ln dir/other third; ln new dir/new2; rm new",
        "mv dir/below d/e/below; mv d/e d2; mkdir d/e; echo in > d/e/in",
        "chmod 600 a; chown 5:6 d/a; chmod 700 d2; touch -d @1000 d/b; touch -h -d @99 link",
        "setfattr -n user.n -v 1 a; setfattr -n user.d -v 2 d; setfattr -n user.d -v 3 d2",
        "setfattr -n user.n -v other a; setfattr -x user.d d2",
        "ln -sfn d link; rm pipe; echo file > pipe",
        "echo saved > .tmp; mv .tmp a; echo saved > .tmp; mv .tmp d/a",
        "rm -rf d2; mkdir d2; echo other > d2/moved; rm third",
        "rm d/a; mkdir d/a; echo k > d/a/k; rm -rf d/e; echo file > d/e",
        "mkdir s t; touch s/1 t/2; mv s u; mv t s; mv u t",
        "mkdir p; mkdir p/q; touch p/q/r; mv p/q q; mv p q/p",
        "rm -rf *; rm -f .tmp",
        "mkdir -p d/e; echo again > d/e/x",
    ] {
        followed.shows(script);
    }
    assert_eq!(followed.follow("conflicts"), 0);
    assert_eq!(followed.diff(), (String::new(), String::new()));
    assert_eq!(followed.mount.stats().0["stale"], 0);
}

#[test]
fn what_changes_is_seen_soon_without_a_question() {
    let followed = Followed::of(SOME);
    sh(&followed.source, "mkdir n; echo n > n/n; rm d/a");
    let mount = &followed.mount;
    assert!(wait_until(
        || fs::read(mount.path("n/n")).is_ok_and(|read| read == b"n\n")
    ));
    assert!(wait_until(|| !mount.path("d/a").exists()));
}

#[test]
fn an_open_file_shows_what_is_written_to_it_in_the_source() {
    let followed = Followed::of(SOME);
    let mut file = File::open(followed.mount.path("d/a")).unwrap();
    let number = file.metadata().unwrap().ino();
    let mut read = String::new();
    file.read_to_string(&mut read).unwrap();
    assert_eq!(read, "da\n");
    followed.shows("printf XY | dd of=d/a conv=notrunc status=none; echo more >> d/a");
    file.rewind().unwrap();
    read.clear();
    file.read_to_string(&mut read).unwrap();
    assert_eq!(read, "XY\nmore\n");
    // Wherever it goes.
    followed.shows("mv d/a d/e/a; mv d z; echo last >> z/e/a");
    let mut bytes = [0; 5];
    file.read_exact_at(&mut bytes, 8).unwrap();
    assert_eq!(
        (&bytes, file.metadata().unwrap().ino()),
        (b"last\n", number)
    );
}

#[test]
fn a_working_directory_goes_with_a_directory_that_the_source_moves() {
    let followed = Followed::of(SOME);
    let inside = File::open(followed.mount.path("d/e")).unwrap();
    followed.shows("mv d/e elsewhere; echo later > elsewhere/later");
    let later = rustix::fs::openat(
        &inside,
        "later",
        rustix::fs::OFlags::RDONLY,
        rustix::fs::Mode::empty(),
    );
    let mut read = String::new();
    File::from(later.unwrap())
        .read_to_string(&mut read)
        .unwrap();
    assert_eq!(read, "later\n");
}

#[test]
fn what_the_mount_changed_stays_and_both_sides_changes_are_conflicts() {
    let followed = Followed::of(SOME);
    let mount = followed.mount.root();
    sh(
        mount,
        "echo mine > a; rm b; mv c moved; echo mine > made; mkdir md; chmod 600 d/a; echo mine > d/e/mine",
    );
    sh(
        &followed.source,
        "echo theirs > a; echo theirs > b; mv c theirs; echo theirs > made; echo t > md; \
         echo theirs >> d/a; rm -r d/e; echo quiet > d/b",
    );
    followed.sync();
    let read = |name: &str| fs::read_to_string(mount.join(name)).ok();
    let has = |text: &str| Some(format!("{text}\n"));
    assert_eq!(read("a"), has("mine"));
    assert_eq!(read("b"), None);
    assert_eq!((read("moved"), read("theirs")), (has("c"), None));
    assert_eq!(read("made"), has("mine"));
    assert!(mount.join("md").is_dir());
    // Only the mode was changed here.
    assert_eq!(read("d/a"), has("da\ntheirs"));
    assert_eq!(
        fs::metadata(mount.join("d/a")).unwrap().mode() & 0o777,
        0o600
    );
    assert_eq!(read("d/e/mine"), has("mine"));
    assert_eq!((read("d/e/x"), read("d/b")), (None, has("quiet")));
    let (lines, said) = followed.diff();
    for conflict in ["a", "made", "md", "d/e", "theirs"] {
        let line = format!("conflict: the source has changed {conflict} too\n");
        assert!(said.contains(&line), "{conflict}: {said}");
    }
    assert!(followed.follow("conflicts") >= 5);
    assert!(!lines.contains("d/b"), "{lines}");
    // The source is what differences are told from.
    sh(&followed.source, "rm a b made md theirs");
    followed.sync();
    let (lines, _) = followed.diff();
    assert!(
        lines.contains("A a\n") && lines.contains("A made\n"),
        "{lines}"
    );
}

#[test]
fn a_directory_that_the_source_moves_to_a_name_of_the_mounts_stays_whole_where_it_was() {
    let followed =
        Followed::of("mkdir -p e/sub top/in; echo x > e/x; echo y > e/sub/y; echo z > top/in/z");
    let mount = followed.mount.root();
    sh(
        mount,
        "mkdir d t; echo mine > e/mine; echo mine > top/in/mine",
    );
    sh(&followed.source, "mkdir d; echo other > d/other");
    followed.sync();
    sh(&followed.source, "mv top/in t; rmdir top");
    let (e, d) = (followed.source.join("e"), followed.source.join("d"));
    renameat_with(CWD, &e, CWD, &d, RenameFlags::EXCHANGE).unwrap();
    sh(&followed.source, "echo later > d/sub/later");
    followed.sync();
    let read = |name: &str| fs::read_to_string(mount.join(name)).ok();
    let has = |text: &str| Some(format!("{text}\n"));
    for (name, text) in [
        ("e/other", "other"),
        ("e~1/x", "x"),
        ("e~1/sub/y", "y"),
        ("e~1/sub/later", "later"),
        ("e~1/mine", "mine"),
        ("top/in/z", "z"),
        ("top/in/mine", "mine"),
    ] {
        assert_eq!(read(name), has(text), "{name}");
    }
    let (lines, said) = followed.diff();
    for conflict in ["d", "t"] {
        let line = format!("conflict: the source has changed {conflict} too\n");
        assert!(said.contains(&line), "{conflict}: {said}");
    }
    assert!(!lines.contains("/x") && !lines.contains("/z"), "{lines}");
    // What the source has there is shown here, until it is gone.
    sh(&followed.source, "echo new > d/x; rm d/sub/y; rm -r t");
    followed.sync();
    assert_eq!((read("e~1/x"), read("e~1/sub/y")), (has("new"), None));
    assert_eq!((read("top/in/z"), read("top/in/mine")), (None, has("mine")));
    sh(&followed.source, "rm -r d");
    followed.sync();
    assert!(!mount.join("e~1/sub").exists());
    assert_eq!(read("e~1/mine"), has("mine"));
}

#[test]
fn no_name_is_made_in_the_source() {
    let followed = Followed::of("mkdir d; echo a > a");
    let before = fs::metadata(&*followed.source).unwrap();
    for _ in 0..3 {
        followed.sync();
    }
    let after = fs::metadata(&*followed.source).unwrap();
    assert_eq!(
        (before.ctime(), before.ctime_nsec()),
        (after.ctime(), after.ctime_nsec())
    );
}

#[test]
fn what_the_system_did_not_tell_is_found_and_said() {
    let followed = Followed::of(SOME);
    let pid = followed.mount.pid();
    kill_process(pid, Signal::STOP).unwrap();
    // More than it keeps for who does not read.
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: u32 = most.trim().parse().unwrap();
    fs::create_dir(followed.source.join("many")).unwrap();
    for number in 0..=most / 2 {
        let name = followed.source.join(format!("n{}", number % 100));
        fs::write(&name, number.to_string()).unwrap();
        fs::remove_file(&name).unwrap();
    }
    sh(
        &followed.source,
        "rm -r d/e; echo after > d/after; echo after > many/x; mv a many/a",
    );
    kill_process(pid, Signal::CONT).unwrap();
    followed.sync();
    same(&followed.source, followed.mount.root());
    assert!(followed.follow("rescans") >= 1);
    followed.shows("echo later > many/y; echo later > d/after");
}

#[test]
fn what_is_looked_at_again_needs_no_event() {
    // Stores to a mapping move no time and tell nobody.
    let followed = Followed::with(&["--refresh", "100ms"], SOME);
    followed.shows("echo n > n");
    let output = norefs()
        .arg("refresh")
        .arg(followed.mount.root())
        .arg("d")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let looks = followed.follow("looks");
    assert!(wait_until(|| followed.follow("looks") > looks + 10));
}

#[test]
fn a_rename_here_beside_renames_there_never_waits_for_ever() {
    let followed =
        Followed::of("mkdir d e; for n in 1 2 3 4; do echo $n > d/$n; done; echo m > e/m");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for turn in 0..2 {
            let (over, followed) = (&over, &followed);
            scope.spawn(move || {
                let place = |name: String| followed.mount.path(name);
                let mut number = 0;
                while !over.load(Relaxed) {
                    let mine = place(format!("d/mine{turn}"));
                    File::create(&mine)
                        .and_then(|mut file| file.write_all(b"m"))
                        .unwrap();
                    fs::rename(&mine, place(format!("e/mine{turn}"))).unwrap();
                    fs::rename(place(format!("e/mine{turn}")), &mine).unwrap();
                    let _ = fs::read_dir(place("d".into())).map(Iterator::count);
                    let _ = fs::metadata(place(format!("d/{}", number % 5)));
                    number += 1;
                }
            });
        }
        let place = |name: &str| followed.source.join(name);
        for number in 0..120 {
            let name = format!("d/{}", 1 + number % 4);
            let away = format!("e/{}", 1 + number % 4);
            fs::rename(place(&name), place(&away)).unwrap();
            let flags = RenameFlags::EXCHANGE;
            renameat_with(
                rustix::fs::CWD,
                place(&away),
                rustix::fs::CWD,
                place("e/m"),
                flags,
            )
            .unwrap();
            fs::rename(place(&away), place(&name)).unwrap();
            if number % 30 == 0 {
                followed.sync();
            }
        }
        followed.sync();
        over.store(true, Relaxed);
    });
    sh(followed.mount.root(), "rm -f d/mine* e/mine*");
    followed.sync();
    for name in ["d/1", "d/2", "d/3", "d/4", "e/m"] {
        let read = |root: &Path| fs::read(root.join(name)).unwrap();
        assert_eq!(
            read(&followed.source),
            read(followed.mount.root()),
            "{name}"
        );
    }
}

#[test]
fn what_was_written_to_the_source_is_followed_on() {
    let followed = Followed::of(SOME);
    sh(
        followed.mount.root(),
        "echo mine > made; mkdir md; echo in > md/in; rm c; echo x >> a",
    );
    let output = norefs().arg("apply").arg(followed.mount.root()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    followed.sync();
    assert_eq!(followed.diff(), (String::new(), String::new()));
    sh(
        &followed.source,
        "echo theirs >> made; echo more > md/more; mv md/in d/in; rm a",
    );
    followed.sync();
    let read = |name: &str| fs::read_to_string(followed.mount.path(name)).unwrap();
    assert_eq!(read("made"), "mine\ntheirs\n");
    assert_eq!(
        (read("md/more"), read("d/in")),
        ("more\n".into(), "in\n".into())
    );
    assert!(!followed.mount.path("a").exists());
    assert_eq!(followed.diff(), (String::new(), String::new()));
}

#[test]
fn a_checkout_of_another_state_in_the_source_is_seen_whole() {
    let followed = Followed::of(
        "git init -q; git config user.email a@b; git config user.name n; \
         for d in $(seq 10); do mkdir -p $d/s; for f in $(seq 20); do echo $d$f > $d/s/$f; done; done; \
         git add -A; git commit -qm one; \
         for d in $(seq 5 10); do rm -r $d; mkdir -p n$d/s; echo $d > n$d/s/f; done; \
         for f in $(seq 20); do echo other >> 1/s/$f; done; git add -A; git commit -qm two",
    );
    same(&followed.source, followed.mount.root());
    followed.shows("git checkout -q HEAD~1");
    followed.shows("git checkout -q -; git stash -q 2>/dev/null; true");
    followed.shows("rm -rf [0-9]* n*; git checkout -q HEAD~1 -- .; git gc -q");
}

#[test]
fn a_watch_in_the_mount_sees_no_change_of_the_source() {
    let followed = Followed::of(SOME);
    same(&followed.source, followed.mount.root());
    let inotify = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for watched in ["", "a", "d", "d/b"] {
        let flags = inotify::WatchFlags::ALL_EVENTS;
        inotify::add_watch(&inotify, followed.mount.path(watched), flags).unwrap();
    }
    sh(
        &followed.source,
        "echo x >> a; echo n > new; chmod 600 a; mv new d/new; rm d/b; rm -r d; mv a b",
    );
    followed.sync();
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut space);
    assert_eq!(reader.next().err(), Some(Errno::AGAIN));
    same(&followed.source, followed.mount.root());
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |arguments: &[&str], why: &str| {
        let scratch = Scratch::new();
        let place = scratch.dir("m");
        let source = scratch.dir("s");
        let mut command = norefs();
        command.arg("mount").args(arguments);
        if !why.contains("with a source") {
            command.arg(source);
        }
        let output = command.arg(place).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains(why), "{said}");
    };
    refused(&["-o", "follow"], "is for a mount with a source");
    refused(
        &["-o", "follow,ro,passthrough"],
        "cannot be had with passthrough",
    );
    refused(&["--refresh", "5s"], "-o follow");
    refused(&["-o", "follow", "--refresh", "1ms"], "100ms");
    let plain = Daemon::start();
    plain.stats();
    let output = norefs().arg("sync").arg(plain.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not follow its source"));
}
