//! Alarm floods: many machines at once are one thing to be told of, and who differs from the many is another.
//!
//! ISA-18.2 (ANSI/ISA-18.2-2016, 16.5.4) has a flood begin above ten new alarms for one operator in ten minutes and end
//! below five. Here a recipient of pages stands for the operator, and an incident that they are first told of for the
//! alarm. A load step, a change of season or a gateway that garbles spectra raises a whole class together; a fault that
//! hides among them is what somebody must still be woken for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tocsin_domain::{Detector, IncidentId, Slug, Timestamp};

/// A machine stands out by so much over the flood's median level…
const RISE: f32 = 1.0;

/// …and by so many robust standard deviations of the flood's levels: levels of fitted tails spread over tens.
const SPREAD: f32 = 3.0;

/// From the median absolute deviation to the standard deviation of a normal distribution.
const MAD_TO_SIGMA: f32 = 1.4826;

/// It stands out by its bins when so much of what it shows is where the flood shows nothing.
const ELSEWHERE: f32 = 0.5;

/// The others show something in a bin when this share of what they show is there, on average.
const LEAST_SHARE: f32 = 0.05;

/// How far from one of the flood's bins a bin still is the same line.
const SAME_LINE: u16 = 1;

/// What so many of a flood have in common is its likely cause.
const COMMON: f64 = 0.8;

/// When a flood begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodRules {
    /// The time in which newcomers are counted.
    pub window: Duration,
    /// It begins with more than so many in that time.
    pub begins_above: usize,
    /// It is over with fewer than so many in that time.
    pub ends_below: usize,
}

impl Default for FloodRules {
    fn default() -> Self {
        Self {
            window: Duration::from_mins(10),
            begins_above: 10,
            ends_below: 5,
        }
    }
}

impl FloodRules {
    /// Whether the newcomers of the time up to and with `at` are a flood.
    pub fn begins(&self, newcomers: &[Newcomer], at: Timestamp) -> bool {
        self.count(newcomers, at) > self.begins_above
    }

    /// Whether a flood is over at `at`.
    pub fn is_over(&self, newcomers: &[Newcomer], at: Timestamp) -> bool {
        self.count(newcomers, at) < self.ends_below
    }

    fn count(&self, newcomers: &[Newcomer], at: Timestamp) -> usize {
        let from = at - self.window;
        newcomers.iter().filter(|one| one.at > from && one.at <= at).count()
    }
}

/// An incident that a recipient is told of for the first time.
#[derive(Debug, Clone, PartialEq)]
pub struct Newcomer {
    /// The incident.
    pub incident: IncidentId,
    /// When that was decided, by the clock of its stream.
    pub at: Timestamp,
    /// The machine's site.
    pub site: Slug,
    /// The machine's class.
    pub class: Slug,
    /// Its level.
    pub level: f32,
    /// The detector that decided.
    pub detector: Detector,
    /// The bins that stand out with their shares, as its page names them.
    pub bins: Vec<(u16, f32)>,
    /// The gateway that its readings came through, `site/name`; none where that is not known.
    pub gateway: Option<String>,
}

/// How a machine differs from the flood it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandsOut {
    /// Its level is far above the others'.
    Level,
    /// Other bins stand out.
    Bins,
    /// It is of another site or class than four fifths of the others: what they have in common is not its cause.
    Kind,
}

/// What the machines of a flood show together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Profile {
    /// The median of their levels.
    pub median_level: f32,
    /// A machine this high stands out.
    stands_out_at: f32,
    /// Their site and class, where most share it.
    site: Option<Slug>,
    class: Option<Slug>,
    /// What they show in bins, apart for detectors that see the deviation from the baseline and those that don't: the bins of
    /// one kind say nothing of another's.
    shown: BTreeMap<bool, Shown>,
}

/// The bins of some machines together.
#[derive(Debug, Clone, PartialEq, Default)]
struct Shown {
    machines: f32,
    /// Shares of each bin, summed over the machines.
    shares: BTreeMap<u16, f32>,
    /// They show the same bins, so that other bins are news.
    is_common: bool,
}

impl Shown {
    fn of(newcomers: &[&Newcomer]) -> Self {
        let mut shown = Self {
            machines: newcomers.len() as f32,
            ..Self::default()
        };
        for (bin, share) in newcomers.iter().flat_map(|one| &one.bins) {
            *shown.shares.entry(*bin).or_default() += share;
        }
        let elsewhere = newcomers.iter().map(|one| shown.elsewhere(one)).collect();
        shown.is_common = median(elsewhere).is_some_and(|typical| typical < ELSEWHERE / 2.0);
        shown
    }

    /// How much of what one of the machines shows is in bins where the others show nothing, 0 to 1.
    fn elsewhere(&self, one: &Newcomer) -> f32 {
        let whole: f32 = one.bins.iter().map(|(_, share)| share).sum();
        let others = (self.machines - 1.0).max(1.0);
        let is_shown = |bin: u16| {
            let near = bin.saturating_sub(SAME_LINE)..=bin.saturating_add(SAME_LINE);
            let own = one.bins.iter().filter(|(its, _)| near.contains(its));
            let own: f32 = own.map(|(_, share)| share).sum();
            let all: f32 = self.shares.range(near).map(|(_, share)| share).sum();
            (all - own) / others >= LEAST_SHARE
        };
        let elsewhere = one.bins.iter().filter(|(bin, _)| !is_shown(*bin));
        elsewhere.map(|(_, share)| share).sum::<f32>() / whole.max(f32::MIN_POSITIVE)
    }
}

impl Profile {
    /// The profile of some newcomers; of none, nobody stands out.
    pub fn of(newcomers: &[Newcomer]) -> Self {
        let levels: Vec<f32> = newcomers.iter().map(|one| one.level).collect();
        let Some(median_level) = median(levels.clone()) else {
            return Self {
                stands_out_at: f32::INFINITY,
                ..Self::default()
            };
        };
        let deviations = levels.iter().map(|level| (level - median_level).abs()).collect();
        let sigma = MAD_TO_SIGMA * median(deviations).unwrap_or_default();
        let of_kind = |kind: bool| {
            let is_its = |one: &&Newcomer| one.detector.needs_baseline() == kind && !one.bins.is_empty();
            let newcomers: Vec<&Newcomer> = newcomers.iter().filter(is_its).collect();
            (kind, Shown::of(&newcomers))
        };
        Self {
            median_level,
            stands_out_at: median_level + RISE.max(SPREAD * sigma),
            site: common(newcomers.iter().map(|one| one.site.clone())),
            class: common(newcomers.iter().map(|one| one.class.clone())),
            shown: [false, true].map(of_kind).into(),
        }
    }

    /// Whether one of the newcomers must be told of though it is in the flood.
    pub fn stands_out(&self, newcomer: &Newcomer) -> Option<StandsOut> {
        if newcomer.level >= self.stands_out_at {
            return Some(StandsOut::Level);
        }
        let is_another = |common: &Option<Slug>, its: &Slug| common.as_ref().is_some_and(|common| common != its);
        if is_another(&self.site, &newcomer.site) || is_another(&self.class, &newcomer.class) {
            return Some(StandsOut::Kind);
        }
        let shown = self.shown.get(&newcomer.detector.needs_baseline())?;
        let differs = shown.is_common && shown.elsewhere(newcomer) >= ELSEWHERE;
        (differs && !newcomer.bins.is_empty()).then_some(StandsOut::Bins)
    }
}

/// What most of a flood have in common: where to look first, not a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CommonCause {
    /// Their class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Slug>,
    /// The minute in which they began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute: Option<Timestamp>,
    /// The gateway that all of them came through, `site/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
}

impl CommonCause {
    /// What four fifths of the newcomers share; of gateways, what all of them share: one machine that came another way clears it.
    pub fn of(newcomers: &[Newcomer]) -> Self {
        let minute = |one: &Newcomer| one.at.floor_to(Duration::from_mins(1));
        Self {
            class: common(newcomers.iter().map(|one| one.class.clone())),
            minute: common(newcomers.iter().map(minute)),
            gateway: shared(newcomers.iter().map(|one| one.gateway.as_ref())).cloned(),
        }
    }
}

/// The value that all have, if it is known of all.
fn shared<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// The value that at least [`COMMON`] of all have.
fn common<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, u32> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let all: u32 = counts.values().sum();
    let (value, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (f64::from(count) >= COMMON * f64::from(all)).then_some(value)
}

fn median(mut values: Vec<f32>) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn newcomer(incident: i64, second: i64, level: f32, bins: &[(u16, f32)]) -> Newcomer {
        Newcomer {
            incident: IncidentId(incident),
            at: Timestamp::from_micros(second * 1_000_000),
            site: Slug::parse("site", "works").unwrap(),
            class: Slug::parse("class", "press").unwrap(),
            level,
            detector: Detector::Growth,
            bins: bins.to_vec(),
            gateway: None,
        }
    }

    /// A load step: everybody rises in the same band, some more, some less.
    fn load_step(count: i64) -> Vec<Newcomer> {
        let bins = |n: i64| vec![(20 + (n % 4) as u16, 0.3), (22, 0.2), (23, 0.1)];
        let one = |n: i64| newcomer(n, 600 + n % 7, 3.0 + 0.1 * (n % 9) as f32, &bins(n));
        (0..count).map(one).collect()
    }

    #[test]
    fn a_flood_begins_above_ten_in_ten_minutes_and_is_over_below_five() {
        let rules = FloodRules::default();
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        let eleven: Vec<Newcomer> = (0..11).map(|n| newcomer(n, 60 * n, 2.5, &[])).collect();
        assert!(!rules.begins(&eleven[..10], at(540)), "ten are no flood");
        assert!(!rules.begins(&eleven, at(600)), "the first was eleven minutes before");
        let close: Vec<Newcomer> = (0..11).map(|n| newcomer(n, 30 * n, 2.5, &[])).collect();
        assert!(rules.begins(&close, at(300)));
        assert!(!rules.is_over(&close, at(300 + 479)) && rules.is_over(&close, at(300 + 481)));
    }

    #[test]
    fn of_a_load_step_nobody_stands_out_but_the_machine_that_fails_in_it() {
        let mut fleet = load_step(199);
        let louder = newcomer(500, 603, 6.0, &[(22, 0.4), (21, 0.3)]);
        let elsewhere = newcomer(501, 603, 3.2, &[(50, 0.6), (22, 0.1)]);
        let beside = newcomer(502, 603, 3.2, &[(24, 0.6), (22, 0.1)]);
        fleet.extend([louder.clone(), elsewhere.clone()]);
        let profile = Profile::of(&fleet);
        assert!((profile.median_level - 3.4).abs() < 0.11, "{profile:?}");
        let out: Vec<_> = fleet
            .iter()
            .filter_map(|one| Some((one.incident.0, profile.stands_out(one)?)))
            .collect();
        assert_eq!(out, [(500, StandsOut::Level), (501, StandsOut::Bins)]);
        assert_eq!(
            profile.stands_out(&beside),
            None,
            "a line beside the flood's is the flood's"
        );
        let pump = Newcomer {
            class: Slug::parse("class", "pump").unwrap(),
            ..beside.clone()
        };
        assert_eq!(
            profile.stands_out(&pump),
            Some(StandsOut::Kind),
            "a load step of presses is not its cause"
        );
        let scattered: Vec<Newcomer> = (0..50)
            .map(|n| newcomer(n, 600, 3.0, &[(40 * n as u16, 0.6)]))
            .collect();
        let profile_of_noise = Profile::of(&scattered);
        assert!(
            scattered.iter().all(|one| profile_of_noise.stands_out(one).is_none()),
            "nothing is common"
        );
        let by_network = Newcomer {
            detector: Detector::Residual,
            ..elsewhere
        };
        assert_eq!(
            profile.stands_out(&by_network),
            None,
            "the network's bins mean something else"
        );
    }

    #[test]
    fn what_most_share_is_named_and_what_they_do_not_share_is_not() {
        let mut fleet = load_step(20);
        assert_eq!(CommonCause::of(&fleet).class.as_ref().map(Slug::as_str), Some("press"));
        assert_eq!(
            CommonCause::of(&fleet).minute,
            Some(Timestamp::from_micros(600_000_000))
        );
        for (nth, one) in fleet.iter_mut().enumerate() {
            one.class = Slug::parse("class", &format!("class-{}", nth % 3)).unwrap();
            one.at = one.at + Duration::from_secs(30 * nth as u64);
        }
        assert_eq!(CommonCause::of(&fleet), CommonCause::default());
        assert_eq!(CommonCause::of(&[]), CommonCause::default());
    }

    #[test]
    fn a_gateway_is_named_where_every_machine_came_through_it_and_no_other() {
        let mut fleet = load_step(12);
        assert_eq!(CommonCause::of(&fleet).gateway, None, "nothing is known of any");
        for one in &mut fleet {
            one.gateway = Some("works/hall-3".to_owned());
        }
        assert_eq!(CommonCause::of(&fleet).gateway.as_deref(), Some("works/hall-3"));
        for other in [None, Some("works/hall-4".to_owned())] {
            fleet[7].gateway = other;
            assert_eq!(CommonCause::of(&fleet).gateway, None);
        }
    }

    proptest! {
        #[test]
        fn of_machines_that_show_the_same_nobody_stands_out(level in 0_f32..90.0, count in 1_i64..40, bin in 0_u16..500) {
            let fleet: Vec<Newcomer> = (0..count).map(|n| newcomer(n, n, level, &[(bin, 0.5)])).collect();
            let profile = Profile::of(&fleet);
            prop_assert!(fleet.iter().all(|one| profile.stands_out(one).is_none()));
        }

        #[test]
        fn fewer_than_half_stand_out_by_their_level(levels in prop::collection::vec(1_f32..60.0, 1..60)) {
            let fleet: Vec<Newcomer> = levels.iter().enumerate().map(|(n, level)| newcomer(n as i64, 0, *level, &[])).collect();
            let profile = Profile::of(&fleet);
            let out = fleet.iter().filter(|one| profile.stands_out(one).is_some()).count();
            prop_assert!(2 * out <= fleet.len());
        }
    }
}
