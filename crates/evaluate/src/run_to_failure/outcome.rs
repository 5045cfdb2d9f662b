//! What a machine's course amounts to, given that it failed at its end.

use serde::Serialize;

use crate::trial::{Course, Incident};

/// Shares of life: failing in the last tenth, healthy for certain before 35 %, healthy in all likelihood before half.
const FAILING: f64 = 0.9;
const STRICT: f64 = 0.35;
const HEALTHY: f64 = 0.5;

/// One machine's row, counted in machine steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// `site/machine`.
    pub machine: String,
    /// Steps of its life.
    pub readings: usize,
    /// A page is open in the last tenth of its life.
    pub detected: bool,
    /// That page did not open before 35 % of it.
    pub valid: bool,
    /// The step at which its first page opened.
    pub first_page: Option<usize>,
    /// Steps from the opening of the last page open in the last tenth to the end; 0 unless valid.
    pub lead_readings: usize,
    /// Pages opened before 35 %.
    pub false_pages_before_35: usize,
    /// Pages opened before half.
    pub false_pages_before_50: usize,
    /// Steps under a page before half.
    pub false_page_readings: usize,
    /// Incidents in all, at alert or above.
    pub incidents: usize,
    /// Those at page level that are open in the last tenth of life.
    pub incidents_at_end: usize,
    /// Pages after the first: an earlier one had cleared.
    pub re_pages: usize,
    /// Pages in all.
    pub pages: usize,
    /// Those that name bins without which there would have been no page; nothing where detectors have no bins.
    pub pages_explained: Option<usize>,
    /// Steps judged before half, commissioning not counted.
    pub judged_before_50: usize,
    /// The same of incidents at alert or above.
    pub alert: AlertOutcome,
}

/// The row of incidents at alert or above.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertOutcome {
    /// One is open in the last tenth of life.
    pub detected: bool,
    /// It did not open before 35 %.
    pub valid: bool,
    /// The step at which the first opened.
    pub first_alert: Option<usize>,
    /// Steps from the opening of the last to the end; 0 unless valid.
    pub lead_readings: usize,
    /// Opened before 35 %.
    pub false_alerts_before_35: usize,
    /// Opened before half.
    pub false_alerts_before_50: usize,
    /// Steps under one before half.
    pub false_alert_readings: usize,
}

/// Periods from an opening to a closing.
struct Periods {
    detected: bool,
    valid: bool,
    first: Option<usize>,
    lead: usize,
    before_35: usize,
    before_50: usize,
    under_before_50: usize,
    open_at_the_end: usize,
}

impl Periods {
    fn of(steps: usize, periods: &[(usize, Option<usize>)]) -> Self {
        let at = |share: f64| (share * steps as f64) as usize;
        let opened_before = |step: usize| periods.iter().filter(|(opened, _)| *opened < step).count();
        let open_at_the_end = |(_, closed): &&(usize, Option<usize>)| closed.is_none_or(|closed| closed > at(FAILING));
        let last = periods.iter().rev().find(open_at_the_end);
        let valid = last.filter(|(opened, _)| *opened >= at(STRICT));
        let half = at(HEALTHY);
        let under =
            |(opened, closed): &(usize, Option<usize>)| closed.unwrap_or(steps).min(half).saturating_sub(*opened);
        Self {
            detected: last.is_some(),
            valid: valid.is_some(),
            first: periods.first().map(|(opened, _)| *opened),
            lead: valid.map_or(0, |(opened, _)| steps - opened),
            before_35: opened_before(at(STRICT)),
            before_50: opened_before(half),
            under_before_50: periods.iter().map(under).sum(),
            open_at_the_end: periods.iter().filter(open_at_the_end).count(),
        }
    }
}

impl Outcome {
    /// Of a course in whose first `commissioning` steps sensors were still being commissioned, and of whose pages so many
    /// are explained.
    pub(crate) fn of(machine: &str, course: &Course, commissioning: usize, pages_explained: Option<usize>) -> Self {
        let pages: Vec<_> = course
            .incidents
            .iter()
            .filter_map(|i| Some((i.paged?, i.closed)))
            .collect();
        let alerts: Vec<_> = course
            .incidents
            .iter()
            .map(|Incident { opened, closed, .. }| (*opened, *closed))
            .collect();
        let (pages, alerts) = (Periods::of(course.steps, &pages), Periods::of(course.steps, &alerts));
        Self {
            machine: machine.to_owned(),
            readings: course.steps,
            detected: pages.detected,
            valid: pages.valid,
            first_page: pages.first,
            lead_readings: pages.lead,
            false_pages_before_35: pages.before_35,
            false_pages_before_50: pages.before_50,
            false_page_readings: pages.under_before_50,
            incidents: course.incidents.len(),
            incidents_at_end: pages.open_at_the_end,
            re_pages: course.pages.len().saturating_sub(1),
            pages: course.pages.len(),
            pages_explained,
            judged_before_50: ((HEALTHY * course.steps as f64) as usize).saturating_sub(commissioning),
            alert: AlertOutcome {
                detected: alerts.detected,
                valid: alerts.valid,
                first_alert: alerts.first,
                lead_readings: alerts.lead,
                false_alerts_before_35: alerts.before_35,
                false_alerts_before_50: alerts.before_50,
                false_alert_readings: alerts.under_before_50,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Deciding;
    use tocsin_domain::{Detector, SensorId};

    fn page(arrival: usize) -> Deciding {
        Deciding {
            arrival,
            sensor: SensorId(1),
            detector: Detector::Growth,
        }
    }

    fn outcome(incidents: &[(usize, Option<usize>, Option<usize>)]) -> Outcome {
        let incident = |(opened, paged, closed): &(usize, Option<usize>, Option<usize>)| Incident {
            opened: *opened,
            paged: *paged,
            closed: *closed,
        };
        let course = Course {
            steps: 1000,
            incidents: incidents.iter().map(incident).collect(),
            pages: incidents
                .iter()
                .filter_map(|(_, paged, _)| Some(page((*paged)?)))
                .collect(),
        };
        Outcome::of("site/machine", &course, 110, None)
    }

    #[test]
    fn a_page_open_at_the_end_that_opened_late_enough_is_valid_and_leads_from_its_opening() {
        let found = outcome(&[(380, Some(400), Some(450)), (690, Some(700), None)]);
        assert!(found.detected && found.valid);
        assert_eq!((found.lead_readings, found.first_page), (300, Some(400)));
        assert_eq!((found.false_pages_before_35, found.false_pages_before_50), (0, 1));
        assert_eq!((found.false_page_readings, found.judged_before_50), (50, 390));
        assert_eq!(found.alert.lead_readings, 310);
        assert_eq!((found.incidents, found.incidents_at_end), (2, 1));
        assert_eq!((found.pages, found.re_pages), (2, 1));
    }

    #[test]
    fn a_page_that_stood_from_the_beginning_is_detected_and_not_valid() {
        let found = outcome(&[(120, Some(120), None)]);
        assert!(found.detected && !found.valid);
        assert_eq!((found.lead_readings, found.false_page_readings), (0, 380));
        assert_eq!(found.false_pages_before_35, 1);
    }

    #[test]
    fn an_alert_or_a_page_that_closed_in_time_detects_nothing() {
        let found = outcome(&[(500, Some(500), Some(900)), (950, None, None)]);
        assert!(!found.detected && found.alert.detected);
        assert_eq!((found.false_pages_before_50, found.alert.lead_readings), (0, 50));
    }
}
