//! A fleet of unlike machines: each learns what it looks like itself, is judged by that, and forgets it when it is repaired.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tocsin::publish::Publisher;
use tocsin::rollout;
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    CommissionSensorRequest, Commissioning, CommissioningRules, ListSensorsRequest, SetCommissioningRulesRequest,
};
use tocsin_contracts::incidents::v1::GetIncidentRequest;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::recalibrator::v1::propose_request::{Method, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{
    AcceptPlateauRequest, ActivateRequest, ApproveRequest, CommissionRequest, FleetReplay, FollowRequest,
    ListDriftRequest, LoggedScores, ProposeRequest, SensorDrift, TestRequest, ThresholdSet as WireSet,
};
use tocsin_contracts::time;
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{BaselineId, Condition, Detector, Scope, SensorId, ThresholdSetId, Verdict};
use tocsin_judge::ThresholdSet;
use tocsin_store::reading::StoredReading;
use tocsin_tests::stage::{CLASS, SITE};
use tocsin_tests::{Plant, Stage};

/// How loud each machine of the fleet is in health.
const GAINS: [(&str, f32); 5] = [("m1", 0.6), ("m2", 0.8), ("m3", 1.0), ("m4", 1.2), ("m5", 1.5)];

/// A fleet at work: every machine sends one reading a step.
pub(crate) struct Fleet {
    pub(crate) stage: Stage,
    publisher: Publisher,
    /// Steps sent.
    pub(crate) step: u64,
}

impl Fleet {
    /// Judged by the percentiles of a bundle that knows machines of every loudness; sensors are commissioned on little.
    pub(crate) async fn start() -> Result<(Self, ThresholdSetId)> {
        let stage = Stage::start().await?;
        for (machine, _) in GAINS {
            stage.sensor(machine, "h").await?;
        }
        let rules = CommissioningRules {
            readings: 20,
            span_s: 100,
            run_in_readings: 5,
        };
        let request = SetCommissioningRulesRequest {
            class: CLASS.to_owned(),
            rules: Some(rules),
        };
        let channel = stage.running.service_channel();
        FleetServiceClient::new(channel.clone())
            .set_commissioning_rules(request)
            .await?;
        let archive = Plant::bundle_of(CLASS, 1, Plant::of_mixed_fleet)?;
        let judged = rollout::register(&channel, CLASS, &archive).await?;
        let publisher = stage.publisher().await?;
        let fleet = Self {
            stage,
            publisher,
            step: 0,
        };
        Ok((fleet, ThresholdSetId(judged.threshold_set_id)))
    }

    /// One step in which `m1` sends what it is given and the others are healthy.
    async fn step(&mut self, m1: impl Fn(u64) -> Vec<f32>) -> Result<()> {
        self.louder_step(1.0, m1).await
    }

    /// The same, with the others louder than they were.
    async fn louder_step(&mut self, by: f32, m1: impl Fn(u64) -> Vec<f32>) -> Result<()> {
        let mut readings = Vec::new();
        for (place, (machine, gain)) in GAINS.into_iter().enumerate() {
            let number = self.step * GAINS.len() as u64 + place as u64;
            let bins = if place == 0 {
                m1(number)
            } else {
                Plant::healthy_at(by * gain, number)
            };
            readings.push(Plant::reading(&format!("{machine}/h"), self.step, bins));
        }
        self.step += 1;
        let sent = readings.len() as u32;
        ensure!(
            self.publisher.publish(readings).await?.stored == sent,
            "step {} was not stored",
            self.step
        );
        Ok(())
    }

    pub(crate) async fn healthy_step(&mut self) -> Result<()> {
        self.step(|number| Plant::healthy_at(GAINS[0].1, number)).await
    }

    /// Healthy steps until the newest reading of `m1` is as it should be.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&StoredReading) -> bool) -> Result<()> {
        for _ in 0..100 {
            self.healthy_step().await?;
            if holds(&self.newest().await?) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("waited in vain for {what}")
    }

    /// The newest reading of `m1`.
    async fn newest(&self) -> Result<StoredReading> {
        let sensor = self.sensor().await?;
        let newest = self.stage.store.reading_get(&Scope::All, sensor, None).await?;
        Ok(newest.context("a reading")?.stored)
    }

    async fn sensor(&self) -> Result<SensorId> {
        let path = SensorPath::parse("m1/h")?;
        let found = self
            .stage
            .store
            .sensor_by_name(&Scope::All, &SITE.parse()?, &path)
            .await?;
        Ok(found.sensor.id)
    }

    /// Where the sensor of each machine stands.
    async fn states(&self) -> Result<Vec<Commissioning>> {
        let request = ListSensorsRequest {
            site: SITE.to_owned(),
            machine: String::new(),
        };
        let answer = self.fleet_service().list_sensors(request).await?.into_inner();
        answer
            .sensors
            .into_iter()
            .map(|sensor| sensor.commissioning.context("a state"))
            .collect()
    }

    /// Where each machine's sensor stood in the last round.
    async fn drift(&self) -> Result<Vec<SensorDrift>> {
        let site = SITE.to_owned();
        let answer = self.recalibrator().list_drift(ListDriftRequest { site }).await?;
        let mut sensors = answer.into_inner().sensors;
        sensors.sort_by(|a, b| a.machine.cmp(&b.machine));
        Ok(sensors)
    }

    fn fleet_service(&self) -> FleetServiceClient<tocsin_transport::Channel> {
        FleetServiceClient::new(self.stage.running.service_channel())
    }

    fn recalibrator(&self) -> RecalibratorServiceClient<tocsin_transport::Channel> {
        RecalibratorServiceClient::new(self.stage.running.service_channel())
    }

    /// Commissions what is ready, and waits until all of it is.
    pub(crate) async fn commission(&self) -> Result<Vec<Commissioning>> {
        for _ in 0..100 {
            self.recalibrator().commission(CommissionRequest {}).await?;
            let states = self.states().await?;
            if states.iter().all(|state| state.state == "commissioned") {
                return Ok(states);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("not all are commissioned: {:#?}", self.states().await?)
    }

    /// Brings limits by fleet replay over all that was sent from proposed to active.
    async fn fleet_replay_limits(&self) -> Result<WireSet> {
        let mut client = self.recalibrator();
        let end = Plant::start() + Duration::from_secs(10) * self.step as u32;
        let period = LoggedScores {
            from: Some(time::to_wire(Plant::start())),
            to: Some(time::to_wire(end)),
        };
        let propose = ProposeRequest {
            class: CLASS.to_owned(),
            bundle: String::new(),
            source: Some(Source::Logged(period)),
            reason: "each against itself".to_owned(),
            method: Some(Method::FleetReplay(FleetReplay::default())),
        };
        let set = client
            .propose(propose)
            .await?
            .into_inner()
            .threshold_set
            .context("a set")?;
        let (threshold_set_id, reason) = (set.threshold_set_id, String::new());
        client.test(TestRequest { threshold_set_id }).await?;
        let approve = ApproveRequest {
            threshold_set_id,
            reason: reason.clone(),
        };
        client.approve(approve).await?;
        let activate = ActivateRequest {
            threshold_set_id,
            reason,
        };
        client.activate(activate).await?;
        Ok(set)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_outgrows_its_own_past_pages_while_it_is_still_no_louder_than_the_fleet() -> Result<()> {
    let (mut fleet, percentiles) = Fleet::start().await?;
    let states = fleet.states().await?;
    assert!(
        states
            .iter()
            .all(|state| (state.state.as_str(), state.epoch) == ("commissioning", 1))
    );
    for _ in 0..40 {
        fleet.healthy_step().await?;
    }
    let states = fleet.commission().await?;
    assert!(
        states.iter().all(|state| state.readings >= 20 && state.baseline_id > 0),
        "{states:#?}"
    );
    fleet
        .until("readings against a baseline", |reading| reading.baseline.is_some())
        .await?;
    for _ in 0..40 {
        fleet.healthy_step().await?;
    }

    let set = fleet.fleet_replay_limits().await?;
    for part in ["fleet replay: alert 1.75, page 2.5", "\"machines\":5", "held out"] {
        let provenance = set.provenance_json.replace("\": ", "\":");
        assert!(provenance.contains(part), "{part}: {provenance}");
    }
    let active = Some(ThresholdSetId(set.threshold_set_id));
    fleet
        .until("the new limits", |reading| reading.threshold_set == active)
        .await?;

    // As loud as its louder neighbours have always been.
    for _ in 0..12 {
        fleet.step(|number| Plant::healthy_at(1.4 * GAINS[0].1, number)).await?;
    }
    let newest = fleet.newest().await?;
    assert_eq!(newest.baseline, Some(BaselineId(states[0].baseline_id)));
    // What rose in all bins has shifted as well, and either may stand higher over its own line.
    let Verdict::Page { by } = newest.verdict else {
        panic!("{:?}", newest.verdict)
    };
    assert!(matches!(by, Detector::Growth | Detector::Shift), "{by}");
    let fleet_wide = fleet.stage.store.threshold_set_get(percentiles).await?;
    let fleet_wide: ThresholdSet = serde_json::from_str(&fleet_wide.definition_json)?;
    let missed = fleet_wide.judge(&newest.scores, Condition::default(), false).verdict;
    assert!(
        matches!(missed, Verdict::Normal { .. }),
        "the fleet's percentiles say {missed:?}"
    );
    let pages = fleet
        .stage
        .receiver
        .wait_until("the page", |pages| !pages.is_empty())
        .await?;
    assert_eq!(pages[0]["machine"], "m1", "{:#}", pages[0]);
    told_against_the_baseline(&fleet, &pages[0], states[0].baseline_id).await?;

    repaired(&mut fleet).await?;
    fleet.stage.stop().await
}

/// The page and the evidence name the baseline, and the bins that stand out from it.
async fn told_against_the_baseline(fleet: &Fleet, page: &serde_json::Value, baseline: i32) -> Result<()> {
    let told = &page["evidence"];
    assert_eq!(told["baseline_id"], baseline, "{page:#}");
    assert_eq!(told["top_bins"].as_array().map(Vec::len), Some(5), "{page:#}");
    let mut incidents = IncidentsServiceClient::new(fleet.stage.running.service_channel());
    let incident_id = page["incident_id"].as_i64().context("a number")?;
    let whole = incidents
        .get_incident(GetIncidentRequest { incident_id })
        .await?
        .into_inner();
    let mut grown = whole
        .evidence
        .iter()
        .filter(|piece| matches!(piece.detector.as_str(), "growth" | "shift"))
        .peekable();
    assert!(grown.peek().is_some(), "{:#?}", whole.evidence);
    for piece in grown {
        assert_eq!((piece.baseline_id, piece.bin_error.len()), (baseline, 64));
        let whole: f32 = piece.bin_error.iter().sum();
        assert!(
            (whole - 1.0).abs() < 0.01,
            "shares of the deviation, not errors: {whole}"
        );
    }
    Ok(())
}

/// A new epoch takes the baseline away: the machine borrows the fleet's limits again, and those don't page.
async fn repaired(fleet: &mut Fleet) -> Result<()> {
    let request = CommissionSensorRequest {
        site: SITE.to_owned(),
        machine: "m1".to_owned(),
        sensor: "h".to_owned(),
        reason: "new bearing".to_owned(),
        ..CommissionSensorRequest::default()
    };
    let sensor = fleet
        .fleet_service()
        .commission_sensor(request)
        .await?
        .into_inner()
        .sensor;
    let state = sensor.and_then(|sensor| sensor.commissioning).context("a state")?;
    assert_eq!(
        (state.epoch, state.state.as_str(), state.baseline_id),
        (2, "commissioning", 0)
    );
    let audited: i64 = sqlx::query_scalar("select count(*) from audit where action = $1 and subject = $2")
        .bind("sensor.commission")
        .bind("works/m1/h")
        .fetch_one(fleet.stage.store.pool())
        .await?;
    assert_eq!(audited, 1);
    fleet
        .until("readings without a baseline", |reading| reading.baseline.is_none())
        .await?;
    fleet.step(Plant::failing).await?;
    let newest = fleet.newest().await?;
    assert!(matches!(newest.verdict, Verdict::Alert { .. }), "{newest:?}");
    assert_eq!(newest.scores.get(Detector::Growth), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn baselines_follow_a_fleet_that_rises_and_hold_a_machine_that_rises_alone_until_a_person_accepts() -> Result<()>
{
    let (mut fleet, _) = Fleet::start().await?;
    for _ in 0..40 {
        fleet.healthy_step().await?;
    }
    let commissioned = fleet.commission().await?;
    fleet.recalibrator().follow(FollowRequest {}).await?;
    assert!(fleet.drift().await?.iter().all(|sensor| sensor.finding == "steady"));

    // A warm week: everything is 1.2 dB louder, and m1 rises by another 4 dB that nobody shares.
    for _ in 0..30 {
        let m1 = |number| Plant::healthy_at(1.15 * 1.6 * GAINS[0].1, number);
        fleet.louder_step(1.15, m1).await?;
    }
    let followed = fleet.recalibrator().follow(FollowRequest {}).await?.into_inner();
    assert_eq!(followed.activated, 4, "the four that moved together");
    let drift = fleet.drift().await?;
    assert_eq!(drift.len(), 5);
    for sensor in &drift[1..] {
        assert_eq!((sensor.finding.as_str(), sensor.held), ("drift", false), "{sensor:?}");
        assert!((0.8..1.6).contains(&sensor.active_db), "{sensor:?}");
    }
    let m1 = &drift[0];
    assert_eq!((m1.finding.as_str(), m1.held), ("suspicion", true), "{m1:?}");
    assert!(m1.recent_db > 4.0 && m1.active_db < 0.1, "{m1:?}");

    let mut accept = AcceptPlateauRequest {
        site: SITE.to_owned(),
        machine: "m1".to_owned(),
        sensor: "h".to_owned(),
        reason: String::new(),
    };
    let refused = fleet.recalibrator().accept_plateau(accept.clone()).await.unwrap_err();
    assert!(refused.message().starts_with("reason: "), "{refused:?}");
    accept.reason = "new pump impeller".to_owned();
    let accepted = fleet.recalibrator().accept_plateau(accept).await?.into_inner();
    let m1 = accepted.sensor.context("a sensor")?;
    assert_eq!((m1.finding.as_str(), m1.held), ("steady", false));

    let states = fleet.states().await?;
    assert!(
        states
            .iter()
            .zip(&commissioned)
            .all(|(now, then)| now.epoch == then.epoch && now.baseline_id != then.baseline_id)
    );
    let baseline = Some(BaselineId(states[0].baseline_id));
    fleet
        .until("readings against the accepted plateau", |reading| {
            reading.baseline == baseline
        })
        .await?;
    fleet.stage.stop().await
}
