//! Random numbers that are a function of a key instead of a history.
//!
//! A counter-based generator: the n-th draw is a hash of key and n (the finaliser of `SplitMix64`; Steele, Lea & Flood,
//! "Fast splittable pseudorandom number generators", OOPSLA 2014). So a reading's noise depends on seed, sensor and
//! time alone, and costs a few nanoseconds a bin.

use std::convert::Infallible;

use rand::TryRng;
use rand_distr::{Distribution, StandardNormal};

/// The odd number nearest to 2^64 over the golden ratio: the step between counters.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A place from which draws are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    key: u64,
    drawn: u64,
}

impl Draws {
    /// The draws of a seed and a path of numbers below it, such as a sensor and a time.
    pub(crate) fn new(seed: u64, path: &[u64]) -> Self {
        let key = path.iter().fold(mix(seed.wrapping_add(GOLDEN)), |key, part| {
            mix(key ^ mix(part.wrapping_add(GOLDEN)))
        });
        Self { key, drawn: 0 }
    }

    #[inline]
    fn next(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.key.wrapping_add(self.drawn.wrapping_mul(GOLDEN)))
    }

    /// Uniform from 0 up to but not including 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (-53_f64).exp2()
    }

    /// Uniform between two bounds.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// 1 plus or minus at most `spread`.
    pub(crate) fn near_one(&mut self, spread: f64) -> f64 {
        self.between(1.0 - spread, 1.0 + spread)
    }

    /// A whole number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Normal, of mean 0 and deviation 1, with the tails that go with it.
    #[inline]
    pub(crate) fn normal(&mut self) -> f32 {
        StandardNormal.sample(self)
    }

    /// Mean 0, deviation 1, close to normal and bounded by 3.46: the sum of four uniforms of 16 bits.
    pub(crate) fn bell(&mut self) -> f32 {
        const MEAN: f32 = 2.0 * 65_535.0;
        // Each uniform of 0..=65535 has variance (65536^2 - 1) / 12; four of them add.
        const PER_DEVIATION: f32 = 1.732_050_8 / 65_536.0;
        let bits = self.next();
        let sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        (sum as f32 - MEAN) * PER_DEVIATION
    }

    /// Puts `items` in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// What distributions of `rand` draw from.
impl TryRng for Draws {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.next() >> 32) as u32)
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_uniform_bell_shaped_and_a_function_of_their_key() {
        let mut draws = Draws::new(1, &[2, 3]);
        let count = 40_000;
        let units: Vec<f64> = (0..count).map(|_| draws.unit()).collect();
        let mean = units.iter().sum::<f64>() / f64::from(count);
        assert!((mean - 0.5).abs() < 0.01 && units.iter().all(|u| (0.0..1.0).contains(u)));
        let bells: Vec<f64> = (0..count).map(|_| f64::from(draws.bell())).collect();
        let mean = bells.iter().sum::<f64>() / f64::from(count);
        let variance = bells.iter().map(|z| z * z).sum::<f64>() / f64::from(count);
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03,
            "mean {mean}, variance {variance}"
        );

        let first = |seed, path: &[u64]| Draws::new(seed, path).unit().to_bits();
        assert_eq!(first(1, &[2, 3]), units[0].to_bits());
        for other in [
            first(2, &[2, 3]),
            first(1, &[3, 2]),
            first(1, &[2]),
            first(1, &[2, 3, 0]),
        ] {
            assert_ne!(other, units[0].to_bits());
        }
    }

    #[test]
    fn normal_draws_have_normal_moments_and_tails() {
        let mut draws = Draws::new(5, &[1]);
        let count = 1_000_000;
        let normals: Vec<f64> = (0..count).map(|_| f64::from(draws.normal())).collect();
        let moment = |power: i32| normals.iter().map(|z| z.powi(power)).sum::<f64>() / f64::from(count);
        assert!(moment(1).abs() < 0.005 && (moment(2) - 1.0).abs() < 0.01 && (moment(4) - 3.0).abs() < 0.05);
        let beyond = normals.iter().filter(|z| **z > 3.0902).count();
        assert!(
            (850..1_150).contains(&beyond),
            "{beyond} of a million beyond the 99.9 % point"
        );
    }

    #[test]
    fn neighbouring_times_have_unrelated_noise() {
        let noise = |at: u64| f64::from(Draws::new(9, &[0, at * 10_000_000]).bell());
        let products: f64 = (0..20_000).map(|at| noise(at) * noise(at + 1)).sum();
        assert!((products / 20_000.0).abs() < 0.03);
    }
}
