//! A mount whose differences were written to its source.

use mount_tests::programs::sh;
use mount_tests::{Daemon, Scratch, norefs, text};
use norefs::control;
use norefs::delta::{Applied, Base, Change, Delta, PathBytes, SourceEntry, What};
use norefs::transport::session::table::{MountEntry, top_at};
use norefs::tree::Time;
use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use std::fs::{self, File};
use std::path::Path;

struct Loaded {
    mount: Daemon,
    source: Scratch,
}

impl Loaded {
    /// A mount of what `script` makes in an empty directory.
    fn of(script: &str) -> Loaded {
        let source = Scratch::new();
        sh(&source, script);
        let mount = Daemon::with(&["-o", "allow_other", source.to_str().unwrap()]);
        mount.stats();
        Loaded { mount, source }
    }

    /// Runs `script` in the mount, and in the source.
    fn both(&self, script: &str) {
        sh(self.mount.root(), script);
        sh(&self.source, script);
    }

    fn entry(&self) -> MountEntry {
        top_at(self.mount.root()).unwrap().unwrap()
    }

    fn delta(&self) -> Delta {
        rustix::fs::syncfs(File::open(self.mount.root()).unwrap()).unwrap();
        control::delta(&self.entry()).unwrap()
    }

    /// What differs was written to the source.
    #[track_caller]
    fn rebase(&self) {
        let delta = self.delta();
        self.rebase_on(delta);
    }

    #[track_caller]
    fn rebase_on(&self, delta: Delta) {
        // Nothing differs if who wrote it said so already.
        let count = match self.delta().changes.len() {
            0 => 0,
            _ => delta.changes.len(),
        };
        let applied = delta.changes.into_iter().map(|change| Applied {
            found: change.now.as_ref().map(|now| self.found(&now.path)),
            change,
        });
        let held = control::rebase(&self.entry(), applied).unwrap();
        assert!(held >= count, "{held} of {count}");
        assert_eq!(self.delta().changes, []);
        assert_eq!(self.diff(), "");
    }

    /// Has norefs write what differs to the source.
    #[track_caller]
    fn apply(&self) {
        let delta = self.delta();
        let applied = norefs().arg("apply").arg(self.mount.root()).output();
        let applied = applied.unwrap();
        let said = text(&applied.stderr);
        assert!(applied.status.success(), "{said}");
        assert!(!said.contains("conflict"), "{said}");
        self.rebase_on(delta);
    }

    fn found(&self, path: &PathBytes) -> SourceEntry {
        found(&path.below(&self.source))
    }

    fn diff(&self) -> String {
        let output = norefs().arg("diff").arg(self.mount.root()).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn differs(&self, lines: &[&str]) {
        let said = self.diff();
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    }
}

fn found(path: &Path) -> SourceEntry {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    let time = |sec, nsec: u64| Time {
        sec,
        nsec: nsec as u32,
    };
    SourceEntry {
        dev: stat.st_dev,
        ino: stat.st_ino,
        seen: norefs::delta::Seen {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            nlink: stat.st_nlink as u32,
            rdev: stat.st_rdev,
            size: stat.st_size as u64,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        },
    }
}

const SOURCE: &str = "mkdir -p d/sub e; for f in d/a d/b d/sub/c f g h mode; do echo $f > $f; done; ln h h2; ln h h3; ln -s f link";

const CHANGES: &str = "echo x >> d/a; rm d/b; echo n > n; ln n e/n; mv d/sub/c e/c2; rm link; mkdir link; echo > link/l; chmod 600 mode; mkfifo p; \
    mv d e/d; echo new > tmp; mv tmp f; rm h2; ln h h4; ln -s f s";

#[test]
fn what_was_written_to_the_source_is_no_difference_and_later_changes_are() {
    let loaded = Loaded::of(SOURCE);
    loaded.both(CHANGES);
    assert_ne!(loaded.diff(), "");
    loaded.rebase();
    sh(
        loaded.mount.root(),
        "echo y >> e/d/a; rm e/n; mv e/d d; mv e/c2 c2; rmdir d/sub; chmod 640 h3; echo z > f; rm p",
    );
    loaded.differs(&[
        "D p",
        "D e/n",
        "D e/d/sub",
        "R e/c2 -> c2",
        "R e/d -> d",
        "M d/a",
        "M f",
        "m h (mode)",
        "m h3 (mode)",
        "m h4 (mode)",
    ]);
    for change in loaded.delta().changes {
        let Some(base) = &change.base else { continue };
        is_in_the_source(&loaded, base, &change);
    }
    sh(
        &loaded.source,
        "echo y >> e/d/a; rm e/n; mv e/d d; mv e/c2 c2; rmdir d/sub; chmod 640 h3; echo z > f; rm p",
    );
    loaded.rebase();
}

#[test]
fn what_norefs_applied_is_applied_again_after_further_changes() {
    let loaded = Loaded::of(SOURCE);
    let rounds = [
        CHANGES,
        "echo y >> e/d/a; rm e/n; mv e/d d; mv e/c2 c2; rmdir d/sub; chmod 640 h3; echo z > f; rm p; rm h4",
        "echo more >> h; mv c2 d/c2; touch -d 2001-01-01 mode; mv g d/g; truncate -s 1 s; ln f f5; rm -r link",
        "mv d e/d; echo a > e/d/a; touch -d 2002-02-02 e/d/g; mv e/d/g g; rm f5; chown 7:8 h; mkdir d; mv e/d/c2 d/c2",
        "rm -r e; echo e > e; mv h h5; rm h3; mkfifo h; mv mode d/mode; chmod 700 d",
    ];
    let shown = "find . -exec stat -c '%n %f %u %g %h' {} + | sort; find . -type f -exec stat -c '%n %s %y' {} + | sort; \
        find . -type f | sort | xargs tail -n +1; find . -type l | sort | xargs -r readlink";
    for changes in rounds {
        sh(loaded.mount.root(), changes);
        loaded.apply();
        assert_eq!(
            sh(loaded.mount.root(), shown),
            sh(&loaded.source, shown),
            "{changes}"
        );
    }
    let stats = control::stats(&loaded.entry()).unwrap();
    assert_eq!(stats.stale, 0);
}

/// The base is what an apply looks for.
fn is_in_the_source(loaded: &Loaded, base: &Base, change: &Change) {
    let there = loaded.found(&base.path);
    assert_eq!((base.dev, base.ino), (Some(there.dev), Some(there.ino)));
    if !there.seen.is_directory() {
        assert_eq!(base.seen, there.seen, "{change:?}");
    }
}

#[test]
fn of_what_was_removed_other_names_are_known_by_what_they_are_since() {
    let loaded = Loaded::of(SOURCE);
    loaded.both("rm h2");
    loaded.rebase();
    sh(loaded.mount.root(), "echo more >> h");
    let changes = loaded.delta().changes;
    let content = changes.iter().filter(|change| change.what == What::Content);
    let content: Vec<_> = content.collect();
    assert_eq!(content.len(), 2);
    for change in content {
        is_in_the_source(&loaded, change.base.as_ref().unwrap(), change);
    }
}

#[test]
fn content_that_nobody_read_is_read_where_it_is_since() {
    let script = "mkdir -p d/sub e; for f in touched moved both cut d/unread d/sub/deep linked swapped1 swapped2 replaced; do echo content of $f > $f; done";
    let loaded = Loaded::of(script);
    let changes = "touch -d 2001-01-01 touched; mv moved e/m; mv both e/b; touch -d 2002-02-02 e/b; mv d e/d; mv e/d/sub e/sub; ln linked e/linked; \
        mv swapped1 tmp; mv swapped2 swapped1; mv tmp swapped2; truncate -s 7 cut; touch -d 2003-03-03 replaced";
    sh(loaded.mount.root(), changes);
    sh(&loaded.source, changes);
    // As a writer does who never lets half a file be seen.
    sh(
        &loaded.source,
        "cp cut c; mv c cut; cp replaced r; touch -d 2003-03-03 r; mv r replaced",
    );
    assert_eq!(
        fs::read(loaded.mount.path("touched")).map_err(|error| error.raw_os_error()),
        Err(Some(Errno::STALE.raw_os_error())),
        "it has another time than was loaded"
    );
    loaded.rebase();
    let files = "find . -type f | sort | xargs -d '\\n' tail -n +1";
    let there = sh(&loaded.source, files);
    assert_eq!(there.matches("content").count(), 11, "{there}");
    assert_eq!(sh(loaded.mount.root(), files), there);
    assert_eq!(control::stats(&loaded.entry()).unwrap().stale, 0);
    // Each is watched as any other.
    for file in ["touched", "e/m", "e/b", "cut", "replaced"] {
        fs::write(loaded.source.join(file), "something else").unwrap();
        drop_pages(loaded.mount.root());
        let read = fs::read(loaded.mount.path(file)).map_err(|error| error.raw_os_error());
        assert_eq!(read, Err(Some(Errno::STALE.raw_os_error())), "{file}");
    }
}

/// What the kernel keeps of the mount's contents goes with a remount of its pages.
fn drop_pages(root: &Path) {
    for entry in ["touched", "e/m", "e/b", "cut", "replaced"] {
        let file = File::open(root.join(entry)).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

#[test]
fn a_moved_directory_moves_again_with_what_was_written_there() {
    let loaded = Loaded::of("mkdir d e; for f in d/one d/two d/three; do echo $f > $f; done");
    loaded.both("mv d/one d/1; touch -d 2001-01-01 d/two");
    loaded.rebase();
    loaded.both("mv d e/d");
    loaded.rebase();
    loaded.both("mv e/d/1 e/1; mv e f");
    loaded.rebase();
    let files = "find . -type f | sort | xargs tail -n +1";
    assert_eq!(sh(loaded.mount.root(), files), sh(&loaded.source, files));
    assert_eq!(control::stats(&loaded.entry()).unwrap().stale, 0);
}

#[test]
fn what_is_not_so_is_told_still() {
    let loaded = Loaded::of(SOURCE);
    sh(loaded.mount.root(), CHANGES);
    let delta = loaded.delta();
    let nothing = SourceEntry {
        ino: 1,
        ..found(&loaded.source)
    };
    let applied = delta.changes.iter().filter_map(|change| {
        change.now.as_ref().map(|_| Applied {
            change: change.clone(),
            found: Some(nothing),
        })
    });
    assert_eq!(control::rebase(&loaded.entry(), applied).unwrap(), 0);
    assert_eq!(loaded.delta(), delta);
    let empty = Daemon::start_with("allow_other");
    empty.stats();
    let refused = control::rebase(&top_at(empty.root()).unwrap().unwrap(), []);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("it has no source"), "{refused}");
}
