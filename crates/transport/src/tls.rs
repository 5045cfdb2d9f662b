//! Reading certificates and keys from PEM files, with errors that name the field of the configuration and the file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde::{Deserialize, Serialize};

/// What a server shows and asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the server's certificate, followed by its chain.
    pub certificate: PathBuf,
    /// PEM file with the certificate's private key (PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
    /// PEM file with the authorities that sign clients; if set, a client without such a certificate is turned away in the handshake.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// Why TLS can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing, unreadable, or holds no such PEM section.
    #[error("{field}: no usable PEM in {}: {reason}", path.display())]
    File {
        /// The configuration's field.
        field: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// The files were read, but rustls won't have them: say, a key of another certificate.
    #[error("{field}: {} is refused: {reason}", path.display())]
    Refused {
        /// The configuration's field.
        field: &'static str,
        /// The file it names.
        path: PathBuf,
        /// What rustls said.
        reason: String,
    },
}

/// A rustls server that offers HTTP/2 and HTTP/1.1.
pub(crate) fn server(config: &TlsConfig) -> Result<Arc<ServerConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("tls", &config.certificate, &error))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let refuse = |error: &dyn std::fmt::Display| refused("tls.client_ca", path, error);
            let mut roots = rustls::RootCertStore::empty();
            for authority in certificates("tls.client_ca", path)? {
                roots.add(authority).map_err(|error| refuse(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| refuse(&error))?)
        }
    };
    let chain = certificates("tls.certificate", &config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|error| unreadable("tls.key", &config.key, &error))?;
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| refused("tls.key", &config.key, &error))?;
    // gRPC needs h2; a plain HTTP client of the JSON routes may know no more than http/1.1.
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

/// The certificates in a PEM file: one at least.
pub(crate) fn certificates(field: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Err(error) => Err(unreadable(field, path, &error)),
        Ok(found) if found.is_empty() => Err(unreadable(field, path, &"it holds no certificate")),
        Ok(found) => Ok(found),
    }
}

/// The text of a PEM file.
pub(crate) fn pem(field: &'static str, path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| unreadable(field, path, &error))
}

fn unreadable(field: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::File {
        field,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

pub(crate) fn refused(field: &'static str, path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Refused {
        field,
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
