//! What a training is told by in the end: the closing line, and the rows for a person to look at.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use serde_json::{Value, json};
use tocsin_domain::Slug;
use tocsin_models::{BundleArchive, Manifest, Selection};
use tocsin_trainer::Suspect;

use crate::rollout::Rollout;

/// Rows taken for healthy and hardly so, the worst of them, beside a bundle's files.
const SUSPECTS_FILE: &str = "suspects.json";

/// The bundle in short.
pub(super) fn describe(archive: &BundleArchive) -> Result<Value> {
    let manifest = Manifest::from_json(archive.manifest_json())?;
    let Selection {
        left_out,
        sampled_by_split,
        ..
    } = manifest.lineage.selection.unwrap_or_default();
    Ok(json!({
        "digest": archive.digest().to_string(),
        "class": manifest.class.as_str(),
        "variant": manifest.variant.as_str(),
        "objective": manifest.objective,
        "bins": manifest.bins,
        "latent": manifest.latent,
        "rows_by_split": manifest.lineage.rows_by_split,
        "sampled_by_split": sampled_by_split,
        "left_out": left_out,
        "metrics": manifest.metrics,
        "temporal": manifest.temporal,
    }))
}

/// What became of it in the registry.
pub(super) fn registered(rollout: &Rollout) -> Value {
    json!({
        "bundle_id": rollout.bundle_id,
        "threshold_set_id": rollout.threshold_set_id,
        "champion": rollout.champion,
    })
}

/// Writes a bundle to a folder, and beside it the rows to be looked at.
pub(super) fn keep(folder: &Path, archive: &BundleArchive, suspects: &[Suspect]) -> Result<()> {
    archive.to_dir(folder)?;
    let path = folder.join(SUSPECTS_FILE);
    let json = serde_json::to_vec_pretty(suspects).context(SUSPECTS_FILE)?;
    std::fs::write(&path, json).with_context(|| path.display().to_string())
}

/// Why a bundle is not registered, and where it is: in `out`, or from now on in a folder of its own in the current one.
pub(super) fn kept(
    error: Error,
    out: Option<&Path>,
    class: &Slug,
    archive: &BundleArchive,
    suspects: &[Suspect],
) -> Error {
    let folder = if let Some(out) = out {
        out.to_owned()
    } else {
        let digest = archive.digest().to_string();
        let own = PathBuf::from(format!("{class}-{}", &digest[..12]));
        if let Err(lost) = keep(&own, archive, suspects) {
            return error.context(format!(
                "--register: the bundle can't be kept in {}: {lost:#}",
                own.display()
            ));
        }
        own
    };
    error.context(format!(
        "--register: the bundle is kept in {}, for tocsin models push",
        folder.display()
    ))
}

/// The most memory this process had at a time, in MiB, where the system says (Linux).
pub(super) fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = peak.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
