//! The figures of a mount in the text format of OpenMetrics. Names and labels are promised; `docs/OPERATIONS.md` lists them.

use super::Figures;
use crate::transport::LATENCY_BOUNDS;
use crate::tree::Outcomes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt::Error;

type Written = Result<(), Error>;
type Label<'a> = (&'a str, &'a str);

pub(super) fn text(figures: Figures) -> String {
    let mut registry = Registry::with_prefix("norefs");
    registry.register_collector(Box::new(figures));
    let mut out = String::new();
    // Writing to a String cannot fail.
    text::encode(&mut out, &registry).unwrap_or_default();
    out
}

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Written {
        let mut out = Out(encoder);
        self.about(&mut out)?;
        self.requests(&mut out)?;
        self.tree(&mut out)?;
        self.source(&mut out)?;
        self.transport(&mut out)
    }
}

/// Writes metrics one after the other.
struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn info(&mut self, name: &str, help: &str, labels: &[Label<'_>]) -> Written {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Info)?;
        metric.encode_info(&labels)
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) -> Written {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A limit that there may not be.
    fn limit(&mut self, name: &str, help: &str, limit: u64) -> Written {
        match limit {
            u64::MAX => Ok(()),
            limit => self.gauge(name, help, limit as f64),
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> Written {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([Label<'a>; N], u64)>,
    ) -> Written {
        let mut family = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = family.encode_family(&labels)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }
}

impl Figures {
    fn about(&self, out: &mut Out<'_>) -> Written {
        let stats = &self.stats;
        let labels = [
            ("mountpoint", stats.mountpoint.as_str()),
            ("source", &stats.source),
            ("transport", &stats.transport),
            ("version", &stats.version),
        ];
        out.info("mount", "What is mounted where", &labels)?;
        let began = self.began.as_secs_f64();
        out.gauge(
            "start_time_seconds",
            "When it was mounted, since the epoch",
            began,
        )?;
        let memory = stats.memory as f64;
        out.gauge(
            "resident_memory_bytes",
            "Memory of the serving process",
            memory,
        )
    }

    fn requests(&self, out: &mut Out<'_>) -> Written {
        let each = |figure: fn(&crate::transport::RequestStats) -> u64| {
            let all = self.requests.iter();
            all.map(move |stats| ([("kind", stats.kind.name())], figure(stats)))
        };
        out.counters("requests", "Requests that came", each(|stats| stats.count))?;
        let errors = "Requests answered with an error; a missing name is none";
        out.counters("request_errors", errors, each(|stats| stats.errors))?;
        let help = "From the arrival of a request until its answer is there, exact to one per cent";
        let name = "request_duration_seconds";
        let mut family = out
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for stats in self.requests.iter() {
            let bounds = LATENCY_BOUNDS.iter().map(|&nanos| nanos as f64 / 1e9);
            let bounds = bounds.chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(stats.buckets).collect();
            let labels = [("kind", stats.kind.name())];
            let count = stats.buckets.iter().sum();
            let sum = stats.total_ns as f64 / 1e9;
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        let ends = |operation: &'static str, outcomes: &Outcomes| {
            let all = [
                ("fast", outcomes.fast),
                ("fast_error", outcomes.fast_error),
                ("again", outcomes.again),
                ("retry_dentry", outcomes.retry_edge),
                ("retry_attributes", outcomes.retry_attr),
                ("retry_rename", outcomes.retry_rseq),
                ("slow", outcomes.slow),
            ];
            all.map(|(outcome, count)| ([("operation", operation), ("outcome", outcome)], count))
        };
        let both = [
            ends("attributes", &self.stats.outcomes),
            ends("lookup", &self.stats.lookups),
        ];
        let help = "How attempts without a lock or a reference ended";
        out.counters("outcomes", help, both.into_iter().flatten())
    }

    fn tree(&self, out: &mut Out<'_>) -> Written {
        let stats = &self.stats;
        let names = stats.inodes + stats.further_names;
        out.gauge("inodes", "Inodes and further names in use", names as f64)?;
        out.limit("inodes_limit", "Inodes held at most", stats.max_inodes)?;
        out.gauge(
            "content_bytes",
            "File data and extended attributes",
            stats.bytes as f64,
        )?;
        out.limit("content_bytes_limit", "The same at most", stats.max_bytes)?;
        let read_only = f64::from(u8::from(stats.read_only));
        out.gauge("read_only", "Whether every change is refused", read_only)?;
        let help = "Times the kernel was told that attributes are stale";
        out.counter("notifications", help, stats.notifications)
    }

    fn source(&self, out: &mut Out<'_>) -> Written {
        let Figures { stats, reading, .. } = self;
        out.counter("source_read_bytes", "Read from the source", reading.bytes)?;
        let seconds = reading.nanos as f64 / 1e9;
        let help = "How long that took, summed over all readers";
        out.counter("source_read_seconds", help, seconds)?;
        let help = "Files of the source found changed since they were loaded";
        out.gauge("source_stale_files", help, stats.stale as f64)?;
        match stats.warm {
            Some(warm) => {
                let help = "Names listed to fill the kernel's caches";
                out.gauge("warmed_names", help, warm.entries as f64)
            }
            None => Ok(()),
        }
    }

    fn transport(&self, out: &mut Out<'_>) -> Written {
        let stats = &self.stats;
        out.gauge(
            "threads",
            "Threads that take requests",
            stats.threads as f64,
        )?;
        let queues = stats.queues as f64;
        out.gauge("ring_queues", "Queues of the ring transport", queues)?;
        let depth = stats.queue_depth as f64;
        out.gauge(
            "ring_queue_depth",
            "Requests each of them can have under way",
            depth,
        )?;
        match self.waiting {
            Some(waiting) => {
                let help = "Requests that wait to be taken or answered";
                out.gauge("requests_waiting", help, waiting as f64)
            }
            None => Ok(()),
        }
    }
}
