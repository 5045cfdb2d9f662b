//! Alarm limits under review: what they would have opened, what they would cost in pages, how two of them differ, and why a
//! sensor is judged as it is. All through the command line.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_domain::{Scope, ThresholdSetId, Timestamp};
use tocsin_store::incident::IncidentQuery;
use tocsin_tests::stage::CLASS;
use tocsin_tests::{Fleet, Plant, Stage};

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

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_proposed_for_a_page_budget_reviewed_and_explained() -> Result<()> {
    let mut fleet = Fleet::start().await?;
    let percentiles = ThresholdSetId(fleet.registered.threshold_set_id);
    fleet.healthy_steps(40).await?;
    let waiting = fleet.stage.ask(&["thresholds", "explain", "works/m1/h"]).await?;
    let waiting = &waiting["sensor"];
    assert_eq!(waiting["commissioning"]["state"], "commissioning", "{waiting:#}");
    assert_eq!(
        (&waiting["borrows_limits"], &waiting["baseline"]),
        (&false.into(), &Value::Null)
    );

    fleet.commission().await?;
    fleet
        .until("readings against a baseline", |reading| reading.baseline.is_some())
        .await?;
    fleet.healthy_steps(40).await?;
    let proposed = reviewed(&fleet, percentiles).await?;
    let set = proposed.to_string();
    fleet.stage.ask(&["thresholds", "activate", &set]).await?;
    let active = Some(proposed);
    fleet
        .until("the new limits", |reading| reading.threshold_set == active)
        .await?;
    explained(&fleet, proposed).await?;
    fleet.stage.stop().await
}

/// Proposed for a budget, tried, tested and approved; its number.
async fn reviewed(fleet: &Fleet, percentiles: ThresholdSetId) -> Result<ThresholdSetId> {
    let stage = &fleet.stage;
    let (from, to) = (Plant::start().to_string(), fleet.end().to_string());
    let budget = [
        "--method",
        "fleet-replay",
        "--budget-pages-per-site-day",
        "0.5",
        "--from",
        &from,
        "--to",
        &to,
    ];
    let proposed = stage
        .ask(&[&["thresholds", "propose", "--class", CLASS][..], &budget].concat())
        .await?;
    let provenance = &proposed["threshold_set"]["provenance"];
    let expected = &provenance["expected"];
    assert_eq!(expected["expected"]["pages"]["events"], 0, "{expected:#}");
    assert_eq!(expected["budget"]["pages_per_site_day"], 0.5);
    assert_eq!(expected["candidates"].as_array().map(Vec::len), Some(21));
    let upper = expected["expected"]["pages"]["per_site_day"]["upper"].as_f64();
    assert!(
        upper.is_some_and(|upper| upper > 0.5),
        "a few minutes promise little: {upper:?}"
    );

    let set = proposed["threshold_set"]["threshold_set_id"]
        .as_i64()
        .context("a number")?;
    let set = set.to_string();
    let period = ["--from", &from, "--to", &to];
    let tried = stage
        .ask(&[&["thresholds", "whatif", &set][..], &period].concat())
        .await?;
    assert_eq!(tried["what_if"]["active_threshold_set_id"], percentiles.0);
    let in_a_table = stage
        .say(&[&["thresholds", "whatif", &set][..], &period].concat())
        .await?;
    assert!(
        in_a_table.contains("per site day") && in_a_table.contains("in force"),
        "{in_a_table}"
    );

    let shown = stage.say(&["thresholds", "show", &set]).await?;
    assert!(
        shown.contains("page bounds") && shown.contains("expected, over"),
        "{shown}"
    );
    let old = percentiles.to_string();
    let diff = stage.ask(&["thresholds", "diff", &old, &set]).await?;
    let members = diff["diff"]["members"].as_array().context("members")?;
    let growth = members
        .iter()
        .find(|member| member["detector"] == "growth")
        .context("growth")?;
    assert_eq!(
        (&growth["a"], &growth["b"]["role"]),
        (&Value::Null, &"page".into()),
        "{growth:#}"
    );
    let table = stage.say(&["thresholds", "diff", &old, &set]).await?;
    assert!(table.contains("alert db") && table.contains("persistence"), "{table}");

    stage.ask(&["thresholds", "test", &set]).await?;
    let approved = stage
        .ask(&["thresholds", "approve", &set, "--reason", "within the budget"])
        .await?;
    assert_eq!(
        approved["threshold_set"]["provenance"]["approval"]["reason"],
        "within the budget"
    );
    Ok(ThresholdSetId(set.parse()?))
}

/// The sensor is judged against its own past, by lines that say where they come from.
async fn explained(fleet: &Fleet, set: ThresholdSetId) -> Result<()> {
    let said = fleet.stage.ask(&["thresholds", "explain", "works/m1/h"]).await?;
    let sensor = &said["sensor"];
    assert_eq!(sensor["limits"]["threshold_set_id"], set.0, "{sensor:#}");
    assert_eq!(sensor["borrows_limits"], false);
    assert!(sensor["baseline"]["readings"].as_u64() >= Some(20), "{sensor:#}");
    let members = sensor["limits"]["members"].as_array().context("members")?;
    let growth = members
        .iter()
        .find(|member| member["detector"] == "growth")
        .context("growth")?;
    assert_eq!(
        (&growth["machines"], &growth["waits_for_baseline"]),
        (&5.into(), &false.into())
    );
    let newest = &sensor["newest"];
    assert_eq!(
        (&newest["verdict"], &newest["threshold_set_id"]),
        (&"normal".into(), &set.0.into())
    );
    let levels = newest["levels"].as_array().context("levels")?;
    assert!(
        levels
            .iter()
            .any(|level| level["detector"] == newest["deciding_detector"]),
        "{newest:#}"
    );
    let table = fleet.stage.say(&["thresholds", "explain", "works/m1/h"]).await?;
    assert!(table.contains("the median of 5 machines"), "{table}");
    Ok(())
}
