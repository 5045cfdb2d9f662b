//! A failing machine opens one incident, pages once, is acknowledged, and clears.

use anyhow::Result;
use serde_json::Value;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{AcknowledgeIncidentRequest, GetIncidentRequest, ListIncidentsRequest};
use tocsin_contracts::ingest::v1::{Condition, OperatingState};
use tocsin_tests::{Plant, Stage};

fn is_action(page: &Value, action: &str) -> bool {
    page["action"] == action
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_machine_pages_once_with_evidence_and_clears_when_it_is_well() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let both = |n, bins: fn(u64) -> Vec<f32>| {
        [
            Plant::reading("m1/h", n, bins(n)),
            Plant::reading("m1/v", n, Plant::healthy(n)),
        ]
    };
    let healthy: Vec<_> = (0..30).flat_map(|n| both(n, Plant::healthy)).collect();
    publisher.publish(healthy).await?;
    assert!(stage.receiver.pages().is_empty());

    for n in 30..40 {
        publisher.publish(both(n, Plant::failing).to_vec()).await?;
    }
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    let page = &pages[0];
    assert_eq!(
        (page["machine"].as_str(), page["severity"].as_str()),
        (Some("m1"), Some("page")),
        "{page:#}"
    );
    assert_eq!(page["evidence"]["deciding_sensor"], "h");
    assert_eq!(page["replay"], true);
    // The fifth failing step opened it.
    let fifth = Plant::start() + std::time::Duration::from_secs(340);
    assert_eq!(page["evidence"]["step"], fifth.to_string());
    let first = Plant::start() + std::time::Duration::from_mins(5);
    assert_eq!(page["evidence"]["above_alert_since"], first.to_string());
    let bins: Vec<u64> = page["evidence"]["top_bins"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|b| b["index"].as_u64())
        .collect();
    assert!(
        !bins.is_empty() && bins.iter().all(|bin| (30..44).contains(bin)),
        "{bins:?}"
    );

    let mut incidents = IncidentsServiceClient::new(stage.running.service_channel());
    let listed = incidents
        .list_incidents(ListIncidentsRequest::default())
        .await?
        .into_inner()
        .incidents;
    assert_eq!(listed.len(), 1);
    let incident_id = listed[0].incident_id;
    let whole = incidents
        .get_incident(GetIncidentRequest { incident_id })
        .await?
        .into_inner();
    // The four steps before the one that opened it belong to it too.
    let of_h = whole.evidence.iter().filter(|e| e.sensor == "h").count();
    assert!(of_h >= 10, "{of_h} pieces of evidence");
    assert!(whole.evidence.iter().any(|e| e.bin_error.len() == 64));
    assert!(whole.events.iter().any(|event| event.kind == "opened"));
    let note = "looking at it".to_owned();
    let taken = incidents
        .acknowledge_incident(AcknowledgeIncidentRequest { incident_id, note })
        .await?
        .into_inner();
    assert_eq!(taken.incident.unwrap().state, "active_acknowledged");

    for n in 40..70 {
        publisher.publish(both(n, Plant::healthy).to_vec()).await?;
    }
    let pages = stage
        .receiver
        .wait_until("the end", |pages| pages.iter().any(|page| is_action(page, "resolve")))
        .await?;
    let triggers = pages.iter().filter(|page| is_action(page, "trigger")).count();
    assert_eq!(triggers, 1, "{pages:#?}");
    let whole = incidents
        .get_incident(GetIncidentRequest { incident_id })
        .await?
        .into_inner();
    assert_eq!(whole.incident.unwrap().state, "normal");
    let seqs: Vec<i64> = sqlx::query_scalar("select seq from machine_event order by machine_id, seq")
        .fetch_all(stage.store.pool())
        .await?;
    assert_eq!(
        seqs,
        (1..=seqs.len() as i64).collect::<Vec<_>>(),
        "the journal is dense"
    );
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn how_readings_are_cut_into_batches_changes_no_incident() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let readings = |machine: &str| -> Vec<_> {
        (0..90)
            .map(|n| {
                let bins = if (30..45).contains(&n) {
                    Plant::failing(n)
                } else {
                    Plant::healthy(n)
                };
                Plant::reading(&format!("{machine}/h"), n, bins)
            })
            .collect()
    };
    publisher.publish(readings("m1")).await?;
    for reading in readings("m2") {
        publisher.publish(vec![reading]).await?;
    }
    let spans: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "select m.name, i.opened_at::text, i.closed_at::text from incident i join machine m using (machine_id) order by 1",
    )
    .fetch_all(stage.store.pool())
    .await?;
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert_eq!((&spans[0].1, &spans[0].2), (&spans[1].1, &spans[1].2));
    assert!(spans[0].2.is_some());
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_whose_clock_is_behind_its_neighbour_s_still_opens_an_incident() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    // Each failing reading comes after one of the other sensor that is two steps newer, in a batch of its own.
    for n in 0..12 {
        let ahead = Plant::reading("m1/v", n + 2, Plant::healthy(n));
        publisher.publish(vec![ahead]).await?;
        publisher
            .publish(vec![Plant::reading("m1/h", n, Plant::failing(n))])
            .await?;
    }
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    assert_eq!(pages[0]["machine"], "m1", "{:#}", pages[0]);
    stage.stop().await
}

/// What it would page while it runs steadily.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_said_to_run_up_is_not_judged_until_it_runs_steadily() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let failing = |n, state: OperatingState| {
        let mut reading = Plant::reading("m1/h", n, Plant::failing(n));
        reading.condition = Some(Condition {
            state: state.into(),
            ..Condition::default()
        });
        reading
    };
    let running_up: Vec<_> = (0..20).map(|n| failing(n, OperatingState::Transient)).collect();
    publisher.publish(running_up).await?;
    let judged: Vec<(i16, i16)> = sqlx::query_as("select distinct verdict, condition_cell from reading")
        .fetch_all(stage.store.pool())
        .await?;
    let transient = tocsin_domain::Verdict::Unjudged {
        reason: tocsin_domain::UnjudgedReason::Transient,
    };
    assert_eq!(judged, [(transient.to_code(), 2)]);
    let running: Vec<_> = (20..30).map(|n| failing(n, OperatingState::Running)).collect();
    publisher.publish(running).await?;
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    let fifth = Plant::start() + std::time::Duration::from_mins(4);
    assert_eq!(pages[0]["evidence"]["step"], fifth.to_string(), "none of before counts");
    stage.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_stored_and_never_pages() -> Result<()> {
    let stage = Stage::judging().await?;
    let properties = tocsin_contracts::ingest::StreamProperties {
        clock_is_capture: true,
        historical: true,
    };
    let channel = stage.running.channel(&stage.token().await?);
    let mut publisher = tocsin::publish::Publisher::new(channel, properties);
    let failing: Vec<_> = (0..20).map(|n| Plant::reading("m1/h", n, Plant::failing(n))).collect();
    assert_eq!(publisher.publish(failing).await?.stored, 20);
    let incidents: i64 = sqlx::query_scalar("select count(*) from incident")
        .fetch_one(stage.store.pool())
        .await?;
    assert_eq!(incidents, 0);
    stage.stop().await
}
