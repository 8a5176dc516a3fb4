//! Which mount options there are.

use super::MountOptions;
use crate::cli::near::did_you_mean;
use crate::cli::quantity;
use norefs::transport::Permissions;

type Switch = fn(&mut MountOptions);

const SWITCHES: &[(&str, Switch)] = &[
    ("ro", |options| options.read_only = true),
    ("rw", |options| options.read_only = false),
    ("suid", |options| options.suid = true),
    ("nosuid", |options| options.suid = false),
    ("dev", |options| options.dev = true),
    ("nodev", |options| options.dev = false),
    ("noexec", |options| options.noexec = true),
    ("exec", |options| options.noexec = false),
    ("nosymfollow", |options| options.nosymfollow = true),
    ("symfollow", |options| options.nosymfollow = false),
    ("nobtime", |options| options.no_btime = true),
    ("btime", |options| options.no_btime = false),
    ("noxattr", |options| options.no_xattr = true),
    ("xattr", |options| options.no_xattr = false),
    ("acl", |options| options.acl = true),
    ("noacl", |options| options.acl = false),
    ("passthrough", |options| options.passthrough = true),
    ("follow", |options| options.follow = true),
    ("nofollow", |options| options.follow = false),
    ("warm", |options| options.warm = Some(true)),
    ("nowarm", |options| options.warm = Some(false)),
    ("allow_other", |options| options.allow_other = true),
    ("remount", |options| options.remount = true),
];

/// An option with a value.
pub struct Value {
    name: &'static str,
    /// How it is written in a hint.
    hint: &'static str,
    /// What a value must be.
    pub expected: &'static str,
    /// Takes the value over; `None` if it makes no sense. The last argument: bytes a percentage is of.
    pub read: fn(&mut MountOptions, &str, u64) -> Option<()>,
}

const VALUES: &[Value] = &[
    Value {
        name: "size",
        hint: "N",
        expected: "a size such as 512m, 4g or 50%",
        read: |options, value, memory| keep(&mut options.size, quantity::size(value, memory)),
    },
    Value {
        name: "nr_blocks",
        hint: "N",
        expected: "a number of pages such as 1000 or 10k",
        read: |options, value, _| keep(&mut options.size, quantity::blocks(value)),
    },
    Value {
        name: "nr_inodes",
        hint: "N",
        expected: "a number such as 1000000 or 10m",
        read: |options, value, _| keep(&mut options.inodes, quantity::inodes(value)),
    },
    Value {
        name: "mode",
        hint: "MODE",
        expected: "an octal mode such as 0755",
        read: |options, value, _| keep(&mut options.mode, quantity::mode(value)),
    },
    Value {
        name: "uid",
        hint: "N",
        expected: "a numeric user id",
        read: |options, value, _| keep(&mut options.uid, quantity::id(value)),
    },
    Value {
        name: "gid",
        hint: "N",
        expected: "a numeric group id",
        read: |options, value, _| keep(&mut options.gid, quantity::id(value)),
    },
    Value {
        name: "fsname",
        hint: "NAME",
        expected: "a name",
        read: |options, value, _| keep(&mut options.fsname, Some(value.to_owned())),
    },
    Value {
        name: "cache",
        hint: "forever",
        expected: "forever, none or a duration",
        read: |options, value, _| keep(&mut options.cache, value.parse().ok()),
    },
    Value {
        name: "transport",
        hint: "auto",
        expected: "auto, ring or device",
        read: |options, value, _| keep(&mut options.transport, value.parse().ok()),
    },
    Value {
        name: "permissions",
        hint: "daemon",
        expected: "kernel or daemon",
        read: |options, value, _| {
            options.permissions = match value {
                "kernel" => Permissions::Kernel,
                "daemon" => Permissions::Daemon,
                _ => return None,
            };
            Some(())
        },
    },
];

fn keep<T>(place: &mut Option<T>, read: Option<T>) -> Option<()> {
    *place = Some(read?);
    Some(())
}

/// What a remount may say: it changes these, or does nothing about them, as tmpfs does.
const FOR_REMOUNT: &[&str] = &[
    "ro",
    "rw",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "symfollow",
    "nosymfollow",
    "size",
    "nr_blocks",
    "nr_inodes",
    "remount",
    "mode",
    "uid",
    "gid",
];

/// What means something to mount(8) and fstab(5) alone, besides what begins with `x-`.
const FOR_MOUNT8: &[&str] = &[
    "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
    "group", "nogroup", "nofail", "_netdev", "comment",
];

/// What means nothing in memory, and what the kernel shows of every FUSE mount, which a remount brings along.
const IGNORED: &[&str] = &[
    "sync",
    "async",
    "dirsync",
    "silent",
    "loud",
    "mand",
    "nomand",
    "iversion",
    "noiversion",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "lazytime",
    "nolazytime",
    "user_id",
    "group_id",
    "default_permissions",
    "max_read",
];

const OF_SELINUX: &[&str] = &["context", "fscontext", "defcontext", "rootcontext"];

pub fn switch(name: &str) -> Option<Switch> {
    let found = SWITCHES.iter().find(|(known, _)| *known == name);
    found.map(|(_, switch)| *switch)
}

pub fn value(name: &str) -> Option<&'static Value> {
    VALUES.iter().find(|value| value.name == name)
}

pub fn is_for_remount(name: &str) -> bool {
    FOR_REMOUNT.contains(&name)
}

pub fn is_for_mount8(name: &str) -> bool {
    FOR_MOUNT8.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

pub fn is_ignored(name: &str) -> bool {
    IGNORED.contains(&name)
}

pub fn is_of_selinux(name: &str) -> bool {
    OF_SELINUX.contains(&name)
}

/// Why `option`, of this name, is refused.
pub fn not_known(name: &str, option: &str) -> String {
    if let Some(Value { hint, .. }) = value(name) {
        return format!("mount option {option} needs a value: {name}={hint}");
    }
    if switch(name).is_some() {
        return format!("mount option {name} takes no value");
    }
    let switches = SWITCHES.iter().map(|(name, _)| *name);
    let values = VALUES.iter().map(|value| value.name);
    let others = [FOR_MOUNT8, IGNORED, OF_SELINUX].concat();
    let known = switches.chain(values).chain(others);
    format!("unknown mount option {name}{}", did_you_mean(name, known))
}
