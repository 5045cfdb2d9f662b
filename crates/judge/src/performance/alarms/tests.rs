use proptest::prelude::*;

use super::*;

const SITE: SiteId = SiteId(1);

fn at(second: u64) -> Timestamp {
    Timestamp::from_micros(1_000_000 * second as i64)
}

fn month() -> Period {
    Period {
        from: at(0),
        to: at(30 * 86_400),
    }
}

fn alarm(machine: i32, opened: u64, closed: Option<u64>) -> Alarm {
    Alarm {
        site: SITE,
        machine: MachineId(machine),
        step: Duration::from_secs(10),
        opened_at: at(opened),
        closed_at: closed.map(at),
        severity: Severity::Alert,
        acknowledged_after: None,
    }
}

fn figures(alarms: &[Alarm]) -> AlarmFigures {
    AlarmFigures::of(month(), &[SITE], alarms)
}

/// So many openings in an interval of 10 minutes, each on a machine of its own.
fn burst(interval: u64, openings: u64) -> impl Iterator<Item = Alarm> {
    (0..openings).map(move |n| alarm(n as i32, 600 * interval + n, Some(600 * interval + n + 60)))
}

#[test]
fn a_flood_begins_above_ten_and_ends_below_five() {
    let alarms: Vec<Alarm> = [(3, 10), (7, 11), (8, 5), (9, 12), (10, 4), (20, 30)]
        .into_iter()
        .flat_map(|(interval, openings)| burst(interval, openings))
        .collect();
    let figures = figures(&alarms);
    let position = figures.positions[0];
    assert_eq!((position.floods, position.intervals_in_flood), (2, 4));
    assert_eq!((position.intervals, position.intervals_above_10), (4_320, 3));
    assert_eq!((position.opened, figures.peak_per_10_min()), (72, 30));
    assert!((figures.average_per_10_min().unwrap() - 72.0 / 4_320.0).abs() < 1e-12);
}

#[test]
fn the_peak_is_found_across_the_ends_of_intervals() {
    let alarms: Vec<Alarm> = (0..8).map(|n| alarm(n, 580 + 5 * n as u64, None)).collect();
    let figures = figures(&alarms);
    assert_eq!(figures.peak_per_10_min(), 8);
    assert_eq!(figures.floods(), 0);
}

#[test]
fn an_alarm_is_stale_from_a_day_on_and_counts_on_each_day_it_is_so() {
    let day = 86_400;
    let alarms = [
        alarm(1, 0, Some(day)),
        alarm(2, 100, Some(3 * day)),
        alarm(3, day, None),
        alarm(4, 29 * day, None),
    ];
    let stale = figures(&alarms).stale;
    assert_eq!((stale.alarms, stale.most_in_a_day), (2, 2));
    assert_eq!(stale.longest, Duration::from_hours(29 * 24));
    let apart = figures(&[alarm(1, 0, Some(2 * day - 1)), alarm(2, 4 * day, Some(6 * day - 1))]).stale;
    assert_eq!((apart.alarms, apart.most_in_a_day), (2, 1));
}

#[test]
fn what_was_open_before_the_period_is_stale_in_it_and_did_not_open_in_it() {
    let period = Period {
        from: at(10 * 86_400),
        ..month()
    };
    let figures = AlarmFigures::of(period, &[SITE], &[alarm(1, 5, None), alarm(2, 7, Some(500))]);
    assert_eq!((figures.opened, figures.stale.alarms), (0, 1));
    assert_eq!(
        figures.stale.longest,
        Duration::from_hours(30 * 24) - Duration::from_secs(5)
    );
}

#[test]
fn a_machine_chatters_within_the_steps_its_class_needs() {
    let openings = |step_s, apart: u64| -> Vec<Alarm> {
        (0..3)
            .map(|n| Alarm {
                step: Duration::from_secs(step_s),
                ..alarm(5, n * apart, Some(n * apart + 60))
            })
            .collect()
    };
    assert_eq!(figures(&openings(10, 600)).chattering, [(MachineId(5), 3)]);
    assert_eq!(figures(&openings(10, 2_000)).chattering, []);
    // A class that steps every ten minutes takes eight hours to open three times.
    assert_eq!(figures(&openings(600, 40_000)).chattering, [(MachineId(5), 3)]);
}

#[test]
fn the_most_frequent_machines_come_first_and_acknowledgements_by_rank() {
    let mut alarms: Vec<Alarm> = (0..12)
        .flat_map(|m| (0..=m).map(move |n| alarm(m, 9_000 * n as u64, None)))
        .collect();
    for (n, one) in alarms.iter_mut().take(10).enumerate() {
        one.acknowledged_after = Some(Duration::from_secs(60 * (n as u64 + 1)));
        one.severity = Severity::Page;
    }
    let figures = figures(&alarms);
    assert_eq!(figures.most_frequent[0], (MachineId(11), 12));
    assert_eq!(figures.most_frequent.len(), 10);
    assert!((figures.share_of_most_frequent().unwrap() - 75.0 / 78.0).abs() < 1e-12);
    assert_eq!((figures.acknowledged, figures.opened_pages), (10, 10));
    assert_eq!(figures.acknowledged_median, Some(Duration::from_mins(5)));
    assert_eq!(figures.acknowledged_90th, Some(Duration::from_mins(9)));
    assert_eq!((figures.days.len(), figures.days[0].pages), (30, 10));
}

fn any_alarm() -> impl Strategy<Value = Alarm> {
    (
        0..3_i32,
        0..5_i32,
        0..260_000_u64,
        prop::option::of(1..200_000_u64),
        any::<bool>(),
    )
        .prop_map(|(site, machine, opened, lasts, page)| Alarm {
            site: SiteId(site),
            severity: if page { Severity::Page } else { Severity::Alert },
            ..alarm(10 * site + machine, opened, lasts.map(|lasts| opened + lasts))
        })
}

proptest! {
    #[test]
    fn counts_agree_with_each_other_in_whatever_order_alarms_come(alarms in prop::collection::vec(any_alarm(), 0..120)) {
        let period = Period { from: at(20_000), to: at(230_000) };
        let sites = [SiteId(0), SiteId(1), SiteId(2)];
        let figures = AlarmFigures::of(period, &sites, &alarms);
        let by_position: u64 = figures.positions.iter().map(|p| p.opened).sum();
        let by_day: u64 = figures.days.iter().map(|day| day.alerts + day.pages).sum();
        prop_assert_eq!((by_position, by_day), (figures.opened, figures.opened));
        prop_assert!(figures.stale.most_in_a_day <= figures.stale.alarms);
        for position in &figures.positions {
            prop_assert!(position.intervals_above_10 <= position.intervals_in_flood);
            prop_assert!(position.intervals_in_flood <= position.intervals);
            prop_assert!(position.peak_per_10_min <= position.opened);
            prop_assert!(position.floods <= position.intervals_above_10);
        }
        let mut reversed = alarms;
        reversed.reverse();
        prop_assert_eq!(figures, AlarmFigures::of(period, &sites, &reversed));
    }

    #[test]
    fn one_more_alarm_never_lowers_a_count(alarms in prop::collection::vec(any_alarm(), 1..120)) {
        let period = Period { from: at(20_000), to: at(230_000) };
        let sites = [SiteId(0), SiteId(1), SiteId(2)];
        let more = AlarmFigures::of(period, &sites, &alarms);
        let fewer = AlarmFigures::of(period, &sites, &alarms[1..]);
        prop_assert!(fewer.opened <= more.opened && fewer.stale.alarms <= more.stale.alarms);
        prop_assert!(fewer.stale.most_in_a_day <= more.stale.most_in_a_day);
        prop_assert!(fewer.peak_per_10_min() <= more.peak_per_10_min());
        prop_assert!(fewer.share_above_10() <= more.share_above_10());
        prop_assert!(fewer.share_in_flood() <= more.share_in_flood());
        prop_assert!(fewer.chattering.len() <= more.chattering.len());
    }
}
