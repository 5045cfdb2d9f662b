//! CPU time of each stage of a reading's path, each alone on one thread and on the same spectra. The best of several
//! rounds: what the stage needs when nothing else is in its way.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use prost::Message;
use tocsin_contracts::ensemble::PlacedReading;
use tocsin_contracts::ingest::SentReading;
use tocsin_contracts::ingest::v1::Batch;
use tocsin_domain::{
    CanonicalSpectrum, Codec, Condition, Detector, MachineId, Reading, ReadingKey, Scores, SensorId, SpectrumSpec,
};
use tocsin_judge::ThresholdSet;
use tocsin_models::{Bundle, DetectorScratch, Network};
use tocsin_tests::Plant;

use crate::fleet::{Fleet, Size};
use crate::platform::{Platform, Settings};
use crate::report::Report;

/// Readings of a batch.
const BATCH: usize = 256;
/// Times a stage is run; the fastest counts.
const ROUNDS: usize = 200;

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    platform: Settings,
    #[command(flatten)]
    size: Size,
}

/// Runs it.
pub(crate) async fn run(options: Options) -> Result<Report> {
    let platform = Platform::start(&options.platform).await?;
    eprintln!("training and declaring the fleet");
    let fleet = Fleet::declare(&platform, options.size).await?;
    let bundle = Bundle::from_archive(fleet.archive.clone())?;
    let set = threshold_set(&platform).await?;
    platform.stop()?;

    let spec = SpectrumSpec::corpus_default(options.size.bins);
    let machines = BATCH / options.size.sensors;
    let batch = Batch {
        batch_id: 1,
        readings: fleet.readings(0..machines, 1, Plant::start()),
    };
    let bytes = batch.encode_to_vec();
    let mut report = Report::default();
    report.note("bytes_per_reading wire", (bytes.len() / batch.readings.len()) as u64);
    let mut stage = |name: &str, work: &mut dyn FnMut()| {
        report.figure(
            format!("us_per_reading {name}"),
            fastest(work) * 1e6 / batch.readings.len() as f64,
        );
    };

    stage("wire decode", &mut || {
        black_box(Batch::decode(bytes.as_slice()).expect("it was encoded here"));
    });
    let sent: Vec<SentReading> = batch
        .readings
        .iter()
        .map(|reading| SentReading::try_from(reading.clone()))
        .collect::<Result<_, _>>()?;
    stage("parse", &mut || {
        for reading in &batch.readings {
            black_box(SentReading::try_from(reading.clone()).expect("it is well formed"));
        }
    });
    let codec = Codec::for_spec(&spec);
    stage("canonical spectrum", &mut || {
        for reading in &sent {
            black_box(codec.encode(&reading.spectrum(&spec).expect("it is a spectrum")));
        }
    });
    let readings = canonical(&sent, &spec, &codec)?;
    stage("content hash", &mut || {
        for reading in &readings {
            black_box(reading.content_hash());
        }
    });
    let placed = readings.iter().map(|reading| PlacedReading {
        reading: reading.clone(),
        machine: MachineId(1),
        class: tocsin_domain::ClassId(1),
        spec: None,
        full_scale: spec.canonical_full_scale(),
    });
    let placed: Vec<PlacedReading> = placed.collect();
    stage("hand over to the ensemble", &mut || {
        let request = tocsin_contracts::ensemble::v1::AssessRequest {
            readings: placed.iter().cloned().map(Into::into).collect(),
            ..Default::default()
        };
        let bytes = request.encode_to_vec();
        black_box(
            tocsin_contracts::ensemble::v1::AssessRequest::decode(bytes.as_slice()).expect("it was encoded here"),
        );
    });
    let linear: Vec<f32> = readings
        .iter()
        .flat_map(|reading| codec.decode(reading.spectrum.codes()))
        .collect();
    let mut session = Network::load(&bundle)?.session()?;
    stage("network", &mut || {
        black_box(session.run(&linear, &[]).expect("the network runs"));
    });
    let mut scores = vec![Scores::default(); readings.len()];
    let mut scratch = DetectorScratch::default();
    stage("other detectors", &mut || {
        bundle.detectors().score_batch(&linear, &mut scratch, &mut scores);
    });
    for (row, error) in scores.iter_mut().zip(session.run(&linear, &[])?.errors) {
        row.set(Detector::Residual, error);
    }
    stage("judgement", &mut || {
        for row in &scores {
            black_box(set.judge(row, Condition::default(), false));
        }
    });
    Ok(report)
}

/// The alarm limits in force.
async fn threshold_set(platform: &Platform) -> Result<ThresholdSet> {
    let database = platform.database().await?;
    let definition: String = sqlx::query_scalar("select definition::text from threshold_set where state = 'active'")
        .fetch_one(&database)
        .await?;
    database.close().await;
    serde_json::from_str(&definition).context("the alarm limits")
}

fn canonical(sent: &[SentReading], spec: &SpectrumSpec, codec: &Codec) -> Result<Vec<Reading>> {
    let readings = sent.iter().enumerate().map(|(place, reading)| {
        let (spectrum, clipped): (CanonicalSpectrum, bool) = codec.encode(&reading.spectrum(spec)?);
        Ok(Reading {
            key: ReadingKey {
                sensor: SensorId(place as i32),
                captured_at: reading.captured_at,
            },
            spectrum,
            clipped,
            condition: reading.condition,
            overall: Vec::new(),
        })
    });
    readings.collect()
}

/// Seconds of the fastest round.
fn fastest(work: &mut dyn FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}
