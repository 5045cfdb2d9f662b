//! `tocsin sensors`: declared, listed with where each stands, commissioned anew.

use anyhow::{Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    Bearing, CommissionSensorRequest, Commissioning, CreateSensorRequest, ListSensorsRequest, Sensor, SetBearingRequest,
};
use tocsin_contracts::time;
use tocsin_transport::Channel;

use super::alarms::AlarmCommand;
use super::drift;
use crate::client::explain;
use crate::command::{Ask, given, when};

#[derive(Debug, Args)]
pub(in crate::command) struct Sensors {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: SensorCommand,
}

#[derive(Debug, Subcommand)]
enum SensorCommand {
    #[command(flatten)]
    Alarms(AlarmCommand),
    /// Declare a sensor, and its machine if that is new
    Create(NewSensor),
    /// List a site's sensors
    List {
        /// The site
        #[arg(long)]
        site: String,
        /// Only this machine
        #[arg(long, default_value = "", hide_default_value = true)]
        machine: String,
    },
    /// Learn a sensor's baseline anew, after a repair; or let it be commissioned where it stands
    Commission {
        /// SITE/MACHINE/SENSOR
        path: String,
        /// What was done to the machine, or why the zone is accepted, for the record
        #[arg(long)]
        reason: String,
        /// Begin nothing anew: a sensor that was refused because it stands in zone C or D may be commissioned there
        #[arg(long)]
        accept_zone: bool,
        /// The account of the person who accepts it [default: the account whose token is shown]
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true,
            requires = "accept_zone"
        )]
        by: String,
    },
    /// Declare the bearing that a sensor listens to; pages name its lines as hints where they show
    Bearing(BearingGeometry),
    /// Show where each of a site's sensors stands against what was commissioned: steady, drifting with its class, or
    /// suspected
    Drift {
        /// The site
        #[arg(long)]
        site: String,
    },
    /// Take where a sensor stands now for its normal state, although it rose: its baseline moves there
    AcceptPlateau {
        /// SITE/MACHINE/SENSOR
        path: String,
        /// Why it is no failure, for the record
        #[arg(long)]
        reason: String,
    },
    /// Take a followed baseline back: the version before it judges again, and is held there
    RollbackBaseline {
        /// SITE/MACHINE/SENSOR
        path: String,
        /// Why, for the record
        #[arg(long)]
        reason: String,
        /// Back to this version of the present epoch [default: the one that the active one was made from]
        #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(i32).range(1..))]
        to: Option<i32>,
    },
    /// Let a baseline that was taken back follow its sensor again
    ReleaseBaseline {
        /// SITE/MACHINE/SENSOR
        path: String,
        /// Why, for the record
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct BearingGeometry {
    /// SITE/MACHINE/SENSOR
    path: String,
    /// Balls or rollers
    #[arg(long, value_name = "COUNT", required_unless_present = "none")]
    elements: Option<u32>,
    /// Diameter of a ball, in millimetres
    #[arg(long, value_name = "MM", required_unless_present = "none")]
    ball: Option<f64>,
    /// Diameter of the circle on which they run, in millimetres
    #[arg(long, value_name = "MM", required_unless_present = "none")]
    pitch: Option<f64>,
    /// Contact angle, in degrees
    #[arg(long, value_name = "DEGREES", default_value_t = 0.0)]
    angle: f64,
    /// No bearing is known any more
    #[arg(long, conflicts_with_all = ["elements", "ball", "pitch", "angle"])]
    none: bool,
}

impl BearingGeometry {
    async fn run(self, client: &mut FleetServiceClient<Channel>, ask: &Ask) -> Result<()> {
        let [site, machine, sensor] = names(&self.path)?;
        let bearing = (!self.none).then(|| Bearing {
            rolling_elements: self.elements.unwrap_or_default(),
            ball_diameter_mm: self.ball.unwrap_or_default(),
            pitch_diameter_mm: self.pitch.unwrap_or_default(),
            contact_angle_deg: self.angle,
        });
        let request = SetBearingRequest {
            site,
            machine,
            sensor,
            bearing,
        };
        let answer = client.set_bearing(request).await;
        let orders = answer
            .map_err(|status| explain("declaring the bearing", &status))?
            .into_inner();
        let view = json!({
            "sensor": self.path,
            "ftf_orders": orders.ftf_orders,
            "bpfo_orders": orders.bpfo_orders,
            "bpfi_orders": orders.bpfi_orders,
            "bsf_orders": orders.bsf_orders,
        });
        ask.output.item("bearing", view)
    }
}

#[derive(Debug, Args)]
struct NewSensor {
    /// The site
    #[arg(long)]
    site: String,
    /// The machine
    #[arg(long)]
    machine: String,
    /// The sensor's name on its machine
    #[arg(long)]
    sensor: String,
    /// The transducer whose channel it is [default: the sensor's name]
    #[arg(long, default_value = "", hide_default_value = true)]
    device: String,
    /// The machine's class
    #[arg(long)]
    class: String,
    /// The sensor's specification
    #[arg(long)]
    spec: String,
}

impl Sensors {
    pub(in crate::command) async fn run(self) -> Result<()> {
        let mut client = FleetServiceClient::new(self.ask.target.channel()?);
        match self.what {
            SensorCommand::Alarms(alarms) => alarms.run(&self.ask).await,
            SensorCommand::Create(new) => {
                let sensor = Sensor {
                    site: new.site,
                    machine: new.machine,
                    sensor: new.sensor,
                    device: new.device,
                    class: new.class,
                    spec: new.spec,
                    ..Sensor::default()
                };
                let answer = client.create_sensor(CreateSensorRequest { sensor: Some(sensor) }).await;
                let answer = answer
                    .map_err(|status| explain("declaring the sensor", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("sensor", sensor_view(answer.sensor.unwrap_or_default())?)
            }
            SensorCommand::Commission {
                path,
                reason,
                accept_zone,
                by,
            } => {
                let request = CommissionSensorRequest {
                    accept_zone,
                    accepted_by: by,
                    ..commission(&path, reason)?
                };
                let answer = client.commission_sensor(request).await;
                let answer = answer
                    .map_err(|status| explain("commissioning the sensor", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("sensor", sensor_view(answer.sensor.unwrap_or_default())?)
            }
            SensorCommand::Bearing(bearing) => bearing.run(&mut client, &self.ask).await,
            SensorCommand::Drift { site } => drift::list(&self.ask, site).await,
            SensorCommand::AcceptPlateau { path, reason } => {
                drift::accept_plateau(&self.ask, names(&path)?, reason).await
            }
            SensorCommand::RollbackBaseline { path, reason, to } => {
                drift::rollback(&self.ask, names(&path)?, (to, reason)).await
            }
            SensorCommand::ReleaseBaseline { path, reason } => drift::release(&self.ask, names(&path)?, reason).await,
            SensorCommand::List { site, machine } => {
                let answer = client.list_sensors(ListSensorsRequest { site, machine }).await;
                let sensors = answer
                    .map_err(|status| explain("listing sensors", &status))?
                    .into_inner()
                    .sensors;
                let columns = &[
                    "site",
                    "machine",
                    "sensor",
                    "device",
                    "class",
                    "spec",
                    "auto_registered",
                    "epoch",
                    "commissioning",
                ];
                let views = sensors.into_iter().map(sensor_view).collect::<Result<_>>()?;
                self.ask.output.list("sensors", views, columns)
            }
        }
    }
}

fn commission(path: &str, reason: String) -> Result<CommissionSensorRequest> {
    let [site, machine, sensor] = names(path)?;
    Ok(CommissionSensorRequest {
        site,
        machine,
        sensor,
        reason,
        ..CommissionSensorRequest::default()
    })
}

/// Reads `SITE/MACHINE/SENSOR`.
fn names(path: &str) -> Result<[String; 3]> {
    let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    let names = <[String; 3]>::try_from(parts);
    names.map_err(|_| anyhow!("{path:?} is not of the form SITE/MACHINE/SENSOR"))
}

fn sensor_view(sensor: Sensor) -> Result<Value> {
    let state = sensor.commissioning.unwrap_or_default();
    Ok(json!({
        "site": sensor.site,
        "machine": sensor.machine,
        "sensor": sensor.sensor,
        "device": sensor.device,
        "class": sensor.class,
        "spec": sensor.spec,
        "auto_registered": sensor.auto_registered,
        "commissioning": in_words(&state)?,
        "state": given(state.state),
        "epoch": given(state.epoch),
        "started_at": when(state.started_at)?,
        "started_by": given(state.started_by),
        "reason": given(state.reason),
        "readings": state.readings,
        "readings_needed": given(state.readings_needed),
        "commissioned_at": when(state.commissioned_at)?,
        "baseline_id": given(state.baseline_id),
        "refused_reason": given(state.refused_reason),
        "refused_at": when(state.refused_at)?,
        "zone_accepted_by": given(state.zone_accepted_by),
        "zone_accepted_at": when(state.zone_accepted_at)?,
        "zone_accepted_reason": given(state.zone_accepted_reason),
    }))
}

/// Where a sensor stands, for a table.
fn in_words(state: &Commissioning) -> Result<Option<String>> {
    Ok(match state.state.as_str() {
        "" => None,
        "commissioning" if !state.refused_reason.is_empty() && state.zone_accepted_by.is_empty() => {
            Some(format!("refused: {}", state.refused_reason))
        }
        "commissioned" => {
            let at = time::optional("commissioned_at", state.commissioned_at)?;
            let since = at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
            Some(format!("commissioned since {since}, {} readings", state.readings))
        }
        other => Some(format!(
            "{other} {} of {}, borrowing the fleet's limits",
            state.readings, state.readings_needed
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_named_by_site_machine_and_itself() {
        let request = commission("works/m1/h", "new bearing".to_owned()).unwrap();
        assert_eq!((request.machine.as_str(), request.sensor.as_str()), ("m1", "h"));
        for wrong in ["m1/h", "works", "a/b/c/d"] {
            assert!(commission(wrong, String::new()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sensor_that_is_refused_says_why_until_a_person_accepts_it() {
        let refused = Commissioning {
            state: "commissioning".to_owned(),
            readings: 100,
            readings_needed: 100,
            refused_reason: "velocity_rms stands in zone D".to_owned(),
            ..Commissioning::default()
        };
        let words = |state: &Commissioning| in_words(state).unwrap().unwrap();
        assert_eq!(words(&refused), "refused: velocity_rms stands in zone D");
        let accepted = Commissioning {
            zone_accepted_by: "ana".to_owned(),
            ..refused
        };
        assert!(
            words(&accepted).starts_with("commissioning 100 of 100"),
            "{}",
            words(&accepted)
        );
    }

    #[test]
    fn a_sensor_that_still_learns_says_how_far_it_is() {
        let state = Commissioning {
            state: "commissioning".to_owned(),
            readings: 7,
            readings_needed: 100,
            ..Commissioning::default()
        };
        let words = in_words(&state).unwrap().unwrap();
        assert_eq!(words, "commissioning 7 of 100, borrowing the fleet's limits");
    }
}
