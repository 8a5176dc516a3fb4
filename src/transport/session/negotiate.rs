//! What is agreed with the kernel when a mount begins. fuser mounts and carries these first words;
//! everything after them is ours.

use crate::transport::wire::{Agreed, Dialect};
use crate::transport::{Cache, MAX_IO, Options, Permissions};
use fuser::{InitFlags, KernelConfig, Request};
use std::io;
use std::sync::{Arc, OnceLock};

const MAX_BACKGROUND: u16 = 64;
/// One page.
const SMALLEST_IO: u32 = 4096;
/// What the kernel may send or ask for all the same (`FUSE_MIN_READ_BUFFER`).
const SMALLEST_PAYLOAD: u32 = 8192;

/// How deep a mount whose files are passed through counts as stacked: the source must not be stacked itself. Means
/// nothing to other mounts.
const STACK_DEPTH: u32 = 1;

/// Wanted in every mode. Flags that are not here stay off; writeback cache, automatic data
/// invalidation and `O_TRUNC` in open would each break a promise the cache rests on.
const ALWAYS: InitFlags = InitFlags::FUSE_ASYNC_READ
    .union(InitFlags::FUSE_BIG_WRITES)
    .union(InitFlags::FUSE_MAX_PAGES)
    .union(InitFlags::FUSE_PARALLEL_DIROPS)
    .union(InitFlags::FUSE_EXPLICIT_INVAL_DATA)
    .union(InitFlags::FUSE_EXPORT_SUPPORT)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2);

/// Wanted where the kernel keeps anything.
const CACHING: InitFlags = InitFlags::FUSE_CACHE_SYMLINKS;

/// Wanted where it keeps names.
const NAMES: InitFlags = InitFlags::FUSE_DO_READDIRPLUS.union(InitFlags::FUSE_READDIRPLUS_AUTO);

/// Wanted for access control lists: the kernel checks by them, leaves the umask to whoever knows the directory's list,
/// and tells who loses set-group-id with a change.
const LISTS: InitFlags = InitFlags::FUSE_POSIX_ACL
    .union(InitFlags::FUSE_DONT_MASK)
    .union(InitFlags::FUSE_SETXATTR_EXT);

/// The most bytes of one read or write that `options` allow.
fn max_io(options: &Options) -> u32 {
    options.max_io.clamp(SMALLEST_IO, MAX_IO)
}

/// [`Agreed::payload`], which nothing the kernel says changes.
pub(crate) fn payload(options: &Options) -> usize {
    let io = max_io(options).max(SMALLEST_PAYLOAD) as usize;
    io.max(rustix::param::page_size())
}

/// Answers INIT.
pub(crate) struct Negotiator {
    cache: Cache,
    permissions: Permissions,
    ring: bool,
    passthrough: bool,
    acl: bool,
    max_io: u32,
    payload: usize,
    agreed: Arc<OnceLock<Agreed>>,
}

impl Negotiator {
    /// Asks for what `options` need, and for rings if there are any. Also gives where the result
    /// will be.
    pub(crate) fn new(
        options: &Options,
        permissions: Permissions,
        ring: bool,
    ) -> (Negotiator, Arc<OnceLock<Agreed>>) {
        let agreed = Arc::default();
        let negotiator = Negotiator {
            cache: options.cache,
            permissions,
            ring,
            passthrough: options.passthrough,
            acl: options.acl,
            max_io: max_io(options),
            payload: payload(options),
            agreed: Arc::clone(&agreed),
        };
        (negotiator, agreed)
    }
}

impl fuser::Filesystem for Negotiator {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let caches = !self.cache.is_none();
        // Who decides about each open is asked at each, and about each step of a path.
        let unasked = caches && self.permissions == Permissions::Kernel;
        let mut wanted = ALWAYS;
        wanted.set(CACHING, caches);
        wanted.set(NAMES, unasked);
        wanted.set(InitFlags::FUSE_OVER_IO_URING, self.ring);
        wanted.set(InitFlags::FUSE_PASSTHROUGH, self.passthrough);
        wanted.set(LISTS, self.acl);
        ask(config, wanted, self.max_io);
        let offered = |flag| config.capabilities().contains(flag);
        let acl = self.acl && offered(LISTS);
        let passthrough = self.passthrough && offered(InitFlags::FUSE_PASSTHROUGH);
        let abi = config.kernel_abi();
        self.agreed.get_or_init(|| Agreed {
            abi: (abi.0, abi.1),
            zero_message_open: unasked && !passthrough && offered(InitFlags::FUSE_NO_OPEN_SUPPORT),
            zero_message_opendir: unasked && offered(InitFlags::FUSE_NO_OPENDIR_SUPPORT),
            passthrough,
            acl,
            ring: self.ring && offered(InitFlags::FUSE_OVER_IO_URING),
            payload: self.payload,
            dialect: Dialect { setxattr_ext: acl },
        });
        Ok(())
    }
}

/// Asks for what of `wanted` the kernel offers, and for requests of at most `max_io` bytes.
fn ask(config: &mut KernelConfig, wanted: InitFlags, max_io: u32) {
    let agreed = wanted & config.capabilities();
    if agreed != wanted {
        tracing::info!(missing = ?(wanted - agreed), "the kernel lacks FUSE features");
    }
    // The setters fail only for what the kernel does not offer or allow, which is then left. Reading
    // ahead is bounded as well, since requests are as large as the larger of the two.
    config.add_capabilities(agreed).unwrap_or_default();
    config.set_max_stack_depth(STACK_DEPTH).unwrap_or_default();
    config.set_max_write(max_io).unwrap_or_default();
    config.set_max_readahead(max_io).unwrap_or_default();
    config
        .set_max_background(MAX_BACKGROUND)
        .unwrap_or_default();
}
