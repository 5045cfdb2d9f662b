use super::*;
use tocsin_judge::Persistence;
use tocsin_judge::expected::{EventRates, Rate};

fn set(residual: f64, growth: f64) -> ThresholdSet {
    let member = |detector, line: f64| Member {
        detector,
        role: Role::Page,
        alert_line: line,
        page_line: 1.5 * line,
        page_line_supported: true,
        tail: None,
    };
    ThresholdSet {
        members: vec![member(Detector::Residual, residual), member(Detector::Growth, growth)],
        without_network: vec![member(Detector::Growth, growth)],
        persistence: Persistence::default(),
    }
}

fn events(pages: f64) -> Expected {
    let rate = Rate {
        rate: pages,
        lower: 0.0,
        upper: pages + 1.0,
    };
    Expected {
        readings: 100,
        machines: 5,
        sites: 1,
        persons: 1,
        machine_hours: 24.0,
        pages: EventRates {
            events: 1,
            per_machine_year: Some(rate),
            per_site_day: Some(rate),
            per_person_week: Some(rate),
        },
        alerts: EventRates::default(),
    }
}

fn expected(pages: f64) -> ExpectedPages {
    ExpectedPages {
        in_sample: true,
        machines_left_out: 0,
        expected: events(pages),
        budget: None,
        candidates: Vec::new(),
    }
}

fn sensor(number: i32, finding: &str, recent_db: f32) -> SensorMove {
    SensorMove {
        sensor: SensorId(number),
        finding: finding.to_owned(),
        held: false,
        recent_db,
    }
}

const ON: fn() -> Policy = || Policy {
    activate: true,
    ..Policy::default()
};

/// What a decision says of limits that are all right but for what `change` does.
fn decided(policy: &Policy, new: &ThresholdSet, change: impl FnOnce(&mut Facts<'_>)) -> PolicyDecision {
    let (anchor, expected) = (set(1.0, 1.0), expected(0.05));
    let mut facts = Facts {
        set: new,
        anchor: Some((ThresholdSetId(1), &anchor)),
        in_force: ThresholdSetId(2),
        taken_back: None,
        expected: Some(&expected),
        sensors: vec![
            sensor(1, "drift", 1.5),
            sensor(2, "drift", 1.4),
            sensor(3, "steady", 0.2),
        ],
        replayed: Ok(ReplayedPages {
            expected: events(0.05),
            in_force: events(0.05),
            pages_lost: 0,
            false_alarms_lost: 2,
        }),
    };
    change(&mut facts);
    decide(policy, facts, Timestamp::MIN)
}

fn only_reason(decision: &PolicyDecision) -> &str {
    assert_eq!(decision.waits_for.len(), 1, "{:?}", decision.waits_for);
    assert!(!decision.activated);
    &decision.waits_for[0]
}

#[test]
fn lines_that_moved_by_less_than_3_db_with_their_class_come_into_force() {
    let decision = decided(&ON(), &set(1.4, 0.8), |_| {});
    assert_eq!((decision.activated, &decision.waits_for[..]), (true, &[][..]));
    assert!((decision.members[0].alert_db - 20.0 * 1.4f64.log10()).abs() < 1e-9);
    assert_eq!((decision.members.len(), decision.sensors.sensors), (3, 3));
    assert_eq!(
        (decision.sensors.median_db, decision.counted_from),
        (1.4, Some(ThresholdSetId(1)))
    );
}

#[test]
fn lines_that_moved_further_wait_in_either_direction_and_name_the_detector() {
    for (new, name) in [
        (set(1.0, 1.42), "growth"),
        (set(0.7, 1.0), "residual"),
        (set(1.0, -1.0), "growth"),
    ] {
        let decision = decided(&ON(), &new, |_| {});
        let reason = only_reason(&decision);
        assert!(reason.starts_with(name) && reason.contains("at most 3"), "{reason}");
    }
}

#[test]
fn nothing_comes_into_force_unless_that_was_opted_in_to() {
    let decision = decided(&Policy::default(), &set(1.0, 1.0), |_| {});
    assert_eq!(only_reason(&decision), "recalibrator.policy.activate is off");
}

#[test]
fn each_other_reason_to_wait_is_told() {
    let new = set(1.1, 1.1);
    let reason = |change: fn(&mut Facts<'_>)| only_reason(&decided(&ON(), &new, change)).to_owned();
    assert!(reason(|facts| facts.anchor = None).contains("no person"));
    assert!(reason(|facts| facts.taken_back = Some(ThresholdSetId(3))).contains("took back set 3"));
    assert!(reason(|facts| facts.expected = None).contains("how many pages"));
    assert!(reason(|facts| facts.sensors[2].held = true).contains("1 of 3 sensors"));
    assert!(reason(|facts| facts.sensors[0].finding = "suspicion".to_owned()).contains("not common"));
    assert!(reason(|facts| facts.sensors[0].recent_db = 3.2).starts_with("sensor 1 stands 3.2 dB"));
    assert!(reason(|facts| facts.replayed = Err("they judge other scores".to_owned())).contains("other scores"));
    let lost = reason(|facts| facts.replayed.as_mut().unwrap().pages_lost = 1);
    assert!(lost.starts_with("1 pages of the window would be lost"), "{lost}");
    let many = expected(0.2);
    let over = decided(&ON(), &new, |facts| facts.expected = Some(Box::leak(Box::new(many))));
    assert!(only_reason(&over).contains("0.200 pages are expected, the budget is 0.1 pages per site-day"));
}

#[test]
fn other_roles_rules_or_unsupported_page_lines_wait_for_a_person() {
    let mut roles = set(1.0, 1.0);
    roles.members[0].role = Role::Alert;
    assert!(only_reason(&decided(&ON(), &roles, |_| {})).contains("roles differ"));
    let mut rules = set(1.0, 1.0);
    rules.persistence.k -= 1;
    assert!(only_reason(&decided(&ON(), &rules, |_| {})).contains("persistence"));
    let mut thin = set(1.0, 1.0);
    thin.members[1].page_line_supported = false;
    assert!(only_reason(&decided(&ON(), &thin, |_| {})).contains("growth: too little"));
}
