//! A fleet of unlike machines at work, one sensor each: every machine sends one reading a step.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tocsin::publish::Publisher;
use tocsin::rollout::{self, Rollout};
use tocsin::{Config, Role};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{
    Commissioning, CommissioningRules, ListSensorsRequest, SetCommissioningRulesRequest,
};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{CommissionRequest, ListDriftRequest, SensorDrift};
use tocsin_domain::fleet::SensorPath;
use tocsin_domain::{Clock, Scope, SensorId, Timestamp};
use tocsin_store::reading::StoredReading;
use tocsin_transport::Channel;

use crate::stage::{CLASS, SITE};
use crate::{Plant, Stage};

/// How loud each machine of the fleet is in health; stories are about the first.
pub const GAINS: [(&str, f32); 5] = [("m1", 0.6), ("m2", 0.8), ("m3", 1.0), ("m4", 1.2), ("m5", 1.5)];

/// A step of the stage's class.
const STEP: Duration = Duration::from_secs(10);

/// Tries of what the platform gets round to by itself, a tenth of a second apart.
const TRIES: u32 = 100;

/// The fleet and the platform that judges it.
#[derive(Debug)]
pub struct Fleet {
    /// The platform.
    pub stage: Stage,
    /// What the percentiles of a bundle that knows machines of every loudness were registered as.
    pub registered: Rollout,
    /// Steps sent.
    pub step: u64,
    /// How much louder all machines are than they were in their first step.
    pub louder: f32,
    publisher: Publisher,
}

impl Fleet {
    /// On the capture clock. Sensors are commissioned on little.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| ()).await
    }

    /// The same, with settings of the story's own.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let stage = Stage::start_with(Role::ALL, change).await?;
        let publisher = stage.publisher().await?;
        Self::of(stage, publisher).await
    }

    /// On a wall clock that goes on by a step with each step sent, with settings of the story's own.
    pub async fn by_hand(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let stage = Stage::start_at(Clock::manual(Plant::start()), Role::ALL, change).await?;
        let publisher = stage.wall_clock_publisher().await?;
        Self::of(stage, publisher).await
    }

    async fn of(stage: Stage, publisher: Publisher) -> Result<Self> {
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
        let registered = rollout::register(&channel, CLASS, &archive).await?;
        Ok(Self {
            stage,
            registered,
            step: 0,
            louder: 1.0,
            publisher,
        })
    }

    /// One step in which `m1` sends what it is given and the others are healthy.
    pub async fn step(&mut self, m1: impl Fn(u64) -> Vec<f32>) -> Result<()> {
        let readings = GAINS.into_iter().enumerate().map(|(place, (machine, gain))| {
            let number = self.step * GAINS.len() as u64 + place as u64;
            let bins = match place {
                0 => m1(number),
                _ => Plant::healthy_at(self.louder * gain, number),
            };
            Plant::reading(&format!("{machine}/h"), self.step, bins)
        });
        let readings: Vec<_> = readings.collect();
        self.step += 1;
        let stored = self.publisher.publish(readings).await?.stored;
        ensure!(stored == GAINS.len() as u32, "step {} was not stored", self.step);
        self.stage.clock.advance(STEP);
        Ok(())
    }

    /// One step in which all are healthy.
    pub async fn healthy_step(&mut self) -> Result<()> {
        let gain = self.louder * GAINS[0].1;
        self.step(|number| Plant::healthy_at(gain, number)).await
    }

    /// Several.
    pub async fn healthy_steps(&mut self, steps: u64) -> Result<()> {
        for _ in 0..steps {
            self.healthy_step().await?;
        }
        Ok(())
    }

    /// The end of the last step.
    pub fn end(&self) -> Timestamp {
        Plant::start() + STEP * self.step as u32
    }

    /// Healthy steps until the newest reading of `m1` is as it should be.
    pub async fn until(&mut self, what: &str, holds: impl Fn(&StoredReading) -> bool) -> Result<()> {
        for _ in 0..TRIES {
            self.healthy_step().await?;
            if holds(&self.newest().await?) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("waited in vain for {what}")
    }

    /// What `tocsin` answers, asked while the fleet goes on sending healthy steps, one at least.
    pub async fn ask_at_work(&mut self, arguments: &[&str]) -> Result<Value> {
        let client = self.stage.command_line();
        let answered = Cell::new(false);
        let asked = async {
            let said = client.ask(arguments).await;
            answered.set(true);
            said
        };
        let sent = async {
            while !answered.get() {
                self.healthy_step().await?;
            }
            anyhow::Ok(())
        };
        let (said, sent) = tokio::join!(asked, sent);
        sent?;
        said
    }

    /// The newest reading of `m1`.
    pub async fn newest(&self) -> Result<StoredReading> {
        let sensor = self.sensor().await?;
        let newest = self.stage.store.reading_get(&Scope::All, sensor, None).await?;
        Ok(newest.context("a reading")?.stored)
    }

    /// The sensor of `m1`.
    pub async fn sensor(&self) -> Result<SensorId> {
        let path = SensorPath::parse("m1/h")?;
        let store = &self.stage.store;
        let found = store.sensor_by_name(&Scope::All, &SITE.parse()?, &path).await?;
        Ok(found.sensor.id)
    }

    /// Where the sensor of each machine stands.
    pub async fn states(&self) -> Result<Vec<Commissioning>> {
        let request = ListSensorsRequest {
            site: SITE.to_owned(),
            machine: String::new(),
        };
        let answer = self.fleet_service().list_sensors(request).await?.into_inner();
        let states = answer.sensors.into_iter().map(|sensor| sensor.commissioning);
        states.map(|state| state.context("a state")).collect()
    }

    /// Where each machine's sensor stood in the last round, in their order.
    pub async fn drift(&self) -> Result<Vec<SensorDrift>> {
        let site = SITE.to_owned();
        let answer = self.recalibrator().list_drift(ListDriftRequest { site }).await?;
        let mut sensors = answer.into_inner().sensors;
        sensors.sort_by(|a, b| a.machine.cmp(&b.machine));
        Ok(sensors)
    }

    /// The fleet's assets.
    pub fn fleet_service(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.stage.running.service_channel())
    }

    /// The recalibrator.
    pub fn recalibrator(&self) -> RecalibratorServiceClient<Channel> {
        RecalibratorServiceClient::new(self.stage.running.service_channel())
    }

    /// Commissions what is ready, and waits until all of it is.
    pub async fn commission(&self) -> Result<Vec<Commissioning>> {
        for _ in 0..TRIES {
            self.recalibrator().commission(CommissionRequest {}).await?;
            let states = self.states().await?;
            if states.iter().all(|state| state.state == "commissioned") {
                return Ok(states);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("not all are commissioned: {:#?}", self.states().await?)
    }
}
