//! Between the fleet's messages and the store's values.

use std::time::Duration;

use tocsin_contracts::fleet::v1::{
    MachineClass as WireClass, MachineOverview as WireMachine, Sensor as WireSensor, Site as WireSite, Spec as WireSpec,
};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::{MachineClass, Site};
use tocsin_domain::{Slug, SpectrumSpec};
use tocsin_store::fleet::{MachineOverview, NamedSpec, NewSensor, NewSite, SensorListing};

const DAY_S: u64 = 24 * 3600;
const DEFAULT_OLDEST_S: u64 = 30 * DAY_S;
const MAX_LONGEST_SHELF_S: u64 = 366 * DAY_S;
const DEFAULT_FURTHEST_S: u64 = 5 * 60;
const DEFAULT_STEP_MS: u64 = 10_000;
const MAX_STEP_MS: u64 = 31 * DAY_S * 1000;
const MAX_TEXT: usize = 200;

/// `given`, or the default when it is zero.
fn or_default(given: u64, default: u64) -> u64 {
    if given == 0 { default } else { given }
}

fn text(field: &str, given: String, default: &str) -> Result<String, Malformed> {
    if given.chars().any(char::is_control) || given.chars().count() > MAX_TEXT {
        return Err(Malformed::new(
            field,
            format!("has control characters or more than {MAX_TEXT} characters"),
        ));
    }
    Ok(if given.is_empty() { default.to_owned() } else { given })
}

pub(super) fn new_site(wire: WireSite) -> Result<NewSite, Malformed> {
    let name = Slug::parse("site.name", &wire.name)?;
    let zone = text("site.time_zone", wire.time_zone, "UTC")?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    if !zone.chars().all(legal) {
        return Err(Malformed::new(
            "site.time_zone",
            format!("{zone:?} is not an IANA time zone"),
        ));
    }
    let cap = wire.auto_register_cap;
    Ok(NewSite {
        title: text("site.title", wire.title, name.as_str())?,
        time_zone: zone,
        oldest: Duration::from_secs(or_default(wire.oldest_s, DEFAULT_OLDEST_S)),
        furthest: Duration::from_secs(or_default(wire.furthest_s, DEFAULT_FURTHEST_S)),
        auto_register_cap: i32::try_from(cap)
            .map_err(|_| Malformed::new("site.auto_register_cap", format!("{cap} is too many")))?,
        longest_shelf: longest_shelf(wire.longest_shelf_s)?,
        second_approval: wire.second_approval,
        name,
    })
}

/// The longest that a machine may be shelved at once; 0 is the default.
fn longest_shelf(longest_s: u64) -> Result<Duration, Malformed> {
    if longest_s > MAX_LONGEST_SHELF_S {
        let reason = format!("{longest_s} s is more than a year, {MAX_LONGEST_SHELF_S} s");
        return Err(Malformed::new("site.longest_shelf_s", reason));
    }
    Ok(Duration::from_secs(or_default(
        longest_s,
        Site::DEFAULT_LONGEST_SHELF.as_secs(),
    )))
}

pub(super) fn site(site: Site) -> WireSite {
    WireSite {
        name: site.name.into(),
        title: site.title,
        time_zone: site.time_zone,
        oldest_s: site.oldest.as_secs(),
        furthest_s: site.furthest.as_secs(),
        auto_register_cap: u32::try_from(site.auto_register_cap).unwrap_or(0),
        longest_shelf_s: site.longest_shelf.as_secs(),
        second_approval: site.second_approval,
    }
}

pub(super) fn new_class(wire: &WireClass) -> Result<(Slug, Duration), Malformed> {
    let step_ms = or_default(wire.step_ms, DEFAULT_STEP_MS);
    if step_ms > MAX_STEP_MS {
        return Err(Malformed::new(
            "class.step_ms",
            format!("{step_ms} is more than 31 days"),
        ));
    }
    Ok((Slug::parse("class.name", &wire.name)?, Duration::from_millis(step_ms)))
}

pub(super) fn class(class: &MachineClass) -> WireClass {
    let step_ms = u64::try_from(class.step.as_millis()).unwrap_or(u64::MAX);
    WireClass {
        name: class.name.to_string(),
        step_ms,
        commissioning: Some(super::commissioning::wire_rules(class.commissioning)),
        severity: None,
    }
}

pub(super) fn new_spec(wire: &WireSpec) -> Result<(Slug, SpectrumSpec), Malformed> {
    let name = Slug::parse("spec.name", &wire.name)?;
    let spec: SpectrumSpec = serde_json::from_str(&wire.definition_json)
        .map_err(|e| Malformed::new("spec.definition_json", e.to_string()))?;
    Ok((name, spec.parse()?))
}

pub(super) fn spec(named: &NamedSpec) -> WireSpec {
    let definition_json = serde_json::to_string(&named.spec).expect("a spec is plain numbers and names");
    WireSpec {
        name: named.name.to_string(),
        definition_json,
    }
}

pub(super) fn new_sensor(wire: &WireSensor) -> Result<NewSensor, Malformed> {
    let device = match wire.device.as_str() {
        "" => None,
        device => Some(Slug::parse("sensor.device", device)?),
    };
    Ok(NewSensor {
        site: Slug::parse("sensor.site", &wire.site)?,
        machine: Slug::parse("sensor.machine", &wire.machine)?,
        device,
        name: Slug::parse("sensor.sensor", &wire.sensor)?,
        class: Slug::parse("sensor.class", &wire.class)?,
        spec: Slug::parse("sensor.spec", &wire.spec)?,
    })
}

pub(super) fn sensor(listing: SensorListing) -> WireSensor {
    WireSensor {
        site: listing.site.into(),
        machine: listing.machine.into(),
        sensor: listing.name.into(),
        device: listing.device.into(),
        class: listing.class.into(),
        spec: listing.spec.into(),
        auto_registered: listing.auto_registered,
        commissioning: None,
    }
}

pub(super) fn machine(overview: MachineOverview) -> WireMachine {
    let incident = overview.open_incident;
    let state = incident.map(|open| {
        if open.acknowledged {
            "active_acknowledged"
        } else {
            "active_unacknowledged"
        }
    });
    WireMachine {
        site: overview.machine.site_name.into(),
        machine: overview.machine.name.into(),
        class: overview.machine.class_name.into(),
        sensors: overview.sensors,
        newest_reading_at: overview.newest_reading_at.map(time::to_wire),
        received_at: overview.received_at.map(time::to_wire),
        verdict: overview
            .verdict
            .map(|verdict| verdict.as_str().to_owned())
            .unwrap_or_default(),
        open_incident_id: incident.map_or(0, |open| open.id.0),
        incident_severity: incident.map(|open| open.severity.to_string()).unwrap_or_default(),
        incident_state: state.unwrap_or_default().to_owned(),
        incident_level: incident.map_or(0.0, |open| open.level.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_in_a_new_site_or_class_are_the_defaults() {
        let site = new_site(WireSite {
            name: "lisbon".into(),
            ..WireSite::default()
        })
        .unwrap();
        assert_eq!((site.title.as_str(), site.time_zone.as_str()), ("lisbon", "UTC"));
        assert_eq!(
            (site.oldest.as_secs(), site.furthest.as_secs()),
            (DEFAULT_OLDEST_S, DEFAULT_FURTHEST_S)
        );
        let (_, step) = new_class(&WireClass {
            name: "cnc".into(),
            ..WireClass::default()
        })
        .unwrap();
        assert_eq!(step, Duration::from_secs(10));
    }

    #[test]
    fn what_is_wrong_with_an_asset_is_named_by_its_field() {
        let good = WireSite {
            name: "lisbon".into(),
            ..WireSite::default()
        };
        let sites = [
            (
                WireSite {
                    name: "Lisbon".into(),
                    ..good.clone()
                },
                "site.name",
            ),
            (
                WireSite {
                    time_zone: "GMT; drop".into(),
                    ..good.clone()
                },
                "site.time_zone",
            ),
            (
                WireSite {
                    title: "x".repeat(201),
                    ..good.clone()
                },
                "site.title",
            ),
            (
                WireSite {
                    auto_register_cap: u32::MAX,
                    ..good.clone()
                },
                "site.auto_register_cap",
            ),
            (
                WireSite {
                    longest_shelf_s: MAX_LONGEST_SHELF_S + 1,
                    ..good
                },
                "site.longest_shelf_s",
            ),
        ];
        for (site, field) in sites {
            assert_eq!(new_site(site).unwrap_err().field, field);
        }
        let specs = [
            ("{", "spec.definition_json"),
            (r#"{"bins":64}"#, "spec.definition_json"),
        ];
        for (definition, field) in specs {
            let wire = WireSpec {
                name: "a".into(),
                definition_json: definition.into(),
            };
            assert_eq!(new_spec(&wire).unwrap_err().field, field);
        }
        let few_bins = SpectrumSpec {
            bins: 2,
            ..SpectrumSpec::corpus_default(64)
        };
        let wire = WireSpec {
            name: "a".into(),
            definition_json: serde_json::to_string(&few_bins).unwrap(),
        };
        assert_eq!(new_spec(&wire).unwrap_err().field, "spec.bins");
        let sensor = WireSensor {
            site: "lisbon".into(),
            machine: "cnc/1".into(),
            ..WireSensor::default()
        };
        assert_eq!(new_sensor(&sensor).unwrap_err().field, "sensor.machine");
    }
}
