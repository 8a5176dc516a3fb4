//! What one group of columns asks for: an operation, its targets, and what a writer does beside it.

use crate::shape::{Name, Paths, Rng, Shape, Spread, Targets};

/// The operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// stat of a whole path.
    Walk,
    /// The attributes of a node id.
    Getattr,
    /// The target of a symbolic link, by node id.
    Readlink,
    /// stat of a path whose last name does not exist.
    Absent,
}

impl Op {
    pub const ALL: [Op; 4] = [Op::Walk, Op::Getattr, Op::Readlink, Op::Absent];

    pub fn label(self) -> &'static str {
        match self {
            Op::Walk => "stat of a path of 4 to 8 components",
            Op::Getattr => "getattr by node id",
            Op::Readlink => "readlink by node id",
            Op::Absent => "stat of a path whose last name does not exist",
        }
    }

    fn by_path(self) -> bool {
        matches!(self, Op::Walk | Op::Absent)
    }
}

/// A rename of `shape.files[file]`, in indices.
pub struct Step {
    pub from: (u32, Name),
    pub to: (u32, Name),
}

/// How long a writer's plan is when the targets are all there are.
const PLAN: usize = 4096;

/// One operation on one set of targets.
pub struct Course {
    pub op: Op,
    pub targets: Targets,
    /// Parallel to `targets.files`; empty for an operation by node id.
    pub paths: Paths,
    /// A cycle of renames: after the last one everything is where it was.
    pub plan: Vec<Step>,
}

impl Course {
    pub fn new(shape: &Shape, op: Op, spread: Spread) -> Course {
        let targets = Targets::new(shape, spread, op == Op::Readlink);
        let (paths, plan) = if op.by_path() {
            let paths = Paths::new(shape, &targets.files, op == Op::Absent);
            (paths, tour(shape, &targets))
        } else {
            (Paths::default(), there_and_back(shape, &targets))
        };
        Course {
            op,
            targets,
            paths,
            plan,
        }
    }
}

/// Moves the writer's file through directories the walks pass, and home again.
fn tour(shape: &Shape, targets: &Targets) -> Vec<Step> {
    let mover = &shape.files[shape.mover() as usize];
    let mut stops = vec![mover.dir];
    for &file in targets.files.iter().take(PLAN) {
        let dir = shape.files[file as usize].dir;
        stops.extend([dir, shape.dirs[dir as usize].parent]);
    }
    if targets.files.len() == 1 {
        // Stays on the only path but for one step in each cycle.
        let path = [stops[1], stops[2]].repeat(PLAN / 2);
        stops.extend(path);
    }
    stops.dedup();
    if stops.len() > 1 && stops.first() == stops.last() {
        stops.pop();
    }
    let next = stops.iter().cycle().skip(1);
    stops
        .iter()
        .zip(next)
        .map(|(&from, &to)| Step {
            from: (from, mover.name),
            to: (to, mover.name),
        })
        .collect()
}

/// Renames the very inodes that are read, each to another name in its directory and back.
fn there_and_back(shape: &Shape, targets: &Targets) -> Vec<Step> {
    let mut files = targets.files.clone();
    Rng(3).shuffle(&mut files);
    files.truncate(PLAN);
    let mut plan = Vec::with_capacity(2 * files.len());
    for file in files {
        let file = &shape.files[file as usize];
        let mut other = file.name;
        other[0] = b'+';
        for (from, to) in [(file.name, other), (other, file.name)] {
            plan.push(Step {
                from: (file.dir, from),
                to: (file.dir, to),
            });
        }
    }
    plan
}
