//! The work order of an incident in the maintenance system.

use sqlx::PgConnection;
use tocsin_domain::{IncidentId, MachineId, Scope, Timestamp};

use crate::changes::Channel;
use crate::row::time;
use crate::{Result, Store};

/// A work order in the maintenance system (CMMS).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkOrder {
    /// What it is called there.
    pub reference: String,
    /// Where it can be looked at.
    pub url: Option<String>,
    /// When it was ordered.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// Keeps the work order of an incident; a later one takes the place of an earlier. The caller holds the machine's lock.
pub async fn work_order_set(conn: &mut PgConnection, incident: IncidentId, order: &WorkOrder) -> Result<()> {
    let machine = sqlx::query_scalar!(
        r#"insert into work_order (incident_id, reference, url, ordered_at, ordered_by) values ($1, $2, $3, $4, $5)
           on conflict (incident_id) do update set reference = $2, url = $3, ordered_at = $4, ordered_by = $5
           returning (select machine_id from incident where incident_id = $1) as "machine_id!""#,
        incident.0,
        order.reference,
        order.url,
        time(order.at),
        order.by,
    )
    .fetch_one(&mut *conn)
    .await?;
    Channel::Incident.notify_of(conn, MachineId(machine)).await
}

impl Store {
    /// The work order of an incident in `scope`.
    pub async fn work_order(&self, scope: &Scope, incident: IncidentId) -> Result<Option<WorkOrder>> {
        let row = sqlx::query!(
            "select w.reference, w.url, w.ordered_at, w.ordered_by
             from work_order w join incident n using (incident_id) join machine m using (machine_id)
             where w.incident_id = $1 and ($2::int4[] is null or m.site_id = any($2))",
            incident.0,
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|row| WorkOrder {
            reference: row.reference,
            url: row.url,
            at: row.ordered_at.into(),
            by: row.ordered_by,
        }))
    }
}
