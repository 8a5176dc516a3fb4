//! Counters as text.

use indicatif::{BinaryBytes, DecimalBytes, HumanCount};
use norefs::control::{KindStats, Stats};
use norefs::fs::Reading;
use norefs::source::LoadReport;
use norefs::tree::Outcomes;
use norefs::warm::State;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// One line for each kind, the most frequent first, and one each for how no-reference operations and lookups ended.
pub fn text(
    requests: &BTreeMap<String, KindStats>,
    outcomes: &Outcomes,
    lookups: &Outcomes,
) -> String {
    let mut kinds: Vec<_> = requests.iter().collect();
    kinds.sort_by_key(|(_, stats)| std::cmp::Reverse(stats.count));
    let mut out = String::new();
    let (p50, p99, max) = ("p50", "p99", "max");
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{:<12} {:>10} {:>8} {p50:>9} {p99:>9} {max:>9}",
        "requests", "count", "errors"
    );
    for (kind, stats) in kinds {
        let _ = writeln!(
            out,
            "{kind:<12} {:>10} {:>8} {:>9} {:>9} {:>9}",
            stats.count,
            stats.errors,
            duration(stats.p50_ns),
            duration(stats.p99_ns),
            duration(stats.max_ns),
        );
    }
    let _ = writeln!(out, "no-reference operations: {}", ended(outcomes));
    let _ = writeln!(out, "lookups: {}", ended(lookups));
    out
}

/// All that `norefs stats` tells.
pub fn whole(stats: &Stats) -> String {
    format!(
        "{} from {}, pid {}, up {}, {} invalidations sent, {} files of the source stale
{}
{}
{}{}{}",
        stats.mountpoint,
        stats.source,
        stats.pid,
        age(stats),
        stats.notifications,
        stats.stale,
        usage(stats),
        carriage(stats),
        follow(stats),
        warm(stats),
        text(&stats.requests, &stats.outcomes, &stats.lookups),
    )
}

fn ended(outcomes: &Outcomes) -> String {
    format!(
        "{} fast, {} fast errors, {} again, {} retried (dentry {}, attributes {}, rename {}), {} slow",
        outcomes.fast,
        outcomes.fast_error,
        outcomes.again,
        outcomes.retries(),
        outcomes.retry_edge,
        outcomes.retry_attr,
        outcomes.retry_rseq,
        outcomes.slow,
    )
}

/// One line on a run: what was loaded, read of the source and asked for, and how long each took.
pub fn of_run(
    loaded: Option<(LoadReport, Duration)>,
    reading: Reading,
    requests: u64,
    elapsed: Duration,
) -> String {
    let mut parts = Vec::new();
    if let Some((report, took)) = loaded {
        let files = HumanCount(report.entries);
        parts.push(format!("loaded {files} files in {}", seconds(took)));
        let (bytes, took) = (
            DecimalBytes(reading.bytes),
            Duration::from_nanos(reading.nanos),
        );
        parts.push(match reading.bytes {
            0 => "read nothing from the source".to_owned(),
            _ => format!("read {bytes} from the source in {}", seconds(took)),
        });
    }
    let requests = HumanCount(requests);
    parts.push(format!("{requests} requests in {}", seconds(elapsed)));
    parts.join("; ")
}

/// Seconds, with more digits where they are few.
fn seconds(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match seconds {
        ..0.1 => format!("{seconds:.3} s"),
        ..1.0 => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1} s"),
    }
}

/// One line on what is in use, and of what.
pub fn usage(stats: &Stats) -> String {
    let of = |max: u64, text: String| match max {
        u64::MAX => String::new(),
        _ => format!(" of {text}"),
    };
    let names = stats.inodes + stats.further_names;
    format!(
        "{}{} bytes in use, {}{} inodes, {} of memory{}",
        HumanCount(stats.bytes),
        of(stats.max_bytes, HumanCount(stats.max_bytes).to_string()),
        HumanCount(names),
        of(stats.max_inodes, HumanCount(stats.max_inodes).to_string()),
        BinaryBytes(stats.memory),
        if stats.read_only { ", read-only" } else { "" },
    )
}

/// How long it has been mounted.
pub fn age(stats: &Stats) -> String {
    humantime::format_duration(Duration::from_secs(stats.uptime_seconds)).to_string()
}

/// One line on how the source is followed, if it is.
pub fn follow(stats: &Stats) -> String {
    let Some(follow) = &stats.follow else {
        return String::new();
    };
    let count = |count, text| match count {
        0 => String::new(),
        count => format!(", {} {text}", HumanCount(count)),
    };
    format!(
        "follows the source: {} directories watched, {} changes{}{}{}{}{}\n",
        HumanCount(follow.watched),
        HumanCount(follow.changes),
        count(follow.conflicts, "conflicts"),
        count(follow.unwatched, "directories not watched"),
        count(follow.rescans, "times all looked at"),
        count(follow.refused, "without room"),
        if follow.lost { ", which is gone" } else { "" },
    )
}

/// One line on how requests travel, and for how long their answers are kept.
pub fn carriage(stats: &Stats) -> String {
    let queues = match stats.queues {
        0 => String::new(),
        queues => format!(", {queues} queues of {} entries", stats.queue_depth),
    };
    let (transport, threads, kib) = (&stats.transport, stats.threads, stats.max_io >> 10);
    let cache = stats.cache;
    format!(
        "{transport} transport: {threads} threads{queues}, requests of at most {kib} KiB, cache {cache}"
    )
}

/// A line on how far the mount is warmed, if it is.
pub fn warm(stats: &Stats) -> String {
    stats.warm.map_or_else(String::new, |warm| {
        let state = match warm.state {
            State::Running => "going on",
            State::Done => "done",
            State::Stopped => "stopped",
        };
        format!(
            "warming: {} of {} names, {state}\n",
            warm.entries, warm.total
        )
    })
}

/// Nanoseconds with three significant digits.
fn duration(nanos: u64) -> String {
    let (value, unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        let shown: Vec<_> = [0, 999, 1_234, 56_789, 123_456, 2_500_000, 3_000_000_000]
            .map(duration)
            .to_vec();
        let expected = [
            "0 ns", "999 ns", "1.23 us", "56.8 us", "123 us", "2.50 ms", "3.00 s",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_run_is_told_in_one_line() {
        let loaded = LoadReport {
            entries: 22_000,
            ..LoadReport::default()
        };
        let reading = Reading {
            bytes: 1_200_000,
            nanos: 30_000_000,
        };
        let (load, elapsed) = (Duration::from_millis(400), Duration::from_millis(2_100));
        assert_eq!(
            of_run(Some((loaded, load)), reading, 345, elapsed),
            "loaded 22,000 files in 0.40 s; read 1.20 MB from the source in 0.030 s; 345 requests in 2.1 s"
        );
        assert_eq!(
            of_run(None, Reading::default(), 0, elapsed),
            "0 requests in 2.1 s"
        );
    }

    #[test]
    fn the_most_frequent_kind_comes_first() {
        let stats = |count| KindStats {
            count,
            ..KindStats::default()
        };
        let requests = BTreeMap::from([
            ("getattr".to_owned(), stats(3)),
            ("lookup".to_owned(), stats(9)),
        ]);
        let lookups = Outcomes {
            fast: 7,
            retry_rseq: 2,
            ..Outcomes::default()
        };
        let text = text(&requests, &Outcomes::default(), &lookups);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(
            lines,
            ["requests", "lookup", "getattr", "no-reference", "lookups:"]
        );
        assert!(text.ends_with(
            "lookups: 7 fast, 0 fast errors, 0 again, 2 retried (dentry 0, attributes 0, rename 2), 0 slow\n"
        ));
    }
}
