//! The period a call asks for.

use std::time::Duration;

use prost_types::Timestamp as WireTimestamp;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::Timestamp;

/// From a time up to but without another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
}

/// The ends that a call names, either or both of them missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl Asked {
    pub(crate) fn parse(from: Option<WireTimestamp>, to: Option<WireTimestamp>) -> Result<Self, Malformed> {
        let (from, to) = (time::optional("from", from)?, time::optional("to", to)?);
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(Malformed::new("to", format!("{to} is not after from {from}")));
        }
        Ok(Self { from, to })
    }

    /// The whole period: all of the past, and all that is to come, where an end is missing.
    pub(crate) fn or_all(self) -> (Timestamp, Timestamp) {
        (self.from.unwrap_or(Timestamp::MIN), self.to.unwrap_or(Timestamp::MAX))
    }

    /// The whole period: what is missing ends with the newest reading, or begins `default` before the end. None when
    /// there is no reading to end with.
    pub(crate) fn complete(self, newest: Option<Timestamp>, default: Duration) -> Option<Period> {
        let to = match (self.to, newest) {
            (Some(to), _) => to,
            (None, Some(newest)) => newest + Duration::from_micros(1),
            (None, None) => return None,
        };
        let from = self.from.unwrap_or(to - default);
        Some(Period { from: from.min(to), to })
    }
}

impl Period {
    fn length_us(self) -> i64 {
        self.to.as_micros() - self.from.as_micros()
    }

    /// In which of `count` equal intervals a time of the period lies.
    pub(crate) fn interval(self, at: Timestamp, count: u32) -> u32 {
        let offset = i128::from(at.as_micros() - self.from.as_micros());
        let place = offset * i128::from(count) / i128::from(self.length_us().max(1));
        place.clamp(0, i128::from(count.max(1)) - 1) as u32
    }

    /// In which of `count` equal intervals a time of the period lies, their length rounded up to whole microseconds: as the
    /// database thins.
    pub(crate) fn rounded_interval(self, at: Timestamp, count: u32) -> i64 {
        let width_us = (self.length_us().max(1) as u64).div_ceil(u64::from(count.max(1))) as i64;
        (at.as_micros() - self.from.as_micros()) / width_us
    }
}

/// Cuts a period into pieces that hold few enough rows each, without knowing how many there are: twice as long after a
/// piece that fitted, half as long after one that did not.
#[derive(Debug)]
pub(crate) struct Pieces {
    period: Period,
    length_us: i64,
}

impl Pieces {
    pub(crate) fn new(period: Period) -> Self {
        Self {
            period,
            length_us: period.length_us().max(1),
        }
    }

    /// The piece to try next; none when all is done.
    pub(crate) fn next(&self) -> Option<Period> {
        let from = self.period.from;
        let end = from
            .as_micros()
            .saturating_add(self.length_us)
            .min(self.period.to.as_micros());
        (from < self.period.to).then(|| Period {
            from,
            to: Timestamp::from_micros(end),
        })
    }

    /// The piece fitted.
    pub(crate) fn done(&mut self, piece: Period) {
        self.period.from = piece.to;
        self.length_us = self.length_us.saturating_mul(2);
    }

    /// The piece held too much: the next one is shorter. False when it can't be.
    pub(crate) fn shorten(&mut self, piece: Period) -> bool {
        self.length_us = piece.length_us() / 2;
        let can = self.length_us > 0;
        self.length_us = self.length_us.max(1);
        can
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn what_is_not_asked_for_ends_with_the_newest_reading() {
        let hour = Duration::from_hours(1);
        let asked = |from: Option<i64>, to: Option<i64>| {
            Asked::parse(from.map(at).map(time::to_wire), to.map(at).map(time::to_wire))
        };
        let open = asked(None, None).unwrap().complete(Some(at(7_200)), hour).unwrap();
        assert_eq!(open.to, at(7_200) + Duration::from_micros(1));
        assert_eq!(open.from, open.to - hour);
        let closed = asked(Some(10), Some(20)).unwrap().complete(None, hour).unwrap();
        assert_eq!((closed.from, closed.to), (at(10), at(20)));
        assert_eq!(asked(Some(10), None).unwrap().complete(None, hour), None);
        assert_eq!(asked(Some(20), Some(20)).unwrap_err().field, "to");
    }

    #[test]
    fn intervals_are_equal_and_cover_the_period() {
        let period = Period {
            from: at(0),
            to: at(10),
        };
        let places: Vec<u32> = [0, 4, 5, 9, 10, -1]
            .map(|second| period.interval(at(second), 2))
            .to_vec();
        assert_eq!(places, [0, 0, 1, 1, 1, 0]);
    }

    proptest! {
        #[test]
        fn pieces_cover_the_period_once_however_much_they_hold(length in 1i64..10_000, fits in 1i64..500) {
            let period = Period { from: Timestamp::from_micros(5), to: Timestamp::from_micros(5 + length) };
            let mut pieces = Pieces::new(period);
            let mut reached = period.from;
            while let Some(piece) = pieces.next() {
                prop_assert_eq!(piece.from, reached);
                if piece.length_us() > fits && pieces.shorten(piece) {
                    continue;
                }
                prop_assert!(piece.length_us() <= fits);
                reached = piece.to;
                pieces.done(piece);
            }
            prop_assert_eq!(reached, period.to);
        }
    }
}
