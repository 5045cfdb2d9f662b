//! The bearings that sensors listen to.

use serde_json::json;
use tocsin_contracts::Malformed;
use tocsin_contracts::fleet::v1::{Bearing as WireBearing, SetBearingRequest, SetBearingResponse};
use tocsin_detect::Bearing;
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{PersonRole, Principal, Slug};
use tocsin_store::access::NewAuditEntry;

use super::Fleet;
use crate::Error;

impl Fleet {
    /// Declares the bearing of a sensor, or takes it away.
    pub(super) async fn set_bearing(
        &self,
        principal: &Principal,
        request: SetBearingRequest,
    ) -> Result<SetBearingResponse, Error> {
        principal.require(PersonRole::Engineer, "declare bearings")?;
        let site = Slug::parse("site", &request.site)?;
        let path = SensorPath {
            machine: Slug::parse("machine", &request.machine)?,
            sensor: Slug::parse("sensor", &request.sensor)?,
        };
        let bearing = request.bearing.map(parse).transpose()?;
        let (scope, store) = (principal.scope(), &self.context.store);
        let listing = store.sensor_by_name(&scope, &site, &path).await?;
        let kept = bearing.map(|bearing| serde_json::to_string(&bearing).expect("finite numbers have a JSON form"));
        let audit = |(): &()| {
            let detail = json!({ "bearing": bearing });
            NewAuditEntry::new(
                principal.actor(),
                "sensor.set_bearing",
                format!("{site}/{path}"),
                &detail,
            )
        };
        let declared = (listing.sensor.id, kept.as_deref());
        store
            .sensor_set_bearing(&scope, declared, self.context.now(), audit)
            .await?;
        let orders = bearing.map(|bearing| bearing.rates(1.0));
        Ok(SetBearingResponse {
            ftf_orders: orders.map(|orders| orders.ftf_hz),
            bpfo_orders: orders.map(|orders| orders.bpfo_hz),
            bpfi_orders: orders.map(|orders| orders.bpfi_hz),
            bsf_orders: orders.map(|orders| orders.bsf_hz),
        })
    }
}

fn parse(wire: WireBearing) -> Result<Bearing, Malformed> {
    let elements = u16::try_from(wire.rolling_elements)
        .map_err(|_| Malformed::new("bearing.rolling_elements", "are more than 65535"))?;
    Bearing::new(
        elements,
        wire.ball_diameter_mm,
        wire.pitch_diameter_mm,
        wire.contact_angle_deg,
    )
    .map_err(|error| Malformed::new(format!("bearing.{}", error.field), error.reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_geometry_that_is_none_is_refused_by_its_field() {
        let good = WireBearing {
            rolling_elements: 9,
            ball_diameter_mm: 7.94,
            pitch_diameter_mm: 39.04,
            contact_angle_deg: 0.0,
        };
        assert!(parse(good).is_ok());
        let cases = [
            (
                WireBearing {
                    rolling_elements: 70_000,
                    ..good
                },
                "bearing.rolling_elements",
            ),
            (
                WireBearing {
                    ball_diameter_mm: 50.0,
                    ..good
                },
                "bearing.ball_diameter_mm",
            ),
            (
                WireBearing {
                    contact_angle_deg: f64::NAN,
                    ..good
                },
                "bearing.contact_angle_deg",
            ),
        ];
        for (wire, field) in cases {
            assert_eq!(parse(wire).unwrap_err().field, field);
        }
    }
}
