//! Days of healthy readings of a commissioned class, put into the store as fast as it takes them.

use anyhow::{Context, Result};
use tocsin_domain::{
    BaselineId, BundleId, Condition, ContentHash, Detector, OperatingState, ReadingFlags, ReadingKey, Scope, Scores,
    SensorId, ThresholdSetId, Timestamp, Verdict,
};
use tocsin_store::Store;
use tocsin_store::baseline::{NewBaseline, Profile};
use tocsin_store::fleet::NewSensor;
use tocsin_store::partition::Day;
use tocsin_store::reading::{NewReading, readings_copy};
use tocsin_tests::Plant;

use super::{INTERVAL, OF_MACHINE, Options};
use crate::fleet::{CLASS, SITE};

/// Bins of a spectrum, and bytes of a latent of twelve half floats.
const BINS: usize = 64;
const LATENT_BYTES: usize = 24;
/// Rows of a `COPY`.
const ROWS: usize = 20_000;

/// What every reading was judged by.
#[derive(Debug, Clone, Copy)]
struct Judged {
    bundle: BundleId,
    threshold_set: Option<ThresholdSetId>,
}

/// Declares and commissions the sensors, and fills in their readings, time after time.
pub(super) async fn fill(store: &Store, options: Options) -> Result<()> {
    let class = store.class_by_name(&CLASS.parse()?).await?.id;
    let binding = store.binding_current(class).await?.context("the class has no bundle")?;
    let (bundle, _) = binding.champion.context("the class has no champion")?;
    let judged = Judged {
        bundle,
        threshold_set: binding.threshold_set,
    };
    let mut sensors = Vec::with_capacity(options.sensors);
    for number in 0..options.sensors {
        sensors.push(commissioned(store, number).await?);
    }
    let steps_at_once = (ROWS / sensors.len()).max(1) as u64;
    let mut step = 0;
    while step < options.steps() {
        let until = (step + steps_at_once).min(options.steps());
        store.partitions_ensure([Day::of(at(step)), Day::of(at(until))]).await?;
        let rows: Vec<NewReading> = (step..until)
            .flat_map(|step| sensors.iter().map(move |sensor| reading(*sensor, step, judged)))
            .collect();
        let mut transaction = store.begin().await?;
        readings_copy(&mut transaction, &rows).await?;
        transaction.commit().await?;
        step = until;
    }
    sqlx::query("analyze reading").execute(store.pool()).await?;
    Ok(())
}

/// When a step is.
fn at(step: u64) -> Timestamp {
    Plant::start() + INTERVAL * step as u32
}

/// A sensor with a baseline.
async fn commissioned(store: &Store, number: usize) -> Result<(SensorId, BaselineId)> {
    let new = NewSensor {
        site: SITE.parse()?,
        machine: format!("m{}", number / OF_MACHINE).parse()?,
        device: None,
        name: format!("s{}", number % OF_MACHINE).parse()?,
        class: CLASS.parse()?,
        spec: CLASS.parse()?,
    };
    let sensor = store.sensor_create(&Scope::All, &new, Plant::start()).await?.sensor.id;
    let baseline = NewBaseline {
        sensor,
        epoch: 1,
        profile: Profile {
            median: vec![3.0; BINS],
            spread: vec![0.1; BINS],
            scale: vec![0.1; BINS],
            trend: None,
        },
        log_energy: (-3.0, 0.1),
        pooled_machines: 0,
        readings: 100,
        window: (Plant::start(), Plant::start()),
        created_by: "benchmark".to_owned(),
        reason: "benchmark".to_owned(),
    };
    let id = store.baseline_activate(&Scope::All, &baseline, Plant::start()).await?;
    Ok((sensor, id.context("the baseline was not activated")?))
}

/// A healthy reading with a score of every detector.
fn reading((sensor, baseline): (SensorId, BaselineId), step: u64, judged: Judged) -> NewReading {
    let seed = (step << 20) ^ u64::from(sensor.0.unsigned_abs());
    let mut scores = Scores::default();
    for (place, detector) in SCORED.into_iter().enumerate() {
        scores.set(detector, 1.0 + noise(seed.wrapping_add((place as u64) << 56)));
    }
    let captured_at = at(step);
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
        spectrum: bytes(seed + 1, BINS),
    }
}

const SCORED: [Detector; 8] = [
    Detector::Residual,
    Detector::OverallLevel,
    Detector::Isolation,
    Detector::Growth,
    Detector::Shift,
    Detector::Narrowband,
    Detector::Pca,
    Detector::Mahalanobis,
];

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
