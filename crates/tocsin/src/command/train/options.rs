//! What is asked of a training, looked at before a corpus is read.

use tocsin_domain::Invalid;
use tocsin_evaluate::Parts;

/// A split to learn from: any but those that set limits or test, which nothing may be learned from.
pub(super) fn learned(split: &str) -> Result<String, Invalid> {
    match Parts::purpose(split) {
        None => Ok(split.to_owned()),
        Some(purpose) => Err(Invalid::new(
            "split",
            format!("rows of {split} {purpose}: what teaches must not set limits or test"),
        )),
    }
}
