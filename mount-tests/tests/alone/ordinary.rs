//! What an ordinary user does with norefs. These tests need no root; as root they are those of `nobody`.

use mount_tests::{Scratch, is_mounted, norefs_as_ordinary_user, text, transport, wait_until};
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

/// A directory of the user's with a source in it, and where to mount.
struct Place {
    scratch: Scratch,
    source: PathBuf,
    mountpoint: PathBuf,
}

impl Place {
    fn new() -> Place {
        let scratch = Scratch::new();
        let [source, mountpoint] = ["source", "mount"].map(|name| scratch.dir(name));
        std::fs::write(source.join("file"), "content").unwrap();
        std::fs::hard_link(source.join("file"), source.join("again")).unwrap();
        symlink("file", source.join("link")).unwrap();
        let place = Place {
            scratch,
            source,
            mountpoint,
        };
        // Gives the user the directory above.
        place.done(&["--version"]);
        let user = std::fs::metadata(&*place.scratch).unwrap();
        let file = place.source.join("file");
        for path in [&place.mountpoint, &place.source, &file] {
            std::os::unix::fs::chown(path, Some(user.uid()), Some(user.gid())).unwrap();
        }
        place
    }

    fn norefs(&self, arguments: &[&str]) -> Output {
        let mut command = norefs_as_ordinary_user(&self.scratch);
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.norefs(arguments);
        let said = text(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        text(&output.stdout)
    }

    fn at(&self) -> &str {
        self.mountpoint.to_str().unwrap()
    }

    fn from(&self) -> &str {
        self.source.to_str().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if is_mounted(&self.mountpoint) {
            self.norefs(&["umount", "--lazy", self.at()]);
        }
    }
}

#[test]
fn a_command_runs_in_a_copy_and_the_source_stays_as_it_is() {
    let place = Place::new();
    for transport in transport::each() {
        let options = transport::arguments(transport);
        let mut arguments = vec!["run", "--from", place.from()];
        arguments.extend(options.iter().map(String::as_str));
        let script = "cat again; readlink link; echo new >file; mkdir dir; mv link dir/; cat again; ls; stat -c %h file";
        arguments.extend(["--", "sh", "-c", script]);
        let told = place.done(&arguments);
        assert_eq!(told, "contentfile\nnew\nagain\ndir\nfile\n2\n");
        assert_eq!(
            std::fs::read(place.source.join("again")).unwrap(),
            b"content"
        );
        assert!(!place.source.join("dir").exists());
    }
}

#[test]
fn a_mount_is_made_asked_listed_changed_and_taken_away() {
    let place = Place::new();
    for transport in transport::each() {
        let mut arguments = vec!["mount", "-o", "size=1m"];
        let options = transport::arguments(transport);
        arguments.extend(options.iter().map(String::as_str));
        arguments.extend([place.from(), place.at()]);
        place.done(&arguments);
        let stats: Value =
            serde_json::from_str(&place.done(&["stats", "--json", place.at()])).unwrap();
        assert_eq!(
            (&stats["max_bytes"], &stats["inodes"]),
            (&(1 << 20).into(), &3.into())
        );
        assert!(place.done(&["ls"]).contains(place.at()));
        place.done(&["set", "--size", "2m", place.at()]);
        let stats: Value =
            serde_json::from_str(&place.done(&["stats", "--json", place.at()])).unwrap();
        assert_eq!(stats["max_bytes"], 2 << 20);
        place.done(&["unmount", place.at()]);
        assert!(!is_mounted(&place.mountpoint));
        let gone = || !place.done(&["ls"]).contains(place.at());
        assert!(wait_until(gone));
    }
}

#[test]
fn what_is_for_root_is_refused() {
    let place = Place::new();
    for option in ["suid", "dev", "nosymfollow", "ro,passthrough"] {
        let output = place.norefs(&["mount", "-o", option, place.from(), place.at()]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{option}: {said}");
        assert!(
            said.contains("for root") && !is_mounted(&place.mountpoint),
            "{said}"
        );
    }
    let taken = place.norefs(&["mount", "/proc"]);
    assert_eq!(taken.status.code(), Some(1), "{taken:?}");
    assert!(Path::new("/proc/self").exists());
}
