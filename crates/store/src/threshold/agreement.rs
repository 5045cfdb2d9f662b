//! The persons who stand for a threshold set, and whom it still waits for where a site asks for a second one.
//!
//! **Invariant:** where a site of its class asks for it, a set comes into force by hand only when two persons stand for it: one
//! who asked, and another, who sees that site, and approved. Activation looks at it in its own transaction; going back to what was
//! in force before asks nobody.

use std::collections::HashMap;

use sqlx::PgConnection;
use tocsin_domain::lifecycle::ThresholdState;
use tocsin_domain::{ClassId, Scope, SiteId, Slug, ThresholdSetId, Timestamp};

use super::{ThresholdSetRecord, get};
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{Time, slug, time};
use crate::{Error, Result, Store};

/// A person who stands for a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// The sites they saw then.
    pub scope: Scope,
}

/// Who stands for a set, and which sites of its class ask for a second person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Who asked for it; none when no person has.
    pub asked: Option<Agreement>,
    /// The persons who approved it besides.
    pub approvals: Vec<Agreement>,
    /// Sites of its class that ask for a second person, by name.
    pub asking: Vec<(SiteId, Slug)>,
}

/// A set after a person agreed to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The set.
    pub record: ThresholdSetRecord,
    /// Who stands for it now.
    pub standing: Standing,
}

impl Standing {
    fn new(agreements: Vec<Agreement>, asking: Vec<(SiteId, Slug)>) -> Self {
        let mut agreements = agreements.into_iter();
        Self {
            asked: agreements.next(),
            approvals: agreements.collect(),
            asking,
        }
    }

    /// The sites that ask for a second person and have none yet.
    pub fn waiting(&self) -> impl Iterator<Item = &(SiteId, Slug)> {
        let approved = |site| self.approvals.iter().any(|approval| approval.scope.contains(site));
        self.asking.iter().filter(move |(site, _)| !approved(*site))
    }

    /// Whether it waits for nobody.
    pub fn is_complete(&self) -> bool {
        self.waiting().next().is_none()
    }

    /// Whom it waits for, in words, as far as `scope` sees the sites; nothing when for nobody.
    pub fn waits_for(&self, scope: &Scope) -> Option<String> {
        let seen = self.waiting().filter(|(site, _)| scope.contains(*site));
        let sites: Vec<String> = seen
            .map(|(_, name)| format!("an engineer or admin of {name}"))
            .collect();
        if sites.is_empty() {
            return None;
        }
        let approver = sites.join(", and ");
        Some(match &self.asked {
            Some(asked) => format!("{approver}, other than {}", asked.by),
            None => format!("a person who asks for it, and another: {approver}"),
        })
    }

    /// Whether who sees some sites alone may approve it: somebody asked for it, and one of the sites waits.
    pub fn takes_local(&self, scope: &Scope) -> bool {
        self.asked.is_some() && self.waiting().any(|(site, _)| scope.contains(*site))
    }

    /// Why `by` can't approve it, if so.
    fn refuses(&self, set: ThresholdSetId, by: &str) -> Option<String> {
        if self.asking.is_empty() {
            return None;
        }
        let waits_for = self.waits_for(&Scope::All);
        let still = waits_for.map_or_else(String::new, |who| format!("; it waits for {who}"));
        if self.asked.as_ref().is_some_and(|asked| asked.by == by) {
            return Some(format!(
                "{by} asked for threshold set {set} and can't approve it as well{still}"
            ));
        }
        let again = self.approvals.iter().any(|approval| approval.by == by);
        again.then(|| format!("{by} has approved threshold set {set} already{still}"))
    }
}

struct AgreementRow {
    threshold_set_id: i32,
    by: String,
    at: Time,
    reason: String,
    site_ids: Option<Vec<i32>>,
}

impl From<AgreementRow> for Agreement {
    fn from(row: AgreementRow) -> Self {
        Self {
            by: row.by,
            at: row.at.into(),
            reason: row.reason,
            scope: Scope::from_filter(row.site_ids),
        }
    }
}

impl Store {
    /// Who stands for each of the sets, in their order.
    pub async fn threshold_standings(&self, sets: &[ThresholdSetRecord]) -> Result<Vec<Standing>> {
        let whose: Vec<_> = sets.iter().map(|set| (set.id, set.class)).collect();
        standings(&mut *self.acquire().await?, &whose).await
    }

    /// A person agrees to a set: asks for it, when no person has, or else approves it. A tested set that then waits for nobody is
    /// approved, with `provenance_json`; one that was approved before, and waits because a site has come to ask, stays where it is.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it is neither tested nor waits for anybody, or, where a site asks for a second person, if the person
    /// asked for it or approved it already.
    pub async fn threshold_agree(
        &self,
        set: ThresholdSetId,
        (by, reason, scope): (&str, &str, &Scope),
        provenance_json: &str,
        now: Timestamp,
        audit: impl FnOnce(&Agreed) -> NewAuditEntry,
    ) -> Result<Agreed> {
        let mut transaction = self.begin().await?;
        // Of two who agree at once the second sees the first.
        sqlx::query!(
            "select 1 as one from threshold_set where threshold_set_id = $1 for update",
            set.0
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("threshold set {set}")))?;
        let record = get(&mut transaction, set).await?;
        let before = standing(&mut transaction, &record).await?;
        let waits_again = matches!(record.state, ThresholdState::Approved | ThresholdState::Retired);
        if record.state != ThresholdState::Tested && (!waits_again || before.is_complete()) {
            let what = format!("threshold set {set} is {}, not tested", record.state.as_str());
            return Err(Error::conflict(what));
        }
        if let Some(reason) = before.refuses(set, by) {
            return Err(Error::conflict(reason));
        }
        insert(&mut transaction, set, (by, reason, scope), now).await?;
        let standing = standing(&mut transaction, &record).await?;
        if record.state == ThresholdState::Tested && standing.is_complete() {
            sqlx::query!(
                "update threshold_set set state = $2, provenance = $3::text::jsonb where threshold_set_id = $1",
                set.0,
                ThresholdState::Approved.as_str(),
                provenance_json,
            )
            .execute(&mut *transaction)
            .await?;
        }
        let record = get(&mut transaction, set).await?;
        commit(transaction, Agreed { record, standing }, audit, now).await
    }
}

/// A person stands for a set from now on; one who does so already goes on.
pub(super) async fn insert(
    conn: &mut PgConnection,
    set: ThresholdSetId,
    (by, reason, scope): (&str, &str, &Scope),
    now: Timestamp,
) -> Result<()> {
    sqlx::query!(
        "insert into threshold_agreement (threshold_set_id, place, by, at, reason, site_ids)
         select $1::int4, count(*) + 1, $2::text, $3::timestamptz, $4::text, $5::int4[]
         from threshold_agreement where threshold_set_id = $1
         on conflict (threshold_set_id, by) do nothing",
        set.0,
        by,
        time(now),
        reason,
        scope.to_filter() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A conflict that says whom a set waits for, if it does.
pub(super) async fn require_complete(conn: &mut PgConnection, record: &ThresholdSetRecord) -> Result<()> {
    let standing = standing(conn, record).await?;
    match standing.waits_for(&Scope::All) {
        None => Ok(()),
        Some(who) => Err(Error::conflict(format!(
            "threshold set {} can't be activated before a second person approves it: it waits for {who}",
            record.id
        ))),
    }
}

async fn standing(conn: &mut PgConnection, record: &ThresholdSetRecord) -> Result<Standing> {
    let standings = standings(conn, &[(record.id, record.class)]).await?;
    Ok(standings.into_iter().next().unwrap_or_default())
}

async fn standings(conn: &mut PgConnection, whose: &[(ThresholdSetId, ClassId)]) -> Result<Vec<Standing>> {
    let sets: Vec<i32> = whose.iter().map(|(set, _)| set.0).collect();
    let classes: Vec<i32> = whose.iter().map(|(_, class)| class.0).collect();
    let rows = sqlx::query_as!(
        AgreementRow,
        "select threshold_set_id, by, at, reason, site_ids from threshold_agreement
         where threshold_set_id = any($1) order by threshold_set_id, place",
        &sets,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut agreements: HashMap<i32, Vec<Agreement>> = HashMap::new();
    for row in rows {
        agreements.entry(row.threshold_set_id).or_default().push(row.into());
    }
    let rows = sqlx::query!(
        "select distinct m.class_id, s.site_id, s.name from site s join machine m using (site_id)
         where s.second_approval and m.class_id = any($1) order by s.name",
        &classes,
    )
    .fetch_all(conn)
    .await?;
    let mut asking: HashMap<i32, Vec<(SiteId, Slug)>> = HashMap::new();
    for row in rows {
        let site = (SiteId(row.site_id), slug("site", "name", row.site_id, &row.name)?);
        asking.entry(row.class_id).or_default().push(site);
    }
    let of = |(set, class): &(ThresholdSetId, ClassId)| {
        Standing::new(
            agreements.remove(&set.0).unwrap_or_default(),
            asking.get(&class.0).cloned().unwrap_or_default(),
        )
    };
    Ok(whose.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(by: &str, scope: Scope) -> Agreement {
        Agreement {
            by: by.to_owned(),
            at: Timestamp::from_micros(0),
            reason: String::new(),
            scope,
        }
    }

    fn asking(sites: &[(i32, &str)]) -> Vec<(SiteId, Slug)> {
        let site = |(id, name): &(i32, &str)| (SiteId(*id), Slug::parse("name", name).unwrap());
        sites.iter().map(site).collect()
    }

    #[test]
    fn every_site_that_asks_needs_somebody_who_sees_it_and_did_not_ask() {
        let both = asking(&[(1, "north"), (2, "south")]);
        let ana = agreement("ana", Scope::All);
        let local = agreement("bo", Scope::site(SiteId(1)));
        let standing = Standing::new(vec![ana.clone(), local], both.clone());
        assert_eq!(
            standing.waits_for(&Scope::All).unwrap(),
            "an engineer or admin of south, other than ana"
        );
        assert_eq!(
            standing.waits_for(&Scope::site(SiteId(1))),
            None,
            "another site is not named"
        );
        assert!(standing.takes_local(&Scope::site(SiteId(2))) && !standing.takes_local(&Scope::site(SiteId(1))));
        let everywhere = agreement("cy", Scope::All);
        assert!(Standing::new(vec![ana.clone(), everywhere], both.clone()).is_complete());
        assert!(!Standing::new(vec![ana.clone()], both).is_complete());
        assert!(Standing::new(vec![ana], Vec::new()).is_complete());
        assert!(Standing::default().is_complete());
    }

    #[test]
    fn who_asked_does_not_approve_where_a_site_asks_for_a_second_person() {
        let set = ThresholdSetId(5);
        let stands = |asking| Standing::new(vec![agreement("ana", Scope::All)], asking);
        let refused = stands(asking(&[(1, "north")])).refuses(set, "ana").unwrap();
        assert_eq!(
            refused,
            "ana asked for threshold set 5 and can't approve it as well; it waits for an engineer or admin of north, other than ana"
        );
        assert_eq!(stands(asking(&[(1, "north")])).refuses(set, "bo"), None);
        assert_eq!(stands(Vec::new()).refuses(set, "ana"), None);
    }
}
