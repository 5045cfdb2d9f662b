//! Growing the trees of a forest straight into its padded arrays.

use rand::seq::index;
use rand::{Rng, RngExt};

use super::{ForestParameters, IsolationForest, average_path};
use crate::rows::Rows;

/// Grows `parameters.trees` trees, each on its own subsample without replacement.
pub(super) fn grow<R: Rng + ?Sized>(rows: Rows<'_>, parameters: ForestParameters, rng: &mut R) -> IsolationForest {
    let subsample = parameters.subsample.min(rows.len());
    // ceil(log2(psi)), the paper's height limit: the average height of a tree on psi rows.
    let depth = usize::BITS - (subsample - 1).leading_zeros();
    let nodes = parameters.trees << depth;
    let mut forest = IsolationForest {
        bins: rows.bins(),
        subsample,
        depth,
        features: vec![0; nodes],
        thresholds: vec![0.0; nodes],
        paths: vec![0.0; nodes],
    };
    let mut bins: Vec<usize> = (0..rows.bins()).collect();
    for tree in 0..parameters.trees {
        let mut members = index::sample(rng, rows.len(), subsample).into_vec();
        let mut sapling = Sapling {
            rows,
            forest: &mut forest,
            first: tree << depth,
            bins: &mut bins,
        };
        sapling.split(1, 0, &mut members, rng);
    }
    forest
}

/// One tree while it grows.
struct Sapling<'a, 'r> {
    rows: Rows<'r>,
    forest: &'a mut IsolationForest,
    /// Place of this tree in the forest's arrays.
    first: usize,
    /// Every bin, in an order that changes as bins are drawn.
    bins: &'a mut [usize],
}

impl Sapling<'_, '_> {
    /// Grows the subtree at `node`, `level` cuts below the root, over the rows `members`.
    fn split<R: Rng + ?Sized>(&mut self, node: usize, level: u32, members: &mut [usize], rng: &mut R) {
        let cut = if level < self.forest.depth && members.len() > 1 {
            self.draw_cut(members, rng)
        } else {
            None
        };
        let Some((bin, threshold)) = cut else {
            return self.end(node, level, members.len());
        };
        self.forest.features[self.first + node] = bin as u16;
        self.forest.thresholds[self.first + node] = threshold;
        let mut below = 0;
        for at in 0..members.len() {
            if self.rows.row(members[at])[bin] < threshold {
                members.swap(at, below);
                below += 1;
            }
        }
        let (left, right) = members.split_at_mut(below);
        self.split(2 * node, level + 1, left, rng);
        self.split(2 * node + 1, level + 1, right, rng);
    }

    /// A bin drawn among those where the rows differ, and a place between their least and greatest
    /// value; none when the rows are all the same.
    fn draw_cut<R: Rng + ?Sized>(&mut self, members: &[usize], rng: &mut R) -> Option<(usize, f32)> {
        for drawn in 0..self.bins.len() {
            let pick = rng.random_range(drawn..self.bins.len());
            self.bins.swap(drawn, pick);
            let bin = self.bins[drawn];
            let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
            for &member in members {
                let value = self.rows.row(member)[bin];
                least = least.min(value);
                greatest = greatest.max(value);
            }
            if least < greatest {
                let share = rng.random::<f64>();
                let place = (f64::from(least) * (1.0 - share) + f64::from(greatest) * share) as f32;
                // Rounding must not leave one side empty: rows below the cut go left, and the least must.
                return Some((bin, if place > least { place.min(greatest) } else { greatest }));
            }
        }
        None
    }

    /// Writes the path length of a leaf into every padded leaf under `node`.
    fn end(&mut self, node: usize, level: u32, size: usize) {
        let missing = self.forest.depth - level;
        let width = 1_usize << self.forest.depth;
        let leaf = (node << missing) - width;
        let path = (f64::from(level) + average_path(size)) as f32;
        self.forest.paths[self.first + leaf..][..1 << missing].fill(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn a_tree_on_two_rows_cuts_once_between_them() {
        let values = [0.0, 1.0];
        let rows = Rows::new(&values, 1).expect("rows");
        let parameters = ForestParameters {
            trees: 3,
            subsample: 256,
        };
        let forest = grow(rows, parameters, &mut StdRng::seed_from_u64(4));
        assert_eq!((forest.depth, forest.subsample), (1, 2));
        assert!(
            forest
                .thresholds
                .iter()
                .skip(1)
                .step_by(2)
                .all(|cut| *cut > 0.0 && *cut <= 1.0)
        );
        assert_eq!(forest.paths, [1.0; 6]);
    }

    #[test]
    fn every_padded_leaf_has_a_path_no_shorter_than_one_cut() {
        let values: Vec<f32> = (0..100).map(|at| (at as f32 * 0.77).sin()).collect();
        let rows = Rows::new(&values, 1).expect("rows");
        let parameters = ForestParameters {
            trees: 5,
            subsample: 50,
        };
        let forest = grow(rows, parameters, &mut StdRng::seed_from_u64(4));
        assert_eq!(forest.depth, 6);
        assert!(forest.paths.iter().all(|path| *path >= 1.0));
    }
}
