//! `norefs stats --watch`: a line for each interval, with what came in it.

use super::fail::Failure;
use indicatif::{BinaryBytes, HumanCount};
use norefs::control::{self, ControlError, KindStats, Stats};
use norefs::transport::session::table::MountEntry;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Lines between two headers.
const PAGE: u64 = 20;
/// Kinds with a column of their own. What else comes is counted together.
const KINDS: [&str; 5] = ["lookup", "getattr", "readdir", "read", "write"];

/// How often to look: a duration such as 500ms, or seconds.
pub fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let parsed = seconds.or_else(|| humantime::parse_duration(text).ok());
    let sensible = parsed.filter(|time| (MOMENT..=DAY).contains(time));
    sensible.ok_or_else(|| "expected a duration from 100ms to 1day".to_owned())
}

const MOMENT: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);

/// Prints until the mount is gone, or nobody reads any more.
pub fn watch(entry: &MountEntry, every: Duration, json: bool) -> Result<(), Failure> {
    let ask = || match control::stats(entry) {
        Ok(stats) => Ok(Some(stats)),
        Err(ControlError::NotFound | ControlError::Gone) => Ok(None),
        Err(error) => Err(error),
    };
    let Some(mut before) = ask()? else {
        return Ok(());
    };
    let mut at = Instant::now();
    for number in 0.. {
        std::thread::sleep(every.saturating_sub(at.elapsed()));
        let elapsed = at.elapsed();
        at = Instant::now();
        let Some(now) = ask()? else {
            return Ok(());
        };
        let text = match (json, number % PAGE) {
            (true, _) => serde_json::to_string(&now)? + "\n",
            (false, 0) => header() + &line(&before, &now, elapsed),
            (false, _) => line(&before, &now, elapsed),
        };
        let mut stdout = io::stdout();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        before = now;
    }
    Ok(())
}

fn header() -> String {
    let mut out = format!("{:>10} {:>8}", "requests/s", "errors/s");
    for kind in KINDS.into_iter().chain(["other"]) {
        out += &format!(" {kind:>8}");
    }
    out + &format!(
        " {:>9} {:>6} {:>11} {:>10} {:>10}\n",
        "latency", "fast", "inodes", "content", "memory"
    )
}

/// What came between two looks.
fn line(before: &Stats, now: &Stats, elapsed: Duration) -> String {
    let since = |kind: &str, figure: fn(&KindStats) -> u64| {
        let of = |stats: &Stats| stats.requests.get(kind).map_or(0, figure);
        of(now).saturating_sub(of(before))
    };
    let sum = |figure| {
        now.requests
            .keys()
            .map(|kind| since(kind, figure))
            .sum::<u64>()
    };
    let rate = |count: u64| {
        let rate = count as f64 / elapsed.as_secs_f64();
        HumanCount(rate.round() as u64).to_string()
    };
    let (all, errors, nanos) = (
        sum(|kind| kind.count),
        sum(|kind| kind.errors),
        sum(|kind| kind.total_ns),
    );
    let mut out = format!("{:>10} {:>8}", rate(all), rate(errors));
    let mut other = all;
    for kind in KINDS {
        let count = since(kind, |kind| kind.count);
        other = other.saturating_sub(count);
        out += &format!(" {:>8}", rate(count));
    }
    let latency = match nanos.checked_div(all) {
        Some(nanos) => format!("{:.1} us", nanos as f64 / 1e3),
        None => "-".to_owned(),
    };
    let ended = |stats: &Stats| stats.outcomes.operations() + stats.lookups.operations();
    let fast = |stats: &Stats| {
        let both = [stats.outcomes, stats.lookups];
        both.iter().map(|of| of.fast + of.fast_error).sum::<u64>()
    };
    let operations = ended(now).saturating_sub(ended(before));
    let fast = 100 * fast(now).saturating_sub(fast(before));
    let fast = fast
        .checked_div(operations)
        .map_or("-".to_owned(), |part| format!("{part} %"));
    out += &format!(" {:>8} {latency:>9} {fast:>6}", rate(other));
    let inodes = HumanCount(now.inodes + now.further_names).to_string();
    let [content, memory] = [now.bytes, now.memory].map(|bytes| BinaryBytes(bytes).to_string());
    out + &format!(" {inodes:>11} {content:>10} {memory:>10}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_between_two_looks_is_told_by_the_second() {
        let stats = |count, total_ns| {
            let mut stats = Stats {
                inodes: 1234,
                ..Stats::default()
            };
            for kind in ["getattr", "mkdir"] {
                let kind = (
                    kind.to_owned(),
                    KindStats {
                        count,
                        total_ns,
                        ..KindStats::default()
                    },
                );
                stats.requests.extend([kind]);
            }
            stats
        };
        let told = line(
            &stats(10, 5_000),
            &stats(30, 85_000),
            Duration::from_secs(2),
        );
        let words: Vec<_> = told.split_whitespace().collect();
        let expected = [
            "20", "0", "0", "10", "0", "0", "0", "10", "4.0", "us", "-", "1,234", "0", "B", "0",
            "B",
        ];
        assert_eq!(words, expected);
        assert_eq!(header().len(), told.len());
    }

    #[test]
    fn intervals_are_sensible() {
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        for nonsense in ["", "0", "-1", "nan", "inf", "1e300", "10ms", "2days", "x"] {
            assert!(interval(nonsense).is_err(), "{nonsense}");
        }
    }
}
