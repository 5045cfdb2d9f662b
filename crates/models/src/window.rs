//! Windows: the last spectra of one sensor, in order of capture, that a temporal network reads.
//!
//! **Invariant:** a window ends with the spectrum that is judged; nothing later is in it.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Invalid, Timestamp};

/// What makes spectra of a sensor a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Spectra in it, the newest included.
    pub spectra: u16,
    /// The longest time between two neighbours, in milliseconds; a longer one is a gap, over which nothing is known.
    pub most_gap_ms: u64,
}

impl Window {
    /// How many spectra a window may hold.
    pub const SPECTRA: RangeInclusive<u16> = 2..=16;

    /// Refuses a window that means nothing; the error names the field.
    pub fn parse(self) -> Result<Self, Invalid> {
        if !Self::SPECTRA.contains(&self.spectra) {
            let (least, most) = (Self::SPECTRA.start(), Self::SPECTRA.end());
            let reason = format!("{} is not between {least} and {most}", self.spectra);
            return Err(Invalid::new("window.spectra", reason));
        }
        if self.most_gap_ms == 0 {
            return Err(Invalid::new("window.most_gap_ms", "must be at least 1"));
        }
        Ok(self)
    }

    /// Whether a spectrum may stand right before another in a window.
    pub fn joins(self, before: Timestamp, after: Timestamp) -> bool {
        let gap = after.as_micros().saturating_sub(before.as_micros());
        gap > 0 && u64::try_from(gap).is_ok_and(|gap| gap <= self.most_gap_ms.saturating_mul(1000))
    }

    /// The windows of rows in any order, each given as its sensor and the time of its capture.
    pub fn among(self, rows: &[(u32, Timestamp)]) -> Windows {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| (rows[*at], *at));
        let mut before = vec![None; rows.len()];
        for pair in order.windows(2) {
            let ((sensor, earlier), (same, later)) = (rows[pair[0]], rows[pair[1]]);
            if sensor == same && self.joins(earlier, later) {
                before[pair[1]] = Some(pair[0]);
            }
        }
        Windows {
            spectra: self.spectra.into(),
            before,
        }
    }
}

/// The windows of some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    spectra: usize,
    /// The row right before each, if none is missing between them.
    before: Vec<Option<usize>>,
}

impl Windows {
    /// Places of the rows in the window that ends with the row at `place`, oldest first; nothing where the history does not
    /// reach so far.
    pub fn ending_at(&self, place: usize) -> Option<Vec<usize>> {
        let mut places = vec![place];
        while places.len() < self.spectra {
            places.push(self.before[*places.last()?]?);
        }
        places.reverse();
        Some(places)
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.before.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    const WINDOW: Window = Window {
        spectra: 3,
        most_gap_ms: 25_000,
    };

    #[test]
    fn a_window_holds_one_sensor_in_order_of_capture_and_ends_with_its_row() {
        let rows = [
            (0, at(20)),
            (1, at(10)),
            (0, at(0)),
            (1, at(20)),
            (0, at(10)),
            (0, at(30)),
        ];
        let windows = WINDOW.among(&rows);
        assert_eq!(windows.ending_at(0), Some(vec![2, 4, 0]));
        assert_eq!(windows.ending_at(5), Some(vec![4, 0, 5]));
        assert_eq!(windows.ending_at(4), None, "two are not three");
        assert_eq!(windows.ending_at(3), None, "the other sensor's are not its own");
    }

    #[test]
    fn no_window_reaches_over_a_gap_or_holds_two_spectra_of_one_instant() {
        let rows = [0, 10, 36, 46, 56, 56, 66].map(|second| (0, at(second)));
        let windows = WINDOW.among(&rows);
        let whole: Vec<usize> = (0..rows.len())
            .filter(|row| windows.ending_at(*row).is_some())
            .collect();
        assert_eq!(whole, [4]);
    }

    #[test]
    fn windows_that_mean_nothing_are_refused_by_their_field() {
        for (spectra, most_gap_ms, field) in [
            (1, 1, "window.spectra"),
            (17, 1, "window.spectra"),
            (2, 0, "window.most_gap_ms"),
        ] {
            assert_eq!(Window { spectra, most_gap_ms }.parse().unwrap_err().field, field);
        }
        assert_eq!(WINDOW.parse().unwrap(), WINDOW);
    }
}
