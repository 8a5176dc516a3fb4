//! The real binary on a real mount.

use crate::guard::{ROOT_ALONE, Scratch, Tmpfs, Watchdog, force_unmount, is_mounted, wait_until};
use crate::report;
use crate::transport::{self, Transport};
use norefs::transport::Permissions;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// The path of the `norefs` binary, built once per test process.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: load the fuse module, or start the container with --device /dev/fuse"
        );
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--quiet", "--package=norefs", "--bin=norefs", "--message-format=json"])
            .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let built = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
        assert!(built.status.success(), "norefs does not build");
        String::from_utf8(built.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|message| message["target"]["name"] == "norefs")
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .expect("cargo names the executable")
    })
}

/// The `norefs` command, ready for arguments.
pub fn norefs() -> Command {
    assert!(rustix::process::geteuid().is_root(), "{ROOT_ALONE}");
    Command::new(binary())
}

/// The `norefs` command for an ordinary user: the caller, or [`NOBODY`] where that is root. Sockets are kept in `place`, which
/// is given to that user.
pub fn norefs_as_ordinary_user(place: &Path) -> Command {
    let mut command = match rustix::process::geteuid().is_root() {
        true => {
            std::os::unix::fs::chown(place, Some(NOBODY), Some(NOBODY)).unwrap();
            norefs_as_nobody(place)
        }
        false => Command::new(binary()),
    };
    command.env("XDG_RUNTIME_DIR", place);
    command
}

/// The process that serves the norefs mount at `mountpoint`.
pub fn server_of(mountpoint: &Path) -> rustix::process::Pid {
    let output = norefs().args(["stats", "--json"]).arg(mountpoint).output();
    let stats: Value = serde_json::from_slice(&output.unwrap().stdout).expect("stats are JSON");
    let pid = stats["pid"].as_i64().expect("a process id");
    rustix::process::Pid::from_raw(pid as i32).unwrap()
}

/// The user and group `nobody`: fusermount3 serves only those who have a name.
pub const NOBODY: u32 = 65_534;

/// The `norefs` command for [`NOBODY`]. The binary is copied into `place`, where that user can reach it.
pub fn norefs_as_nobody(place: &Path) -> Command {
    let device = rustix::fs::stat("/dev/fuse").unwrap();
    assert!(
        device.st_mode & 0o006 == 0o006,
        "ordinary users may not open /dev/fuse: chmod 0666 /dev/fuse"
    );
    let copy = place.join("norefs");
    if !copy.exists() {
        // By a process of its own: a thread that forks now would hold the copy open for writing,
        // and so unusable.
        crate::programs::run(place, "cp", &[binary().to_str().unwrap(), "norefs"]);
    }
    let mut command = Command::new(copy);
    command.uid(NOBODY).gid(NOBODY);
    command
}

/// Who decides about permissions where a test does not say.
fn permissions() -> Permissions {
    match std::env::var("MOUNT_TESTS_PERMISSIONS").as_deref() {
        Err(_) | Ok("kernel") => Permissions::Kernel,
        Ok("daemon") => Permissions::Daemon,
        Ok(other) => panic!("MOUNT_TESTS_PERMISSIONS={other}: expected kernel or daemon"),
    }
}

/// What serves a [`Daemon`]'s mount.
enum Server {
    Norefs(Child),
    Tmpfs { _mounted: Tmpfs },
}

/// A mount served by the `norefs` binary. Dropping it unmounts and checks that the process ends well.
pub struct Daemon {
    root: PathBuf,
    server: Option<Server>,
    /// How the daemon ended, once a test has asked.
    known_end: Option<ExitStatus>,
    _watchdog: Watchdog,
    scratch: Scratch,
}

impl Daemon {
    /// Mounts an empty tree with norefs' own defaults, open to all users.
    pub fn start() -> Daemon {
        Daemon::or_tmpfs("allow_other")
    }

    /// Mounts an empty tree, open to all users, with more mount options.
    pub fn start_with(options: &str) -> Daemon {
        Daemon::or_tmpfs(&format!("allow_other,{options}"))
    }

    /// Mounts an empty tree of which the kernel caches nothing.
    pub fn without_cache() -> Daemon {
        Daemon::or_tmpfs("allow_other,cache=none")
    }

    fn or_tmpfs(options: &str) -> Daemon {
        if report::on_tmpfs() {
            return Daemon::tmpfs();
        }
        let permissions = match permissions() {
            Permissions::Kernel => "",
            Permissions::Daemon => ",permissions=daemon",
        };
        Daemon::with(&["-o", &format!("{options}{permissions}")])
    }

    /// Mounts an empty tree in which norefs decides about permissions itself.
    pub fn deciding() -> Daemon {
        Daemon::or_tmpfs("allow_other,permissions=daemon")
    }

    /// The same, with nothing cached by the kernel.
    pub fn deciding_without_cache() -> Daemon {
        Daemon::or_tmpfs("allow_other,permissions=daemon,cache=none")
    }

    /// Mounts with `arguments` between `norefs mount -f` and the mount point.
    pub fn with<S: AsRef<OsStr>>(arguments: &[S]) -> Daemon {
        Daemon::on(transport::asked(), arguments)
    }

    /// As [`Daemon::with`], on a transport of the test's choice.
    pub fn on<S: AsRef<OsStr>>(transport: Transport, arguments: &[S]) -> Daemon {
        Daemon::spawn(norefs(), transport, arguments, Scratch::new())
    }

    /// Mounts as [`NOBODY`].
    pub fn as_nobody<S: AsRef<OsStr>>(arguments: &[S]) -> Daemon {
        let scratch = Scratch::new();
        let command = norefs_as_nobody(&scratch);
        Daemon::spawn(command, transport::asked(), arguments, scratch)
    }

    /// Mounts with `command`, which becomes `norefs mount -f` in the end, started by another
    /// program if need be.
    pub fn by(command: Command, transport: Transport) -> Daemon {
        Daemon::spawn(command, transport, &[""; 0], Scratch::new())
    }

    /// The same with `arguments` between `norefs mount -f` and the mount point.
    pub fn by_with<S: AsRef<OsStr>>(command: Command, arguments: &[S]) -> Daemon {
        Daemon::spawn(command, transport::asked(), arguments, Scratch::new())
    }

    fn spawn<S: AsRef<OsStr>>(
        mut command: Command,
        transport: Transport,
        arguments: &[S],
        scratch: Scratch,
    ) -> Daemon {
        report::particular();
        let root = scratch.dir("mount");
        let runtime = scratch.dir("run");
        for dir in [&root, &runtime] {
            rustix::fs::chmod(dir, 0o777.into()).unwrap();
        }
        let log = std::fs::File::create(scratch.join("log")).unwrap();
        let child = command
            .args(["mount", "-f"])
            .args(transport::arguments(transport))
            .args(arguments)
            .arg(&root)
            .env("XDG_RUNTIME_DIR", runtime)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon {
            _watchdog: Watchdog::new(&root),
            root,
            server: Some(Server::Norefs(child)),
            known_end: None,
            scratch,
        };
        let ready = wait_until(|| daemon.ended().is_some() || is_mounted(&daemon.root));
        assert!(
            ready && daemon.ended().is_none(),
            "norefs mount: {}",
            daemon.log()
        );
        // Answered once it is served. Who may not ask is refused before.
        let flags = AtFlags::STATX_FORCE_SYNC;
        let _served = statx(CWD, &daemon.root, flags, StatxFlags::TYPE);
        daemon
    }

    fn tmpfs() -> Daemon {
        let tmpfs = Tmpfs::new();
        Daemon {
            root: tmpfs.to_path_buf(),
            _watchdog: Watchdog::new(&tmpfs),
            server: Some(Server::Tmpfs { _mounted: tmpfs }),
            known_end: None,
            scratch: Scratch::new(),
        }
    }

    /// The root of the mount.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `name` in the mount.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// A directory outside the mount that lives as long as it.
    pub fn outside(&self) -> &Path {
        &self.scratch
    }

    /// What the daemon wrote on its standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("log")).unwrap_or_default()
    }

    /// The daemon's process id.
    pub fn pid(&self) -> rustix::process::Pid {
        match &self.server {
            Some(Server::Norefs(child)) => rustix::process::Pid::from_child(child),
            _ => no_daemon(),
        }
    }

    /// Resident bytes of the daemon.
    pub fn resident(&self) -> u64 {
        let pid = self.pid().as_raw_nonzero();
        let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        let pages: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
        pages * rustix::param::page_size() as u64
    }

    /// How the daemon ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if let Some(Server::Norefs(child)) = &mut self.server {
            self.known_end = child.try_wait().unwrap();
        }
        self.known_end
    }

    /// The counters as `norefs stats --json` shows them.
    pub fn stats(&self) -> Stats {
        if let Some(Server::Tmpfs { .. }) = self.server {
            no_daemon();
        }
        let ask = || {
            let mut command = norefs();
            command.args(["stats", "--json"]).arg(&self.root);
            command
                .env("XDG_RUNTIME_DIR", self.scratch.join("run"))
                .output()
                .unwrap()
        };
        // A mount in the foreground may be there a moment before it can be asked.
        let mut output = ask();
        let answered = wait_until(|| {
            output.status.success() || {
                output = ask();
                output.status.success()
            }
        });
        assert!(
            answered,
            "norefs stats: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Stats(serde_json::from_slice(&output.stdout).expect("stats are JSON"))
    }

    /// Unmounts and checks that the daemon leaves with status 0, unless a test has seen it leave.
    fn stop(&mut self) -> Result<(), String> {
        let Some(Server::Norefs(mut child)) = self.server.take() else {
            return Ok(());
        };
        let unmounted = !is_mounted(&self.root)
            || rustix::mount::unmount(&self.root, rustix::mount::UnmountFlags::DETACH).is_ok();
        if !wait_until(|| child.try_wait().unwrap().is_some()) {
            force_unmount(&self.root);
            let _ = child.kill();
            let _ = child.wait();
            return Err("the daemon outlives its mount".into());
        }
        let status = child.wait().unwrap();
        match (unmounted, status.success() || self.known_end.is_some()) {
            (true, true) => Ok(()),
            (false, _) => Err("unmounting fails".into()),
            _ => Err(format!("the daemon ends with {status}")),
        }
    }
}

impl Drop for Daemon {
    /// A panic that is under way goes on, whatever else fails here: a second one would abort the process, and the output
    /// that was captured would be lost.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            if let Err(why) = self.stop() {
                panic!("{why}\nlog of the daemon:\n{}", self.log());
            }
            return;
        }
        // Printing panics if nobody reads any more.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let stopped = self.stop();
            eprintln!("log of the daemon, {stopped:?}:\n{}", self.log());
        }));
    }
}

/// Ends a test that asks a tmpfs for what only norefs has.
fn no_daemon() -> ! {
    report::particular();
    panic!("no daemon serves this mount")
}

/// The counters of a live mount.
#[derive(Clone, Debug)]
pub struct Stats(pub Value);

impl Stats {
    /// The kinds of request of which one arrived.
    pub fn kinds(&self) -> Vec<String> {
        let requests = self.0["requests"].as_object().expect("requests by kind");
        requests.keys().cloned().collect()
    }

    /// How many requests of `kind` arrived.
    pub fn count(&self, kind: &str) -> u64 {
        self.0["requests"][kind]["count"].as_u64().unwrap_or(0)
    }

    /// How many no-reference operations ended as `outcome`.
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.0["outcomes"][outcome]
            .as_u64()
            .expect("a known outcome")
    }

    /// How many lookups ended as `outcome`.
    pub fn lookup(&self, outcome: &str) -> u64 {
        self.0["lookups"][outcome]
            .as_u64()
            .expect("a known outcome")
    }
}
