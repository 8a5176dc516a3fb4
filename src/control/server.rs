//! The side that answers.

use crate::control::line::{Lines, PATIENCE};
use crate::control::{Change, Forking, Likeness, Question, Reply, Stats, Written, line};
use crate::delta::{Applied, Delta, PathBytes};
use crate::host::descriptor;
use crate::host::{is_memory_left, rest, take_part};
use crate::journal::{ChangedSince, Query};
use crate::transport::session::runtime::{self, ignore_missing};
use rustix::net::Shutdown;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest question, in bytes.
const QUESTION_LIMIT: usize = 4096;

/// The longest line about something that was written, in bytes.
const WRITTEN_LIMIT: usize = 1 << 20;

/// How long the next one may take.
const WRITING: Duration = Duration::from_secs(120);

/// How long one who asks for changes may wait for some at most.
const WAITING: Duration = Duration::from_secs(10);

/// Memory is looked for before each so many of them, and so many bytes for each.
const STRIDE: usize = 4096;
const WRITTEN_BYTES: usize = 1024;

/// How long a mount for a fork may take to be made.
const MOUNTING: Duration = Duration::from_secs(30);

/// The longest line about it, in bytes: two paths, in numbers.
const FORKING_LIMIT: usize = 64 << 10;

/// What can be asked of whoever serves a mount. The answers must not touch the mount.
pub trait Asked: Send + Sync + 'static {
    /// Whether the mount is still there. Once it is not, nobody is answered.
    fn is_there(&self) -> bool;

    /// The counters.
    fn stats(&self) -> Stats;

    /// Changes limits, or says why not.
    fn set(&self, change: Change) -> Result<(), String>;

    /// What differs from the source, or why nobody knows.
    fn delta(&self) -> Result<Delta, String>;

    /// Makes the source the one that further differences are told from, after `applied` was written there. Gives how many
    /// of it hold, or why none does. Asked beside other questions.
    fn rebase(&self, applied: Vec<Applied>) -> Result<usize, String>;

    /// Returns when what the source had before the call is seen in the mount, or says why that is not so. What is at `look` is
    /// looked at again before, whatever the system told of it.
    fn sync(&self, look: Option<PathBytes>) -> Result<(), String>;

    /// What both the mount and its source have changed.
    fn conflicts(&self) -> Vec<PathBytes>;

    /// Which paths changed, or why that is not to be known. May wait as long as it is asked to, and is asked beside other questions.
    fn changes(&self, query: &Query) -> Result<ChangedSince, String>;

    /// How a fork is to be mounted, or why there can be none.
    fn likeness(&self) -> Result<Likeness, String>;

    /// Makes a copy of this process that serves the mount of `forking` through `device`, and tells `asker` once it does, or why not.
    /// Returns here when the copy has ended, or with the reason why there is none, which is told then. Asked beside other questions.
    fn fork(&self, device: OwnedFd, forking: Forking, asker: Asker) -> Result<(), (Asker, String)>;
}

/// Whoever asked for a fork, and waits.
#[derive(Debug)]
pub struct Asker(UnixStream);

impl Asker {
    /// Says how that came out. Whoever waits no more is not told.
    pub fn tell(self, outcome: Result<(), String>) {
        let answer = outcome.map_or_else(Reply::Error, |()| Reply::Done);
        if let Err(error) = line::send(&self.0, &answer) {
            tracing::debug!(%error, "nobody waits for the fork");
        }
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Answers on a mount's socket until it is dropped, which removes the socket.
pub struct Server {
    path: PathBuf,
    /// Which file is ours: the next mount may get our device number, and so our name.
    inode: u64,
    listener: Arc<UnixListener>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts answering for the mount with this device number.
    ///
    /// Fails if no private directory for the socket can be had.
    pub fn start(device: (u32, u32), asked: impl Asked) -> io::Result<Server> {
        let dir = runtime::directory()?;
        Server::bind(&dir.join(runtime::socket_name(device)), asked)
    }

    fn bind(path: &Path, asked: impl Asked) -> io::Result<Server> {
        // Somebody listens before it has its name: others take one that nobody listens on away.
        let new = path.with_extension(format!("new-{}", std::process::id()));
        fs::remove_file(&new).or_else(ignore_missing)?;
        let listener = Arc::new(UnixListener::bind(&new)?);
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        // The device number is ours, so a socket of that name was left behind.
        fs::rename(&new, path)?;
        let inode = fs::symlink_metadata(path)?.ino();
        let ending = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("norefs-control".to_owned())
            .spawn({
                let (listener, ending, asked) = (listener.clone(), ending.clone(), Arc::new(asked));
                move || accept(&listener, &ending, &asked)
            })
            // A socket that nobody listens to says that the server is gone.
            .inspect_err(|_| fs::remove_file(path).unwrap_or_default())?;
        Ok(Server {
            path: path.to_owned(),
            inode,
            listener,
            ending,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let woken = rustix::net::shutdown(&*self.listener, Shutdown::Both).is_ok();
        if let Some(thread) = self.thread.take()
            && woken
        {
            thread.join().unwrap_or_default();
        }
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path).or_else(ignore_missing) {
            tracing::debug!(%error, "the control socket could not be removed");
        }
    }
}

fn accept(listener: &UnixListener, ending: &AtomicBool, asked: &Arc<impl Asked>) {
    while !ending.load(Ordering::SeqCst) {
        match rest(|| listener.accept()) {
            Ok((stream, _)) => {
                if let Err(error) = answer(stream, asked) {
                    tracing::debug!(%error, "a control connection failed");
                }
            }
            // Out of descriptors, or the listener was shut down.
            Err(_) => rest(|| std::thread::sleep(Duration::from_millis(10))),
        }
    }
}

fn answer(stream: UnixStream, asked: &Arc<impl Asked>) -> io::Result<()> {
    if !asked.is_there() {
        return Ok(());
    }
    let peer = rustix::net::sockopt::socket_peercred(&stream)?.uid;
    let answer = if !peer.is_root() && peer != rustix::process::geteuid() {
        Reply::Error("not permitted".to_owned())
    } else {
        match line::receive(&stream, QUESTION_LIMIT, PATIENCE) {
            Ok(Question::Stats) => Reply::Stats(Box::new(asked.stats())),
            Ok(Question::Set(change)) => match asked.set(change) {
                Ok(()) => Reply::Done,
                Err(reason) => Reply::Error(reason),
            },
            Ok(Question::Delta) => match asked.delta() {
                Ok(delta) => return beside(move || tell(&stream, delta)),
                Err(reason) => Reply::Error(reason),
            },
            Ok(Question::Sync { look }) => {
                let asked = Arc::clone(asked);
                return beside(move || {
                    let synced = asked.sync(look);
                    let answer = synced.map_or_else(Reply::Error, |()| Reply::Done);
                    line::send(&stream, &answer)
                });
            }
            Ok(Question::Conflicts) => {
                let conflicts = asked.conflicts().into_iter().map(Reply::Conflict);
                let told = conflicts.chain([Reply::Done]).collect::<Vec<_>>();
                return beside(move || line::send_all(&stream, told));
            }
            Ok(Question::Rebase) => {
                let asked = Arc::clone(asked);
                return beside(move || rebase(&stream, &asked));
            }
            Ok(Question::Fork) => match asked.likeness() {
                Ok(like) => {
                    let asked = Arc::clone(asked);
                    return beside(move || fork(stream, like, &asked));
                }
                Err(reason) => Reply::Error(reason),
            },
            Ok(Question::Changes(query)) => {
                let asked = Arc::clone(asked);
                return beside(move || tell_changes(&stream, &asked, query));
            }
            Err(error) => Reply::Error(error.to_string()),
        }
    };
    line::send(&stream, &answer)
}

/// Others are answered meanwhile: whoever asked may read, or write, slowly.
fn beside(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("norefs-delta".to_owned());
    let begun = thread.spawn(move || {
        take_part();
        if let Err(error) = work() {
            tracing::debug!(%error, "a control connection failed");
        }
    });
    begun.map(drop)
}

fn rebase(stream: &UnixStream, asked: &Arc<impl Asked>) -> io::Result<()> {
    line::send(stream, &Reply::Tell)?;
    let rebased = written(stream).and_then(|applied| asked.rebase(applied));
    let answer = rebased.map_or_else(Reply::Error, Reply::Rebased);
    line::send(stream, &answer)
}

fn fork(stream: UnixStream, like: Likeness, asked: &Arc<impl Asked>) -> io::Result<()> {
    line::send(&stream, &Reply::Like(Box::new(like)))?;
    stream.set_read_timeout(Some(MOUNTING))?;
    let device = rest(|| descriptor::receive(&stream))?;
    let forking: Forking = line::receive(&stream, FORKING_LIMIT, PATIENCE)?;
    let forked = asked.fork(device, forking, Asker(stream));
    forked.unwrap_or_else(|(asker, reason)| asker.tell(Err(reason)));
    Ok(())
}

/// All that was written, or why it is not taken.
fn written(stream: &UnixStream) -> Result<Vec<Applied>, String> {
    let mut lines = Lines::new(stream, WRITTEN_LIMIT);
    let mut applied = Vec::new();
    loop {
        match lines.receive(WRITING).map_err(|error| error.to_string())? {
            Written::Applied(one) => applied.push(*one),
            Written::End => return Ok(applied),
        }
        if applied.len() % STRIDE == 1 && !is_memory_left(STRIDE * WRITTEN_BYTES) {
            return Err("there is no memory for so many differences".to_owned());
        }
    }
}

fn tell(stream: &UnixStream, delta: Delta) -> io::Result<()> {
    let changes = delta.changes.into_iter();
    let changes = changes.map(|change| Reply::Change(Box::new(change)));
    let first = std::iter::once(Reply::Source(delta.source));
    line::send_all(stream, first.chain(changes).chain([Reply::Done]))
}

fn tell_changes(stream: &UnixStream, asked: &Arc<impl Asked>, query: Query) -> io::Result<()> {
    let patience = query.patience.min(WAITING);
    match asked.changes(&Query { patience, ..query }) {
        Err(reason) => line::send(stream, &Reply::Error(reason)),
        Ok(changed) => {
            let token = Reply::Token(changed.token, changed.paths.is_some());
            let paths = changed.paths.into_iter().flatten().map(Reply::Path);
            line::send_all(
                stream,
                [token].into_iter().chain(paths).chain([Reply::Done]),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::{Base, Change, Metadata, Seen, Source, What};
    use crate::transport::{Options, Permissions};
    use crate::tree::Attr;
    use std::io::Write;
    use std::sync::atomic::AtomicU32;

    /// As a number of inodes: the mount is gone.
    const ENDED: u32 = u32::MAX;

    /// Shows as its process id what was last set as the number of inodes.
    struct Echo(AtomicU32);

    impl Asked for Echo {
        fn is_there(&self) -> bool {
            self.0.load(Ordering::Relaxed) != ENDED
        }

        fn stats(&self) -> Stats {
            Stats {
                pid: self.0.load(Ordering::Relaxed),
                ..Stats::default()
            }
        }

        fn set(&self, change: super::Change) -> Result<(), String> {
            let inodes = change.max_inodes.unwrap_or_default();
            self.0.store(inodes as u32, Ordering::Relaxed);
            Ok(())
        }

        fn delta(&self) -> Result<Delta, String> {
            match self.0.load(Ordering::Relaxed) {
                0 => Err("it has no source".to_owned()),
                number => Ok(many(number)),
            }
        }

        fn sync(&self, look: Option<PathBytes>) -> Result<(), String> {
            look.map_or(Ok(()), |path| Err(path.to_string()))
        }

        fn conflicts(&self) -> Vec<PathBytes> {
            vec![PathBytes::ROOT.join(b"a\xff"), PathBytes::ROOT.join(b"b")]
        }

        fn likeness(&self) -> Result<Likeness, String> {
            Ok(Likeness {
                options: Options::default(),
                permissions: Permissions::Kernel,
            })
        }

        fn fork(&self, device: OwnedFd, _: Forking, asker: Asker) -> Result<(), (Asker, String)> {
            match rustix::fs::fstat(&device) {
                Ok(_) if self.0.load(Ordering::Relaxed) == 0 => {
                    Err((asker, "it is busy".to_owned()))
                }
                _ => {
                    asker.tell(Ok(()));
                    Ok(())
                }
            }
        }

        fn rebase(&self, applied: Vec<Applied>) -> Result<usize, String> {
            let changes = applied.into_iter().map(|one| one.change);
            let changes: Vec<_> = changes.collect();
            self.0.store(changes.len() as u32, Ordering::Relaxed);
            let same = many(changes.len() as u32).changes == changes;
            same.then_some(changes.len()).ok_or("other ones".to_owned())
        }

        fn changes(&self, _: &Query) -> Result<ChangedSince, String> {
            Err("nothing changes here".to_owned())
        }
    }

    fn many(number: u32) -> Delta {
        let path = |number: u32| PathBytes::from(format!("file \n {number}\u{fc}").into_bytes());
        let change = |number| Change {
            what: What::Removed,
            base: Some(Base {
                path: path(number),
                dev: None,
                ino: Some(number.into()),
                seen: Seen::of(&Attr::default()),
            }),
            now: None,
            content: false,
            metadata: Metadata::default(),
            link: None,
            replaced: false,
        };
        Delta {
            source: Source {
                path: b"/\xff".to_vec().into(),
                dev: 1,
                ino: 2,
            },
            changes: (0..number).map(change).collect(),
        }
    }

    fn server(dir: &Path) -> Server {
        Server::bind(&dir.join("socket"), Echo(AtomicU32::new(7))).unwrap()
    }

    fn ask(dir: &Path, bytes: &[u8]) -> Reply {
        let mut stream = UnixStream::connect(dir.join("socket")).unwrap();
        // The server may answer and hang up before everything is written.
        stream.write_all(bytes).unwrap_or_default();
        stream
            .shutdown(std::net::Shutdown::Write)
            .unwrap_or_default();
        line::receive(&stream, 1 << 20, line::PATIENCE).unwrap()
    }

    #[test]
    fn a_question_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let answer = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(answer, Reply::Stats(stats) if stats.pid == 7));
    }

    #[test]
    fn a_change_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let change = b"{\"request\":\"set\",\"max_inodes\":9}\n";
        assert_eq!(ask(dir.path(), change), Reply::Done);
        let answer = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(answer, Reply::Stats(stats) if stats.pid == 9));
    }

    #[test]
    fn nobody_is_answered_for_a_mount_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let echo = Echo(AtomicU32::new(ENDED));
        let _server = Server::bind(&dir.path().join("socket"), echo).unwrap();
        let stream = UnixStream::connect(dir.path().join("socket")).unwrap();
        let answer = line::receive::<Reply>(&stream, 100, PATIENCE);
        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn differences_come_one_by_one_and_their_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let _server = Server::bind(&dir.path().join("socket"), Echo(AtomicU32::new(5000))).unwrap();
        let stream = UnixStream::connect(dir.path().join("socket")).unwrap();
        line::send(&stream, &Question::Delta).unwrap();
        let other = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(other, Reply::Stats(_)), "nobody else waits");
        let mut lines = Lines::new(&stream, 1 << 10);
        let mut next = || lines.receive::<Reply>(line::PATIENCE).unwrap();
        let expected = many(5000);
        assert_eq!(next(), Reply::Source(expected.source));
        for change in expected.changes {
            assert_eq!(next(), Reply::Change(Box::new(change)));
        }
        assert_eq!(next(), Reply::Done);
    }

    fn lines(number: u32) -> Vec<Written> {
        let applied = many(number).changes.into_iter().map(|change| Applied {
            change,
            found: None,
        });
        applied.map(|one| Written::Applied(Box::new(one))).collect()
    }

    /// What comes of `written`, line by line.
    fn told(dir: &Path, written: &[&[u8]]) -> Reply {
        let mut stream = UnixStream::connect(dir.join("socket")).unwrap();
        line::send(&stream, &Question::Rebase).unwrap();
        let answer: Reply = line::receive(&stream, 100, PATIENCE).unwrap();
        assert_eq!(answer, Reply::Tell);
        for line in written {
            stream.write_all(line).unwrap_or_default();
        }
        stream
            .shutdown(std::net::Shutdown::Write)
            .unwrap_or_default();
        line::receive(&stream, 1 << 20, PATIENCE).unwrap()
    }

    #[test]
    fn what_was_written_comes_one_by_one_and_others_are_answered_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let stream = UnixStream::connect(dir.path().join("socket")).unwrap();
        line::send(&stream, &Question::Rebase).unwrap();
        let mut answers = Lines::new(&stream, 1 << 10);
        let mut next = || answers.receive::<Reply>(PATIENCE).unwrap();
        assert_eq!(next(), Reply::Tell);
        let lines = lines(9000);
        line::send_all(&stream, &lines[..5000]).unwrap();
        let other = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(other, Reply::Stats(stats) if stats.pid == 7));
        line::send_all(&stream, &lines[5000..]).unwrap();
        line::send(&stream, &Written::End).unwrap();
        assert_eq!(next(), Reply::Rebased(9000));
    }

    #[test]
    fn what_was_written_counts_for_nothing_without_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let line = |written: &Written| serde_json::to_vec(written).unwrap();
        let one = [line(&lines(1)[0]), b"\n".to_vec()].concat();
        let long = vec![b' '; WRITTEN_LIMIT + 1];
        let hostile: [&[&[u8]]; 7] = [
            &[],
            &[&one],
            &[&one, &line(&Written::End)],
            &[&one, b"null\n", b"\"end\"\n"],
            &[&one, b"{\"applied\":{}}\n", b"\"end\"\n"],
            &[&one, &long, b"\n\"end\"\n"],
            &[b"\xff\n"],
        ];
        for written in hostile {
            let answer = told(dir.path(), written);
            assert!(matches!(answer, Reply::Error(_)), "{answer:?}");
        }
        let stats = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(stats, Reply::Stats(stats) if stats.pid == 7));
        assert_eq!(told(dir.path(), &[&one, b"\"end\"\n"]), Reply::Rebased(1));
    }

    #[test]
    fn why_nobody_knows_what_differs_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let _server = Server::bind(&dir.path().join("socket"), Echo(AtomicU32::new(0))).unwrap();
        let answer = ask(dir.path(), b"{\"request\":\"delta\"}\n");
        assert_eq!(answer, Reply::Error("it has no source".to_owned()));
    }

    #[test]
    fn hostile_lines_are_answered_with_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let deep = [b"[".repeat(3000), b"\n".to_vec()].concat();
        let hostile: &[&[u8]] = &[
            b"",
            b"\n",
            b"\xff\xfe\x00\n",
            b"{\"request\":\"stats\"}",
            b"{\"request\":\"reboot\"}\n",
            b"{\"request\":\"stats\",\"request\":\"stats\"}\n",
            b"{\"request\":1e999}\n",
            b"{\"request\":\"set\",\"max_inodes\":-1}\n",
            b"{\"request\":\"set\",\"max_inode\":1}\n",
            b"null\n",
            &deep,
        ];
        for bytes in hostile {
            let answer = ask(dir.path(), bytes);
            assert!(matches!(answer, Reply::Error(_)), "{bytes:?}: {answer:?}");
        }
        let answer = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(answer, Reply::Stats(_)), "still answering");
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _server = server(dir.path());
        let mut stream = UnixStream::connect(dir.path().join("socket")).unwrap();
        stream.write_all(&vec![b' '; QUESTION_LIMIT]).unwrap();
        let answer: Reply = line::receive(&stream, 1 << 20, line::PATIENCE).unwrap();
        assert!(matches!(answer, Reply::Error(reason) if reason.contains("too long")));
    }

    #[test]
    fn the_socket_is_private_and_goes_with_the_server() {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path());
        let mode = fs::metadata(dir.path().join("socket"))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        drop(server);
        assert!(!dir.path().join("socket").exists());
    }

    #[test]
    fn a_server_leaves_its_successor_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = server(dir.path());
        let _second = server(dir.path());
        drop(first);
        let answer = ask(dir.path(), b"{\"request\":\"stats\"}\n");
        assert!(matches!(answer, Reply::Stats(_)));
    }
}
