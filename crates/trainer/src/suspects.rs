//! Rows among those taken for healthy that hardly are: told to a person, and left out of a training that trims. None is
//! deleted.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use serde::Serialize;
use tocsin_detect::{FitError, Rows, Standardise, log_spectrum_into};
use tocsin_domain::Timestamp;

use crate::training_set::TrainingSet;

/// Spreads of the logarithm of the cost above its median from which a row is suspicious: of a normal distribution, one row
/// in 30,000 lies there.
const SPREADS: f64 = 4.0;
/// Most rows told one by one.
const MOST: usize = 1_000;
/// Neighbours of a row that have a say in whether it is left out.
const NEIGHBOURS: usize = 5;
/// Most rows that neighbours are looked for among.
const LOOKED_AMONG: usize = 8_192;

/// Rows taken for healthy that hardly are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Suspects {
    /// How many the network rebuilds far worse than the others, those not listed included.
    pub in_all: usize,
    /// These and those that trimming left out, the worst first: 1,000 at most.
    pub listed: Vec<Suspect>,
}

/// A row that the network rebuilds far worse than the others, or that trimming left out.
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
    /// Whether trimming left it out, so that nothing was fitted on it.
    pub left_out: bool,
}

impl Suspect {
    /// Whether the network rebuilds it far worse than the others; one that was left out may have turned out well.
    pub fn stands_out(&self) -> bool {
        self.spreads > SPREADS
    }
}

/// Suspicious rows of a set, and those that were left out. `costs`: one per row; `left_out`: places of rows, in order.
pub(crate) fn find(set: &TrainingSet, costs: &[f32], left_out: &[usize]) -> Suspects {
    let spreads = spreads(costs);
    let is_out = |place: usize| left_out.binary_search(&place).is_ok();
    let in_all = spreads.iter().filter(|spreads| **spreads > SPREADS).count();
    let mut found: Vec<(usize, f64)> = spreads
        .into_iter()
        .enumerate()
        .filter(|(place, spreads)| *spreads > SPREADS || is_out(*place))
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
            left_out: is_out(place),
        }
    };
    Suspects {
        in_all,
        listed: found.into_iter().map(suspect).collect(),
    }
}

/// Places of the rows of a set that are to be left out, in order, at most a `share` of them: those that are suspicious, and of the others with the
/// largest errors those whose nearest neighbours mostly are left out (a fault that was caught gives away its like). A
/// healthy row that is merely rare is near other healthy ones, and stays. `costs`: one per row; `seed`: of the rows that
/// neighbours are sought among, where there are many.
pub(crate) fn left_out(set: &TrainingSet, costs: &[f32], share: f64, seed: u64) -> Result<Vec<usize>, FitError> {
    let spreads = spreads(costs);
    let mut worst: Vec<usize> = (0..costs.len()).collect();
    worst.sort_by(|a, b| costs[*b].total_cmp(&costs[*a]));
    worst.truncate((costs.len() as f64 * share).round() as usize);
    let mut out = vec![false; costs.len()];
    for place in &worst {
        out[*place] = spreads[*place] > SPREADS;
    }
    let open: Vec<usize> = worst.into_iter().filter(|place| !out[*place]).collect();
    let space = Space::of(set, seed)?;
    let near: Vec<Vec<usize>> = open
        .iter()
        .map(|place| space.nearest(space.row(*place), Some(*place)))
        .collect();
    loop {
        let mostly_out = |near: &[usize]| 2 * near.iter().filter(|place| out[**place]).count() > near.len();
        let kin = open
            .iter()
            .zip(&near)
            .filter(|(place, near)| !out[**place] && mostly_out(near));
        let kin: Vec<usize> = kin.map(|(place, _)| *place).collect();
        if kin.is_empty() {
            return Ok((0..out.len()).filter(|place| out[*place]).collect());
        }
        for place in kin {
            out[place] = true;
        }
    }
}

/// Places of the rows that neighbours are sought among, in order: all of them, or so many drawn at random. Rows of sensors
/// that take turns would not all be met in even steps.
fn looked_among(rows: usize, seed: u64) -> Vec<usize> {
    if rows <= LOOKED_AMONG {
        return (0..rows).collect();
    }
    let mut drawn = sample(&mut StdRng::seed_from_u64(seed), rows, LOOKED_AMONG).into_vec();
    drawn.sort_unstable();
    drawn
}

/// Rows of a set as standardised log spectra, among which neighbours are sought.
struct Space {
    s0: f32,
    bins: usize,
    standardise: Standardise,
    rows: Vec<f32>,
    among: Vec<usize>,
}

impl Space {
    fn of(set: &TrainingSet, seed: u64) -> Result<Self, FitError> {
        let (s0, bins) = (set.spec().canonical_s0(), set.bins());
        let mut log = vec![0.0; set.linear().len()];
        log_spectrum_into(set.linear(), s0, &mut log);
        let mut space = Self {
            s0,
            bins,
            standardise: Standardise::fit(Rows::new(&log, bins)?)?,
            rows: Vec::new(),
            among: looked_among(set.len(), seed),
        };
        space.rows = space.rows_of(set);
        Ok(space)
    }

    /// Rows of a set in this space.
    fn rows_of(&self, set: &TrainingSet) -> Vec<f32> {
        let mut log = vec![0.0; set.linear().len()];
        log_spectrum_into(set.linear(), self.s0, &mut log);
        let mut rows = vec![0.0; log.len()];
        for (row, log) in rows.chunks_exact_mut(self.bins).zip(log.chunks_exact(self.bins)) {
            self.standardise.standardise_into(log, row);
        }
        rows
    }

    fn row(&self, place: usize) -> &[f32] {
        &self.rows[place * self.bins..][..self.bins]
    }

    /// Places of the rows nearest to one, but for that at `itself`.
    fn nearest(&self, row: &[f32], itself: Option<usize>) -> Vec<usize> {
        let distance = |other: usize| -> f32 {
            let pairs = row.iter().zip(self.row(other));
            pairs.map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let others = self.among.iter().copied().filter(|other| Some(*other) != itself);
        let mut others: Vec<(f32, usize)> = others.map(|other| (distance(other), other)).collect();
        if others.len() > NEIGHBOURS {
            others.select_nth_unstable_by(NEIGHBOURS, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            others.truncate(NEIGHBOURS);
        }
        others.into_iter().map(|(_, other)| other).collect()
    }
}

/// Places of the rows of another set, in order, whose nearest neighbours in `set` are all left out: what must not teach must
/// set no limits either. Nothing else of it is suspected, however it is rebuilt: a limit is set by rare rows.
pub(crate) fn like(
    set: &TrainingSet,
    left_out: &[usize],
    other: &TrainingSet,
    seed: u64,
) -> Result<Vec<usize>, FitError> {
    if left_out.is_empty() || other.is_empty() {
        return Ok(Vec::new());
    }
    let space = Space::of(set, seed)?;
    let is_out = |place: &usize| left_out.binary_search(place).is_ok();
    let rows = space.rows_of(other);
    let of_limits = rows.chunks_exact(space.bins).enumerate();
    let like = of_limits.filter(|(_, row)| space.nearest(row, None).iter().all(is_out));
    Ok(like.map(|(place, _)| place).collect())
}

/// Robust spreads of the logarithm of each cost above their median; 0 for all where the spread is 0 or not finite: where
/// most costs are the same, any other would lie infinitely far from them, whatever it is.
fn spreads(costs: &[f32]) -> Vec<f64> {
    let logs: Vec<f64> = costs
        .iter()
        .map(|cost| f64::from(*cost).max(f64::MIN_POSITIVE).ln())
        .collect();
    let centre = median(logs.clone());
    // The median absolute deviation of a normal distribution is 0.6745 of its standard deviation.
    let spread = median(logs.iter().map(|log| (log - centre).abs()).collect()) / 0.6745;
    if !(spread > 0.0 && spread.is_finite()) {
        return vec![0.0; costs.len()];
    }
    logs.iter().map(|log| (log - centre) / spread).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use tocsin_domain::SpectrumSpec;

    use super::*;

    /// Two hundred healthy rows, and ten of another shape of which every other one stands out by its error alone.
    fn set_with_faults() -> (TrainingSet, Vec<f32>) {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        let mut costs = Vec::new();
        for at in 0..210_u16 {
            let faulty = at >= 200;
            let mut bins = [0.1 * (1.0 + 0.01 * f32::from(at % 7)); 32];
            if faulty {
                bins[..8].fill(0.5);
            }
            set.push("a/b/c", Timestamp::from_micros(at.into()), &bins).unwrap();
            costs.push(match faulty {
                true if at % 2 == 0 => 5.0,
                true => 0.4,
                false => 0.1 * (1.0 + 0.3 * f32::from(at % 7)),
            });
        }
        (set, costs)
    }

    #[test]
    fn what_is_like_a_suspicious_row_is_left_out_with_it_and_a_rare_healthy_one_stays() {
        let (set, mut costs) = set_with_faults();
        costs[20] = 0.4;
        let places = left_out(&set, &costs, 0.1, 0).unwrap();
        assert_eq!(places, (200..210).collect::<Vec<usize>>());
    }

    #[test]
    fn no_more_than_the_share_is_left_out_and_nothing_of_a_clean_set() {
        let (set, costs) = set_with_faults();
        assert_eq!(left_out(&set, &costs, 0.02, 0).unwrap().len(), 4);
        let even = vec![0.1; set.len()];
        assert_eq!(left_out(&set, &even, 0.1, 0).unwrap(), [0; 0]);
    }

    #[test]
    fn where_most_costs_are_the_same_or_not_finite_no_row_is_suspicious() {
        let (set, mut costs) = set_with_faults();
        for same in [0.1, 0.0, f32::NAN, f32::INFINITY] {
            costs[..150].fill(same);
            assert_eq!(find(&set, &costs, &[]), Suspects::default(), "{same}");
            assert_eq!(left_out(&set, &costs, 0.1, 0).unwrap(), [0; 0], "{same}");
        }
    }

    #[test]
    fn neighbours_are_sought_among_all_sensors_also_where_these_take_turns() {
        assert_eq!(looked_among(LOOKED_AMONG, 5), (0..LOOKED_AMONG).collect::<Vec<_>>());
        let among = looked_among(4 * LOOKED_AMONG, 5);
        assert!(among.len() == LOOKED_AMONG && among.windows(2).all(|pair| pair[0] < pair[1]));
        for sensor in 0..4 {
            let rows = among.iter().filter(|place| **place % 4 == sensor).count();
            assert!((1_800..2_300).contains(&rows), "{rows} of sensor {sensor}");
        }
        assert_eq!(looked_among(4 * LOOKED_AMONG, 5), among);
        assert_ne!(looked_among(4 * LOOKED_AMONG, 6), among);
    }

    #[test]
    fn rows_that_are_not_listed_any_more_are_counted() {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        let rows = 3 * MOST + 5;
        let costs: Vec<f32> = (0..rows)
            .map(|at| if at % 3 == 2 { 9000.0 } else { 0.1 * (1 + at % 7) as f32 })
            .collect();
        for at in 0..rows {
            set.push("a/b/c", Timestamp::from_micros(at as i64), &[0.1; 32])
                .unwrap();
        }
        let found = find(&set, &costs, &[]);
        assert_eq!((found.in_all, found.listed.len()), (MOST + 1, MOST));
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
        assert_eq!(find(&set, &costs, &[]), Suspects::default());
        (costs[20], costs[120]) = (5.0, 50.0);
        let Suspects { in_all, listed: found } = find(&set, &costs, &[0, 20]);
        let marked = |suspect: &Suspect| (suspect.captured_at.as_micros(), suspect.left_out, suspect.stands_out());
        let told: Vec<_> = found.iter().map(marked).collect();
        assert_eq!(told, [(120, false, true), (20, true, true), (0, true, false)]);
        assert_eq!(
            in_all, 2,
            "one that was left out and does not stand out is told and not counted"
        );
        assert_eq!(
            (found[0].sensor.as_str(), found[0].error.to_bits()),
            ("a/b/c", 50_f32.to_bits())
        );
    }
}
