//! `tocsin classes`: declared, with when their sensors are commissioned and how their overall levels are judged.

use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    ClassZones, CommissioningRules, CreateClassRequest, ListClassesRequest, ListSeverityZonesRequest, MachineClass,
    SetCommissioningRulesRequest, SetSeverityZonesRequest, SeverityZone,
};
use tocsin_domain::zones::MachineGroup;
use tocsin_transport::Channel;

use crate::client::explain;
use crate::command::{Ask, duration, when};

#[derive(Debug, Args)]
pub(in crate::command) struct Classes {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: ClassCommand,
}

#[derive(Debug, Subcommand)]
enum ClassCommand {
    /// Declare a class
    Create {
        /// Its name
        name: String,
        /// One decision interval [default: 10s]
        #[arg(long, value_name = "TIME", value_parser = duration::parse)]
        step: Option<Duration>,
    },
    /// Set when a class's sensors have been seen enough to get their baselines
    Commissioning {
        /// The class
        name: String,
        /// Healthy readings it takes, the run-in not among them
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        readings: u32,
        /// Time between the first and the last of them
        #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "24h")]
        span: Duration,
        /// Readings skipped at the start
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        run_in: u32,
    },
    /// Set the severity zones of a class's overall levels, or show them and who set them
    Zones(Zones),
    /// List classes
    List,
}

#[derive(Debug, Args)]
struct Zones {
    /// The class
    name: String,
    /// Those of ISO 20816-3 on velocity rms: group-1-rigid, group-1-flexible, group-2-rigid or group-2-flexible
    #[arg(long, value_name = "GROUP")]
    iso_20816_3: Option<MachineGroup>,
    /// Where the zones A to D of a quantity meet, in g, mm/s, µm or °C; may be given more than once. QUANTITY:NAME bounds
    /// the declared level NAME alone
    #[arg(long, value_name = "QUANTITY=A/B,B/C,C/D", value_parser = limits)]
    limits: Vec<SeverityZone>,
    /// Below this, in the same units, a machine stands still and is not judged; may be given more than once
    #[arg(long = "stop-level", value_name = "QUANTITY=VALUE", value_parser = stop_level)]
    stop_levels: Vec<(String, f32)>,
    /// Take them away
    #[arg(long, conflicts_with_all = ["iso_20816_3", "limits", "stop_levels"])]
    none: bool,
    /// Why, for the record; needed to set them
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Classes {
    pub(in crate::command) async fn run(self) -> Result<()> {
        let mut client = FleetServiceClient::new(self.ask.target.channel()?);
        match self.what {
            ClassCommand::Create { name, step } => {
                let step_ms = step.map_or(0, |length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
                let class = MachineClass {
                    name,
                    step_ms,
                    ..MachineClass::default()
                };
                let answer = client.create_class(CreateClassRequest { class: Some(class) }).await;
                let answer = answer
                    .map_err(|status| explain("declaring the class", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("class", class_view(answer.class.unwrap_or_default()))
            }
            ClassCommand::Commissioning {
                name,
                readings,
                span,
                run_in,
            } => {
                let rules = CommissioningRules {
                    readings,
                    span_s: span.as_secs(),
                    run_in_readings: run_in,
                };
                let request = SetCommissioningRulesRequest {
                    class: name,
                    rules: Some(rules),
                };
                let answer = client.set_commissioning_rules(request).await;
                let answer = answer
                    .map_err(|status| explain("setting when sensors are commissioned", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("class", class_view(answer.class.unwrap_or_default()))
            }
            ClassCommand::Zones(zones) if zones.only_asks() => zones.show(&mut client, &self.ask).await,
            ClassCommand::Zones(zones) => {
                let answer = client
                    .set_severity_zones(SetSeverityZonesRequest::try_from(zones)?)
                    .await;
                let answer = answer
                    .map_err(|status| explain("setting severity zones", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("class", class_view(answer.class.unwrap_or_default()))
            }
            ClassCommand::List => {
                let answer = client.list_classes(ListClassesRequest {}).await;
                let classes = answer
                    .map_err(|status| explain("listing classes", &status))?
                    .into_inner()
                    .classes;
                let columns = &[
                    "name",
                    "step_ms",
                    "commissioning_readings",
                    "commissioning_span_s",
                    "zones",
                ];
                self.ask
                    .output
                    .list("classes", classes.into_iter().map(class_view).collect(), columns)
            }
        }
    }
}

impl Zones {
    fn only_asks(&self) -> bool {
        self.iso_20816_3.is_none() && self.limits.is_empty() && self.stop_levels.is_empty() && !self.none
    }

    async fn show(self, client: &mut FleetServiceClient<Channel>, ask: &Ask) -> Result<()> {
        let answer = client
            .list_severity_zones(ListSeverityZonesRequest { class: self.name })
            .await;
        let versions = answer
            .map_err(|status| explain("looking at severity zones", &status))?
            .into_inner()
            .versions;
        let views = versions.into_iter().map(version_view).collect::<Result<_>>()?;
        let columns = &["version", "zones", "changed_at", "changed_by", "reason"];
        ask.output.list("zones", views, columns)
    }
}

impl TryFrom<Zones> for SetSeverityZonesRequest {
    type Error = anyhow::Error;

    fn try_from(zones: Zones) -> Result<Self> {
        let standard = zones.iso_20816_3.map(|group| {
            let zone = group.zone();
            SeverityZone {
                quantity: zone.quantity.as_str().to_owned(),
                name: String::new(),
                ab: zone.boundaries.ab,
                bc: zone.boundaries.bc,
                cd: zone.boundaries.cd,
                stop: None,
            }
        });
        let mut all: Vec<SeverityZone> = standard.into_iter().chain(zones.limits).collect();
        for (quantity, value) in zones.stop_levels {
            let mut of_quantity = all.iter_mut().filter(|zone| zone.quantity == quantity).peekable();
            ensure!(
                of_quantity.peek().is_some(),
                "--stop-level {quantity}={value}: no zones of {quantity} are given"
            );
            of_quantity.for_each(|zone| zone.stop = Some(value));
        }
        Ok(Self {
            class: zones.name,
            zones: all,
            reason: zones.reason,
        })
    }
}

/// Reads `QUANTITY=A/B,B/C,C/D` or `QUANTITY:NAME=…`; what makes no sense together the registry refuses.
fn limits(text: &str) -> Result<SeverityZone, String> {
    let form = || format!("{text:?} is not of the form QUANTITY=2.3,4.5,7.1");
    let (bounded, numbers) = text.split_once('=').ok_or_else(form)?;
    let (quantity, name) = bounded.split_once(':').unwrap_or((bounded, ""));
    let number = |number: &str| number.trim().parse::<f32>().map_err(|_| form());
    let numbers: Vec<f32> = numbers.split(',').map(number).collect::<Result<_, _>>()?;
    let [ab, bc, cd] = numbers[..] else { return Err(form()) };
    Ok(SeverityZone {
        quantity: quantity.to_owned(),
        name: name.to_owned(),
        ab,
        bc,
        cd,
        stop: None,
    })
}

/// Reads `QUANTITY=VALUE`.
fn stop_level(text: &str) -> Result<(String, f32), String> {
    let form = || format!("{text:?} is not of the form QUANTITY=0.2");
    let (quantity, value) = text.split_once('=').ok_or_else(form)?;
    Ok((quantity.to_owned(), value.trim().parse().map_err(|_| form())?))
}

fn version_view(version: ClassZones) -> Result<Value> {
    Ok(json!({
        "version": version.version,
        "zones": in_words(&version.zones),
        "changed_at": when(version.changed_at)?,
        "changed_by": version.changed_by,
        "reason": version.reason,
    }))
}

/// As they are given on the command line; none when there are none.
fn in_words(zones: &[SeverityZone]) -> Option<String> {
    let zone = |zone: &SeverityZone| {
        let name = if zone.name.is_empty() {
            String::new()
        } else {
            format!(":{}", zone.name)
        };
        let stop = zone
            .stop
            .map(|stop| format!(" (stopped below {stop})"))
            .unwrap_or_default();
        format!("{}{name}={},{},{}{stop}", zone.quantity, zone.ab, zone.bc, zone.cd)
    };
    let words: Vec<String> = zones.iter().map(zone).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn class_view(class: MachineClass) -> Value {
    let zones = class.severity.unwrap_or_default().zones;
    let rules = class.commissioning.unwrap_or_default();
    json!({
        "name": class.name,
        "step_ms": class.step_ms,
        "commissioning_readings": rules.readings,
        "commissioning_span_s": rules.span_s,
        "run_in_readings": rules.run_in_readings,
        "zones": in_words(&zones),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_shown() {
        for text in ["velocity_rms=2.3,4.5,7.1", "temperature:bearing=-10,80,95.5"] {
            let zone = limits(text).unwrap();
            assert_eq!(in_words(&[zone]).unwrap(), text);
        }
        assert_eq!(in_words(&[]), None);
        for wrong in [
            "velocity_rms",
            "velocity_rms=1,2",
            "velocity_rms=1,2,3,4",
            "velocity_rms=1,2,x",
        ] {
            assert!(limits(wrong).unwrap_err().contains("QUANTITY="), "{wrong}");
        }
    }

    #[test]
    fn the_standard_and_limits_of_ones_own_go_together() {
        let zones = Zones {
            name: "pump".to_owned(),
            iso_20816_3: Some(MachineGroup::Group2Rigid),
            limits: vec![limits("temperature=60,80,95").unwrap()],
            stop_levels: vec![stop_level("velocity_rms=0.2").unwrap()],
            none: false,
            reason: "as the standard says".to_owned(),
        };
        assert!(!zones.only_asks());
        let request = SetSeverityZonesRequest::try_from(zones).unwrap();
        let alone = Zones {
            name: "pump".to_owned(),
            iso_20816_3: None,
            limits: Vec::new(),
            stop_levels: vec![stop_level("velocity_rms=0.2").unwrap()],
            none: false,
            reason: "it has no zones then".to_owned(),
        };
        assert!(!alone.only_asks());
        let refused = SetSeverityZonesRequest::try_from(alone).unwrap_err().to_string();
        assert!(refused.contains("no zones of velocity_rms are given"), "{refused}");
        let words = in_words(&request.zones).unwrap();
        assert_eq!(
            words,
            "velocity_rms=1.4,2.8,4.5 (stopped below 0.2) temperature=60,80,95"
        );
    }
}
