//! Threshold sets: computed, tested, approved, activated, retired, or rejected, their numbers never changed.

use sqlx::PgConnection;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{BundleId, ClassId, Scope, Slug, ThresholdSetId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::binding::{Binding, NewBinding, append_and_commit, lock_class, switch_limits};
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

mod agreement;
mod rounds;
pub mod sets;

pub use agreement::{Agreed, Agreement, Standing};
pub use sets::ThresholdSets;

/// A threshold set as it is proposed.
#[derive(Debug, Clone)]
pub struct NewThresholdSet {
    /// The class it is for.
    pub class: ClassId,
    /// The bundle whose scores its lines are lines for.
    pub bundle: BundleId,
    /// Members with lines, tails and roles, and the persistence rules, JSON.
    pub definition_json: String,
    /// Where its numbers came from, JSON.
    pub provenance_json: String,
    /// Why it was made.
    pub reason: String,
    /// Who made it.
    pub created_by: String,
    /// Whether that is a person: then they asked for it, and another has to approve it where a site wants that.
    pub by_person: bool,
}

/// One immutable set of alarm limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdSetRecord {
    /// Its number.
    pub id: ThresholdSetId,
    /// The class it is for.
    pub class: ClassId,
    /// The class's name.
    pub class_name: Slug,
    /// The bundle whose scores its lines are lines for.
    pub bundle: BundleId,
    /// Where it stands.
    pub state: ThresholdState,
    /// Members with lines, tails and roles, and the persistence rules, JSON.
    pub definition_json: String,
    /// Where its numbers came from, and, once tested, what it would have done, JSON.
    pub provenance_json: String,
    /// Why it was made.
    pub reason: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
}

struct SetRow {
    threshold_set_id: i32,
    class_id: i32,
    class: String,
    bundle_id: i32,
    state: String,
    definition: String,
    provenance: String,
    reason: String,
    created_at: Time,
    created_by: String,
}

impl TryFrom<SetRow> for ThresholdSetRecord {
    type Error = Error;

    fn try_from(row: SetRow) -> Result<Self> {
        let id = row.threshold_set_id;
        Ok(Self {
            id: ThresholdSetId(id),
            class: ClassId(row.class_id),
            class_name: slug("machine_class", "name", row.class_id, &row.class)?,
            bundle: BundleId(row.bundle_id),
            state: ThresholdState::parse(&row.state).map_err(Error::impossible("threshold_set", "state", id))?,
            definition_json: row.definition,
            provenance_json: row.provenance,
            reason: row.reason,
            created_at: row.created_at.into(),
            created_by: row.created_by,
        })
    }
}

impl Store {
    /// Stores a threshold set as proposed.
    pub async fn threshold_set_insert(
        &self,
        new: &NewThresholdSet,
        now: Timestamp,
        audit: impl FnOnce(&ThresholdSetRecord) -> NewAuditEntry,
    ) -> Result<ThresholdSetRecord> {
        let mut transaction = self.begin().await?;
        let id = sqlx::query_scalar!(
            "insert into threshold_set (class_id, bundle_id, state, definition, provenance, reason, created_at,
                 created_by)
             select b.class_id, b.bundle_id, 'proposed', $3::text::jsonb, $4::text::jsonb, $5, $6, $7
             from bundle b where b.bundle_id = $2 and b.class_id = $1
             returning threshold_set_id",
            new.class.0,
            new.bundle.0,
            new.definition_json,
            new.provenance_json,
            new.reason,
            time(now),
            new.created_by,
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("bundle {} of class {}", new.bundle, new.class)))?;
        let record = get(&mut transaction, ThresholdSetId(id)).await?;
        if new.by_person {
            let asks = (new.created_by.as_str(), new.reason.as_str(), &Scope::All);
            agreement::insert(&mut transaction, record.id, asks, now).await?;
        }
        commit(transaction, record, audit, now).await
    }

    /// A threshold set by its number.
    pub async fn threshold_set_get(&self, set: ThresholdSetId) -> Result<ThresholdSetRecord> {
        get(&mut *self.acquire().await?, set).await
    }

    /// Threshold sets, newest first; of one class, when given.
    pub async fn threshold_set_list(&self, class: Option<ClassId>) -> Result<Vec<ThresholdSetRecord>> {
        let rows = sqlx::query_as!(
            SetRow,
            r#"select t.threshold_set_id, t.class_id, c.name as class, t.bundle_id, t.state,
                      t.definition::text as "definition!", t.provenance::text as "provenance!", t.reason,
                      t.created_at, t.created_by
               from threshold_set t join machine_class c using (class_id)
               where $1::int4 is null or t.class_id = $1 order by t.threshold_set_id desc"#,
            class.map(|class| class.0),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(ThresholdSetRecord::try_from).collect()
    }

    /// Moves a set from proposed to tested or rejected, or from tested to approved, and replaces its provenance when one is
    /// given. A conflict when it is not in the first state, or the way is none of these: what judges a class is switched by
    /// [`Self::threshold_activate`] and [`Self::binding_rollback`].
    pub async fn threshold_set_set_state(
        &self,
        set: ThresholdSetId,
        (from, to): (ThresholdState, ThresholdState),
        provenance_json: Option<&str>,
        now: Timestamp,
        audit: impl FnOnce(&ThresholdSetRecord) -> NewAuditEntry,
    ) -> Result<ThresholdSetRecord> {
        from.advance(to)
            .map_err(|illegal| Error::conflict(format!("threshold set {set}: {illegal}")))?;
        if matches!(to, ThresholdState::Active | ThresholdState::Retired) {
            return Err(Error::conflict(format!(
                "threshold set {set} becomes {} by activation",
                to.as_str()
            )));
        }
        let mut transaction = self.begin().await?;
        let moved = sqlx::query!(
            "update threshold_set set state = $3, provenance = coalesce($4::text::jsonb, provenance)
             where threshold_set_id = $1 and state = $2",
            set.0,
            from.as_str(),
            to.as_str(),
            provenance_json,
        )
        .execute(&mut *transaction)
        .await?;
        let found = get(&mut transaction, set).await?;
        if moved.rows_affected() == 0 {
            let what = format!("threshold set {set} is {}, not {}", found.state.as_str(), from.as_str());
            return Err(Error::conflict(what));
        }
        commit(transaction, found, audit, now).await
    }

    /// Makes an approved (or retired) set, with the bundle it was made for, judge its class. In one transaction: the
    /// active set retires, this one becomes active, the class's binding gets its next version. The bundle must be
    /// verified. The challenger stays, unless it is this bundle.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it can't be, or a site of the class asks for a second person and nobody has approved it.
    pub async fn threshold_activate(
        &self,
        set: ThresholdSetId,
        why: (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&Binding) -> NewAuditEntry,
    ) -> Result<Binding> {
        self.activate((set, None), why, now, audit).await
    }

    /// The same as policy does it: without a second person, and while `instead_of` is still the set in force; when another one
    /// is, a conflict, and nothing changes.
    pub async fn threshold_activate_instead_of(
        &self,
        (set, instead_of): (ThresholdSetId, ThresholdSetId),
        why: (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&Binding) -> NewAuditEntry,
    ) -> Result<Binding> {
        self.activate((set, Some(instead_of)), why, now, audit).await
    }

    async fn activate(
        &self,
        (set, instead_of): (ThresholdSetId, Option<ThresholdSetId>),
        (by, reason): (&str, &str),
        now: Timestamp,
        audit: impl FnOnce(&Binding) -> NewAuditEntry,
    ) -> Result<Binding> {
        let record = self.threshold_set_get(set).await?;
        let class = record.class;
        let mut transaction = self.begin().await?;
        lock_class(&mut transaction, class).await?;
        let present = sqlx::query!(
            "select version, challenger_bundle_id, threshold_set_id from class_binding where class_id = $1
             order by version desc limit 1",
            class.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let in_force = present.as_ref().and_then(|present| present.threshold_set_id);
        if let Some(other) = instead_of.filter(|other| in_force != Some(other.0)) {
            return Err(Error::conflict(format!("threshold set {other} is no longer in force")));
        }
        if in_force == Some(set.0) {
            return Err(Error::conflict(format!("threshold set {set} is active already")));
        }
        if instead_of.is_none() {
            agreement::require_complete(&mut transaction, &record).await?;
        }
        switch_limits(&mut transaction, class, Some(set)).await?;
        let challenger = present
            .as_ref()
            .and_then(|present| present.challenger_bundle_id)
            .map(BundleId);
        let new = NewBinding {
            class,
            expected_version: present.map_or(0, |present| present.version),
            champion: Some(record.bundle),
            challenger: challenger.filter(|challenger| *challenger != record.bundle),
            threshold_set: Some(set),
            changed_by: by.to_owned(),
            reason: reason.to_owned(),
        };
        append_and_commit(transaction, &new, now, audit).await
    }
}

async fn get(conn: &mut PgConnection, set: ThresholdSetId) -> Result<ThresholdSetRecord> {
    let row = sqlx::query_as!(
        SetRow,
        r#"select t.threshold_set_id, t.class_id, c.name as class, t.bundle_id, t.state,
                      t.definition::text as "definition!", t.provenance::text as "provenance!", t.reason,
                      t.created_at, t.created_by
               from threshold_set t join machine_class c using (class_id) where t.threshold_set_id = $1"#,
        set.0,
    )
    .fetch_optional(conn)
    .await?;
    row.ok_or_else(|| Error::not_found(format!("threshold set {set}")))?
        .try_into()
}
