//! The same sequence on tmpfs and on several mounts of norefs, and what differs.

use crate::call::{BEGINNING, Step};
use crate::counts::Counts;
use crate::known;
use crate::look::Seen;
use crate::world::{Course, Job, Lie, Report, World, guarded};
use mount_tests::{Daemon, Tmpfs};
use rustix::mount::MountFlags;
use std::path::Path;
use std::sync::Arc;

const DECIDING: &str = "norefs that decides itself";

/// The mounts of norefs that are compared, by name and options.
const MOUNTS: [(&str, &str); 3] = [
    ("norefs", "allow_other"),
    ("norefs without cache", "allow_other,cache=none"),
    (
        "norefs that decides itself",
        "allow_other,permissions=daemon",
    ),
];

/// What differs.
pub struct Difference {
    pub why: String,
    /// After how many steps of the sequence.
    after: usize,
    /// Nothing but whether times moved.
    of_times: bool,
    /// A mount or its world can no longer be used.
    pub broken: bool,
}

/// Mounts of norefs beside a tmpfs.
pub struct Rivals {
    // Worlds end before the mounts they are in.
    tmpfs: World,
    norefs: Vec<(&'static str, World)>,
    _mounts: Option<(Vec<Daemon>, Tmpfs)>,
}

/// Mounts `tmpfs` once more as FUSE mounts are.
pub fn without_access_times(tmpfs: &Tmpfs) {
    let flags = MountFlags::NOATIME | MountFlags::NODEV | MountFlags::NOSUID;
    rustix::mount::mount_remount(&**tmpfs, flags, "").unwrap();
}

impl Rivals {
    /// Mounts them.
    pub fn new() -> Rivals {
        Rivals::lying(|_, _| ())
    }

    /// One of the norefs tells lies.
    pub fn lying(lie: Lie) -> Rivals {
        let tmpfs = Tmpfs::new();
        without_access_times(&tmpfs);
        let daemons: Vec<Daemon> = MOUNTS
            .iter()
            .map(|(_, options)| Daemon::with(&["-o", options]))
            .collect();
        let world = |((name, _), daemon): (&(&'static str, _), &Daemon)| {
            (*name, World::lying(daemon.root(), lie))
        };
        Rivals {
            tmpfs: World::new(&tmpfs),
            norefs: MOUNTS.iter().zip(&daemons).map(world).collect(),
            _mounts: Some((daemons, tmpfs)),
        }
    }

    /// Directories of mounts that are there.
    pub fn at(tmpfs: &Path, norefs: &Path) -> Rivals {
        Rivals {
            tmpfs: World::new(tmpfs),
            norefs: vec![("norefs", World::new(norefs))],
            _mounts: None,
        }
    }

    /// Takes `steps` everywhere and counts them; what differs first, if anything does.
    ///
    /// tmpfs gives a directory the time of the inode whose name changed in it (`shmem_unlink`), which may be the one that
    /// the directory had, if both fall into one tick of the clock. So a difference of times counts if it is there again when
    /// each step has a tick of its own.
    pub fn compare(&self, steps: &[Step], counts: &mut Counts) -> Result<(), Difference> {
        match self.take(steps, false, counts) {
            Err(difference) if difference.of_times => {
                let steps = &steps[..difference.after.min(steps.len())];
                self.take(steps, true, &mut Counts::default())
            }
            Err(mut difference) if difference.broken => {
                let again = self.take(&[], false, &mut Counts::default());
                difference.broken = again.is_err();
                Err(difference)
            }
            compared => compared,
        }
    }

    fn take(&self, steps: &[Step], apart: bool, counts: &mut Counts) -> Result<(), Difference> {
        let mut steps: Vec<Step> = BEGINNING.iter().chain(steps).copied().collect();
        if let Some(last) = steps.last_mut() {
            last.look = true;
        }
        let steps: Arc<[Step]> = steps.into();
        let worlds =
            || std::iter::once(&self.tmpfs).chain(self.norefs.iter().map(|(_, world)| world));
        for world in worlds() {
            let steps = steps.clone();
            world.start(Job {
                steps,
                apart,
                anew: true,
            });
        }
        let mut courses = worlds().map(World::finish);
        let expected = courses.next().expect("tmpfs is one of them");
        let courses: Vec<Course> = courses.collect();
        for (number, step) in steps.iter().enumerate() {
            for ((name, _), course) in self.norefs.iter().zip(&courses) {
                let place = |difference: Difference| Difference {
                    why: format!("{name}, step {number}, {:?}: {}", step.call, difference.why),
                    after: (number + 1).saturating_sub(BEGINNING.len()),
                    ..difference
                };
                let tmpfs = report(&expected, number).map_err(place)?;
                let norefs = report(course, number).map_err(place)?;
                let pair = known::Pair {
                    deciding: *name == DECIDING,
                    before: &steps[..number],
                    call: &step.call,
                    tmpfs: &tmpfs.answer,
                    unasked: tmpfs.unasked,
                    norefs: &norefs.answer,
                };
                if !go_on(&pair, counts).map_err(place)? {
                    counts.cut += 1;
                    return Ok(());
                }
                trees([tmpfs, norefs], &steps[..=number]).map_err(place)?;
            }
            if number >= BEGINNING.len() {
                counts.count(step, &expected.reports[number]);
            }
        }
        Ok(())
    }
}

fn report(course: &Course, number: usize) -> Result<&Report, Difference> {
    course.reports.get(number).ok_or_else(|| Difference {
        why: format!("the sequence cannot go on: {:?}", course.fault),
        after: 0,
        of_times: false,
        broken: true,
    })
}

fn of_answers(why: String) -> Difference {
    Difference {
        why,
        after: 0,
        of_times: false,
        broken: false,
    }
}

/// Whether both answers let the sequence go on; an error if they may not differ.
fn go_on(pair: &known::Pair, counts: &mut Counts) -> Result<bool, Difference> {
    let (tmpfs, norefs) = (pair.tmpfs, pair.norefs);
    if tmpfs != norefs {
        let why = known::why(pair)
            .ok_or_else(|| of_answers(format!("tmpfs answers {tmpfs:?}, norefs {norefs:?}")))?;
        counts.known(why, pair);
    }
    Ok(tmpfs.is_ok() == norefs.is_ok() && !known::ends(pair))
}

fn trees([tmpfs, norefs]: [&Report; 2], steps: &[Step]) -> Result<(), Difference> {
    let (Some(tmpfs), Some(norefs)) = (&tmpfs.tree, &norefs.tree) else {
        return Ok(());
    };
    let wrong = |why: &String| of_answers(why.clone());
    let (tmpfs, norefs) = (
        tmpfs.as_ref().map_err(wrong)?,
        norefs.as_ref().map_err(wrong)?,
    );
    let same = |path: &&String, same: fn(&Seen, &Seen) -> bool| {
        let both = tmpfs.get(*path).zip(norefs.get(*path));
        both.is_some_and(|(tmpfs, norefs)| same(tmpfs, norefs))
    };
    let behind = known::allocates_behind(steps);
    let fits = |path: &&String| same(path, known::same) && (behind || same(path, known::room));
    let mut paths = tmpfs.keys().chain(norefs.keys());
    match paths.clone().find(|path| !fits(path)) {
        None => Ok(()),
        Some(path) => Err(Difference {
            why: format!(
                "{path} differs\ntmpfs: {:#?}\nnorefs: {:#?}",
                tmpfs.get(path),
                norefs.get(path)
            ),
            after: 0,
            of_times: paths.all(|path| same(&path, known::same_but_for_times)),
            broken: false,
        }),
    }
}

/// Unmounts; what fails at that.
pub fn part(rivals: Rivals) -> Result<(), String> {
    guarded(|| drop(rivals))
}

/// Expects `steps` to be the same everywhere.
#[track_caller]
pub fn same(steps: &[Step]) {
    let rivals = Rivals::new();
    let compared = rivals.compare(steps, &mut Counts::default());
    let parted = part(rivals);
    if let Err(difference) = compared {
        panic!("{}", difference.why);
    }
    parted.unwrap();
}
