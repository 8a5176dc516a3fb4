//! The `-o` list of a mount.

mod known;

use super::fail::Failure;
use norefs::transport::{Cache, Permissions, Transport};

/// What `-o` asks for; `None` where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    pub read_only: bool,
    pub suid: bool,
    pub dev: bool,
    pub noexec: bool,
    pub nosymfollow: bool,
    pub no_btime: bool,
    pub no_xattr: bool,
    pub acl: bool,
    pub passthrough: bool,
    /// What changes in the source is seen in the mount.
    pub follow: bool,
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
    /// Whether the kernel's caches are filled.
    pub warm: Option<bool>,
    /// The source that the mount table shows.
    pub fsname: Option<String>,
    /// A live mount is to be changed.
    pub remount: bool,
    /// What cannot be changed of a live mount, as it was given.
    pub fixed: Vec<String>,
    /// The last option that means something to mount(8) and fstab(5) alone.
    pub for_mount8: Option<String>,
    /// The last option that SELinux alone understands.
    pub of_selinux: Option<String>,
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
        for option in lists.iter().flat_map(|list| options_in(list)) {
            if !option.is_empty() {
                self.apply(option, memory)?;
            }
        }
        Ok(self)
    }

    fn apply(&mut self, option: &str, memory: u64) -> Result<(), Failure> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        if let (Some(set), Some(value)) = (known::value(name), value) {
            (set.read)(self, value, memory).ok_or_else(|| {
                let expected = set.expected;
                Failure::usage(format!("option {name}: `{value}` is not {expected}"))
            })?;
            self.sort(name, option);
        } else if let (Some(switch), None) = (known::switch(name), value) {
            switch(self);
            self.sort(name, option);
        } else if known::is_for_mount8(name) {
            self.for_mount8 = Some(option.to_owned());
        } else if known::is_of_selinux(name) {
            self.of_selinux = Some(option.to_owned());
        } else if !known::is_ignored(name) && !self.sloppy {
            return Err(Failure::usage(known::not_known(name, option)));
        }
        Ok(())
    }

    /// Keeps what a live mount cannot change.
    fn sort(&mut self, name: &str, option: &str) {
        if !known::is_for_remount(name) {
            self.fixed.push(option.to_owned());
        }
    }
}

/// The options in a comma list. A value in quotes may have commas, as SELinux contexts do.
fn options_in(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
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
        let list = "ro,suid,dev,noexec,nosymfollow,nobtime,noxattr,acl,passthrough,warm,allow_other,size=2g,nr_inodes=10k,mode=1777,uid=7,gid=8,cache=1s,\
             transport=ring,permissions=daemon";
        let expected = MountOptions {
            read_only: true,
            suid: true,
            dev: true,
            noexec: true,
            nosymfollow: true,
            no_btime: true,
            no_xattr: true,
            acl: true,
            passthrough: true,
            warm: Some(true),
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
                "warm",
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
            "ro,noexec,nosymfollow,symfollow,nobtime,btime,noxattr,xattr,acl,noacl,suid,dev,rw,exec,nosuid,nodev,size=1,size=2,nr_blocks=2",
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
                    comment=c,x-gvfs-name=a=b,noatime,relatime,strictatime,user_id=0,default_permissions,,\
                    nouser,owner,group,X-mount.mkdir=0700,lazytime,sync,dirsync,mand,nomand,iversion,silent,loud,\
                    context=\"system_u:object_r:tmp_t:s0:c1,c2\",rootcontext=x";
        let expected = MountOptions {
            of_selinux: Some("rootcontext=x".to_owned()),
            for_mount8: Some("X-mount.mkdir=0700".to_owned()),
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
            "wobbleatime",
            "nosymfolow",
        ];
        for option in bad {
            assert!(parse(option).is_err(), "{option}");
        }
    }

    #[test]
    fn a_near_miss_is_answered_with_what_was_meant() {
        let said = |option: &str| format!("{:?}", parse(option).unwrap_err());
        for (option, expected) in [
            (
                "nosuied",
                "unknown mount option nosuied: did you mean nosuid?",
            ),
            ("nosymfolow", ": did you mean nosymfollow?"),
            ("siez=1g", "unknown mount option siez: did you mean size?"),
            ("nofial", ": did you mean nofail?"),
            ("rleatime", ": did you mean relatime?"),
            ("size", "mount option size needs a value: size=N"),
            ("ro=1", "mount option ro takes no value"),
            ("wobble", "unknown mount option wobble\""),
        ] {
            assert!(said(option).contains(expected), "{}", said(option));
        }
    }
}
