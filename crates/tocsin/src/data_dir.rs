//! The folder of a `tocsin up`: everything it keeps.
//!
//! ```text
//! service.credential   by which roles know each other, and commands on this machine come in
//! admin.password       of the account `admin`, as it was generated
//! endpoint             address of the running server
//! lock                 held while it runs
//! postgres/            the private cluster
//! objects/             bundles and the archive
//! ```

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A data folder.
#[derive(Debug, Clone)]
pub struct DataDir(PathBuf);

/// The right to run on a data folder; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl DataDir {
    /// `given`, or the default: `/var/lib/tocsin` for root, or else `$XDG_DATA_HOME/tocsin` or `~/.local/share/tocsin`.
    ///
    /// # Errors
    /// If there is no home folder either.
    pub fn find(given: Option<&Path>) -> Result<Self> {
        if let Some(given) = given {
            return Ok(Self(std::path::absolute(given).context("--data-dir")?));
        }
        // Root's home is closed to the user that postgres runs as.
        if rustix::process::geteuid().is_root() {
            return Ok(Self("/var/lib/tocsin".into()));
        }
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        data.map(|data| Self(data.join("tocsin")))
            .context("there is no HOME: give --data-dir")
    }

    /// Makes the folder, and takes the right to run on it.
    ///
    /// # Errors
    /// If it can't be made, or somebody else runs on it.
    pub fn lock(&self) -> Result<Lock> {
        fs::create_dir_all(&self.0).with_context(|| format!("making the data folder {}", self.0.display()))?;
        // Passable, so that the private postgres gets to its own folder within; each secret is closed by itself.
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o711))
            .with_context(|| format!("setting the rights of {}", self.0.display()))?;
        let path = self.0.join("lock");
        let file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => {
                bail!(
                    "another tocsin runs on {}: stop it, or give another --data-dir",
                    self.0.display()
                )
            }
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
        }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The service credential's file.
    pub fn service_credential(&self) -> PathBuf {
        self.0.join("service.credential")
    }

    /// The file with the generated password of the account `admin`.
    pub fn admin_password(&self) -> PathBuf {
        self.0.join("admin.password")
    }

    /// The private cluster's folder.
    pub fn postgres(&self) -> PathBuf {
        self.0.join("postgres")
    }

    /// The object folder.
    pub fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    /// Where the folder's Tocsin is served, if one was started.
    pub fn endpoint(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.join("endpoint")).ok()?;
        Some(text.trim().to_owned()).filter(|url| !url.is_empty())
    }

    /// Notes where it is served.
    ///
    /// # Errors
    /// If the file can't be written.
    pub fn write_endpoint(&self, url: &str) -> Result<()> {
        let path = self.0.join("endpoint");
        fs::write(&path, format!("{url}\n")).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_tocsin_at_a_time() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let data = DataDir::find(Some(&folder.path().join("new/data"))).expect("absolute");
        let lock = data.lock().expect("the first");
        assert!(
            data.lock()
                .expect_err("the second")
                .to_string()
                .contains("another tocsin")
        );
        drop(lock);
        assert!(data.lock().is_ok());
    }
}
