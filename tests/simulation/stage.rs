//! What stands still while everything else moves: the database, the registry, and the fleet in them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use sqlx::Row as _;
use tocsin::credential::ServiceCredential;
use tocsin::{Config, Platform, Role, Running};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    ClassZones, CreateClassRequest, CreateSensorRequest, CreateSiteRequest, CreateSpecRequest, MachineClass, Sensor,
    SeverityZone, Site, Spec,
};
use tocsin_domain::overall::{Band, OverallQuantity, OverallSpec};
use tocsin_domain::{Clock, SpectrumSpec, Timestamp, Unit};
use tocsin_models::BundleStore;
use tocsin_transport::Channel;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::gate::BYSTANDER;
use crate::plant::{SENSORS, zone};
use crate::proxy::Lines;

/// Machines of the fleet.
pub(crate) const MACHINES: usize = 12;
/// Their site.
pub(crate) const SITE: &str = "works";
/// Somebody to hand incidents over to.
pub(crate) const COLLEAGUE: &str = "bo";
/// Bins of a spectrum that nobody looks at: severity alone judges here.
pub(crate) const BINS: u16 = 32;

/// When each episode begins, in microseconds.
pub(crate) const START: i64 = 1_767_225_600_000_000;

/// The name of a machine, by its place.
pub(crate) fn machine_name(unit: usize) -> String {
    format!("m{unit:02}")
}

/// The numbers of a machine and of its sensors.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) machine: i32,
    pub(crate) sensors: [i32; SENSORS],
}

/// The numbers that everything in the fleet has.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) class: i32,
    pub(crate) spec: i32,
    pub(crate) machines: Vec<Place>,
}

/// Starts the registry on the database, as a bystander; its channel. The gate must stand open.
pub(crate) async fn registry(lines: &Lines, folder: &Path) -> Result<(Running, Channel)> {
    let mut config = Config::load(None, |_| None)?;
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.telemetry.metrics_listen = None;
    let store = lines.store(folder, BYSTANDER, CancellationToken::new())?;
    store.migrate().await?;
    let running = Platform::builder(config)
        .roles([Role::Registry])
        .credential(ServiceCredential::generate()?)
        .clock(Clock::manual(Timestamp::from_micros(START)))
        .store(store)
        .bundles(BundleStore::open("memory://")?)
        .start()
        .await?;
    let channel = running.service_channel();
    Ok((running, channel))
}

/// Makes the fleet: a class that severity alone judges.
pub(crate) async fn fleet(database: &mut Database, registry: Channel) -> Result<Fleet> {
    let mut client = FleetServiceClient::new(registry);
    let site = Site {
        name: SITE.to_owned(),
        title: "Works".to_owned(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    client.create_site(CreateSiteRequest { site: Some(site) }).await?;
    let boundaries = zone().boundaries;
    let zones = ClassZones {
        zones: vec![SeverityZone {
            quantity: OverallQuantity::VelocityRms.as_str().to_owned(),
            name: String::new(),
            ab: boundaries.ab,
            bc: boundaries.bc,
            cd: boundaries.cd,
            stop: None,
        }],
        ..ClassZones::default()
    };
    let class = MachineClass {
        name: "pump".to_owned(),
        step_ms: 10_000,
        severity: Some(zones),
        ..MachineClass::default()
    };
    client.create_class(CreateClassRequest { class: Some(class) }).await?;
    let mut definition = SpectrumSpec::corpus_default(BINS);
    definition.overall = vec![OverallSpec {
        name: "velocity".parse()?,
        quantity: OverallQuantity::VelocityRms,
        unit: Unit::MillimetrePerSecond,
        band: Some(Band {
            low_hz: 10.0,
            high_hz: 1_000.0,
        }),
    }];
    let spec = Spec {
        name: "velocity".to_owned(),
        definition_json: serde_json::to_string(&definition)?,
    };
    client.create_spec(CreateSpecRequest { spec: Some(spec) }).await?;
    for machine in 0..MACHINES {
        for sensor in 0..SENSORS {
            let sensor = Sensor {
                site: SITE.to_owned(),
                machine: machine_name(machine),
                sensor: format!("s{sensor}"),
                class: "pump".to_owned(),
                spec: "velocity".to_owned(),
                ..Sensor::default()
            };
            client
                .create_sensor(CreateSensorRequest { sensor: Some(sensor) })
                .await?;
        }
    }
    let account = format!(
        "insert into account (name, password_hash, role, created_at) values ('{COLLEAGUE}', 'none', 'operator', now())"
    );
    database.run(&account).await?;
    numbers(database).await
}

async fn numbers(database: &mut Database) -> Result<Fleet> {
    let query = "select m.class_id, s.spec_id, m.machine_id, array_agg(s.sensor_id order by s.name) as sensors
                 from machine m join sensor s using (machine_id) group by 1, 2, 3 order by 3";
    let rows = database.rows(query, None).await?;
    let first = rows.first().context("machines")?;
    let place = |row: &sqlx::postgres::PgRow| {
        let sensors: Vec<i32> = row.try_get("sensors")?;
        anyhow::Ok(Place {
            machine: row.try_get("machine_id")?,
            sensors: sensors.try_into().ok().context("sensors")?,
        })
    };
    Ok(Fleet {
        class: first.try_get("class_id")?,
        spec: first.try_get("spec_id")?,
        machines: rows.iter().map(place).collect::<Result<_>>()?,
    })
}
