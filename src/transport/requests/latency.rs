//! One latency histogram, made when the first value is recorded.

use hdrhistogram::Histogram;

/// Longest latency told apart: ten minutes. Longer ones are recorded as this.
const LONGEST_NS: u64 = 600_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 2;

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
}
