//! The course of a machine's level: since when it is above the alert line, and how fast it grows.

use std::time::Duration;

use tocsin_domain::{Level, Timestamp};

/// What growth is counted by.
pub const DAY: Duration = Duration::from_hours(24);

/// A rate per day is told of no shorter time: a few minutes of a machine that starts up would be hundreds of levels.
const LEAST: Duration = Duration::from_hours(1);

/// The level of a machine's step, and its start.
pub type StepLevelAt = (Timestamp, Level);

/// Since when the level has been above the alert line that opened an incident at `opened_at`: the first of the steps at
/// or above it that lead up to the opening with no more than `lull` between one and the next. While an incident is open it
/// has not cleared, so what came after the opening takes nothing from that. `steps` are judged ones in any order; those
/// after the opening are left out.
pub fn above_alert_since(steps: &[StepLevelAt], opened_at: Timestamp, lull: Duration) -> Timestamp {
    let leads_up = |(at, level): &&StepLevelAt| *at <= opened_at && *level >= Level::ALERT;
    let mut raised: Vec<Timestamp> = steps.iter().filter(leads_up).map(|(at, _)| *at).collect();
    raised.sort_unstable_by(|a, b| b.cmp(a));
    let mut since = opened_at;
    for at in raised {
        if since.since(at) > lull {
            break;
        }
        since = at;
    }
    since
}

/// How fast a level grew from one step to a later one, in levels per 24 hours; none of less than an hour. What it grew in
/// more than a day it may have grown in the last one, for nothing is known of the time between, and counts as that.
pub fn growth_per_day((then, before): StepLevelAt, (now, level): StepLevelAt) -> Option<f32> {
    let elapsed = now.since(then);
    (elapsed >= LEAST).then(|| (level.0 - before.0) * DAY.as_secs_f32() / elapsed.min(DAY).as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LULL: Duration = Duration::from_secs(160);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn steps(levels: &[(i64, f32)]) -> Vec<StepLevelAt> {
        levels
            .iter()
            .map(|(second, level)| (at(*second), Level(*level)))
            .collect()
    }

    #[test]
    fn a_level_is_above_since_the_first_step_of_the_run_that_opened_the_incident() {
        let run = steps(&[(100, 1.2), (600, 1.0), (610, 0.4), (620, 1.3), (700, 1.5), (710, 2.0)]);
        assert_eq!(
            above_alert_since(&run, at(710), LULL),
            at(600),
            "a lull ends a run, a quiet step does not"
        );
        assert_eq!(
            above_alert_since(&run, at(620), LULL),
            at(600),
            "what came later counts for nothing"
        );
        assert_eq!(
            above_alert_since(&[], at(710), LULL),
            at(710),
            "an incident is above since it opened"
        );
    }

    #[test]
    fn growth_is_per_day_whatever_the_time_it_is_measured_over() {
        let level = |second, level| (at(second), Level(level));
        let growth = |then, now| growth_per_day(then, now);
        assert_eq!(growth(level(0, 1.0), level(12 * 3_600, 1.5)), Some(1.0));
        assert_eq!(growth(level(0, 2.0), level(6 * 3_600, 1.75)), Some(-1.0));
        assert_eq!(
            growth(level(0, 1.0), level(48 * 3_600, 2.0)),
            Some(1.0),
            "at worst in the last day"
        );
        assert_eq!(
            growth(level(0, 1.0), level(3_599, 2.0)),
            None,
            "too short a time to tell"
        );
    }

    proptest! {
        #[test]
        fn the_beginning_is_a_step_of_the_run_and_never_after_the_opening(
            levels in proptest::collection::vec((0i64..2_000, 0f32..3.0), 0..40),
            opened in 0i64..2_000,
        ) {
            let steps = steps(&levels);
            let since = above_alert_since(&steps, at(opened), LULL);
            prop_assert!(since <= at(opened));
            prop_assert!(since == at(opened) || steps.contains(&(since, Level(levels.iter().find(|(s, l)| at(*s) == since && *l >= 1.0).unwrap().1))));
        }
    }
}
