//! Rows among those taken for healthy that hardly are: for a person to look at, never removed by themselves.

use serde::Serialize;
use tocsin_domain::Timestamp;

use crate::training_set::TrainingSet;

/// Spreads of the logarithm of the cost above its median from which a row is suspicious: of a normal distribution, one row
/// in 30,000 lies there.
const SPREADS: f64 = 4.0;
/// Most rows told.
const MOST: usize = 1_000;

/// A row that the network rebuilds far worse than the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// The sensor, `site/machine/sensor`.
    pub sensor: String,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Its squared error, mean over bins, in the network's space.
    pub error: f32,
    /// Robust spreads of the logarithm of the error above its median.
    pub spreads: f64,
}

/// Suspicious rows of a set, the worst first. `costs`: one per row.
pub(crate) fn find(set: &TrainingSet, costs: &[f32]) -> Vec<Suspect> {
    let logs: Vec<f64> = costs
        .iter()
        .map(|cost| f64::from(*cost).max(f64::MIN_POSITIVE).ln())
        .collect();
    let centre = median(logs.clone());
    // The median absolute deviation of a normal distribution is 0.6745 of its standard deviation.
    let spread = median(logs.iter().map(|log| (log - centre).abs()).collect()) / 0.6745;
    let mut found: Vec<(usize, f64)> = logs
        .iter()
        .map(|log| (log - centre) / spread)
        .enumerate()
        .filter(|(_, spreads)| *spreads > SPREADS)
        .collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    found.truncate(MOST);
    let suspect = |(place, spreads): (usize, f64)| {
        let row = set.rows()[place];
        Suspect {
            sensor: set.sensors()[row.sensor as usize].clone(),
            captured_at: row.captured_at,
            error: costs[place],
            spreads,
        }
    };
    found.into_iter().map(suspect).collect()
}

/// Places of the `share` of rows that cost least, in the order of the set.
pub(crate) fn cheapest(costs: &[f32], share: f64) -> Vec<usize> {
    let mut places: Vec<usize> = (0..costs.len()).collect();
    places.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]));
    places.truncate((costs.len() as f64 * share).round() as usize);
    places.sort_unstable();
    places
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use tocsin_domain::SpectrumSpec;

    use super::*;

    #[test]
    fn the_cheapest_keep_their_order() {
        assert_eq!(cheapest(&[3.0, 1.0, 9.0, 2.0], 0.75), [0, 1, 3]);
    }

    #[test]
    fn rows_that_stand_out_are_told_the_worst_first() {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        let mut costs = Vec::new();
        for at in 0..200_u16 {
            let cost = 0.1 * (1.0 + 0.3 * f32::from(at % 7));
            let at = i64::from(at);
            set.push("a/b/c", Timestamp::from_micros(at), &[0.1; 32]).unwrap();
            costs.push(cost);
        }
        assert!(find(&set, &costs).is_empty());
        (costs[20], costs[120]) = (5.0, 50.0);
        let found = find(&set, &costs);
        let places: Vec<i64> = found.iter().map(|suspect| suspect.captured_at.as_micros()).collect();
        assert_eq!(places, [120, 20]);
        assert_eq!(
            (found[0].sensor.as_str(), found[0].error.to_bits()),
            ("a/b/c", 50_f32.to_bits())
        );
    }
}
