//! A simulated fleet from its first reading to its last.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_detect::{Commissioned, Reference, Rows, fleet_spread, log_spectrum_into};
use tocsin_domain::{Codec, Detector, ReadingKey, SensorId, Severity};
use tocsin_evaluate::Watch;
use tocsin_judge::fleet_replay::{History, largest_kth_of_n};
use tocsin_judge::{FleetReplay, Persistence, ThresholdSet, Transition};
use tocsin_simulator::harbor::{Class, Fleet, Machine};

/// Readings that commission a sensor: evenly spread over its first day.
const COMMISSIONING: usize = 400;

/// What became of a machine.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    /// Readings judged.
    pub(crate) readings: u64,
    /// Time judged before any failure began.
    pub(crate) healthy_hours: f64,
    pub(crate) false_pages: usize,
    pub(crate) false_alerts: usize,
    pub(crate) fate: Option<Fate>,
}

/// How a failing machine was noticed: shares of the way from onset to failure.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) kind: String,
    pub(crate) change_db: f64,
    pub(crate) alerted_at: Option<f64>,
    pub(crate) paged_at: Option<f64>,
}

/// A machine with its sensors commissioned.
struct Ready {
    commissioned: Vec<Commissioned>,
    linear: Vec<Vec<f32>>,
}

/// Commissions until `commissioned`, sets limits until `limited`, and judges the rest.
pub(crate) fn judge(
    fleet: &Fleet,
    method: &FleetReplay,
    commissioned: Duration,
    limited: Duration,
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
    let limits = Class::ALL.map(|class| limits(fleet, class, &largest, method));
    eprintln!("judging");
    in_parallel(&places, |at| {
        let machine = &fleet.machines()[*at];
        let limits = limits[machine.class() as usize]
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(watch(fleet, machine, references[*at].clone(), limits, limited))
    })
}

fn commission(fleet: &Fleet, machine: &Machine, steps: u64) -> Result<Ready> {
    let bins = usize::from(fleet.spec().bins);
    let sensors = fleet.row_length() / bins;
    let mut linear = vec![Vec::new(); sensors];
    let stride = (steps / COMMISSIONING as u64).max(1);
    let mut row = Canonical::new(fleet);
    for step in (0..steps).step_by(stride as usize) {
        let mut stream = machine.stream_steps(step..step + 1);
        if stream.next_into(&mut row.bins).is_some() {
            row.quantise();
            for (sensor, spectrum) in row.bins.chunks_exact(bins).enumerate() {
                linear[sensor].extend_from_slice(spectrum);
            }
        }
    }
    let fit = |linear: &Vec<f32>| {
        let mut log = vec![0.0; linear.len()];
        log_spectrum_into(linear, fleet.spec().canonical_s0(), &mut log);
        Commissioned::fit(Rows::new(&log, bins)?)
    };
    let commissioned = linear.iter().map(fit).collect::<Result<_, _>>();
    Ok(Ready {
        commissioned: commissioned.with_context(|| machine.name().to_string())?,
        linear,
    })
}

fn references(fleet: &Fleet, ready: &[Ready]) -> Result<Vec<Vec<Reference>>> {
    let spreads = Class::ALL.map(|class| {
        let of_class = fleet
            .machines()
            .iter()
            .zip(ready)
            .filter(|(machine, _)| machine.class() == class);
        fleet_spread(of_class.flat_map(|(_, ready)| &ready.commissioned))
    });
    let of_machine = |(machine, ready): (&Machine, &Ready)| -> Result<Vec<Reference>> {
        let spread = spreads[machine.class() as usize].as_deref();
        let sensors = ready.commissioned.iter().zip(&ready.linear);
        let reference = |(commissioned, linear): (&Commissioned, &Vec<f32>)| {
            let rows = Rows::new(linear, commissioned.median().len())?;
            Reference::new(commissioned, rows, spread, tocsin_detect::baseline::KAPPA)
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
            log_spectrum_into(linear, fleet.spec().canonical_s0(), &mut log);
            let mut scores = tocsin_domain::Scores::default();
            references[sensor].score_into(linear, &log, &mut z, &mut scores);
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

type Largest = [Option<f32>; Detector::COUNT];

fn limits(fleet: &Fleet, class: Class, largest: &[Largest], method: &FleetReplay) -> Result<Arc<ThresholdSet>> {
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

fn watch(
    fleet: &Fleet,
    machine: &Machine,
    references: Vec<Reference>,
    limits: &Arc<ThresholdSet>,
    from: u64,
) -> Outcome {
    let mut watch = Watch::new(references, Arc::clone(limits), step(fleet), fleet.spec().canonical_s0());
    let mut outcome = Outcome {
        name: machine.name().to_string(),
        readings: 0,
        healthy_hours: 0.0,
        false_pages: 0,
        false_alerts: 0,
        fate: machine.failure().map(|failure| Fate {
            kind: format!("{:?}", failure.kind),
            change_db: failure.change_db,
            alerted_at: None,
            paged_at: None,
        }),
    };
    let mut row = Canonical::new(fleet);
    let mut stream = machine.stream_steps(from..fleet.config().steps());
    while let Some(reading) = stream.next_into(&mut row.bins) {
        row.quantise();
        outcome.readings += 1;
        let failure = machine.failure();
        let healthy = failure.is_none_or(|failure| reading.captured_at < failure.onset);
        if healthy {
            outcome.healthy_hours += fleet.config().interval.as_secs_f64() / 3600.0;
        } else if failure.is_some_and(|failure| reading.captured_at > failure.failure) {
            break;
        }
        for (_, transition) in watch.arrive(reading.captured_at, reading.condition, &row.bins) {
            let along = failure.map(|f| {
                let life = f.failure.since(f.onset).as_secs_f64();
                reading.captured_at.since(f.onset).as_secs_f64() / life
            });
            outcome.note(transition, healthy, along);
        }
    }
    outcome
}

impl Outcome {
    fn note(&mut self, transition: Transition, healthy: bool, along: Option<f64>) {
        let page = matches!(transition, Transition::Opened(Severity::Page) | Transition::Escalated);
        let alert = matches!(transition, Transition::Opened(_));
        if healthy {
            self.false_pages += usize::from(page);
            self.false_alerts += usize::from(alert);
        } else if let Some(fate) = &mut self.fate {
            if page {
                fate.paged_at = fate.paged_at.or(along);
            }
            if alert {
                fate.alerted_at = fate.alerted_at.or(along);
            }
        }
    }
}

/// The decision interval: the larger of the reporting interval and ten seconds.
fn step(fleet: &Fleet) -> Duration {
    fleet.config().interval.max(Duration::from_secs(10))
}

/// A machine's spectra of one step, as the store would keep them.
struct Canonical {
    codec: Codec,
    bins: Vec<f32>,
}

impl Canonical {
    fn new(fleet: &Fleet) -> Self {
        Self {
            codec: Codec::for_spec(fleet.spec()),
            bins: vec![0.0; fleet.row_length()],
        }
    }

    fn quantise(&mut self) {
        for amplitude in &mut self.bins {
            *amplitude = self.codec.requantise(*amplitude);
        }
    }
}

/// Every item's answer, in order, by as many threads as there are processors; progress on standard error.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
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
