//! scratch
use std::time::Instant;
use tocsin_detect::metrics::auroc;
use tocsin_domain::*;
use tocsin_models::*;
use tocsin_trainer::*;

fn load(split: &str, horizontal: bool) -> TrainingSet {
    let spec = SpectrumSpec::corpus_default(64);
    let mut set = TrainingSet::new(&spec);
    let bytes = std::fs::read(format!("/tmp/femto_{split}.bin")).unwrap();
    for rec in bytes.chunks_exact(16 + 256) {
        let sensor = i64::from_le_bytes(rec[..8].try_into().unwrap());
        let t = i64::from_le_bytes(rec[8..16].try_into().unwrap());
        if horizontal && sensor % 2 != 0 {
            continue;
        }
        let v: Vec<f32> = rec[16..]
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
        set.push(
            &format!("f/m{}/s{}", sensor / 2, sensor % 2),
            Timestamp::from_micros(t),
            &v,
        )
        .unwrap();
    }
    set
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let variant: Variant = args[1].parse().unwrap();
    let seeds: u64 = args[2].parse().unwrap();
    let horizontal = args[3] == "h";
    let opt = |name: &str| {
        args.iter()
            .find_map(|a| a.strip_prefix(&format!("{name}=")).map(|v| v.parse::<f64>().unwrap()))
    };
    let sets: Vec<TrainingSet> = ["train", "cal", "test_healthy", "incipient", "end"]
        .iter()
        .map(|s| load(s, horizontal))
        .collect();
    println!("{:?}", sets.iter().map(TrainingSet::len).collect::<Vec<_>>());
    let mut all = Vec::new();
    for seed in 0..seeds {
        let mut o = FitOptions::of(variant);
        if let Some(v) = opt("epochs") {
            o.epochs = v as u32;
        }
        if let Some(v) = opt("patience") {
            o.patience = v as u32;
        }
        if let Some(v) = opt("batch") {
            o.batch = v as usize;
        }
        if let Some(v) = opt("lr") {
            o.learning_rate = v;
        }
        if let Some(v) = opt("wd") {
            o.weight_decay = v as f32;
        }
        if let Some(v) = opt("noise") {
            o.noise = v as f32;
        }
        if let Some(v) = opt("share") {
            o.held_out_share = v;
        }
        let start = Instant::now();
        let mut last = None;
        let archive = train(
            &TrainRequest {
                class: Slug::parse("class", "bearing").unwrap(),
                train: &sets[0],
                calibration: &sets[1],
                variant,
                latent: opt("latent").map(|l| l as u16),
                seed,
                options: Some(o),
                corpora: vec![],
                created_at: Timestamp::from_micros(0),
            },
            |p| last = Some(p),
        )
        .unwrap();
        let took = start.elapsed();
        let bundle = Bundle::from_archive(archive.clone()).unwrap();
        let network = Network::load(&bundle).unwrap();
        let mut session = network.session().unwrap();
        let mut res = |s: &TrainingSet| -> Vec<f64> {
            session
                .run(s.linear(), &[])
                .unwrap()
                .errors
                .iter()
                .map(|e| f64::from(*e))
                .collect()
        };
        let (cal, h, i, e) = (res(&sets[1]), res(&sets[2]), res(&sets[3]), res(&sets[4]));
        let det = |s: &TrainingSet, d: Detector| -> Vec<f64> {
            let mut sc = vec![Scores::default(); s.len()];
            bundle
                .detectors()
                .score_batch(s.linear(), &mut DetectorScratch::default(), &mut sc);
            sc.iter().map(|s| f64::from(s.get(d).unwrap())).collect()
        };
        let mut c = cal.clone();
        c.sort_by(f64::total_cmp);
        let line = c[(c.len() as f64 * 0.995) as usize];
        let fpr = h.iter().filter(|x| **x > line).count() as f64 / h.len() as f64;
        let rec = e.iter().filter(|x| **x > line).count() as f64 / e.len() as f64;
        let a = auroc(&h, &e).unwrap();
        let p = last.unwrap();
        println!(
            "seed {seed} auroc {a:.4} incip {:.4} fpr {fpr:.4} recall {rec:.4} | {:?} {:?} rows/s {:.0}",
            auroc(&h, &i).unwrap(),
            took,
            bundle.manifest().metrics,
            p.rows_per_second
        );
        if seed == 0 {
            for d in [
                Detector::OverallLevel,
                Detector::Isolation,
                Detector::Pca,
                Detector::Mahalanobis,
            ] {
                println!(
                    "  {d} {:.4} {:.4}",
                    auroc(&det(&sets[2], d), &det(&sets[4], d)).unwrap(),
                    auroc(&det(&sets[2], d), &det(&sets[3], d)).unwrap()
                );
            }
            archive
                .to_dir(std::path::Path::new(&format!("/tmp/bundle_{variant}")))
                .unwrap();
            println!(
                "{:?}",
                verify(&archive.to_bytes(), VerifyLimits::default()).map(|r| (r.digest, r.operators, r.parameters))
            );
            let rows: Vec<f32> = sets[2].linear().iter().copied().cycle().take(64 * 32 * 1000).collect();
            let t = Instant::now();
            session.run(&rows, &[]).unwrap();
            let cpu = || {
                let s = std::fs::read_to_string("/proc/self/stat").unwrap();
                s.split_whitespace().nth(13).unwrap().parse::<f64>().unwrap() / 100.0
            };
            let c0 = cpu();
            for _ in 0..5 {
                session.run(&rows, &[]).unwrap();
            }
            println!("  {:.0} spectra per cpu second", 160000.0 / (cpu() - c0));
            let _ = t;
            println!("  sizes {}", archive.to_bytes().len());
        }
        all.push(a);
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    println!(
        "MEAN {mean:.4} sd {:.4} min {:.4}",
        (all.iter().map(|a| (a - mean).powi(2)).sum::<f64>() / all.len() as f64).sqrt(),
        all.iter().copied().fold(1.0, f64::min)
    );
}
