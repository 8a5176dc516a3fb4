//! The content of files of a source: read where it lies, never a mixture, and stale once the source changed.

mod source_support;

use norefs::fs::{Config, Fs, SetAttr};
use norefs::tree::{Attr, Errno, NodeId, Time};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::ReadWriteFlags;
use source_support::*;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn reads_begin_and_end_anywhere() {
    let source = tempfile::tempdir().unwrap();
    let whole: Vec<u8> = (0..100_000u32).map(|at| (at % 249) as u8).collect();
    write(&source.path().join("file"), &whole);
    let fs = load_all(source.path());
    let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
    for (offset, size) in [
        (0, 1),
        (4095, 2),
        (99_990, 100),
        (100_000, 10),
        (1 << 40, 1),
    ] {
        let end = whole.len().min(offset + size);
        let expected = whole.get(offset..end).unwrap_or_default();
        assert_eq!(read(&fs, id, offset as u64, size as u32).unwrap(), expected);
    }
}

/// Whether the system tells of a file what it has in memory and does not wait for more.
fn tells_what_it_has(path: &Path) -> bool {
    let file = fs::File::open(path).unwrap();
    let mut byte = [0];
    let into = &mut [std::io::IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(&file, into, 0, ReadWriteFlags::NOWAIT) != Err(Errno::OPNOTSUPP)
}

const SIZE: usize = 300_000;

/// A file in `dir`, its bytes, and a filesystem that has it under the returned id and has read it once.
fn read_once(dir: &Path) -> (PathBuf, Vec<u8>, Fs, NodeId) {
    let path = dir.join("file");
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 249) as u8).collect();
    write(&path, &bytes);
    let fs = load_all(dir);
    let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
    let tried = try_read(&fs, id, 0, SIZE as u32).unwrap();
    assert!(tried.is_none_or(|all| all == bytes), "all or nothing");
    assert!(!fs.would_not_block(id));
    assert_eq!(content(&fs, id).as_ref(), Ok(&bytes));
    (path, bytes, fs, id)
}

#[test]
fn content_in_memory_is_read_without_waiting() {
    let source = tempfile::tempdir().unwrap();
    let (path, bytes, fs, id) = read_once(source.path());
    if !tells_what_it_has(&path) {
        return;
    }
    let tried = |offset| try_read(&fs, id, offset as u64, SIZE as u32).unwrap();
    assert_eq!(tried(0).as_ref(), Some(&bytes));
    assert_eq!(tried(SIZE - 5).as_deref(), Some(&bytes[SIZE - 5..]));
    assert_eq!(tried(SIZE + 5), Some(vec![]));

    let file = fs::File::open(&path).unwrap();
    file.sync_all().unwrap();
    for behind in [SIZE / 2, 0] {
        // Advice: the system may keep it all.
        rustix::fs::fadvise(&file, behind as u64, None, rustix::fs::Advice::DontNeed).unwrap();
        assert!(tried(0).is_none_or(|all| all == bytes), "a part is not all");
    }
    assert_eq!(content(&fs, id).unwrap(), bytes);
}

#[test]
fn the_file_that_holds_the_content_is_given_where_nothing_changes() {
    let source = tempfile::tempdir().unwrap();
    write(&source.path().join("empty"), b"");
    let (path, bytes, fs, id) = read_once(source.path());
    assert!(fs.source_file(id, true).unwrap().is_none());
    fs.set_config(Config {
        read_only: true,
        ..Config::clone(&fs.config())
    });
    for wait in [true, false] {
        let file = fs.source_file(id, wait).unwrap().unwrap();
        let mut all = vec![0; SIZE + 1];
        let length = rustix::io::pread(&file, &mut all[..], 0).unwrap();
        assert!(all[..length] == bytes);
    }
    let empty = child(&fs, NodeId::ROOT, b"empty").unwrap().id;
    assert!(fs.source_file(empty, true).unwrap().is_none());
    assert_eq!(fs.source_file(NodeId::ROOT, true).err(), Some(Errno::ISDIR));
    write(&path, b"new");
    for wait in [false, true] {
        assert_eq!(fs.source_file(id, wait).err(), Some(Errno::STALE));
    }
}

#[test]
fn the_file_of_content_that_was_cut_is_not_given() {
    let source = tempfile::tempdir().unwrap();
    let (_, _, fs, id) = read_once(source.path());
    let changeable = Config::clone(&fs.config());
    for size in [100, 200] {
        fs.set_config(changeable.clone());
        let change = SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        fs.setattr(&ROOT, id, &change).unwrap().deliver(drop);
        fs.set_config(Config {
            read_only: true,
            ..changeable.clone()
        });
        assert!(fs.source_file(id, true).unwrap().is_none());
    }
}

#[test]
fn a_source_that_does_not_tell_what_it_has_is_waited_for() {
    let Ok(source) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let (path, bytes, fs, id) = read_once(source.path());
    let expected = tells_what_it_has(&path).then_some(bytes);
    assert_eq!(try_read(&fs, id, 0, SIZE as u32), Ok(expected));
}

/// Does something to a source file after it was loaded; `read_first`: and after it was read.
fn stale_after(change: impl Fn(&Path)) {
    for read_first in [false, true] {
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("file");
        write(&path, b"before");
        write(&source.path().join("other"), b"other");
        let fs = load_all(source.path());
        let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
        let other = child(&fs, NodeId::ROOT, b"other").unwrap().id;
        if read_first {
            assert_eq!(content(&fs, id).unwrap(), b"before");
        }
        change(&path);
        for _ in 0..2 {
            let tried = try_read(&fs, id, 0, 6);
            assert!(matches!(tried, Ok(None) | Err(Errno::STALE)), "{tried:?}");
            assert_eq!(content(&fs, id), Err(Errno::STALE));
        }
        assert_eq!(content(&fs, other).unwrap(), b"other");
        assert_eq!(fs.getattr(id).unwrap().size, 6);
    }
}

#[test]
fn a_rewritten_file_is_stale() {
    stale_after(|path| write(path, b"after!"));
}

/// `path` gets the times that `attr` tells.
fn restore_times(path: &Path, attr: &Attr) {
    let stamp = |time: Time| (time.sec, time.nsec.into());
    set_times(path, stamp(attr.atime), stamp(attr.mtime));
}

#[test]
fn a_file_replaced_by_one_of_the_same_size_and_mtime_is_stale() {
    stale_after(|path| {
        let (attr, inode) = attr_of(CWD, path);
        // Its number is given out again on some filesystems.
        fs::remove_file(path).unwrap();
        for attempt in 0..20 {
            let new = path.with_file_name(format!("new{attempt}"));
            write(&new, b"after!");
            if attempt == 19 || attr_of(CWD, &new).1 == inode {
                fs::rename(&new, path).unwrap();
                break;
            }
        }
        restore_times(path, &attr);
    });
}

#[test]
fn a_longer_file_whose_old_mtime_was_restored_is_stale() {
    stale_after(|path| {
        let (attr, _) = attr_of(CWD, path);
        write(path, b"longer than before");
        restore_times(path, &attr);
    });
}

/// Does something to the inode of a source file, whose content stays what it was.
fn readable_after(what: &str, change: impl Fn(&Path)) {
    for read_first in [false, true] {
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("file");
        write(&path, b"content");
        let fs = load_all(source.path());
        let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
        if read_first {
            assert_eq!(content(&fs, id).unwrap(), b"content");
        }
        let before = attr_of(CWD, &path).0.ctime;
        while attr_of(CWD, &path).0.ctime == before {
            change(&path);
        }
        for _ in 0..2 {
            let tried = try_read(&fs, id, 0, 7).unwrap_or_else(|errno| panic!("{what}: {errno}"));
            assert!(tried.is_none_or(|all| all == b"content"), "{what}");
            assert_eq!(content(&fs, id).as_deref(), Ok(&b"content"[..]), "{what}");
        }
        assert_eq!(fs.lseek(id, 3, libc::SEEK_DATA), Ok(3), "{what}");
        let write = value(fs.write(&ROOT, id, 0, b"CON", false));
        assert_eq!(write, Ok(3), "{what}: the first write copies");
        assert_eq!(content(&fs, id).unwrap(), b"CONtent", "{what}");
    }
}

#[test]
fn a_file_that_may_not_be_opened_any_more_is_read_where_it_is_open() {
    use std::os::unix::fs::PermissionsExt;
    as_ordinary_user(|| {
        let source = tempfile::tempdir().unwrap();
        let (path, bytes, fs, id) = read_once(source.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        assert!(fs::File::open(&path).is_err());
        for _ in 0..2 {
            assert_eq!(content(&fs, id).as_ref(), Ok(&bytes));
        }
    });
}

#[test]
fn a_change_of_metadata_alone_leaves_the_content_readable() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    readable_after("chmod", |path| chmod(path, 0o640));
    readable_after("set-user-id", |path| chmod(path, 0o4755));
    readable_after("a further name", |path| {
        let _exists = fs::hard_link(path, path.with_file_name("further"));
        chmod(path, 0o600);
    });
    readable_after("a further name come and gone", |path| {
        let further = path.with_file_name("further");
        fs::hard_link(path, &further).unwrap();
        fs::remove_file(further).unwrap();
    });
    readable_after("an extended attribute", |path| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, "user.some", b"value", flags).unwrap();
    });
    readable_after("the access time", |path| {
        let (attr, _) = attr_of(CWD, path);
        restore_times(
            path,
            &Attr {
                atime: Time::default(),
                ..attr
            },
        );
    });
    if is_root() {
        readable_after("chown", |path| chown(path, Some(1234), Some(5678)).unwrap());
    }
}

#[test]
fn a_file_replaced_by_one_of_the_same_size_is_stale() {
    stale_after(|path| {
        let new = path.with_file_name("new");
        write(&new, b"after!");
        fs::rename(&new, path).unwrap();
    });
}

#[test]
fn a_truncated_file_is_stale() {
    stale_after(|path| write(path, b""));
}

#[test]
fn a_removed_file_is_stale() {
    stale_after(|path| fs::remove_file(path).unwrap());
}

#[test]
fn a_file_replaced_by_a_symlink_is_stale() {
    stale_after(|path| {
        let moved = path.with_file_name("moved");
        fs::rename(path, &moved).unwrap();
        symlink(&moved, path).unwrap();
    });
}

#[test]
fn a_file_replaced_by_a_pipe_is_stale_and_does_not_block() {
    stale_after(|path| {
        fs::remove_file(path).unwrap();
        mknod(path, FileType::Fifo, 0o600, 0);
    });
}

#[test]
fn what_took_the_place_of_a_file_is_not_opened() {
    use rustix::fs::inotify;
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("file");
    write(&path, b"content");
    let fs = load_all(source.path());
    let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
    fs::remove_file(&path).unwrap();
    mknod(&path, FileType::Fifo, 0o600, 0);
    let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
    let events = inotify::init(flags).unwrap();
    inotify::add_watch(&events, &path, inotify::WatchFlags::OPEN).unwrap();
    let seen = || rustix::io::read(&events, &mut [0u8; 512]);
    assert_eq!(content(&fs, id), Err(Errno::STALE));
    assert_eq!(seen(), Err(Errno::AGAIN), "no open was noticed");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(&path, flags, Mode::empty()).unwrap();
    assert!(seen().is_ok(), "an open would have been");
}

#[test]
fn old_and_new_content_are_never_mixed() {
    const SIZE: usize = 256 * 1024;
    for _ in 0..40 {
        let source = tempfile::tempdir().unwrap();
        let path = source.path().join("file");
        write(&path, &[b'a'; SIZE]);
        let fs = load_all(source.path());
        let id = child(&fs, NodeId::ROOT, b"file").unwrap().id;
        assert_eq!(content(&fs, id).unwrap().len(), SIZE);
        let written = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let file = fs::File::options().write(true).open(&path).unwrap();
                for at in (0..SIZE).step_by(4096).rev() {
                    file.write_all_at(&[b'b'; 4096], at as u64).unwrap();
                }
                written.store(true, Ordering::Release);
            });
            for turn in 0.. {
                let last = written.load(Ordering::Acquire);
                let size = SIZE as u32;
                let tried = (turn % 2 == 0).then(|| try_read(&fs, id, 0, size).transpose());
                let read = tried.flatten().unwrap_or_else(|| read(&fs, id, 0, size));
                match read {
                    Ok(bytes) => {
                        assert!(!last, "content served after the file was rewritten");
                        assert!(bytes.iter().all(|byte| *byte == b'a'), "mixed content");
                    }
                    Err(errno) => {
                        assert_eq!(errno, Errno::STALE);
                        break;
                    }
                }
            }
        });
    }
}
