use super::*;
use crate::delta::Now;
use std::os::unix::fs::FileExt;

/// A tree with one file and a directory.
struct Small(Arc<File>);

const BYTES: &[u8] = b"some bytes";

fn seen(path: &PathBytes) -> Option<Seen> {
    let (kind, size) = match path.as_bytes() {
        b"" => (Kind::Directory, 0),
        b"file" => (Kind::Regular, BYTES.len() as u64),
        b"link" => (Kind::Symlink, 2),
        _ => return None,
    };
    let time = Time { sec: -7, nsec: 5 };
    Some(Seen {
        mode: kind.bits() | 0o600,
        uid: 1,
        gid: 2,
        nlink: 1,
        rdev: 0,
        size,
        mtime: time,
        ctime: time,
    })
}

impl Tree for Small {
    fn find(&self, path: &PathBytes) -> io::Result<Option<SourceEntry>> {
        let entry = |seen| SourceEntry {
            dev: 0,
            ino: 1 + path.as_bytes().len() as u64,
            seen,
        };
        Ok(seen(path).map(entry))
    }

    fn names(&self, _: &PathBytes) -> io::Result<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    fn content(&self, _: &PathBytes) -> io::Result<Content> {
        Ok(Content::new(self.0.clone(), 0, BYTES.len() as u64))
    }

    fn link_target(&self, _: &PathBytes) -> io::Result<CString> {
        Ok(c"to".to_owned())
    }

    fn xattrs(&self, _: &PathBytes) -> io::Result<Vec<Xattr>> {
        Ok(vec![(b"user.a=".to_vec(), b"\n\0".to_vec())])
    }
}

fn added(name: &[u8]) -> Change {
    let path = PathBytes::ROOT.join(name);
    Change {
        what: What::Added,
        base: None,
        now: seen(&path).map(|seen| Now {
            path,
            node: 7,
            ino: 8,
            seen,
        }),
        content: true,
        metadata: Metadata::default(),
        link: None,
        replaced: false,
    }
}

/// A small difference, as a file in a directory of its own.
fn kept() -> (tempfile::TempDir, std::path::PathBuf, Delta) {
    let content = tempfile::tempfile().unwrap();
    content.write_all_at(BYTES, 0).unwrap();
    let delta = Delta {
        source: Source {
            path: b"/somewhere".to_vec().into(),
            dev: 3,
            ino: 4,
        },
        changes: vec![added(b"file"), added(b"link")],
    };
    let place = tempfile::tempdir().unwrap();
    let at = place.path().join("kept.tar");
    Kept::write(&delta, &Small(Arc::new(content)), &at, false, false).unwrap();
    (place, at, delta)
}

#[test]
fn what_is_read_is_what_was_written() {
    let (_place, at, delta) = kept();
    let kept = Kept::read(&at).unwrap();
    assert_eq!(kept.delta, delta);
    assert!(kept.says(&delta));
    let path = PathBytes::ROOT.join(b"file");
    let mut bytes = Vec::new();
    kept.content(&path)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, BYTES);
    assert_eq!(kept.xattrs(&path).unwrap().len(), 1);
    assert_eq!(kept.names(&PathBytes::ROOT).unwrap().len(), 2);
}

#[test]
fn no_byte_makes_reading_it_panic() {
    let (_place, at, _) = kept();
    let whole = std::fs::read(&at).unwrap();
    let file = File::options().write(true).open(&at).unwrap();
    let mut refused = 0;
    for (offset, byte) in whole.iter().enumerate() {
        for other in [byte ^ 1, byte ^ 0x80, b'9', 0] {
            file.write_all_at(&[other], offset as u64).unwrap();
            match Kept::read(&at) {
                Ok(kept) => _ = kept.content(&PathBytes::ROOT.join(b"file")),
                Err(_) => refused += 1,
            }
        }
        file.write_all_at(&[*byte], offset as u64).unwrap();
    }
    assert!(refused > whole.len() / 2, "{refused} of {}", whole.len());
}
