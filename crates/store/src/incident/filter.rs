//! Filters of the incidents that people saved.
//!
//! **Invariant:** a person sees, replaces and deletes their own alone: every call names the account.

use tocsin_domain::{AccountId, Severity, Slug, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// Which incidents a person wants to see, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentFilter {
    /// What the person calls it.
    pub name: String,
    /// Leave out what has cleared.
    pub open_only: bool,
    /// Only this site.
    pub site: Option<Slug>,
    /// Only this machine of it.
    pub machine: Option<Slug>,
    /// Only incidents that have been as bad as this, and no worse.
    pub severity: Option<Severity>,
    /// Only those that nobody has taken.
    pub unacknowledged_only: bool,
    /// When it was saved.
    pub saved_at: Timestamp,
}

struct FilterRow {
    account_id: i32,
    name: String,
    open_only: bool,
    site: Option<String>,
    machine: Option<String>,
    severity: Option<i16>,
    unacknowledged_only: bool,
    saved_at: Time,
}

impl TryFrom<FilterRow> for IncidentFilter {
    type Error = Error;

    fn try_from(row: FilterRow) -> Result<Self> {
        let id = row.account_id;
        let name = |column, name: Option<String>| name.map(|name| slug("incident_filter", column, id, &name));
        let severity = row.severity.map(Severity::from_code).transpose();
        Ok(Self {
            name: row.name,
            open_only: row.open_only,
            site: name("site", row.site).transpose()?,
            machine: name("machine", row.machine).transpose()?,
            severity: severity.map_err(Error::impossible("incident_filter", "severity", id))?,
            unacknowledged_only: row.unacknowledged_only,
            saved_at: row.saved_at.into(),
        })
    }
}

impl Store {
    /// A person's filters, by name.
    pub async fn incident_filters(&self, account: AccountId) -> Result<Vec<IncidentFilter>> {
        let rows = sqlx::query_as!(
            FilterRow,
            "select account_id, name, open_only, site, machine, severity, unacknowledged_only, saved_at
             from incident_filter where account_id = $1 order by name",
            account.0
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(IncidentFilter::try_from).collect()
    }

    /// Saves a filter, in the place of the one that has its name. A person keeps at most `most`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if they have as many, and none of this name.
    pub async fn incident_filter_save(
        &self,
        account: AccountId,
        (filter, most): (&IncidentFilter, u32),
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        // Two that are saved at once are counted one after the other.
        sqlx::query!(
            "select 1 as one from account where account_id = $1 for no key update",
            account.0
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("account {account}")))?;
        let others = sqlx::query_scalar!(
            r#"select count(*) as "count!" from incident_filter where account_id = $1 and name <> $2"#,
            account.0,
            filter.name,
        )
        .fetch_one(&mut *transaction)
        .await?;
        if others >= i64::from(most) {
            return Err(Error::conflict(format!(
                "{others} filters are saved, which is the most that a person keeps: delete one first"
            )));
        }
        sqlx::query!(
            "insert into incident_filter (account_id, name, open_only, site, machine, severity, unacknowledged_only,
                 saved_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)
             on conflict (account_id, name) do update set open_only = excluded.open_only, site = excluded.site,
                 machine = excluded.machine, severity = excluded.severity,
                 unacknowledged_only = excluded.unacknowledged_only, saved_at = excluded.saved_at",
            account.0,
            filter.name,
            filter.open_only,
            filter.site.as_ref().map(Slug::as_str),
            filter.machine.as_ref().map(Slug::as_str),
            filter.severity.map(Severity::to_code),
            filter.unacknowledged_only,
            time(filter.saved_at),
        )
        .execute(&mut *transaction)
        .await?;
        commit(transaction, (), audit, now).await
    }

    /// Deletes a person's filter.
    ///
    /// # Errors
    /// [`Error::NotFound`] if they have none of this name.
    pub async fn incident_filter_delete(
        &self,
        account: AccountId,
        name: &str,
        now: Timestamp,
        audit: impl FnOnce(&()) -> NewAuditEntry,
    ) -> Result<()> {
        let mut transaction = self.begin().await?;
        let deleted = sqlx::query!(
            "delete from incident_filter where account_id = $1 and name = $2",
            account.0,
            name,
        )
        .execute(&mut *transaction)
        .await?;
        if deleted.rows_affected() == 0 {
            return Err(Error::not_found(format!("a saved filter called {name}")));
        }
        commit(transaction, (), audit, now).await
    }
}
