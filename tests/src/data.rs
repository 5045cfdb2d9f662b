//! Real vibration data, which is read and never shipped. `TOCSIN_DATA` names its folder; `../shared/data` beside the
//! checkout otherwise.

use std::path::{Path, PathBuf};

/// A data file, if it is there. Where it isn't, a story is skipped and says so; in CI that is a failure.
///
/// # Panics
/// If the file is missing and `CI` is set.
pub fn file(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("TOCSIN_DATA").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    eprintln!(
        "skipped: {} is not there; set TOCSIN_DATA to the folder with the vibration data",
        path.display()
    );
    None
}
