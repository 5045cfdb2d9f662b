//! Secrets of destinations: each in a file of its own, read anew for each use, for they are rotated under a pager that
//! runs for months. An error names the file and keeps what it holds to itself.

use std::path::Path;

use reqwest::header::HeaderValue;
use tocsin_domain::Invalid;

/// Reads a secret; `field` is its setting, such as `token_file`. White space around it goes.
pub(crate) fn read(field: &str, path: &Path) -> Result<String, Invalid> {
    let secret = std::fs::read_to_string(path).map_err(|error| invalid(field, path, &error.to_string()))?;
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(invalid(field, path, "it is empty"));
    }
    Ok(secret.to_owned())
}

/// The bearer token in a file, as a header.
pub(crate) fn authorization(path: &Path) -> Result<HeaderValue, Invalid> {
    const FIELD: &str = "token_file";
    let token = read(FIELD, path)?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| invalid(FIELD, path, "it holds characters that no header can"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(field: &str, path: &Path, reason: &str) -> Invalid {
    let reason = format!("{}: {reason}", path.display());
    Invalid::new(format!("pager.destinations.{field}"), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_can_t_be_used_is_named_by_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let missing = read("secret_file", &path).unwrap_err();
        assert_eq!(missing.field, "pager.destinations.secret_file");
        std::fs::write(&path, " \n").unwrap();
        assert!(read("secret_file", &path).unwrap_err().reason.ends_with("it is empty"));
        std::fs::write(&path, "hush\u{1}hush\n").unwrap();
        let odd = authorization(&path).unwrap_err().to_string();
        assert!(odd.contains("token") && !odd.contains("hush"), "{odd}");
        std::fs::write(&path, "hush\n").unwrap();
        let value = authorization(&path).unwrap();
        assert_eq!(value.to_str().unwrap(), "Bearer hush");
        assert!(!format!("{value:?}").contains("hush"));
    }
}
