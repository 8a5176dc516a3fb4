//! What is agreed with the kernel when a mount begins. fuser mounts and carries these first words;
//! everything after them is ours.

use crate::transport::Cache;
use fuser::{InitFlags, KernelConfig, Request};
use std::io;
use std::sync::{Arc, OnceLock};

/// Most bytes of data in one request or reply.
const PAYLOAD: u32 = 1 << 20;
const MAX_BACKGROUND: u16 = 64;

/// Wanted in every mode. Flags that are not here stay off; writeback cache, automatic data
/// invalidation, `O_TRUNC` in open and POSIX ACLs would each break a promise the cache rests on.
const ALWAYS: InitFlags = InitFlags::FUSE_ASYNC_READ
    .union(InitFlags::FUSE_BIG_WRITES)
    .union(InitFlags::FUSE_MAX_PAGES)
    .union(InitFlags::FUSE_PARALLEL_DIROPS)
    .union(InitFlags::FUSE_EXPLICIT_INVAL_DATA)
    .union(InitFlags::FUSE_HANDLE_KILLPRIV_V2);

/// Wanted where the kernel keeps names and attributes.
const CACHING: InitFlags = InitFlags::FUSE_CACHE_SYMLINKS
    .union(InitFlags::FUSE_DO_READDIRPLUS)
    .union(InitFlags::FUSE_READDIRPLUS_AUTO);

/// What was agreed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// A file can be opened without a request: the kernel takes ENOSYS to OPEN as "never ask".
    pub(crate) zero_message_open: bool,
    /// The same for directories.
    pub(crate) zero_message_opendir: bool,
    /// Most bytes that follow the fixed part of a request or a reply.
    pub(crate) payload: usize,
}

/// Answers INIT.
pub(crate) struct Negotiator {
    cache: Cache,
    agreed: Arc<OnceLock<Agreed>>,
}

impl Negotiator {
    /// Also gives where the result will be.
    pub(crate) fn new(cache: Cache) -> (Negotiator, Arc<OnceLock<Agreed>>) {
        let agreed = Arc::default();
        let negotiator = Negotiator {
            cache,
            agreed: Arc::clone(&agreed),
        };
        (negotiator, agreed)
    }
}

impl fuser::Filesystem for Negotiator {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        ask(config, self.cache);
        let zero_message = |flag| !self.cache.is_none() && config.capabilities().contains(flag);
        self.agreed.get_or_init(|| Agreed {
            zero_message_open: zero_message(InitFlags::FUSE_NO_OPEN_SUPPORT),
            zero_message_opendir: zero_message(InitFlags::FUSE_NO_OPENDIR_SUPPORT),
            payload: PAYLOAD as usize,
        });
        Ok(())
    }
}

/// Asks for what `cache` needs and the kernel offers.
fn ask(config: &mut KernelConfig, cache: Cache) {
    let wanted = match cache.is_none() {
        true => ALWAYS,
        false => ALWAYS | CACHING,
    };
    let agreed = wanted & config.capabilities();
    if agreed != wanted {
        tracing::warn!(missing = ?(wanted - agreed), "the kernel lacks FUSE features");
    }
    // The setters fail only for what the kernel does not offer or allow, which is then left. Reading
    // ahead is bounded as well, since requests are as large as the larger of the two.
    config.add_capabilities(agreed).unwrap_or_default();
    config.set_max_write(PAYLOAD).unwrap_or_default();
    config.set_max_readahead(PAYLOAD).unwrap_or_default();
    config
        .set_max_background(MAX_BACKGROUND)
        .unwrap_or_default();
}
