use super::*;
use crate::Unit;
use proptest::prelude::*;

fn zone(quantity: OverallQuantity, ab: f32, bc: f32, cd: f32) -> SeverityZone {
    SeverityZone {
        quantity,
        name: None,
        boundaries: Boundaries { ab, bc, cd },
        stop: None,
    }
}

fn slug(name: &str) -> Slug {
    Slug::parse("name", name).unwrap()
}

fn declared(name: &str, quantity: OverallQuantity, unit: Unit) -> OverallSpec {
    OverallSpec {
        name: slug(name),
        quantity,
        unit,
        band: None,
    }
}

#[test]
fn the_groups_of_the_standard_have_its_boundaries() {
    let bounds = MachineGroup::ALL.map(|group| {
        let Boundaries { ab, bc, cd } = group.boundaries();
        (group.as_str(), [ab, bc, cd])
    });
    let expected = [
        ("group-1-rigid", [2.3, 4.5, 7.1]),
        ("group-1-flexible", [3.5, 7.1, 11.0]),
        ("group-2-rigid", [1.4, 2.8, 4.5]),
        ("group-2-flexible", [2.3, 4.5, 7.1]),
    ];
    assert_eq!(bounds, expected);
    for group in MachineGroup::ALL {
        assert_eq!(group.as_str().parse::<MachineGroup>().unwrap(), group);
        assert!(SeverityZones(vec![group.zone()]).parse().is_ok());
    }
    let error = "group-3".parse::<MachineGroup>().unwrap_err();
    assert!(error.reason.contains("group-1-rigid, group-1-flexible"), "{error}");
}

#[test]
fn zone_c_begins_at_the_alert_line_and_zone_d_at_the_page_line() {
    let rigid = MachineGroup::Group1Rigid.zone();
    let cases = [
        (0.0, Zone::A),
        (2.29, Zone::A),
        (2.3, Zone::B),
        (4.499, Zone::B),
        (4.5, Zone::C),
        (7.099, Zone::C),
        (7.1, Zone::D),
        (700.0, Zone::D),
    ];
    for (value, expected) in cases {
        assert_eq!(rigid.zone(value), expected, "{value}");
    }
    assert_eq!(rigid.level(4.5), Level::ALERT);
    assert_eq!(rigid.level(7.1), Level::PAGE);
    assert!((rigid.level(8.0).0 - 2.2617).abs() < 1e-3, "{:?}", rigid.level(8.0));
    assert!(rigid.level(0.0).0.is_finite());
}

#[test]
fn a_temperature_is_judged_on_its_scale_and_not_by_its_ratio() {
    let bearing = zone(OverallQuantity::Temperature, -10.0, 80.0, 100.0);
    assert_eq!(bearing.level(90.0), Level(1.5));
    assert_eq!(bearing.level(70.0), Level(0.5));
    assert_eq!((bearing.level(80.0), bearing.level(100.0)), (Level::ALERT, Level::PAGE));
}

#[test]
fn a_levels_own_zones_go_before_those_of_its_quantity_and_the_highest_level_counts() {
    let radial = SeverityZone {
        name: Some(slug("radial")),
        ..zone(OverallQuantity::VelocityRms, 1.0, 2.0, 4.0)
    };
    let all = zone(OverallQuantity::VelocityRms, 10.0, 20.0, 40.0);
    let specs = [
        declared("axial", OverallQuantity::VelocityRms, Unit::MillimetrePerSecond),
        declared("radial", OverallQuantity::VelocityRms, Unit::InchPerSecond),
        declared("peak", OverallQuantity::AccelerationTruePeak, Unit::G),
    ];
    let placed = SeverityZones(vec![all.clone(), radial.clone()]).place(&specs);
    assert_eq!(
        (placed.at(0), placed.at(1), placed.at(2)),
        (Some(&all), Some(&radial), None)
    );
    assert_eq!(placed.at(3), None);
    assert_eq!(placed.severity(&[Some(4.0), Some(4.0), Some(900.0)]), Some(Level::PAGE));
    assert_eq!(placed.severity(&[Some(20.0), Some(1.0), None]), Some(Level::ALERT));
    assert_eq!(placed.severity(&[None, None, Some(900.0)]), None);
    assert_eq!(placed.severity(&[]), None);
    assert_eq!(SeverityZones::default().place(&specs).severity(&[Some(900.0)]), None);
}

#[test]
fn zones_that_contradict_themselves_are_refused_by_their_place() {
    let velocity = OverallQuantity::VelocityRms;
    let good = zone(velocity, 1.0, 2.0, 3.0);
    let cases = [
        (vec![good.clone(), good.clone()], "zones[1]"),
        (vec![zone(velocity, 2.0, 2.0, 3.0)], "zones[0].boundaries"),
        (vec![zone(velocity, 1.0, 3.0, 2.0)], "zones[0].boundaries"),
        (vec![zone(velocity, 0.0, 2.0, 3.0)], "zones[0].boundaries"),
        (vec![zone(velocity, 1.0, f32::NAN, 3.0)], "zones[0].boundaries"),
        (vec![zone(velocity, 1.0, 2.0, f32::INFINITY)], "zones[0].boundaries"),
        (vec![good; 17], "zones"),
    ];
    for (zones, field) in cases {
        assert_eq!(SeverityZones(zones).parse().unwrap_err().field, field);
    }
    let cold = zone(OverallQuantity::Temperature, -20.0, 0.0, 10.0);
    assert!(SeverityZones(vec![cold]).parse().is_ok());
}

#[test]
fn zones_survive_json() {
    let zones = SeverityZones(vec![MachineGroup::Group1Rigid.zone()]);
    let json = serde_json::to_string(&zones).unwrap();
    let expected = r#"[{"quantity":"velocity_rms","boundaries":{"ab":2.3,"bc":4.5,"cd":7.1}}]"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<SeverityZones>(&json).unwrap(), zones);
}

fn boundaries() -> impl Strategy<Value = SeverityZone> {
    let steps = (1e-3f32..1e3, 1e-6f32..1e3, 1e-6f32..1e3, any::<bool>());
    steps.prop_filter_map("they must ascend", |(ab, up, further, is_temperature)| {
        let quantity = if is_temperature {
            OverallQuantity::Temperature
        } else {
            OverallQuantity::VelocityRms
        };
        let zone = zone(quantity, ab, ab + up, ab + up + further);
        SeverityZones(vec![zone.clone()]).parse().ok().map(|_| zone)
    })
}

proptest! {
    #[test]
    fn a_higher_value_never_has_a_lower_level(zone in boundaries(), a in 0f32..5e3, b in 0f32..5e3) {
        prop_assert!(zone.level(a.min(b)) <= zone.level(a.max(b)));
    }

    #[test]
    fn the_boundaries_are_levels_one_and_two_and_a_level_never_contradicts_its_zone(
        zone in boundaries(), share in 0f32..3.0,
    ) {
        let Boundaries { bc, cd, .. } = zone.boundaries;
        prop_assert_eq!(zone.level(bc), Level::ALERT);
        prop_assert_eq!(zone.level(cd), Level::PAGE);
        prop_assert!(zone.level(bc.next_down()) < Level::ALERT);
        prop_assert!(zone.level(cd.next_down()) < Level::PAGE);
        let level = zone.level(share * cd);
        let of_level = (level >= Level::ALERT, level >= Level::PAGE);
        let letter = zone.zone(share * cd);
        prop_assert_eq!(of_level, (letter >= Zone::C, letter >= Zone::D));
    }
}

#[test]
fn a_machine_stands_still_when_every_level_with_a_stop_level_is_below_it() {
    let with_stop = |stop| SeverityZone {
        stop,
        ..zone(OverallQuantity::VelocityRms, 1.0, 2.0, 4.0)
    };
    let specs = ["axial", "radial"].map(|name| declared(name, OverallQuantity::VelocityRms, Unit::MillimetrePerSecond));
    let placed = SeverityZones(vec![with_stop(Some(0.2))]).place(&specs);
    assert!(placed.is_stopped(&[Some(0.1), Some(0.19)]) && placed.is_stopped(&[None, Some(0.0)]));
    assert!(!placed.is_stopped(&[Some(0.1), Some(0.2)]), "one of them turns");
    assert!(!placed.is_stopped(&[None, None]), "nothing says so");
    assert!(
        !SeverityZones(vec![with_stop(None)])
            .place(&specs)
            .is_stopped(&[Some(0.0), None])
    );
    for bad in [1.0, f32::NAN] {
        let refused = SeverityZones(vec![with_stop(Some(bad))]).parse().unwrap_err();
        assert_eq!(refused.field, "zones[0].stop");
    }
}
