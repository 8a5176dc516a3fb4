//! A mount served by the test's own process, so that the test reaches the failpoints and the counters.

use crate::guard::{Scratch, Watchdog};
use crate::report;
use crate::transport;
use norefs::fs::{Config, Fs, Permissions};
use norefs::transport::failpoint::Failpoints;
use norefs::transport::{Cache, MountHandle, Options, RequestKind, Requests, Transport, mount};
use norefs::tree::{Attr, Kind, NodeId, Outcomes, Time};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mount served by the library in this process.
pub struct InProcess {
    root: PathBuf,
    handle: MountHandle,
    _watchdog: Watchdog,
    _scratch: Scratch,
}

impl InProcess {
    /// Mounts an empty tree with enough event loops that some may be held back.
    pub fn start(cache: Cache) -> InProcess {
        InProcess::with(&Options {
            cache,
            ..Options::default()
        })
    }

    /// Mounts an empty tree on a transport of the test's choice.
    pub fn on(transport: Transport) -> InProcess {
        InProcess::with(&Options {
            transport,
            ..Options::default()
        })
    }

    /// Mounts an empty tree with `options`, and eight event loops if they say nothing of those.
    pub fn with(options: &Options) -> InProcess {
        InProcess::deciding(options, Permissions::Kernel)
    }

    /// The same, with permissions decided as `permissions` says.
    pub fn deciding(options: &Options, permissions: Permissions) -> InProcess {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: load the fuse module, or start the container with --device /dev/fuse"
        );
        report::particular();
        let scratch = Scratch::new();
        let root = scratch.dir("mount");
        let config = Config {
            max_bytes: 1 << 30,
            max_inodes: 1 << 20,
            read_only: options.read_only,
        };
        let attr = Attr::new(Kind::Directory, 0o755, 0, 0, Time::now());
        let options = Options {
            transport: match options.transport {
                Transport::Auto => transport::asked(),
                chosen => chosen,
            },
            threads: options.threads.or(Some(8)),
            ..options.clone()
        };
        let fs = Fs::new(config, attr).unwrap().with_permissions(permissions);
        let fs = Arc::new(if options.acl { fs.with_acls() } else { fs });
        InProcess {
            _watchdog: Watchdog::new(&root),
            handle: mount(fs, &root, &options).expect("mounting"),
            root,
            _scratch: scratch,
        }
    }

    /// Takes the mount out of the tree, wherever it is to be seen.
    pub fn detach(&self) -> std::io::Result<()> {
        self.handle.detach()
    }

    /// Waits until the mount has ended, and says what went wrong.
    pub fn wait(&self) -> std::io::Result<()> {
        self.handle.wait()
    }

    /// The root of the mount.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of `name` in the mount.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }

    /// The filesystem behind the mount.
    pub fn fs(&self) -> &Arc<Fs> {
        self.handle.fs()
    }

    /// The places at which a test may interfere.
    pub fn failpoints(&self) -> &Arc<Failpoints> {
        self.handle.failpoints()
    }

    /// The node id of `path`, which is its inode number.
    pub fn node(&self, path: impl AsRef<Path>) -> NodeId {
        NodeId::from_raw(crate::posix::seen(path).ino)
    }

    /// The requests received so far.
    pub fn requests(&self) -> Requests {
        self.handle.requests()
    }

    /// How many times the kernel was notified so far.
    pub fn notifications(&self) -> u64 {
        self.handle.notifications()
    }

    /// How many requests of `kind` arrive while `work` is done.
    pub fn count(&self, kind: RequestKind, work: impl FnOnce()) -> u64 {
        let before = self.requests().count(kind);
        work();
        self.requests().count(kind) - before
    }

    /// How no-reference operations ended while `work` was done.
    pub fn outcomes(&self, work: impl FnOnce()) -> Outcomes {
        let before = self.fs().outcomes();
        work();
        grown(before, self.fs().outcomes())
    }

    /// How lookups ended while `work` was done.
    pub fn lookups(&self, work: impl FnOnce()) -> Outcomes {
        let before = self.fs().lookups();
        work();
        grown(before, self.fs().lookups())
    }
}

fn grown(before: Outcomes, after: Outcomes) -> Outcomes {
    Outcomes {
        fast: after.fast - before.fast,
        fast_error: after.fast_error - before.fast_error,
        again: after.again - before.again,
        retry_edge: after.retry_edge - before.retry_edge,
        retry_attr: after.retry_attr - before.retry_attr,
        retry_rseq: after.retry_rseq - before.retry_rseq,
        slow: after.slow - before.slow,
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let ended = self.handle.detach().and_then(|()| self.handle.wait());
        if !std::thread::panicking() {
            ended.expect("unmounting");
        }
    }
}
