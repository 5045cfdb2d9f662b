//! Healthy rows to learn from, in canonical form: all of them in memory, or a sample that stands for more.

use std::collections::BTreeMap;
use std::sync::Arc;

use tocsin_domain::spectrum::AmplitudeScale;
use tocsin_domain::{CanonicalSpectrum, Codec, Invalid, Spectrum, SpectrumSpec, Timestamp};
use tocsin_models::Selection;

use crate::on_disk::OnDisk;

/// Rows of one spec, as the codec keeps them: what was lost to one byte a bin is lost here too.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    spec: SpectrumSpec,
    codec: Codec,
    selection: Option<Selection>,
    sensors: Vec<String>,
    numbers: BTreeMap<String, u32>,
    rows: Vec<Row>,
    /// Linear amplitudes in canonical units, `rows.len()` x bins.
    linear: Vec<f32>,
    /// How many rows these were drawn from, where they are a sample.
    drawn_from: Option<u64>,
    /// All of the rows, where these are a sample of those to learn from.
    stored: Option<Arc<OnDisk>>,
}

/// Where a row comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// Place of its sensor in [`TrainingSet::sensors`].
    pub(crate) sensor: u32,
    /// When it was taken.
    pub(crate) captured_at: Timestamp,
}

impl TrainingSet {
    /// An empty set of rows as sensors of `spec` send them.
    pub fn new(spec: &SpectrumSpec) -> Self {
        Self {
            codec: Codec::for_spec(spec),
            spec: spec.clone(),
            selection: None,
            sensors: Vec::new(),
            numbers: BTreeMap::new(),
            rows: Vec::new(),
            linear: Vec::new(),
            drawn_from: None,
            stored: None,
        }
    }

    /// The set with a record of how its rows were chosen, for the lineage of what is fitted on it.
    #[must_use]
    pub fn chosen_by(mut self, selection: Option<Selection>) -> Self {
        self.selection = selection;
        self
    }

    /// How its rows were chosen.
    pub fn selection(&self) -> Option<&Selection> {
        self.selection.as_ref()
    }

    /// Adds a row: the sensor's path `site/machine/sensor`, and linear amplitudes in the spec's own unit. Rows may come
    /// in any order.
    pub fn push(&mut self, sensor: &str, captured_at: Timestamp, amplitudes: &[f32]) -> Result<(), Invalid> {
        let canonical = self.encode(amplitudes)?;
        self.push_codes(sensor, captured_at, canonical.codes())
    }

    /// Linear amplitudes in the spec's own unit as the codec keeps them.
    pub(crate) fn encode(&self, amplitudes: &[f32]) -> Result<CanonicalSpectrum, Invalid> {
        let spectrum = Spectrum::parse(amplitudes, AmplitudeScale::Linear, &self.spec)?;
        Ok(self.codec.encode(&spectrum).0)
    }

    /// Adds a row that is in canonical form already.
    pub fn push_codes(&mut self, sensor: &str, captured_at: Timestamp, codes: &[u8]) -> Result<(), Invalid> {
        tocsin_domain::codec::check_length(codes, &self.spec)?;
        let sensor = self.sensor(sensor);
        self.push_row(sensor, captured_at, codes);
        Ok(())
    }

    /// The number of a sensor, which is known from now on.
    pub(crate) fn sensor(&mut self, sensor: &str) -> u32 {
        if let Some(number) = self.numbers.get(sensor) {
            return *number;
        }
        let number = self.sensors.len() as u32;
        self.sensors.push(sensor.to_owned());
        self.numbers.insert(sensor.to_owned(), number);
        number
    }

    /// Adds a row of the spec's bins by its sensor's number.
    pub(crate) fn push_row(&mut self, sensor: u32, captured_at: Timestamp, codes: &[u8]) {
        self.rows.push(Row { sensor, captured_at });
        let start = self.linear.len();
        self.linear.resize(start + codes.len(), 0.0);
        self.codec.decode_into(codes, &mut self.linear[start..]);
    }

    /// The set as a sample of so many rows, or whole where there are no more.
    #[must_use]
    pub(crate) fn drawn_from(mut self, rows: u64) -> Self {
        self.drawn_from = (rows > self.len() as u64).then_some(rows);
        self
    }

    /// The set with all of the rows that it stands for.
    #[must_use]
    pub(crate) fn stored_as(mut self, stored: Arc<OnDisk>) -> Self {
        self.stored = Some(stored);
        self
    }

    /// All of the rows, where they are on disk.
    pub(crate) fn stored(&self) -> Option<&Arc<OnDisk>> {
        self.stored.as_ref()
    }

    /// Rows in memory, where they are a sample of more.
    pub fn sampled(&self) -> Option<u64> {
        self.drawn_from.map(|_| self.len() as u64)
    }

    /// Number of rows it stands for, those in memory or more.
    pub fn rows_in_all(&self) -> u64 {
        self.drawn_from.unwrap_or(self.len() as u64)
    }

    /// The rows that are not left out, which are given by their places, in order.
    pub(crate) fn without(&self, left_out: &[usize]) -> Self {
        let kept = |at: &usize| left_out.binary_search(at).is_err();
        let kept: Vec<usize> = (0..self.len()).filter(kept).collect();
        self.select(&kept)
    }

    /// The rows at these places, in this order.
    pub(crate) fn select(&self, places: &[usize]) -> Self {
        let bins = self.bins();
        Self {
            spec: self.spec.clone(),
            codec: self.codec.clone(),
            selection: self.selection.clone(),
            sensors: self.sensors.clone(),
            numbers: self.numbers.clone(),
            rows: places.iter().map(|at| self.rows[*at]).collect(),
            linear: places
                .iter()
                .flat_map(|at| &self.linear[at * bins..][..bins])
                .copied()
                .collect(),
            drawn_from: None,
            stored: None,
        }
    }

    /// What the sensors declared.
    pub fn spec(&self) -> &SpectrumSpec {
        &self.spec
    }

    /// Number of rows in memory.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row in memory.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bins of a row.
    pub fn bins(&self) -> usize {
        usize::from(self.spec.bins)
    }

    /// The sensors, in the order they were first seen.
    pub fn sensors(&self) -> &[String] {
        &self.sensors
    }

    /// Linear amplitudes in canonical units, one row after the other.
    pub fn linear(&self) -> &[f32] {
        &self.linear
    }

    /// Sensor and time of each row, by which windows are found.
    pub(crate) fn keys(&self) -> Vec<(u32, Timestamp)> {
        self.rows.iter().map(|row| (row.sensor, row.captured_at)).collect()
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Places of the rows to fit on, and of those held out: the last `share` of each sensor's rows in time order, or of
    /// all rows when no sensor has enough of its own. Both in the order of the set.
    pub(crate) fn split_in_time(&self, share: f64) -> (Vec<usize>, Vec<usize>) {
        let mut by_sensor: Vec<Vec<usize>> = vec![Vec::new(); self.sensors.len()];
        for (at, row) in self.rows.iter().enumerate() {
            by_sensor[row.sensor as usize].push(at);
        }
        let mut held_out = vec![false; self.rows.len()];
        let count = |rows: usize| (rows as f64 * share).round() as usize;
        if by_sensor.iter().all(|places| count(places.len()) == 0) {
            by_sensor = vec![(0..self.rows.len()).collect()];
        }
        for places in &mut by_sensor {
            places.sort_by_key(|at| self.rows[*at].captured_at);
            for at in &places[places.len() - count(places.len())..] {
                held_out[*at] = true;
            }
        }
        (0..self.rows.len()).partition(|at| !held_out[*at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_as_the_codec_reads_them_back() {
        let spec = SpectrumSpec::corpus_default(32);
        let mut set = TrainingSet::new(&spec);
        set.push("a/b/c", Timestamp::from_micros(0), &[0.1234; 32]).unwrap();
        let codec = Codec::for_spec(&spec);
        assert_eq!(set.linear()[0], codec.decode(&[153])[0]);
        let error = set
            .push("a/b/c", Timestamp::from_micros(1), &[f32::NAN; 32])
            .unwrap_err();
        assert_eq!(error.field, "bins[0]");
        assert_eq!((set.len(), set.linear().len()), (1, 32));
    }

    #[test]
    fn the_last_fifth_of_each_sensor_is_held_out_whatever_the_order_of_rows() {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        for minute in [9, 3, 1, 7, 5, 0, 2, 8, 6, 4] {
            for sensor in ["a/b/x", "a/b/y"] {
                set.push(sensor, Timestamp::from_micros(minute * 60_000_000), &[0.1; 32])
                    .unwrap();
            }
        }
        let (fit, held_out) = set.split_in_time(0.2);
        let minutes: Vec<i64> = held_out
            .iter()
            .map(|at| set.rows()[*at].captured_at.as_micros() / 60_000_000)
            .collect();
        assert_eq!(minutes, [9, 9, 8, 8]);
        assert_eq!(fit.len(), 16);
    }

    #[test]
    fn sensors_with_two_rows_each_hold_out_the_newest_of_all() {
        let mut set = TrainingSet::new(&SpectrumSpec::corpus_default(32));
        for at in 0..20 {
            set.push(&format!("a/b/{}", at % 10), Timestamp::from_micros(at), &[0.1; 32])
                .unwrap();
        }
        assert_eq!(set.split_in_time(0.2).1, [16, 17, 18, 19]);
    }
}
