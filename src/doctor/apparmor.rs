//! The profile that AppArmor has for fusermount3 from Ubuntu 24.10 on: it mounts only at places that the profile names.

use super::machine::is_below;
use super::{Finding, Machine};
use crate::transport::session::fusermount;
use rustix::process::{geteuid, getuid};
use std::path::Path;

const TOPIC: &str = "apparmor";
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
const PROFILE: &str = "/etc/apparmor.d/fusermount3";
const DISABLED: &str = "/etc/apparmor.d/disable/fusermount3";
const LOCAL: &str = "/etc/apparmor.d/local/fusermount3";
/// What the profile is for. A program of the name that lies elsewhere is not held by it.
const CONFINED: &str = "/usr/bin/fusermount3";

/// Whether the profile is in force and keeps this user from mounting at `path`.
pub fn confines(machine: &Machine, path: &Path) -> bool {
    is_in_force(machine) && !geteuid().is_root() && is_used() && !allows(machine, path)
}

/// Whether what mounts for this user is what the profile is for.
fn is_used() -> bool {
    let used = fusermount::chosen().and_then(|one| one.path.canonicalize().ok());
    used.is_none_or(|path| path == Path::new(CONFINED))
}

fn is_in_force(machine: &Machine) -> bool {
    // Only root may read which are loaded.
    match machine.says(LOADED) {
        Some(loaded) => {
            let mut names = loaded.lines().map(|line| line.trim_end());
            names.any(|line| line.starts_with("fusermount3 ") && line.ends_with("(enforce)"))
        }
        None => machine.is(ENABLED, "Y") && machine.has(PROFILE) && !machine.has(DISABLED),
    }
}

/// Whether the profile, with what this machine has added to it, lets fusermount3 mount at `path`.
fn allows(machine: &Machine, path: &Path) -> bool {
    let user = format!("/run/user/{}", getuid().as_raw());
    let home = path
        .strip_prefix("/home")
        .is_ok_and(|rest| rest.components().count() > 1);
    home || path == Path::new("/mnt")
        || ["/root", "/mnt", "/media", "/tmp", &user]
            .iter()
            .any(|above| is_below(path, above))
        || added(machine).iter().any(|above| path.starts_with(above))
}

/// The directories that lines such as `mount ... -> /srv/{,**/},` of the local file begin with.
fn added(machine: &Machine) -> Vec<String> {
    let text = machine.says(LOCAL).unwrap_or_default();
    let rules = text
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("mount"));
    let places = rules.filter_map(|line| Some(line.split_once("->")?.1.trim()));
    let fixed = places.map(|place| place.trim_matches('"').split(['{', '*', ',']).next());
    fixed
        .flatten()
        .filter(|place| place.len() > 1 && place.starts_with('/'))
        .map(|place| place.trim_end_matches('/').to_owned())
        .collect()
}

pub(super) fn profile(machine: &Machine, place: Option<&Path>) -> Finding {
    if !is_in_force(machine) {
        return Finding::ok(TOPIC, "no profile of fusermount3 is in force");
    }
    let temporary = std::env::temp_dir();
    let place = place.map_or(temporary.as_path(), |place| place);
    match confines(machine, place) {
        true => {
            let says = format!(
                "its profile of fusermount3 forbids mounting at {}",
                place.display()
            );
            Finding::note(TOPIC, says, advice(place))
        }
        false => Finding::ok(
            TOPIC,
            "its profile of fusermount3 allows mount points below home directories, /mnt, /media, /tmp and /run/user",
        ),
    }
}

/// What to do about a mount at `path` of which fusermount3 `said` that it was denied, if it was the profile that did.
pub(super) fn cure(machine: &Machine, path: &Path, said: &str) -> Option<String> {
    (said.contains("Permission denied") && confines(machine, path)).then(|| advice(path))
}

fn advice(path: &Path) -> String {
    let place = path.display();
    format!(
        "AppArmor lets fusermount3 mount only below home directories, /mnt, /media, /tmp and /run/user/{}: mount there, or have root put \
         `mount fstype=@{{fuse_types}} options=(nosuid,nodev) options in (ro,rw,noatime,dirsync,nodiratime,noexec,sync) -> {place}/{{,**/}},` \
         and `umount {place}/{{,**/}},` into {LOCAL} and run apparmor_parser -r {PROFILE}",
        getuid().as_raw(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::machine::testing::with;
    use super::*;

    #[test]
    fn the_profile_allows_what_it_names_and_what_was_added() {
        let local = "# mine\nmount fstype=@{fuse_types} options=(nosuid,nodev) -> /srv/{,**/},\n\
                     umount /srv/{,**/},\nmount -> \"/data/x/**/\",\nmount -> @{HOME},\nmount -> /**,\n";
        let (_dir, machine) = with(&[(LOCAL, local)]);
        for allowed in [
            "/home/me/a",
            "/root/a",
            "/mnt",
            "/mnt/a/b",
            "/media/a",
            "/tmp/a",
            "/srv",
            "/srv/a",
            "/data/x/y",
        ] {
            assert!(allows(&machine, Path::new(allowed)), "{allowed}");
        }
        for denied in [
            "/home/me",
            "/root",
            "/media",
            "/tmp",
            "/run/user/4711/a",
            "/var/tmp/a",
            "/data",
            "/dev/shm/a",
            "/srvx",
        ] {
            assert!(!allows(&machine, Path::new(denied)), "{denied}");
        }
    }

    #[test]
    fn the_profile_is_in_force_where_it_is_loaded_or_seems_to_be() {
        let in_force = |files: &[(&str, &str)]| is_in_force(&with(files).1);
        let _kept = with(&[]);
        let (on, there) = ((ENABLED, "Y\n"), (PROFILE, "profile fusermount3 {}"));
        assert!(!in_force(&[]));
        assert!(!in_force(&[on]));
        assert!(!in_force(&[there, (ENABLED, "N\n")]));
    }

    #[test]
    fn what_is_loaded_counts_where_that_can_be_read() {
        let (on, there) = ((ENABLED, "Y\n"), (PROFILE, "profile fusermount3 {}"));
        let (_dir, machine) = with(&[on, there]);
        assert!(is_in_force(&machine));
        let (_dir, machine) = with(&[on, there, (DISABLED, "")]);
        assert!(!is_in_force(&machine));
        let (_dir, machine) = with(&[on, there, (LOADED, "man_filter (enforce)\n")]);
        assert!(!is_in_force(&machine));
        let (_dir, machine) = with(&[(LOADED, "fusermount3 (enforce)\nx (complain)\n")]);
        assert!(is_in_force(&machine));
        let (_dir, machine) = with(&[(LOADED, "fusermount3 (complain)\n")]);
        assert!(!is_in_force(&machine));
    }
}
