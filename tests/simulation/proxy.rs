//! The line between a replica and Postgres: a socket of its own, on which each statement waits at the [`Gate`], and which
//! can be cut between any two of them.
//!
//! Notifications are not passed on: a pager looks for pages by itself every now and then, which is when the simulation
//! moves its time, and nothing else wakes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tocsin_store::Store;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::gate::{Deeds, Gate, Passage};
use crate::sabotage::Sabotage;
use crate::wire::{Frame, Names, Unit};

/// How long the server bears a transaction in which nothing is done.
const PATIENCE: &str = "set local idle_in_transaction_session_timeout";

/// What all lines share.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    /// The socket that Postgres listens at.
    pub(crate) server: PathBuf,
    pub(crate) gate: Gate,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Lines {
    /// A store at the end of a line of its own, whose socket is in `folder`. It can be reached until `dead`.
    ///
    /// Its pool never tires of waiting and never replaces a connection for its age: that goes by the machine's clock.
    pub(crate) fn store(&self, folder: &Path, replica: usize, dead: CancellationToken) -> Result<Store> {
        std::fs::create_dir_all(folder)?;
        self.open(folder, replica, dead)?;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(folder)
            .username("tocsin")
            .database("tocsin")
            .ssl_mode(PgSslMode::Disable);
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .acquire_timeout(Duration::from_hours(24))
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options);
        Ok(Store::from_pool(pool))
    }

    /// Opens a line for a replica: the folder of its socket is `folder`, which must be there. It stays open until `dead`.
    fn open(&self, folder: &Path, replica: usize, dead: CancellationToken) -> Result<()> {
        let socket = folder.join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&socket).with_context(|| format!("binding {}", socket.display()))?;
        let lines = self.clone();
        tokio::spawn(async move {
            let accept = async {
                while let Ok((client, _)) = listener.accept().await {
                    let (lines, dead) = (lines.clone(), dead.clone());
                    tokio::spawn(async move { lines.serve(client, replica, dead).await });
                }
            };
            dead.run_until_cancelled(accept).await;
            drop(std::fs::remove_file(socket));
        });
        Ok(())
    }

    /// What a statement becomes on its way. The server's own patience runs on the machine's clock, and nothing here does.
    fn rewrite(&self, text: &str) -> Option<String> {
        if text.starts_with(PATIENCE) {
            return Some(format!("{PATIENCE} = 0"));
        }
        self.sabotage.and_then(|sabotage| sabotage.rewrite(text))
    }

    async fn serve(&self, client: UnixStream, replica: usize, dead: CancellationToken) {
        let number = self.gate.open();
        let talk = async {
            let server = UnixStream::connect(&self.server).await?;
            let mut connection = Connection {
                lines: self,
                number,
                replica,
                client,
                server,
                deeds: Deeds::default(),
                ready: Vec::new(),
            };
            connection.talk().await
        };
        // Whatever ends it, both sides are gone then.
        drop(dead.run_until_cancelled(talk).await);
        self.gate.close(number);
    }
}

struct Connection<'a> {
    lines: &'a Lines,
    number: u64,
    replica: usize,
    client: UnixStream,
    server: UnixStream,
    /// Of the transaction at hand.
    deeds: Deeds,
    /// The last "ready for query".
    ready: Vec<u8>,
}

impl Connection<'_> {
    async fn talk(&mut self) -> Result<()> {
        self.greet().await?;
        let gate = self.lines.gate.clone();
        let mut names = Names::new();
        while let Some(unit) = Unit::read(&mut self.client, &mut names).await? {
            if unit.ends {
                return Ok(());
            }
            if unit.is_ping() {
                self.client.write_all(&self.ready).await?;
                continue;
            }
            let bytes = unit.bytes(|text| self.lines.rewrite(text));
            // What a client asks once on each connection: which of its connections that is goes by real time.
            let is_idle = ["LISTEN", "SELECT pg_type"].iter().any(|of| unit.text.starts_with(of));
            let text = if is_idle { "" } else { &unit.text };
            let passage = gate.pass(self.number, self.replica, text, &unit.parameters).await;
            if passage == Passage::CutBefore {
                return Ok(());
            }
            self.server.write_all(&bytes).await?;
            if unit.text.starts_with("insert into machine_event") {
                self.deeds.journal.extend(&unit.parameters);
            }
            let answer = self.answer(&unit.text).await?;
            if passage == Passage::CutAfter {
                return Ok(());
            }
            self.client.write_all(&answer).await?;
            gate.answered(self.number);
        }
        Ok(())
    }

    /// Passes on the beginning of a session.
    async fn greet(&mut self) -> Result<()> {
        self.lines.gate.pass(self.number, self.replica, "", &[]).await;
        let length = self.client.read_u32().await?;
        let mut rest = vec![0; length as usize - 4];
        self.client.read_exact(&mut rest).await?;
        self.server.write_u32(length).await?;
        self.server.write_all(&rest).await?;
        while let Some(frame) = Frame::read(&mut self.server).await? {
            if frame.kind == b'K' {
                let process = frame.body().first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
                self.lines.gate.served_by(self.number, process.context("a process")?);
            }
            self.client.write_all(frame.bytes()).await?;
            if frame.kind == b'Z' {
                self.ready = frame.bytes().to_vec();
                break;
            }
        }
        self.lines.gate.answered(self.number);
        Ok(())
    }

    /// The server's whole answer to a unit, and what is to be learned from it.
    async fn answer(&mut self, text: &str) -> Result<Vec<u8>> {
        let locks = text.contains("from machine_state") && text.contains("for update");
        let numbers = text.contains("nextval('reading_commit_seq')");
        let (mut answer, mut tag) = (Vec::new(), String::new());
        loop {
            let frame = Frame::read(&mut self.server).await?.context("the server has gone")?;
            match frame.kind {
                b'A' => continue,
                b'D' if locks => self
                    .deeds
                    .locked
                    .extend(frame.first_integer().map(|machine| machine as i32)),
                b'D' if numbers => self.deeds.commit_seq = frame.first_integer(),
                b'C' => tag = String::from_utf8_lossy(frame.body()).trim_end_matches('\0').to_owned(),
                _ => {}
            }
            answer.extend(frame.bytes());
            // A copy is answered by a "go on"; what follows is a unit of its own.
            if matches!(frame.kind, b'Z' | b'G') {
                if frame.kind == b'Z' {
                    self.ready = frame.bytes().to_vec();
                }
                if frame.kind == b'Z' && frame.body() == b"I" {
                    let deeds = std::mem::take(&mut self.deeds);
                    if tag == "COMMIT" {
                        self.lines.gate.committed(self.replica, deeds);
                    }
                }
                return Ok(answer);
            }
        }
    }
}
