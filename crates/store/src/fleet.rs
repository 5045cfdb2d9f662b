//! Sites and classes. Specs are in [`spec`], machines and sensors in [`machine`], [`sensor`] and [`auto_registration`], what
//! classes say of overall levels is in [`zones`].

use std::time::Duration;

use tocsin_domain::fleet::{CommissioningRules, MachineClass, Site};
use tocsin_domain::{ClassId, Invalid, Scope, SeverityZones, SiteId, Slug, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::changes::Channel;
use crate::row::{duration, slug, time};
use crate::{Error, Result, Store};

pub mod auto_registration;
pub mod bearing;
pub mod machine;
pub mod sensor;
pub mod spec;
pub mod zones;

pub use auto_registration::{AutoRegistered, AutoRegistrationRefusal};
pub use machine::{Machine, MachineOverview, MachineQuery, OpenIncidentSummary};
pub use sensor::{NewSensor, SensorListing};
pub use spec::NamedSpec;
pub use zones::{ClassZones, SeverityClass};

/// A site as it is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// Its name.
    pub name: Slug,
    /// The name on screen.
    pub title: String,
    /// IANA time zone.
    pub time_zone: String,
    /// Oldest capture time taken, before now.
    pub oldest: Duration,
    /// Furthest capture time taken, after now.
    pub furthest: Duration,
    /// The most sensors that gateways may register by themselves.
    pub auto_register_cap: i32,
    /// The longest that a machine may be shelved at once.
    pub longest_shelf: Duration,
    /// Alarm limits that one person asked for need another's approval before they judge machines here.
    pub second_approval: bool,
}

/// A class of machines as it is declared.
#[derive(Debug, Clone)]
pub struct NewClass {
    /// Its name.
    pub name: Slug,
    /// One decision interval.
    pub step: Duration,
    /// When its sensors have been seen enough.
    pub rules: CommissioningRules,
    /// What it says of overall levels, and who says so.
    pub zones: Option<(SeverityZones, String)>,
}

impl NewClass {
    /// A class that is commissioned by the usual rules and says nothing of overall levels.
    pub fn usual(name: Slug, step: Duration) -> Self {
        Self {
            name,
            step,
            rules: CommissioningRules::default(),
            zones: None,
        }
    }
}

struct SiteRow {
    site_id: i32,
    name: String,
    title: String,
    time_zone: String,
    oldest_s: i64,
    furthest_s: i64,
    auto_register_cap: i32,
    longest_shelf_s: i64,
    second_approval: bool,
}

impl TryFrom<SiteRow> for Site {
    type Error = Error;

    fn try_from(row: SiteRow) -> Result<Self> {
        let id = row.site_id;
        Ok(Self {
            id: SiteId(id),
            name: slug("site", "name", id, &row.name)?,
            title: row.title,
            time_zone: row.time_zone,
            oldest: duration("site", "oldest_s", id, row.oldest_s, Duration::from_secs)?,
            furthest: duration("site", "furthest_s", id, row.furthest_s, Duration::from_secs)?,
            auto_register_cap: row.auto_register_cap,
            longest_shelf: duration("site", "longest_shelf_s", id, row.longest_shelf_s, Duration::from_secs)?,
            second_approval: row.second_approval,
        })
    }
}

struct ClassRow {
    class_id: i32,
    name: String,
    step_ms: i64,
    commissioning_readings: i32,
    commissioning_span_s: i64,
    run_in_readings: i32,
}

impl TryFrom<ClassRow> for MachineClass {
    type Error = Error;

    fn try_from(row: ClassRow) -> Result<Self> {
        let id = row.class_id;
        let whole = |column, number: i32| {
            u32::try_from(number)
                .map_err(|_| Invalid::new(column, format!("{number} is negative")))
                .map_err(Error::impossible("machine_class", column, id))
        };
        Ok(Self {
            id: ClassId(id),
            name: slug("machine_class", "name", id, &row.name)?,
            step: duration("machine_class", "step_ms", id, row.step_ms, Duration::from_millis)?,
            commissioning: CommissioningRules {
                readings: whole("commissioning_readings", row.commissioning_readings)?,
                span: duration(
                    "machine_class",
                    "commissioning_span_s",
                    id,
                    row.commissioning_span_s,
                    Duration::from_secs,
                )?,
                run_in: whole("run_in_readings", row.run_in_readings)?,
            },
        })
    }
}

/// Whole seconds or milliseconds as a column; a duration too long for it is the longest.
fn count(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

impl Store {
    /// Declares a site.
    pub async fn site_create(
        &self,
        new: &NewSite,
        now: Timestamp,
        audit: impl FnOnce(&Site) -> NewAuditEntry,
    ) -> Result<Site> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            SiteRow,
            "insert into site (name, title, time_zone, oldest_s, furthest_s, auto_register_cap, created_at, longest_shelf_s,
                 second_approval)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             returning site_id, name, title, time_zone, oldest_s, furthest_s, auto_register_cap, longest_shelf_s,
                       second_approval",
            new.name.as_str(),
            new.title,
            new.time_zone,
            count(new.oldest.as_secs()),
            count(new.furthest.as_secs()),
            new.auto_register_cap,
            time(now),
            count(new.longest_shelf.as_secs()),
            new.second_approval,
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("site {}", new.name)))?;
        commit(transaction, row.try_into()?, audit, now).await
    }

    /// The sites in `scope`, by name.
    pub async fn site_list(&self, scope: &Scope) -> Result<Vec<Site>> {
        let rows = sqlx::query_as!(
            SiteRow,
            "select site_id, name, title, time_zone, oldest_s, furthest_s, auto_register_cap, longest_shelf_s, second_approval
             from site
             where $1::int4[] is null or site_id = any($1) order by name",
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Site::try_from).collect()
    }

    /// A site by its name.
    pub async fn site_by_name(&self, scope: &Scope, name: &Slug) -> Result<Site> {
        let row = sqlx::query_as!(
            SiteRow,
            "select site_id, name, title, time_zone, oldest_s, furthest_s, auto_register_cap, longest_shelf_s, second_approval
             from site
             where name = $1 and ($2::int4[] is null or site_id = any($2))",
            name.as_str(),
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("site {name}")))?.try_into()
    }

    /// A site by its number.
    pub async fn site_by_id(&self, scope: &Scope, site: SiteId) -> Result<Site> {
        let row = sqlx::query_as!(
            SiteRow,
            "select site_id, name, title, time_zone, oldest_s, furthest_s, auto_register_cap, longest_shelf_s, second_approval
             from site
             where site_id = $1 and ($2::int4[] is null or site_id = any($2))",
            site.0,
            scope.to_filter() as _,
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("site {site}")))?.try_into()
    }

    /// Sets whether a site asks for a second person's approval of alarm limits.
    pub async fn site_set_second_approval(
        &self,
        scope: &Scope,
        (name, asks): (&Slug, bool),
        now: Timestamp,
        audit: impl FnOnce(&Site) -> NewAuditEntry,
    ) -> Result<Site> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            SiteRow,
            "update site set second_approval = $3 where name = $1 and ($2::int4[] is null or site_id = any($2))
             returning site_id, name, title, time_zone, oldest_s, furthest_s, auto_register_cap, longest_shelf_s,
                       second_approval",
            name.as_str(),
            scope.to_filter() as _,
            asks,
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let site = row.ok_or_else(|| Error::not_found(format!("site {name}")))?;
        commit(transaction, site.try_into()?, audit, now).await
    }

    /// Declares a class of machines.
    pub async fn class_create(
        &self,
        new: &NewClass,
        now: Timestamp,
        audit: impl FnOnce(&MachineClass) -> NewAuditEntry,
    ) -> Result<MachineClass> {
        let NewClass {
            name,
            step,
            rules,
            zones: declared,
        } = new;
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            ClassRow,
            "insert into machine_class (name, step_ms, created_at, commissioning_readings, commissioning_span_s,
                 run_in_readings)
             values ($1, $2, $3, $4, $5, $6)
             returning class_id, name, step_ms, commissioning_readings, commissioning_span_s, run_in_readings",
            name.as_str(),
            count(step.as_millis()),
            time(now),
            i32::try_from(rules.readings).unwrap_or(i32::MAX),
            count(rules.span.as_secs()),
            i32::try_from(rules.run_in).unwrap_or(i32::MAX),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| format!("class {name}")))?;
        if let Some((zones, by)) = declared {
            let why = (by.as_str(), "declared with the class");
            zones::insert(&mut transaction, row.class_id, zones, why, now).await?;
        }
        Channel::Zones.notify(&mut transaction).await?;
        commit(transaction, row.try_into()?, audit, now).await
    }

    /// All classes but the canaries', by name.
    pub async fn class_list(&self) -> Result<Vec<MachineClass>> {
        let rows = sqlx::query_as!(
            ClassRow,
            "select class_id, name, step_ms, commissioning_readings, commissioning_span_s, run_in_readings
             from machine_class where class_id <> $1 order by name",
            ClassId::CANARY.0,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(MachineClass::try_from).collect()
    }

    /// A class by its name.
    pub async fn class_by_name(&self, name: &Slug) -> Result<MachineClass> {
        let row = sqlx::query_as!(
            ClassRow,
            "select class_id, name, step_ms, commissioning_readings, commissioning_span_s, run_in_readings
             from machine_class where name = $1",
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("class {name}")))?.try_into()
    }

    /// A class by its number.
    pub async fn class_by_id(&self, class: ClassId) -> Result<MachineClass> {
        let row = sqlx::query_as!(
            ClassRow,
            "select class_id, name, step_ms, commissioning_readings, commissioning_span_s, run_in_readings
             from machine_class where class_id = $1",
            class.0
        )
        .fetch_optional(&self.pool)
        .await?;
        row.ok_or_else(|| Error::not_found(format!("class {class}")))?
            .try_into()
    }

    /// Sets when a class's sensors have been seen enough. Baselines that are there stay.
    pub async fn class_set_commissioning(
        &self,
        name: &Slug,
        rules: CommissioningRules,
        now: Timestamp,
        audit: impl FnOnce(&MachineClass) -> NewAuditEntry,
    ) -> Result<MachineClass> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query_as!(
            ClassRow,
            "update machine_class
             set commissioning_readings = $2, commissioning_span_s = $3, run_in_readings = $4 where name = $1
             returning class_id, name, step_ms, commissioning_readings, commissioning_span_s, run_in_readings",
            name.as_str(),
            i32::try_from(rules.readings).unwrap_or(i32::MAX),
            count(rules.span.as_secs()),
            i32::try_from(rules.run_in).unwrap_or(i32::MAX),
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let class = row.ok_or_else(|| Error::not_found(format!("class {name}")))?;
        commit(transaction, class.try_into()?, audit, now).await
    }
}
