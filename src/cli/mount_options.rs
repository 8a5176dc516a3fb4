//! The `-o` list of a mount.

use super::fail::Failure;
use norefs::transport::{Cache, Permissions, Transport};

/// What `-o` asks for; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    pub read_only: bool,
    pub suid: bool,
    pub dev: bool,
    pub noexec: bool,
    pub no_btime: bool,
    pub no_xattr: bool,
    pub acl: bool,
    pub passthrough: bool,
    pub allow_other: bool,
    /// Bytes of file data; `u64::MAX`: no limit.
    pub size: Option<u64>,
    pub inodes: Option<u64>,
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub cache: Option<Cache>,
    pub transport: Option<Transport>,
    pub permissions: Permissions,
}

impl MountOptions {
    /// Reads comma lists in order; a later option overrides an earlier one. `memory`: bytes a
    /// percentage is of.
    pub fn parse(lists: &[String], memory: u64) -> Result<MountOptions, Failure> {
        let mut options = MountOptions::default();
        for option in lists.iter().flat_map(|list| list.split(',')) {
            if !option.is_empty() {
                options.apply(option, memory)?;
            }
        }
        Ok(options)
    }

    fn apply(&mut self, option: &str, memory: u64) -> Result<(), Failure> {
        match option.split_once('=') {
            Some((name, value)) => self.set(name, value, memory).map_err(|expected| {
                Failure::usage(format!("option {name}: `{value}` is not {expected}"))
            })?,
            None => self.switch(option),
        }
        .then_some(())
        .ok_or_else(|| Failure::usage(format!("unknown mount option `{option}`")))
    }

    /// False if there is no such option.
    fn switch(&mut self, name: &str) -> bool {
        match name {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "suid" => self.suid = true,
            "nosuid" => self.suid = false,
            "dev" => self.dev = true,
            "nodev" => self.dev = false,
            "noexec" => self.noexec = true,
            "exec" => self.noexec = false,
            "nobtime" => self.no_btime = true,
            "btime" => self.no_btime = false,
            "noxattr" => self.no_xattr = true,
            "xattr" => self.no_xattr = false,
            "acl" => self.acl = true,
            "noacl" => self.acl = false,
            "passthrough" => self.passthrough = true,
            "allow_other" => self.allow_other = true,
            _ => return is_ignored(name),
        }
        true
    }

    /// False if there is no such option; what was expected if the value makes no sense.
    fn set(&mut self, name: &str, value: &str, memory: u64) -> Result<bool, &'static str> {
        match name {
            "size" => {
                let size = parse_size(value, memory);
                self.size = Some(size.ok_or("a size such as 512m, 4g or 50%")?);
            }
            "nr_inodes" => {
                let inodes = parse_count(value);
                self.inodes = Some(inodes.ok_or("a number such as 1000000 or 10m")?);
            }
            "mode" => {
                let mode = u16::from_str_radix(value, 8).ok();
                let mode = mode.filter(|mode| *mode <= 0o7777);
                self.mode = Some(mode.ok_or("an octal mode such as 0755")?);
            }
            "uid" => self.uid = Some(parse_id(value).ok_or("a numeric user id")?),
            "gid" => self.gid = Some(parse_id(value).ok_or("a numeric group id")?),
            "cache" => {
                let cache = value.parse().map_err(|_| "forever, none or a duration")?;
                self.cache = Some(cache);
            }
            "transport" => {
                let transport = value.parse().map_err(|_| "auto, ring or device")?;
                self.transport = Some(transport);
            }
            "permissions" => {
                self.permissions = match value {
                    "kernel" => Permissions::Kernel,
                    "daemon" => Permissions::Daemon,
                    _ => return Err("kernel or daemon"),
                };
            }
            _ => return Ok(is_ignored(name)),
        }
        Ok(true)
    }
}

/// Options that mean something to mount(8) and fstab alone, or nothing in memory.
fn is_ignored(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "nofail",
        "_netdev",
        "comment",
        "sync",
        "async",
        "dirsync",
        "silent",
        "loud",
        "nodiratime",
        "diratime",
        "lazytime",
        "nolazytime",
    ];
    WORDS.contains(&name) || name.starts_with("x-") || name.ends_with("atime")
}

/// `None` if `text` is no size; 0 means no limit, as tmpfs has it.
pub fn parse_size(text: &str, memory: u64) -> Option<u64> {
    let bytes = match text.strip_suffix('%') {
        Some(percent) => {
            let share = u128::from(memory) * u128::from(percent.parse::<u64>().ok()?) / 100;
            u64::try_from(share).ok()?
        }
        None => parse_count(text)?,
    };
    Some(unlimited_if_zero(bytes))
}

/// `None` if `text` is no number with an optional suffix k, m, g or t for powers of 1024; 0 means no limit.
pub fn parse_count(text: &str) -> Option<u64> {
    let shift = match text.bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(shift > 0)];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(unlimited_if_zero(number.checked_mul(1 << shift)?))
}

/// A user or group id. The largest number of 32 bits is none: to the kernel it means "leave it alone".
fn parse_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn unlimited_if_zero(number: u64) -> u64 {
    if number == 0 { u64::MAX } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MEMORY: u64 = 8 << 30;

    fn parse(list: &str) -> Result<MountOptions, Failure> {
        MountOptions::parse(&[list.to_owned()], MEMORY)
    }

    #[test]
    fn every_option_is_understood() {
        let list = "ro,suid,dev,noexec,nobtime,noxattr,acl,passthrough,allow_other,size=2g,nr_inodes=10k,mode=1777,uid=7,gid=8,cache=1s,\
             transport=ring,permissions=daemon";
        let expected = MountOptions {
            read_only: true,
            suid: true,
            dev: true,
            noexec: true,
            no_btime: true,
            no_xattr: true,
            acl: true,
            passthrough: true,
            allow_other: true,
            size: Some(2 << 30),
            inodes: Some(10 << 10),
            mode: Some(0o1777),
            uid: Some(7),
            gid: Some(8),
            cache: Some(Cache::For(Duration::from_secs(1))),
            transport: Some(Transport::Ring),
            permissions: Permissions::Daemon,
        };
        assert_eq!(parse(list).unwrap(), expected);
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let options = parse(
            "ro,noexec,nobtime,btime,noxattr,xattr,acl,noacl,suid,dev,rw,exec,nosuid,nodev,size=1,size=2",
        )
        .unwrap();
        let expected = MountOptions {
            size: Some(2),
            ..MountOptions::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn options_of_mount_and_fstab_are_dropped() {
        let list = "defaults,auto,noauto,user,user=x,users,nofail,_netdev,x-systemd.automount,\
                    x-gvfs-name=a=b,comment=c,noatime,relatime,strictatime,,";
        assert_eq!(parse(list).unwrap(), MountOptions::default());
    }

    #[test]
    fn sizes_are_read_in_all_units() {
        let size = |text: &str| parse_size(text, MEMORY);
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("1K"), Some(1 << 10));
        assert_eq!(size("3m"), Some(3 << 20));
        assert_eq!(size("1t"), Some(1 << 40));
        assert_eq!(size("25%"), Some(2 << 30));
        assert_eq!(size("0"), Some(u64::MAX));
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = [
            "wobble",
            "size",
            "size=",
            "size=x",
            "size=1.5g",
            "size=-1",
            "size=+1",
            "size=%",
            "size=99999999999999999999",
            "size=99999999999t",
            "nr_inodes=5%",
            "mode=8",
            "mode=10000",
            "uid=root",
            "gid=-1",
            "uid=4294967295",
            "cache=soon",
            "transport=pigeon",
            "permissions",
            "permissions=nobody",
            "ro=1",
            "size=é",
        ];
        for option in bad {
            assert!(parse(option).is_err(), "{option}");
        }
    }
}
