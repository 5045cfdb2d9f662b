use proptest::prelude::*;

use super::*;
use crate::signal::tests::{at, heard};
use crate::signal::{first, hear};

const DECLARED: Duration = Duration::from_secs(10);

/// A sensor of machine and gateway 1 that was heard every `every` seconds up to `last`, its spectrum changing.
fn sensor(id: i32, every: i64, last: i64) -> WatchedSensor {
    let mut signal = first(SensorId(id), &heard(last - 5 * every, last - 5 * every, 0));
    for n in 1..=5 {
        let time = last - (5 - n) * every;
        hear(&mut signal, &heard(time, time, n));
    }
    WatchedSensor {
        signal,
        machine: MachineId(1),
        declared: DECLARED,
    }
}

fn on(machine: i32, watched: WatchedSensor) -> WatchedSensor {
    WatchedSensor {
        machine: MachineId(machine),
        ..watched
    }
}

fn stands(stopped: bool, mut watched: WatchedSensor) -> WatchedSensor {
    watched.signal.stopped = Some(stopped);
    watched
}

/// Subjects that a round raises with nothing open, after a long watch.
fn raised(sensors: &[WatchedSensor], now: i64) -> Vec<SensorAlarmSubject> {
    let changes = round(sensors, &[], at(-100_000), at(now));
    let subjects = changes.into_iter().map(|change| match change {
        SensorAlarmChange::Raise { subject, .. } => subject,
        other => panic!("{other:?} with nothing open"),
    });
    subjects.collect()
}

fn alarm(subject: SensorAlarmSubject, raised: i64, since: i64, returned: Option<i64>) -> OpenSensorAlarm {
    OpenSensorAlarm {
        id: 9,
        subject,
        raised_at: at(raised),
        since: at(since),
        returned_at: returned.map(at),
    }
}

const SILENT_1: SensorAlarmSubject = SensorAlarmSubject::Silent(SensorId(1));
const GATEWAY: SensorAlarmSubject = SensorAlarmSubject::Gateway(TokenId(1));

#[test]
fn a_sensor_is_silent_after_five_of_its_own_intervals_and_a_minute_at_least() {
    let fast = [sensor(1, 10, 0), sensor(2, 10, 60)];
    assert_eq!(raised(&fast, 60), []);
    assert_eq!(raised(&fast, 61), [SILENT_1]);
    let slow = [sensor(1, 600, 0), sensor(2, 600, 3_000)];
    assert_eq!(raised(&slow, 3_000), []);
    assert_eq!(raised(&slow, 3_001), [SILENT_1]);
}

#[test]
fn a_gateway_of_which_nothing_comes_is_one_alarm_whatever_its_sensors_intervals() {
    let mixed = [sensor(1, 10, 0), sensor(2, 10, -3), sensor(3, 100, -50)];
    assert_eq!(raised(&mixed, 61), [], "the slow one is not due: it may be the gateway");
    assert_eq!(raised(&mixed, 149), []);
    assert_eq!(raised(&mixed, 151), [GATEWAY]);
    assert_eq!(raised(&mixed, 100_000), [GATEWAY]);
}

#[test]
fn a_sensor_is_missed_once_another_of_its_gateway_has_come_without_it() {
    let unsaid = [sensor(1, 10, 0), sensor(2, 100, -5)];
    assert_eq!(raised(&unsaid, 90), []);
    let told = [sensor(1, 10, 0), sensor(2, 100, 95)];
    assert_eq!(raised(&told, 96), [SILENT_1]);
}

#[test]
fn a_gateway_with_one_sensor_is_that_sensor_and_other_gateways_tell_nothing() {
    let mut other = [sensor(1, 10, 0), sensor(2, 10, 100), sensor(3, 10, 100)];
    for watched in &mut other[1..] {
        watched.signal.gateway = Some(TokenId(2));
    }
    assert_eq!(raised(&other, 100), [SILENT_1]);
    other[0].signal.gateway = None;
    assert_eq!(raised(&other, 100), [SILENT_1]);
}

#[test]
fn a_machine_that_stands_still_is_suspended_by_any_of_its_sensors_that_tells_it_last() {
    let still = [
        sensor(1, 10, 0),
        stands(true, sensor(2, 10, 0)),
        on(2, sensor(3, 10, 100)),
    ];
    assert_eq!(raised(&still, 100), []);
    let mut runs_again = stands(false, sensor(2, 10, 0));
    runs_again.signal.captured_at = at(1);
    let runs = [stands(true, sensor(1, 10, 0)), runs_again, on(2, sensor(3, 10, 100))];
    assert_eq!(raised(&runs, 100).len(), 2);
    let all_still = [stands(true, sensor(1, 10, 0)), sensor(2, 10, 0)];
    assert_eq!(
        raised(&all_still, 100_000),
        [],
        "a gateway of machines that stand still"
    );
}

#[test]
fn time_in_which_nobody_watched_does_not_count() {
    let fast = [sensor(1, 10, 0), sensor(2, 10, 1_030)];
    let after = |now| round(&fast, &[], at(1_000), at(now)).len();
    assert_eq!((after(1_060), after(1_061)), (0, 1));
}

#[test]
fn an_alarm_returns_by_a_reading_alone_and_is_raised_again_as_the_same() {
    let active = [alarm(SILENT_1, 61, 0, None)];
    let quiet = [sensor(1, 10, 0), sensor(2, 10, 200)];
    assert_eq!(round(&quiet, &active, at(-1_000), at(200)), []);
    assert_eq!(round(&quiet, &active, at(200), at(200)), [], "nor by a new watch");
    let back = [sensor(1, 10, 199), sensor(2, 10, 200)];
    assert_eq!(
        round(&back, &active, at(-1_000), at(200)),
        [SensorAlarmChange::Return { id: 9 }]
    );
    let returned = [alarm(SILENT_1, 61, 0, Some(200))];
    let gone_again = [sensor(1, 10, 199), sensor(2, 10, 300)];
    let since = at(199);
    assert_eq!(
        round(&gone_again, &returned, at(-1_000), at(300)),
        [SensorAlarmChange::RaiseAgain { id: 9, since }]
    );
}

#[test]
fn a_gateway_that_is_back_gives_its_sensors_time_to_come() {
    let active = [alarm(GATEWAY, 61, 0, None)];
    let one_came = [sensor(1, 10, 500), sensor(2, 10, 0), sensor(3, 10, 0)];
    assert_eq!(
        round(&one_came, &active, at(-1_000), at(501)),
        [SensorAlarmChange::Return { id: 9 }]
    );
    let returned = [alarm(GATEWAY, 61, 0, Some(501))];
    let later = [sensor(1, 10, 560), sensor(2, 10, 0), sensor(3, 10, 555)];
    assert_eq!(round(&later, &returned, at(-1_000), at(561)), []);
    assert_eq!(
        round(&later, &returned, at(-1_000), at(562)),
        [SensorAlarmChange::Raise {
            subject: SensorAlarmSubject::Silent(SensorId(2)),
            since: at(0)
        }]
    );
    let mut moved = one_came;
    for watched in &mut moved {
        watched.signal.gateway = Some(TokenId(2));
        watched.signal.received_at = at(50);
    }
    let changes = round(&moved, &active, at(500), at(501));
    assert_eq!(
        changes,
        [SensorAlarmChange::Return { id: 9 }],
        "its sensors come by another"
    );
}

#[test]
fn the_same_spectrum_again_and_again_is_a_stuck_sensor_until_another_comes() {
    let subject = SensorAlarmSubject::Stuck(SensorId(1));
    let stuck = |count: i64, every: i64| {
        let mut watched = sensor(1, every, 0);
        for n in 1..count {
            hear(&mut watched.signal, &heard(n * every, n * every, 5));
        }
        watched
    };
    let now = |watched: &WatchedSensor| watched.signal.received_at;
    let of = |watched: WatchedSensor| {
        let time = now(&watched);
        round(&[watched], &[], at(-1_000), time)
    };
    assert_eq!(of(stuck(20, 10)), [], "for ten minutes");
    assert_eq!(of(stuck(19, 60)), [], "and twenty times");
    assert_eq!(of(stuck(61, 10)), [SensorAlarmChange::Raise { subject, since: at(0) }]);
    assert_eq!(of(stands(true, stuck(61, 10))), []);

    let active = [alarm(subject, 600, 0, None)];
    let mut watched = stuck(70, 10);
    assert_eq!(round(std::slice::from_ref(&watched), &active, at(-1_000), at(690)), []);
    hear(&mut watched.signal, &heard(700, 700, 6));
    assert_eq!(
        round(&[watched], &active, at(-1_000), at(700)),
        [SensorAlarmChange::Return { id: 9 }]
    );
}

proptest! {
    #[test]
    fn a_sensor_and_its_gateway_are_never_raised_together_and_no_data_returns_nothing(
        sensors in prop::collection::vec((1_i64..300, -2_000_i64..0, 1_i32..3, any::<bool>()), 1..12),
        now in 0_i64..3_000,
        active in any::<bool>(),
    ) {
        let sensors: Vec<WatchedSensor> = sensors.iter().zip(1..).map(|((every, last, machine, still), id)| {
            let watched = on(*machine, sensor(id, *every, *last));
            if *still { stands(true, watched) } else { watched }
        }).collect();
        let open = if active { vec![alarm(GATEWAY, 0, -3_000, None)] } else { Vec::new() };
        let changes = round(&sensors, &open, at(-10_000), at(now));
        let has_gateway = changes.iter().any(|c| matches!(c, SensorAlarmChange::Raise { subject: SensorAlarmSubject::Gateway(_), .. }));
        let has_sensor = changes.iter().any(|c| matches!(c, SensorAlarmChange::Raise { subject: SensorAlarmSubject::Silent(_), .. }));
        prop_assert!(!(has_gateway && has_sensor));
        let has_return = changes.iter().any(|c| matches!(c, SensorAlarmChange::Return { .. }));
        prop_assert!(!has_return);
    }
}
