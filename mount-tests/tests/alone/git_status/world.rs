//! The repositories, and what git says of them.

use mount_tests::transport::Transport;
use mount_tests::{Daemon, Dice, norefs};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use vmap::MapMut;

/// Files and directories to begin with.
const BEGIN: &str = "
    git init -q -b main library; cd library; echo l > lib.c; mkdir sub; echo s > sub/lib.c; git add .; git commit -qm Library; cd ..
    git init -q -b main main; cd main
    for d in a b c a/a a/b b/a b/a/a; do mkdir -p $d; for f in a b c; do echo $d/$f > $d/$f.c; done; done
    echo top > top.c; ln -s top.c link; echo '*.o' > .gitignore; echo 'ignored/' > a/.gitignore
    mkdir a/ignored; echo i > a/ignored/i; echo o > b/o.o
    git submodule --quiet add ../library module; git add .; git commit -qm One
    git checkout -q -b side; git mv a/a moved; echo side >> top.c; echo new > b/new.c; git add .; git commit -qm Side
    git checkout -q main; echo more >> b/a.c; git commit -qam More
    git worktree add -q --detach ../linked
    git init -q -b main nested; echo n > nested/n.c; git -C nested add .; git -C nested commit -qm Nested
    git status > /dev/null; git status > /dev/null";

/// Maps that stay at most.
const MAPS: usize = 3;

pub struct World {
    /// Maps that stay, through which something was stored; before the mount, which they keep busy.
    maps: Mutex<VecDeque<MapMut>>,
    mount: Daemon,
    monitor: String,
}

impl World {
    pub fn new(transport: Transport) -> World {
        let mount = Daemon::on(transport, &["-o", "allow_other"]);
        mount.stats();
        let program = norefs().get_program().to_str().unwrap().to_owned();
        let world = World {
            mount,
            monitor: format!("{program} fsmonitor"),
            maps: Mutex::default(),
        };
        world.shell(world.mount.root(), BEGIN);
        world
    }

    /// The working tree that most changes are made in.
    pub fn main(&self) -> PathBuf {
        self.mount.path("main")
    }

    /// Where git is asked, as far as it is there.
    pub fn trees(&self) -> Vec<PathBuf> {
        let all =
            ["main", "main/module", "linked", "main/nested"].map(|name| self.mount.path(name));
        all.into_iter()
            .filter(|tree| tree.join(".git").exists())
            .collect()
    }

    /// Runs a script as somebody does whose git asks the mount. It may fail.
    pub fn attempt(&self, at: &Path, script: &str) -> Output {
        self.command(at, "sh", &["-euc", script]).output().unwrap()
    }

    fn shell(&self, at: &Path, script: &str) {
        let output = self.attempt(at, script);
        assert!(output.status.success(), "{output:?}");
    }

    fn command(&self, at: &Path, program: &str, arguments: &[&str]) -> Command {
        let settings = [
            ("core.fsmonitor", self.monitor.as_str()),
            ("core.fsmonitorHookVersion", "2"),
            ("core.untrackedCache", "true"),
            ("protocol.file.allow", "always"),
            ("user.name", "t"),
            ("user.email", "t@t"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("advice.detachedHead", "false"),
            ("core.editor", "true"),
        ];
        let mut command = Command::new(program);
        command.args(arguments).current_dir(at);
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (number, (key, value)) in settings.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), key);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        let fixed = [
            ("LC_ALL", "C"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ];
        command.envs(fixed);
        command
    }

    /// What git says of a working tree, told what changed and looking at everything.
    pub fn ask(&self, tree: &Path, dice: &mut Dice) -> (String, String) {
        let untracked = dice.choose(&["--untracked-files=normal", "--untracked-files=all"]);
        let status = ["status", "--porcelain=v2", "--branch", untracked];
        let looks = [
            "--no-optional-locks",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.untrackedCache=false",
        ];
        let looks = [&looks[..], &status].concat();
        let git = |arguments: &[&str]| {
            let output = self.command(tree, "git", arguments).output().unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            said.lines()
                .filter(|line| !line.starts_with("# "))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        if dice.roll(8) == 0 {
            self.while_it_changes(tree, dice, || drop(git(&status)));
        }
        let stored = !self.maps.lock().unwrap().is_empty();
        match dice.roll(2) {
            // What was stored through a map moves no time before it is written back, which git does not ask for.
            _ if stored => (git(&status), git(&looks)),
            0 => (git(&status), git(&looks)),
            _ => {
                let looked = git(&looks);
                (git(&status), looked)
            }
        }
    }

    /// Stores `byte` at the beginning of `file` through a map that stays for a while, or of a file that has one.
    pub fn store(&self, file: Option<&Path>, byte: u8) -> std::io::Result<()> {
        let mut maps = self.maps.lock().unwrap();
        if let Some(file) = file {
            let length = std::fs::metadata(file)?.len() as usize;
            if length == 0 || !std::fs::symlink_metadata(file)?.is_file() {
                return Err(std::io::ErrorKind::InvalidInput.into());
            }
            let map = MapMut::with_options().write().len(length).open(file);
            maps.push_front(map.map_err(std::io::Error::other)?.0);
            maps.truncate(MAPS);
        }
        let map = maps.front_mut().ok_or(std::io::ErrorKind::NotFound)?;
        map[0] = byte;
        Ok(())
    }

    /// Lets go of all maps.
    pub fn unmap(&self) -> std::io::Result<()> {
        self.maps.lock().unwrap().clear();
        Ok(())
    }

    /// Does `work` while files change.
    fn while_it_changes(&self, tree: &Path, dice: &mut Dice, work: impl FnOnce()) {
        let over = AtomicBool::new(false);
        let number = dice.roll(1000);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in number.. {
                    let name = ["top.c", "busy", "a/a.c", "lib.c", "n.c"][round as usize % 5];
                    let (file, other) = (tree.join(name), tree.join("other"));
                    // Some are not there, or below a directory that is not.
                    let _ = match round % 3 {
                        0 => std::fs::write(file, format!("{round}\n")),
                        1 => std::fs::rename(file, other),
                        _ => std::fs::rename(other, file),
                    };
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
            work();
            over.store(true, Ordering::SeqCst);
        });
    }
}
