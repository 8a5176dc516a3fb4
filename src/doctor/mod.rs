//! Whether norefs works on this machine, how well, and what to do where it does not.
//!
//! [`examine`] looks at everything and tries a real mount. [`cure`] says for one mount that failed what [`examine`] would say.

mod apparmor;
mod kernel;
mod limits;
mod machine;
mod mounting;
mod namespaces;
mod trial;

pub use apparmor::confines as apparmor_confines;
pub use machine::Machine;
pub use namespaces::cure as namespace_cure;

use crate::transport::MountError;
use rustix::io::Errno;
use serde::Serialize;
use std::path::Path;

/// What came of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// norefs works, but not as well as it could, or not for everything.
    Note,
    /// Nothing can be mounted.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: one of a few words that do not change.
    pub topic: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// The same in words.
    pub says: String,
    /// What to do about it, if something can be done.
    pub cure: Option<String>,
}

impl Finding {
    fn ok(topic: &'static str, says: impl Into<String>) -> Finding {
        Finding {
            topic,
            verdict: Verdict::Ok,
            says: says.into(),
            cure: None,
        }
    }

    fn note(topic: &'static str, says: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding {
            verdict: Verdict::Note,
            cure: Some(cure.into()),
            ..Finding::ok(topic, says)
        }
    }

    fn fail(topic: &'static str, says: impl Into<String>, cure: Option<String>) -> Finding {
        Finding {
            verdict: Verdict::Fail,
            cure,
            ..Finding::ok(topic, says)
        }
    }
}

/// Looks at everything that a mount needs, and mounts at `place`, or at a temporary directory without one, to take that away again.
/// `namespaces` is what came of making a mount namespace, which only a process with one thread can try.
pub fn examine(
    machine: &Machine,
    place: Option<&Path>,
    namespaces: Result<(), Errno>,
) -> Vec<Finding> {
    vec![
        kernel::release(machine),
        kernel::device(machine),
        kernel::ring(machine),
        mounting::fusermount(),
        apparmor::profile(machine, place),
        namespaces::allowed(machine, namespaces),
        limits::locked(),
        limits::addresses(),
        limits::group(machine),
        trial::mount(machine, place),
    ]
}

/// What can be done about a mount that was refused, if it is known.
pub fn cure(machine: &Machine, error: &MountError) -> Option<String> {
    match error {
        MountError::Device(error) => Some(kernel::device_cure(error).to_owned()),
        MountError::Refused(path, said) => {
            apparmor::cure(machine, path, said).or_else(|| mounting::cure(said))
        }
        MountError::Ring(_) if kernel::is_ring_off(machine) => {
            Some(kernel::keep_ring(machine).to_owned())
        }
        MountError::Memory => Some("raise `ulimit -v`, or free memory".to_owned()),
        _ => None,
    }
}
