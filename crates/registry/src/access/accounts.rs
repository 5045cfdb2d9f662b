//! People's accounts.

use std::collections::{BTreeSet, HashMap};

use serde_json::json;
use tocsin_contracts::access::v1::{Account as WireAccount, CreateAccountRequest};
use tocsin_contracts::{Malformed, time};
use tocsin_domain::{PersonRole, Principal, Scope, SiteId, Slug};
use tocsin_store::access::{Account, NewAccount, NewAuditEntry};

use super::Access;
use crate::Error;

impl Access {
    pub(super) async fn make_account(
        &self,
        principal: &Principal,
        request: CreateAccountRequest,
    ) -> Result<WireAccount, Error> {
        principal.require(PersonRole::Admin, "make accounts")?;
        let wire = request.account.ok_or_else(|| Malformed::new("account", "is missing"))?;
        let name = Slug::parse("account.name", &wire.name)?;
        // In the audit a person must not pass for the deployment itself.
        if Principal::Service.actor() == name.as_str() {
            return Err(Malformed::new("account.name", "is the name of Tocsin's own roles").into());
        }
        let role = PersonRole::parse(&wire.role).map_err(|e| Malformed::from(e).within("account"))?;
        let scope = self.scope_of(principal, &wire).await?;
        let password_hash = self.passwords.hash(request.password).await?;

        let new = NewAccount {
            name: name.to_string(),
            password_hash,
            role,
            scope,
        };
        let audit = |_: &Account| {
            let detail = json!({ "role": wire.role, "all_sites": wire.all_sites, "sites": wire.sites });
            NewAuditEntry::new(principal.actor(), "account.create", &name, &detail)
        };
        let store = &self.context.store;
        let account = store.account_create(&new, self.context.now(), audit).await?;
        Ok(self.to_wire(vec![account]).await?.remove(0))
    }

    /// The sites a new account is to see, none beyond those of its maker.
    async fn scope_of(&self, principal: &Principal, wire: &WireAccount) -> Result<Scope, Error> {
        let own = principal.scope();
        if wire.all_sites {
            if !wire.sites.is_empty() {
                return Err(Malformed::new("account.sites", "must be empty with all_sites").into());
            }
            principal.require_everywhere(PersonRole::Admin, "make an account for every site")?;
            return Ok(Scope::All);
        }
        if wire.sites.is_empty() {
            return Err(Malformed::new("account.sites", "name at least one, or set all_sites").into());
        }
        let mut sites = BTreeSet::new();
        for (index, site) in wire.sites.iter().enumerate() {
            let site = Slug::parse(&format!("account.sites[{index}]"), site)?;
            sites.insert(self.context.store.site_by_name(&own, &site).await?.id);
        }
        Ok(Scope::Sites(sites))
    }

    pub(super) async fn accounts_seen_by(&self, principal: &Principal) -> Result<Vec<WireAccount>, Error> {
        principal.require(PersonRole::Admin, "list accounts")?;
        let own = principal.scope();
        let mut accounts = self.context.store.account_list().await?;
        accounts.retain(|account| covers(&own, &account.scope));
        self.to_wire(accounts).await
    }

    pub(super) async fn end_account(&self, principal: &Principal, name: &str) -> Result<WireAccount, Error> {
        principal.require(PersonRole::Admin, "disable accounts")?;
        let name = Slug::parse("name", name)?;
        if principal.actor() == name.as_str() {
            return Err(Error::precondition(
                "an account can't disable itself; ask another administrator",
            ));
        }
        let found = self.context.store.account_by_name(name.as_str()).await?;
        if !found.is_some_and(|(account, _)| covers(&principal.scope(), &account.scope)) {
            return Err(tocsin_store::Error::NotFound {
                what: format!("account {name}"),
            }
            .into());
        }
        let audit = |_: &Account| NewAuditEntry::new(principal.actor(), "account.disable", &name, &json!({}));
        let account = self
            .context
            .store
            .account_disable(name.as_str(), self.context.now(), audit)
            .await?;
        Ok(self.to_wire(vec![account]).await?.remove(0))
    }

    pub(super) async fn to_wire(&self, accounts: Vec<Account>) -> Result<Vec<WireAccount>, Error> {
        let sites = self.context.store.site_list(&Scope::All).await?;
        let names: HashMap<SiteId, String> = sites.into_iter().map(|site| (site.id, site.name.to_string())).collect();
        let accounts = accounts.into_iter().map(|account| WireAccount {
            name: account.name,
            role: account.role.as_str().to_owned(),
            all_sites: account.scope == Scope::All,
            sites: match &account.scope {
                Scope::All => Vec::new(),
                Scope::Sites(sites) => sites.iter().filter_map(|site| names.get(site).cloned()).collect(),
            },
            disabled: account.disabled_at.is_some(),
            created_at: Some(time::to_wire(account.created_at)),
            issuer: account.issuer.unwrap_or_default(),
        });
        Ok(accounts.collect())
    }
}

/// Whether everything in `inner` is also in `outer`.
fn covers(outer: &Scope, inner: &Scope) -> bool {
    match (outer, inner) {
        (Scope::All, _) => true,
        (Scope::Sites(_), Scope::All) => false,
        (Scope::Sites(outer), Scope::Sites(inner)) => inner.is_subset(outer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_covers_what_lies_within_it() {
        let some = |sites: &[i32]| Scope::Sites(sites.iter().copied().map(SiteId).collect());
        assert!(covers(&Scope::All, &Scope::All) && covers(&Scope::All, &some(&[1])));
        assert!(covers(&some(&[1, 2]), &some(&[2])) && covers(&some(&[1]), &some(&[1])));
        assert!(!covers(&some(&[1, 2]), &Scope::All) && !covers(&some(&[1]), &some(&[1, 2])));
    }
}
