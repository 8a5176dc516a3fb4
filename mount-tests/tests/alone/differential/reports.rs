//! What differs is found, made short, and reported.

use crate::call::{Call, Step};
use crate::compare::Rivals;
use crate::look::Shown;
use crate::unasked::before_dots;
use crate::world::{Lie, Report};
use crate::{Found, round};
use rustix::io::Errno;
use std::io::Read;
use std::process::{Command, Stdio};

/// The sequence that shows a lie.
fn found(lie: Lie) -> Found {
    let found = (0..20).find_map(|seed| round(seed, 2_000, || Rivals::lying(lie)).err());
    found.expect("a lie is found")
}

#[track_caller]
fn is_one_step(found: &Found, is: fn(&Call) -> bool) {
    let steps = &found.steps;
    assert!(
        steps.len() == 1 && is(&steps[0].call),
        "{}: {steps:#?}",
        found.why
    );
}

#[test]
fn another_errno_is_reduced_to_the_call() {
    let found = found(|step, report| {
        let is_full = report.answer == Err(Errno::NOTEMPTY);
        if is_full && matches!(step.call, Call::Unlink { .. }) {
            report.answer = Err(Errno::BUSY);
        }
    });
    is_one_step(&found, |call| {
        matches!(
            call,
            Call::Unlink {
                directory: true,
                ..
            }
        )
    });
    assert!(found.why.contains("Os { code: 39"), "{}", found.why);
}

fn forget_ctime(step: &Step, report: &mut Report) {
    let Some(Ok(tree)) = &mut report.tree else {
        return;
    };
    if matches!(step.call, Call::Chmod { .. }) && report.answer.is_ok() {
        tree.values_mut().for_each(|seen| seen.ctime = Shown::Still);
    }
}

#[test]
fn a_time_that_stays_is_reduced_to_the_call() {
    let found = found(forget_ctime);
    is_one_step(&found, |call| matches!(call, Call::Chmod { .. }));
}

#[test]
fn a_world_that_breaks_down_is_reported() {
    let found = found(|step, _| {
        if matches!(step.call, Call::Mkdir { .. }) && step.user == 2 && step.look {
            panic!("broken on purpose");
        }
    });
    is_one_step(&found, |call| matches!(call, Call::Mkdir { .. }));
    assert!(found.why.contains("broken on purpose"), "{}", found.why);
}

/// What [`nobody_reads_the_report`] runs.
#[test]
#[ignore = "fails on purpose"]
fn fails_while_mounted() {
    let _daemon = mount_tests::Daemon::start();
    eprintln!("mounted");
    std::thread::sleep(std::time::Duration::from_millis(100));
    panic!("fails on purpose");
}

#[test]
fn a_failure_that_nobody_reads_ends_well() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "reports::fails_while_mounted",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads on from here.
    let mut first = [0; 7];
    child.stderr.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"mounted");
    assert_eq!(child.wait().unwrap().code(), Some(101));
}

#[test]
fn dots_are_found_in_each_place() {
    let before = |path| before_dots(path).collect::<Vec<_>>();
    assert_eq!(before("a/./../b"), ["a/", "a/./"]);
    assert_eq!(before("/.."), ["/"]);
    assert_eq!(before("."), [""]);
    assert_eq!(before("a//..b/.a/..."), [""; 0]);
}
