//! What was kept is one file: an archive that tar(1) unpacks, and that norefs knows again or refuses.

use super::{shown, verb};
use mount_tests::posix::same_trees;
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, text};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// A source, a mount of it, and a directory for what is kept.
struct Ground {
    source: Scratch,
    place: Scratch,
    mount: Daemon,
}

const SOURCE: &str = "mkdir d d/sub e; for f in d/a d/b d/sub/c f g mode gone; do echo $f > $f; done; ln f f2; ln -s f link";

const CHANGES: &str = "mv d moved; echo more >> moved/sub/c; rm gone; ln f third; echo new > new; chmod 600 mode;
    setfattr -n user.x -v '0saAo9Cg==' g; setfattr -n user.odd=name% -v z g; mkfifo e/pipe; ln -sfn elsewhere link; rm moved/a;
    printf '%s' \"$(printf 'n%.0s' $(seq 200))\" > e/$(printf 'n%.0s' $(seq 200)); truncate -s 3M sparse; printf x >> sparse;
    touch -d @-5.000000001 new; touch -d @1234567890.123456789 moved/sub/c";

impl Ground {
    fn new(changes: &str) -> Ground {
        let (source, place) = (Scratch::new(), Scratch::new());
        sh(&source, SOURCE);
        let mount = Daemon::with(&[source.to_str().unwrap()]);
        mount.stats();
        sh(mount.root(), changes);
        Ground {
            source,
            place,
            mount,
        }
    }

    fn file(&self) -> PathBuf {
        self.place.join("kept.tar")
    }

    fn diff(&self, arguments: &[&str]) -> String {
        let output = verb("diff", arguments);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }

    /// Ends the mount, and keeps what differs as the file.
    fn keep(&self) -> PathBuf {
        let file = self.file();
        let keep = format!("--keep={}", file.display());
        let kept = verb("umount", &[&keep, self.mount.root().to_str().unwrap()]);
        assert!(kept.status.success(), "{kept:?}");
        file
    }
}

#[test]
fn it_tells_what_the_mount_told_and_only_its_user_can_read_it() {
    let ground = Ground::new(CHANGES);
    let root = shown(ground.mount.root()).to_owned();
    let asked: Vec<&[&str]> = vec![&[], &["--stat"], &["--patch"], &["--json"]];
    let told: Vec<_> = asked
        .iter()
        .map(|how| ground.diff(&[&[&*root], *how].concat()))
        .collect();
    let file = ground.keep();
    for (how, told) in asked.iter().zip(told) {
        assert_eq!(ground.diff(&[&[shown(&file)], *how].concat()), told);
    }
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert!(metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
    assert_eq!(std::fs::read_dir(&*ground.place).unwrap().count(), 1);
}

#[test]
fn applied_it_gives_what_the_mount_was() {
    let ground = Ground::new(CHANGES);
    let was = Scratch::new();
    sh(
        &was,
        &format!("cp -a {}/. .", ground.mount.root().display()),
    );
    let file = ground.keep();
    let applied = verb("apply", &[shown(&file)]);
    assert!(applied.status.success(), "{applied:?}");
    same_trees(&ground.source, &was);
    let all =
        "find . -mindepth 1 -printf '%p %y %m %n %T@\\n' | sort; getfattr -R -d -m - . | sort";
    assert_eq!(sh(&ground.source, all), sh(&was, all));
}

#[test]
fn tar_and_python_unpack_it_without_a_word() {
    let ground = Ground::new("echo new > new; mkdir n; echo in > n/in; chmod 640 mode; rm gone");
    let file = ground.keep();
    let out = Scratch::new();
    let said = sh(
        &out,
        &format!("tar -xpf {} 2>&1; cat new n/in mode; ls -A", shown(&file)),
    );
    assert_eq!(said, "new\nin\nmode\n.wh.gone\nmode\nn\nnew\n");
    let python = format!(
        "python3 -c \"import tarfile; print(sorted(m.name for m in tarfile.open('{}')))\"",
        shown(&file)
    );
    assert_eq!(
        sh(&out, &python),
        "['.', '.wh.gone', 'mode', 'n', 'n/in', 'new']\n"
    );
}

#[test]
fn wherever_it_is_cut_off_it_is_refused_and_nothing_is_written() {
    let ground = Ground::new("echo new > new; rm gone; mv d moved");
    let whole = std::fs::read(ground.keep()).unwrap();
    let file = ground.place.join("cut.tar");
    let before = sh(&ground.source, "find . -printf '%p %T@ %C@\\n' | sort");
    let last = whole.len() - whole.iter().rev().position(|byte| *byte != 0).unwrap();
    for length in (0..last - 1).step_by(1709) {
        std::fs::write(&file, &whole[..length]).unwrap();
        let applied = verb("apply", &[shown(&file)]);
        assert_eq!(applied.status.code(), Some(1), "{length}: {applied:?}");
        let said = text(&applied.stderr);
        let word = if length < 1024 { "norefs" } else { "cut off" };
        assert!(
            said.contains(word) && said.lines().count() == 1,
            "{length}: {said}"
        );
    }
    assert_eq!(
        sh(&ground.source, "find . -printf '%p %T@ %C@\\n' | sort"),
        before
    );
}

#[test]
fn what_norefs_has_not_kept_is_refused_and_stays() {
    let ground = Ground::new("echo new > new");
    let others = [
        ("plain.tar", "tar -cf plain.tar -C /etc hostname"),
        ("text", "echo some text > text"),
        ("empty", ": > empty"),
        ("pipe", "mkfifo pipe"),
        ("old", "mkdir old; echo '{}' > old/delta.json"),
    ];
    for (name, make) in others {
        sh(&ground.place, make);
        let place = ground.place.join(name);
        for what in ["apply", "discard", "diff"] {
            let output = verb(what, &[shown(&place)]);
            assert_eq!(output.status.code(), Some(1), "{what} {name}: {output:?}");
            let said = text(&output.stderr);
            assert!(
                said.contains("norefs has kept this") || said.contains("norefs has not kept this"),
                "{said}"
            );
        }
        let keep = format!("--keep={}", shown(&place));
        let output = verb("umount", &[&keep, shown(ground.mount.root())]);
        assert_eq!(output.status.code(), Some(1), "{name}: {output:?}");
        assert!(place.exists());
    }
    assert_eq!(
        sh(ground.mount.root(), "cat new"),
        "new\n",
        "it is mounted still"
    );
}

/// Changes bytes of the records at the end.
fn falsified(whole: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let found = whole
        .windows(from.len())
        .rposition(|bytes| bytes == from.as_bytes());
    let at = found.unwrap_or_else(|| panic!("{from} is there"));
    [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
}

#[test]
fn a_file_made_to_lead_elsewhere_or_without_an_entry_is_refused() {
    let ground = Ground::new("mkdir zz; echo new > zz/new; rm gone; mv f moved");
    let whole = std::fs::read(ground.keep()).unwrap();
    let file = ground.place.join("false.tar");
    for (from, to) in [
        ("\"zz/new\"", "\"../new\""),
        ("\"path\":\"gone\"", "\"path\":\"/etc\""),
        ("\"path\":\"moved\"", "\"path\":\"./ved\""),
        ("\"what\":\"removed\"", "\"what\":\"content\""),
        ("\"zz/new\"", "\"zz/nwe\""),
        ("NOREFS.count=", "NOREFS.c0unt="),
        ("NOREFS.changes=[{", "NOREFS.changes=[["),
    ] {
        std::fs::write(&file, falsified(&whole, from, to)).unwrap();
        for what in ["apply", "diff"] {
            let output = verb(what, &[shown(&file)]);
            assert_eq!(output.status.code(), Some(1), "{from}: {output:?}");
            let said = text(&output.stderr);
            assert!(
                said.contains("damaged") || said.contains("cut off"),
                "{from}: {said}"
            );
        }
    }
    assert!(ground.source.join("gone").exists());
}

#[test]
fn a_full_disk_leaves_what_was_kept_before() {
    let ground = Ground::new("echo first > new");
    let disk = mount_tests::programs::sh;
    let small = ground.place.join("small");
    disk(
        &ground.place,
        "mkdir small; mount -t tmpfs -o size=256k tmpfs small",
    );
    let file = small.join("kept.tar");
    let run = |command: &str| {
        let mut norefs = norefs();
        norefs.args([
            "run",
            "--from",
            shown(&ground.source),
            "--keep",
            shown(&file),
        ]);
        norefs.env("XDG_STATE_HOME", ground.place.join("state"));
        norefs.args(["--", "sh", "-c", command]).output().unwrap()
    };
    let first = run("echo first > new");
    let kept = std::fs::read(&file).unwrap();
    let second = run("head -c 1000000 /dev/urandom > new");
    let after = std::fs::read(&file).unwrap();
    let names = sh(&small, "ls -A");
    let elsewhere = sh(&ground.place, "ls state/norefs/kept");
    sh(&ground.place, "umount small");
    assert!(first.status.success(), "{first:?}");
    assert!(second.status.success(), "{second:?}");
    assert!(text(&second.stderr).contains("No space left"), "{second:?}");
    assert!(after == kept, "the first is there still");
    assert_eq!(names, "kept.tar\n");
    assert_eq!(elsewhere.lines().count(), 1, "the second is not lost");
}
