//! A threshold set (on screen: alarm limits): each detector's lines, fitted tail and role, and the persistence rules.
//!
//! Immutable once stored; a row names the one that judged it, so a decision can be derived again from stored scores.

use serde::{Deserialize, Serialize};
use tocsin_detect::tail::{Tail, TailError};
use tocsin_domain::{Detector, Invalid, Level, Scores};

use crate::Persistence;

/// Healthy share above the alert line: the 99.5th percentile.
pub const ALERT_ALPHA: f64 = 0.005;
/// Healthy share above the page line: the 99.95th percentile.
pub const PAGE_ALPHA: f64 = 0.0005;

/// By how much a tail score may differ on its way through a line and back.
const ROUNDING: f64 = 1e-9;

/// What a detector's level may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// May bring a reading to page level.
    Page,
    /// May bring a reading to alert level and no further.
    Alert,
    /// Decides nothing alone; once a page or alert member stands at its alert line, this level counts as well.
    Corroborate,
    /// Shown, never decides.
    Evidence,
}

impl Role {
    /// The name in definitions and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Alert => "alert",
            Self::Corroborate => "corroborate",
            Self::Evidence => "evidence",
        }
    }
}

/// One detector's part of a threshold set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The detector.
    pub detector: Detector,
    /// What it may do.
    pub role: Role,
    /// Raw score of the alert line.
    pub alert_line: f64,
    /// Raw score of the page line.
    pub page_line: f64,
    /// Enough healthy scores stand behind the page line (at least 1 / 0.0005); otherwise it is extrapolated.
    pub page_line_supported: bool,
    /// Healthy distribution of the raw score, where the lines are percentiles. Lines that are multiples of what
    /// healthy machines reach have none: there is no saying how improbable a score beyond them is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

impl Member {
    /// Fits a member on healthy scores.
    pub fn fit(detector: Detector, role: Role, healthy: &[f64]) -> Result<Self, TailError> {
        let tail = Tail::fit(healthy)?;
        Ok(Self {
            detector,
            role,
            alert_line: tail.quantile(1.0 - ALERT_ALPHA),
            page_line: tail.quantile(1.0 - PAGE_ALPHA),
            page_line_supported: tail.sufficient_for(PAGE_ALPHA),
            tail: Some(tail),
        })
    }

    /// Level of a raw score, 1 at the alert line and 2 at the page line: linear in its tail score -log10 P where there
    /// is a tail, else in its logarithm, 1 + ln(x / A) / ln(P / A). A score well below the alert line has a level below
    /// 0; the levels of scores at and below zero are the lowest there are.
    pub fn level(&self, score: f32) -> Level {
        let score = f64::from(score);
        let level = if let Some(tail) = &self.tail {
            let (alert, page) = self.anchors(tail);
            1.0 + (tail.score(score) - alert) / (page - alert)
        } else {
            let relative = (score / self.alert_line).max(f64::MIN_POSITIVE);
            1.0 + relative.ln() / (self.page_line / self.alert_line).ln()
        };
        Level(level as f32)
    }

    /// The tail scores of the two lines. Lines at the tail's own percentiles have those of the percentiles to the last digit,
    /// however the way there and back rounds.
    fn anchors(&self, tail: &Tail) -> (f64, f64) {
        let anchor = |line: f64, alpha: f64| {
            let (own, exact) = (tail.score(line), -alpha.log10());
            if (own - exact).abs() < ROUNDING { exact } else { own }
        };
        (anchor(self.alert_line, ALERT_ALPHA), anchor(self.page_line, PAGE_ALPHA))
    }

    /// Whether an alert line at the 99.5th percentile rests on enough healthy scores; lines without a tail don't claim
    /// to be percentiles.
    pub fn alert_line_supported(&self) -> bool {
        self.tail.as_ref().is_none_or(|tail| tail.sufficient_for(ALERT_ALPHA))
    }
}

/// Alarm limits of a class under one bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct ThresholdSet {
    /// The members when every detector judged.
    pub members: Vec<Member>,
    /// The members when no scorer answered: the lines for "without the network".
    pub without_network: Vec<Member>,
    /// Persistence rules.
    pub persistence: Persistence,
}

#[derive(Deserialize)]
struct Stored {
    members: Vec<Member>,
    without_network: Vec<Member>,
    persistence: Persistence,
}

impl TryFrom<Stored> for ThresholdSet {
    type Error = Invalid;

    fn try_from(stored: Stored) -> Result<Self, Invalid> {
        let set = Self {
            members: stored.members,
            without_network: stored.without_network,
            persistence: stored.persistence.parse()?,
        };
        check_members("members", &set.members)?;
        check_members("without_network", &set.without_network)?;
        if set
            .without_network
            .iter()
            .any(|member| member.detector == Detector::Residual)
        {
            return Err(Invalid::new(
                "without_network",
                "can't hold the residual: there is no network then",
            ));
        }
        Ok(set)
    }
}

fn check_members(field: &str, members: &[Member]) -> Result<(), Invalid> {
    for (i, member) in members.iter().enumerate() {
        if members[..i].iter().any(|earlier| earlier.detector == member.detector) {
            return Err(Invalid::new(field, format!("{} is there twice", member.detector)));
        }
        if member.detector == Detector::Severity {
            return Err(Invalid::new(field, "severity has lines of its own, which no set moves"));
        }
        if !(member.alert_line.is_finite() && member.alert_line < member.page_line) {
            return Err(Invalid::new(
                field,
                format!("{}: the alert line must lie below the page line", member.detector),
            ));
        }
        let tail = member.tail.as_ref();
        if tail.is_some_and(|tail| tail.score(member.alert_line) >= tail.score(member.page_line)) {
            let reason = format!(
                "{}: the lines must lie apart in its healthy distribution",
                member.detector
            );
            return Err(Invalid::new(field, reason));
        }
        if tail.is_none() && member.alert_line <= 0.0 {
            let reason = format!(
                "{}: lines without a healthy distribution must be above zero",
                member.detector
            );
            return Err(Invalid::new(field, reason));
        }
    }
    if members
        .iter()
        .any(|member| matches!(member.role, Role::Page | Role::Alert))
    {
        return Ok(());
    }
    Err(Invalid::new(field, "no member may alert or page"))
}

/// The roles a class starts with: the network and the energy may page, the forest corroborates, the linear baselines
/// stand beside as evidence. Without the network the principal components take its place.
const DEFAULT_ROLES: [(Detector, Role, Role); 5] = [
    (Detector::Residual, Role::Page, Role::Evidence),
    (Detector::OverallLevel, Role::Page, Role::Page),
    (Detector::Isolation, Role::Corroborate, Role::Corroborate),
    (Detector::Pca, Role::Evidence, Role::Page),
    (Detector::Mahalanobis, Role::Evidence, Role::Evidence),
];

/// Why no threshold set can be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinesError {
    /// A detector's healthy scores can't carry a tail.
    #[error("{detector}: {source}")]
    Tail {
        /// The detector.
        detector: Detector,
        /// What is wrong with its scores.
        source: TailError,
    },
    /// No healthy machine says what a detector reaches.
    #[error(
        "{detector}: no machine has a reading against a baseline to take a line from, or they lie too far apart for the class's step"
    )]
    NoReference {
        /// The detector.
        detector: Detector,
    },
    /// The set would not be one.
    #[error(transparent)]
    Set(#[from] Invalid),
}

impl ThresholdSet {
    /// Lines at the 99.5th and 99.95th percentile of a distribution fitted to the healthy scores (peaks over threshold,
    /// generalised Pareto), under the default roles. By the scores themselves: [`ThresholdSet::from_order_statistics`].
    ///
    /// Scores come from readings that neither fitted the detectors nor are suspected of a fault; a detector that scored
    /// none of them is left out.
    pub fn from_healthy_percentiles(healthy: &[Scores], persistence: Persistence) -> Result<Self, LinesError> {
        let mut members = Vec::new();
        let mut without_network = Vec::new();
        for (detector, role, role_without_network) in DEFAULT_ROLES {
            let scores: Vec<f64> = healthy.iter().filter_map(|s| s.get(detector)).map(f64::from).collect();
            if scores.is_empty() {
                continue;
            }
            let member =
                Member::fit(detector, role, &scores).map_err(|source| LinesError::Tail { detector, source })?;
            if detector != Detector::Residual {
                without_network.push(Member {
                    role: role_without_network,
                    ..member.clone()
                });
            }
            members.push(member);
        }
        Ok(Self::new(members, without_network, persistence)?)
    }

    /// A set of given members, checked as a stored one is.
    pub fn new(members: Vec<Member>, without_network: Vec<Member>, persistence: Persistence) -> Result<Self, Invalid> {
        Stored {
            members,
            without_network,
            persistence,
        }
        .try_into()
    }

    /// The members that judge, with or without the network.
    pub fn members(&self, degraded: bool) -> &[Member] {
        if degraded { &self.without_network } else { &self.members }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Exponential healthy scores for the residual, the energy and the forest.
    pub(crate) fn healthy(count: usize) -> Vec<Scores> {
        (0..count)
            .map(|i| {
                let uniform = (i as f64 + 0.5) / count as f64;
                let mut scores = Scores::default();
                for detector in [
                    Detector::Residual,
                    Detector::OverallLevel,
                    Detector::Isolation,
                    Detector::Pca,
                ] {
                    scores.set(detector, -(1.0 - uniform).ln() as f32);
                }
                scores
            })
            .collect()
    }

    pub(crate) fn set() -> ThresholdSet {
        ThresholdSet::from_healthy_percentiles(&healthy(4000), Persistence::default()).unwrap()
    }

    #[test]
    fn the_alert_line_is_level_one_and_the_page_line_level_two() {
        for member in set().members {
            assert!(
                (member.level(member.alert_line as f32).0 - 1.0).abs() < 1e-3,
                "{member:?}"
            );
            assert!((member.level(member.page_line as f32).0 - 2.0).abs() < 1e-3);
            assert!((member.alert_line - 200f64.ln()).abs() < 0.2, "{}", member.alert_line);
            assert!(member.page_line_supported);
        }
    }

    #[test]
    fn extremes_do_not_tie() {
        let member = &set().members[0];
        let levels: Vec<f32> = [20.0, 40.0, 400.0, 4e6].map(|x| member.level(x).0).to_vec();
        assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{levels:?}");
    }

    #[test]
    fn few_scores_leave_the_page_line_marked_as_extrapolated() {
        let few = ThresholdSet::from_healthy_percentiles(&healthy(1400), Persistence::default()).unwrap();
        assert!(few.members.iter().all(|member| !member.page_line_supported));
        let error = ThresholdSet::from_healthy_percentiles(&healthy(20), Persistence::default()).unwrap_err();
        assert!(error.to_string().starts_with("residual: "), "{error}");
    }

    #[test]
    fn a_stored_set_survives_json_and_a_broken_one_is_refused() {
        let set = set();
        let json = serde_json::to_string(&set).unwrap();
        assert!(
            serde_json::from_str::<ThresholdSet>(&json).unwrap() == set,
            "a line moved on its way through JSON"
        );
        let mut toothless = serde_json::to_value(&set).unwrap();
        for member in toothless["members"].as_array_mut().unwrap() {
            member["role"] = "evidence".into();
        }
        let error = serde_json::from_value::<ThresholdSet>(toothless)
            .unwrap_err()
            .to_string();
        assert!(error.contains("members: no member may alert or page"), "{error}");
    }
}
