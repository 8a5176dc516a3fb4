//! Every interleaving of a rename with two readers, checked against a sequential directory.
//!
//! The model is the protocol, not the code: `rseq` goes odd on the directories involved, every
//! dentry that is to go is killed, every new one is published, `rseq` goes even. A reader accepts a
//! name it found only if the dentry is live when it checks, and accepts a miss only if `rseq` was
//! even before and is unchanged after it looked. Steps are atomic and sequentially consistent; that
//! the code's barriers give what the model assumes is shown by the loom stories.

mod protocol;

use norefs_check::explore::explore;
use protocol::{ALL_CHECKS, Case, Checks, Name, Op, Step};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Move,
    Replace,
    Exchange,
    /// Move, and leave another inode under the old name.
    Leave,
    /// Replace, and leave another inode under the old name.
    ReplaceAndLeave,
}

const MODES: [Mode; 5] = [
    Mode::Move,
    Mode::Replace,
    Mode::Exchange,
    Mode::Leave,
    Mode::ReplaceAndLeave,
];

impl Mode {
    /// Whether something has the new name before.
    fn has_target(self) -> bool {
        !matches!(self, Mode::Move | Mode::Leave)
    }

    /// Whether something has the old name afterwards.
    fn refills(self) -> bool {
        !matches!(self, Mode::Move | Mode::Replace)
    }
}

/// What a rename leaves behind.
const LEFT: u8 = 3;

/// Where in its directory's probe order a new dentry's cell is, seen from the old dentry's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Placement {
    Before,
    After,
    InPlace,
}

const PLACEMENTS: [Placement; 3] = [Placement::Before, Placement::After, Placement::InPlace];

/// The writer, and what is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writer {
    Right,
    PublishBeforeKill,
    NoRseq,
    KillBeforeOdd,
    PublishAfterEven,
    OnlySourceOdd,
    OnlyTargetOdd,
}

#[derive(Clone, Copy, Debug)]
struct Story {
    mode: Mode,
    /// From directory 0 to directory 1, not within directory 0.
    across: bool,
    placement: Placement,
    writer: Writer,
    checks: Checks,
}

impl Story {
    fn new(mode: Mode) -> Story {
        Story {
            mode,
            across: true,
            placement: Placement::Before,
            writer: Writer::Right,
            checks: ALL_CHECKS,
        }
    }

    fn case(&self) -> Case {
        let target = usize::from(self.across);
        let middle = if self.placement == Placement::After {
            0
        } else {
            target
        };
        let b = self.mode.has_target().then_some(2);
        let back = if self.mode == Mode::Exchange { 2 } else { LEFT };
        Case::new(
            self.program(),
            self.checks,
            [0, 0, middle, target, target],
            b,
            back,
        )
    }

    fn program(&self) -> Vec<Step> {
        let op = match self.mode {
            Mode::Exchange => Op::Exchange,
            Mode::Leave | Mode::ReplaceAndLeave => Op::Leave(LEFT),
            Mode::Move | Mode::Replace => Op::Move,
        };
        let (odd, even) = self.window();
        let (kills, publishes, clears) = self.changes();
        let ordered = match self.writer {
            Writer::PublishBeforeKill => [odd, publishes, kills, even, clears],
            Writer::KillBeforeOdd => [kills, odd, publishes, even, clears],
            Writer::PublishAfterEven => [odd, kills, even, publishes, clears],
            _ => [odd, kills, publishes, even, clears],
        };
        [vec![Step::Invoke(op)], ordered.concat(), vec![Step::Return]].concat()
    }

    fn window(&self) -> (Vec<Step>, Vec<Step>) {
        let dirs: &[usize] = match (self.across, self.writer) {
            (_, Writer::NoRseq) => &[],
            (true, Writer::OnlySourceOdd) | (false, _) => &[0],
            (true, Writer::OnlyTargetOdd) => &[1],
            (true, _) => &[0, 1],
        };
        let odd = dirs.iter().map(|dir| Step::Odd(*dir)).collect();
        let even = dirs.iter().map(|dir| Step::Even(*dir)).collect();
        (odd, even)
    }

    /// What is killed, what is published, and which cells of killed dentries are emptied.
    fn changes(&self) -> (Vec<Step>, Vec<Step>, Vec<Step>) {
        let publish = |dentry, cell| Step::Publish { dentry, cell };
        let mut kills = vec![Step::Kill(0)];
        let mut publishes = vec![publish(2, self.new_cell(3))];
        if self.mode.has_target() {
            kills.push(Step::Kill(1));
        }
        if self.mode.refills() {
            publishes.push(publish(3, self.new_cell(1)));
        }
        let clears = match self.placement {
            Placement::InPlace if self.mode.refills() => vec![],
            Placement::InPlace => vec![Step::Clear(1)],
            _ => vec![Step::Clear(1), Step::Clear(3)],
        };
        (kills, publishes, clears)
    }

    fn new_cell(&self, old: usize) -> usize {
        match self.placement {
            Placement::Before => old - 1,
            Placement::After => old + 1,
            Placement::InPlace => old,
        }
    }

    fn assert_correct(&self) {
        let case = self.case();
        explore(&case, case.start()).assert_correct(&format!("{self:?}"));
    }

    fn assert_wrong(&self) {
        let case = self.case();
        explore(&case, case.start()).assert_wrong(&format!("{self:?}"), "not linearizable");
    }
}

#[test]
fn kill_then_publish_inside_an_odd_window_is_linearizable() {
    for mode in MODES {
        for across in [false, true] {
            for placement in PLACEMENTS {
                Story {
                    across,
                    placement,
                    ..Story::new(mode)
                }
                .assert_correct();
            }
        }
    }
}

#[test]
fn publish_before_kill_shows_both_names() {
    for mode in MODES {
        Story {
            writer: Writer::PublishBeforeKill,
            ..Story::new(mode)
        }
        .assert_wrong();
    }
}

#[test]
fn a_window_that_does_not_cover_the_rename_shows_neither_name() {
    for mode in MODES {
        for writer in [
            Writer::NoRseq,
            Writer::KillBeforeOdd,
            Writer::PublishAfterEven,
        ] {
            Story {
                writer,
                ..Story::new(mode)
            }
            .assert_wrong();
        }
    }
}

/// A plain move would do with one of the two; what leaves a name that stays in use needs its own.
#[test]
fn every_directory_involved_must_be_odd() {
    for (mode, writer) in [
        (Mode::Replace, Writer::OnlySourceOdd),
        (Mode::Exchange, Writer::OnlySourceOdd),
        (Mode::Exchange, Writer::OnlyTargetOdd),
        (Mode::Leave, Writer::OnlyTargetOdd),
        (Mode::ReplaceAndLeave, Writer::OnlySourceOdd),
    ] {
        Story {
            writer,
            ..Story::new(mode)
        }
        .assert_wrong();
    }
}

#[test]
fn a_reader_must_make_every_check() {
    for checks in [
        Checks {
            live: false,
            ..ALL_CHECKS
        },
        Checks {
            even: false,
            ..ALL_CHECKS
        },
        Checks {
            unchanged: false,
            ..ALL_CHECKS
        },
    ] {
        Story {
            checks,
            ..Story::new(Mode::Replace)
        }
        .assert_wrong();
    }
}

/// Create and unlink leave `rseq` alone: a miss beside them counts as before the one or after the other.
#[test]
fn create_and_unlink_need_no_window() {
    let program = vec![
        Step::Invoke(Op::Unlink(Name::A)),
        Step::Kill(0),
        Step::Clear(1),
        Step::Return,
        Step::Invoke(Op::Create(Name::B, 1)),
        Step::Publish { dentry: 2, cell: 2 },
        Step::Return,
        Step::Invoke(Op::Create(Name::A, 2)),
        Step::Publish { dentry: 3, cell: 0 },
        Step::Return,
    ];
    let case = Case::new(program, ALL_CHECKS, [0; 5], None, 2);
    explore(&case, case.start()).assert_correct("unlink A, create B, create A");
}
