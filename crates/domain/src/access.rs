//! Who asks, and what they may see.
//!
//! **Invariant:** the actor and the site of every call come from the [`Principal`], never from the payload, and every
//! store call on site data takes a [`Scope`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{AccountId, ClassId, Invalid, SiteId, SpecId, TokenId};

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonRole {
    /// Looks.
    Viewer,
    /// Looks and acknowledges.
    Operator,
    /// Also handles models and alarm limits.
    Engineer,
    /// Also handles sites, accounts and tokens.
    Admin,
}

impl PersonRole {
    /// The name in rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Engineer => "engineer",
            Self::Admin => "admin",
        }
    }

    /// Reads the name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            "engineer" => Ok(Self::Engineer),
            "admin" => Ok(Self::Admin),
            _ => Err(Invalid::new(
                "role",
                format!("{text:?} is not one of viewer, operator, engineer, admin"),
            )),
        }
    }
}

/// What unknown sensors of a gateway are registered under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AutoRegistration {
    /// The class of machines it may add.
    pub class: ClassId,
    /// The spec their sensors have.
    pub spec: SpecId,
}

/// A site's gateway and what its token grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// The site its readings belong to.
    pub site: SiteId,
    /// The token it came with.
    pub token: TokenId,
    /// The token's name.
    pub name: String,
    /// May declare that a stream's clock is the capture time.
    pub may_replay: bool,
    /// May send history that never pages.
    pub may_send_historical: bool,
    /// May add sensors it is the first to name.
    pub auto_registration: Option<AutoRegistration>,
}

/// A signed-in person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub account: AccountId,
    /// The account's name: the actor in journals and audits.
    pub name: String,
    /// What they may do.
    pub role: PersonRole,
    /// The sites they see.
    pub scope: Scope,
}

/// Whoever makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A site's gateway.
    Gateway(Gateway),
    /// One of Tocsin's own roles, by the deployment's service credential.
    Service,
    /// A person.
    Person(Person),
}

/// A call that its principal may not make.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{actor} may not {action}")]
pub struct Forbidden {
    /// Who asked.
    pub actor: String,
    /// What for.
    pub action: String,
}

impl Principal {
    /// The name in journals, audits and errors.
    pub fn actor(&self) -> String {
        match self {
            Self::Gateway(gateway) => format!("gateway:{}", gateway.name),
            Self::Service => "service".to_owned(),
            Self::Person(person) => person.name.clone(),
        }
    }

    /// The sites this principal sees.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Gateway(gateway) => Scope::site(gateway.site),
            Self::Service => Scope::All,
            Self::Person(person) => person.scope.clone(),
        }
    }

    /// The gateway, for calls that only one may make.
    pub fn as_gateway(&self, action: &'static str) -> Result<&Gateway, Forbidden> {
        match self {
            Self::Gateway(gateway) => Ok(gateway),
            _ => Err(self.forbidden(action)),
        }
    }

    /// Passes for Tocsin's own roles.
    pub fn require_service(&self, action: &'static str) -> Result<(), Forbidden> {
        match self {
            Self::Service => Ok(()),
            _ => Err(self.forbidden(action)),
        }
    }

    /// Passes for Tocsin's own roles and for people with at least `role`.
    pub fn require(&self, role: PersonRole, action: &'static str) -> Result<(), Forbidden> {
        match self {
            Self::Service => Ok(()),
            Self::Person(person) if person.role >= role => Ok(()),
            _ => Err(self.forbidden(action)),
        }
    }

    /// As [`Self::require`], for what holds for every site: people have to see them all.
    pub fn require_everywhere(&self, role: PersonRole, action: &'static str) -> Result<(), Forbidden> {
        self.require(role, action)?;
        match self.scope() {
            Scope::All => Ok(()),
            Scope::Sites(_) => Err(self.forbidden(format!(
                "{action}: that holds for every site, and {} sees some sites only",
                self.actor()
            ))),
        }
    }

    fn forbidden(&self, action: impl Into<String>) -> Forbidden {
        Forbidden {
            actor: self.actor(),
            action: action.into(),
        }
    }
}

/// The sites a call may touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every site.
    All,
    /// These sites.
    Sites(BTreeSet<SiteId>),
}

impl Scope {
    /// One site.
    pub fn site(site: SiteId) -> Self {
        Self::Sites(BTreeSet::from([site]))
    }

    /// Whether `site` is within it.
    pub fn contains(&self, site: SiteId) -> bool {
        match self {
            Self::All => true,
            Self::Sites(sites) => sites.contains(&site),
        }
    }

    /// For SQL of the form `($1::int4[] is null or site_id = any($1))`.
    pub fn to_filter(&self) -> Option<Vec<i32>> {
        match self {
            Self::All => None,
            Self::Sites(sites) => Some(sites.iter().map(|site| site.0).collect()),
        }
    }

    /// Reads what [`Self::to_filter`] wrote.
    pub fn from_filter(sites: Option<Vec<i32>>) -> Self {
        sites.map_or(Self::All, |sites| Self::Sites(sites.into_iter().map(SiteId).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(role: PersonRole) -> Principal {
        Principal::Person(Person {
            account: AccountId(1),
            name: "ana".into(),
            role,
            scope: Scope::site(SiteId(2)),
        })
    }

    #[test]
    fn a_role_allows_what_lies_below_it_and_nothing_above() {
        assert!(
            person(PersonRole::Engineer)
                .require(PersonRole::Operator, "acknowledge")
                .is_ok()
        );
        let refused = person(PersonRole::Viewer)
            .require(PersonRole::Operator, "acknowledge")
            .unwrap_err();
        assert_eq!(refused.to_string(), "ana may not acknowledge");
        assert!(person(PersonRole::Admin).require_service("assess").is_err());
        assert!(person(PersonRole::Admin).as_gateway("publish").is_err());
    }

    #[test]
    fn what_holds_for_every_site_is_for_those_who_see_them_all() {
        let refused = person(PersonRole::Engineer)
            .require_everywhere(PersonRole::Engineer, "promote bundles")
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "ana may not promote bundles: that holds for every site, and ana sees some sites only"
        );
        let everywhere = |role| {
            Principal::Person(Person {
                account: AccountId(1),
                name: "ana".into(),
                role,
                scope: Scope::All,
            })
            .require_everywhere(PersonRole::Engineer, "promote bundles")
        };
        assert!(everywhere(PersonRole::Engineer).is_ok() && everywhere(PersonRole::Operator).is_err());
        assert!(
            Principal::Service
                .require_everywhere(PersonRole::Admin, "make sites")
                .is_ok()
        );
    }

    #[test]
    fn a_scope_holds_its_sites_alone() {
        let scope = person(PersonRole::Viewer).scope();
        assert!(scope.contains(SiteId(2)) && !scope.contains(SiteId(3)));
        assert_eq!(Scope::from_filter(scope.to_filter()), scope);
        assert_eq!(Scope::from_filter(Scope::All.to_filter()), Scope::All);
        assert!(!Scope::from_filter(Some(vec![])).contains(SiteId(2)));
    }
}
