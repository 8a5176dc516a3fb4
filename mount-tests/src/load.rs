//! Clients that keep a mount busy.

use crate::posix::{Outcome, forced};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// How many files each client leaves behind.
const KEPT: usize = 50;

/// Clients at work, each in a directory of its own, until [`Load::stop`] or the first error.
pub struct Load {
    clients: Vec<JoinHandle<Result<(), Errno>>>,
    root: PathBuf,
    rounds: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Load {
    /// Starts `clients` of them below `root`. Each has its directory by then: none waits for others that make one.
    pub fn start(root: &Path, clients: usize) -> Load {
        let (rounds, over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let client = |n| {
            let (dir, rounds, over) = (directory(root, n), rounds.clone(), over.clone());
            let made = fs::create_dir(&dir).outcome();
            std::thread::spawn(move || {
                made?;
                let mut round = 0;
                while !over.load(Ordering::SeqCst) {
                    work(&dir, round).outcome()?;
                    rounds.fetch_add(1, Ordering::SeqCst);
                    round += 1;
                }
                Ok(())
            })
        };
        Load {
            clients: (0..clients).map(client).collect(),
            root: root.to_owned(),
            rounds,
            over,
        }
    }

    /// Waits until `rounds` more rounds are done; false if they are not within a minute.
    pub fn goes_on(&self, rounds: usize) -> bool {
        let wanted = self.rounds.load(Ordering::SeqCst) + rounds;
        crate::wait_until(|| self.rounds.load(Ordering::SeqCst) >= wanted)
    }

    /// Whether every client has met an error.
    pub fn is_over(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Ends the clients: how each of them fared. Those that met no error find what they left.
    #[track_caller]
    pub fn stop(self) -> Vec<Result<(), Errno>> {
        self.over.store(true, Ordering::SeqCst);
        let join = |(n, client): (usize, JoinHandle<Result<(), Errno>>)| {
            let fared = client.join().expect("a client does not panic");
            if fared.is_ok() {
                check(&directory(&self.root, n));
            }
            fared
        };
        self.clients.into_iter().enumerate().map(join).collect()
    }
}

fn directory(root: &Path, client: usize) -> PathBuf {
    root.join(format!("client{client}"))
}

fn content(name: usize) -> String {
    name.to_string().repeat(2000)
}

/// A file is written under another name, moved to its own, read, looked at and linked.
fn work(dir: &Path, round: usize) -> io::Result<()> {
    let name = round % KEPT;
    let (new, path, link) = (
        dir.join("new"),
        dir.join(name.to_string()),
        dir.join("link"),
    );
    fs::write(&new, content(name))?;
    fs::rename(&new, &path)?;
    let file = File::open(&path)?;
    assert_eq!(io::read_to_string(&file)?, content(name));
    assert_eq!(file.metadata()?.len(), content(name).len() as u64);
    fs::hard_link(&path, &link)?;
    fs::remove_file(&link)?;
    fs::read_dir(dir)?.try_for_each(|entry| entry.map(drop))
}

/// Every file is there with what was written last.
#[track_caller]
fn check(dir: &Path) {
    let names = fs::read_dir(dir).unwrap().count();
    assert!(names <= KEPT, "{names} names in {}", dir.display());
    for name in 0..names {
        let path = dir.join(name.to_string());
        assert_eq!(fs::read_to_string(&path).unwrap(), content(name));
        assert_eq!(forced(&path).nlink, 1);
    }
}
