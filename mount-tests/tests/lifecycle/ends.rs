//! Every way a mount can end, and that nothing is left behind, on each transport.

use mount_tests::fails;
use mount_tests::posix::Outcome;
use mount_tests::transport::{Transport, each};
use mount_tests::{
    Background, Daemon, InProcess, Load, Scratch, is_mounted, norefs, stop, wait_until,
};
use norefs::transport::RequestKind;
use norefs::transport::session::table::top_at;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Signal, kill_process};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;
use std::time::Duration;

/// How a call ends whose mount was taken away beneath it. `ECANCELED` is for requests on their way to a
/// ring whose thread was killed (`fuse_uring_send_in_task`).
const BROKEN: [Errno; 4] = [
    Errno::CONNABORTED,
    Errno::NOTCONN,
    Errno::IO,
    Errno::CANCELED,
];

fn start(transport: Transport) -> Daemon {
    Daemon::on(transport, &["-o", "allow_other"])
}

/// A stat that the kernel cannot answer by itself.
fn forced(path: &Path) -> Result<(), Errno> {
    statx(
        CWD,
        path,
        AtFlags::STATX_FORCE_SYNC,
        StatxFlags::BASIC_STATS,
    )
    .outcome()
}

fn waiting_caller(path: &Path) -> JoinHandle<Result<(), Errno>> {
    let path = path.to_owned();
    std::thread::spawn(move || forced(&path))
}

#[track_caller]
fn broken(fared: Result<(), Errno>, transport: Transport) {
    assert!(
        fared.is_err_and(|errno| BROKEN.contains(&errno)),
        "{transport}: {fared:?}"
    );
}

/// The daemon ends by itself, well, and its mount is gone.
#[track_caller]
fn ends_well(mut daemon: Daemon, transport: Transport) {
    assert!(
        wait_until(|| daemon.ended().is_some()),
        "{transport}: the daemon lives on"
    );
    let status = daemon.ended().unwrap();
    assert!(status.success(), "{transport}: {status}\n{}", daemon.log());
    assert!(
        !is_mounted(daemon.root()),
        "{transport}: a dead mount is left"
    );
}

/// The kernel's directory on one FUSE connection.
struct Connection {
    directory: PathBuf,
    control: Scratch,
}

impl Connection {
    /// Mounts the control filesystem in a place of its own.
    fn of(root: &Path) -> Connection {
        let control = Scratch::new();
        mount("fusectl", &*control, "fusectl", MountFlags::empty(), None).unwrap();
        // fc->dev: the device number as the kernel encodes it for itself, whose major is 0 here.
        let device = fs::symlink_metadata(root).unwrap().dev();
        assert_eq!(rustix::fs::major(device), 0);
        Connection {
            directory: control.join(rustix::fs::minor(device).to_string()),
            control,
        }
    }

    fn waiting(&self) -> u32 {
        let text = fs::read_to_string(self.directory.join("waiting")).unwrap();
        text.trim().parse().unwrap()
    }

    fn abort(&self) {
        fs::write(self.directory.join("abort"), "1").unwrap();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        unmount(&*self.control, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn the_transport_is_the_one_asked_for() {
    for transport in each() {
        let daemon = start(transport);
        let used = daemon.stats().0["transport"].clone();
        assert!(
            transport == Transport::Auto || used == transport.to_string(),
            "{used}"
        );
    }
}

#[test]
fn an_unmounted_daemon_ends() {
    for transport in each() {
        let daemon = start(transport);
        fs::write(daemon.path("file"), "content").unwrap();
        unmount(daemon.root(), UnmountFlags::empty()).unwrap();
        ends_well(daemon, transport);
    }
}

#[test]
fn a_busy_mount_is_served_until_the_last_descriptor_is_closed() {
    for transport in each() {
        let mut daemon = start(transport);
        let file = File::create_new(daemon.path("file")).unwrap();
        let dir = File::open(daemon.root()).unwrap();
        fails(Errno::BUSY, unmount(daemon.root(), UnmountFlags::empty()));
        unmount(daemon.root(), UnmountFlags::DETACH).unwrap();
        assert!(!is_mounted(daemon.root()));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let later = File::from(openat(&dir, "later", flags, Mode::RWXU).unwrap());
        drop(dir);
        file.write_all_at(b"still served", 0).unwrap();
        drop(file);
        later.write_all_at(b"to the last", 0).unwrap();
        assert_eq!(later.metadata().unwrap().len(), 11);
        assert!(
            daemon.ended().is_none(),
            "{transport}: it left a user alone"
        );
        drop(later);
        ends_well(daemon, transport);
    }
}

#[test]
fn a_mount_taken_away_at_once_ends_or_says_so() {
    for transport in each() {
        for _ in 0..20 {
            let scratch = Scratch::new();
            let root = scratch.dir("mount");
            let mut command = norefs();
            command.args(["mount", "-f", &format!("--transport={transport}")]);
            let mut daemon = command.arg(&root).stderr(Stdio::piped()).spawn().unwrap();
            while unmount(&*root, UnmountFlags::empty()).is_err() {
                assert!(daemon.try_wait().unwrap().is_none());
            }
            let mut said = String::new();
            let mut log = daemon.stderr.take().unwrap();
            log.read_to_string(&mut said).unwrap();
            let ended = daemon.wait().unwrap().success();
            let told = said.ends_with("was taken away before it was served\n");
            assert!(ended || told, "{transport}: {said}");
        }
    }
}

#[test]
fn a_signal_unmounts() {
    for transport in each() {
        for signal in [Signal::TERM, Signal::INT] {
            let daemon = start(transport);
            fs::write(daemon.path("file"), "content").unwrap();
            kill_process(daemon.pid(), signal).unwrap();
            ends_well(daemon, transport);
        }
    }
}

#[test]
fn a_forced_end_answers_a_request_that_is_being_served() {
    for transport in each() {
        let mount = InProcess::on(transport);
        let hold = mount.failpoints().hold(RequestKind::Getattr, None);
        let caller = waiting_caller(mount.root());
        assert!(hold.wait_held(Duration::from_secs(60)));
        unmount(mount.root(), UnmountFlags::FORCE | UnmountFlags::DETACH).unwrap();
        broken(caller.join().unwrap(), transport);
        hold.release();
        let root = mount.root().to_owned();
        drop(mount);
        assert!(!is_mounted(&root), "{transport}");
    }
}

#[test]
fn a_mount_that_has_ended_leaves_the_one_alone_that_got_its_number() {
    let number = |mount: &InProcess| fs::symlink_metadata(mount.root()).unwrap().dev();
    for transport in each() {
        let mount = InProcess::on(transport);
        let old = number(&mount);
        // Its threads do not see the end yet.
        let hold = mount.failpoints().hold(RequestKind::Getattr, None);
        let caller = waiting_caller(mount.root());
        assert!(hold.wait_held(Duration::from_secs(60)));
        unmount(mount.root(), UnmountFlags::FORCE | UnmountFlags::DETACH).unwrap();
        broken(caller.join().unwrap(), transport);
        // The kernel gives the lowest number that is free; other tests take some too.
        let mut others = Vec::new();
        let heir = (0..100).any(|_| {
            others.push(InProcess::on(transport));
            let found = others.last().is_some_and(|other| number(other) == old);
            if others.len() == 10 && !found {
                others.clear();
            }
            found
        });
        assert!(heir, "{transport}: nobody got the number");
        mount.detach().unwrap();
        let last = others.last().unwrap().root();
        assert!(is_mounted(last), "{transport}");
        assert_eq!(number(others.last().unwrap()), old, "{transport}");
        hold.release();
    }
}

#[test]
fn a_forced_end_answers_those_who_wait_for_a_stopped_daemon() {
    for transport in each() {
        for signal in [Signal::CONT, Signal::KILL] {
            let mut daemon = start(transport);
            let connection = Connection::of(daemon.root());
            stop(daemon.pid());
            let callers: Vec<_> = (0..30).map(|_| waiting_caller(daemon.root())).collect();
            assert!(wait_until(|| connection.waiting() >= 30));
            // EBUSY as long as the callers hold the mount: it is broken all the same.
            let _ = unmount(daemon.root(), UnmountFlags::FORCE);
            // The kernel cannot take back what is on its way to a stopped thread of the ring.
            let answered = || callers.iter().filter(|caller| caller.is_finished()).count();
            let kept = if transport == Transport::Ring { 20 } else { 0 };
            assert!(
                wait_until(|| answered() >= 30 - kept),
                "{transport}: {}",
                answered()
            );
            kill_process(daemon.pid(), signal).unwrap();
            for caller in callers {
                broken(caller.join().unwrap(), transport);
            }
            match signal {
                Signal::KILL => assert!(wait_until(|| daemon.ended().is_some())),
                _ => ends_well(daemon, transport),
            }
        }
    }
}

#[test]
fn an_aborted_connection_ends_daemon_and_mount() {
    for transport in each() {
        let daemon = start(transport);
        let connection = Connection::of(daemon.root());
        let load = Load::start(daemon.root(), 4);
        assert!(load.goes_on(20));
        connection.abort();
        assert!(wait_until(|| load.is_over()), "{transport}: a client hangs");
        for fared in load.stop() {
            // A client that had no CPU meanwhile looks where there is no mount any more.
            if fared != Err(Errno::NOENT) {
                broken(fared, transport);
            }
        }
        ends_well(daemon, transport);
    }
}

#[test]
fn clients_of_a_killed_daemon_get_errors_and_the_next_mount_works() {
    for transport in each() {
        let mut daemon = start(transport);
        let load = Load::start(daemon.root(), 6);
        assert!(load.goes_on(20));
        kill_process(daemon.pid(), Signal::KILL).unwrap();
        assert!(wait_until(|| load.is_over()), "{transport}: a client hangs");
        for fared in load.stop() {
            broken(fared, transport);
        }
        assert!(wait_until(|| daemon.ended().is_some()));
        assert!(is_mounted(daemon.root()));
        let next = Background::on(transport, daemon.root().to_owned());
        let load = Load::start(&next.mountpoint, 2);
        assert!(load.goes_on(10));
        assert_eq!(load.stop(), [Ok(()); 2], "{transport}");
        assert!(next.norefs("umount", &[]).status.success());
        assert!(
            !is_mounted(&next.mountpoint),
            "{transport}: the dead mount is below"
        );
    }
}

#[test]
fn a_stopped_daemon_goes_on_where_it_was() {
    for transport in each() {
        let daemon = start(transport);
        let connection = Connection::of(daemon.root());
        let load = Load::start(daemon.root(), 4);
        for _ in 0..3 {
            assert!(load.goes_on(20));
            stop(daemon.pid());
            assert!(wait_until(|| connection.waiting() >= 4));
            std::thread::sleep(Duration::from_millis(300));
            kill_process(daemon.pid(), Signal::CONT).unwrap();
        }
        assert!(load.goes_on(20), "{transport}: a client hangs");
        assert_eq!(load.stop(), [Ok(()); 4], "{transport}");
    }
}

/// The numbers that the kernel gave to the mount at `root`, and may give to another one later.
fn numbers(root: &Path) -> (u64, (u32, u32)) {
    let entry = top_at(root).unwrap().unwrap();
    (entry.id, entry.device)
}

#[test]
fn a_mount_of_another_user_with_the_numbers_of_one_that_ended_stays() {
    let mut met = false;
    for _ in 0..200 {
        let mut ending = Daemon::start();
        let before = numbers(ending.root());
        // It is mounted before it is served, and a daemon that never served ends with an error.
        assert_eq!(forced(ending.root()), Ok(()));
        stop(ending.pid());
        unmount(ending.root(), UnmountFlags::DETACH).unwrap();
        let theirs = Daemon::as_nobody::<&str>(&[]);
        let same = numbers(theirs.root()) == before;
        kill_process(ending.pid(), Signal::CONT).unwrap();
        assert!(wait_until(|| ending.ended().is_some()), "it lives on");
        assert!(is_mounted(theirs.root()), "same numbers: {same}");
        met |= same;
        if met {
            break;
        }
    }
    assert!(met, "the kernel gave no numbers twice");
}
