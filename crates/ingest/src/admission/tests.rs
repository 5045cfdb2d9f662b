use std::time::Duration;

use tocsin_contracts::ingest::v1;
use tocsin_contracts::time::to_wire;

use super::*;
use crate::fixture::{self, BINS, now, reading};

fn terms(stream: StreamProperties) -> Terms {
    Terms {
        gateway: Arc::new(fixture::gateway()),
        stream,
        newest: NewestCaptures::default(),
    }
}

async fn admit_all(readings: Vec<v1::Reading>, terms: &Terms) -> Admitted {
    let readings = readings.into_iter().map(SentReading::try_from).collect();
    admit(readings, &fixture::site(), terms, now()).await
}

fn captured(at: Timestamp) -> v1::Reading {
    v1::Reading {
        captured_at: Some(to_wire(at)),
        ..good()
    }
}

fn good() -> v1::Reading {
    reading("m1/s1", Duration::from_secs(1))
}

fn with_bin(value: f32) -> v1::Reading {
    let mut bins = vec![0.5; BINS];
    bins[7] = value;
    v1::Reading { bins, ..good() }
}

fn with_condition(rpm: Option<f32>, load: Option<f32>) -> v1::Reading {
    v1::Reading {
        condition: Some(v1::Condition {
            rpm,
            load,
            ..v1::Condition::default()
        }),
        ..good()
    }
}

fn level(name: &str, value: f32, unit: &str) -> v1::OverallLevel {
    v1::OverallLevel {
        name: name.to_owned(),
        value,
        unit: unit.to_owned(),
    }
}

fn with_level(name: &str, value: f32, unit: &str) -> v1::Reading {
    v1::Reading {
        overall: vec![level(name, value, unit)],
        ..good()
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of bad readings")]
async fn every_bad_reading_is_named_by_its_place_code_and_field_while_the_good_ones_go_on() {
    use RejectionCode::{Malformed, OutOfTime, UnknownSensor};
    let (day, seconds) = (Duration::from_hours(24), Duration::from_secs);
    let bad = [
        (
            v1::Reading {
                sensor: "spindle".to_owned(),
                ..good()
            },
            Malformed,
            "sensor",
        ),
        (
            v1::Reading {
                sensor: "M1/s1".to_owned(),
                ..good()
            },
            Malformed,
            "sensor",
        ),
        (
            v1::Reading {
                sensor: "m0/gone".to_owned(),
                ..good()
            },
            UnknownSensor,
            "sensor",
        ),
        (
            v1::Reading {
                captured_at: None,
                ..good()
            },
            Malformed,
            "captured_at",
        ),
        (
            v1::Reading {
                bins: vec![0.5; BINS - 1],
                ..good()
            },
            Malformed,
            "bins",
        ),
        (
            v1::Reading {
                bins: Vec::new(),
                ..good()
            },
            Malformed,
            "bins",
        ),
        (with_bin(f32::NAN), Malformed, "bins[7]"),
        (with_bin(f32::INFINITY), Malformed, "bins[7]"),
        (with_bin(-0.1), Malformed, "bins[7]"),
        (
            v1::Reading {
                db_reference: Some(0.0),
                ..good()
            },
            Malformed,
            "db_reference",
        ),
        (
            v1::Reading {
                db_reference: Some(f64::NAN),
                ..good()
            },
            Malformed,
            "db_reference",
        ),
        (
            v1::Reading {
                db_reference: Some(1e-6),
                ..with_bin(f32::NAN)
            },
            Malformed,
            "bins[7]",
        ),
        (with_condition(Some(-1.0), None), Malformed, "condition.rpm"),
        (with_condition(None, Some(f32::INFINITY)), Malformed, "condition.load"),
        (with_level("", 1.0, ""), Malformed, "overall[0].name"),
        (with_level("velocity_rms", 1.0, "furlong"), Malformed, "overall[0].unit"),
        (with_level("velocity_rms", 1.0, "g"), Malformed, "overall.velocity_rms"),
        (
            with_level("velocity_rms", f32::NAN, ""),
            Malformed,
            "overall.velocity_rms",
        ),
        (with_level("velocity_rms", -0.1, ""), Malformed, "overall.velocity_rms"),
        (with_level("undeclared", 1.0, ""), Malformed, "overall.undeclared"),
        (captured(now() - day - seconds(1)), OutOfTime, "captured_at"),
        (captured(now() + seconds(61)), OutOfTime, "captured_at"),
        (captured(Timestamp::from_micros(0)), OutOfTime, "captured_at"),
        (
            captured(Timestamp::from_micros(4_102_444_800_000_000)),
            OutOfTime,
            "captured_at",
        ),
    ];
    let mut readings = vec![good()];
    for (reading, _, _) in &bad {
        readings.extend([reading.clone(), good()]);
    }
    let admitted = admit_all(readings, &terms(StreamProperties::default())).await;
    let found: Vec<_> = admitted
        .rejections
        .iter()
        .map(|r| (r.index, r.code(), r.field.as_str()))
        .collect();
    let expected: Vec<_> = (0u32..)
        .zip(&bad)
        .map(|(i, (_, code, field))| (2 * i + 1, *code, *field))
        .collect();
    assert_eq!(found, expected);
    assert!(admitted.rejections.iter().all(|rejection| !rejection.reason.is_empty()));
    assert_eq!(
        admitted.places,
        (0..=bad.len() as u32).map(|i| 2 * i).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_good_reading_becomes_its_canonical_form_at_its_place() {
    let sent = v1::Reading {
        bins: vec![20.0; BINS],
        ..with_condition(Some(1480.0), Some(0.5))
    };
    let decibels = v1::Reading {
        db_reference: Some(1.0),
        bins: vec![20.0; BINS],
        ..good()
    };
    let admitted = admit_all(vec![sent, decibels], &terms(StreamProperties::default())).await;
    let [linear, decibels] = &admitted.readings[..] else {
        panic!("both are good: {:?}", admitted.rejections);
    };
    assert_eq!((linear.sensor_id, linear.machine_id, linear.class_id), (5, 1, 1));
    assert_eq!(linear.captured_at_us, (now() - Duration::from_secs(1)).as_micros());
    assert_eq!(
        (&linear.codes, linear.clipped, linear.full_scale),
        (&vec![255; BINS], true, 10.0)
    );
    assert_eq!((linear.rpm, linear.load), (Some(1480.0), Some(0.5)));
    // 20 dB re 1 g is 10 g: full scale to the dot.
    assert_eq!((&decibels.codes, decibels.rpm), (&vec![255; BINS], None));
}

#[tokio::test]
async fn overall_levels_go_on_canonical_and_in_the_declared_order() {
    let some = v1::Reading {
        overall: vec![
            level("temperature", 40.0, ""),
            level("velocity_rms", 0.5, "inch_per_second"),
        ],
        ..good()
    };
    let one = with_level("temperature", 313.0, "kelvin");
    let admitted = admit_all(vec![some, one, good()], &terms(StreamProperties::default())).await;
    let overall: Vec<_> = admitted
        .readings
        .iter()
        .map(|reading| reading.overall.clone())
        .collect();
    assert_eq!(overall[0], [12.7, 40.0]);
    assert!(
        overall[1][0].is_nan() && (overall[1][1] - 39.85).abs() < 1e-4,
        "{overall:?}"
    );
    assert!(overall[2].is_empty());
}

#[tokio::test]
async fn readings_go_on_in_capture_order_and_keep_their_places() {
    let seconds = |s| reading("m1/s1", Duration::from_secs(s));
    let readings = vec![seconds(3), seconds(9), seconds(3), seconds(5)];
    let admitted = admit_all(readings, &terms(StreamProperties::default())).await;
    assert_eq!(admitted.places, [1, 3, 0, 2]);
    assert!(admitted.readings.is_sorted_by_key(|reading| reading.captured_at_us));
}

#[tokio::test]
async fn history_may_be_old_but_neither_insane_nor_in_the_future() {
    let years = |years: u64| Duration::from_secs(years * 365 * 86_400);
    let historical = terms(StreamProperties {
        historical: true,
        ..StreamProperties::default()
    });
    let readings = vec![
        captured(now() - years(10)),
        captured(now() - years(40)),
        captured(now() + Duration::from_secs(61)),
    ];
    let admitted = admit_all(readings, &historical).await;
    assert_eq!(admitted.places, [0]);
}

#[tokio::test]
async fn on_the_capture_clock_the_future_is_bounded_too() {
    // Nothing a machine sends afterwards would be newer.
    let replay = terms(StreamProperties {
        clock_is_capture: true,
        ..StreamProperties::default()
    });
    let readings = vec![captured(now() + Duration::from_secs(61)), captured(now())];
    assert_eq!(admit_all(readings, &replay).await.places, [1]);
}

#[tokio::test]
async fn on_the_capture_clock_only_a_machines_own_newest_reading_bounds_the_past() {
    let replay = terms(StreamProperties {
        clock_is_capture: true,
        ..StreamProperties::default()
    });
    let (start, hour) = (Timestamp::from_micros(1_000_000_000_000_000), Duration::from_hours(1));
    let at = |machine: &str, time| v1::Reading {
        sensor: format!("{machine}/s0"),
        ..captured(time)
    };
    let readings = vec![
        at("m1", start),
        at("m1", start + hour * 1_000),
        // Behind by less than the site's day, and by more.
        at("m1", start + hour * 977),
        at("m1", start + hour * 975),
        // Another machine has its own clock.
        at("m2", start),
        at("m2", Timestamp::from_micros(0)),
    ];
    let admitted = admit_all(readings, &replay).await;
    let rejected: Vec<_> = admitted.rejections.iter().map(|r| (r.index, r.code())).collect();
    assert_eq!(rejected, [(3, RejectionCode::OutOfTime), (5, RejectionCode::OutOfTime)]);
    // A later batch of the same stream is held against the same times, one of another stream is not.
    assert_eq!(admit_all(vec![at("m1", start)], &replay).await.rejections.len(), 1);
    let again = Terms {
        newest: NewestCaptures::default(),
        ..replay
    };
    assert!(admit_all(vec![at("m1", start)], &again).await.rejections.is_empty());
}
