//! `norefs diff`: what differs between a mount and its source.

use mount_tests::posix::{fifo, same_trees};
use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, norefs_as_nobody, sample, text};
use serde_json::Value;
use std::path::Path;
use std::process::Output;

/// A mount of `source` that can be asked.
fn mounted(source: &Path) -> Daemon {
    let mount = Daemon::with(&["-o", "acl,allow_other", source.to_str().unwrap()]);
    mount.stats();
    mount
}

/// A source, and the mount of it.
struct Loaded {
    mount: Daemon,
    source: Scratch,
}

impl Loaded {
    /// Of what `script` makes in an empty directory.
    fn of(script: &str) -> Loaded {
        let source = Scratch::new();
        sh(&source, script);
        Loaded {
            mount: mounted(&source),
            source,
        }
    }

    /// The same after `changes` in the mount.
    fn changed(script: &str, changes: &str) -> Loaded {
        let loaded = Loaded::of(script);
        sh(loaded.mount.root(), changes);
        loaded
    }

    fn diff(&self, arguments: &[&str]) -> Output {
        let mut command = norefs();
        command.arg("diff").arg(self.mount.root()).args(arguments);
        command.output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.diff(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    #[track_caller]
    fn differs(&self, lines: &[&str]) {
        let said = self.said(&[]);
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    }
}

const SOURCE: &str = "mkdir d d/sub e; for f in d/a d/b d/sub/c f g mode; do echo $f > $f; done; ln f f2; ln -s f link";

#[test]
fn nothing_differs_of_an_untouched_mount_whatever_was_read() {
    let source = Scratch::new();
    sample::fill(&source);
    let mount = mounted(&source);
    let loaded = Loaded { mount, source };
    sh(
        loaded.mount.root(),
        "find . -type f -exec cat {} + > /dev/null; ls -lR > /dev/null; du -s > /dev/null",
    );
    loaded.differs(&[]);
    assert_eq!(loaded.said(&["--stat"]), "nothing differs\n");
    assert_eq!(loaded.diff(&["--exit-code"]).status.code(), Some(0));
    let json: Value = serde_json::from_str(&loaded.said(&["--json"])).unwrap();
    assert_eq!(json["source"]["path"], loaded.source.to_str().unwrap());
    assert_eq!(json["changes"], Value::Array(Vec::new()));
}

#[test]
fn each_change_has_its_line() {
    let changes = "echo x >> d/a; rm d/b; echo n > n; mv d/sub/c e/c2; rm link; mkdir link; chmod 600 mode; mkfifo p";
    let loaded = Loaded::changed(SOURCE, changes);
    let lines = [
        "D d/b",
        "M d/a",
        "R d/sub/c -> e/c2",
        "T link (symbolic link -> directory)",
        "m mode (mode)",
        "A n",
        "A p",
    ];
    loaded.differs(&lines);
    let only = loaded.said(&["d"]);
    assert_eq!(only, "D d/b\nM d/a\nR d/sub/c -> e/c2\n");
    let absolute = loaded.mount.path("e");
    assert_eq!(
        loaded.said(&[absolute.to_str().unwrap(), "n"]),
        "R d/sub/c -> e/c2\nA n\n"
    );
    assert_eq!(loaded.diff(&["--exit-code"]).status.code(), Some(1));
    assert_eq!(
        loaded.diff(&["--exit-code", "d/sub/x"]).status.code(),
        Some(0)
    );
    let stat = loaded.said(&["--stat"]);
    let counts = "2 added, 1 removed, 1 moved, 1 with other content, 1 of another kind, 1 with other attributes; ";
    assert!(stat.starts_with(counts), "{stat}");
}

#[test]
fn a_directory_made_anew_has_nothing_of_the_old_one() {
    let loaded = Loaded::changed(SOURCE, "rm -r d; mkdir d; echo new > d/a");
    loaded.differs(&["D d/sub/c", "D d/sub", "D d/b", "m d (replaced)", "M d/a"]);
}

#[test]
fn a_moved_directory_takes_along_what_nobody_looked_at() {
    let loaded = Loaded::of(SOURCE);
    std::fs::rename(loaded.mount.path("d"), loaded.mount.path("e/moved")).unwrap();
    loaded.differs(&["R d -> e/moved"]);
    sh(
        loaded.mount.root(),
        "echo x >> e/moved/a; mkdir d; mv e/moved/sub d/sub",
    );
    loaded.differs(&["A d", "R d/sub", "R d -> e/moved", "M e/moved/a"]);
}

#[test]
fn what_goes_and_comes_back_is_what_it_was() {
    let changes =
        "chmod 600 f; chmod 644 f; mv d x; mv x/a a; mv x d; mv a d/a; ln g h; rm h; touch n; rm n";
    Loaded::changed(&format!("umask 022; {SOURCE}"), changes).differs(&[]);
}

#[test]
fn a_file_saved_by_a_rename_has_other_content() {
    let changes = "echo new > d/.a.tmp; mv d/.a.tmp d/a; mv g g~; echo new > g";
    Loaded::changed(SOURCE, changes).differs(&["M d/a", "A g", "R g -> g~"]);
}

#[test]
fn special_files_and_files_nobody_may_read_are_told_of() {
    let loaded = Loaded::of(SOURCE);
    fifo(&loaded.mount.path("pipe"), 0o600).unwrap();
    let changes =
        "rm g; mkfifo g; mknod null c 1 3; chmod 000 f; echo x > hidden; chmod 000 hidden";
    sh(loaded.mount.root(), changes);
    let lines = [
        "m f (mode)",
        "m f2 (mode)",
        "T g (file -> pipe)",
        "A hidden",
        "A null",
        "A pipe",
    ];
    loaded.differs(&lines);
    let json: Value = serde_json::from_str(&loaded.said(&["--json", "null"])).unwrap();
    assert_eq!(json["changes"][0]["now"]["rdev"], rustix::fs::makedev(1, 3));
}

#[test]
fn hard_links_are_told_as_what_they_are() {
    let loaded = Loaded::changed(SOURCE, "echo x >> f");
    loaded.differs(&["M f", "M f2"]);
    let loaded = Loaded::changed(SOURCE, "ln g g2; mv f f3; echo n > n; ln n d/n");
    loaded.differs(&[
        "A d/n",
        "R f -> f3",
        "A g2 (link to g)",
        "A n (link to d/n)",
    ]);
    let json: Value = serde_json::from_str(&loaded.said(&["--json", "n", "d/n"])).unwrap();
    let nodes: Vec<_> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["now"]["node"])
        .collect();
    assert_eq!(nodes[0], nodes[1]);
}

#[test]
fn attributes_are_named() {
    let changes = "setfattr -n user.a -v 1 d/a; setfacl -m u:5:rw d/b; chown 7:8 f; touch -d @5 g; chattr +d mode; \
                   setfacl -d -m u:5:rw d/sub; touch -a -d @5 link; chmod 700 d";
    let lines = [
        "m d (mode)",
        "m d/a (xattrs)",
        "m d/b (mode, acl)",
        "m d/sub (acl)",
        "m f (owner)",
        "m f2 (owner)",
        "m g (mtime)",
    ];
    Loaded::changed(SOURCE, changes).differs(&lines);
}

#[test]
fn names_of_any_bytes_survive() {
    let loaded = Loaded::changed(SOURCE, "echo > \"$(printf 'a\\377\\n\\033[1mb')\"; rm f2");
    loaded.differs(&["D f2", "A a\\xff\\n\\u{1b}[1mb"]);
    let json: Value = serde_json::from_str(&loaded.said(&["--json"])).unwrap();
    let paths: Vec<_> = json["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["now"]["path"])
        .collect();
    assert!(
        paths.contains(&&serde_json::json!({ "base64": "Yf8KG1sxbWI=" })),
        "{json}"
    );
}

#[test]
fn what_the_kernel_holds_of_a_write_counts() {
    let loaded = Loaded::of(SOURCE);
    let file = std::fs::OpenOptions::new()
        .append(true)
        .open(loaded.mount.path("f"));
    let mut file = file.unwrap();
    std::io::Write::write_all(&mut file, b"more").unwrap();
    let json: Value = serde_json::from_str(&loaded.said(&["--json", "f"])).unwrap();
    let change = &json["changes"][0];
    assert_eq!(
        (&change["what"], &change["now"]["size"]),
        (&"content".into(), &6.into())
    );
    assert_eq!(change["base"]["size"], 2);
}

#[test]
fn who_may_not_ask_and_what_cannot_be_told_is_said() {
    let empty = Daemon::start_with("allow_other");
    empty.stats();
    let said = |mut command: std::process::Command, at: &Path, arguments: &[&str]| {
        let output = command
            .arg("diff")
            .arg(at)
            .args(arguments)
            .output()
            .unwrap();
        (
            output.status.code(),
            text(&output.stderr).trim_end().to_owned(),
        )
    };
    let (code, why) = said(norefs(), empty.root(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        why.ends_with("the mount's server says: it has no source: it began empty"),
        "{why}"
    );
    assert_eq!(said(norefs(), empty.root(), &["--exit-code"]).0, Some(2));
    let source = Scratch::new();
    let mount = mounted(&source);
    let (code, outside) = said(norefs(), mount.root(), &["../x"]);
    assert_eq!(code, Some(1));
    assert!(outside.contains("../x is not below"), "{outside}");
    let (code, why) = said(norefs_as_nobody(mount.outside()), mount.root(), &[]);
    assert_eq!(code, Some(1), "{why}");
    assert!(why.contains("server"), "{why}");
    let (code, why) = said(norefs(), &source, &[]);
    assert_eq!(code, Some(1));
    assert!(why.contains("is not a norefs mount"), "{why}");
}

#[test]
fn a_patch_makes_of_the_source_what_the_mount_is() {
    let source = "mkdir d; seq 100 > d/numbers; echo one > text; printf 'no end' > end; echo gone > gone; ln -s a link; \
                  echo '#!/bin/sh' > script; seq 50 > kind; echo 'with \"' > \"$(printf 'q\\\"\\377')\"; echo m > moved; : > empty";
    let changes = "sed -i 's/^5[0-9]$/x&/' d/numbers; echo two >> text; printf ' at all' >> end; rm gone; ln -sfn b link; \
                   chmod +x script; rm kind; ln -s x kind; echo more >> \"$(printf 'q\\\"\\377')\"; mv moved d/new; echo z >> d/new; \
                   mv d e; echo n > e/n; : > empty2; printf x > x; echo same > same; rm empty";
    let loaded = Loaded::changed(source, changes);
    let patch = loaded.said(&["--patch"]);
    let copy = Scratch::new();
    let from = loaded.source.to_str().unwrap();
    sh(
        &copy,
        &format!("cp -a {from}/. copy && cd copy && git init -q && git add -A"),
    );
    std::fs::write(copy.join("patch"), &patch).unwrap();
    sh(
        &copy,
        "cd copy && git apply ../patch && rm -rf .git && find . -type d -empty -delete",
    );
    same_trees(&copy.join("copy"), loaded.mount.root());
}

#[test]
fn what_a_patch_cannot_say_is_a_remark() {
    let changes = "mkdir n; mkfifo p; chown 7 f2; printf 'a\\0' > g; chmod 600 d/a; printf '\\0' > z; echo f > f";
    let loaded = Loaded::changed(SOURCE, changes);
    let patch = loaded.said(&["-p"]);
    let lines = [
        "# m d/a (mode)",
        "# M f (owner)",
        "# M f2 (owner)",
        "diff --git a/g b/g",
        "Binary files a/g and b/g differ",
        "# A n",
        "# A p",
        "diff --git a/z b/z",
        "new file mode 100644",
        "Binary files /dev/null and b/z differ",
    ];
    assert_eq!(patch.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn no_patch_is_made_against_a_source_that_changed_meanwhile() {
    let loaded = Loaded::changed(
        SOURCE,
        "echo mine >> f; echo mine >> g; rm d/a; echo m > d/b; echo new > new",
    );
    sh(
        &loaded.source,
        "echo theirs >> g; rm d/a; rm d/b; ln -s f d/b; chmod 600 f",
    );
    let output = loaded.diff(&["--patch"]);
    assert_eq!(output.status.code(), Some(1));
    let changed = "the source has changed there since it was loaded";
    let said = [
        format!("norefs: d/a: {changed}"),
        format!("norefs: d/b: {changed}"),
        format!("norefs: g: {changed}"),
        "norefs: 3 differences are not in the patch".to_owned(),
    ];
    assert_eq!(text(&output.stderr).lines().collect::<Vec<_>>(), said);
    let patch = text(&output.stdout);
    assert!(
        patch.contains("+++ b/f\n") && patch.contains("+++ b/new\n"),
        "{patch}"
    );
    assert!(!patch.contains("b/g") && !patch.contains("a/d"), "{patch}");
    std::fs::rename(&*loaded.source, loaded.mount.outside().join("moved")).unwrap();
    assert_eq!(
        loaded.diff(&["--patch", "f"]).status.code(),
        Some(0),
        "it is found where it is"
    );
}
