//! Hearing that something changed, without asking over and over.
//!
//! Writers `NOTIFY` in their transaction; a listener hears after the commit. Notifications carry the site at most: whoever
//! hears one reads the present state, so one that was missed during a reconnect costs nothing either.

use std::collections::BTreeSet;

use sqlx::PgConnection;
use sqlx::postgres::{PgListener, PgNotification};
use tocsin_domain::{MachineId, Scope, SiteId};

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
    /// An incident opened, changed or closed, or an alarm about a sensor did. Told with its site.
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

    /// The same of something at one site.
    pub async fn notify_at(self, conn: &mut PgConnection, site: SiteId) -> Result<()> {
        sqlx::query("select pg_notify($1, $2::int4::text)")
            .bind(self.as_str())
            .bind(site.0)
            .execute(conn)
            .await?;
        Ok(())
    }

    /// The same of something at the site of a machine.
    pub async fn notify_of(self, conn: &mut PgConnection, machine: MachineId) -> Result<()> {
        sqlx::query("select pg_notify($1, site_id::text) from machine where machine_id = $2")
            .bind(self.as_str())
            .bind(machine.0)
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// A listener on one channel. It holds one connection of the pool.
#[derive(Debug)]
pub struct Changes(PgListener);

impl Changes {
    /// Waits until something may have changed, and says where. Also returns after a lost connection came back, because
    /// what happened in between was not heard: it may have been anywhere.
    pub async fn changed(&mut self) -> Result<Scope> {
        let first = self.0.try_recv().await?;
        let mut heard = vec![first.as_ref().and_then(site)];
        // Further notifications that are here already are of the same: the present state is read once.
        while let Some(more) = self.0.next_buffered() {
            heard.push(site(&more));
        }
        let sites: Option<BTreeSet<SiteId>> = heard.into_iter().collect();
        Ok(sites.map_or(Scope::All, Scope::Sites))
    }
}

/// The site that a notification names.
fn site(notification: &PgNotification) -> Option<SiteId> {
    notification.payload().parse().ok().map(SiteId)
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
