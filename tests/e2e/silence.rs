//! Sensors and gateways that fall silent, sensors that are stuck: alarms of their own, that no reading means and nothing
//! resolves but a reading. On a clock that the story moves.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tocsin::Role;
use tocsin::publish::Publisher;
use tocsin_contracts::incidents::v1::sensor_alarms_service_client::SensorAlarmsServiceClient;
use tocsin_contracts::incidents::v1::{AcknowledgeSensorAlarmRequest, GetSensorAlarmRequest};
use tocsin_contracts::ingest::StreamProperties;
use tocsin_contracts::ingest::v1::{Condition, Reading};
use tocsin_domain::{Clock, Timestamp};
use tocsin_tests::{Plant, Stage};

/// A step of the stage's class, and what every sensor of the story takes from reading to reading.
const STEP: Duration = Duration::from_secs(10);

/// A plant with two gateways on a clock of the story's own.
struct Plants {
    stage: Stage,
    gateways: [(&'static str, Publisher); 2],
    step: u64,
}

impl Plants {
    async fn start(start: Timestamp) -> Result<Self> {
        let stage = Stage::start_at(Clock::manual(start), Role::ALL, |config| {
            config.ensemble.signal_interval_ms = 50;
            config.pager.silence_interval_ms = 50;
        })
        .await?;
        for sensor in ["h", "v"] {
            for machine in ["m1", "m2", "m3"] {
                stage.sensor(machine, sensor).await?;
            }
        }
        let gateways = [gateway(&stage, "north").await?, gateway(&stage, "south").await?];
        Ok(Self {
            stage,
            gateways,
            step: 0,
        })
    }

    /// Time passes, a step each: `north` and `south` say which sensors speak through each gateway.
    async fn passes(&mut self, steps: u64, north: &[&str], south: &[&str]) -> Result<()> {
        self.passes_with(steps, north, south, |_, _| ()).await
    }

    async fn passes_with(
        &mut self,
        steps: u64,
        north: &[&str],
        south: &[&str],
        change: impl Fn(&str, &mut Reading),
    ) -> Result<()> {
        for _ in 0..steps {
            self.stage.clock.advance(STEP);
            self.step += 1;
            let (now, step) = (self.stage.clock.now(), self.step);
            for ((_, gateway), sensors) in self.gateways.iter_mut().zip([north, south]) {
                let readings: Vec<Reading> = sensors
                    .iter()
                    .map(|sensor| {
                        let mut reading = Plant::reading_at(sensor, now, Plant::healthy(step));
                        change(sensor, &mut reading);
                        reading
                    })
                    .collect();
                if !readings.is_empty() {
                    gateway.publish(readings).await?;
                }
            }
            self.settles(now).await?;
        }
        Ok(())
    }

    /// Until all that was received by `now` is written down and somebody has watched after that.
    async fn settles(&self, now: Timestamp) -> Result<()> {
        let at = now.to_string();
        for _ in 0..400 {
            let behind: bool = sqlx::query_scalar(
                "select exists (select 1 from reading r where r.received_at = $1::timestamptz and r.flags & 12 = 0 and not exists (
                     select 1 from sensor_signal g where g.sensor_id = r.sensor_id and g.received_at >= $1::timestamptz))
                 or not exists (select 1 from silence_watch where watched_at >= $1::timestamptz)",
            )
            .bind(&at)
            .fetch_one(self.stage.store.pool())
            .await?;
            if !behind {
                // A round that began before the last signals were written may have been the one that was seen.
                tokio::time::sleep(Duration::from_millis(120)).await;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("nobody watched at {now}")
    }

    async fn alarms(&self) -> Result<Vec<Value>> {
        let listed = self.stage.ask(&["sensors", "alarms"]).await?;
        let alarms = listed["alarms"].as_array().cloned().unwrap_or_default();
        Ok(alarms.into_iter().filter(|alarm| alarm["kind"] != "waiting").collect())
    }

    /// Kind, sensor and state of each alarm, oldest first.
    async fn told(&self) -> Result<Vec<[String; 3]>> {
        let mut alarms = self.alarms().await?;
        alarms.reverse();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = |alarm: &Value| match alarm["machine"].as_str() {
            Some(machine) => format!("{machine}/{}", text(&alarm["sensor"])),
            None => text(&alarm["gateway"]),
        };
        Ok(alarms
            .iter()
            .map(|alarm| [text(&alarm["kind"]), name(alarm), text(&alarm["state"])])
            .collect())
    }
}

async fn gateway(stage: &Stage, name: &'static str) -> Result<(&'static str, Publisher)> {
    let token = stage
        .token_with(|token| {
            name.clone_into(&mut token.name);
            (token.may_replay, token.may_send_historical) = (false, false);
        })
        .await?;
    let wall = StreamProperties {
        clock_is_capture: false,
        historical: false,
    };
    Ok((name, Publisher::new(stage.running.channel(&token), wall)))
}

const NORTH: &[&str] = &["m1/h", "m1/v"];
const SOUTH: &[&str] = &["m2/h", "m2/v"];

fn rows<'a>(expected: &[[&'a str; 3]]) -> Vec<[&'a str; 3]> {
    expected.to_vec()
}

fn seen(told: &[[String; 3]]) -> Vec<[&str; 3]> {
    told.iter()
        .map(|row| [row[0].as_str(), row[1].as_str(), row[2].as_str()])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_stops_is_one_alarm_after_its_own_interval_and_returns_with_its_next_reading() -> Result<()> {
    let mut plants = Plants::start(Plant::start()).await?;
    plants.passes(6, NORTH, SOUTH).await?;
    plants.passes(6, &["m1/h"], SOUTH).await?;
    assert_eq!(plants.told().await?, Vec::<[String; 3]>::new(), "a minute is allowed");
    plants.passes(1, &["m1/h"], SOUTH).await?;
    let silent = rows(&[["silent_sensor", "m1/v", "active_unacknowledged"]]);
    assert_eq!(seen(&plants.told().await?), silent);
    plants.passes(10, &["m1/h"], SOUTH).await?;
    assert_eq!(seen(&plants.told().await?), silent, "one alarm");
    let alarm = &plants.alarms().await?[0];
    assert_eq!(
        (&alarm["gateway"], &alarm["gateway_sensors"]),
        (&"north".into(), &2.into())
    );
    let last = Plant::start() + STEP * 6;
    assert_eq!(alarm["since"], last.to_string());

    // What never reported is not silent.
    let listed = plants.stage.ask(&["sensors", "alarms"]).await?;
    let waiting: Vec<&Value> = listed["alarms"].as_array().into_iter().flatten().collect();
    let waiting = waiting.iter().filter(|alarm| alarm["kind"] == "waiting");
    assert_eq!(
        waiting.map(|w| w["machine"].as_str()).collect::<Vec<_>>(),
        [Some("m3"), Some("m3")]
    );

    plants.passes(1, NORTH, SOUTH).await?;
    let told = plants.told().await?;
    assert_eq!(
        seen(&told),
        rows(&[["silent_sensor", "m1/v", "returned_unacknowledged"]])
    );

    // It is the same alarm until somebody has taken it.
    plants.passes(7, &["m1/h"], SOUTH).await?;
    assert_eq!(seen(&plants.told().await?), silent);
    let alarm_id = plants.alarms().await?[0]["alarm_id"].as_i64().unwrap_or_default();
    let mut client = SensorAlarmsServiceClient::new(plants.stage.running.service_channel());
    let note = "cable".to_owned();
    client
        .acknowledge_sensor_alarm(AcknowledgeSensorAlarmRequest { alarm_id, note })
        .await?;
    plants.passes(1, NORTH, SOUTH).await?;
    assert_eq!(plants.told().await?, Vec::<[String; 3]>::new());
    let whole = client
        .get_sensor_alarm(GetSensorAlarmRequest { alarm_id })
        .await?
        .into_inner();
    let events: Vec<&str> = whole.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(events, ["raised", "returned", "raised", "acknowledged", "returned"]);
    assert!(
        plants.stage.receiver.pages().is_empty(),
        "nobody is paged about a sensor"
    );
    plants.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_is_one_alarm_and_its_sensors_none() -> Result<()> {
    let mut plants = Plants::start(Plant::start()).await?;
    plants.passes(6, NORTH, SOUTH).await?;
    plants.passes(12, NORTH, &[]).await?;
    let silent = rows(&[["silent_gateway", "south", "active_unacknowledged"]]);
    assert_eq!(seen(&plants.told().await?), silent);
    // Back with one of its sensors; the other has time to come.
    plants.passes(3, NORTH, &["m2/h"]).await?;
    let returned = rows(&[["silent_gateway", "south", "returned_unacknowledged"]]);
    assert_eq!(seen(&plants.told().await?), returned);
    plants.passes(6, NORTH, &["m2/h"]).await?;
    let and_sensor = rows(&[
        ["silent_gateway", "south", "returned_unacknowledged"],
        ["silent_sensor", "m2/v", "active_unacknowledged"],
    ]);
    assert_eq!(seen(&plants.told().await?), and_sensor);
    plants.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_stands_still_and_a_replay_are_never_silent_and_never_stuck() -> Result<()> {
    let mut plants = Plants::start(Plant::start()).await?;
    let still = |sensor: &str, reading: &mut Reading| {
        if sensor.starts_with("m1") {
            reading.condition = Some(Condition {
                rpm: Some(0.0),
                ..Condition::default()
            });
            reading.bins = Plant::healthy(1);
        }
    };
    let mut replay = plants.stage.publisher().await?;
    replay
        .publish((0..5).map(|n| Plant::reading("m3/h", n, Plant::healthy(n))).collect())
        .await?;
    plants.passes_with(65, NORTH, SOUTH, still).await?;
    assert_eq!(
        plants.told().await?,
        Vec::<[String; 3]>::new(),
        "the same again and again, by design"
    );
    plants.passes(20, &[], SOUTH).await?;
    assert_eq!(plants.told().await?, Vec::<[String; 3]>::new());
    plants.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_says_the_same_for_ten_minutes_is_stuck_until_it_says_something_else() -> Result<()> {
    let mut plants = Plants::start(Plant::start()).await?;
    let stuck = |sensor: &str, reading: &mut Reading| {
        if sensor == "m2/v" {
            reading.bins = Plant::healthy(1);
        }
    };
    plants.passes_with(60, NORTH, SOUTH, stuck).await?;
    assert_eq!(plants.told().await?, Vec::<[String; 3]>::new());
    plants.passes_with(2, NORTH, SOUTH, stuck).await?;
    let told = plants.told().await?;
    assert_eq!(seen(&told), rows(&[["stuck_sensor", "m2/v", "active_unacknowledged"]]));
    plants.passes(1, NORTH, SOUTH).await?;
    let told = plants.told().await?;
    assert_eq!(
        seen(&told),
        rows(&[["stuck_sensor", "m2/v", "returned_unacknowledged"]])
    );
    plants.stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_incident_is_not_resolved_by_silence() -> Result<()> {
    let mut plants = Plants::start(Plant::start()).await?;
    plants.stage.bundle(1).await?;
    let failing = |_: &str, reading: &mut Reading| reading.bins = Plant::failing(3);
    plants.passes_with(8, NORTH, &[], failing).await?;
    let triggered = |pages: &[Value]| pages.iter().any(|page| page["action"] == "trigger");
    plants.stage.receiver.wait_until("the page", triggered).await?;
    plants.passes(40, &[], SOUTH).await?;
    let open = plants.stage.ask(&["incidents", "list", "--open"]).await?;
    assert_eq!(open["incidents"][0]["state"], "active_unacknowledged", "{open:#}");
    assert_eq!(
        seen(&plants.told().await?),
        rows(&[["silent_gateway", "north", "active_unacknowledged"]])
    );
    assert_eq!(
        plants.stage.receiver.pages().len(),
        1,
        "{:#?}",
        plants.stage.receiver.pages()
    );
    plants.stage.stop().await
}
