//! The scorer's settings.

use std::num::{NonZeroU64, NonZeroUsize};

use serde::{Deserialize, Serialize};

/// How much to do at a time, and what to keep loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that run networks; as many as the machine has cores when not given.
    pub threads: Option<NonZeroUsize>,
    /// Rows scored together at most.
    pub batch_rows: NonZeroUsize,
    /// Rows waiting at most; a request that finds more waiting is refused.
    pub waiting_rows: NonZeroUsize,
    /// When a refused caller may come back, in milliseconds.
    pub retry_after_ms: u64,
    /// Networks kept loaded at most, beside those that are bound to a class.
    pub networks: NonZeroUsize,
    /// A network that is bound to no class is dropped when nobody has used it for this many milliseconds.
    pub keep_unused_ms: NonZeroU64,
}

impl Default for Config {
    fn default() -> Self {
        let count = |count| NonZeroUsize::new(count).expect("the defaults are not 0");
        Self {
            threads: None,
            batch_rows: count(256),
            waiting_rows: count(65_536),
            retry_after_ms: 50,
            networks: count(16),
            keep_unused_ms: NonZeroU64::new(600_000).expect("600000 is not 0"),
        }
    }
}

impl Config {
    /// The number of threads to start.
    pub(crate) fn threads(&self) -> NonZeroUsize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_document_is_the_default_and_an_unknown_or_zero_field_is_refused() {
        let read = |json: &str| serde_json::from_str::<Config>(json);
        assert_eq!(read("{}").expect("every field has a default"), Config::default());
        assert!(read(r#"{"thread": 2}"#).is_err());
        assert!(read(r#"{"threads": 0}"#).is_err());
    }
}
