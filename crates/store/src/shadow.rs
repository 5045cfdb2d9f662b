//! What a class's challenger says of readings the champion has judged: kept for some days, compared, and judging nothing.

use tocsin_domain::{BundleId, ClassId, ContentHash, Detector, ReadingKey, Scope, Scores, SensorId, Timestamp};

use crate::row::{Time, time};
use crate::{Result, Store};

/// The detectors that a bundle brings along. The others compare with a baseline and say the same under every bundle.
pub const OF_A_BUNDLE: [Detector; 5] = [
    Detector::Residual,
    Detector::OverallLevel,
    Detector::Isolation,
    Detector::Pca,
    Detector::Mahalanobis,
];

/// A challenger's word on one reading.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowScore {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// What was read then: a resend with other content is another reading.
    pub content_hash: ContentHash,
    /// The challenger.
    pub bundle: BundleId,
    /// Its scores; the residual is there.
    pub scores: Scores,
}

/// A reading that both bundles have scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The sensor and the capture time.
    pub key: ReadingKey,
    /// The champion's scores, as stored with the reading.
    pub champion: Scores,
    /// The challenger's.
    pub challenger: Scores,
    /// Taken during an incident of its machine, or in the day before it.
    pub around_incident: bool,
}

impl Store {
    /// Keeps a challenger's scores of readings that are stored, and of no others. Said twice it changes nothing; answers
    /// how many are new.
    pub async fn shadow_insert(&self, shadows: &[ShadowScore], now: Timestamp) -> Result<u64> {
        let sensors: Vec<i32> = shadows.iter().map(|row| row.key.sensor.0).collect();
        let captured: Vec<Time> = shadows.iter().map(|row| time(row.key.captured_at)).collect();
        let hashes: Vec<i64> = shadows.iter().map(|row| row.content_hash.0).collect();
        let bundles: Vec<i32> = shadows.iter().map(|row| row.bundle.0).collect();
        let of = |detector| -> Vec<Option<f32>> { shadows.iter().map(|row| row.scores.get(detector)).collect() };
        let done = sqlx::query!(
            "insert into shadow_score (sensor_id, captured_at, bundle_id, scored_at, residual, overall_level, isolation,
                 pca, mahalanobis)
             select u.sensor_id, u.captured_at, u.bundle_id, $10, u.residual, u.overall_level, u.isolation, u.pca,
                    u.mahalanobis
             from unnest($1::int4[], $2::timestamptz[], $3::int8[], $4::int4[], $5::real[], $6::real[], $7::real[],
                         $8::real[], $9::real[])
                  u(sensor_id, captured_at, content_hash, bundle_id, residual, overall_level, isolation, pca,
                    mahalanobis)
             join reading r on r.sensor_id = u.sensor_id and r.captured_at = u.captured_at
                  and r.content_hash = u.content_hash
             where u.residual is not null
             order by u.bundle_id, u.sensor_id, u.captured_at on conflict do nothing",
            &sensors,
            &captured,
            &hashes,
            &bundles,
            &of(Detector::Residual) as _,
            &of(Detector::OverallLevel) as _,
            &of(Detector::Isolation) as _,
            &of(Detector::Pca) as _,
            &of(Detector::Mahalanobis) as _,
            time(now),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Forgets what was said before a time; answers how many rows.
    pub async fn shadow_forget(&self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query!("delete from shadow_score where scored_at < $1", time(before))
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected())
    }

    /// Readings of a class in `scope` that were judged by `champion` and shadow-scored by `challenger`, captured since a
    /// time; the newest `limit`, newest first. Those of machines that stood still are left out.
    pub async fn shadow_compared(
        &self,
        scope: &Scope,
        class: ClassId,
        (champion, challenger): (BundleId, BundleId),
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<Compared>> {
        let rows = sqlx::query!(
            r#"select d.sensor_id, d.captured_at,
                      r.residual as a0, r.overall_level as a1, r.isolation as a2, r.pca as a3, r.mahalanobis as a4,
                      d.residual as b0, d.overall_level as b1, d.isolation as b2, d.pca as b3, d.mahalanobis as b4,
                      exists (select 1 from incident i where i.machine_id = m.machine_id
                              and d.captured_at >= i.opened_at - interval '1 day'
                              and (i.closed_at is null or d.captured_at < i.closed_at)) as "around_incident!"
               from shadow_score d join sensor s using (sensor_id) join machine m using (machine_id)
               join reading r on r.sensor_id = d.sensor_id and r.captured_at = d.captured_at
               where d.bundle_id = $1 and r.bundle_id = $2 and m.class_id = $3 and d.captured_at >= $4
                 and ($5::int4[] is null or m.site_id = any($5)) and (r.rpm is null or r.rpm <> 0)
                 and r.condition_cell <> 3
               order by d.captured_at desc, d.sensor_id limit $6"#,
            challenger.0,
            champion.0,
            class.0,
            time(since),
            scope.to_filter() as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let compared = rows.into_iter().map(|row| Compared {
            key: ReadingKey {
                sensor: SensorId(row.sensor_id),
                captured_at: row.captured_at.into(),
            },
            champion: scores([row.a0, row.a1, row.a2, row.a3, row.a4]),
            challenger: scores([Some(row.b0), row.b1, row.b2, row.b3, row.b4]),
            around_incident: row.around_incident,
        });
        Ok(compared.collect())
    }
}

/// In the order of [`OF_A_BUNDLE`].
fn scores(of: [Option<f32>; 5]) -> Scores {
    let mut scores = Scores::default();
    for (detector, score) in OF_A_BUNDLE.into_iter().zip(of) {
        if let Some(score) = score {
            scores.set(detector, score);
        }
    }
    scores
}
