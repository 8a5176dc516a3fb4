//! Directories are listed.

use super::*;

#[test]
fn a_listing_in_replies_of_any_size_is_complete_and_counts_what_it_told() {
    let mut offline = Offline::new(Cache::Forever);
    for n in 0..40 {
        file(&mut offline, format!("{}\0", "x".repeat(n + 1)).as_bytes());
    }
    for size in (200..2000).step_by(23) {
        for opcode in [Readdir, Readdirplus] {
            let (mut names, mut from) = (0, 0);
            loop {
                let list = reading(from, size);
                let listed = ask(&mut offline, (opcode, ROOT, bytes(&list), b"")).unwrap();
                let mut rest = listed.as_slice();
                if rest.is_empty() {
                    break;
                }
                while !rest.is_empty() {
                    let plus = if opcode == Readdirplus { 128 } else { 0 };
                    let (dirent, _) = Dirent::read_from_prefix(&rest[plus..]).unwrap();
                    let length = plus + 24 + dirent.namelen as usize;
                    rest = &rest[length.next_multiple_of(8)..];
                    (names, from) = (names + 1, dirent.off);
                }
            }
            assert_eq!(names, 43, "{size}");
        }
    }
    let small = reading(0, 16);
    assert_eq!(
        ask(&mut offline, (Readdir, ROOT, bytes(&small), b"")),
        Err(Errno::INVAL)
    );
    for n in 0..40 {
        let name = format!("{}\0", "x".repeat(n + 1));
        ask(&mut offline, (Unlink, ROOT, b"", name.as_bytes())).unwrap();
    }
    offline.check();
}
