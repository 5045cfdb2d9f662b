//! Daily partitions of `reading`, made before they are needed.
//!
//! A partition is made as a table of its own and then attached: attaching takes a lock that neither readers nor writers
//! of the other days notice, where `CREATE TABLE … PARTITION OF` would stop them all.
//!
//! A day that was archived gets a partition again when something of it comes late. A trigger stands before that one:
//! what is archived already never goes in.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Days, NaiveDate};
use sqlx::AssertSqlSafe;
use tocsin_domain::{Invalid, Timestamp};

use crate::{Error, Result, Store};

/// The advisory lock under which partitions are made: the letters "tocsin".
pub(crate) const MAKING_PARTITIONS: i64 = 0x746f_6373_696e;

/// A calendar day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    const MICROS: i64 = 86_400_000_000;

    /// The day that holds `at`.
    pub fn of(at: Timestamp) -> Self {
        Self(at.as_micros().div_euclid(Self::MICROS) as i32)
    }

    /// Its first microsecond.
    pub fn start(self) -> Timestamp {
        Timestamp::from_micros(i64::from(self.0) * Self::MICROS)
    }

    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The day of a date column.
    pub(crate) fn from_date(date: NaiveDate) -> Self {
        Self(date.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days() as i32)
    }

    /// As a date column.
    pub(crate) fn date(self) -> NaiveDate {
        DateTime::from(self.start()).date_naive()
    }

    /// Reads the day out of a partition's name.
    fn from_partition(name: &str) -> Result<Self, Invalid> {
        let bad = || Invalid::new("relname", format!("{name:?} is not the name of a daily partition"));
        let digits = name.strip_prefix("reading_").ok_or_else(bad)?;
        let date = NaiveDate::parse_from_str(digits, "%Y%m%d").map_err(|_| bad())?;
        Ok(Self::from_date(date))
    }

    /// The name of its partition.
    pub(crate) fn partition(self) -> String {
        format!("reading_{}", self.date().format("%Y%m%d"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.date().fmt(f)
    }
}

impl Store {
    /// Makes the partitions of `days` that are missing, each in a transaction of its own: a locked table each, the days
    /// of a history would be more locks than Postgres has room for. Days this process has seen before cost no query;
    /// replicas may race.
    pub async fn partitions_ensure(&self, days: impl IntoIterator<Item = Day>) -> Result<()> {
        for day in self.days_unknown(days) {
            self.partition_make(day).await?;
            self.day_remember(day);
        }
        Ok(())
    }

    /// Makes today's and tomorrow's partitions, so that no reading that comes in time has to wait for its own.
    pub async fn partitions_ahead(&self, now: Timestamp) -> Result<()> {
        let today = Day::of(now);
        self.partitions_ensure([today, today.next()]).await
    }

    /// Makes a day's partition, unless there is one.
    async fn partition_make(&self, day: Day) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query!("select pg_advisory_xact_lock($1)", MAKING_PARTITIONS)
            .execute(&mut *transaction)
            .await?;
        let exists = sqlx::query_scalar!(r#"select to_regclass($1) is not null as "exists!""#, day.partition())
            .fetch_one(&mut *transaction)
            .await?;
        if !exists {
            let archived = sqlx::query_scalar!(
                r#"select exists (select 1 from archived_key where day = $1) as "archived!""#,
                day.date()
            )
            .fetch_one(&mut *transaction)
            .await?;
            sqlx::raw_sql(AssertSqlSafe(attach_statements(day, archived)))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Those of `days` that this process has not seen, each once.
    fn days_unknown(&self, days: impl IntoIterator<Item = Day>) -> BTreeSet<Day> {
        let known = self.known_days.read().expect("no holder of this lock panics");
        days.into_iter().filter(|day| !known.contains(day)).collect()
    }

    /// Forgets which days have a partition: one may have been archived.
    pub fn days_forget(&self) {
        self.known_days.write().expect("no holder of this lock panics").clear();
    }

    fn day_remember(&self, day: Day) {
        self.known_days
            .write()
            .expect("no holder of this lock panics")
            .insert(day);
    }

    /// The days that have a partition, in order.
    pub async fn partitions_list(&self) -> Result<Vec<Day>> {
        let names = sqlx::query_scalar!(
            r#"select c.relname::text as "name!" from pg_inherits i join pg_class c on c.oid = i.inhrelid
               where i.inhparent = 'reading'::regclass order by c.relname"#
        )
        .fetch_all(&self.pool)
        .await?;
        names
            .iter()
            .map(|name| Day::from_partition(name).map_err(Error::impossible("pg_class", "relname", name)))
            .collect()
    }
}

/// Table and name are ours: a prefix and eight digits.
fn attach_statements(day: Day, archived: bool) -> String {
    let name = day.partition();
    let (from, to) = (
        day.date(),
        day.date().checked_add_days(Days::new(1)).unwrap_or(NaiveDate::MAX),
    );
    let guard = if archived {
        format!(
            "create trigger not_archived before insert on {name} for each row execute function reading_not_archived();"
        )
    } else {
        String::new()
    };
    format!(
        "create table {name} (like reading including defaults including constraints);
         {guard}
         alter table reading attach partition {name} for values from ('{from} 00:00+00') to ('{to} 00:00+00');"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_utc_and_its_partition_is_named_after_it() {
        let at = Timestamp::parse("t", "2012-02-29T23:59:59.999999Z").unwrap();
        let day = Day::of(at);
        assert_eq!(
            (day.to_string().as_str(), day.partition().as_str()),
            ("2012-02-29", "reading_20120229")
        );
        assert_eq!(day.next().start(), Timestamp::from_micros(at.as_micros() + 1));
        assert_eq!(Day::from_partition("reading_20120229").unwrap(), day);
        assert_eq!(Day::of(Timestamp::from_micros(-1)).to_string(), "1969-12-31");
        assert!(Day::from_partition("reading_rescored").is_err());
    }
}
