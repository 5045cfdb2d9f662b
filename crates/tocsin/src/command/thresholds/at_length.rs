//! Work on a class's whole history: as long as it takes, with a bar.

use anyhow::{Context, Result};
use tocsin_contracts::recalibrator::v1::run_with_progress_request::Work;
use tocsin_contracts::recalibrator::v1::run_with_progress_response::Said;
use tocsin_contracts::recalibrator::v1::{Progress, RunWithProgressRequest, ThresholdSet, WhatIfResponse};

use super::Client;
use crate::client::explain;
use crate::command::corpora::bar;

/// The set that proposing or testing answers with.
pub(super) async fn threshold_set(client: &mut Client, doing: &str, work: Work) -> Result<ThresholdSet> {
    match run(client, doing, work).await? {
        Said::ThresholdSet(set) => Ok(*set),
        other => anyhow::bail!("{doing}: the answer holds no threshold set: {other:?}"),
    }
}

/// What limits would have done.
pub(super) async fn what_if(client: &mut Client, doing: &str, work: Work) -> Result<WhatIfResponse> {
    match run(client, doing, work).await? {
        Said::WhatIf(answer) => Ok(*answer),
        other => anyhow::bail!("{doing}: the answer holds no replay: {other:?}"),
    }
}

async fn run(client: &mut Client, doing: &str, work: Work) -> Result<Said> {
    let answer = client
        .run_with_progress(RunWithProgressRequest { work: Some(work) })
        .await;
    let mut answers = answer.map_err(|status| explain(doing, &status))?.into_inner();
    let bar = bar(0, "{pos} of {len} machines read, {elapsed}");
    loop {
        let message = answers.message().await.map_err(|status| explain(doing, &status))?;
        let message = message.with_context(|| format!("{doing}: the server stopped before it was done; try again"))?;
        match message
            .said
            .with_context(|| format!("{doing}: the answer says nothing"))?
        {
            Said::Progress(Progress {
                machines_read,
                machines,
            }) => {
                bar.set_length(machines);
                bar.set_position(machines_read);
            }
            done => {
                bar.finish_and_clear();
                return Ok(done);
            }
        }
    }
}
