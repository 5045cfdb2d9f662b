//! A small real identity provider (`OpenID` Connect) on loopback: discovery, keys, authorization code with PKCE, and ID tokens
//! signed with ES256 or RS256. It signs in whomever the story says, and can be made to lie.

mod keys;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tocsin_domain::{Clock, Timestamp};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use self::keys::Keys;

pub use self::keys::Algorithm;

/// What the provider calls Tocsin.
pub const CLIENT_ID: &str = "tocsin";
/// The secret it gave it. It has a character that must be escaped in the header.
pub const CLIENT_SECRET: &str = "a bell & a rope";

/// What is wrong with the ID tokens it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// The nonce of another sign-in.
    Nonce,
    /// The signature is that of another text.
    Signature,
    /// Not signed at all, and says so.
    Unsigned,
    /// For another client.
    Audience,
    /// By another provider.
    Issuer,
    /// It was good an hour ago.
    Expired,
    /// It is from an hour ahead.
    Future,
}

type Fields = HashMap<String, String>;

/// The provider; it ends with the story.
#[derive(Debug)]
pub struct Provider {
    addr: SocketAddr,
    inner: Arc<Inner>,
    server: AbortHandle,
}

struct Inner {
    issuer: String,
    keys: Keys,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    person: Value,
    algorithm: Algorithm,
    lie: Lie,
    /// What was asked for, by the code that stands for it.
    codes: HashMap<String, Fields>,
    issued: usize,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

impl Provider {
    /// Binds and serves.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("binding the provider")?;
        let addr = listener.local_addr().context("binding the provider")?;
        let inner = Arc::new(Inner {
            issuer: format!("http://{addr}"),
            keys: Keys::new()?,
            told: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .with_state(inner.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await }).abort_handle();
        Ok(Self { addr, inner, server })
    }

    /// What it calls itself.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Whom it signs in from now on: the claims about them.
    pub fn sign_in(&self, person: Value) {
        self.inner.told().person = person;
    }

    /// How it signs from now on.
    pub fn sign_with(&self, algorithm: Algorithm) {
        self.inner.told().algorithm = algorithm;
    }

    /// What is wrong with its tokens from now on.
    pub fn lie(&self, lie: Lie) {
        self.inner.told().lie = lie;
    }

    /// Stops answering.
    pub fn stop(&self) {
        self.server.abort();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id_token(&self, asked: &Fields, now: Timestamp) -> Option<String> {
        let now = now.as_micros() / 1_000_000;
        let told = self.told();
        let other = |field: &str, lie: Lie, honest: &str| {
            if told.lie == lie {
                format!("another {field}")
            } else {
                honest.to_owned()
            }
        };
        let issued = match told.lie {
            Lie::Expired => now - 3_600,
            Lie::Future => now + 3_600,
            _ => now,
        };
        let mut claims = told.person.clone();
        claims["iss"] = if told.lie == Lie::Issuer {
            "https://id.example.org".into()
        } else {
            self.issuer.clone().into()
        };
        claims["aud"] = json!([other("client", Lie::Audience, CLIENT_ID)]);
        claims["nonce"] = other("nonce", Lie::Nonce, asked.get("nonce")?).into();
        claims["iat"] = issued.into();
        claims["exp"] = (issued + 300).into();
        let unsigned = told.lie == Lie::Unsigned;
        let algorithm = told.algorithm.name();
        let header = json!({ "alg": if unsigned { "none" } else { algorithm }, "kid": algorithm });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signed = if told.lie == Lie::Signature { "another" } else { &text };
        let signature = if unsigned {
            String::new()
        } else {
            self.keys.sign(told.algorithm, signed.as_bytes())?
        };
        Some(format!("{text}.{signature}"))
    }
}

async fn discovery(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let issuer = &inner.issuer;
    Json(json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        // A provider that also knows unsigned tokens must not lead us to take one.
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "none"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
    }))
}

async fn keys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    Json(inner.keys.set())
}

async fn authorize(
    State(inner): State<Arc<Inner>>,
    Query(asked): Query<Fields>,
) -> Result<Redirect, (StatusCode, &'static str)> {
    let is = |field: &str, value: &str| asked.get(field).is_some_and(|said| said == value);
    if !is("client_id", CLIENT_ID) || !is("response_type", "code") || !is("code_challenge_method", "S256") {
        return Err((
            StatusCode::BAD_REQUEST,
            "not a request for a code with PKCE by a client of ours",
        ));
    }
    if !asked
        .get("scope")
        .is_some_and(|scope| scope.split(' ').any(|scope| scope == "openid"))
    {
        return Err((StatusCode::BAD_REQUEST, "not the scope openid"));
    }
    let back = asked
        .get("redirect_uri")
        .ok_or((StatusCode::BAD_REQUEST, "no redirect_uri"))?;
    let state = asked.get("state").ok_or((StatusCode::BAD_REQUEST, "no state"))?;
    let mut told = inner.told();
    let answer = if told.person.is_null() {
        "error=access_denied&error_description=not+today".to_owned()
    } else {
        told.issued += 1;
        let code = format!("code-{}", told.issued);
        told.codes.insert(code.clone(), asked.clone());
        format!("code={code}")
    };
    Ok(Redirect::to(&format!("{back}?{answer}&state={state}")))
}

async fn token(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Form(given): Form<Fields>,
) -> Result<Json<Value>, (StatusCode, Json<Value>)> {
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
    // Each half is escaped as in a form (RFC 6749, 2.3.1).
    let expected = STANDARD.encode(format!(
        "{CLIENT_ID}:{}",
        CLIENT_SECRET.replace(' ', "+").replace('&', "%26")
    ));
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
    if shown != Some(&format!("Basic {expected}")) {
        return Err(refuse("invalid_client"));
    }
    let field = |name: &str| given.get(name).map(String::as_str).unwrap_or_default();
    // A code is good once.
    let asked = inner.told().codes.remove(field("code"));
    let asked = asked.ok_or_else(|| refuse("invalid_grant"))?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    let ours = asked.get("code_challenge") == Some(&challenge)
        && asked.get("redirect_uri").map(String::as_str) == Some(field("redirect_uri"))
        && field("grant_type") == "authorization_code";
    let now = Clock::system().now();
    let token = ours.then(|| inner.id_token(&asked, now)).flatten();
    let token = token.ok_or_else(|| refuse("invalid_grant"))?;
    Ok(Json(
        json!({ "access_token": "x", "token_type": "Bearer", "id_token": token }),
    ))
}
