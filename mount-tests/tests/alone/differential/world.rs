//! One filesystem under test: a thread of its own, whose root, umask and user change without anybody else's.

use crate::call::{Step, USERS};
use crate::look::{Looker, Tree};
use crate::perform::{Answer, Files};
use crate::unasked::{self, Unasked};
use nix::sched::{CloneFlags, unshare};
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a step answered, and what was there then if the step says to look, or what is wrong with it.
pub struct Report {
    pub answer: Answer,
    pub tree: Option<Result<Tree, String>>,
    /// What it was refused for, if no name was looked up.
    pub unasked: Option<Unasked>,
}

/// The reports of a sequence, as far as it went.
#[derive(Default)]
pub struct Course {
    pub reports: Vec<Report>,
    /// Why it ended early, which no call does.
    pub fault: Option<String>,
}

/// Tells something else than what happened: how a test sees that it would be noticed.
pub type Lie = fn(&Step, &mut Report);

/// A sequence to be taken.
pub struct Job {
    pub steps: Arc<[Step]>,
    /// Whether each step has a time of its own on the kernel's coarse clock.
    pub apart: bool,
    /// Whether the directory of the sequence is to be made anew, or one that several worlds share.
    pub anew: bool,
}

/// Makes the calls of sequences in one mount.
pub struct World {
    jobs: Option<Sender<Job>>,
    courses: Receiver<Course>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// For the mount at `root`.
    pub fn new(root: &Path) -> World {
        World::lying(root, |_, _| ())
    }

    /// As [`World::new`], but each report goes through `lie`.
    pub fn lying(root: &Path, lie: Lie) -> World {
        let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
        let (mount, proc) = (open(root), open("/proc/self/fd".as_ref()));
        let (jobs, orders) = channel::<Job>();
        let (results, courses) = channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_FS).expect("only root can have a root of its own");
            for job in orders {
                let course = take(&mount, &proc, &job, lie);
                if results.send(course).is_err() {
                    return;
                }
            }
        });
        World {
            jobs: Some(jobs),
            courses,
            thread: Some(thread),
        }
    }

    /// Starts a sequence.
    pub fn start(&self, job: Job) {
        let jobs = self.jobs.as_ref().expect("it is not dropped");
        jobs.send(job).expect("the thread lives");
    }

    /// Waits for the sequence that was started.
    pub fn finish(&self) -> Course {
        self.courses.recv().expect("the thread lives")
    }
}

impl Drop for World {
    /// Nothing in the mount is open any more after this.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn take(mount: &OwnedFd, proc: &OwnedFd, job: &Job, lie: Lie) -> Course {
    let mut course = Course::default();
    let taken = guarded(|| {
        if job.anew {
            clear(mount);
        }
        let (mut files, mut looker) = (begin(mount, proc), Looker::default());
        for step in &*job.steps {
            if job.apart {
                await_tick();
            }
            let (answer, unasked) = perform(&mut files, step);
            let tree = step.look.then(|| look(&files, &mut looker));
            let mut report = Report {
                answer,
                tree,
                unasked,
            };
            lie(step, &mut report);
            course.reports.push(report);
        }
    });
    course.fault = taken.err();
    course
}

/// Waits until the coarse clock shows a time that nothing has yet. Where a processor is busy it may stand still for long; and
/// times may come from the fine one too (`ktime_get_coarse_real_ts64_mg`).
fn await_tick() {
    let now = clock_gettime(ClockId::Realtime);
    while clock_gettime(ClockId::RealtimeCoarse) <= now {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The text of a panic instead of the panic.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or("a panic".to_owned(), |text| (*text).to_owned()),
    })
}

/// The name of the directory of a sequence.
pub const NAME: &str = "sequence";

fn clear(mount: &OwnedFd) {
    rustix::process::fchdir(mount).unwrap();
    rustix::process::chroot(".").unwrap();
    if rustix::fs::lstat(NAME).is_ok() {
        std::fs::remove_dir_all(NAME).unwrap();
    }
}

fn begin(mount: &OwnedFd, proc: &OwnedFd) -> Files {
    rustix::process::fchdir(mount).unwrap();
    rustix::process::umask(Mode::empty());
    match rustix::fs::mkdir(NAME, 0o777.into()) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => panic!("mkdir: {error}"),
    }
    let root = rustix::fs::open(NAME, DIRECTORY, Mode::empty()).unwrap();
    rustix::process::fchdir(&root).unwrap();
    rustix::process::chroot(".").unwrap();
    Files::new(root, proc.try_clone().unwrap())
}

/// Makes the call; also what it was refused for, if no name was looked up.
fn perform(files: &mut Files, step: &Step) -> (Answer, Option<Unasked>) {
    if let Err(errno) = files.enter(&step.call) {
        return (Err(errno), None);
    }
    let (uid, gid, groups) = USERS[step.user];
    become_user(uid, gid, groups);
    let answer = files.perform(&step.call);
    let refused = answer == Err(Errno::ACCESS);
    let unasked = refused.then(|| unasked::stop(files, &step.call)).flatten();
    become_user(0, 0, &[]);
    (answer, unasked)
}

fn look(files: &Files, looker: &mut Looker) -> Result<Tree, String> {
    files.leave();
    guarded(|| looker.look(files))
}

/// The saved user id stays root's, so that there is a way back; no call looks at it.
fn become_user(uid: u32, gid: u32, groups: &[u32]) {
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    let set_user = || set_thread_res_uid(Uid::from_raw(uid), Uid::from_raw(uid), Uid::ROOT);
    if uid == 0 {
        set_user().unwrap();
    }
    let groups: Vec<Gid> = groups.iter().map(|&group| Gid::from_raw(group)).collect();
    let gid = Gid::from_raw(gid);
    set_thread_groups(&groups).unwrap();
    set_thread_res_gid(gid, gid, gid).unwrap();
    if uid != 0 {
        set_user().unwrap();
    }
}
