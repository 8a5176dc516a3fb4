//! What the sequences have met.

use crate::call::Step;
use crate::known::Pair;
use crate::perform::Answer;
use crate::world::Report;
use std::collections::BTreeMap;
use std::fmt;

fn outcome(answer: &Answer) -> String {
    match answer {
        Ok(_) => "succeeds".to_owned(),
        Err(errno) => errno.to_string(),
    }
}

/// How often each thing was met.
#[derive(Default)]
pub struct Counts {
    /// Steps compared, the common beginning of sequences apart.
    pub steps: usize,
    pub successes: usize,
    /// Sequences that ended at a known difference.
    pub cut: usize,
    /// Each kind of call with each outcome.
    kinds: BTreeMap<String, usize>,
    known: BTreeMap<String, usize>,
}

impl Counts {
    /// Counts a step that was the same everywhere.
    pub fn count(&mut self, step: &Step, report: &Report) {
        self.steps += 1;
        self.successes += usize::from(report.answer.is_ok());
        let kind = format!("{} {}", step.call.name(), outcome(&report.answer));
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Counts a known difference.
    pub fn known(&mut self, why: &str, pair: &Pair) {
        let [tmpfs, norefs] = [pair.tmpfs, pair.norefs].map(outcome);
        let kind = format!("{why}: {} {tmpfs} / {norefs}", pair.call.name());
        *self.known.entry(kind).or_default() += 1;
    }

    /// How many kinds of call and outcome there were.
    pub fn kinds(&self) -> usize {
        self.kinds.len()
    }

    /// Adds those of other sequences.
    pub fn add(&mut self, other: Counts) {
        self.steps += other.steps;
        self.successes += other.successes;
        self.cut += other.cut;
        for (kind, times) in other.kinds {
            *self.kinds.entry(kind).or_default() += times;
        }
        for (why, times) in other.known {
            *self.known.entry(why).or_default() += times;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (steps, kinds) = (self.steps, self.kinds.len());
        writeln!(f, "{kinds} kinds of call and outcome: {:#?}", self.kinds)?;
        writeln!(f, "known differences: {:#?}", self.known)?;
        let (successes, cut) = (self.successes, self.cut);
        write!(
            f,
            "{steps} steps without a difference, {successes} succeed; {cut} sequences are cut short"
        )
    }
}
