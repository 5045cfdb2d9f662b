//! Which user a private cluster belongs to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The user that owns the folder and runs the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Whoever runs this process.
    Myself,
    /// Another, because this process runs as root.
    Other {
        /// As it is called in `/etc/passwd`.
        name: String,
        uid: u32,
        gid: u32,
    },
}

impl Owner {
    /// Myself; for root, `postgres` if there is such a user, or else `nobody`.
    pub(super) fn choose() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Myself);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| look_up(&passwd, name))
            .context("postgres refuses to run as root, and this machine has neither a user postgres nor nobody")
    }

    /// Makes `folder` the owner's, for it alone.
    pub(super) fn take_over(&self, folder: &Path) -> Result<()> {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("closing {} to others", folder.display()))?;
        self.own(folder)
    }

    /// Gives one file or folder to the owner.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        match self {
            Self::Myself => Ok(()),
            Self::Other { name, uid, gid } => {
                chown(path, Some(*uid), Some(*gid)).with_context(|| format!("giving {} to {name}", path.display()))
            }
        }
    }

    /// A program that will run as the owner.
    pub(super) fn command(&self, program: &Path) -> std::process::Command {
        use std::os::unix::process::CommandExt;

        let mut command = std::process::Command::new(program);
        if let Self::Other { uid, gid, .. } = self {
            // The supplementary groups of root go as well.
            command.uid(*uid).gid(*gid);
        }
        command
    }

    /// Fails, with the way out, when the owner can't get to `folder`: say, below root's home.
    pub(super) fn explain(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Myself => bail!("{} can't be written by you", folder.display()),
            Self::Other { name, .. } => bail!(
                "postgres can't run as root, so it runs as {name}, who can't get to {}: choose a folder that every user \
                 may pass through (--data-dir /var/lib/tocsin), or run tocsin as an ordinary user",
                folder.display()
            ),
        }
    }
}

fn look_up(passwd: &str, name: &str) -> Option<Owner> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Owner::Other {
        name: name.to_owned(),
        uid,
        gid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres2:x:5:6::/:/bin/sh\npostgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        let expected = Owner::Other {
            name: "postgres".to_owned(),
            uid: 101,
            gid: 104,
        };
        assert_eq!(look_up(passwd, "postgres"), Some(expected));
        assert_eq!(look_up(passwd, "post"), None);
    }
}
