//! A made-up month of alarms and pages.

use std::time::Duration;

use tocsin_contracts::review::v1::{
    AlarmDay, DestinationPages, EventRate, FalsePages, GetAlarmPerformanceRequest, GetAlarmPerformanceResponse,
    MachineAlarms, OperatorPosition, PerformanceMark,
};
use tocsin_contracts::time::{from_wire, to_wire};

use super::{Fixture, Fleet, noise};

fn mark(name: &str, value: f64, unit: &str, target: &str, standing: &str) -> PerformanceMark {
    PerformanceMark {
        name: name.into(),
        value: Some(value),
        unit: unit.into(),
        target: target.into(),
        standing: standing.into(),
        source: if target.is_empty() {
            ""
        } else if target.contains("person") {
            "page budget"
        } else {
            "ANSI/ISA-18.2-2016, clause 16"
        }
        .into(),
    }
}

fn marks() -> Vec<PerformanceMark> {
    vec![
        mark(
            "alarms_per_10_min",
            0.0125,
            "1",
            "at most 1, manageable up to 2",
            "within",
        ),
        mark("peak_per_10_min", 14.0, "1", "at most 10", "above"),
        mark("intervals_above_10", 0.0005, "share", "below 1 %", "within"),
        mark("time_in_flood", 0.0009, "share", "below 1 %", "within"),
        mark("floods", 2.0, "1", "", "not judged"),
        mark("stale_on_any_day", 3.0, "1", "fewer than 5", "within"),
        mark("chattering_machines", 1.0, "1", "none", "above"),
        mark("ten_most_frequent", 0.62, "share", "at most 5 %", "not judged"),
        mark("acknowledged_median", 754.0, "s", "", "not judged"),
        mark("most_pages_in_a_week", 3.0, "1", "at most 2 a person and week", "above"),
        mark(
            "most_pages_in_a_night",
            1.0,
            "1",
            "at most 1 a person and night",
            "within",
        ),
    ]
}

fn rate(rate: f64) -> EventRate {
    EventRate {
        rate,
        lower: rate / 3.0,
        upper: 3.0 * rate + 0.8,
    }
}

fn destination(name: &str, pages: u64, most_in_a_week: u64) -> DestinationPages {
    DestinationPages {
        destination: name.into(),
        pages,
        per_week: Some(rate(pages as f64 / 4.3)),
        most_in_a_week,
        nights: 1,
        nights_over: 0,
        most_in_a_night: 1,
        within_budget: most_in_a_week <= 2,
    }
}

impl Fixture {
    pub(super) fn performance(&self, asked: &GetAlarmPerformanceRequest) -> GetAlarmPerformanceResponse {
        let quiet = GetAlarmPerformanceResponse {
            from: asked.from,
            to: asked.to,
            budget_per_week: 2,
            budget_per_night: 1,
            ..GetAlarmPerformanceResponse::default()
        };
        let ends =
            [("from", asked.from), ("to", asked.to)].map(|(name, at)| at.and_then(|at| from_wire(name, at).ok()));
        let [Some(from), Some(to)] = ends else { return quiet };
        if self.fleet == Fleet::Empty {
            return quiet;
        }
        let hostile = self.fleet == Fleet::Hostile;
        let name = |plain: &str| {
            if hostile {
                "<script>alert(1)</script>".into()
            } else {
                plain.to_owned()
            }
        };
        let day = |n: u64| AlarmDay {
            from: Some(to_wire(from + Duration::from_hours(24 * n))),
            alerts: (5.0 * noise(3, n)) as u64,
            pages: (2.0 * noise(4, n).powi(2)) as u64,
        };
        let machine = |machine: &str, alarms| MachineAlarms {
            site: name("porto"),
            machine: name(machine),
            alarms,
        };
        let position = |site: &str, alarms| OperatorPosition {
            site: name(site),
            alarms,
            average_per_10_min: 0.0125,
            peak_per_10_min: 14,
            intervals: 4_320,
            intervals_above_10: 2,
            intervals_in_flood: 4,
            floods: 2,
        };
        let false_pages = |incidents| {
            Some(FalsePages {
                incidents,
                told: incidents,
                per_machine_year: Some(rate(incidents as f64)),
                per_person_week: Some(rate(incidents as f64 / 8.6)),
            })
        };
        GetAlarmPerformanceResponse {
            marks: marks(),
            positions: vec![position("porto", 51), position("lisbon", 3)],
            alarms: 54,
            most_frequent: vec![machine("mill-07", 21), machine("mill-02", 9), machine("pump-1", 4)],
            chattering: vec![machine("mill-07", 4)],
            days: (0..to.since(from).as_secs() / 86_400).map(day).collect(),
            stale_alarms: 4,
            longest_stale_s: 401_000.0,
            acknowledged: 12,
            pages_told: 9,
            incidents_true: 4,
            incidents_false: 1,
            incidents_other: 1,
            incidents_unlabelled: 2,
            false_pages: false_pages(1),
            false_or_unlabelled: false_pages(3),
            machine_hours: 8_640.0,
            destinations: vec![destination(&name("on-call"), 6, 3), destination("maintenance", 3, 2)],
            pages_suppressed: 2,
            pages_released: 1,
            pages_untold: 0,
            ..quiet
        }
    }
}
