//! What is still owed to whom: one delivery per page and destination, taken by lease, with the history of attempts.
//!
//! **Invariant:** an attempt is on record before it is made, as one whose outcome is unknown. A process that dies in the
//! middle leaves it so, and the repeat that follows is explained by it.

use std::time::Duration;

use tocsin_domain::{IncidentId, Invalid, Scope, Timestamp};

use super::{Page, PageRow};
use crate::row::time;
use crate::{Error, Result, Store, Transaction};

/// A delivery's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Still owed.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// Given up.
    Dead,
    /// Part of a flood: not sent by itself.
    Joined,
}

impl DeliveryState {
    /// The name in rows and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Joined => "joined",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "waiting" => Ok(Self::Waiting),
            "delivered" => Ok(Self::Delivered),
            "dead" => Ok(Self::Dead),
            "joined" => Ok(Self::Joined),
            _ => Err(Invalid::new("state", format!("{text:?} is not a delivery state"))),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// The receiver answered yes.
    Delivered,
    /// The receiver answered no.
    Refused,
    /// No answer: a repeat may double it.
    Unknown,
}

impl AttemptOutcome {
    /// The name in rows and on screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "delivered" => Ok(Self::Delivered),
            "refused" => Ok(Self::Refused),
            "unknown" => Ok(Self::Unknown),
            _ => Err(Invalid::new("outcome", format!("{text:?} is not an attempt's outcome"))),
        }
    }
}

/// A delivery that this process may attempt until its lease ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedDelivery {
    /// Its number.
    pub id: DeliveryId,
    /// To whom.
    pub destination: String,
    /// Number of the attempt that is about to be made, from 1.
    pub attempt: i32,
    /// The same, counted from when the delivery was last sent again by a person.
    pub attempt_since_resend: i32,
    /// What to deliver.
    pub page: Page,
    /// Those of the destination's receivers that it is still owed to; empty for all of them.
    pub remaining: Vec<String>,
    /// It opened an incident that was still open at the lease: it must not be given up. Incidents don't open again, so
    /// what was over at the lease stays so.
    pub must_arrive: bool,
}

/// What happens after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// Nothing: the receiver has it.
    Done,
    /// Another attempt at this time.
    RetryAt(Timestamp),
    /// Nothing: given up.
    GiveUp,
}

/// An attempt that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedAttempt {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its number, as leased.
    pub attempt: i32,
    /// When it ended.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The receiver's answer, or the error.
    pub answer: String,
    /// What happens next.
    pub after: AfterAttempt,
    /// Those of the receivers that it is still owed to, where others have it: the next attempt is for them alone. Empty where
    /// nothing has changed about that.
    pub remaining: Vec<String>,
}

/// One attempt, in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAttempt {
    /// Its number, from 1.
    pub attempt: i32,
    /// When it ended, or began when its end is not known.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The receiver's answer, or the error.
    pub answer: String,
}

/// A page and one of its deliveries, with the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageDelivery {
    /// The page.
    pub page: Page,
    /// To whom; none when it is not owed to anybody yet.
    pub destination: Option<String>,
    /// Where the delivery stands.
    pub state: DeliveryState,
    /// The attempts, in order.
    pub attempts: Vec<DeliveryAttempt>,
}

impl Store {
    /// Makes this the one process that works for a destination, until the transaction ends; none when another is. For
    /// receivers of levels, where a page must not be overtaken.
    pub async fn destination_try_lock(&self, destination: &str) -> Result<Option<Transaction>> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query_scalar!(
            r#"select pg_try_advisory_xact_lock(hashtextextended('tocsin destination ' || $1, 0)) as "locked!""#,
            destination
        )
        .fetch_one(&mut *transaction)
        .await?;
        Ok(locked.then_some(transaction))
    }

    /// Takes the deliveries of one destination that are due and nobody else has, until `now + lease`; at most `limit`,
    /// so that a destination that is slow takes no other's place. An incident's pages go to a destination one after the
    /// other; what some of its receivers were put off for holds up nobody else. Each attempt is on record, outcome unknown, when this returns.
    pub async fn deliveries_lease(
        &self,
        destination: &str,
        now: Timestamp,
        lease: Duration,
        limit: u32,
    ) -> Result<Vec<LeasedDelivery>> {
        let rows = sqlx::query!(
            r#"with due as (
                   select d.delivery_id from delivery d join outbox o using (outbox_id)
                   where d.state = 'waiting' and d.next_at <= $1 and (d.leased_until is null or d.leased_until <= $1)
                     and d.destination = $4 and o.incident_id is not null
                     and not exists (
                         select 1 from delivery e join outbox p using (outbox_id)
                         where p.incident_id = o.incident_id and p.outbox_id < o.outbox_id
                           and e.destination = d.destination and e.state = 'waiting' and e.remaining is null)
                   order by d.next_at, d.outbox_id limit $3 for update of d skip locked
               ), leased as (
                   update delivery d set leased_until = $2, attempt_count = d.attempt_count + 1 from due
                   where d.delivery_id = due.delivery_id
                   returning d.delivery_id, d.outbox_id, d.destination, d.attempt_count, d.attempts_before, d.remaining
               ), recorded as (
                   insert into delivery_attempt (delivery_id, attempt, at, outcome, answer)
                   select delivery_id, attempt_count, $1, 'unknown', 'no answer on record' from leased
               )
               select l.delivery_id as "delivery_id!", l.destination as "destination!",
                      l.attempt_count as "attempt_count!", l.attempts_before as "attempts_before!", l.remaining, o.outbox_id, o.page_key, n.incident_id, o.action,
                      o.payload::text as "payload!", o.created_at, o.flood_id,
                      o.action = 'trigger' and (n.closed_at is null or exists (
                          select 1 from flood_incident j join incident m on m.incident_id = j.incident_id
                          where j.flood_id = o.flood_id and m.closed_at is null)) as "must_arrive!"
               from leased l join outbox o using (outbox_id) join incident n using (incident_id)
               order by o.outbox_id"#,
            time(now),
            time(now + lease),
            i64::from(limit),
            destination,
        )
        .fetch_all(&self.pool)
        .await?;
        let leased = rows.into_iter().map(|row| {
            let page = PageRow {
                outbox_id: row.outbox_id,
                page_key: row.page_key,
                incident_id: row.incident_id,
                action: row.action,
                payload: row.payload,
                created_at: row.created_at,
                flood_id: row.flood_id,
            };
            Ok(LeasedDelivery {
                id: DeliveryId(row.delivery_id),
                destination: row.destination,
                attempt: row.attempt_count,
                attempt_since_resend: row.attempt_count - row.attempts_before,
                page: page.try_into()?,
                remaining: row.remaining.unwrap_or_default(),
                must_arrive: row.must_arrive,
            })
        });
        leased.collect()
    }

    /// Writes how an attempt ended and what happens next. An attempt whose lease ran out and was followed by another
    /// still gets its answer into the history; it moves the delivery only when the receiver has it.
    pub async fn delivery_record(&self, attempt: &FinishedAttempt) -> Result<()> {
        let (state, next_at) = match attempt.after {
            AfterAttempt::Done => (DeliveryState::Delivered, attempt.at),
            AfterAttempt::RetryAt(at) => (DeliveryState::Waiting, at),
            AfterAttempt::GiveUp => (DeliveryState::Dead, attempt.at),
        };
        let mut transaction = self.begin().await?;
        let recorded = sqlx::query!(
            "update delivery_attempt set at = $3, outcome = $4, answer = $5 where delivery_id = $1 and attempt = $2",
            attempt.delivery.0,
            attempt.attempt,
            time(attempt.at),
            attempt.outcome.as_str(),
            attempt.answer,
        )
        .execute(&mut *transaction)
        .await?;
        if recorded.rows_affected() == 0 {
            let what = format!("attempt {} of delivery {}", attempt.attempt, attempt.delivery.0);
            return Err(Error::not_found(what));
        }
        sqlx::query!(
            "update delivery set state = $3, next_at = $4, leased_until = null,
                    remaining = coalesce(nullif($5::text[], '{}'), remaining)
             where delivery_id = $1 and state = 'waiting' and (attempt_count = $2 or $3 = 'delivered')",
            attempt.delivery.0,
            attempt.attempt,
            state.as_str(),
            time(next_at),
            &attempt.remaining,
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// The pages about an incident, in order, with their deliveries and every attempt.
    pub async fn pages_by_incident(&self, scope: &Scope, incident: IncidentId) -> Result<Vec<PageDelivery>> {
        let rows = sqlx::query!(
            r#"select o.outbox_id, o.page_key, n.incident_id, o.action, o.payload::text as "payload!", o.created_at, o.flood_id,
                      d.delivery_id as "delivery_id?", d.destination as "destination?", d.state as "state?",
                      a.attempt as "attempt?", a.at as "at?", a.outcome as "outcome?", a.answer as "answer?"
               from outbox o join incident n using (incident_id) join machine m using (machine_id)
               left join delivery d on d.outbox_id = o.outbox_id
               left join delivery_attempt a on a.delivery_id = d.delivery_id
               where o.incident_id = $1 and ($2::int4[] is null or m.site_id = any($2))
               order by o.outbox_id, d.destination, a.attempt"#,
            incident.0,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        let mut pages: Vec<(Option<i64>, PageDelivery)> = Vec::new();
        for row in rows {
            let attempt = match (row.attempt, row.at, row.outcome, row.answer) {
                (Some(attempt), Some(at), Some(outcome), Some(answer)) => {
                    let outcome = AttemptOutcome::parse(&outcome).map_err(Error::impossible(
                        "delivery_attempt",
                        "outcome",
                        row.outbox_id,
                    ))?;
                    Some(DeliveryAttempt {
                        attempt,
                        at: at.into(),
                        outcome,
                        answer,
                    })
                }
                _ => None,
            };
            // Rows of one delivery follow each other: only the first of them begins a page.
            let same =
                |(id, page): &&mut (Option<i64>, PageDelivery)| *id == row.delivery_id && page.page.id == row.outbox_id;
            if let Some((_, page)) = pages.last_mut().filter(same) {
                page.attempts.extend(attempt);
                continue;
            }
            let state = row
                .state
                .as_deref()
                .map_or(Ok(DeliveryState::Waiting), DeliveryState::parse);
            let page = PageRow {
                outbox_id: row.outbox_id,
                page_key: row.page_key,
                incident_id: row.incident_id,
                action: row.action,
                payload: row.payload,
                created_at: row.created_at,
                flood_id: row.flood_id,
            };
            let page = PageDelivery {
                page: page.try_into()?,
                destination: row.destination,
                state: state.map_err(Error::impossible("delivery", "state", row.outbox_id))?,
                attempts: attempt.into_iter().collect(),
            };
            pages.push((row.delivery_id, page));
        }
        Ok(pages.into_iter().map(|(_, page)| page).collect())
    }
}
