//! Signing in and out.

use std::net::IpAddr;

use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use http::header::SET_COOKIE;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{ListSignInMethodsRequest, SignInRequest, SignOutRequest};
use tocsin_transport::auth::Token;
use tonic::Code;

use crate::console::App;
use crate::failure::{Failure, Part};
use crate::layout;
use crate::session::{ClientAddress, FORWARDED_FOR, Session, set_cookie, sound_way_back};
use crate::view;

/// A session whose end the service doesn't name is kept for half a day.
const DEFAULT_SESSION_S: u64 = 12 * 3_600;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    next: String,
    expired: Option<String>,
}

/// What the form says.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

/// `GET /login`.
pub(crate) async fn show(State(app): State<App>, Query(asked): Query<Asked>) -> Markup {
    let notice = asked
        .expired
        .map(|_| "Your session has ended. Sign in again to go on where you were.");
    form(&app, &asked.next, "", notice).await
}

/// `POST /login`.
pub(crate) async fn sign_in(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    Form(given): Form<SignIn>,
) -> Result<Response, Failure> {
    let request = speak_for(
        from,
        SignInRequest {
            name: given.name.clone(),
            password: given.password,
        },
    );
    let answer = AccessServiceClient::new(app.services.access.clone())
        .sign_in(request)
        .await;
    let refusal = match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            return begun(&app, &answer.session, answer.expires_at, &given.next);
        }
        Err(status)
            if matches!(
                status.code(),
                Code::Unauthenticated | Code::NotFound | Code::InvalidArgument
            ) =>
        {
            (
                StatusCode::UNAUTHORIZED,
                "Name or password is wrong, or the account is disabled.",
            )
        }
        Err(status) if status.code() == Code::ResourceExhausted => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many attempts. Wait a minute, then try again.",
        ),
        Err(status) => return Err(Part::Access.failed()(status)),
    };
    let (status, notice) = refusal;
    let form = form(&app, &given.next, &given.name, Some(notice)).await;
    Ok((status, form).into_response())
}

/// A request on behalf of a client, whose address is told: so that whoever guesses there keeps nobody out who signs in from
/// elsewhere.
pub(crate) fn speak_for<T>(client: Option<IpAddr>, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(from) = client.and_then(|from| from.to_string().parse().ok()) {
        request.metadata_mut().insert(FORWARDED_FOR, from);
    }
    request
}

/// A session has begun: the browser keeps it and goes where it wanted.
pub(super) fn begun(
    app: &App,
    session: &str,
    expires_at: Option<prost_types::Timestamp>,
    next: &str,
) -> Result<Response, Failure> {
    let token = Token::parse(session).map_err(|invalid| Failure::Down {
        part: Part::Access,
        code: Code::Internal,
        detail: format!("session: {invalid}"),
    })?;
    let now = app.clock.now();
    let seconds = view::at(expires_at).map_or(DEFAULT_SESSION_S, |end| end.since(now).as_secs());
    let cookie = [(SET_COOKIE, set_cookie(app, Some(&token), seconds))];
    Ok((cookie, Redirect::to(sound_way_back(next))).into_response())
}

/// `POST /logout`.
pub(crate) async fn sign_out(State(app): State<App>, session: Session) -> Response {
    // The browser forgets the session in any case; the service may be down, or have ended it long ago.
    if let Err(status) = session.access().sign_out(SignOutRequest {}).await {
        tracing::info!(code = ?status.code(), message = status.message(), "signing out: the service did not end the session");
    }
    let cookie = [(SET_COOKIE, set_cookie(&app, None, 0))];
    (cookie, Redirect::to("/login")).into_response()
}

/// The way to the identity provider, if there is one, and what people call it.
async fn provider(app: &App, next: &str) -> Option<(String, String)> {
    let mut access = AccessServiceClient::new(app.services.access.clone());
    // Without an answer the form alone is shown: sending it will say what is wrong.
    let methods = access
        .list_sign_in_methods(ListSignInMethodsRequest {})
        .await
        .ok()?
        .into_inner();
    let next: String = url::form_urlencoded::byte_serialize(sound_way_back(next).as_bytes()).collect();
    methods
        .oidc
        .then(|| (format!("/login/oidc?next={next}"), methods.oidc_label))
}

async fn form(app: &App, next: &str, name: &str, notice: Option<&str>) -> Markup {
    let provider = provider(app, next).await;
    let body = html! {
        main.sign-in {
            h1 { "Sign in" }
            @if let Some(notice) = notice { p.notice role="alert" { (notice) } }
            @if let Some((way, label)) = &provider {
                a.button.primary href=(way) rel="nofollow" { "Sign in with " (label) }
                p.or { "or with a local account" }
            }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(sound_way_back(next));
                label for="name" { "Name" }
                input #name name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus[provider.is_none()];
                label for="password" { "Password" }
                input #password type="password" name="password" autocomplete="current-password" required;
                // One way stands out: the provider's, where there is one.
                button.primary[provider.is_none()] type="submit" { "Sign in" }
            }
            p.hint { "No account? An administrator makes one with " code { "tocsin accounts create" } "." }
        }
    };
    layout::bare("Sign in", &body)
}
