//! Limits from what the fleet's healthy machines did reach: the method `fleet-replay`.
//!
//! A percentile of readings says little about incidents, which need k of n steps. So the other machines of a class are
//! replayed over their healthy stretch, and each tells the level that its k-of-n rule would have had to stand above to
//! stay silent: the largest "k-th of the last n" of a detector's score. The median of these over machines is the
//! detector's reference m; one machine that failed unnoticed moves it little. The alert line is 1.75 m, the page line
//! 2.5 m, and what looks both ways alerts at 2 m: factors chosen on run-to-failure bearings (see docs/evaluation.md), or
//! from a page budget.
//!
//! **Invariant:** a function of the histories and the rules alone; the machine that is to be judged needs no part in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, Invalid, ReadingKey, Scores};

use crate::threshold_set::{LinesError, Member};
use crate::{LargestKthOfN, Persistence, Role, ThresholdSet};

/// Fewest machines whose median carries a line; with fewer the lines are marked as not supported.
pub const MIN_MACHINES: usize = 3;

/// The lines as multiples of the fleet's reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FleetReplay {
    /// The alert line over the reference.
    pub alert_factor: f64,
    /// The page line over the reference.
    pub page_factor: f64,
    /// The alert line over the reference of what looks both ways, shift and overall level: benign change moves these
    /// first, and an alert that stands for weeks hides the next one. Under a low page line it lies half-way, on a log
    /// scale, between the other alert line and that.
    pub two_sided_factor: f64,
    /// What a line that stands out may do: page, or alert at most.
    pub narrowband: Role,
    /// What a shift in either direction may do: page, or alert at most.
    pub shift: Role,
}

impl Default for FleetReplay {
    fn default() -> Self {
        Self {
            alert_factor: 1.75,
            page_factor: 2.5,
            two_sided_factor: 2.0,
            narrowband: Role::Page,
            shift: Role::Page,
        }
    }
}

/// One healthy machine's score of one detector, reading by reading.
pub type History = Vec<(ReadingKey, f32)>;

/// The [largest k-th of the last n](LargestKthOfN) of a whole history, in whatever order.
pub fn largest_kth_of_n(history: &[(ReadingKey, f32)], rules: &Persistence, step: Duration) -> Option<f32> {
    let mut in_order = history.to_vec();
    in_order.sort_by_key(|(key, _)| key.captured_at);
    let mut largest = LargestKthOfN::new(rules, step);
    for (key, score) in in_order {
        largest.take(key, score);
    }
    largest.largest()
}

/// The detectors that are held against what a sensor was itself.
pub const OWN: [Detector; 4] = [
    Detector::Growth,
    Detector::Narrowband,
    Detector::Shift,
    Detector::OverallLevel,
];

impl FleetReplay {
    /// A detector's lines from the largest k-th of n of each machine. Nothing when no machine has one above zero.
    pub fn member(&self, detector: Detector, role: Role, largest: &[f32]) -> Option<Member> {
        let reference = median(largest)?;
        (reference > 0.0).then_some(Member {
            detector,
            role,
            alert_line: self.alert_factor_of(detector) * reference,
            page_line: self.page_factor * reference,
            page_line_supported: largest.len() >= MIN_MACHINES,
            tail: None,
        })
    }

    /// The alert line of a detector over its reference; the page line is the page factor of all.
    pub fn alert_factor_of(&self, detector: Detector) -> f64 {
        match detector {
            Detector::Shift | Detector::OverallLevel => {
                self.two_sided_factor.min((self.alert_factor * self.page_factor).sqrt())
            }
            _ => self.alert_factor,
        }
    }

    /// Limits for machines with a baseline. `largest` gives a detector's largest k-th of n of every healthy machine;
    /// detectors it has none of are left out. Without the network nothing changes: none of these needs it.
    pub fn threshold_set(
        &self,
        largest: impl Fn(Detector) -> Vec<f32>,
        persistence: Persistence,
    ) -> Result<ThresholdSet, LinesError> {
        let members: Vec<Member> = self.own_members(OWN, largest).collect();
        ThresholdSet::new(members.clone(), members, persistence).map_err(LinesError::Set)
    }

    fn own_members(
        &self,
        detectors: impl IntoIterator<Item = Detector>,
        largest: impl Fn(Detector) -> Vec<f32>,
    ) -> impl Iterator<Item = Member> {
        detectors
            .into_iter()
            .filter_map(move |detector| self.member(detector, self.role_of(detector), &largest(detector)))
    }

    /// What a detector against a sensor's own past may do.
    pub fn role_of(&self, detector: Detector) -> Role {
        match detector {
            Detector::Growth => Role::Page,
            Detector::Narrowband => self.narrowband,
            Detector::Shift => self.shift,
            _ => Role::Alert,
        }
    }
}

/// What the percentile members of a bundle's own detectors may do beside members against a baseline, with the network
/// and without it.
const ROLES_BESIDE: [(Detector, Role); 5] = [
    (Detector::OverallLevel, Role::Alert),
    (Detector::Residual, Role::Alert),
    (Detector::Isolation, Role::Corroborate),
    (Detector::Pca, Role::Evidence),
    (Detector::Mahalanobis, Role::Evidence),
];

impl FleetReplay {
    /// Limits for a class in production: the detectors against a baseline by this method, and beside them those of the
    /// bundle at percentiles of `healthy` scores. What the fleet shares may alert; a page takes the machine's own past.
    ///
    /// Fails as [`ThresholdSet::from_healthy_percentiles`] does, and where no machine says anything of growth.
    pub fn beside_percentiles(
        &self,
        healthy: &[Scores],
        largest: impl Fn(Detector) -> Vec<f32>,
        persistence: Persistence,
    ) -> Result<ThresholdSet, LinesError> {
        self.beside(&ThresholdSet::from_healthy_percentiles(healthy, persistence)?, largest)
    }

    /// The same beside a set at percentiles that is there already, under its persistence rules.
    ///
    /// Fails where no machine says anything of growth.
    pub fn beside(
        &self,
        percentiles: &ThresholdSet,
        largest: impl Fn(Detector) -> Vec<f32>,
    ) -> Result<ThresholdSet, LinesError> {
        let own = OWN.into_iter().filter(|detector| detector.needs_baseline());
        let own = self.own_members(own, largest);
        let shared = ROLES_BESIDE.iter().filter_map(|(detector, role)| {
            let member = percentiles.members.iter().find(|member| member.detector == *detector)?;
            Some(Member {
                role: *role,
                ..member.clone()
            })
        });
        let members: Vec<Member> = own.chain(shared).collect();
        if !members.iter().any(|member| member.detector == Detector::Growth) {
            return Err(LinesError::NoReference {
                detector: Detector::Growth,
            });
        }
        let mut without_network = members.clone();
        without_network.retain(|member| member.detector != Detector::Residual);
        ThresholdSet::new(members, without_network, percentiles.persistence).map_err(LinesError::Set)
    }

    /// Checks the factors: the alert line above what healthy machines reach, the page line above the alert line.
    pub fn parse(self) -> Result<Self, Invalid> {
        if !(self.alert_factor > 1.0 && self.alert_factor.is_finite()) {
            return Err(Invalid::new(
                "fleet_replay.alert_factor",
                format!("{} must be above 1", self.alert_factor),
            ));
        }
        if !(self.page_factor > self.alert_factor && self.page_factor.is_finite()) {
            let reason = format!(
                "{} must be above the alert factor {}",
                self.page_factor, self.alert_factor
            );
            return Err(Invalid::new("fleet_replay.page_factor", reason));
        }
        if !(self.two_sided_factor > 1.0 && self.two_sided_factor.is_finite()) {
            let reason = format!("{} must be above 1", self.two_sided_factor);
            return Err(Invalid::new("fleet_replay.two_sided_factor", reason));
        }
        Ok(self)
    }
}

/// The median, of an even number the mean of the middle two; nothing of none.
pub fn median(values: &[f32]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().map(f64::from).collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], upper)
    } else {
        upper
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JudgedReading;
    use crate::step::tests::STEP;
    use proptest::prelude::*;
    use tocsin_domain::{Condition, SensorId, Timestamp, UnjudgedReason, Verdict};

    fn history(scores: &[f32]) -> History {
        let key = |at: usize| ReadingKey {
            sensor: SensorId(1),
            captured_at: Timestamp::from_micros(at as i64 * 10_000_000),
        };
        scores.iter().enumerate().map(|(at, score)| (key(at), *score)).collect()
    }

    fn largest(scores: &[f32]) -> Option<f32> {
        largest_kth_of_n(&history(scores), &Persistence::default(), STEP)
    }

    #[test]
    fn four_loud_steps_of_eight_say_nothing_and_five_do() {
        let mut scores = vec![1.0; 40];
        for at in [10, 11, 13, 15] {
            scores[at] = 9.0;
        }
        assert_eq!(largest(&scores), Some(1.0));
        scores[17] = 7.0;
        assert_eq!(largest(&scores), Some(7.0));
        assert_eq!(largest(&scores[..7]), None);
    }

    #[test]
    fn one_wild_machine_moves_the_reference_little() {
        let method = FleetReplay::default();
        let line = |largest: &[f32]| method.member(Detector::Growth, Role::Page, largest).unwrap();
        assert_eq!(line(&[1.0, 2.0, 3.0]).alert_line, 3.5);
        assert_eq!(line(&[1.0, 2.0, 300.0]).page_line, 5.0);
        assert!(!line(&[1.0, 2.0]).page_line_supported);
        assert_eq!(method.member(Detector::Growth, Role::Page, &[]), None);
        assert_eq!(method.member(Detector::Growth, Role::Page, &[0.0]), None);
    }

    #[test]
    fn a_sensor_without_a_baseline_is_unjudged_and_one_with_it_pages_at_two_and_a_half_times_the_reference() {
        let set = FleetReplay::default()
            .threshold_set(|_| vec![1.0, 2.0, 3.0], Persistence::default())
            .unwrap();
        let judge = |scores: &Scores| set.judge(scores, Condition::default(), false).verdict;
        let mut scores = Scores::default();
        let commissioning = UnjudgedReason::Commissioning;
        assert_eq!(judge(&scores), Verdict::Unjudged { reason: commissioning });
        scores.set(Detector::Growth, 4.99);
        assert_eq!(judge(&scores), Verdict::Alert { by: Detector::Growth });
        scores.set(Detector::Growth, 5.01);
        assert_eq!(judge(&scores), Verdict::Page { by: Detector::Growth });
        scores.set(Detector::Growth, 1.0);
        let by = Detector::Shift;
        scores.set(by, 4.01);
        assert_eq!(
            judge(&scores),
            Verdict::Alert { by },
            "what is quieter than healthy alerts"
        );
        scores.set(by, 5.01);
        assert_eq!(judge(&scores), Verdict::Page { by }, "and pages at the line of all");
    }

    #[test]
    fn beside_percentiles_what_the_fleet_shares_may_alert_and_a_page_takes_the_machines_own_past() {
        let healthy = crate::threshold_set::tests::healthy(4_000);
        let method = FleetReplay::default();
        let rules = Persistence::default();
        let set = method.beside_percentiles(&healthy, |_| vec![2.0; 4], rules).unwrap();
        let may_page = |members: &[Member]| -> Vec<Detector> {
            let pages = members.iter().filter(|member| member.role == Role::Page);
            pages.map(|member| member.detector).collect()
        };
        let own = [Detector::Growth, Detector::Narrowband, Detector::Shift];
        assert_eq!(
            (may_page(&set.members), may_page(&set.without_network)),
            (own.into(), own.into())
        );
        let of = |detector| set.members.iter().find(|member| member.detector == detector).unwrap();
        assert_eq!(
            (of(Detector::Growth).alert_line, of(Detector::Growth).page_line),
            (3.5, 5.0)
        );
        assert!(of(Detector::OverallLevel).tail.is_some() && of(Detector::Isolation).role == Role::Corroborate);
        let nothing = method.beside_percentiles(&healthy, |_| Vec::new(), rules).unwrap_err();
        assert_eq!(
            nothing.to_string(),
            "growth: no machine has a reading against a baseline to take a line from, or they lie too far apart for the class's step"
        );
    }

    #[test]
    fn factors_that_order_no_lines_are_refused_by_their_field() {
        let method = FleetReplay::default();
        assert_eq!(method.parse().unwrap(), method);
        let with = |alert_factor, page_factor| {
            FleetReplay {
                alert_factor,
                page_factor,
                ..method
            }
            .parse()
            .unwrap_err()
        };
        assert_eq!(with(1.0, 2.0).field, "fleet_replay.alert_factor");
        assert_eq!(with(2.0, 2.0).field, "fleet_replay.page_factor");
        assert_eq!(with(2.0, f64::NAN).field, "fleet_replay.page_factor");
    }

    #[test]
    fn what_looks_both_ways_alerts_below_its_page_line_however_low_that_is() {
        for page_factor in [1.8, 2.0, 2.5, 4.0] {
            let method = FleetReplay {
                page_factor,
                ..FleetReplay::default()
            };
            let alert = method.alert_factor_of(Detector::Shift);
            assert!(alert > 1.75 && alert < page_factor, "{page_factor}: {alert}");
        }
        assert_eq!(FleetReplay::default().alert_factor_of(Detector::OverallLevel), 2.0);
    }

    proptest! {
        #[test]
        fn a_line_above_the_reference_of_a_machine_leaves_it_silent(scores in prop::collection::vec(0.1_f32..9.0, 8..80)) {
            let method = FleetReplay { alert_factor: 1.001, ..FleetReplay::default() };
            let reference = largest(&scores).unwrap();
            let set = method.threshold_set(|_| vec![reference; 3], Persistence::default()).unwrap();
            let mut fold = crate::MachineFold::resume(Persistence::default(), STEP, None, []);
            for (key, score) in history(&scores) {
                let mut scores = Scores::default();
                scores.set(Detector::Growth, score);
                let judgement = set.judge(&scores, Condition::default(), false);
                fold.arrive(JudgedReading::new(key, &judgement), crate::fold::Effect::Acts);
                prop_assert_eq!(fold.open(), None);
            }
        }
    }
}
