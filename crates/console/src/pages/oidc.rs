//! Signing in by the identity provider: the way there and the way back.
//!
//! Between the two the browser keeps a cookie with the secret of its sign-in and where it wanted to go, so that what the
//! provider answers is of use in this browser alone.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::HeaderMap;
use http::header::SET_COOKIE;
use maud::html;
use serde::Deserialize;
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{BeginOidcSignInRequest, CompleteOidcSignInRequest};
use tonic::{Code, Status};

use super::login::{begun, speak_for};
use crate::console::App;
use crate::failure::{Failure, Part};
use crate::layout;
use crate::session::{ClientAddress, Kept, keep, kept, sound_way_back};
use crate::view;

/// What the address says.
#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    next: String,
}

/// What the provider sends back.
#[derive(Deserialize)]
pub(crate) struct Answered {
    #[serde(default)]
    state: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

/// `GET /login/oidc`: off to the provider.
pub(crate) async fn go(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let request = speak_for(from, BeginOidcSignInRequest {});
    let mut access = AccessServiceClient::new(app.services.access.clone());
    let begun = match access.begin_oidc_sign_in(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return refused(&status),
    };
    let seconds = view::at(begun.expires_at).map_or(0, |end| end.since(app.clock.now()).as_secs());
    let next: String = url::form_urlencoded::byte_serialize(sound_way_back(&asked.next).as_bytes()).collect();
    let cookie = keep(&app, Kept::Flow, &format!("{}.{next}", begun.flow), seconds).ok_or_else(|| Failure::Down {
        part: Part::Access,
        code: Code::Internal,
        detail: "the sign-in's secret is no cookie".to_owned(),
    })?;
    Ok(([(SET_COOKIE, cookie)], Redirect::to(&begun.authorization_url)).into_response())
}

/// `GET /login/oidc/callback`: back from the provider.
pub(crate) async fn back(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    headers: HeaderMap,
    Query(answered): Query<Answered>,
) -> Result<Response, Failure> {
    let cookie = kept(&app, Kept::Flow, &headers).unwrap_or_default();
    let (flow, next) = cookie.split_once('.').unwrap_or((cookie, ""));
    let next = url::form_urlencoded::parse(next.as_bytes()).next();
    let next = next.map(|(next, _)| next.into_owned()).unwrap_or_default();
    let request = CompleteOidcSignInRequest {
        flow: flow.to_owned(),
        state: answered.state,
        code: answered.code,
        error: [answered.error, answered.error_description].join(" ").trim().to_owned(),
    };
    let mut access = AccessServiceClient::new(app.services.access.clone());
    let mut response = match access.complete_oidc_sign_in(speak_for(from, request)).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            begun(&app, &answer.session, answer.expires_at, &next)?
        }
        Err(status) => refused(&status)?,
    };
    // Of use once, whatever came of it.
    if let Some(gone) = keep(&app, Kept::Flow, "", 0) {
        response.headers_mut().append(SET_COOKIE, gone);
    }
    Ok(response)
}

/// The page that says why not, in the words of the service: they are made for whoever reads them here.
fn refused(status: &Status) -> Result<Response, Failure> {
    let code = match status.code() {
        Code::Unauthenticated => http::StatusCode::UNAUTHORIZED,
        Code::PermissionDenied | Code::FailedPrecondition => http::StatusCode::FORBIDDEN,
        Code::ResourceExhausted => http::StatusCode::TOO_MANY_REQUESTS,
        Code::Unavailable => http::StatusCode::SERVICE_UNAVAILABLE,
        _ => return Err(Failure::from_public(Part::Access, status)),
    };
    let mut message = status.message().to_owned();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let body = html! {
        main.notice-page {
            h1 { "You are not signed in" }
            p role="alert" { (message) "." }
            p.actions { a.button href="/login" { "Back to sign-in" } }
        }
    };
    Ok((code, layout::bare("Not signed in", &body)).into_response())
}
