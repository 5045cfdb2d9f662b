//! What moves a healthy machine's spectrum without meaning anything.

use std::f64::consts::FRAC_PI_2;

use super::{Config, Transients, purpose};
use crate::draws::Draws;

/// Time between the knots of a machine's wander.
const KNOT_S: u64 = 8 * 3_600;
/// Every such stretch holds at most one transient.
const BLOCK_S: u64 = 3_600;

/// Slow change of what a machine's sensors hear, in dB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Wander {
    /// Of all bins.
    pub(super) gain_db: f64,
    /// From the bottom of the range to its top.
    pub(super) tilt_db: f64,
}

impl Wander {
    /// Smooth noise through random knots every eight hours, of the configured deviation at every time: the two knots
    /// about a time are weighted by sine and cosine, whose squares add to one.
    pub(super) fn at(config: &Config, machine: usize, since_s: f64) -> Self {
        let (knot, into) = (since_s as u64 / KNOT_S, since_s % KNOT_S as f64 / KNOT_S as f64);
        let (rising, falling) = (into * FRAC_PI_2).sin_cos();
        let at_knot = |number: u64| {
            let mut draws = Draws::new(config.seed, &[purpose::WANDER, machine as u64, number]);
            [draws.normal(), draws.normal()].map(|z| config.wander_db * f64::from(z))
        };
        let (before, after) = (at_knot(knot), at_knot(knot + 1));
        let [gain_db, tilt_db] = std::array::from_fn(|at| falling * before[at] + rising * after[at]);
        Self { gain_db, tilt_db }
    }
}

/// What there is of transients at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bustle {
    /// Rise of broadband noise, as a multiple of what it is at half load, added.
    pub(super) rise: f32,
    /// When that changes, or may, in whole seconds from the start.
    pub(super) until_s: u64,
}

impl Bustle {
    /// Of a machine, so many whole seconds from the start.
    pub(super) fn at(config: &Config, machine: usize, since_s: u64) -> Self {
        let block = since_s / BLOCK_S;
        let mut now = Self {
            rise: 0.0,
            until_s: (block + 1) * BLOCK_S,
        };
        for block in block.saturating_sub(1)..=block {
            let Some(event) = Event::of(config, machine, block) else {
                continue;
            };
            if (event.from_s..event.to_s).contains(&since_s) {
                now.rise += event.rise;
                now.until_s = now.until_s.min(event.to_s);
            } else if event.from_s > since_s {
                now.until_s = now.until_s.min(event.from_s);
            }
        }
        now
    }
}

/// One transient, in whole seconds from the start.
struct Event {
    from_s: u64,
    to_s: u64,
    rise: f32,
}

impl Event {
    /// The transient that begins in a block, if one does.
    fn of(config: &Config, machine: usize, block: u64) -> Option<Self> {
        let Transients {
            per_day,
            lasting: [shortest, longest],
            rise_db: [least_db, most_db],
        } = config.transients;
        let mut draws = Draws::new(config.seed, &[purpose::TRANSIENT, machine as u64, block]);
        if draws.unit() >= per_day * BLOCK_S as f64 / 86_400.0 {
            return None;
        }
        let from_s = block * BLOCK_S + draws.below(BLOCK_S as usize) as u64;
        let lasting_s = draws.between(shortest.as_secs_f64(), longest.as_secs_f64()).round();
        let rise_db = draws.between(least_db, most_db);
        Some(Self {
            from_s,
            to_s: from_s + lasting_s as u64,
            rise: (10f64.powf(rise_db / 20.0) - 1.0) as f32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn wander_has_the_deviation_asked_for_at_knots_and_between_and_no_jumps() {
        let config = Config {
            wander_db: 0.5,
            ..Config::with_seed(3)
        };
        for into in [0.0, 0.3, 0.5] {
            let at = |machine| Wander::at(&config, machine, (7.0 + into) * KNOT_S as f64);
            let squares: f64 = (0..4_000).map(|machine| at(machine).gain_db.powi(2)).sum();
            assert!(((squares / 4_000.0).sqrt() - 0.5).abs() < 0.02, "{into}: {squares}");
        }
        for minute in 0..10_000 {
            let at = |minute| Wander::at(&config, 5, f64::from(minute) * 60.0).tilt_db;
            assert!((at(minute) - at(minute + 1)).abs() < 0.02);
        }
    }

    #[test]
    fn a_machine_has_as_many_transients_in_a_day_as_configured() {
        let config = Config::with_seed(2);
        let days = 2_000;
        let events: Vec<Event> = (0..days * 24)
            .filter_map(|block| Event::of(&config, 1, block))
            .collect();
        assert!(
            (events.len() as f64 / days as f64 - 1.0).abs() < 0.1,
            "{}",
            events.len()
        );
        assert!(
            events
                .iter()
                .all(|event| (2..=30).contains(&(event.to_s - event.from_s)))
        );
        let loudest = events.iter().map(|event| event.rise).fold(0.0, f32::max);
        assert!((1.9..2.17).contains(&loudest), "{loudest}: 10 dB is a factor of 3.16");
    }

    proptest! {
        #[test]
        fn bustle_stays_the_same_until_it_says_it_changes(seed: u64, machine in 0usize..600, from in 0u64..500_000) {
            let mut config = Config::with_seed(seed);
            config.transients.per_day = 24.0;
            config.transients.lasting = [Duration::from_secs(1), Duration::from_hours(1)];
            let now = Bustle::at(&config, machine, from);
            prop_assert!(now.until_s > from);
            for second in [from + 1, from.midpoint(now.until_s), now.until_s - 1] {
                prop_assert!(second >= now.until_s || Bustle::at(&config, machine, second) == now);
            }
        }
    }
}
