//! A machine that shakes too much for its class is told of from its first reading, whatever its spectrum looks like and
//! whatever unit its level comes in; and nobody learns from it what health is, unless a person says so.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tocsin::publish::Publisher;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{Account, CreateAccountRequest};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    ClassZones, CommissionSensorRequest, Commissioning, CommissioningRules, CreateClassRequest, CreateSensorRequest,
    CreateSpecRequest, ListSensorsRequest, MachineClass, Sensor, SetSeverityZonesRequest, SeverityZone, Spec,
};
use tocsin_contracts::incidents::v1::ListIncidentsRequest;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::ingest::v1::{OverallLevel, Reading};
use tocsin_contracts::recalibrator::v1::CommissionRequest;
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{GetMachineSeriesRequest, GetVerdictRequest, GetVerdictResponse};
use tocsin_domain::overall::{Band, OverallQuantity, OverallSpec};
use tocsin_domain::spec::Unit;
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_tests::{Plant, Stage};
use tocsin_transport::Channel;

/// The class and the spec of the story: machines of group 1 on rigid supports, with a velocity rms.
const RIGID: &str = "rigid";
const WITH_VELOCITY: &str = "with-velocity";

/// A millimetre per second in inches and in metres.
const INCH: f32 = 1.0 / 25.4;
const METRE: f32 = 1e-3;

fn rigid() -> SeverityZone {
    SeverityZone {
        quantity: "velocity_rms".to_owned(),
        name: String::new(),
        ab: 2.3,
        bc: 4.5,
        cd: 7.1,
        stop: Some(0.2),
    }
}

struct Story {
    stage: Stage,
    publisher: Publisher,
}

impl Story {
    fn channel(&self) -> Channel {
        self.stage.running.service_channel()
    }

    fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel())
    }

    /// The class has its zones from its first day, no model and no limits; sensors are commissioned on little.
    async fn of_a_new_class() -> Result<Self> {
        let stage = Stage::start().await?;
        let publisher = stage.publisher().await?;
        let story = Self { stage, publisher };
        let class = MachineClass {
            name: RIGID.to_owned(),
            step_ms: 10_000,
            commissioning: Some(CommissioningRules {
                readings: 20,
                span_s: 100,
                run_in_readings: 5,
            }),
            severity: Some(ClassZones {
                zones: vec![rigid()],
                ..ClassZones::default()
            }),
        };
        let made = story
            .fleet()
            .create_class(CreateClassRequest { class: Some(class) })
            .await?;
        let shown = made
            .into_inner()
            .class
            .and_then(|class| class.severity)
            .context("zones")?;
        assert_eq!((shown.zones, shown.version), (vec![rigid()], 1));
        story.spec().await?;
        Ok(story)
    }

    async fn spec(&self) -> Result<()> {
        let mut spec = Plant::spec();
        spec.overall = vec![OverallSpec {
            name: "velocity".parse()?,
            quantity: OverallQuantity::VelocityRms,
            unit: Unit::MillimetrePerSecond,
            band: Some(Band {
                low_hz: 10.0,
                high_hz: 1_000.0,
            }),
        }];
        let spec = Spec {
            name: WITH_VELOCITY.to_owned(),
            definition_json: serde_json::to_string(&spec)?,
        };
        self.fleet().create_spec(CreateSpecRequest { spec: Some(spec) }).await?;
        Ok(())
    }

    async fn sensor(&self, class: &str, machine: &str) -> Result<()> {
        let sensor = Sensor {
            site: SITE.to_owned(),
            machine: machine.to_owned(),
            sensor: "h".to_owned(),
            class: class.to_owned(),
            spec: WITH_VELOCITY.to_owned(),
            ..Sensor::default()
        };
        let request = CreateSensorRequest { sensor: Some(sensor) };
        self.fleet().create_sensor(request).await?;
        Ok(())
    }

    async fn publish(&mut self, readings: Vec<Reading>) -> Result<()> {
        let sent = readings.len() as u32;
        ensure!(
            self.publisher.publish(readings).await?.stored == sent,
            "not all were stored"
        );
        Ok(())
    }

    /// The ensemble hears of a class's zones when it gets round to it: a quiet machine is sent until severity judges it.
    async fn until_severity_judges(&mut self, class: &str) -> Result<()> {
        self.sensor(class, "scout").await?;
        for n in 0..300 {
            self.publish(vec![reading("scout", n, 1.0, "")]).await?;
            let newest = self.verdict("scout").await?;
            if newest.detectors.iter().any(|level| level.detector == "severity") {
                return Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        anyhow::bail!("severity judges nothing")
    }

    async fn verdict(&self, machine: &str) -> Result<GetVerdictResponse> {
        let request = GetVerdictRequest {
            site: SITE.to_owned(),
            machine: machine.to_owned(),
            sensor: "h".to_owned(),
            at: None,
        };
        let answer = ReviewServiceClient::new(self.channel()).get_verdict(request).await?;
        Ok(answer.into_inner())
    }

    /// Machines with an open incident, and how bad each is.
    async fn incidents(&self) -> Result<BTreeSet<(String, String, String)>> {
        let answer = IncidentsServiceClient::new(self.channel())
            .list_incidents(ListIncidentsRequest::default())
            .await?;
        let incidents = answer.into_inner().incidents.into_iter();
        Ok(incidents
            .map(|incident| (incident.machine, incident.severity, incident.deciding_detector))
            .collect())
    }

    async fn standing(&self, machine: &str) -> Result<Commissioning> {
        let request = ListSensorsRequest {
            site: SITE.to_owned(),
            machine: machine.to_owned(),
        };
        let sensors = self.fleet().list_sensors(request).await?.into_inner().sensors;
        sensors
            .into_iter()
            .next()
            .and_then(|one| one.commissioning)
            .context("a state")
    }

    async fn commission(&self) -> Result<()> {
        RecalibratorServiceClient::new(self.channel())
            .commission(CommissionRequest {})
            .await?;
        Ok(())
    }

    /// Waits until the recalibrator has come round to a sensor.
    async fn until_standing(&self, machine: &str, holds: impl Fn(&Commissioning) -> bool) -> Result<Commissioning> {
        for _ in 0..100 {
            self.commission().await?;
            let state = self.standing(machine).await?;
            if holds(&state) {
                return Ok(state);
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        anyhow::bail!("{machine} stands at {:#?}", self.standing(machine).await?)
    }
}

/// A healthy spectrum beside a velocity, in a unit other than that declared where one is named.
fn reading(machine: &str, n: u64, velocity: f32, unit: &str) -> Reading {
    Reading {
        overall: vec![OverallLevel {
            name: "velocity".to_owned(),
            value: velocity,
            unit: unit.to_owned(),
        }],
        ..Plant::reading(&format!("{machine}/h"), n, Plant::healthy(n))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_in_zone_d_pages_from_its_first_reading_and_is_commissioned_when_a_person_accepts_that() -> Result<()>
{
    let mut story = Story::of_a_new_class().await?;
    for machine in ["loud", "metric", "imperial", "quiet", "still"] {
        story.sensor(RIGID, machine).await?;
    }
    story.until_severity_judges(RIGID).await?;
    let step = |n| {
        vec![
            reading("loud", n, 8.0, ""),
            reading("metric", n, 8.0 * METRE, "metre_per_second"),
            reading("imperial", n, 8.0 * INCH, "inch_per_second"),
            reading("quiet", n, 2.0, ""),
            reading("still", n, 0.1, ""),
        ]
    };
    for n in 0..4 {
        story.publish(step(n)).await?;
    }
    assert_eq!(story.incidents().await?, BTreeSet::new());
    story.publish(step(4)).await?;
    let page = |machine: &str| (machine.to_owned(), "page".to_owned(), "severity".to_owned());
    assert_eq!(
        story.incidents().await?,
        BTreeSet::from(["imperial", "loud", "metric"].map(page))
    );
    let pages = story
        .stage
        .receiver
        .wait_until("the pages", |pages| pages.len() >= 3)
        .await?;
    let evidence = &pages[0]["evidence"];
    let fifth = Plant::start() + std::time::Duration::from_secs(40);
    assert_eq!(evidence["step"], fifth.to_string());
    assert_eq!(
        (&evidence["threshold_set_id"], &evidence["bundle_digest"]),
        (&Value::Null, &Value::Null)
    );

    shown(&story).await?;
    for n in 5..40 {
        story.publish(step(n)).await?;
    }
    refused_and_accepted(&story).await?;
    story.stage.stop().await
}

/// The three loud machines were judged alike, and the page shows in which zone each level stands.
async fn shown(story: &Story) -> Result<()> {
    for machine in ["loud", "metric", "imperial"] {
        let newest = story.verdict(machine).await?;
        assert_eq!(
            (newest.verdict.as_str(), newest.decided_by.as_str()),
            ("page", "severity")
        );
        assert_eq!((newest.threshold_set_id, newest.overall[0].zone.as_str()), (0, "D"));
        let severity = newest.detectors.first().context("a level")?;
        assert!((severity.level - 2.2617).abs() < 1e-3, "{machine}: {severity:?}");
        assert_eq!((severity.alert_line, severity.page_line), (1.0, 2.0));
    }
    let quiet = story.verdict("quiet").await?;
    assert_eq!(
        (quiet.verdict.as_str(), quiet.overall[0].zone.as_str()),
        ("normal", "A")
    );
    let still = story.verdict("still").await?;
    assert_eq!(
        (still.verdict.as_str(), still.decided_by.as_str()),
        ("unjudged", "stopped"),
        "below the stop level"
    );
    let request = GetMachineSeriesRequest {
        site: SITE.to_owned(),
        machine: "loud".to_owned(),
        ..GetMachineSeriesRequest::default()
    };
    let series = ReviewServiceClient::new(story.channel())
        .get_machine_series(request)
        .await?;
    assert_eq!(series.into_inner().sensors[0].overall[0].zone, "D");
    Ok(())
}

async fn refused_and_accepted(story: &Story) -> Result<()> {
    story
        .until_standing("quiet", |state| state.state == "commissioned")
        .await?;
    let refused = story
        .until_standing("loud", |state| !state.refused_reason.is_empty())
        .await?;
    assert!(
        refused
            .refused_reason
            .starts_with("velocity stands in zone D: median 8.000 mm/s"),
        "{refused:?}"
    );
    assert_eq!((refused.state.as_str(), refused.baseline_id), ("commissioning", 0));

    let account = Account {
        name: "ana".to_owned(),
        role: "engineer".to_owned(),
        all_sites: true,
        ..Account::default()
    };
    let request = CreateAccountRequest {
        account: Some(account),
        password: "a long enough password".to_owned(),
    };
    AccessServiceClient::new(story.channel())
        .create_account(request)
        .await?;
    let accept = |by: &str| CommissionSensorRequest {
        site: SITE.to_owned(),
        machine: "loud".to_owned(),
        sensor: "h".to_owned(),
        reason: "soft foundation, rebuilt in spring".to_owned(),
        accept_zone: true,
        accepted_by: by.to_owned(),
    };
    assert!(
        story.fleet().commission_sensor(accept("")).await.is_err(),
        "nobody's name"
    );
    story.fleet().commission_sensor(accept("ana")).await?;
    let accepted = story
        .until_standing("loud", |state| state.state == "commissioned")
        .await?;
    assert_eq!((accepted.epoch, accepted.zone_accepted_by.as_str()), (1, "ana"));
    assert_eq!(accepted.refused_reason, refused.refused_reason, "it stays on record");
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = $1 and subject = $2")
        .bind("sensor.accept_zone")
        .bind("works/loud/h")
        .fetch_one(story.stage.store.pool())
        .await?;
    assert_eq!(audited, 1);
    assert_eq!(
        story.standing("metric").await?.state,
        "commissioning",
        "nobody accepted that one"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn severity_judges_beside_a_model_that_finds_nothing_and_no_more_once_its_zones_are_taken_away() -> Result<()> {
    let stage = Stage::judging().await?;
    let publisher = stage.publisher().await?;
    let mut story = Story { stage, publisher };
    story.spec().await?;
    let zones = |zones: Vec<SeverityZone>| SetSeverityZonesRequest {
        class: CLASS.to_owned(),
        zones,
        reason: "ISO 20816-3 group 1 rigid".to_owned(),
    };
    story.fleet().set_severity_zones(zones(vec![rigid()])).await?;
    story.sensor(CLASS, "loud").await?;
    story.until_severity_judges(CLASS).await?;
    for n in 0..5 {
        story.publish(vec![reading("loud", n, 5.0, "")]).await?;
    }
    let alert = ("loud".to_owned(), "alert".to_owned(), "severity".to_owned());
    assert_eq!(story.incidents().await?, BTreeSet::from([alert]));
    let newest = story.verdict("loud").await?;
    assert!(newest.threshold_set_id > 0 && newest.detectors.len() > 3, "{newest:?}");
    assert_eq!(newest.overall[0].zone, "C");

    story.fleet().set_severity_zones(zones(Vec::new())).await?;
    for n in 5..300 {
        story.publish(vec![reading("loud", n, 50.0, "")]).await?;
        let newest = story.verdict("loud").await?;
        if newest.detectors.iter().all(|level| level.detector != "severity") {
            assert_eq!(
                (newest.verdict.as_str(), newest.overall[0].zone.as_str()),
                ("normal", "")
            );
            return story.stage.stop().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    anyhow::bail!("severity still judges")
}
