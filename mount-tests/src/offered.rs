//! What a kernel may lack.

use crate::report;
use crate::{Scratch, norefs, text};
use rustix::mount::{UnmountFlags, unmount};
use std::sync::OnceLock;

/// Whether this kernel passes files through, and for us. A test of it says so and passes if not.
pub fn passthrough() -> bool {
    static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
    let refusal = REFUSAL.get_or_init(|| {
        let scratch = Scratch::new();
        let mut command = norefs();
        command.args(["mount", "-o", "allow_other,ro,passthrough"]);
        command.args([scratch.dir("source"), scratch.dir("mount")]);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        let refused = said.contains("files cannot be passed through");
        assert!(output.status.success() || refused, "{said}");
        if !refused {
            unmount(scratch.join("mount"), UnmountFlags::DETACH).unwrap();
        }
        refused.then_some(said)
    });
    if let Some(why) = refusal {
        report::skipped(why);
    }
    refusal.is_none()
}
