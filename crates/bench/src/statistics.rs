//! Medians, spreads and ratios of the rounds.

/// The middle value, or the mean of the two in the middle; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
        _ => sorted[middle],
    }
}

/// The lowest and the highest value.
pub fn spread(values: &[f64]) -> (f64, f64) {
    let outermost = |(low, high): (f64, f64), &value: &f64| (low.min(value), high.max(value));
    values.iter().fold((f64::MAX, 0.0), outermost)
}

/// The median of the ratios of values from the same round.
pub fn ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<_> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_spread_has_both_ends() {
        assert_eq!(spread(&[5.0, 2.0, 7.0]), (2.0, 7.0));
    }

    #[test]
    fn ratios_are_taken_within_each_round() {
        // The machine was ten times slower in the second round: for both.
        assert_eq!(ratio(&[2.0, 20.0, 3.0], &[1.0, 10.0, 1.0]), 2.0);
    }
}
