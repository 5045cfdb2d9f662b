//! The parts of a corpus that an evaluation needs, in canonical form.

use std::collections::{BTreeMap, BTreeSet};

use tocsin_domain::spectrum::AmplitudeScale;
use tocsin_domain::{Codec, Invalid, Spectrum, SpectrumSpec, Timestamp};
use tocsin_models::HeldOut;

/// Spectra of one part, as the scorer would see them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Part {
    /// Linear amplitudes in canonical units, rows x bins.
    pub linear: Vec<f32>,
    /// Number of spectra.
    pub rows: usize,
    /// Sensor, numbered within the corpus, and time of each: by these the windows of a temporal network are found, which
    /// never hold rows of another part.
    pub keys: Vec<(u32, Timestamp)>,
}

impl Part {
    /// The rows with such keys.
    fn only(&self, bins: usize, keep: impl Fn((u32, Timestamp)) -> bool) -> Self {
        let mut kept = Self::default();
        for (key, row) in self.keys.iter().zip(self.linear.chunks_exact(bins)) {
            if keep(*key) {
                kept.keys.push(*key);
                kept.linear.extend(row);
            }
        }
        kept.rows = kept.keys.len();
        kept
    }
}

/// The parts of a corpus by their `split`.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    spec: SpectrumSpec,
    /// Sensors by their number.
    sensors: Vec<String>,
    /// Healthy readings that set the lines.
    pub cal: Part,
    /// Healthy readings that test.
    pub test_healthy: Part,
    /// Readings near the end of life.
    pub end: Part,
    /// Readings shortly before it.
    pub incipient: Part,
}

impl Parts {
    /// Empty parts for spectra of `spec`.
    pub fn new(spec: SpectrumSpec) -> Self {
        let empty = Part::default;
        Self {
            spec,
            sensors: Vec::new(),
            cal: empty(),
            test_healthy: empty(),
            end: empty(),
            incipient: empty(),
        }
    }

    /// Takes rows of a corpus; those of other splits are passed over.
    pub fn from_rows<'a>(
        spec: &SpectrumSpec,
        rows: impl IntoIterator<Item = &'a tocsin_corpus::Row>,
    ) -> Result<Self, Invalid> {
        let codec = Codec::for_spec(spec);
        let mut parts = Self::new(spec.clone());
        let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
        for row in rows {
            if let Some(part) = row.split.as_deref().and_then(|split| parts.named(split)) {
                let spectrum = Spectrum::parse(&row.bins, AmplitudeScale::Linear, spec)?;
                let (canonical, _clipped) = codec.encode(&spectrum);
                part.linear.extend(codec.decode(canonical.codes()));
                part.rows += 1;
                let next = numbers.len() as u32;
                let sensor = *numbers.entry(row.sensor.to_string()).or_insert(next);
                part.keys.push((sensor, row.captured_at));
            }
        }
        parts.sensors = vec![String::new(); numbers.len()];
        for (sensor, number) in numbers {
            parts.sensors[number as usize] = sensor;
        }
        Ok(parts)
    }

    /// The parts, with lines to be set by those of the calibration rows alone that a bundle's own limits come from.
    #[must_use]
    pub fn with_limits_of(&self, held_out: &HeldOut) -> Self {
        let by_sensor = held_out.by_sensor();
        let times = |sensor: &String| -> BTreeSet<Timestamp> {
            let rows = by_sensor.get(sensor.as_str()).into_iter().flatten();
            rows.map(|row| row.captured_at).collect()
        };
        let kept: Vec<BTreeSet<Timestamp>> = self.sensors.iter().map(times).collect();
        let cal = self
            .cal
            .only(self.bins(), |(sensor, at)| kept[sensor as usize].contains(&at));
        Self { cal, ..self.clone() }
    }

    /// Bins of a spectrum.
    pub fn bins(&self) -> usize {
        usize::from(self.spec.bins)
    }

    /// What rows of a split are for here; nothing for those of a split that is passed over, which may teach.
    pub fn purpose(split: &str) -> Option<&'static str> {
        match split {
            "cal" => Some("set the limits"),
            "test_healthy" | "end" | "test_fault" | "incipient" => Some("test"),
            _ => None,
        }
    }

    fn named(&mut self, split: &str) -> Option<&mut Part> {
        match split {
            "cal" => Some(&mut self.cal),
            "test_healthy" => Some(&mut self.test_healthy),
            "end" | "test_fault" => Some(&mut self.end),
            "incipient" => Some(&mut self.incipient),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tocsin_corpus::{Row, SensorName};
    use tocsin_domain::Scores;
    use tocsin_models::HeldOutRow;

    use super::*;

    #[test]
    fn every_split_that_is_not_passed_over_has_a_purpose() {
        let mut parts = Parts::new(SpectrumSpec::corpus_default(32));
        for split in [
            "cal",
            "test_healthy",
            "end",
            "test_fault",
            "incipient",
            "train",
            "history",
            "",
        ] {
            assert_eq!(
                Parts::purpose(split).is_some(),
                parts.named(split).is_some(),
                "{split:?}"
            );
        }
    }

    #[test]
    fn rows_of_a_part_keep_sensor_and_time_and_hold_none_of_another_part() {
        let row = |sensor: &str, second: i64, split: &str| Row {
            sensor: SensorName::parse(sensor).unwrap(),
            captured_at: Timestamp::from_micros(second * 1_000_000),
            bins: vec![0.1; 32],
            rpm: None,
            load: None,
            label: None,
            split: Some(split.to_owned()),
        };
        let rows = [
            row("a/b/x", 0, "train"),
            row("a/b/x", 10, "cal"),
            row("a/b/y", 10, "cal"),
            row("a/b/x", 20, "end"),
        ];
        let parts = Parts::from_rows(&SpectrumSpec::corpus_default(32), &rows).unwrap();
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000);
        assert_eq!(parts.cal.keys, [(0, at(10)), (1, at(10))]);
        let of_limits = HeldOutRow {
            sensor: 0,
            captured_at: at(10),
            scores: Scores::default(),
        };
        let limited = parts.with_limits_of(&HeldOut::new(vec!["a/b/y".to_owned()], vec![of_limits]));
        assert_eq!((limited.cal.rows, &limited.cal.keys[..]), (1, &[(1, at(10))][..]));
        assert_eq!((limited.cal.linear.len(), &limited.end), (32, &parts.end));
        assert_eq!((parts.end.rows, &parts.end.keys[..]), (1, &[(0, at(20))][..]));
    }
}
