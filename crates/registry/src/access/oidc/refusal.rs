//! Why somebody is not let in by the identity provider, in words for them: they may be tired, and it may be night.

use tonic::Status;

/// Why a sign-in by the identity provider comes to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A setting is wrong; the registry does not start.
    #[error("registry.access.oidc.{field}: {reason}")]
    Setting {
        /// The setting.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no provider.
    #[error("no identity provider is configured: sign in with a local account")]
    NotConfigured,
    /// The provider doesn't answer, or not as one.
    #[error(
        "the identity provider {issuer} does not answer as it should: try again in a moment, or sign in with a local account"
    )]
    Down {
        /// The provider.
        issuer: String,
        /// What it did; for the log.
        reason: String,
    },
    /// The flow is unknown.
    #[error("this sign-in was already used, took longer than ten minutes, or began in another browser: start again")]
    UnknownFlow,
    /// The state is another flow's.
    #[error("this answer of the identity provider belongs to another sign-in: start again")]
    WrongState,
    /// The provider said no.
    #[error("the identity provider refused: {error}")]
    ByProvider {
        /// What it said.
        error: String,
    },
    /// The provider would not trade the code for a token.
    #[error("the identity provider does not accept its own answer, which may have been used already: start again")]
    Code {
        /// What it said; for the log.
        reason: String,
    },
    /// The ID token is not what it should be.
    #[error("what the identity provider says about you can't be trusted: {reason}")]
    Token {
        /// What is wrong with it.
        reason: String,
    },
    /// The ID token is of another time.
    #[error("the identity provider's answer is not of now: {reason}. Are the clocks of Tocsin and of {issuer} right?")]
    Clock {
        /// The provider.
        issuer: String,
        /// By how much, as far as it is known.
        reason: String,
    },
    /// A claim is missing or has another form.
    #[error("the identity provider does not say what is needed: claim {claim} {reason}")]
    Claim {
        /// The claim.
        claim: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another organisation's person.
    #[error("{email} is of none of the domains that may sign in here")]
    Domain {
        /// The person's address.
        email: String,
    },
    /// No group of theirs gives anything.
    #[error(
        "none of your groups ({groups}) gives you a role here: ask an administrator to put you into one that does, or to map one"
    )]
    NoRole {
        /// What the claim has.
        groups: String,
    },
    /// The account is disabled.
    #[error("the account {name} is disabled: an administrator can say why")]
    Disabled {
        /// Its name.
        name: String,
    },
    /// Another account has the name.
    #[error(
        "the name {name} belongs to another account here: an administrator must set that one aside, or have you called otherwise"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Down { issuer, reason } => {
                tracing::warn!(issuer, reason, "the identity provider does not answer as it should");
                Self::unavailable(message)
            }
            Refusal::Code { reason } => {
                tracing::warn!(reason, "the identity provider does not take a code");
                Self::unauthenticated(message)
            }
            Refusal::Token { .. } => {
                tracing::warn!(reason = message, "an ID token was refused");
                Self::unauthenticated(message)
            }
            Refusal::UnknownFlow | Refusal::WrongState => Self::unauthenticated(message),
            Refusal::ByProvider { .. }
            | Refusal::Domain { .. }
            | Refusal::NoRole { .. }
            | Refusal::Disabled { .. }
            | Refusal::NameTaken { .. } => {
                tracing::warn!(reason = message, "a sign-in by the identity provider was refused");
                Self::permission_denied(message)
            }
            Refusal::Setting { .. } | Refusal::NotConfigured | Refusal::Clock { .. } | Refusal::Claim { .. } => {
                tracing::warn!(reason = message, "a sign-in by the identity provider failed");
                Self::failed_precondition(message)
            }
        }
    }
}
