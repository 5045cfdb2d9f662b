//! Which bins a page names: those without which its reading would have been no page.
//!
//! A page names the bins in which what decided stands out, most first, and as many as it takes: with all of them at the
//! sensor's baseline the reading, judged again by every member of its limits, stays below the page line.

use tocsin_detect::deviation;
use tocsin_domain::{Detector, Level, OperatingState, Scores};

use crate::ThresholdSet;

/// The most bins that a page names.
pub const MOST_NAMED: usize = 128;

impl ThresholdSet {
    /// How many of the bins that add most to what `by` saw of a reading, at most [`MOST_NAMED`], must stand at the baseline
    /// for the reading to be no page: the first of those that
    /// [`shares_in_place`](tocsin_detect::deviation::shares_in_place) puts highest. `z` are its deviations from the baseline,
    /// `weights` what each [weighs as a line](tocsin_detect::Baseline::line_weights). Nothing where `by` is no detector of
    /// deviations, or where so many bins are not enough.
    pub fn decisive_bins(
        &self,
        by: Detector,
        (z, weights): (&[f32], &[f32]),
        (scores, state, degraded): (&Scores, OperatingState, bool),
    ) -> Option<usize> {
        deviation::decisive_bins(by, (z, weights), MOST_NAMED, |calmed| {
            let mut scores = *scores;
            deviation::score_into(calmed, weights, &mut scores);
            let judged = self.judge(&scores, state, degraded);
            judged.level.is_none_or(|level| level < Level::PAGE)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FleetReplay;

    fn set() -> ThresholdSet {
        FleetReplay::default()
            .threshold_set(|_| vec![1.0; 3], crate::Persistence::default())
            .unwrap()
    }

    fn decisive(set: &ThresholdSet, by: Detector, z: &[f32]) -> Option<usize> {
        let mut scores = Scores::default();
        let weights = vec![1.0; z.len()];
        deviation::score_into(z, &weights, &mut scores);
        set.decisive_bins(by, (z, &weights), (&scores, OperatingState::Known, false))
    }

    #[test]
    fn a_page_names_what_every_member_pages_about_and_not_the_deciding_one_alone() {
        // Without the five loud lines growth is calm, and narrowband still pages about the three soft ones.
        let mut z = vec![0.1; 64];
        for (at, z) in z.iter_mut().enumerate().step_by(9) {
            *z = if at < 45 { 40.0 } else { 8.0 };
        }
        let named = decisive(&set(), Detector::Growth, &z).expect("64 bins are all there are");
        assert_eq!(named, 10, "the eight lines, and what it takes to double five");
        let mut growth_alone = set();
        growth_alone
            .members
            .retain(|member| member.detector == Detector::Growth);
        assert_eq!(decisive(&growth_alone, Detector::Growth, &z), Some(5));
    }

    #[test]
    fn a_rise_of_more_bins_than_a_page_names_is_not_explained() {
        assert_eq!(decisive(&set(), Detector::Growth, &[9.0; 1024]), None);
        assert_eq!(decisive(&set(), Detector::OverallLevel, &[9.0; 64]), None);
    }
}
