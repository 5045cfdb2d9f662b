//! The files of a bundle that the command line wrote are plain ONNX: another runtime opens them and says the same.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tocsin_models::{Bundle, BundleArchive, Decoder, Network};
use tocsin_tests::{Plant, binary, tools};

/// Spectra scored by both runtimes.
const ROWS: usize = 40;

/// How far they may be apart, in units or relative, whichever is more.
const AGREE: f64 = 1e-4;

/// By onnxruntime: errors, squared errors per bin and latents of `rows.json`, and the spectra of the latents in it.
const SCRIPT: &str = r#"
import json, sys
import numpy, onnx, onnxruntime
folder = sys.argv[1]
given = json.load(open(folder + "/given.json"))
rows = numpy.array(given["rows"], dtype=numpy.float32)
latents = numpy.array(given["latents"], dtype=numpy.float32)
def opened(name):
    onnx.checker.check_model(onnx.load(folder + "/" + name), full_check=True)
    return onnxruntime.InferenceSession(folder + "/" + name, providers=["CPUExecutionProvider"])
target, rebuilt, latent = opened("autoencoder.onnx").run(["target", "reconstruction", "latent"], {"bins": rows})
spectra, = opened("decoder.onnx").run(["spectrum"], {"latent": latents})
squared = (target - rebuilt) ** 2
said = {"errors": squared.mean(axis=1), "bin_errors": squared, "latents": latent, "spectra": spectra}
print(json.dumps({name: values.flatten().tolist() for name, values in said.items()}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn onnxruntime_opens_a_dense_bundle_and_agrees() -> Result<()> {
    agrees("dense").await
}

#[tokio::test(flavor = "multi_thread")]
async fn onnxruntime_opens_a_convolutional_bundle_and_agrees() -> Result<()> {
    agrees("conv").await
}

async fn agrees(variant: &str) -> Result<()> {
    let Some(python) = tools::python_with(&["numpy", "onnx", "onnxruntime"]) else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("past.parquet");
    Plant::corpus(&corpus, "works", 0..1_100, u64::MAX / 2)?;
    let out = folder.path().join("bundle");
    let (corpus, bundle) = (corpus.to_str().context("the path")?, out.to_str().context("the path")?);
    let train = ["train", "--corpus", corpus, "--class", "pump"];
    let options = ["--variant", variant, "--seed", "3", "--out", bundle];
    binary::run(&[&train[..], &options].concat(), &[]).await?;

    let spectra = (0..ROWS as u64).map(|n| match n % 4 {
        0 => Plant::failing(n),
        _ => Plant::healthy(n),
    });
    let rows: Vec<Vec<f32>> = spectra.collect();
    let loaded = Bundle::from_archive(BundleArchive::from_dir(&out)?)?;
    let every: Vec<usize> = (0..ROWS).collect();
    let ours = Network::load(&loaded)?.session()?.run(&rows.concat(), &every)?;
    let decoded = Decoder::load(&loaded)?.run(&ours.latents)?;

    let latents: Vec<f32> = ours.latents.iter().map(|value| value.to_f32()).collect();
    let given = json!({"rows": rows, "latents": latents.chunks(ours.latent_size).collect::<Vec<_>>()});
    std::fs::write(out.join("given.json"), given.to_string())?;
    let output = Command::new(python).args(["-c", SCRIPT]).arg(&out).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout)?;
    compare("errors", &ours.errors, &theirs, AGREE)?;
    compare("bin_errors", &ours.bin_errors, &theirs, AGREE)?;
    compare("spectra", &decoded, &theirs, AGREE)?;
    // Ours are kept as half floats, which have eleven bits.
    compare("latents", &latents, &theirs, 1.0 / 2_048.0)
}

fn compare(what: &str, ours: &[f32], theirs: &Value, tolerance: f64) -> Result<()> {
    let theirs = theirs[what].as_array().context("a list")?;
    ensure!(!ours.is_empty() && ours.len() == theirs.len(), "{what}: other numbers");
    for (place, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let (ours, theirs) = (f64::from(*ours), theirs.as_f64().context("a number")?);
        let apart = (ours - theirs).abs();
        ensure!(
            apart <= tolerance * theirs.abs().max(1.0),
            "{what}[{place}]: {ours} and {theirs}"
        );
    }
    Ok(())
}
