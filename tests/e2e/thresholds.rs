//! Alarm limits under review, through the command line.

use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_domain::{Scope, Timestamp};
use tocsin_store::incident::IncidentQuery;
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Plant, Stage};

/// The end of that many steps.
fn end(steps: u64) -> Timestamp {
    Plant::start() + Duration::from_secs(10) * steps as u32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_what_if_of_the_limits_in_force_reproduces_the_incidents_there_were() -> Result<()> {
    let stage = Stage::judging().await?;
    let mut publisher = stage.publisher().await?;
    let steps = 120;
    for n in 0..steps {
        let spectrum = match n {
            30..40 | 80..95 => Plant::failing(n),
            _ => Plant::healthy(n),
        };
        let both = vec![
            Plant::reading("m1/h", n, spectrum),
            Plant::reading("m1/v", n, Plant::healthy(n)),
            Plant::reading("m2/h", n, Plant::healthy(n)),
        ];
        publisher.publish(both).await?;
    }
    let query = IncidentQuery {
        limit: 10,
        ..IncidentQuery::default()
    };
    let mut incidents = stage.store.incident_list(&Scope::All, &query).await?;
    incidents.sort_by_key(|listing| listing.incident.opened_at);
    let first = &incidents.first().context("an incident")?.incident;
    let active = stage
        .store
        .binding_current(stage.store.class_by_name(&CLASS.parse()?).await?.id)
        .await?;
    let active = active
        .and_then(|binding| binding.threshold_set)
        .context("limits in force")?;
    let (from, to) = (Plant::start().to_string(), end(steps).to_string());
    let set = active.to_string();
    let said = stage
        .ask(&["thresholds", "whatif", &set, "--from", &from, "--to", &to])
        .await?;
    let what_if = &said["what_if"];
    let told = (
        what_if["active_threshold_set_id"].as_i64(),
        what_if["changes"].as_array().map(Vec::len),
    );
    assert_eq!(told, (Some(i64::from(active.0)), Some(0)), "{what_if:#}");
    assert_eq!(what_if["unchanged_incidents"], incidents.len(), "{what_if:#}");
    let pages = incidents
        .iter()
        .filter(|listing| listing.incident.paged_at.is_some())
        .count();
    assert_eq!((pages, &what_if["expected"]["pages"]["events"]), (2, &2.into()));
    let m1 = what_if["machines"]
        .as_array()
        .and_then(|all| all.iter().find(|m| m["machine"] == "m1"));
    let paged_at = Timestamp::parse(
        "first_page_at",
        m1.context("m1")?["first_page_at"].as_str().context("a time")?,
    )?;
    let step = Duration::from_secs(10);
    assert_eq!(Some(paged_at), first.paged_at.map(|at| at.floor_to(step)));
    let hours = what_if["expected"]["machine_hours"].as_f64().context("hours")?;
    assert!((hours - 2.0 * steps as f64 / 360.0).abs() < 1e-9, "{hours}");
    stage.stop().await
}
