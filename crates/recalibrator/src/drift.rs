//! Drift as it is asked for and answered: a site's sensors, a plateau that a person accepts, a baseline taken back.

use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{Principal, Scope, SensorId, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::SensorListing;
use tocsin_store::following::RolledBack;

use crate::{Error, Service};

/// The longest reason that is kept.
const MAX_REASON: usize = 500;

impl Service {
    /// Where a site's sensors stood in their last round; those that have had none are missing.
    pub(crate) async fn drift_of_site(&self, scope: &Scope, site: &str) -> Result<Vec<v1::SensorDrift>, Error> {
        let site = slug("site", site)?;
        let site = self.parts.store.site_by_name(scope, &site).await?.name;
        let listings = self.parts.store.sensor_list(scope, Some(&site), None).await?;
        self.drift(scope, &listings).await
    }

    async fn drift(&self, scope: &Scope, listings: &[SensorListing]) -> Result<Vec<v1::SensorDrift>, Error> {
        let sensors: Vec<_> = listings.iter().map(|listing| listing.sensor.id).collect();
        let rounds = self.parts.store.following_rounds(scope, &sensors).await?;
        let shown = rounds.into_iter().filter_map(|round| {
            let listing = listings.iter().find(|listing| listing.sensor.id == round.sensor)?;
            Some(v1::SensorDrift {
                machine: listing.machine.to_string(),
                sensor: listing.name.to_string(),
                at: Some(time::to_wire(round.at)),
                readings: round.readings,
                finding: round.finding,
                standing: round.standing,
                cusum: round.cusum,
                held: round.held,
                recent_db: f64::from(round.recent_db),
                active_db: f64::from(round.active_db),
                held_by: round
                    .held_by_person
                    .as_ref()
                    .map(|(by, _)| by.clone())
                    .unwrap_or_default(),
                held_reason: round.held_by_person.map(|(_, reason)| reason).unwrap_or_default(),
                version: round.version,
            })
        });
        Ok(shown.collect())
    }

    /// A person takes where a sensor stands now for its normal state.
    pub(crate) async fn do_accept_plateau(
        &self,
        by: &Principal,
        request: v1::AcceptPlateauRequest,
    ) -> Result<Option<v1::SensorDrift>, Error> {
        let (scope, names) = (by.scope(), [&request.site, &request.machine, &request.sensor]);
        let (listing, reason) = self.asked(&scope, names, &request.reason).await?;
        self.follower
            .accept_plateau(&scope, listing.sensor.id, (&by.actor(), &reason))
            .await?;
        Ok(self.drift(&scope, &[listing]).await?.pop())
    }

    /// A person takes a followed baseline back, and it is held there.
    pub(crate) async fn do_rollback_baseline(
        &self,
        by: &Principal,
        request: v1::RollbackBaselineRequest,
    ) -> Result<Option<v1::SensorDrift>, Error> {
        let (scope, names) = (by.scope(), [&request.site, &request.machine, &request.sensor]);
        let (listing, reason) = self.asked(&scope, names, &request.reason).await?;
        if request.version < 0 {
            let wrong = format!("{} is no version: they count from 1", request.version);
            return Err(Malformed::new("version", wrong).into());
        }
        let (actor, sensor) = (by.actor(), listing.sensor.id);
        let which = (sensor, (request.version != 0).then_some(request.version));
        let now = self.parts.clock.now();
        let audit = |done: &RolledBack| {
            let detail = json!({
                "reason": reason, "from_version": done.from.1, "from_baseline": done.from.0.0,
                "to_version": done.to.1, "to_baseline": done.to.0.0,
            });
            sensor_entry(&actor, "sensor.rollback_baseline", sensor, &detail)
        };
        self.parts
            .store
            .following_rollback(&scope, which, (&actor, &reason), now, audit)
            .await?;
        Ok(self.drift(&scope, &[listing]).await?.pop())
    }

    /// A person lets a baseline that was taken back follow again.
    pub(crate) async fn do_release_baseline(
        &self,
        by: &Principal,
        request: v1::ReleaseBaselineRequest,
    ) -> Result<Option<v1::SensorDrift>, Error> {
        let (scope, names) = (by.scope(), [&request.site, &request.machine, &request.sensor]);
        let (listing, reason) = self.asked(&scope, names, &request.reason).await?;
        let sensor = listing.sensor.id;
        let audit = |(): &()| {
            sensor_entry(
                &by.actor(),
                "sensor.release_baseline",
                sensor,
                &json!({ "reason": reason }),
            )
        };
        let now = self.parts.clock.now();
        self.parts.store.following_release(&scope, sensor, now, audit).await?;
        Ok(self.drift(&scope, &[listing]).await?.pop())
    }

    /// Lets every baseline follow now; answers how many moved.
    pub(crate) async fn do_follow(&self, by: &Principal) -> Result<u32, Error> {
        self.asked_for(by, "sensors.follow").await?;
        self.follower.round(None, &by.actor()).await
    }

    /// The sensor a person means, and why.
    async fn asked(
        &self,
        scope: &Scope,
        [site, machine, sensor]: [&String; 3],
        reason: &str,
    ) -> Result<(SensorListing, String), Error> {
        let path = SensorPath {
            machine: slug("machine", machine)?,
            sensor: slug("sensor", sensor)?,
        };
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            let wrong = format!("must say why, in at most {MAX_REASON} bytes");
            return Err(Malformed::new("reason", wrong).into());
        }
        let store = &self.parts.store;
        let site = store.site_by_name(scope, &slug("site", site)?).await?.name;
        let listing = store.sensor_by_name(scope, &site, &path).await?;
        Ok((listing, reason.to_owned()))
    }
}

/// The entry of what was done to a sensor.
pub(crate) fn sensor_entry(actor: &str, action: &str, sensor: SensorId, detail: &Value) -> NewAuditEntry {
    NewAuditEntry::new(actor, action, format!("sensor:{sensor}"), detail)
}

fn slug(field: &'static str, text: &str) -> Result<Slug, Error> {
    Ok(Slug::parse(field, text).map_err(Malformed::from)?)
}
