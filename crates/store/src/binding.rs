//! What judges each class: one row per change, the highest version in force.

use sqlx::PgConnection;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{BundleDigest, BundleId, ClassId, Slug, ThresholdSetId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store, Transaction};

/// What judges a class, since a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The class.
    pub class: ClassId,
    /// The class's name.
    pub class_name: Slug,
    /// Counts up from 1 with every change of the class.
    pub version: i64,
    /// The bundle that judges.
    pub champion: Option<(BundleId, BundleDigest)>,
    /// The bundle that is tried beside it.
    pub challenger: Option<(BundleId, BundleDigest)>,
    /// The limits in force.
    pub threshold_set: Option<ThresholdSetId>,
    /// When it changed.
    pub changed_at: Timestamp,
    /// Who changed it.
    pub changed_by: String,
    /// Why.
    pub reason: String,
}

/// A change of what judges a class.
#[derive(Debug, Clone)]
pub struct NewBinding {
    /// The class.
    pub class: ClassId,
    /// The version it is a change of; 0 for a class's first.
    pub expected_version: i64,
    /// The bundle that judges.
    pub champion: Option<BundleId>,
    /// The bundle that is tried beside it.
    pub challenger: Option<BundleId>,
    /// The limits in force; only together with a champion.
    pub threshold_set: Option<ThresholdSetId>,
    /// Who changes it.
    pub changed_by: String,
    /// Why.
    pub reason: String,
}

struct BindingRow {
    class_id: i32,
    class: String,
    version: i64,
    champion_bundle_id: Option<i32>,
    champion_digest: Option<Vec<u8>>,
    challenger_bundle_id: Option<i32>,
    challenger_digest: Option<Vec<u8>>,
    threshold_set_id: Option<i32>,
    changed_at: Time,
    changed_by: String,
    reason: String,
}

impl TryFrom<BindingRow> for Binding {
    type Error = Error;

    fn try_from(row: BindingRow) -> Result<Self> {
        let bundle = |id: Option<i32>, digest: Option<Vec<u8>>| match (id, digest) {
            (Some(id), Some(digest)) => {
                let digest = BundleDigest::from_slice(&digest).map_err(Error::impossible("bundle", "digest", id))?;
                Ok(Some((BundleId(id), digest)))
            }
            _ => Ok::<_, Error>(None),
        };
        Ok(Self {
            class: ClassId(row.class_id),
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
            version: row.version,
            champion: bundle(row.champion_bundle_id, row.champion_digest)?,
            challenger: bundle(row.challenger_bundle_id, row.challenger_digest)?,
            threshold_set: row.threshold_set_id.map(ThresholdSetId),
            changed_at: row.changed_at.into(),
            changed_by: row.changed_by,
            reason: row.reason,
        })
    }
}

impl Store {
    /// The binding in force of every class that has one.
    pub async fn binding_current_all(&self) -> Result<Vec<Binding>> {
        let rows = sqlx::query_as!(
            BindingRow,
            r#"select distinct on (b.class_id) b.class_id, c.name as class, b.version, b.champion_bundle_id,
                      p.digest as "champion_digest?", b.challenger_bundle_id, q.digest as "challenger_digest?",
                      b.threshold_set_id, b.changed_at, b.changed_by, b.reason
               from class_binding b join machine_class c using (class_id)
               left join bundle p on p.bundle_id = b.champion_bundle_id
               left join bundle q on q.bundle_id = b.challenger_bundle_id
               order by b.class_id, b.version desc"#
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Binding::try_from).collect()
    }

    /// The binding of a class in force.
    pub async fn binding_current(&self, class: ClassId) -> Result<Option<Binding>> {
        Ok(self.binding_history(Some(class), Some(1)).await?.into_iter().next())
    }

    /// Everything that was ever bound, newest first; of one class, when given, by version, whatever clocks said; at most
    /// `limit`, when given.
    pub async fn binding_history(&self, class: Option<ClassId>, limit: Option<u32>) -> Result<Vec<Binding>> {
        history(&mut *self.acquire().await?, class, limit).await
    }

    /// Changes what judges a class, unless somebody changed it since `expected_version`: then a conflict. For a
    /// change of the challenger; limits are switched by [`Store::threshold_activate`] and [`Store::binding_rollback`],
    /// which keep the sets' states in step.
    pub async fn binding_append(
        &self,
        new: &NewBinding,
        now: Timestamp,
        audit: impl FnOnce(&Binding) -> NewAuditEntry,
    ) -> Result<Binding> {
        let transaction = self.begin().await?;
        append_and_commit(transaction, new, now, audit).await
    }

    /// Goes back to what judged a class before the champion or the limits were last changed, as a new version, in one
    /// transaction with the states of the threshold sets. The challenger goes.
    pub async fn binding_rollback(
        &self,
        class: ClassId,
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&Binding) -> NewAuditEntry,
    ) -> Result<Binding> {
        let mut transaction = self.begin().await?;
        lock_class(&mut transaction, class).await?;
        let history = sqlx::query!(
            "select version, champion_bundle_id, threshold_set_id from class_binding where class_id = $1
             order by version desc",
            class.0
        )
        .fetch_all(&mut *transaction)
        .await?;
        let mut history = history.into_iter();
        let nothing = || Error::conflict(format!("class {class} has nothing to go back to"));
        let present = history.next().ok_or_else(nothing)?;
        let before = history
            .find(|row| {
                (row.champion_bundle_id, row.threshold_set_id) != (present.champion_bundle_id, present.threshold_set_id)
            })
            .ok_or_else(nothing)?;
        switch_limits(&mut transaction, class, before.threshold_set_id.map(ThresholdSetId)).await?;
        let new = NewBinding {
            class,
            expected_version: present.version,
            champion: before.champion_bundle_id.map(BundleId),
            challenger: None,
            threshold_set: before.threshold_set_id.map(ThresholdSetId),
            changed_by: by.to_owned(),
            reason: reason.to_owned(),
        };
        append_and_commit(transaction, &new, now, audit).await
    }
}

async fn history(conn: &mut PgConnection, class: Option<ClassId>, limit: Option<u32>) -> Result<Vec<Binding>> {
    let rows = sqlx::query_as!(
        BindingRow,
        r#"select b.class_id, c.name as class, b.version, b.champion_bundle_id,
                  p.digest as "champion_digest?", b.challenger_bundle_id, q.digest as "challenger_digest?",
                      b.threshold_set_id, b.changed_at, b.changed_by, b.reason
               from class_binding b join machine_class c using (class_id)
               left join bundle p on p.bundle_id = b.champion_bundle_id
               left join bundle q on q.bundle_id = b.challenger_bundle_id
               where $1::int4 is null or b.class_id = $1
               order by case when $1::int4 is null then b.changed_at end desc, b.class_id, b.version desc limit $2"#,
        class.map(|class| class.0),
        limit.map(i64::from),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Binding::try_from).collect()
}

/// Ends a change of what judges a class: its next version, and the entry of it.
pub(crate) async fn append_and_commit(
    mut transaction: Transaction,
    new: &NewBinding,
    now: Timestamp,
    audit: impl FnOnce(&Binding) -> NewAuditEntry,
) -> Result<Binding> {
    append(&mut transaction, new, now).await?;
    let newest = history(&mut transaction, Some(new.class), Some(1)).await?.pop();
    let binding = newest.ok_or_else(|| Error::not_found(format!("binding of class {}", new.class)))?;
    commit(transaction, binding, audit, now).await
}

/// Changes of one class come one after the other.
pub(crate) async fn lock_class(conn: &mut PgConnection, class: ClassId) -> Result<()> {
    sqlx::query!(
        "select 1 as one from machine_class where class_id = $1 for no key update",
        class.0
    )
    .fetch_optional(conn)
    .await?
    .ok_or_else(|| Error::not_found(format!("class {class}")))?;
    Ok(())
}

/// Retires the active set of a class and makes another one, approved or retired, the active one.
pub(crate) async fn switch_limits(conn: &mut PgConnection, class: ClassId, to: Option<ThresholdSetId>) -> Result<()> {
    let same = to.map(|set| set.0);
    sqlx::query!(
        "update threshold_set set state = 'retired'
         where class_id = $1 and state = 'active' and threshold_set_id is distinct from $2",
        class.0,
        same,
    )
    .execute(&mut *conn)
    .await?;
    let Some(set) = to else { return Ok(()) };
    let (approved, retired) = (ThresholdState::Approved.as_str(), ThresholdState::Retired.as_str());
    let activated = sqlx::query!(
        "update threshold_set t set state = 'active' from bundle b
         where t.threshold_set_id = $1 and t.class_id = $2 and t.state in ($3, $4)
           and b.bundle_id = t.bundle_id and b.state = 'verified'",
        set.0,
        class.0,
        approved,
        retired,
    )
    .execute(&mut *conn)
    .await?;
    let found = sqlx::query!(
        "select t.state, b.state as bundle from threshold_set t join bundle b using (bundle_id)
         where t.threshold_set_id = $1",
        set.0
    )
    .fetch_one(conn)
    .await?;
    if activated.rows_affected() == 0 && found.state != ThresholdState::Active.as_str() {
        let what = format!(
            "threshold set {set} is {}, its bundle {}: it can't be activated",
            found.state, found.bundle
        );
        return Err(Error::conflict(what));
    }
    Ok(())
}

/// The guarded insert; the caller holds the transaction.
async fn append(conn: &mut PgConnection, new: &NewBinding, now: Timestamp) -> Result<()> {
    let raced = || {
        format!(
            "the binding of class {} is no longer at version {}",
            new.class, new.expected_version
        )
    };
    let inserted = sqlx::query!(
        "insert into class_binding (class_id, version, champion_bundle_id, challenger_bundle_id, threshold_set_id,
             changed_at, changed_by, reason)
         select $1::int4, $2::int8 + 1, $3::int4, $4::int4, $5::int4, $6::timestamptz, $7::text, $8::text
         where coalesce((select max(version) from class_binding where class_id = $1), 0) = $2",
        new.class.0,
        new.expected_version,
        new.champion.map(|bundle| bundle.0),
        new.challenger.map(|bundle| bundle.0),
        new.threshold_set.map(|set| set.0),
        time(now),
        new.changed_by,
        new.reason,
    )
    .execute(&mut *conn)
    .await
    .map_err(|error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => Error::conflict(raced()),
        _ => error.into(),
    })?;
    if inserted.rows_affected() == 0 {
        return Err(Error::conflict(raced()));
    }
    Channel::Binding.notify(conn).await
}
