//! Builds of the scorer, named once each: rows bear their numbers.

use tocsin_domain::{ScorerBuildId, Timestamp};

use crate::row::time;
use crate::{Error, Result, Store};

impl Store {
    /// The number of a build (`version+kernels`, as the scorer says it), given to it when it is new.
    pub async fn scorer_build_id(&self, build: &str, now: Timestamp) -> Result<ScorerBuildId> {
        sqlx::query!(
            "insert into scorer_build (build, first_used_at)
             select $1, $2 where not exists (select 1 from scorer_build where build = $1) on conflict do nothing",
            build,
            time(now),
        )
        .execute(&self.pool)
        .await?;
        let id = sqlx::query_scalar!("select scorer_build_id from scorer_build where build = $1", build)
            .fetch_one(&self.pool)
            .await?;
        Ok(ScorerBuildId(id))
    }

    /// What a build is called.
    pub async fn scorer_build_by_id(&self, id: ScorerBuildId) -> Result<String> {
        sqlx::query_scalar!("select build from scorer_build where scorer_build_id = $1", id.0)
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| Error::not_found(format!("scorer build {id}")))
    }
}
