//! Sensors that gateways bring: registered under what their token allows, up to the site's cap.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;
use tocsin_domain::fleet::{Sensor, SensorPath};
use tocsin_domain::{ClassId, SiteId, SpecId, Timestamp};

use super::sensor::{columns, resolve};
use crate::access::NewAuditEntry;
use crate::access::audit::commit;
use crate::row::time;
use crate::{Error, Result, Store, commissioning};

/// Why a gateway's unknown sensor was not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AutoRegistrationRefusal {
    /// The site has as many sensors of this kind as it allows.
    #[error("the site's {cap} sensors registered by gateways are used up")]
    OverCap {
        /// The site's cap.
        cap: i32,
    },
    /// The machine exists and is of a class the token may not add to.
    #[error("its machine is of another class than the token registers")]
    OtherClass,
}

/// What became of a gateway's unknown sensors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AutoRegistered {
    /// Those that exist now, among them those that existed before.
    pub sensors: HashMap<SensorPath, Sensor>,
    /// Those that did not exist before.
    pub new: Vec<SensorPath>,
    /// Those that were refused.
    pub refused: Vec<(SensorPath, AutoRegistrationRefusal)>,
}

impl Store {
    /// Registers a gateway's unknown sensors under `class` and `spec`, up to the site's cap, in the order given.
    ///
    /// Held together by a lock on the site's row, so that two gateways can't both use the last place. Where none is new,
    /// nothing is put on record.
    pub async fn sensor_auto_register(
        &self,
        site: SiteId,
        class: ClassId,
        spec: SpecId,
        paths: &[SensorPath],
        now: Timestamp,
        audit: impl FnOnce(&AutoRegistered) -> NewAuditEntry,
    ) -> Result<AutoRegistered> {
        let mut transaction = self.begin().await?;
        let cap = sqlx::query_scalar!(
            "select auto_register_cap from site where site_id = $1 for no key update",
            site.0
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(format!("site {site}")))?;
        let used = sqlx::query_scalar!(
            r#"select count(*) as "used!" from sensor s join machine m using (machine_id)
               where m.site_id = $1 and s.auto_registered"#,
            site.0
        )
        .fetch_one(&mut *transaction)
        .await?;
        let known = resolve(&mut transaction, site, paths).await?;
        let foreign = machines_of_other_classes(&mut transaction, site, class, paths).await?;

        let mut answer = AutoRegistered::default();
        let mut seen = HashSet::new();
        let mut new: Vec<&SensorPath> = Vec::new();
        for path in paths.iter().filter(|path| !known.contains_key(*path)) {
            if !seen.insert(path) {
                continue;
            }
            if foreign.contains(path.machine.as_str()) {
                answer.refused.push((path.clone(), AutoRegistrationRefusal::OtherClass));
            } else if used + new.len() as i64 >= i64::from(cap) {
                answer
                    .refused
                    .push((path.clone(), AutoRegistrationRefusal::OverCap { cap }));
            } else {
                new.push(path);
            }
        }
        if !new.is_empty() {
            insert(&mut transaction, (site, class, spec), &new, now).await?;
        }
        answer.sensors = resolve(&mut transaction, site, paths).await?;
        answer.new = new.into_iter().cloned().collect();
        if answer.new.is_empty() {
            return Ok(answer);
        }
        commit(transaction, answer, audit, now).await
    }
}

async fn machines_of_other_classes(
    conn: &mut PgConnection,
    site: SiteId,
    class: ClassId,
    paths: &[SensorPath],
) -> Result<HashSet<String>> {
    let (machines, _) = columns(paths);
    let names = sqlx::query_scalar!(
        "select name from machine where site_id = $1 and class_id <> $2 and name = any($3)",
        site.0,
        class.0,
        &machines,
    )
    .fetch_all(conn)
    .await?;
    Ok(names.into_iter().collect())
}

async fn insert(
    conn: &mut PgConnection,
    (site, class, spec): (SiteId, ClassId, SpecId),
    paths: &[&SensorPath],
    now: Timestamp,
) -> Result<()> {
    let (machines, sensors) = columns(paths.iter().copied());
    sqlx::query!(
        "insert into machine (site_id, class_id, name, created_at)
         select distinct $1::int4, $2::int4, name, $3::timestamptz from unnest($4::text[]) name on conflict do nothing",
        site.0,
        class.0,
        time(now),
        &machines,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into device (machine_id, name)
         select m.machine_id, p.sensor from unnest($2::text[], $3::text[]) p(machine, sensor)
         join machine m on m.site_id = $1 and m.name = p.machine on conflict do nothing",
        site.0,
        &machines,
        &sensors,
    )
    .execute(&mut *conn)
    .await?;
    let made = sqlx::query_scalar!(
        "insert into sensor (machine_id, device_id, spec_id, name, auto_registered, created_at)
         select m.machine_id, d.device_id, $2, p.sensor, true, $3 from unnest($4::text[], $5::text[]) p(machine, sensor)
         join machine m on m.site_id = $1 and m.name = p.machine
         join device d on d.machine_id = m.machine_id and d.name = p.sensor on conflict do nothing
         returning sensor_id",
        site.0,
        spec.0,
        time(now),
        &machines,
        &sensors,
    )
    .fetch_all(&mut *conn)
    .await?;
    commissioning::begin_first(conn, &made, now).await
}
