//! Lines of the log as the journal of systemd takes them from standard error: with a level in front, and no time of their own.

use rustix::fs::fstat;
use rustix::stdio::stderr;
use std::fmt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How lines are written: for the journal, or for everybody else.
pub enum Lines {
    Journal(Format<Full, ()>),
    Others(Format<Full, SystemTime>),
}

impl Lines {
    /// As standard error asks for.
    pub fn here() -> Lines {
        let format = Format::default().with_target(false);
        match is_journal() {
            true => Lines::Journal(format.with_level(false).without_time()),
            false => Lines::Others(format),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self {
            Lines::Journal(format) => {
                write!(writer, "<{}>", level(*event.metadata().level()))?;
                format.format_event(context, writer, event)
            }
            Lines::Others(format) => format.format_event(context, writer, event),
        }
    }
}

/// As sd-daemon(3) numbers them.
fn level(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Whether standard error leads to the journal: systemd says which file that is.
fn is_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let here = fstat(stderr()).map(|file| format!("{}:{}", file.st_dev, file.st_ino));
    here.is_ok_and(|here| here == stream)
}
