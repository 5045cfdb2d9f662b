use proptest::prelude::*;
use tocsin_domain::SiteId;

use super::*;
use crate::performance::{AlarmFigures, Mark, Report, Standing};

fn at(text: &str) -> Timestamp {
    Timestamp::parse("t", text).unwrap()
}

fn march() -> Period {
    Period {
        from: at("2026-03-01T00:00:00Z"),
        to: at("2026-03-29T00:00:00Z"),
    }
}

fn told(destination: &str, incident: i64, time: Timestamp, truth: Truth) -> ToldPage {
    ToldPage {
        destination: destination.to_owned(),
        incident: IncidentId(incident),
        at: time,
        wall: time,
        truth,
    }
}

#[test]
fn a_night_goes_over_midnight_and_is_by_the_clock_on_the_wall() {
    let night_of = |text: &str| night(at(text));
    assert_eq!(night_of("2026-03-02T22:00:00Z"), night_of("2026-03-03T05:59:59Z"));
    assert!(night_of("2026-03-02T22:00:00Z").is_some());
    assert_ne!(night_of("2026-03-02T05:00:00Z"), night_of("2026-03-02T23:00:00Z"));
    assert_eq!(night_of("2026-03-02T06:00:00Z"), None);
    assert_eq!(night_of("2026-03-02T21:59:59Z"), None);
}

#[test]
fn a_budget_holds_for_each_person_in_any_seven_days_and_each_night() {
    let pages = [
        told("on-call", 1, at("2026-03-02T23:00:00Z"), Truth::True),
        told("on-call", 1, at("2026-03-03T04:00:00Z"), Truth::True),
        told("desk", 1, at("2026-03-04T12:00:00Z"), Truth::True),
        told("desk", 2, at("2026-03-10T12:00:00Z"), Truth::False),
        told("desk", 3, at("2026-03-11T12:00:00Z"), Truth::Unlabelled),
        told("early", 4, at("2026-02-28T12:00:00Z"), Truth::False),
    ];
    let known = ["quiet".to_owned()];
    let figures = PageFigures::of(march(), Budget::default(), 8_766.0, &known, &pages);
    let names: Vec<(&str, u64, u64, bool)> = figures
        .destinations
        .iter()
        .map(|to| (to.name.as_str(), to.most_in_a_week, to.nights_over, to.within_budget))
        .collect();
    assert_eq!(
        names,
        [("desk", 2, 0, true), ("on-call", 2, 1, false), ("quiet", 0, 0, true)]
    );
    let quiet = figures.destinations[2].per_week.unwrap();
    assert!(
        quiet.rate.abs() < 1e-12 && (quiet.upper - 3.6889 / 4.0).abs() < 1e-3,
        "{quiet:?}"
    );
    assert_eq!(
        (figures.false_pages.incidents, figures.false_or_unlabelled.incidents),
        (1, 2)
    );
    assert_eq!(figures.incidents[&Truth::True], 1);
    let year = figures.false_pages.per_machine_year.unwrap();
    assert!((year.rate - 1.0).abs() < 1e-9 && (year.upper - 5.5716).abs() < 1e-3);
    assert!((figures.false_pages.per_person_week.unwrap().rate - 1.0 / 12.0).abs() < 1e-9);
}

#[test]
fn every_mark_says_how_it_stands_and_nothing_is_within_that_was_not_measured() {
    let report = |pages: &[ToldPage], sites: &[SiteId]| Report {
        alarms: AlarmFigures::of(march(), sites, &[]),
        pages: PageFigures::of(march(), Budget::default(), 0.0, &[], pages),
    };
    let standing = |marks: &[Mark], name: &str| marks.iter().find(|mark| mark.name == name).unwrap().standing;
    let nowhere = report(&[], &[]).marks();
    assert!(
        nowhere.iter().all(|mark| mark.standing == Standing::Unjudged),
        "{nowhere:?}"
    );
    let woken: Vec<ToldPage> = (0..2)
        .map(|n| told("a", n, at("2026-03-02T23:00:00Z"), Truth::True))
        .collect();
    let marks = report(&woken, &[SiteId(1)]).marks();
    assert_eq!(standing(&marks, "alarms_per_10_min"), Standing::Within);
    assert_eq!(standing(&marks, "ten_most_frequent"), Standing::Unjudged);
    assert_eq!(standing(&marks, "most_pages_in_a_week"), Standing::Within);
    assert_eq!(standing(&marks, "most_pages_in_a_night"), Standing::Above);
}

proptest! {
    #[test]
    fn a_larger_budget_never_breaks_what_a_smaller_one_holds(
        seconds in prop::collection::vec(0_u64..2_419_200, 0..20),
        (week, night) in (0_u32..6, 0_u32..4),
    ) {
        let pages: Vec<ToldPage> = seconds
            .iter()
            .map(|s| told("a", 1, march().from + Duration::from_secs(*s), Truth::Unlabelled))
            .collect();
        let of = |per_week, per_night| {
            let figures = PageFigures::of(march(), Budget { per_week, per_night }, 1.0, &["a".to_owned()], &pages);
            figures.destinations[0].clone()
        };
        let small = of(week, night);
        prop_assert!(!small.within_budget || of(week + 1, night).within_budget);
        prop_assert!(!small.within_budget || of(week, night + 1).within_budget);
        prop_assert!(small.most_in_a_night <= small.most_in_a_week && small.most_in_a_week <= small.pages);
        let rate = small.per_week.unwrap();
        prop_assert!(rate.lower <= rate.rate && rate.rate <= rate.upper);
    }
}
