//! Mounts on machines whose CPUs are few, busy, forbidden or taken away. In a file of its own, and one after the other,
//! since other tests would feel it.

use mount_tests::posix::forced;
use mount_tests::transport::{Transport, each};
use mount_tests::{Daemon, InProcess, Load, norefs};
use norefs::transport::{Options, RequestKind};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The CPUs this process may use.
fn cpus() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect()
}

/// Keeps the calling thread on `cpu`.
fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).unwrap();
}

/// Does `work` on each CPU in turn.
fn on_each_cpu(work: impl Fn(usize) + Sync) {
    for cpu in cpus() {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin(cpu);
                work(cpu);
            });
        });
    }
}

/// Requests of several kinds and sizes from each CPU.
fn serves_every_cpu(root: &Path) {
    on_each_cpu(|cpu| {
        let dir = root.join(format!("cpu{cpu}"));
        fs::create_dir(&dir).unwrap();
        let content = vec![cpu as u8; 300_000];
        fs::write(dir.join("file"), &content).unwrap();
        assert_eq!(fs::read(dir.join("file")).unwrap(), content);
        (0..100).for_each(|_| assert_eq!(forced(dir.join("file")).size, 300_000));
        fs::remove_file(dir.join("file")).unwrap();
        fs::remove_dir(&dir).unwrap();
    });
}

#[track_caller]
fn bears_a_load(daemon: &Daemon, transport: Transport) {
    let load = Load::start(daemon.root(), 4);
    assert!(load.goes_on(40), "{transport}: a client hangs");
    assert_eq!(load.stop(), [Ok(()); 4], "{transport}");
}

#[test]
fn a_daemon_confined_to_one_cpu_serves_all() {
    let _alone = alone();
    for transport in each() {
        let mut command = Command::new("taskset");
        command
            .args(["-c", &cpus()[0].to_string()])
            .arg(norefs().get_program());
        let daemon = Daemon::by(command, transport);
        serves_every_cpu(daemon.root());
        bears_a_load(&daemon, transport);
    }
}

#[test]
fn one_thread_serves_all() {
    let _alone = alone();
    for transport in each() {
        let daemon = Daemon::on(transport, &["--threads", "1"]);
        serves_every_cpu(daemon.root());
        bears_a_load(&daemon, transport);
    }
}

#[test]
fn a_busy_cpu_does_not_make_a_caller_hang() {
    let _alone = alone();
    for transport in each() {
        let daemon = Daemon::on(transport, &[""; 0]);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    pin(cpus()[0]);
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            // A hang is ended by the watchdog, and so a failure.
            on_each_cpu(|_| (0..20).for_each(|_| _ = forced(daemon.root())));
            over.store(true, Ordering::Relaxed);
        });
    }
}

/// Fifty callers on a CPU wait, and others on it are served.
fn serves_beside_slow_ones(transport: Transport, threads: Option<usize>) {
    let mount = InProcess::with(&Options {
        transport,
        threads,
        ..Options::default()
    });
    let (slow, quick) = (mount.path("slow"), mount.path("quick"));
    fs::write(&slow, "").unwrap();
    fs::write(&quick, "").unwrap();
    let asks = |path: &Path| {
        pin(cpus()[0]);
        forced(path);
    };
    let node = mount.node(&slow);
    let hold = mount.failpoints().hold(RequestKind::Getattr, Some(node));
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| asks(&slow));
        }
        assert!(hold.wait_held(Duration::from_secs(60)), "{transport}");
        // A hang is ended by the watchdog, and so a failure.
        for _ in 0..20 {
            scope.spawn(|| asks(&quick)).join().unwrap();
        }
        hold.release();
    });
}

#[test]
fn callers_of_one_cpu_are_served_beside_many_slow_ones() {
    let _alone = alone();
    for transport in each() {
        serves_beside_slow_ones(transport, None);
        serves_beside_slow_ones(transport, Some(1));
    }
}

const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";

/// CPU 1 is away as long as this lives. A process out of reach of what may end this one brings it back.
struct Unplugged(Child);

impl Unplugged {
    fn new() -> Unplugged {
        let script =
            format!("trap '' INT TERM HUP; echo 0 > {ONLINE}; echo; read end; echo 1 > {ONLINE}");
        let child = Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut said = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Unplugged(child)
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        let told = self.0.stdin.take().map(|mut stdin| stdin.write_all(b"\n"));
        let ended = self.0.wait();
        if !std::thread::panicking() {
            told.unwrap().unwrap();
            assert!(ended.unwrap().success(), "CPU 1 stays away");
        }
    }
}

fn is_online() -> bool {
    fs::read_to_string(ONLINE).is_ok_and(|value| value.trim() == "1")
}

#[test]
fn a_cpu_can_go_and_come_back() {
    let _alone = alone();
    // Written with what is there already, which changes nothing.
    if !is_online() || fs::write(ONLINE, "1").is_err() || cpus().len() < 2 {
        eprintln!("left out: CPU 1 cannot be taken away on this machine ({ONLINE})");
        return;
    }
    for transport in each() {
        let daemon = Daemon::on(transport, &[""; 0]);
        let load = Load::start(daemon.root(), 4);
        assert!(load.goes_on(20), "{transport}: a client hangs");
        let unplugged = Unplugged::new();
        assert!(!is_online());
        assert!(
            load.goes_on(20),
            "{transport}: a client hangs without CPU 1"
        );
        drop(unplugged);
        assert!(is_online());
        assert!(
            load.goes_on(20),
            "{transport}: a client hangs with CPU 1 back"
        );
        assert_eq!(load.stop(), [Ok(()); 4], "{transport}");
        serves_every_cpu(daemon.root());
    }
}
