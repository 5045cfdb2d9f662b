//! Gateway tokens: several per site, expiring, revocable.

use std::time::Duration;

use serde_json::json;
use tocsin_contracts::access::v1::{CreateTokenRequest, Token as WireToken};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::access::AutoRegistration;
use tocsin_domain::{PersonRole, Principal, Slug, TokenId};
use tocsin_store::access::{NewAuditEntry, NewToken, Token};

use super::Access;
use crate::Error;
use crate::secret::{Secret, TOKEN_PREFIX};

impl Access {
    pub(super) async fn make_token(
        &self,
        principal: &Principal,
        request: CreateTokenRequest,
    ) -> Result<(WireToken, Secret), Error> {
        principal.require(PersonRole::Admin, "make tokens")?;
        let wire = request.token.ok_or_else(|| Malformed::new("token", "is missing"))?;
        let scope = principal.scope();
        let site = self
            .context
            .store
            .site_by_name(&scope, &Slug::parse("token.site", &wire.site)?)
            .await?;
        let name = Slug::parse("token.name", &wire.name)?;
        let now = self.context.now();
        let expires_at = time::optional("token.expires_at", wire.expires_at)?
            .unwrap_or_else(|| now + Duration::from_secs(self.config.token_s));
        if expires_at <= now {
            return Err(Malformed::new("token.expires_at", format!("{expires_at} has passed")).into());
        }
        let auto_registration = self.auto_registration(&wire).await?;

        let secret = Secret::generate(TOKEN_PREFIX)?;
        let new = NewToken {
            site: site.id,
            name: name.to_string(),
            secret_hash: secret.hash(),
            may_replay: wire.may_replay,
            may_send_historical: wire.may_send_historical,
            auto_registration,
            created_by: principal.actor(),
            expires_at,
        };
        let audit = |token: &Token| {
            let token = to_wire(token.clone());
            let detail = json!({
                "site": token.site,
                "name": token.name,
                "expires_at": expires_at,
                "may_replay": token.may_replay,
                "may_send_historical": token.may_send_historical,
                "auto_register_class": token.auto_register_class,
                "auto_register_spec": token.auto_register_spec,
            });
            NewAuditEntry::new(principal.actor(), "token.create", token.token_id, &detail)
        };
        let token = self.context.store.token_create(&scope, &new, now, audit).await?;
        Ok((to_wire(token), secret))
    }

    async fn auto_registration(&self, wire: &WireToken) -> Result<Option<AutoRegistration>, Error> {
        let (class, spec) = (wire.auto_register_class.as_str(), wire.auto_register_spec.as_str());
        match (class.is_empty(), spec.is_empty()) {
            (true, true) => Ok(None),
            (true, false) => Err(Malformed::new("token.auto_register_class", "is missing beside the spec").into()),
            (false, true) => Err(Malformed::new("token.auto_register_spec", "is missing beside the class").into()),
            (false, false) => {
                let class = Slug::parse("token.auto_register_class", class)?;
                let spec = Slug::parse("token.auto_register_spec", spec)?;
                Ok(Some(AutoRegistration {
                    class: self.context.store.class_by_name(&class).await?.id,
                    spec: self.context.store.spec_by_name(&spec).await?.id,
                }))
            }
        }
    }

    pub(super) async fn tokens_seen_by(&self, principal: &Principal, site: &str) -> Result<Vec<WireToken>, Error> {
        principal.require(PersonRole::Admin, "list tokens")?;
        let scope = principal.scope();
        let site = match site {
            "" => None,
            name => Some(
                self.context
                    .store
                    .site_by_name(&scope, &Slug::parse("site", name)?)
                    .await?
                    .name,
            ),
        };
        let tokens = self.context.store.token_list(&scope, site.as_ref()).await?;
        Ok(tokens.into_iter().map(to_wire).collect())
    }

    pub(super) async fn end_token(&self, principal: &Principal, token: i32) -> Result<WireToken, Error> {
        principal.require(PersonRole::Admin, "revoke tokens")?;
        let audit = |token: &Token| {
            let detail = json!({ "site": token.site, "name": token.name });
            NewAuditEntry::new(principal.actor(), "token.revoke", token.id, &detail)
        };
        let (scope, now) = (principal.scope(), self.context.now());
        let store = &self.context.store;
        Ok(to_wire(store.token_revoke(&scope, TokenId(token), now, audit).await?))
    }
}

fn to_wire(token: Token) -> WireToken {
    let (class, spec) = token.auto_registration.unzip();
    let text = |slug: Option<Slug>| slug.map(String::from).unwrap_or_default();
    WireToken {
        token_id: token.id.0,
        site: token.site.into(),
        name: token.name,
        created_at: Some(time::to_wire(token.created_at)),
        expires_at: Some(time::to_wire(token.expires_at)),
        revoked_at: token.revoked_at.map(time::to_wire),
        created_by: token.created_by,
        may_replay: token.may_replay,
        may_send_historical: token.may_send_historical,
        auto_register_class: text(class),
        auto_register_spec: text(spec),
    }
}
