//! What a store call can answer instead of a value, in the kinds that services tell their callers apart by.

use tocsin_domain::Invalid;

/// Why a store call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Postgres could not be reached, is starting or stopping, or gave up on a lock or a disk: trying again may help.
    #[error("the database is not available: {reason}")]
    Unavailable {
        /// What the driver or the server said.
        reason: String,
    },
    /// Something of that name or key is there already.
    #[error("{what} exists already")]
    AlreadyExists {
        /// The thing, with its name.
        what: String,
    },
    /// The thing was not in the state the call expects: somebody else was faster, or the transition is not legal.
    #[error("{what}")]
    Conflict {
        /// What was expected, and what was found.
        what: String,
    },
    /// There is no such thing, or it lies outside the caller's scope.
    #[error("{what} was not found")]
    NotFound {
        /// The thing, with its name.
        what: String,
    },
    /// A stored row does not hold a legal value: somebody wrote past this crate, or a newer version did.
    #[error("impossible row: {table}.{column} of {key}: {reason}")]
    ImpossibleRow {
        /// Its table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// The schema could not be brought up to date.
    #[error("migrating the schema: {0}")]
    Migration(#[source] Box<sqlx::migrate::MigrateError>),
    /// Anything else the database refused.
    #[error("database: {0}")]
    Database(#[source] Box<sqlx::Error>),
}

impl Error {
    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::NotFound { what: what.into() }
    }

    /// For `map_err` where a column is parsed.
    pub(crate) fn impossible(
        table: &'static str,
        column: &'static str,
        key: impl ToString,
    ) -> impl FnOnce(Invalid) -> Self {
        move |invalid| Self::ImpossibleRow {
            table,
            column,
            key: key.to_string(),
            reason: invalid.reason,
        }
    }

    /// For `map_err` where a row is inserted under a name that must be new.
    pub(crate) fn exists(what: impl FnOnce() -> String) -> impl FnOnce(sqlx::Error) -> Self {
        move |error| match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::AlreadyExists { what: what() },
            _ => error.into(),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(database) => {
                database.code().is_some_and(|code| is_transient(&code)) || is_without_partition(&**database)
            }
            _ => false,
        };
        if transient {
            Self::Unavailable {
                reason: error.to_string(),
            }
        } else {
            Self::Database(Box::new(error))
        }
    }
}

impl From<sqlx::migrate::MigrateError> for Error {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        Self::Migration(Box::new(error))
    }
}

/// A row of a day whose partition was archived a moment ago: the next try makes one. Nothing but the constraint's missing
/// name tells this from a violated check.
fn is_without_partition(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.is_check_violation() && error.constraint().is_none() && error.table() == Some("reading")
}

/// SQLSTATE classes and codes after which the same call may succeed.
fn is_transient(code: &str) -> bool {
    // Serialisation failure and deadlock; a lock not had in time, a statement cancelled.
    let in_the_way = ["40001", "40P01", "55P03", "57014"];
    // Shutting down, crashed, starting up; a primary that has become a standby; a disk that fails.
    let not_now = ["57P01", "57P02", "57P03", "25006", "58030"];
    // Connection trouble; out of resources.
    let classes = ["08", "53"];
    in_the_way.contains(&code) || not_now.contains(&code) || classes.iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_worth_another_try_and_a_missing_row_is_not() {
        assert!(matches!(
            Error::from(sqlx::Error::PoolTimedOut),
            Error::Unavailable { .. }
        ));
        assert!(matches!(Error::from(sqlx::Error::RowNotFound), Error::Database(_)));
        for code in ["57P03", "08006", "53100", "57014", "55P03", "25006", "58030"] {
            assert!(is_transient(code), "{code}");
        }
        assert!(!is_transient("23505") && !is_transient("25001"));
    }

    #[test]
    fn an_impossible_row_names_its_place() {
        let error = Error::impossible("site", "name", 7)(Invalid::new("name", "\"A B\" is not a name"));
        assert_eq!(
            error.to_string(),
            "impossible row: site.name of 7: \"A B\" is not a name"
        );
    }
}
