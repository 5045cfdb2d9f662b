//! Alarms about instruments as people see them, with the names they know, and their acknowledgement.

use tocsin_domain::{ClassId, IncidentState, Scope, SensorAlarmKind, Slug, Timestamp};

use super::event_append;
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// An alarm about an instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorAlarm {
    /// Its number.
    pub id: i64,
    /// What it says.
    pub kind: SensorAlarmKind,
    /// Where it stands.
    pub state: IncidentState,
    /// The site's name.
    pub site: Slug,
    /// The machine's and the sensor's name; none for a gateway.
    pub sensor: Option<(Slug, Slug)>,
    /// The name of the gateway's token; none when it is not known.
    pub gateway: Option<String>,
    /// How many sensors came by that gateway last.
    pub gateway_sensors: u32,
    /// The last reading; of a stuck sensor, the first of those that are the same.
    pub since: Timestamp,
    /// When it was raised, the last time.
    pub raised_at: Timestamp,
    /// When it returned, the last time.
    pub returned_at: Option<Timestamp>,
    /// Who acknowledged it, and when.
    pub acknowledged: Option<(String, Timestamp)>,
}

/// What happened to an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorAlarmEvent {
    /// When.
    pub at: Timestamp,
    /// `raised`, `returned` or `acknowledged`.
    pub kind: String,
    /// Who acknowledged it.
    pub by: Option<String>,
    /// In which words.
    pub note: String,
}

/// A sensor that has never said anything: no alarm, only not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingSensor {
    /// The site's name.
    pub site: Slug,
    /// The machine's name.
    pub machine: Slug,
    /// Its own name.
    pub sensor: Slug,
    /// When it was declared.
    pub created_at: Timestamp,
}

/// Which alarms are asked for.
#[derive(Debug, Clone, Default)]
pub struct SensorAlarmQuery {
    /// Only this one.
    pub id: Option<i64>,
    /// Only this site, when given.
    pub site: Option<Slug>,
    /// Leave out what has returned and was acknowledged.
    pub open_only: bool,
    /// Continue before this alarm, for the next page.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

struct AlarmRow {
    alarm_id: i64,
    kind: String,
    site: String,
    machine: Option<String>,
    sensor: Option<String>,
    gateway: Option<String>,
    gateway_sensors: i64,
    since: Time,
    raised_at: Time,
    returned_at: Option<Time>,
    acknowledged_at: Option<Time>,
    acknowledged_by: Option<String>,
}

fn state(returned: Option<Timestamp>, acknowledged: Option<&(String, Timestamp)>) -> IncidentState {
    match (returned, acknowledged) {
        (None, None) => IncidentState::ActiveUnacknowledged,
        (None, Some((by, at))) => IncidentState::ActiveAcknowledged {
            by: by.clone(),
            at: *at,
        },
        (Some(at), None) => IncidentState::ReturnedUnacknowledged { at },
        (Some(at), Some((by, _))) => IncidentState::Normal { at, by: by.clone() },
    }
}

impl TryFrom<AlarmRow> for SensorAlarm {
    type Error = Error;

    fn try_from(row: AlarmRow) -> Result<Self> {
        let id = row.alarm_id;
        let names = row.machine.zip(row.sensor).map(|(machine, sensor)| {
            Ok::<_, Error>((
                slug("machine", "name", id, &machine)?,
                slug("sensor", "name", id, &sensor)?,
            ))
        });
        let acknowledged = row.acknowledged_by.zip(row.acknowledged_at.map(Timestamp::from));
        let returned_at = row.returned_at.map(Timestamp::from);
        Ok(Self {
            id,
            kind: SensorAlarmKind::parse(&row.kind).map_err(Error::impossible("sensor_alarm", "kind", id))?,
            state: state(returned_at, acknowledged.as_ref()),
            site: slug("site", "name", id, &row.site)?,
            sensor: names.transpose()?,
            gateway: row.gateway,
            gateway_sensors: u32::try_from(row.gateway_sensors).unwrap_or(u32::MAX),
            since: row.since.into(),
            raised_at: row.raised_at.into(),
            returned_at,
            acknowledged,
        })
    }
}

impl Store {
    /// Alarms about instruments in `scope`, newest first.
    pub async fn sensor_alarm_list(&self, scope: &Scope, query: &SensorAlarmQuery) -> Result<Vec<SensorAlarm>> {
        let rows = sqlx::query_as!(
            AlarmRow,
            r#"select a.alarm_id, a.kind, i.name as site, m.name as "machine?", s.name as "sensor?", t.name as "gateway?",
                      (select count(*) from sensor_signal g where g.token_id = a.token_id) as "gateway_sensors!",
                      a.since, a.raised_at, a.returned_at, a.acknowledged_at, a.acknowledged_by
               from sensor_alarm a join site i on i.site_id = a.site_id
               left join sensor s on s.sensor_id = a.sensor_id left join machine m on m.machine_id = s.machine_id
               left join gateway_token t on t.token_id = a.token_id
               where ($1::int4[] is null or a.site_id = any($1)) and ($2::text is null or i.name = $2)
                 and ($3::int8 is null or a.alarm_id < $3) and ($4::int8 is null or a.alarm_id = $4)
                 and (not $5 or a.returned_at is null or a.acknowledged_at is null)
               order by a.alarm_id desc limit $6"#,
            scope.to_filter() as _,
            query.site.as_ref().map(Slug::as_str),
            query.before,
            query.id,
            query.open_only,
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(SensorAlarm::try_from).collect()
    }

    /// One alarm in `scope`.
    pub async fn sensor_alarm_get(&self, scope: &Scope, id: i64) -> Result<SensorAlarm> {
        let query = SensorAlarmQuery {
            id: Some(id),
            limit: 1,
            ..SensorAlarmQuery::default()
        };
        let found = self.sensor_alarm_list(scope, &query).await?;
        found
            .into_iter()
            .next()
            .ok_or_else(|| Error::not_found(format!("sensor alarm {id}")))
    }

    /// What happened to an alarm in `scope`, in order.
    pub async fn sensor_alarm_events(&self, scope: &Scope, id: i64) -> Result<Vec<SensorAlarmEvent>> {
        let rows = sqlx::query!(
            "select e.at, e.kind, e.by, e.note from sensor_alarm_event e join sensor_alarm a using (alarm_id)
             where a.alarm_id = $1 and ($2::int4[] is null or a.site_id = any($2)) order by e.event_id",
            id,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let events = rows.into_iter().map(|row| SensorAlarmEvent {
            at: row.at.into(),
            kind: row.kind,
            by: row.by,
            note: row.note,
        });
        Ok(events.collect())
    }

    /// A person takes an alarm, whether or not it has returned.
    ///
    /// # Errors
    /// A conflict when somebody has already.
    pub async fn sensor_alarm_acknowledge(
        &self,
        scope: &Scope,
        id: i64,
        (by, note): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&i64) -> NewAuditEntry,
    ) -> Result<SensorAlarm> {
        self.sensor_alarm_get(scope, id).await?;
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update sensor_alarm set acknowledged_at = $2, acknowledged_by = $3
             where alarm_id = $1 and acknowledged_at is null",
            id,
            time(now),
            by,
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::conflict(format!("sensor alarm {id} was acknowledged already")));
        }
        event_append(&mut transaction, (id, "acknowledged"), Some((by, note)), now).await?;
        let id = commit(transaction, id, audit, now).await?;
        self.sensor_alarm_get(scope, id).await
    }

    /// Sensors in `scope` of which there is no reading at all, by site, machine and name; at most `limit`.
    pub async fn sensors_waiting(&self, scope: &Scope, site: Option<&Slug>, limit: u32) -> Result<Vec<WaitingSensor>> {
        let rows = sqlx::query!(
            "select s.sensor_id, i.name as site, m.name as machine, s.name as sensor, s.created_at
             from sensor s join machine m using (machine_id) join site i using (site_id)
             where ($1::int4[] is null or m.site_id = any($1)) and ($2::text is null or i.name = $2) and m.class_id <> $3
               and not exists (select 1 from sensor_signal g where g.sensor_id = s.sensor_id)
               and not exists (select 1 from reading_with_kept r where r.sensor_id = s.sensor_id)
             order by i.name, m.name, s.name limit $4",
            scope.to_filter() as _,
            site.map(Slug::as_str),
            ClassId::CANARY.0,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let waiting = rows.into_iter().map(|row| {
            Ok(WaitingSensor {
                site: slug("site", "name", row.sensor_id, &row.site)?,
                machine: slug("machine", "name", row.sensor_id, &row.machine)?,
                sensor: slug("sensor", "name", row.sensor_id, &row.sensor)?,
                created_at: row.created_at.into(),
            })
        });
        waiting.collect()
    }
}
