//! What is timed.

use crate::contender::{Contender, Kind};
use rustix::fs::{AtFlags, CWD, Mode, StatxFlags, statx};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How many times each client does it in one turn.
const REPEATS: u32 = 4000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Course {
    ForcedStat,
    CreateUnlink,
    MkdirRmdir,
    Rename,
    CreateWriteClose,
}

impl Course {
    pub const ALL: [Course; 5] = [
        Course::ForcedStat,
        Course::CreateUnlink,
        Course::MkdirRmdir,
        Course::Rename,
        Course::CreateWriteClose,
    ];

    /// A constant answers nothing but stat.
    pub fn suits(self, contender: &Contender) -> bool {
        self == Course::ForcedStat || !matches!(contender.kind(), Kind::Constant(_))
    }

    /// Microseconds that one client needed for one turn of the work, on average over all clients.
    pub fn run(self, root: &Path, place: &Where) -> io::Result<f64> {
        let clients: Vec<_> = place.cpus.iter().enumerate().collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = clients
                .into_iter()
                .map(|(number, cpu)| {
                    let own = root.join(number.to_string());
                    scope.spawn(move || {
                        pin(*cpu)?;
                        self.client(root, own)
                    })
                })
                .collect();
            let count = threads.len() as f64;
            let times = threads
                .into_iter()
                .map(|thread| thread.join().expect("a client does not panic"));
            Ok(times.sum::<io::Result<f64>>()? / count)
        })
    }

    fn client(self, root: &Path, own: PathBuf) -> io::Result<f64> {
        if self == Course::ForcedStat {
            return time(|| {
                let flags = AtFlags::STATX_FORCE_SYNC;
                statx(CWD, root, flags, StatxFlags::BASIC_STATS)?;
                Ok(())
            });
        }
        fs::create_dir_all(&own)?;
        let (a, b) = (own.join("a"), own.join("b"));
        let took = match self {
            Course::ForcedStat => unreachable!("done above"),
            Course::CreateUnlink => time(|| {
                drop(fs::File::create_new(&a)?);
                fs::remove_file(&a)
            }),
            Course::MkdirRmdir => time(|| {
                rustix::fs::mkdir(&a, Mode::from(0o755))?;
                fs::remove_dir(&a)
            }),
            Course::Rename => {
                drop(fs::File::create_new(&a)?);
                let took = time(|| {
                    fs::rename(&a, &b)?;
                    fs::rename(&b, &a)
                })?;
                fs::remove_file(&a)?;
                Ok(took)
            }
            Course::CreateWriteClose => time(|| {
                fs::write(&a, [7; 4096])?;
                fs::remove_file(&a)
            }),
        };
        fs::remove_dir(&own)?;
        took
    }
}

fn time(mut work: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    for _ in 0..REPEATS / 10 {
        work()?;
    }
    let began = Instant::now();
    for _ in 0..REPEATS {
        work()?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(REPEATS))
}

fn pin(cpu: Option<usize>) -> io::Result<()> {
    let Some(cpu) = cpu else {
        return Ok(());
    };
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Course::ForcedStat => "forced stat",
            Course::CreateUnlink => "create + close + unlink",
            Course::MkdirRmdir => "mkdir + rmdir",
            Course::Rename => "rename there and back",
            Course::CreateWriteClose => "create + write 4 KiB + close + unlink",
        })
    }
}

/// Where the clients run: one entry for each, a CPU or anywhere.
pub struct Where {
    cpus: Vec<Option<usize>>,
}

impl Where {
    pub fn all() -> Vec<Where> {
        [
            vec![Some(0)],
            vec![Some(1)],
            vec![None],
            vec![Some(0), Some(1)],
            vec![None, None],
        ]
        .map(|cpus| Where { cpus })
        .into()
    }
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one =
            |cpu: &Option<usize>| cpu.map_or("anywhere".to_owned(), |cpu| format!("CPU {cpu}"));
        let places: Vec<_> = self.cpus.iter().map(one).collect();
        write!(f, "clients on {}", places.join(" and "))
    }
}
