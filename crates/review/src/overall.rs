//! Overall levels on the wire: what a spec declares, their series, and those of one reading, each with its zone.

use tocsin_contracts::review::v1;
use tocsin_contracts::time;
use tocsin_domain::{OverallSpec, SensorId, SeverityZones, SpectrumSpec, Zone};
use tocsin_store::reading::OverallPoint;

/// The series of a sensor's overall levels, one for each that its spec declares, with the zones its newest reading stands
/// in.
pub(crate) fn series(
    sensor: SensorId,
    spec: &SpectrumSpec,
    points: &[OverallPoint],
    newest: &[Option<Zone>],
) -> Vec<v1::OverallSeries> {
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
        zone: letter(newest.get(place).copied().flatten()),
    };
    spec.overall.iter().enumerate().map(of).collect()
}

/// The overall levels of one reading, one for each that its sensor's spec declares.
pub(crate) fn values(spec: &SpectrumSpec, stored: &[Option<f32>], zones: &SeverityZones) -> Vec<v1::OverallValue> {
    let standing = standing(spec, stored, zones);
    let of = |(place, declared): (usize, &OverallSpec)| v1::OverallValue {
        level: Some(level(declared)),
        value: stored.get(place).copied().flatten(),
        zone: letter(standing[place]),
    };
    spec.overall.iter().enumerate().map(of).collect()
}

/// The zone of each level of a reading, in the spec's order; none where it has no such level, or its class no zones of it.
pub(crate) fn standing(spec: &SpectrumSpec, stored: &[Option<f32>], zones: &SeverityZones) -> Vec<Option<Zone>> {
    let placed = zones.place(&spec.overall);
    let of = |place| Some(placed.at(place)?.zone(stored.get(place).copied().flatten()?));
    (0..spec.overall.len()).map(of).collect()
}

fn letter(zone: Option<Zone>) -> String {
    zone.map(|zone| zone.as_str().to_owned()).unwrap_or_default()
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
