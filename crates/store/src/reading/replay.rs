//! Logged scores of machines, a period at a time, as a replay takes them.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_domain::{
    BaselineId, BundleId, Condition, MachineId, OperatingState, ReadingFlags, ReadingKey, Scope, Scores, SensorId,
    Timestamp, Verdict,
};
use tokio_stream::StreamExt;

use super::{label, scores};
use crate::row::{Time, none_if_zero, time};
use crate::{Error, Result, Store};

/// Which logged scores are replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayQuery {
    /// Of these sensors.
    pub sensors: Vec<SensorId>,
    /// Scores of this bundle, when one is named.
    pub bundle: Option<BundleId>,
    /// Captured at or after this.
    pub from: Timestamp,
    /// Captured before this.
    pub to: Timestamp,
    /// Only those against these baselines, judged with the network; all when not given.
    pub baselines: Option<BTreeSet<BaselineId>>,
    /// History too.
    pub historical: bool,
}

/// A logged reading, as a replay takes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoggedScore {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// The number of the baseline it was judged against.
    pub baseline: Option<BaselineId>,
    /// Raw score per detector.
    pub scores: Scores,
    /// Clipped, degraded, historical, replay, late.
    pub flags: ReadingFlags,
    /// The decision.
    pub verdict: Verdict,
    /// What the machine was doing, as its sensor's baseline knows it.
    pub state: OperatingState,
}

/// The baselines of a sensor's present epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentBaselines {
    /// The one in force.
    pub active: BaselineId,
    /// The epoch's first.
    pub commissioned: BaselineId,
    /// All of them.
    pub of_epoch: BTreeSet<BaselineId>,
}

impl ReplayQuery {
    /// Whether a score of its sensors, bundle and period is taken.
    pub fn takes(&self, score: &LoggedScore) -> bool {
        (self.historical || !score.flags.contains(ReadingFlags::HISTORICAL))
            && self.baselines.as_ref().is_none_or(|baselines| {
                !score.flags.contains(ReadingFlags::DEGRADED)
                    && score.baseline.is_some_and(|baseline| baselines.contains(&baseline))
            })
    }
}

struct Row {
    sensor_id: i32,
    captured_at: Time,
    baseline_id: i32,
    residual: Option<f32>,
    overall_level: Option<f32>,
    isolation: Option<f32>,
    growth: Option<f32>,
    shift: Option<f32>,
    narrowband: Option<f32>,
    pca: Option<f32>,
    mahalanobis: Option<f32>,
    severity: Option<f32>,
    flags: i16,
    verdict: i16,
    condition_cell: i16,
    detector_mask: i16,
}

impl TryFrom<Row> for LoggedScore {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let key = ReadingKey {
            sensor: SensorId(row.sensor_id),
            captured_at: row.captured_at.into(),
        };
        let columns = [
            row.residual,
            row.overall_level,
            row.isolation,
            row.growth,
            row.shift,
            row.narrowband,
            row.pca,
            row.mahalanobis,
            row.severity,
        ];
        let impossible = |column| move |invalid| Error::impossible("reading", column, label(key))(invalid);
        Ok(Self {
            key,
            baseline: none_if_zero(row.baseline_id).map(BaselineId),
            scores: scores(columns, row.detector_mask).map_err(impossible("detector_mask"))?,
            flags: ReadingFlags(row.flags),
            verdict: Verdict::from_code(row.verdict).map_err(impossible("verdict"))?,
            // As in `StoredReading`: what a row says by its speed, it says by its verdict too.
            state: OperatingState::from_row(row.condition_cell, Condition::default())
                .map_err(impossible("condition_cell"))?,
        })
    }
}

impl Store {
    /// Logged scores that are hot, in no order: all at once, so the period is to be short for so many sensors.
    pub async fn scores_to_replay(&self, query: &ReplayQuery) -> Result<Vec<LoggedScore>> {
        let sensors: Vec<i32> = query.sensors.iter().map(|sensor| sensor.0).collect();
        let mut rows = sqlx::query_as!(
            Row,
            "select sensor_id, captured_at, baseline_id, residual, overall_level, isolation, growth, shift, narrowband,
                    pca, mahalanobis, severity, flags, verdict, condition_cell, detector_mask
             from reading
             where sensor_id = any($1) and ($2::int4 is null or bundle_id = $2) and captured_at >= $3 and captured_at < $4",
            &sensors,
            query.bundle.map(|bundle| bundle.0),
            time(query.from),
            time(query.to),
        )
        .fetch(&self.pool);
        let mut found = Vec::new();
        while let Some(row) = rows.next().await {
            let score = LoggedScore::try_from(row?)?;
            if query.takes(&score) {
                found.push(score);
            }
        }
        Ok(found)
    }

    /// The sensors of some machines, each with its machine.
    pub async fn sensors_of_machines(
        &self,
        scope: &Scope,
        machines: &[MachineId],
    ) -> Result<BTreeMap<SensorId, MachineId>> {
        let machines: Vec<i32> = machines.iter().map(|machine| machine.0).collect();
        let rows = sqlx::query!(
            "select s.sensor_id, s.machine_id from sensor s join machine m using (machine_id)
             where s.machine_id = any($1) and ($2::int4[] is null or m.site_id = any($2))",
            &machines,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let pairs = rows
            .iter()
            .map(|row| (SensorId(row.sensor_id), MachineId(row.machine_id)));
        Ok(pairs.collect())
    }

    /// The baselines of the present epoch of each of some sensors that has one in force.
    pub async fn baselines_present(&self, sensors: &[SensorId]) -> Result<BTreeMap<SensorId, PresentBaselines>> {
        let sensors: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
        let rows = sqlx::query!(
            r#"select k.sensor_id, k.baseline_id as "active!", k.commissioned_baseline_id as "commissioned!",
                      b.baseline_id as of_epoch
               from commissioning k join baseline b on b.sensor_id = k.sensor_id and b.epoch = k.epoch
               where k.sensor_id = any($1) and k.baseline_id is not null"#,
            &sensors,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut found = BTreeMap::new();
        for row in rows {
            let present = found
                .entry(SensorId(row.sensor_id))
                .or_insert_with(|| PresentBaselines {
                    active: BaselineId(row.active),
                    commissioned: BaselineId(row.commissioned),
                    of_epoch: BTreeSet::new(),
                });
            present.of_epoch.insert(BaselineId(row.of_epoch));
        }
        Ok(found)
    }

    /// The baselines of some sensors' present epochs.
    pub async fn baselines_of_epochs(&self, sensors: &[SensorId]) -> Result<BTreeSet<BaselineId>> {
        let sensors: Vec<i32> = sensors.iter().map(|sensor| sensor.0).collect();
        let ids = sqlx::query_scalar!(
            "select b.baseline_id from baseline b join commissioning k using (sensor_id, epoch)
             where b.sensor_id = any($1)",
            &sensors,
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(BaselineId).collect())
    }
}
