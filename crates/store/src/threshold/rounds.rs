//! Classes whose limits are proposed on a schedule: which are due, and what came of it.

use std::time::Duration;

use tocsin_domain::{ClassId, ThresholdSetId, Timestamp};

use crate::row::time;
use crate::{Result, Store};

impl Store {
    /// Takes the class whose last round is the longest ago, at least a period, of those that have limits in force, until
    /// `now + lease`: one at a time, so that nobody holds what they come to only later. A class's first round is a period
    /// after limits came into force.
    pub async fn threshold_round_lease(
        &self,
        now: Timestamp,
        period: Duration,
        lease: Duration,
    ) -> Result<Option<ClassId>> {
        sqlx::query!(
            "insert into threshold_round (class_id, proposed_at, outcome)
             select b.class_id, min(b.changed_at), '' from class_binding b
             join threshold_set t on t.threshold_set_id = b.threshold_set_id
             where t.state = 'active' group by 1 on conflict do nothing",
        )
        .execute(&self.pool)
        .await?;
        let class = sqlx::query_scalar!(
            "with due as (
                 select r.class_id from threshold_round r
                 where r.proposed_at <= $2 and (r.leased_until is null or r.leased_until <= $1)
                   and exists (select 1 from threshold_set t where t.class_id = r.class_id and t.state = 'active')
                 order by r.proposed_at limit 1 for update skip locked)
             update threshold_round r set leased_until = $3 from due where r.class_id = due.class_id
             returning r.class_id",
            time(now),
            time(now - period),
            time(now + lease),
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(class.map(ClassId))
    }

    /// Records a round of a class, with the set it proposed, if it did, and what came of it in words; ends the lease.
    pub async fn threshold_round_record(
        &self,
        class: ClassId,
        (set, outcome): (Option<ThresholdSetId>, &str),
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query!(
            "update threshold_round set proposed_at = $2, leased_until = null, threshold_set_id = $3, outcome = $4
             where class_id = $1",
            class.0,
            time(now),
            set.map(|set| set.0),
            outcome,
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
