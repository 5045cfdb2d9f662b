use std::time::Duration;

use super::*;

const RULES: Persistence = Persistence {
    k: 5,
    n: 8,
    clear_steps: 20,
    page_clear_level: 1.5,
    alert_clear_level: 0.5,
    re_alarm_s: 14_400,
    open_min_s: 0,
    clear_min_s: 0,
};

fn at(hours: u64) -> Timestamp {
    Timestamp::from_micros(0) + Duration::from_hours(hours)
}

fn held(level: f32, sensors: &[i32]) -> Held {
    Held {
        level: Some(Level(level)),
        sensors: sensors
            .iter()
            .map(|sensor| (SensorId(*sensor), (Level(level), Detector::Growth)))
            .collect(),
    }
}

/// The next step.
fn observe(alarm: &mut ReAlarm, held: &Held) {
    let next = alarm
        .newest_step
        .map_or(at(0), |newest| newest + Duration::from_secs(10));
    alarm.observe(next, held, &RULES);
}

/// A spectrum's errors: some in every bin, and much more in these.
fn errors(bins: &[u16]) -> Vec<f32> {
    let error = |bin: u16| if bins.contains(&bin) { 50.0 } else { 0.1 };
    (0..64).map(error).collect()
}

fn shows(alarm: &mut ReAlarm, bins: &[u16], readings: usize) {
    for _ in 0..readings {
        alarm.see(SensorId(1), Detector::Growth, &errors(bins), &RULES);
    }
}

/// An incident of one sensor at level 2.5 with a line in bin 20, taken as it is.
fn taken() -> ReAlarm {
    let mut alarm = ReAlarm::default();
    observe(&mut alarm, &held(2.5, &[1]));
    shows(&mut alarm, &[20], 8);
    alarm.acknowledge();
    alarm
}

#[test]
fn what_was_acknowledged_is_not_said_again() {
    let mut alarm = taken();
    observe(&mut alarm, &held(3.4, &[1]));
    shows(&mut alarm, &[21], 8);
    assert_eq!(
        alarm.due(at(100), &RULES),
        None,
        "it rose by less than one and the line moved by one bin"
    );
}

#[test]
fn a_higher_level_another_sensor_and_other_bins_are_each_said() {
    let mut higher = taken();
    observe(&mut higher, &held(3.5, &[1]));
    assert_eq!(higher.due(at(1), &RULES), Some(Cause::LevelRose));

    let mut wider = taken();
    observe(&mut wider, &held(2.5, &[1, 2]));
    assert_eq!(wider.due(at(1), &RULES), Some(Cause::AnotherSensor(SensorId(2))));

    let mut other = taken();
    shows(&mut other, &[40], 4);
    assert_eq!(other.due(at(1), &RULES), None, "four readings");
    shows(&mut other, &[40], 2);
    assert_eq!(other.due(at(1), &RULES), Some(Cause::OtherBins(SensorId(1))));
}

#[test]
fn a_band_whose_loudest_bins_change_from_reading_to_reading_is_nothing_new() {
    let mut alarm = ReAlarm::default();
    observe(&mut alarm, &held(2.5, &[1]));
    let band = |reading: u16| -> Vec<f32> {
        let loud = |bin: u16| f32::from((bin * 7 + reading * 13) % 11);
        (0..64)
            .map(|bin| if (30..44).contains(&bin) { 1.0 + loud(bin) } else { 0.05 })
            .collect()
    };
    alarm.see(SensorId(1), Detector::Growth, &band(0), &RULES);
    alarm.acknowledge();
    for reading in 1..200 {
        alarm.see(SensorId(1), Detector::Growth, &band(reading), &RULES);
        assert_eq!(alarm.due(at(1), &RULES), None, "reading {reading}");
    }
}

#[test]
fn other_bins_of_a_sensor_that_has_recovered_are_no_news() {
    let mut alarm = taken();
    shows(&mut alarm, &[40], 8);
    observe(&mut alarm, &held(1.0, &[]));
    assert_eq!(alarm.due(at(1), &RULES), None);
    observe(&mut alarm, &held(2.5, &[1]));
    assert_eq!(alarm.due(at(1), &RULES), Some(Cause::OtherBins(SensorId(1))));
}

#[test]
fn a_second_line_as_strong_as_the_first_is_heard_and_a_weaker_one_is_not() {
    let with_second = |error: f32| {
        let mut alarm = taken();
        let mut bins = errors(&[20]);
        bins[50] = error;
        for _ in 0..100 {
            alarm.see(SensorId(1), Detector::Growth, &bins, &RULES);
        }
        alarm.due(at(1), &RULES)
    };
    assert_eq!(with_second(20.0), None);
    assert_eq!(with_second(70.0), Some(Cause::OtherBins(SensorId(1))));
}

#[test]
fn what_held_lately_is_known_though_it_was_lower_for_a_moment_and_far_up_a_level_is_little() {
    let mut alarm = ReAlarm::default();
    observe(&mut alarm, &held(4.0, &[1]));
    observe(&mut alarm, &held(2.5, &[1]));
    alarm.acknowledge();
    observe(&mut alarm, &held(4.9, &[1]));
    assert_eq!(alarm.due(at(1), &RULES), None);
    observe(&mut alarm, &held(5.0, &[1]));
    assert_eq!(alarm.due(at(1), &RULES), Some(Cause::LevelRose));
    for _ in 0..20 {
        observe(&mut alarm, &held(40.0, &[1]));
    }
    alarm.acknowledge();
    observe(&mut alarm, &held(49.0, &[1]));
    assert_eq!(alarm.due(at(1), &RULES), None);
    observe(&mut alarm, &held(50.0, &[1]));
    assert_eq!(alarm.due(at(1), &RULES), Some(Cause::LevelRose));
}

#[test]
fn another_detector_s_bins_are_no_news_and_a_sensor_that_recovered_while_held_back_is_none() {
    let mut alarm = taken();
    for _ in 0..20 {
        alarm.see(SensorId(1), Detector::Residual, &errors(&[50]), &RULES);
        assert_eq!(
            alarm.due(at(1), &RULES),
            None,
            "the network came back and sees it its own way"
        );
    }
    observe(&mut alarm, &held(2.5, &[1, 2]));
    alarm.raise(PageReason::AnotherSensor, at(1));
    alarm.acknowledge();
    observe(&mut alarm, &held(2.5, &[1, 2, 3]));
    assert_eq!(alarm.due(at(2), &RULES), None, "held back");
    observe(&mut alarm, &held(2.5, &[1]));
    assert_eq!(alarm.due(at(6), &RULES), None, "3 has recovered, and 2 was known");
    observe(&mut alarm, &held(2.5, &[1, 2, 3]));
    assert_eq!(alarm.due(at(6), &RULES), Some(Cause::AnotherSensor(SensorId(3))));
}

#[test]
fn nothing_is_said_before_somebody_took_it_nor_between_a_page_and_the_next_acknowledgement() {
    let mut alarm = ReAlarm::default();
    observe(&mut alarm, &held(2.5, &[1]));
    observe(&mut alarm, &held(9.0, &[1, 2, 3]));
    assert_eq!(alarm.due(at(1), &RULES), None);
    let mut alarm = taken();
    observe(&mut alarm, &held(4.0, &[1]));
    alarm.raise(PageReason::LevelRose, at(1));
    observe(&mut alarm, &held(9.0, &[1, 2]));
    assert_eq!(alarm.due(at(50), &RULES), None);
    alarm.acknowledge();
    assert_eq!(alarm.due(at(50), &RULES), None, "whoever took it now knows all that");
}

#[test]
fn a_reason_is_held_back_for_four_hours_and_then_said_if_it_is_still_true_and_no_other_reason_is() {
    let mut alarm = taken();
    observe(&mut alarm, &held(3.6, &[1]));
    alarm.raise(PageReason::LevelRose, at(1));
    alarm.acknowledge();
    observe(&mut alarm, &held(5.0, &[1]));
    assert_eq!(alarm.due(at(4), &RULES), None);
    assert_eq!(alarm.due(at(5), &RULES), Some(Cause::LevelRose));
    observe(&mut alarm, &held(5.0, &[1, 2]));
    assert_eq!(alarm.due(at(4), &RULES), Some(Cause::AnotherSensor(SensorId(2))));
    observe(&mut alarm, &held(3.8, &[1]));
    assert_eq!(
        alarm.due(at(5), &RULES),
        None,
        "the level went back and the sensor recovered"
    );
}

#[test]
fn it_is_kept_as_json_and_an_incident_from_before_has_an_empty_one() {
    let mut alarm = taken();
    alarm.raise(PageReason::OtherBins, at(1));
    alarm.acknowledge();
    let json = serde_json::to_string(&alarm).unwrap();
    assert_eq!(serde_json::from_str::<ReAlarm>(&json).unwrap(), alarm);
    assert!(json.len() < 1_000, "{json}");
    assert_eq!(serde_json::from_str::<ReAlarm>("{}").unwrap(), ReAlarm::default());
}
