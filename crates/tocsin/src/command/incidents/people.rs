//! `tocsin incidents comment`, `hand-over` and `work-order`: what people do with an incident beside taking it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{CommentIncidentRequest, HandOverIncidentRequest, OrderWorkRequest, WorkOrder};
use tocsin_transport::Channel;

use super::super::{given, when};
use crate::client::explain;
use crate::output::Output;

type Client = IncidentsServiceClient<Channel>;

pub(super) async fn comment(output: Output, client: &mut Client, incident_id: i64, text: String) -> Result<()> {
    let request = CommentIncidentRequest {
        incident_id,
        text: text.clone(),
    };
    let answer = client.comment_incident(request).await;
    answer.map_err(|status| explain("commenting on the incident", &status))?;
    output.item("comment", json!({ "incident_id": incident_id, "text": text }))
}

pub(super) async fn hand_over(
    output: Output,
    client: &mut Client,
    incident_id: i64,
    to: String,
    note: String,
) -> Result<()> {
    let request = HandOverIncidentRequest { incident_id, to, note };
    let answer = client.hand_over_incident(request).await;
    let answer = answer
        .map_err(|status| explain("handing the incident over", &status))?
        .into_inner();
    let incident = answer.incident.context("the answer holds no incident")?;
    output.item("incident", super::view(incident)?)
}

pub(super) async fn order_work(
    output: Output,
    client: &mut Client,
    incident_id: i64,
    (reference, note): (String, String),
) -> Result<()> {
    let request = OrderWorkRequest {
        incident_id,
        reference,
        note,
    };
    let answer = client.order_work(request).await;
    let answer = answer.map_err(|status| explain("ordering work", &status))?.into_inner();
    let order = answer.work_order.context("the answer holds no work order")?;
    output.item("work_order", order_view(order)?)
}

/// A work order as it is printed.
pub(super) fn order_view(order: WorkOrder) -> Result<Value> {
    Ok(json!({
        "reference": order.reference,
        "url": given(order.url),
        "ordered_at": when(order.ordered_at)?,
        "ordered_by": order.ordered_by,
    }))
}
