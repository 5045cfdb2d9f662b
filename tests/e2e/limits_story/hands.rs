//! What the chapters of the story share: limits proposed, agreed to and switched, and what the platform then tells.

use anyhow::{Context, Result};
use serde_json::Value;
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::review::v1::{GetVerdictRequest, GetVerdictResponse};
use tocsin_contracts::time;
use tocsin_domain::{BaselineId, ThresholdSetId, Timestamp};
use tocsin_store::reading::StoredReading;
use tocsin_tests::stage::{CLASS, SITE};

use super::{InForce, Story};

impl Story {
    /// Proposes limits as a person does; their number.
    pub(super) async fn proposed(&self, how: &[&str]) -> Result<ThresholdSetId> {
        let propose = ["thresholds", "propose", "--class", CLASS];
        let said = self.fleet.stage.ask(&[&propose[..], how].concat()).await?;
        let set = &said["threshold_set"];
        assert_eq!(set["state"], "proposed", "{set:#}");
        Ok(ThresholdSetId(number(&set["threshold_set_id"])?))
    }

    pub(super) async fn test_and_approve(&self, set: ThresholdSetId) -> Result<()> {
        let (stage, number) = (&self.fleet.stage, set.to_string());
        stage.ask(&["thresholds", "test", &number]).await?;
        stage
            .ask(&["thresholds", "approve", &number, "--reason", "agreed"])
            .await?;
        Ok(())
    }

    pub(super) async fn activate(&mut self, set: ThresholdSetId) -> Result<()> {
        let bundle = self.in_force[0].1;
        self.switch(&["thresholds", "activate", &set.to_string()], (set, bundle))
            .await
    }

    /// Changes what is in force while readings go on coming, and waits for the first that it judged.
    pub(super) async fn switch(&mut self, arguments: &[&str], to: InForce) -> Result<()> {
        self.fleet.ask_at_work(arguments).await?;
        let is_in_force = |reading: &StoredReading| (reading.threshold_set, reading.bundle) == (Some(to.0), Some(to.1));
        self.fleet.until(&arguments.join(" "), is_in_force).await?;
        self.in_force.push(to);
        Ok(())
    }

    /// Waits for the first reading of `m1` that was held against a baseline.
    pub(super) async fn is_held_against(&mut self, baseline: i32) -> Result<()> {
        let baseline = BaselineId(baseline);
        let is = |reading: &StoredReading| reading.baseline == Some(baseline);
        self.fleet.until("readings against a baseline", is).await?;
        self.baselines.push(baseline);
        Ok(())
    }

    /// Sets of limits stand as they should.
    pub(super) async fn states(&self, expected: &[(ThresholdSetId, &str)]) -> Result<()> {
        for (set, state) in expected {
            let said = self.fleet.stage.ask(&["thresholds", "show", &set.to_string()]).await?;
            assert_eq!(said["threshold_set"]["state"], *state, "threshold set {set}");
        }
        Ok(())
    }

    /// What the platform tells of a reading of `m1`.
    pub(super) async fn verdict(&self, at: Timestamp) -> Result<GetVerdictResponse> {
        let request = GetVerdictRequest {
            site: SITE.to_owned(),
            machine: "m1".to_owned(),
            sensor: "h".to_owned(),
            at: Some(time::to_wire(at)),
        };
        let channel = self.fleet.stage.running.service_channel();
        Ok(ReviewServiceClient::new(channel)
            .get_verdict(request)
            .await?
            .into_inner())
    }

    pub(super) async fn count(&self, query: &'static str, number: i32) -> Result<i64> {
        let count = sqlx::query_scalar(query).bind(number);
        Ok(count.fetch_one(self.fleet.stage.store.pool()).await?)
    }
}

pub(super) fn number(value: &Value) -> Result<i32> {
    let number = value.as_i64().with_context(|| format!("{value} is no number"))?;
    Ok(i32::try_from(number)?)
}
