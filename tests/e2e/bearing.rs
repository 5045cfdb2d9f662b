//! A page names a known line only where its spectrum could tell it from the others.

use anyhow::Result;
use tocsin_contracts::ingest::v1::Condition;
use tocsin_tests::{Plant, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_that_wide_bins_name_no_line_though_speed_and_bearing_are_known() -> Result<()> {
    let stage = Stage::judging().await?;
    let geometry = ["--elements", "9", "--ball", "7.94", "--pitch", "39.04"];
    let declare = [&["sensors", "bearing", "works/m1/h"], &geometry[..]].concat();
    let orders = stage.ask(&declare).await?["bearing"].clone();
    let bpfo = orders["bpfo_orders"].as_f64().unwrap_or_default();
    assert!((bpfo - 3.5848).abs() < 1e-3, "{orders:#}");
    let odd = [
        "sensors",
        "bearing",
        "works/m1/h",
        "--elements",
        "9",
        "--ball",
        "50",
        "--pitch",
        "39",
    ];
    let refused = stage.ask(&odd).await.unwrap_err().to_string();
    assert!(refused.contains("bearing.ball_diameter_mm"), "{refused}");

    let mut gateway = stage.publisher().await?;
    for number in 0..15 {
        let mut reading = Plant::reading("m1/h", number, Plant::failing(number));
        reading.condition = Some(Condition {
            rpm: Some(1_750.0),
            load: None,
            ..Condition::default()
        });
        gateway.publish(vec![reading]).await?;
    }
    let pages = stage.receiver.wait_until("the page", |pages| !pages.is_empty()).await?;
    assert_eq!(
        pages[0]["evidence"]["line_hint"], "resolution_too_low",
        "{:#}",
        pages[0]
    );
    stage.stop().await
}
