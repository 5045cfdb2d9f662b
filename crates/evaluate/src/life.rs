//! The life of a machine, from its first reading to its last, as a corpus tells it.

use std::collections::BTreeMap;

use tocsin_corpus::Row;
use tocsin_detect::log_spectrum_into;
use tocsin_domain::spectrum::AmplitudeScale;
use tocsin_domain::{Codec, Condition, Invalid, ReadingKey, SensorId, Spectrum, SpectrumSpec, Timestamp};

/// Canonical spectra of one sensor in order of capture.
#[derive(Debug, Clone)]
pub struct SensorLife {
    /// A number of its own within the machine.
    pub id: SensorId,
    /// When each reading was taken.
    pub captured_at: Vec<Timestamp>,
    /// What the machine was doing then.
    pub conditions: Vec<Condition>,
    /// Linear amplitudes, readings x bins.
    pub linear: Vec<f32>,
    /// ln(1 + s/s0) of them.
    pub log: Vec<f32>,
    /// Bins of a spectrum.
    pub bins: usize,
}

/// A machine's sensors and the order in which their readings arrived.
#[derive(Debug, Clone)]
pub struct MachineLife {
    /// `site/machine`.
    pub name: String,
    /// Its sensors, by name.
    pub sensors: Vec<SensorLife>,
    /// Sensor and reading of each arrival, in order of capture.
    pub arrivals: Vec<(usize, usize)>,
}

impl SensorLife {
    fn new(id: SensorId, bins: usize) -> Self {
        Self {
            id,
            bins,
            captured_at: Vec::new(),
            conditions: Vec::new(),
            linear: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Number of readings.
    pub fn readings(&self) -> usize {
        self.captured_at.len()
    }

    /// Linear spectra of some readings.
    pub fn linear_rows(&self, readings: std::ops::Range<usize>) -> &[f32] {
        &self.linear[readings.start * self.bins..readings.end * self.bins]
    }

    /// Log spectra of some readings.
    pub fn log_rows(&self, readings: std::ops::Range<usize>) -> &[f32] {
        &self.log[readings.start * self.bins..readings.end * self.bins]
    }

    /// The key of a reading.
    pub fn key(&self, reading: usize) -> ReadingKey {
        ReadingKey {
            sensor: self.id,
            captured_at: self.captured_at[reading],
        }
    }

    /// Multiplies bins of some readings by a gain each, as if the sensor had sent them so: through the codec again.
    pub fn amplify(
        &mut self,
        spec: &SpectrumSpec,
        bins: std::ops::Range<usize>,
        readings: std::ops::Range<usize>,
        gain: impl Fn(usize) -> f32,
    ) {
        let codec = Codec::for_spec(spec);
        for (nth, reading) in readings.enumerate() {
            let place = reading * self.bins..(reading + 1) * self.bins;
            for amplitude in &mut self.linear[place.clone()][bins.clone()] {
                *amplitude = codec.requantise(*amplitude * gain(nth));
            }
            log_spectrum_into(&self.linear[place.clone()], spec.canonical_s0(), &mut self.log[place]);
        }
    }
}

impl MachineLife {
    /// The machines of a corpus, by name.
    pub fn from_rows<'a>(spec: &SpectrumSpec, rows: impl IntoIterator<Item = &'a Row>) -> Result<Vec<Self>, Invalid> {
        let mut machines: BTreeMap<String, BTreeMap<&'a str, Vec<&'a Row>>> = BTreeMap::new();
        for row in rows {
            let name = format!("{}/{}", row.sensor.site, row.sensor.machine);
            let sensors = machines.entry(name).or_default();
            sensors.entry(row.sensor.sensor.as_str()).or_default().push(row);
        }
        let machine = |(name, sensors): (String, BTreeMap<&str, Vec<&Row>>)| -> Result<Self, Invalid> {
            let numbered = sensors.into_values().enumerate();
            let sensors = numbered.map(|(at, rows)| sensor_life(SensorId(at as i32 + 1), spec, rows));
            let sensors = sensors
                .collect::<Result<Vec<_>, _>>()
                .map_err(|invalid| Invalid::new(format!("{name}: {}", invalid.field), invalid.reason))?;
            Ok(Self::new(name, sensors))
        };
        machines.into_iter().map(machine).collect()
    }

    /// When a reading that arrived was taken.
    pub(crate) fn at(&self, (sensor, reading): (usize, usize)) -> Timestamp {
        self.sensors[sensor].captured_at[reading]
    }

    /// A machine of given sensors.
    pub fn new(name: String, sensors: Vec<SensorLife>) -> Self {
        let of =
            |(at, sensor): (usize, &SensorLife)| (0..sensor.readings()).map(move |reading| (at, reading)).collect();
        let mut arrivals: Vec<(usize, usize)> = sensors.iter().enumerate().flat_map(|s| -> Vec<_> { of(s) }).collect();
        arrivals.sort_by_key(|(sensor, reading)| (sensors[*sensor].captured_at[*reading], *sensor));
        Self {
            name,
            sensors,
            arrivals,
        }
    }
}

fn sensor_life(id: SensorId, spec: &SpectrumSpec, mut rows: Vec<&Row>) -> Result<SensorLife, Invalid> {
    rows.sort_by_key(|row| row.captured_at);
    rows.dedup_by_key(|row| row.captured_at);
    let codec = Codec::for_spec(spec);
    let mut life = SensorLife::new(id, usize::from(spec.bins));
    for row in rows {
        let spectrum = Spectrum::parse(&row.bins, AmplitudeScale::Linear, spec)?;
        life.captured_at.push(row.captured_at);
        life.conditions.push(Condition::parse(row.rpm, row.load)?);
        life.linear.extend(codec.decode(codec.encode(&spectrum).0.codes()));
    }
    life.log = vec![0.0; life.linear.len()];
    log_spectrum_into(&life.linear, spec.canonical_s0(), &mut life.log);
    Ok(life)
}
