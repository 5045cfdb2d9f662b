//! Training rows: a flat slice known to hold whole, finite rows.

use crate::error::FitError;

/// Rows of equal length, one after the other in one slice; every value is finite.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    bins: usize,
}

impl<'a> Rows<'a> {
    /// Checks that `values` makes whole rows of `bins` finite values.
    pub fn new(values: &'a [f32], bins: usize) -> Result<Self, FitError> {
        if bins == 0 {
            return Err(FitError::NoBins);
        }
        if !values.len().is_multiple_of(bins) {
            return Err(FitError::Ragged {
                values: values.len(),
                bins,
            });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(FitError::NotFinite {
                row: at / bins,
                bin: at % bins,
            });
        }
        Ok(Self { values, bins })
    }

    /// All values, row after row.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.bins
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Values in a row.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Row `at`, from 0.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, at: usize) -> &'a [f32] {
        &self.values[at * self.bins..][..self.bins]
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.bins)
    }

    /// `Ok` when there are at least `need` rows.
    pub(crate) fn at_least(&self, need: usize) -> Result<(), FitError> {
        if self.len() >= need {
            Ok(())
        } else {
            Err(FitError::TooFewRows { have: self.len(), need })
        }
    }
}

impl<'a> IntoIterator for Rows<'a> {
    type Item = &'a [f32];
    type IntoIter = std::slice::ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &Rows<'a> {
    type Item = &'a [f32];
    type IntoIter = std::slice::ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Rows and scores of a batch must agree; a mismatch is a mistake of the caller.
pub(crate) fn assert_batch(values: usize, bins: usize, model_bins: usize, out: usize) {
    assert_eq!(bins, model_bins, "bins of the batch against bins of the model");
    assert_eq!(values, out * bins, "values of the batch against scores times bins");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_finite_rows_are_taken_and_read_back_in_order() {
        let rows = Rows::new(&[1.0, 2.0, 3.0, 4.0], 2).expect("two rows");
        assert_eq!((rows.len(), rows.bins()), (2, 2));
        assert_eq!(rows.row(1), [3.0, 4.0]);
        assert_eq!(rows.iter().next(), Some([1.0, 2.0].as_slice()));
    }

    #[test]
    fn a_bad_shape_or_value_is_refused_with_its_place() {
        assert_eq!(Rows::new(&[1.0], 0).expect_err("no bins"), FitError::NoBins);
        assert_eq!(
            Rows::new(&[1.0; 3], 2).expect_err("ragged"),
            FitError::Ragged { values: 3, bins: 2 }
        );
        let error = Rows::new(&[1.0, 2.0, 3.0, f32::NAN], 2).expect_err("nan");
        assert_eq!(error, FitError::NotFinite { row: 1, bin: 1 });
        assert_eq!(error.to_string(), "values: row 1, bin 1 is not finite");
    }
}
