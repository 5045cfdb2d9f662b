//! Overall levels on the wire: what a spec declares, their series, and those of one reading.

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_domain::{OverallSpec, SensorId, SpectrumSpec};
use tocsin_store::reading::OverallPoint;

/// The series of a sensor's overall levels, one for each that its spec declares.
pub(crate) fn series(sensor: SensorId, spec: &SpectrumSpec, points: &[OverallPoint]) -> Vec<v1::OverallSeries> {
    let of = |(place, declared): (usize, &OverallSpec)| v1::OverallSeries {
        level: Some(level(declared)),
        points: points
            .iter()
            .filter(|point| point.sensor == sensor && point.place == place)
            .map(|point| v1::OverallPoint {
                at: Some(time::to_wire(point.captured_at)),
                value: point.value,
            })
            .collect(),
    };
    spec.overall.iter().enumerate().map(of).collect()
}

/// The overall levels of one reading, one for each that its sensor's spec declares.
pub(crate) fn values(spec: &SpectrumSpec, stored: &[Option<f32>]) -> Vec<v1::OverallValue> {
    let of = |(place, declared): (usize, &OverallSpec)| v1::OverallValue {
        level: Some(level(declared)),
        value: stored.get(place).copied().flatten(),
    };
    spec.overall.iter().enumerate().map(of).collect()
}

fn level(declared: &OverallSpec) -> v1::OverallLevel {
    v1::OverallLevel {
        name: declared.name.to_string(),
        quantity: declared.quantity.as_str().to_owned(),
        unit: declared.quantity.canonical_unit().to_owned(),
        low_hz: declared.band.map(|band| band.low_hz),
        high_hz: declared.band.map(|band| band.high_hz),
    }
}
