//! A simulated fleet from its first reading to its last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_detect::drift::FollowRule;
use tocsin_detect::{Commissioned, Fleet as Pool, Reference, Rows, log_spectrum_into};
use tocsin_domain::{Condition, Detector, OperatingState, ReadingKey, SensorId};
use tocsin_judge::fleet_replay::{History, largest_kth_of_n};
use tocsin_judge::{FleetReplay, Persistence, ThresholdSet};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

use super::budget::within;
use super::watched::{Canonical, Outcome, Watched, follow_together};

/// Readings that commission a sensor: evenly spread over its first day.
const COMMISSIONING: usize = 400;

/// A machine with its sensors commissioned.
struct Ready {
    commissioned: Vec<Commissioned>,
    linear: Vec<Vec<f32>>,
    conditions: Vec<Condition>,
}

/// Commissions until `commissioned`, sets limits until `limited`, and judges the rest, day by day.
pub(crate) fn judge(
    fleet: &Fleet,
    method: &FleetReplay,
    pages_per_day: Option<f64>,
    (commissioned, limited): (Duration, Duration),
    follow: Option<FollowRule>,
) -> Result<Vec<Outcome>> {
    let interval = fleet.config().interval;
    let steps = |length: Duration| (length.as_micros() / interval.as_micros()) as u64;
    let (commissioned, limited) = (steps(commissioned), steps(limited));
    eprintln!("commissioning {} machines", fleet.machines().len());
    let ready = in_parallel(fleet.machines(), |machine| commission(fleet, machine, commissioned))?;
    let references: Vec<Vec<Reference>> = references(fleet, &ready)?;
    eprintln!("setting limits");
    let places: Vec<usize> = (0..references.len()).collect();
    let largest = in_parallel(&places, |at| {
        Ok(history(
            fleet,
            &fleet.machines()[*at],
            &references[*at],
            commissioned..limited,
        ))
    })?;
    let limits = Class::ALL.map(|class| match pages_per_day {
        Some(pages) => {
            let share = pages / Class::ALL.len() as f64;
            within(
                share,
                (fleet, class),
                (&largest, &references),
                method,
                &(commissioned..limited),
            )
        }
        None => limits(fleet, class, &largest, method),
    });
    eprintln!("judging");
    let watched = in_parallel(&places, |at| {
        let machine = &fleet.machines()[*at];
        let limits = limits[machine.class() as usize]
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut watched = Watched::new(fleet, machine, references[*at].clone(), limits);
        watched.settle(commissioned..limited)?;
        Ok(Mutex::new(watched))
    })?;
    let day = steps(Duration::from_hours(24));
    for from in (limited..fleet.config().steps()).step_by(day as usize) {
        in_parallel(&watched, |machine| locked(machine).judge(from..from + day))?;
        if let Some(rule) = follow {
            for class in Class::ALL {
                let of_class = watched.iter().map(locked).filter(|machine| machine.class() == class);
                follow_together(&mut of_class.collect::<Vec<_>>(), rule)?;
            }
        }
    }
    Ok(watched
        .into_iter()
        .map(|machine| machine.into_inner().expect("nobody panicked").outcome)
        .collect())
}

fn locked<'a, 'b>(machine: &'a Mutex<Watched<'b>>) -> MutexGuard<'a, Watched<'b>> {
    machine.lock().expect("nobody panicked")
}

fn commission(fleet: &Fleet, machine: &Machine, steps: u64) -> Result<Ready> {
    let bins = usize::from(fleet.spec().bins);
    let sensors = fleet.row_length() / bins;
    let mut linear = vec![Vec::new(); sensors];
    let mut conditions = Vec::new();
    let stride = (steps / COMMISSIONING as u64).max(1);
    let mut row = Canonical::new(fleet);
    for step in (0..steps).step_by(stride as usize) {
        let mut stream = machine.stream_steps(step..step + 1);
        if let Some(reading) = stream.next_into(&mut row.bins) {
            conditions.push(reading.condition);
            row.quantise();
            for (sensor, spectrum) in row.bins.chunks_exact(bins).enumerate() {
                linear[sensor].extend_from_slice(spectrum);
            }
        }
    }
    let fit = |linear: &Vec<f32>| {
        let mut log = vec![0.0; linear.len()];
        log_spectrum_into(linear, fleet.spec().canonical_s0(), &mut log);
        Commissioned::fit(Rows::new(&log, bins)?, &conditions)
    };
    let commissioned = linear.iter().map(fit).collect::<Result<_, _>>();
    Ok(Ready {
        commissioned: commissioned.with_context(|| machine.name().to_string())?,
        linear,
        conditions,
    })
}

fn references(fleet: &Fleet, ready: &[Ready]) -> Result<Vec<Vec<Reference>>> {
    let pools = Class::ALL.map(|class| {
        let of_class = fleet
            .machines()
            .iter()
            .zip(ready)
            .filter(|(machine, _)| machine.class() == class);
        Pool::of(of_class.flat_map(|(_, ready)| &ready.commissioned))
    });
    let of_machine = |(machine, ready): (&Machine, &Ready)| -> Result<Vec<Reference>> {
        let pool = pools[machine.class() as usize].as_ref();
        let sensors = ready.commissioned.iter().zip(&ready.linear);
        let reference = |(commissioned, linear): (&Commissioned, &Vec<f32>)| {
            let rows = Rows::new(linear, commissioned.median().len())?;
            Reference::new(
                commissioned,
                rows,
                &ready.conditions,
                pool,
                tocsin_detect::baseline::KAPPA,
            )
        };
        Ok(sensors.map(reference).collect::<Result<_, _>>()?)
    };
    fleet.machines().iter().zip(ready).map(of_machine).collect()
}

/// The largest k-th of n of each detector over a machine's healthy steps.
fn history(fleet: &Fleet, machine: &Machine, references: &[Reference], steps: std::ops::Range<u64>) -> Largest {
    let rules = Persistence::default();
    let bins = usize::from(fleet.spec().bins);
    let mut histories: [History; Detector::COUNT] = Default::default();
    let mut row = Canonical::new(fleet);
    let (mut log, mut z) = (vec![0.0; bins], vec![0.0; bins]);
    let mut stream = machine.stream_steps(steps);
    while let Some(reading) = stream.next_into(&mut row.bins) {
        row.quantise();
        for (sensor, linear) in row.bins.chunks_exact(bins).enumerate() {
            if references[sensor].baseline.state(reading.condition) != OperatingState::Known {
                continue;
            }
            log_spectrum_into(linear, fleet.spec().canonical_s0(), &mut log);
            let mut scores = tocsin_domain::Scores::default();
            let log = (log.as_slice(), references[sensor].baseline.offset(reading.condition));
            references[sensor].score_into((linear, reading.condition), log, &mut z, &mut scores);
            let key = ReadingKey {
                sensor: SensorId(sensor as i32 + 1),
                captured_at: reading.captured_at,
            };
            for (detector, score) in scores.iter() {
                histories[detector as usize].push((key, score));
            }
        }
    }
    histories.map(|history| largest_kth_of_n(&history, &rules, step(fleet)))
}

pub(super) type Largest = [Option<f32>; Detector::COUNT];

pub(super) fn limits(
    fleet: &Fleet,
    class: Class,
    largest: &[Largest],
    method: &FleetReplay,
) -> Result<Arc<ThresholdSet>> {
    let of_class = || {
        fleet
            .machines()
            .iter()
            .zip(largest)
            .filter(|(machine, _)| machine.class() == class)
    };
    let of = |detector: Detector| {
        of_class()
            .filter_map(|(_, largest)| largest[detector as usize])
            .collect()
    };
    let set = method.threshold_set(of, Persistence::default());
    Ok(Arc::new(set.with_context(|| format!("limits of {}", class.name()))?))
}

/// The decision interval: the larger of the reporting interval and ten seconds.
pub(super) fn step(fleet: &Fleet) -> Duration {
    fleet.config().interval.max(Duration::from_secs(10))
}

/// Every item's answer, in order, by as many threads as there are processors; progress on standard error.
pub(super) fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(at) else { return done };
                done.push((at, work(item)));
                if (at + 1).is_multiple_of(100) {
                    eprintln!("  {} of {}", at + 1, items.len());
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker does not panic"))
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
