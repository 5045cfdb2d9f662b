use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::SpectrumSpec;

use super::*;

/// When the fault begins, in seconds.
const FAULT: i64 = 1_200_000;
/// Readings of a sensor before it.
const HEALTHY: i64 = 400;
/// Machines; the first one fails.
const MACHINES: u64 = 4;

/// What a sensor of a machine reads at a moment, whoever asks how often: broadband noise, and from [`FAULT`] on half of the
/// bins rise by 12 dB within half a minute.
fn spectrum(machine: u64, sensor: u64, at: Timestamp) -> Vec<f32> {
    let mut rng = StdRng::seed_from_u64(at.as_micros() as u64 * 31 + machine * 7 + sensor);
    let since = at.as_micros() as f32 / 1e6 - FAULT as f32;
    let rise = if machine == 0 {
        1.0 + 3.0 * (since / 30.0).clamp(0.0, 1.0)
    } else {
        1.0
    };
    let gain = 0.02 * (1 + machine) as f32;
    let amplitude = |bin: usize| {
        let rise = if (8..40).contains(&bin) { rise } else { 1.0 };
        gain * rise * (1.0 + 0.3 * (rng.random::<f32>() - 0.5))
    };
    (0..64).map(amplitude).collect()
}

/// Every machine sampled at an interval, its second sensor half of it after the first, until somebody must have noticed.
fn sampled(interval_s: i64) -> Vec<MachineLife> {
    let readings = HEALTHY + 20 + 300 / interval_s;
    let row = |machine: u64, sensor: u64, reading: i64| {
        let second = (FAULT - HEALTHY * interval_s) + reading * interval_s;
        let captured_at = Timestamp::from_micros(second * 1_000_000 + sensor as i64 * interval_s * 500_000);
        Row {
            sensor: SensorName::parse(&format!("works/m{machine}/s{sensor}")).unwrap(),
            captured_at,
            bins: spectrum(machine, sensor, captured_at),
            rpm: None,
            load: None,
            label: None,
            split: None,
        }
    };
    let sensors = (0..MACHINES).flat_map(|machine| [(machine, 0), (machine, 1)]);
    let rows: Vec<Row> = sensors
        .flat_map(|(machine, sensor)| (0..readings).map(move |reading| row(machine, sensor, reading)))
        .collect();
    MachineLife::from_rows(&SpectrumSpec::corpus_default(64), &rows).unwrap()
}

/// When each machine was paged, in seconds, by a class that decides in steps of its interval, or of ten seconds.
fn pages(interval_s: i64) -> Vec<Vec<f64>> {
    let lives = sampled(interval_s);
    let rules = Rules {
        healthy_share: 0.5,
        step_s: interval_s.max(10) as f64,
        ..Rules::default()
    };
    let assets: Vec<Asset<'_>> = lives.iter().map(|life| Asset::new(life, &rules).unwrap()).collect();
    let of = |at: usize| {
        let others: Vec<&Asset<'_>> = assets[..at].iter().chain(&assets[at + 1..]).collect();
        let trial = Trial::new(&assets[at], &others, &rules).unwrap();
        let mut vigil = Vigil::new(rules.persistence, rules.step());
        let mut paged = Vec::new();
        for reading in trial.judge(&lives[at]) {
            let transition = vigil.arrive(reading).map(|(_, transition)| transition);
            if matches!(
                transition,
                Some(Transition::Opened(Severity::Page) | Transition::Escalated)
            ) {
                paged.push(reading.key.captured_at.as_micros() as f64 / 1e6 - FAULT as f64);
            }
        }
        paged
    };
    (0..lives.len()).map(of).collect()
}

#[test]
fn a_fault_is_paged_once_and_at_the_same_time_however_often_it_is_sampled() {
    let intervals = [1, 10, 600];
    let paged = intervals.map(|interval| {
        let pages = pages(interval);
        assert_eq!(pages[0].len(), 1, "every {interval} s: {pages:?}");
        assert!(pages[1..].iter().all(Vec::is_empty), "every {interval} s: {pages:?}");
        pages[0][0]
    });
    assert!(paged.iter().all(|after| *after > 0.0), "{paged:?}");
    for (at, one) in paged.iter().enumerate() {
        for (interval, other) in intervals[at..].iter().zip(&paged[at..]) {
            let apart = (one - other).abs();
            assert!(apart <= (6 * *interval) as f64 || apart <= 60.0, "{paged:?}");
        }
    }
}
