//! Drift as it is asked for and answered: a site's sensors, and a plateau that a person accepts.

use serde_json::json;
use tocsin_contracts::recalibrator::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{Principal, Scope, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::SensorListing;

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
        let (scope, store) = (by.scope(), &self.parts.store);
        let path = SensorPath {
            machine: slug("machine", &request.machine)?,
            sensor: slug("sensor", &request.sensor)?,
        };
        let reason = request.reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON {
            let wrong = format!("must say why, in at most {MAX_REASON} bytes");
            return Err(Malformed::new("reason", wrong).into());
        }
        let site = store.site_by_name(&scope, &slug("site", &request.site)?).await?.name;
        let listing = store.sensor_by_name(&scope, &site, &path).await?;
        let whose = (by.actor(), listing.sensor.id);
        self.follower
            .accept_plateau(&scope, whose.1, (&whose.0, reason))
            .await?;
        let entry = NewAuditEntry {
            actor: whose.0,
            action: "sensor.accept_plateau".to_owned(),
            subject: format!("sensor:{}", whose.1),
            detail_json: json!({ "reason": reason }).to_string(),
        };
        self.record(&entry).await;
        Ok(self.drift(&scope, &[listing]).await?.pop())
    }
}

fn slug(field: &'static str, text: &str) -> Result<Slug, Error> {
    Ok(Slug::parse(field, text).map_err(Malformed::from)?)
}
