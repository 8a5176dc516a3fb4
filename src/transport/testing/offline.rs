//! A small filesystem that is asked without a kernel: for the tests of the codec and for fuzzing.

use crate::fs::Result;
use crate::fs::{Acl, Backing, Caller, Config, Fs, Loaded};
use crate::transport::channel::exchange::{Answer, Exchange, MayBlock};
use crate::transport::dispatch::Shared;
use crate::transport::dispatch::dispatch;
use crate::transport::wire::Agreed;
use crate::transport::wire::{self, ARGS_ROOM, Dialect, Dirent, EntryOut, InHeader};
use crate::transport::{Cache, Options, Permissions};
use crate::tree::{Attr, Errno, Kind, NodeId, Time};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use zerocopy::{FromBytes, FromZeros};

/// Bytes of a request or an answer, beside what has a fixed size.
pub(crate) const PAYLOAD: usize = 8 << 10;
/// `FUSE_READ`.
const READ: u32 = 15;
/// What the room for an answer holds before.
const UNTOUCHED: u8 = 0xa5;
/// The file whose content has to be waited for.
pub(crate) const SLOW: &[u8] = b"slow";
pub(crate) const SLOW_CONTENT: &[u8] = b"content that is fetched first";

struct Fetched;

impl Backing for Fetched {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let rest = SLOW_CONTENT.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buf.len());
        buf[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn file(&self, wait: bool) -> Result<Option<Arc<OwnedFd>>> {
        match wait {
            true => Ok(None),
            false => Err(Errno::AGAIN),
        }
    }
}

/// How a request is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The fixed arguments have as many bytes as they need, or fewer.
    Device,
    /// They lie in an area that is longer, with anything behind them.
    Ring,
}

/// A request in parts.
#[derive(Clone, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) header: InHeader,
    pub(crate) args: &'a [u8],
    pub(crate) rest: &'a [u8],
    pub(crate) layout: Layout,
    pub(crate) may_block: MayBlock,
}

/// What is asked.
pub(crate) struct Offline {
    pub(crate) shared: Shared,
    /// What the last answer was written over.
    pub(crate) buffer: Vec<u8>,
    /// How many lookups the answers gave of each inode.
    given: BTreeMap<u64, u64>,
}

impl Offline {
    pub(crate) fn new(cache: Cache) -> Offline {
        Offline::with(cache, Permissions::Kernel, false)
    }

    pub(crate) fn deciding(cache: Cache, permissions: Permissions) -> Offline {
        Offline::with(cache, permissions, false)
    }

    /// With access control lists, and so with longer arguments of SETXATTR, if `acl`.
    pub(crate) fn with(cache: Cache, permissions: Permissions, acl: bool) -> Offline {
        let config = Config {
            max_bytes: 1 << 20,
            max_inodes: 200,
            read_only: false,
        };
        let now = Time::now();
        let attr = |kind, perm| Attr::new(kind, perm, 0, 0, now);
        let mut fs = Fs::new(config, attr(Kind::Directory, 0o777))
            .unwrap()
            .with_permissions(permissions);
        if acl {
            fs = fs.with_acls();
        }
        let slow = Loaded {
            attr: Attr {
                nlink: 1,
                size: SLOW_CONTENT.len() as u64,
                ..attr(Kind::Regular, 0o666)
            },
            ino: None,
            target: None,
            xattrs: Vec::new(),
            backing: Some(Box::new(Fetched)),
            seed: None,
        };
        fs.load(NodeId::ROOT, SLOW, slow).expect("room");
        let unasked = !cache.is_none() && permissions == Permissions::Kernel;
        let agreed = Agreed {
            abi: (7, 44),
            zero_message_open: unasked,
            zero_message_opendir: unasked,
            passthrough: false,
            acl,
            ring: false,
            payload: PAYLOAD,
            dialect: Dialect { setxattr_ext: acl },
        };
        let options = Options {
            cache,
            acl,
            ..Options::default()
        };
        Offline {
            shared: Shared::new(Arc::new(fs), &options, agreed),
            buffer: Vec::new(),
            given: BTreeMap::new(),
        }
    }

    /// Asks, and checks what must be true of every answer.
    pub(crate) fn ask(&mut self, asked: &Asked<'_>) -> Answer {
        let mut args = asked.args.to_vec();
        if asked.layout == Layout::Ring {
            args.resize(ARGS_ROOM, UNTOUCHED);
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(asked.rest);
        self.buffer.resize(PAYLOAD.max(asked.rest.len()), UNTOUCHED);
        let before = self.buffer.clone();
        let mut exchange = Exchange {
            header: asked.header,
            opcode: wire::Opcode::from_raw(asked.header.opcode),
            args: &args,
            buffer: &mut self.buffer,
            sent: asked.rest.len(),
        };
        let answer = dispatch(&self.shared, &mut exchange, asked.may_block);
        let answer = answer.unwrap_or_else(Answer::Error);
        assert!(!crossbeam_epoch::is_pinned());
        match answer {
            Answer::Bytes(count) => assert!(count <= self.buffer.len()),
            Answer::Error(errno) => assert!((1..4096).contains(&errno.raw_os_error())),
            Answer::Nothing => {}
            Answer::Later | Answer::AfterWriteback => {
                assert_eq!(asked.may_block, MayBlock::No);
                // A READ has nothing after its arguments: what it finds of the answer may stay there.
                let came = match asked.header.opcode {
                    READ => 0,
                    _ => asked.rest.len(),
                };
                let same = self.buffer[..came] == before[..came];
                assert!(same, "a request that has to wait is as it came");
            }
        }
        self.count(asked.header.opcode, answer);
        answer
    }

    /// Notes which lookups an answer gives.
    fn count(&mut self, opcode: u32, answer: Answer) {
        if let Answer::Bytes(count) = answer {
            for nodeid in lookups(opcode, &self.buffer[..count]) {
                *self.given.entry(nodeid).or_default() += 1;
            }
        }
    }

    /// The inodes that answers told of, and the root.
    pub(crate) fn known(&self) -> Vec<u64> {
        let told = self.given.keys().copied();
        told.chain([NodeId::ROOT.raw()]).collect()
    }

    /// Takes up to `n` lookups of an inode from what is to be given back at the end.
    pub(crate) fn take(&mut self, nodeid: u64, n: u64) -> u64 {
        let Some(given) = self.given.get_mut(&nodeid) else {
            return 0;
        };
        let taken = n.min(*given);
        *given -= taken;
        taken
    }

    /// Gives all lookups back and checks that what remains is what can be reached, with the link counts
    /// it should have.
    pub(crate) fn check(&mut self) {
        let fs = &self.shared.fs;
        for (&nodeid, &n) in &self.given {
            if n > 0 {
                let counted = fs.tree().forget(NodeId::from_raw(nodeid), n);
                assert!(counted, "a lookup was told that was not counted");
            }
        }
        self.given.clear();
        let mut names = BTreeMap::from([(NodeId::ROOT, 1)]);
        let mut directories = vec![(NodeId::ROOT, NodeId::ROOT)];
        while let Some((dir, parent)) = directories.pop() {
            let mut subdirectories = 0;
            for (name, id, kind) in list(fs, dir) {
                match name.as_slice() {
                    b"." => assert_eq!(id, dir),
                    b".." => assert_eq!(id, parent),
                    _ => {
                        *names.entry(id).or_default() += 1;
                        let child = fs.tree().child(&fs.tree().get(dir).expect("known"), &name);
                        assert_eq!(child.expect("a listed name").id(), id);
                        if kind == Kind::Directory {
                            subdirectories += 1;
                            directories.push((id, dir));
                        }
                    }
                }
            }
            assert_eq!(fs.getattr(dir).expect("known").nlink, 2 + subdirectories);
        }
        for (&id, &count) in &names {
            let attr = fs.getattr(id).expect("reachable");
            assert!(attr.kind == Kind::Directory || attr.nlink == count);
            assert!(attr.kind != Kind::Directory || count == 1);
            check_acl(fs, id, &attr);
        }
        assert_eq!(
            fs.tree().inodes(),
            names.len() as u64,
            "what cannot be reached is gone"
        );
    }
}

/// Whether an inode's list, if it has one, says what its mode shows, and more.
fn check_acl(fs: &Fs, id: NodeId, attr: &Attr) {
    let asks = Caller {
        uid: 0,
        gid: 0,
        pid: 0,
        umask: 0,
    };
    let value = fs.getxattr(&asks, id, Acl::ACCESS);
    assert_eq!(value.is_ok(), attr.acl);
    if let Ok(value) = value {
        let acl = Acl::parse(&value).expect("a list").expect("entries");
        assert!(!acl.is_mode() && acl.mode() == attr.perm & 0o777);
    }
    assert!(fs.getxattr(&asks, id, Acl::DEFAULT).is_err() || attr.kind == Kind::Directory);
}

/// The inodes an answer tells the kernel of.
fn lookups(opcode: u32, mut answer: &[u8]) -> Vec<u64> {
    use wire::Opcode::*;
    let mut told = Vec::new();
    match wire::Opcode::from_raw(opcode) {
        Some(Readdirplus) => {
            while !answer.is_empty() {
                let (entry, rest) = EntryOut::read_from_prefix(answer).expect("a whole entry");
                let (dirent, name) = Dirent::read_from_prefix(rest).expect("a whole entry");
                let length = answer.len() - name.len() + dirent.namelen as usize;
                answer = &answer[length.next_multiple_of(8)..];
                told.push(entry.nodeid);
            }
        }
        Some(Lookup | Symlink | Mknod | Mkdir | Link | Create | Tmpfile) => {
            let (entry, _) = EntryOut::read_from_prefix(answer).expect("an entry");
            told.push(entry.nodeid);
        }
        _ => {}
    }
    told.retain(|&nodeid| nodeid != 0);
    told
}

fn list(fs: &Fs, dir: NodeId) -> Vec<(Vec<u8>, NodeId, Kind)> {
    let mut all = Vec::new();
    let done = fs.readdir(dir, 0, false, |entry| {
        all.push((entry.name.to_vec(), entry.id, entry.kind));
        true
    });
    done.expect("a directory");
    all
}

/// Bytes to make requests of, zeros when they run out.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    fn flag(bits: u8, which: u8) -> bool {
        bits >> which & 1 != 0
    }
}

/// Asks what `input` says, whatever that is, and checks the answers and the tree they leave.
///
/// A request is made of: opcode, how it is made up (bits), which known inode it is about, how long names or
/// data are, and then its bytes.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let first = input.byte();
    let cache = [Cache::Forever, Cache::None][usize::from(first & 1)];
    let mut offline = Offline::with(cache, Permissions::Kernel, Bytes::flag(first, 1));
    for unique in 1.. {
        if input.0.is_empty() {
            break;
        }
        ask_one(&mut offline, &mut input, unique);
    }
    offline.check();
}

const SETXATTR: u32 = 21;
/// Those that take the name of an extended attribute: SETXATTR, GETXATTR, REMOVEXATTR.
const XATTRS: [u32; 3] = [SETXATTR, 22, 24];

const XATTR_NAMES: [&[u8]; 4] = [b"user.a", b"security.capability", Acl::ACCESS, Acl::DEFAULT];

/// An access control list of any permissions for few users, or almost one.
fn list_value(input: &mut Bytes<'_>) -> Vec<u8> {
    let mut value = vec![2, 0, 0, 0];
    let tags = input.byte();
    for tag in [1, 2, 2, 4, 8, 16, 32] {
        // Base entries are left out seldom.
        let wanted = match tag {
            2 | 8 | 16 => tags & tag != 0,
            _ => tags & 0xe5 != 0xe5,
        };
        if wanted {
            let (bits, id) = (input.byte(), input.byte());
            let bits = if bits < 0xf0 { bits & 7 } else { bits };
            value.extend_from_slice(&[tag, 0, bits, 0, id % 3, 0, 0, 0]);
        }
    }
    value
}

fn ask_one(offline: &mut Offline, input: &mut Bytes<'_>, unique: u64) {
    let (opcode, bits, which) = (input.byte(), input.byte(), input.byte());
    let opcode = u32::from(opcode % 64);
    let known = offline.known();
    let known = |index: u8| known[usize::from(index) % known.len()];
    let dialect = offline.shared.agreed.dialect;
    let mut args = vec![0; dialect.fixed_len(wire::Opcode::from_raw(opcode))];
    let sent = input.take(args.len());
    args[..sent.len()].copy_from_slice(sent);
    if Bytes::flag(bits, 0) {
        // Small numbers: sizes and offsets that can be met.
        args.iter_mut()
            .skip(1)
            .step_by(2)
            .for_each(|byte| *byte = 0);
    }
    if Bytes::flag(bits, 1) && args.len() >= 8 {
        let other = known(args[0]);
        args[..8].copy_from_slice(&other.to_ne_bytes());
    }
    if Bytes::flag(bits, 2) {
        args.truncate(usize::from(which) % (args.len() + 1));
    }
    let mut rest = Vec::new();
    let length = usize::from(input.byte());
    match Bytes::flag(bits, 3) {
        true => rest.extend_from_slice(input.take(length)),
        false if XATTRS.contains(&opcode) => {
            rest.extend_from_slice(XATTR_NAMES[usize::from(input.byte() % 4)]);
            rest.push(0);
            if let (SETXATTR, Some(size)) = (opcode, args.get_mut(..4)) {
                let value = list_value(input);
                size.copy_from_slice(&(value.len() as u32).to_ne_bytes());
                rest.extend_from_slice(&value);
            }
        }
        // One or two names of few letters.
        false => {
            for letter in input.take(1 + length % 2) {
                rest.extend_from_slice(&[b'a' + letter % 6, 0]);
            }
        }
    }
    let nodeid = match Bytes::flag(bits, 4) {
        true => u64::from(which) | u64::from(bits) << 32,
        false => known(which),
    };
    if opcode == 2 {
        // More lookups than were given are no matter of the codec.
        let n = offline.take(nodeid, u64::from(which % 4));
        args = n.to_ne_bytes().to_vec();
    }
    if opcode == 42 {
        rest.clear();
    }
    offline.ask(&Asked {
        header: InHeader {
            opcode,
            unique,
            nodeid,
            uid: if Bytes::flag(bits, 5) { 1000 } else { 0 },
            ..InHeader::new_zeroed()
        },
        args: &args,
        rest: &rest,
        layout: [Layout::Device, Layout::Ring][usize::from(Bytes::flag(bits, 6))],
        may_block: [MayBlock::Yes, MayBlock::No][usize::from(Bytes::flag(bits, 7))],
    });
}
