//! Who is signed in, and what they may do.

use maud::{Markup, html};

use crate::failure::Failure;
use crate::layout::{Nav, page};
use crate::session::Session;

/// `GET /account`.
pub(crate) async fn show(session: Session) -> Result<Markup, Failure> {
    let who = session.who().await?;
    let may = match who.role.as_str() {
        "viewer" => "look at everything on these sites",
        "operator" => "look, and acknowledge incidents",
        "engineer" => "look, acknowledge incidents, and handle models and alarm limits",
        "admin" => "do all of this, and handle sites, accounts and tokens",
        _ => "use what the services allow",
    };
    let body = html! {
        h1 { "Account" }
        section.card.narrow {
            dl.facts {
                dt { "Name" } dd { (who.name) }
                dt { "Role" } dd { (who.role) span.sub { "may " (may) } }
                dt { "Sites" }
                dd { @if who.all_sites { "all sites" } @else if who.sites.is_empty() { "none yet" } @else { (who.sites.join(", ")) } }
            }
            form method="post" action="/logout" { button type="submit" { "Sign out" } }
            p.hint { "A password is changed, and an account is made or disabled, by an administrator: " code { "tocsin accounts" } "." }
        }
    };
    Ok(page("Account", Nav::Account, &who, &body))
}
