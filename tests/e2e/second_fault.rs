//! An incident that somebody has taken is heard of again when it goes further than they know, and only then.

use anyhow::Result;
use serde_json::Value;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{AcknowledgeIncidentRequest, GetIncidentRequest, Incident, ListIncidentsRequest};
use tocsin_tests::{Plant, Stage};
use tocsin_transport::Channel;

/// What a sensor shows at a step.
type Shows = fn(u64) -> Vec<f32>;

/// Other bins than those of [`Plant::failing`].
fn failing_elsewhere(number: u64) -> Vec<f32> {
    let mut bins = Plant::healthy(number);
    for amplitude in &mut bins[48..56] {
        *amplitude *= 14.0;
    }
    bins
}

async fn incident(client: &mut IncidentsServiceClient<Channel>) -> Result<Incident> {
    let listed = client.list_incidents(ListIncidentsRequest::default()).await?;
    Ok(listed.into_inner().incidents.remove(0))
}

async fn acknowledge(client: &mut IncidentsServiceClient<Channel>) -> Result<()> {
    let incident_id = incident(client).await?.incident_id;
    let note = String::new();
    client
        .acknowledge_incident(AcknowledgeIncidentRequest { incident_id, note })
        .await?;
    Ok(())
}

fn reasons(pages: &[Value]) -> Vec<&str> {
    let triggers = pages.iter().filter(|page| page["action"] == "trigger");
    triggers
        .filter_map(|page| page["evidence"]["reason"].as_str())
        .collect()
}

/// [`Plant::failing`], and much worse.
fn failing_badly(number: u64) -> Vec<f32> {
    let mut bins = Plant::failing(number);
    for amplitude in &mut bins[30..44] {
        *amplitude *= 6.0;
    }
    bins
}

/// Two sensors of one machine, a step each ten seconds.
struct Machine {
    publisher: tocsin::publish::Publisher,
    step: u64,
}

impl Machine {
    async fn runs(&mut self, steps: u64, h: Shows, v: Shows) -> Result<()> {
        for _ in 0..steps {
            let n = self.step;
            let readings = [("m1/h", h), ("m1/v", v)].map(|(name, shows)| Plant::reading(name, n, shows(n)));
            self.publisher.publish(readings.to_vec()).await?;
            self.step += 1;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_fault_of_an_acknowledged_incident_is_paged_and_the_first_is_not_paged_again() -> Result<()> {
    let stage = Stage::judging().await?;
    let publisher = stage.publisher().await?;
    let mut machine = Machine { publisher, step: 0 };
    let mut client = IncidentsServiceClient::new(stage.running.service_channel());
    let told = async |reason: &str| {
        let has = |pages: &[Value]| reasons(pages).contains(&reason);
        stage.receiver.wait_until(reason, has).await
    };

    machine.runs(30, Plant::healthy, Plant::healthy).await?;
    machine.runs(15, Plant::failing, Plant::healthy).await?;
    told("opened").await?;
    machine.runs(15, Plant::failing, Plant::failing).await?;
    assert_eq!(
        reasons(&stage.receiver.pages()),
        ["opened"],
        "nobody has taken it: one page is out"
    );

    acknowledge(&mut client).await?;
    machine.runs(30, Plant::failing, Plant::failing).await?;
    assert_eq!(reasons(&stage.receiver.pages()), ["opened"], "all of that was known");

    machine.runs(15, Plant::failing, failing_elsewhere).await?;
    let pages = told("other_bins").await?;
    let news = pages.iter().rfind(|page| page["action"] == "trigger").unwrap();
    assert_eq!(news["evidence"]["deciding_sensor"], "v", "{news:#}");
    assert!(
        news["evidence"]["top_bins"][0]["index"].as_u64() >= Some(48),
        "{news:#}"
    );
    let again = incident(&mut client).await?;
    assert_eq!(
        (again.state.as_str(), again.acknowledged_by.as_str()),
        ("active_unacknowledged", "")
    );
    let keys = stage.receiver.triggers();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{keys:?}");

    acknowledge(&mut client).await?;
    machine.runs(15, Plant::failing, failing_elsewhere).await?;
    machine.runs(30, Plant::healthy, Plant::healthy).await?;
    stage
        .receiver
        .wait_until("the end", |pages| pages.iter().any(|page| page["action"] == "resolve"))
        .await?;
    assert_eq!(reasons(&stage.receiver.pages()), ["opened", "other_bins"]);

    let incident_id = again.incident_id;
    let whole = client
        .get_incident(GetIncidentRequest { incident_id })
        .await?
        .into_inner();
    let kinds: Vec<&str> = whole.events.iter().map(|event| event.kind.as_str()).collect();
    let told: Vec<&str> = kinds.into_iter().filter(|kind| *kind != "step").collect();
    assert_eq!(
        told,
        ["opened", "acknowledged", "re_alarmed", "acknowledged", "cleared"]
    );

    machine.runs(10, Plant::failing, Plant::healthy).await?;
    let next = incident(&mut client).await?;
    assert_eq!(next.previous_incident_id, incident_id, "it failed again");
    assert_eq!(again.previous_incident_id, 0);
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sensor_and_a_higher_level_are_each_paged_once_and_held_back_for_four_hours_after() -> Result<()> {
    let stage = Stage::judging().await?;
    let publisher = stage.publisher().await?;
    let mut machine = Machine { publisher, step: 0 };
    let mut client = IncidentsServiceClient::new(stage.running.service_channel());
    let told = async |reason: &str| {
        let has = |pages: &[Value]| reasons(pages).contains(&reason);
        stage.receiver.wait_until(reason, has).await
    };
    machine.runs(15, Plant::failing, Plant::healthy).await?;
    told("opened").await?;
    acknowledge(&mut client).await?;
    machine.runs(10, Plant::failing, Plant::failing).await?;
    let pages = told("another_sensor").await?;
    let news = pages.iter().rfind(|page| page["action"] == "trigger").unwrap();
    assert_eq!(news["evidence"]["deciding_sensor"], "v", "{news:#}");

    acknowledge(&mut client).await?;
    machine.runs(10, failing_badly, Plant::failing).await?;
    told("level_rose").await?;
    let mut expected = vec!["opened", "another_sensor", "level_rose"];

    // What is as bad as when it was taken is known; a level that rises once more is held back, and said four hours later.
    acknowledge(&mut client).await?;
    let worst: Shows = |n| failing_badly(n).iter().map(|amplitude| 6.0 * amplitude).collect();
    machine.runs(20, worst, Plant::failing).await?;
    assert_eq!(reasons(&stage.receiver.pages()), expected);
    machine.step += 4 * 360;
    machine.runs(10, worst, Plant::failing).await?;
    let twice = |pages: &[Value]| reasons(pages).iter().filter(|reason| **reason == "level_rose").count() == 2;
    let pages = stage.receiver.wait_until("what was held back", twice).await?;
    expected.push("level_rose");
    assert_eq!(reasons(&pages), expected);
    stage.stop().await
}
