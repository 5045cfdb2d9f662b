//! Evidence: flagged readings with what each bin adds to them. Whether that is a squared error or a share of the deviation
//! from the baseline follows from the reading's deciding detector.

use sqlx::PgConnection;
use tocsin_domain::{IncidentId, MachineId, ReadingKey, Scope, SensorId, Slug, Timestamp};

use crate::reading::{StoredReading, StoredRow};
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// A piece of evidence to be kept.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvidence {
    /// The flagged reading.
    pub key: ReadingKey,
    /// Its machine.
    pub machine: MachineId,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// What each bin adds to what the reading's deciding detector saw, little-endian half floats: its share of the deviation
    /// where that was measured against a baseline, else its squared error; none when no bins are known.
    pub bin_error: Option<Vec<u8>>,
}

/// A kept piece of evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The flagged reading, and what was decided about it.
    pub reading: StoredReading,
    /// The sensor's name.
    pub sensor_name: Slug,
    /// What each bin adds, as in [`NewEvidence`].
    pub bin_error: Option<Vec<u8>>,
}

struct EvidenceRow {
    stored: StoredRow,
    sensor: String,
    bin_error: Option<Vec<u8>>,
}

impl TryFrom<EvidenceRow> for Evidence {
    type Error = Error;

    fn try_from(row: EvidenceRow) -> Result<Self> {
        Ok(Self {
            sensor_name: slug("sensor", "name", row.stored.sensor_id, &row.sensor)?,
            reading: row.stored.try_into()?,
            bin_error: row.bin_error,
        })
    }
}

/// Keeps evidence; what is kept already stays as it is. Answers how many pieces are new: the caller caps and counts.
pub async fn evidence_insert(conn: &mut PgConnection, evidence: &[NewEvidence]) -> Result<u64> {
    let sensors: Vec<i32> = evidence.iter().map(|piece| piece.key.sensor.0).collect();
    let captured: Vec<Time> = evidence.iter().map(|piece| time(piece.key.captured_at)).collect();
    let machines: Vec<i32> = evidence.iter().map(|piece| piece.machine.0).collect();
    let incidents: Vec<Option<i64>> = evidence
        .iter()
        .map(|piece| piece.incident.map(|incident| incident.0))
        .collect();
    let errors: Vec<Option<&[u8]>> = evidence.iter().map(|piece| piece.bin_error.as_deref()).collect();
    let done = sqlx::query!(
        "insert into evidence (sensor_id, captured_at, machine_id, incident_id, bin_error)
         select u.sensor_id, u.captured_at, u.machine_id, u.incident_id, u.bin_error
         from unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::int8[], $5::bytea[])
              u(sensor_id, captured_at, machine_id, incident_id, bin_error)
         order by 1, 2 on conflict do nothing",
        &sensors,
        &captured,
        &machines,
        &incidents as _,
        &errors as _,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Gives an incident the evidence of its machine from `from` on that no incident has yet; answers how many pieces.
pub async fn evidence_attach(
    conn: &mut PgConnection,
    machine: MachineId,
    from: Timestamp,
    incident: IncidentId,
) -> Result<u64> {
    let done = sqlx::query!(
        "update evidence set incident_id = $3
         where incident_id is null and machine_id = $1 and captured_at >= $2
           and sensor_id in (select sensor_id from sensor where machine_id = $1)",
        machine.0,
        time(from),
        incident.0,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

impl Store {
    /// An incident's evidence by capture time, with the readings' decisions; at most `limit`, the newest of it.
    pub async fn evidence_list(&self, scope: &Scope, incident: IncidentId, limit: u32) -> Result<Vec<Evidence>> {
        let rows = sqlx::query!(
            r#"select r.sensor_id as "sensor_id!", r.captured_at as "captured_at!", r.received_at as "received_at!",
                    r.commit_seq as "commit_seq!", r.threshold_set_id as "threshold_set_id!",
                    r.bundle_id as "bundle_id!", r.baseline_id as "baseline_id!", r.residual, r.overall_level,
                    r.isolation, r.growth, r.shift, r.narrowband, r.pca, r.mahalanobis, r.severity,
                    r.flags as "flags!", r.verdict as "verdict!", r.condition_cell as "condition_cell!",
                    r.detector_mask as "detector_mask!", s.name as sensor, e.bin_error
             from evidence e join reading_with_kept r on r.sensor_id = e.sensor_id and r.captured_at = e.captured_at
             join sensor s on s.sensor_id = e.sensor_id join machine m on m.machine_id = e.machine_id
             where e.incident_id = $1 and ($2::int4[] is null or m.site_id = any($2))
             order by e.captured_at desc, e.sensor_id desc limit $3"#,
            incident.0,
            scope.to_filter() as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let rows = rows.into_iter().rev().map(|row| EvidenceRow {
            stored: StoredRow {
                sensor_id: row.sensor_id,
                captured_at: row.captured_at,
                received_at: row.received_at,
                commit_seq: row.commit_seq,
                threshold_set_id: row.threshold_set_id,
                bundle_id: row.bundle_id,
                baseline_id: row.baseline_id,
                residual: row.residual,
                overall_level: row.overall_level,
                isolation: row.isolation,
                growth: row.growth,
                shift: row.shift,
                narrowband: row.narrowband,
                pca: row.pca,
                mahalanobis: row.mahalanobis,
                severity: row.severity,
                flags: row.flags,
                verdict: row.verdict,
                condition_cell: row.condition_cell,
                detector_mask: row.detector_mask,
            },
            sensor: row.sensor,
            bin_error: row.bin_error,
        });
        rows.map(Evidence::try_from).collect()
    }

    /// What was kept of the bins of one flagged reading, as in [`NewEvidence`].
    pub async fn evidence_bin_error(
        &self,
        scope: &Scope,
        sensor: SensorId,
        captured_at: Timestamp,
    ) -> Result<Option<Vec<u8>>> {
        let found = sqlx::query_scalar!(
            "select e.bin_error from evidence e join machine m using (machine_id)
             where e.sensor_id = $1 and e.captured_at = $2 and ($3::int4[] is null or m.site_id = any($3))",
            sensor.0,
            time(captured_at),
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.flatten())
    }
}
