//! What is agreed with the kernel when a mount begins.

use crate::transport::Cache;
use fuser::{InitFlags, KernelConfig};

const MAX_WRITE: u32 = 1 << 20;
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

/// Asks for what `cache` needs and the kernel offers.
pub(crate) fn negotiate(config: &mut KernelConfig, cache: Cache) {
    let wanted = match cache.is_none() {
        true => ALWAYS,
        false => ALWAYS | CACHING,
    };
    let agreed = wanted & config.capabilities();
    if agreed != wanted {
        tracing::warn!(missing = ?(wanted - agreed), "the kernel lacks FUSE features");
    }
    // Both setters fail only for what the kernel does not offer or allow, which is then left.
    config.add_capabilities(agreed).unwrap_or_default();
    config.set_max_write(MAX_WRITE).unwrap_or_default();
    config
        .set_max_background(MAX_BACKGROUND)
        .unwrap_or_default();
}

/// Whether a file can be opened without a request: the kernel takes ENOSYS to OPEN as "never ask".
pub(crate) fn zero_message_open(config: &KernelConfig, cache: Cache) -> bool {
    !cache.is_none()
        && config
            .capabilities()
            .contains(InitFlags::FUSE_NO_OPEN_SUPPORT)
}

/// As [`zero_message_open`], for directories.
pub(crate) fn zero_message_opendir(config: &KernelConfig, cache: Cache) -> bool {
    !cache.is_none()
        && config
            .capabilities()
            .contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT)
}
