use proptest::prelude::*;
use tocsin_domain::{Condition, DeclaredState, Detector, UnjudgedReason};

use super::*;

fn placed() -> impl Strategy<Value = PlacedReading> {
    let place = (any::<i32>(), any::<i32>(), any::<i32>(), 1e-3f32..1e3);
    let micros = Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros();
    let codes = prop::collection::vec(any::<u8>(), 1..128);
    let states = vec![DeclaredState::Running, DeclaredState::Stopped, DeclaredState::Transient];
    let state = prop::option::of(prop::sample::select(states));
    let condition = (prop::option::of(0f32..1e5), prop::option::of(-1e3f32..1e3), state);
    let overall = prop::collection::vec(prop::option::of(-1e3f32..1e3), 0..4);
    (place, micros, codes, any::<bool>(), condition, overall).prop_map(
        |((sensor, machine, class, full_scale), micros, codes, clipped, (rpm, load, state), overall)| PlacedReading {
            reading: Reading {
                key: ReadingKey {
                    sensor: SensorId(sensor),
                    captured_at: Timestamp::from_micros(micros),
                },
                spectrum: CanonicalSpectrum::from_codes(codes),
                clipped,
                condition: Condition { rpm, load, state },
                overall,
            },
            machine: MachineId(machine),
            class: ClassId(class),
            spec: (sensor % 3 != 0).then_some(SpecId(sensor)),
            full_scale,
        },
    )
}

proptest! {
    #[test]
    fn an_assessment_survives_the_wire(
        readings in prop::collection::vec(placed(), 0..8),
        clock_is_capture: bool,
        historical: bool,
    ) {
        let assessment =
            Assessment {
                readings, received_at: Timestamp::from_micros(7), clock_is_capture, historical,
                gateway: historical.then_some(TokenId(3)),
            };
        prop_assert_eq!(Assessment::try_from(v1::AssessRequest::from(assessment.clone())).unwrap(), assessment);
    }
}

#[test]
fn a_level_the_reading_does_not_have_stays_absent_and_keeps_the_content_hash() {
    let wire = v1::AssessReading {
        codes: vec![1; 64],
        full_scale: 10.0,
        overall: vec![f32::NAN, 1.5],
        ..Default::default()
    };
    let placed = PlacedReading::try_from(wire).unwrap();
    assert_eq!(placed.reading.overall, [None, Some(1.5)]);
    let again = PlacedReading::try_from(v1::AssessReading::from(placed.clone())).unwrap();
    assert_eq!(again.reading.content_hash(), placed.reading.content_hash());
}

#[test]
fn what_is_wrong_with_a_reading_is_named_by_its_place() {
    let good = v1::AssessReading {
        codes: vec![1; 64],
        full_scale: 10.0,
        ..v1::AssessReading::default()
    };
    let cases = [
        (
            v1::AssessReading {
                codes: vec![],
                ..good.clone()
            },
            "readings[1].codes",
        ),
        (
            v1::AssessReading {
                full_scale: 0.0,
                ..good.clone()
            },
            "readings[1].full_scale",
        ),
        (
            v1::AssessReading {
                overall: vec![f32::INFINITY],
                ..good.clone()
            },
            "readings[1].overall[0]",
        ),
        (
            v1::AssessReading {
                captured_at_us: i64::MIN,
                ..good.clone()
            },
            "readings[1].captured_at_us",
        ),
        (
            v1::AssessReading {
                rpm: Some(f32::NAN),
                ..good.clone()
            },
            "readings[1].condition.rpm",
        ),
    ];
    for (bad, field) in cases {
        let request = v1::AssessRequest {
            readings: vec![good.clone(), bad],
            ..v1::AssessRequest::default()
        };
        assert_eq!(Assessment::try_from(request).unwrap_err().field, field);
    }
}

#[test]
fn an_outcome_survives_the_wire() {
    let outcomes = [
        ReadingOutcome::Stored {
            verdict: Verdict::Page { by: Detector::Residual },
        },
        ReadingOutcome::Stored {
            verdict: Verdict::Unjudged {
                reason: UnjudgedReason::Stopped,
            },
        },
        ReadingOutcome::Duplicate,
        ReadingOutcome::Conflict,
        ReadingOutcome::NotStored {
            reason: "the archive has passed this day".into(),
        },
    ];
    for outcome in outcomes {
        assert_eq!(
            ReadingOutcome::try_from(v1::Outcome::from(outcome.clone())),
            Ok(outcome)
        );
    }
    let strange = v1::Outcome {
        kind: 77,
        ..v1::Outcome::default()
    };
    assert_eq!(ReadingOutcome::try_from(strange).unwrap_err().field, "kind");
    let verdict = v1::Outcome {
        kind: v1::OutcomeKind::Stored.into(),
        verdict: 70_000,
        ..v1::Outcome::default()
    };
    assert_eq!(ReadingOutcome::try_from(verdict).unwrap_err().field, "verdict");
}
