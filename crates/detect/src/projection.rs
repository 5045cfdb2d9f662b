//! The length of a projected row, |M x|^2: what both the residual of a plane and a whitened distance
//! come down to.
//!
//! The matrix is kept in panels of [`LANES`] outputs, column by column, so that a panel's outputs are
//! summed side by side in registers and no sum has to be folded. Each output is summed over the
//! inputs in their order, hence the same bits on every call.

/// Outputs of a panel: eight SSE or four AVX registers of `f32`.
const LANES: usize = 32;

/// A matrix whose rows may end early: entries past a row's end are zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Projection {
    /// Number of inputs each panel reads.
    lengths: Vec<usize>,
    /// `lengths[panel]` columns of `LANES` values, panel after panel.
    columns: Vec<[f32; LANES]>,
}

impl Projection {
    /// Lays out the rows of the matrix.
    pub(crate) fn from_rows(rows: &[&[f32]]) -> Self {
        let mut lengths = Vec::with_capacity(rows.len().div_ceil(LANES));
        let mut columns = Vec::new();
        for panel in rows.chunks(LANES) {
            let length = panel.iter().map(|row| row.len()).max().unwrap_or(0);
            for input in 0..length {
                let mut column = [0.0; LANES];
                for (value, row) in column.iter_mut().zip(panel) {
                    *value = row.get(input).copied().unwrap_or(0.0);
                }
                columns.push(column);
            }
            lengths.push(length);
        }
        Self { lengths, columns }
    }

    /// |M x|^2.
    ///
    /// # Panics
    /// If `x` is shorter than the longest row of the matrix.
    pub(crate) fn squared_length(&self, x: &[f32]) -> f32 {
        let mut rest = self.columns.as_slice();
        let mut squares = [0.0_f32; LANES];
        for &length in &self.lengths {
            let (columns, after) = rest.split_at(length);
            rest = after;
            let mut outputs = [0.0_f32; LANES];
            for (column, &x) in columns.iter().zip(&x[..length]) {
                for (output, &weight) in outputs.iter_mut().zip(column) {
                    *output += weight * x;
                }
            }
            for (square, output) in squares.iter_mut().zip(outputs) {
                *square += output * output;
            }
        }
        squares.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_the_plain_sum_for_any_shape(rows in 0_usize..80, inputs in 1_usize..50, triangle in any::<bool>()) {
            let x: Vec<f32> = (0..inputs).map(|at| (at as f32 * 1.7).sin()).collect();
            let matrix: Vec<Vec<f32>> = (0..rows)
                .map(|row| {
                    let length = if triangle { inputs.min(row + 1) } else { inputs };
                    (0..length).map(|at| (row as f32 * 0.9 + at as f32 * 2.3).cos()).collect()
                })
                .collect();
            let row_slices: Vec<&[f32]> = matrix.iter().map(Vec::as_slice).collect();
            let expected: f64 = matrix
                .iter()
                .map(|row| row.iter().zip(&x).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>().powi(2))
                .sum();
            let found = f64::from(Projection::from_rows(&row_slices).squared_length(&x));
            prop_assert!((found - expected).abs() <= 1e-4 * expected + 1e-6, "{found} against {expected}");
        }
    }
}
