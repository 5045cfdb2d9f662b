//! A stored reading's levels, given again by the threshold set that judged it, or by its severity where there was none.

use std::sync::Arc;

use tocsin_contracts::review::v1;
use tocsin_domain::{Detector, Level, ReadingFlags, Verdict};
use tocsin_judge::{JudgedReading, Judgement, ThresholdSet};
use tocsin_store::reading::StoredReading;

/// A stored reading with what its own threshold set says of it.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) reading: StoredReading,
    /// The set; none when no limits were in force.
    set: Option<Arc<ThresholdSet>>,
    judgement: Judgement,
}

impl Judged {
    pub(crate) fn new(reading: StoredReading, set: Option<Arc<ThresholdSet>>) -> Self {
        // Whether the machine stood still is in the stored verdict.
        let judgement = Judgement::of_scores(set.as_deref(), &reading.scores, reading.state, is_degraded(&reading));
        Self {
            reading,
            set,
            judgement,
        }
    }

    /// The deciding level; none when the reading was not judged.
    pub(crate) fn level(&self) -> Option<Level> {
        if matches!(self.reading.verdict, Verdict::Unjudged { .. }) {
            return None;
        }
        self.judgement.level
    }

    /// As the fold sees it.
    pub(crate) fn seen(&self) -> JudgedReading {
        JudgedReading::new(self.reading.key, &self.judgement)
    }

    pub(crate) fn is_degraded(&self) -> bool {
        is_degraded(&self.reading)
    }

    /// The number of the set, 0 when no limits were in force.
    pub(crate) fn threshold_set_id(&self) -> i32 {
        self.reading.threshold_set.map_or(0, |set| set.0)
    }

    /// The levels of every detector that scored, with its lines then.
    pub(crate) fn detectors(&self) -> Vec<v1::DetectorLevel> {
        let levels = self.judgement.members.iter().filter_map(|scored| {
            let (alert_line, page_line) = self.lines(scored.detector)?;
            Some(v1::DetectorLevel {
                detector: scored.detector.as_str().to_owned(),
                score: scored.score,
                level: scored.level.0,
                alert_line,
                page_line,
                role: scored.role.as_str().to_owned(),
            })
        });
        levels.collect()
    }

    fn lines(&self, detector: Detector) -> Option<(f32, f32)> {
        if detector == Detector::Severity {
            return Some((Level::ALERT.0, Level::PAGE.0));
        }
        let mut members = self.set.as_ref()?.members(self.is_degraded()).iter();
        let member = members.find(|member| member.detector == detector)?;
        Some((member.alert_line as f32, member.page_line as f32))
    }
}

fn is_degraded(reading: &StoredReading) -> bool {
    reading.flags.contains(ReadingFlags::DEGRADED)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tocsin_domain::{
        BundleId, OperatingState, ReadingKey, Scores, SensorId, ThresholdSetId, Timestamp, UnjudgedReason,
    };
    use tocsin_judge::Persistence;

    pub(crate) fn set() -> Arc<ThresholdSet> {
        let healthy: Vec<Scores> = (0..4_000)
            .map(|i| scores(-(1.0 - (i as f32 + 0.5) / 4_000.0).ln()))
            .collect();
        Arc::new(ThresholdSet::from_healthy_percentiles(&healthy, Persistence::default()).unwrap())
    }

    pub(crate) fn scores(residual: f32) -> Scores {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, residual);
        scores.set(Detector::Pca, residual);
        scores
    }

    pub(crate) fn reading(sensor: i32, second: i64, residual: f32) -> StoredReading {
        let captured_at = Timestamp::from_micros(second * 1_000_000);
        StoredReading {
            key: ReadingKey {
                sensor: SensorId(sensor),
                captured_at,
            },
            received_at: captured_at,
            commit_seq: 1,
            threshold_set: Some(ThresholdSetId(1)),
            bundle: Some(BundleId(1)),
            baseline: None,
            scores: scores(residual),
            flags: ReadingFlags::default(),
            verdict: Verdict::Normal { by: Detector::Residual },
            state: OperatingState::Known,
        }
    }

    #[test]
    fn a_level_is_the_one_its_own_set_gives_with_the_lines_then() {
        let set = set();
        let judged = Judged::new(reading(1, 0, 4.0), Some(set.clone()));
        let residual = &set.members[0];
        assert_eq!(judged.level(), Some(residual.level(4.0)));
        let shown = &judged.detectors()[0];
        assert_eq!((shown.detector.as_str(), shown.role.as_str()), ("residual", "page"));
        assert!((f64::from(shown.alert_line) - residual.alert_line).abs() < 1e-5);
    }

    #[test]
    fn a_degraded_reading_is_shown_by_the_lines_for_without_the_network() {
        let mut degraded = reading(1, 0, 4.0);
        degraded.flags = ReadingFlags::DEGRADED;
        degraded.scores.clear(Detector::Residual);
        let judged = Judged::new(degraded, Some(set()));
        let roles: Vec<_> = judged.detectors().into_iter().map(|d| (d.detector, d.role)).collect();
        assert_eq!(roles, [("pca".to_owned(), "page".to_owned())]);
    }

    #[test]
    fn severity_has_its_own_lines_with_limits_and_without() {
        for set in [Some(set()), None] {
            let mut loud = reading(1, 0, 0.1);
            loud.scores.set(Detector::Severity, 2.5);
            loud.verdict = Verdict::Page { by: Detector::Severity };
            let judged = Judged::new(loud, set);
            assert_eq!(judged.level(), Some(Level(2.5)));
            let shown = judged.detectors().pop().unwrap();
            assert_eq!((shown.detector.as_str(), shown.role.as_str()), ("severity", "page"));
            assert_eq!((shown.level, shown.alert_line, shown.page_line), (2.5, 1.0, 2.0));
        }
    }

    #[test]
    fn what_was_not_judged_has_no_level_whatever_it_scored() {
        let mut stopped = reading(1, 0, 40.0);
        stopped.verdict = Verdict::Unjudged {
            reason: UnjudgedReason::Stopped,
        };
        assert_eq!(Judged::new(stopped, Some(set())).level(), None);
        let unbound = Judged::new(reading(1, 0, 40.0), None);
        assert_eq!((unbound.level(), unbound.detectors()), (None, Vec::new()));
    }
}
