//! `tocsin pages`: what was sent to whom, what was given up, and sending that again.

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{Delivery, ListDeliveriesRequest, ResendDeliveryRequest};

use super::{Ask, given, when};
use crate::client::explain;

#[derive(Debug, Args)]
pub(super) struct Pages {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List deliveries of pages, newest first
    List {
        /// Only those that stand so
        #[arg(long)]
        state: Option<State>,
        /// Only those to this destination
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        destination: String,
        /// Only those of this site's pages
        #[arg(long, default_value = "", hide_default_value = true)]
        site: String,
        /// At most this many, up to 1000
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Only those before this one, for the next page
        #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
        before: i64,
    },
    /// Send a delivery that was given up again, and after it what its receiver was told of the incident since
    Resend {
        /// Its number
        delivery: i64,
    },
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Waiting,
    Delivered,
    Dead,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }
}

impl Pages {
    pub(super) async fn run(self) -> Result<()> {
        let output = self.ask.output;
        let mut client = IncidentsServiceClient::new(self.ask.target.channel()?);
        match self.what {
            What::List {
                state,
                destination,
                site,
                limit,
                before,
            } => {
                let request = ListDeliveriesRequest {
                    state: state.map(State::as_str).unwrap_or_default().to_owned(),
                    destination,
                    site,
                    limit,
                    before_delivery_id: before,
                };
                let answer = client.list_deliveries(request).await;
                let answer = answer
                    .map_err(|status| explain("listing deliveries", &status))?
                    .into_inner();
                let views = answer.deliveries.into_iter().map(view).collect::<Result<_>>()?;
                let columns = &[
                    "delivery_id",
                    "incident_id",
                    "site",
                    "machine",
                    "action",
                    "destination",
                    "state",
                    "attempts",
                    "last_answer",
                ];
                output.list("deliveries", views, columns)
            }
            What::Resend { delivery } => {
                let request = ResendDeliveryRequest { delivery_id: delivery };
                let answer = client.resend_delivery(request).await;
                let answer = answer
                    .map_err(|status| explain("sending the delivery again", &status))?
                    .into_inner();
                let mut view = view(answer.delivery.context("the answer holds no delivery")?)?;
                view["deliveries_sent_again"] = answer.deliveries.into();
                output.item("delivery", view)
            }
        }
    }
}

fn view(delivery: Delivery) -> Result<Value> {
    let (at, outcome, answer) = match delivery.last_attempt {
        Some(attempt) => (when(attempt.at)?, given(attempt.outcome), given(attempt.answer)),
        None => (Value::Null, Value::Null, Value::Null),
    };
    Ok(json!({
        "delivery_id": delivery.delivery_id,
        "incident_id": delivery.incident_id,
        "site": delivery.site,
        "machine": delivery.machine,
        "page_key": delivery.page_key,
        "action": delivery.action,
        "created_at": when(delivery.created_at)?,
        "destination": delivery.destination,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "last_attempt_at": at,
        "last_outcome": outcome,
        "last_answer": answer,
        "next_attempt_at": when(delivery.next_attempt_at)?,
    }))
}
