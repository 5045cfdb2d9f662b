//! `tocsin thresholds`: alarm limits, from proposed to retired.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::propose_request::{Method as ProposeMethod, Source};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::{
    ActivateRequest, ApproveRequest, FleetReplay, GetThresholdSetRequest, HeldOutScores, ListThresholdSetsRequest,
    LoggedScores, Percentiles, ProposeRequest, RollbackRequest, TestRequest, ThresholdSet,
};
use tocsin_contracts::time;
use tocsin_domain::Timestamp;

use super::{Ask, given, nested, when};
use crate::client::explain;

#[derive(Debug, Args)]
pub(super) struct Thresholds {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List threshold sets, newest first
    List {
        /// Only this class
        #[arg(long, default_value = "", hide_default_value = true)]
        class: String,
    },
    /// Show one set with its lines and where they came from
    Show {
        /// Its number
        threshold_set: i32,
    },
    /// Compute a set from healthy scores
    Propose(Propose),
    /// Try a proposed set over stored scores, and record what it would have done
    Test {
        /// Its number
        threshold_set: i32,
    },
    /// Agree with a tested set
    Approve {
        /// Its number
        threshold_set: i32,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Make an approved set judge its class
    Activate {
        /// Its number
        threshold_set: i32,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Make the set active again that was so before
    Rollback {
        /// The class
        class: String,
        /// Why, for the record
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct Propose {
    /// The class it is for
    #[arg(long)]
    class: String,
    /// The bundle whose scores it is for [default: the champion]
    #[arg(long, default_value = "", hide_default_value = true)]
    bundle: String,
    /// From the scores logged since this time (RFC 3339), instead of those the bundle brings along
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<String>,
    /// Until this time
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// How the lines are found
    #[arg(long, value_enum, default_value_t = Method::Percentile)]
    method: Method,
    /// The alert line over what the median machine reached, for fleet-replay [default: 1.75]
    #[arg(long, value_name = "FACTOR")]
    alert_factor: Option<f64>,
    /// The page line over the same, for fleet-replay [default: 2.5]
    #[arg(long, value_name = "FACTOR")]
    page_factor: Option<f64>,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// At percentiles of healthy scores
    Percentile,
    /// Against each sensor's baseline, at multiples of what healthy machines reached between --from and --to
    FleetReplay,
}

impl Propose {
    fn request(self) -> Result<ProposeRequest> {
        let parse = |name: &str, text: &str| -> Result<_> { Ok(Some(time::to_wire(Timestamp::parse(name, text)?))) };
        let source = match (&self.from, &self.to) {
            (Some(from), Some(to)) => Source::Logged(LoggedScores {
                from: parse("--from", from)?,
                to: parse("--to", to)?,
            }),
            _ => Source::HeldOut(HeldOutScores {}),
        };
        let method = match self.method {
            Method::Percentile if self.alert_factor.is_some() || self.page_factor.is_some() => {
                bail!("--alert-factor and --page-factor are for --method fleet-replay");
            }
            Method::Percentile => ProposeMethod::Percentiles(Percentiles {}),
            Method::FleetReplay => ProposeMethod::FleetReplay(FleetReplay {
                alert_factor: self.alert_factor.unwrap_or_default(),
                page_factor: self.page_factor.unwrap_or_default(),
            }),
        };
        Ok(ProposeRequest {
            method: Some(method),
            class: self.class,
            bundle: self.bundle,
            source: Some(source),
            reason: self.reason,
        })
    }
}

impl Thresholds {
    pub(super) async fn run(self) -> Result<()> {
        let output = self.ask.output;
        let mut client = RecalibratorServiceClient::new(self.ask.target.channel()?).max_decoding_message_size(64 << 20);
        let (doing, answer) = match self.what {
            What::List { class } => {
                let answer = client.list_threshold_sets(ListThresholdSetsRequest { class }).await;
                let answer = answer
                    .map_err(|status| explain("listing threshold sets", &status))?
                    .into_inner();
                let views = answer.threshold_sets.into_iter().map(view).collect::<Result<_>>()?;
                let columns = &[
                    "threshold_set_id",
                    "class",
                    "bundle_id",
                    "state",
                    "created_at",
                    "created_by",
                    "reason",
                ];
                return output.list("thresholds", views, columns);
            }
            What::Show { threshold_set } => {
                let request = GetThresholdSetRequest {
                    threshold_set_id: threshold_set,
                };
                let answer = client.get_threshold_set(request).await;
                (
                    "showing the threshold set",
                    answer.map(|answer| answer.into_inner().threshold_set),
                )
            }
            What::Propose(propose) => {
                let answer = client.propose(propose.request()?).await;
                (
                    "proposing a threshold set",
                    answer.map(|answer| answer.into_inner().threshold_set),
                )
            }
            What::Test { threshold_set } => {
                let answer = client
                    .test(TestRequest {
                        threshold_set_id: threshold_set,
                    })
                    .await;
                (
                    "testing the threshold set",
                    answer.map(|answer| answer.into_inner().threshold_set),
                )
            }
            What::Approve { threshold_set, reason } => {
                let answer = client
                    .approve(ApproveRequest {
                        threshold_set_id: threshold_set,
                        reason,
                    })
                    .await;
                (
                    "approving the threshold set",
                    answer.map(|answer| answer.into_inner().threshold_set),
                )
            }
            What::Activate { threshold_set, reason } => {
                let answer = client
                    .activate(ActivateRequest {
                        threshold_set_id: threshold_set,
                        reason,
                    })
                    .await;
                (
                    "activating the threshold set",
                    answer.map(|answer| answer.into_inner().threshold_set),
                )
            }
            What::Rollback { class, reason } => {
                let answer = client.rollback(RollbackRequest { class, reason }).await;
                ("rolling back", answer.map(|answer| answer.into_inner().threshold_set))
            }
        };
        let set = answer.map_err(|status| explain(doing, &status))?;
        output.item(
            "threshold_set",
            view(set.context("the answer holds no threshold set")?)?,
        )
    }
}

fn view(set: ThresholdSet) -> Result<Value> {
    Ok(json!({
        "threshold_set_id": set.threshold_set_id,
        "class": set.class,
        "bundle_id": set.bundle_id,
        "state": set.state,
        "created_at": when(set.created_at)?,
        "created_by": set.created_by,
        "reason": given(set.reason),
        "definition": nested(&set.definition_json),
        "provenance": nested(&set.provenance_json),
    }))
}
