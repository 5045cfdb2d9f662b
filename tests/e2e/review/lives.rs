//! Lives of machines, real ones where they are at hand, replayed to the end of one.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tocsin::rollout;
use tocsin_contracts::ingest::v1::Reading;
use tocsin_corpus::Reader;
use tocsin_domain::Timestamp;
use tocsin_models::{BundleArchive, Variant};
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_tests::{Plant, Stage, data};
use tocsin_trainer::{FitOptions, TrainRequest, TrainingSet, train};
use tokio::task::block_in_place;

/// Steps of a life that are replayed: the end of the one that fails, the beginning of its peers'.
const STEPS: usize = 700;
/// Spectra that are learned from, and that the limits are set by.
const LEARNED: (usize, usize) = (600, 2_200);
const STEP: Duration = Duration::from_secs(10);

/// Amplitudes of one spectrum.
pub(super) type Bins = Vec<f32>;

/// What is learned from, and the lives that are replayed: the first one's machine fails.
struct Lives {
    train: Vec<Bins>,
    calibration: Vec<Bins>,
    replayed: [Vec<Bins>; 3],
}

impl Lives {
    /// Real bearings where they are at hand; else the stage's own plant.
    fn read() -> Result<Self> {
        match data::file("femto/spectra64.parquet") {
            Some(corpus) => Self::of_bearings(&corpus),
            None => Ok(Self::of_plant()),
        }
    }

    fn of_bearings(corpus: &Path) -> Result<Self> {
        let (mut train, mut calibration) = (Vec::new(), Vec::new());
        let mut lives: BTreeMap<String, Vec<(Timestamp, Bins)>> = BTreeMap::new();
        for row in Reader::open(corpus)? {
            let row = row?;
            match row.split.as_deref() {
                Some("train") => train.push(row.bins.clone()),
                Some("cal") => calibration.push(row.bins.clone()),
                _ => {}
            }
            lives
                .entry(row.sensor.to_string())
                .or_default()
                .push((row.captured_at, row.bins));
        }
        let spread = |all: Vec<Bins>, most: usize| -> Vec<Bins> {
            let every = (all.len() / most).max(1);
            all.into_iter().step_by(every).take(most).collect()
        };
        let mut lives: Vec<Vec<(Timestamp, Bins)>> = lives.into_values().filter(|life| life.len() > STEPS).collect();
        for life in &mut lives {
            life.sort_by_key(|(at, _)| *at);
        }
        ensure!(lives.len() >= 3, "{} lives are long enough", lives.len());
        // The one that ends loudest is the surest to be told of.
        let loudness = |life: &Vec<(Timestamp, Bins)>| -> f32 {
            let end = &life[life.len() - 20..];
            end.iter()
                .flat_map(|(_, bins)| bins)
                .map(|amplitude| amplitude * amplitude)
                .sum()
        };
        lives.sort_by(|one, other| loudness(other).total_cmp(&loudness(one)));
        let bins = |part: &[(Timestamp, Bins)]| part.iter().map(|(_, bins)| bins.clone()).collect::<Vec<_>>();
        let begins = |life: &Vec<(Timestamp, Bins)>| bins(&life[..STEPS]);
        let ends = bins(&lives[0][lives[0].len() - STEPS..]);
        Ok(Self {
            train: spread(train, LEARNED.0),
            calibration: spread(calibration, LEARNED.1),
            replayed: [ends, begins(&lives[1]), begins(&lives[2])],
        })
    }

    fn of_plant() -> Self {
        let healthy = |from: usize, count: usize| (from..from + count).map(|n| Plant::healthy(n as u64)).collect();
        let mut failing: Vec<Bins> = healthy(10_000, STEPS - 60);
        failing.extend((0..60).map(Plant::failing));
        Self {
            train: healthy(0, LEARNED.0),
            calibration: healthy(LEARNED.0, LEARNED.1),
            replayed: [failing, healthy(20_000, STEPS), healthy(30_000, STEPS)],
        }
    }

    fn bundle(&self) -> Result<BundleArchive> {
        let set = |spectra: &[Bins]| -> Result<TrainingSet> {
            let mut set = TrainingSet::new(&Plant::spec());
            for (nth, bins) in spectra.iter().enumerate() {
                set.push("works/m1/h", Plant::start() + STEP * nth as u32, bins)?;
            }
            Ok(set)
        };
        let request = TrainRequest {
            class: CLASS.parse()?,
            train: &set(&self.train)?,
            calibration: &set(&self.calibration)?,
            variant: Variant::Dense,
            foreign: None,
            latent: None,
            seed: 1,
            options: Some(FitOptions {
                epochs: 20,
                ..FitOptions::of(Variant::Dense)
            }),
            corpora: Vec::new(),
            created_at: Plant::start(),
        };
        Ok(train(&request, |_| ())?)
    }
}

/// A platform on which the lives were replayed, and the incident of the machine that failed.
pub(super) async fn replayed() -> Result<(Stage, i64)> {
    let stage = Stage::start().await?;
    for machine in ["m1", "m2", "m3"] {
        stage.sensor(machine, "h").await?;
    }
    let lives = Lives::read()?;
    let bundle = block_in_place(|| lives.bundle())?;
    rollout::register(&stage.running.service_channel(), CLASS, &bundle).await?;
    stage.wait_until_judging().await?;
    let mut publisher = stage.publisher().await?;
    for step in 0..STEPS {
        let readings: Vec<Reading> = lives
            .replayed
            .iter()
            .zip(["m1/h", "m2/h", "m3/h"])
            .map(|(life, sensor)| Plant::reading(sensor, step as u64, life[step].clone()))
            .collect();
        ensure!(
            publisher.publish(readings).await?.stored == 3,
            "step {step} was not stored"
        );
    }
    let of_m1 = ["incidents", "list", "--site", SITE, "--machine", "m1"];
    let listed = stage.ask(&of_m1).await?;
    let newest = &listed["incidents"][0];
    ensure!(newest["severity"] == "page", "{listed:#}");
    stage
        .receiver
        .wait_until("the page", |pages| pages.iter().any(|page| page["machine"] == "m1"))
        .await?;
    let id = newest["incident_id"].as_i64().context("an incident")?;
    Ok((stage, id))
}
