//! Why nobody was paged: an operator at the command line finds it out for every alarm that was not heard.

use std::time::Duration;

use anyhow::{Context, Result};
use tocsin_contracts::ingest::v1::Condition;
use tocsin_domain::Clock;
use tocsin_pager::Destination;
use tocsin_pager::destination::{Route, Webhook};
use tocsin_tests::{Plant, Stage};

/// More steps than open an incident.
const STEPS: u64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_out_why_nobody_was_paged() -> Result<()> {
    let clock = Clock::manual(Plant::start() + Duration::from_hours(1));
    // One destination, which takes another site's pages.
    let elsewhere = |config: &mut tocsin::Config| {
        let route = Route {
            sites: vec!["elsewhere".to_owned()],
            ..Route::default()
        };
        for destination in &mut config.pager.destinations {
            if let Destination::Webhook(Webhook { routes, .. }) = destination {
                routes.push(route.clone());
            }
        }
    };
    let stage = Stage::start_at(clock, tocsin::Role::ALL, elsewhere).await?;
    for machine in ["shelved", "stopped", "untaken"] {
        stage.sensor(machine, "h").await?;
    }
    stage.bundle(1).await?;
    let order = [
        "machines",
        "shelve",
        "works/shelved",
        "--for",
        "2h",
        "--reason",
        "bearing is ordered",
    ];
    stage.ask(&order).await?;
    let mut publisher = stage.publisher().await?;
    for step in 0..STEPS {
        let readings = [("shelved", None), ("stopped", Some(0.0)), ("untaken", None)].map(|(machine, rpm)| {
            let mut reading = Plant::reading(&format!("{machine}/h"), step, Plant::failing(step));
            reading.condition = rpm.map(|rpm| Condition {
                rpm: Some(rpm),
                ..Condition::default()
            });
            reading
        });
        publisher.publish(readings.to_vec()).await?;
    }

    // The shelved one: who, why, and what would have been said.
    let listed = stage.ask(&["machines", "suppressed"]).await?;
    let shelf = &listed["suppressions"][0];
    assert_eq!(
        (&shelf["machine"], &shelf["reason"], &shelf["suppressed_pages"]),
        (&"shelved".into(), &"bearing is ordered".into(), &1.into()),
        "{listed:#}"
    );
    let number = shelf["suppression_id"].to_string();
    let kept = stage.ask(&["machines", "suppressed", &number]).await?;
    assert_eq!(
        kept["suppression"]["pages"][0]["payload"]["machine"], "shelved",
        "{kept:#}"
    );

    // The one that stands still: its newest reading says why it was not judged.
    let why = stage.ask(&["thresholds", "explain", "works/stopped/h"]).await?;
    let whole = serde_json::to_string(&why)?;
    assert!(whole.contains("\"unjudged_reason\":\"stopped\""), "{why:#}");

    // The one that no route takes: its incident has a page that is not sent to anybody.
    let listed = stage.ask(&["incidents", "list"]).await?;
    let incidents = listed["incidents"].as_array().context("incidents")?;
    let machines: Vec<_> = incidents.iter().map(|incident| incident["machine"].as_str()).collect();
    assert!(
        machines.len() == 2 && !machines.contains(&Some("stopped")),
        "{listed:#}"
    );
    let untaken = incidents.iter().find(|incident| incident["machine"] == "untaken");
    let number = untaken.context("the incident")?["incident_id"].to_string();
    let shown = stage.ask(&["incidents", "show", &number]).await?;
    let page = &shown["incident"]["pages"][0];
    assert_eq!(
        (&page["action"], &page["state"]),
        (&"trigger".into(), &"unsent".into()),
        "{shown:#}"
    );
    assert!(stage.receiver.pages().is_empty());
    stage.stop().await
}
