//! `tocsin incidents floods` and `ack-flood`: many machines at once, listed and taken as one.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{AcknowledgeFloodRequest, Flood, GetFloodRequest, ListFloodsRequest};
use tocsin_transport::Channel;

use super::super::when;
use crate::client::explain;
use crate::output::Output;

type Client = IncidentsServiceClient<Channel>;

pub(super) async fn show(output: Output, client: &mut Client, flood: Option<i64>, limit: u32) -> Result<()> {
    let Some(flood_id) = flood else {
        let answer = client.list_floods(ListFloodsRequest { limit }).await;
        let answer = answer
            .map_err(|status| explain("listing floods", &status))?
            .into_inner();
        let views = answer.floods.into_iter().map(view).collect::<Result<_>>()?;
        let columns = &[
            "flood_id",
            "destination",
            "began_at",
            "ended_at",
            "incidents",
            "unacknowledged",
        ];
        return output.list("floods", views, columns);
    };
    let answer = client.get_flood(GetFloodRequest { flood_id }).await;
    let answer = answer
        .map_err(|status| explain("showing the flood", &status))?
        .into_inner();
    let mut shown = view(answer.flood.context("the answer holds no flood")?)?;
    shown["incidents"] = answer
        .incidents
        .into_iter()
        .map(super::view)
        .collect::<Result<Vec<_>>>()?
        .into();
    output.item("flood", shown)
}

pub(super) async fn acknowledge(output: Output, client: &mut Client, flood_id: i64, note: String) -> Result<()> {
    let answer = client
        .acknowledge_flood(AcknowledgeFloodRequest { flood_id, note })
        .await;
    let answer = answer
        .map_err(|status| explain("acknowledging the flood", &status))?
        .into_inner();
    output.item(
        "flood",
        json!({ "flood_id": flood_id, "acknowledged": answer.acknowledged }),
    )
}

fn view(flood: Flood) -> Result<Value> {
    Ok(json!({
        "flood_id": flood.flood_id,
        "destination": flood.destination,
        "began_at": when(flood.began_at)?,
        "ended_at": when(flood.ended_at)?,
        "incidents": flood.incidents,
        "unacknowledged": flood.unacknowledged,
    }))
}
