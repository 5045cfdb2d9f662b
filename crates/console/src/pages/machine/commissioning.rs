//! Where each sensor of a machine stands in its commissioning.

use maud::{Markup, html};
use tocsin_contracts::fleet::v1::{Commissioning, Sensor};

use crate::view::{self, bar, moment_and_age, tag};

/// The sensors of a machine, each with its epoch and how far it is.
pub(super) fn table(sensors: &[Sensor]) -> Markup {
    html! {
        div.table-frame {
            table {
                thead { tr { th { "Sensor" } th { "Baseline" } th { "Readings" } th.num { "Epoch" } th { "Because" } } }
                tbody { @for sensor in sensors { (row(sensor)) } }
            }
        }
    }
}

fn row(sensor: &Sensor) -> Markup {
    let Some(state) = &sensor.commissioning else {
        return html! { tr { td { (sensor.sensor) } td colspan="4" { "–" } } };
    };
    html! {
        tr {
            td { (sensor.sensor) }
            td { (standing(state)) }
            td { (readings(state)) }
            td.num { (state.epoch) }
            td { (state.reason) span.sub { " " (state.started_by) ", " (moment_and_age(view::at(state.started_at))) } }
        }
    }
}

fn standing(state: &Commissioning) -> Markup {
    html! {
        (tag(&state.state))
        @if state.baseline_id == 0 { " borrowing the fleet's limits" }
        @else { " since " (moment_and_age(view::at(state.commissioned_at))) }
        (refusal(state))
    }
}

/// That it may not be commissioned where it stands, or who let it be.
fn refusal(state: &Commissioning) -> Markup {
    html! {
        @if !state.refused_reason.is_empty() {
            @if state.zone_accepted_by.is_empty() {
                p.caution { "Refused: " (state.refused_reason) ". It gets no baseline until a person accepts that or it is commissioned anew." }
            } @else {
                p.sub {
                    (state.refused_reason) ", accepted by " strong { (state.zone_accepted_by) } " "
                    (moment_and_age(view::at(state.zone_accepted_at))) ": " (state.zone_accepted_reason)
                }
            }
        }
    }
}

fn readings(state: &Commissioning) -> Markup {
    let readings = view::count(u64::from(state.readings));
    html! {
        @if state.readings_needed == 0 { (readings) }
        @else {
            (readings) " of " (view::count(u64::from(state.readings_needed)))
            (bar(f64::from(state.readings) / f64::from(state.readings_needed)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(commissioning: Commissioning) -> String {
        let sensor = Sensor {
            sensor: "horizontal".to_owned(),
            commissioning: Some(commissioning),
            ..Sensor::default()
        };
        table(&[sensor]).into_string()
    }

    #[test]
    fn a_sensor_that_still_learns_says_so_and_how_far_it_is() {
        let page = text(Commissioning {
            state: "commissioning".to_owned(),
            epoch: 2,
            readings: 40,
            readings_needed: 100,
            reason: "<new bearing>".to_owned(),
            ..Commissioning::default()
        });
        for part in [
            "borrowing the fleet's limits",
            "40 of 100",
            "40.00",
            "&lt;new bearing&gt;",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn a_refused_sensor_says_why_and_an_accepted_one_who_let_it_be() {
        let refused = Commissioning {
            state: "commissioning".to_owned(),
            refused_reason: "velocity_rms stands in zone D".to_owned(),
            ..Commissioning::default()
        };
        let page = text(refused.clone());
        assert!(page.contains("Refused: velocity_rms stands in zone D"), "{page}");
        let page = text(Commissioning {
            zone_accepted_by: "ana".to_owned(),
            zone_accepted_reason: "soft foundation".to_owned(),
            ..refused
        });
        assert!(
            page.contains("accepted by <strong>ana") && page.contains("soft foundation"),
            "{page}"
        );
        assert!(!page.contains("Refused"), "{page}");
    }

    #[test]
    fn a_commissioned_sensor_says_since_when() {
        let page = text(Commissioning {
            state: "commissioned".to_owned(),
            epoch: 1,
            readings: 100,
            baseline_id: 7,
            ..Commissioning::default()
        });
        assert!(page.contains(" since ") && !page.contains("borrowing"), "{page}");
    }
}
