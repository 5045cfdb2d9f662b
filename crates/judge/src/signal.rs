//! How a sensor's own habit is learned from what is heard of it: how often something comes, and whether it changes.
//!
//! A gateway may send once in five minutes what its sensors said every ten seconds, and a spool that catches up sends in a
//! minute what they said in a day. So both the time between receipts and the time between captures are kept, and a sensor's
//! interval is the longer of the two medians.

use std::time::Duration;

use tocsin_domain::instrument::MOST_GAPS;
use tocsin_domain::{SensorId, SensorSignal, Timestamp, TokenId};

/// Gaps from which on a sensor's own median stands for what its class declares.
const ENOUGH_GAPS: usize = 3;

/// What one reading tells of its sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The token by which it came, where known.
    pub gateway: Option<TokenId>,
    /// When it was received.
    pub received_at: Timestamp,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// [`spectrum_hash`] of its canonical spectrum.
    pub spectrum_hash: i64,
    /// Whether the machine stood still; none when it does not tell.
    pub stopped: Option<bool>,
}

/// A hash of a canonical spectrum by which equal ones are known: FNV-1a, 64 bits (Fowler, Noll, Vo; RFC 9923).
pub fn spectrum_hash(codes: &[u8]) -> i64 {
    let hash = codes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, code| {
        (hash ^ u64::from(*code)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

/// What is known of a sensor after its first reading.
pub fn first(sensor: SensorId, heard: &Heard) -> SensorSignal {
    SensorSignal {
        sensor,
        gateway: heard.gateway,
        received_at: heard.received_at,
        captured_at: heard.captured_at,
        arrival_gaps_ms: Vec::new(),
        capture_gaps_ms: Vec::new(),
        spectrum_hash: heard.spectrum_hash,
        same_since: heard.captured_at,
        same_count: 1,
        stopped: heard.stopped,
    }
}

/// Takes one more reading. One that was captured before the newest says when it was received, and no more.
pub fn hear(signal: &mut SensorSignal, heard: &Heard) {
    if heard.received_at > signal.received_at {
        push_gap(&mut signal.arrival_gaps_ms, heard.received_at.since(signal.received_at));
        signal.received_at = heard.received_at;
        signal.gateway = heard.gateway.or(signal.gateway);
    }
    if heard.captured_at <= signal.captured_at {
        return;
    }
    push_gap(&mut signal.capture_gaps_ms, heard.captured_at.since(signal.captured_at));
    signal.captured_at = heard.captured_at;
    signal.stopped = heard.stopped;
    if heard.spectrum_hash == signal.spectrum_hash {
        signal.same_count = signal.same_count.saturating_add(1);
    } else {
        (signal.spectrum_hash, signal.same_since, signal.same_count) = (heard.spectrum_hash, heard.captured_at, 1);
    }
}

/// How often something of the sensor comes: the longer of the medians of its recent gaps; what its class declares while
/// too few are known.
pub fn interval(signal: &SensorSignal, declared: Duration) -> Duration {
    let medians = [&signal.arrival_gaps_ms, &signal.capture_gaps_ms].map(|gaps| median(gaps));
    medians.into_iter().flatten().max().unwrap_or(declared)
}

fn median(gaps_ms: &[i64]) -> Option<Duration> {
    if gaps_ms.len() < ENOUGH_GAPS {
        return None;
    }
    let mut sorted = gaps_ms.to_vec();
    sorted.sort_unstable();
    let middle = sorted[sorted.len() / 2];
    Some(Duration::from_millis(u64::try_from(middle).unwrap_or(0)))
}

fn push_gap(gaps_ms: &mut Vec<i64>, gap: Duration) {
    gaps_ms.push(i64::try_from(gap.as_millis()).unwrap_or(i64::MAX));
    let excess = gaps_ms.len().saturating_sub(MOST_GAPS);
    gaps_ms.drain(..excess);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    pub(crate) fn heard(received: i64, captured: i64, hash: i64) -> Heard {
        Heard {
            gateway: Some(TokenId(1)),
            received_at: at(received),
            captured_at: at(captured),
            spectrum_hash: hash,
            stopped: None,
        }
    }

    fn signal_of(readings: &[Heard]) -> SensorSignal {
        let mut signal = first(SensorId(1), &readings[0]);
        for heard in &readings[1..] {
            hear(&mut signal, heard);
        }
        signal
    }

    const CLASS: Duration = Duration::from_secs(10);

    #[test]
    fn a_hash_is_that_of_the_published_vectors() {
        // draft-eastlake-fnv, appendix C: "", "a", "foobar".
        assert_eq!(spectrum_hash(b"").cast_unsigned(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(spectrum_hash(b"a").cast_unsigned(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(spectrum_hash(b"foobar").cast_unsigned(), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_the_class_declares_holds_until_a_few_gaps_are_known() {
        let of = |count: i64| {
            let readings: Vec<Heard> = (0..count).map(|n| heard(n * 60, n * 60, n)).collect();
            interval(&signal_of(&readings), CLASS)
        };
        assert_eq!(of(1), CLASS);
        assert_eq!(of(3), CLASS);
        assert_eq!(of(4), Duration::from_mins(1));
    }

    #[test]
    fn an_outage_does_not_move_the_interval() {
        let times = [0, 10, 20, 30, 40, 7_240, 7_250, 7_260];
        let readings: Vec<Heard> = times.iter().map(|t| heard(*t, *t, *t)).collect();
        assert_eq!(interval(&signal_of(&readings), CLASS), Duration::from_secs(10));
    }

    #[test]
    fn a_gateway_that_sends_in_batches_is_as_slow_as_its_batches_and_a_spool_as_its_sensor() {
        let batches: Vec<Heard> = (0..120).map(|n| heard(300 * (n / 30), 10 * n, n)).collect();
        assert_eq!(interval(&signal_of(&batches), CLASS), Duration::from_mins(5));
        let spool: Vec<Heard> = (0..20).map(|n| heard(100_000 + n, 600 * n, n)).collect();
        assert_eq!(interval(&signal_of(&spool), CLASS), Duration::from_mins(10));
    }

    #[test]
    fn equal_spectra_are_counted_from_the_first_of_them() {
        let readings = [
            heard(0, 0, 5),
            heard(10, 10, 6),
            heard(20, 20, 6),
            heard(25, 15, 9),
            heard(30, 30, 6),
        ];
        let signal = signal_of(&readings);
        assert_eq!((signal.same_since, signal.same_count), (at(10), 3));
        assert_eq!((signal.received_at, signal.captured_at), (at(30), at(30)));
    }

    proptest! {
        #[test]
        fn neither_receipt_nor_capture_ever_goes_back(
            readings in prop::collection::vec((0_i64..1_000, 0_i64..1_000, 0_i64..2), 1..60),
        ) {
            let readings: Vec<Heard> = readings.into_iter().map(|(r, c, h)| heard(r, c, h)).collect();
            let signal = signal_of(&readings);
            let newest = |of: fn(&Heard) -> Timestamp| readings.iter().map(of).max().unwrap();
            prop_assert_eq!(signal.received_at, newest(|heard| heard.received_at));
            prop_assert_eq!(signal.captured_at, newest(|heard| heard.captured_at));
            prop_assert!(signal.same_since <= signal.captured_at && signal.same_count >= 1);
            prop_assert!(signal.arrival_gaps_ms.len() <= MOST_GAPS && signal.capture_gaps_ms.len() <= MOST_GAPS);
        }
    }
}
