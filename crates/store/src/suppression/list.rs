//! Suppressions as people see them, with names, and what was kept in each.

use tocsin_domain::suppression::Suppression;
use tocsin_domain::{IncidentId, MachineId, PageAction, Scope, Slug, SuppressionId, Timestamp};

use super::SuppressionRow;
use crate::row::{Time, slug};
use crate::{Error, Result, Store};

/// A suppression with the names people know its machine by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressionListing {
    /// The suppression.
    pub suppression: Suppression,
    /// The machine.
    pub machine: MachineId,
    /// The site's name.
    pub site_name: Slug,
    /// The machine's name.
    pub machine_name: Slug,
    /// When it ended, and who or what ended it.
    pub ended: Option<(Timestamp, String)>,
    /// Pages that were kept.
    pub suppressed_pages: u64,
}

/// Which suppressions are asked for.
#[derive(Debug, Clone, Default)]
pub struct SuppressionQuery {
    /// Only this suppression.
    pub id: Option<SuppressionId>,
    /// Only this site.
    pub site: Option<Slug>,
    /// Only machines of this name.
    pub machine: Option<Slug>,
    /// Leave out what has ended.
    pub in_force_only: bool,
    /// Continue before this suppression, for the next page.
    pub before: Option<SuppressionId>,
    /// At most this many.
    pub limit: u32,
}

/// A page that was kept from people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressedPage {
    /// Its key, the one it has in the outbox once it went out.
    pub page_key: String,
    /// The incident it is about.
    pub incident: IncidentId,
    /// What it asks for.
    pub action: PageAction,
    /// What it says, JSON.
    pub payload_json: String,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// When it went out after all.
    pub released_at: Option<Timestamp>,
}

struct ListingRow {
    machine_id: i32,
    suppression_id: i64,
    kind: String,
    from_at: Time,
    until: Time,
    one_shot: bool,
    by: String,
    reason: String,
    ended_at: Option<Time>,
    ended_by: Option<String>,
    site_id: i32,
    site: String,
    machine: String,
    suppressed_pages: i64,
}

impl TryFrom<ListingRow> for SuppressionListing {
    type Error = Error;

    fn try_from(row: ListingRow) -> Result<Self> {
        Ok(Self {
            machine: MachineId(row.machine_id),
            site_name: slug("site", "name", row.site_id, &row.site)?,
            machine_name: slug("machine", "name", row.machine_id, &row.machine)?,
            ended: row.ended_at.map(Timestamp::from).zip(row.ended_by),
            suppressed_pages: row.suppressed_pages as u64,
            suppression: SuppressionRow {
                suppression_id: row.suppression_id,
                kind: row.kind,
                from_at: row.from_at,
                until: row.until,
                one_shot: row.one_shot,
                by: row.by,
                reason: row.reason,
            }
            .try_into()?,
        })
    }
}

impl Store {
    /// Suppressions in `scope`, newest first.
    pub async fn suppression_list(&self, scope: &Scope, query: &SuppressionQuery) -> Result<Vec<SuppressionListing>> {
        let rows = sqlx::query_as!(
            ListingRow,
            r#"select s.suppression_id, s.machine_id, s.kind, s.from_at, s.until, s.one_shot, s.by, s.reason, s.ended_at,
                    s.ended_by, m.site_id, i.name as site, m.name as machine,
                    (select count(*) from suppressed_page p where p.suppression_id = s.suppression_id)
                        as "suppressed_pages!"
             from suppression s join machine m using (machine_id) join site i using (site_id)
             where ($1::int4[] is null or m.site_id = any($1)) and ($2::int8 is null or s.suppression_id = $2)
               and ($3::text is null or i.name = $3) and ($4::text is null or m.name = $4)
               and (not $5 or s.ended_at is null) and ($6::int8 is null or s.suppression_id < $6)
             order by s.suppression_id desc limit $7"#,
            scope.to_filter() as _,
            query.id.map(|id| id.0),
            query.site.as_ref().map(Slug::as_str),
            query.machine.as_ref().map(Slug::as_str),
            query.in_force_only,
            query.before.map(|before| before.0),
            i64::from(query.limit),
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(SuppressionListing::try_from).collect()
    }

    /// A suppression by its number.
    pub async fn suppression_get(&self, scope: &Scope, id: SuppressionId) -> Result<SuppressionListing> {
        let query = SuppressionQuery {
            id: Some(id),
            limit: 1,
            ..SuppressionQuery::default()
        };
        let found = self.suppression_list(scope, &query).await?.into_iter().next();
        found.ok_or_else(|| Error::not_found(format!("suppression {id}")))
    }

    /// The pages a suppression in `scope` kept, in the order they were decided; at most `limit`.
    pub async fn suppressed_pages(&self, scope: &Scope, id: SuppressionId, limit: u32) -> Result<Vec<SuppressedPage>> {
        let rows = sqlx::query!(
            r#"select p.suppressed_page_id, p.page_key, p.incident_id, p.action, p.payload::text as "payload!",
                      p.decided_at, p.released_at
               from suppressed_page p join suppression s using (suppression_id) join machine m using (machine_id)
               where p.suppression_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               order by p.suppressed_page_id limit $3"#,
            id.0,
            scope.to_filter() as _,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?;
        let pages = rows.into_iter().map(|row| {
            let key = row.suppressed_page_id;
            Ok(SuppressedPage {
                page_key: row.page_key,
                incident: IncidentId(row.incident_id),
                action: PageAction::parse(&row.action).map_err(Error::impossible("suppressed_page", "action", key))?,
                payload_json: row.payload,
                decided_at: row.decided_at.into(),
                released_at: row.released_at.map(Timestamp::from),
            })
        });
        pages.collect()
    }
}
