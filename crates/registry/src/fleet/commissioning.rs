//! Where sensors stand in their commissioning, and what begins it anew.

use std::time::Duration;

use serde_json::{Value, json};
use tocsin_contracts::fleet::v1::{
    CommissionSensorRequest, Commissioning as WireCommissioning, CommissioningRules as WireRules,
    MachineClass as WireClass, Sensor as WireSensor, SetCommissioningRulesRequest,
};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::{CommissioningRules, MachineClass, SensorPath};
use tocsin_domain::{PersonRole, Principal, Scope, SensorId, SiteId, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::commissioning::{Commissioning, Progress, Refusal};
use tocsin_store::fleet::SensorListing;

use super::{Fleet, wire};
use crate::Error;

/// The longest reason that is kept.
const MAX_REASON: usize = 500;

impl Fleet {
    /// Sensors as they are shown: by name, and where each stands.
    pub(super) async fn shown(&self, scope: &Scope, listings: Vec<SensorListing>) -> Result<Vec<WireSensor>, Error> {
        let sensors: Vec<SensorId> = listings.iter().map(|listing| listing.sensor.id).collect();
        let mut states = self.context.store.commissioning_by_sensor(scope, &sensors).await?;
        let shown = listings.into_iter().map(|listing| {
            let state = states.remove(&listing.sensor.id);
            WireSensor {
                commissioning: state.map(commissioning),
                ..wire::sensor(listing)
            }
        });
        Ok(shown.collect())
    }

    /// Begins a new epoch of one sensor.
    pub(super) async fn commission(
        &self,
        principal: &Principal,
        request: CommissionSensorRequest,
    ) -> Result<WireSensor, Error> {
        principal.require(PersonRole::Engineer, "commission sensors")?;
        let site = Slug::parse("site", &request.site)?;
        let path = SensorPath {
            machine: Slug::parse("machine", &request.machine)?,
            sensor: Slug::parse("sensor", &request.sensor)?,
        };
        let reason = reason(request.reason)?;
        let (scope, store) = (principal.scope(), &self.context.store);
        let site = store.site_by_name(&scope, &site).await?.name;
        let listing = store.sensor_by_name(&scope, &site, &path).await?;
        if request.accept_zone {
            return self.accept_zone(principal, listing, request.accepted_by, reason).await;
        }
        let why = (principal.actor(), reason);
        let audit = |epoch: &i32| {
            let detail = json!({ "epoch": epoch, "reason": why.1 });
            NewAuditEntry::new(&why.0, "sensor.commission", format!("{site}/{path}"), &detail)
        };
        store
            .commissioning_restart(&scope, listing.sensor.id, (&why.0, &why.1), self.context.now(), audit)
            .await?;
        Ok(self.shown(&scope, vec![listing]).await?.remove(0))
    }

    /// Lets a refused sensor be commissioned in the zone it stands in, in a person's name.
    async fn accept_zone(
        &self,
        principal: &Principal,
        listing: SensorListing,
        named: String,
        reason: String,
    ) -> Result<WireSensor, Error> {
        let by = self.accepter(principal, named, listing.sensor.site).await?;
        let (scope, sensor) = (principal.scope(), listing.sensor.id);
        let audit = |refused: &String| {
            let subject = format!("{}/{}/{}", listing.site, listing.machine, listing.name);
            let detail = json!({ "by": by, "reason": reason, "refused": refused });
            NewAuditEntry::new(principal.actor(), "sensor.accept_zone", subject, &detail)
        };
        self.context
            .store
            .commissioning_accept_zone(&scope, sensor, (&by, &reason), self.context.now(), audit)
            .await?;
        Ok(self.shown(&scope, vec![listing]).await?.remove(0))
    }

    /// The person in whose name a zone is accepted: who calls, or whom the deployment's own credential names.
    async fn accepter(&self, principal: &Principal, named: String, site: SiteId) -> Result<String, Error> {
        let wrong = |reason: String| Error::from(Malformed::new("accepted_by", reason));
        if let Principal::Person(person) = principal {
            return if named.is_empty() || named == person.name {
                Ok(person.name.clone())
            } else {
                Err(wrong(format!(
                    "{} accepts in no other name than their own",
                    person.name
                )))
            };
        }
        if named.is_empty() {
            return Err(wrong("is missing: a zone is accepted by a person".to_owned()));
        }
        let account = self.context.store.account_by_name(&named).await?;
        let may = account.is_some_and(|(account, _)| {
            account.disabled_at.is_none() && account.role >= PersonRole::Engineer && account.scope.contains(site)
        });
        if may {
            Ok(named)
        } else {
            Err(wrong(format!("{named:?} is no account of an engineer of the site")))
        }
    }

    /// Sets when a class's sensors have been seen enough.
    pub(super) async fn set_rules(
        &self,
        principal: &Principal,
        request: SetCommissioningRulesRequest,
    ) -> Result<WireClass, Error> {
        principal.require_everywhere(PersonRole::Engineer, "set when sensors are commissioned")?;
        let name = Slug::parse("class", &request.class)?;
        let rules = rules(request.rules.ok_or_else(|| Malformed::new("rules", "is missing"))?)?;
        let audit = |class: &MachineClass| {
            NewAuditEntry::new(
                principal.actor(),
                "class.set_commissioning",
                &class.name,
                &detail(rules),
            )
        };
        let (store, now) = (&self.context.store, self.context.now());
        let class = store.class_set_commissioning(&name, rules, now, audit).await?;
        self.class_shown(class).await
    }
}

/// How a record names a class's rules.
pub(super) fn detail(rules: CommissioningRules) -> Value {
    json!({ "readings": rules.readings, "span_s": rules.span.as_secs(), "run_in": rules.run_in })
}

pub(super) fn reason(text: String) -> Result<String, Malformed> {
    if text.trim().is_empty() {
        return Err(Malformed::new("reason", "is missing: say why, for the record"));
    }
    if text.chars().any(char::is_control) || text.chars().count() > MAX_REASON {
        let wrong = format!("has control characters or more than {MAX_REASON} characters");
        return Err(Malformed::new("reason", wrong));
    }
    Ok(text)
}

/// Reads a class's rules.
pub(super) fn rules(wire: WireRules) -> Result<CommissioningRules, Malformed> {
    let rules = CommissioningRules {
        readings: wire.readings,
        span: Duration::from_secs(wire.span_s),
        run_in: wire.run_in_readings,
    };
    Ok(rules.parse()?)
}

/// Writes a class's rules.
pub(super) fn wire_rules(rules: CommissioningRules) -> WireRules {
    WireRules {
        readings: rules.readings,
        span_s: rules.span.as_secs(),
        run_in_readings: rules.run_in,
    }
}

fn commissioning(state: Commissioning) -> WireCommissioning {
    let wire = WireCommissioning {
        state: state.progress.state().as_str().to_owned(),
        epoch: state.epoch,
        started_at: Some(time::to_wire(state.started_at)),
        started_by: state.started_by,
        reason: state.reason,
        ..WireCommissioning::default()
    };
    let wire = match state.refusal {
        Some(refusal) => refused(wire, refusal),
        None => wire,
    };
    match state.progress {
        Progress::Commissioning { readings, needed } => WireCommissioning {
            readings,
            readings_needed: needed,
            ..wire
        },
        Progress::Commissioned { baseline, at, readings } => WireCommissioning {
            readings,
            commissioned_at: Some(time::to_wire(at)),
            baseline_id: baseline.0,
            ..wire
        },
    }
}

fn refused(wire: WireCommissioning, refusal: Refusal) -> WireCommissioning {
    let wire = WireCommissioning {
        refused_reason: refusal.reason,
        refused_at: Some(time::to_wire(refusal.at)),
        ..wire
    };
    match refusal.accepted {
        Some(accepted) => WireCommissioning {
            zone_accepted_by: accepted.by,
            zone_accepted_at: Some(time::to_wire(accepted.at)),
            zone_accepted_reason: accepted.reason,
            ..wire
        },
        None => wire,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_epoch_needs_a_reason_that_can_be_read() {
        assert_eq!(reason("  ".to_owned()).unwrap_err().field, "reason");
        assert_eq!(reason("x".repeat(501)).unwrap_err().field, "reason");
        assert_eq!(reason("new bearing".to_owned()).unwrap(), "new bearing");
    }

    #[test]
    fn rules_survive_the_wire_and_too_few_readings_do_not() {
        let default = CommissioningRules::default();
        assert_eq!(rules(wire_rules(default)).unwrap(), default);
        let few = WireRules {
            readings: 3,
            ..wire_rules(default)
        };
        assert_eq!(rules(few).unwrap_err().field, "commissioning.readings");
    }
}
