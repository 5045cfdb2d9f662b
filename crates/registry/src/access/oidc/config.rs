//! Which provider, and what its claims give.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tocsin_domain::PersonRole;
use url::{Host, Url};

use super::Refusal;

/// An identity provider (`OpenID` Connect).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The provider's issuer, letter by letter as it calls itself; over https, unless on loopback.
    pub issuer: String,
    /// What the provider calls Tocsin.
    pub client_id: String,
    /// File with the secret the provider gave Tocsin; without it Tocsin is a public client, held by PKCE alone.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// How browsers reach the console, such as `https://tocsin.example.org`. The provider must allow
    /// `<redirect_base_url>/login/oidc/callback`.
    pub redirect_base_url: String,
    /// What people call the provider: on the button to sign in.
    #[serde(default = "label")]
    pub label: String,
    /// Scopes asked for beside `openid`.
    #[serde(default = "scopes")]
    pub scopes: Vec<String>,
    /// The claim that a person's account is named after; without it `email`, then `sub`.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// The claim of the ID token with the person's groups or roles. Dots lead into objects: `realm_access.roles`.
    #[serde(default = "groups_claim")]
    pub groups_claim: String,
    /// What the groups give. Of several the highest role holds, on the sites of the groups that give it.
    pub grants: Vec<Grant>,
    /// Domains of verified e-mail addresses that may come in; empty: all.
    #[serde(default)]
    pub allowed_domains: Vec<String>,
}

/// What a group gives its members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The group or role, as the claim has it.
    pub group: String,
    /// What they may do.
    pub role: PersonRole,
    /// The sites they see.
    #[serde(default)]
    pub sites: Vec<String>,
    /// They see every site.
    #[serde(default)]
    pub all_sites: bool,
}

fn label() -> String {
    "your organisation".to_owned()
}

fn scopes() -> Vec<String> {
    vec!["profile".to_owned(), "email".to_owned()]
}

fn name_claim() -> String {
    "preferred_username".to_owned()
}

fn groups_claim() -> String {
    "groups".to_owned()
}

impl Config {
    /// Where the provider sends browsers back to.
    pub(super) fn redirect_url(&self) -> Result<String, Refusal> {
        secure("redirect_base_url", &self.redirect_base_url)?;
        Ok(format!(
            "{}/login/oidc/callback",
            self.redirect_base_url.trim_end_matches('/')
        ))
    }

    /// What can be said of the settings without asking the provider.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        secure("issuer", &self.issuer)?;
        if self.grants.is_empty() {
            return Err(setting("grants", "is empty: nobody could sign in"));
        }
        for (index, grant) in self.grants.iter().enumerate() {
            if grant.all_sites != grant.sites.is_empty() {
                return Err(setting(
                    format!("grants[{index}].sites"),
                    "name at least one, or set all_sites, and not both",
                ));
            }
        }
        Ok(())
    }
}

pub(super) fn setting(field: impl Into<String>, reason: impl Into<String>) -> Refusal {
    Refusal::Setting {
        field: field.into(),
        reason: reason.into(),
    }
}

/// Secrets and tokens go over it: https, or a host that is this one.
fn secure(field: &str, text: &str) -> Result<(), Refusal> {
    let url = Url::parse(text).map_err(|error| setting(field, format!("{text:?} is not a URL: {error}")))?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if here => Ok(()),
        _ => Err(setting(field, format!("{text:?} must be https, or http on loopback"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(issuer: &str, sites: &[&str], all_sites: bool) -> Config {
        Config {
            issuer: issuer.to_owned(),
            client_id: "tocsin".to_owned(),
            client_secret_file: None,
            redirect_base_url: "https://tocsin.example.org/".to_owned(),
            label: label(),
            scopes: scopes(),
            name_claim: name_claim(),
            groups_claim: groups_claim(),
            grants: vec![Grant {
                group: "bells".to_owned(),
                role: PersonRole::Operator,
                sites: sites.iter().map(|site| (*site).to_owned()).collect(),
                all_sites,
            }],
            allowed_domains: Vec::new(),
        }
    }

    #[test]
    fn a_provider_is_reached_over_https_or_on_loopback() {
        for issuer in [
            "https://id.example.org/realm",
            "http://127.0.0.1:9/x",
            "http://[::1]:9",
            "http://localhost:9",
        ] {
            config(issuer, &["lyon"], false).check().expect(issuer);
        }
        for issuer in [
            "http://id.example.org",
            "ftp://127.0.0.1",
            "id.example.org",
            "http://127.0.0.1.example.org",
        ] {
            let refused = config(issuer, &["lyon"], false).check().expect_err(issuer).to_string();
            assert!(refused.starts_with("registry.access.oidc.issuer: "), "{refused}");
        }
    }

    #[test]
    fn a_grant_names_its_sites_or_all_of_them() {
        let here = "http://localhost:9";
        config(here, &[], true).check().expect("all sites");
        for (sites, all_sites) in [(&[][..], false), (&["lyon"][..], true)] {
            let refused = config(here, sites, all_sites)
                .check()
                .expect_err("not both")
                .to_string();
            assert!(refused.contains("grants[0].sites: name at least one"), "{refused}");
        }
        let callback = config(here, &[], true).redirect_url().expect("a URL");
        assert_eq!(callback, "https://tocsin.example.org/login/oidc/callback");
    }
}
