//! Signing in and out, and who one is.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tocsin_contracts::access::v1::{SignInRequest, SignInResponse, WhoAmIResponse};
use tocsin_contracts::time;
use tocsin_domain::access::Forbidden;
use tocsin_domain::{Principal, Scope, Slug};
use tocsin_store::access::{Account, NewAuditEntry, NewSession};
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::Access;
use super::oidc::person;
use crate::Error;
use crate::secret::{self, SESSION_PREFIX, Secret};

/// What a console names its client's address in.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl Access {
    pub(super) async fn begin_session(&self, request: Request<SignInRequest>) -> Result<SignInResponse, Error> {
        let from = client_address(&request, &self.config.consoles);
        let request = request.into_inner();
        let name = Slug::parse("name", &request.name)?;
        let now = self.context.now();
        if let Err(retry_after) = self.throttle.attempt(name.as_str(), from, now) {
            tracing::warn!(%name, ?from, "sign-in refused: too many failed ones");
            return Err(Error::TooManySignIns { retry_after });
        }
        let (account, stored) = self.context.store.account_by_name(name.as_str()).await?.unzip();
        let matches = self.passwords.matches(request.password, stored.flatten()).await?;
        let Some(account) = account.filter(|account| matches && account.disabled_at.is_none()) else {
            tracing::warn!(%name, ?from, "sign-in failed");
            return Err(Error::WrongNameOrPassword);
        };
        self.throttle.succeeded(name.as_str(), from);

        self.session_of(account, json!({})).await
    }

    /// Begins a session of somebody who has proven to be `account`; `detail` says in the record how.
    pub(super) async fn session_of(&self, account: Account, detail: Value) -> Result<SignInResponse, Error> {
        let now = self.context.now();
        let session = Secret::generate(SESSION_PREFIX)?;
        let expires_at = now + Duration::from_secs(self.config.session_s);
        let new = NewSession {
            secret_hash: session.hash(),
            account: account.id,
            expires_at,
        };
        let principal = Principal::Person(person(account));
        let audit = |(): &()| NewAuditEntry::new(principal.actor(), "session.begin", principal.actor(), &detail);
        self.context.store.session_create(&new, now, audit).await?;
        Ok(SignInResponse {
            session: session.expose().to_owned(),
            expires_at: Some(time::to_wire(expires_at)),
            who: Some(self.who(&principal).await?),
        })
    }

    /// The session to end is the one the call was made with.
    pub(super) async fn end_session(&self, principal: &Principal, metadata: &MetadataMap) -> Result<(), Error> {
        let Principal::Person(person) = principal else {
            return Err(Forbidden {
                actor: principal.actor(),
                action: "sign out: only people have sessions".to_owned(),
            }
            .into());
        };
        let bearer = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let (_, session) = bearer
            .and_then(|value| value.split_once(' '))
            .ok_or(Error::NoPrincipal)?;
        let audit = |(): &()| NewAuditEntry::new(principal.actor(), "session.end", &person.name, &json!({}));
        let (hash, now) = (secret::hash(session.trim()), self.context.now());
        Ok(self.context.store.session_end(&hash, now, audit).await?)
    }

    pub(super) async fn who(&self, principal: &Principal) -> Result<WhoAmIResponse, Error> {
        let (kind, name, role) = match principal {
            Principal::Gateway(gateway) => ("gateway", gateway.name.clone(), ""),
            Principal::Service => ("service", principal.actor(), ""),
            Principal::Person(person) => ("person", person.name.clone(), person.role.as_str()),
        };
        let scope = principal.scope();
        let all_sites = scope == Scope::All;
        let sites = if all_sites {
            Vec::new()
        } else {
            self.context.store.site_list(&scope).await?
        };
        Ok(WhoAmIResponse {
            kind: kind.to_owned(),
            name,
            role: role.to_owned(),
            all_sites,
            sites: sites.into_iter().map(|site| site.name.to_string()).collect(),
        })
    }
}

/// Where a sign-in comes from. A console says for whom it speaks; anybody else could say what they like.
pub(super) fn client_address<T>(request: &Request<T>, consoles: &[IpAddr]) -> Option<IpAddr> {
    let peer = request.remote_addr().map(|peer| peer.ip().to_canonical());
    // Without a peer the call comes from within this process.
    if peer.is_some_and(|peer| !consoles.contains(&peer)) {
        return peer;
    }
    let said = request.metadata().get(FORWARDED_FOR);
    said.and_then(|value| value.to_str().ok()?.parse().ok()).or(peer)
}

#[cfg(test)]
mod tests {
    use tonic::transport::server::TcpConnectInfo;

    use super::*;

    #[test]
    fn a_console_is_believed_whom_it_speaks_for_and_nobody_else_is() {
        let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let from = |peer: Option<&str>| {
            let mut request = Request::new(());
            request
                .metadata_mut()
                .insert(FORWARDED_FOR, "198.51.100.7".parse().unwrap());
            if let Some(peer) = peer {
                request.extensions_mut().insert(TcpConnectInfo {
                    local_addr: None,
                    remote_addr: Some(format!("{peer}:4000").parse().unwrap()),
                });
            }
            client_address(&request, &["192.0.2.1".parse().unwrap()])
        };
        assert_eq!(from(None), address("198.51.100.7"));
        assert_eq!(from(Some("192.0.2.1")), address("198.51.100.7"));
        assert_eq!(from(Some("[::ffff:192.0.2.1]")), address("198.51.100.7"));
        assert_eq!(from(Some("192.0.2.2")), address("192.0.2.2"));
    }
}
