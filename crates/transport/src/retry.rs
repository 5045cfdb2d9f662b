//! Repeating an idempotent call: an explicit helper, so that the reader of a call sees that it may happen more than once.
//!
//! A server that refuses before doing any work says when to come back in the metadata [`RETRY_AFTER_MS`]; [`hint`] writes it and
//! [`after`] reads it.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key: milliseconds after which the refused call may be worth repeating.
pub const RETRY_AFTER_MS: &str = "retry-after-ms";

/// How often and how soon a call is repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Calls in all, the first one included.
    pub attempts: NonZeroU32,
    /// The wait before the second call, in milliseconds; it doubles from call to call.
    pub first_backoff_ms: u64,
    /// No wait is longer than this, in milliseconds, whatever the server asks for.
    pub longest_backoff_ms: u64,
    /// Seeds the jitter. Give each client its own, or those that failed together come back together.
    pub jitter_seed: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::new(4).expect("4 is not 0"),
            first_backoff_ms: 50,
            longest_backoff_ms: 5_000,
            jitter_seed: 0,
        }
    }
}

impl Policy {
    /// The wait after `failed` calls (1 or more): exponential backoff, of which a seeded half to whole is taken.
    fn backoff(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(32);
        let full_ms = self
            .first_backoff_ms
            .saturating_mul(1 << doublings)
            .min(self.longest_backoff_ms);
        let half_ms = full_ms / 2;
        let jitter_ms = splitmix64(self.jitter_seed.wrapping_add(u64::from(failed))) % (full_ms - half_ms + 1);
        Duration::from_millis(half_ms + jitter_ms)
    }

    /// The wait before the call is repeated, given how it failed; `None` if repeating can't help.
    fn wait(&self, failed: u32, status: &Status) -> Option<Duration> {
        if !is_worth_repeating(status) || failed >= self.attempts.get() {
            return None;
        }
        let longest = Duration::from_millis(self.longest_backoff_ms);
        Some(self.backoff(failed).max(after(status).unwrap_or_default()).min(longest))
    }
}

/// Calls `call` until it succeeds, fails for good, or has been called `policy.attempts` times.
///
/// Only for calls that may happen twice: an UNAVAILABLE answer doesn't say that nothing was done.
///
/// # Errors
/// The last status.
pub async fn retry<T, F, Fut>(policy: &Policy, mut call: F) -> Result<T, Status>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, Status>>,
{
    let mut failed = 0;
    loop {
        let status = match call().await {
            Ok(answer) => return Ok(answer),
            Err(status) => status,
        };
        failed += 1;
        let Some(wait) = policy.wait(failed, &status) else {
            return Err(status);
        };
        tracing::debug!(code = ?status.code(), message = status.message(), failed, wait_ms = wait.as_millis() as u64, "call failed, repeating");
        tokio::time::sleep(wait).await;
    }
}

/// Whether the same call may succeed later or elsewhere: UNAVAILABLE, or `RESOURCE_EXHAUSTED` with a hint, which is load shed at the door
/// (without one it is a message over the size limit, which will not shrink).
pub fn is_worth_repeating(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::ResourceExhausted => after(status).is_some(),
        _ => false,
    }
}

/// `status` with the hint to come back after `wait` (kept in whole milliseconds).
#[must_use]
pub fn hint(mut status: Status, wait: Duration) -> Status {
    status
        .metadata_mut()
        .insert(RETRY_AFTER_MS, MetadataValue::from(wait.as_millis() as u64));
    status
}

/// The server's hint, if it gave one.
pub fn after(status: &Status) -> Option<Duration> {
    let value = status.metadata().get(RETRY_AFTER_MS)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_millis)
}

/// One draw of `SplitMix64` (Steele, Lea and Flood, 2014).
fn splitmix64(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn calls_made(policy: &Policy, status: Status) -> u32 {
        let mut calls = 0;
        let outcome: Result<(), _> = retry(policy, || {
            calls += 1;
            std::future::ready(Err(status.clone()))
        })
        .await;
        assert_eq!(outcome.expect_err("it always fails").code(), status.code());
        calls
    }

    #[tokio::test(start_paused = true)]
    async fn unavailable_is_repeated_up_to_the_limit_and_other_codes_are_not() {
        let policy = Policy::default();
        assert_eq!(calls_made(&policy, Status::unavailable("down")).await, 4);
        assert_eq!(
            calls_made(
                &policy,
                hint(Status::resource_exhausted("busy"), Duration::from_millis(5))
            )
            .await,
            4
        );
        assert_eq!(calls_made(&policy, Status::resource_exhausted("too large")).await, 1);
        assert_eq!(calls_made(&policy, Status::internal("broken")).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_recovers_gives_its_answer() {
        let mut calls = 0;
        let policy = Policy::default();
        let answer = retry(&policy, || {
            calls += 1;
            std::future::ready(if calls < 3 {
                Err(Status::unavailable("not yet"))
            } else {
                Ok(calls)
            })
        });
        assert_eq!(answer.await.expect("the third call succeeds"), 3);
    }

    #[test]
    fn the_hint_is_honoured_up_to_the_longest_wait() {
        let policy = Policy::default();
        let asked = |ms| policy.wait(1, &hint(Status::unavailable("busy"), Duration::from_millis(ms)));
        assert_eq!(asked(700), Some(Duration::from_millis(700)));
        assert_eq!(asked(3_600_000), Some(Duration::from_millis(policy.longest_backoff_ms)));
    }

    #[test]
    fn backoff_grows_stays_under_its_limit_and_differs_by_seed() {
        let policy = Policy::default();
        for failed in 1..100 {
            let full_ms = (50_u64 << (failed - 1).min(20)).min(5_000);
            let wait_ms = policy.backoff(failed).as_millis() as u64;
            assert!(
                (full_ms / 2..=full_ms).contains(&wait_ms),
                "{failed}: {wait_ms} of {full_ms}"
            );
        }
        let of_seed = |jitter_seed| {
            Policy {
                jitter_seed,
                ..Policy::default()
            }
            .backoff(6)
        };
        assert!((1..20).any(|seed| of_seed(seed) != of_seed(0)));
    }

    #[test]
    fn a_zero_backoff_is_allowed() {
        let policy = Policy {
            first_backoff_ms: 0,
            ..Policy::default()
        };
        assert_eq!(policy.wait(1, &Status::unavailable("down")), Some(Duration::ZERO));
    }
}
