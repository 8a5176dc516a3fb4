//! `norefs ls`

use super::{Outcome, diff, kept, out, report};
use indicatif::{BinaryBytes, HumanCount};
use norefs::control::{self, ControlError, Stats};
use norefs::layer::Kept;
use norefs::transport::session::table::{self, MountEntry};
use rustix::process::geteuid;
use serde::Serialize;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a server may take to answer before it counts as stopped.
const PATIENCE: Duration = Duration::from_secs(1);

/// List the norefs mounts of this user, and what was kept of such; root: the mounts of everybody
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// How a mount does.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Served,
    /// Its server is stopped, or has no time.
    Silent,
    /// Its server is gone.
    Dead,
    /// Its server cannot be asked from here.
    Unknown,
    /// It is no mount: what differed in one.
    Kept,
}

/// One mount. What is not known is `None`.
#[derive(Serialize)]
struct Row {
    mountpoint: String,
    source: String,
    state: State,
    owner: Option<u32>,
    pid: Option<u32>,
    uptime_seconds: Option<u64>,
    inodes: Option<u64>,
    bytes: Option<u64>,
    memory: Option<u64>,
    /// How many differences were kept, and how long ago.
    changes: Option<usize>,
    age_seconds: Option<u64>,
    #[serde(skip)]
    stats: Option<Stats>,
}

pub fn run(args: Args) -> Outcome {
    let mut rows = rows(&mounts_of_caller()?);
    rows.extend(kept::all().iter().map(kept_row));
    let text = match args.json {
        true => serde_json::to_string(&rows)? + "\n",
        false => table(&rows),
    };
    out::print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn mounts_of_caller() -> std::io::Result<Vec<MountEntry>> {
    let caller = geteuid();
    let mut mounts = table::read()?;
    mounts.retain(MountEntry::is_norefs);
    // Those of runs, and of containers that share the directory of sockets.
    let elsewhere = control::elsewhere(&mounts, caller.as_raw());
    mounts.retain(|mount| {
        let own = mount.owner.is_none_or(|owner| owner == caller.as_raw());
        own || caller.is_root()
    });
    mounts.extend(elsewhere);
    Ok(mounts)
}

/// Asks all servers at once: some may not answer. The mounts themselves are not looked at.
fn rows(mounts: &[MountEntry]) -> Vec<Row> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = mounts
            .iter()
            .map(|mount| {
                let ask = || control::stats_within(mount, PATIENCE);
                std::thread::Builder::new().spawn_scoped(scope, ask).ok()
            })
            .collect();
        let answers = asked.into_iter().map(|asked| asked?.join().ok());
        let rows = mounts.iter().zip(answers);
        let rows = rows.map(|(mount, answer)| row(mount, answer));
        // Nobody sees it, and it is no mount by now.
        let is_past = |row: &Row| row.mountpoint.is_empty() && matches!(row.state, State::Dead);
        rows.filter(|row| !is_past(row)).collect()
    })
}

fn row(mount: &MountEntry, answer: Option<Result<Stats, ControlError>>) -> Row {
    let (state, stats) = match answer {
        Some(Ok(stats)) => (State::Served, Some(stats)),
        Some(Err(ControlError::Gone)) => (State::Dead, None),
        Some(Err(ControlError::Silent)) => (State::Silent, None),
        _ => (State::Unknown, None),
    };
    let known = |number: fn(&Stats) -> u64| stats.as_ref().map(number);
    let seen = !mount.mount_point.as_os_str().is_empty();
    let said = |name: fn(&Stats) -> &str| match &stats {
        Some(stats) if !seen => Some(name(stats).to_owned()),
        _ => None,
    };
    let [mountpoint, source] = [
        said(|stats| &stats.mountpoint).unwrap_or_else(|| shown(mount.mount_point.as_os_str())),
        said(|stats| &stats.source).unwrap_or_else(|| shown(&mount.source)),
    ];
    Row {
        mountpoint,
        source,
        state,
        owner: mount.owner,
        pid: stats.as_ref().map(|stats| stats.pid),
        uptime_seconds: known(|stats| stats.uptime_seconds),
        inodes: known(|stats| stats.inodes),
        bytes: known(|stats| stats.bytes),
        memory: known(|stats| stats.memory),
        changes: None,
        age_seconds: None,
        stats,
    }
}

fn kept_row((place, kept): &(PathBuf, Kept)) -> Row {
    Row {
        mountpoint: shown(place.as_os_str()),
        source: kept.delta.source.path.to_string(),
        state: State::Kept,
        owner: None,
        pid: None,
        uptime_seconds: None,
        inodes: None,
        bytes: kept.bytes().ok(),
        memory: None,
        changes: Some(diff::worth_telling(&kept.delta.changes).len()),
        age_seconds: Some(kept::age(kept).as_secs()),
        stats: None,
    }
}

fn shown(name: &OsStr) -> String {
    match name.is_empty() {
        true => "-".to_owned(),
        false => name.to_string_lossy().into_owned(),
    }
}

const HEADINGS: [&str; 6] = ["MOUNT POINT", "SOURCE", "PID", "AGE", "FILES", "MEMORY"];

fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let shown = lines.iter().map(|line| {
        let cells = line.iter().zip(widths);
        let padded: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    });
    shown.collect()
}

fn cells(row: &Row) -> [String; 6] {
    let names = [&row.mountpoint, &row.source].map(|name| printable(name));
    let [mountpoint, source] = names;
    if let State::Kept = row.state {
        let age = Duration::from_secs(row.age_seconds.unwrap_or_default());
        let changes = row.changes.unwrap_or_default();
        return [
            mountpoint,
            source,
            "kept".into(),
            humantime::format_duration(age).to_string(),
            format!(
                "{changes} {}",
                if changes == 1 { "change" } else { "changes" }
            ),
            BinaryBytes(row.bytes.unwrap_or_default()).to_string(),
        ];
    }
    let Some(stats) = &row.stats else {
        let state = match row.state {
            State::Dead => "dead",
            State::Silent => "does not answer",
            _ => "cannot be asked",
        };
        return [
            mountpoint,
            source,
            "-".into(),
            state.into(),
            "-".into(),
            "-".into(),
        ];
    };
    [
        mountpoint,
        source,
        stats.pid.to_string(),
        report::age(stats),
        HumanCount(stats.inodes).to_string(),
        BinaryBytes(stats.memory).to_string(),
    ]
}

/// A name on one line, and without what a terminal would obey.
fn printable(name: &str) -> String {
    let shown = name.chars().map(|letter| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    shown.collect()
}
