//! A private Postgres cluster in a folder: what `tocsin up`, the demo and the tests run on when nobody gives them a
//! database.
//!
//! It listens on a unix socket that its owner alone may open, and on no TCP port, so it asks for no password. Postgres
//! refuses to run as root: then the folder belongs to the user `postgres`, or else `nobody`, and its tools run as that.
//!
//! **Invariant:** a server left over from a process that was killed is found through its `postmaster.pid` and used
//! again; two servers never run on one folder, and a folder half initialised is begun anew.

mod socket;
mod tools;
mod user;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::tools::Tools;
use self::user::Owner;

/// The database made in it.
const DATABASE: &str = "tocsin";
/// The superuser.
const ROLE: &str = "tocsin";
/// The settings file of ours, included at the end of `postgresql.conf` and written anew at each start.
const SETTINGS: &str = "tocsin.conf";

/// A running cluster. When it is dropped without [`stop`](Self::stop), the server is told to stop, and not waited for.
#[derive(Debug)]
pub struct Cluster {
    tools: Tools,
    data: PathBuf,
    socket: PathBuf,
    reused: bool,
    stopped: bool,
}

impl Cluster {
    /// Whether Postgres' programs are on this machine; tests that need them skip when they are not.
    pub fn is_possible() -> bool {
        tools::find(None).is_ok()
    }

    /// Starts the cluster in `folder`, which is made and initialised when it isn't there yet. Progress is logged.
    ///
    /// # Errors
    /// If Postgres isn't installed, the folder can't be used, or the server doesn't start; its own last words are in the
    /// error.
    pub async fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let folder = fs::canonicalize(folder).with_context(|| format!("finding {}", folder.display()))?;
        let data = folder.join("data");
        let owner = Owner::choose()?;
        owner.take_over(&folder)?;
        let tools = Tools::new(tools::find(version_of(&data).as_deref())?, owner);
        tools.can_use(&folder).await?;

        if version_of(&data).is_none() {
            initialise(&tools, &folder, &data).await?;
        }
        if let Some(socket) = tools.running(&data).await? {
            tracing::info!(folder = %folder.display(), "the private postgres is still running, using it");
            return Self {
                tools,
                data,
                socket,
                reused: true,
                stopped: false,
            }
            .ready()
            .await;
        }
        let socket = socket::folder(&folder, tools.owner())?;
        configure(&tools, &data, &socket)?;
        tracing::info!(folder = %folder.display(), "starting the private postgres");
        tools.start(&data, &folder.join("postgres.log")).await?;
        Self {
            tools,
            data,
            socket,
            reused: false,
            stopped: false,
        }
        .ready()
        .await
    }

    async fn ready(self) -> Result<Self> {
        self.create_database(DATABASE).await?;
        Ok(self)
    }

    /// Makes a database of this name; one that is there already is fine.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.tools.create_database(&self.socket, ROLE, name).await
    }

    /// The database made with the cluster.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// A database of the cluster, by name.
    pub fn url_of(&self, database: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("host", &self.socket.to_string_lossy());
        format!("postgres://{ROLE}@localhost/{database}?{}", query.finish())
    }

    /// Whether the server was running already.
    pub fn was_running(&self) -> bool {
        self.reused
    }

    /// Stops the server in fast mode: open transactions are rolled back, everything is written.
    ///
    /// # Errors
    /// If it doesn't stop in time.
    pub async fn stop(mut self) -> Result<()> {
        self.stopped = true;
        self.tools.stop(&self.data).await
    }

    /// Leaves the server running, for the next start to find.
    pub fn leave_running(mut self) {
        self.stopped = true;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.stopped {
            self.tools.stop_without_waiting(&self.data);
        }
    }
}

/// The major version that made a data folder; `None` if none did.
fn version_of(data: &Path) -> Option<String> {
    let version = fs::read_to_string(data.join("PG_VERSION")).ok()?;
    Some(version.trim().to_owned())
}

/// Initialises beside the place and moves there when all is well, so that a start that was interrupted leaves no half
/// cluster behind.
async fn initialise(tools: &Tools, folder: &Path, data: &Path) -> Result<()> {
    if data.exists() {
        bail!(
            "{} is there, but is no postgres data folder: move it away",
            data.display()
        );
    }
    let partial = folder.join("data.partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).with_context(|| format!("removing the unfinished {}", partial.display()))?;
    }
    tracing::info!(folder = %folder.display(), "making a private postgres cluster");
    tools.initialise(&partial, ROLE).await?;
    let main = partial.join("postgresql.conf");
    let mut text = fs::read_to_string(&main).with_context(|| format!("reading {}", main.display()))?;
    text.push_str("\ninclude_if_exists = '");
    text.push_str(SETTINGS);
    text.push_str("'\n");
    fs::write(&main, text).with_context(|| format!("writing {}", main.display()))?;
    fs::rename(&partial, data).with_context(|| format!("moving {} to {}", partial.display(), data.display()))
}

fn configure(tools: &Tools, data: &Path, socket: &Path) -> Result<()> {
    let quoted = socket.to_string_lossy().replace('\'', "''");
    let settings = format!(
        "# Written at each start.\n\
         listen_addresses = ''\n\
         unix_socket_directories = '\"{quoted}\"'\n\
         unix_socket_permissions = 0700\n\
         max_connections = 100\n\
         shared_buffers = '128MB'\n\
         max_wal_size = '2GB'\n\
         wal_compression = on\n\
         log_checkpoints = off\n"
    );
    let path = data.join(SETTINGS);
    fs::write(&path, settings).with_context(|| format!("writing {}", path.display()))?;
    tools.owner().own(&path)
}

#[cfg(test)]
mod tests;
