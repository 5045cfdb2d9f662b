//! Talks to the provider. Nothing is remembered: a provider that comes back, or changes its keys, is heard at once.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::core::{
    CoreClient, CoreClientAuthMethod, CoreIdToken, CoreProviderMetadata, CoreResponseType, CoreTokenResponse,
};
use openidconnect::{
    AuthType, AuthenticationFlow, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointMaybeSet, EndpointNotSet, EndpointSet, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, TokenResponse,
};
use tocsin_domain::Timestamp;
use url::Url;

use super::claims::Claims;
use super::config::setting;
use super::http::{Http, with_causes};
use super::{Config, Refusal};

/// By how much its clock may differ from ours.
const SKEW: Duration = Duration::from_mins(1);
/// The oldest token it may give us fresh.
const OLDEST: Duration = Duration::from_mins(10);

type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// How to reach it, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Provider {
    http: Http,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    redirect_url: RedirectUrl,
    scopes: Vec<Scope>,
}

/// What is good for one trade.
pub(super) struct OneTime {
    /// The provider's code.
    pub(super) code: String,
    /// What the ID token must contain.
    pub(super) nonce: String,
    /// What proves that the code is ours.
    pub(super) pkce_verifier: String,
}

impl Provider {
    pub(super) fn new(config: &Config) -> Result<Self, Refusal> {
        config.check()?;
        let http = Http::new().map_err(|error| setting("issuer", format!("no HTTP client can be made: {error}")))?;
        let secret = config.client_secret_file.as_deref().map(read_secret).transpose()?;
        Ok(Self {
            http,
            issuer: IssuerUrl::new(config.issuer.clone()).map_err(|error| setting("issuer", error.to_string()))?,
            client_id: ClientId::new(config.client_id.clone()),
            client_secret: secret,
            redirect_url: RedirectUrl::new(config.redirect_url()?)
                .map_err(|error| setting("redirect_base_url", error.to_string()))?,
            scopes: config.scopes.iter().cloned().map(Scope::new).collect(),
        })
    }

    /// Where to send the browser.
    pub(super) async fn authorization_url(&self, state: &str, nonce: &str, verifier: &str) -> Result<Url, Refusal> {
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(verifier.to_owned()));
        let client = self.discover().await?;
        let (state, nonce) = (CsrfToken::new(state.to_owned()), Nonce::new(nonce.to_owned()));
        let (url, _, _) = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || state,
                move || nonce,
            )
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(challenge)
            .url();
        Ok(url)
    }

    /// Trades the code for an ID token, and verifies that: its signature, issuer, audience, nonce and times.
    pub(super) async fn claims(&self, one_time: OneTime, now: Timestamp) -> Result<Claims, Refusal> {
        let client = self.discover().await?;
        let token = self.trade(&client, one_time.code, one_time.pkce_verifier).await?;
        let token = token.id_token().ok_or_else(|| untrusted("there is no ID token"))?;
        self.verify(&client, token, &Nonce::new(one_time.nonce), now)?;
        payload(token)
    }

    async fn trade(&self, client: &Client, code: String, verifier: String) -> Result<CoreTokenResponse, Refusal> {
        client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| self.down(error))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&self.http)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(said) => Refusal::Code {
                    reason: said.to_string(),
                },
                RequestTokenError::Request(reason) => self.down(reason),
                RequestTokenError::Parse(reason, _) => untrusted(format!("its answer can't be read: {reason}")),
                RequestTokenError::Other(reason) => untrusted(reason),
            })
    }

    fn verify(&self, client: &Client, token: &CoreIdToken, nonce: &Nonce, now: Timestamp) -> Result<(), Refusal> {
        let (earliest, latest) = (now - OLDEST, now + SKEW);
        let verifier = client
            .id_token_verifier()
            .set_time_fn(move || (now - SKEW).into())
            .set_issue_time_verifier_fn(move |issued| {
                let issued = Timestamp::from_micros(issued.timestamp_micros());
                match () {
                    () if issued > latest => Err(format!("{CLOCK}it was issued at {issued}, and it is {now} here")),
                    () if issued < earliest => Err(format!("{CLOCK}it was issued at {issued}, and it is {now} here")),
                    () => Ok(()),
                }
            });
        let Err(error) = token.claims(&verifier, nonce) else {
            return Ok(());
        };
        let of_now = |reason: String| Refusal::Clock {
            issuer: self.issuer.to_string(),
            reason,
        };
        Err(match error {
            ClaimsVerificationError::Expired(reason) => {
                of_now(format!("it has expired ({reason}), and it is {now} here"))
            }
            ClaimsVerificationError::Other(reason) if reason.starts_with(CLOCK) => {
                of_now(reason[CLOCK.len()..].to_owned())
            }
            error => untrusted(error.to_string()),
        })
    }

    async fn discover(&self) -> Result<Client, Refusal> {
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &self.http)
            .await
            .map_err(|error| self.down(with_causes(&error)))?;
        // Where nothing is said, it is the header (OpenID Connect Discovery 1.0, section 3).
        let by_header = metadata
            .token_endpoint_auth_methods_supported()
            .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let auth = if by_header {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        };
        Ok(
            CoreClient::from_provider_metadata(metadata, self.client_id.clone(), self.client_secret.clone())
                .set_redirect_uri(self.redirect_url.clone())
                .set_auth_type(auth),
        )
    }

    fn down(&self, reason: impl Display) -> Refusal {
        Refusal::Down {
            issuer: self.issuer.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// Marks what is wrong with a token's time among other things that are wrong with it.
const CLOCK: &str = "clock: ";

fn untrusted(reason: impl Into<String>) -> Refusal {
    Refusal::Token { reason: reason.into() }
}

/// All claims of a token, which has been verified: the second part of a JWS is what was signed (RFC 7515).
fn payload(token: &CoreIdToken) -> Result<Claims, Refusal> {
    let text = token.to_string();
    let claims = text
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    claims.map(Claims).ok_or_else(|| untrusted("its claims can't be read"))
}

fn read_secret(path: &Path) -> Result<ClientSecret, Refusal> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| setting("client_secret_file", format!("{}: {error}", path.display())))?;
    match text.trim() {
        "" => Err(setting("client_secret_file", format!("{} is empty", path.display()))),
        secret => Ok(ClientSecret::new(secret.to_owned())),
    }
}
