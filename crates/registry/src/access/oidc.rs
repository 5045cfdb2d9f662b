//! Sign-in by an identity provider: `OpenID` Connect, authorization code with PKCE, state and nonce.
//!
//! The browser is sent to the provider with a state, a nonce and a challenge, and with a secret of its own (the flow). It
//! comes back with a code, which is traded for an ID token whose claims say who the person is and what they may do. From
//! there on the session is like any other.
//!
//! **Invariant:** a flow is taken once, before the provider is asked: neither a code nor a state is of use a second time.
//!
//! **Invariant:** an account belongs to the provider's subject. A name alone never leads to another's account.

mod claims;
mod config;
mod http;
mod provider;
mod refusal;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tocsin_contracts::access::v1::{
    BeginOidcSignInRequest, BeginOidcSignInResponse, CompleteOidcSignInRequest, CompleteOidcSignInResponse,
    ListSignInMethodsResponse, SignInResponse,
};
use tocsin_contracts::time;
use tocsin_domain::access::Person;
use tocsin_domain::{PersonRole, Principal, Scope};
use tocsin_store::access::{Account, NewAuditEntry, NewOidcFlow, OidcIdentity};
use tonic::Request;

use self::claims::Claims;
use self::provider::{OneTime, Provider};
use super::Access;
use super::sessions::client_address;
use crate::Error;
use crate::secret::{self, Secret};

pub use self::config::{Config, Grant};
pub use self::refusal::Refusal;

/// How long a person may take at the provider.
const FLOW: Duration = Duration::from_mins(10);

/// The throttle's name for those who have none yet. No account can be called so.
const ANYBODY: &str = "(oidc)";

/// The provider, and what it makes of people here.
#[derive(Debug, Clone)]
pub(super) struct Oidc {
    config: Config,
    provider: Provider,
}

impl Oidc {
    pub(super) fn new(config: Config) -> Result<Self, Refusal> {
        let provider = Provider::new(&config)?;
        Ok(Self { config, provider })
    }
}

impl Access {
    pub(super) fn sign_in_methods(&self) -> ListSignInMethodsResponse {
        let label = self.oidc.as_ref().map(|oidc| oidc.config.label.clone());
        ListSignInMethodsResponse {
            oidc: label.is_some(),
            oidc_label: label.unwrap_or_default(),
        }
    }

    pub(super) async fn begin_oidc(
        &self,
        request: Request<BeginOidcSignInRequest>,
    ) -> Result<BeginOidcSignInResponse, Error> {
        let oidc = self.oidc()?;
        let from = client_address(&request, &self.config.consoles);
        let now = self.context.now();
        if let Err(retry_after) = self.oidc_throttle.attempt(ANYBODY, from, now) {
            tracing::warn!(?from, "sign-in by the identity provider refused: too many begun");
            return Err(Error::TooManySignIns { retry_after });
        }
        let [flow, state, nonce, verifier] = draw()?;
        let url = oidc
            .provider
            .authorization_url(state.expose(), nonce.expose(), verifier.expose())
            .await?;
        let expires_at = now + FLOW;
        let new = NewOidcFlow {
            flow_hash: flow.hash(),
            state_hash: state.hash(),
            nonce: nonce.expose().to_owned(),
            pkce_verifier: verifier.expose().to_owned(),
            expires_at,
        };
        self.context.store.oidc_flow_begin(&new, now).await?;
        Ok(BeginOidcSignInResponse {
            authorization_url: url.into(),
            flow: flow.expose().to_owned(),
            expires_at: Some(time::to_wire(expires_at)),
        })
    }

    pub(super) async fn complete_oidc(
        &self,
        request: Request<CompleteOidcSignInRequest>,
    ) -> Result<CompleteOidcSignInResponse, Error> {
        let oidc = self.oidc()?;
        let from = client_address(&request, &self.config.consoles);
        let request = request.into_inner();
        let now = self.context.now();
        let flow_hash = secret::hash(&request.flow);
        let flow = self.context.store.oidc_flow_take(&flow_hash, now).await?;
        let flow = flow.ok_or(Refusal::UnknownFlow)?;
        if !bool::from(secret::hash(&request.state).as_slice().ct_eq(&flow.state_hash)) {
            tracing::warn!(
                ?from,
                "sign-in by the identity provider refused: the state is another one's"
            );
            return Err(Refusal::WrongState.into());
        }
        if !request.error.is_empty() {
            return Err(Refusal::ByProvider { error: request.error }.into());
        }
        let one_time = OneTime {
            code: request.code,
            nonce: flow.nonce,
            pkce_verifier: flow.pkce_verifier,
        };
        let claims = oidc.provider.claims(one_time, now).await?;
        let account = self.account_of(oidc, &claims).await?;
        self.oidc_throttle.succeeded(ANYBODY, from);
        let detail = json!({ "issuer": oidc.config.issuer });
        let SignInResponse {
            session,
            expires_at,
            who,
        } = self.session_of(account, detail).await?;
        Ok(CompleteOidcSignInResponse {
            session,
            expires_at,
            who,
        })
    }

    fn oidc(&self) -> Result<&Oidc, Refusal> {
        self.oidc.as_deref().ok_or(Refusal::NotConfigured)
    }

    /// The person's account, with the role and sites that their claims give them now.
    async fn account_of(&self, oidc: &Oidc, claims: &Claims) -> Result<Account, Error> {
        let identity = OidcIdentity {
            issuer: &oidc.config.issuer,
            subject: claims.subject()?,
        };
        let known = self.context.store.account_by_oidc(identity).await?;
        let granted = self.granted(oidc, claims).await;
        let now = self.context.now();
        match (known, granted) {
            (Some(account), _) if account.disabled_at.is_some() => {
                let refusal = Refusal::Disabled {
                    name: account.name.clone(),
                };
                self.context
                    .store
                    .audit_append(&refused(&account, &refusal), now)
                    .await?;
                Err(refusal.into())
            }
            (Some(account), Ok(access)) => self.follow(oidc, account, access).await,
            (Some(account), Err(error)) => {
                if let Error::Oidc(refusal) = &error {
                    // What the person may no longer begin, they may no longer go on with.
                    let audit = |(): &()| refused(&account, refusal);
                    self.context.store.account_end_sessions(account.id, now, audit).await?;
                }
                Err(error)
            }
            (None, granted) => self.first_time(oidc, claims, identity, granted?).await,
        }
    }

    /// What the claims give. Sites that are not there (yet) give nothing.
    async fn granted(&self, oidc: &Oidc, claims: &Claims) -> Result<(PersonRole, Scope), Error> {
        claims.check_domain(&oidc.config.allowed_domains)?;
        let sites = self.context.store.site_list(&Scope::All).await?;
        let sites: BTreeMap<_, _> = sites.into_iter().map(|site| (site.name.to_string(), site.id)).collect();
        for grant in &oidc.config.grants {
            for site in grant.sites.iter().filter(|site| !sites.contains_key(*site)) {
                tracing::warn!(
                    group = grant.group,
                    site,
                    "registry.access.oidc.grants names a site that is not there"
                );
            }
        }
        Ok(claims.access(&oidc.config, &sites)?)
    }

    async fn first_time(
        &self,
        oidc: &Oidc,
        claims: &Claims,
        identity: OidcIdentity<'_>,
        (role, scope): (PersonRole, Scope),
    ) -> Result<Account, Error> {
        let name = claims.name(&oidc.config.name_claim)?;
        // In the audit a person must not pass for the deployment itself.
        let taken = || Refusal::NameTaken { name: name.to_string() };
        if Principal::Service.actor() == name.as_str() {
            return Err(taken().into());
        }
        let detail = self.detail(oidc, role, &scope).await?;
        let made = self
            .context
            .store
            .account_create_by_oidc(identity, name.as_str(), (role, &scope), self.context.now(), |account| {
                NewAuditEntry::new(&account.name, "account.create", &account.name, &detail)
            })
            .await;
        match made {
            Err(tocsin_store::Error::AlreadyExists { .. }) => Err(taken().into()),
            made => Ok(made?),
        }
    }

    async fn follow(
        &self,
        oidc: &Oidc,
        account: Account,
        (role, scope): (PersonRole, Scope),
    ) -> Result<Account, Error> {
        if (account.role, &account.scope) == (role, &scope) {
            return Ok(account);
        }
        let detail = self.detail(oidc, role, &scope).await?;
        let audit = |account: &Account| NewAuditEntry::new(&account.name, "account.change", &account.name, &detail);
        let (store, now) = (&self.context.store, self.context.now());
        Ok(store.account_set_access(account.id, (role, &scope), now, audit).await?)
    }

    /// What the record says of the access that the provider's claims give.
    async fn detail(&self, oidc: &Oidc, role: PersonRole, scope: &Scope) -> Result<Value, Error> {
        let sites = match scope {
            Scope::All => Vec::new(),
            Scope::Sites(_) => self.context.store.site_list(scope).await?,
        };
        let sites: Vec<String> = sites.into_iter().map(|site| site.name.to_string()).collect();
        Ok(json!({
            "role": role.as_str(),
            "all_sites": *scope == Scope::All,
            "sites": sites,
            "issuer": oidc.config.issuer,
        }))
    }
}

/// The record's entry of somebody whom the provider vouches for and who was not let in.
fn refused(account: &Account, refusal: &Refusal) -> NewAuditEntry {
    let detail = json!({ "reason": refusal.to_string() });
    NewAuditEntry::new(&account.name, "session.refuse", &account.name, &detail)
}

/// Whoever has this account.
pub(super) fn person(account: Account) -> Person {
    Person {
        account: account.id,
        name: account.name,
        role: account.role,
        scope: account.scope,
    }
}

/// The secrets of a flow: the browser's, the state, the nonce and the PKCE verifier.
fn draw() -> Result<[Secret; 4], Error> {
    Ok([
        Secret::generate("")?,
        Secret::generate("")?,
        Secret::generate("")?,
        Secret::generate("")?,
    ])
}
