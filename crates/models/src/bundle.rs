//! A bundle that has been read and checked.

use tocsin_domain::BundleDigest;

use crate::archive::{
    AUTOENCODER_FILE, BundleArchive, DECODER_FILE, DETECTORS_FILE, HELD_OUT_FILE, REPORT_FILE, TEMPORAL_FILE,
};
use crate::detectors::ClassDetectors;
use crate::error::BundleError;
use crate::held_out::HeldOut;
use crate::manifest::{FileEntry, MANIFEST_FILE, Manifest};

/// The parts of a bundle before they are packed.
#[derive(Debug, Clone)]
pub struct BundleParts {
    /// What it says about itself; `files` is filled in when it is packed.
    pub manifest: Manifest,
    /// The autoencoder as ONNX.
    pub autoencoder: Vec<u8>,
    /// The decoder as ONNX.
    pub decoder: Vec<u8>,
    /// The network over a sensor's last spectra as ONNX, where the manifest tells of one.
    pub temporal: Option<Vec<u8>>,
    /// The other detectors.
    pub detectors: ClassDetectors,
    /// Healthy scores of readings that were not trained on.
    pub held_out: HeldOut,
}

impl BundleParts {
    /// Packs the parts; lists their digests in the manifest.
    pub fn pack(mut self) -> BundleArchive {
        let mut files = vec![
            (AUTOENCODER_FILE.to_owned(), self.autoencoder),
            (DECODER_FILE.to_owned(), self.decoder),
            (DETECTORS_FILE.to_owned(), self.detectors.to_json()),
            (HELD_OUT_FILE.to_owned(), self.held_out.to_json()),
        ];
        files.extend(self.temporal.map(|temporal| (TEMPORAL_FILE.to_owned(), temporal)));
        self.manifest.files = files
            .iter()
            .map(|(name, content)| (name.clone(), FileEntry::of(content)))
            .collect();
        files.push((MANIFEST_FILE.to_owned(), self.manifest.to_json()));
        BundleArchive::new(files).expect("every known name is listed here once")
    }
}

/// One model version, read and checked: its files are those its manifest lists, and agree on the number of bins.
///
/// The networks are kept as bytes; [`crate::Network::load`] and [`crate::Decoder::load`] make them runnable.
#[derive(Debug)]
pub struct Bundle {
    digest: BundleDigest,
    manifest: Manifest,
    detectors: ClassDetectors,
    held_out: HeldOut,
    archive: BundleArchive,
}

impl Bundle {
    /// Reads the files of an archive.
    pub fn from_archive(archive: BundleArchive) -> Result<Self, BundleError> {
        let manifest = Manifest::from_json(archive.manifest_json())?;
        check_files(&archive, &manifest).map_err(|(file, reason)| BundleError::file(&file, reason))?;
        if manifest.temporal.is_some() != archive.named(TEMPORAL_FILE).is_some() {
            let reason = "a bundle has it if, and only if, its manifest has temporal";
            return Err(BundleError::file(TEMPORAL_FILE, reason));
        }
        let detectors = ClassDetectors::from_json(archive.file(DETECTORS_FILE))?;
        if detectors.bins() != usize::from(manifest.bins) {
            let reason = format!("bins: {}, the manifest has {}", detectors.bins(), manifest.bins);
            return Err(BundleError::file(DETECTORS_FILE, reason));
        }
        let held_out = HeldOut::from_json(archive.file(HELD_OUT_FILE))?;
        Ok(Self {
            digest: archive.digest(),
            manifest,
            detectors,
            held_out,
            archive,
        })
    }

    /// Its address.
    pub fn digest(&self) -> BundleDigest {
        self.digest
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The detectors beside the network.
    pub fn detectors(&self) -> &ClassDetectors {
        &self.detectors
    }

    /// Healthy scores of readings that were not trained on.
    pub fn held_out(&self) -> &HeldOut {
        &self.held_out
    }

    /// The files it was read from.
    pub fn archive(&self) -> &BundleArchive {
        &self.archive
    }

    pub(crate) fn autoencoder(&self) -> &[u8] {
        self.archive.file(AUTOENCODER_FILE)
    }

    pub(crate) fn temporal(&self) -> Option<&[u8]> {
        self.archive.named(TEMPORAL_FILE)
    }

    pub(crate) fn decoder(&self) -> &[u8] {
        self.archive.file(DECODER_FILE)
    }
}

/// Compares the files with what the manifest lists; the error is (file, what differs).
pub(crate) fn check_files(archive: &BundleArchive, manifest: &Manifest) -> Result<(), (String, String)> {
    for (name, found) in archive.entries() {
        let Some(listed) = manifest.files.get(&name) else {
            return Err((name, "is not listed in the manifest".to_owned()));
        };
        if *listed != found {
            let reason = format!(
                "differs from the manifest: {} bytes of sha256 {}, listed as {} bytes of {}",
                found.bytes, found.sha256, listed.bytes, listed.sha256
            );
            return Err((name, reason));
        }
    }
    if manifest.files.contains_key(REPORT_FILE) && archive.named(REPORT_FILE).is_none() {
        return Err((
            REPORT_FILE.to_owned(),
            "is listed in the manifest and missing".to_owned(),
        ));
    }
    Ok(())
}
