//! Sensors: declared by people, or by gateways ([`super::auto_registration`]).

use std::collections::{BTreeSet, HashMap};

use sqlx::PgConnection;
use tocsin_domain::fleet::{Sensor, SensorPath};
use tocsin_domain::{ClassId, MachineId, Scope, SensorId, SiteId, Slug, SpecId, Timestamp};

use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::{slug, time};
use crate::{Error, Result, Store, commissioning};

/// A sensor as it is declared, all by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSensor {
    /// The site.
    pub site: Slug,
    /// The machine, made when it is new.
    pub machine: Slug,
    /// The transducer; the sensor's own name when not given. Made when it is new.
    pub device: Option<Slug>,
    /// The sensor.
    pub name: Slug,
    /// The machine's class.
    pub class: Slug,
    /// The sensor's spec.
    pub spec: Slug,
}

/// A sensor with the names people know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorListing {
    /// Its numbers.
    pub sensor: Sensor,
    /// The site's name.
    pub site: Slug,
    /// The machine's name.
    pub machine: Slug,
    /// The transducer's name.
    pub device: Slug,
    /// Its own name.
    pub name: Slug,
    /// The class's name.
    pub class: Slug,
    /// The spec's name.
    pub spec: Slug,
    /// Registered by a gateway's first reading.
    pub auto_registered: bool,
}

struct ListingRow {
    sensor_id: i32,
    site_id: i32,
    machine_id: i32,
    class_id: i32,
    spec_id: i32,
    site: String,
    machine: String,
    device: String,
    name: String,
    class: String,
    spec: String,
    auto_registered: bool,
}

impl TryFrom<ListingRow> for SensorListing {
    type Error = Error;

    fn try_from(row: ListingRow) -> Result<Self> {
        Ok(Self {
            sensor: Sensor {
                id: SensorId(row.sensor_id),
                site: SiteId(row.site_id),
                machine: MachineId(row.machine_id),
                class: ClassId(row.class_id),
                spec: SpecId(row.spec_id),
            },
            site: slug("site", "name", row.site_id, &row.site)?,
            machine: slug("machine", "name", row.machine_id, &row.machine)?,
            device: slug("device", "name", row.sensor_id, &row.device)?,
            name: slug("sensor", "name", row.sensor_id, &row.name)?,
            class: slug("machine_class", "name", row.class_id, &row.class)?,
            spec: slug("spectrum_spec", "name", row.spec_id, &row.spec)?,
            auto_registered: row.auto_registered,
        })
    }
}

/// Columns `machine` and `sensor` of a list of paths, for `unnest`.
pub(super) fn columns<'a>(paths: impl IntoIterator<Item = &'a SensorPath>) -> (Vec<String>, Vec<String>) {
    paths
        .into_iter()
        .map(|path| (path.machine.to_string(), path.sensor.to_string()))
        .unzip()
}

pub(super) async fn resolve(
    conn: &mut PgConnection,
    site: SiteId,
    paths: &[SensorPath],
) -> Result<HashMap<SensorPath, Sensor>> {
    let (machines, sensors) = columns(paths);
    let rows = sqlx::query!(
        r#"select p.ordinality as "place!", s.sensor_id, s.machine_id, m.class_id, s.spec_id
           from unnest($2::text[], $3::text[]) with ordinality p(machine, sensor, ordinality)
           join machine m on m.site_id = $1 and m.name = p.machine
           join sensor s on s.machine_id = m.machine_id and s.name = p.sensor"#,
        site.0,
        &machines,
        &sensors,
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|row| {
        let sensor = Sensor {
            id: SensorId(row.sensor_id),
            site,
            machine: MachineId(row.machine_id),
            class: ClassId(row.class_id),
            spec: SpecId(row.spec_id),
        };
        (paths[row.place as usize - 1].clone(), sensor)
    });
    Ok(found.collect())
}

async fn by_id(conn: &mut PgConnection, scope: &Scope, ids: &[i32]) -> Result<HashMap<SensorId, SensorListing>> {
    let rows = sqlx::query_as!(
        ListingRow,
        "select s.sensor_id, m.site_id, s.machine_id, m.class_id, s.spec_id, i.name as site, m.name as machine,
                    d.name as device, s.name, c.name as class, p.name as spec, s.auto_registered
             from sensor s join machine m using (machine_id) join site i using (site_id)
             join machine_class c using (class_id) join device d using (device_id) join spectrum_spec p using (spec_id)
             where s.sensor_id = any($1) and ($2::int4[] is null or m.site_id = any($2))",
        ids,
        scope.to_filter() as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((SensorId(row.sensor_id), row.try_into()?)))
        .collect()
}

impl Store {
    /// The sensors of `site` by their paths; those that don't exist are missing from the answer.
    pub async fn sensor_resolve(&self, site: SiteId, paths: &[SensorPath]) -> Result<HashMap<SensorPath, Sensor>> {
        let mut conn = self.pool.acquire().await?;
        resolve(&mut conn, site, paths).await
    }

    /// Declares a sensor, and its machine and device when they are new. A machine that exists must be of the class
    /// given.
    pub async fn sensor_create(
        &self,
        scope: &Scope,
        new: &NewSensor,
        now: Timestamp,
        audit: impl FnOnce(&SensorListing) -> NewAuditEntry,
    ) -> Result<SensorListing> {
        let site = self.site_by_name(scope, &new.site).await?;
        let class = self.class_by_name(&new.class).await?;
        let spec = self.spec_by_name(&new.spec).await?;
        let device_name = new.device.as_ref().unwrap_or(&new.name);
        let mut transaction = self.begin().await?;
        sqlx::query!(
            "select 1 as one from site where site_id = $1 for no key update",
            site.id.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query!(
            "insert into machine (site_id, class_id, name, created_at) values ($1, $2, $3, $4) on conflict do nothing",
            site.id.0,
            class.id.0,
            new.machine.as_str(),
            time(now),
        )
        .execute(&mut *transaction)
        .await?;
        let machine = sqlx::query!(
            "select machine_id, class_id from machine where site_id = $1 and name = $2",
            site.id.0,
            new.machine.as_str(),
        )
        .fetch_one(&mut *transaction)
        .await?;
        if machine.class_id != class.id.0 {
            let what = format!(
                "machine {}/{} is of another class than {}",
                new.site, new.machine, new.class
            );
            return Err(Error::conflict(what));
        }
        sqlx::query!(
            "insert into device (machine_id, name) values ($1, $2) on conflict do nothing",
            machine.machine_id,
            device_name.as_str(),
        )
        .execute(&mut *transaction)
        .await?;
        let sensor = sqlx::query_scalar!(
            "insert into sensor (machine_id, device_id, spec_id, name, auto_registered, created_at)
             select $1, device_id, $2, $3, false, $4 from device where machine_id = $1 and name = $5
             returning sensor_id",
            machine.machine_id,
            spec.id.0,
            new.name.as_str(),
            time(now),
            device_name.as_str(),
        )
        .fetch_one(&mut *transaction)
        .await
        .map_err(Error::exists(|| {
            format!("sensor {}/{}/{}", new.site, new.machine, new.name)
        }))?;
        commissioning::begin_first(&mut transaction, &[sensor], now).await?;
        let listings = by_id(&mut transaction, scope, &[sensor]).await?;
        let listing = listings.into_values().next();
        let listing = listing.ok_or_else(|| Error::not_found(format!("sensor {}", new.name)))?;
        commit(transaction, listing, audit, now).await
    }

    /// Sensors in `scope` but canaries, by site, machine and name; of one site, and one machine of it, when given.
    pub async fn sensor_list(
        &self,
        scope: &Scope,
        site: Option<&Slug>,
        machine: Option<&Slug>,
    ) -> Result<Vec<SensorListing>> {
        let rows = sqlx::query_as!(
            ListingRow,
            "select s.sensor_id, m.site_id, s.machine_id, m.class_id, s.spec_id, i.name as site, m.name as machine,
                    d.name as device, s.name, c.name as class, p.name as spec, s.auto_registered
             from sensor s join machine m using (machine_id) join site i using (site_id)
             join machine_class c using (class_id) join device d using (device_id) join spectrum_spec p using (spec_id)
             where ($1::int4[] is null or m.site_id = any($1)) and ($2::text is null or i.name = $2)
               and ($3::text is null or m.name = $3) and m.class_id <> $4
             order by i.name, m.name, s.name",
            scope.to_filter() as _,
            site.map(Slug::as_str),
            machine.map(Slug::as_str),
            ClassId::CANARY.0,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(SensorListing::try_from).collect()
    }

    /// Sensors in `scope` by number: their names for display. Those outside are missing from the answer.
    pub async fn sensors_by_id(&self, scope: &Scope, sensors: &[SensorId]) -> Result<HashMap<SensorId, SensorListing>> {
        let ids: Vec<i32> = sensors
            .iter()
            .map(|sensor| sensor.0)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        by_id(&mut *self.acquire().await?, scope, &ids).await
    }

    /// The sensors of a machine, by name.
    pub async fn sensors_by_machine(&self, scope: &Scope, machine: MachineId) -> Result<Vec<SensorListing>> {
        let rows = sqlx::query_as!(
            ListingRow,
            "select s.sensor_id, m.site_id, s.machine_id, m.class_id, s.spec_id, i.name as site, m.name as machine,
                    d.name as device, s.name, c.name as class, p.name as spec, s.auto_registered
             from sensor s join machine m using (machine_id) join site i using (site_id)
             join machine_class c using (class_id) join device d using (device_id) join spectrum_spec p using (spec_id)
             where s.machine_id = $1 and ($2::int4[] is null or m.site_id = any($2)) order by s.name",
            machine.0,
            scope.to_filter() as _,
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(SensorListing::try_from).collect()
    }

    /// A sensor by the names of its site, machine and itself.
    pub async fn sensor_by_name(&self, scope: &Scope, site: &Slug, path: &SensorPath) -> Result<SensorListing> {
        let machine = self.sensor_list(scope, Some(site), Some(&path.machine)).await?;
        let found = machine.into_iter().find(|listing| listing.name == path.sensor);
        found.ok_or_else(|| Error::not_found(format!("sensor {site}/{path}")))
    }
}
