//! `tocsin health`: whether a process serves, for container runtimes and scripts. Needs no credential.

use anyhow::{Context, Result, bail};
use clap::Args;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::{Target, explain};

#[derive(Debug, Args)]
pub(super) struct Health {
    /// Full name of one service, such as tocsin.scorer.v1.ScorerService [default: the whole process]
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
    #[command(flatten)]
    target: Target,
}

impl Health {
    pub(super) async fn run(self) -> Result<()> {
        let mut client = HealthClient::new(self.target.anonymous()?);
        let answer = client.check(HealthCheckRequest { service: self.service }).await;
        let answer = answer
            .map_err(|status| explain("the health check", &status))?
            .into_inner();
        match ServingStatus::try_from(answer.status).context("the answer")? {
            ServingStatus::Serving => {
                println!("serving");
                Ok(())
            }
            other => bail!("{} says {}", self.target.url()?, other.as_str_name().to_lowercase()),
        }
    }
}
