//! The `-o` list of a mount.

use super::fail::Failure;
use super::quantity;
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
    /// The source that the mount table shows.
    pub fsname: Option<String>,
    /// A live mount is to be changed.
    pub remount: bool,
    /// What cannot be changed of a live mount, as it was given.
    pub fixed: Vec<String>,
    /// The last option that means something to mount(8) and fstab(5) alone.
    pub for_mount8: Option<String>,
    /// Unknown options are dropped.
    pub sloppy: bool,
}

impl MountOptions {
    /// Reads comma lists in order; a later option overrides an earlier one. `memory`: bytes a
    /// percentage is of.
    pub fn parse(lists: &[String], memory: u64) -> Result<MountOptions, Failure> {
        MountOptions::default().then(lists, memory)
    }

    /// As [`MountOptions::parse`], where these options are in force before.
    pub fn then(mut self, lists: &[String], memory: u64) -> Result<MountOptions, Failure> {
        for option in lists.iter().flat_map(|list| list.split(',')) {
            if !option.is_empty() {
                self.apply(option, memory)?;
            }
        }
        Ok(self)
    }

    fn apply(&mut self, option: &str, memory: u64) -> Result<(), Failure> {
        let (name, known) = match option.split_once('=') {
            Some((name, value)) => {
                let known = self.set(name, value, memory).map_err(|expected| {
                    Failure::usage(format!("option {name}: `{value}` is not {expected}"))
                })?;
                (name, known)
            }
            None => (option, self.switch(option)),
        };
        match known {
            true => self.sort(name, option),
            false if is_for_mount8(name) => self.for_mount8 = Some(option.to_owned()),
            false if is_ignored(name) || self.sloppy => {}
            false => return Err(Failure::usage(format!("unknown mount option `{option}`"))),
        }
        Ok(())
    }

    /// Keeps what a live mount cannot change.
    fn sort(&mut self, name: &str, option: &str) {
        const CHANGEABLE: &[&str] = &[
            "ro",
            "rw",
            "suid",
            "nosuid",
            "dev",
            "nodev",
            "exec",
            "noexec",
            "size",
            "nr_blocks",
            "nr_inodes",
            "remount",
        ];
        // tmpfs reads these on a remount and does nothing about them.
        const OF_ROOT: &[&str] = &["mode", "uid", "gid"];
        if !CHANGEABLE.contains(&name) && !OF_ROOT.contains(&name) {
            self.fixed.push(option.to_owned());
        }
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
            "remount" => self.remount = true,
            _ => return false,
        }
        true
    }

    /// False if there is no such option; what was expected if the value makes no sense.
    fn set(&mut self, name: &str, value: &str, memory: u64) -> Result<bool, &'static str> {
        match name {
            "size" => {
                let size = quantity::size(value, memory);
                self.size = Some(size.ok_or("a size such as 512m, 4g or 50%")?);
            }
            "nr_blocks" => {
                let size = quantity::blocks(value);
                self.size = Some(size.ok_or("a number of pages such as 1000 or 10k")?);
            }
            "nr_inodes" => {
                let inodes = quantity::inodes(value);
                self.inodes = Some(inodes.ok_or("a number such as 1000000 or 10m")?);
            }
            "mode" => {
                let mode = quantity::mode(value);
                self.mode = Some(mode.ok_or("an octal mode such as 0755")?);
            }
            "uid" => self.uid = Some(quantity::id(value).ok_or("a numeric user id")?),
            "gid" => self.gid = Some(quantity::id(value).ok_or("a numeric group id")?),
            "fsname" => self.fsname = Some(value.to_owned()),
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
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Options that mean something to mount(8) and fstab(5) alone.
fn is_for_mount8(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail",
        "_netdev", "comment",
    ];
    WORDS.contains(&name) || name.starts_with("x-")
}

/// Options that mean nothing in memory, and those the kernel shows of every FUSE mount, which a remount brings along.
fn is_ignored(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "sync",
        "async",
        "dirsync",
        "silent",
        "loud",
        "nodiratime",
        "diratime",
        "lazytime",
        "nolazytime",
        "user_id",
        "group_id",
        "default_permissions",
        "max_read",
    ];
    WORDS.contains(&name) || name.ends_with("atime")
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
            fixed: [
                "nobtime",
                "noxattr",
                "acl",
                "passthrough",
                "allow_other",
                "cache=1s",
                "transport=ring",
                "permissions=daemon",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..MountOptions::default()
        };
        assert_eq!(parse(list).unwrap(), expected);
    }

    #[test]
    fn the_last_of_two_opposites_counts() {
        let options = parse(
            "ro,noexec,nobtime,btime,noxattr,xattr,acl,noacl,suid,dev,rw,exec,nosuid,nodev,size=1,size=2,nr_blocks=2",
        )
        .unwrap();
        let expected = MountOptions {
            size: Some(8192),
            fixed: ["nobtime", "btime", "noxattr", "xattr", "acl", "noacl"]
                .map(str::to_owned)
                .to_vec(),
            ..MountOptions::default()
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn options_after_others_change_what_was_in_force() {
        let before = MountOptions {
            suid: true,
            dev: true,
            ..MountOptions::default()
        };
        let options = before.then(&["nosuid,remount".to_owned()], MEMORY).unwrap();
        assert_eq!(
            (options.suid, options.dev, options.remount),
            (false, true, true)
        );
    }

    #[test]
    fn options_of_mount_and_fstab_are_dropped() {
        let list = "defaults,auto,noauto,user,user=x,users,nofail,_netdev,x-systemd.automount,\
                    comment=c,x-gvfs-name=a=b,noatime,relatime,strictatime,user_id=0,default_permissions,,";
        let expected = MountOptions {
            for_mount8: Some("x-gvfs-name=a=b".to_owned()),
            ..MountOptions::default()
        };
        assert_eq!(parse(list).unwrap(), expected);
    }

    #[test]
    fn unknown_options_are_dropped_if_asked() {
        let sloppy = MountOptions {
            sloppy: true,
            ..MountOptions::default()
        };
        let list = |list: &str| sloppy.clone().then(&[list.to_owned()], MEMORY);
        assert_eq!(list("wobble,wobble=5").unwrap(), sloppy);
        assert!(list("size=x").is_err());
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
            "nr_blocks=5%",
            "nr_inodes=5%",
            "mode=8",
            "mode=u+x",
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
