//! What can go wrong when a model is fitted, and when one is read back.

/// Why a detector cannot be fitted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// A row has to have at least one bin.
    #[error("bins: a row needs at least one bin")]
    NoBins,
    /// The values do not divide into rows.
    #[error("values: {values} values do not make whole rows of {bins} bins")]
    Ragged {
        /// Values given.
        values: usize,
        /// Bins in a row.
        bins: usize,
    },
    /// A value is NaN or infinite.
    #[error("values: row {row}, bin {bin} is not finite")]
    NotFinite {
        /// Row of the value, from 0.
        row: usize,
        /// Bin of the value, from 0.
        bin: usize,
    },
    /// The model cannot be fitted on so few rows.
    #[error("rows: {have} rows, and at least {need} are needed")]
    TooFewRows {
        /// Rows given.
        have: usize,
        /// Rows needed.
        need: usize,
    },
    /// A parameter is outside of its range.
    #[error("{field}: {reason}")]
    Parameter {
        /// Name of the parameter.
        field: &'static str,
        /// What is asked of it.
        reason: &'static str,
    },
    /// Every row is the same, so there is no spread to measure against.
    #[error("rows: no spread, every row is the same")]
    NoSpread,
    /// The decomposition of the covariance did not converge.
    #[error("covariance: {reason}")]
    Decomposition {
        /// Which decomposition, and how it failed.
        reason: &'static str,
    },
}

/// Why a stored model is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct MalformedModel {
    /// Name of the stored field.
    pub field: &'static str,
    /// What is asked of it.
    pub reason: &'static str,
}

impl MalformedModel {
    /// `Ok` when the condition holds.
    pub(crate) fn unless(holds: bool, field: &'static str, reason: &'static str) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self { field, reason }) }
    }
}
