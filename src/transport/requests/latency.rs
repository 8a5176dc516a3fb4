//! One latency histogram, made when the first value is recorded.

use hdrhistogram::Histogram;

/// Longest latency told apart: ten minutes. Longer ones are recorded as this.
const LONGEST_NS: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

/// Upper bounds of the buckets that latencies are told in, in nanoseconds. One more bucket holds what took longer.
pub const LATENCY_BOUNDS: [u64; 22] = {
    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;
    [
        US,
        2 * US,
        5 * US,
        10 * US,
        20 * US,
        50 * US,
        100 * US,
        200 * US,
        500 * US,
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        500 * MS,
        S,
        2 * S,
        5 * S,
        10 * S,
    ]
};
/// How many that are.
pub(super) const BUCKETS: usize = LATENCY_BOUNDS.len() + 1;

/// Latencies in nanoseconds.
#[derive(Default)]
pub(crate) struct Latency(Option<Box<Histogram<u32>>>);

impl Latency {
    pub(crate) fn record(&mut self, nanos: u64) {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS)
                .ok()
                .map(Box::new);
        }
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(nanos.max(1));
        }
    }

    pub(crate) fn add(&mut self, other: &Latency) {
        match (&mut self.0, &other.0) {
            // Both have the same bounds, so nothing of `theirs` can be out of range.
            (Some(mine), Some(theirs)) => mine.add(theirs.as_ref()).unwrap_or(()),
            (None, Some(theirs)) => self.0 = Some(theirs.clone()),
            (_, None) => {}
        }
    }

    pub(crate) fn quantile(&self, quantile: f64) -> u64 {
        self.0.as_ref().map_or(0, |h| h.value_at_quantile(quantile))
    }

    pub(crate) fn max(&self) -> u64 {
        self.0.as_ref().map_or(0, |h| h.max())
    }

    /// How many there are in each bucket, and their sum in nanoseconds, exact to about one per cent. Neither ever falls.
    pub(crate) fn buckets(&self) -> ([u64; BUCKETS], u64) {
        let (mut buckets, mut sum) = ([0; BUCKETS], 0u64);
        let Some(histogram) = &self.0 else {
            return (buckets, sum);
        };
        for step in histogram.iter_recorded() {
            let (nanos, count) = (step.value_iterated_to(), step.count_at_value().into());
            let least = histogram.lowest_equivalent(nanos);
            buckets[LATENCY_BOUNDS.partition_point(|&bound| bound < least)] += count;
            let each = histogram.median_equivalent(nanos);
            sum = sum.saturating_add(each.saturating_mul(count));
        }
        (buckets, sum)
    }
}
