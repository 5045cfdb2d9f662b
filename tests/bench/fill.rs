//! Days of healthy readings of a commissioned class, put into the store as fast as it takes them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tocsin_domain::{
    BaselineId, BundleId, Condition, ContentHash, Detector, OperatingState, ReadingFlags, ReadingKey, Scope, Scores,
    SensorId, ThresholdSetId, Timestamp, Verdict,
};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::fleet::NewSensor;
use tocsin_store::partition::Day;
use tocsin_store::reading::{NewReading, readings_copy};
use tocsin_tests::postgres::filled;

use crate::fleet::{self, CLASS, Fleet, SITE, Size};
use crate::platform::Platform;

/// Sensors of a machine.
pub(crate) const OF_MACHINE: usize = 4;
/// Bins of a spectrum, and bytes of a latent of twelve half floats.
pub(crate) const BINS: u16 = 64;
const LATENT_BYTES: usize = 24;
/// Rows of a `COPY`.
const ROWS: usize = 20_000;

/// Refuses what is not some whole machines.
pub(crate) fn check_sensors(sensors: usize) -> Result<()> {
    ensure!(
        sensors >= OF_MACHINE && sensors.is_multiple_of(OF_MACHINE),
        "--sensors: {sensors} is not some machines of {OF_MACHINE}"
    );
    Ok(())
}

/// Declares the one site, and the class with its model.
pub(crate) async fn declare(platform: &Platform, sensors: usize) -> Result<Fleet> {
    declare_with_step(platform, sensors, Duration::from_secs(10)).await
}

/// The same, with a class that decides once a `step`.
pub(crate) async fn declare_with_step(platform: &Platform, sensors: usize, step: Duration) -> Result<Fleet> {
    let size = Size {
        sites: 1,
        machines: sensors / OF_MACHINE,
        sensors: OF_MACHINE,
        bins: BINS,
        model: fleet::Model::Dense,
        step_ms: step.as_millis() as u32,
    };
    Fleet::declare(platform, size).await
}

/// What is filled in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filling {
    /// Sensors.
    pub(crate) sensors: usize,
    /// Of each machine.
    pub(crate) of_machine: usize,
    /// Sensors that fail in the last tenth of the time: their scores are six times what they were.
    pub(crate) failing: usize,
    /// Readings of each.
    pub(crate) steps: u64,
    /// Time between them.
    pub(crate) interval: Duration,
    /// When the first is.
    pub(crate) from: Timestamp,
}

impl Filling {
    fn at(self, step: u64) -> Timestamp {
        self.from + self.interval * step as u32
    }

    fn factor(self, sensor: usize, step: u64) -> f32 {
        if sensor < self.failing && step >= self.steps - self.steps / 10 {
            6.0
        } else {
            1.0
        }
    }
}

/// What every reading was judged by.
#[derive(Debug, Clone, Copy)]
struct Judged {
    bundle: BundleId,
    threshold_set: Option<ThresholdSetId>,
}

/// Declares and commissions the sensors, and fills in their readings, time after time.
pub(crate) async fn fill(store: &Store, fleet: &Fleet, filling: Filling) -> Result<()> {
    let healthy = fleet.held_out()?;
    let class = store.class_by_name(&CLASS.parse()?).await?.id;
    let binding = store.binding_current(class).await?.context("the class has no bundle")?;
    let (bundle, _) = binding.champion.context("the class has no champion")?;
    let judged = Judged {
        bundle,
        threshold_set: binding.threshold_set,
    };
    let mut sensors = Vec::with_capacity(filling.sensors);
    for number in 0..filling.sensors {
        sensors.push(commissioned(store, (number, filling.of_machine), filling.from).await?);
        if number % 100 == 99 {
            eprintln!("  {} of {} sensors are declared", number + 1, filling.sensors);
        }
    }
    let steps_at_once = (ROWS / sensors.len()).max(1) as u64;
    let mut step = 0;
    while step < filling.steps {
        let until = (step + steps_at_once).min(filling.steps);
        store
            .partitions_ensure([Day::of(filling.at(step)), Day::of(filling.at(until))])
            .await?;
        let rows: Vec<NewReading> = (step..until)
            .flat_map(|step| {
                let healthy = &healthy;
                sensors.iter().enumerate().map(move |(place, sensor)| {
                    let factor = filling.factor(place, step);
                    let scores = scores(seed(step, sensor.0), healthy, factor);
                    reading(*sensor, (step, filling.at(step)), scores, judged)
                })
            })
            .collect();
        let mut transaction = store.begin().await?;
        readings_copy(&mut transaction, &rows).await?;
        transaction.commit().await?;
        step = until;
    }
    sqlx::query("analyze reading").execute(store.pool()).await?;
    Ok(())
}

/// A sensor with a baseline.
async fn commissioned(
    store: &Store,
    (number, of_machine): (usize, usize),
    from: Timestamp,
) -> Result<(SensorId, BaselineId)> {
    let new = NewSensor {
        site: SITE.parse()?,
        machine: format!("m{}", number / of_machine).parse()?,
        device: None,
        name: format!("s{}", number % of_machine).parse()?,
        class: CLASS.parse()?,
        spec: CLASS.parse()?,
    };
    let sensor = store.sensor_create(&Scope::All, &new, from, filled).await?.sensor.id;
    let baseline = NewBaseline {
        sensor,
        epoch: 1,
        profile: Profile {
            median: vec![3.0; usize::from(BINS)],
            spread: vec![0.1; usize::from(BINS)],
            scale: vec![0.1; usize::from(BINS)],
            trend: None,
        },
        log_energy: (-3.0, 0.1),
        pooled_machines: 0,
        readings: 100,
        window: (from, from),
        created_by: "benchmark".to_owned(),
        reason: "benchmark".to_owned(),
    };
    let id = store.baseline_activate(&Scope::All, &baseline, from, filled).await?;
    Ok((sensor, id.context("the baseline was not activated")?))
}

fn seed(step: u64, sensor: SensorId) -> u64 {
    (step << 20) ^ u64::from(sensor.0.unsigned_abs())
}

/// What the bundle says of one of its healthy readings, give or take a hundredth, and from 1 up to 2 of each detector
/// against the baseline; all times a factor.
fn scores(seed: u64, healthy: &[Scores], factor: f32) -> Scores {
    let mut scores = healthy[(mixed(!seed) % healthy.len() as u64) as usize];
    for detector in Detector::ALL {
        let noise = noise(seed.wrapping_add((detector as u64) << 56));
        let score = match scores.get(detector) {
            _ if detector.needs_baseline() => Some(1.0 + noise),
            said => said.map(|said| said * (0.99 + 0.02 * noise)),
        };
        if let Some(score) = score {
            scores.set(detector, factor * score);
        }
    }
    scores
}

/// A reading that was judged, with those scores.
fn reading(
    (sensor, baseline): (SensorId, BaselineId),
    (step, captured_at): (u64, Timestamp),
    scores: Scores,
    judged: Judged,
) -> NewReading {
    let seed = seed(step, sensor);
    NewReading {
        key: ReadingKey { sensor, captured_at },
        received_at: captured_at,
        content_hash: ContentHash(mixed(seed) as i64),
        threshold_set: judged.threshold_set,
        bundle: Some(judged.bundle),
        baseline: Some(baseline),
        scorer_build: None,
        predecessors: None,
        scores,
        condition: Condition::default(),
        flags: ReadingFlags(0),
        verdict: Verdict::Normal { by: Detector::Growth },
        state: OperatingState::Known,
        overall: Vec::new(),
        latent: bytes(seed, LATENT_BYTES),
        spectrum: bytes(seed + 1, usize::from(BINS)),
    }
}

/// Bytes that don't compress, as spectra don't.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let words = (0..count.div_ceil(8) as u64).flat_map(|word| mixed(seed ^ (word << 40)).to_le_bytes());
    words.take(count).collect()
}

/// From 0 up to 1.
fn noise(seed: u64) -> f32 {
    (mixed(seed) >> 40) as f32 / (1_u64 << 24) as f32
}

/// A number with its bits mixed (`SplitMix64`; Steele et al. 2014).
fn mixed(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
