//! What is malformed, unknown or arbitrary.

use super::*;

#[test]
fn what_is_cut_short_is_refused() {
    let o = &mut Offline::new(Cache::None);
    for &(opcode, _) in Opcode::ALL {
        for missing in 1..=Dialect::default().fixed_len(Some(opcode)) {
            let args = vec![0; Dialect::default().fixed_len(Some(opcode)) - missing];
            let answer = o.ask(&asked((opcode, ROOT, &args, b"")));
            let looks = !matches!(
                opcode,
                Release
                    | Releasedir
                    | Syncfs
                    | Opendir
                    | Flush
                    | Fsync
                    | Fsyncdir
                    | Getlk
                    | Setlk
                    | Setlkw
                    | Interrupt
                    | Bmap
                    | Poll
                    | Getattr
                    | Statx
            );
            if looks {
                assert_eq!(answer, Answer::Error(Errno::INVAL), "{opcode:?}");
            }
        }
    }
}

#[test]
fn names_that_are_none_are_refused() {
    let o = &mut Offline::new(Cache::Forever);
    let bad: [&[u8]; 4] = [b"", b"no end", b"two\0names\0", b"inside\0it"];
    for name in bad {
        for opcode in [Lookup, Unlink, Rmdir, Removexattr] {
            assert_eq!(
                ask(o, (opcode, ROOT, b"", name)),
                Err(Errno::INVAL),
                "{opcode:?} {name:?}"
            );
        }
        for opcode in [Mknod, Mkdir, Link] {
            let args = vec![0; Dialect::default().fixed_len(Some(opcode))];
            assert_eq!(ask(o, (opcode, ROOT, &args, name)), Err(Errno::INVAL));
        }
    }
    let pairs: [&[u8]; 5] = [b"", b"one\0", b"one\0no end", b"one\0two\0three\0", b"\0"];
    for names in pairs {
        assert_eq!(
            ask(o, (Symlink, ROOT, b"", names)),
            Err(Errno::INVAL),
            "{names:?}"
        );
        assert_eq!(ask(o, (Rename, ROOT, &[1; 8], names)), Err(Errno::INVAL));
        assert_eq!(ask(o, (Rename2, ROOT, &[0; 16], names)), Err(Errno::INVAL));
    }
    let long = [vec![b'x'; 3000], vec![0]].concat();
    assert_eq!(ask(o, (Lookup, ROOT, b"", &long)), Err(Errno::NAMETOOLONG));
}

#[test]
fn what_is_not_served_is_said_once() {
    let o = &mut Offline::new(Cache::Forever);
    for opcode in [Getlk, Setlk, Setlkw, Interrupt, Bmap, Poll, Flush, Fsync] {
        let args = vec![0; Dialect::default().fixed_len(Some(opcode))];
        assert_eq!(
            ask(o, (opcode, ROOT, &args, b"")),
            Err(Errno::NOSYS),
            "{opcode:?}"
        );
    }
    for ioctl in [0, 0x5401, 0x8004_6601, 0xffff_ffff] {
        let mut args = [0; 32];
        args[12..16].copy_from_slice(&u32::to_ne_bytes(ioctl));
        assert_eq!(ask(o, (Ioctl, ROOT, &args, b"")), Err(Errno::NOTTY));
    }
    for opcode in [Release, Releasedir, Syncfs, Destroy] {
        assert_eq!(
            ask(o, (opcode, ROOT, &[0; 24], b"")),
            Ok(vec![]),
            "{opcode:?}"
        );
    }
    for unknown in [0, 7, 19, 26, 41, 48, 54, 4096, u32::MAX] {
        let mut unknown_asked = asked((Getattr, ROOT, b"", b"anything"));
        unknown_asked.header.opcode = unknown;
        assert_eq!(
            o.ask(&unknown_asked),
            Answer::Error(Errno::NOSYS),
            "{unknown}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn anything_at_all_is_answered_and_leaves_a_sound_tree(
        input in proptest::collection::vec(any::<u8>(), 0..600)
    ) {
        offline::run(&input);
    }

    #[test]
    fn the_layouts_answer_alike(
        opcode in 0..64u32,
        args in proptest::collection::vec(0..4u8, 0..128),
        rest in proptest::collection::vec(prop_oneof![Just(0u8), Just(b'a'), any::<u8>()], 0..40),
        acl: bool,
    ) {
        let fixed = Dialect { setxattr_ext: acl }.fixed_len(Opcode::from_raw(opcode));
        let args = [args, vec![0; fixed]].concat()[..fixed].to_vec();
        let answers = [Layout::Device, Layout::Ring].map(|layout| {
            let mut offline = Offline::with(Cache::None, Permissions::Kernel, acl);
            let mut asked = asked((Lookup, ROOT, &args, &rest));
            (asked.header.opcode, asked.layout) = (opcode, layout);
            let answer = offline.ask(&asked);
            let count = match answer {
                Answer::Bytes(count) => count,
                _ => 0,
            };
            (answer, count)
        });
        prop_assert_eq!(answers[0], answers[1]);
    }
}
