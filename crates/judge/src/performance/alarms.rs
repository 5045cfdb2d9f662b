//! The alert list: rates, floods, stale and chattering alarms (ANSI/ISA-18.2-2016, clause 16; EEMUA 191).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tocsin_domain::{MachineId, Severity, SiteId, Timestamp};

use super::{Alarm, Period};

/// The interval rates are counted in.
const INTERVAL: Duration = Duration::from_mins(10);
/// An interval with more openings than this begins a flood.
const FLOOD_BEGINS_ABOVE: u64 = 10;
/// An interval with fewer than this ends it.
const FLOOD_ENDS_BELOW: u64 = 5;
/// Active longer than this is stale.
const STALE_AFTER: Duration = Duration::from_hours(24);
/// Openings that make a machine chatter.
const CHATTER_OPENINGS: usize = 3;
/// The shortest window in which they do, and how many machine steps it has otherwise.
const CHATTER_SHORTEST: Duration = Duration::from_hours(1);
const CHATTER_STEPS: u32 = 150;
/// How many machines are named as the most frequent ones.
const MOST_FREQUENT: usize = 10;
const DAY: Duration = Duration::from_hours(24);

/// The alarms of one operator position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// The site.
    pub site: SiteId,
    /// Alarms that opened.
    pub opened: u64,
    /// Alarms per 10 minutes, on average.
    pub average_per_10_min: f64,
    /// The most in any 10 minutes, wherever these begin.
    pub peak_per_10_min: u64,
    /// Intervals of 10 minutes, counted from the period's start.
    pub intervals: u64,
    /// Those with more than 10 alarms.
    pub intervals_above_10: u64,
    /// Floods that began.
    pub floods: u64,
    /// Intervals in flood: from one with more than 10 alarms up to the next with fewer than 5.
    pub intervals_in_flood: u64,
}

/// Alarms that were active for more than 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stale {
    /// How many there were in the period.
    pub alarms: u64,
    /// The most on any of its days (24 hours, counted from its start).
    pub most_in_a_day: u64,
    /// How long the longest of them was active up to the period's end.
    pub longest: Duration,
}

/// What opened on one day (24 hours, counted from the period's start).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Its start.
    pub from: Timestamp,
    /// Incidents that stayed at alert.
    pub alerts: u64,
    /// Incidents that reached page.
    pub pages: u64,
}

/// Figures of the alert list.
#[derive(Debug, Clone, PartialEq)]
pub struct AlarmFigures {
    /// Each operator position, in the order given.
    pub positions: Vec<Position>,
    /// Alarms that opened in the period.
    pub opened: u64,
    /// Those of them that reached page.
    pub opened_pages: u64,
    /// Stale alarms.
    pub stale: Stale,
    /// Machines with three openings or more within 150 steps of their class, or an hour where that is longer, and the most
    /// openings they had in such a window. (The standard's "three in a minute" can't happen here: from one opening to the
    /// next an incident takes 5 judged steps to open and 20 to clear, so three openings take 50 steps or more. The window
    /// is three times as long, so that a machine comes back within it only if it hardly stays clear.)
    pub chattering: Vec<(MachineId, u64)>,
    /// The ten machines with most alarms, most first.
    pub most_frequent: Vec<(MachineId, u64)>,
    /// Acknowledged alarms of the period whose time is known.
    pub acknowledged: u64,
    /// Half of them were acknowledged within this.
    pub acknowledged_median: Option<Duration>,
    /// Nine tenths of them were acknowledged within this.
    pub acknowledged_90th: Option<Duration>,
    /// Each day.
    pub days: Vec<Day>,
}

impl AlarmFigures {
    /// The figures of all `alarms` that were active in `period` at `sites`. Alarms of other sites, and those over before it
    /// or opened after it, are left out.
    pub fn of(period: Period, sites: &[SiteId], alarms: &[Alarm]) -> Self {
        let known: BTreeSet<SiteId> = sites.iter().copied().collect();
        let active: Vec<Alarm> = alarms
            .iter()
            .filter(|alarm| known.contains(&alarm.site) && alarm.opened_at < period.to)
            .filter(|alarm| alarm.closed_at.is_none_or(|closed| closed > period.from))
            .copied()
            .collect();
        let mut opened: Vec<Alarm> = active.iter().filter(|a| period.holds(a.opened_at)).copied().collect();
        opened.sort_by_key(|alarm| alarm.opened_at);
        let after = acknowledgements(&opened);
        Self {
            positions: positions(period, sites, &opened),
            opened: opened.len() as u64,
            opened_pages: opened.iter().filter(|a| a.severity == Severity::Page).count() as u64,
            stale: stale(period, &active),
            chattering: chattering(&opened),
            most_frequent: most_frequent(&opened),
            acknowledged: after.len() as u64,
            acknowledged_median: percentile(&after, 50),
            acknowledged_90th: percentile(&after, 90),
            days: days(period, &opened),
        }
    }

    /// Alarms per 10 minutes and operator position; none without a position or a period.
    pub fn average_per_10_min(&self) -> Option<f64> {
        mean(self.positions.iter().map(|position| position.average_per_10_min))
    }

    /// The most alarms in any 10 minutes at any position.
    pub fn peak_per_10_min(&self) -> u64 {
        self.positions.iter().map(|p| p.peak_per_10_min).max().unwrap_or(0)
    }

    /// Share of 10-minute intervals with more than 10 alarms, over all positions.
    pub fn share_above_10(&self) -> Option<f64> {
        self.share_of_intervals(|position| position.intervals_above_10)
    }

    /// Floods of all positions.
    pub fn floods(&self) -> u64 {
        self.positions.iter().map(|position| position.floods).sum()
    }

    /// Share of the time in flood, over all positions.
    pub fn share_in_flood(&self) -> Option<f64> {
        self.share_of_intervals(|position| position.intervals_in_flood)
    }

    /// Share of the alarms that the ten most frequent machines had; none without alarms.
    pub fn share_of_most_frequent(&self) -> Option<f64> {
        let theirs: u64 = self.most_frequent.iter().map(|(_, alarms)| alarms).sum();
        (self.opened > 0).then(|| theirs as f64 / self.opened as f64)
    }

    /// Share of the alarms that reached page; none without alarms.
    pub fn share_of_pages(&self) -> Option<f64> {
        (self.opened > 0).then(|| self.opened_pages as f64 / self.opened as f64)
    }

    fn share_of_intervals(&self, which: impl Fn(&Position) -> u64) -> Option<f64> {
        let all: u64 = self.positions.iter().map(|position| position.intervals).sum();
        let these: u64 = self.positions.iter().map(which).sum();
        (all > 0).then(|| these as f64 / all as f64)
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let count = values.len();
    (count > 0).then(|| values.sum::<f64>() / count as f64)
}

/// Each site's rates; `opened` is in order.
fn positions(period: Period, sites: &[SiteId], opened: &[Alarm]) -> Vec<Position> {
    let mut by_site: BTreeMap<SiteId, Vec<Timestamp>> = BTreeMap::new();
    for alarm in opened {
        by_site.entry(alarm.site).or_default().push(alarm.opened_at);
    }
    let of_site = |site: &SiteId| position(period, *site, by_site.get(site).map_or(&[], Vec::as_slice));
    sites.iter().map(of_site).collect()
}

fn position(period: Period, site: SiteId, at: &[Timestamp]) -> Position {
    let intervals = period.intervals(INTERVAL);
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for at in at {
        *counts.entry(period.interval(*at, INTERVAL)).or_default() += 1;
    }
    let (floods, intervals_in_flood) = floods(&counts, intervals);
    let tenths = period.length().as_secs_f64() / INTERVAL.as_secs_f64();
    Position {
        site,
        opened: at.len() as u64,
        average_per_10_min: if tenths > 0.0 { at.len() as f64 / tenths } else { 0.0 },
        peak_per_10_min: most_within(at, INTERVAL),
        intervals,
        intervals_above_10: counts.values().filter(|count| **count > FLOOD_BEGINS_ABOVE).count() as u64,
        floods,
        intervals_in_flood,
    }
}

/// Floods and the intervals in them, from the counts of those intervals that have any. One that no interval ends is over
/// with the period.
fn floods(counts: &BTreeMap<u64, u64>, intervals: u64) -> (u64, u64) {
    let (mut floods, mut within) = (0, 0);
    let mut reached = 0;
    for (place, count) in counts {
        if *place < reached || *count <= FLOOD_BEGINS_ABOVE {
            continue;
        }
        let mut end = place + 1;
        while end < intervals && counts.get(&end).is_some_and(|count| *count >= FLOOD_ENDS_BELOW) {
            end += 1;
        }
        floods += 1;
        within += end - place;
        reached = end;
    }
    (floods, within)
}

/// The most of `at`, which is in order, that lie within `length` of each other.
pub(super) fn most_within(at: &[Timestamp], length: Duration) -> u64 {
    let mut first = 0;
    let mut most = 0;
    for (last, time) in at.iter().enumerate() {
        while time.since(at[first]) >= length {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most as u64
}

fn stale(period: Period, active: &[Alarm]) -> Stale {
    let mut found = Stale::default();
    let mut changes: BTreeMap<u64, i64> = BTreeMap::new();
    for alarm in active {
        let end = alarm.closed_at.unwrap_or(period.to).min(period.to);
        let since = alarm.opened_at + STALE_AFTER;
        if end <= since {
            continue;
        }
        found.alarms += 1;
        found.longest = found.longest.max(end.since(alarm.opened_at));
        // From the day on which it became stale up to that on which it cleared.
        *changes.entry(period.interval(since, DAY)).or_default() += 1;
        *changes.entry(period.interval(end, DAY) + 1).or_default() -= 1;
    }
    let mut now = 0;
    for change in changes.values() {
        now += change;
        found.most_in_a_day = found.most_in_a_day.max(u64::try_from(now).unwrap_or(0));
    }
    found
}

fn chattering(opened: &[Alarm]) -> Vec<(MachineId, u64)> {
    let mut machines: BTreeMap<MachineId, (Duration, Vec<Timestamp>)> = BTreeMap::new();
    for alarm in opened {
        let window = CHATTER_SHORTEST.max(alarm.step.saturating_mul(CHATTER_STEPS));
        let machine = machines.entry(alarm.machine).or_insert((window, Vec::new()));
        machine.1.push(alarm.opened_at);
    }
    let most = machines
        .into_iter()
        .map(|(machine, (window, at))| (machine, most_within(&at, window)));
    most.filter(|(_, openings)| *openings >= CHATTER_OPENINGS as u64)
        .collect()
}

fn most_frequent(opened: &[Alarm]) -> Vec<(MachineId, u64)> {
    let mut counts: BTreeMap<MachineId, u64> = BTreeMap::new();
    for alarm in opened {
        *counts.entry(alarm.machine).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(machine, alarms)| (std::cmp::Reverse(*alarms), *machine));
    counts.truncate(MOST_FREQUENT);
    counts
}

/// Times to the first acknowledgement, shortest first.
fn acknowledgements(opened: &[Alarm]) -> Vec<Duration> {
    let mut after: Vec<Duration> = opened.iter().filter_map(|alarm| alarm.acknowledged_after).collect();
    after.sort_unstable();
    after
}

/// The smallest of `sorted` that `percent` of them do not exceed (nearest rank).
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn days(period: Period, opened: &[Alarm]) -> Vec<Day> {
    let mut days: Vec<Day> = (0..period.intervals(DAY))
        .scan(period.from, |from, _| {
            let next = *from + DAY;
            Some(std::mem::replace(from, next))
        })
        .map(|from| Day {
            from,
            alerts: 0,
            pages: 0,
        })
        .collect();
    for alarm in opened {
        if let Some(day) = days.get_mut(period.interval(alarm.opened_at, DAY) as usize) {
            match alarm.severity {
                Severity::Alert => day.alerts += 1,
                Severity::Page => day.pages += 1,
            }
        }
    }
    days
}

#[cfg(test)]
mod tests;
