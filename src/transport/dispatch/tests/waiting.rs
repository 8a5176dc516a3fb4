//! What has to be waited for is answered later, by a thread that may be kept.

use super::*;

#[test]
fn a_copy_of_what_has_to_be_waited_for_is_made_later() {
    let o = &mut Offline::new(Cache::Forever);
    let slow = entry(o, (Lookup, ROOT, b"", b"slow\0")).nodeid;
    let file = file(o, b"file\0");
    let copy = args(|copy: &mut CopyFileRangeIn| (copy.nodeid_out, copy.len) = (file, 7));
    let asking = (CopyFileRange, slow, bytes(&copy), &b""[..]);
    let hurried = Asked {
        may_block: MayBlock::No,
        ..asked(asking)
    };
    assert_eq!(o.ask(&hurried), Answer::Later);
    ask(o, asking).unwrap();
    let read = ask(o, (Read, file, bytes(&reading(0, 99)), b"")).unwrap();
    assert_eq!(read, SLOW_CONTENT[..7]);
}

#[test]
fn holes_that_were_read_are_written_back_before_anything_is_said_of_them() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"f\0");
    let grow = args(|set: &mut SetattrIn| (set.valid, set.size) = (fattr::SIZE, 1 << 20));
    ask(o, (Setattr, file, bytes(&grow), b"")).unwrap();
    let data = args(|seek: &mut LseekIn| seek.whence = libc::SEEK_DATA as u32);
    let hole = args(|seek: &mut LseekIn| seek.whence = libc::SEEK_HOLE as u32);
    let answers = |o: &mut Offline, may_block| {
        [
            (Lseek, bytes(&data)),
            (Lseek, bytes(&hole)),
            (Getattr, &[0; 16]),
        ]
        .map(|(opcode, args)| {
            o.ask(&Asked {
                may_block,
                ..asked((opcode, file, args, b""))
            })
        })
    };
    let none = Answer::Error(Errno::NXIO);
    let [found, hole, attributes] = [none, Answer::Bytes(8), Answer::Bytes(104)];
    assert_eq!(answers(o, MayBlock::No), [found, hole, attributes]);
    assert_ne!(attr(o, file).attr_valid, 0);

    ask(o, (Read, file, bytes(&reading(4096, 4096)), b"")).unwrap();
    assert_eq!(answers(o, MayBlock::No), [Answer::AfterWriteback; 3]);
    // Nobody can wait: all of it counts as data.
    assert_eq!(
        answers(o, MayBlock::Nobody),
        [Answer::Bytes(8), hole, attributes]
    );
    let told = AttrOut::read_from_bytes(&o.buffer[..104]).unwrap();
    assert_eq!((told.attr_valid, told.attr.blocks), (0, 8));
    let found = entry(o, (Lookup, ROOT, b"", b"f\0"));
    assert_eq!((found.attr_valid, found.attr.blocks), (0, 0));

    // Attributes settle it until the next is read, and what is seldom asked for does not.
    assert_eq!(answers(o, MayBlock::Yes), [none, hole, attributes]);
    assert_eq!(answers(o, MayBlock::No), [none, hole, attributes]);
    assert_ne!(attr(o, file).attr_valid, 0);
}

#[test]
fn what_has_to_be_waited_for_is_answered_later() {
    let mut name = SLOW.to_vec();
    name.push(0);
    let read = reading(0, 100);
    let write = args(|write: &mut WriteIn| write.size = 1);
    let seek = args(|args: &mut LseekIn| args.whence = libc::SEEK_DATA as u32);
    let allocate = args(|args: &mut FallocateIn| args.length = 1);
    let cases: [(Opcode, &[u8]); 4] = [
        (Read, bytes(&read)),
        (Write, bytes(&write)),
        (Lseek, bytes(&seek)),
        (Fallocate, bytes(&allocate)),
    ];
    for (opcode, args) in cases {
        let o = &mut Offline::new(Cache::Forever);
        let slow = entry(o, (Lookup, ROOT, b"", &name)).nodeid;
        let hurried = Asked {
            may_block: MayBlock::No,
            ..asked((opcode, slow, args, b"x"))
        };
        let expected = match opcode {
            // The same threads wait for what the kernel writes back.
            Lseek => Answer::AfterWriteback,
            _ => Answer::Later,
        };
        assert_eq!(o.ask(&hurried), expected, "{opcode:?}");
        let waited = ask(o, (opcode, slow, args, b"x")).unwrap();
        if opcode == Read {
            assert_eq!(waited, SLOW_CONTENT);
        }
        let chmod = asked((Setattr, slow, &[0; 88], b""));
        let chmod = Asked {
            may_block: MayBlock::No,
            ..chmod
        };
        assert!(matches!(o.ask(&chmod), Answer::Bytes(_)), "{opcode:?}");
    }
}

#[test]
fn a_cut_waits_for_no_content() {
    let mut name = SLOW.to_vec();
    name.push(0);
    for size in [0, 3, 1 << 30] {
        let o = &mut Offline::new(Cache::Forever);
        let slow = entry(o, (Lookup, ROOT, b"", &name)).nodeid;
        let cut = args(|set: &mut SetattrIn| (set.valid, set.size) = (fattr::SIZE, size));
        let hurried = Asked {
            may_block: MayBlock::No,
            ..asked((Setattr, slow, bytes(&cut), b""))
        };
        assert!(matches!(o.ask(&hurried), Answer::Bytes(_)), "{size}");
    }
}

#[test]
fn what_moves_many_bytes_is_answered_later() {
    let o = &mut Offline::new(Cache::Forever);
    let file = file(o, b"f\0");
    let mut answer = |length| {
        let allocate = args(|args: &mut FallocateIn| args.length = length);
        let copy = args(|copy: &mut CopyFileRangeIn| (copy.nodeid_out, copy.len) = (file, length));
        [(Fallocate, bytes(&allocate)), (CopyFileRange, bytes(&copy))].map(|(opcode, args)| {
            o.ask(&Asked {
                may_block: MayBlock::No,
                ..asked((opcode, file, args, b""))
            })
        })
    };
    assert_eq!(answer((1 << 20) + 1), [Answer::Later, Answer::Later]);
    assert!(answer(4).into_iter().all(|answer| answer != Answer::Later));
}
