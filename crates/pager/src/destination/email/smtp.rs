//! One mail over one connection, step by step, so that it is known whether it can have arrived: before the mail is
//! handed over nothing has; from then on only the relay's answer tells.

use std::time::Duration;

use lettre::Message;
use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tocsin_domain::Invalid;
use tokio::time::timeout;

use super::{CLOSING, Email, Security};
use crate::Error;
use crate::attempt::{Attempt, Outcome, truncated};

/// How a password may be told, over TLS alone.
const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];

/// Sends a mail to those of its receivers that it is still owed to, all where none is named; the error is a setting that
/// can't be used.
pub(super) async fn send(
    email: &Email,
    (message, remaining): (&Message, &[String]),
    patience: Duration,
) -> Result<Attempt, Error> {
    let credentials = email.credentials().map_err(Error::Setting)?;
    let tls = match email.security {
        Security::None => None,
        Security::Starttls | Security::Tls => Some(tls(email).map_err(Error::Setting)?),
    };
    let mut connection = match timeout(patience, connect(email, tls, credentials)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Ok(unsent(&error)),
        Err(_) => return Ok(refused(false, "not reached: the relay took too long".to_owned())),
    };
    let (envelope, bytes) = (narrowed(message.envelope(), remaining), message.formatted());
    let attempt = match timeout(patience, hand_over(&mut connection, &envelope, &bytes)).await {
        Ok(Ok(attempt)) => attempt,
        Ok(Err(error)) => handed_over(&error),
        Err(_) => Attempt {
            outcome: Outcome::Unknown,
            answer: "no answer: the relay took too long".to_owned(),
        },
    };
    // The relay has answered for the mail; how the connection ends takes nothing from it.
    let _ = timeout(CLOSING, connection.abort()).await;
    Ok(attempt)
}

/// Hands a mail over for those of its receivers that the relay takes it for. A mailbox that is gone keeps nobody else's.
async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    bytes: &[u8],
) -> Result<Attempt, SmtpError> {
    let parameters = match parameters(connection, envelope, bytes) {
        Ok(parameters) => parameters,
        Err(reason) => return Ok(refused(true, format!("not sent: {reason}"))),
    };
    connection
        .command(Mail::new(envelope.from().cloned(), parameters))
        .await?;
    let (mut refusals, mut put_off) = (Vec::new(), Vec::new());
    for mailbox in envelope.to() {
        match connection.command(Rcpt::new(mailbox.clone(), Vec::new())).await {
            Ok(_) => {}
            Err(error) if error.is_permanent() || error.is_transient() => {
                refusals.push(format!("{mailbox}: {error}"));
                if error.is_transient() {
                    put_off.push(mailbox.to_string());
                }
            }
            Err(error) => return Err(error),
        }
    }
    let nobody = refusals.len() == envelope.to().len();
    let refusals = refusals.join("; ");
    if nobody {
        return Ok(refused(put_off.is_empty(), refusals));
    }
    connection.command(Data).await?;
    let response = connection.message(bytes).await?;
    let said = response.message().collect::<Vec<_>>().join(" ");
    let mut answer = format!("{} {said}", response.code());
    if !refusals.is_empty() {
        tracing::error!(
            refusals,
            "the relay took a mail for some of its receivers only: whom it put off gets it later"
        );
        answer = format!("{answer}, but not for {refusals}");
    }
    let outcome = match put_off {
        none if none.is_empty() => Outcome::Delivered,
        remaining => Outcome::Partial { remaining },
    };
    Ok(Attempt {
        outcome,
        answer: truncated(&answer),
    })
}

/// The envelope for those of the receivers that are named. Settings may have changed since they were put off: where none of
/// them is left, all are meant.
fn narrowed(envelope: &Envelope, remaining: &[String]) -> Envelope {
    let is_left = |mailbox: &&Address| remaining.contains(&mailbox.to_string());
    let left: Vec<Address> = envelope.to().iter().filter(is_left).cloned().collect();
    Envelope::new(envelope.from().cloned(), left).unwrap_or_else(|_| envelope.clone())
}

/// What a relay must know of a mail that is not all ASCII (RFC 6152, RFC 6531), or why it can't take it.
fn parameters(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    bytes: &[u8],
) -> Result<Vec<MailParameter>, &'static str> {
    let supports = |extension| connection.server_info().supports_feature(extension);
    let mut addresses = envelope.from().into_iter().chain(envelope.to());
    let mut parameters = Vec::new();
    if addresses.any(|address| !address.to_string().is_ascii()) {
        if !supports(Extension::SmtpUtfEight) {
            return Err("an address is not ASCII, and the relay has no SMTPUTF8");
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    if !bytes.is_ascii() {
        if !supports(Extension::EightBitMime) {
            return Err("the mail is not ASCII, and the relay has no 8BITMIME");
        }
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    Ok(parameters)
}

/// A connection at which a mail can be handed over.
async fn connect(
    email: &Email,
    tls: Option<TlsParameters>,
    credentials: Option<(String, String)>,
) -> Result<AsyncSmtpConnection, SmtpError> {
    // The name a client gives itself says nothing: an address literal is legal, and tells no host's name.
    let hello = ClientId::default();
    let (at_once, later) = match email.security {
        Security::Tls => (tls, None),
        Security::Starttls | Security::None => (None, tls),
    };
    let address = (email.host.as_str(), email.port());
    let mut connection = AsyncSmtpConnection::connect_tokio1(address, None, &hello, at_once, None).await?;
    if let Some(tls) = later {
        connection.starttls(tls, &hello).await?;
    }
    if let Some((name, password)) = credentials {
        connection.auth(&MECHANISMS, &Credentials::new(name, password)).await?;
    }
    Ok(connection)
}

/// What a relay's certificate must stand up to.
pub(super) fn tls(email: &Email) -> Result<TlsParameters, Invalid> {
    let invalid = |reason: String| Invalid::new("pager.destinations.ca_file", reason);
    let mut builder = TlsParameters::builder(email.host.clone());
    if let Some(path) = &email.ca_file {
        let named = |reason: String| invalid(format!("{}: {reason}", path.display()));
        let pem = std::fs::read(path).map_err(|error| named(error.to_string()))?;
        let authority = Certificate::from_pem(&pem).map_err(|error| named(error.to_string()))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(authority);
    }
    builder.build_rustls().map_err(|error| invalid(error.to_string()))
}

/// What came of a mail that was not handed over.
fn unsent(error: &SmtpError) -> Attempt {
    refused(error.is_permanent(), format!("not sent: {error}"))
}

/// What came of a mail that was being handed over.
fn handed_over(error: &SmtpError) -> Attempt {
    if error.is_permanent() || error.is_transient() || error.is_client() {
        return refused(error.is_permanent(), error.to_string());
    }
    Attempt {
        outcome: Outcome::Unknown,
        answer: truncated(&format!("no answer: {error}")),
    }
}

fn refused(permanent: bool, answer: String) -> Attempt {
    Attempt {
        outcome: Outcome::Refused { permanent, wait: None },
        answer: truncated(&answer),
    }
}
