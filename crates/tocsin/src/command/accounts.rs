//! `tocsin accounts`: people who sign in to the console.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{
    Account, CreateAccountRequest, DisableAccountRequest, ListAccountsRequest, SignInRequest,
};

use super::{Ask, when};
use crate::client::explain;
use crate::credential::{random_secret, write_secret};

#[derive(Debug, Args)]
pub(super) struct Accounts {
    #[command(flatten)]
    ask: Ask,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make an account; a generated password is shown this once
    Create(Create),
    /// Begin a session by name and password, and write it to a file that `--token-file` takes: what is done with it is done in
    /// your own name
    SignIn {
        /// The account's name
        name: String,
        /// File with the password
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// The file to make
        #[arg(long, value_name = "FILE")]
        session_file: PathBuf,
    },
    /// List accounts
    List,
    /// Disable an account and end its sessions
    Disable {
        /// The account's name
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("sees").required(true).args(["sites", "all_sites"]))]
struct Create {
    /// The name to sign in with
    name: String,
    /// What they may do
    #[arg(long, value_parser = ["viewer", "operator", "engineer", "admin"])]
    role: String,
    /// A site they see; may be given several times
    #[arg(long = "site", value_name = "SITE")]
    sites: Vec<String>,
    /// They see every site
    #[arg(long)]
    all_sites: bool,
    /// File with the password [default: one is generated]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Accounts {
    pub(super) async fn run(self) -> Result<()> {
        let client = || -> Result<_> { Ok(AccessServiceClient::new(self.ask.target.channel()?)) };
        match self.what {
            What::SignIn {
                name,
                password_file,
                session_file,
            } => sign_in(&self.ask, name, &password_file, &session_file).await,
            What::Create(create) => {
                let (password, generated) = match &create.password_file {
                    Some(path) => (read_password(path)?, false),
                    None => (random_secret("")?, true),
                };
                let account = Account {
                    name: create.name,
                    role: create.role,
                    all_sites: create.all_sites,
                    sites: create.sites,
                    ..Account::default()
                };
                let request = CreateAccountRequest {
                    account: Some(account),
                    password: password.clone(),
                };
                let answer = client()?.create_account(request).await;
                let answer = answer
                    .map_err(|status| explain("making the account", &status))?
                    .into_inner();
                let mut view = view(answer.account.unwrap_or_default())?;
                if generated {
                    view["password"] = password.into();
                }
                self.ask.output.item("account", view)
            }
            What::List => {
                let answer = client()?.list_accounts(ListAccountsRequest {}).await;
                let accounts = answer
                    .map_err(|status| explain("listing accounts", &status))?
                    .into_inner()
                    .accounts;
                let views = accounts.into_iter().map(view).collect::<Result<_>>()?;
                self.ask.output.list(
                    "accounts",
                    views,
                    &[
                        "name",
                        "role",
                        "all_sites",
                        "sites",
                        "disabled",
                        "sign_in",
                        "created_at",
                    ],
                )
            }
            What::Disable { name } => {
                let answer = client()?.disable_account(DisableAccountRequest { name }).await;
                let answer = answer
                    .map_err(|status| explain("disabling the account", &status))?
                    .into_inner();
                self.ask
                    .output
                    .item("account", view(answer.account.unwrap_or_default())?)
            }
        }
    }
}

/// Trades a name and a password for a session, which goes into a file that its owner alone reads.
async fn sign_in(ask: &Ask, name: String, password_file: &Path, session_file: &Path) -> Result<()> {
    let request = SignInRequest {
        name,
        password: read_password(password_file)?,
    };
    // Nobody's call: whoever has a password needs no other credential.
    let answer = AccessServiceClient::new(ask.target.anonymous()?).sign_in(request).await;
    let answer = answer.map_err(|status| explain("signing in", &status))?.into_inner();
    write_secret(session_file, &answer.session).with_context(|| format!("writing {}", session_file.display()))?;
    let who = answer.who.unwrap_or_default();
    let said = json!({
        "name": who.name, "role": who.role, "session_file": session_file.display().to_string(),
        "expires_at": when(answer.expires_at)?,
    });
    ask.output.item("session", said)
}

fn read_password(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the password {}", path.display()))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn view(account: Account) -> Result<Value> {
    Ok(json!({
        "name": account.name,
        "role": account.role,
        "all_sites": account.all_sites,
        "sites": account.sites,
        "disabled": account.disabled,
        "created_at": when(account.created_at)?,
        "sign_in": if account.issuer.is_empty() { "password".to_owned() } else { account.issuer },
    }))
}
