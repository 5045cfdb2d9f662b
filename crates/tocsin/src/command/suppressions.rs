//! `tocsin machines shelve`, `out-of-service`, `return` and `suppressed`: whose pages are kept from people, and which.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::{
    GetSuppressionRequest, ListSuppressionsRequest, RestoreMachineRequest, SuppressMachineRequest, SuppressedPage,
    Suppression,
};
use tocsin_domain::SuppressionKind;

use super::{Ask, duration, given, labels, nested, when};
use crate::client::explain;

#[derive(Debug, Args)]
pub(super) struct Shelve {
    #[command(flatten)]
    order: Order,
    /// Only until the open incident clears, or the next one where none is open
    #[arg(long)]
    one_shot: bool,
}

/// What keeping a machine's pages takes.
#[derive(Debug, Args)]
pub(super) struct Order {
    /// SITE/MACHINE
    path: String,
    /// How long, such as 8h; it ends by itself
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    lasting: Duration,
    /// Why nobody is to be paged
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Suppressed {
    /// One of them, with the pages it kept
    suppression: Option<i64>,
    /// Only this site
    #[arg(long, default_value = "", hide_default_value = true)]
    site: String,
    /// Those that have ended as well
    #[arg(long)]
    all: bool,
    /// At most this many, up to 1000
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// Only those before this one, for the next page
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    before: i64,
}

impl Shelve {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        self.order.run(ask, SuppressionKind::Shelved, self.one_shot).await
    }
}

impl Order {
    /// Takes a machine out of service.
    pub(super) async fn out_of_service(self, ask: &Ask) -> Result<()> {
        self.run(ask, SuppressionKind::OutOfService, false).await
    }

    async fn run(self, ask: &Ask, kind: SuppressionKind, one_shot: bool) -> Result<()> {
        let [site, machine] = labels::names(&self.path)?;
        let request = SuppressMachineRequest {
            site,
            machine,
            kind: kind.as_str().to_owned(),
            for_s: self.lasting.as_secs(),
            one_shot,
            reason: self.reason,
        };
        let mut client = IncidentsServiceClient::new(ask.target.channel()?);
        let answer = client.suppress_machine(request).await;
        let answer = answer
            .map_err(|status| explain("keeping the machine's pages from people", &status))?
            .into_inner();
        let suppression = answer.suppression.context("the answer holds no suppression")?;
        ask.output.item("suppression", view(suppression)?)
    }
}

/// Returns a machine to service.
pub(super) async fn restore(ask: &Ask, path: &str) -> Result<()> {
    let [site, machine] = labels::names(path)?;
    let mut client = IncidentsServiceClient::new(ask.target.channel()?);
    let answer = client.restore_machine(RestoreMachineRequest { site, machine }).await;
    let answer = answer
        .map_err(|status| explain("returning the machine to service", &status))?
        .into_inner();
    let mut view = view(answer.suppression.context("the answer holds no suppression")?)?;
    view["released_page_key"] = given(answer.released_page_key);
    ask.output.item("suppression", view)
}

impl Suppressed {
    pub(super) async fn run(self, ask: &Ask) -> Result<()> {
        let mut client = IncidentsServiceClient::new(ask.target.channel()?);
        if let Some(suppression_id) = self.suppression {
            let answer = client.get_suppression(GetSuppressionRequest { suppression_id }).await;
            let answer = answer
                .map_err(|status| explain("showing what was kept", &status))?
                .into_inner();
            let mut view = view(answer.suppression.context("the answer holds no suppression")?)?;
            view["pages"] = answer.pages.into_iter().map(page_view).collect::<Result<_>>()?;
            return ask.output.item("suppression", view);
        }
        let request = ListSuppressionsRequest {
            site: self.site,
            machine: String::new(),
            in_force_only: !self.all,
            limit: self.limit,
            before_suppression_id: self.before,
        };
        let answer = client.list_suppressions(request).await;
        let answer = answer
            .map_err(|status| explain("listing machines whose pages are kept", &status))?
            .into_inner();
        let views = answer.suppressions.into_iter().map(view).collect::<Result<_>>()?;
        let columns = &[
            "suppression_id",
            "site",
            "machine",
            "kind",
            "from",
            "until",
            "ended_at",
            "by",
            "reason",
            "suppressed_pages",
        ];
        ask.output.list("suppressions", views, columns)
    }
}

fn view(suppression: Suppression) -> Result<Value> {
    Ok(json!({
        "suppression_id": suppression.suppression_id,
        "site": suppression.site,
        "machine": suppression.machine,
        "kind": suppression.kind,
        "from": when(suppression.from)?,
        "until": when(suppression.until)?,
        "one_shot": suppression.one_shot,
        "by": suppression.by,
        "reason": suppression.reason,
        "ended_at": when(suppression.ended_at)?,
        "ended_by": given(suppression.ended_by),
        "suppressed_pages": suppression.suppressed_pages,
    }))
}

fn page_view(page: SuppressedPage) -> Result<Value> {
    Ok(json!({
        "page_key": page.page_key,
        "incident_id": page.incident_id,
        "action": page.action,
        "decided_at": when(page.decided_at)?,
        "released_at": when(page.released_at)?,
        "payload": nested(&page.payload_json),
    }))
}
