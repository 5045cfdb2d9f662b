//! A channel over TCP and TLS.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, ConnectError, Status};
use tower::{BoxError, ServiceExt};

use super::{Channel, Config, Error, Unsent};
use crate::tls;

/// A silent server is asked this often whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// And given up when it doesn't say so within this time.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

pub(super) fn channel(config: &Config, index: usize, url: &str) -> Result<Channel, Error> {
    let refuse = |reason: String| Error::Url {
        index,
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url.parse().map_err(|error| refuse(format!("is not a URL: {error}")))?;
    let host = uri.host().ok_or_else(|| refuse("names no host".to_owned()))?.to_owned();
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if is_loopback(&host) => false,
        // Tokens go over this channel.
        Some("http") => return Err(refuse("is not on loopback, so it must be https".to_owned())),
        _ => return Err(refuse("is neither http nor https".to_owned())),
    };
    let mut endpoint = Endpoint::from(uri)
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms.get()))
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_ANSWER)
        // Not while idle: servers of other languages hang up on clients that ping without a call.
        .tcp_keepalive(Some(KEEPALIVE));
    if secure {
        endpoint = endpoint
            .tls_config(client_tls(config, url)?)
            .map_err(|error| refuse(format!("can't be called: {error}")))?;
    }
    let to = url.to_owned();
    let service = endpoint.connect_lazy().map_err(move |error| lost(&to, error));
    let deadline = Duration::from_millis(config.deadline_ms.get());
    Ok(Channel::new(service, url).with_deadline(Some(deadline)))
}

fn is_loopback(host: &str) -> bool {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn client_tls(config: &Config, url: &str) -> Result<ClientTlsConfig, Error> {
    let ca = config.ca.as_deref().ok_or_else(|| Error::NeedsCa(url.to_owned()))?;
    // Read here as well as by tonic, whose error would name neither field nor file.
    tls::certificates("ca", ca)?;
    let mut client = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(tls::pem("ca", ca)?));
    if let Some(name) = &config.server_name {
        client = client.domain_name(name);
    }
    match (&config.client_certificate, &config.client_key) {
        (Some(certificate), Some(key)) => {
            let identity = Identity::from_pem(
                tls::pem("client_certificate", certificate)?,
                tls::pem("client_key", key)?,
            );
            Ok(client.identity(identity))
        }
        (None, None) => Ok(client),
        _ => Err(Error::HalfIdentity),
    }
}

/// The transport's error as a status. UNKNOWN and CANCELLED are tonic's words for a connection that broke under the call (a caller that
/// cancels isn't here any more to be told): that is UNAVAILABLE, and another replica may answer.
fn lost(url: &str, error: tonic::transport::Error) -> BoxError {
    let cause = innermost(&error);
    let unsent = causes(&error).any(<dyn std::error::Error>::is::<ConnectError>);
    let code = match Status::from_error(error.into()).code() {
        Code::Unknown | Code::Cancelled => Code::Unavailable,
        code => code,
    };
    let mut status = Status::new(code, format!("{url}: {cause}"));
    if unsent {
        status.set_source(Arc::new(Unsent));
    }
    status.into()
}

/// The error itself, and what each of the chain was caused by.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}
