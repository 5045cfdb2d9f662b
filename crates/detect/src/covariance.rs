//! Second moments of training rows, gathered in double precision and block by block, so that a long
//! corpus never exists twice in memory.

use nalgebra::DMatrix;

use crate::rows::Rows;

/// Rows taken into one matrix product.
const BLOCK_ROWS: usize = 512;

/// Mean of every bin.
pub(crate) fn means(rows: Rows<'_>) -> Vec<f64> {
    let mut sums = vec![0.0_f64; rows.bins()];
    for row in rows {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    let count = rows.len().max(1) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}

/// Covariance (divided by the number of rows, the maximum-likelihood form) of
/// `transform(bin, value)`, which must already be centred. Shape: bins x bins.
#[cfg(test)]
pub(crate) fn covariance(rows: Rows<'_>, transform: impl Fn(usize, f32) -> f64) -> DMatrix<f64> {
    let mut scatter = Scatter::new(rows.bins());
    scatter.add(rows, transform);
    scatter.covariance()
}

/// Sums of products of centred values over rows that come in parts.
#[derive(Debug, Clone)]
pub(crate) struct Scatter {
    moments: DMatrix<f64>,
    rows: usize,
}

impl Scatter {
    pub(crate) fn new(bins: usize) -> Self {
        Self {
            moments: DMatrix::zeros(bins, bins),
            rows: 0,
        }
    }

    /// Adds rows, as `transform(bin, value)` makes them.
    pub(crate) fn add(&mut self, rows: Rows<'_>, transform: impl Fn(usize, f32) -> f64) {
        let mut first = 0;
        while first < rows.len() {
            let count = BLOCK_ROWS.min(rows.len() - first);
            let block = DMatrix::from_fn(rows.bins(), count, |bin, at| transform(bin, rows.row(first + at)[bin]));
            self.moments.gemm(1.0, &block, &block.transpose(), 1.0);
            first += count;
        }
        self.rows += rows.len();
    }

    /// Rows added so far.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Their covariance: the sums over the number of rows. Shape: bins x bins.
    pub(crate) fn covariance(self) -> DMatrix<f64> {
        let moments = self.moments / self.rows.max(1) as f64;
        let bins = moments.nrows();
        // The product is symmetric up to rounding; the decompositions want it exactly so.
        DMatrix::from_fn(bins, bins, |row, column| moments[(row.max(column), row.min(column))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covariance_over_several_blocks_equals_the_textbook_sum() {
        let count = 1_300;
        let values: Vec<f32> = (0..count)
            .flat_map(|at| {
                let t = at as f32;
                [(t * 0.7).sin(), (t * 0.3).cos() + 0.5 * (t * 0.7).sin(), 2.0]
            })
            .collect();
        let rows = Rows::new(&values, 3).expect("whole rows");
        let mean = means(rows);
        let found = covariance(rows, |bin, value| f64::from(value) - mean[bin]);
        for i in 0..3 {
            for j in 0..3 {
                let expected = rows
                    .iter()
                    .map(|row| (f64::from(row[i]) - mean[i]) * (f64::from(row[j]) - mean[j]))
                    .sum::<f64>()
                    / f64::from(count);
                assert!((found[(i, j)] - expected).abs() < 1e-12, "entry {i},{j}");
            }
        }
    }
}
