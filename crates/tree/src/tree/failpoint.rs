//! Places at which a test may step between two steps of an operation. Compiled only for tests.

use parking_lot::RwLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place in the no-reference path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failpoint {
    /// A walk, of either form, is about to go through the next component.
    BeforeStep,
    /// A name was not found; the rename sequence is not noted yet.
    BeforeStamp,
    /// It was noted, and the name is about to be looked for once more.
    BeforeSecondProbe,
    /// A rename knows how its directories lie to each other and is about to lock them.
    BeforeBothLocks,
    /// Names change hands: once before the new ones are published, once after.
    InHandOver,
    /// They did.
    AfterHandOver,
    /// A path was walked or an inode read; nothing is validated yet.
    BeforeValidate,
    /// A LOOKUP has probed its directory and found nothing; the miss is not validated yet.
    BeforeMissValidate,
    /// A LOOKUP has raised nlookup; the dentry is not validated yet.
    BeforeEdgeValidate,
    /// A by-id operation has read its inode; the read is not validated yet.
    BeforeNodeValidate,
}

type Hook = Arc<dyn Fn(Failpoint) + Send + Sync>;

static SET: AtomicBool = AtomicBool::new(false);
static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

/// Calls `hook` at every failpoint, in every thread, until the result is dropped. One at a time.
#[must_use]
pub fn install(hook: impl Fn(Failpoint) + Send + Sync + 'static) -> Installed {
    *HOOK.write() = Some(Arc::new(hook));
    SET.store(true, Ordering::SeqCst);
    Installed(())
}

/// A hook in place; dropping it takes it out.
#[derive(Debug)]
pub struct Installed(());

impl Drop for Installed {
    fn drop(&mut self) {
        SET.store(false, Ordering::SeqCst);
        *HOOK.write() = None;
    }
}

pub(crate) fn reach(failpoint: Failpoint) {
    if SET.load(Ordering::Relaxed) {
        let hook = HOOK.read().clone();
        if let Some(hook) = hook {
            hook(failpoint);
        }
    }
}
