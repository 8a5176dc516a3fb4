//! The kernel, its FUSE device, and FUSE over io_uring.

use super::{Finding, Machine};
use rustix::io::Errno;
use std::fs::File;
use std::io;

const DEVICE: &str = "/dev/fuse";
const RING: &str = "/sys/module/fuse/parameters/enable_uring";
const FORBIDDEN: &str = "/proc/sys/kernel/io_uring_disabled";
/// The oldest kernel on which norefs mounts.
const OLDEST: (u32, u32) = (5, 6);

pub(super) fn release(machine: &Machine) -> Finding {
    let says = machine.says("/proc/sys/kernel/osrelease");
    let release = says.unwrap_or_else(|| {
        let uname = rustix::system::uname();
        uname.release().to_string_lossy().into_owned()
    });
    let says = format!("Linux {release}");
    match version(&release) {
        Some(version) if version < OLDEST => {
            let cure = "norefs needs Linux 5.6 or later";
            Finding::fail("kernel", says, Some(cure.to_owned()))
        }
        _ => Finding::ok("kernel", says),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}

pub(super) fn device(machine: &Machine) -> Finding {
    let path = machine.path(DEVICE);
    match File::options().read(true).write(true).open(path) {
        Ok(_) => Finding::ok("device", format!("{DEVICE} opens")),
        Err(error) => {
            let cure = device_cure(&error).to_owned();
            Finding::fail("device", format!("{DEVICE}: {error}"), Some(cure))
        }
    }
}

pub(super) fn device_cure(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => "chmod 0666 /dev/fuse, as udev does, or be root",
        Some(Errno::PERM) => "a container needs --device /dev/fuse",
        _ => "modprobe fuse; a container needs --device /dev/fuse",
    }
}

pub(super) fn is_ring_off(machine: &Machine) -> bool {
    let says = machine.says(RING);
    says.is_some_and(|says| says.starts_with('N'))
}

/// How FUSE over io_uring is switched on, and stays so after the next boot.
pub(super) fn keep_ring(machine: &Machine) -> &'static str {
    match is_built_in(machine) {
        true => {
            "echo Y >/sys/module/fuse/parameters/enable_uring, and fuse.enable_uring=1 on the command line of the kernel keeps it so"
        }
        false => {
            "echo Y >/sys/module/fuse/parameters/enable_uring, and \
             echo options fuse enable_uring=1 >/etc/modprobe.d/norefs.conf keeps it so"
        }
    }
}

fn is_built_in(machine: &Machine) -> bool {
    let release = machine.says("/proc/sys/kernel/osrelease");
    let list = format!(
        "/lib/modules/{}/modules.builtin",
        release.unwrap_or_default()
    );
    let list = machine.says(&list).unwrap_or_default();
    list.lines().any(|line| line.ends_with("/fuse.ko"))
}

pub(super) fn ring(machine: &Machine) -> Finding {
    let note = |says: &str, cure: &str| Finding::note("ring", says, cure);
    let forbidden = machine.says(FORBIDDEN).unwrap_or_default();
    match machine.says(RING).as_deref() {
        None => note(
            "the kernel has no FUSE over io_uring: requests travel through the device",
            "Linux 6.14 has it, where it is built with CONFIG_FUSE_IO_URING",
        ),
        Some(says) if says.starts_with('N') => note(
            "FUSE over io_uring is off: requests travel through the device",
            keep_ring(machine),
        ),
        Some(_) if forbidden == "2" || forbidden == "1" => note(
            "io_uring is forbidden: requests travel through the device",
            "sysctl kernel.io_uring_disabled=0",
        ),
        Some(_) if !is_kept(machine) => note(
            "FUSE over io_uring is on, until the next boot",
            keep_ring(machine),
        ),
        Some(_) => Finding::ok("ring", "FUSE over io_uring is on"),
    }
}

/// Whether something says that FUSE over io_uring is to be on after the next boot.
fn is_kept(machine: &Machine) -> bool {
    let line = machine.says("/proc/cmdline").unwrap_or_default();
    let on = |word: &str| {
        ["enable_uring=1", "enable_uring=Y", "enable_uring=y"]
            .iter()
            .any(|on| word.ends_with(on))
    };
    let by_kernel = line
        .split_whitespace()
        .any(|word| word.starts_with("fuse.") && on(word));
    let files = ["/etc/modprobe.d", "/usr/lib/modprobe.d", "/run/modprobe.d"]
        .map(|directory| machine.all_in(directory, ".conf"));
    let by_file = files
        .iter()
        .flatten()
        .flat_map(|text| text.lines())
        .any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("options") && words.next() == Some("fuse") && words.any(on)
        });
    let temporary = ["/etc/tmpfiles.d", "/usr/lib/tmpfiles.d", "/run/tmpfiles.d"]
        .map(|directory| machine.all_in(directory, ".conf"));
    let by_temporary = temporary
        .iter()
        .flatten()
        .flat_map(|text| text.lines())
        .any(|line| line.starts_with('w') && line.contains(RING));
    by_kernel || by_file || by_temporary
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::machine::testing::with;
    use super::*;

    const RELEASE: (&str, &str) = ("/proc/sys/kernel/osrelease", "6.18.4-x\n");

    #[test]
    fn releases_are_read_and_old_ones_refused() {
        for (release, verdict) in [
            ("5.5.19", Verdict::Fail),
            ("4.19.0-27-amd64", Verdict::Fail),
            ("5.6.0", Verdict::Ok),
            ("6.18.44-fc-v595", Verdict::Ok),
            ("unknown", Verdict::Ok),
        ] {
            let (_dir, machine) = with(&[("/proc/sys/kernel/osrelease", release)]);
            assert_eq!(super::release(&machine).verdict, verdict, "{release}");
        }
    }

    #[test]
    fn rings_that_are_off_are_switched_on_where_that_lasts() {
        let (_dir, machine) = with(&[RELEASE, (RING, "N\n")]);
        let cure = ring(&machine).cure.unwrap();
        assert!(cure.contains("/etc/modprobe.d"), "{cure}");
        let list = "kernel/fs/ext4/ext4.ko\nkernel/fs/fuse/fuse.ko\n";
        let (_dir, machine) = with(&[
            RELEASE,
            (RING, "N\n"),
            ("/lib/modules/6.18.4-x/modules.builtin", list),
        ]);
        let cure = ring(&machine).cure.unwrap();
        assert!(cure.contains("fuse.enable_uring=1"), "{cure}");
    }

    #[test]
    fn rings_that_are_on_until_the_next_boot_are_told_from_those_that_stay() {
        let (_dir, machine) = with(&[RELEASE, (RING, "Y\n")]);
        assert_eq!(ring(&machine).verdict, Verdict::Note);
        let lasting = [
            (
                "/etc/modprobe.d/x.conf",
                "# fuse\noptions fuse enable_uring=1\n",
            ),
            ("/proc/cmdline", "root=/dev/vda fuse.enable_uring=Y quiet\n"),
            (
                "/etc/tmpfiles.d/x.conf",
                "w /sys/module/fuse/parameters/enable_uring - - - - Y\n",
            ),
        ];
        for file in lasting {
            let (_dir, machine) = with(&[RELEASE, (RING, "Y\n"), file]);
            assert_eq!(
                ring(&machine),
                Finding::ok("ring", "FUSE over io_uring is on"),
                "{file:?}"
            );
        }
        let (_dir, machine) = with(&[RELEASE, (RING, "Y\n"), (FORBIDDEN, "2\n"), lasting[0]]);
        let cure = ring(&machine).cure.unwrap();
        assert!(cure.contains("io_uring_disabled"), "{cure}");
    }
}
