//! How work is shown while it goes on.

use super::systemd;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use norefs::source::Progress;
use parking_lot::Mutex;
use std::fmt;
use std::time::{Duration, Instant};

const BETWEEN_TICKS: Duration = Duration::from_millis(100);
const BETWEEN_STATUSES: Duration = Duration::from_secs(1);

/// Entries and entries per second, on a terminal; nothing elsewhere.
pub struct Bar {
    bar: ProgressBar,
    /// When the service manager was told last, if one is.
    told: Option<Mutex<Instant>>,
}

impl Bar {
    pub fn new(what: String) -> Bar {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("{spinner} loading {msg}: {human_pos} entries, {rate}");
        if let Ok(style) = style {
            bar.set_style(style.with_key("rate", write_rate));
        }
        bar.set_message(what);
        keep_moving(&bar);
        systemd::status(&format!("loading {}", bar.message()));
        let told = systemd::is_asked().then(|| Mutex::new(Instant::now()));
        Bar { bar, told }
    }

    fn tell_manager(&self, entries: u64) {
        let last = self.told.as_ref().and_then(Mutex::try_lock);
        if let Some(mut last) = last.filter(|last| last.elapsed() >= BETWEEN_STATUSES) {
            *last = Instant::now();
            let what = self.bar.message();
            systemd::status(&format!("loading {what}: {} entries", HumanCount(entries)));
        }
    }
}

/// Shows, where anybody sees it and a thread is to be had, that there is still somebody at work.
fn keep_moving(bar: &ProgressBar) {
    if bar.is_hidden() {
        return;
    }
    let bar = bar.downgrade();
    let shown = std::thread::Builder::new()
        .name("norefs-progress".to_owned())
        .spawn(move || {
            while let Some(bar) = bar.upgrade().filter(|bar| !bar.is_finished()) {
                bar.tick();
                drop(bar);
                std::thread::sleep(BETWEEN_TICKS);
            }
        });
    if let Err(error) = shown {
        tracing::debug!(%error, "progress is shown only when there is some");
    }
}

fn write_rate(state: &ProgressState, line: &mut dyn fmt::Write) {
    line.write_str(&rate(state.per_sec())).unwrap_or_default();
}

/// Whole entries: nobody reads fractions that change ten times a second.
fn rate(per_second: f64) -> String {
    format!("{}/s", HumanCount(per_second as u64))
}

/// What is being done, on a terminal; nothing elsewhere.
pub struct Spinner(ProgressBar);

impl Spinner {
    pub fn new() -> Spinner {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{elapsed} {msg}") {
            bar.set_style(style);
        }
        Spinner(bar)
    }

    /// Says it now: a ticking thread would be at work beside what is measured.
    pub fn say(&self, what: &str) {
        self.0.set_message(what.to_owned());
        self.0.tick();
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Progress for Bar {
    fn entries(&self, total_so_far: u64) {
        self.bar.set_position(total_so_far);
        self.tell_manager(total_so_far);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_whole_numbers() {
        assert_eq!(rate(0.4), "0/s");
        assert_eq!(rate(123_456.789), "123,456/s");
    }
}
