//! Who uses a mount, as far as this user may see. The mount is not asked.

use norefs::transport::session::table::{self, MountEntry};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How many users are named.
const NAMED: usize = 4;
/// How long to look: a process may keep whoever looks at it waiting.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most characters of a process's name.
const NAME_LIMIT: usize = 32;

/// Who uses `mount`, in words that follow "in use", or nothing if nobody is seen.
pub fn of(mount: &MountEntry) -> String {
    let below = table::read().unwrap_or_default();
    let below = below.iter().filter(|entry| entry.parent == mount.id);
    let mut users: Vec<String> = processes(mount.device)
        .into_iter()
        .map(|(pid, name)| format!("{name} ({pid})"))
        .collect();
    users.extend(below.map(|entry| format!("the mount at {}", entry.mount_point.display())));
    let mut words = String::new();
    for (index, user) in users.iter().take(NAMED).enumerate() {
        let before = if index == 0 { " by " } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(words, "{before}{user}");
    }
    if users.len() > NAMED {
        let _ = write!(words, " and {} more", users.len() - NAMED);
    }
    words
}

/// Whether a process that may be seen uses the filesystem with this device number.
pub fn are_there(device: (u32, u32)) -> bool {
    !processes(device).is_empty()
}

/// The processes that use the filesystem with this device number, with their names.
fn processes(device: (u32, u32)) -> Vec<(u32, String)> {
    let (tell, told) = mpsc::channel();
    let look = move || {
        for pid in pids() {
            let process = Path::new("/proc").join(pid.to_string());
            if uses(&process, device) && tell.send((pid, name(&process))).is_err() {
                return;
            }
        }
    };
    let mut users = Vec::new();
    if std::thread::Builder::new().spawn(look).is_ok() {
        let until = std::time::Instant::now() + PATIENCE;
        let left = || until.saturating_duration_since(std::time::Instant::now());
        while let Ok(user) = told.recv_timeout(left()) {
            users.push(user);
        }
    }
    users
}

fn pids() -> Vec<u32> {
    let own = std::process::id();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|pid| *pid != own).collect()
}

fn name(process: &Path) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    let shown = name.trim_end().chars().take(NAME_LIMIT);
    shown
        .map(|character| {
            if character.is_control() {
                '?'
            } else {
                character
            }
        })
        .collect()
}

/// Whether a process has a directory, a file or a map of the filesystem.
fn uses(process: &Path, device: (u32, u32)) -> bool {
    let links = ["cwd", "root", "exe"].map(|link| process.join(link));
    let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
    let open = open.flatten().map(|entry| entry.path());
    links
        .into_iter()
        .chain(open)
        .any(|link| is_on(&link, device))
        || maps(process, device)
}

/// Whether `link` leads to the filesystem: the kernel tells that much by itself.
fn is_on(link: &PathBuf, device: (u32, u32)) -> bool {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let seen = statx(CWD, link, flags, StatxFlags::empty());
    seen.is_ok_and(|seen| (seen.stx_dev_major, seen.stx_dev_minor) == device)
}

fn maps(process: &Path, (major, minor): (u32, u32)) -> bool {
    let maps = std::fs::read_to_string(process.join("maps")).unwrap_or_default();
    let device = format!("{major:02x}:{minor:02x}");
    maps.lines()
        .any(|line| line.split_ascii_whitespace().nth(3) == Some(&device))
}
