//! A challenger held against the champion, over the same readings.

use std::collections::BTreeSet;

use tocsin_contracts::time;
use tocsin_contracts::training::v1;
use tocsin_detect::percentile::{PercentileEstimate, Support, percentile};
use tocsin_domain::{Detector, Principal, Scores, Timestamp};
use tocsin_models::HeldOut;
use tocsin_store::shadow::{Compared, OF_A_BUNDLE};

use super::Training;
use super::rank::spearman;
use crate::Error;
use crate::service::class_name;

/// The most readings that are compared.
const MOST: u32 = 100_000;

/// The fewest healthy readings that carry a 99.5th percentile.
const FEWEST: usize = 200;

/// The guide's lines.
const ALERT: f64 = 0.995;
const PAGE: f64 = 0.9995;

impl Training {
    pub(super) async fn do_compare(
        &self,
        by: &Principal,
        request: v1::CompareModelsRequest,
    ) -> Result<v1::CompareModelsResponse, Error> {
        let store = &self.parts.store;
        let since = time::optional("since", request.since)?.unwrap_or(Timestamp::from_micros(0));
        let class = store.class_by_name(&class_name(&request.class)?).await?;
        let binding = store.binding_current(class.id).await?;
        let (champion, challenger) = match binding.map(|binding| (binding.champion, binding.challenger)) {
            Some((Some(champion), Some(challenger))) => (champion, challenger),
            Some((Some(_), None)) => return Err(Error::NoChallenger(class.name)),
            _ => return Err(Error::NoChampion(class.name)),
        };
        let both = (champion.0, challenger.0);
        let rows = store.shadow_compared(&by.scope(), class.id, both, since, MOST).await?;
        let bundles = &self.parts.bundles;
        let (old, new) = (bundles.get(&champion.1).await?, bundles.get(&challenger.1).await?);
        let compared = tokio::task::spawn_blocking(move || compare(&rows, old.held_out(), new.held_out())).await?;
        Ok(v1::CompareModelsResponse {
            champion_bundle_id: champion.0.0,
            challenger_bundle_id: challenger.0.0,
            ..compared
        })
    }
}

/// All but the numbers of the bundles.
fn compare(rows: &[Compared], champion: &HeldOut, challenger: &HeldOut) -> v1::CompareModelsResponse {
    let healthy = rows.iter().filter(|row| !row.around_incident).count();
    let times = || rows.iter().map(|row| row.key.captured_at);
    let detectors = OF_A_BUNDLE.into_iter().filter_map(|detector| {
        let of_champion = |row: &Compared| row.champion;
        let of_challenger = |row: &Compared| row.challenger;
        let pairs: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|row| Some((score(&row.champion, detector)?, score(&row.challenger, detector)?)))
            .collect();
        (!pairs.is_empty()).then(|| v1::DetectorComparison {
            detector: detector.to_string(),
            champion: Some(summary(rows, detector, of_champion, champion)),
            challenger: Some(summary(rows, detector, of_challenger, challenger)),
            rank_correlation: spearman(&pairs),
        })
    });
    v1::CompareModelsResponse {
        healthy: healthy as u32,
        around_incidents: (rows.len() - healthy) as u32,
        first_at: times().min().map(time::to_wire),
        last_at: times().max().map(time::to_wire),
        insufficient: insufficient(rows, healthy),
        detectors: detectors.collect(),
        ..v1::CompareModelsResponse::default()
    }
}

fn insufficient(rows: &[Compared], healthy: usize) -> String {
    if healthy < FEWEST {
        return format!("{healthy} healthy readings, a 99.5th percentile takes at least {FEWEST}");
    }
    let sensors: BTreeSet<_> = rows.iter().map(|row| row.key.sensor).collect();
    if sensors.len() < 2 {
        return "readings of a single sensor do not speak for a class".to_owned();
    }
    String::new()
}

fn score(scores: &Scores, detector: Detector) -> Option<f64> {
    scores.get(detector).map(f64::from).filter(|score| score.is_finite())
}

fn summary(
    rows: &[Compared],
    detector: Detector,
    of: impl Fn(&Compared) -> Scores,
    held_out: &HeldOut,
) -> v1::ScoreSummary {
    let side = |around: bool| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row.around_incident == around);
        rows.filter_map(|row| score(&of(row), detector)).collect()
    };
    let (healthy, incident) = (side(false), side(true));
    let held_out: Vec<f64> = held_out.of(detector).into_iter().map(f64::from).collect();
    let (alert, page) = (line(&held_out, ALERT), line(&held_out, PAGE));
    let above = |scores: &[f64], line: Option<f64>| {
        let line = line.unwrap_or(f64::INFINITY);
        scores.iter().filter(|score| **score > line).count() as u32
    };
    v1::ScoreSummary {
        median: percentile(&healthy, 0.5, 0.95).ok().map(wire),
        p99_5: percentile(&healthy, ALERT, 0.95).ok().map(wire),
        alert_line: alert,
        page_line: page,
        healthy_above_alert: above(&healthy, alert),
        healthy_above_page: above(&healthy, page),
        incident_above_alert: above(&incident, alert),
        incident_above_page: above(&incident, page),
    }
}

/// A percentile of what the trainer held out; nothing where that is too little.
fn line(held_out: &[f64], share: f64) -> Option<f64> {
    let estimate = percentile(held_out, share, 0.95).ok()?;
    (estimate.support == Support::Sufficient).then_some(estimate.value)
}

fn wire(estimate: PercentileEstimate) -> v1::Percentile {
    v1::Percentile {
        value: estimate.value,
        lower: estimate.lower,
        upper: estimate.upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::{ReadingKey, SensorId};
    use tocsin_models::HeldOutRow;

    fn residual(score: f64) -> Scores {
        let mut scores = Scores::default();
        scores.set(Detector::Residual, score as f32);
        scores
    }

    fn rows(count: u32, challenger: f64) -> Vec<Compared> {
        let row = |at: u32| Compared {
            key: ReadingKey {
                sensor: SensorId((at % 3) as i32),
                captured_at: Timestamp::from_micros(at.into()),
            },
            champion: residual(f64::from(at)),
            challenger: residual(challenger * f64::from(at)),
            around_incident: at >= 300,
        };
        (0..count).map(row).collect()
    }

    fn held_out() -> HeldOut {
        let row = |at: u32| HeldOutRow {
            sensor: 0,
            captured_at: Timestamp::from_micros(at.into()),
            scores: residual(f64::from(at) / 10.0),
        };
        HeldOut::new(vec!["north/one/h".to_owned()], (0..2_500).map(row).collect())
    }

    #[test]
    fn both_are_counted_under_their_own_lines_on_the_same_readings() {
        let told = compare(&rows(310, 0.5), &held_out(), &held_out());
        assert_eq!(
            (told.healthy, told.around_incidents, told.insufficient.as_str()),
            (300, 10, "")
        );
        let [residual] = told.detectors.as_slice() else {
            panic!("one detector: {told:?}");
        };
        assert_eq!(residual.rank_correlation, Some(1.0));
        let (old, new) = (
            residual.champion.as_ref().unwrap(),
            residual.challenger.as_ref().unwrap(),
        );
        let line = old.alert_line.unwrap();
        assert!((line - 248.65).abs() < 0.1, "{line}");
        assert_eq!((old.healthy_above_alert, old.incident_above_alert), (51, 10));
        assert_eq!((new.healthy_above_alert, new.incident_above_alert), (0, 0));
        assert_eq!(old.median.as_ref().unwrap().value, 149.5);
        assert_eq!(
            old.p99_5.as_ref().unwrap().upper,
            None,
            "300 readings have no upper bound there"
        );
    }

    #[test]
    fn too_little_is_said_to_be_too_little() {
        let told = compare(&rows(150, 1.0), &held_out(), &HeldOut::default());
        assert!(
            told.insufficient.contains("150 healthy readings"),
            "{}",
            told.insufficient
        );
        let new = told.detectors[0].challenger.as_ref().unwrap();
        assert_eq!((new.alert_line, new.healthy_above_alert), (None, 0));
        assert!(!compare(&[], &held_out(), &held_out()).insufficient.is_empty());
    }
}
