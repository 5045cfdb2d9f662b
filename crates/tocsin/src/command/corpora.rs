//! Corpus files as arguments: which, which sensors of them, and what their spectra are.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tocsin_corpus::{Filter, Glob, Progress, Reader, Row, read_each};
use tocsin_domain::SpectrumSpec;
use tocsin_models::CorpusFile;

/// Corpora to read.
#[derive(Debug, Clone, Args)]
pub(super) struct Corpora {
    /// Parquet files of readings
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(super) corpus: Vec<PathBuf>,
    /// Only sensors whose site/machine/sensor matches; * stands for anything
    #[arg(long, value_name = "GLOB")]
    pub(super) sensors: Option<String>,
    /// JSON file with the spectrum specification [default: what lies beside the corpora as FILE.spec.json; else acceleration in
    /// g, peak, 0 to 12.8 kHz, full scale 10 g]
    #[arg(long, value_name = "FILE")]
    pub(super) spec: Option<PathBuf>,
}

impl Corpora {
    /// The rows of some splits, or all of them.
    pub(super) fn read(&self, splits: Option<&[&str]>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.each(splits, "reading", |row| {
            rows.push(row);
            Ok(())
        })?;
        if rows.is_empty() {
            return Err(no_rows(splits));
        }
        Ok(rows)
    }

    /// What rows are wanted.
    pub(super) fn filter(&self, splits: Option<&[&str]>) -> Result<Filter> {
        let sensors = self
            .sensors
            .as_deref()
            .map(|glob| Glob::parse("--sensors", glob))
            .transpose()?;
        let splits = splits.map(|splits| splits.iter().map(|split| (*split).to_owned()).collect());
        Ok(Filter { sensors, splits })
    }

    /// The bins of the first row of some splits, or of all; nothing where there is none.
    pub(super) fn first_bins(&self, splits: Option<&[&str]>) -> Result<Option<usize>> {
        let filter = self.filter(splits)?;
        for path in &self.corpus {
            if let Some(row) = Reader::with_filter(path, filter.clone())?.next() {
                return Ok(Some(row?.bins.len()));
            }
        }
        Ok(None)
    }

    /// Rows of all files, those that are not wanted included.
    pub(super) fn rows_total(&self) -> Result<u64> {
        self.corpus
            .iter()
            .map(|path| Ok(Reader::open(path)?.rows_total()))
            .sum()
    }

    /// Goes through the rows of some splits, or all of them, one by one.
    pub(super) fn each(&self, splits: Option<&[&str]>, doing: &str, take: impl FnMut(Row) -> Result<()>) -> Result<()> {
        let bar = bar(0, &format!("{doing} {{pos}}/{{len}} rows"));
        let progress = |progress: Progress| {
            bar.set_length(progress.rows_total);
            bar.set_position(progress.rows_read);
        };
        read_each(&self.corpus, &self.filter(splits)?, progress, take)?;
        bar.finish_and_clear();
        Ok(())
    }

    /// The specification: the one given, that beside each corpus, or the corpus default for the rows' bins.
    pub(super) fn spec(&self, rows: &[Row]) -> Result<SpectrumSpec> {
        self.spec_of(rows.first().map_or(0, |row| row.bins.len()))
    }

    /// The same for rows of so many bins.
    pub(super) fn spec_of(&self, bins: usize) -> Result<SpectrumSpec> {
        let bins = u16::try_from(bins).with_context(|| format!("--corpus: {bins} bins are too many"))?;
        if let Some(path) = &self.spec {
            return given_spec(path);
        }
        let mut specs = self.corpus.iter().map(|corpus| match spec_beside(corpus) {
            path if path.exists() => read_spec(&path).with_context(|| path.display().to_string()),
            _ => Ok(SpectrumSpec::corpus_default(bins).parse()?),
        });
        let first = specs.next().context("--corpus: there is none")??;
        for (spec, corpus) in specs.zip(&self.corpus[1..]) {
            if spec? != first {
                bail!(
                    "--corpus: the specification beside {} is another than that of {}; --spec says which holds",
                    corpus.display(),
                    self.corpus[0].display()
                );
            }
        }
        Ok(first)
    }

    /// The files' digests and how many rows are in each, for the record of what a model was trained on.
    pub(super) fn digests(&self) -> Result<Vec<CorpusFile>> {
        self.corpus
            .iter()
            .map(|path| digest(path, Reader::open(path)?.rows_total()))
            .collect()
    }
}

/// Why there is nothing to do.
pub(super) fn no_rows(splits: Option<&[&str]>) -> Error {
    let splits = splits.unwrap_or_default().join(", ");
    anyhow!("--corpus: no row passes --sensors and the splits {splits}")
}

/// The specification in a file that was given for it.
pub(super) fn given_spec(path: &Path) -> Result<SpectrumSpec> {
    read_spec(path).with_context(|| format!("--spec {}", path.display()))
}

/// Puts a specification beside a corpus that is written, or takes away one that was left there where the corpus needs none.
pub(super) fn write_spec_beside(corpus: &Path, spec: &SpectrumSpec) -> Result<()> {
    let path = spec_beside(corpus);
    let says = || path.display().to_string();
    if *spec == SpectrumSpec::corpus_default(spec.bins) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).with_context(says),
            _ => return Ok(()),
        }
    }
    let text = serde_json::to_string_pretty(spec).context("the specification")?;
    std::fs::write(&path, text + "\n").with_context(says)?;
    eprintln!("their specification written to {}", path.display());
    Ok(())
}

/// Where the specification of a corpus's spectra may lie.
fn spec_beside(corpus: &Path) -> PathBuf {
    let mut name = corpus.as_os_str().to_owned();
    name.push(".spec.json");
    name.into()
}

fn read_spec(path: &Path) -> Result<SpectrumSpec> {
    let spec: SpectrumSpec = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    Ok(spec.parse()?)
}

fn digest(path: &Path, rows: u64) -> Result<CorpusFile> {
    let reading = || format!("--corpus {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).with_context(reading)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    Ok(CorpusFile {
        name,
        sha256: hex::encode(hash.finalize()),
        rows,
    })
}

/// A progress bar on a terminal, nothing elsewhere.
pub(super) fn bar(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{bar:30}} {template}"));
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
