//! Files of a source that are not where they were when it was loaded, but still what they were.

mod source_support;

use norefs::fs::Fs;
use norefs::tree::{Errno, NodeId};
use source_support::*;
use std::fs::{create_dir_all, hard_link, remove_dir_all, remove_file, rename};
use std::path::Path;

/// Every file holds its own path.
const FILES: [&str; 6] = [
    "a/file",
    "a/sub/deep/file",
    "a/sub/file",
    "b/file",
    "b/sub/file",
    "file",
];

/// A source with [`FILES`], and a filesystem that has it.
struct Source {
    dir: tempfile::TempDir,
    fs: Fs,
}

impl Source {
    fn new() -> Source {
        let dir = tempfile::tempdir().unwrap();
        for file in FILES {
            let path = dir.path().join("source").join(file);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(&path, file.as_bytes());
        }
        let fs = load_all(&dir.path().join("source"));
        Source { dir, fs }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("source").join(path)
    }

    fn id(&self, path: &str) -> NodeId {
        path.split('/').fold(NodeId::ROOT, |id, name| {
            child(&self.fs, id, name.as_bytes()).unwrap().id
        })
    }

    fn mv(&self, from: &str, to: &str) {
        rename(self.path(from), self.path(to)).unwrap();
    }

    fn read(&self, path: &str) -> Result<String, Errno> {
        content(&self.fs, self.id(path)).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn all_are_what_they_were(&self) {
        for file in FILES {
            assert_eq!(self.read(file).as_deref(), Ok(file));
        }
        assert_eq!(self.fs.stale(), 0);
    }
}

/// After `change`, files read before, now for the first time and never hold what they held.
fn nothing_is_lost_by(change: impl Fn(&Source)) {
    for read_first in [false, true] {
        let source = Source::new();
        if read_first {
            source.all_are_what_they_were();
        }
        change(&source);
        source.all_are_what_they_were();
        source.all_are_what_they_were();
        let id = source.id("a/sub/file");
        assert_eq!(source.fs.lseek(id, 2, libc::SEEK_DATA), Ok(2));
        assert_eq!(value(source.fs.write(&ROOT, id, 0, b"A", false)), Ok(1));
        assert_eq!(source.read("a/sub/file").as_deref(), Ok("A/sub/file"));
    }
}

#[test]
fn directories_that_were_renamed() {
    nothing_is_lost_by(|source| source.mv("a", "new"));
    nothing_is_lost_by(|source| source.mv("a/sub", "a/new"));
    nothing_is_lost_by(|source| {
        source.mv("a/sub/deep", "a/sub/new");
        source.mv("a/sub", "a/new");
        source.mv("a", "new");
    });
}

#[test]
fn directories_that_were_moved() {
    nothing_is_lost_by(|source| source.mv("a", "b/a"));
    nothing_is_lost_by(|source| source.mv("a/sub/deep", "deep"));
    nothing_is_lost_by(|source| {
        create_dir_all(source.path("new/directories")).unwrap();
        source.mv("a/sub", "new/directories/sub");
        source.mv("a", "new/directories/sub/deep/a");
    });
}

#[test]
fn directories_that_changed_places() {
    nothing_is_lost_by(|source| {
        source.mv("a", "c");
        source.mv("b", "a");
        source.mv("c", "b");
    });
    nothing_is_lost_by(|source| {
        source.mv("a/sub", "c");
        source.mv("b/sub", "a/sub");
        source.mv("c", "b/sub");
    });
    nothing_is_lost_by(|source| {
        // Another directory, with a file of the same name, stands there now.
        source.mv("a", "old");
        create_dir_all(source.path("a/sub")).unwrap();
        write(&source.path("a/file"), b"a/xxxx");
    });
}

#[test]
fn files_that_were_renamed_and_moved() {
    nothing_is_lost_by(|source| source.mv("a/file", "a/new"));
    nothing_is_lost_by(|source| source.mv("a/file", "b/new"));
    nothing_is_lost_by(|source| {
        create_dir_all(source.path("new")).unwrap();
        source.mv("a/sub/file", "new/file");
        source.mv("a/sub/deep", "new/deep");
        source.mv("file", "new/deep/other");
    });
}

#[test]
fn one_move_after_the_other() {
    let source = Source::new();
    for (from, to) in [
        ("a", "c"),
        ("c", "b/c"),
        ("b/c/sub", "sub"),
        ("b/c", "a"),
        ("sub", "a/sub"),
    ] {
        source.mv(from, to);
        source.all_are_what_they_were();
    }
    for (from, to) in [("file", "x"), ("x", "a/y"), ("a/y", "file")] {
        source.mv(from, to);
        source.all_are_what_they_were();
    }
}

#[test]
fn a_name_of_several_that_is_gone() {
    for first in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            create_dir_all(dir.path().join(name)).unwrap();
        }
        let names = ["a/file", "b/further", "b/third"].map(|name| dir.path().join(name));
        write(&names[0], b"content");
        names[1..]
            .iter()
            .for_each(|name| hard_link(&names[0], name).unwrap());
        let fs = load_all(dir.path());
        let directory = child(&fs, NodeId::ROOT, b"a").unwrap().id;
        let id = child(&fs, directory, b"file").unwrap().id;
        let (gone, replaced) = if first { (0, 1) } else { (2, 0) };
        remove_file(&names[gone]).unwrap();
        assert_eq!(content(&fs, id).unwrap(), b"content");
        remove_file(&names[replaced]).unwrap();
        write(&names[replaced], b"another");
        assert_eq!(content(&fs, id).unwrap(), b"content");
        rename(dir.path().join("b"), dir.path().join("c")).unwrap();
        assert_eq!(content(&fs, id).unwrap(), b"content");
        assert_eq!(fs.stale(), 0);
    }
}

type Change = fn(&Source);

#[test]
fn what_is_gone_is_stale() {
    let changes: [(&str, Change); 5] = [
        ("removed", |source| {
            remove_file(source.path("a/file")).unwrap()
        }),
        ("all removed", |source| {
            remove_dir_all(source.path("a")).unwrap()
        }),
        ("moved away", |source| {
            rename(source.path("a"), source.dir.path().join("away")).unwrap()
        }),
        ("saved by an editor", |source| {
            source.mv("a/file", "a/file~");
            write(&source.path("a/file"), b"a/file");
        }),
        ("changed and moved", |source| {
            source.mv("a", "new");
            write(&source.path("new/file"), b"a/FILE");
        }),
    ];
    for (what, change) in changes {
        let source = Source::new();
        std::thread::sleep(std::time::Duration::from_millis(11));
        change(&source);
        for _ in 0..2 {
            assert_eq!(source.read("a/file"), Err(Errno::STALE), "{what}");
        }
        assert_eq!(source.fs.stale(), 1, "{what}");
        assert_eq!(source.read("b/file").as_deref(), Ok("b/file"), "{what}");
    }
}

#[test]
fn what_came_back_is_read_again() {
    let source = Source::new();
    let away = source.dir.path().join("away");
    rename(source.path("a"), &away).unwrap();
    assert_eq!(source.read("a/file"), Err(Errno::STALE));
    rename(&away, source.path("a")).unwrap();
    assert_eq!(source.read("a/file").as_deref(), Ok("a/file"));
}

#[test]
fn a_moved_name_is_never_followed_out_of_the_source() {
    let source = Source::new();
    let away = source.dir.path().join("away");
    rename(source.path("a"), &away).unwrap();
    std::os::unix::fs::symlink(Path::new("../away"), source.path("a")).unwrap();
    assert_eq!(source.read("a/file"), Err(Errno::STALE));
    assert_eq!(source.read("a/sub/deep/file"), Err(Errno::STALE));
}
