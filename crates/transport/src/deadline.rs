//! The `grpc-timeout` header: what a caller says it will wait, as the gRPC over HTTP/2 protocol spells it.

use std::time::Duration;

use http::HeaderMap;

/// The caller's timeout; `None` if it named none, or not one the protocol allows (at most 8 digits and a unit).
pub(crate) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", value.parse().expect("a header value"));
        asked(&headers)
    }

    #[test]
    fn every_unit_of_the_protocol_is_read() {
        let read: Vec<_> = ["2H", "2M", "2S", "2m", "2u", "2n"].into_iter().map(of).collect();
        let nanos = [7_200_000_000_000, 120_000_000_000, 2_000_000_000, 2_000_000, 2_000, 2];
        assert_eq!(read, nanos.map(|n| Some(Duration::from_nanos(n))));
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_no_timeout() {
        for value in ["", "S", "12", "123456789S", "-1S", "1x", "1.5S", "+1S"] {
            assert_eq!(of(value), None, "{value:?}");
        }
    }
}
