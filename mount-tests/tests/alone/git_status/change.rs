//! One change at random, as people and programs make them.

use crate::world::World;
use mount_tests::Dice;
use rustix::fs::{AtFlags, CWD, RenameFlags, Timespec, Timestamps, renameat_with, utimensat};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// What is done in the shell of somebody who uses git. Each may be refused: of a merge that is not finished most are.
const GIT: &[&str] = &[
    "git add -A",
    "git add -u",
    "git commit -qm Change",
    "git commit -qam Changes",
    "git checkout -q -f main",
    "git checkout -q -f side",
    "git checkout -q side",
    "git checkout -q .",
    "git stash -q",
    "git stash -q -u",
    "git stash pop -q",
    "git reset -q --hard",
    "git reset -q --hard HEAD~1",
    "git reset -q",
    "git rebase -q side",
    "git rebase --abort",
    "git merge -q --no-edit side",
    "git merge --abort",
    "git cherry-pick side",
    "git cherry-pick --abort",
    "git clean -qfd",
    "git clean -qfdx b",
    "git mv b renamed",
    "git mv renamed b",
    "git rm -q --cached top.c",
    "git gc -q",
    "git read-tree -u --reset HEAD",
    "git update-index --really-refresh",
    "git update-index --force-write-index",
    "git submodule --quiet update --init --force",
    "git submodule --quiet deinit -f module",
    "git sparse-checkout set a",
    "git sparse-checkout disable",
    "git update-index --assume-unchanged a/a.c",
    "git update-index --no-assume-unchanged a/a.c",
    "git -C module checkout -q -f HEAD",
    "echo m >> module/lib.c; git -C module commit -qam Module",
    "echo m >> module/sub/lib.c",
    "rm -f module/lib.c",
    "echo n >> nested/n.c",
    "git -C nested commit -qam Nested",
    "rm -rf nested/.git",
    "mkdir -p nested; git init -q nested; echo n > nested/n.c",
    "git init -q b/deep; echo > b/deep/file",
    "git -C ../linked checkout -q -f --detach side",
    "git -C ../linked checkout -q -f --detach main",
    "echo linked >> ../linked/top.c; mkdir -p ../linked/x; echo > ../linked/x/y",
    "mv ../linked/a ../linked/z",
    "mv ../linked ../gone; mv ../gone ../linked",
    "echo '*.tmp' >> .gitignore",
    "echo '*.o' > .gitignore",
    "echo '!x.o' > b/.gitignore",
    "rm -f a/.gitignore",
    "echo 'ignored/' > a/.gitignore",
    "echo x.tmp >> .git/info/exclude",
    "echo '*.c -text' > .gitattributes",
    "cd ..; mv main elsewhere; mv elsewhere main",
    "cd ..; cp -a main/a kept; rm -rf main/a; mv kept main/a",
    "cp -r a copied",
    "rm -rf copied; mkdir copied",
    "tar cf ../all.tar a b; rm -rf a b; tar xf ../all.tar",
    "rm -rf a; git checkout -q a; touch a",
    "sync",
];

const NAMES: &[&str] = &[
    "a", "b", "c", "a.c", "b.c", "c.c", "x.o", "x.tmp", "moved", "top.c",
];

/// A path of one to three names below `root`.
fn path(root: &Path, dice: &mut Dice) -> PathBuf {
    let depth = 1 + dice.roll(3);
    (0..depth).fold(root.to_owned(), |path, _| path.join(dice.choose(NAMES)))
}

/// Makes it, and says what it was. What is refused changes nothing, which is a change as well.
pub fn change(world: &World, dice: &mut Dice) -> String {
    let main = world.main();
    if dice.roll(2) == 0 {
        let script = dice.choose(GIT);
        let output = world.attempt(&main, script);
        return format!("{script} ({})", output.status);
    }
    let (one, other) = (path(&main, dice), path(&main, dice));
    let (what, done) = by_calls(world, &one, &other, dice);
    let shown = |path: &Path| {
        path.strip_prefix(&main)
            .unwrap_or(path)
            .display()
            .to_string()
    };
    let done = done.map_or_else(|error| error.to_string(), |()| "done".to_owned());
    format!("{what} {} {} ({done})", shown(&one), shown(&other))
}

fn by_calls(
    world: &World,
    one: &Path,
    other: &Path,
    dice: &mut Dice,
) -> (&'static str, io::Result<()>) {
    let parent = one.parent().unwrap();
    match dice.roll(22) {
        0 | 1 => ("write", fs::write(one, format!("{}\n", dice.roll(9)))),
        2 => ("append", append(one)),
        3 => ("same size and times", sly(one, dice)),
        4 => (
            "store through a new map",
            world.store(Some(one), letter(dice)),
        ),
        19 => ("store through a map", world.store(None, letter(dice))),
        20 => ("unmap", world.unmap()),
        5 => (
            "make directories and write",
            fs::create_dir_all(parent).and_then(|()| fs::write(one, "new\n")),
        ),
        6 => ("remove", fs::remove_file(one)),
        7 => ("remove all", fs::remove_dir_all(one)),
        8 | 9 => ("rename", fs::rename(one, other)),
        10 => (
            "exchange",
            Ok(()).and_then(|()| Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)),
        ),
        11 => ("move a directory", move_directory(one, other)),
        12 => ("chmod", chmod(one)),
        13 => ("link", fs::hard_link(one, other)),
        14 => ("symlink", symlink("top.c", one)),
        15 => ("replace by a link", replace(one, |new| symlink("a", new))),
        16 => ("save", replace(one, |new| fs::write(new, "saved\n"))),
        17 => ("touch", touch(one)),
        18 => (
            "truncate",
            fs::OpenOptions::new()
                .write(true)
                .open(one)
                .and_then(|file| file.set_len(1)),
        ),
        _ => ("mkdir", fs::create_dir(one)),
    }
}

fn letter(dice: &mut Dice) -> u8 {
    b'A' + dice.roll(26) as u8
}

fn append(path: &Path) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).open(path)?;
    file.write_all(b"more\n")
}

/// Changes a byte, and sets the times back.
fn sly(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let before = fs::metadata(path)?;
    let mut content = fs::read(path)?;
    if let Some(byte) = content.first_mut() {
        *byte = b'0' + dice.roll(10) as u8;
    }
    let file = fs::OpenOptions::new().write(true).open(path)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0)?;
    let time = |sec, nsec| Timespec {
        tv_sec: sec,
        tv_nsec: nsec,
    };
    let times = Timestamps {
        last_access: time(before.atime(), before.atime_nsec()),
        last_modification: time(before.mtime(), before.mtime_nsec()),
    };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}

fn move_directory(one: &Path, other: &Path) -> io::Result<()> {
    match one.is_dir() {
        true => fs::rename(one, other.with_extension("")),
        false => fs::rename(one.parent().unwrap(), other),
    }
}

fn chmod(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode ^ 0o100))
}

/// As an editor saves.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    make(&new)?;
    fs::rename(&new, path)
}

fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}
