//! A command's way to a running Tocsin: the address, the credential, and errors for people.

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use tocsin_transport::auth::Token;
use tocsin_transport::{Channel, channel, retry};
use tonic::{Code, Status};

use crate::credential::ServiceCredential;
use crate::data_dir::DataDir;

/// Where Tocsin is, and who asks.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Target {
    /// Address of the server [default: that of the data folder's `tocsin up`, or <http://127.0.0.1:7700>]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TOCSIN_TARGET",
        hide_env_values = true
    )]
    pub target: Option<String>,
    /// PEM file with the authorities that sign the server; for https
    #[arg(long, global = true, value_name = "FILE", env = "TOCSIN_CA", hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// File with the bearer token to show [default: the variable `TOCSIN_TOKEN`, or the data folder's service credential]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TOCSIN_TOKEN_FILE",
        hide_env_values = true
    )]
    pub token_file: Option<PathBuf>,
    /// Folder of a `tocsin up` on this machine [default: /var/lib/tocsin for root, or else ~/.local/share/tocsin]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TOCSIN_DATA_DIR",
        hide_env_values = true
    )]
    pub data_dir: Option<PathBuf>,
}

impl Target {
    /// A channel with the credential on each call. Connects when first used.
    ///
    /// # Errors
    /// If there is no credential to show, or the address is no good.
    pub fn channel(&self) -> Result<Channel> {
        let token = self.token(|name| std::env::var(name).ok())?;
        Ok(self.anonymous()?.with_token(&token))
    }

    /// The address that is called.
    ///
    /// # Errors
    /// If there is no home folder to look for a running Tocsin in.
    pub fn url(&self) -> Result<String> {
        match &self.target {
            Some(url) => Ok(url.clone()),
            None => Ok(self
                .folder()?
                .endpoint()
                .unwrap_or_else(|| "http://127.0.0.1:7700".to_owned())),
        }
    }

    /// A channel without a credential.
    ///
    /// # Errors
    /// If the address is no good.
    pub fn anonymous(&self) -> Result<Channel> {
        let config = channel::Config {
            urls: vec![self.url()?],
            ca: self.ca.clone(),
            // Verifying a bundle or replaying a threshold set takes its time.
            deadline_ms: NonZeroU64::new(120_000).expect("120000 is not 0"),
            ..channel::Config::default()
        };
        Channel::remote(&config).context("--target")
    }

    fn token(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Token> {
        if let Some(path) = &self.token_file {
            return read_token(path);
        }
        if let Some(text) = environment("TOCSIN_TOKEN").filter(|text| !text.is_empty()) {
            return Token::parse(text.trim()).context("the variable TOCSIN_TOKEN");
        }
        let file = self.folder()?.service_credential();
        if !file.exists() {
            bail!(
                "no credential: give --token-file or set TOCSIN_TOKEN; on the machine of a `tocsin up`, give its --data-dir \
                 ({} isn't there)",
                file.display()
            );
        }
        Ok(ServiceCredential::read(&file)?.token().clone())
    }

    fn folder(&self) -> Result<DataDir> {
        DataDir::find(self.data_dir.as_deref())
    }
}

/// Reads a bearer token from a file.
///
/// # Errors
/// If the file can't be read or holds no token.
pub fn read_token(path: &Path) -> Result<Token> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading the token {}", path.display()))?;
    Token::parse(text.trim()).with_context(|| format!("the token {}", path.display()))
}

/// A status in words: what failed, why, and what to do about it. `doing` completes "… failed": `listing tokens`.
pub fn explain(doing: &str, status: &Status) -> anyhow::Error {
    let advice = match status.code() {
        Code::Unauthenticated => "check --token-file or TOCSIN_TOKEN; it may be revoked or expired",
        Code::PermissionDenied => "ask with the credential of somebody who may",
        Code::Unavailable => "check that tocsin runs at --target, and its database; then try again",
        Code::DeadlineExceeded => "it may be overloaded; try again, and look at its log",
        Code::Unimplemented => "this server doesn't run the role that answers it; give another --target",
        Code::ResourceExhausted if retry::after(status).is_some() => "it is overloaded; try again",
        Code::Internal | Code::Unknown | Code::DataLoss => "this is a fault of the server; look at its log",
        _ => return anyhow!("{doing} failed: {}", status.message()),
    };
    anyhow!("{doing} failed: {} ({advice})", status.message())
}

/// The same of sending many readings: where the cause may pass, with what to do then.
pub fn explain_sending(doing: &str, status: &Status, then: &str) -> anyhow::Error {
    let error = explain(doing, status);
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::Unimplemented => error,
        _ => anyhow!("{error}; {then}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(folder: &Path) -> Target {
        Target {
            data_dir: Some(folder.to_owned()),
            ..Target::default()
        }
    }

    #[test]
    fn only_what_may_pass_is_advised_to_be_tried_again() {
        let say = |status: Status| explain_sending("publishing", &status, "run it again").to_string();
        assert!(say(Status::unavailable("down")).ends_with("run it again"));
        let refused = say(Status::permission_denied("lacks may_replay"));
        assert!(refused.starts_with("publishing failed: lacks may_replay") && !refused.contains("again"));
    }

    #[test]
    fn a_token_file_goes_before_the_variable_and_that_before_the_data_folder() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let file = folder.path().join("token");
        std::fs::write(&file, "from-file\n").expect("written");
        let variable = |_: &str| Some("from-variable".to_owned());
        let nothing = |_: &str| None;

        let mut target = target(folder.path());
        let error = target.token(nothing).unwrap_err().to_string();
        assert!(
            error.contains("--token-file") && error.contains("TOCSIN_TOKEN"),
            "{error}"
        );
        let made = ServiceCredential::read_or_create(&folder.path().join("service.credential")).expect("made");
        assert!(made.matches(&target.token(nothing).expect("the folder's")));
        assert_eq!(target.token(variable).expect("the variable").expose(), "from-variable");
        target.token_file = Some(file);
        assert_eq!(target.token(variable).expect("the file").expose(), "from-file");
    }

    #[test]
    fn the_address_of_a_running_up_is_found() {
        let folder = tempfile::tempdir().expect("a temp folder");
        let mut target = target(folder.path());
        assert_eq!(target.url().expect("the default"), "http://127.0.0.1:7700");
        DataDir::find(Some(folder.path()))
            .expect("found")
            .write_endpoint("http://127.0.0.1:4711")
            .expect("written");
        assert_eq!(target.url().expect("the folder's"), "http://127.0.0.1:4711");
        target.target = Some("https://tocsin.example.org".to_owned());
        assert_eq!(target.url().expect("the given one"), "https://tocsin.example.org");
    }

    #[test]
    fn a_status_says_what_failed_why_and_what_to_do() {
        let error = explain("listing tokens", &Status::unauthenticated("the credential is unknown"));
        let error = error.to_string();
        assert!(!error.contains('\n'));
        assert!(
            error.starts_with("listing tokens failed: the credential is unknown"),
            "{error}"
        );
        assert!(error.contains("--token-file"), "{error}");
    }
}
