//! The simulated plants: registered like real ones, and streamed by a gateway for each site.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{CreateTokenRequest, Token};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    CreateClassRequest, CreateSensorRequest, CreateSiteRequest, CreateSpecRequest, MachineClass, Sensor, Site, Spec,
};
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::{Condition, Reading};
use tocsin_contracts::time;
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::Timestamp;
use tocsin_simulator::{Fleet, Schedule, training_rows};
use tocsin_transport::{Channel, auth};

use super::{CALIBRATION, STEP, TRAINING_STEP};
use crate::client::explain;
use crate::command::corpora::bar;
use crate::local::Local;
use crate::publish::Publisher;

/// The class of every machine in the demo.
pub(super) const CLASS: &str = "cnc";
const SPEC: &str = "cnc-64-bins";
/// Steps of one site in a batch.
const STEPS_PER_BATCH: usize = 20;

/// Registered plants and their gateways.
#[derive(Debug)]
pub(super) struct Plant {
    gateways: Vec<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    channel: Channel,
    /// Places of the site's sensors in the fleet, with their names in the site.
    sensors: Vec<(usize, String)>,
}

impl Plant {
    /// Makes sites, class, specification, sensors, and a gateway token for each site.
    pub(super) async fn register(channel: &Channel, local: &Local, fleet: &Fleet) -> Result<Self> {
        let mut service = FleetServiceClient::new(channel.clone());
        let class = MachineClass {
            name: CLASS.to_owned(),
            step_ms: STEP.as_millis() as u64,
            ..MachineClass::default()
        };
        let made = service.create_class(CreateClassRequest { class: Some(class) }).await;
        made.map_err(|status| explain("making the class", &status))?;
        let definition_json = serde_json::to_string(&fleet.config().spec).context("the specification")?;
        let spec = Spec {
            name: SPEC.to_owned(),
            definition_json,
        };
        let made = service.create_spec(CreateSpecRequest { spec: Some(spec) }).await;
        made.map_err(|status| explain("making the specification", &status))?;
        let mut sites: Vec<&str> = fleet.machines().iter().map(|machine| machine.site.as_str()).collect();
        sites.dedup();
        let mut gateways = Vec::new();
        for site in sites {
            gateways.push(register_site(channel, local, fleet, site).await?);
        }
        Ok(Self { gateways })
    }

    /// Streams every site from `from`; answers how many readings were acknowledged. `pace` is in steps per second.
    pub(super) async fn stream(
        &self,
        fleet: &Fleet,
        schedule: &Schedule,
        from: Timestamp,
        length: Duration,
        pace: Option<f64>,
    ) -> Result<u64> {
        let steps = (length.as_secs() / STEP.as_secs()) as u32;
        let bar = bar(
            u64::from(steps) * self.gateways.len() as u64,
            "{pos}/{len} steps, {eta} left {msg}",
        );
        let mut sites = tokio::task::JoinSet::new();
        for gateway in &self.gateways {
            let publisher = Publisher::new(
                gateway.channel.clone(),
                StreamProperties {
                    clock_is_capture: true,
                    historical: false,
                },
            );
            let (fleet, schedule) = (fleet.clone(), schedule.clone());
            let (sensors, bar) = (gateway.sensors.clone(), bar.clone());
            sites.spawn(stream_site(publisher, fleet, schedule, sensors, from, steps, pace, bar));
        }
        let mut readings = 0;
        while let Some(site) = sites.join_next().await {
            readings += site.context("streaming")??;
        }
        bar.finish_and_clear();
        Ok(readings)
    }
}

async fn register_site(channel: &Channel, local: &Local, fleet: &Fleet, site: &str) -> Result<Gateway> {
    let mut service = FleetServiceClient::new(channel.clone());
    let new = Site {
        name: site.to_owned(),
        title: format!("{}{} works", site[..1].to_uppercase(), &site[1..]),
        time_zone: "Europe/Lisbon".to_owned(),
        ..Site::default()
    };
    let made = service.create_site(CreateSiteRequest { site: Some(new) }).await;
    made.map_err(|status| explain("making a site", &status))?;
    let mut sensors = Vec::new();
    for (place, sensor) in fleet.sensors().iter().enumerate() {
        let machine = &fleet.machines()[sensor.machine];
        if machine.site.as_str() != site {
            continue;
        }
        let new = Sensor {
            site: site.to_owned(),
            machine: machine.name.to_string(),
            sensor: sensor.name.to_string(),
            class: CLASS.to_owned(),
            spec: SPEC.to_owned(),
            ..Sensor::default()
        };
        let made = service.create_sensor(CreateSensorRequest { sensor: Some(new) }).await;
        made.map_err(|status| explain("making a sensor", &status))?;
        sensors.push((place, format!("{}/{}", machine.name, sensor.name)));
    }
    let token = Token {
        site: site.to_owned(),
        name: "demo-gateway".to_owned(),
        may_replay: true,
        ..Token::default()
    };
    let made = AccessServiceClient::new(channel.clone())
        .create_token(CreateTokenRequest { token: Some(token) })
        .await;
    let secret = made
        .map_err(|status| explain("making a gateway token", &status))?
        .into_inner()
        .secret;
    let token = auth::Token::parse(&secret).context("the gateway's token")?;
    Ok(Gateway {
        channel: local.running.channel(&token),
        sensors,
    })
}

#[expect(clippy::too_many_arguments, reason = "a task owns everything it works with")]
async fn stream_site(
    mut publisher: Publisher,
    fleet: Fleet,
    schedule: Schedule,
    sensors: Vec<(usize, String)>,
    from: Timestamp,
    steps: u32,
    pace: Option<f64>,
    bar: indicatif::ProgressBar,
) -> Result<u64> {
    let began = Instant::now();
    let mut acked = 0;
    for first in (0..steps).step_by(STEPS_PER_BATCH) {
        let last = steps.min(first + STEPS_PER_BATCH as u32);
        let mut batch = Vec::with_capacity(sensors.len() * STEPS_PER_BATCH);
        for step in first..last {
            let at = from + STEP * step;
            batch.extend(
                sensors
                    .iter()
                    .map(|(place, name)| reading(&fleet, &schedule, *place, name, at)),
            );
        }
        let ack = publisher
            .publish(batch)
            .await
            .map_err(|status| explain("publishing", &status))?;
        if let Some(rejection) = ack.rejections.first() {
            anyhow::bail!(
                "a simulated reading was rejected: {}: {}",
                rejection.field,
                rejection.reason
            );
        }
        acked += u64::from(ack.stored) + u64::from(ack.duplicates);
        bar.inc(u64::from(last - first));
        bar.set_message(format!("at {}", from + STEP * last));
        if let Some(pace) = pace {
            let due = began + Duration::from_secs_f64(f64::from(last) / pace);
            tokio::time::sleep_until(due.into()).await;
        }
    }
    Ok(acked)
}

fn reading(fleet: &Fleet, schedule: &Schedule, place: usize, name: &str, at: Timestamp) -> Reading {
    let simulated = fleet.reading(schedule, place, at);
    Reading {
        sensor: name.to_owned(),
        captured_at: Some(time::to_wire(at)),
        bins: simulated.bins,
        db_reference: None,
        condition: Some(Condition {
            rpm: Some(simulated.point.rpm),
            load: Some(simulated.point.load),
            ..Condition::default()
        }),
        overall: Vec::new(),
    }
}

/// The healthy past as a corpus.
pub(super) fn training_corpus(fleet: &Fleet, from: Timestamp, to: Timestamp) -> Result<Vec<Row>> {
    let rows = training_rows(fleet, from, to, TRAINING_STEP, CALIBRATION)?;
    Ok(rows
        .map(|row| Row {
            sensor: SensorName {
                site: row.site,
                machine: row.machine,
                sensor: row.sensor,
            },
            captured_at: row.captured_at,
            bins: row.bins,
            rpm: Some(row.rpm),
            load: Some(row.load),
            label: Some("healthy".to_owned()),
            split: Some(row.split.name().to_owned()),
        })
        .collect())
}
