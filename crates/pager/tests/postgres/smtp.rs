//! A real SMTP relay on loopback, as small as they come: RFC 5321 with `STARTTLS` and `AUTH PLAIN`. It knows no mailbox
//! `gone`, and puts off `grey` the first time.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A mail it took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// The argument of `AUTH PLAIN`.
    pub(crate) auth: Option<String>,
    pub(crate) over_tls: bool,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    /// What the next mails are answered at their end; `None` is no answer: the connection ends.
    answers: Mutex<VecDeque<Option<&'static str>>>,
    /// `grey` was asked for before.
    is_known: AtomicBool,
}

/// The relay; ends with the test's runtime. It calls itself `localhost`.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    shared: Arc<Shared>,
}

impl Relay {
    /// Answers the first mails by `answers`, one after the other, and takes the others.
    pub(crate) async fn start(answers: impl IntoIterator<Item = Option<&'static str>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let acceptor = certified(&folder);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Shared::default()
        });
        let theirs = shared.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, acceptor.clone(), theirs.clone()));
            }
        });
        Self { port, folder, shared }
    }

    /// The authority that signed its certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }
}

fn certified(folder: &TempDir) -> TlsAcceptor {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    if stream.write_all(b"220 localhost ESMTP\r\n").await.is_err() {
        return;
    }
    if talk(&mut stream, &shared, false).await {
        let stream = acceptor.accept(stream.into_inner()).await.unwrap();
        talk(&mut BufReader::new(stream), &shared, true).await;
    }
}

/// Talks until the client goes; answers whether it asked for TLS.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>, shared: &Shared, over_tls: bool) -> bool {
    let mut mail = Mail {
        over_tls,
        ..Mail::default()
    };
    let mut line = String::new();
    loop {
        line.clear();
        if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
            return false;
        }
        let said = line.trim_end();
        let answer = match said.split(' ').next().unwrap_or_default() {
            "EHLO" if over_tls => "250-localhost\r\n250-8BITMIME\r\n250 AUTH PLAIN\r\n",
            "EHLO" => "250-localhost\r\n250-8BITMIME\r\n250 STARTTLS\r\n",
            "STARTTLS" => {
                stream.write_all(b"220 go ahead\r\n").await.unwrap();
                return true;
            }
            "AUTH" => {
                mail.auth = said.strip_prefix("AUTH PLAIN ").map(str::to_owned);
                "235 welcome\r\n"
            }
            "MAIL" => {
                mail.from = said.to_owned();
                "250 ok\r\n"
            }
            "RCPT" if said.contains("<gone@") => "550 5.1.1 no such mailbox\r\n",
            "RCPT" if said.contains("<grey@") && !shared.is_known.swap(true, Ordering::Relaxed) => {
                "451 4.7.1 greylisted, try again later\r\n"
            }
            "RCPT" => {
                mail.to.push(said.to_owned());
                "250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                mail.text = text(stream).await;
                let answer = shared.answers.lock().unwrap().pop_front();
                shared.mails.lock().unwrap().push(mail.clone());
                match answer {
                    None => "250 queued as 1\r\n",
                    Some(Some(answer)) => answer,
                    Some(None) => return false,
                }
            }
            "QUIT" => "221 bye\r\n",
            _ => "500 what\r\n",
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return false;
        }
    }
}

/// A mail's text, up to the line with the full stop.
async fn text<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut BufReader<S>) -> String {
    let mut text = String::new();
    while !text.ends_with("\r\n.\r\n") {
        stream.read_line(&mut text).await.unwrap();
    }
    text
}
