//! Alarms about instruments: raised and returned by rounds of watching, acknowledged by people.
//!
//! **Invariant:** one round at a time, over all replicas: whoever holds the row of the watch. One alarm per subject is
//! open, and what happens to it is appended to its events in the same transaction.

use sqlx::PgConnection;
use tocsin_domain::{
    OpenSensorAlarm, SensorAlarmChange, SensorAlarmKind, SensorAlarmSubject, SensorId, SiteId, Timestamp, TokenId,
};

use crate::changes::Channel;
use crate::row::{Time, time};
use crate::signal::{PlacedSignal, signals_placed};
use crate::{Error, Result, Store, Transaction};

pub mod list;

pub use list::{SensorAlarm, SensorAlarmEvent, SensorAlarmQuery, WaitingSensor};

/// A round of watching: what is known, and the lock under which it is decided about.
#[derive(Debug)]
pub struct SilenceRound {
    transaction: Transaction,
    /// When somebody watched last.
    pub watched_at: Option<Timestamp>,
    /// Since when somebody has without a break, as of then.
    pub listening_since: Option<Timestamp>,
    /// Every sensor that was ever heard of.
    pub sensors: Vec<PlacedSignal>,
    /// The alarms that are active, or that nobody has acknowledged.
    pub open: Vec<OpenSensorAlarm>,
}

struct OpenRow {
    alarm_id: i64,
    kind: String,
    sensor_id: Option<i32>,
    token_id: Option<i32>,
    since: Time,
    raised_at: Time,
    returned_at: Option<Time>,
}

impl TryFrom<OpenRow> for OpenSensorAlarm {
    type Error = Error;

    fn try_from(row: OpenRow) -> Result<Self> {
        Ok(Self {
            id: row.alarm_id,
            subject: subject(row.alarm_id, &row.kind, row.sensor_id, row.token_id)?,
            raised_at: row.raised_at.into(),
            since: row.since.into(),
            returned_at: row.returned_at.map(Timestamp::from),
        })
    }
}

fn subject(id: i64, kind: &str, sensor: Option<i32>, token: Option<i32>) -> Result<SensorAlarmSubject> {
    let parts = SensorAlarmKind::parse(kind)
        .and_then(|kind| SensorAlarmSubject::from_parts(kind, sensor.map(SensorId), token.map(TokenId)));
    parts.map_err(Error::impossible("sensor_alarm", "kind", id))
}

impl Store {
    /// Begins a round, if nobody else is at one.
    pub async fn silence_round(&self) -> Result<Option<SilenceRound>> {
        let mut transaction = self.begin().await?;
        let watch = sqlx::query!("select watched_at, listening_since from silence_watch for update skip locked")
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(watch) = watch else {
            return Ok(None);
        };
        let sensors = signals_placed(&mut transaction).await?;
        let open = sqlx::query_as!(
            OpenRow,
            "select alarm_id, kind, sensor_id, token_id, since, raised_at, returned_at from sensor_alarm
             where returned_at is null or acknowledged_at is null order by alarm_id",
        )
        .fetch_all(&mut *transaction)
        .await?;
        Ok(Some(SilenceRound {
            watched_at: watch.watched_at.map(Timestamp::from),
            listening_since: watch.listening_since.map(Timestamp::from),
            sensors,
            open: open.into_iter().map(OpenSensorAlarm::try_from).collect::<Result<_>>()?,
            transaction,
        }))
    }
}

impl SilenceRound {
    /// Does what was decided at `now`, and ends the round.
    pub async fn finish(
        mut self,
        changes: &[SensorAlarmChange],
        listening_since: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        for change in changes {
            let (id, kind) = match *change {
                SensorAlarmChange::Raise { subject, since } => (self.raise(subject, since, now).await?, "raised"),
                SensorAlarmChange::RaiseAgain { id, since } => {
                    raise_again(&mut self.transaction, id, since, now).await?;
                    (id, "raised")
                }
                SensorAlarmChange::Return { id } => {
                    come_back(&mut self.transaction, id, now).await?;
                    (id, "returned")
                }
            };
            event_append(&mut self.transaction, (id, kind), None, now).await?;
        }
        sqlx::query!(
            "update silence_watch set watched_at = $1, listening_since = $2",
            time(now),
            time(listening_since)
        )
        .execute(&mut *self.transaction)
        .await?;
        self.transaction.commit().await?;
        Ok(())
    }

    async fn raise(&mut self, subject: SensorAlarmSubject, since: Timestamp, now: Timestamp) -> Result<i64> {
        let of_subject = |placed: &&PlacedSignal| match subject {
            SensorAlarmSubject::Silent(sensor) | SensorAlarmSubject::Stuck(sensor) => placed.signal.sensor == sensor,
            SensorAlarmSubject::Gateway(gateway) => placed.signal.gateway == Some(gateway),
        };
        let placed = self.sensors.iter().find(of_subject);
        let placed = placed.ok_or_else(|| Error::not_found(format!("a signal of {subject:?}")))?;
        let id = sqlx::query_scalar!(
            "insert into sensor_alarm (kind, site_id, sensor_id, token_id, since, raised_at) values ($1, $2, $3, $4, $5, $6)
             returning alarm_id",
            subject.kind().as_str(),
            placed.site.0,
            subject.sensor().map(|sensor| sensor.0),
            placed.signal.gateway.map(|gateway| gateway.0),
            time(since),
            time(now),
        )
        .fetch_one(&mut *self.transaction)
        .await?;
        Ok(id)
    }
}

async fn raise_again(conn: &mut PgConnection, id: i64, since: Timestamp, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "update sensor_alarm set since = $2, raised_at = $3, returned_at = null where alarm_id = $1",
        id,
        time(since),
        time(now),
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn come_back(conn: &mut PgConnection, id: i64, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "update sensor_alarm set returned_at = $2 where alarm_id = $1",
        id,
        time(now)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Who acknowledged, with their words.
type Acknowledged<'a> = Option<(&'a str, &'a str)>;

async fn event_append(
    conn: &mut PgConnection,
    (id, kind): (i64, &str),
    acknowledged: Acknowledged<'_>,
    now: Timestamp,
) -> Result<()> {
    let (by, note) = acknowledged.unzip();
    let site = sqlx::query_scalar!(
        r#"insert into sensor_alarm_event (alarm_id, at, kind, by, note) values ($1, $2, $3, $4, $5)
           returning (select site_id from sensor_alarm where alarm_id = $1) as "site_id!""#,
        id,
        time(now),
        kind,
        by,
        note.unwrap_or_default(),
    )
    .fetch_one(&mut *conn)
    .await?;
    Channel::Incident.notify_at(conn, SiteId(site)).await
}
