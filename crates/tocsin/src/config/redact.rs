//! Taking the secrets out of a configuration that is shown.

use toml::{Table, Value};

/// What stands in a secret's place.
const HIDDEN: &str = "(not shown)";

/// Hides passwords in URLs, the whole of receivers' URLs (they often hold a key), and S3 settings that are secrets.
pub(super) fn redact(document: &mut Table) {
    if let Some(Value::String(address)) = at(document, "database", "url") {
        hide_password(address);
    }
    if let Some(Value::Table(settings)) = at(document, "objects", "settings") {
        for (name, value) in settings.iter_mut() {
            if ["secret", "token", "key"].iter().any(|word| name.contains(word)) {
                *value = HIDDEN.into();
            }
        }
    }
    if let Some(Value::Array(destinations)) = at(document, "pager", "destinations") {
        for destination in destinations {
            if let Some(address) = destination.get_mut("url") {
                *address = HIDDEN.into();
            }
        }
    }
}

fn at<'a>(document: &'a mut Table, section: &str, key: &str) -> Option<&'a mut Value> {
    document.get_mut(section)?.get_mut(key)
}

fn hide_password(address: &mut String) {
    if address.is_empty() {
        return;
    }
    let Ok(mut parsed) = url::Url::parse(address) else {
        HIDDEN.clone_into(address);
        return;
    };
    // A password may also be a parameter.
    let in_query = parsed.query_pairs().any(|(name, _)| name == "password");
    if in_query || (parsed.password().is_some() && parsed.set_password(Some("***")).is_err()) {
        HIDDEN.clone_into(address);
    } else {
        *address = parsed.into();
    }
}
