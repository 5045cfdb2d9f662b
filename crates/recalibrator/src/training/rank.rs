//! Statistics of ranks, which ask nothing of a score's distribution.

/// Samples up to this size get the exact distribution of the rank sum.
const EXACT: usize = 20;

/// How two samples stand to each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RankSum {
    /// Probability that a value of the second is above one of the first; ties count half.
    pub(super) superiority: f64,
    /// Two-sided probability of a rank sum at least as far from the middle if both samples came from one distribution.
    pub(super) p: f64,
}

/// The rank-sum test of Wilcoxon, Mann and Whitney (1947): exact for samples of at most 20 values without ties, else the
/// normal approximation with the corrections for ties and continuity. Nothing where a sample is empty.
pub(super) fn rank_sum(first: &[f64], second: &[f64]) -> Option<RankSum> {
    let (m, n) = (first.len(), second.len());
    if m == 0 || n == 0 {
        return None;
    }
    let all: Vec<f64> = first.iter().chain(second).copied().collect();
    let ranks = ranks(&all);
    let sum: f64 = ranks[m..].iter().sum();
    let u = sum - (n * (n + 1)) as f64 / 2.0;
    let pairs = (m * n) as f64;
    let tied = ties(&ranks);
    let p = if tied == 0.0 && m <= EXACT && n <= EXACT {
        exact(m, n, u)
    } else {
        let total = (m + n) as f64;
        let variance = pairs / 12.0 * (total + 1.0 - tied / (total * (total - 1.0)));
        if variance <= 0.0 {
            1.0
        } else {
            let distance = ((u - pairs / 2.0).abs() - 0.5).max(0.0);
            2.0 * upper_tail(distance / variance.sqrt())
        }
    };
    Some(RankSum {
        superiority: u / pairs,
        p: p.min(1.0),
    })
}

/// Spearman's rank correlation of pairs; nothing of fewer than three, or where one side is constant.
pub(super) fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 3 {
        return None;
    }
    let (first, second): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (a, b) = (ranks(&first), ranks(&second));
    let mean = (pairs.len() + 1) as f64 / 2.0;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(&b) {
        ab += (a - mean) * (b - mean);
        aa += (a - mean).powi(2);
        bb += (b - mean).powi(2);
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// Ranks from 1; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let value = values[order[from]];
        let alike = order[from..]
            .iter()
            .take_while(|at| values[**at] == value)
            .count()
            .max(1);
        let mean = from as f64 + (alike + 1) as f64 / 2.0;
        for at in &order[from..from + alike] {
            ranks[*at] = mean;
        }
        from += alike;
    }
    ranks
}

/// Sum of t^3 - t over groups of t equal ranks.
fn ties(ranks: &[f64]) -> f64 {
    let mut sorted = ranks.to_vec();
    sorted.sort_by(f64::total_cmp);
    let groups = sorted.chunk_by(|a, b| a == b).map(|group| group.len() as f64);
    groups.map(|t| t.powi(3) - t).sum()
}

/// Two-sided probability of a U at least as far from the middle, every order of the values being as likely as another.
fn exact(m: usize, n: usize, u: f64) -> f64 {
    // Orders by their U: the coefficients of the Gaussian binomial, as a product of (1 - q^(n+i)) / (1 - q^i).
    let mut orders = vec![0.0_f64; m * n + 1];
    orders[0] = 1.0;
    for i in 1..=m {
        for at in (n + i..orders.len()).rev() {
            orders[at] -= orders[at - n - i];
        }
        for at in i..orders.len() {
            orders[at] += orders[at - i];
        }
    }
    let all: f64 = orders.iter().sum();
    let middle = (m * n) as f64 / 2.0;
    let distance = (u - middle).abs();
    let as_far = orders
        .iter()
        .enumerate()
        .filter(|(at, _)| (*at as f64 - middle).abs() >= distance);
    as_far.map(|(_, orders)| orders).sum::<f64>() / all
}

/// Probability that a standard normal value is above `z`, z not negative (Abramowitz and Stegun 26.2.17, to 7.5e-8).
fn upper_tail(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_against_three_apart_has_one_order_in_twenty_on_either_side() {
        let told = rank_sum(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).unwrap();
        assert_eq!(told.superiority, 1.0);
        assert!((told.p - 0.1).abs() < 1e-12, "{told:?}");
        let turned = rank_sum(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0]).unwrap();
        assert_eq!((turned.superiority, turned.p), (0.0, told.p));
        assert_eq!(rank_sum(&[], &[1.0]), None);
    }

    #[test]
    fn the_approximation_joins_on_to_the_exact_distribution() {
        let first: Vec<f64> = (0..20).map(f64::from).collect();
        let second: Vec<f64> = (0..20).map(|at| f64::from(at) + 5.5).collect();
        let exact = rank_sum(&first, &second).unwrap();
        let longer: Vec<f64> = first.iter().copied().chain([9.75]).collect();
        let approximate = rank_sum(&longer, &second).unwrap();
        assert!((exact.p / approximate.p - 1.0).abs() < 0.2, "{exact:?} {approximate:?}");
    }

    #[test]
    fn equal_values_say_nothing_and_share_their_ranks() {
        let told = rank_sum(&[1.0; 5], &[1.0; 7]).unwrap();
        assert_eq!((told.superiority, told.p), (0.5, 1.0));
        assert_eq!(ranks(&[2.0, 1.0, 2.0]), [2.5, 1.0, 2.5]);
    }

    #[test]
    fn rank_correlation_asks_for_order_alone() {
        let pairs: Vec<(f64, f64)> = (0..10).map(|at| (f64::from(at), f64::from(at).exp())).collect();
        assert!((spearman(&pairs).unwrap() - 1.0).abs() < 1e-12);
        let turned: Vec<(f64, f64)> = pairs.iter().map(|(a, b)| (*a, -b)).collect();
        assert!((spearman(&turned).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
        assert_eq!(spearman(&pairs[..2]), None);
    }
}
