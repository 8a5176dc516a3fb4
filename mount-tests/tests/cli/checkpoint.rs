//! `norefs mount --keep` and `norefs checkpoint`: what outlives whoever serves the mount.

use super::{shown, verb};
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, is_mounted, text, wait_until};
use rustix::process::{Signal, kill_process};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A source, and a directory for what is kept.
struct Ground {
    source: Scratch,
    place: Scratch,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground {
            source: Scratch::new(),
            place: Scratch::new(),
        };
        sh(
            &ground.source,
            "mkdir d; for f in d/a d/b f gone; do echo $f > $f; done; ln f f2",
        );
        ground
    }

    fn file(&self) -> PathBuf {
        self.place.join("kept.tar")
    }

    /// Mounts, kept as the file so often.
    fn mount(&self, every: &str) -> Daemon {
        let file = self.file();
        let mount = Daemon::with(&[
            "--keep",
            shown(&file),
            "--checkpoint",
            every,
            shown(&self.source),
        ]);
        mount.stats();
        mount
    }
}

const CHANGES: &str = "echo more >> d/a; rm gone; mv d moved; echo new > new; ln new new2; ln f f3; touch -d @1234567890.123456789 new";
/// Longer than any test.
const NEVER: &str = "1day";
const SOON: &str = "100ms";

fn all(root: &Path) -> String {
    sh(
        root,
        "find . -printf '%p %y %m %n %s %T@\n' | sort; find . -type f -exec md5sum {} + | sort; ls -i f f2 moved/a moved/b | sort -k 2",
    )
}

fn kill(daemon: &mut Daemon) {
    kill_process(daemon.pid(), Signal::KILL).unwrap();
    assert!(wait_until(|| daemon.ended().is_some()));
}

/// What the file tells that differs.
fn kept(file: &Path) -> String {
    text(&verb("diff", &[shown(file)]).stdout)
}

#[test]
fn after_a_kill_the_next_mount_goes_on_from_the_last_checkpoint() {
    let ground = Ground::new();
    let mut mount = ground.mount(NEVER);
    sh(mount.root(), CHANGES);
    let was = all(mount.root());
    let kept = verb("checkpoint", &[shown(mount.root())]);
    assert!(kept.status.success(), "{kept:?}");
    sh(mount.root(), "echo lost > lost");
    kill(&mut mount);
    let again = ground.mount(NEVER);
    assert_eq!(all(again.root()), was);
}

#[test]
fn it_is_kept_from_time_to_time_if_something_changed() {
    let ground = Ground::new();
    let mut mount = ground.mount(SOON);
    sh(mount.root(), CHANGES);
    let was = all(mount.root());
    let told = text(&verb("diff", &[shown(mount.root())]).stdout);
    assert!(wait_until(|| kept(&ground.file()) == told));
    let number = ground.file().metadata().unwrap().ino();
    let unchanged = verb("checkpoint", &[shown(mount.root())]);
    assert!(
        text(&unchanged.stderr).contains("nothing changed"),
        "{unchanged:?}"
    );
    assert_eq!(ground.file().metadata().unwrap().ino(), number);
    kill(&mut mount);
    assert_eq!(all(ground.mount(NEVER).root()), was);
}

#[test]
fn however_it_ends_the_last_changes_are_kept() {
    for end in ["umount", "norefs", "signal"] {
        let ground = Ground::new();
        let mut mount = ground.mount(NEVER);
        sh(mount.root(), CHANGES);
        let was = all(mount.root());
        match end {
            "umount" => _ = sh(&ground.place, &format!("umount {}", shown(mount.root()))),
            "norefs" => {
                let ended = verb("umount", &[shown(mount.root())]);
                assert!(ended.status.success(), "{ended:?}");
            }
            _ => kill_process(mount.pid(), Signal::TERM).unwrap(),
        }
        assert!(wait_until(|| mount.ended().is_some()), "{end}");
        assert_eq!(all(ground.mount(NEVER).root()), was, "{end}");
    }
}

#[test]
fn thrown_away_they_leave_the_last_checkpoint() {
    let ground = Ground::new();
    let mut mount = ground.mount(NEVER);
    sh(mount.root(), CHANGES);
    let was = all(mount.root());
    assert!(verb("checkpoint", &[shown(mount.root())]).status.success());
    sh(mount.root(), "echo lost > lost");
    let ended = verb("umount", &["--discard", shown(mount.root())]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(wait_until(|| mount.ended().is_some()));
    assert_eq!(all(ground.mount(NEVER).root()), was);
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint_and_the_mount() {
    let ground = Ground::new();
    sh(
        &ground.place,
        "mkdir small; mount -t tmpfs -o size=256k tmpfs small",
    );
    let file = ground.place.join("small/kept.tar");
    let mount = Daemon::with(&[
        "--keep",
        shown(&file),
        "--checkpoint",
        NEVER,
        shown(&ground.source),
    ]);
    mount.stats();
    let keep = || verb("checkpoint", &[shown(mount.root())]);
    sh(mount.root(), "echo first > new");
    assert!(keep().status.success());
    let before = std::fs::read(&file).unwrap();
    sh(mount.root(), "head -c 1000000 /dev/urandom > new");
    let failed = keep();
    let ended = verb("umount", &[shown(mount.root())]);
    let mounted = is_mounted(mount.root());
    let after = std::fs::read(&file).unwrap();
    let names = sh(&ground.place, "ls -A small");
    sh(mount.root(), "echo less > new");
    let fits = keep();
    let last = kept(&file);
    drop(mount);
    sh(&ground.place, "umount small");
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(text(&failed.stderr).contains("No space left"), "{failed:?}");
    assert_eq!((ended.status.code(), mounted), (Some(1), true), "{ended:?}");
    assert!(before == after);
    assert_eq!(names, "kept.tar\n");
    assert!(fits.status.success(), "{fits:?}");
    assert_eq!(last, "A new\n");
}

#[test]
fn kept_while_everything_changes_it_is_whole() {
    let ground = Ground::new();
    let mount = ground.mount(NEVER);
    let script = "while test ! -e stop; do for i in 1 2 3 4 5 6 7 8; do echo $i > new$i; mkdir -p n/$i; echo $i > n/$i/x; done;
        mv n m; mv new1 m/new1; rm -r m new?; done; rm stop";
    let mut busy = std::process::Command::new("sh");
    let mut busy = busy
        .args(["-c", script])
        .current_dir(mount.root())
        .spawn()
        .unwrap();
    for _ in 0..20 {
        let output = verb("checkpoint", &[shown(mount.root())]);
        assert!(output.status.success(), "{output:?}");
        let read = verb("diff", &["--json", shown(&ground.file())]);
        assert!(read.status.success(), "{read:?}");
    }
    std::fs::write(mount.path("stop"), "").unwrap();
    assert!(busy.wait().unwrap().success());
    drop(mount);
    assert_eq!(kept(&ground.file()), "");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let ground = Ground::new();
    let (other, at) = (Scratch::new(), Scratch::new());
    let first = ground.mount(NEVER);
    sh(first.root(), "echo new > new");
    drop(first);
    let before = std::fs::read(ground.file()).unwrap();
    let file = ground.file();
    let (file, source, mount) = (shown(&file), shown(&ground.source), shown(&at));
    sh(&ground.place, "echo text > text");
    let inside = format!("{mount}/kept.tar");
    let text_file = ground.place.join("text");
    let missing = ground.place.join("missing/kept.tar");
    for (arguments, status, reason) in [
        (
            vec!["--keep", file, shown(&other), mount],
            1,
            "another directory",
        ),
        (
            vec!["--keep", shown(&text_file), source, mount],
            1,
            "has not kept",
        ),
        (
            vec!["--keep", &inside, source, mount],
            2,
            "inside the mount point",
        ),
        (
            vec!["--keep", shown(&missing), source, mount],
            1,
            "No such file",
        ),
        (vec!["--keep", "/tmp/norefs-none.tar", mount], 2, "source"),
        (vec!["--checkpoint", "5s", source, mount], 2, "--keep"),
        (
            vec!["--keep", file, "--resume", file, source, mount],
            2,
            "--resume",
        ),
    ] {
        let refused = verb("mount", &arguments);
        assert_eq!(
            refused.status.code(),
            Some(status),
            "{arguments:?}: {refused:?}"
        );
        assert!(
            text(&refused.stderr).contains(reason),
            "{arguments:?}: {refused:?}"
        );
        assert!(!is_mounted(&at));
    }
    assert!(before == std::fs::read(ground.file()).unwrap());
    let plain = Daemon::with(&[source]);
    plain.stats();
    let refused = verb("checkpoint", &[shown(plain.root())]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--keep FILE"), "{refused:?}");
}

#[test]
fn an_ordinary_user_has_it_too() {
    let ground = Ground::new();
    sh(&ground.source, "chown -R 65534:65534 .; chmod 755 .");
    sh(&ground.place, "chmod 777 .");
    let file = ground.file();
    let mount = || {
        let mount = Daemon::as_nobody(&[
            "--keep",
            shown(&file),
            "--checkpoint",
            SOON,
            shown(&ground.source),
        ]);
        assert!(wait_until(|| is_mounted(mount.root())));
        mount
    };
    let mut first = mount();
    let as_nobody = |root: &Path, script: &str| {
        sh(
            Path::new("/"),
            &format!(
                "setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec 'cd {}; {script}'",
                shown(root)
            ),
        )
    };
    as_nobody(first.root(), "echo new > new; rm gone");
    assert!(wait_until(|| kept(&file) == "D gone\nA new\n"));
    kill(&mut first);
    let again = mount();
    assert_eq!(
        as_nobody(again.root(), "cat new; ls gone 2>/dev/null || true"),
        "new\n"
    );
}
