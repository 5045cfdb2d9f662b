//! The session: the access service's token in a cookie that scripts can't read.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use tocsin_contracts::access::v1::access_service_client::AccessServiceClient;
use tocsin_contracts::access::v1::{WhoAmIRequest, WhoAmIResponse};
use tocsin_contracts::fleet::v1::fleet_service_client::FleetServiceClient;
use tocsin_contracts::incidents::v1::incidents_service_client::IncidentsServiceClient;
use tocsin_contracts::incidents::v1::sensor_alarms_service_client::SensorAlarmsServiceClient;
use tocsin_contracts::recalibrator::v1::recalibrator_service_client::RecalibratorServiceClient;
use tocsin_contracts::registry::v1::registry_service_client::RegistryServiceClient;
use tocsin_contracts::review::v1::review_service_client::ReviewServiceClient;
use tocsin_contracts::training::v1::training_service_client::TrainingServiceClient;
use tocsin_domain::PersonRole;
use tocsin_transport::Channel;
use tocsin_transport::auth::Token;
use tonic::transport::server::TcpConnectInfo;

use crate::console::{App, Console, Services};
use crate::failure::{Failure, Part};

/// Whoever looks: their token, and the services as they see them.
pub(crate) struct Session {
    token: Token,
    services: Services,
}

impl Session {
    fn channel(&self, channel: &Channel) -> Channel {
        channel.clone().with_token(&self.token)
    }

    pub(crate) fn access(&self) -> AccessServiceClient<Channel> {
        AccessServiceClient::new(self.channel(&self.services.access))
    }

    pub(crate) fn fleet(&self) -> FleetServiceClient<Channel> {
        // A machine's row is some 150 bytes: room for a hundred thousand of them.
        FleetServiceClient::new(self.channel(&self.services.fleet)).max_decoding_message_size(16 << 20)
    }

    pub(crate) fn incidents(&self) -> IncidentsServiceClient<Channel> {
        IncidentsServiceClient::new(self.channel(&self.services.incidents)).max_decoding_message_size(32 << 20)
    }

    pub(crate) fn sensor_alarms(&self) -> SensorAlarmsServiceClient<Channel> {
        SensorAlarmsServiceClient::new(self.channel(&self.services.incidents))
    }

    pub(crate) fn review(&self) -> ReviewServiceClient<Channel> {
        // 1,000 columns of 4,096 bins are 16 MB.
        ReviewServiceClient::new(self.channel(&self.services.review)).max_decoding_message_size(32 << 20)
    }

    pub(crate) fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel(&self.services.registry)).max_decoding_message_size(16 << 20)
    }

    pub(crate) fn recalibrator(&self) -> RecalibratorServiceClient<Channel> {
        RecalibratorServiceClient::new(self.channel(&self.services.recalibrator)).max_decoding_message_size(16 << 20)
    }

    pub(crate) fn training(&self) -> TrainingServiceClient<Channel> {
        TrainingServiceClient::new(self.channel(&self.services.recalibrator))
    }

    /// The services, without what the looker shows them: for asking how they are, which anybody may.
    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    /// Name and role, for the top of every page.
    pub(crate) async fn who(&self) -> Result<WhoAmIResponse, Failure> {
        let answer = self.access().who_am_i(WhoAmIRequest {}).await;
        Ok(answer.map_err(Part::Access.failed())?.into_inner())
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let token = cookie(app, &parts.headers).ok_or(Failure::SignIn { expired: false })?;
        Ok(Self {
            token,
            services: app.services.clone(),
        })
    }
}

/// Where a client's address stands: what a proxy tells us, and what we tell the services.
pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of whoever asks, where it can be known.
pub(crate) struct ClientAddress(pub(crate) Option<IpAddr>);

impl FromRequestParts<App> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts
            .extensions
            .get::<TcpConnectInfo>()
            .and_then(|info| info.remote_addr);
        // Each proxy adds its client at the end; ours is the last one.
        let last = parts.headers.get_all(FORWARDED_FOR).iter().next_back();
        let forwarded = last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        let proxied = app.origin.is_some();
        Ok(Self(forwarded.filter(|_| proxied).or(peer.map(|peer| peer.ip()))))
    }
}

/// Whether this person's role reaches `needed`.
pub(crate) fn may(who: &WhoAmIResponse, needed: PersonRole) -> bool {
    PersonRole::parse(&who.role).is_ok_and(|role| role >= needed)
}

/// What a browser keeps for us, in a cookie each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The session.
    Session,
    /// A sign-in on its way to the identity provider and back.
    Flow,
}

fn cookie_name(app: &Console, kept: Kept) -> &'static str {
    // The prefix makes browsers refuse the cookie unless it came over TLS and for this host alone.
    match (kept, app.secure) {
        (Kept::Session, true) => "__Host-tocsin_session",
        (Kept::Session, false) => "tocsin_session",
        (Kept::Flow, true) => "__Host-tocsin_sign_in",
        (Kept::Flow, false) => "tocsin_sign_in",
    }
}

/// What a browser kept.
pub(crate) fn kept<'a>(app: &Console, what: Kept, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(app, what);
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|list| list.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// The header that has a browser keep `value` for `seconds`, if a cookie can hold it.
pub(crate) fn keep(app: &Console, what: Kept, value: &str, seconds: u64) -> Option<HeaderValue> {
    let secure = if app.secure { "; Secure" } else { "" };
    let name = cookie_name(app, what);
    // Lax, not strict: the way back from the identity provider and the link in a page come from elsewhere.
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let mut header = HeaderValue::try_from(text)
        .ok()
        .filter(|_| !value.contains([';', ',', ' ']))?;
    header.set_sensitive(true);
    Some(header)
}

pub(crate) fn cookie(app: &Console, headers: &HeaderMap) -> Option<Token> {
    Token::parse(kept(app, Kept::Session, headers)?).ok()
}

/// The header that keeps `token` for `seconds`; no token forgets it.
pub(crate) fn set_cookie(app: &Console, token: Option<&Token>, seconds: u64) -> HeaderValue {
    let (value, seconds) = token.map_or(("", 0), |token| (token.expose(), seconds));
    keep(app, Kept::Session, value, seconds).expect("a token is visible ASCII of the URL-safe kind")
}

/// Marks an answer as "sign in first".
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignInFirst {
    /// There was a session, which the services don't know any more.
    pub(crate) expired: bool,
}

/// Turns such answers into the way to sign in and back.
pub(crate) async fn send_to_sign_in(State(app): State<App>, request: Request, next: Next) -> Response {
    let back = way_back(request.method(), request.uri());
    let response = next.run(request).await;
    let Some(first) = response.extensions().get::<SignInFirst>().copied() else {
        return response;
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("next", &back);
    if first.expired {
        query.append_pair("expired", "1");
    }
    let mut redirect = Redirect::to(&format!("/login?{}", query.finish())).into_response();
    if first.expired {
        redirect.headers_mut().append(SET_COOKIE, set_cookie(&app, None, 0));
    }
    redirect
}

fn way_back(method: &Method, uri: &Uri) -> String {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    match *method {
        Method::GET => path.to_owned(),
        // What was posted is lost; the page it was posted from is the way back.
        _ => uri
            .path()
            .strip_suffix("/acknowledge")
            .filter(|page| page.starts_with("/incidents/"))
            .or_else(|| {
                let page = uri
                    .path()
                    .find("/review")
                    .map(|place| &uri.path()[..place + "/review".len()]);
                page.filter(|page| page.starts_with("/incidents/"))
            })
            .or_else(|| uri.path().starts_with("/sensors/").then_some("/sensors"))
            .or_else(|| {
                let class = uri.path().starts_with("/models/").then(|| uri.path().rsplit_once('/'));
                class.flatten().map(|(class, _)| class)
            })
            .unwrap_or("/")
            .to_owned(),
    }
}

/// Only a path of ours is a way back: `//elsewhere` and `/\elsewhere` are other hosts to a browser.
pub(crate) fn sound_way_back(next: &str) -> &str {
    let ours = next.starts_with('/')
        && !next.starts_with("//")
        && !next.starts_with("/login")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_a_way_back() {
        for next in ["/", "/incidents/7?at=1", "/sites/a/machines/b"] {
            assert_eq!(sound_way_back(next), next);
        }
        for next in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "/a\nb",
            "/login",
        ] {
            assert_eq!(sound_way_back(next), "/", "{next:?}");
        }
    }

    #[test]
    fn what_was_posted_without_a_session_leads_back_to_its_page() {
        let uri = Uri::from_static("/incidents/7/acknowledge");
        assert_eq!(way_back(&Method::POST, &uri), "/incidents/7");
        let alarm = Uri::from_static("/sensors/alarms/7/acknowledge");
        assert_eq!(way_back(&Method::POST, &alarm), "/sensors");
        let labelled = Uri::from_static("/incidents/7/review/label");
        assert_eq!(way_back(&Method::POST, &labelled), "/incidents/7/review");
        let promotion = Uri::from_static("/models/cnc-spindle/promote");
        assert_eq!(way_back(&Method::POST, &promotion), "/models/cnc-spindle");
        assert_eq!(way_back(&Method::POST, &Uri::from_static("/logout")), "/");
    }
}
