//! mount(8) and fstab(5) with the type `fuse.norefs`, as with the type `tmpfs`.

use mount_tests::{Scratch, Tmpfs, installed, norefs, text, transport};
use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount};

/// By which names mount(8) can find norefs: through the helper of libfuse, or as a helper of its own.
const NAMES: [&str; 2] = ["norefs", "mount.fuse.norefs"];

/// What each script begins with: `$M` is where to mount, `$D` a directory, `$T` an option that always goes.
const PRELUDE: &str = r#"
    exec 2>"$D/errors"
    trap 'umount --lazy "$M"' EXIT
    try() { if "$@"; then echo "ok: $*"; else echo "failed: $*"; fi; }
    look() { findmnt --noheadings --raw --output SOURCE,VFS-OPTIONS "$M"; df --output=size,itotal,iused "$M" | tail -1; }
    fstab() { echo "$1 $M $TYPE $T,$2 0 0" >"$D/fstab"; }
"#;

/// Runs `script` where norefs is installed by `name`, and gives what it writes, last what went wrong.
fn run(kind: &str, name: &str, script: &str) -> (String, String) {
    let scratch = Scratch::new();
    let (mountpoint, dir) = (scratch.dir("mount"), scratch.dir("dir"));
    let option = match kind {
        "tmpfs" => "loud".to_owned(),
        _ => format!("transport={}", transport::asked()),
    };
    let output = installed(&[name], &scratch)
        .args(["sh", "-c", &format!("{PRELUDE}{script}")])
        .envs([("M", &mountpoint), ("D", &dir)])
        .envs([("T", option.as_str()), ("TYPE", kind), ("LC_ALL", "C")])
        .output()
        .unwrap();
    let errors = std::fs::read_to_string(dir.join("errors"));
    let errors = errors.unwrap_or_else(|_| text(&output.stderr));
    let place = scratch.to_str().unwrap();
    let plain = |text: &str| text.replace(place, "").replace(&option, "T");
    (plain(&text(&output.stdout)), plain(&errors))
}

/// Expects the same of both types, whichever way norefs is found, and gives what they have in common.
#[track_caller]
fn same(script: &str) -> String {
    let (expected, _) = run("tmpfs", "norefs", script);
    for name in NAMES {
        let (output, errors) = run("fuse.norefs", name, script);
        assert_eq!(output, expected, "{name}: {errors}");
    }
    expected
}

#[test]
fn a_remount_makes_a_mount_read_only_and_writable_again() {
    let told = same(
        r#"
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=9 none "$M"
        echo old >"$M/file"
        try mount -o remount,ro "$M"
        try touch "$M/new"; try rm "$M/file"; try chmod 600 "$M/file"
        look
        try mount -o remount,ro "$M"
        try mount -o remount,rw "$M"
        try touch "$M/new"
        cat "$M/file"
        try mount -o remount,ro "$M"
        try mount -o remount "$M"
        look
        try umount "$M"
        "#,
    );
    assert!(
        told.contains("failed: touch") && told.ends_with("ok: umount /mount\n"),
        "{told}"
    );
}

#[test]
fn a_mount_with_a_file_open_for_writing_stays_writable() {
    let told = same(
        r#"
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=9 none "$M"
        exec 5>"$M/open"
        try mount -o remount,ro,size=2m "$M"
        look
        rm "$M/open"
        exec 6<"$M" 5>&-
        try mount -o remount,ro "$M"
        exec 5>"$M/removed" 6<"$M/removed" 5>&-
        mount -o remount,rw "$M"
        exec 5>"$M/removed" 6<"$M/removed" 5>&-
        rm "$M/removed"
        try mount -o remount,ro "$M"
        exec 6<&-
        try mount -o remount,ro "$M"
        "#,
    );
    assert!(
        told.contains("failed: mount -o remount,ro,size=2m"),
        "{told}"
    );
}

#[test]
fn a_remount_changes_limits_but_not_below_what_is_in_use() {
    let told = same(
        r#"
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=20 none "$M"
        dd if=/dev/zero of="$M/file" bs=40k count=1
        touch "$M/a" "$M/b" "$M/c"
        for option in size=36k nr_blocks=9 size=40k size=2m nr_blocks=600 nr_inodes=4 nr_inodes=5 nr_inodes=0x10 \
            size=36k,nr_inodes=30 size=-1 nr_inodes=many mode=700,uid=5,gid=5 wobble wobble=5 ro,size=8k size=0 nr_inodes=0
        do
            try mount -o remount,$option "$M"
            look
        done
        stat -c '%a %u %g' "$M"
        "#,
    );
    assert_eq!(told.matches("failed: ").count(), 9, "{told}");
}

#[test]
fn a_remount_changes_the_flags_of_the_mount() {
    same(
        r#"
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=9,nosuid none "$M"
        look
        for option in nosuid,nodev,noexec suid,exec ro,dev rw,noexec exec
        do
            try mount -o remount,$option "$M"
            look
        done
        "#,
    );
}

#[test]
fn a_line_of_fstab_is_mounted_once_and_remounted_with_what_it_says() {
    let told = same(
        r#"
        fstab none size=1m,nr_inodes=9,mode=1777,uid=nobody,nofail,x-systemd.automount,defaults,noatime
        try mount -T "$D/fstab" "$M"
        try mount -a -T "$D/fstab"
        findmnt --noheadings --output SOURCE "$M"
        stat -c '%a %U' "$M"
        try mount -T "$D/fstab" -o remount,ro "$M"
        try touch "$M/file"
        try mount -T "$D/fstab" -o remount "$M"
        try touch "$M/file"
        try umount -T "$D/fstab" "$M"
        df --output=iused "$M" >/dev/null
        fstab none ro,size=x
        try mount -T "$D/fstab" "$M"
        "#,
    );
    assert!(
        told.starts_with("ok: ") && told.contains("1777 nobody"),
        "{told}"
    );
}

#[test]
fn a_source_is_a_directory_or_called_none() {
    for name in NAMES {
        let (output, errors) = run(
            "fuse.norefs",
            name,
            r#"
            mkdir "$D/source"; echo content >"$D/source/file"
            try mount -t $TYPE -o $T,ro "$D/source" "$M"
            cat "$M/file"
            look | head -1
            try mount -o remount,rw "$M"
            try mount -t $TYPE -o $T none "$M"
            umount "$M"
            try mount -t $TYPE -o $T norefs "$M"
            findmnt --noheadings --output SOURCE,FSTYPE --raw "$M"
            umount "$M"
            try mount -t fuse -o $T norefs#"$D/source" "$M"
            umount "$M"
            try mount -t $TYPE -o $T nothing "$M"
            try mount -t $TYPE -o $T none "$D/nothing"
            "#,
        );
        let expected = "ok: mount -t fuse.norefs -o T,ro /dir/source /mount\ncontent\n/dir/source ro,relatime\n\
             ok: mount -o remount,rw /mount\nfailed: mount -t fuse.norefs -o T none /mount\n\
             ok: mount -t fuse.norefs -o T norefs /mount\nnorefs fuse.norefs\n";
        assert!(output.starts_with(expected), "{name}: {output}{errors}");
        let end = "failed: mount -t fuse.norefs -o T nothing /mount\nfailed: mount -t fuse.norefs -o T none /dir/nothing\n";
        assert!(output.ends_with(end), "{name}: {output}{errors}");
        for said in [
            "norefs: mount point /mount is in use",
            "norefs: source nothing: No such file",
            "norefs: mount point /dir/nothing: No such file",
        ] {
            assert!(errors.contains(said), "{name}: {said}: {errors}");
        }
    }
}

#[test]
fn what_a_live_mount_cannot_change_is_refused() {
    let (output, errors) = run(
        "fuse.norefs",
        "norefs",
        r#"
        mount -t $TYPE -o $T,cache=1s,mode=755,size=1m,nr_inodes=9 none "$M"
        try mount -o remount,cache=1s,ro "$M"
        try mount -o remount,cache=none,size=2m,rw "$M"
        try mount -o remount,noxattr "$M"
        try mount -o remount,size=0 "$M"
        try mount -o remount,size=2m "$M"
        look
        norefs umount "$M"
        try mount -t $TYPE -o remount,ro none "$M"
        "#,
    );
    let expected = "ok: mount -o remount,cache=1s,ro /mount\nfailed: mount -o remount,cache=none,size=2m,rw /mount\n\
         failed: mount -o remount,noxattr /mount\nok: mount -o remount,size=0 /mount\nok: mount -o remount,size=2m /mount\n\
         none ro,relatime\n";
    assert!(output.starts_with(expected), "{output}{errors}");
    assert!(
        errors.contains("norefs: mount option cache=none cannot be changed by a remount"),
        "{errors}"
    );
    assert!(
        errors.contains("norefs: /mount is not a norefs mount"),
        "{errors}"
    );
}

#[test]
fn the_helper_takes_the_arguments_of_mount() {
    let (output, errors) = run(
        "fuse.norefs",
        "mount.fuse.norefs",
        r#"
        try mount -f -t $TYPE -o $T none "$M"
        try mount -f -t $TYPE -o $T,wobble none "$M"
        findmnt "$M" || echo nothing
        try mount -s -v -n -t $TYPE -o $T,wobble none "$M"
        umount "$M"
        unshare --mount sleep 1000 & sleeper=$!
        while test $(readlink /proc/$sleeper/ns/mnt) = $(readlink /proc/self/ns/mnt); do sleep 0.01; done
        try mount -N /proc/$sleeper/ns/mnt -t $TYPE -o $T none "$M" | sed "s/$sleeper/N/"
        findmnt "$M" || findmnt --noheadings --task $sleeper --output FSTYPE "$M"
        try mount -N /proc/$sleeper/ns/mnt -o remount,ro "$M" | sed "s/$sleeper/N/"
        findmnt --noheadings --task $sleeper --output VFS-OPTIONS "$M"
        umount -N /proc/$sleeper/ns/mnt "$M"
        kill $sleeper
        mount.fuse.norefs none; echo $?
        mount.fuse.norefs none "$M" -o size=x; echo $?
        mount.fuse.norefs nothing "$M"; echo $?
        "#,
    );
    let expected = "ok: mount -f -t fuse.norefs -o T none /mount\nfailed: mount -f -t fuse.norefs -o T,wobble none /mount\nnothing\n\
         ok: mount -s -v -n -t fuse.norefs -o T,wobble none /mount\n\
         ok: mount -N /proc/N/ns/mnt -t fuse.norefs -o T none /mount\nfuse.norefs\n\
         ok: mount -N /proc/N/ns/mnt -o remount,ro /mount\nro,relatime\n1\n1\n32\n";
    assert_eq!(output, expected, "{errors}");
}

#[test]
fn links_are_not_followed_where_that_is_asked_for() {
    let told = same(
        r#"
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=9,nosymfollow none "$M"
        echo content >"$M/file"; ln -s file "$M/link"
        look
        try cat "$M/link"; readlink "$M/link"
        for option in ro nosymfollow,noexec symfollow,rw nosymfollow,nosuid,nodev
        do
            try mount -o remount,$option "$M"
            look
            try cat "$M/link"
        done
        "#,
    );
    assert!(
        told.contains("nosymfollow") && told.matches("failed: cat").count() == 4,
        "{told}"
    );
}

#[test]
fn options_that_mean_nothing_in_memory_are_taken() {
    let told = same(
        r#"
        for option in sync async dirsync mand nomand iversion silent loud relatime strictatime noatime nodiratime lazytime \
            nolazytime user=root,users,owner,group noauto,nofail,_netdev,x-a=b,comment=c,defaults context=a:b:c:s0
        do
            mount -t $TYPE -o $T,mode=755,$option none "$M" && umount --lazy "$M" && echo "ok: ${option#loud}"
        done
        "#,
    );
    assert_eq!(told.matches("ok: ").count(), 17, "{told}");
}

#[test]
fn a_mistyped_option_is_answered_with_what_was_meant() {
    let (output, errors) = run(
        "fuse.norefs",
        "mount.fuse.norefs",
        r#"
        try mount -t $TYPE -o $T,nosuied none "$M"
        try mount -t $TYPE -o $T,siez=1m none "$M"
        try mount -t $TYPE -o $T,size none "$M"
        findmnt "$M"
        "#,
    );
    assert_eq!(output.matches("failed: ").count(), 3, "{output}");
    for said in [
        "norefs: unknown mount option nosuied: did you mean nosuid?",
        "norefs: unknown mount option siez: did you mean size?",
        "norefs: mount option size needs a value: size=N",
    ] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
}

#[test]
fn set_user_id_and_devices_work_no_further_than_in_the_source() {
    let scratch = Scratch::new();
    let (source, below) = (Tmpfs::new(), Scratch::new());
    let at = scratch.dir("mount");
    let inner = source.join("inner");
    std::fs::create_dir(&inner).unwrap();
    let flags = |arguments: &[&str]| {
        let output = norefs().args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = rustix::fs::statvfs(&at).unwrap().f_flag;
        let flags = [StatVfsMountFlags::NOSUID, StatVfsMountFlags::NODEV];
        (flags.map(|flag| shown.contains(flag)), text(&output.stderr))
    };
    let unmount = || assert!(norefs().arg("umount").arg(&at).status().unwrap().success());
    let (from, to) = (source.to_str().unwrap(), at.to_str().unwrap());
    let as_helper = ["-o", "suid,dev"];
    for (forbidden, expected) in [
        (MountFlags::empty(), [false, false]),
        (MountFlags::NOSUID, [true, false]),
        (MountFlags::NODEV, [false, true]),
        (MountFlags::NOSUID | MountFlags::NODEV, [true, true]),
    ] {
        mount_remount(&*source, MountFlags::BIND | forbidden, c"").unwrap();
        for helper in [&as_helper[..], &["-o", "rw"]] {
            let (seen, said) = flags(&[&[from, to], helper].concat());
            assert_eq!((seen, &*said), (expected, ""), "{forbidden:?}");
            // Nor by a remount.
            let (seen, _) = flags(&["none", to, "-o", "remount,suid,dev"]);
            assert_eq!(seen, expected, "{forbidden:?} after a remount");
            unmount();
        }
        let (seen, said) = flags(&["mount", "-o", "suid,dev", from, to]);
        assert_eq!(seen, expected, "{forbidden:?}");
        let told = expected.iter().filter(|forbidden| **forbidden).count();
        assert_eq!(said.matches("does nothing").count(), told, "{said}");
        unmount();
    }
    mount_remount(&*source, MountFlags::BIND, c"").unwrap();
    rustix::mount::mount_bind(&*below, &inner).unwrap();
    mount_remount(&inner, MountFlags::BIND | MountFlags::NOSUID, c"").unwrap();
    let (whole, _) = flags(&["mount", "-o", "suid", "--cross-mounts", from, to]);
    unmount();
    let (alone, _) = flags(&["mount", "-o", "suid", from, to]);
    unmount();
    rustix::mount::unmount(&inner, UnmountFlags::DETACH).unwrap();
    assert_eq!((whole, alone), ([true, true], [false, true]));
}

#[test]
fn the_limits_in_force_are_shown_and_stay_in_force() {
    let told = same(
        r#"
        limits() { findmnt --mtab --noheadings --output OPTIONS "$M" | tr , '\n' | grep -E '^(size|nr_inodes)='; }
        mount -t $TYPE -o $T,mode=755,size=1m,nr_inodes=9 none "$M"
        limits
        for option in size=2m ro nr_inodes=20,rw nr_blocks=3
        do
            try mount -o remount,$option "$M"
            limits
            look | tail -1
        done
        umount --lazy "$M"
        limits || echo none
        mount -t $TYPE -o $T,mode=755,size=3m,nr_inodes=7 none "$M"
        limits
        umount --lazy "$M"
        while grep -q "$M" /run/mount/utab; do sleep 0.01; done
        "#,
    );
    assert!(told.starts_with("size=1024k\nnr_inodes=9\n"), "{told}");
    assert_eq!(told.matches("size=2048k").count(), 3, "{told}");
}

#[test]
fn limits_that_norefs_set_changes_are_shown_and_go_with_the_mount() {
    let (output, errors) = run(
        "fuse.norefs",
        "norefs",
        r#"
        limits() { findmnt --mtab --noheadings --output OPTIONS "$M" | tr , '\n' | grep -E '^(size|nr_inodes)='; }
        mount -t $TYPE -o $T,size=1m,nr_inodes=9 none "$M"
        norefs set --size 1500 --inodes 0 "$M"
        limits
        norefs umount "$M"
        while grep -q "$M" /run/mount/utab; do sleep 0.01; done
        norefs mount "$M"
        limits | cut -d= -f1
        PID=$(norefs stats --json "$M" | grep -o '"pid":[0-9]*' | cut -d: -f2)
        kill -KILL $PID
        while kill -0 $PID 2>/dev/null; do sleep 0.01; done
        norefs mount -o size=5k "$M"
        limits | head -1
        grep -c "$M" /run/mount/utab
        "#,
    );
    let expected = "size=4k\nnr_inodes=0\nsize\nnr_inodes\nsize=8k\n1\n";
    assert_eq!(output, expected, "{errors}");
}
