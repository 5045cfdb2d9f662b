//! JSON over HTTP: what the pages are made from, for programs. `POST /api/v1/tocsin.fleet.v1.FleetService/ListMachines` takes the
//! call's message as JSON and answers its answer; `/api/v1/openapi.json` describes them all.
//!
//! Both come from the contracts' descriptors as they were compiled in, so no call can be forgotten or described wrongly. The caller
//! shows `Authorization: Bearer`, a session or a token; or, from a page of ours, the session's cookie.
//!
//! **Invariant:** like the pages, it has no privilege of its own: each call shows the caller's credential to the service.

mod call;
mod catalog;
mod json;
mod openapi;
mod problem;

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use tocsin_transport::auth::Token;

use self::catalog::CATALOG;
use self::problem::Problem;
use crate::console::App;
use crate::security;
use crate::session::{self, ClientAddress};

const JSON: &str = "application/json";

static DESCRIPTION: LazyLock<String> = LazyLock::new(|| openapi::describe(&CATALOG).to_string());

/// `GET /api/v1/openapi.json`.
pub(crate) async fn description() -> Response {
    ([(CONTENT_TYPE, JSON)], DESCRIPTION.as_str()).into_response()
}

/// `POST /api/v1/{service}/{method}`.
pub(crate) async fn call(
    State(app): State<App>,
    ClientAddress(from): ClientAddress,
    Path((service, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let path = format!("/{service}/{method}");
    let call = CATALOG.find(&path).ok_or_else(|| Problem::no_such_call(&path))?;
    let token = credential(&app, &headers)?;
    let body = body.map_err(|rejection| Problem::unreadable(rejection.status(), rejection.body_text()))?;
    let message = json::parse(call.method.input(), &body)?;
    let answer = call::unary(&app.services, call, token.as_ref(), from, message).await?;
    Ok(([(CONTENT_TYPE, JSON)], json::write(&answer)?).into_response())
}

/// The caller's credential. A cookie comes along whoever makes the browser ask, so it counts from our own pages alone.
fn credential(app: &App, headers: &HeaderMap) -> Result<Option<Token>, Problem> {
    let Some(shown) = headers.get(AUTHORIZATION) else {
        let session = session::cookie(app, headers);
        return match session {
            Some(_) if !security::comes_from_us(app, headers) => Err(Problem::cross_site()),
            session => Ok(session),
        };
    };
    let token = shown.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let token = token.and_then(|(_, token)| Token::parse(token.trim()).ok());
    token.map(Some).ok_or_else(Problem::no_bearer)
}
