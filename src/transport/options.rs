//! How a mount behaves.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How long the kernel may keep what it was told without asking again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Cache {
    /// For good: all changes come through the mount, so the kernel's copy is exact. Missing names
    /// and symbolic links are cached as well, opening a file or directory costs no request.
    #[default]
    Forever,
    /// As [`Cache::Forever`], but the kernel asks again after this long.
    For(Duration),
    /// Not at all: every call reaches the filesystem.
    None,
}

impl Cache {
    /// What keeps for `ttl`.
    pub(crate) fn lasting(ttl: Duration) -> Cache {
        match ttl {
            Duration::ZERO => Cache::None,
            ttl if ttl < Cache::Forever.ttl() => Cache::For(ttl),
            _ => Cache::Forever,
        }
    }

    /// The lifetime names and attributes are sent with.
    pub const fn ttl(self) -> Duration {
        match self {
            // The kernel clamps at some decades; this is 68 years.
            Cache::Forever => Duration::from_secs(i32::MAX as u64),
            Cache::For(ttl) => ttl,
            Cache::None => Duration::ZERO,
        }
    }

    /// Whether the kernel keeps anything.
    pub const fn is_none(self) -> bool {
        self.ttl().is_zero()
    }
}

/// A cache lifetime that could not be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is not a cache lifetime: expected forever, none, or a duration such as 500ms, 1s, 2m"
)]
pub struct CacheError(String);

impl FromStr for Cache {
    type Err = CacheError;

    /// `forever`, `none`, or a whole number with the unit `ms`, `s`, `m` or `h`.
    fn from_str(text: &str) -> Result<Cache, CacheError> {
        match text {
            "forever" => return Ok(Cache::Forever),
            "none" => return Ok(Cache::None),
            _ => {}
        }
        let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = &text[..text.len() - unit.len()];
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(CacheError(text.to_owned())),
        };
        let total = number.parse().ok().and_then(|n: u64| n.checked_mul(millis));
        let total = total.ok_or_else(|| CacheError(text.to_owned()))?;
        Ok(Cache::lasting(Duration::from_millis(total)))
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cache::Forever => f.write_str("forever"),
            Cache::None => f.write_str("none"),
            Cache::For(ttl) => write!(f, "{}ms", ttl.as_millis()),
        }
    }
}

impl TryFrom<String> for Cache {
    type Error = CacheError;

    fn try_from(text: String) -> Result<Cache, CacheError> {
        text.parse()
    }
}

impl From<Cache> for String {
    fn from(cache: Cache) -> String {
        cache.to_string()
    }
}

/// How requests travel between the kernel and the serving threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// [`Transport::Ring`] where the kernel offers it and io_uring may be used,
    /// [`Transport::Device`] otherwise.
    #[default]
    Auto,
    /// FUSE over io_uring, with a queue and a thread for each CPU. Linux 6.14 or later, with the
    /// parameter `enable_uring` of the module `fuse` set.
    Ring,
    /// Reading from and writing to the FUSE device.
    Device,
}

impl Transport {
    const NAMES: [(Transport, &str); 3] = [
        (Transport::Auto, "auto"),
        (Transport::Ring, "ring"),
        (Transport::Device, "device"),
    ];
}

/// A transport there is not.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a transport: expected auto, ring or device")]
pub struct TransportError(String);

impl FromStr for Transport {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Transport, TransportError> {
        let named = |(_, name): &&(Transport, &str)| *name == text;
        let found = Transport::NAMES.iter().find(named);
        found
            .map(|(transport, _)| *transport)
            .ok_or_else(|| TransportError(text.to_owned()))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_self = |(transport, _): &&(Transport, &str)| transport == self;
        let found = Transport::NAMES.iter().find(is_self);
        f.write_str(found.map_or("", |(_, name)| name))
    }
}

/// How the requests of a mount travel, and what that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carriage {
    /// Major and minor version of the kernel's side of the FUSE protocol.
    pub abi: (u32, u32),
    /// Which transport is in use: never [`Transport::Auto`].
    pub transport: Transport,
    /// Threads that take requests.
    pub threads: usize,
    /// Queues of the ring transport, one for each possible CPU; 0 for the device.
    pub queues: usize,
    /// Requests that each queue can have under way; 0 for the device.
    pub queue_depth: usize,
    /// Bytes of the largest read or write.
    pub max_io: u32,
}

/// The number of requests a queue of the ring transport has under way, if nothing else is asked
/// for.
pub const QUEUE_DEPTH: u16 = 8;

/// Bytes of the largest read or write, if nothing else is asked for.
pub const MAX_IO: u32 = 1 << 20;

/// Options of one mount.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// What `/proc/mounts` shows as the source.
    pub source_name: String,
    /// What the kernel may keep.
    pub cache: Cache,
    /// How requests travel.
    pub transport: Transport,
    /// Threads that take requests. `None`: for the device one per CPU, at least two; for the ring
    /// one for each CPU this process may use, which is the most there can be.
    pub threads: Option<usize>,
    /// Requests that each queue of the ring transport can have under way, at least one.
    pub queue_depth: u16,
    /// Bytes of the largest read or write: whole pages, at least one; the kernel may allow less.
    pub max_io: u32,
    /// Users other than the mounting one may enter. The default is whether the caller is root.
    pub allow_other: bool,
    /// The kernel refuses every change.
    pub read_only: bool,
    /// Set-user-id and set-group-id bits are honoured. Root only.
    pub suid: bool,
    /// Device files work. Root only.
    pub dev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
    /// Symbolic links are not followed. Root only, Linux 5.10.
    pub nosymfollow: bool,
    /// Extended attributes can be read and set. Without, the kernel asks for none, which it otherwise
    /// does before it writes to a file, or cuts it, that it knows little of.
    pub xattr: bool,
    /// Inodes may have POSIX access control lists, by which the kernel checks permissions and new inodes get theirs
    /// (`FUSE_POSIX_ACL`). Linux 5.13; needs `xattr`, [`Permissions::Kernel`](crate::fs::Permissions::Kernel), and a filesystem that keeps them
    /// ([`Fs::with_acls`](crate::fs::Fs::with_acls)).
    pub acl: bool,
    /// `statx` tells the time of birth. The first one of a file that asks for it costs a request, even
    /// where everything else is known from a listing.
    pub btime: bool,
    /// The kernel reads content that is in a file of a source from there by itself (`FUSE_PASSTHROUGH`). Root only,
    /// Linux 6.9, and only for a mount that is read-only.
    pub passthrough: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            source_name: "norefs".to_owned(),
            cache: Cache::default(),
            transport: Transport::default(),
            threads: None,
            queue_depth: QUEUE_DEPTH,
            max_io: MAX_IO,
            allow_other: rustix::process::geteuid().is_root(),
            read_only: false,
            suid: false,
            dev: false,
            noexec: false,
            nosymfollow: false,
            xattr: true,
            acl: false,
            btime: true,
            passthrough: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_lifetimes_are_read() {
        let ms = |n| Ok(Cache::For(Duration::from_millis(n)));
        assert_eq!("forever".parse(), Ok(Cache::Forever));
        assert_eq!("none".parse(), Ok(Cache::None));
        assert_eq!("0s".parse(), Ok(Cache::None));
        assert_eq!("500ms".parse(), ms(500));
        assert_eq!("1s".parse(), ms(1_000));
        assert_eq!("2m".parse(), ms(120_000));
        assert_eq!("1h".parse(), ms(3_600_000));
        assert_eq!("99999999999s".parse(), Ok(Cache::Forever));
    }

    #[test]
    fn a_cache_lifetime_is_read_as_it_is_written() {
        for cache in [
            Cache::Forever,
            Cache::None,
            Cache::For(Duration::from_millis(1500)),
        ] {
            assert_eq!(cache.to_string().parse(), Ok(cache));
            assert_eq!(Cache::lasting(cache.ttl()), cache);
        }
    }

    #[test]
    fn transports_are_read_as_they_are_written() {
        for (transport, name) in Transport::NAMES {
            assert_eq!(transport.to_string(), name);
            assert_eq!(name.parse(), Ok(transport));
        }
        for text in ["", "Ring", "uring", "ring "] {
            assert!(text.parse::<Transport>().is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_cache_lifetime() {
        for text in [
            "",
            "1",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "99999999999999999999s",
            "é",
        ] {
            assert!(text.parse::<Cache>().is_err(), "{text}");
        }
    }
}
