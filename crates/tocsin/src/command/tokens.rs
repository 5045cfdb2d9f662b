//! `tocsin tokens`: what gateways come in with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{CreateTokenRequest, ListTokensRequest, RevokeTokenRequest, Token};
use tocsin_contracts::time;
use tocsin_domain::Clock;

use super::{Ask, duration, given, when};
use crate::client::explain;
use crate::credential::write_secret;

#[derive(Debug, Args)]
pub(super) struct Tokens {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a token; its secret is shown this once
    Create(Create),
    /// List a site's tokens
    List {
        /// The site
        #[arg(long)]
        site: String,
    },
    /// Revoke a token; streams that use it end within seconds
    Revoke {
        /// The token's number
        token_id: i32,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The site whose readings it may send
    #[arg(long)]
    site: String,
    /// The token's name: the gateway that gets it
    #[arg(long, default_value = "gateway")]
    name: String,
    /// May declare that a stream's clock is the capture time
    #[arg(long)]
    may_replay: bool,
    /// May send history that never pages
    #[arg(long)]
    may_send_historical: bool,
    /// Class that unknown machines are registered under
    #[arg(long, value_name = "CLASS", requires = "auto_register_spec")]
    auto_register_class: Option<String>,
    /// Specification that unknown sensors are registered under
    #[arg(long, value_name = "SPEC", requires = "auto_register_class")]
    auto_register_spec: Option<String>,
    /// When it expires, such as 12h or 30d [default: in a year]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    expires_in: Option<Duration>,
    /// Write the secret to this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

const COLUMNS: &[&str] = &[
    "token_id",
    "site",
    "name",
    "expires_at",
    "revoked_at",
    "may_replay",
    "may_send_historical",
    "auto_register_class",
];

impl Tokens {
    pub(super) async fn run(self) -> Result<()> {
        let mut client = AccessServiceClient::new(self.ask.target.channel()?);
        match self.what {
            What::Create(create) => {
                let secret_file = create.secret_file.clone();
                let answer = client.create_token(create.request()).await;
                let answer = answer
                    .map_err(|status| explain("making the token", &status))?
                    .into_inner();
                let mut view = view(answer.token.unwrap_or_default())?;
                match secret_file {
                    Some(path) => {
                        write_secret(&path, &answer.secret).with_context(|| format!("writing {}", path.display()))?;
                        view["secret_file"] = path.display().to_string().into();
                    }
                    None => view["secret"] = answer.secret.into(),
                }
                self.ask.output.item("token", view)
            }
            What::List { site } => {
                let answer = client.list_tokens(ListTokensRequest { site }).await;
                let tokens = answer
                    .map_err(|status| explain("listing tokens", &status))?
                    .into_inner()
                    .tokens;
                let views = tokens.into_iter().map(view).collect::<Result<_>>()?;
                self.ask.output.list("tokens", views, COLUMNS)
            }
            What::Revoke { token_id } => {
                let answer = client.revoke_token(RevokeTokenRequest { token_id }).await;
                let answer = answer
                    .map_err(|status| explain("revoking the token", &status))?
                    .into_inner();
                self.ask.output.item("token", view(answer.token.unwrap_or_default())?)
            }
        }
    }
}

impl Create {
    fn request(self) -> CreateTokenRequest {
        let expires_at = self
            .expires_in
            .map(|length| time::to_wire(Clock::system().now() + length));
        CreateTokenRequest {
            token: Some(Token {
                site: self.site,
                name: self.name,
                expires_at,
                may_replay: self.may_replay,
                may_send_historical: self.may_send_historical,
                auto_register_class: self.auto_register_class.unwrap_or_default(),
                auto_register_spec: self.auto_register_spec.unwrap_or_default(),
                ..Token::default()
            }),
        }
    }
}

fn view(token: Token) -> Result<Value> {
    Ok(json!({
        "token_id": token.token_id,
        "site": token.site,
        "name": token.name,
        "created_at": when(token.created_at)?,
        "created_by": token.created_by,
        "expires_at": when(token.expires_at)?,
        "revoked_at": when(token.revoked_at)?,
        "may_replay": token.may_replay,
        "may_send_historical": token.may_send_historical,
        "auto_register_class": given(token.auto_register_class),
        "auto_register_spec": given(token.auto_register_spec),
    }))
}
