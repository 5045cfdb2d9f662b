//! The files of a bundle as bytes: in a folder, or as one deterministic tar.
//!
//! The same files give the same tar, byte for byte, and the same digest: SHA-256 over one line a file, sorted by name,
//! `name length sha256`. The digest is thus of the content, not of the way it is packed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use tocsin_domain::BundleDigest;

use crate::error::BundleError;
use crate::manifest::{FileEntry, MANIFEST_FILE, Manifest};

/// Name of the autoencoder in a bundle.
pub const AUTOENCODER_FILE: &str = "autoencoder.onnx";
/// Name of the decoder in a bundle.
pub const DECODER_FILE: &str = "decoder.onnx";
/// Name of the other detectors in a bundle.
pub const DETECTORS_FILE: &str = "detectors.json";
/// Name of the held-out scores in a bundle.
pub const HELD_OUT_FILE: &str = "held_out.json";

/// Name of the report of the training that a bundle came of: one HTML page, which needs nothing else.
pub const REPORT_FILE: &str = "report.html";

/// Name of the network over a sensor's last spectra, in a bundle that has one.
pub const TEMPORAL_FILE: &str = "temporal.onnx";

/// The files every bundle has.
const FILES: [&str; 5] = [
    AUTOENCODER_FILE,
    DECODER_FILE,
    DETECTORS_FILE,
    HELD_OUT_FILE,
    MANIFEST_FILE,
];
/// The files a bundle may have beside those; no other name is accepted.
const OPTIONAL_FILES: [&str; 2] = [REPORT_FILE, TEMPORAL_FILE];

/// How large an archive may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the tar.
    pub archive_bytes: u64,
    /// Bytes of each file in it.
    pub file_bytes: u64,
}

impl Default for ArchiveLimits {
    /// 128 MiB in all, 64 MiB a file: many times what 1024 bins take.
    fn default() -> Self {
        Self {
            archive_bytes: 128 << 20,
            file_bytes: 64 << 20,
        }
    }
}

/// The files of a bundle, all there that have to be, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleArchive {
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl BundleArchive {
    /// Takes the files as they are. Each name that a bundle has must be there exactly once, one that it may have at most once,
    /// and no other.
    pub fn new(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, BundleError> {
        let mut known = BTreeMap::new();
        for (name, content) in files {
            let name = known_name(&name)?;
            if known.insert(name, content).is_some() {
                return Err(BundleError::archive(format!("{name}: is there twice")));
            }
        }
        match FILES.iter().find(|name| !known.contains_key(*name)) {
            Some(missing) => Err(BundleError::archive(format!("{missing}: is missing"))),
            None => Ok(Self { files: known }),
        }
    }

    /// Reads the known files of a folder; other files in it are left alone.
    pub fn from_dir(folder: &Path) -> Result<Self, BundleError> {
        let there = OPTIONAL_FILES.iter().filter(|name| folder.join(name).exists());
        let read = |name: &&str| {
            let path = folder.join(name);
            let content = fs::read(&path).map_err(|source| BundleError::Folder {
                path: path.display().to_string(),
                source,
            })?;
            Ok(((*name).to_owned(), content))
        };
        Self::new(
            FILES
                .iter()
                .chain(there)
                .map(read)
                .collect::<Result<Vec<_>, BundleError>>()?,
        )
    }

    /// Writes the files into a folder, which is made if it is not there; of a bundle that was there before nothing stays.
    pub fn to_dir(&self, folder: &Path) -> Result<(), BundleError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| BundleError::Folder { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for (name, content) in &self.files {
            let path = folder.join(name);
            fs::write(&path, content).map_err(failed(&path))?;
        }
        for name in OPTIONAL_FILES.iter().filter(|name| !self.files.contains_key(*name)) {
            let path = folder.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Reads a tar from anywhere. Only plain files with the known names are accepted: no folders, links or paths.
    pub fn from_bytes(bytes: &[u8], limits: ArchiveLimits) -> Result<Self, BundleError> {
        let bad = |e: std::io::Error| BundleError::archive(format!("not a readable tar: {e}"));
        if bytes.len() as u64 > limits.archive_bytes {
            let reason = format!("{} bytes, the limit is {}", bytes.len(), limits.archive_bytes);
            return Err(BundleError::archive(reason));
        }
        let mut files = Vec::new();
        // Raw entries: GNU and PAX extensions are then entries of a foreign kind, and refused as such.
        for entry in tar::Archive::new(bytes).entries().map_err(bad)?.raw(true) {
            let mut entry = entry.map_err(bad)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = known_name(&name)?.to_owned();
            if !entry.header().entry_type().is_file() {
                return Err(BundleError::archive(format!("{name}: is not a plain file")));
            }
            if entry.size() > limits.file_bytes {
                let reason = format!("{name}: {} bytes, the limit is {}", entry.size(), limits.file_bytes);
                return Err(BundleError::archive(reason));
            }
            let most = FILES.len() + OPTIONAL_FILES.len();
            if files.len() == most {
                return Err(BundleError::archive(format!("more than {most} files")));
            }
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(bad)?;
            if content.len() as u64 != entry.size() {
                return Err(BundleError::archive(format!("{name}: is cut short")));
            }
            files.push((name, content));
        }
        Self::new(files)
    }

    /// The archive as a tar, with no trace of when or by whom it was made.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in &self.files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_entry_type(tar::EntryType::Regular);
            tar.append_data(&mut header, name, content.as_slice())
                .expect("a short name and a vector always fit a tar");
        }
        tar.into_inner().expect("a vector takes any bytes")
    }

    /// The address of this content.
    pub fn digest(&self) -> BundleDigest {
        let mut listing = Sha256::new();
        for (name, content) in &self.files {
            listing.update(format!("{name} {} {}\n", content.len(), sha256_hex(content)));
        }
        BundleDigest(listing.finalize().into())
    }

    /// Content of a file.
    pub(crate) fn file(&self, name: &'static str) -> &[u8] {
        // `new` is the only way in, and it asks for every name.
        &self.files[name]
    }

    /// Content of the file of this name, where there is one.
    pub fn named(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// The same bundle with the report of its training, listed in its manifest.
    pub fn with_report(mut self, report: String) -> Result<Self, BundleError> {
        let mut manifest = Manifest::from_json(self.manifest_json())?;
        let report = report.into_bytes();
        manifest.files.insert(REPORT_FILE.to_owned(), FileEntry::of(&report));
        self.files.insert(REPORT_FILE, report);
        self.files.insert(MANIFEST_FILE, manifest.to_json());
        Ok(self)
    }

    /// Length and digest of every file but the manifest.
    pub(crate) fn entries(&self) -> BTreeMap<String, FileEntry> {
        let listed = self.files.iter().filter(|(name, _)| **name != MANIFEST_FILE);
        listed
            .map(|(name, content)| ((*name).to_owned(), FileEntry::of(content)))
            .collect()
    }

    /// The manifest as JSON text, as it is in the archive.
    pub fn manifest_json(&self) -> &[u8] {
        self.file(MANIFEST_FILE)
    }
}

impl FileEntry {
    /// The entry that describes `content`.
    pub fn of(content: &[u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            sha256: sha256_hex(content),
        }
    }
}

fn known_name(name: &str) -> Result<&'static str, BundleError> {
    let known = FILES.into_iter().chain(OPTIONAL_FILES).find(|known| *known == name);
    known.ok_or_else(|| BundleError::archive(format!("{name:?} is not a file of a bundle")))
}

fn sha256_hex(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn read(bytes: &[u8]) -> Result<BundleArchive, String> {
        BundleArchive::from_bytes(bytes, ArchiveLimits::default()).map_err(|e| e.to_string())
    }

    /// A tar with one entry of this name and kind, however unwise.
    fn tar_with(name: &[u8], kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_size(0);
        header.set_entry_type(kind);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, [].as_slice()).unwrap();
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_tar_and_a_folder_give_back_the_same_files_and_digest() {
        let archive = fixture::archive();
        let bytes = archive.to_bytes();
        assert_eq!(bytes, archive.to_bytes());
        assert_eq!(read(&bytes).unwrap(), archive);
        let folder = tempfile::tempdir().unwrap();
        archive.to_dir(&folder.path().join("new")).unwrap();
        let again = BundleArchive::from_dir(&folder.path().join("new")).unwrap();
        assert_eq!(again.digest(), archive.digest());
        let missing = BundleArchive::from_dir(folder.path()).unwrap_err().to_string();
        assert!(missing.contains("autoencoder.onnx"), "{missing}");
    }

    #[test]
    fn the_digest_is_that_of_the_listing() {
        let files = FILES.map(|name| (name.to_owned(), name.as_bytes().to_vec()));
        let archive = BundleArchive::new(files).unwrap();
        let listing: String = FILES
            .iter()
            .map(|name| format!("{name} {} {}\n", name.len(), sha256_hex(name.as_bytes())))
            .collect();
        assert_eq!(archive.digest().to_string(), sha256_hex(listing.as_bytes()));
    }

    #[test]
    fn a_report_is_a_file_that_a_bundle_may_have() {
        let archive = fixture::archive();
        assert_eq!(archive.named(REPORT_FILE), None);
        let told = archive.clone().with_report("<p>told</p>".to_owned()).unwrap();
        assert_ne!(told.digest(), archive.digest());
        assert_eq!(read(&told.to_bytes()).unwrap(), told);
        let folder = tempfile::tempdir().unwrap();
        told.to_dir(folder.path()).unwrap();
        assert_eq!(BundleArchive::from_dir(folder.path()).unwrap(), told);
        assert_eq!(told.named(REPORT_FILE), Some("<p>told</p>".as_bytes()));
        crate::Bundle::from_archive(told.clone()).unwrap();

        let mut lacking = told;
        lacking.files.remove(REPORT_FILE);
        let error = crate::Bundle::from_archive(lacking).unwrap_err().to_string();
        assert_eq!(error, "report.html: is listed in the manifest and missing");
    }

    #[test]
    fn one_byte_of_any_file_changes_the_digest() {
        let archive = fixture::archive();
        for name in FILES {
            let mut other = archive.clone();
            other.files.get_mut(name).unwrap()[0] ^= 1;
            assert_ne!(other.digest(), archive.digest(), "{name}");
        }
    }

    #[test]
    fn paths_links_folders_and_strange_names_are_refused() {
        for name in [
            "../manifest.json",
            "/manifest.json",
            "./manifest.json",
            "a/manifest.json",
            "passwd",
            "Manifest.json",
        ] {
            let error = read(&tar_with(name.as_bytes(), tar::EntryType::Regular)).unwrap_err();
            assert!(error.contains("is not a file of a bundle"), "{error}");
        }
        for kind in [
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Directory,
            tar::EntryType::GNULongName,
        ] {
            let error = read(&tar_with(b"manifest.json", kind)).unwrap_err();
            assert!(error.contains("is not a plain file"), "{error}");
        }
        assert!(
            read(&tar_with(b"manifest.json", tar::EntryType::Regular))
                .unwrap_err()
                .contains("is missing")
        );
        let twice = BundleArchive::new([(MANIFEST_FILE.to_owned(), vec![]), (MANIFEST_FILE.to_owned(), vec![])]);
        assert!(twice.unwrap_err().to_string().contains("is there twice"));
    }

    #[test]
    fn what_is_no_tar_is_refused() {
        assert!(read(b"").unwrap_err().contains("is missing"));
        assert!(read(&[0x55; 4096]).is_err());
        let mut short = fixture::archive().to_bytes();
        short.truncate(short.len() / 2);
        assert!(read(&short).is_err());
    }
}
