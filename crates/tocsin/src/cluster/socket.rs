//! Where the server's socket is.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::user::Owner;

/// A socket's whole path has at most 107 bytes (`sun_path` of `unix(7)`), and the server appends `/.s.PGSQL.5432.lock`.
const LONGEST: usize = 107 - "/.s.PGSQL.5432.lock".len();

/// The folder for the socket: in the cluster's own folder, or, when that has too long a name, in the temp folder. It is
/// made, and closed to all but its owner.
pub(super) fn folder(cluster: &Path, owner: &Owner) -> Result<PathBuf> {
    let near = cluster.join("run");
    let folder = if near.as_os_str().len() <= LONGEST {
        near
    } else {
        far(cluster)
    };
    match fs::create_dir(&folder) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => distrust(&folder)?,
        Err(error) => return Err(error).with_context(|| format!("making {}", folder.display())),
    }
    let metadata = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&folder, metadata).with_context(|| format!("closing {} to others", folder.display()))?;
    owner.own(&folder)?;
    Ok(folder)
}

/// The same name for the same cluster, so that a later start makes no second one.
fn far(cluster: &Path) -> PathBuf {
    let digest = Sha256::digest(cluster.as_os_str().as_encoded_bytes());
    std::env::temp_dir().join(format!("tocsin-{}", hex::encode(&digest[..8])))
}

/// The temp folder is everybody's: what is there under our name must be a folder, and not a link to one.
fn distrust(folder: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(folder).with_context(|| format!("looking at {}", folder.display()))?;
    let me = rustix::process::geteuid().as_raw();
    // Root gives its folders away to the server's user, and may open all.
    if !metadata.is_dir() || (me != 0 && metadata.uid() != me) {
        bail!("{} is not a folder of ours: remove it", folder.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_with_a_long_name_has_its_socket_in_the_temp_folder() {
        let (short, long) = (Path::new("/srv/tocsin"), "/srv/".to_owned() + &"x".repeat(120));
        assert!(far(Path::new(&long)).as_os_str().len() <= LONGEST);
        assert_ne!(far(short), far(Path::new(&long)));
        let temp = tempfile::tempdir().expect("a temp folder");
        let near = folder(temp.path(), &Owner::Myself).expect("a folder");
        assert_eq!(near, temp.path().join("run"));
        assert_eq!(fs::metadata(&near).expect("made").permissions().mode() & 0o777, 0o700);
    }
}
