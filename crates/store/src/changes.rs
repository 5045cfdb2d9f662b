//! Hearing that something changed, without asking over and over.
//!
//! Writers `NOTIFY` in their transaction; a listener hears after the commit. Notifications carry nothing: whoever hears
//! one reads the present state, so one that was missed during a reconnect costs nothing either.

use sqlx::PgConnection;
use sqlx::postgres::PgListener;

use crate::{Result, Store};

/// What a listener waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A class is judged by something else.
    Binding,
    /// A sensor got a baseline, or lost the one it had.
    Baseline,
    /// A class was made, or got other severity zones.
    Zones,
    /// A page waits to be delivered.
    Outbox,
    /// An incident opened, changed or closed.
    Incident,
}

impl Channel {
    /// The channel's name in Postgres.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Binding => "tocsin_binding",
            Self::Baseline => "tocsin_baseline",
            Self::Zones => "tocsin_zones",
            Self::Outbox => "tocsin_outbox",
            Self::Incident => "tocsin_incident",
        }
    }

    /// Tells the listeners when the transaction of `conn` commits.
    pub async fn notify(self, conn: &mut PgConnection) -> Result<()> {
        sqlx::query("select pg_notify($1, '')")
            .bind(self.as_str())
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// A listener on one channel. It holds one connection of the pool.
#[derive(Debug)]
pub struct Changes(PgListener);

impl Changes {
    /// Waits until something may have changed. Also returns after a lost connection came back, because what happened
    /// in between was not heard.
    pub async fn changed(&mut self) -> Result<()> {
        self.0.try_recv().await?;
        // Further notifications that are here already mean the same: read the present state once.
        while self.0.next_buffered().is_some() {}
        Ok(())
    }
}

impl Store {
    /// Listens to `channel` from now on.
    pub async fn changes(&self, channel: Channel) -> Result<Changes> {
        let mut listener = PgListener::connect_with(&self.pool).await?;
        listener.listen(channel.as_str()).await?;
        Ok(Changes(listener))
    }

    /// Changes of what judges the classes.
    pub async fn binding_changes(&self) -> Result<Changes> {
        self.changes(Channel::Binding).await
    }
}
