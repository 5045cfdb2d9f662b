//! A simulated fleet from its first reading to its last.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_detect::drift::FollowRule;
use tocsin_detect::{Commissioned, Fleet as Pool, Reference, Rows, log_spectrum_into};
use tocsin_domain::{Condition, Detector, OperatingState, ReadingKey, SensorId, Timestamp};
use tocsin_evaluate::Scorer;
use tocsin_judge::fleet_replay::{History, largest_kth_of_n};
use tocsin_judge::{FleetReplay, Persistence};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

use super::feed::Feed;
use super::lanes::Lane;
use super::network::{Model, Shared, Training};
use super::watched::{Outcome, Watched, follow_together};

/// Readings that commission a sensor: evenly spread over its first day.
const COMMISSIONING: usize = 400;

/// Time in which a machine is commissioned, and models learn.
const COMMISSIONED: Duration = Duration::from_hours(24);
/// Time after which limits are set.
pub(super) const LIMITED: Duration = Duration::from_hours(48);

/// How a fleet is judged.
#[derive(Debug)]
pub(crate) struct Procedure {
    pub(crate) method: FleetReplay,
    /// The page factor from a budget of so many pages a day.
    pub(crate) pages_per_day: Option<f64>,
    pub(crate) follow: Option<FollowRule>,
    /// Judge with an autoencoder for each class as well, and by it alone.
    pub(crate) network: Option<Training>,
}

/// A machine with its sensors commissioned.
pub(super) struct Ready {
    commissioned: Vec<Commissioned>,
    /// What commissioned them: when, in which condition, and the canonical amplitudes of each sensor.
    pub(super) captured_at: Vec<Timestamp>,
    conditions: Vec<Condition>,
    pub(super) linear: Vec<Vec<f32>>,
}

/// A day under limits yet to be set.
pub(super) struct Past {
    pub(super) largest: Largest,
    /// Scores of the class's models, one a spectrum; empty without models.
    pub(super) shared: Vec<Shared>,
}

/// What is known of a fleet when its limits are set.
pub(super) struct Known<'a> {
    pub(super) fleet: &'a Fleet,
    /// Of each machine.
    pub(super) references: Vec<Vec<Reference>>,
    pub(super) pasts: Vec<Past>,
    /// The steps that limits are set on.
    pub(super) steps: Range<u64>,
}

/// Limits by which a fleet was judged, and what became of its machines.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) name: &'static str,
    pub(crate) machines: Vec<Outcome>,
}

/// Commissions for a day, sets limits on the second, and judges the rest, day by day, by each kind of limits.
pub(crate) fn judge(fleet: &Fleet, procedure: &Procedure) -> Result<Vec<Judged>> {
    let interval = fleet.config().interval;
    let steps = |length: Duration| (length.as_micros() / interval.as_micros()) as u64;
    let (commissioned, limited) = (steps(COMMISSIONED), steps(LIMITED));
    eprintln!("commissioning {} machines", fleet.machines().len());
    let ready = in_parallel(fleet.machines(), |machine| commission(fleet, machine, commissioned))?;
    let references = references(fleet, &ready)?;
    let models = match &procedure.network {
        Some(training) => in_parallel(&Class::ALL, |class| Model::train(fleet, *class, &ready, training))?,
        None => Vec::new(),
    };
    drop(ready);
    let model = |machine: &Machine| models.get(machine.class() as usize);
    eprintln!("setting limits");
    let places: Vec<usize> = (0..references.len()).collect();
    let pasts = in_parallel(&places, |at| {
        let machine = &fleet.machines()[*at];
        past(fleet, machine, &references[*at], commissioned..limited, model(machine))
    })?;
    let known = Known {
        fleet,
        references,
        pasts,
        steps: commissioned..limited,
    };
    let lanes = known.lanes(procedure)?;
    let Known { references, pasts, .. } = known;
    drop(pasts);
    eprintln!("judging");
    let watched = in_parallel(&places, |at| {
        let machine = &fleet.machines()[*at];
        let limits = lanes.iter().map(|lane| lane.of(machine.class()));
        let mut watched = Watched::new(fleet, machine, references[*at].clone(), limits, model(machine));
        watched.settle(commissioned..limited)?;
        Ok(Mutex::new(watched))
    })?;
    let day = steps(Duration::from_hours(24));
    for from in (limited..fleet.config().steps()).step_by(day as usize) {
        judge_day(&watched, from..from + day, procedure.follow)?;
    }
    let machines = watched
        .into_iter()
        .map(|one| one.into_inner().expect("nobody panicked"));
    Ok(Judged::by_lane(&lanes, machines))
}

/// One day of all machines, and one round of the recalibrator after it.
fn judge_day(watched: &[Mutex<Watched<'_>>], steps: Range<u64>, follow: Option<FollowRule>) -> Result<()> {
    in_parallel(watched, |machine| locked(machine).judge(steps.clone()))?;
    let Some(rule) = follow else { return Ok(()) };
    for class in Class::ALL {
        let of_class = watched.iter().map(locked).filter(|machine| machine.class() == class);
        follow_together(&mut of_class.collect::<Vec<_>>(), rule)?;
    }
    Ok(())
}

impl Judged {
    fn by_lane<'a>(lanes: &[Lane], watched: impl Iterator<Item = Watched<'a>>) -> Vec<Self> {
        let lane = |lane: &Lane| Self {
            name: lane.name,
            machines: Vec::new(),
        };
        let mut judged: Vec<Self> = lanes.iter().map(lane).collect();
        for machine in watched {
            for (judged, outcome) in judged.iter_mut().zip(machine.into_outcomes()) {
                judged.machines.push(outcome);
            }
        }
        judged
    }
}

fn locked<'a, 'b>(machine: &'a Mutex<Watched<'b>>) -> MutexGuard<'a, Watched<'b>> {
    machine.lock().expect("nobody panicked")
}

fn commission(fleet: &Fleet, machine: &Machine, steps: u64) -> Result<Ready> {
    let bins = usize::from(fleet.spec().bins);
    let mut linear = vec![Vec::new(); fleet.config().sensors];
    let (mut captured_at, mut conditions) = (Vec::new(), Vec::new());
    let stride = (steps / COMMISSIONING as u64).max(1);
    for step in (0..steps).step_by(stride as usize) {
        let mut feed = Feed::new(fleet, machine, step..step + 1, None)?;
        if let Some(step) = feed.step()? {
            captured_at.push(step.reading.captured_at);
            conditions.push(step.reading.condition);
            for (sensor, spectrum) in step.bins.chunks_exact(bins).enumerate() {
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
        captured_at,
        conditions,
        linear,
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

/// The largest k-th of n of each detector over a machine's healthy steps, and what the class's model says of each spectrum.
fn past(
    fleet: &Fleet,
    machine: &Machine,
    references: &[Reference],
    steps: Range<u64>,
    model: Option<&Model>,
) -> Result<Past> {
    let rules = Persistence::default();
    let bins = usize::from(fleet.spec().bins);
    let mut histories: [History; Detector::COUNT] = Default::default();
    let mut shared = Vec::new();
    let mut scorer = Scorer::new(references.to_vec(), fleet.spec().canonical_s0());
    let mut feed = Feed::new(fleet, machine, steps, model)?;
    while let Some(step) = feed.step()? {
        shared.extend_from_slice(step.shared);
        let condition = step.reading.condition;
        for (sensor, linear) in step.bins.chunks_exact(bins).enumerate() {
            if references[sensor].baseline.state(condition) != OperatingState::Known {
                continue;
            }
            let key = ReadingKey {
                sensor: SensorId(sensor as i32 + 1),
                captured_at: step.reading.captured_at,
            };
            for (detector, score) in scorer.score(sensor, linear, condition).iter() {
                histories[detector as usize].push((key, score));
            }
        }
    }
    Ok(Past {
        largest: histories.map(|history| largest_kth_of_n(&history, &rules, step(fleet))),
        shared,
    })
}

pub(super) type Largest = [Option<f32>; Detector::COUNT];

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
