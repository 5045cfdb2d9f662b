//! What a machine is doing: its part program, pauses, and the temperature around it.

use std::f64::consts::TAU;
use std::time::Duration;

use tocsin_domain::Timestamp;

use crate::construction::SPINDLE;
use crate::draws::Draws;
use crate::fleet::FleetConfig;

/// Speed and load of a spindle over one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OperatingPoint {
    /// Shaft speed in revolutions per minute; 0 is stopped.
    pub rpm: f32,
    /// Share of the spindle's rated power, 0 to 1.
    pub load: f32,
}

impl OperatingPoint {
    /// Whether the shaft stands still.
    pub fn is_stopped(self) -> bool {
        self.rpm == 0.0
    }

    /// Turns of the shaft in a second.
    pub(crate) fn shaft_hz(self) -> f64 {
        f64::from(self.rpm) / 60.0
    }
}

/// One cut of a part program, one stretch of a duty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) duration_s: f64,
    /// Speed against the nominal one.
    pub(crate) speed: f64,
    pub(crate) load: f64,
}

/// Operations that repeat, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Cycle {
    operations: Vec<Operation>,
    length_s: f64,
}

/// The stretch of a cycle that holds a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dwell {
    pub(crate) operation: Operation,
    /// Its number, counted from the first operation at time 0.
    pub(crate) number: i64,
    /// Time left until it ends.
    pub(crate) left_s: f64,
}

impl Cycle {
    /// A cycle of at least one operation.
    pub(crate) fn new(operations: Vec<Operation>) -> Self {
        let length_s = operations.iter().map(|operation| operation.duration_s).sum();
        Self { operations, length_s }
    }

    /// What goes on at a time.
    pub(crate) fn at(&self, time_s: f64) -> Dwell {
        let last = self.operations.len() - 1;
        let mut into_s = time_s.rem_euclid(self.length_s);
        let mut index = 0;
        while index < last && into_s >= self.operations[index].duration_s {
            into_s -= self.operations[index].duration_s;
            index += 1;
        }
        let operation = self.operations[index];
        Dwell {
            operation,
            number: time_s.div_euclid(self.length_s) as i64 * self.operations.len() as i64 + index as i64,
            left_s: operation.duration_s - into_s,
        }
    }
}

/// The part program a machine repeats, and when it pauses.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    nominal_rpm: f64,
    cycle: Cycle,
    offset_s: f64,
    /// Length of a running stretch with the pause after it, in seconds, and the pause's share.
    shift_s: f64,
    stop_share: f64,
}

/// Running stretches per day, each ended by a pause.
const SHIFTS_PER_DAY: f64 = 12.0;

impl Program {
    /// Draws a program of 5 to 8 cuts of 12 to 30 s. Cuts are short against the persistence window of a page, so that
    /// no single one can fill it, and of odd lengths, so that regular sampling meets all of them.
    pub(crate) fn draw(draws: &mut Draws, config: &FleetConfig) -> Self {
        let count = 5 + draws.below(4);
        let operations: Vec<Operation> = (0..count)
            .map(|_| Operation {
                duration_s: draws.between(12.0, 30.0),
                speed: [0.95, 1.0, 1.05][draws.below(3)],
                load: draws.between(0.5, 0.75),
            })
            .collect();
        Self {
            nominal_rpm: SPINDLE.rated_rpm * draws.near_one(0.04 * config.individuality),
            cycle: Cycle::new(operations),
            offset_s: draws.between(0.0, config.day.as_secs_f64()),
            shift_s: config.day.as_secs_f64() / SHIFTS_PER_DAY,
            stop_share: config.stop_share,
        }
    }

    /// The operating point at `at`; `draws` are those of machine and time.
    pub(crate) fn at(&self, at: Timestamp, draws: &mut Draws) -> OperatingPoint {
        let time_s = at.as_micros() as f64 * 1e-6 + self.offset_s;
        let into_shift = (time_s / self.shift_s).rem_euclid(1.0);
        if into_shift >= 1.0 - self.stop_share {
            return OperatingPoint { rpm: 0.0, load: 0.0 };
        }
        let operation = self.cycle.at(time_s).operation;
        // Stock and engagement differ from cut to cut; speed droops under load and is held by the drive.
        let load = (operation.load + 0.06 * f64::from(draws.bell())).clamp(0.1, 1.0);
        let rpm = self.nominal_rpm * operation.speed * (1.0 - 0.01 * load) * (1.0 + 0.002 * f64::from(draws.bell()));
        OperatingPoint {
            rpm: rpm as f32,
            load: load as f32,
        }
    }
}

/// How warm a site is: shares of ln amplitude lost to warmer oil and structure, at full effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Climate {
    day_phase: f64,
    season_phase: f64,
}

impl Climate {
    pub(crate) fn draw(draws: &mut Draws) -> Self {
        Self {
            day_phase: draws.unit(),
            season_phase: draws.unit(),
        }
    }

    /// The effect at `at`, at most the two swings together in size.
    pub(crate) fn at(self, at: Timestamp, config: &FleetConfig) -> f64 {
        let wave = |period: Duration, phase: f64| {
            let turns = at.as_micros() as f64 / period.as_micros() as f64 + phase;
            (turns.rem_euclid(1.0) * TAU).sin()
        };
        config.daily_swing * wave(config.day, self.day_phase)
            + config.seasonal_swing * wave(config.season, self.season_phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dwell_lasts_until_it_says_it_ends_and_the_next_has_the_next_number(
            lengths in proptest::collection::vec(1u32..5_000, 1..8),
            second in 0u32..10_000_000,
        ) {
            let operation = |duration: &u32| Operation { duration_s: f64::from(*duration), speed: 1.0, load: 0.5 };
            let cycle = Cycle::new(lengths.iter().map(operation).collect());
            let now = cycle.at(f64::from(second));
            prop_assert!(now.left_s > 0.0 && now.left_s <= now.operation.duration_s);
            let ends = f64::from(second) + now.left_s;
            prop_assert_eq!(cycle.at(ends - 1e-6).number, now.number);
            prop_assert_eq!(cycle.at(ends).number, now.number + 1);
            prop_assert_eq!(now.operation.duration_s, f64::from(lengths[now.number as usize % lengths.len()]));
        }
    }
}
