//! One filesystem under test: a thread of its own, whose root, umask and user change without anybody else's.

use crate::call::{Step, USERS};
use crate::look::{Looker, Tree};
use crate::perform::{Answer, Files};
use nix::sched::{CloneFlags, unshare};
use rustix::fd::OwnedFd;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a step answered, and what was there then if the step says to look, or what is wrong with it.
pub struct Report {
    pub answer: Answer,
    pub tree: Option<Result<Tree, String>>,
}

/// Makes the calls of sequences in one mount.
pub struct World {
    jobs: Sender<Job>,
    reports: Receiver<Report>,
}

enum Job {
    Begin,
    Join,
    Step(Step),
}

impl World {
    /// For the mount at `root`.
    pub fn new(root: &Path) -> World {
        let open = |path: &Path| rustix::fs::open(path, DIRECTORY, Mode::empty()).unwrap();
        let (mount, proc) = (open(root), open("/proc/self/fd".as_ref()));
        let (jobs, orders) = channel();
        let (results, reports) = channel();
        std::thread::spawn(move || work(&mount, &proc, &orders, &results));
        World { jobs, reports }
    }

    /// Leaves what the last sequence made and begins with an empty directory that is open to all.
    pub fn begin(&self) {
        self.jobs.send(Job::Begin).expect("the thread lives");
    }

    /// Begins in the directory that all worlds of the mount share.
    pub fn join(&self) {
        self.jobs.send(Job::Join).expect("the thread lives");
    }

    /// Starts a step.
    pub fn start(&self, step: Step) {
        self.jobs.send(Job::Step(step)).expect("the thread lives");
    }

    /// Waits for the step that was started.
    pub fn finish(&self) -> Report {
        self.reports.recv().expect("a step does not panic")
    }
}

fn work(mount: &OwnedFd, proc: &OwnedFd, orders: &Receiver<Job>, results: &Sender<Report>) {
    unshare(CloneFlags::CLONE_FS).expect("only root can have a root of its own");
    let mut sequence = None;
    for job in orders {
        match job {
            Job::Begin => {
                drop(sequence.take());
                clear(mount);
                sequence = Some((begin(mount, proc), Looker::default()));
            }
            Job::Join => sequence = Some((begin(mount, proc), Looker::default())),
            Job::Step(step) => {
                let (files, looker) = sequence.as_mut().expect("a sequence has begun");
                let answer = perform(files, &step);
                let tree = step.look.then(|| look(files, looker));
                if results.send(Report { answer, tree }).is_err() {
                    return;
                }
            }
        }
    }
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

fn perform(files: &mut Files, step: &Step) -> Answer {
    files.enter(&step.call)?;
    let (uid, gid, groups) = USERS[step.user];
    become_user(uid, gid, groups);
    let answer = files.perform(&step.call);
    become_user(0, 0, &[]);
    answer
}

fn look(files: &Files, looker: &mut Looker) -> Result<Tree, String> {
    files.leave();
    catch_unwind(AssertUnwindSafe(|| looker.look(files))).map_err(|panic| {
        let text = panic.downcast_ref::<String>();
        text.map_or("looking panics".to_owned(), String::clone)
    })
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
