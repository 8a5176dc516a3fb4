//! How many requests of each kind came, how many failed, and how long they took.
//!
//! Every serving thread counts for itself; the counts are summed only when somebody asks.

mod latency;

pub use latency::LATENCY_BOUNDS;

use crate::transport::wire::RequestKind;
use crate::tree::Counters;
use crossbeam_utils::CachePadded;
use latency::{BUCKETS, Latency};
use parking_lot::Mutex;
use thread_local::ThreadLocal;

const KINDS: usize = RequestKind::ALL.len();

fn no_latencies() -> [Latency; KINDS] {
    std::array::from_fn(|_| Latency::default())
}

/// The counters of one mount. Each thread counts in words of its own.
#[derive(Default)]
pub(crate) struct RequestMetrics {
    arrived: Counters<KINDS>,
    failed: Counters<KINDS>,
    latencies: ThreadLocal<CachePadded<[Mutex<Latency>; KINDS]>>,
}

impl RequestMetrics {
    /// Counts a request that has arrived.
    pub(crate) fn arrived(&self, kind: RequestKind) {
        self.arrived.add(kind as usize, 1);
    }

    /// Counts an answer with an error.
    pub(crate) fn failed(&self, kind: RequestKind) {
        self.failed.add(kind as usize, 1);
    }

    /// Records how long a request took, in nanoseconds.
    pub(crate) fn took(&self, kind: RequestKind, nanos: u64) {
        // Contended only while somebody sums those of this kind.
        let new = || CachePadded::new(no_latencies().map(Mutex::new));
        self.latencies.get_or(new)[kind as usize]
            .lock()
            .record(nanos);
    }

    /// The sums over all threads.
    pub(crate) fn sum(&self) -> Requests {
        let (arrived, failed) = (self.arrived.sums(), self.failed.sums());
        let mut latencies = no_latencies();
        for thread in &self.latencies {
            for (sum, latency) in latencies.iter_mut().zip(thread.iter()) {
                sum.add(&latency.lock());
            }
        }
        let kind = |i: usize| {
            let (buckets, total_ns) = latencies[i].buckets();
            RequestStats {
                kind: RequestKind::ALL[i],
                count: arrived[i],
                errors: failed[i],
                p50_ns: latencies[i].quantile(0.5),
                p99_ns: latencies[i].quantile(0.99),
                max_ns: latencies[i].max(),
                total_ns,
                buckets,
            }
        };
        Requests {
            kinds: std::array::from_fn(kind),
        }
    }
}

/// What is known of one kind of request. Latencies are from the arrival in the daemon until the reply is
/// there to be written, in nanoseconds, exact to about one per cent; 0 if there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestStats {
    /// The kind.
    pub kind: RequestKind,
    /// Requests that arrived.
    pub count: u64,
    /// Requests answered with an error; a missing name answered as a negative entry is none, nor is
    /// ENOSYS, which tells the kernel to do without.
    pub errors: u64,
    /// Median latency.
    pub p50_ns: u64,
    /// 99th percentile of the latency.
    pub p99_ns: u64,
    /// Longest latency.
    pub max_ns: u64,
    /// All latencies together.
    pub total_ns: u64,
    /// How many requests took at most the bound of each bucket, [`LATENCY_BOUNDS`], and more than that of the one before; last, how
    /// many took longer than all of them. Requests that are being answered right now may be missing.
    pub buckets: [u64; BUCKETS],
}

/// The requests a mount has received, by kind.
#[derive(Clone, Debug)]
pub struct Requests {
    kinds: [RequestStats; KINDS],
}

impl Requests {
    /// How many requests of `kind` came.
    pub fn count(&self, kind: RequestKind) -> u64 {
        self.kinds[kind as usize].count
    }

    /// How many requests came that wait for a reply: all but [`RequestKind::Forget`].
    pub fn total(&self) -> u64 {
        let all: u64 = self.kinds.iter().map(|stats| stats.count).sum();
        all - self.count(RequestKind::Forget)
    }

    /// The kinds of which at least one request came.
    pub fn iter(&self) -> impl Iterator<Item = &RequestStats> {
        self.kinds.iter().filter(|stats| stats.count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_sum_over_threads() {
        let counters = RequestMetrics::default();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for i in 1..=100 {
                        counters.arrived(RequestKind::Getattr);
                        counters.took(RequestKind::Getattr, i * 1000);
                    }
                    counters.arrived(RequestKind::Forget);
                    counters.failed(RequestKind::Getattr);
                });
            }
        });
        let sum = counters.sum();
        assert_eq!(sum.count(RequestKind::Getattr), 300);
        assert_eq!(sum.total(), 300);
        let getattr = sum.iter().find(|s| s.kind == RequestKind::Getattr).unwrap();
        assert_eq!(getattr.errors, 3);
        assert!((49_000..52_000).contains(&getattr.p50_ns), "{getattr:?}");
        assert!((98_000..101_000).contains(&getattr.p99_ns), "{getattr:?}");
        let expected = [3, 3, 9, 15, 30, 90, 150];
        assert_eq!(getattr.buckets[..7], expected, "{getattr:?}");
        assert_eq!(getattr.buckets.iter().sum::<u64>(), 300);
        assert!(
            (14_900_000..15_200_000).contains(&getattr.total_ns),
            "{getattr:?}"
        );
    }

    #[test]
    fn two_mounts_on_one_thread_are_counted_apart() {
        let (a, b) = (RequestMetrics::default(), RequestMetrics::default());
        a.arrived(RequestKind::Lookup);
        b.arrived(RequestKind::Lookup);
        a.arrived(RequestKind::Lookup);
        assert_eq!(a.sum().count(RequestKind::Lookup), 2);
        assert_eq!(b.sum().count(RequestKind::Lookup), 1);
    }
}
