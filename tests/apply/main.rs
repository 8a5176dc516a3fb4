//! What differs between a directory and a changed copy of it is applied to the directory: then they are the same, also when that was cut
//! off before any of its steps and started again.

mod changes;
mod mutate;
mod shape;

use changes::Inodes;
use norefs::apply::{Clash, Failed, Job, OnConflict, Root, STAGING, Step, Watch, prepare};
use norefs::delta::{Delta, PathBytes, Source};
use std::fs;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory and its changed copy.
struct Pair {
    directory: tempfile::TempDir,
    inodes: Inodes,
    /// Keep numbers of what is removed from being used again.
    _held: Vec<OwnedFd>,
    source: shape::Shape,
}

impl Pair {
    fn new() -> Pair {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let (source, copy) = (
            directory.path().join("source"),
            directory.path().join("copy"),
        );
        mutate::build(&source);
        let copied = Command::new("cp")
            .arg("-a")
            .args([&source, &copy])
            .status()
            .unwrap();
        assert!(copied.success());
        let (shape, copied) = (shape::of(&source), shape::of(&copy));
        shape::assert_same(&shape, &copied, "the copy");
        let inodes = shape
            .iter()
            .map(|(path, entry)| (copied[path].ino, entry.ino));
        let inodes = inodes.collect();
        let hold = |path: &PathBuf| {
            use rustix::fs::{CWD, Mode, OFlags, openat};
            let full = if path.as_os_str().is_empty() {
                copy.clone()
            } else {
                copy.join(path)
            };
            openat(
                CWD,
                full,
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let held = copied.keys().map(|path| hold(path).unwrap()).collect();
        Pair {
            directory,
            inodes,
            _held: held,
            source: shape,
        }
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn copy(&self) -> PathBuf {
        self.directory.path().join("copy")
    }

    fn delta(&self) -> Delta {
        let root = &self.source[Path::new("")];
        Delta {
            source: Source {
                path: PathBytes::ROOT,
                dev: root.dev,
                ino: root.ino,
            },
            changes: changes::between(&self.source, &shape::of(&self.copy()), &self.inodes),
        }
    }

    fn is_equal(&self, what: &str) {
        let (source, copy) = (shape::of(&self.source()), shape::of(&self.copy()));
        shape::assert_same(&source, &copy, what);
    }
}

struct Setting {
    only: Vec<PathBytes>,
    on_conflict: OnConflict,
    elsewhere: bool,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            only: Vec::new(),
            on_conflict: OnConflict::Stop,
            elsewhere: false,
        }
    }
}

fn apply_to(
    pair: &Pair,
    target: &Path,
    delta: &Delta,
    setting: &Setting,
    watch: &mut dyn Watch,
) -> Result<norefs::apply::Report, Failed> {
    let (mount, target) = (
        Root::open(&pair.copy()).unwrap(),
        Root::open(target).unwrap(),
    );
    let job = Job {
        delta,
        mount: &mount,
        target: &target,
        name: "the test's",
        only: &setting.only,
        on_conflict: setting.on_conflict,
        elsewhere: setting.elsewhere,
    };
    loop {
        match prepare(&job) {
            // A process that is being started by another test has the lock's descriptor for a moment.
            Err(Failed::Busy) => std::thread::yield_now(),
            prepared => return prepared?.run(watch),
        }
    }
}

fn apply(
    pair: &Pair,
    delta: &Delta,
    watch: &mut dyn Watch,
) -> Result<norefs::apply::Report, Failed> {
    apply_to(pair, &pair.source(), delta, &Setting::default(), watch)
}

/// Ends an apply before its step of that number.
struct Until {
    left: usize,
}

impl Watch for Until {
    fn step(&mut self, _: Step, _: &PathBytes) -> ControlFlow<()> {
        if self.left == 0 {
            return ControlFlow::Break(());
        }
        self.left -= 1;
        ControlFlow::Continue(())
    }
}

/// A line for each change.
fn shown(delta: &Delta) -> String {
    let line = |change: &norefs::delta::Change| {
        let base = change.base.as_ref().map(|base| base.path.to_string());
        let now = change.now.as_ref().map(|now| now.path.to_string());
        let link = change.link.as_ref().map(ToString::to_string);
        let what = (change.what, change.metadata);
        format!(
            "{what:?} {base:?} -> {now:?}, link {link:?}, content {}\n",
            change.content
        )
    };
    delta.changes.iter().map(line).collect()
}

fn changed(seed: u64) -> Pair {
    let pair = Pair::new();
    mutate::change(&pair.copy(), seed);
    pair
}

#[test]
fn both_are_the_same_afterwards() {
    for seed in 0..300 {
        let pair = changed(seed);
        let delta = pair.delta();
        let what = format!("seed {seed}");
        let report = apply(&pair, &delta, &mut ())
            .unwrap_or_else(|failed| panic!("{what}: {failed:?}\n{}", shown(&delta)));
        assert_eq!(report.conflicts, [], "{what}: {}", shown(&delta));
        pair.is_equal(&format!("{what}\n{}", shown(&delta)));
    }
}

#[test]
fn an_apply_that_was_cut_off_before_any_step_goes_on() {
    for seed in 0..48 {
        for at in 0.. {
            let pair = changed(seed);
            let delta = pair.delta();
            let what = format!("seed {seed}, cut off before step {at}\n{}", shown(&delta));
            let whole = match apply(&pair, &delta, &mut Until { left: at }) {
                Err(Failed::Stopped) => false,
                Ok(report) if report.conflicts.is_empty() => true,
                other => panic!("{what}: {other:?}"),
            };
            let report = match whole {
                true => break,
                false => apply(&pair, &delta, &mut ()),
            };
            let report = report.unwrap_or_else(|failed| panic!("{what}: {failed:?}"));
            assert_eq!(report.conflicts, [], "{what}");
            pair.is_equal(&what);
        }
    }
}

#[test]
fn a_copy_of_the_source_gets_the_same() {
    for seed in 0..48 {
        let pair = changed(seed);
        let to = pair.directory.path().join("to");
        assert!(
            Command::new("cp")
                .arg("-a")
                .args([&pair.source(), &to])
                .status()
                .unwrap()
                .success()
        );
        let setting = Setting {
            elsewhere: true,
            ..Setting::default()
        };
        let what = format!("seed {seed}");
        let report = apply_to(&pair, &to, &pair.delta(), &setting, &mut ()).unwrap();
        assert_eq!(report.conflicts, [], "{what}");
        shape::assert_same(&shape::of(&to), &shape::of(&pair.copy()), &what);
    }
}

/// What a change in the source meanwhile clashes with: in the copy by the first, there by the second.
type Clashing = (&'static str, fn(&Path), fn(&Path), Clash);

fn clashes() -> Vec<Clashing> {
    let later = |path: PathBuf| fs::write(path, "changed there meanwhile").unwrap();
    let _ = later;
    vec![
        (
            "plain",
            |copy| fs::write(copy.join("plain"), "ours").unwrap(),
            |source| fs::write(source.join("plain"), "theirs").unwrap(),
            Clash::Changed,
        ),
        (
            "plain",
            |copy| fs::write(copy.join("plain"), "ours").unwrap(),
            |source| fs::remove_file(source.join("plain")).unwrap(),
            Clash::Gone,
        ),
        (
            "plain",
            |copy| fs::remove_file(copy.join("plain")).unwrap(),
            |source| fs::write(source.join("plain"), "theirs").unwrap(),
            Clash::Changed,
        ),
        (
            "fresh",
            |copy| fs::write(copy.join("fresh"), "ours").unwrap(),
            |source| fs::write(source.join("fresh"), "theirs").unwrap(),
            Clash::Appeared,
        ),
        (
            "fresh",
            |copy| fs::create_dir(copy.join("fresh")).unwrap(),
            |source| fs::create_dir(source.join("fresh")).unwrap(),
            Clash::Appeared,
        ),
        (
            "fresh",
            |copy| fs::rename(copy.join("plain"), copy.join("fresh")).unwrap(),
            |source| fs::write(source.join("fresh"), "theirs").unwrap(),
            Clash::Appeared,
        ),
        (
            "fresh",
            |copy| fs::rename(copy.join("plain"), copy.join("fresh")).unwrap(),
            |source| fs::write(source.join("plain"), "theirs").unwrap(),
            Clash::Changed,
        ),
        (
            "d",
            |copy| fs::remove_dir_all(copy.join("d")).unwrap(),
            |source| fs::write(source.join("d/new"), "theirs").unwrap(),
            Clash::NotEmpty(b"d/new".to_vec().into()),
        ),
        (
            "plain",
            |copy| mutate::chmod(&copy.join("plain"), 0o600),
            |source| mutate::chmod(&source.join("plain"), 0o755),
            Clash::Changed,
        ),
    ]
}

#[test]
fn a_conflict_keeps_everything_from_being_written() {
    for (path, here, there, clash) in clashes() {
        let pair = Pair::new();
        here(&pair.copy());
        fs::write(pair.copy().join("other"), "something else").unwrap();
        there(&pair.source());
        let before = shape::of(&pair.source());
        let report = apply(&pair, &pair.delta(), &mut ()).unwrap();
        let found: Vec<_> = report
            .conflicts
            .iter()
            .map(|c| (c.path.to_string(), c.clash.clone()))
            .collect();
        assert_eq!(found, [(path.to_owned(), clash.clone())]);
        assert_eq!(before, shape::of(&pair.source()), "{path}, {clash:?}");
        // Left alone, the rest is written.
        let setting = Setting {
            on_conflict: OnConflict::Skip,
            ..Setting::default()
        };
        let delta = pair.delta();
        apply_to(&pair, &pair.source(), &delta, &setting, &mut ()).unwrap();
        assert_eq!(
            fs::read(pair.source().join("other")).unwrap(),
            b"something else"
        );
        let mut after = shape::of(&pair.source());
        assert!(after.remove(Path::new("other")).is_some());
        let names = |shape: &shape::Shape| shape.keys().cloned().collect::<Vec<_>>();
        match &clash {
            // What the copy removed in it is another matter.
            Clash::NotEmpty(new) => assert!(after.contains_key(new.as_path())),
            _ => assert_eq!(names(&before), names(&after), "{path}, {clash:?}"),
        }
        // Overwritten, it is the copy's.
        let setting = Setting {
            on_conflict: OnConflict::Overwrite,
            ..Setting::default()
        };
        let pair = Pair::new();
        here(&pair.copy());
        there(&pair.source());
        apply_to(&pair, &pair.source(), &pair.delta(), &setting, &mut ()).unwrap();
        let (source, copy) = (shape::of(&pair.source()), shape::of(&pair.copy()));
        assert_eq!(names(&source), names(&copy), "{path}, {clash:?}");
        let content = |shape: &shape::Shape| {
            shape
                .get(Path::new(path))
                .map(|entry| entry.content.clone())
        };
        assert_eq!(content(&source), content(&copy), "{path}, {clash:?}");
    }
}

#[test]
fn what_the_source_has_already_is_no_conflict() {
    let pair = Pair::new();
    for root in [pair.copy(), pair.source()] {
        fs::remove_file(root.join("plain")).unwrap();
    }
    let report = apply(&pair, &pair.delta(), &mut ()).unwrap();
    assert_eq!(report.conflicts, []);
    pair.is_equal("removed in both");
}

#[test]
fn only_what_is_asked_for_is_applied() {
    let pair = Pair::new();
    fs::write(pair.copy().join("one"), "1").unwrap();
    fs::create_dir(pair.copy().join("two")).unwrap();
    fs::write(pair.copy().join("two/file"), "2").unwrap();
    let only = |path: &[u8]| Setting {
        only: vec![path.to_vec().into()],
        ..Setting::default()
    };
    let delta = pair.delta();
    let inside = apply_to(&pair, &pair.source(), &delta, &only(b"two/file"), &mut ());
    assert!(matches!(inside, Err(Failed::Within(..))), "{inside:?}");
    apply_to(&pair, &pair.source(), &delta, &only(b"two"), &mut ()).unwrap();
    assert!(!pair.source().join("one").exists());
    assert_eq!(fs::read(pair.source().join("two/file")).unwrap(), b"2");
}

/// What an apply called `name` finds before it writes.
fn looked_at(pair: &Pair, delta: &Delta, name: &str) -> Result<norefs::apply::Report, Failed> {
    let (mount, target) = (
        Root::open(&pair.copy()).unwrap(),
        Root::open(&pair.source()).unwrap(),
    );
    let job = Job {
        delta,
        mount: &mount,
        target: &target,
        name,
        only: &[],
        on_conflict: OnConflict::Stop,
        elsewhere: false,
    };
    prepare(&job).map(|prepared| prepared.report)
}

#[test]
fn another_apply_that_was_cut_off_is_named() {
    let pair = changed(1);
    let delta = pair.delta();
    let mut until = Until { left: 3 };
    apply(&pair, &delta, &mut until).unwrap_err();
    assert!(pair.source().join(STAGING).is_dir());
    loop {
        match looked_at(&pair, &delta, "another one") {
            Err(Failed::Busy) => std::thread::yield_now(),
            Err(Failed::Foreign(name)) => break assert_eq!(name, "the test's"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_applies_at_once_are_refused() {
    let pair = changed(1);
    let delta = pair.delta();
    let held = fs::File::open(pair.source()).unwrap();
    held.lock().unwrap();
    assert!(matches!(looked_at(&pair, &delta, ""), Err(Failed::Busy)));
}
