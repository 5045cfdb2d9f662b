//! `access.v1`: sign-in, accounts, gateway tokens, and the record of what was done.
//!
//! **Invariant:** nobody hands out more than they have: an administrator of some sites makes accounts and tokens for
//! these sites alone, and sees no others.

mod accounts;
pub mod oidc;
mod password;
mod record;
mod sessions;
mod throttle;
mod tokens;

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tocsin_contracts::access::v1::access_service_server::AccessService;
use tocsin_contracts::access::v1::{
    BeginOidcSignInRequest, BeginOidcSignInResponse, CompleteOidcSignInRequest, CompleteOidcSignInResponse,
    CreateAccountRequest, CreateAccountResponse, CreateTokenRequest, CreateTokenResponse, DisableAccountRequest,
    DisableAccountResponse, ListAccountsRequest, ListAccountsResponse, ListAuditRequest, ListAuditResponse,
    ListSignInMethodsRequest, ListSignInMethodsResponse, ListTokensRequest, ListTokensResponse, RevokeTokenRequest,
    RevokeTokenResponse, SignInRequest, SignInResponse, SignOutRequest, SignOutResponse, VerifyAuditRequest,
    VerifyAuditResponse, WhoAmIRequest, WhoAmIResponse,
};
use tonic::{Request, Response, Status};

use self::oidc::Oidc;
use self::password::Passwords;
use self::throttle::Throttle;
use crate::context::{Context, caller};

/// People who may begin to sign in by the provider from one address at once.
const PEOPLE_AT_AN_ADDRESS: u32 = 10;

/// Settings of sign-in and tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a session lasts, in seconds.
    pub session_s: u64,
    /// How long a token lasts when its maker doesn't say, in seconds.
    pub token_s: u64,
    /// Sign-ins with one name from one address that may fail in a row before further ones have to wait.
    pub failed_sign_ins: u32,
    /// Each so many seconds one failed sign-in is forgotten.
    pub forget_failure_s: u64,
    /// Passwords checked at the same time; each takes about 20 MB and tens of milliseconds of a core.
    pub concurrent_checks: usize,
    /// Addresses of consoles in processes of their own: whom they say they speak for is believed. Of a console that is not
    /// among them all users have one address.
    pub consoles: Vec<IpAddr>,
    /// An identity provider that people can sign in by, beside local accounts.
    pub oidc: Option<oidc::Config>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session_s: 12 * 3600,
            token_s: 365 * 24 * 3600,
            failed_sign_ins: 5,
            forget_failure_s: 30,
            concurrent_checks: 2,
            consoles: Vec::new(),
            oidc: None,
        }
    }
}

/// The service.
#[derive(Debug, Clone)]
pub struct Access {
    context: Context,
    config: Config,
    passwords: Passwords,
    throttle: Arc<Throttle>,
    oidc: Option<Arc<Oidc>>,
    oidc_throttle: Arc<Throttle>,
}

impl Access {
    pub(crate) fn new(config: Config, context: Context) -> Result<Self, oidc::Refusal> {
        let passwords = Passwords::new(config.concurrent_checks);
        let throttle = Arc::new(Throttle::new(&config));
        let oidc = config.oidc.clone().map(Oidc::new).transpose()?.map(Arc::new);
        let oidc_throttle = Arc::new(Throttle::new(&config.for_a_plant()));
        Ok(Self {
            context,
            config,
            passwords,
            throttle,
            oidc,
            oidc_throttle,
        })
    }
}

impl Config {
    /// Who signs in by the provider has no name yet: a plant that comes from one address at the change of shifts counts as one.
    fn for_a_plant(&self) -> Self {
        Self {
            failed_sign_ins: self.failed_sign_ins.saturating_mul(PEOPLE_AT_AN_ADDRESS),
            forget_failure_s: self.forget_failure_s.div_ceil(u64::from(PEOPLE_AT_AN_ADDRESS)),
            ..self.clone()
        }
    }
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        Ok(Response::new(self.begin_session(request).await?))
    }

    async fn list_sign_in_methods(
        &self,
        _: Request<ListSignInMethodsRequest>,
    ) -> Result<Response<ListSignInMethodsResponse>, Status> {
        Ok(Response::new(self.sign_in_methods()))
    }

    async fn begin_oidc_sign_in(
        &self,
        request: Request<BeginOidcSignInRequest>,
    ) -> Result<Response<BeginOidcSignInResponse>, Status> {
        Ok(Response::new(self.begin_oidc(request).await?))
    }

    async fn complete_oidc_sign_in(
        &self,
        request: Request<CompleteOidcSignInRequest>,
    ) -> Result<Response<CompleteOidcSignInResponse>, Status> {
        Ok(Response::new(self.complete_oidc(request).await?))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let principal = caller(&request)?;
        self.end_session(&principal, request.metadata()).await?;
        Ok(Response::new(SignOutResponse {}))
    }

    async fn who_am_i(&self, request: Request<WhoAmIRequest>) -> Result<Response<WhoAmIResponse>, Status> {
        Ok(Response::new(self.who(&caller(&request)?).await?))
    }

    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<CreateAccountResponse>, Status> {
        let principal = caller(&request)?;
        let account = self.make_account(&principal, request.into_inner()).await?;
        Ok(Response::new(CreateAccountResponse { account: Some(account) }))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let accounts = self.accounts_seen_by(&caller(&request)?).await?;
        Ok(Response::new(ListAccountsResponse { accounts }))
    }

    async fn disable_account(
        &self,
        request: Request<DisableAccountRequest>,
    ) -> Result<Response<DisableAccountResponse>, Status> {
        let principal = caller(&request)?;
        let account = self.end_account(&principal, &request.into_inner().name).await?;
        Ok(Response::new(DisableAccountResponse { account: Some(account) }))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let principal = caller(&request)?;
        let (token, secret) = self.make_token(&principal, request.into_inner()).await?;
        Ok(Response::new(CreateTokenResponse {
            token: Some(token),
            secret: secret.expose().to_owned(),
        }))
    }

    async fn list_tokens(&self, request: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        let principal = caller(&request)?;
        let tokens = self.tokens_seen_by(&principal, &request.into_inner().site).await?;
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let principal = caller(&request)?;
        let token = self.end_token(&principal, request.into_inner().token_id).await?;
        Ok(Response::new(RevokeTokenResponse { token: Some(token) }))
    }

    async fn list_audit(&self, request: Request<ListAuditRequest>) -> Result<Response<ListAuditResponse>, Status> {
        let entries = self.record(&caller(&request)?, request.into_inner()).await?;
        Ok(Response::new(ListAuditResponse { entries }))
    }

    async fn verify_audit(
        &self,
        request: Request<VerifyAuditRequest>,
    ) -> Result<Response<VerifyAuditResponse>, Status> {
        let report = self.verify_record(&caller(&request)?, request.into_inner()).await?;
        Ok(Response::new(report))
    }
}
