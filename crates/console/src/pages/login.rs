//! Signing in and out.

use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::StatusCode;
use http::header::SET_COOKIE;
use maud::{Markup, html};
use serde::Deserialize;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{SignInRequest, SignOutRequest};
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
pub(crate) async fn show(Query(asked): Query<Asked>) -> Markup {
    let notice = asked
        .expired
        .map(|_| "Your session has ended. Sign in again to go on where you were.");
    form(&asked.next, "", notice)
}

/// `POST /login`.
pub(crate) async fn sign_in(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    Form(given): Form<SignIn>,
) -> Result<Response, Failure> {
    let mut request = tonic::Request::new(SignInRequest {
        name: given.name.clone(),
        password: given.password,
    });
    // So that whoever guesses here keeps nobody out who signs in from elsewhere.
    if let Some(from) = from.and_then(|from| from.to_string().parse().ok()) {
        request.metadata_mut().insert(FORWARDED_FOR, from);
    }
    let answer = AccessServiceClient::new(app.services.access.clone())
        .sign_in(request)
        .await;
    let refusal = match answer {
        Ok(answer) => {
            let answer = answer.into_inner();
            let token = Token::parse(&answer.session).map_err(|invalid| Failure::Down {
                part: Part::Access,
                code: Code::Internal,
                detail: format!("session: {invalid}"),
            })?;
            let now = app.clock.now();
            let seconds = view::at(answer.expires_at).map_or(DEFAULT_SESSION_S, |end| end.since(now).as_secs());
            let cookie = [(SET_COOKIE, set_cookie(&app, Some(&token), seconds))];
            return Ok((cookie, Redirect::to(sound_way_back(&given.next))).into_response());
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
    Ok((status, form(&given.next, &given.name, Some(notice))).into_response())
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

fn form(next: &str, name: &str, notice: Option<&str>) -> Markup {
    let body = html! {
        main.sign-in {
            h1 { "Sign in" }
            @if let Some(notice) = notice { p.notice role="alert" { (notice) } }
            form method="post" action="/login" {
                input type="hidden" name="next" value=(sound_way_back(next));
                label for="name" { "Name" }
                input #name name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus;
                label for="password" { "Password" }
                input #password type="password" name="password" autocomplete="current-password" required;
                button.primary type="submit" { "Sign in" }
            }
            p.hint { "No account? An administrator makes one with " code { "tocsin accounts create" } "." }
        }
    };
    layout::bare("Sign in", &body)
}
