//! `tocsin demo --once`: every fault paged, no false page, in time.

use anyhow::{Context, Result};
use tocsin_tests::binary;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_pages_every_fault_in_time_and_nothing_else() -> Result<()> {
    let out = binary::run(&["demo", "--once", "--seed", "11", "--format", "json"], &[]).await?;
    let summary: serde_json::Value = serde_json::from_str(&out).with_context(|| out.clone())?;
    assert!(summary["faults_injected"].as_u64() >= Some(3), "{summary:#}");
    assert_eq!(summary["faults_paged"], summary["faults_injected"], "{summary:#}");
    assert_eq!(summary["false_pages"], 0, "{summary:#}");
    assert!(summary["lead_fraction_median"].as_f64() >= Some(0.3), "{summary:#}");
    assert!(summary["machines"].as_u64() >= Some(20));
    Ok(())
}
