//! Models that Tocsin did not train: scikit-learn's and Keras', exported to ONNX in Python by the examples in the
//! documentation, are pushed, judge live readings and page. Ten that are broken or hostile are refused, each with the
//! reason.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Postgres, Receiver, binary, tools};

use crate::femto::up;

/// What the examples need.
const SCIKIT_LEARN: [&str; 5] = ["numpy", "duckdb", "onnx", "sklearn", "skl2onnx"];
const KERAS: [&str; 5] = ["numpy", "duckdb", "tensorflow", "keras", "tf2onnx"];

/// Writes broken and hostile copies of the good files, each in a folder of its own.
const SPOIL: &str = r#"
import copy, pathlib, shutil, sys
import numpy, onnx
from onnx import TensorProto, helper, numpy_helper
good, bad = map(pathlib.Path, sys.argv[1:3])
network = onnx.load(good / "autoencoder.onnx")
def save(name, change=None, raw=None, file="autoencoder.onnx"):
    folder = bad / name
    shutil.copytree(good, folder)
    if raw is not None:
        (folder / file).write_bytes(raw)
        return
    model = copy.deepcopy(network)
    change(model)
    (folder / file).write_bytes(model.SerializeToString())
def rename_output(model):
    for node in model.graph.node:
        node.output[:] = ["code" if name == "latent" else name for name in node.output]
        node.input[:] = ["code" if name == "latent" else name for name in node.input]
    next(output for output in model.graph.output if output.name == "latent").name = "code"
def foreign_domain(model):
    model.graph.node[0].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
def loop(model):
    model.graph.node[0].op_type = "Loop"
def outside(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
def nan(model):
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "inverse_s0")
    tensor.CopyFrom(numpy_helper.from_array(numpy.array(numpy.nan, dtype=numpy.float32), "inverse_s0"))
def mix_rows(model):
    log = next(node for node in model.graph.node if node.op_type == "Log")
    log.output[0] = "each"
    model.graph.initializer.append(numpy_helper.from_array(numpy.array([0], dtype=numpy.int64), "first"))
    mean = helper.make_node("ReduceMax", ["each"], ["largest"], axes=[0], keepdims=1)
    model.graph.node.insert(3, mean)
    model.graph.node.insert(4, helper.make_node("Max", ["each", "largest"], ["target"]))
def random(model):
    log = next(node for node in model.graph.node if node.op_type == "Log")
    log.op_type = "RandomNormalLike"
def other_input(model):
    model.graph.input[0].name = "spectrum"
    model.graph.node[0].input[0] = "spectrum"
save("cut", raw=network.SerializeToString()[:2000])
save("text", raw=b"not a model at all")
save("no-latent", rename_output)
save("domain", foreign_domain)
save("loop", loop)
save("outside", outside)
save("nan", nan)
save("mix", mix_rows)
save("random", random)
save("input", other_input)
"#;

/// Folders of [`SPOIL`], and what the refusal must say.
const REFUSED: [(&str, &str); 10] = [
    ("cut", "ONNX"),
    ("text", "ONNX"),
    ("no-latent", "latent"),
    ("domain", "com.example"),
    ("loop", "Loop"),
    ("outside", "outside the file"),
    ("nan", "error of spectrum"),
    ("mix", "mixes rows"),
    ("random", "RandomNormalLike"),
    ("input", "bins"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_scikit_learn_judges_live_readings_and_broken_ones_are_refused() -> Result<()> {
    let Some(python) = tools::python_with(&SCIKIT_LEARN) else {
        return Ok(());
    };
    judges(&python, "foreign_model.py", true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_keras_judges_live_readings() -> Result<()> {
    let Some(python) = tools::python_perhaps_with(&KERAS) else {
        return Ok(());
    };
    judges(&python, "keras_model.py", false).await
}

/// What an example exports is registered, promoted, scores every reading of a replay and pages; `spoilt` copies of it are
/// refused before.
async fn judges(python: &Path, example: &str, spoilt: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let corpus = folder.path().join("corpus.parquet");
    let rows = Plant::corpus(&corpus, "works", 0..1_200, 1_150)?;
    let onnx = folder.path().join("onnx");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    python_says(python, &[&examples.join(example), &corpus, &onnx])?;

    let postgres = Postgres::fresh().await?;
    let receiver = Receiver::start().await?;
    let (_up, data_dir) = up(folder.path(), postgres.url(), &receiver).await?;
    let files = Files {
        corpus: text(&corpus)?,
        data_dir: &data_dir,
    };
    let trained = files.train(&onnx, &["--register"]).await?;
    ensure!(trained["bundle"]["registered"]["champion"] == true, "{trained:#}");
    ensure!(trained["bundle"]["variant"] == "foreign", "{trained:#}");
    if spoilt {
        // Before the good one judges anything: the registry must live on for it.
        files.refuse_spoilt(python, &onnx, folder.path()).await?;
    }
    let scored = files.replay(&postgres).await?;
    ensure!(
        scored == rows as i64,
        "{scored} of {rows} readings were scored by the network"
    );
    receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    Ok(())
}

/// The commands of the story.
struct Files<'a> {
    corpus: &'a str,
    data_dir: &'a str,
}

impl Files<'_> {
    /// `tocsin train` with the files of a folder.
    async fn train(&self, onnx: &Path, rest: &[&str]) -> Result<Value> {
        let (autoencoder, decoder) = (onnx.join("autoencoder.onnx"), onnx.join("decoder.onnx"));
        let train = [
            "train",
            "--corpus",
            self.corpus,
            "--class",
            CLASS,
            "--variant",
            "foreign",
            "--latent",
            "12",
        ];
        let files = ["--autoencoder", text(&autoencoder)?, "--decoder", text(&decoder)?];
        let target = ["--data-dir", self.data_dir, "--format", "json"];
        let said = binary::run(&[&train[..], &files, &target, rest].concat(), &[]).await?;
        serde_json::from_str(&said).context("JSON")
    }

    /// Spoils the good files in ten ways; each must be refused with its reason.
    async fn refuse_spoilt(&self, python: &Path, good: &Path, folder: &Path) -> Result<()> {
        let (spoil, bad) = (folder.join("spoil.py"), folder.join("bad"));
        std::fs::write(&spoil, SPOIL)?;
        python_says(python, &[&spoil, good, &bad])?;
        for (name, reason) in REFUSED {
            let refused = self.refused(good, &bad.join(name)).await?;
            ensure!(refused.contains(reason), "{name}: {refused}");
        }
        Ok(())
    }

    /// Sends the corpus; how many readings the network scored.
    async fn replay(&self, postgres: &Postgres) -> Result<i64> {
        let replay = ["replay", "--register", "--class", CLASS];
        let of = ["--corpus", self.corpus, "--data-dir", self.data_dir];
        binary::run(&[&replay[..], &of].concat(), &[]).await?;
        let store = postgres.store().await?;
        let scored = sqlx::query_scalar("select count(*) from reading where residual is not null")
            .fetch_one(store.pool())
            .await?;
        store.close().await;
        Ok(scored)
    }

    /// What the registry says of a bundle in which a bad model was put in the place of the good one. The command that packs
    /// them refuses it as well.
    async fn refused(&self, good: &Path, bad: &Path) -> Result<String> {
        let packed = self.train(bad, &["--out", text(&bad.join("packed"))?]).await;
        let by_command = packed.err().context("it was packed")?.to_string();
        ensure!(!bad.join("packed").exists(), "{by_command}");
        let bundle = bad.join("bundle");
        self.train(good, &["--out", text(&bundle)?]).await?;
        replace(&bundle, &bad.join("autoencoder.onnx"))?;
        let push = [
            "models",
            "--data-dir",
            self.data_dir,
            "push",
            "--class",
            CLASS,
            text(&bundle)?,
        ];
        let pushed = binary::run(&push, &[]).await;
        Ok(pushed.err().context("the registry took it")?.to_string())
    }
}

/// Puts another network into a bundle's folder, with a manifest that knows it.
fn replace(bundle: &Path, network: &Path) -> Result<()> {
    let content = std::fs::read(network)?;
    let path = bundle.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let entry = serde_json::to_value(tocsin_models::manifest::FileEntry::of(&content))?;
    manifest["files"]["autoencoder.onnx"] = entry;
    std::fs::write(path, manifest.to_string())?;
    std::fs::write(bundle.join("autoencoder.onnx"), content)?;
    Ok(())
}

fn python_says(python: &Path, arguments: &[&Path]) -> Result<()> {
    let output = Command::new(python).args(arguments).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path")
}
