//! Neighbouring bins taken together, for what needs a matrix of values x values.
//!
//! A covariance of 4096 bins has 8 million entries, far more than a few thousand rows can tell, and its text alone would be
//! larger than a bundle's file may be. So beyond [`MOST_VALUES`] bins equal groups of neighbours become one value each, the
//! mean of their log spectrum: the geometric mean of amplitudes well above `s0`.

use tocsin_detect::{FitError, Rows};

/// Most values that a matrix is fitted on.
const MOST_VALUES: usize = 1024;

/// How many neighbouring bins make one value; of the last value there may be fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pooling {
    bins: usize,
    together: usize,
}

impl Pooling {
    /// As few bins together as give at most [`MOST_VALUES`] values: one bin a value up to as many bins.
    pub(super) fn of_bins(bins: usize) -> Self {
        Self::by(bins, bins.div_ceil(MOST_VALUES).max(1))
    }

    /// So many bins together, at least one.
    pub(super) fn by(bins: usize, together: usize) -> Self {
        Self { bins, together }
    }

    /// Bins of a row.
    pub(super) fn bins(self) -> usize {
        self.bins
    }

    /// Bins that make one value.
    pub(super) fn together(self) -> usize {
        self.together
    }

    /// Values of a row.
    pub(super) fn values(self) -> usize {
        self.bins.div_ceil(self.together)
    }

    /// Whether a value is a bin, and nothing is to be done.
    pub(super) fn is_none(self) -> bool {
        self.together == 1
    }

    /// Log spectra, rows x bins, as rows x values: themselves where nothing is pooled, and otherwise made in `room`.
    pub(super) fn of<'a>(self, log: &'a [f32], room: &'a mut Vec<f32>) -> &'a [f32] {
        if self.is_none() {
            return log;
        }
        room.clear();
        for row in log.chunks_exact(self.bins) {
            let values = row.chunks(self.together);
            room.extend(values.map(|group| group.iter().sum::<f32>() / group.len() as f32));
        }
        room
    }

    /// The same of rows to fit on.
    pub(super) fn of_rows<'a>(self, log: Rows<'a>, room: &'a mut Vec<f32>) -> Result<Rows<'a>, FitError> {
        Rows::new(self.of(log.values(), room), self.values())
    }

    /// Means of bins as means of values.
    pub(super) fn of_means(self, mean: &[f64]) -> Vec<f64> {
        let values = mean.chunks(self.together);
        values
            .map(|group| group.iter().sum::<f64>() / group.len() as f64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_1024_bins_nothing_is_pooled_and_beyond_there_are_at_most_as_many_values() {
        for bins in [32, 64, 1000, 1024] {
            let pooling = Pooling::of_bins(bins);
            assert!(pooling.is_none() && pooling.values() == bins);
        }
        for (bins, together, values) in [(1025, 2, 513), (2048, 2, 1024), (2049, 3, 683), (4096, 4, 1024)] {
            let pooling = Pooling::of_bins(bins);
            assert_eq!((pooling.together(), pooling.values()), (together, values));
        }
    }

    #[test]
    fn a_value_is_the_mean_of_its_bins_and_no_row_reaches_into_the_next() {
        let mut room = vec![9.0; 3];
        let pooled = Pooling::by(5, 2).of(&[1.0, 3.0, 5.0, 7.0, 4.0, 2.0, 2.0, 0.0, 8.0, 1.0], &mut room);
        assert_eq!(pooled, [2.0, 6.0, 4.0, 2.0, 4.0, 1.0]);
        assert_eq!(Pooling::by(5, 2).of_means(&[1.0, 3.0, 5.0, 7.0, 4.0]), [2.0, 6.0, 4.0]);
    }
}
