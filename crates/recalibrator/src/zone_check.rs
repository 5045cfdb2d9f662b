//! May a sensor be commissioned where it stands? A machine whose commissioning readings stand in zone C or D is not in
//! health, and what it looks like then is no baseline.

use tocsin_domain::zones::PlacedZones;
use tocsin_domain::{OverallSpec, Zone};

/// Why a sensor is refused: the level that stands worst, by the median of its values over the readings. None when no
/// level stands in zone C or D.
pub(crate) fn refusal(declared: &[OverallSpec], zones: &PlacedZones, readings: &[Vec<Option<f32>>]) -> Option<String> {
    let standing = declared.iter().enumerate().filter_map(|(place, spec)| {
        let zone = zones.at(place)?;
        let mut values: Vec<f32> = readings
            .iter()
            .filter_map(|levels| levels.get(place).copied().flatten())
            .collect();
        let median = median(&mut values)?;
        Some((zone.level(median), zone.zone(median), spec, median, values.len()))
    });
    let worst = standing.max_by(|a, b| a.0.0.total_cmp(&b.0.0))?;
    let (_, letter, spec, median, count) = worst;
    (letter >= Zone::C).then(|| {
        let unit = spec.quantity.canonical_unit();
        format!(
            "{} stands in zone {letter}: median {median:.3} {unit} over {count} readings",
            spec.name
        )
    })
}

/// The lower one of an even number.
fn median(values: &mut [f32]) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tocsin_domain::overall::OverallQuantity;
    use tocsin_domain::zones::{Boundaries, MachineGroup, SeverityZone};
    use tocsin_domain::{SeverityZones, Slug, Unit};

    fn declared() -> [OverallSpec; 2] {
        let level = |name: &str, quantity, unit| OverallSpec {
            name: Slug::parse("name", name).unwrap(),
            quantity,
            unit,
            band: None,
        };
        [
            level("velocity_rms", OverallQuantity::VelocityRms, Unit::MillimetrePerSecond),
            level("bearing", OverallQuantity::Temperature, Unit::DegreeCelsius),
        ]
    }

    fn zones() -> PlacedZones {
        let hot = SeverityZone {
            quantity: OverallQuantity::Temperature,
            name: None,
            boundaries: Boundaries {
                ab: 60.0,
                bc: 80.0,
                cd: 95.0,
            },
            stop: None,
        };
        SeverityZones(vec![MachineGroup::Group1Rigid.zone(), hot]).place(&declared())
    }

    fn said(readings: &[Vec<Option<f32>>]) -> Option<String> {
        refusal(&declared(), &zones(), readings)
    }

    #[test]
    fn a_sensor_is_refused_by_the_median_of_its_worst_level() {
        let loud = vec![vec![Some(8.0), Some(40.0)]; 3];
        assert_eq!(
            said(&loud).unwrap(),
            "velocity_rms stands in zone D: median 8.000 mm/s over 3 readings"
        );
        let warm = vec![vec![Some(4.6), Some(90.0)], vec![None, Some(85.0)]];
        assert_eq!(
            said(&warm).unwrap(),
            "bearing stands in zone C: median 85.000 °C over 2 readings"
        );
    }

    #[test]
    fn a_minority_of_loud_readings_and_levels_that_nobody_bounds_refuse_nothing() {
        let mostly_quiet: Vec<_> = [2.0, 2.1, 9.0, 2.2, 9.0].map(|v| vec![Some(v), None]).into();
        assert_eq!(said(&mostly_quiet), None);
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[Vec::new(), vec![None, None]]), None);
        let unbounded = SeverityZones::default().place(&declared());
        assert_eq!(refusal(&declared(), &unbounded, &[vec![Some(90.0), Some(900.0)]]), None);
    }
}
