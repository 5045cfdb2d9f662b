use std::ops::ControlFlow;
use std::path::Path;

use proptest::prelude::*;
use rand::RngExt;
use tocsin_detect::{Rows, log_spectrum_into};
use tocsin_domain::{Slug, SpectrumSpec, Timestamp};
use tocsin_models::archive::REPORT_FILE;
use tocsin_models::{Bundle, Manifest, Variant, VerifyLimits, verify};

use super::*;
use crate::report::with_report;
use crate::{Checkpoints, FitOptions, TrainError, TrainRequest, Trained, TrainingSet, train_resumably, train_until};

const BINS: u16 = 32;

/// A spectrum of a machine whose comb of lines rises and falls with its load.
fn spectrum(rng: &mut StdRng) -> Vec<f32> {
    let load = 0.5 + rng.random::<f32>();
    let bin = |bin: u16| {
        let line = if bin % 8 == 3 { 0.2 * load } else { 0.01 };
        line * (0.8 + 0.4 * rng.random::<f32>())
    };
    (0..BINS).map(bin).collect()
}

fn time(at: usize) -> Timestamp {
    Timestamp::from_micros(at as i64 * 10_000_000)
}

/// The same rows in memory and on disk, the last fifth held out.
fn both(folder: &Path, rows: usize, plan: Plan) -> (TrainingSet, TrainingSet) {
    let spec = SpectrumSpec::corpus_default(BINS);
    let mut rng = StdRng::seed_from_u64(1);
    let mut in_memory = TrainingSet::new(&spec);
    let mut writer = Writer::planned(&spec, folder, plan, 5).unwrap();
    for at in 0..rows {
        let row = spectrum(&mut rng);
        in_memory.push("plant/mill/x", time(at), &row).unwrap();
        writer
            .push("plant/mill/x", time(at), &row, at >= rows - rows / 5)
            .unwrap();
    }
    (in_memory, writer.finish().unwrap())
}

fn plan(files: usize) -> Plan {
    Plan {
        files,
        buffers: 0,
        sample: 300,
    }
}

fn request<'a>(train: &'a TrainingSet, calibration: &'a TrainingSet, variant: Variant) -> TrainRequest<'a> {
    TrainRequest {
        class: Slug::parse("class", "mill").unwrap(),
        train,
        calibration,
        variant,
        foreign: None,
        latent: None,
        seed: 5,
        options: Some(FitOptions {
            epochs: 12,
            patience: 6,
            batch: 32,
            ..FitOptions::of(Variant::Dense)
        }),
        corpora: Vec::new(),
        created_at: Timestamp::from_micros(0),
    }
}

fn trained(request: &TrainRequest<'_>) -> Result<Trained, TrainError> {
    train_until(request, |_| ControlFlow::Continue(()))
}

/// Healthy rows nothing is fitted on, as many as are drawn from `rows`.
fn calibration(rows: usize, most: usize) -> TrainingSet {
    let mut rng = StdRng::seed_from_u64(2);
    let mut sample = Sample::of(&SpectrumSpec::corpus_default(BINS), most, 9);
    for at in 0..rows {
        sample
            .push("plant/mill/x", time(100_000 + at), &spectrum(&mut rng))
            .unwrap();
    }
    sample.finish()
}

#[test]
fn rows_on_disk_teach_as_those_in_memory_do_and_their_bundle_says_what_was_sampled() {
    let folder = tempfile::tempdir().unwrap();
    let (in_memory, on_disk) = both(folder.path(), 2_000, plan(5));
    let calibration = calibration(700, 200);
    for variant in [Variant::Dense, Variant::Conv] {
        let of = |train: &TrainingSet| {
            let request = request(train, &calibration, variant);
            let trained = with_report(&request, trained(&request).unwrap()).unwrap();
            let bytes = trained.archive.to_bytes();
            verify(&bytes, VerifyLimits::default()).unwrap();
            Bundle::from_archive(trained.archive).unwrap()
        };
        let (whole, streamed) = (of(&in_memory), of(&on_disk));
        let loss = |bundle: &Bundle| bundle.manifest().metrics.validation_loss;
        let ratio = loss(&streamed) / loss(&whole);
        assert!((0.9..1.1).contains(&ratio), "{variant}: {ratio}");
        let Manifest { lineage, .. } = streamed.manifest();
        assert_eq!(
            (lineage.rows_by_split["train"], lineage.rows_by_split["cal"]),
            (2_000, 700)
        );
        let sampled = &lineage.selection.as_ref().unwrap().sampled_by_split;
        assert_eq!((sampled["train"], sampled["cal"]), (300, 200));
        assert_eq!(streamed.held_out().rows.len(), 200);
        let report = String::from_utf8(streamed.archive().named(REPORT_FILE).unwrap().to_vec()).unwrap();
        assert!(
            report.contains("a sample of 300 of 2000"),
            "the report says what was looked at"
        );
    }
}

#[test]
fn what_is_summed_up_over_rows_on_disk_is_what_is_fitted_on_them_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (in_memory, on_disk) = both(folder.path(), 900, plan(3));
    let s0 = in_memory.spec().canonical_s0();
    let mut log = vec![0.0; in_memory.linear().len()];
    log_spectrum_into(in_memory.linear(), s0, &mut log);
    let expected = Standardise::fit(Rows::new(&log, BINS.into()).unwrap()).unwrap();
    let stored = on_disk.stored().unwrap();
    let found = stored.standardise(s0);
    for bin in 0..usize::from(BINS) {
        assert!((found.mean()[bin] - expected.mean()[bin]).abs() < 1e-5);
        assert!((found.sd()[bin] / expected.sd()[bin] - 1.0).abs() < 1e-5);
    }
    // A code is what its amplitude would be by the long way.
    let (table, mut row) = (stored.table(&expected, s0), vec![0.0; BINS.into()]);
    expected.standardise_into(&log[..BINS.into()], &mut row);
    let codes = in_memory.encode(&in_memory.linear()[..BINS.into()]).unwrap();
    let mut looked_up = Vec::new();
    look_up(&table, codes.codes(), &mut looked_up);
    assert_eq!(looked_up, row);
}

#[test]
fn the_same_rows_and_seed_give_the_same_bundle_and_a_broken_training_goes_on_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = || both(folder.path(), 400, plan(3)).1;
    let (first, second, none) = (on_disk(), on_disk(), calibration(0, 10));
    let archive = |set: &TrainingSet| {
        trained(&request(set, &none, Variant::Dense))
            .unwrap()
            .archive
            .to_bytes()
    };
    let whole = archive(&first);
    assert!(archive(&second) == whole);
    let kept = tempfile::tempdir().unwrap();
    let checkpoints = |resume| Checkpoints {
        folder: kept.path().to_path_buf(),
        every: 2,
        resume,
    };
    let mut epochs = 0;
    let broken = train_resumably(
        &request(&first, &none, Variant::Dense),
        Some(&checkpoints(false)),
        |_| {
            epochs += 1;
            if epochs == 5 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    assert!(matches!(broken, Err(TrainError::BrokenOff)));
    let resume = |set: &TrainingSet| {
        let request = request(set, &none, Variant::Dense);
        train_resumably(&request, Some(&checkpoints(true)), |_| ControlFlow::Continue(()))
    };
    assert!(resume(&second).unwrap().archive.to_bytes() == whole);
    let otherwise = both(folder.path(), 400, plan(4)).1;
    let error = resume(&otherwise).unwrap_err().to_string();
    assert!(error.contains("data is "), "{error}");
}

#[test]
fn nothing_is_left_in_the_folder_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let spec = SpectrumSpec::corpus_default(BINS);
    let mut writer = Writer::planned(&spec, folder.path(), plan(4), 1).unwrap();
    let error = writer.push("a/b/c", time(0), &[f32::NAN; 32], false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bins[0]: NaN is not a finite amplitude of zero or more"
    );
    assert_eq!(files(), 0);
    let (_, on_disk) = both(folder.path(), 100, plan(4));
    assert_eq!((files(), on_disk.rows_in_all(), on_disk.len()), (0, 100, 100));
    let missing = folder.path().join("missing");
    let error = Writer::planned(&spec, &missing, plan(4), 1).err().unwrap().to_string();
    assert!(error.contains(&missing.display().to_string()), "{error}");
}

#[test]
fn what_takes_all_rows_at_once_is_refused_of_rows_on_disk_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (on_disk, none) = (both(folder.path(), 400, plan(3)).1, calibration(0, 10));
    let refused = |request: &TrainRequest<'_>| trained(request).unwrap_err().to_string();
    for variant in [Variant::Pca, Variant::Mahalanobis, Variant::TemporalLstm] {
        let error = refused(&request(&on_disk, &none, variant));
        assert!(
            error.starts_with(&format!("variant: {variant} takes all rows in memory")),
            "{error}"
        );
    }
    let good = request(&on_disk, &none, Variant::Dense);
    let options = good.options.map(|options| FitOptions { trim: 0.1, ..options });
    assert!(refused(&TrainRequest { options, ..good }).starts_with("trim: 0.1"));
}

#[test]
fn a_budget_that_is_too_small_says_how_much_it_takes() {
    let spec = SpectrumSpec::corpus_default(64);
    let folder = tempfile::tempdir().unwrap();
    let error = |mib, rows| {
        let writer = Writer::new(&spec, folder.path(), (Budget::mib(mib), rows), 1);
        writer.err().unwrap().to_string()
    };
    assert_eq!(
        error(1, 1_000),
        "1 MiB are too few for a sample of 256 rows of 64 bins, at least 2 are needed"
    );
    let words = "10 MiB are too few for 18000000 rows of 64 bins on disk, at least 11 are needed";
    assert_eq!(error(10, 18_000_000), words);
    assert!(Writer::new(&spec, folder.path(), (Budget::mib(11), 18_000_000), 1).is_ok());
    let mut keys = KeysWriter::new(folder.path(), Budget::bytes(1 << 20), 20_000).unwrap();
    let key = |at: usize| Key {
        sensor: 3,
        captured_at: time(at),
        mark: 1,
    };
    (0..20_000).for_each(|at| keys.push(7, key(20_000 - at)).unwrap());
    let error = keys.finish().unwrap_err().to_string();
    assert_eq!(
        error,
        "1 MiB are too few for the times of 20000 rows that are sorted together, at least 2 are needed"
    );
}

#[test]
fn keys_come_back_by_sensor_and_time_with_all_of_a_machine_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = KeysWriter::new(folder.path(), Budget::bytes(1 << 18), 10_000).unwrap();
    for at in 0..3_000_usize {
        let machine = (at % 30) as u32;
        let key = Key {
            sensor: 2 * machine + (at % 2) as u32,
            captured_at: time(9_000 - at),
            mark: (at % 3) as u8,
        };
        writer.push(machine, key).unwrap();
    }
    let keys = writer.finish().unwrap();
    assert!(keys.files() > 1);
    let mut machines = Vec::new();
    for file in 0..keys.files() {
        let sorted = keys.sorted(file).unwrap();
        assert!(sorted.is_sorted_by_key(|key| (key.sensor, key.captured_at)));
        let mut own: Vec<u32> = sorted.iter().map(|key| key.sensor / 2).collect();
        own.dedup();
        machines.extend(own);
    }
    machines.sort_unstable();
    assert_eq!(machines, (0..30).collect::<Vec<u32>>());
}

#[test]
fn a_sample_draws_every_row_alike_and_keeps_their_order() {
    let mut thirds = [0_u32; 3];
    for seed in 0..200 {
        let mut sample = Sample::of(&SpectrumSpec::corpus_default(BINS), 20, seed);
        (0..300_usize).for_each(|at| sample.push(&format!("a/b/{at}"), time(at), &[0.1; 32]).unwrap());
        let set = sample.finish();
        assert_eq!((set.len(), set.rows_in_all(), set.sensors().len()), (20, 300, 300));
        assert!(set.rows().is_sorted_by_key(|row| row.captured_at));
        set.rows().iter().for_each(|row| thirds[row.sensor as usize / 100] += 1);
    }
    assert!(thirds.iter().all(|count| (1_200..1_470).contains(count)), "{thirds:?}");
}

proptest! {
    #[test]
    fn rows_are_held_out_as_they_are_in_memory(
        drawn in prop::collection::btree_set((0_u32..5, 0_i64..400), 10..120),
        share in 0.05_f64..0.5,
        few in any::<bool>(),
    ) {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(BINS));
        // Where each row has a sensor of its own none has enough of them; times must differ then.
        let drawn: Vec<(u32, i64)> = drawn
            .into_iter()
            .enumerate()
            .map(|(at, (sensor, time))| if few { (at as u32, time * 1_000 + at as i64) } else { (sensor, time) })
            .collect();
        for (sensor, at) in &drawn {
            set.push_row(*sensor, Timestamp::from_micros(*at), &[0; 32]);
        }
        for sensor in 0..drawn.len() {
            set.sensor(&sensor.to_string());
        }
        let mut by_sensor: std::collections::BTreeMap<u32, Vec<Timestamp>> = Default::default();
        for (sensor, at) in &drawn {
            by_sensor.entry(*sensor).or_default().push(Timestamp::from_micros(*at));
        }
        let mut hold_out = HoldOut::new(share);
        for (sensor, times) in &mut by_sensor {
            times.sort_unstable();
            hold_out.add(*sensor, times);
        }
        let cuts = hold_out.finish();
        let held_out: Vec<usize> = (0..drawn.len())
            .filter(|at| cuts.holds_out(drawn[*at].0, Timestamp::from_micros(drawn[*at].1)))
            .collect();
        prop_assert_eq!(set.split_in_time(share).1, held_out);
    }
}
