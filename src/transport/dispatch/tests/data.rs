//! Bytes are read, written and copied, and files opened.

use super::*;

#[test]
fn bytes_go_where_they_are_to_be() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"file\0");
    let write = args(|write: &mut WriteIn| (write.offset, write.size) = (3, 5));
    let written = ask(o, (Write, file, bytes(&write), b"hello, and more")).unwrap();
    assert_eq!(WriteOut::read_from_bytes(&written).unwrap().size, 5);
    assert_eq!(
        ask(o, (Read, file, bytes(&reading(0, 100)), b"")),
        Ok(b"\0\0\0hello".to_vec())
    );
    assert_eq!(
        ask(o, (Read, file, bytes(&reading(4, 2)), b"")),
        Ok(b"el".to_vec())
    );
    assert_eq!(ask(o, (Read, file, bytes(&reading(8, 2)), b"")), Ok(vec![]));
    let too_large = reading(0, PAYLOAD as u32 + 1);
    assert_eq!(
        ask(o, (Read, file, bytes(&too_large), b"")),
        Err(Errno::INVAL)
    );
    let fallocate = args(|args: &mut FallocateIn| args.length = 20);
    assert_eq!(
        ask(o, (Fallocate, file, bytes(&fallocate), b"")),
        Ok(vec![])
    );
    assert_eq!(attr(o, file).attr.size, 20);
    let seek = args(|args: &mut LseekIn| args.whence = libc::SEEK_HOLE as u32);
    let found = ask(o, (Lseek, file, bytes(&seek), b"")).unwrap();
    assert_eq!(LseekOut::read_from_bytes(&found).unwrap().offset, 20);
}

#[test]
fn a_copy_goes_from_one_file_to_another() {
    let o = &mut Offline::new(Cache::Forever);
    let (from, to) = (file(o, b"from\0"), file(o, b"to\0"));
    let write = args(|write: &mut WriteIn| write.size = 5);
    ask(o, (Write, from, bytes(&write), b"bytes")).unwrap();
    let copy = args(|copy: &mut CopyFileRangeIn| {
        (copy.off_in, copy.nodeid_out) = (1, to);
        (copy.off_out, copy.len) = (2, 99);
    });
    let copied = ask(o, (CopyFileRange, from, bytes(&copy), b"")).unwrap();
    assert_eq!(copied[..4], 4u32.to_ne_bytes());
    let read = ask(o, (Read, to, bytes(&reading(0, 99)), b"")).unwrap();
    assert_eq!(read, b"\0\0ytes");
    let copied = ask(o, (CopyFileRange64, from, bytes(&copy), b"")).unwrap();
    assert_eq!(copied, 4u64.to_ne_bytes());
    let unknown = CopyFileRangeIn { flags: 1, ..copy };
    let refused = ask(o, (CopyFileRange, from, bytes(&unknown), b""));
    assert_eq!(refused, Err(Errno::INVAL));
}

#[test]
fn with_passthrough_nobody_opens_for_writing_and_a_file_is_waited_for() {
    let o = &mut Offline::new(Cache::None);
    o.shared.passthrough = Some(Passthrough::default());
    let slow = entry(o, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    for flags in [libc::O_WRONLY, libc::O_RDWR | libc::O_APPEND] {
        let flags = flags as u32;
        let open = args(|open: &mut OpenIn| open.flags = flags);
        let opened = ask(o, (Open, slow, bytes(&open), b""));
        assert_eq!(opened, Err(Errno::ROFS));
    }
    let fs = &o.shared.fs;
    fs.set_config(Config {
        read_only: true,
        ..Config::clone(&fs.config())
    });
    let open = OpenIn::default();
    let open = asked((Open, slow, bytes(&open), b""));
    let hurried = Asked {
        may_block: MayBlock::No,
        ..open.clone()
    };
    assert_eq!(o.ask(&hurried), Answer::Later);
    assert_eq!(o.ask(&open), Answer::Bytes(16));
    assert!(o.buffer[..16].iter().all(|byte| *byte == 0));
    let release = asked((Release, slow, &[0; 24], b""));
    assert_eq!(o.ask(&release), Answer::Bytes(0));
    assert_eq!(o.ask(&release), Answer::Bytes(0));
}
