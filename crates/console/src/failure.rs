//! What goes wrong while a page is made, and the page that says so.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use maud::html;
use tonic::{Code, Status};

use crate::layout;
use crate::session::SignInFirst;

/// A service the console asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Access,
    Fleet,
    Incidents,
    Review,
    Registry,
    Recalibrator,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Access => "access (sign-in and accounts)",
            Self::Fleet => "fleet (sites and machines)",
            Self::Incidents => "incidents (incidents and pages)",
            Self::Review => "review (levels and spectra)",
            Self::Registry => "registry (models)",
            Self::Recalibrator => "recalibrator (alarm limits)",
        }
    }

    /// For `map_err`: what this part's refusal means to the person.
    pub(crate) fn failed(self) -> impl Fn(Status) -> Failure {
        move |status| self.failure(&status)
    }

    fn failure(self, status: &Status) -> Failure {
        match status.code() {
            Code::Unauthenticated => Failure::SignIn { expired: true },
            Code::NotFound => Failure::NotFound(status.message().to_owned()),
            Code::PermissionDenied => Failure::Forbidden(status.message().to_owned()),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Aborted
            | Code::AlreadyExists => Failure::Refused(status.message().to_owned()),
            code => {
                tracing::warn!(
                    part = self.name(),
                    ?code,
                    message = status.message(),
                    "a service doesn't answer"
                );
                Failure::Down {
                    part: self,
                    code,
                    detail: status.message().to_owned(),
                }
            }
        }
    }
}

impl Failure {
    /// What a part's refusal means to whoever needs no session.
    pub(crate) fn from_public(part: Part, status: &Status) -> Self {
        part.failure(status)
    }
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody is signed in, or no longer.
    SignIn { expired: bool },
    /// It isn't there, or not for this person: other sites' machines look the same as none.
    NotFound(String),
    /// The person's role doesn't allow it.
    Forbidden(String),
    /// The service says the request can't be done.
    Refused(String),
    /// A service doesn't answer.
    Down { part: Part, code: Code, detail: String },
    /// The form came from another site's page.
    CrossSite,
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, title, text, detail) = match self {
            Self::SignIn { expired } => {
                let mut response = StatusCode::UNAUTHORIZED.into_response();
                response.extensions_mut().insert(SignInFirst { expired });
                return response;
            }
            Self::NotFound(detail) => (
                StatusCode::NOT_FOUND,
                "Not found",
                "There is nothing under this address, or it belongs to a site your account doesn't cover.".to_owned(),
                detail,
            ),
            Self::Forbidden(detail) => (
                StatusCode::FORBIDDEN,
                "Not allowed",
                "Your role doesn't allow this. An administrator can change it.".to_owned(),
                detail,
            ),
            Self::Refused(detail) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "This can't be done",
                "The service refused the request.".to_owned(),
                detail,
            ),
            Self::Down { part, code, detail } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "A part of Tocsin doesn't answer",
                format!(
                    "The part that doesn't answer is {}. Only this view is affected: readings that were acknowledged are stored, and \
                     gateways keep and resend the rest. Try again in a moment.",
                    part.name()
                ),
                format!("{code:?}: {detail}"),
            ),
            Self::CrossSite => (
                StatusCode::FORBIDDEN,
                "This form didn't come from the console",
                "Forms are taken from the console's own pages alone. If a proxy stands before it, set public_url to the address in \
                 your browser."
                    .to_owned(),
                String::new(),
            ),
        };
        let body = layout::bare(
            title,
            &html! {
                main.notice-page {
                    h1 { (title) }
                    p { (text) }
                    @if !detail.is_empty() { p.detail { code { (detail) } } }
                    p.actions { a.button href="/" { "Back to the fleet" } }
                }
            },
        );
        (status, body).into_response()
    }
}
