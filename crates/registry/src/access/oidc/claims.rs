//! What an ID token says about a person, once it has been verified, and what that gives them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tocsin_domain::{PersonRole, Scope, SiteId, Slug};

use super::{Config, Refusal};

/// The claims of a verified ID token.
#[derive(Debug, Clone)]
pub(super) struct Claims(pub(super) Map<String, Value>);

impl Claims {
    /// What the provider calls the person, for ever.
    pub(super) fn subject(&self) -> Result<&str, Refusal> {
        self.text("sub").ok_or_else(|| claim("sub", "is missing"))
    }

    /// What the person's account is called: lower case, with `-` for what a name can't have.
    pub(super) fn name(&self, preferred: &str) -> Result<Slug, Refusal> {
        let said = [preferred, "email", "sub"]
            .into_iter()
            .find_map(|claim| self.text(claim));
        let said = said.ok_or_else(|| claim(preferred, "is missing"))?;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let lower = said.to_lowercase();
        let name: String = lower
            .chars()
            .map(|c| if legal(c) { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(Slug::MAX_LEN)
            .collect();
        Slug::parse("name", &name).map_err(|_| claim(preferred, format!("{said:?} gives no name for an account")))
    }

    /// Passes when the person's verified address is of one of `domains`, or there are none.
    pub(super) fn check_domain(&self, domains: &[String]) -> Result<(), Refusal> {
        if domains.is_empty() {
            return Ok(());
        }
        let email = self.text("email").ok_or_else(|| claim("email", "is missing"))?;
        let verified = self.0.get("email_verified");
        if !verified.is_some_and(|verified| *verified == true || *verified == "true") {
            return Err(claim("email_verified", "is not true"));
        }
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        if domains.iter().any(|allowed| allowed.eq_ignore_ascii_case(domain)) {
            return Ok(());
        }
        Err(Refusal::Domain {
            email: email.to_owned(),
        })
    }

    /// The highest role that the person's groups give, and the sites of the groups that give it: never a role on a site
    /// where no group gives it.
    pub(super) fn access(
        &self,
        config: &Config,
        sites: &BTreeMap<String, SiteId>,
    ) -> Result<(PersonRole, Scope), Refusal> {
        let groups = self.groups(&config.groups_claim)?;
        let mut given: BTreeMap<PersonRole, Scope> = BTreeMap::new();
        for grant in config.grants.iter().filter(|grant| groups.contains(&grant.group)) {
            let scope = if grant.all_sites {
                Scope::All
            } else {
                Scope::Sites(grant.sites.iter().filter_map(|site| sites.get(site).copied()).collect())
            };
            if scope != Scope::Sites(BTreeSet::new()) {
                let so_far = given.remove(&grant.role);
                given.insert(grant.role, union(so_far, scope));
            }
        }
        given.pop_last().ok_or_else(|| Refusal::NoRole {
            groups: if groups.is_empty() {
                "there are none".to_owned()
            } else {
                groups.join(", ")
            },
        })
    }

    /// One group or a list; none when the claim is missing, as providers leave out what is empty.
    fn groups(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let texts = |values: &[Value]| values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        match self.find(name) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::String(group)) => Some(vec![group.clone()]),
            Some(Value::Array(values)) => texts(values),
            Some(_) => None,
        }
        .ok_or_else(|| claim(name, "is neither text nor a list of texts"))
    }

    /// A claim by its name, or by the way into an object.
    fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).or_else(|| {
            let mut steps = name.split('.');
            let first = self.0.get(steps.next()?)?;
            steps.try_fold(first, |value, step| value.get(step))
        })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.find(name)?.as_str().filter(|text| !text.is_empty())
    }
}

fn union(one: Option<Scope>, other: Scope) -> Scope {
    match (one, other) {
        (None, other) => other,
        (Some(Scope::Sites(one)), Scope::Sites(other)) => Scope::Sites(&one | &other),
        _ => Scope::All,
    }
}

fn claim(name: &str, reason: impl Into<String>) -> Refusal {
    Refusal::Claim {
        claim: name.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        let Value::Object(map) = value else {
            panic!("not an object")
        };
        Claims(map)
    }

    fn config() -> Config {
        let text = r#"{
            "issuer": "https://id.example.org", "client_id": "tocsin", "redirect_base_url": "https://tocsin.example.org",
            "groups_claim": "realm_access.roles",
            "grants": [
                { "group": "ops-lyon", "role": "operator", "sites": ["lyon"] },
                { "group": "ops-porto", "role": "operator", "sites": ["porto"] },
                { "group": "lead-porto", "role": "engineer", "sites": ["porto"] },
                { "group": "ghosts", "role": "admin", "sites": ["nowhere"] },
                { "group": "everywhere", "role": "operator", "all_sites": true }
            ]
        }"#;
        serde_json::from_str(text).expect("a config")
    }

    fn access(groups: Value) -> Result<(PersonRole, Scope), Refusal> {
        let sites = BTreeMap::from([("lyon".to_owned(), SiteId(1)), ("porto".to_owned(), SiteId(2))]);
        claims(json!({ "realm_access": { "roles": groups } })).access(&config(), &sites)
    }

    fn some(sites: &[i32]) -> Scope {
        Scope::Sites(sites.iter().copied().map(SiteId).collect())
    }

    #[test]
    fn the_highest_role_holds_on_the_sites_of_the_groups_that_give_it() {
        use PersonRole::{Engineer, Operator};
        assert_eq!(access(json!("ops-lyon")).expect("one"), (Operator, some(&[1])));
        assert_eq!(
            access(json!(["ops-lyon", "ops-porto"])).expect("two"),
            (Operator, some(&[1, 2]))
        );
        assert_eq!(
            access(json!(["ops-lyon", "lead-porto"])).expect("a lead"),
            (Engineer, some(&[2]))
        );
        assert_eq!(
            access(json!(["ops-lyon", "everywhere"])).expect("all"),
            (Operator, Scope::All)
        );
        for nothing in [json!([]), json!(null), json!("ghosts"), json!(["OPS-LYON"])] {
            let refused = access(nothing.clone()).expect_err("no role").to_string();
            assert!(refused.contains("gives you a role here"), "{nothing}: {refused}");
        }
        assert!(matches!(access(json!([1])), Err(Refusal::Claim { .. })));
    }

    #[test]
    fn an_account_is_named_after_the_claim_as_names_are_written_here() {
        let name = |value: Value| claims(value).name("preferred_username").map(String::from);
        assert_eq!(
            name(json!({ "preferred_username": "Ana.Lopes@Example.org" })).expect("a name"),
            "ana.lopes-example.org"
        );
        assert_eq!(name(json!({ "email": "_bo@x", "sub": "7" })).expect("a name"), "bo-x");
        assert_eq!(name(json!({ "sub": "7f" })).expect("a name"), "7f");
        assert!(name(json!({ "sub": "--" })).is_err() && name(json!({})).is_err());
    }

    #[test]
    fn only_a_verified_address_of_an_allowed_domain_counts() {
        let check = |value: Value| claims(value).check_domain(&["example.org".to_owned()]);
        check(json!({ "email": "ana@Example.ORG", "email_verified": true })).expect("allowed");
        for refused in [
            json!({ "email": "ana@example.org.evil.test", "email_verified": true }),
            json!({ "email": "ana@sub.example.org", "email_verified": true }),
            json!({ "email": "ana@example.org", "email_verified": false }),
            json!({ "email": "ana@example.org" }),
            json!({ "email_verified": true }),
        ] {
            assert!(check(refused.clone()).is_err(), "{refused}");
        }
        claims(json!({})).check_domain(&[]).expect("no domains, no question");
    }
}
