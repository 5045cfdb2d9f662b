//! What classes say of their overall levels: zones on the wire, set by engineers, with their history.

use std::collections::HashMap;

use serde_json::json;
use tocsin_contracts::fleet::v1::{
    ClassZones as WireZones, MachineClass as WireClass, SetSeverityZonesRequest, SeverityZone as WireZone,
};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::MachineClass;
use tocsin_domain::overall::OverallQuantity;
use tocsin_domain::zones::{Boundaries, SeverityZone};
use tocsin_domain::{ClassId, PersonRole, Principal, SeverityZones, Slug};
use tocsin_store::access::NewAuditEntry;
use tocsin_store::fleet::ClassZones;

use super::{Fleet, commissioning, optional_name, wire};
use crate::Error;

impl Fleet {
    /// Classes as they are shown: with the zones in force.
    pub(super) async fn classes_shown(&self, classes: Vec<MachineClass>) -> Result<Vec<WireClass>, Error> {
        let mut zones: HashMap<ClassId, ClassZones> = self.context.store.zones_by_class().await?;
        let shown = classes.iter().map(|class| WireClass {
            severity: zones.remove(&class.id).map(to_wire),
            ..wire::class(class)
        });
        Ok(shown.collect())
    }

    /// The same of one class.
    pub(super) async fn class_shown(&self, class: MachineClass) -> Result<WireClass, Error> {
        Ok(self.classes_shown(vec![class]).await?.remove(0))
    }

    /// Sets a class's zones, or takes them away.
    pub(super) async fn set_zones(
        &self,
        principal: &Principal,
        request: SetSeverityZonesRequest,
    ) -> Result<WireClass, Error> {
        principal.require_everywhere(PersonRole::Engineer, "set severity zones")?;
        let name = Slug::parse("class", &request.class)?;
        let zones = parse(request.zones)?;
        let why = (principal.actor(), commissioning::reason(request.reason)?);
        let store = &self.context.store;
        let audit = |set: &ClassZones| {
            let detail = json!({ "version": set.version, "zones": zones, "reason": why.1 });
            NewAuditEntry::new(&why.0, "class.set_zones", &name, &detail)
        };
        store
            .zones_set(&name, &zones, (&why.0, &why.1), self.context.now(), audit)
            .await?;
        self.class_shown(store.class_by_name(&name).await?).await
    }

    /// Every version of a class's zones, newest first.
    pub(super) async fn zones_versions(&self, class: &str) -> Result<Vec<WireZones>, Error> {
        let name = Slug::parse("class", class)?;
        let store = &self.context.store;
        let class = store.class_by_name(&name).await?;
        let history = store.zones_history(class.id).await?;
        Ok(history.into_iter().map(to_wire).collect())
    }
}

/// Reads a class's zones.
pub(super) fn parse(wire: Vec<WireZone>) -> Result<SeverityZones, Error> {
    let zone = |(place, wire): (usize, WireZone)| {
        Ok(SeverityZone {
            quantity: OverallQuantity::parse(&format!("zones[{place}].quantity"), &wire.quantity)
                .map_err(Malformed::from)?,
            name: optional_name(&format!("zones[{place}].name"), &wire.name)?,
            boundaries: Boundaries {
                ab: wire.ab,
                bc: wire.bc,
                cd: wire.cd,
            },
            stop: wire.stop,
        })
    };
    let zones: Result<Vec<SeverityZone>, Error> = wire.into_iter().enumerate().map(zone).collect();
    Ok(SeverityZones(zones?).parse().map_err(Malformed::from)?)
}

fn to_wire(set: ClassZones) -> WireZones {
    let zone = |zone: SeverityZone| WireZone {
        quantity: zone.quantity.as_str().to_owned(),
        name: zone.name.map(String::from).unwrap_or_default(),
        ab: zone.boundaries.ab,
        bc: zone.boundaries.bc,
        cd: zone.boundaries.cd,
        stop: zone.stop,
    };
    WireZones {
        zones: set.zones.0.into_iter().map(zone).collect(),
        version: set.version,
        changed_at: Some(time::to_wire(set.changed_at)),
        changed_by: set.changed_by,
        reason: set.reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rigid() -> WireZone {
        WireZone {
            quantity: "velocity_rms".to_owned(),
            name: String::new(),
            ab: 2.3,
            bc: 4.5,
            cd: 7.1,
            stop: None,
        }
    }

    fn refused(zone: WireZone) -> String {
        match parse(vec![zone]).unwrap_err() {
            Error::Malformed(malformed) => malformed.field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn zones_that_are_none_are_refused_by_their_field() {
        assert_eq!(parse(vec![rigid()]).unwrap().0.len(), 1);
        assert_eq!(parse(Vec::new()).unwrap(), SeverityZones::default());
        let cases = [
            (
                WireZone {
                    quantity: "loudness".to_owned(),
                    ..rigid()
                },
                "zones[0].quantity",
            ),
            (
                WireZone {
                    name: "Drive End".to_owned(),
                    ..rigid()
                },
                "zones[0].name",
            ),
            (WireZone { bc: 7.1, ..rigid() }, "zones[0].boundaries"),
            (
                WireZone {
                    stop: Some(2.4),
                    ..rigid()
                },
                "zones[0].stop",
            ),
        ];
        for (zone, field) in cases {
            assert_eq!(refused(zone), field);
        }
    }
}
