//! How the alarms and pages of a period treat people.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tocsin_contracts::review::v1;
use tocsin_contracts::{Malformed, time};
use tocsin_domain::fleet::Site;
use tocsin_domain::{Label, MachineId, Scope, SiteId, Timestamp};
use tocsin_judge::expected::Rate;
use tocsin_judge::performance::{
    Alarm, AlarmFigures, Destination, FalsePages, Mark, PageFigures, Period, Position, Report, ToldPage, Truth,
};
use tocsin_store::performance::{AlarmRecord, MachineRecord, ToldRecord, UntoldPages};

use super::{Service, name};
use crate::Error;

/// The longest period that is answered for.
const LONGEST: Duration = Duration::from_hours(366 * 24);
/// Whoever was told anything this long before the period is listed even when told nothing in it.
const KNOWN_SINCE: Duration = Duration::from_hours(90 * 24);

impl Service {
    pub(super) async fn performance(
        &self,
        scope: &Scope,
        asked: v1::GetAlarmPerformanceRequest,
    ) -> Result<v1::GetAlarmPerformanceResponse, Error> {
        let period = period(&asked)?;
        let sites = if asked.site.is_empty() {
            self.store.site_list(scope).await?
        } else {
            vec![self.store.site_by_name(scope, &name("site", &asked.site)?).await?]
        };
        let scope = &Scope::Sites(sites.iter().map(|site| site.id).collect());
        let Period { from, to } = period;
        let alarms = self.store.performance_alarms(scope, from, to).await?;
        let told = self.store.performance_told(scope, from - KNOWN_SINCE, to).await?;
        let machines = self.store.performance_machines(scope).await?;
        let untold = self.store.performance_untold(scope, from, to).await?;
        let known: BTreeSet<String> = told.iter().map(|page| page.destination.clone()).collect();
        let hours = machines.iter().map(|machine| period.machine_hours(machine.since)).sum();
        let report = Report {
            alarms: AlarmFigures::of(
                period,
                &sites.iter().map(|site| site.id).collect::<Vec<_>>(),
                &alarms.iter().map(alarm).collect::<Vec<_>>(),
            ),
            pages: PageFigures::of(
                period,
                self.config.budget(),
                hours,
                &known.into_iter().collect::<Vec<_>>(),
                &told_pages(&sites, told),
            ),
        };
        Ok(answer(period, &Names::new(&sites, &machines), &report, untold))
    }
}

fn period(asked: &v1::GetAlarmPerformanceRequest) -> Result<Period, Malformed> {
    let (from, to) = (time::required("from", asked.from)?, time::required("to", asked.to)?);
    if from >= to {
        return Err(Malformed::new("to", format!("{to} is not after from {from}")));
    }
    if to.since(from) > LONGEST {
        return Err(Malformed::new(
            "to",
            format!("{to} is more than 366 days after from {from}"),
        ));
    }
    Ok(Period { from, to })
}

/// People's clock and the machine's are the same but for how late readings are; those of a replay are not.
fn alarm(record: &AlarmRecord) -> Alarm {
    let begun = |acknowledged| {
        record
            .paged_at
            .filter(|paged| *paged <= acknowledged)
            .unwrap_or(record.opened_at)
    };
    Alarm {
        site: record.site,
        machine: record.machine,
        step: record.step,
        opened_at: record.opened_at,
        closed_at: record.closed_at,
        severity: record.severity,
        acknowledged_after: record
            .acknowledged_at
            .filter(|_| !record.replay)
            .map(|acknowledged| acknowledged.since(begun(acknowledged))),
    }
}

fn told_pages(sites: &[Site], told: Vec<ToldRecord>) -> Vec<ToldPage> {
    let zones: BTreeMap<SiteId, Tz> = sites.iter().map(|site| (site.id, zone(site))).collect();
    let page = |record: ToldRecord| ToldPage {
        destination: record.destination,
        incident: record.incident,
        at: record.at,
        wall: wall(record.at, zones.get(&record.site).copied().unwrap_or(Tz::UTC)),
        truth: truth(record.label),
    };
    told.into_iter().map(page).collect()
}

/// A site's time zone. A name that is none, which the fleet takes as long as it looks like one, counts as UTC.
fn zone(site: &Site) -> Tz {
    site.time_zone.parse().unwrap_or_else(|_| {
        tracing::warn!(site = %site.name, zone = site.time_zone, "not an IANA time zone; nights are counted in UTC");
        Tz::UTC
    })
}

/// What a wall's clock shows, as though it were UTC.
fn wall(at: Timestamp, zone: Tz) -> Timestamp {
    let local = DateTime::<Utc>::from(at).with_timezone(&zone).naive_local();
    Timestamp::from_micros(local.and_utc().timestamp_micros())
}

fn truth(label: Option<Label>) -> Truth {
    match label {
        Some(Label::TrueFailure | Label::MissedFailure) => Truth::True,
        Some(Label::FalseAlarm) => Truth::False,
        Some(Label::SensorFault | Label::ProcessChange) => Truth::Other,
        Some(Label::Withdrawn) | None => Truth::Unlabelled,
    }
}

/// What sites and machines are called.
struct Names {
    sites: BTreeMap<SiteId, String>,
    machines: BTreeMap<MachineId, (SiteId, String)>,
}

impl Names {
    fn new(sites: &[Site], machines: &[MachineRecord]) -> Self {
        let machine = |machine: &MachineRecord| (machine.machine, (machine.site, machine.name.to_string()));
        Self {
            sites: sites.iter().map(|site| (site.id, site.name.to_string())).collect(),
            machines: machines.iter().map(machine).collect(),
        }
    }

    fn site(&self, site: SiteId) -> String {
        self.sites.get(&site).cloned().unwrap_or_default()
    }

    /// Machines registered since the list was read have no name yet, and are left out.
    fn machines(&self, counted: &[(MachineId, u64)]) -> Vec<v1::MachineAlarms> {
        let named = counted.iter().filter_map(|(machine, alarms)| {
            let (site, name) = self.machines.get(machine)?;
            Some(v1::MachineAlarms {
                site: self.site(*site),
                machine: name.clone(),
                alarms: *alarms,
            })
        });
        named.collect()
    }
}

fn answer(period: Period, names: &Names, report: &Report, untold: UntoldPages) -> v1::GetAlarmPerformanceResponse {
    let Report { alarms, pages } = report;
    let incidents = |truth| pages.incidents.get(&truth).copied().unwrap_or(0);
    let day = |day: &tocsin_judge::performance::Day| v1::AlarmDay {
        from: Some(time::to_wire(day.from)),
        alerts: day.alerts,
        pages: day.pages,
    };
    v1::GetAlarmPerformanceResponse {
        from: Some(time::to_wire(period.from)),
        to: Some(time::to_wire(period.to)),
        marks: report.marks().into_iter().map(mark).collect(),
        positions: alarms.positions.iter().map(|one| position(one, names)).collect(),
        alarms: alarms.opened,
        most_frequent: names.machines(&alarms.most_frequent),
        chattering: names.machines(&alarms.chattering),
        days: alarms.days.iter().map(day).collect(),
        stale_alarms: alarms.stale.alarms,
        longest_stale_s: alarms.stale.longest.as_secs_f64(),
        acknowledged: alarms.acknowledged,
        pages_told: pages.told,
        incidents_true: incidents(Truth::True),
        incidents_false: incidents(Truth::False),
        incidents_other: incidents(Truth::Other),
        incidents_unlabelled: incidents(Truth::Unlabelled),
        false_pages: Some(false_pages(pages.false_pages)),
        false_or_unlabelled: Some(false_pages(pages.false_or_unlabelled)),
        machine_hours: pages.machine_hours,
        budget_per_week: pages.budget.per_week,
        budget_per_night: pages.budget.per_night,
        destinations: pages.destinations.iter().map(destination).collect(),
        pages_suppressed: untold.suppressed,
        pages_released: untold.released,
        pages_untold: untold.untold,
    }
}

fn mark(mark: Mark) -> v1::PerformanceMark {
    v1::PerformanceMark {
        name: mark.name.to_owned(),
        value: mark.value,
        unit: mark.unit.to_owned(),
        target: mark.target,
        standing: mark.standing.as_str().to_owned(),
        source: mark.source.to_owned(),
    }
}

fn position(position: &Position, names: &Names) -> v1::OperatorPosition {
    v1::OperatorPosition {
        site: names.site(position.site),
        alarms: position.opened,
        average_per_10_min: position.average_per_10_min,
        peak_per_10_min: position.peak_per_10_min,
        intervals: position.intervals,
        intervals_above_10: position.intervals_above_10,
        intervals_in_flood: position.intervals_in_flood,
        floods: position.floods,
    }
}

fn rate(rate: Rate) -> v1::EventRate {
    v1::EventRate {
        rate: rate.rate,
        lower: rate.lower,
        upper: rate.upper,
    }
}

fn false_pages(pages: FalsePages) -> v1::FalsePages {
    v1::FalsePages {
        incidents: pages.incidents,
        told: pages.told,
        per_machine_year: pages.per_machine_year.map(rate),
        per_person_week: pages.per_person_week.map(rate),
    }
}

fn destination(to: &Destination) -> v1::DestinationPages {
    v1::DestinationPages {
        destination: to.name.clone(),
        pages: to.pages,
        per_week: to.per_week.map(rate),
        most_in_a_week: to.most_in_a_week,
        nights: to.nights,
        nights_over: to.nights_over,
        most_in_a_night: to.most_in_a_night,
        within_budget: to.within_budget,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_goes_by_its_own_summer_time() {
        let shows =
            |text: &str, zone: &str| wall(Timestamp::parse("t", text).unwrap(), zone.parse().unwrap()).to_string();
        assert_eq!(shows("2026-07-01T20:30:00Z", "Europe/Berlin"), "2026-07-01T22:30:00Z");
        assert_eq!(shows("2026-01-01T20:30:00Z", "Europe/Berlin"), "2026-01-01T21:30:00Z");
    }
}
