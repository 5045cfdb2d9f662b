//! The gateway a replay speaks as, and the assets it may have to make first.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use prost_types::Timestamp as WireTimestamp;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{CreateTokenRequest, RevokeTokenRequest, Token};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::fleet::v1::{CreateSensorRequest, CreateSiteRequest, CreateSpecRequest, Sensor, Site, Spec};
use tocsin_contracts::time;
use tocsin_corpus::{Row, SensorName};
use tocsin_domain::{Clock, Slug, SpectrumSpec};
use tocsin_transport::{Channel, auth};
use tonic::{Code, Status};

use crate::client::{Target, explain};
use crate::command::cadence;

/// How long a token made for a replay holds, if nothing revokes it.
const TOKEN_LIFE: std::time::Duration = std::time::Duration::from_hours(24);

/// A channel with a gateway's token.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) channel: Channel,
    /// Made for this replay: revoked at the end with the operator's channel.
    made: Option<(Channel, i32)>,
}

/// The token given, or one made for the site.
pub(super) async fn open(operator: &Channel, target: &Target, site: &Slug, historical: bool) -> Result<Gateway> {
    if target.token_file.is_some() || std::env::var_os("TOCSIN_TOKEN").is_some_and(|token| !token.is_empty()) {
        return Ok(Gateway {
            channel: operator.clone(),
            made: None,
        });
    }
    let token = Token {
        site: site.to_string(),
        name: "replay".to_owned(),
        may_replay: true,
        may_send_historical: historical,
        expires_at: Some(expiry()),
        ..Token::default()
    };
    let made = AccessServiceClient::new(operator.clone())
        .create_token(CreateTokenRequest { token: Some(token) })
        .await;
    let made = made
        .map_err(|status| explain("making a gateway token", &status))?
        .into_inner();
    let secret = auth::Token::parse(&made.secret).context("the token that was made")?;
    let token_id = made.token.context("the answer holds no token")?.token_id;
    let channel = target.anonymous()?.with_token(&secret);
    Ok(Gateway {
        channel,
        made: Some((operator.clone(), token_id)),
    })
}

fn expiry() -> WireTimestamp {
    time::to_wire(Clock::system().now() + TOKEN_LIFE)
}

impl Gateway {
    /// Revokes a token that was made for the replay.
    pub(super) async fn close(self) -> Result<()> {
        if let Some((operator, token_id)) = self.made {
            let revoked = AccessServiceClient::new(operator)
                .revoke_token(RevokeTokenRequest { token_id })
                .await;
            revoked.map_err(|status| explain("revoking the replay's token", &status))?;
        }
        Ok(())
    }
}

/// Makes what doesn't exist yet: the site, the class, the specification, the sensors.
pub(super) async fn register(
    channel: &Channel,
    site: &Slug,
    class: &str,
    spec: &SpectrumSpec,
    rows: &[Row],
) -> Result<()> {
    let mut fleet = FleetServiceClient::new(channel.clone());
    let new_site = Site {
        name: site.to_string(),
        title: site.to_string(),
        time_zone: "UTC".to_owned(),
        ..Site::default()
    };
    made(
        fleet.create_site(CreateSiteRequest { site: Some(new_site) }).await,
        "making the site",
    )?;
    cadence::prepare(channel, class, cadence::of_rows(rows)).await?;
    let spec_name = format!("{class}-{}-bins", spec.bins);
    let definition_json = serde_json::to_string(spec).context("the specification")?;
    let new_spec = Spec {
        name: spec_name.clone(),
        definition_json,
    };
    made(
        fleet.create_spec(CreateSpecRequest { spec: Some(new_spec) }).await,
        "making the specification",
    )?;
    let names: BTreeSet<&SensorName> = rows.iter().map(|row| &row.sensor).collect();
    for name in names {
        let sensor = Sensor {
            site: name.site.to_string(),
            machine: name.machine.to_string(),
            sensor: name.sensor.to_string(),
            class: class.to_owned(),
            spec: spec_name.clone(),
            ..Sensor::default()
        };
        made(
            fleet.create_sensor(CreateSensorRequest { sensor: Some(sensor) }).await,
            "making a sensor",
        )?;
    }
    Ok(())
}

/// What exists already is as good as made.
fn made<T>(answer: Result<T, Status>, doing: &str) -> Result<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(explain(doing, &status)),
    }
}
