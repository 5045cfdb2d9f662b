//! What one attempt to deliver a page came to, and when to try again.

use std::error::Error as _;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::{Rng, RngExt};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use tocsin_domain::Timestamp;

use crate::Config;

/// The most of a receiver's answer that is kept, in characters.
const ANSWER_CHARS: usize = 500;

/// The most of a receiver's answer that is read, in bytes.
const ANSWER_BYTES: usize = 16 * 1024;

/// What the receiver made of a page, as far as we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It took the page.
    Delivered,
    /// It did not take it: it said so, or was never reached. `wait` is how long it asks us to wait; `permanent` that
    /// the page itself is no good to it.
    Refused { permanent: bool, wait: Option<Duration> },
    /// It took the page for some of its receivers, and put these off: the next attempt is for them alone.
    Partial { remaining: Vec<String> },
    /// The page may have arrived: no answer came. A repeat may double it.
    Unknown,
}

/// An attempt with what was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) outcome: Outcome,
    pub(crate) answer: String,
}

/// What becomes of a page after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Delivered,
    RetryAfter(Duration),
    /// It would be dead, but somebody still has to be told.
    PersistAfter(Duration),
    Dead,
}

impl Attempt {
    /// Reads what came of a request.
    pub(crate) async fn of(result: reqwest::Result<Response>, now: Timestamp) -> Self {
        match result {
            Ok(response) => Self::answered(response, now).await,
            // Nothing was sent over a connection that never stood.
            Err(error) if error.is_connect() || error.is_builder() => Self {
                outcome: Outcome::Refused {
                    permanent: false,
                    wait: None,
                },
                answer: format!("not reached: {}", chain(error)),
            },
            Err(error) => Self {
                outcome: Outcome::Unknown,
                answer: format!("no answer: {}", chain(error)),
            },
        }
    }

    async fn answered(response: Response, now: Timestamp) -> Self {
        let status = response.status();
        let outcome = outcome(status, response.headers(), now);
        // The status is the answer; a body that doesn't come to its end takes nothing from it.
        let body = beginning(response).await;
        let answer = truncated(&format!("{status} {}", body.trim()));
        Self { outcome, answer }
    }

    /// What follows from this attempt, the `number`th. A page that must arrive outlives every refusal: from the last
    /// attempt that others get, it is tried on at the longest pause.
    pub(crate) fn next(&self, number: u32, must_arrive: bool, config: &Config, rng: &mut impl Rng) -> Next {
        let (limit, wait) = match &self.outcome {
            Outcome::Delivered => return Next::Delivered,
            // Somebody was told: whoever is put off for good is given up on, the page is not.
            Outcome::Partial { .. } if number >= config.max_attempts => return Next::Delivered,
            Outcome::Refused { permanent: true, wait } => (config.max_rejections.min(config.max_attempts), *wait),
            Outcome::Refused { permanent: false, wait } => (config.max_attempts, *wait),
            Outcome::Partial { .. } | Outcome::Unknown => (config.max_attempts, None),
        };
        let longest = config.backoff_limit();
        let asked = wait.unwrap_or_default().min(longest);
        if number < limit {
            Next::RetryAfter(backoff(number, config, rng).max(asked))
        } else if must_arrive {
            Next::PersistAfter(jittered(longest, rng).max(asked))
        } else {
            Next::Dead
        }
    }
}

/// Twice as long after each attempt, up to the limit.
pub(crate) fn backoff(number: u32, config: &Config, rng: &mut impl Rng) -> Duration {
    let doublings = number.saturating_sub(1).min(30);
    let full_ms = config
        .backoff_first_ms
        .saturating_mul(1 << doublings)
        .min(config.backoff_limit_ms.max(1));
    jittered(Duration::from_millis(full_ms), rng)
}

/// Between half of a pause and all of it, so that what failed together is not tried again together.
fn jittered(pause: Duration, rng: &mut impl Rng) -> Duration {
    rng.random_range(pause / 2..=pause)
}

/// Reads a status: 408, 425, 429 and every 5xx may go away by themselves, another refusal hardly. A redirect is a
/// refusal, too: pages go where they were configured to go.
fn outcome(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Outcome {
    if status.is_success() {
        return Outcome::Delivered;
    }
    let passing = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    Outcome::Refused {
        permanent: !passing,
        wait: retry_after(headers, now),
    }
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from(date.with_timezone(&Utc)).since(now))
}

async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Text that fits a row: Postgres takes no NUL.
pub(crate) fn truncated(text: &str) -> String {
    let clean = text.chars().map(|c| if c == '\0' { '\u{fffd}' } else { c });
    clean.take(ANSWER_CHARS).collect::<String>().trim_end().to_owned()
}

/// An error with its causes, without the address, which may hold a secret.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    truncated(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn attempt(outcome: Outcome) -> Attempt {
        Attempt {
            outcome,
            answer: String::new(),
        }
    }

    fn headers(retry_after: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, retry_after.parse().unwrap())])
    }

    #[test]
    fn only_a_success_is_delivered_and_overload_passes() {
        let now = Timestamp::from_micros(0);
        let of = |code: u16| outcome(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), now);
        let refused = |permanent| Outcome::Refused { permanent, wait: None };
        for code in [200, 202, 204] {
            assert_eq!(of(code), Outcome::Delivered);
        }
        for code in [408, 425, 429, 500, 503, 504] {
            assert_eq!(of(code), refused(false), "{code}");
        }
        for code in [301, 400, 401, 404, 410] {
            assert_eq!(of(code), refused(true), "{code}");
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = Timestamp::parse("now", "2015-10-21T07:27:00Z").unwrap();
        assert_eq!(retry_after(&headers("120"), now), Some(Duration::from_mins(2)));
        let date = headers("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(retry_after(&date, now), Some(Duration::from_mins(1)));
        assert_eq!(retry_after(&date, now + Duration::from_mins(10)), Some(Duration::ZERO));
        assert_eq!(retry_after(&headers("soon"), now), None);
    }

    #[test]
    fn a_page_dies_sooner_when_the_receiver_says_it_is_no_good() {
        let config = Config {
            max_attempts: 5,
            max_rejections: 2,
            ..Config::default()
        };
        let mut rng = StdRng::seed_from_u64(1);
        let rejected = attempt(Outcome::Refused {
            permanent: true,
            wait: None,
        });
        let unknown = attempt(Outcome::Unknown);
        let mut after = |attempt: &Attempt, number| attempt.next(number, false, &config, &mut rng);
        assert!(matches!(after(&rejected, 1), Next::RetryAfter(_)));
        assert_eq!(after(&rejected, 2), Next::Dead);
        assert!(matches!(after(&unknown, 4), Next::RetryAfter(_)));
        assert_eq!(after(&unknown, 5), Next::Dead);
        assert_eq!(after(&attempt(Outcome::Delivered), 9), Next::Delivered);
    }

    #[test]
    fn a_page_that_must_arrive_outlives_every_refusal_at_the_longest_pause() {
        let config = Config {
            max_attempts: 5,
            max_rejections: 2,
            backoff_limit_ms: 60_000,
            ..Config::default()
        };
        let mut rng = StdRng::seed_from_u64(1);
        let permanent = Outcome::Refused {
            permanent: true,
            wait: None,
        };
        let mut after = |outcome, number| attempt(outcome).next(number, true, &config, &mut rng);
        assert!(matches!(after(permanent.clone(), 1), Next::RetryAfter(_)));
        for (outcome, number) in [(permanent.clone(), 2), (permanent, u32::MAX), (Outcome::Unknown, 5)] {
            let Next::PersistAfter(pause) = after(outcome, number) else {
                panic!("attempt {number} was the last");
            };
            assert!((30..=60).contains(&pause.as_secs()), "{pause:?}");
        }
        assert_eq!(after(Outcome::Delivered, 9), Next::Delivered);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_up_to_the_limit() {
        let config = Config {
            backoff_limit_ms: 60_000,
            ..Config::default()
        };
        let mut rng = StdRng::seed_from_u64(1);
        let mut after = |seconds| {
            let wait = Some(Duration::from_secs(seconds));
            attempt(Outcome::Refused { permanent: false, wait }).next(1, false, &config, &mut rng)
        };
        assert_eq!(after(20), Next::RetryAfter(Duration::from_secs(20)));
        assert_eq!(after(100_000), Next::RetryAfter(Duration::from_mins(1)));
        assert!(matches!(after(0), Next::RetryAfter(pause) if pause >= Duration::from_millis(500)));
    }

    proptest! {
        #[test]
        fn pauses_double_up_to_the_limit_with_jitter_below(number in 1u32..2000, seed: u64) {
            let config = Config { backoff_first_ms: 100, backoff_limit_ms: 5_000, ..Config::default() };
            let pause = backoff(number, &config, &mut StdRng::seed_from_u64(seed)).as_millis() as u64;
            let full = 100u64.saturating_mul(1 << (number - 1).min(20)).min(5_000);
            prop_assert!((full / 2..=full).contains(&pause), "{pause} of {full}");
        }
    }

    #[test]
    fn an_answer_is_cut_between_characters_and_holds_no_nul() {
        let answer = truncated(&format!("a\0{}", "é".repeat(1000)));
        assert!(answer.starts_with("a\u{fffd}é") && answer.chars().count() == 500);
    }
}
