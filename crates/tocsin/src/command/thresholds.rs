//! `tocsin thresholds`: alarm limits, from proposed to retired or rejected.

mod at_length;
mod diff;
mod explain;
mod propose;
mod show;
mod what_if;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::{
    ActivateRequest, ApproveRequest, GetThresholdSetRequest, ListThresholdSetsRequest, LoggedScores, RollbackRequest,
    TestRequest, ThresholdSet,
};
use tocsin_contracts::time;
use tocsin_domain::Timestamp;
use tocsin_transport::Channel;

use super::{Ask, given, nested, when};
use crate::client::explain;
use diff::Diff;
use explain::Explain;
use propose::Propose;
use what_if::WhatIf;

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
    /// Hold two sets against each other: lines, roles, persistence and where they came from
    Diff(Diff),
    /// Say what judges a sensor now, where its lines come from, and what they say of its newest reading
    Explain(Explain),
    /// Compute a set from healthy scores
    Propose(Propose),
    /// Tell what limits would have opened over stored scores, beside those in force; changes nothing
    #[command(name = "whatif")]
    WhatIf(WhatIf),
    /// Try a proposed set over stored scores, and record what it would have done
    Test {
        /// Its number
        threshold_set: i32,
    },
    /// Agree with a tested set; where a site of its class asks for a second person, sign in first: two agree by name
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

/// The recalibrator, by a channel with the credential on each call.
type Client = RecalibratorServiceClient<Channel>;

impl Thresholds {
    pub(super) async fn run(self) -> Result<()> {
        let output = self.ask.output;
        let mut client = Client::new(self.ask.target.channel()?).max_decoding_message_size(64 << 20);
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
                    "policy",
                    "asked_by",
                    "approved_by",
                    "approval_needed",
                ];
                return output.list("thresholds", views, columns);
            }
            What::Diff(diff) => return diff.run(client, output).await,
            What::Explain(explain) => return explain.run(client, output).await,
            What::WhatIf(what_if) => return what_if.run(client, output).await,
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
                let work = Work::Propose(propose.request()?);
                let set = at_length::threshold_set(&mut client, "proposing a threshold set", work).await?;
                return show::print(set, output);
            }
            What::Test { threshold_set } => {
                let work = Work::Test(TestRequest {
                    threshold_set_id: threshold_set,
                });
                let set = at_length::threshold_set(&mut client, "testing the threshold set", work).await?;
                return show::print(set, output);
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
        show::print(set.context("the answer holds no threshold set")?, output)
    }
}

/// Reads `--from` and `--to`.
fn period(from: &str, to: &str) -> Result<LoggedScores> {
    let parse = |name: &str, text: &str| -> Result<_> { Ok(Some(time::to_wire(Timestamp::parse(name, text)?))) };
    Ok(LoggedScores {
        from: parse("--from", from)?,
        to: parse("--to", to)?,
    })
}

fn view(set: ThresholdSet) -> Result<Value> {
    let approvals = set
        .approvals
        .into_iter()
        .map(|approval| Ok(json!({ "by": approval.by, "at": when(approval.at)?, "reason": given(approval.reason) })));
    let approvals: Vec<Value> = approvals.collect::<Result<_>>()?;
    let approved_by: Vec<&str> = approvals
        .iter()
        .filter_map(|approval| approval["by"].as_str())
        .collect();
    Ok(json!({
        "threshold_set_id": set.threshold_set_id,
        "class": set.class,
        "bundle_id": set.bundle_id,
        "state": set.state,
        "created_at": when(set.created_at)?,
        "created_by": set.created_by,
        "reason": given(set.reason),
        "policy": given(set.policy),
        "asked_by": given(set.asked_by),
        "asked_at": when(set.asked_at)?,
        "approved_by": given(approved_by.join(", ")),
        "approvals": approvals,
        "approval_needed_at": set.approval_needed_at,
        "approval_needed": given(set.approval_needed),
        "definition": nested(&set.definition_json),
        "provenance": nested(&set.provenance_json),
    }))
}
