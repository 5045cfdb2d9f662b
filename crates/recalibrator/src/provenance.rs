//! Where a threshold set's numbers came from and what was done with it, as the set's row keeps it.

use serde::{Deserialize, Serialize};
use tocsin_detect::percentile::PercentileEstimate;
use tocsin_domain::{BundleDigest, BundleId, Detector, Timestamp};
use tocsin_judge::threshold_set::{ALERT_ALPHA, PAGE_ALPHA};
use tocsin_judge::{FleetReplay, LabelledLines, LinePercentiles, Member, Persistence, ThresholdSet};

use crate::Trial;
use crate::fleet_limits::{ExpectedPages, FleetReplaySet};
use crate::labelled::LabelledSet;
use crate::lending::Borrowed;
use crate::policy::PolicyDecision;
use crate::scores::Healthy;

/// The healthy scores a set was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// Those the trainer held out and put into the bundle.
    HeldOut,
    /// Those logged from `from` up to but without `to`, of machines that had no incident in that time.
    Logged {
        /// Start of the period.
        from: Timestamp,
        /// End of the period.
        to: Timestamp,
    },
}

/// What stands behind one detector's lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectorSource {
    /// The detector.
    pub detector: Detector,
    /// Healthy scores it gave.
    pub scores: u64,
    /// Enough for its page line; otherwise that line is extrapolated by the fitted tail, or rests on too few machines.
    pub page_line_supported: bool,
    /// Machines whose largest k-th of n the lines are multiples of; none for percentiles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machines: Option<u64>,
    /// The 99.5th percentile of its healthy scores themselves, with bounds that hold for any distribution; none for lines
    /// that are multiples. Where the alert line is fitted and lies outside of them, the fit is doubtful.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert_percentile: Option<PercentileEstimate>,
    /// The same of the page line: the 99.95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_percentile: Option<PercentileEstimate>,
    /// What labels chose, and what the lines do on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled: Option<LabelledLines>,
}

/// How lines at percentiles are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Read off the scores where there are enough.
    ReadOff,
    /// Those of a fitted distribution.
    Fitted,
}

/// How a set's lines were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodKind {
    /// At percentiles of healthy scores, read off where they are enough.
    Percentile,
    /// At percentiles of a distribution fitted to healthy scores.
    Tail,
    /// Against baselines, at multiples of what machines reached.
    FleetReplay,
    /// At percentiles of healthy scores, moved where labelled failures choose.
    Labels,
}

impl MethodKind {
    /// Of a provenance from before the kind was kept, whose words began with it.
    fn of_words(method: &str) -> Self {
        if method.starts_with("fleet replay") {
            Self::FleetReplay
        } else if method.starts_with("tail") {
            Self::Tail
        } else {
            Self::Percentile
        }
    }
}

/// Who agreed to a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Why a set ended before it was tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Who ended it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Where a set's numbers came from, and what was done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// How the lines were found, in words.
    pub method: String,
    /// The same for programs; none of one from before it was kept: ask [`Self::found_by`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_kind: Option<MethodKind>,
    /// The scores they were found from.
    pub source: Source,
    /// Capture time of the first and the last reading used.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Readings used.
    pub readings: u64,
    /// Machines they came from.
    pub machines: u64,
    /// Sensors they came from.
    pub sensors: u64,
    /// What stands behind each detector.
    pub detectors: Vec<DetectorSource>,
    /// The bundle's number.
    pub bundle_id: BundleId,
    /// The bundle whose scores they are.
    pub bundle_digest: BundleDigest,
    /// Who proposed the set.
    pub proposed_by: String,
    /// When.
    pub proposed_at: Timestamp,
    /// Why.
    pub reason: String,
    /// What it is expected to page, for sets from logged scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedPages>,
    /// What it would have done, once tested.
    pub trial: Option<Trial>,
    /// Who agreed to it, once approved.
    pub approval: Option<Approval>,
    /// The factors of a set by fleet replay; none of one from before they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factors: Option<FleetReplay>,
    /// What a set by fleet replay took from other classes, of a class with few machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrowed: Option<Borrowed>,
    /// What policy found, of a set that was proposed on schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyDecision>,
    /// Why it ended, of a set that was proposed on schedule and could not be tested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

/// What a provenance says beside what the scores and the set say themselves.
pub(crate) struct Proposal {
    pub(crate) source: Source,
    pub(crate) bundle_id: BundleId,
    pub(crate) bundle_digest: BundleDigest,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
    pub(crate) reason: String,
}

impl Provenance {
    /// Of lines at percentiles of `healthy` scores.
    pub(crate) fn percentiles(proposal: Proposal, lines: Lines, healthy: &Healthy, set: &ThresholdSet) -> Self {
        let (kind, method) = match lines {
            Lines::ReadOff => (
                MethodKind::Percentile,
                format!("{}, read off the scores where they are enough", percentiles()),
            ),
            Lines::Fitted => (MethodKind::Tail, format!("tail: {}", percentiles())),
        };
        let readings = &healthy.readings;
        let ends = readings.first().zip(readings.last());
        Self {
            window: ends.map(|(a, b)| (a.key.captured_at, b.key.captured_at)),
            readings: readings.len() as u64,
            machines: healthy.machines() as u64,
            sensors: healthy.sensors() as u64,
            detectors: set.members.iter().map(|member| behind(member, healthy)).collect(),
            ..Self::new(proposal, kind, method)
        }
    }

    /// Of lines at percentiles of `healthy` scores, moved where labels choose.
    pub(crate) fn labels(proposal: Proposal, healthy: &Healthy, set: &ThresholdSet, labelled: &LabelledSet) -> Self {
        let (readings, sensors) = (labelled.anomalous.scores.len(), labelled.anomalous.sensors.len());
        let words = format!(
            "labels: the precision-recall curve of {readings} readings of {sensors} sensors labelled as a failure chooses              (alert by F2, page by F0.5); other detectors at {}",
            percentiles()
        );
        let found = Self::percentiles(proposal, Lines::ReadOff, healthy, set);
        let lines = |detector| {
            labelled
                .chosen
                .iter()
                .find(|(its, _)| *its == detector)
                .map(|(_, lines)| *lines)
        };
        let detectors = found.detectors.clone().into_iter().map(|source| DetectorSource {
            labelled: lines(source.detector),
            ..source
        });
        Self {
            method: words,
            method_kind: Some(MethodKind::Labels),
            detectors: detectors.collect(),
            ..found
        }
    }

    /// Of lines at multiples of what machines reached, beside those at percentiles of the scores held out.
    pub(crate) fn fleet_replay(proposal: Proposal, found: &FleetReplaySet, rules: Persistence) -> Self {
        let (method, reached) = (&found.method, &found.reached);
        let mut words = format!(
            "fleet replay: alert {}, page {} times the median machine's largest {} of {}, alert of shift {:.2}; other detectors \
             at {} of the scores held out",
            method.alert_factor,
            method.page_factor,
            rules.k,
            rules.n,
            method.alert_factor_of(Detector::Shift),
            percentiles()
        );
        if let Some(budget) = found.expected.budget {
            words.push_str(&format!("; the smallest page factor that keeps to {budget}"));
        }
        if let Some(borrowed) = &reached.borrowed {
            words.push_str(&format!("; what machines reached is {borrowed}"));
        }
        let behind = |member: &Member| match member.detector {
            detector if detector.needs_baseline() => DetectorSource {
                detector,
                scores: reached.scores(detector),
                page_line_supported: member.page_line_supported,
                machines: Some(reached.largest(detector).len() as u64),
                alert_percentile: None,
                page_percentile: None,
                labelled: None,
            },
            _ => behind(member, &found.held_out),
        };
        Self {
            window: reached.window,
            readings: reached.readings,
            machines: reached.machines,
            sensors: reached.sensors,
            detectors: found.set.members.iter().map(behind).collect(),
            expected: Some(found.expected.clone()),
            factors: Some(found.method),
            borrowed: reached.borrowed.clone(),
            ..Self::new(proposal, MethodKind::FleetReplay, words)
        }
    }

    /// How the lines were found, for programs.
    pub fn found_by(&self) -> MethodKind {
        self.method_kind.unwrap_or_else(|| MethodKind::of_words(&self.method))
    }

    pub(crate) fn new(proposal: Proposal, kind: MethodKind, method: String) -> Self {
        Self {
            method,
            method_kind: Some(kind),
            source: proposal.source,
            window: None,
            readings: 0,
            machines: 0,
            sensors: 0,
            detectors: Vec::new(),
            bundle_id: proposal.bundle_id,
            bundle_digest: proposal.bundle_digest,
            proposed_by: proposal.by,
            proposed_at: proposal.at,
            reason: proposal.reason,
            expected: None,
            trial: None,
            approval: None,
            factors: None,
            borrowed: None,
            policy: None,
            rejection: None,
        }
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names, times and finite numbers have a JSON form")
    }
}

fn percentiles() -> String {
    format!(
        "percentiles of healthy scores: alert {}, page {}; generalised Pareto tail beyond the body",
        100.0 * (1.0 - ALERT_ALPHA),
        100.0 * (1.0 - PAGE_ALPHA)
    )
}

fn behind(member: &Member, healthy: &Healthy) -> DetectorSource {
    let detector = member.detector;
    let scored = healthy
        .readings
        .iter()
        .filter_map(|reading| reading.scores.get(detector));
    let scores: Vec<f64> = scored.map(f64::from).collect();
    let percentiles = LinePercentiles::of(&scores).ok();
    DetectorSource {
        detector,
        scores: scores.len() as u64,
        page_line_supported: member.page_line_supported,
        machines: None,
        alert_percentile: percentiles.map(|percentiles| percentiles.alert),
        page_percentile: percentiles.map(|percentiles| percentiles.page),
        labelled: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provenance(kind: MethodKind, method: &str) -> Provenance {
        let proposal = Proposal {
            source: Source::HeldOut,
            bundle_id: BundleId(1),
            bundle_digest: BundleDigest([1; 32]),
            by: "ana".to_owned(),
            at: Timestamp::from_micros(0),
            reason: String::new(),
        };
        Provenance::new(proposal, kind, method.to_owned())
    }

    fn read(json: &serde_json::Value) -> Provenance {
        serde_json::from_value(json.clone()).unwrap()
    }

    #[test]
    fn the_kind_of_method_is_kept_whatever_its_words_say() {
        let made = provenance(MethodKind::FleetReplay, "tail ends of what the fleet reached");
        let mut json: serde_json::Value = serde_json::from_str(&made.to_json()).unwrap();
        assert_eq!(json["method_kind"], "fleet_replay");
        assert_eq!(read(&json).found_by(), MethodKind::FleetReplay);
        json["method_kind"] = "guesswork".into();
        assert!(serde_json::from_value::<Provenance>(json).is_err());
    }

    #[test]
    fn a_row_from_before_the_kind_was_kept_tells_it_by_its_words() {
        let rows = [
            ("tail: percentiles of healthy scores: alert 99.5", MethodKind::Tail),
            ("fleet replay: alert 1.75, page 2.5 times", MethodKind::FleetReplay),
            ("percentiles of healthy scores: alert 99.5", MethodKind::Percentile),
        ];
        for (words, kind) in rows {
            let mut json: serde_json::Value = serde_json::from_str(&provenance(kind, words).to_json()).unwrap();
            json.as_object_mut().unwrap().remove("method_kind");
            let old = read(&json);
            assert_eq!((old.method_kind, old.found_by()), (None, kind), "{words}");
        }
    }
}
