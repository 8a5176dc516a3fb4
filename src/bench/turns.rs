//! The contenders take turns.

use super::lane::Lane;
use super::quiet::Quiet;
use super::{Error, Stop};

/// What all that is measured has in common.
pub struct Turns<'a> {
    pub lanes: &'a [Lane],
    pub rounds: usize,
    pub quiet: &'a Quiet,
    pub stop: Stop<'a>,
    pub watch: &'a (dyn Fn(&str) + Sync),
}

impl Turns<'_> {
    /// Lets each lane have its turn in each round, A B A B. Gives `samples[lane][round]`, in nanoseconds.
    pub fn take(
        &self,
        mut turn: impl FnMut(usize, &Lane) -> Result<f64, Error>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let mut samples = vec![Vec::new(); self.lanes.len()];
        for _ in 0..self.rounds {
            for (number, lane) in self.lanes.iter().enumerate() {
                self.stop.check()?;
                self.quiet.wait();
                samples[number].push(turn(number, lane)?);
            }
        }
        Ok(samples)
    }
}
