//! Training jobs: requests to fit a class's models anew, and the leases of those who do.
//!
//! A job is taken for a while (`SKIP LOCKED`, `leased_until`); who took it is told by its count of attempts, so that one
//! whose lease has run out and was taken by another changes nothing any more.
//!
//! **Invariant:** a class has at most one job that is queued or running.

mod readings;

use std::time::Duration;

use sqlx::PgConnection;
use tocsin_domain::lifecycle::TrainingState;
use tocsin_domain::{BundleId, ClassId, Invalid, Slug, Timestamp, TrainingJobId};

use crate::access::audit::commit;
use crate::access::{NewAuditEntry, audit_insert};
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

pub use readings::{Departure, SensorResidual, TrainingSensor};

/// A job as it is asked for.
#[derive(Debug, Clone)]
pub struct NewTrainingJob {
    /// The class.
    pub class: ClassId,
    /// Why, for the record.
    pub reason: String,
    /// Who asks.
    pub requested_by: String,
    /// Readings captured from the first time on and before the second are learned from.
    pub period: (Timestamp, Timestamp),
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingJob {
    /// Its number.
    pub id: TrainingJobId,
    /// The class.
    pub class: ClassId,
    /// The class's name.
    pub class_name: Slug,
    /// Why it was asked for.
    pub reason: String,
    /// Who asked.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
    /// Readings captured from the first time on and before the second are learned from.
    pub period: (Timestamp, Timestamp),
    /// Where it stands.
    pub state: TrainingState,
    /// Times it was taken.
    pub attempts: u32,
    /// Share of the work that is done, 0 to 1.
    pub progress: f32,
    /// What came of it.
    pub bundle: Option<BundleId>,
    /// Why the newest attempt that failed did; empty without one.
    pub error: String,
    /// When it was done, or given up.
    pub finished_at: Option<Timestamp>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt<'a> {
    /// With a bundle.
    Done(BundleId),
    /// In a way that another attempt would not change.
    Failed(&'a str),
    /// In a way that may pass: again after the time given.
    Postponed(&'a str, Timestamp),
}

struct JobRow {
    training_job_id: i32,
    class_id: i32,
    class: String,
    reason: String,
    requested_by: String,
    requested_at: Time,
    period_from: Time,
    period_to: Time,
    state: String,
    attempts: i32,
    progress: f32,
    bundle_id: Option<i32>,
    error: String,
    finished_at: Option<Time>,
}

impl TryFrom<JobRow> for TrainingJob {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self> {
        let id = row.training_job_id;
        let attempts = u32::try_from(row.attempts).map_err(|_| Invalid::new("attempts", "is negative"));
        Ok(Self {
            id: TrainingJobId(id),
            class: ClassId(row.class_id),
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
            reason: row.reason,
            requested_by: row.requested_by,
            requested_at: row.requested_at.into(),
            period: (row.period_from.into(), row.period_to.into()),
            state: TrainingState::parse(&row.state).map_err(Error::impossible("training_job", "state", id))?,
            attempts: attempts.map_err(Error::impossible("training_job", "attempts", id))?,
            progress: row.progress,
            bundle: row.bundle_id.map(BundleId),
            error: row.error,
            finished_at: row.finished_at.map(Into::into),
        })
    }
}

impl Store {
    /// Puts a job into the queue.
    ///
    /// # Errors
    /// `Conflict` when the class has one that is not finished.
    pub async fn training_job_request(
        &self,
        new: &NewTrainingJob,
        now: Timestamp,
        audit: impl FnOnce(&TrainingJob) -> NewAuditEntry,
    ) -> Result<TrainingJob> {
        let job = self.training_job_insert(new, None, now, audit).await?;
        job.ok_or_else(|| Error::conflict("the class has a training job that is not finished"))
    }

    /// The same, unless the class has an unfinished job, or one was asked for less than `cool_down` ago: then nothing.
    pub async fn training_job_request_rarely(
        &self,
        new: &NewTrainingJob,
        cool_down: Duration,
        now: Timestamp,
        audit: impl FnOnce(&TrainingJob) -> NewAuditEntry,
    ) -> Result<Option<TrainingJob>> {
        self.training_job_insert(new, Some(now - cool_down), now, audit).await
    }

    async fn training_job_insert(
        &self,
        new: &NewTrainingJob,
        none_since: Option<Timestamp>,
        now: Timestamp,
        audit: impl FnOnce(&TrainingJob) -> NewAuditEntry,
    ) -> Result<Option<TrainingJob>> {
        let mut transaction = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into training_job (class_id, reason, requested_by, requested_at, period_from, period_to, state)
             select $1, $2, $3, $4, $5, $6, 'queued'
             where $7::timestamptz is null
                or not exists (select 1 from training_job j where j.class_id = $1 and j.requested_at > $7)
             on conflict (class_id) where state in ('queued', 'running') do nothing
             returning training_job_id",
            new.class.0,
            new.reason,
            new.requested_by,
            time(now),
            time(new.period.0),
            time(new.period.1),
            none_since.map(time),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(id) = id else { return Ok(None) };
        let job = get(&mut transaction, TrainingJobId(id)).await?;
        commit(transaction, job, audit, now).await.map(Some)
    }

    /// One job.
    pub async fn training_job_get(&self, id: TrainingJobId) -> Result<TrainingJob> {
        get(&mut *self.acquire().await?, id).await
    }

    /// Jobs, newest first, of one class when given.
    pub async fn training_job_list(&self, class: Option<ClassId>, limit: u32) -> Result<Vec<TrainingJob>> {
        list(&mut *self.acquire().await?, None, class, limit).await
    }

    /// Takes the oldest job that waits, or whose trainer's lease has run out, until `now + lease`. A job that was taken
    /// `most_attempts` times is given up instead, and that is put on record.
    pub async fn training_job_lease(
        &self,
        now: Timestamp,
        lease: Duration,
        most_attempts: u32,
        audit: impl Fn(&TrainingJob) -> NewAuditEntry,
    ) -> Result<Option<TrainingJob>> {
        let most_attempts = i32::try_from(most_attempts).unwrap_or(i32::MAX);
        self.training_jobs_give_up(now, most_attempts, audit).await?;
        let id = sqlx::query_scalar!(
            "with next as (
                 select training_job_id from training_job
                 where state in ('queued', 'running') and (leased_until is null or leased_until <= $1) and attempts < $3
                 order by training_job_id limit 1 for update skip locked)
             update training_job j set state = 'running', attempts = attempts + 1, progress = 0, leased_until = $2
             from next where j.training_job_id = next.training_job_id returning j.training_job_id",
            time(now),
            time(now + lease),
            most_attempts,
        )
        .fetch_optional(&self.pool)
        .await?;
        match id {
            Some(id) => Ok(Some(self.training_job_get(TrainingJobId(id)).await?)),
            None => Ok(None),
        }
    }

    /// Gives up the jobs that were taken too often.
    async fn training_jobs_give_up(
        &self,
        now: Timestamp,
        most_attempts: i32,
        audit: impl Fn(&TrainingJob) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let given_up = sqlx::query_scalar!(
            "update training_job set state = 'failed', finished_at = $1, leased_until = null,
                 error = case when error = '' then 'its trainer stopped without a word' else error end
             where training_job_id in (
                 select training_job_id from training_job
                 where state in ('queued', 'running') and (leased_until is null or leased_until <= $1) and attempts >= $2
                 for update skip locked)
             returning training_job_id",
            time(now),
            most_attempts,
        )
        .fetch_all(&mut *transaction)
        .await?;
        for id in given_up {
            let job = get(&mut transaction, TrainingJobId(id)).await?;
            audit_insert(&mut transaction, &audit(&job), now).await?;
        }
        transaction.commit().await.map_err(Error::from)
    }

    /// Notes how far an attempt is and holds its lease for longer; whether it still has it.
    pub async fn training_job_progress(
        &self,
        job: &TrainingJob,
        progress: f32,
        leased_until: Timestamp,
    ) -> Result<bool> {
        let done = sqlx::query!(
            "update training_job set progress = $3, leased_until = $4
             where training_job_id = $1 and attempts = $2 and state = 'running'",
            job.id.0,
            job.attempts as i32,
            progress.clamp(0.0, 1.0),
            time(leased_until),
        )
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends an attempt, and with it the job, unless that waits for another; only an end is put on record.
    ///
    /// # Errors
    /// `Conflict` when another has taken the job over in the meantime.
    pub async fn training_job_end(
        &self,
        job: &TrainingJob,
        how: Attempt<'_>,
        now: Timestamp,
        audit: impl FnOnce(&TrainingJob) -> NewAuditEntry,
    ) -> Result<TrainingJob> {
        let (to, bundle, error, not_before) = match how {
            Attempt::Done(bundle) => (TrainingState::Done, Some(bundle), "", None),
            Attempt::Failed(error) => (TrainingState::Failed, None, error, None),
            Attempt::Postponed(error, until) => (TrainingState::Queued, None, error, Some(until)),
        };
        let to = job
            .state
            .advance(to)
            .map_err(|error| Error::conflict(error.to_string()))?;
        let mut transaction = self.begin().await?;
        let done = sqlx::query!(
            "update training_job set state = $3, bundle_id = $4, error = case when $5 = '' then error else $5 end,
                 leased_until = $6, finished_at = $7, progress = case when $3 = 'done' then 1 else progress end
             where training_job_id = $1 and attempts = $2 and state = 'running'",
            job.id.0,
            job.attempts as i32,
            to.as_str(),
            bundle.map(|bundle| bundle.0),
            error,
            not_before.map(time),
            to.is_finished().then_some(time(now)),
        )
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Err(Error::conflict(format!("training job {} was taken by another", job.id)));
        }
        let ended = get(&mut transaction, job.id).await?;
        if ended.state.is_finished() {
            return commit(transaction, ended, audit, now).await;
        }
        transaction.commit().await?;
        Ok(ended)
    }
}

async fn get(conn: &mut PgConnection, id: TrainingJobId) -> Result<TrainingJob> {
    let found = list(conn, Some(id), None, 1).await?.pop();
    found.ok_or_else(|| Error::not_found(format!("training job {id}")))
}

async fn list(
    conn: &mut PgConnection,
    id: Option<TrainingJobId>,
    class: Option<ClassId>,
    limit: u32,
) -> Result<Vec<TrainingJob>> {
    let rows = sqlx::query_as!(
        JobRow,
        r#"select j.training_job_id, j.class_id, c.name as class, j.reason, j.requested_by, j.requested_at,
                      j.period_from, j.period_to, j.state, j.attempts, j.progress, j.bundle_id, j.error, j.finished_at
               from training_job j join machine_class c using (class_id)
               where ($1::int4 is null or j.training_job_id = $1) and ($2::int4 is null or j.class_id = $2)
               order by j.training_job_id desc limit $3"#,
        id.map(|id| id.0),
        class.map(|class| class.0),
        i64::from(limit),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TrainingJob::try_from).collect()
}
