use super::*;
use tocsin_domain::{BaselineId, BundleDigest, Detector, IncidentId, Severity, ThresholdSetId};
use tocsin_judge::page::{DetectorLevel, dedup_key, page_key};
use tocsin_judge::{Role, TopBin};

pub(crate) fn page(reason: PageReason, severity: Severity) -> Page {
    let slug = |text: &str| Slug::parse("name", text).unwrap();
    let incident = IncidentId(7);
    Page {
        resent_after: 0,
        remaining: Vec::new(),
        outbox_id: 12,
        acknowledge_url: None,
        picture_url: None,
        key: page_key(incident, reason, Timestamp::from_micros(10_000_000)),
        action: reason.action(),
        created_at: Timestamp::from_micros(60_000_000),
        payload: PagePayload {
            incident_id: incident,
            site: slug("lisbon"),
            machine: slug("cnc-1"),
            class: slug("cnc"),
            severity,
            opened_at: Timestamp::from_micros(0),
            reason,
            step: Timestamp::from_micros(10_000_000),
            deciding_sensor: slug("spindle"),
            deciding_detector: Detector::OverallLevel,
            level: 2.54,
            top_bins: Vec::new(),
            top_bins_decide: false,
            detectors: Vec::new(),
            threshold_set_id: Some(ThresholdSetId(2)),
            bundle_digest: Some(BundleDigest([1; 32])),
            baseline_id: Some(BaselineId(9)),
            replay: false,
            delayed_by_ms: None,
            growth_per_day: None,
            above_alert_since: None,
            shown: None,
            line_hint: None,
            kept_by: None,
            flood: None,
            dedup_key: dedup_key(incident),
        },
    }
}

/// What is said of a page by `by`, with `bins` named bins and two other detectors.
fn explained(by: Detector, bins: usize, decide: bool) -> Vec<(&'static str, String)> {
    let mut page = page(PageReason::Opened, Severity::Page);
    let bin = TopBin {
        index: 1,
        centre: 120.0,
        axis_unit: "Hz".into(),
        error_share: 0.1,
    };
    page.payload.deciding_detector = by;
    page.payload.top_bins = vec![bin; bins];
    page.payload.top_bins_decide = decide;
    let said = [(by, 2.5), (Detector::Severity, 1.2), (Detector::Isolation, 0.34)];
    page.payload.detectors = said
        .map(|(detector, level)| DetectorLevel {
            detector,
            role: Role::Page,
            level,
        })
        .to_vec();
    page.explained()
}

#[test]
fn a_page_says_which_bins_decide_what_the_others_say_and_by_what_it_was_judged() {
    let told = explained(Detector::Growth, 7, true);
    let bin = "120.0 Hz (10 %), ".repeat(5);
    let expected = [
        (
            "stands out",
            format!("{bin}and 2 more; without these it would be below the page line"),
        ),
        ("other detectors", "severity 1.2, isolation 0.3".to_owned()),
        ("severity zone", "C".to_owned()),
        ("judged by", "limits 2, model 010101010101".to_owned()),
    ];
    assert_eq!(told, expected);
    assert!(
        explained(Detector::Growth, 1, false)[0]
            .1
            .ends_with("not known to decide alone")
    );
    assert!(
        explained(Detector::Isolation, 1, false)[0]
            .1
            .ends_with("decided on the spectrum as a whole")
    );
}

#[test]
fn a_page_says_since_when_it_has_been_so_and_how_fast_it_grows() {
    let trend = |hours: u64, growth_per_day| {
        let mut page = page(PageReason::Escalated, Severity::Page);
        page.payload.step = Timestamp::from_micros(0) + Duration::from_hours(hours);
        page.payload.above_alert_since = Some(Timestamp::from_micros(0));
        page.payload.growth_per_day = growth_per_day;
        let told = page.explained().into_iter().next().unwrap();
        assert_eq!(told.0, "trend");
        told.1
    };
    let since = "above the alert line since 1970-01-01T00:00:00Z";
    assert_eq!(
        trend(72, Some(0.42)),
        format!("{since} (for 3 d), rising by 0.4 levels a day")
    );
    assert_eq!(
        trend(72, Some(-1.0)),
        format!("{since} (for 3 d), falling by 1.0 levels a day")
    );
    assert_eq!(trend(5, Some(0.01)), format!("{since} (for 5 h), steady"));
    assert_eq!(trend(0, None), format!("{since} (for 0 s)"));
}

#[test]
fn where_and_what_are_within_the_first_120_characters_however_long_the_names() {
    for reason in [
        PageReason::Opened,
        PageReason::LevelRose,
        PageReason::AnotherSensor,
        PageReason::Cleared,
    ] {
        let mut page = page(reason, Severity::Page);
        let longest = Slug::parse("name", &"x".repeat(63)).unwrap();
        (page.payload.site, page.payload.machine) = (longest.clone(), longest);
        let summary = page.summary();
        let what = match reason {
            PageReason::LevelRose => "risen since it was acknowledged",
            PageReason::AnotherSensor => "another sensor",
            PageReason::Cleared => "cleared",
            _ => "page: overall_level of spindle",
        };
        let end = summary.find(what).unwrap() + what.len();
        assert!(summary[..end].chars().count() <= 120, "{summary}");
    }
}

#[test]
fn a_text_that_is_too_long_is_cut_between_characters_and_says_so() {
    assert_eq!(at_most("äöü", 3), "äöü");
    assert_eq!(at_most("äöüß", 3), "äö…");
}
