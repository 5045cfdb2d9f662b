//! Lengths of time as people type them.

use std::time::Duration;

/// Reads `90s`, `15m`, `12h`, `30d`; for clap.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a length of time such as 90s, 15m, 12h or 30d");
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refuse)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    let count: u64 = count.parse().map_err(|_| refuse())?;
    count.checked_mul(unit_s).map(Duration::from_secs).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_has_a_unit() {
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("30d"), Ok(Duration::from_hours(720)));
        for bad in [
            "",
            "5",
            "d",
            "1w",
            "-1d",
            "1.5h",
            "99999999999999999999d",
            "213503982334602d",
            "5é",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
