//! Counters as text.

use indicatif::{BinaryBytes, HumanCount};
use norefs::control::{KindStats, Stats};
use norefs::tree::Outcomes;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// One line for each kind, the most frequent first, and one for the outcomes.
pub fn text(requests: &BTreeMap<String, KindStats>, outcomes: &Outcomes) -> String {
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
    let retried = outcomes.retry_edge + outcomes.retry_attr + outcomes.retry_rseq;
    let _ = writeln!(
        out,
        "no-reference operations: {} fast, {} fast errors, {} again, {retried} retried \
         (dentry {}, attributes {}, rename {}), {} slow",
        outcomes.fast,
        outcomes.fast_error,
        outcomes.again,
        outcomes.retry_edge,
        outcomes.retry_attr,
        outcomes.retry_rseq,
        outcomes.slow,
    );
    out
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

/// One line on how requests travel.
pub fn carriage(stats: &Stats) -> String {
    let queues = match stats.queues {
        0 => String::new(),
        queues => format!(", {queues} queues of {} entries", stats.queue_depth),
    };
    let (transport, threads, kib) = (&stats.transport, stats.threads, stats.max_io >> 10);
    format!("{transport} transport: {threads} threads{queues}, requests of at most {kib} KiB")
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
    fn the_most_frequent_kind_comes_first() {
        let stats = |count| KindStats {
            count,
            ..KindStats::default()
        };
        let requests = BTreeMap::from([
            ("getattr".to_owned(), stats(3)),
            ("lookup".to_owned(), stats(9)),
        ]);
        let text = text(&requests, &Outcomes::default());
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split(' ').next().unwrap())
            .collect();
        assert_eq!(lines, ["requests", "lookup", "getattr", "no-reference"]);
    }
}
