//! Isolation forest (Liu, Ting & Zhou, "Isolation Forest", ICDM 2008).
//!
//! Random cuts on random bins separate an odd spectrum from the others after few cuts. A score is
//! 2^(-E(h) / c(psi)), h the path length in a tree grown on `psi` rows: towards 1 is odd, 0.5 is
//! ordinary.
//!
//! Trees are kept for speed. Each is padded to a full binary tree in heap order (children of node i
//! are 2i and 2i + 1), so a descent is a fixed number of steps without a branch, and sixteen rows go
//! down together to hide the latency of the memory. A leaf above the last level is padded by nodes
//! that lead to copies of its value.

mod growth;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{FitError, MalformedModel};
use crate::rows::{Rows, assert_batch};

/// Rows that descend together.
const LANES: usize = 16;

/// Deepest tree a stored forest may have: 4096 leaves, a subsample of 4096 rows.
const MAX_DEPTH: u32 = 12;

/// Size of a forest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForestParameters {
    /// Number of trees, 1 to 10,000.
    pub trees: usize,
    /// Rows each tree is grown on (the paper's psi), 2 to 4096; less when there are fewer rows.
    pub subsample: usize,
}

impl Default for ForestParameters {
    /// The paper's: 100 trees on 256 rows each.
    fn default() -> Self {
        Self {
            trees: 100,
            subsample: 256,
        }
    }
}

/// A fitted forest. Stored as flat arrays, `trees` times 2^depth entries each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct IsolationForest {
    bins: usize,
    subsample: usize,
    depth: u32,
    /// Bin a node cuts on; node 0 of each tree is unused, node 1 its root.
    features: Vec<u16>,
    /// Where a node cuts: below goes to child 2i, the rest to 2i + 1.
    thresholds: Vec<f32>,
    /// Path length of each leaf, in the order of the leaves.
    paths: Vec<f32>,
}

#[derive(Deserialize)]
struct Stored {
    bins: usize,
    subsample: usize,
    depth: u32,
    features: Vec<u16>,
    thresholds: Vec<f32>,
    paths: Vec<f32>,
}

impl TryFrom<Stored> for IsolationForest {
    type Error = MalformedModel;

    fn try_from(stored: Stored) -> Result<Self, MalformedModel> {
        let Stored {
            bins,
            subsample,
            depth,
            features,
            thresholds,
            paths,
        } = stored;
        MalformedModel::unless((1..=MAX_DEPTH).contains(&depth), "depth", "must be 1 to 12")?;
        MalformedModel::unless(subsample >= 2, "subsample", "must be at least 2")?;
        let whole_trees = !features.is_empty() && features.len().is_multiple_of(1 << depth);
        MalformedModel::unless(whole_trees, "features", "must hold whole trees of 2^depth nodes")?;
        let in_range = features.iter().all(|&feature| usize::from(feature) < bins);
        MalformedModel::unless(in_range, "features", "must be below bins")?;
        MalformedModel::unless(
            thresholds.len() == features.len(),
            "thresholds",
            "must have one per node",
        )?;
        MalformedModel::unless(paths.len() == features.len(), "paths", "must have one per leaf")?;
        MalformedModel::unless(thresholds.iter().all(|t| t.is_finite()), "thresholds", "must be finite")?;
        let lengths = paths.iter().all(|path| path.is_finite() && *path >= 0.0);
        MalformedModel::unless(lengths, "paths", "must be finite and not negative")?;
        Ok(Self {
            bins,
            subsample,
            depth,
            features,
            thresholds,
            paths,
        })
    }
}

impl IsolationForest {
    /// Grows a forest on log spectra; at least 2 rows of at most 65,536 bins. The same rows,
    /// parameters and generator state give the same forest.
    pub fn fit<R: Rng + ?Sized>(rows: Rows<'_>, parameters: ForestParameters, rng: &mut R) -> Result<Self, FitError> {
        rows.at_least(2)?;
        let refuse = |field, reason| Err(FitError::Parameter { field, reason });
        if !(1..=10_000).contains(&parameters.trees) {
            return refuse("trees", "must be 1 to 10,000");
        }
        if !(2..=1 << MAX_DEPTH).contains(&parameters.subsample) {
            return refuse("subsample", "must be 2 to 4096");
        }
        if rows.bins() > 1 << 16 {
            return refuse("bins", "must be at most 65,536");
        }
        Ok(growth::grow(rows, parameters, rng))
    }

    /// Number of bins.
    pub fn bins(&self) -> usize {
        self.bins
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.features.len() >> self.depth
    }

    /// Score of one log spectrum, in (0, 1).
    ///
    /// # Panics
    /// If the row does not have the model's bins.
    pub fn score(&self, log_spectrum: &[f32]) -> f32 {
        assert_eq!(
            log_spectrum.len(),
            self.bins,
            "bins of the row against bins of the model"
        );
        let [sum] = self.path_sums::<1>(log_spectrum);
        self.score_of(sum)
    }

    /// Scores of log spectra of `bins` values, one after the other in `rows`.
    ///
    /// # Panics
    /// If `bins` is not the model's, or `rows` does not hold `out.len()` rows.
    pub fn score_batch(&self, rows: &[f32], bins: usize, out: &mut [f32]) {
        assert_batch(rows.len(), bins, self.bins, out.len());
        // Bin-major, so that the lanes of one bin share a cache line.
        let mut block = vec![0.0; bins * LANES];
        let mut scores = out.chunks_exact_mut(LANES);
        let mut groups = rows.chunks_exact(bins * LANES);
        for (scores, group) in scores.by_ref().zip(groups.by_ref()) {
            for (lane, row) in group.chunks_exact(bins).enumerate() {
                for (lanes, &value) in block.chunks_exact_mut(LANES).zip(row) {
                    lanes[lane] = value;
                }
            }
            for (score, sum) in scores.iter_mut().zip(self.path_sums::<LANES>(&block)) {
                *score = self.score_of(sum);
            }
        }
        for (score, row) in scores
            .into_remainder()
            .iter_mut()
            .zip(groups.remainder().chunks_exact(bins))
        {
            *score = self.score(row);
        }
    }

    /// Sum of path lengths over the trees for `N` rows given bin by bin. Each lane is summed tree by
    /// tree, hence the same bits for every `N`.
    fn path_sums<const N: usize>(&self, block: &[f32]) -> [f32; N] {
        let (lanes, _) = block.as_chunks::<N>();
        let width = 1_usize << self.depth;
        let mut sums = [0.0_f32; N];
        let trees = self
            .features
            .chunks_exact(width)
            .zip(self.thresholds.chunks_exact(width));
        for ((features, thresholds), paths) in trees.zip(self.paths.chunks_exact(width)) {
            let mut nodes = [1_usize; N];
            for _ in 0..self.depth {
                for (lane, node) in nodes.iter_mut().enumerate() {
                    let value = lanes[usize::from(features[*node])][lane];
                    *node = (*node << 1) | usize::from(value >= thresholds[*node]);
                }
            }
            for (sum, node) in sums.iter_mut().zip(nodes) {
                *sum += paths[node ^ width];
            }
        }
        sums
    }

    fn score_of(&self, path_sum: f32) -> f32 {
        let mean_path = f64::from(path_sum) / self.trees() as f64;
        (-mean_path / average_path(self.subsample)).exp2() as f32
    }
}

/// Average path length of an unsuccessful search in a binary search tree of `size` rows: the paper's
/// c(n), with which a leaf holding several rows is credited for the cuts it was spared.
fn average_path(size: usize) -> f64 {
    const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
    match size {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = size as f64;
            2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const BINS: usize = 8;

    fn cloud(rows: usize, seed: u64) -> Vec<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..rows * BINS)
            .map(|_| (0..6).map(|_| rng.random::<f32>()).sum::<f32>() - 3.0)
            .collect()
    }

    fn forest(seed: u64) -> IsolationForest {
        let values = cloud(1_000, 1);
        let rows = Rows::new(&values, BINS).expect("rows");
        IsolationForest::fit(rows, ForestParameters::default(), &mut StdRng::seed_from_u64(seed)).expect("fit")
    }

    #[test]
    fn an_odd_row_scores_above_every_healthy_row() {
        let forest = forest(7);
        let healthy = cloud(200, 2);
        let mut scores = vec![0.0; 200];
        forest.score_batch(&healthy, BINS, &mut scores);
        let worst = scores.iter().copied().fold(0.0, f32::max);
        let mean = scores.iter().sum::<f32>() / 200.0;
        assert!(forest.score(&[5.0; BINS]) > worst);
        assert!(scores.iter().all(|score| *score > 0.0 && *score < 1.0));
        assert!(
            (0.35..0.55).contains(&mean),
            "an ordinary row scores below one half, got {mean}"
        );
    }

    #[test]
    fn a_row_gives_the_same_bits_alone_and_at_any_place_of_any_batch() {
        let forest = forest(7);
        let rows = cloud(53, 3);
        for count in [1, 5, 16, 17, 32, 53] {
            let mut scores = vec![0.0; count];
            forest.score_batch(&rows[..count * BINS], BINS, &mut scores);
            for (score, row) in scores.iter().zip(rows.chunks_exact(BINS)) {
                assert_eq!(score.to_bits(), forest.score(row).to_bits());
            }
        }
    }

    #[test]
    fn one_seed_gives_one_forest_and_another_seed_another() {
        assert_eq!(forest(7), forest(7));
        assert_ne!(forest(7), forest(8));
    }

    #[test]
    fn a_stored_forest_scores_as_before() {
        let forest = forest(7);
        let stored = serde_json::to_string(&forest).expect("json");
        let back: IsolationForest = serde_json::from_str(&stored).expect("parses");
        assert_eq!(back, forest);
    }

    #[test]
    fn a_stored_forest_that_would_read_outside_a_row_is_refused() {
        let mut stored = serde_json::to_value(forest(7)).expect("json");
        stored["features"][3] = 8.into();
        let error = serde_json::from_value::<IsolationForest>(stored).expect_err("feature 8 of 8 bins");
        assert!(error.to_string().contains("features: must be below bins"));
    }

    #[test]
    fn nan_and_infinite_values_do_not_panic() {
        let forest = forest(7);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(forest.score(&[value; BINS]).is_finite());
        }
    }

    #[test]
    fn rows_that_are_all_the_same_make_a_forest_of_single_leaves() {
        let values = vec![1.5; 40 * BINS];
        let rows = Rows::new(&values, BINS).expect("rows");
        let parameters = ForestParameters {
            trees: 10,
            subsample: 32,
        };
        let forest = IsolationForest::fit(rows, parameters, &mut StdRng::seed_from_u64(1)).expect("fit");
        assert!(
            (forest.score(&[9.0; BINS]) - 0.5).abs() < 1e-6,
            "every path is c(psi), so the score is 1/2"
        );
    }

    #[test]
    fn sizes_outside_their_range_are_refused_by_name() {
        let values = cloud(10, 1);
        let rows = Rows::new(&values, BINS).expect("rows");
        let parameters = ForestParameters {
            trees: 0,
            subsample: 256,
        };
        let error = IsolationForest::fit(rows, parameters, &mut StdRng::seed_from_u64(1)).expect_err("no trees");
        assert_eq!(error.to_string(), "trees: must be 1 to 10,000");
    }

    #[test]
    fn the_average_path_is_the_papers() {
        assert!((average_path(256) - 10.244_770_9).abs() < 1e-6);
        assert!((average_path(2) - 1.0).abs() < 1e-12);
    }
}
