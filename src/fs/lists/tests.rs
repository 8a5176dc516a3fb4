use super::*;
use crate::fs::acl::tests::value;
use crate::fs::kept::OVERHEAD;
use crate::fs::testing::{self, Bed, ROOT, USER, stale};
use crate::fs::{Config, SetAttr};

const ANY: u32 = u32::MAX;
const ACCESS: &[u8] = Acl::ACCESS;
const DEFAULT: &[u8] = Acl::DEFAULT;

/// user::`owner` user:77:`named` group::r-- mask::`mask` other::---
fn list(owner: u16, named: u16, mask: u16) -> Vec<u8> {
    let (group, others) = ((4, 4, ANY), (32, 0, ANY));
    value(&[
        (1, owner, ANY),
        (2, named, 77),
        group,
        (16, mask, ANY),
        others,
    ])
}

fn plain(perm: u16) -> Vec<u8> {
    value(&[
        (1, perm >> 6 & 7, ANY),
        (4, perm >> 3 & 7, ANY),
        (32, perm & 7, ANY),
    ])
}

fn bed() -> Bed {
    Bed::with_acls(testing::config())
}

fn set(bed: &Bed, id: NodeId, name: &[u8], list: &[u8]) -> Result<()> {
    let done = bed.fs.setxattr(&ROOT, id, name, list, 0, false)?;
    let mut told = Vec::new();
    done.deliver(|id| told.push(id));
    assert_eq!(told, [id]);
    Ok(())
}

fn get(bed: &Bed, id: NodeId, name: &[u8]) -> Result<Vec<u8>> {
    bed.fs.getxattr(&USER, id, name)
}

fn chmod(bed: &Bed, id: NodeId, perm: u16) -> u16 {
    let change = SetAttr {
        perm: Some(perm),
        ..SetAttr::default()
    };
    stale(bed.fs.setattr(&ROOT, id, &change)).0.attr.perm
}

#[test]
fn without_lists_everything_about_them_is_refused() {
    let bed = Bed::new();
    let file = bed.file("f");
    for name in [ACCESS, DEFAULT] {
        assert_eq!(set(&bed, file, name, &list(6, 7, 6)), Err(Errno::OPNOTSUPP));
        assert_eq!(get(&bed, file, name), Err(Errno::OPNOTSUPP));
        let removed = bed.fs.removexattr(&ROOT, file, name);
        assert_eq!(removed.err(), Some(Errno::OPNOTSUPP));
    }
    assert_eq!(bed.attr(file).perm, 0o644);
}

#[test]
fn a_list_and_the_mode_go_together() {
    let bed = bed();
    let file = bed.file("f");
    let before = bed.age(file);
    set(&bed, file, ACCESS, &list(6, 7, 6)).unwrap();
    let after = bed.attr(file);
    assert_eq!((after.perm, after.acl), (0o660, true));
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    assert_eq!(chmod(&bed, file, 0o4715), 0o4715);
    let mut changed = list(7, 7, 1);
    let others = changed.len() - 6;
    changed[others] = 5;
    assert_eq!(get(&bed, file, ACCESS), Ok(changed));
    set(&bed, file, ACCESS, &list(6, 7, 6)).unwrap();
    assert_eq!(bed.attr(file).perm, 0o4660, "the other bits stay");
    set(&bed, file, b"user.a", b"1").unwrap();
    let names = [ACCESS, b"\0user.a\0"].concat();
    assert_eq!(bed.fs.listxattr(&USER, file), Ok(names));

    stale(bed.fs.removexattr(&ROOT, file, ACCESS));
    assert_eq!((bed.attr(file).perm, bed.attr(file).acl), (0o4660, false));
    assert_eq!(get(&bed, file, ACCESS), Err(Errno::NODATA));
    assert_eq!(chmod(&bed, file, 0o600), 0o600);
    let (before, told) = (
        bed.age(file),
        stale(bed.fs.removexattr(&ROOT, file, ACCESS)).1,
    );
    assert!(
        bed.attr(file).ctime > before.ctime,
        "although there was none"
    );
    assert_eq!(told, [file]);
}

#[test]
fn a_list_that_is_the_mode_is_not_kept() {
    let bed = bed();
    let file = bed.file("f");
    for before in [None, Some(list(6, 7, 6))] {
        if let Some(before) = before {
            set(&bed, file, ACCESS, &before).unwrap();
        }
        set(&bed, file, ACCESS, &plain(0o751)).unwrap();
        assert_eq!((bed.attr(file).perm, bed.attr(file).acl), (0o751, false));
        assert_eq!(get(&bed, file, ACCESS), Err(Errno::NODATA));
        assert_eq!(bed.fs.quota.used(), 0);
    }
    let dir = bed.dir("d");
    set(&bed, dir, DEFAULT, &plain(0o700)).unwrap();
    assert_eq!(
        get(&bed, dir, DEFAULT),
        Ok(plain(0o700)),
        "what is handed down is"
    );
    assert_eq!((bed.attr(dir).perm, bed.attr(dir).acl), (0o755, false));
    set(&bed, dir, DEFAULT, &[2, 0, 0, 0]).unwrap();
    assert_eq!(get(&bed, dir, DEFAULT), Err(Errno::NODATA));
}

#[test]
fn what_has_which_list() {
    let bed = bed();
    let (file, dir) = (bed.file("f"), bed.dir("d"));
    let link = stale(bed.fs.symlink(&USER, bed.root(), b"l", b"t")).0.id;
    let list = list(6, 7, 6);
    assert_eq!(set(&bed, file, DEFAULT, &list), Err(Errno::ACCESS));
    assert_eq!(set(&bed, dir, DEFAULT, &list), Ok(()));
    for name in [ACCESS, DEFAULT] {
        assert_eq!(set(&bed, link, name, &list), Err(Errno::OPNOTSUPP));
        let removed = bed.fs.removexattr(&ROOT, link, name);
        assert_eq!(removed.err(), Some(Errno::OPNOTSUPP));
    }
    assert_eq!(set(&bed, file, ACCESS, b"\x02\0\0"), Err(Errno::INVAL));
    let mut long = vec![(1, 6, ANY)];
    long.extend((0..507).map(|user| (2, 6, user)));
    long.extend([(4, 4, ANY), (16, 6, ANY), (32, 0, ANY)]);
    assert_eq!(set(&bed, file, ACCESS, &value(&long)), Ok(()));
    long.insert(1, (2, 6, 1));
    assert_eq!(set(&bed, file, ACCESS, &value(&long)), Err(Errno::TOOBIG));
    assert_eq!(get(&bed, file, ACCESS).unwrap().len(), 4092);
}

#[test]
fn set_group_id_goes_where_the_caller_may_not_keep_it() {
    let bed = bed();
    let file = bed.file("f");
    let perm = |caller: &Caller, name: &[u8], kill| {
        let keep = SetAttr {
            perm: Some(0o2755),
            gid: Some(4242),
            ..SetAttr::default()
        };
        stale(bed.fs.setattr(&ROOT, file, &keep));
        let done = match kill {
            Some(kill) => bed.fs.setxattr(caller, file, name, &list(7, 7, 7), 0, kill),
            None => bed.fs.removexattr(caller, file, name),
        };
        stale(done);
        bed.attr(file).perm
    };
    let member = Caller { gid: 4242, ..USER };
    assert_eq!(perm(&USER, ACCESS, Some(false)), 0o2770);
    assert_eq!(perm(&USER, ACCESS, Some(true)), 0o770);
    assert_eq!(perm(&USER, ACCESS, None), 0o755);
    assert_eq!(perm(&member, ACCESS, None), 0o2755);
    assert_eq!(perm(&ROOT, ACCESS, None), 0o2755);
    assert_eq!(perm(&USER, DEFAULT, None), 0o2755);
    let dir = bed.dir("d");
    chmod(&bed, dir, 0o2755);
    stale(
        bed.fs
            .setxattr(&USER, dir, DEFAULT, &list(7, 7, 7), 0, true),
    );
    assert_eq!(
        bed.attr(dir).perm,
        0o2755,
        "only an access list is about the mode"
    );
}

#[test]
fn the_umask_counts_where_nothing_is_handed_down() {
    let bed = bed();
    let dir = bed.dir("d");
    let caller = Caller {
        umask: 0o7027,
        ..USER
    };
    let made = |name: &[u8]| {
        let file = stale(bed.fs.mknod(&caller, dir, name, 0o4666, 0)).0;
        let dir = stale(bed.fs.mkdir(&caller, dir, &[name, b"d"].concat(), 0o1777)).0;
        (file, dir)
    };
    let (file, sub) = made(b"a");
    assert_eq!((file.attr.perm, sub.attr.perm), (0o4640, 0o1750));
    let temporary = stale(bed.fs.tmpfile(&caller, dir, 0o666)).0;
    assert_eq!(temporary.attr.perm, 0o640);
    let link = stale(bed.fs.symlink(&caller, dir, b"l", b"t")).0;
    assert_eq!(link.attr.perm, 0o777);

    set(&bed, dir, DEFAULT, &list(7, 7, 6)).unwrap();
    let (file, sub) = made(b"b");
    assert_eq!((file.attr.perm, file.attr.acl), (0o4660, true));
    assert_eq!(get(&bed, file.id, ACCESS), Ok(list(6, 7, 6)));
    assert_eq!(get(&bed, file.id, DEFAULT), Err(Errno::NODATA));
    assert_eq!((sub.attr.perm, sub.attr.acl), (0o1760, true));
    assert_eq!(get(&bed, sub.id, ACCESS), Ok(list(7, 7, 6)));
    assert_eq!(get(&bed, sub.id, DEFAULT), Ok(list(7, 7, 6)));
    let temporary = stale(bed.fs.tmpfile(&caller, dir, 0o440)).0;
    assert_eq!(get(&bed, temporary.id, ACCESS), Ok(list(4, 7, 4)));
    let link = stale(bed.fs.symlink(&caller, dir, b"m", b"t")).0;
    assert_eq!((link.attr.perm, link.attr.acl), (0o777, false));

    set(&bed, dir, DEFAULT, &plain(0o750)).unwrap();
    let (file, sub) = made(b"c");
    assert_eq!((file.attr.perm, file.attr.acl), (0o4640, false));
    assert_eq!((sub.attr.perm, sub.attr.acl), (0o1750, false));
    assert_eq!(get(&bed, sub.id, DEFAULT), Ok(plain(0o750)));
}

#[test]
fn what_a_rename_leaves_gets_a_list_too() {
    let bed = bed();
    let dir = bed.dir("d");
    set(&bed, dir, DEFAULT, &list(7, 7, 6)).unwrap();
    bed.file_in(dir, "f");
    stale(bed.fs.rename(&USER, (dir, b"f"), (bed.root(), b"g"), 4));
    let left = bed.fs.lookup(&USER, dir, b"f").unwrap().unwrap();
    assert_eq!((left.attr.kind, left.attr.perm), (Kind::CharDevice, 0));
    assert_eq!(get(&bed, left.id, ACCESS), Ok(list(0, 7, 0)));
}

#[test]
fn lists_are_charged_and_given_back() {
    let cost = (OVERHEAD + list(6, 7, 6).len()) as u64;
    let bed = Bed::with_acls(Config {
        max_bytes: 4 * cost,
        ..testing::config()
    });
    let dir = bed.dir("d");
    set(&bed, dir, DEFAULT, &list(7, 7, 7)).unwrap();
    set(&bed, dir, ACCESS, &list(7, 7, 7)).unwrap();
    assert_eq!(bed.fs.quota.used(), 2 * cost);
    let made = |name: &[u8]| {
        bed.fs
            .mkdir(&USER, dir, name, 0o777)
            .map(|made| made.deliver(drop))
    };
    let sub = made(b"a").unwrap().id;
    assert_eq!(bed.fs.quota.used(), 4 * cost);
    assert_eq!(made(b"b").err(), Some(Errno::NOSPC));
    assert!(bed.fs.lookup(&USER, dir, b"b").unwrap().is_none());
    assert_eq!(
        set(&bed, bed.root(), ACCESS, &list(7, 7, 7)),
        Err(Errno::NOSPC)
    );
    assert_eq!(
        (bed.attr(bed.root()).perm, bed.attr(bed.root()).acl),
        (0o755, false)
    );
    stale(bed.fs.removexattr(&ROOT, sub, DEFAULT));
    set(&bed, sub, ACCESS, &plain(0o700)).unwrap();
    assert_eq!(bed.fs.quota.used(), 2 * cost);
    stale(bed.fs.rmdir(&ROOT, dir, b"a"));
    bed.fs.forget(sub, 1);
    for name in [ACCESS, DEFAULT] {
        stale(bed.fs.removexattr(&ROOT, dir, name));
    }
    assert_eq!(bed.fs.quota.used(), 0);
}

#[test]
fn access_goes_by_the_list() {
    let bed = bed();
    let file = bed.file("f");
    let named = Caller { uid: 77, ..USER };
    let access = |caller: &Caller, mask| bed.fs.access(caller, file, mask);
    assert_eq!(access(&named, 4), Ok(()));
    set(&bed, file, ACCESS, &list(6, 6, 2)).unwrap();
    assert_eq!(
        (access(&named, 2), access(&named, 4)),
        (Ok(()), Err(Errno::ACCESS))
    );
    assert_eq!(access(&USER, 4), Err(Errno::ACCESS), "others have none");
    assert_eq!(access(&USER, 0), Ok(()));
    let group = Caller { gid: 0, ..USER };
    assert_eq!(access(&group, 4), Err(Errno::ACCESS), "masked");
    set(&bed, file, ACCESS, &list(6, 6, 7)).unwrap();
    assert_eq!(
        (access(&group, 4), access(&group, 2)),
        (Ok(()), Err(Errno::ACCESS))
    );
    assert_eq!((access(&ROOT, 6), access(&ROOT, 1)), (Ok(()), Ok(())));
    stale(bed.fs.removexattr(&ROOT, file, ACCESS));
    assert_eq!(access(&named, 2), Err(Errno::ACCESS));
    assert_eq!(access(&group, 6), Ok(()), "the mode is what was the mask");
}

#[test]
fn a_described_list_is_kept_and_decides_about_the_mode() {
    use crate::fs::Loaded;
    let bed = bed();
    let described = |kind| Attr {
        nlink: 1,
        ..Attr::new(kind, 0o2777, 3, 4, Time::default())
    };
    let load = |name: &[u8], kind, pairs: &[(&[u8], Vec<u8>)]| {
        let new = Loaded {
            attr: described(kind),
            ino: None,
            target: None,
            xattrs: pairs
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone().into()))
                .collect(),
            backing: None,
            seed: None,
        };
        bed.fs.load(bed.root(), name, new)
    };
    let both = [(ACCESS, list(7, 7, 5)), (DEFAULT, list(7, 7, 6))];
    let dir = load(b"d", Kind::Directory, &both).unwrap();
    let attr = bed.attr(dir);
    assert_eq!(
        (attr.perm, attr.acl, attr.ctime),
        (0o2750, true, Time::default())
    );
    for (name, value) in both {
        assert_eq!(get(&bed, dir, name), Ok(value));
    }
    let file = load(b"f", Kind::Regular, &[(ACCESS, plain(0o640))]).unwrap();
    assert_eq!((bed.attr(file).perm, bed.attr(file).acl), (0o2640, false));
    let refused = [
        (Kind::Regular, DEFAULT, list(7, 7, 5)),
        (Kind::Symlink, ACCESS, list(7, 7, 5)),
        (Kind::Regular, ACCESS, vec![2, 0, 0]),
    ];
    let errors = refused.map(|(kind, name, list)| load(b"x", kind, &[(name, list)]).err());
    let expected = [Errno::ACCESS, Errno::OPNOTSUPP, Errno::INVAL].map(Some);
    assert_eq!(errors, expected);
    let root = described(Kind::Directory);
    bed.fs
        .load_root(root, vec![(ACCESS.into(), list(7, 7, 5).into())]);
    assert_eq!(
        (bed.attr(bed.root()).perm, bed.attr(bed.root()).acl),
        (0o2750, true)
    );
    assert_eq!(get(&bed, bed.root(), ACCESS), Ok(list(7, 7, 5)));
}

#[test]
fn a_first_list_and_a_chmod_at_once_agree() {
    let bed = bed();
    for round in 0..3000 {
        let name = round.to_string();
        let file = bed.file(&name);
        let together = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                together.wait();
                chmod(&bed, file, 0o711)
            });
            together.wait();
            set(&bed, file, ACCESS, &list(6, 7, 6)).unwrap();
        });
        let kept = Acl::parse(&get(&bed, file, ACCESS).unwrap());
        assert_eq!(kept.unwrap().unwrap().mode(), bed.attr(file).perm);
        bed.remove(&name);
    }
}
