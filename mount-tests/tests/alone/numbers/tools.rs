//! Programs that tell by attributes whether a file is still the one they know.

use super::load;
use mount_tests::Scratch;
use mount_tests::programs::{is_installed, run, sh};
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How many files the tests have.
const FILES: u64 = 300;

/// A directory `tree` with files in it that changed long ago, and room for what belongs to them.
fn files() -> Scratch {
    let place = Scratch::new();
    let make = format!(
        "mkdir tree; cd tree; for n in $(seq {FILES}); do d=d$((n % 9)); mkdir -p $d; seq $n > $d/f$n; done
        ln -s d1/f1 link; find . -exec touch -hd 2020-01-01 {{}} +"
    );
    sh(&place, &make);
    place
}

/// Notices who reads files of the source, the daemon among them.
struct Watch(OwnedFd);

impl Watch {
    /// Of the files in `d*` below `tree`.
    fn on(tree: &Path) -> Watch {
        let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        for entry in tree.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with(".git") && !path.ends_with(".hg") {
                add_watch(&watch, &path, WatchFlags::ACCESS | WatchFlags::ONLYDIR).unwrap();
            }
        }
        Watch(watch)
    }

    /// The files that were read since.
    fn read(&self) -> BTreeSet<String> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut read = BTreeSet::new();
        loop {
            match reader.next() {
                Ok(event) if !event.events().contains(ReadFlags::ISDIR) => {
                    read.extend(
                        event
                            .file_name()
                            .map(|name| name.to_string_lossy().into_owned()),
                    );
                }
                Ok(_) => {}
                Err(Errno::AGAIN) => return read,
                Err(errno) => panic!("{errno}"),
            }
        }
    }
}

/// Expects that `look` finds nothing to do in a fresh mount of `tree` and reads no file of it there, and that the
/// watch would have told.
#[track_caller]
fn reads_nothing(tree: &Path, look: impl FnOnce(&Path)) {
    let mount = load(tree);
    let watch = Watch::on(tree);
    look(mount.root());
    assert_eq!(watch.read(), BTreeSet::new(), "files were read");
    let reads = mount.stats().count("read");
    assert!(reads < FILES / 4, "{reads} reads");
    std::fs::read(mount.path("d1/f1")).unwrap();
    assert_eq!(watch.read(), BTreeSet::from(["f1".to_owned()]));
}

#[test]
fn the_first_git_status_in_a_fresh_mount_reads_no_tracked_file() {
    let place = files();
    let tree = place.join("tree");
    let git =
        |at: &Path, arguments: &str| sh(at, &format!("git -c safe.directory='*' {arguments}"));
    git(&tree, "init -q");
    git(&tree, "add .");
    git(&tree, "-c user.name=t -c user.email=t@t commit -qm all");
    assert_eq!(git(&tree, "status --porcelain"), "");
    reads_nothing(&tree, |mount| {
        assert_eq!(git(mount, "status --porcelain"), "");
        assert_eq!(git(mount, "diff --stat HEAD"), "");
        assert_eq!(git(mount, "diff-files --stat"), "");
    });
}

#[test]
fn the_first_hg_status_reads_no_tracked_file() {
    if !is_installed("hg") {
        return;
    }
    let place = files();
    let tree = place.join("tree");
    let hg = |at: &Path, arguments: &str| sh(at, &format!("HGPLAIN=1 HGRCPATH= hg {arguments}"));
    hg(&tree, "init");
    hg(&tree, "commit -qAm all -u t");
    assert_eq!(hg(&tree, "status"), "");
    reads_nothing(&tree, |mount| assert_eq!(hg(mount, "status"), ""));
}

#[test]
fn rsync_finds_nothing_to_do_between_a_source_and_its_mount() {
    let place = files();
    let tree = place.join("tree");
    reads_nothing(&tree, |mount| {
        let (source, mount) = (
            format!("{}/", tree.display()),
            format!("{}/", mount.display()),
        );
        for [from, to] in [[&source, &mount], [&mount, &source]] {
            let arguments = ["-aHAXni", "--delete", "--modify-window=-1", from, to];
            assert_eq!(run(&place, "rsync", &arguments), "");
        }
    });
}

/// Archives `from` as far as it changed since the last time, in `place`. Gives how many names that are no directories' it has.
fn archive(place: &Path, from: &Path, name: &str) -> u64 {
    // The device of a mount is always another.
    let how = "--listed-incremental=snapshot --no-check-device";
    let from = from.display();
    let script = format!("tar {how} -cf {name} -C {from} .; tar -tf {name} | grep -vc '/$' || :");
    sh(place, &script).trim().parse().unwrap()
}

#[test]
fn an_incremental_tar_goes_on_from_the_source_to_its_mount() {
    let place = files();
    let tree = place.join("tree");
    wait_for_the_clock(&place);
    assert_eq!(archive(&place, &tree, "first"), FILES + 1);
    reads_nothing(&tree, |mount| {
        assert_eq!(archive(&place, mount, "second"), 0);
    });
}

/// A directory is its number to tar: a new one must not be taken for an old one.
#[test]
fn an_incremental_tar_knows_directories_that_were_renamed_in_the_mount() {
    let place = files();
    let tree = place.join("tree");
    wait_for_the_clock(&place);
    archive(&place, &tree, "first");
    let mount = load(&tree);
    sh(
        mount.root(),
        "mv d1 renamed; mkdir new; echo new > new/f; rm -r d3; mkdir d3; echo other > d3/f",
    );
    archive(&place, mount.root(), "second");
    sh(
        &place,
        "mkdir out; for name in first second; do tar -xf $name -C out --listed-incremental=/dev/null; done",
    );
    same_trees_of_files(&place.join("out"), mount.root());
}

/// As `diff` sees them.
fn same_trees_of_files(left: &Path, right: &Path) {
    let arguments = [
        "-r",
        "--no-dereference",
        left.to_str().unwrap(),
        right.to_str().unwrap(),
    ];
    assert_eq!(run(left, "diff", &arguments), "");
}

/// Until files made now have later times than those that are there.
fn wait_for_the_clock(place: &Path) {
    sh(
        place,
        "touch before; until touch after; [ after -nt before ]; do :; done",
    );
}

/// Runs `script` in a mount namespace in which the mount stands in for the source: the programs know files by their paths.
fn in_place_of(source: &Path, mount: &Path, script: &str) -> String {
    let [source, mount] = [source, mount].map(|path| path.to_str().unwrap());
    let script = format!("mount --bind '{mount}' '{source}'; cd '{source}'; {script}");
    run(
        Path::new("/"),
        "unshare",
        &["--mount", "sh", "-euc", &script],
    )
}

#[test]
fn the_second_borg_of_a_mount_reads_no_file_again() {
    if !is_installed("borg") {
        return;
    }
    let place = files();
    let tree = place.join("tree");
    // Of the newest files borg does not trust the times.
    wait_for_the_clock(&place);
    std::fs::write(tree.join("newest"), "newest").unwrap();
    let borg = format!(
        "export BORG_BASE_DIR='{0}/base' BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes; borg",
        place.display()
    );
    let repository = place.join("repository");
    let create = |name: &str| {
        format!(
            "{borg} create --list --filter=AMC '{}::{name}' . 2>&1",
            repository.display()
        )
    };
    sh(
        &tree,
        &format!("{borg} init -e none '{}'", repository.display()),
    );
    let files = |said: String| {
        said.lines()
            .filter(|line| !line.ends_with("newest"))
            .count() as u64
    };
    assert_eq!(files(sh(&tree, &create("first"))), FILES);
    reads_nothing(&tree, |mount| {
        assert_eq!(files(in_place_of(&tree, mount, &create("second"))), 0);
    });
}

#[test]
fn the_second_restic_of_a_mount_reads_no_file_again() {
    if !is_installed("restic") {
        return;
    }
    let place = files();
    let tree = place.join("tree");
    let restic = format!(
        "RESTIC_PASSWORD=x restic --no-cache -r '{}/repository'",
        place.display()
    );
    let backup = format!("{restic} backup .");
    sh(&tree, &format!("{restic} init"));
    sh(&tree, &backup);
    reads_nothing(&tree, |mount| {
        let said = in_place_of(&tree, mount, &backup);
        let unmodified = format!("0 new,     0 changed,   {FILES} unmodified");
        assert!(said.contains(&unmodified), "{said}");
    });
}
