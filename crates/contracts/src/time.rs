//! Times on the wire: `google.protobuf.Timestamp`, kept to the microsecond.

use prost_types::Timestamp as WireTimestamp;
use tocsin_domain::Timestamp;

use crate::Malformed;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Writes a time.
pub fn to_wire(time: Timestamp) -> WireTimestamp {
    let micros = time.as_micros();
    WireTimestamp {
        seconds: micros.div_euclid(MICROS_PER_SECOND),
        nanos: (micros.rem_euclid(MICROS_PER_SECOND) * 1000) as i32,
    }
}

/// Reads a time, dropping what is finer than a microsecond. Refused outside the years 1 to 9999; the error names `field`.
pub fn from_wire(field: &str, time: WireTimestamp) -> Result<Timestamp, Malformed> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Malformed::new(
            field,
            format!("{} nanoseconds are not within a second", time.nanos),
        ));
    }
    let micros = time
        .seconds
        .checked_mul(MICROS_PER_SECOND)
        .and_then(|micros| micros.checked_add(i64::from(time.nanos / 1000)))
        .filter(|micros| (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).contains(micros))
        .ok_or_else(|| Malformed::new(field, format!("{} s is outside the years 1 to 9999", time.seconds)))?;
    Ok(Timestamp::from_micros(micros))
}

/// Reads a time that must be there.
pub fn required(field: &str, time: Option<WireTimestamp>) -> Result<Timestamp, Malformed> {
    from_wire(field, time.ok_or_else(|| Malformed::new(field, "is missing"))?)
}

/// Reads a time that may be left out.
pub fn optional(field: &str, time: Option<WireTimestamp>) -> Result<Option<Timestamp>, Malformed> {
    time.map(|time| from_wire(field, time)).transpose()
}

/// Reads microseconds since the epoch, as Tocsin's own roles send them to each other.
pub fn from_micros(field: &str, micros: i64) -> Result<Timestamp, Malformed> {
    let time = Timestamp::from_micros(micros);
    if time.as_micros() == micros {
        Ok(time)
    } else {
        Err(Malformed::new(
            field,
            format!("{micros} us is outside the years 1 to 9999"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = Timestamp> {
        (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).prop_map(Timestamp::from_micros)
    }

    proptest! {
        #[test]
        fn a_time_survives_the_wire(time in any_time()) {
            prop_assert_eq!(from_wire("at", to_wire(time)).unwrap(), time);
            prop_assert_eq!(from_micros("at", time.as_micros()).unwrap(), time);
        }

        #[test]
        fn no_seconds_and_nanoseconds_are_misread(seconds: i64, nanos: i32) {
            match from_wire("at", WireTimestamp { seconds, nanos }) {
                Ok(time) => prop_assert_eq!(to_wire(time), WireTimestamp { seconds, nanos: nanos / 1000 * 1000 }),
                Err(error) => prop_assert_eq!(error.field, "at"),
            }
        }
    }

    #[test]
    fn a_missing_or_impossible_time_names_its_field() {
        assert_eq!(
            required("captured_at", None).unwrap_err(),
            Malformed::new("captured_at", "is missing")
        );
        assert_eq!(optional("until", None), Ok(None));
        let late = WireTimestamp {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(optional("until", Some(late)).unwrap_err().field, "until");
        assert_eq!(
            from_micros("received_at_us", i64::MAX).unwrap_err().field,
            "received_at_us"
        );
    }
}
