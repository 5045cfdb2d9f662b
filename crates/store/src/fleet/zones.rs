//! Severity zones of classes: the highest version is in force, the others are the history.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::PgConnection;
use tocsin_domain::{ClassId, Invalid, SeverityZones, Slug, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::row::{Time, duration, time};
use crate::{Error, Result, Store};

/// What a class says of its overall levels, since when, and who said so.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassZones {
    /// The zones; empty where they were taken away.
    pub zones: SeverityZones,
    /// Counts up from 1.
    pub version: i32,
    /// When they were set.
    pub changed_at: Timestamp,
    /// By whom.
    pub changed_by: String,
    /// Why.
    pub reason: String,
}

/// A class as it judges by severity.
#[derive(Debug, Clone, PartialEq)]
pub struct SeverityClass {
    /// The class.
    pub class: ClassId,
    /// One decision interval.
    pub step: Duration,
    /// Their version; 0 where it never had any.
    pub version: i32,
    /// Its zones; empty where it has none.
    pub zones: SeverityZones,
}

struct ZonesRow {
    class_id: i32,
    version: i32,
    definition: String,
    changed_at: Time,
    changed_by: String,
    reason: String,
}

impl TryFrom<ZonesRow> for ClassZones {
    type Error = Error;

    fn try_from(row: ZonesRow) -> Result<Self> {
        Ok(Self {
            zones: zones(row.class_id, &row.definition)?,
            version: row.version,
            changed_at: row.changed_at.into(),
            changed_by: row.changed_by,
            reason: row.reason,
        })
    }
}

fn zones(class: i32, definition: &str) -> Result<SeverityZones> {
    serde_json::from_str::<SeverityZones>(definition)
        .map_err(|error| Invalid::new("definition", error.to_string()))
        .and_then(SeverityZones::parse)
        .map_err(Error::impossible("class_severity_zones", "definition", class))
}

impl Store {
    /// Every class with the zones in force; those that never had any are missing.
    pub async fn zones_by_class(&self) -> Result<HashMap<ClassId, ClassZones>> {
        let rows = sqlx::query_as!(
            ZonesRow,
            r#"select distinct on (class_id) class_id, version, definition::text as "definition!", changed_at,
                      changed_by, reason
               from class_severity_zones order by class_id, version desc"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok((ClassId(row.class_id), row.try_into()?)))
            .collect()
    }

    /// The zones that a class ever had, newest first: the first are in force.
    pub async fn zones_history(&self, class: ClassId) -> Result<Vec<ClassZones>> {
        let rows = sqlx::query_as!(
            ZonesRow,
            r#"select class_id, version, definition::text as "definition!", changed_at, changed_by, reason
               from class_severity_zones where class_id = $1 order by version desc"#,
            class.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ClassZones::try_from).collect()
    }

    /// How classes judge by severity: all of them, or just one.
    pub async fn severity_classes(&self, only: Option<ClassId>) -> Result<Vec<SeverityClass>> {
        let rows = sqlx::query!(
            r#"select c.class_id, c.step_ms, z.version as "version?", z.definition as "definition?"
               from machine_class c
               left join lateral (select version, definition::text as definition from class_severity_zones z
                                  where z.class_id = c.class_id order by version desc limit 1) z on true
               where $1::int4 is null or c.class_id = $1"#,
            only.map(|class| class.0),
        )
        .fetch_all(&self.pool)
        .await?;
        let class = |id, step_ms, version: Option<i32>, definition: Option<String>| {
            Ok(SeverityClass {
                class: ClassId(id),
                step: duration("machine_class", "step_ms", id, step_ms, Duration::from_millis)?,
                version: version.unwrap_or_default(),
                zones: definition.map_or(Ok(SeverityZones::default()), |definition| zones(id, &definition))?,
            })
        };
        rows.into_iter()
            .map(|row| class(row.class_id, row.step_ms, row.version, row.definition))
            .collect()
    }

    /// Gives a class other zones. Its sensors that stand refused are looked at again; what a person accepted stays
    /// accepted.
    pub async fn zones_set(
        &self,
        class: &Slug,
        zones: &SeverityZones,
        why: (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&ClassZones) -> NewAuditEntry,
    ) -> Result<ClassZones> {
        let mut transaction = self.begin().await?;
        let id = sqlx::query_scalar!(
            "select class_id from machine_class where name = $1 for update",
            class.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("class {class}")))?;
        let set = insert(&mut transaction, id, zones, why, now).await?;
        sqlx::query!(
            "update commissioning k set refused_at = null, refused_reason = null, leased_until = null
             from sensor s join machine m using (machine_id)
             where s.sensor_id = k.sensor_id and m.class_id = $1 and k.state = 'commissioning'
               and k.refused_at is not null and k.zone_accepted_at is null",
            id,
        )
        .execute(&mut *transaction)
        .await?;
        Channel::Zones.notify(&mut transaction).await?;
        commit(transaction, set, audit, now).await
    }
}

/// The next version of a class's zones; the caller tells whom it concerns.
pub(super) async fn insert(
    conn: &mut PgConnection,
    class: i32,
    zones: &SeverityZones,
    (by, reason): (&str, &str),
    now: Timestamp,
) -> Result<ClassZones> {
    let row = sqlx::query_as!(
        ZonesRow,
        r#"insert into class_severity_zones (class_id, version, definition, changed_at, changed_by, reason)
               select $1, coalesce(max(version), 0) + 1, $2::text::jsonb, $3, $4, $5
               from class_severity_zones where class_id = $1
               returning class_id, version, definition::text as "definition!", changed_at, changed_by, reason"#,
        class,
        serde_json::to_string(zones).expect("zones are plain numbers and names"),
        time(now),
        by,
        reason,
    )
    .fetch_one(conn)
    .await?;
    row.try_into()
}
