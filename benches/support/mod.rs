//! What the benches on mounts share.

use clap::Parser;

#[derive(Parser)]
pub struct Args {
    /// Turns of each contender
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// What cargo says to every bench
    #[arg(long, hide = true)]
    bench: bool,
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of how many times what the `base` took in the same round.
pub fn ratio(mine: &[f64], base: &[f64]) -> f64 {
    let ratios = mine.iter().zip(base).map(|(mine, base)| mine / base);
    median(ratios.collect())
}
